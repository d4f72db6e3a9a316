#include "models/place.h"

#include "base/buf.h"
#include "models/stores.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* All folders of a path but its last part. */
static int make_folders(const char *path, struct err *err) {
    struct buf copy = {0};
    int status = STATUS_OK;
    buf_puts(&copy, path);
    for (char *slash = copy.data + 1; status == STATUS_OK && (slash = strchr(slash, '/')); slash++) {
        *slash = '\0';
        if (mkdir(copy.data, 0777) && errno != EEXIST)
            status = err_set(err, STATUS_FAILED, "cannot make %s: %s", copy.data, strerror(errno));
        *slash = '/';
    }
    buf_free(&copy);
    return status;
}

static char *path_of(const struct place *place, const char *kind, const char *a, const char *b) {
    struct buf path = {0};
    buf_printf(&path, "%s/%s/%s%s%s", place->folder, kind, a, b ? "/" : "", b ? b : "");
    return buf_take(&path);
}

char *place_blob(const struct place *place, const char *digest) {
    return path_of(place, "blobs", digest, NULL);
}

char *place_snapshot(const struct place *place, const char *commit, const char *path) {
    return path_of(place, "snapshots", commit, path);
}

int place_open(const struct remote_model *remote, struct place *out, struct err *err) {
    char *root = hub_root();
    struct buf folder = {0};
    *out = (struct place){0};
    if (!root)
        return err_set(err, STATUS_FAILED,
                       "neither HOME nor HF_HUB_CACHE is set: there is no place for a model");
    buf_printf(&folder, "%s/models--%s--%s", root, remote->owner, remote->name);
    out->folder = buf_take(&folder);
    free(root);
    char *blob = place_blob(out, "x");
    int status = make_folders(blob, err);
    free(blob);
    return status;
}

void place_close(struct place *place) {
    free(place->folder);
    place->folder = NULL;
}

/* A new one beside it takes the old one's place, so that there is always one of them. */
static int put_link(const char *target, const char *path, struct err *err) {
    struct buf fresh = {0};
    buf_printf(&fresh, "%s.%ld", path, (long)getpid());
    bool placed = symlink(target, fresh.data) == 0 && rename(fresh.data, path) == 0;
    int failed = errno;
    if (!placed) unlink(fresh.data);
    buf_free(&fresh);
    return placed ? STATUS_OK
                  : err_set(err, STATUS_FAILED, "cannot make the link %s: %s", path, strerror(failed));
}

int place_link(const struct place *place, const struct remote_model *remote, const struct remote_file *file,
               struct err *err) {
    char *path = place_snapshot(place, remote->commit, file->path);
    struct buf target = {0};
    for (const char *slash = file->path; (slash = strchr(slash, '/')); slash++) buf_puts(&target, "../");
    buf_printf(&target, "../../blobs/%s", file->digest);
    int status = make_folders(path, err);
    if (status == STATUS_OK) status = put_link(target.data, path, err);
    buf_free(&target);
    free(path);
    return status;
}

int place_ref(const struct place *place, const struct remote_model *remote, struct err *err) {
    char *path = path_of(place, "refs", remote->revision, NULL);
    struct buf fresh = {0};
    size_t n = strlen(remote->commit);
    int status = make_folders(path, err);
    buf_printf(&fresh, "%s.%ld", path, (long)getpid());
    int fd = status == STATUS_OK ? open(fresh.data, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666) : -1;
    bool placed = fd >= 0 && write(fd, remote->commit, n) == (ssize_t)n;
    if (fd >= 0 && close(fd)) placed = false;
    if (placed) placed = rename(fresh.data, path) == 0;
    if (!placed && status == STATUS_OK)
        status = err_set(err, STATUS_FAILED, "cannot write %s: %s", path, strerror(errno));
    if (!placed && fd >= 0) unlink(fresh.data);
    buf_free(&fresh);
    free(path);
    return status;
}
