#include "resolver/cpus.h"

#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PATH_SIZE_MAX 4096

static bool read_text(const char *path, char *text, size_t size)
{
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return false;
    }
    size_t got = fread(text, 1, size - 1, file);
    fclose(file);
    text[got] = '\0';
    return got > 0;
}

double cpus_quota_v2(const char *text)
{
    double quota = 0;
    double period = 0;
    if (sscanf(text, "%lf %lf", &quota, &period) != 2 || quota <= 0 || period <= 0) {
        return 0;
    }
    return quota / period;
}

static double lesser(double a, double b)
{
    return a == 0 || (b != 0 && b < a) ? b : a;
}

static double quota_at(const char *folder, bool v2)
{
    char path[PATH_SIZE_MAX + 64];
    char quota[128];
    char period[64];

    if (v2) {
        snprintf(path, sizeof(path), "%s/cpu.max", folder);
        return read_text(path, quota, sizeof(quota)) ? cpus_quota_v2(quota) : 0;
    }
    snprintf(path, sizeof(path), "%s/cpu.cfs_quota_us", folder);
    if (!read_text(path, quota, 32)) {
        return 0;
    }
    snprintf(path, sizeof(path), "%s/cpu.cfs_period_us", folder);
    if (!read_text(path, period, sizeof(period))) {
        return 0;
    }
    quota[strcspn(quota, "\n")] = ' ';
    strncat(quota, period, sizeof(quota) - strlen(quota) - 1);
    return cpus_quota_v2(quota);
}

/* A limit anywhere above holds too, so each folder on the way up is asked. In a container the path
 * names what the host sees, and the own cgroup is mounted at the root, which the walk ends at. */
static double quota_upwards(const char *mount, const char *group, bool v2)
{
    char folder[PATH_SIZE_MAX];
    double quota = 0;
    int size = snprintf(folder, sizeof(folder), "%s%s", mount, group);
    if (size < 0 || (size_t)size >= sizeof(folder)) {
        return 0;
    }
    for (;;) {
        quota = lesser(quota, quota_at(folder, v2));
        char *slash = strrchr(folder + strlen(mount), '/');
        if (slash == NULL) {
            return quota;
        }
        *slash = '\0';
    }
}

static bool names_cpu(const char *controllers)
{
    for (const char *at = controllers; *at != '\0';) {
        size_t size = strcspn(at, ",");
        if (size == 3 && memcmp(at, "cpu", 3) == 0) {
            return true;
        }
        at += size + (at[size] == ',');
    }
    return false;
}

/* /proc/self/cgroup has lines "ID:CONTROLLERS:PATH"; no controllers: v2. */
static double cgroup_quota(void)
{
    FILE *file = fopen("/proc/self/cgroup", "re");
    char line[PATH_SIZE_MAX];
    double quota = 0;

    while (file != NULL && fgets(line, sizeof(line), file) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        char *controllers = strchr(line, ':');
        char *group = controllers == NULL ? NULL : strchr(controllers + 1, ':');
        if (group == NULL) {
            continue;
        }
        *group++ = '\0';
        if (controllers[1] == '\0') {
            quota = lesser(quota, quota_upwards("/sys/fs/cgroup", group, true));
        } else if (names_cpu(controllers + 1)) {
            quota = lesser(quota, quota_upwards("/sys/fs/cgroup/cpu", group, false));
        }
    }
    if (file != NULL) {
        fclose(file);
    }
    return quota;
}

void cpus_read(struct cpus *ret_cpus)
{
    cpu_set_t set;
    int count = sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 1;

    ret_cpus->affinity = (unsigned)(count > 0 ? count : 1);
    ret_cpus->quota = cgroup_quota();
    ret_cpus->usable = ret_cpus->affinity;
    if (ret_cpus->quota > 0 && ret_cpus->quota < ret_cpus->affinity) {
        unsigned whole = (unsigned)ret_cpus->quota;
        ret_cpus->usable = whole + (ret_cpus->quota > whole);
    }
}
