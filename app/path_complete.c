#include "app/path_complete.h"

#include "app/paths.h"
#include "base/utf8.h"

#include <dirent.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static bool can_be_typed(const char *name) {
    for (const char *c = name; *c; c++)
        if ((unsigned char)*c < ' ' || *c == 0x7f) return false;
    return utf8_valid(name, strlen(name));
}

static bool fits(const char *name, const char *base) {
    if (name[0] == '.' && (base[0] != '.' || !strcmp(name, ".") || !strcmp(name, ".."))) return false;
    return strncmp(name, base, strlen(base)) == 0 && can_be_typed(name);
}

static bool is_folder(const char *folder, const char *name) {
    struct buf path = {0};
    struct stat facts;
    buf_printf(&path, "%s/%s", folder, name);
    bool is = stat(path.data, &facts) == 0 && S_ISDIR(facts.st_mode);
    buf_free(&path);
    return is;
}

void path_complete(const char *typed, struct buf *rest, struct buf *choices) {
    enum { CHOICES_MAX = 400 }; /* bytes */
    const char *slash = strrchr(typed, '/'), *base = slash ? slash + 1 : typed;
    struct buf written = {0}, common = {0};
    buf_printf(&written, "%.*s", slash ? (int)(slash + 1 - typed) : 1, slash ? typed : ".");
    char *folder = path_expand(written.data);
    struct dirent **entries;
    int n = scandir(folder, &entries, NULL, alphasort), found = 0;
    for (int i = 0; i < n; i++) {
        const char *name = entries[i]->d_name;
        if (fits(name, base)) {
            struct buf whole = {0};
            buf_printf(&whole, "%s%s", name, is_folder(folder, name) ? "/" : "");
            if (found++ == 0) buf_puts(&common, whole.data);
            size_t same = 0;
            while (same < common.len && common.data[same] == whole.data[same]) same++;
            common.len = same;
            if (choices->len < CHOICES_MAX) buf_printf(choices, "%s%s", found > 1 ? "  " : "", whole.data);
            buf_free(&whole);
        }
        free(entries[i]);
    }
    if (n >= 0) free(entries);
    size_t len = strlen(base), tail = common.len ? utf8_incomplete_tail(common.data, common.len) : 0;
    common.len -= tail; /* of a character where two differ */
    if (common.len > len) buf_append(rest, common.data + len, common.len - len);
    if (found < 2) buf_clear(choices);
    buf_free(&common);
    buf_free(&written);
    free(folder);
}
