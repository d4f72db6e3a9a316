/* The Hugging Face cache: models--USER--REPO/{refs/NAME = commit, snapshots/COMMIT/FILE -> ../../blobs/OID},
 * where the OID of a large file is its SHA-256 (huggingface_hub, "Understand caching"). */
#include "models/stores.h"

#include "base/mem.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

enum { DEPTH_MAX = 4 }; /* folders in a repository */

char *hub_root(void) {
    static const char *const whole[] = {"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"};
    for (size_t i = 0; i < sizeof whole / sizeof *whole; i++) {
        const char *value = getenv(whole[i]);
        if (value && *value) return xstrdup(value);
    }
    const char *hf_home = getenv("HF_HOME"), *cache = getenv("XDG_CACHE_HOME"), *home = home_folder();
    if (hf_home && *hf_home) return path_join(hf_home, "hub");
    if (cache && cache[0] == '/') return path_join(cache, "huggingface/hub");
    return home ? path_join(home, ".cache/huggingface/hub") : NULL;
}

struct repository {
    struct model_list *list;
    char *folder, *name; /* "user/repo" */
    bool is_ollama;      /* of the Ollama registry, fetched by `pull` */
    char *revision;      /* the ref that is walked, "main" */
    char *commit;        /* of refs/main, or of the ref at hand */
    int depth;
};

/* "models--user--repo" is user/repo; NULL for other folders. */
static char *repository_name(const char *folder) {
    static const char begins[] = "models--";
    if (strncmp(folder, begins, sizeof begins - 1)) return NULL;
    struct buf name = {0};
    for (const char *at = folder + sizeof begins - 1; *at;) {
        bool cut = at[0] == '-' && at[1] == '-';
        buf_putc(&name, cut ? '/' : *at);
        at += cut ? 2 : 1;
    }
    return buf_take(&name);
}

/* The SHA-256 that the link's target is named by. */
static char *link_digest(const char *path) {
    char target[PATH_MAX];
    ssize_t n = readlink(path, target, sizeof target - 1);
    if (n < 0) return NULL;
    target[n] = '\0';
    const char *slash = strrchr(target, '/');
    return slash && is_digest(slash + 1) ? xstrdup(slash + 1) : NULL;
}

/* user/repo:QUANT; a file that tells no quantisation by its name is user/repo/FILE. The registry's: name:tag.
 */
static char *entry_name(const struct repository *r, const char *file) {
    char quant[QUANT_MAX];
    struct buf name = {0};
    if (r->is_ollama)
        buf_printf(&name, "%s:%s", r->name + sizeof OLLAMA_HOST, r->revision);
    else if (model_name_quant(file, quant))
        buf_printf(&name, "%s:%s", r->name, quant);
    else
        buf_printf(&name, "%s/%.*s", r->name, (int)(strlen(file) - 5), file);
    return buf_take(&name);
}

static void visit_file(void *ctx, const char *folder, const char *name) {
    struct repository *r = ctx;
    char *path = path_join(folder, name);
    size_t n = strlen(name);
    if (n > 5 && strcasecmp(name + n - 5, ".gguf") == 0 && is_file(path)) {
        list_add(r->list, MODEL_SOURCE_HUB, entry_name(r, name), path, link_digest(path), NULL);
        return;
    }
    if (r->depth < DEPTH_MAX && is_folder(path)) {
        r->depth++;
        folder_each(path, visit_file, r);
        r->depth--;
    }
    free(path);
}

static void walk_commit(struct repository *r, const char *commit) {
    if (strchr(commit, '/') || commit[0] == '.' || !*commit)
        return; /* a name of a folder, and nothing else */
    struct buf folder = {0};
    buf_printf(&folder, "%s/snapshots/%s", r->folder, commit);
    folder_each(folder.data, visit_file, r);
    buf_free(&folder);
}

static void visit_ref(void *ctx, const char *folder, const char *name) {
    struct repository *r = ctx;
    char *path = path_join(folder, name), *commit = read_small(path);
    bool again = r->commit && commit && strcmp(r->commit, commit) == 0; /* two names of the same */
    if (commit && (r->is_ollama || !again)) {
        r->revision = (char *)name;
        walk_commit(r, commit);
    }
    if (commit && !again) {
        free(r->commit);
        r->commit = xstrdup(commit);
    }
    free(commit);
    free(path);
}

static void visit_snapshot(void *ctx, const char *folder, const char *name) {
    (void)folder;
    walk_commit(ctx, name);
}

static void visit_repository(void *ctx, const char *root, const char *folder) {
    struct repository r = {.list = ctx, .name = repository_name(folder), .revision = "main"};
    if (!r.name) return;
    r.folder = path_join(root, folder);
    r.is_ollama = strncmp(r.name, OLLAMA_HOST "/", sizeof OLLAMA_HOST) == 0;
    char *refs = path_join(r.folder, "refs"), *snapshots = path_join(r.folder, "snapshots");
    char *main_path = path_join(refs, "main"), *commit = r.is_ollama ? NULL : read_small(main_path);
    if (commit)
        walk_commit(&r, commit);
    else if (!folder_each(refs, visit_ref, &r))
        folder_each(snapshots, visit_snapshot, &r);
    free(commit);
    free(r.commit);
    free(main_path);
    free(snapshots);
    free(refs);
    free(r.folder);
    free(r.name);
}

void store_hub(struct model_list *list, const char *root) {
    folder_each(root, visit_repository, list);
}
