#include "models/stores.h"

#include "base/mem.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SMALL = 1 << 20 };

char *path_join(const char *folder, const char *name) {
    struct buf path = {0};
    buf_printf(&path, "%s/%s", folder, name);
    return buf_take(&path);
}

bool is_folder(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

bool is_file(const char *path) {
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

bool folder_each(const char *folder, void (*visit)(void *ctx, const char *folder, const char *name),
                 void *ctx) {
    struct dirent **names;
    int n = scandir(folder, &names, NULL, alphasort);
    if (n < 0) return false;
    for (int i = 0; i < n; i++) {
        const char *name = names[i]->d_name;
        if (strcmp(name, ".") && strcmp(name, "..")) visit(ctx, folder, name);
        free(names[i]);
    }
    free(names);
    return true;
}

char *read_small(const char *path) {
    if (!is_file(path)) return NULL; /* nothing that would wait for a writer */
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return NULL;
    struct buf text = {0};
    ssize_t n;
    while (text.len <= SMALL && (n = read(fd, buf_reserve(&text, 4096), 4096)) > 0) text.len += (size_t)n;
    close(fd);
    if (text.len > SMALL) text.len = 0;
    while (text.len && strchr(" \t\r\n", text.data[text.len - 1])) text.len--;
    buf_append(&text, "", 0);
    return buf_take(&text);
}

bool is_digest(const char *text) {
    return strspn(text, "0123456789abcdef") == 64 && !text[64];
}

const char *home_folder(void) {
    const char *home = getenv("HOME");
    return home && *home ? home : NULL;
}
