#include "models/pull.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/mem.h"
#include "base/thread.h"
#include "models/download.h"
#include "models/list.h"
#include "models/place.h"
#include "models/stores.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

enum { WINDOW = 20, SAMPLE_MS = 500, TELL_MS = 100 }; /* WINDOW samples are ten seconds */

struct pull {
    char *name, *file;
    pthread_t thread;
    bool has_thread;
    int fd;
    atomic_bool stop;
    pthread_mutex_t lock; /* of what follows */
    struct pull_progress progress;
    bool ended;
    /* the thread's own */
    int64_t told_ns;
    struct sample {
        int64_t ns;
        uint64_t done;
    } samples[WINDOW]; /* the newest at n_samples - 1, round and round */
    unsigned n_samples;
    /* once it ended */
    int status;
    struct err err;
    char *path;
};

static void wake(struct pull *pull) {
    fd_wake(pull->fd);
}

/* ---- progress ---- */

static void begin_file(struct pull *pull, const struct remote_model *remote, size_t i) {
    const struct remote_file *file = &remote->files[i];
    pthread_mutex_lock(&pull->lock);
    pull->progress = (struct pull_progress){.stage = PULL_FETCHING,
                                            .file = (unsigned)i + 1,
                                            .n_files = (unsigned)remote->n,
                                            .total = file->size,
                                            .left = -1};
    snprintf(pull->progress.name, sizeof pull->progress.name, "%s", file->path);
    if (remote->note) snprintf(pull->progress.note, sizeof pull->progress.note, "%s", remote->note);
    pthread_mutex_unlock(&pull->lock);
    pull->n_samples = 0;
    pull->told_ns = 0;
    wake(pull);
}

/* Bytes a second between the oldest sample of the window and now. */
static double rate_of(struct pull *pull, int64_t now, uint64_t done) {
    struct sample *newest = pull->n_samples ? &pull->samples[(pull->n_samples - 1) % WINDOW] : NULL;
    if (!newest || now - newest->ns >= SAMPLE_MS * (int64_t)1000000)
        pull->samples[pull->n_samples++ % WINDOW] = (struct sample){now, done};
    const struct sample *oldest = &pull->samples[pull->n_samples <= WINDOW ? 0 : pull->n_samples % WINDOW];
    double seconds = (double)(now - oldest->ns) * 1e-9;
    return seconds >= 0.2 && done > oldest->done ? (double)(done - oldest->done) / seconds : 0;
}

static void on_progress(void *ctx, uint64_t done, enum download_state state) {
    static const enum pull_stage stages[] = {[DOWNLOAD_RUNNING] = PULL_FETCHING,
                                             [DOWNLOAD_WAITING] = PULL_WAITING,
                                             [DOWNLOAD_CHECKING] = PULL_CHECKING};
    struct pull *pull = ctx;
    int64_t now = clock_ns();
    double rate = rate_of(pull, now, done);
    bool last = done == pull->progress.total;
    if (!last && now - pull->told_ns < TELL_MS * (int64_t)1000000) return;
    pull->told_ns = now;
    pthread_mutex_lock(&pull->lock);
    pull->progress.done = done;
    pull->progress.rate = rate;
    pull->progress.left = rate > 0 ? (int64_t)((double)(pull->progress.total - done) / rate + 0.5) : -1;
    pull->progress.stage = stages[state];
    pthread_mutex_unlock(&pull->lock);
    wake(pull);
}

/* ---- the work ---- */

static bool has_size(const char *path, uint64_t size) {
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode) && (uint64_t)st.st_size == size;
}

static int fetch_file(struct pull *pull, const struct remote_model *remote, const struct place *place,
                      size_t i, struct err *err) {
    const struct remote_file *file = &remote->files[i];
    char *blob = place_blob(place, file->digest);
    struct download job = {.service = remote_service(remote, &pull->stop),
                           .url = file->url,
                           .target = blob,
                           .digest = file->digest,
                           .size = file->size,
                           .progress = on_progress,
                           .ctx = pull};
    begin_file(pull, remote, i);
    int status = has_size(blob, file->size) ? STATUS_OK : download(&job, err);
    if (status == STATUS_OK)
        on_progress(pull, file->size, DOWNLOAD_RUNNING); /* what was there already, too */
    if (status == STATUS_OK) status = place_link(place, remote, file, err);
    free(blob);
    return status;
}

/* The same bytes in Ollama's store need not be fetched again. */
static char *have_elsewhere(const struct remote_model *remote) {
    if (remote->n != 1) return NULL;
    char *path = ollama_blob(remote->files[0].digest);
    if (path && has_size(path, remote->files[0].size)) return path;
    free(path);
    return NULL;
}

static int fetch(struct pull *pull, const struct remote_model *remote, struct err *err) {
    if ((pull->path = have_elsewhere(remote))) return STATUS_OK;
    struct place place;
    int status = place_open(remote, &place, err);
    for (size_t i = 0; i < remote->n && status == STATUS_OK; i++)
        status = fetch_file(pull, remote, &place, i, err);
    if (status == STATUS_OK) status = place_ref(&place, remote, err);
    if (status == STATUS_OK) pull->path = place_snapshot(&place, remote->commit, remote->files[0].path);
    place_close(&place);
    return status;
}

static int origin_of(const char *name, const char *file, struct model_origin *origin, struct err *err) {
    int status = origin_parse(name, origin, err);
    if (status < 0 || !file) return status;
    free(origin->file);
    origin->file = xstrdup(file);
    return STATUS_OK;
}

static void *run(void *arg) {
    struct pull *pull = arg;
    struct model_origin origin = {0};
    struct remote_model remote = {0};
    int status = origin_of(pull->name, pull->file, &origin, &pull->err);
    if (status == STATUS_OK)
        status =
            (origin.is_ollama ? registry_resolve : hub_resolve)(&origin, &pull->stop, &remote, &pull->err);
    if (status == STATUS_OK) status = fetch(pull, &remote, &pull->err);
    remote_free(&remote);
    free(origin.file);
    pthread_mutex_lock(&pull->lock);
    pull->status = status;
    pull->ended = true;
    pthread_mutex_unlock(&pull->lock);
    wake(pull);
    return NULL;
}

/* ---- the owner's side ---- */

struct pull *pull_start(const char *name, const char *file) {
    struct pull *pull = xcalloc(1, sizeof *pull);
    pull->name = xstrdup(name);
    pull->file = file ? xstrdup(file) : NULL;
    pull->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    pull->progress.left = -1;
    snprintf(pull->progress.name, sizeof pull->progress.name, "%s", name);
    pthread_mutex_init(&pull->lock, NULL);
    int failed = thread_start(&pull->thread, run, pull);
    pull->has_thread = !failed;
    if (failed) {
        pull->status = err_set(&pull->err, STATUS_FAILED, "no thread to fetch with: %s", strerror(failed));
        pull->ended = true;
        wake(pull);
    }
    return pull;
}

int pull_fd(const struct pull *pull) {
    return pull->fd;
}

bool pull_progress(struct pull *pull, struct pull_progress *out) {
    fd_calm(pull->fd);
    pthread_mutex_lock(&pull->lock);
    *out = pull->progress;
    bool ended = pull->ended;
    pthread_mutex_unlock(&pull->lock);
    return ended;
}

void pull_stop(struct pull *pull) {
    atomic_store(&pull->stop, true);
}

int pull_finish(struct pull *pull, char **path, struct err *err) {
    if (pull->has_thread) pthread_join(pull->thread, NULL);
    int status = pull->status;
    if (status < 0 && err) *err = pull->err;
    if (status == STATUS_OK && path) {
        *path = pull->path;
        pull->path = NULL;
    }
    close(pull->fd);
    pthread_mutex_destroy(&pull->lock);
    free(pull->path);
    free(pull->name);
    free(pull->file);
    free(pull);
    return status;
}

int pull_check_name(const char *name, struct err *err) {
    struct model_origin origin;
    int status = origin_parse(name, &origin, err);
    if (status == STATUS_OK) free(origin.file);
    return status;
}

/* Of the hub's entries those of this repository: of this file, else of this quantisation, else the usual
 * ones. */
static char *have_in(const struct model_list *list, const struct model_origin *origin) {
    static const char *const usual[] = {"Q4_K_M", "Q8_0", ""};
    struct buf prefix = {0};
    char *found = NULL;
    if (origin->is_ollama)
        buf_printf(&prefix, "%s%s%s:%s", strcmp(origin->owner, "library") ? origin->owner : "",
                   strcmp(origin->owner, "library") ? "." : "", origin->name,
                   *origin->tag ? origin->tag : "latest");
    else
        buf_printf(&prefix, "%s/%s", origin->owner, origin->name);
    for (size_t t = 0; t < 3 && !found; t++) {
        const char *tag = *origin->tag ? origin->tag : usual[t];
        for (size_t i = 0; i < list->n && !found; i++) {
            const struct model_entry *entry = &list->entries[i];
            const char *rest = entry->name + prefix.len, *file = strrchr(entry->path, '/');
            if (entry->fault || strncasecmp(entry->name, prefix.data, prefix.len)) continue;
            bool fits = origin->is_ollama ? !*rest
                        : origin->file    ? file && strcmp(file + 1, origin->file) == 0
                                       : (*rest == ':' || *rest == '/') && (!*tag || strcasestr(rest, tag));
            if (fits) found = xstrdup(entry->path);
        }
    }
    buf_free(&prefix);
    return found;
}

char *pull_have(const char *name, const char *file) {
    struct model_origin origin = {0};
    char *root = hub_root(), *found = NULL;
    struct model_list list = {0};
    if (root && origin_of(name, file, &origin, NULL) == STATUS_OK) {
        models_scan_hub(root, &list);
        found = have_in(&list, &origin);
    }
    models_free(&list);
    free(origin.file);
    free(root);
    return found;
}
