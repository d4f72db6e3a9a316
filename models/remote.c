#include "models/remote.h"

#include "base/buf.h"
#include "base/mem.h"
#include "models/http.h"

#include <stdlib.h>
#include <string.h>

void remote_free(struct remote_model *remote) {
    char *texts[] = {remote->endpoint, remote->what,     remote->page,   remote->token, remote->owner,
                     remote->name,     remote->revision, remote->commit, remote->note};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) free(texts[i]);
    for (size_t i = 0; i < remote->n; i++) {
        free(remote->files[i].path);
        free(remote->files[i].url);
    }
    free(remote->files);
    *remote = (struct remote_model){0};
}

struct service remote_service(const struct remote_model *remote, const atomic_bool *stop) {
    return (struct service){.endpoint = remote->endpoint,
                            .what = remote->what,
                            .page = remote->page,
                            .token = remote->token,
                            .stop = stop};
}

void remote_add(struct remote_model *remote, char *path, char *url, const char *digest, uint64_t size) {
    grow_array(&remote->files, &remote->cap, remote->n + 1, sizeof *remote->files);
    struct remote_file *file = &remote->files[remote->n++];
    *file = (struct remote_file){.path = path, .url = url, .size = size};
    memcpy(file->digest, digest, sizeof file->digest);
}

int remote_endpoint(const char *variable, const char *usual, char **out, struct err *err) {
    const char *value = getenv(variable);
    if (!value || !*value) value = usual;
    if (strncmp(value, "https://", 8) && strncmp(value, "http://", 7))
        return err_set(err, STATUS_USAGE, "%s: found \"%s\", expected an address that begins with https://",
                       variable, value);
    *out = xstrdup(value);
    for (size_t n = strlen(*out); n > 8 && (*out)[n - 1] == '/'; n--) (*out)[n - 1] = '\0';
    return STATUS_OK;
}
