/* sinkhole-recursor - libunbound in a process of its own, asked by sinkholed over sockets.
 *
 * Started by the daemon only: descriptors 0 to 2, and the control socket as 3. It reads no
 * configuration, has no access to the list, Redis or hits, and once it works it can open nothing
 * but Internet sockets (sandbox.h).
 *
 * The order matters: parent watched, descriptors closed, start read (the loop must not be made
 * before the filter of sandbox_enter), loop and libunbound, first question, sandbox locked, and
 * only then the first octet that a client can have had a hand in. */
#include "resolver/log.h"
#include "resolver/recursor/base.h"
#include "resolver/recursor/sandbox.h"
#include "resolver/recursor/serve.h"
#include "resolver/recursor/start.h"

#include <dlfcn.h>
#include <errno.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unbound-event.h>
#include <unbound.h>
#include <unistd.h>

#define DESCRIPTORS_MAX 65536u

static void close_inherited(void)
{
    if (syscall(SYS_close_range, CONTROL_SOCKET + 1, ~0u, 0) == 0) {
        return;
    }
    struct rlimit limit = {.rlim_cur = 1024};
    (void)getrlimit(RLIMIT_NOFILE, &limit);
    for (int i = CONTROL_SOCKET + 1; i < (int)DESCRIPTORS_MAX && (rlim_t)i < limit.rlim_cur; i++) {
        close(i);
    }
}

/* As many as the hard limit gives: each upstream question takes one. The daemon has fitted
 * outgoing-range to it. */
static void raise_descriptors(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        rlim_t most = limit.rlim_max < DESCRIPTORS_MAX ? limit.rlim_max : DESCRIPTORS_MAX;
        limit.rlim_cur = limit.rlim_cur > most ? limit.rlim_cur : most;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

/* A stop is the daemon's to order: signals to the whole group (Ctrl-C, the service manager) leave
 * it time to answer what is in flight. */
static void ignore_signals(void)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGPIPE, SIGUSR1, SIGUSR2};
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        signal(numbers[i], SIG_IGN);
    }
}

/* Where libunbound is built with OpenSSL, that reads its configuration at its first use, which is
 * the first signature: too late for a process that can open no files by then. */
static void start_openssl(void)
{
    typedef int openssl_init(uint64_t options, const void *settings);
    union {
        void *symbol;
        openssl_init *call;
    } init = {.symbol = dlsym(RTLD_DEFAULT, "OPENSSL_init_crypto")};
    if (init.symbol != NULL) {
        (void)init.call(0x40u /* OPENSSL_INIT_LOAD_CONFIG */, NULL);
    }
}

static int make_context(uv_loop_t *loop, const struct start *start, struct serve **ret_serve)
{
    struct ub_event_base *base = NULL;
    int r = base_new(loop, &base);
    if (r < 0) {
        start_say(LOG_LEVEL_ERROR, "the event base: %s", strerror(-r));
        return r;
    }
    struct ub_ctx *context = ub_ctx_create_ub_event(base);
    if (context == NULL) {
        start_say(LOG_LEVEL_ERROR, "libunbound cannot make a context");
        return -ENOMEM;
    }
    r = start_apply(start, context);
    if (r < 0) {
        return r;
    }
    r = serve_new(loop, context, start, ret_serve);
    if (r < 0) {
        start_say(LOG_LEVEL_ERROR, "the workers' channels: %s", strerror(-r));
        return r;
    }
    r = serve_warm_up(*ret_serve);
    if (r != 0) {
        start_say(LOG_LEVEL_ERROR,
                  "libunbound %s does not start: %s; are root hints and trust anchor valid?",
                  ub_version(), ub_strerror(r));
        return -EINVAL;
    }
    return 0;
}

static int lock(const struct start *start)
{
    int landlock = 0;
    const char *what = "";
    int r = sandbox_lock(start->folder[0] != '\0' ? start->folder : NULL, &landlock, &what);
    if (r < 0) {
        start_say(LOG_LEVEL_ERROR, "sandbox: %s: %s", what, strerror(-r));
        return r;
    }
    if (landlock == 0) {
        start_say(LOG_LEVEL_INFO, "sandbox: this kernel has no Landlock; the rest is in force");
    }
    return 0;
}

static int run(struct start *start)
{
    bool sandbox = start->limits.sandbox != 0 && sandbox_possible();
    if (!sandbox) {
        start_say(LOG_LEVEL_WARNING, "runs without a sandbox: %s",
                  start->limits.sandbox != 0 ? "this build has a sanitizer" : "recursion.sandbox");
    }
    const char *what = "";
    int r = sandbox ? sandbox_enter(start->limits.memory_max, &what) : 0;
    if (r < 0) {
        start_say(LOG_LEVEL_ERROR, "sandbox: %s: %s", what, strerror(-r));
        return r;
    }
    uv_loop_t loop;
    r = uv_loop_init(&loop);
    if (r < 0) {
        start_say(LOG_LEVEL_ERROR, "the loop: %s", uv_strerror(r));
        return r;
    }
    start_openssl();
    struct serve *serve = NULL;
    r = make_context(&loop, start, &serve);
    if (r == 0 && sandbox) {
        r = lock(start);
    }
    if (r == 0) {
        r = serve_begin(serve);
    }
    if (r == 0) {
        r = uv_run(&loop, UV_RUN_DEFAULT); /* the control socket ends the process */
    }
    return r < 0 ? r : -EPROTO;
}

int main(int argc, char **argv)
{
    static struct start start;
    int type = 0;
    socklen_t size = sizeof(type);
    if (argc == 2 && strcmp(argv[1], "--version") == 0) {
        const struct scmp_version *seccomp = seccomp_version();
        printf("sinkhole-recursor with libunbound %s, libuv %s, libseccomp %u.%u.%u\n",
               ub_version(), uv_version_string(), seccomp->major, seccomp->minor, seccomp->micro);
        return 0;
    }
    if (argc != 1 || getsockopt(CONTROL_SOCKET, SOL_SOCKET, SO_TYPE, &type, &size) != 0 ||
        type != SOCK_SEQPACKET) {
        fprintf(stderr, "sinkhole-recursor is started by sinkholed, not by hand\n");
        return 2;
    }
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    close_inherited();
    ignore_signals();
    raise_descriptors();
    if (start_read(&start) < 0) {
        _exit(1);
    }
    if (getppid() != start.limits.parent) {
        _exit(1); /* it ended before the signal was set */
    }
    (void)run(&start);
    _exit(1);
}
