/* Models of real shapes and sizes with random weights: what a nano model is too small to show. No two tensors are equal, norms scatter
 * around 1, and q and k have biases with outliers, as real ones do, so that a swap or an omission shows in the logits.
 *
 * The vocabulary is that of a nano model and made-up words up to the real size, then padding. */
#ifndef LOGITOP_TESTS_GPU_SHAPES_H
#define LOGITOP_TESTS_GPU_SHAPES_H

#include "tests/unit/gguf_maker.h"

#include "kernels/dtype.h"

#include <math.h>

struct shape {
    const char *name, *nano; /* nano: the model whose keys and vocabulary are taken */
    uint32_t n_layers, n_embd, n_ff, n_heads, n_kv_heads, head_dim, n_vocab, n_rows;
    bool tied, bias, head_norm;
    float rope_base, norm_eps;
    enum dtype type; /* of the matrices; Q4_K: mixed with Q6_K as files called Q4_K_M are */
};

static const struct shape shapes[] = {
    {"qwen2.5-0.5b-q8_0", "qwen2-q8_0", 24, 896, 4864, 14, 2, 64, 151665, 151936, true, true, false, 1e6f, 1e-6f, DTYPE_Q8_0},
    {"qwen2.5-0.5b-bf16", "qwen2-q8_0", 24, 896, 4864, 14, 2, 64, 151665, 151936, true, true, false, 1e6f, 1e-6f, DTYPE_BF16},
    {"llama3.2-1b-q4_k_m", "llama-f16", 16, 2048, 8192, 32, 8, 64, 128256, 128256, true, false, false, 5e5f, 1e-5f, DTYPE_Q4_K},
    {"qwen2.5-7b-q4_k_m", "qwen2-q8_0", 28, 3584, 18944, 28, 4, 128, 151665, 152064, false, true, false, 1e6f, 1e-6f, DTYPE_Q4_K},
    {"qwen3-8b-q4_k_m", "qwen3-q8_0", 36, 4096, 12288, 32, 8, 128, 151669, 151936, false, false, true, 1e6f, 1e-6f, DTYPE_Q4_K},
};
enum { N_SHAPES = sizeof shapes / sizeof *shapes, SHAPES_SMALL = 3 /* the first ones, below 2 GB */ };

/* ---- random values ---- */

struct shape_random {
    uint64_t state;
};

static inline uint64_t shape_next(struct shape_random *r) { /* Marsaglia's xorshift64 */
    r->state ^= r->state << 13;
    r->state ^= r->state >> 7;
    r->state ^= r->state << 17;
    return r->state;
}

/* Near normal, standard deviation 1. */
static inline float shape_normal(struct shape_random *r) {
    uint64_t x = shape_next(r);
    double sum = 0;
    for (int i = 0; i < 4; i++) sum += (double)(x >> (16 * i) & 0xFFFF) / 65535.0;
    return (float)((sum - 2) * 1.7320508);
}

static inline void shape_put_half(uint8_t *at, float value) {
    uint16_t half = f32_to_f16(value);
    memcpy(at, &half, sizeof half);
}

/* One block of random values whose standard deviation is near 0.02 * gain. */
static inline void shape_block(struct shape_random *r, enum dtype type, float gain, uint8_t *at) {
    uint32_t size = dtype_info(type)->block_size;
    if (type == DTYPE_BF16) {
        float value = shape_normal(r) * 0.02f * gain;
        memcpy(at, (uint8_t *)&value + 2, 2);
        return;
    }
    for (uint32_t i = 0; i < size; i++) at[i] = (uint8_t)(shape_next(r) >> 40);
    switch (type) {
    case DTYPE_Q5_0: shape_put_half(at, 0.0022f * gain); break;
    case DTYPE_Q8_0: shape_put_half(at, 0.00027f * gain); break;
    case DTYPE_Q4_K: shape_put_half(at, 0.00011f * gain), shape_put_half(at + 2, 0.00085f * gain); break;
    case DTYPE_Q6_K: shape_put_half(at + 208, 0.000015f * gain); break;
    default: fail_msg("no random blocks of type %u", (unsigned)type);
    }
}

/* ---- what a file has ---- */

struct shape_tensor {
    char name[64];
    enum dtype type;
    uint32_t cols, rows; /* rows 0: a vector */
    float gain;
};

static inline enum dtype shape_type(const struct shape *s, const char *name, uint32_t layer, uint32_t cols) {
    if (s->type != DTYPE_Q4_K) return s->type;
    bool more = strcmp(name, "output") == 0 || strcmp(name, "token_embd") == 0;
    if (strcmp(name, "attn_v") == 0 || strcmp(name, "ffn_down") == 0)
        more = layer < s->n_layers / 8 || layer >= 7 * s->n_layers / 8 || layer % 3 == 2;
    if (cols % 256) return more ? DTYPE_Q8_0 : DTYPE_Q5_0;
    return more ? DTYPE_Q6_K : DTYPE_Q4_K;
}

static inline void shape_add(struct shape_tensor **at, enum dtype type, uint32_t cols, uint32_t rows, float gain, bool layered,
                             uint32_t layer, const char *name) {
    struct shape_tensor *t = (*at)++;
    *t = (struct shape_tensor){.type = type, .cols = cols, .rows = rows, .gain = gain};
    if (layered) snprintf(t->name, sizeof t->name, "blk.%u.%s", layer, name);
    else snprintf(t->name, sizeof t->name, "%s", name);
}

/* All tensors, in the order of the file; the list is the caller's to free. */
static inline struct shape_tensor *shape_tensors(const struct shape *s, size_t *n) {
    struct shape_tensor *all = xcalloc(s->n_layers * 14 + 3, sizeof *all), *t = all;
    uint32_t q = s->n_heads * s->head_dim, kv = s->n_kv_heads * s->head_dim;
    float ends = 3 / sqrtf((float)s->n_embd) / 0.02f; /* logits with a standard deviation near 3 */
    uint32_t layer = 0;
    bool layered = false;
#define MATRIX(what, r, c, g) shape_add(&t, shape_type(s, what, layer, c), c, r, g, layered, layer, what ".weight")
#define VECTOR(what, c) shape_add(&t, DTYPE_F32, c, 0, 1, layered, layer, what)
    MATRIX("token_embd", s->n_rows, s->n_embd, ends);
    layered = true;
    for (; layer < s->n_layers; layer++) {
        VECTOR("attn_norm.weight", s->n_embd);
        MATRIX("attn_q", q, s->n_embd, 1);
        MATRIX("attn_k", kv, s->n_embd, 1);
        MATRIX("attn_v", kv, s->n_embd, 1);
        MATRIX("attn_output", s->n_embd, q, 1);
        if (s->bias) {
            VECTOR("attn_q.bias", q);
            VECTOR("attn_k.bias", kv);
            VECTOR("attn_v.bias", kv);
        }
        if (s->head_norm) {
            VECTOR("attn_q_norm.weight", s->head_dim);
            VECTOR("attn_k_norm.weight", s->head_dim);
        }
        VECTOR("ffn_norm.weight", s->n_embd);
        MATRIX("ffn_gate", s->n_ff, s->n_embd, 1);
        MATRIX("ffn_up", s->n_ff, s->n_embd, 1);
        MATRIX("ffn_down", s->n_embd, s->n_ff, 1);
    }
    layered = false;
    VECTOR("output_norm.weight", s->n_embd);
    if (!s->tied) MATRIX("output", s->n_rows, s->n_embd, ends);
#undef MATRIX
#undef VECTOR
    *n = (size_t)(t - all);
    return all;
}

static inline size_t shape_bytes(const struct shape_tensor *t) {
    const struct dtype_info *info = dtype_info(t->type);
    return (size_t)(t->rows ? t->rows : 1) * t->cols / info->block * info->block_size;
}

static inline void shape_key(struct maker *m, const char *architecture, const char *name, uint32_t value) {
    char key[96];
    snprintf(key, sizeof key, "%s.%s", architecture, name);
    maker_u32(m, key, value);
}

static inline void shape_vocabulary(struct maker *m, const struct shape *s) {
    struct buf tokens = {0}, types = {0};
    const struct made_key *known = maker_key(m, "tokenizer.ggml.tokens"), *known_types = maker_key(m, "tokenizer.ggml.token_type");
    enum { NANO_TOKENS = 306, ARRAY = 16, NORMAL = 1, UNUSED = 5 }; /* ARRAY: value type, element type, length */
    size_t at = ARRAY;
    for (int i = 0; i < NANO_TOKENS; i++) {
        uint64_t len;
        memcpy(&len, known->value.data + at, sizeof len);
        at += sizeof len + len;
    }
    buf_append(&tokens, known->value.data + ARRAY, at - ARRAY);
    buf_append(&types, known_types->value.data + ARRAY, NANO_TOKENS * 4);
    for (uint32_t i = NANO_TOKENS; i < s->n_rows; i++) {
        char text[32];
        uint64_t len = (uint64_t)snprintf(text, sizeof text, i < s->n_vocab ? "w%u" : "[PAD%u]", i);
        maker_put(&tokens, len, 8);
        buf_append(&tokens, text, len);
        maker_put(&types, i < s->n_vocab ? NORMAL : UNUSED, 4);
    }
    maker_array(m, "tokenizer.ggml.tokens", 8, s->n_rows, tokens.data, tokens.len);
    maker_array(m, "tokenizer.ggml.token_type", 5, s->n_rows, types.data, types.len);
    buf_free(&tokens);
    buf_free(&types);
}

static inline void shape_keys(struct maker *m, const struct shape *s) {
    char path[512], architecture[16] = "", key[96];
    snprintf(path, sizeof path, "%s/nano/%s.gguf", TEST_DATA, s->nano);
    maker_load(m, path);
    while (m->n_tensors) maker_remove_tensor(m, m->tensors[0].name.data);
    const struct made_key *name = maker_key(m, "general.architecture");
    memcpy(architecture, name->value.data + 12, name->value.len - 12); /* value type, length, bytes */
    maker_string(m, "general.name", s->name);
    shape_key(m, architecture, "block_count", s->n_layers);
    shape_key(m, architecture, "context_length", 32768);
    shape_key(m, architecture, "embedding_length", s->n_embd);
    shape_key(m, architecture, "feed_forward_length", s->n_ff);
    shape_key(m, architecture, "attention.head_count", s->n_heads);
    shape_key(m, architecture, "attention.head_count_kv", s->n_kv_heads);
    shape_key(m, architecture, "attention.key_length", s->head_dim);
    shape_key(m, architecture, "attention.value_length", s->head_dim);
    shape_key(m, architecture, "rope.dimension_count", s->head_dim);
    snprintf(key, sizeof key, "%s.vocab_size", architecture);
    if (maker_key(m, key)) maker_u32(m, key, s->n_rows);
    snprintf(key, sizeof key, "%s.rope.freq_base", architecture);
    maker_f32(m, key, s->rope_base);
    snprintf(key, sizeof key, "%s.attention.layer_norm_rms_epsilon", architecture);
    maker_f32(m, key, s->norm_eps);
    shape_vocabulary(m, s);
}

/* ---- writing ---- */

static inline void shape_write_vector(FILE *file, const struct shape_tensor *t, struct shape_random *r) {
    bool bias = strstr(t->name, ".bias") != NULL;
    float *values = xmalloc(t->cols * sizeof *values);
    for (uint32_t i = 0; i < t->cols; i++) values[i] = bias ? 0.1f * shape_normal(r) : 1 + 0.1f * shape_normal(r);
    const float q[] = {3, -2.5f, 2}, k[] = {-34, 12, 5}; /* as large as those of real models get */
    for (int i = 0; bias && i < 3; i++) {
        if (strstr(t->name, "attn_q")) values[shape_next(r) % t->cols] = q[i];
        if (strstr(t->name, "attn_k")) values[shape_next(r) % t->cols] = k[i];
    }
    assert_int_equal(fwrite(values, sizeof *values, t->cols, file), t->cols);
    free(values);
}

/* Blocks from a pool, each tensor from its own place on. */
struct shape_pool {
    enum dtype type;
    float gain;
    uint8_t *blocks;
    size_t n;
};

static inline void shape_write_matrix(FILE *file, const struct shape_tensor *t, struct shape_pool *pools, struct shape_random *r) {
    enum { POOL = 1 << 24 };
    uint32_t size = dtype_info(t->type)->block_size;
    struct shape_pool *pool = pools;
    while (pool->blocks && (pool->type != t->type || pool->gain != t->gain)) pool++;
    if (!pool->blocks) {
        *pool = (struct shape_pool){.type = t->type, .gain = t->gain, .n = POOL / size, .blocks = xmalloc(POOL)};
        for (size_t i = 0; i < pool->n; i++) shape_block(r, t->type, t->gain, pool->blocks + i * size);
    }
    size_t left = shape_bytes(t) / size, start = shape_next(r) % pool->n;
    while (left) {
        size_t n = left < pool->n - start ? left : pool->n - start;
        assert_int_equal(fwrite(pool->blocks + start * size, size, n, file), n);
        left -= n;
        start = 0;
    }
}

static inline void shape_write(const struct shape *s, const char *path) {
    enum { POOLS = 8, ALIGNMENT = 32 };
    struct maker m;
    struct buf head = {0};
    struct shape_pool pools[POOLS] = {0};
    struct shape_random random = {0x9E3779B97F4A7C15u};
    size_t n;
    struct shape_tensor *tensors = shape_tensors(s, &n);
    shape_keys(&m, s);
    uint64_t offset = 0;
    for (size_t i = 0; i < n; i++) {
        struct made_tensor *t = maker_add_tensor(&m, tensors[i].name, tensors[i].type, tensors[i].cols, tensors[i].rows, 0);
        t->offset = offset;
        offset += (shape_bytes(&tensors[i]) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    }
    maker_bytes(&m, &head, NULL);
    maker_free(&m);
    FILE *file = fopen(path, "wb");
    if (!file) fail_msg("%s: cannot be written", path);
    assert_int_equal(fwrite(head.data, 1, head.len, file), head.len);
    for (size_t i = 0; i < n; i++) {
        if (tensors[i].rows) shape_write_matrix(file, &tensors[i], pools, &random);
        else shape_write_vector(file, &tensors[i], &random);
        static const char zeros[ALIGNMENT];
        size_t pad = (ALIGNMENT - shape_bytes(&tensors[i]) % ALIGNMENT) % ALIGNMENT;
        assert_int_equal(fwrite(zeros, 1, pad, file), pad);
    }
    if (fclose(file)) fail_msg("%s: no room for a model of %.1f GB", path, (double)offset / 1e9);
    for (int i = 0; i < POOLS; i++) free(pools[i].blocks);
    buf_free(&head);
    free(tensors);
}

#endif
