/* What a process can still do after the sandbox, tried in children that may be killed for it. */
#include "resolver/recursor/sandbox.c"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define MEMORY_MAX (1ull << 30)
#define CANNOT_ENTER 99 /* exit status of a child whose sandbox failed */

static int folder_descriptor = -1; /* of a folder outside, opened before */

static int try_udp(void)
{
    int s = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    return s >= 0 || errno == EAFNOSUPPORT ? close(s) * 0 : 1;
}

static int try_memory(void)
{
    char *memory = malloc(8u << 20);
    memset(memory, 1, 8u << 20);
    free(memory);
    return memory == NULL;
}

static int try_too_much_memory(void)
{
    /* The limit makes it fail; without one the kernel would say yes to untouched pages. */
    return mmap(NULL, 2 * MEMORY_MAX, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED;
}

static int try_abort(void)
{
    abort();
}

static int try_open(void)
{
    return open("/etc/passwd", O_RDONLY | O_CLOEXEC) >= 0 || errno != EACCES;
}

static int try_create(void)
{
    return openat(folder_descriptor, "new", O_CREAT | O_WRONLY | O_CLOEXEC, 0600) >= 0 ||
           errno != EACCES;
}

static int try_stat(void)
{
    return access("/etc/passwd", R_OK) == 0 || errno != EACCES;
}

static int try_io_uring(void)
{
    return syscall(SYS_io_uring_setup, 1, NULL) != -1 || errno != ENOSYS;
}

static int try_exec(void)
{
    execl("/bin/true", "true", (char *)NULL);
    return 0;
}

static int try_fork(void)
{
    return (int)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL) * 0;
}

static int try_unix_socket(void)
{
    return socket(AF_UNIX, SOCK_STREAM, 0) * 0;
}

static int try_executable_memory(void)
{
    return mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == NULL;
}

static int try_kill(void)
{
    return kill(getppid(), 0) * 0;
}

static int try_terminal(void)
{
    static char octet = 'x';
    return (int)syscall(SYS_ioctl, 0, 0x5412 /* TIOCSTI */, &octet) * 0;
}

static int try_ptrace(void)
{
    return (int)syscall(SYS_ptrace, 0, 0, 0, 0) * 0;
}

/* Runs `attempt` inside; a child's wait status. */
static int inside(int (*attempt)(void), bool locked, const char *folder)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        const char *what = "";
        int landlock = 0;
        int r = sandbox_enter(MEMORY_MAX, &what);
        if (r == 0 && locked) {
            r = sandbox_lock(folder, &landlock, &what);
        }
        if (r < 0) {
            _exit(CANNOT_ENTER);
        }
        _exit(attempt());
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static void skip_when_impossible(void)
{
    if (!sandbox_possible()) {
        skip(); /* a sanitizer's build */
    }
}

static void what_a_resolver_needs_works_inside(void **state)
{
    (void)state;
    skip_when_impossible();
    static const struct {
        const char *what;
        int (*attempt)(void);
    } rows[] = {{"Internet sockets", try_udp}, {"memory", try_memory}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        int status = inside(rows[i].attempt, true, NULL);
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
            fail_msg("%s: wait status %d", rows[i].what, status);
        }
    }
    int status = inside(try_abort, true, NULL);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

static void what_libraries_may_try_is_refused_without_harm(void **state)
{
    (void)state;
    skip_when_impossible();
    static const struct {
        const char *what;
        int (*attempt)(void);
        bool locked;
    } rows[] = {
        {"opening a file", try_open, true},
        {"creating a file", try_create, true},
        {"looking for a file", try_stat, true},
        {"an io_uring, before the loop", try_io_uring, false},
        {"more memory than the limit", try_too_much_memory, true},
    };
    folder_descriptor = open("/tmp", O_PATH | O_DIRECTORY | O_CLOEXEC);
    assert_true(folder_descriptor >= 0);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        int status = inside(rows[i].attempt, rows[i].locked, NULL);
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
            fail_msg("%s: wait status %d", rows[i].what, status);
        }
    }
    close(folder_descriptor);
}

static void what_only_an_intruder_does_ends_the_process(void **state)
{
    (void)state;
    skip_when_impossible();
    static const struct {
        const char *what;
        int (*attempt)(void);
    } rows[] = {
        {"another program", try_exec},
        {"another process", try_fork},
        {"a Unix socket", try_unix_socket},
        {"memory to execute", try_executable_memory},
        {"a signal to another", try_kill},
        {"typing on the terminal", try_terminal},
        {"tracing", try_ptrace},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        int status = inside(rows[i].attempt, true, NULL);
        if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGSYS) {
            fail_msg("%s: wait status %d", rows[i].what, status);
        }
    }
}

static char own_folder[64];

static int try_own_folder(void)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/anchor.new", own_folder);
    int file = open(path, O_CREAT | O_RDWR | O_TRUNC | O_CLOEXEC, 0600);
    if (file < 0) {
        return 1;
    }
    char to[128];
    snprintf(to, sizeof(to), "%s/anchor", own_folder);
    bool written = write(file, "x", 1) == 1 && fsync(file) == 0 && rename(path, to) == 0;
    close(file);
    if (!written) {
        return 2;
    }
    return try_open() != 0 ? 3 : 0; /* nothing else, still */
}

static void its_own_folder_stays_writable_where_landlock_confines_it(void **state)
{
    (void)state;
    skip_when_impossible();
    if (syscall(SYS_landlock_create_ruleset, NULL, 0, 1 /* ask for the version */) < 1) {
        skip(); /* without Landlock there are no files at all: tested above */
    }
    strcpy(own_folder, "/tmp/sinkhole-sandbox-XXXXXX");
    assert_non_null(mkdtemp(own_folder));
    int status = inside(try_own_folder, true, own_folder);
    char path[128];
    snprintf(path, sizeof(path), "%s/anchor", own_folder);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(own_folder), 0);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static int look_at_oneself(void)
{
    struct rlimit limit;
    char text[4096] = "";
    int file = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
    ssize_t size = read(file, text, sizeof(text) - 1);
    close(file);
    if (size <= 0 || strstr(text, "\nCapEff:\t0000000000000000\n") == NULL ||
        strstr(text, "\nCapPrm:\t0000000000000000\n") == NULL ||
        strstr(text, "\nNoNewPrivs:\t1\n") == NULL) {
        return 1;
    }
    if (getrlimit(RLIMIT_CORE, &limit) != 0 || limit.rlim_max != 0) {
        return 2;
    }
    return prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0 ? 0 : 3;
}

static void it_gives_up_its_privileges(void **state)
{
    (void)state;
    skip_when_impossible();
    int status = inside(look_at_oneself, false, NULL);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_resolver_needs_works_inside),
        cmocka_unit_test(what_libraries_may_try_is_refused_without_harm),
        cmocka_unit_test(what_only_an_intruder_does_ends_the_process),
        cmocka_unit_test(its_own_folder_stays_writable_where_landlock_confines_it),
        cmocka_unit_test(it_gives_up_its_privileges),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
