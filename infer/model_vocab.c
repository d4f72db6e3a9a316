/* From the tokenizer's keys to a tokenizer. Types are checked here, what they say by tokenizer_new(). */
#include "infer/model_internal.h"

#include <inttypes.h>
#include <stdlib.h>

static int read_id(const struct gguf *g, const char *key, int64_t *out, struct err *err) {
    uint32_t id = 0;
    *out = -1;
    int status = gguf_u32(g, key, GGUF_OPTIONAL, &id, err);
    if (!status && gguf_find(g, key)) *out = id;
    return status;
}

static int read_flag(const struct gguf *g, const char *key, int *out, struct err *err) {
    bool flag = false;
    *out = -1;
    int status = gguf_bool(g, key, GGUF_OPTIONAL, &flag, err);
    if (!status && gguf_find(g, key)) *out = flag;
    return status;
}

static int read_ids(const struct gguf *g, struct tokenizer_source *s, int64_t *padding, struct err *err) {
    int status;
    if ((status = read_id(g, "tokenizer.ggml.bos_token_id", &s->bos, err)) ||
        (status = read_id(g, "tokenizer.ggml.eos_token_id", &s->eos, err)) ||
        (status = read_id(g, "tokenizer.ggml.eot_token_id", &s->eot, err)) ||
        (status = read_id(g, "tokenizer.ggml.eom_token_id", &s->eom, err)) ||
        (status = read_id(g, "tokenizer.ggml.unknown_token_id", &s->unknown, err)) ||
        (status = read_id(g, "tokenizer.ggml.padding_token_id", padding, err)) ||
        (status = read_flag(g, "tokenizer.ggml.add_bos_token", &s->add_bos, err)) ||
        (status = read_flag(g, "tokenizer.ggml.add_space_prefix", &s->add_space_prefix, err)))
        return status;
    return STATUS_OK;
}

/* Nobody reads it, but a file that says so is wrong. */
static int check_padding(const struct tokenizer_source *s, int64_t padding, struct err *err) {
    if (padding < (int64_t)s->n_tokens) return STATUS_OK;
    return err_set(err, STATUS_MODEL,
                   "%s: key tokenizer.ggml.padding_token_id: found %" PRId64 ", expected less than %zu",
                   s->file, padding, s->n_tokens);
}

int model_read_tokenizer(struct model *m, struct err *err) {
    const struct gguf *g = m->gguf;
    struct tokenizer_source s = {.file = gguf_path(g)};
    struct span *merges = NULL;
    int32_t *types = NULL;
    float *scores = NULL;
    int64_t padding;
    int status;
    if ((status = gguf_string(g, "tokenizer.ggml.model", GGUF_NEEDED, &s.model, err)) ||
        (status = gguf_string(g, "tokenizer.ggml.pre", GGUF_OPTIONAL, &s.pre, err)) ||
        (status = gguf_strings(g, "tokenizer.ggml.tokens", GGUF_NEEDED, &m->tokens, &s.n_tokens, err)) ||
        (status = gguf_i32s(g, "tokenizer.ggml.token_type", GGUF_OPTIONAL, &types, &s.n_types, err)) ||
        (status = gguf_f32s(g, "tokenizer.ggml.scores", GGUF_OPTIONAL, &scores, &s.n_scores, err)) ||
        (status = gguf_strings(g, "tokenizer.ggml.merges", GGUF_OPTIONAL, &merges, &s.n_merges, err)))
        goto out;
    s.tokens = m->tokens;
    s.types = types;
    s.scores = scores;
    s.merges = merges;
    status = read_ids(g, &s, &padding, err);
    if (!status) status = tokenizer_new(&s, &m->tokenizer, err);
    if (!status) status = check_padding(&s, padding, err);
out:
    free(merges);
    free(types);
    free(scores);
    return status;
}
