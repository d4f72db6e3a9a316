/* Ollama's store: manifests/HOST/NAMESPACE/MODEL/TAG, JSON with a list of layers; the weights are the layer
 * `application/vnd.ollama.image.model` in blobs/sha256-HEX (ollama, docs and server/images.go). Its makers
 * call it private: what is not as expected is passed over. */
#include "models/stores.h"

#include "base/mem.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SERVICE "/usr/share/ollama/.ollama/models"
#define LAYER "application/vnd.ollama.image."

struct ollama {
    struct model_list *list;
    const char *root;
    const char *part[4]; /* host, namespace, model, tag */
    int depth;
};

/* As `ollama list` names it: without what is the default. */
static char *entry_name(const struct ollama *o) {
    struct buf name = {0};
    bool home = strcmp(o->part[0], "registry.ollama.ai") == 0;
    if (!home) buf_printf(&name, "%s/", o->part[0]);
    if (!home || strcmp(o->part[1], "library")) buf_printf(&name, "%s/", o->part[1]);
    buf_printf(&name, "%s:%s", o->part[2], o->part[3]);
    return buf_take(&name);
}

static const char *layer_fault(size_t n_models, size_t n_tensors, size_t n_adapters) {
    if (n_tensors) return "stored tensor by tensor, not as a GGUF file";
    if (n_adapters) return "has an adapter, which cannot be applied here";
    if (n_models > 1) return "several files of weights, expected one";
    return NULL;
}

static void read_manifest(struct ollama *o, const char *path) {
    char *text = read_small(path), *model = NULL;
    json_t *manifest = text ? json_loads(text, 0, NULL) : NULL, *layer;
    size_t i, n_models = 0, n_tensors = 0, n_adapters = 0;
    json_array_foreach(json_object_get(manifest, "layers"), i, layer) {
        const char *type = json_string_value(json_object_get(layer, "mediaType"));
        const char *digest = json_string_value(json_object_get(layer, "digest"));
        if (!type || strncmp(type, LAYER, sizeof LAYER - 1)) continue;
        type += sizeof LAYER - 1;
        n_tensors += strcmp(type, "tensor") == 0;
        n_adapters += strcmp(type, "adapter") == 0;
        if (strcmp(type, "model") || !digest || strncmp(digest, "sha256:", 7) || !is_digest(digest + 7))
            continue;
        if (!n_models++) model = xstrdup(digest + 7);
    }
    const char *fault = layer_fault(n_models, n_tensors, n_adapters);
    if (model || n_tensors) {
        struct buf blob = {0};
        buf_printf(&blob, "%s/blobs/sha256-%s", o->root, model ? model : "");
        list_add(o->list, MODEL_SOURCE_OLLAMA, entry_name(o), model ? buf_take(&blob) : xstrdup(path), model,
                 fault);
        buf_free(&blob);
    }
    json_decref(manifest);
    free(text);
}

static void visit(void *ctx, const char *folder, const char *name) {
    struct ollama *o = ctx;
    char *path = path_join(folder, name);
    o->part[o->depth] = name;
    if (o->depth == 3) {
        if (is_file(path)) read_manifest(o, path);
    } else {
        o->depth++;
        folder_each(path, visit, o);
        o->depth--;
    }
    free(path);
}

/* $OLLAMA_MODELS, else the user's, else the service's. */
static char *ollama_root(void) {
    const char *value = getenv("OLLAMA_MODELS"), *home = home_folder();
    if (value && *value) return xstrdup(value);
    char *own = home ? path_join(home, ".ollama/models") : NULL;
    if (own && is_folder(own)) return own;
    free(own);
    return xstrdup(SERVICE);
}

void store_ollama(struct model_list *list) {
    char *root = ollama_root(), *manifests = path_join(root, "manifests");
    struct ollama o = {.list = list, .root = root};
    if (!folder_each(manifests, visit, &o) && errno == EACCES)
        list_note(list,
                  "%s: no permission; adding yourself to the group helps: sudo usermod -aG ollama $USER",
                  root);
    free(manifests);
    free(root);
}

char *ollama_blob(const char *digest) {
    char *root = ollama_root();
    struct buf path = {0};
    buf_printf(&path, "%s/blobs/sha256-%s", root, digest);
    free(root);
    return buf_take(&path);
}
