/* Hyperparameters: every key of the architecture, with the range a sane model stays in. */
#include "infer/model_internal.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    LAYERS_MAX = 512,
    WIDTH_MAX = 1 << 24,
    HEADS_MAX = 1 << 16,
    HEAD_DIM_MAX = 256,
    CONTEXT_MAX = 1 << 28, /* bytes of a KV cache stay far below 2^64 */
};
static const float NORM_EPS_MAX = 1e-2f;

static const struct architecture architectures[] = {
    {.name = "llama", .pairing = ROPE_NEIGHBOURS, .biases = true},
    {.name = "qwen2",
     .pairing = ROPE_HALVES,
     .biases = true,
     .biases_needed = true,
     .rope_base_needed = true},
    {.name = "qwen3", .pairing = ROPE_HALVES, .head_norms = true, .rope_base_needed = true},
};
enum { N_ARCHITECTURES = sizeof architectures / sizeof *architectures };

const struct architecture *architecture_find(struct span name) {
    for (int i = 0; i < N_ARCHITECTURES; i++)
        if (strlen(architectures[i].name) == name.len &&
            memcmp(architectures[i].name, name.bytes, name.len) == 0)
            return &architectures[i];
    return NULL;
}

void architecture_list(char *out, size_t size) {
    size_t at = 0;
    for (int i = 0; i < N_ARCHITECTURES && at < size; i++)
        at += (size_t)snprintf(out + at, size - at, "%s%s", i ? ", " : "", architectures[i].name);
}

static int read_architecture(struct model *m, struct err *err) {
    struct span name;
    int status = gguf_string(m->gguf, "general.architecture", GGUF_NEEDED, &name, err);
    if (status) return status;
    m->architecture = architecture_find(name);
    if (m->architecture) return STATUS_OK;
    char known[128];
    architecture_list(known, sizeof known);
    return err_set(err, STATUS_UNSUPPORTED, "%s: key general.architecture: found '%.*s', expected one of %s",
                   gguf_path(m->gguf), (int)(name.len < 100 ? name.len : 100), name.bytes, known);
}

static int check_range(const struct model *m, const char *key, uint32_t value, uint32_t least, uint32_t most,
                       struct err *err) {
    if (value >= least && value <= most) return STATUS_OK;
    return err_set(err, STATUS_MODEL, "%s: key %s: found %" PRIu32 ", expected %" PRIu32 " to %" PRIu32,
                   gguf_path(m->gguf), key, value, least, most);
}

static int read_natural(const struct model *m, const char *name, enum gguf_need need, uint32_t least,
                        uint32_t most, uint32_t *out, struct err *err) {
    char key[MODEL_KEY_MAX];
    int status = gguf_u32(m->gguf, model_key(m, name, key), need, out, err);
    if (status || !gguf_find(m->gguf, key)) return status;
    return check_range(m, key, *out, least, most, err);
}

/* A key that may be one number or an array with one for each layer; the layers must agree. */
static int read_per_layer(const struct model *m, const char *name, enum gguf_need need, uint32_t most,
                          uint32_t *out, struct err *err) {
    char key[MODEL_KEY_MAX];
    const struct gguf_value *value = gguf_find(m->gguf, model_key(m, name, key));
    if (!value || !value->is_array) return read_natural(m, name, need, 1, most, out, err);
    int32_t *each;
    size_t n;
    int status = gguf_i32s(m->gguf, key, need, &each, &n, err);
    if (status) return status;
    if (n != m->view.n_layers)
        status = err_set(err, STATUS_MODEL,
                         "%s: key %s: found %zu elements, expected one for each of %" PRIu32 " layers",
                         gguf_path(m->gguf), key, n, m->view.n_layers);
    for (size_t i = 0; i < n && !status; i++)
        if (each[i] < 1 || each[i] != each[0])
            status = err_set(err, STATUS_UNSUPPORTED,
                             "%s: key %s: found %" PRId32 " for layer %zu, expected the same positive "
                             "number for all",
                             gguf_path(m->gguf), key, each[i], i);
    if (!status) *out = (uint32_t)each[0];
    free(each);
    return status ? status : check_range(m, key, *out, 1, most, err);
}

static int fault(const struct model *m, const char *name, uint32_t found, const char *expected, uint32_t than,
                 struct err *err) {
    char key[MODEL_KEY_MAX];
    return err_set(err, STATUS_MODEL, "%s: key %s: found %" PRIu32 ", expected %s %" PRIu32,
                   gguf_path(m->gguf), model_key(m, name, key), found, expected, than);
}

static int read_heads(struct model *m, struct err *err) {
    struct model_view *v = &m->view;
    int status;
    if ((status = read_per_layer(m, "attention.head_count", GGUF_NEEDED, HEADS_MAX, &v->n_heads, err)))
        return status;
    v->n_kv_heads = v->n_heads;
    if ((status =
             read_per_layer(m, "attention.head_count_kv", GGUF_OPTIONAL, HEADS_MAX, &v->n_kv_heads, err)))
        return status;
    if (v->n_kv_heads > v->n_heads || v->n_heads % v->n_kv_heads != 0)
        return fault(m, "attention.head_count_kv", v->n_kv_heads, "a divisor of head_count", v->n_heads, err);
    char key[MODEL_KEY_MAX];
    if (!gguf_find(m->gguf, model_key(m, "attention.key_length", key)) && v->n_embd % v->n_heads != 0)
        return fault(m, "embedding_length", v->n_embd, "a multiple of head_count", v->n_heads, err);
    v->head_dim = v->n_embd / v->n_heads;
    if ((status = read_natural(m, "attention.key_length", GGUF_OPTIONAL, 1, UINT32_MAX, &v->head_dim, err)))
        return status;
    if (v->head_dim == 0 || v->head_dim % 2 != 0 || v->head_dim > HEAD_DIM_MAX)
        return fault(m, "attention.key_length", v->head_dim, "an even number up to", HEAD_DIM_MAX, err);
    uint32_t value_length = v->head_dim;
    if ((status =
             read_natural(m, "attention.value_length", GGUF_OPTIONAL, 0, UINT32_MAX, &value_length, err)))
        return status;
    if (value_length != v->head_dim)
        return fault(m, "attention.value_length", value_length, "key_length", v->head_dim, err);
    v->rope_dim = v->head_dim;
    if ((status = read_natural(m, "rope.dimension_count", GGUF_OPTIONAL, 0, UINT32_MAX, &v->rope_dim, err)))
        return status;
    if (v->rope_dim == 0 || v->rope_dim % 2 != 0 || v->rope_dim > v->head_dim)
        return fault(m, "rope.dimension_count", v->rope_dim, "an even number up to", v->head_dim, err);
    return STATUS_OK;
}

static int read_norm_eps(struct model *m, struct err *err) {
    char key[MODEL_KEY_MAX];
    float eps = 0;
    int status =
        gguf_f32(m->gguf, model_key(m, "attention.layer_norm_rms_epsilon", key), GGUF_NEEDED, &eps, err);
    if (status) return status;
    m->view.norm_eps = eps;
    if (eps > 0 && eps <= NORM_EPS_MAX) return STATUS_OK;
    return err_set(err, STATUS_MODEL, "%s: key %s: found %g, expected more than 0 and at most %g",
                   gguf_path(m->gguf), key, (double)eps, (double)NORM_EPS_MAX);
}

/* Keys that would change what is computed in a way no backend does here. */
static int refuse_others(const struct model *m, struct err *err) {
    uint32_t experts = 0;
    int status = read_natural(m, "expert_count", GGUF_OPTIONAL, 0, UINT32_MAX, &experts, err);
    if (status) return status;
    char key[MODEL_KEY_MAX];
    if (experts)
        return err_set(err, STATUS_UNSUPPORTED,
                       "%s: key %s: found %" PRIu32 ", expected a model without experts", gguf_path(m->gguf),
                       model_key(m, "expert_count", key), experts);
    bool causal = true;
    status = gguf_bool(m->gguf, model_key(m, "attention.causal", key), GGUF_OPTIONAL, &causal, err);
    if (!status && !causal)
        status =
            err_set(err, STATUS_UNSUPPORTED, "%s: key %s: found false, expected a model that reads forward",
                    gguf_path(m->gguf), key);
    return status;
}

int model_read_params(struct model *m, struct err *err) {
    struct model_view *v = &m->view;
    uint32_t rows = 0;
    int status;
    if ((status = read_architecture(m, err))) return status;
    v->architecture = m->architecture->name;
    v->rope_pairing = m->architecture->pairing;
    if ((status = refuse_others(m, err)) ||
        (status = read_natural(m, "block_count", GGUF_NEEDED, 1, LAYERS_MAX, &v->n_layers, err)) ||
        (status = read_natural(m, "context_length", GGUF_NEEDED, 1, CONTEXT_MAX, &v->n_ctx_train, err)) ||
        (status = read_natural(m, "embedding_length", GGUF_NEEDED, 1, WIDTH_MAX, &v->n_embd, err)) ||
        (status = read_per_layer(m, "feed_forward_length", GGUF_NEEDED, WIDTH_MAX, &v->n_ff, err)) ||
        (status = read_natural(m, "vocab_size", GGUF_OPTIONAL, 1, UINT32_MAX, &rows, err)) ||
        (status = read_heads(m, err)))
        return status;
    return read_norm_eps(m, err);
}
