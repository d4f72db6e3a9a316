/* What a container leaves this process: limits of control groups, version 2 (the kernel's Documentation/admin-guide/cgroup-v2.rst).
 * `self` names the group of the process as /proc/self/cgroup does, `root` is where the groups' files are. Any thread. */
#ifndef LOGITOP_KERNELS_CPU_CGROUP_H
#define LOGITOP_KERNELS_CPU_CGROUP_H

#include <stdint.h>

#define CGROUP_SELF "/proc/self/cgroup"
#define CGROUP_ROOT "/sys/fs/cgroup"

/* Bytes that may still be taken; the cache of files counts as given back. UINT64_MAX: no limit. */
uint64_t cgroup_memory_left(const char *self, const char *root);
/* Whole processors that may be used all the time, at least 1. UINT32_MAX: no limit. */
uint32_t cgroup_processors(const char *self, const char *root);

#endif
