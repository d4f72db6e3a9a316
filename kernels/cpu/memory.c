#include "kernels/cpu/cgroup.h"
#include "kernels/cpu/cpu.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* A line "Name:  123 kB" of /proc/meminfo in bytes; 0 if it is not there. */
static uint64_t meminfo(const char *name) {
    FILE *file = fopen("/proc/meminfo", "re");
    if (!file) return 0;
    char line[128];
    unsigned long long kib = 0;
    size_t len = strlen(name);
    while (fgets(line, sizeof line, file))
        if (strncmp(line, name, len) == 0 && line[len] == ':') {
            if (sscanf(line + len + 1, "%llu", &kib) != 1) kib = 0;
            break;
        }
    fclose(file);
    return kib * 1024;
}

static uint64_t page_size(void) {
    long size = sysconf(_SC_PAGESIZE);
    return size > 0 ? (uint64_t)size : 4096;
}

static uint64_t pages_of(int name) {
    long pages = sysconf(name);
    return pages > 0 ? (uint64_t)pages * page_size() : 0;
}

uint64_t memory_available(void) {
    uint64_t bytes = meminfo("MemAvailable"), left = cgroup_memory_left(CGROUP_SELF, CGROUP_ROOT);
    if (!bytes) bytes = pages_of(_SC_AVPHYS_PAGES);
    return left < bytes ? left : bytes;
}

uint64_t memory_total(void) { return pages_of(_SC_PHYS_PAGES); }

uint64_t memory_resident(void) {
    unsigned long long size, resident = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (!file) return 0;
    if (fscanf(file, "%llu %llu", &size, &resident) != 2) resident = 0;
    fclose(file);
    return resident * page_size();
}
