#include "kernels/cpu/cgroup.h"

#include <inttypes.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

struct group {
    const char *root;
    char path[PATH_MAX / 2]; /* "/system.slice/x.service"; "" is the root of what is seen */
};

/* The line "0::/path" is version 2's. */
static bool group_find(struct group *group, const char *self, const char *root) {
    FILE *file = fopen(self, "re");
    char line[sizeof group->path];
    bool found = false;
    if (!file) return false;
    while (!found && fgets(line, sizeof line, file)) found = strncmp(line, "0::/", 4) == 0 && strchr(line, '\n');
    fclose(file);
    if (!found) return false;
    line[strcspn(line, "\n")] = '\0';
    group->root = root;
    snprintf(group->path, sizeof group->path, "%s", line[4] ? line + 3 : "");
    return true;
}

/* To the group around it, whose limits hold in it too. False: there is none. */
static bool group_up(struct group *group) {
    char *slash = strrchr(group->path, '/');
    if (slash) *slash = '\0';
    return slash;
}

static FILE *group_open(const struct group *group, const char *name) {
    char path[PATH_MAX];
    int n = snprintf(path, sizeof path, "%s%s/%s", group->root, group->path, name);
    return n > 0 && (size_t)n < sizeof path ? fopen(path, "re") : NULL;
}

/* False: the file is not there, or says "max". */
static bool read_number(const struct group *group, const char *name, uint64_t *out) {
    FILE *file = group_open(group, name);
    bool read = file && fscanf(file, "%" SCNu64, out) == 1;
    if (file) fclose(file);
    return read;
}

/* Bytes of files in memory: given back before anything else is. */
static uint64_t file_cache(const struct group *group) {
    FILE *file = group_open(group, "memory.stat");
    char name[64];
    uint64_t value, sum = 0;
    while (file && fscanf(file, "%63s %" SCNu64, name, &value) == 2)
        if (strcmp(name, "inactive_file") == 0 || strcmp(name, "active_file") == 0) sum += value;
    if (file) fclose(file);
    return sum;
}

uint64_t cgroup_memory_left(const char *self, const char *root) {
    struct group group;
    uint64_t least = UINT64_MAX, limit, used;
    if (!group_find(&group, self, root)) return least;
    do {
        if (!read_number(&group, "memory.max", &limit) || !read_number(&group, "memory.current", &used)) continue;
        uint64_t cache = file_cache(&group), held = used > cache ? used - cache : 0;
        uint64_t left = limit > held ? limit - held : 0;
        if (left < least) least = left;
    } while (group_up(&group));
    return least;
}

uint32_t cgroup_processors(const char *self, const char *root) {
    struct group group;
    uint32_t least = UINT32_MAX;
    if (!group_find(&group, self, root)) return least;
    do {
        FILE *file = group_open(&group, "cpu.max"); /* microseconds that may be used, of a period */
        uint64_t quota, period;
        if (file && fscanf(file, "%" SCNu64 " %" SCNu64, &quota, &period) == 2 && period) {
            uint64_t whole = quota / period ? quota / period : 1;
            if (whole < least) least = (uint32_t)whole;
        }
        if (file) fclose(file);
    } while (group_up(&group));
    return least;
}
