#include "resolver/recursor/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <seccomp.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Of <linux/landlock.h>, which is as old as the system that builds this. */
#define LANDLOCK_EXECUTE (1ull << 0)
#define LANDLOCK_WRITE_FILE (1ull << 1)
#define LANDLOCK_READ_FILE (1ull << 2)
#define LANDLOCK_READ_DIR (1ull << 3)
#define LANDLOCK_REMOVE_FILE (1ull << 5)
#define LANDLOCK_MAKE_REG (1ull << 8)
#define LANDLOCK_ABI_1_ALL ((1ull << 13) - 1)
#define LANDLOCK_REFER (1ull << 13)     /* from version 2 */
#define LANDLOCK_TRUNCATE (1ull << 14)  /* from version 3 */
#define LANDLOCK_IOCTL_DEV (1ull << 15) /* from version 5 */
#define LANDLOCK_SCOPE_ALL 3ull         /* abstract sockets and signals, from version 6 */

struct landlock_attributes {
    uint64_t files;
    uint64_t network; /* from version 4 */
    uint64_t scope;   /* from version 6 */
};

bool sandbox_possible(void)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    return false;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) ||                         \
    __has_feature(memory_sanitizer)
    return false;
#else
    return true;
#endif
#else
    return true;
#endif
}

static int limit(int resource, rlim_t most)
{
    struct rlimit limit;
    if (getrlimit((__rlimit_resource_t)resource, &limit) != 0) {
        return -errno;
    }
    if (limit.rlim_max == RLIM_INFINITY || limit.rlim_max > most) {
        limit.rlim_max = most;
    }
    limit.rlim_cur = limit.rlim_max;
    return setrlimit((__rlimit_resource_t)resource, &limit) == 0 ? 0 : -errno;
}

static int refuse_io_uring(void)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    if (filter == NULL) {
        return -ENOMEM;
    }
    static const int calls[] = {SCMP_SYS(io_uring_setup), SCMP_SYS(io_uring_enter),
                                SCMP_SYS(io_uring_register)};
    int r = 0;
    for (size_t i = 0; r == 0 && i < sizeof(calls) / sizeof(calls[0]); i++) {
        r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), calls[i], 0);
    }
    if (r == 0) {
        r = seccomp_load(filter);
    }
    seccomp_release(filter);
    return r;
}

/* Nothing here needs a capability, and a process started as root has them all. The bounding set can
 * only be emptied by one who has them; others have none to lose. */
static int drop_capabilities(void)
{
    for (unsigned long i = 0; i <= 63 && prctl(PR_CAPBSET_DROP, i, 0, 0, 0) == 0; i++) {
    }
    (void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {0};
    return syscall(SYS_capset, &header, none) == 0 ? 0 : -errno;
}

int sandbox_enter(uint64_t memory_max, const char **ret_what)
{
    int r = limit(RLIMIT_CORE, 0);
    if (r == 0) {
        r = limit(RLIMIT_AS, memory_max);
    }
    if (r < 0) {
        *ret_what = "limits";
        return r;
    }
    r = drop_capabilities();
    if (r < 0) {
        *ret_what = "capabilities";
        return r;
    }
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
        *ret_what = "no-new-privs";
        return -errno;
    }
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) {
        *ret_what = "not dumpable";
        return -errno;
    }
    r = refuse_io_uring();
    if (r < 0) {
        *ret_what = "the filter against io_uring";
    }
    return r;
}

/* ---- Landlock ---- */

static int allow_folder(int rules, int version, const char *folder)
{
    struct landlock_path_beneath_attr rule = {
        .allowed_access = LANDLOCK_READ_FILE | LANDLOCK_WRITE_FILE | LANDLOCK_READ_DIR |
                          LANDLOCK_MAKE_REG | LANDLOCK_REMOVE_FILE |
                          (version >= 3 ? LANDLOCK_TRUNCATE : 0),
        .parent_fd = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC),
    };
    if (rule.parent_fd < 0) {
        return -errno;
    }
    long r = syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
    int error = errno;
    close(rule.parent_fd);
    return r == 0 ? 0 : -error;
}

static int lock_files(const char *folder, int *ret_version)
{
    long version = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    if (version < 1) { /* not built in, or switched off */
        *ret_version = 0;
        return 0;
    }
    struct landlock_attributes attributes = {
        .files = LANDLOCK_ABI_1_ALL | (version >= 2 ? LANDLOCK_REFER : 0) |
                 (version >= 3 ? LANDLOCK_TRUNCATE : 0) | (version >= 5 ? LANDLOCK_IOCTL_DEV : 0),
        .scope = version >= 6 ? LANDLOCK_SCOPE_ALL : 0,
    };
    size_t size = version >= 6   ? sizeof(attributes)
                  : version >= 4 ? offsetof(struct landlock_attributes, scope)
                                 : offsetof(struct landlock_attributes, network);
    int rules = (int)syscall(SYS_landlock_create_ruleset, &attributes, size, 0);
    if (rules < 0) {
        return -errno;
    }
    int r = folder != NULL ? allow_folder(rules, (int)version, folder) : 0;
    if (r == 0 && syscall(SYS_landlock_restrict_self, rules, 0) != 0) {
        r = -errno;
    }
    close(rules);
    if (r == 0) {
        *ret_version = (int)version;
    }
    return r;
}

/* ---- the list of allowed system calls ---- */

/* Without conditions. restart_syscall is how the kernel goes on after SIGSTOP and SIGCONT; sysinfo,
 * sched_getaffinity and sched_yield are the C library's (qsort, malloc). */
static const int allowed_calls[] = {
    SCMP_SYS(read),
    SCMP_SYS(readv),
    SCMP_SYS(write),
    SCMP_SYS(writev),
    SCMP_SYS(close),
    SCMP_SYS(recvfrom),
    SCMP_SYS(recvmsg),
    SCMP_SYS(recvmmsg),
    SCMP_SYS(sendto),
    SCMP_SYS(sendmsg),
    SCMP_SYS(sendmmsg),
    SCMP_SYS(bind),
    SCMP_SYS(connect),
    SCMP_SYS(shutdown),
    SCMP_SYS(getsockname),
    SCMP_SYS(getpeername),
    SCMP_SYS(setsockopt),
    SCMP_SYS(getsockopt),
    SCMP_SYS(epoll_ctl),
    SCMP_SYS(epoll_wait),
    SCMP_SYS(epoll_pwait),
    SCMP_SYS(epoll_pwait2),
    SCMP_SYS(poll),
    SCMP_SYS(ppoll),
    SCMP_SYS(fcntl),
    SCMP_SYS(fstat),
    SCMP_SYS(newfstatat),
    SCMP_SYS(lseek),
    SCMP_SYS(clock_gettime),
    SCMP_SYS(clock_getres),
    SCMP_SYS(gettimeofday),
    SCMP_SYS(time),
    SCMP_SYS(clock_nanosleep),
    SCMP_SYS(futex),
    SCMP_SYS(brk),
    SCMP_SYS(munmap),
    SCMP_SYS(mremap),
    SCMP_SYS(madvise),
    SCMP_SYS(getrandom),
    SCMP_SYS(getpid),
    SCMP_SYS(gettid),
    SCMP_SYS(rt_sigaction),
    SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(rt_sigreturn),
    SCMP_SYS(restart_syscall),
    SCMP_SYS(sysinfo),
    SCMP_SYS(sched_getaffinity),
    SCMP_SYS(sched_yield),
    SCMP_SYS(exit),
    SCMP_SYS(exit_group),
    SCMP_SYS(getuid),
    SCMP_SYS(geteuid),
    SCMP_SYS(getgid),
    SCMP_SYS(getegid),
};

/* What works on files by their names: allowed where Landlock confines it to a folder, refused (and
 * not fatal: libraries look for files that need not be there) where there is none. */
static const int file_calls[] = {
    SCMP_SYS(openat), SCMP_SYS(open),     SCMP_SYS(rename), SCMP_SYS(renameat),
    SCMP_SYS(unlink), SCMP_SYS(unlinkat), SCMP_SYS(fsync),  SCMP_SYS(fdatasync),
};
static const int probing_calls[] = {
    SCMP_SYS(access),   SCMP_SYS(faccessat),  SCMP_SYS(faccessat2), SCMP_SYS(statx),
    SCMP_SYS(readlink), SCMP_SYS(readlinkat), SCMP_SYS(stat),       SCMP_SYS(lstat),
};

static int add_calls(scmp_filter_ctx filter, uint32_t action, const int *calls, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        int r = seccomp_rule_add(filter, action, calls[i], 0);
        if (r < 0) {
            return r;
        }
    }
    return 0;
}

/* Those whose arguments matter: sockets of the Internet only, no memory to execute, of ioctl what
 * libuv and the C library ask (never TIOCSTI on a terminal that was inherited), signals to itself
 * only (abort). */
static int add_conditional_calls(scmp_filter_ctx filter)
{
    const struct {
        int call;
        struct scmp_arg_cmp condition;
    } rows[] = {
        {SCMP_SYS(socket), {0, SCMP_CMP_EQ, AF_INET, 0}},
        {SCMP_SYS(socket), {0, SCMP_CMP_EQ, AF_INET6, 0}},
        {SCMP_SYS(ioctl), {1, SCMP_CMP_EQ, FIONBIO, 0}},
        {SCMP_SYS(ioctl), {1, SCMP_CMP_EQ, FIONREAD, 0}},
        {SCMP_SYS(ioctl), {1, SCMP_CMP_EQ, TCGETS, 0}},
        {SCMP_SYS(mmap), {2, SCMP_CMP_MASKED_EQ, PROT_EXEC, 0}},
        {SCMP_SYS(mprotect), {2, SCMP_CMP_MASKED_EQ, PROT_EXEC, 0}},
        {SCMP_SYS(tgkill), {0, SCMP_CMP_EQ, (scmp_datum_t)getpid(), 0}},
        {SCMP_SYS(prlimit64), {2, SCMP_CMP_EQ, 0, 0}}, /* to read limits, not to set them */
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        int r = seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, rows[i].call, 1, &rows[i].condition);
        if (r < 0) {
            return r;
        }
    }
    return 0;
}

static int lock_calls(bool files)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
    if (filter == NULL) {
        return -ENOMEM;
    }
    int r = add_calls(filter, SCMP_ACT_ALLOW, allowed_calls,
                      sizeof(allowed_calls) / sizeof(allowed_calls[0]));
    if (r == 0) {
        r = add_calls(filter, files ? SCMP_ACT_ALLOW : SCMP_ACT_ERRNO(EACCES), file_calls,
                      sizeof(file_calls) / sizeof(file_calls[0]));
    }
    if (r == 0) {
        r = add_calls(filter, SCMP_ACT_ERRNO(EACCES), probing_calls,
                      sizeof(probing_calls) / sizeof(probing_calls[0]));
    }
    if (r == 0) {
        r = add_conditional_calls(filter);
    }
    if (r == 0) {
        r = seccomp_load(filter);
    }
    seccomp_release(filter);
    return r;
}

int sandbox_lock(const char *folder, int *ret_landlock, const char **ret_what)
{
    int landlock = 0;
    int r = lock_files(folder, &landlock);
    if (r < 0) {
        *ret_what = "Landlock";
        return r;
    }
    /* Without Landlock nothing would confine the names of files, so there are none. */
    r = lock_calls(folder != NULL && landlock > 0);
    if (r < 0) {
        *ret_what = "the list of system calls";
        return r;
    }
    *ret_landlock = landlock;
    return 0;
}
