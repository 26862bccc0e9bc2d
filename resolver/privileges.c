#include "resolver/privileges.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Makes one folder; true if it was not there. Parents are the packager's or the operator's. */
static bool make_folder(const char *path, mode_t mode)
{
    return path[0] != '\0' && mkdir(path, mode) == 0;
}

static void folder_of(const char *path, char folder[static CONFIG_PATH_SIZE_MAX])
{
    snprintf(folder, CONFIG_PATH_SIZE_MAX, "%s", path);
    char *slash = strrchr(folder, '/');
    folder[slash != NULL ? slash - folder : 0] = '\0';
}

static int become(const struct passwd *user)
{
    if (initgroups(user->pw_name, user->pw_gid) != 0 ||
        setresgid(user->pw_gid, user->pw_gid, user->pw_gid) != 0 ||
        setresuid(user->pw_uid, user->pw_uid, user->pw_uid) != 0) {
        return -errno;
    }
    return setuid(0) == 0 ? -EPERM : 0; /* the way back must be closed */
}

int privileges_drop(const struct config *config, char *ret_error, size_t error_size)
{
    char run_folder[CONFIG_PATH_SIZE_MAX];
    folder_of(config->node.control, run_folder);
    bool made_state = make_folder(config->node.state_dir, 0700);
    bool made_run = make_folder(run_folder, 0755);

    if (config->node.user[0] == '\0' || geteuid() != 0) {
        return 0;
    }
    errno = 0;
    const struct passwd *user = getpwnam(config->node.user);
    if (user == NULL) {
        int r = errno != 0 ? -errno : -ENOENT;
        snprintf(ret_error, error_size, "node.user: there is no user \"%s\" on this machine",
                 config->node.user);
        return r;
    }
    if (user->pw_uid == 0) {
        return 0; /* there is nothing to give up */
    }
    if ((made_state && chown(config->node.state_dir, user->pw_uid, user->pw_gid) != 0) ||
        (made_run && chown(run_folder, user->pw_uid, user->pw_gid) != 0)) {
        snprintf(ret_error, error_size, "can't give the state folders to \"%s\": %s",
                 config->node.user, strerror(errno));
        return -errno;
    }
    int r = become(user);
    if (r != 0) {
        snprintf(ret_error, error_size, "can't become user \"%s\": %s", config->node.user,
                 strerror(-r));
    }
    return r;
}
