/* Tensors against hyperparameters: each has its place in the view, its shape and a type that can be computed
 * with; none is missing, none is left over. Vectors are small and are read once here, so that NaN is found
 * before the first token. */
#include "base/mem.h"
#include "infer/model_internal.h"

#include <inttypes.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const uint64_t ANY_ROWS = UINT64_MAX;
enum { VECTOR_CHUNK = 4096, ROWS_MAX = INT32_MAX };

struct search { /* state of one model_read_weights() */
    struct model *m;
    struct faults *faults;
    struct err *err;
    bool *used; /* [tensors] */
};

static int note(struct search *s, int status) {
    return fault_note(s->faults, status, s->err);
}

/* "[96, 320]", fastest first as other tools print it. */
static const char *shape_text(const uint64_t *dims, uint32_t n, char out[static 100]) {
    int at = snprintf(out, 100, "[");
    for (uint32_t i = 0; i < n; i++)
        at += snprintf(out + at, (size_t)(100 - at), "%s%" PRIu64, i ? ", " : "", dims[i]);
    snprintf(out + at, (size_t)(100 - at), "]");
    return out;
}

static int check_finite(const struct model *m, const struct gguf_tensor *tensor, struct err *err) {
    float chunk[VECTOR_CHUNK];
    for (uint64_t at = 0; at < tensor->n_elements; at += VECTOR_CHUNK) {
        uint64_t left = tensor->n_elements - at, n = left < VECTOR_CHUNK ? left : VECTOR_CHUNK;
        int status = gguf_read(m->gguf, tensor, at * sizeof *chunk, chunk, n * sizeof *chunk, err);
        if (status) return status;
        for (uint64_t i = 0; i < n; i++)
            if (!isfinite(chunk[i]))
                return err_set(err, STATUS_MODEL,
                               "%s: tensor %s: element %" PRIu64 ": found %g, expected a finite number",
                               gguf_path(m->gguf), tensor->name, at + i, (double)chunk[i]);
    }
    return STATUS_OK;
}

static int check_shape(const struct search *s, const struct gguf_tensor *tensor, uint64_t rows,
                       uint64_t cols) {
    uint64_t wanted[2] = {cols, rows};
    uint32_t n_dims = rows ? 2 : 1;
    bool right = tensor->n_dims == n_dims && tensor->dims[0] == cols;
    if (rows == ANY_ROWS) {
        right = right && tensor->dims[1] <= ROWS_MAX;
        wanted[1] = ROWS_MAX;
    } else if (rows) {
        right = right && tensor->dims[1] == rows;
    }
    if (right) return STATUS_OK;
    char found[100], expected[100];
    return err_set(s->err, STATUS_MODEL, "%s: tensor %s: found shape %s, expected %s%s",
                   gguf_path(s->m->gguf), tensor->name, shape_text(tensor->dims, tensor->n_dims, found),
                   shape_text(wanted, n_dims, expected), rows == ANY_ROWS ? " at most" : "");
}

static int check_type(const struct search *s, const struct gguf_tensor *tensor, uint64_t rows) {
    const struct dtype_info *type = dtype_info(tensor->type);
    if (rows == 0 && tensor->type != DTYPE_F32)
        return err_set(s->err, STATUS_UNSUPPORTED, "%s: tensor %s: found type %s, expected F32",
                       gguf_path(s->m->gguf), tensor->name, type ? type->name : "?");
    if (!type || !type->computable)
        return err_set(s->err, STATUS_UNSUPPORTED,
                       "%s: tensor %s: found type %s, which cannot be computed with here",
                       gguf_path(s->m->gguf), tensor->name, type ? type->name : "?");
    return STATUS_OK;
}

/* The weight of this name goes to *place. rows 0: a vector of cols elements. */
static int place(struct search *s, const char *name, uint64_t rows, uint64_t cols, bool needed,
                 const struct weight **where) {
    const struct gguf *gguf = s->m->gguf;
    const struct gguf_tensor *tensor = gguf_tensor(gguf, name);
    if (!tensor) {
        if (!needed) return STATUS_OK;
        return note(s, err_set(s->err, STATUS_MODEL, "%s: tensor %s is missing, expected for %s",
                               gguf_path(gguf), name, s->m->architecture->name));
    }
    size_t index = (size_t)(tensor - gguf_tensor_at(gguf, 0));
    s->used[index] = true;
    int status = check_shape(s, tensor, rows, cols);
    if (!status) status = check_type(s, tensor, rows);
    if (!status && rows == 0) status = check_finite(s->m, tensor, s->err);
    if (status) return note(s, status);
    s->m->weights[index] = (struct weight){
        .name = tensor->name,
        .type = (enum dtype)tensor->type,
        .rows = rows ? tensor->dims[1] : 0,
        .cols = tensor->dims[0],
        .size = tensor->size,
        .fd = gguf_fd(gguf, tensor->file),
        .offset = tensor->offset,
    };
    *where = &s->m->weights[index];
    return STATUS_OK;
}

/* One row for each tensor of a layer. Lengths are named, so that the table is data. */
enum length { LENGTH_NONE, LENGTH_EMBD, LENGTH_FF, LENGTH_Q, LENGTH_KV, LENGTH_HEAD };
enum presence { IN_ALL, IN_BIASED, IN_HEAD_NORMED };

static const struct role {
    const char *name; /* after "blk.N." */
    size_t place;     /* of the pointer in struct layer_view */
    enum length rows, cols;
    enum presence presence;
} roles[] = {
#define ROLE(field) offsetof(struct layer_view, field)
    {"attn_norm.weight", ROLE(attn_norm), LENGTH_NONE, LENGTH_EMBD, IN_ALL},
    {"attn_q.weight", ROLE(attn_q), LENGTH_Q, LENGTH_EMBD, IN_ALL},
    {"attn_k.weight", ROLE(attn_k), LENGTH_KV, LENGTH_EMBD, IN_ALL},
    {"attn_v.weight", ROLE(attn_v), LENGTH_KV, LENGTH_EMBD, IN_ALL},
    {"attn_q.bias", ROLE(attn_q_bias), LENGTH_NONE, LENGTH_Q, IN_BIASED},
    {"attn_k.bias", ROLE(attn_k_bias), LENGTH_NONE, LENGTH_KV, IN_BIASED},
    {"attn_v.bias", ROLE(attn_v_bias), LENGTH_NONE, LENGTH_KV, IN_BIASED},
    {"attn_q_norm.weight", ROLE(attn_q_norm), LENGTH_NONE, LENGTH_HEAD, IN_HEAD_NORMED},
    {"attn_k_norm.weight", ROLE(attn_k_norm), LENGTH_NONE, LENGTH_HEAD, IN_HEAD_NORMED},
    {"attn_output.weight", ROLE(attn_output), LENGTH_EMBD, LENGTH_Q, IN_ALL},
    {"ffn_norm.weight", ROLE(ffn_norm), LENGTH_NONE, LENGTH_EMBD, IN_ALL},
    {"ffn_gate.weight", ROLE(ffn_gate), LENGTH_FF, LENGTH_EMBD, IN_ALL},
    {"ffn_up.weight", ROLE(ffn_up), LENGTH_FF, LENGTH_EMBD, IN_ALL},
    {"ffn_down.weight", ROLE(ffn_down), LENGTH_EMBD, LENGTH_FF, IN_ALL},
#undef ROLE
};

static uint64_t length_of(const struct model_view *v, enum length length) {
    switch (length) {
    case LENGTH_EMBD: return v->n_embd;
    case LENGTH_FF: return v->n_ff;
    case LENGTH_Q: return (uint64_t)v->n_heads * v->head_dim;
    case LENGTH_KV: return (uint64_t)v->n_kv_heads * v->head_dim;
    case LENGTH_HEAD: return v->head_dim;
    case LENGTH_NONE: break;
    }
    return 0;
}

static int place_layer(struct search *s, uint32_t layer) {
    const struct architecture *a = s->m->architecture;
    struct layer_view *view = &s->m->layers[layer];
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++) {
        const struct role *role = &roles[i];
        if ((role->presence == IN_BIASED && !a->biases) ||
            (role->presence == IN_HEAD_NORMED && !a->head_norms))
            continue;
        bool needed = role->presence != IN_BIASED || a->biases_needed;
        char name[GGUF_NAME_MAX + 1];
        snprintf(name, sizeof name, "blk.%" PRIu32 ".%s", layer, role->name);
        const struct weight **where = (const struct weight **)((char *)view + role->place);
        int status = place(s, name, length_of(&s->m->view, role->rows), length_of(&s->m->view, role->cols),
                           needed, where);
        if (status) return status;
    }
    return STATUS_OK;
}

/* Optional biases come together: q, k and v, in all layers or in none is not asked for, but three or none of
 * one layer is. */
static int check_biases(struct search *s) {
    for (uint32_t i = 0; i < s->m->view.n_layers; i++) {
        const struct layer_view *l = &s->m->layers[i];
        bool q = l->attn_q_bias, k = l->attn_k_bias, v = l->attn_v_bias;
        if (q == k && k == v) continue;
        int status = note(s, err_set(s->err, STATUS_MODEL,
                                     "%s: tensor blk.%" PRIu32 ".attn_%c.bias is missing, expected beside "
                                     "the other biases",
                                     gguf_path(s->m->gguf), i,
                                     !q   ? 'q'
                                     : !k ? 'k'
                                          : 'v'));
        if (status) return status;
    }
    return STATUS_OK;
}

/* A tensor nobody asked for would be left out of what is computed. */
static int refuse_unused(struct search *s) {
    const struct gguf *gguf = s->m->gguf;
    for (size_t i = 0; i < gguf_n_tensors(gguf); i++) {
        if (s->used[i]) continue;
        const char *name = gguf_tensor_at(gguf, i)->name;
        unsigned layer;
        int status;
        if (sscanf(name, "blk.%5u.", &layer) == 1 && layer >= s->m->view.n_layers)
            status = err_set(s->err, STATUS_MODEL,
                             "%s: found tensor %s, expected %" PRIu32 " layers by key %s.block_count",
                             gguf_path(gguf), name, s->m->view.n_layers, s->m->architecture->name);
        else
            status = err_set(s->err, STATUS_UNSUPPORTED, "%s: found tensor %s, which %s does not have",
                             gguf_path(gguf), name, s->m->architecture->name);
        if ((status = note(s, status))) return status;
    }
    return STATUS_OK;
}

static int place_all(struct search *s) {
    struct model_view *v = &s->m->view;
    int status = place(s, "token_embd.weight", ANY_ROWS, v->n_embd, true, &v->token_embd);
    if (status) return status;
    if (v->token_embd) v->n_rows = (uint32_t)v->token_embd->rows;
    for (uint32_t i = 0; i < v->n_layers && !status; i++) status = place_layer(s, i);
    if (!status) status = place(s, "output_norm.weight", 0, v->n_embd, true, &v->output_norm);
    if (!status)
        status = place(s, "output.weight", v->n_rows ? v->n_rows : ANY_ROWS, v->n_embd, false, &v->output);
    const struct weight *rope = NULL;
    if (!status) status = place(s, "rope_freqs.weight", 0, v->rope_dim / 2, false, &rope);
    if (!status) status = check_biases(s);
    if (!status) status = refuse_unused(s);
    if (!v->output) v->output = v->token_embd; /* tied */
    return status;
}

int model_read_weights(struct model *m, struct faults *faults, struct err *err) {
    size_t n = gguf_n_tensors(m->gguf);
    if (n == 0)
        return err_set(err, STATUS_MODEL, "%s: found no tensors, only a vocabulary: expected a model",
                       gguf_path(m->gguf));
    /* A layer has several tensors, so the file justifies what is allocated for it. */
    if (n < m->view.n_layers)
        return err_set(err, STATUS_MODEL,
                       "%s: found %zu tensors, expected more than one for each of %" PRIu32 " layers",
                       gguf_path(m->gguf), n, m->view.n_layers);
    m->weights = xcalloc(n, sizeof *m->weights);
    m->layers = xcalloc(m->view.n_layers, sizeof *m->layers);
    m->view.layers = m->layers;
    struct search s = {.m = m, .faults = faults, .err = err, .used = xcalloc(n, sizeof *s.used)};
    int status = place_all(&s);
    free(s.used);
    return status;
}
