/* cpus.h - how many processors this process may use: affinity and the cgroup's quota, not cores
 * seen. */
#ifndef RESOLVER_CPUS_H
#define RESOLVER_CPUS_H

/* Where the number comes from, for the log. */
struct cpus {
    unsigned affinity; /* processors the scheduler may put us on */
    double quota;      /* processors' worth of time the cgroup allows; 0: no limit */
    unsigned usable;   /* the lesser, rounded up; at least 1 */
};

void cpus_read(struct cpus *ret_cpus);

/* The quota in a cgroup v2 cpu.max ("200000 100000" is 2, "max 100000" is 0: no limit). Also 0 for
 * what is no such text. */
double cpus_quota_v2(const char *text);

#endif
