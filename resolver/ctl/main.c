#include "resolver/ctl/ctl.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

/* A full disk or a closed pipe must not look like success. */
static int finish(int status)
{
    if ((fflush(stdout) != 0 || ferror(stdout)) && status == CTL_DONE) {
        if (errno == EPIPE) { /* the reader has seen enough */
            return CTL_FAILED;
        }
        fprintf(stderr, "sinkholectl: can't write the output: %s\n", strerror(errno));
        return CTL_FAILED;
    }
    return status;
}

int main(int argc, char *argv[])
{
    struct ctl ctl = {0};
    char error[CTL_ERROR_SIZE] = "";
    int status;

    signal(SIGPIPE, SIG_IGN);
    if (argc == 2 && strcmp(argv[1], "--version") == 0) {
        return finish(ctl_run_version(&ctl));
    }
    int r = ctl_arguments_parse(argc, argv, &ctl.arguments, error);
    ctl.json = ctl_arguments_has(&ctl.arguments, CTL_OPTION_JSON);
    ctl.quiet = ctl_arguments_has(&ctl.arguments, CTL_OPTION_QUIET);
    if (r == -ENOMEM) {
        status = ctl_fail(&ctl, CTL_FAILED, "out of memory");
    } else if (r < 0) {
        status = ctl_fail(&ctl, CTL_USAGE, "%s", error);
    } else if (ctl_arguments_has(&ctl.arguments, CTL_OPTION_HELP)) {
        ctl_help_print(stdout, ctl.arguments.command, ctl.arguments.group);
        status = CTL_DONE;
    } else {
        status = ctl.arguments.command->run(&ctl);
    }
    ctl_done(&ctl);
    return finish(status);
}
