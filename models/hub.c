/* The Hugging Face hub: api/models/R/refs tells the commit, api/models/R/tree/COMMIT the files with the
 * SHA-256 of those that are large, R/resolve/COMMIT/PATH gives the bytes (as llama.cpp asks for them,
 * common/hf-cache.cpp). */
#include "base/buf.h"
#include "base/mem.h"
#include "models/http.h"
#include "models/list.h"
#include "models/remote.h"
#include "models/stores.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { PAGES_MAX = 100 };

struct repo_file {
    char *path;
    const char *name;        /* in path */
    char digest[SHA256_HEX]; /* "": it has none */
    uint64_t size;
};

struct listing {
    struct repo_file *files;
    size_t n, cap;
};

/* ---- who asks ---- */

/* HF_TOKEN, else the file that `hf auth login` writes. Only what can stand in a header. */
static char *find_token(void) {
    static const char *const variables[] = {"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"};
    char *token = NULL;
    for (size_t i = 0; i < 2 && !token; i++) {
        const char *value = getenv(variables[i]);
        if (value && *value) token = xstrdup(value);
    }
    const char *path = getenv("HF_TOKEN_PATH"), *hf_home = getenv("HF_HOME"), *home = home_folder();
    if (!token && path && *path) token = read_small(path);
    if (!token && (hf_home || home)) {
        char *file = hf_home && *hf_home ? path_join(hf_home, "token")
                     : home              ? path_join(home, ".cache/huggingface/token")
                                         : NULL;
        if (file) token = read_small(file);
        free(file);
    }
    for (const char *at = token; at && *at; at++)
        if (*at <= ' ' || *at >= 0x7F) {
            free(token);
            return NULL;
        }
    if (token && !*token) {
        free(token);
        token = NULL;
    }
    return token;
}

/* ---- the commit ---- */

static bool is_commit(const char *text) {
    size_t n = strspn(text, "0123456789abcdef");
    return n >= 40 && n <= 64 && !text[n];
}

/* The name at which redirects ended: .../api/models/USER/REPO/refs. */
static void note_renamed(struct remote_model *out, const char *url) {
    static const char begin[] = "/api/models/";
    const char *at = url ? strstr(url, begin) : NULL;
    struct model_origin now;
    if (!at) return;
    at += sizeof begin - 1;
    size_t owner = strcspn(at, "/");
    size_t name = at[owner] ? strcspn(at + owner + 1, "/") : 0;
    char *whole = xmemdup(at, owner + (name ? 1 + name : 0));
    if (name && origin_parse(whole, &now, NULL) == STATUS_OK && !now.is_ollama &&
        (strcasecmp(now.owner, out->owner) || strcasecmp(now.name, out->name))) {
        struct buf note = {0};
        buf_printf(&note, "%s/%s is %s now", out->owner, out->name, whole);
        out->note = buf_take(&note);
        free(out->owner);
        free(out->name);
        out->owner = xstrdup(now.owner);
        out->name = xstrdup(now.name);
    }
    free(whole);
}

static int read_refs(struct remote_model *out, const struct buf *body, struct err *err) {
    json_t *refs = json_loadb(body->data ? body->data : "", body->len, 0, NULL), *branch;
    size_t i;
    json_array_foreach(json_object_get(refs, "branches"), i, branch) {
        const char *name = json_string_value(json_object_get(branch, "name"));
        const char *commit = json_string_value(json_object_get(branch, "targetCommit"));
        if (name && commit && strcmp(name, "main") == 0 && is_commit(commit)) out->commit = xstrdup(commit);
        if (out->commit) break;
    }
    json_decref(refs);
    if (out->commit) return STATUS_OK;
    return err_set(err, STATUS_FAILED, "%s: found no branch main with a commit, expected one", out->what);
}

static char *url_of(const struct remote_model *remote, const char *before, const char *after,
                    const char *rest) {
    struct buf url = {0};
    buf_printf(&url, "%s%s/%s/%s%s%s", remote->endpoint, before, remote->owner, remote->name, after, rest);
    return buf_take(&url);
}

static int find_commit(struct remote_model *out, const struct service *service, struct err *err) {
    char *url = url_of(out, "/api/models", "/refs", ""), *moved = NULL;
    struct buf body = {0};
    struct reply reply = {0};
    int status = http_get(service, url, &body, &reply, &moved, err);
    if (status == STATUS_OK) note_renamed(out, moved);
    if (status == STATUS_OK) status = read_refs(out, &body, err);
    reply_clear(&reply);
    buf_free(&body);
    free(moved);
    free(url);
    return status;
}

/* ---- the files ---- */

static void listing_free(struct listing *listing) {
    for (size_t i = 0; i < listing->n; i++) free(listing->files[i].path);
    free(listing->files);
}

/* GGUF files with plain names; others are none of ours. */
static int read_page(const struct remote_model *remote, const struct buf *body, struct listing *listing,
                     struct err *err) {
    json_t *tree = json_loadb(body->data ? body->data : "", body->len, 0, NULL), *item;
    size_t i;
    if (!json_is_array(tree)) {
        json_decref(tree);
        return err_set(err, STATUS_FAILED, "%s: found no list of files, expected one", remote->what);
    }
    json_array_foreach(tree, i, item) {
        const char *path = json_string_value(json_object_get(item, "path"));
        const json_t *lfs = json_object_get(item, "lfs");
        const char *digest = json_string_value(json_object_get(lfs, "oid"));
        json_int_t size = json_integer_value(json_object_get(lfs ? lfs : item, "size"));
        size_t n = path ? strlen(path) : 0;
        if (n <= 5 || strcasecmp(path + n - 5, ".gguf") || !path_is_plain(path) || size <= 0) continue;
        grow_array(&listing->files, &listing->cap, listing->n + 1, sizeof *listing->files);
        struct repo_file *file = &listing->files[listing->n++];
        const char *slash = strrchr(path, '/');
        *file = (struct repo_file){.path = xstrdup(path), .size = (uint64_t)size};
        file->name = file->path + (slash ? slash + 1 - path : 0);
        if (digest && is_digest(digest)) memcpy(file->digest, digest, sizeof file->digest);
    }
    json_decref(tree);
    return STATUS_OK;
}

static int by_path(const void *a, const void *b) {
    return strcmp(((const struct repo_file *)a)->path, ((const struct repo_file *)b)->path);
}

static int list_files(const struct remote_model *remote, const struct service *service,
                      struct listing *listing, struct err *err) {
    char *url = url_of(remote, "/api/models", "/tree/", remote->commit);
    struct buf body = {0};
    struct reply reply = {0};
    int status = STATUS_OK;
    size_t n = strlen(remote->endpoint), end = strlen(url);
    url = xrealloc(url, end + sizeof "?recursive=true");
    strcpy(url + end, "?recursive=true");
    for (int page = 0; status == STATUS_OK && url; page++) {
        status = http_get(service, url, &body, &reply, NULL, err);
        if (status == STATUS_OK) status = read_page(remote, &body, listing, err);
        free(url);
        url = reply.next;
        reply.next = NULL;
        /* The next page is this server's, or there is none: the token goes with the request. */
        if (url && (page >= PAGES_MAX || strncmp(url, remote->endpoint, n) || url[n] != '/')) {
            free(url);
            url = NULL;
        }
    }
    if (listing->n) qsort(listing->files, listing->n, sizeof *listing->files, by_path);
    free(url);
    reply_clear(&reply);
    buf_free(&body);
    return status;
}

/* ---- which of them ---- */

/* The first shard, or the only file. */
static bool begins_model(const struct repo_file *file) {
    unsigned number, count;
    size_t stem;
    return !model_name_hidden(file->name) &&
           (!model_name_shard(file->name, &number, &count, &stem) || number == 1);
}

/* The shortest name of that quantisation: "x-Q4_K_M.gguf" rather than "x-UD-Q4_K_M.gguf"; else one that has
 * the word in it. */
static const struct repo_file *with_quant(const struct listing *listing, const char *quant) {
    const struct repo_file *best = NULL;
    char found[QUANT_MAX];
    for (size_t i = 0; i < listing->n; i++) {
        const struct repo_file *file = &listing->files[i];
        if (!begins_model(file) || !model_name_quant(file->name, found) || strcasecmp(found, quant)) continue;
        if (!best || strlen(file->name) < strlen(best->name)) best = file;
    }
    for (size_t i = 0; i < listing->n && !best; i++)
        if (begins_model(&listing->files[i]) && strcasestr(listing->files[i].name, quant))
            best = &listing->files[i];
    return best;
}

static const struct repo_file *any_model(const struct listing *listing) {
    const struct repo_file *best = with_quant(listing, "Q4_K_M");
    if (!best) best = with_quant(listing, "Q8_0");
    for (size_t i = 0; i < listing->n && !best; i++)
        if (begins_model(&listing->files[i])) best = &listing->files[i];
    return best;
}

static int tell_missing(const struct remote_model *remote, const struct model_origin *origin,
                        const struct listing *listing, struct err *err) {
    struct buf there = {0};
    char quant[QUANT_MAX];
    for (size_t i = 0; i < listing->n; i++) {
        const struct repo_file *file = &listing->files[i];
        if (!begins_model(file)) continue;
        if (there.len < 300)
            buf_printf(&there, "%s%s", there.len ? ", " : "",
                       model_name_quant(file->name, quant) ? quant : file->name);
    }
    const char *wanted = origin->file ? origin->file : origin->tag;
    int status =
        there.len ? err_set(err, STATUS_FAILED, "%s has no %s; it has %s", remote->what, wanted, there.data)
                  : err_set(err, STATUS_FAILED,
                            "%s has no GGUF file: look for a repository whose name ends in GGUF at %s",
                            remote->what, remote->page);
    buf_free(&there);
    return status;
}

static int add_file(struct remote_model *out, const struct repo_file *file, struct err *err) {
    if (!*file->digest)
        return err_set(err, STATUS_FAILED,
                       "%s: the hub tells no SHA-256 of %s: it cannot be checked and is not fetched",
                       out->what, file->path);
    struct buf url = {0};
    buf_printf(&url, "%s/%s/%s/resolve/%s/", out->endpoint, out->owner, out->name, out->commit);
    for (const unsigned char *at = (const unsigned char *)file->path; *at; at++) {
        bool plain = (*at | 32) >= 'a' && (*at | 32) <= 'z';
        if (plain || (*at >= '0' && *at <= '9') || strchr("/-._~", *at))
            buf_putc(&url, (char)*at);
        else
            buf_printf(&url, "%%%02X", *at);
    }
    remote_add(out, xstrdup(file->path), buf_take(&url), file->digest, file->size);
    return STATUS_OK;
}

/* With a first shard, all that belong to it. */
static int add_model(struct remote_model *out, const struct listing *listing, const struct repo_file *first,
                     struct err *err) {
    unsigned number, count, other, other_count;
    size_t stem, other_stem, folder = (size_t)(first->name - first->path);
    if (!model_name_shard(first->name, &number, &count, &stem)) return add_file(out, first, err);
    for (number = 1; number <= count; number++) {
        const struct repo_file *found = NULL;
        for (size_t i = 0; i < listing->n && !found; i++) {
            const struct repo_file *file = &listing->files[i];
            if (model_name_shard(file->name, &other, &other_count, &other_stem) && other == number &&
                other_count == count && strncmp(file->path, first->path, folder + stem) == 0 &&
                folder + stem == (size_t)(file->name - file->path) + other_stem)
                found = file;
        }
        if (!found)
            return err_set(err, STATUS_FAILED, "%s: file %u of %u of %s is not there", out->what, number,
                           count, first->path);
        int status = add_file(out, found, err);
        if (status < 0) return status;
    }
    return STATUS_OK;
}

static int choose(const struct model_origin *origin, const struct listing *listing, struct remote_model *out,
                  struct err *err) {
    const struct repo_file *chosen = NULL;
    if (origin->file) {
        for (size_t i = 0; i < listing->n && !chosen; i++)
            if (strcmp(listing->files[i].path, origin->file) == 0 ||
                strcmp(listing->files[i].name, origin->file) == 0)
                chosen = &listing->files[i];
    } else {
        chosen = *origin->tag ? with_quant(listing, origin->tag) : any_model(listing);
    }
    return chosen ? add_model(out, listing, chosen, err) : tell_missing(out, origin, listing, err);
}

int hub_resolve(const struct model_origin *origin, const atomic_bool *stop, struct remote_model *out,
                struct err *err) {
    struct listing listing = {0};
    struct buf text = {0};
    *out = (struct remote_model){
        .owner = xstrdup(origin->owner), .name = xstrdup(origin->name), .revision = xstrdup("main")};
    buf_printf(&text, "%s/%s", origin->owner, origin->name);
    out->what = buf_take(&text);
    out->token = find_token();
    int status = remote_endpoint("HF_ENDPOINT", "https://huggingface.co", &out->endpoint, err);
    if (status < 0) return status;
    buf_printf(&text, "%s/%s", out->endpoint, out->what);
    out->page = buf_take(&text);
    struct service service = remote_service(out, stop);
    status = find_commit(out, &service, err);
    if (status == STATUS_OK) status = list_files(out, &service, &listing, err);
    if (status == STATUS_OK) status = choose(origin, &listing, out, err);
    listing_free(&listing);
    return status;
}
