/* sinkholed - the daemon's command line and its main thread: signals in, status 0 out. */
#include "resolver/config.h"
#include "resolver/daemon.h"
#include "resolver/log.h"

#include <errno.h>
#include <getopt.h>
#include <jansson.h>
#include <libpsl.h>
#include <maxminddb.h>
#include <microhttpd.h>
#include <openssl/crypto.h>
#include <hiredis/hiredis.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <urcu/urcu-qsbr.h>
#include <uv.h>
#include <xxhash.h>
#include <yaml.h>

struct main_thread {
    uv_loop_t loop;
    uv_signal_t terminate;
    uv_signal_t interrupt;
    uv_signal_t hangup;
    struct daemon *daemon;
};

/* Recursion's libraries are in a program of their own, which says its versions itself. */
static int print_version(void)
{
    char program[CONFIG_PATH_SIZE_MAX];
    unsigned xxhash = XXH_versionNumber();
    printf("sinkholed %s\n", SINKHOLE_VERSION);
    printf("libuv %s, libmicrohttpd %s, libmaxminddb %s, libyaml %s, jansson %s\n",
           uv_version_string(), MHD_get_version(), MMDB_lib_version(), yaml_get_version_string(),
           JANSSON_VERSION);
    printf("hiredis %d.%d.%d, libpsl %s, xxhash %u.%u.%u, %s\n", HIREDIS_MAJOR, HIREDIS_MINOR,
           HIREDIS_PATCH, psl_get_version(), xxhash / 10000, xxhash / 100 % 100, xxhash % 100,
           OpenSSL_version(OPENSSL_VERSION));
    fflush(stdout);
    daemon_recursor_program(program);
    execl(program, program, "--version", NULL);
    fprintf(stderr, "sinkholed: %s: %s\n", program, strerror(errno));
    return EXIT_FAILURE;
}

static void print_help(void)
{
    printf(
        "sinkholed - a protective DNS resolver\n"
        "\n"
        "usage: sinkholed [-c FILE] [--check-config]\n"
        "\n"
        "  -c, --config FILE   configuration (YAML); without it: defaults, loopback port 5300\n"
        "      --check-config  read the configuration, say what is wrong, and end\n"
        "  -h, --help          this text\n"
        "      --version       versions of sinkholed and of the libraries it runs with\n"
        "\n"
        "It runs in the foreground and logs to standard error. SIGTERM and SIGINT end it with\n"
        "status 0, SIGHUP reads the configuration and the list files again.\n"
        "\n"
        "Options of the configuration; SINKHOLE_<SECTION>_<OPTION> in the environment overrides\n"
        "one of a single value. (live) takes effect on a reload, all others need a restart.\n"
        "\n");
    struct config_option_text option;
    for (size_t i = 0; config_option_text(i, &option); i++) {
        if (!option.built) {
            continue;
        }
        printf("  %s%s\n      %s; %s%s%s\n      default: %s\n", option.name,
               option.live ? " (live)" : "", option.text, option.type,
               option.bounds[0] != '\0' ? ", " : "", option.bounds,
               option.initial[0] != '\0' ? option.initial : "none");
    }
}

static void close_signals(struct main_thread *thread)
{
    if (uv_is_closing((uv_handle_t *)&thread->terminate)) {
        return;
    }
    uv_close((uv_handle_t *)&thread->terminate, NULL);
    uv_close((uv_handle_t *)&thread->interrupt, NULL);
    uv_close((uv_handle_t *)&thread->hangup, NULL);
}

static void on_end(uv_signal_t *signal, int number)
{
    struct main_thread *thread = signal->data;
    log_info("stopping", "signal", number == SIGTERM ? "TERM" : "INT");
    close_signals(thread);
    if (thread->daemon != NULL) { /* else its start has failed, and it ends by itself */
        daemon_stop(thread->daemon);
    }
}

static void on_hangup(uv_signal_t *signal, int number)
{
    struct main_thread *thread = signal->data;
    (void)number;
    if (thread->daemon != NULL) {
        daemon_reload(thread->daemon);
    }
}

/* Not referenced: a start that fails lets the loop run out. */
static void watch(struct main_thread *thread, uv_signal_t *signal, int number, uv_signal_cb call)
{
    uv_signal_init(&thread->loop, signal);
    signal->data = thread;
    uv_signal_start(signal, call, number);
    uv_unref((uv_handle_t *)signal);
}

/* A signal that comes while the daemon starts is acted on when the loop runs. */
static int run(struct config *config, const char *path)
{
    struct main_thread thread = {0};
    uv_loop_init(&thread.loop);
    watch(&thread, &thread.terminate, SIGTERM, on_end);
    watch(&thread, &thread.interrupt, SIGINT, on_end);
    watch(&thread, &thread.hangup, SIGHUP, on_hangup);
    int r = daemon_start(&thread.loop, config, path, &thread.daemon);
    if (r == 0) {
        uv_run(&thread.loop, UV_RUN_DEFAULT);
        daemon_free(thread.daemon);
        log_info("stopped");
    } else {
        close_signals(&thread);
        uv_run(&thread.loop, UV_RUN_DEFAULT);
    }
    uv_loop_close(&thread.loop);
    return r == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

enum { OPTION_CHECK = 256, OPTION_VERSION };

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"config", required_argument, NULL, 'c'},
        {"check-config", no_argument, NULL, OPTION_CHECK},
        {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, OPTION_VERSION},
        {NULL, 0, NULL, 0},
    };
    const char *path = NULL;
    bool check = false;

    for (int option; (option = getopt_long(argc, argv, "c:h", options, NULL)) != -1;) {
        switch (option) {
        case 'c':
            path = optarg;
            break;
        case OPTION_CHECK:
            check = true;
            break;
        case OPTION_VERSION:
            return print_version();
        case 'h':
            print_help();
            return EXIT_SUCCESS;
        default:
            fprintf(stderr, "Try 'sinkholed --help'.\n");
            return 2;
        }
    }
    if (optind != argc) {
        fprintf(stderr, "sinkholed: unexpected argument \"%s\": the configuration is given by -c\n",
                argv[optind]);
        return 2;
    }

    signal(SIGPIPE, SIG_IGN);
    struct config *config;
    char error[CONFIG_ERROR_SIZE_MAX];
    if (config_load(path, &config, error) != 0) {
        fprintf(stderr, "sinkholed: %s\n", error);
        return EXIT_FAILURE;
    }
    if (check) {
        printf("%s: the configuration is right\n", path != NULL ? path : "defaults");
        config_free(config);
        return EXIT_SUCCESS;
    }
    log_set((enum log_level)config->log.level, (enum log_format)config->log.format);
    return run(config, path);
}
