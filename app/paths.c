#include "app/paths.h"

#include "base/buf.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* $VARIABLE/logitop, or ~/FALLBACK/logitop. Relative values are ignored, as the specification asks. False
 * without a home. */
static int base_folder(struct buf *out, const char *variable, const char *fallback) {
    const char *folder = getenv(variable), *home = getenv("HOME");
    if (folder && folder[0] == '/')
        buf_printf(out, "%s/logitop", folder);
    else if (home && home[0])
        buf_printf(out, "%s/%s/logitop", home, fallback);
    return out->len != 0;
}

char *path_models(void) {
    struct buf path = {0};
    if (!base_folder(&path, "XDG_DATA_HOME", ".local/share")) return NULL;
    buf_puts(&path, "/models");
    return buf_take(&path);
}

static int make_folders(char *path, struct err *err) {
    for (char *slash = path + 1;; slash++) {
        if (*slash && *slash != '/') continue;
        char kept = *slash;
        *slash = '\0';
        if (mkdir(path, 0700) && errno != EEXIST)
            return err_set(err, STATUS_FAILED, "cannot make %s: %s", path, strerror(errno));
        *slash = kept;
        if (!kept) return STATUS_OK;
    }
}

static char *path_in(const char *variable, const char *fallback, const char *name, struct err *err) {
    struct buf path = {0};
    if (!base_folder(&path, variable, fallback)) {
        err_set(err, STATUS_FAILED, "neither %s nor HOME is set", variable);
        return NULL;
    }
    if (make_folders(path.data, err) < 0) {
        buf_free(&path);
        return NULL;
    }
    buf_printf(&path, "/%s", name);
    return buf_take(&path);
}

char *path_state(const char *name, struct err *err) {
    return path_in("XDG_STATE_HOME", ".local/state", name, err);
}

char *path_data(const char *name, struct err *err) {
    return path_in("XDG_DATA_HOME", ".local/share", name, err);
}

char *path_cache(const char *name, struct err *err) {
    return path_in("XDG_CACHE_HOME", ".cache", name, err);
}

char *path_config(const char *name) {
    struct buf path = {0};
    if (!base_folder(&path, "XDG_CONFIG_HOME", ".config")) return NULL;
    buf_printf(&path, "/%s", name);
    return buf_take(&path);
}

char *path_expand(const char *path) {
    struct buf out = {0};
    const char *home = getenv("HOME");
    bool in_home = path[0] == '~' && (path[1] == '/' || !path[1]) && home && home[0];
    buf_printf(&out, "%s%s", in_home ? home : "", in_home ? path + 1 : path);
    return buf_take(&out);
}

char *path_shown(const char *path) {
    const char *home = getenv("HOME");
    char *folder = path[0] == '/' ? NULL : getcwd(NULL, 0);
    struct buf whole = {0}, out = {0};
    buf_printf(&whole, "%s%s%s", folder ? folder : "", folder && folder[1] ? "/" : "", path);
    free(folder);
    size_t n = home ? strlen(home) : 0;
    bool in_home = n > 1 && strncmp(whole.data, home, n) == 0 && whole.data[n] == '/';
    buf_printf(&out, "%s%s", in_home ? "~" : "", whole.data + (in_home ? n : 0));
    buf_free(&whole);
    return buf_take(&out);
}

const char *path_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}
