/* The Ollama registry, which speaks the distribution protocol of container images: a manifest, and blobs by
 * digest (opencontainers/distribution-spec; the media types are ollama's, server/images.go). */
#include "base/buf.h"
#include "base/mem.h"
#include "models/http.h"
#include "models/remote.h"
#include "models/stores.h"

#include <jansson.h>
#include <string.h>

#define MODEL_LAYER "application/vnd.ollama.image.model"

static char *text_of(const char *fmt, const char *a, const char *b, const char *c, const char *d) {
    struct buf text = {0};
    buf_printf(&text, fmt, a, b, c, d);
    return buf_take(&text);
}

/* The one file of weights. */
static int read_manifest(const struct model_origin *origin, const struct buf *body, struct remote_model *out,
                         struct err *err) {
    json_t *manifest = json_loadb(body->data ? body->data : "", body->len, 0, NULL), *layer, *model = NULL;
    size_t i, n = 0, others = 0;
    json_array_foreach(json_object_get(manifest, "layers"), i, layer) {
        const char *type = json_string_value(json_object_get(layer, "mediaType"));
        if (type && strcmp(type, MODEL_LAYER) == 0 && !n++) model = layer;
        if (type && (strstr(type, "image.adapter") || strstr(type, "image.tensor"))) others++;
    }
    const char *digest = json_string_value(json_object_get(model, "digest"));
    json_int_t size = json_integer_value(json_object_get(model, "size"));
    int status = STATUS_OK;
    if (!json_is_array(json_object_get(manifest, "layers")))
        status = err_set(err, STATUS_FAILED, "%s: found a manifest without layers, expected one of a model",
                         out->what);
    else if (n != 1 || others)
        status = err_set(err, STATUS_FAILED,
                         "%s is no single GGUF file: found %zu of weights and %zu adapters or tensors",
                         out->what, n, others);
    else if (!digest || strncmp(digest, "sha256:", 7) || !is_digest(digest + 7) || size <= 0)
        status = err_set(err, STATUS_FAILED, "%s: found digest \"%.80s\", expected sha256: and 64 digits",
                         out->what, digest ? digest : "");
    else
        remote_add(out, text_of("%s-%s%s.gguf", origin->name, out->revision, "", ""),
                   text_of("%s/v2/%s/%s/blobs/%s", out->endpoint, origin->owner, origin->name, digest),
                   digest + 7, (uint64_t)size);
    json_decref(manifest);
    return status;
}

int registry_resolve(const struct model_origin *origin, const atomic_bool *stop, struct remote_model *out,
                     struct err *err) {
    bool library = strcmp(origin->owner, "library") == 0;
    const char *tag = *origin->tag ? origin->tag : "latest";
    *out = (struct remote_model){.owner = xstrdup(OLLAMA_HOST), .revision = xstrdup(tag)};
    /* the repository's name has one part there */
    out->name = library ? xstrdup(origin->name) : text_of("%s.%s%s%s", origin->owner, origin->name, "", "");
    out->what = text_of("%s%s%s:%s", library ? "" : origin->owner, library ? "" : "/", origin->name, tag);
    out->page = text_of("https://ollama.com/%s/%s%s%s", origin->owner, origin->name, "", "");
    int status = remote_endpoint("LOGITOP_OLLAMA_ENDPOINT", "https://" OLLAMA_HOST, &out->endpoint, err);
    if (status < 0) return status;
    struct service service = remote_service(out, stop);
    service.accept = "application/vnd.docker.distribution.manifest.v2+json";
    char *url = text_of("%s/v2/%s/%s/manifests/%s", out->endpoint, origin->owner, origin->name, tag);
    struct buf body = {0};
    struct reply reply = {0};
    status = http_get(&service, url, &body, &reply, NULL, err);
    if (status == STATUS_OK) {
        char digest[SHA256_HEX];
        sha256_hex(body.data ? body.data : "", body.len, digest);
        out->commit = xstrdup(digest);
        status = read_manifest(origin, &body, out, err);
    }
    reply_clear(&reply);
    buf_free(&body);
    free(url);
    return status;
}
