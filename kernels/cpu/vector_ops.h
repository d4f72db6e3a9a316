/* The operations of ops.h in vectors, compiled once an instruction set (vector_*.c include this after choosing one).
 *
 * Attention works tile by tile of 64 keys: scores of all rows, then the running maximum, then the weighted values
 * (Milakov and Gimelshein, "Online normalizer calculation for softmax", 2018). Blocks of up to ROWS rows times two vectors stay in registers.
 * With many rows a tile of an F16 cache is widened once and used by all of them. Scores, sums and outputs are F32. */
#include "kernels/cpu/ops.h"
#include "kernels/cpu/vector.h"

#include <math.h>

enum { ROWS = 6 };

TARGET static void rms_norm(const float *x, const float *weight, float eps, uint32_t n, float *out) {
    vec even = vec_set(0), odd = vec_set(0);
    uint32_t i = 0;
    for (; i + 2 * VEC <= n; i += 2 * VEC) {
        vec a = vec_load(x + i), b = vec_load(x + i + VEC);
        even = vec_mul_add(a, a, even);
        odd = vec_mul_add(b, b, odd);
    }
    float sum = vec_sum(vec_add(even, odd));
    for (; i < n; i++) sum += x[i] * x[i];
    float scale = 1.0f / sqrtf(sum / (float)n + eps);
    for (i = 0; i + VEC <= n; i += VEC)
        vec_store(out + i, vec_mul(vec_mul(vec_load(x + i), vec_set(scale)), vec_load(weight + i)));
    for (; i < n; i++) out[i] = x[i] * scale * weight[i];
}

TARGET static void silu_mul(float *gate, const float *up, size_t n) {
    size_t i = 0;
    for (; i + VEC <= n; i += VEC) {
        vec g = vec_load(gate + i);
        vec below = vec_add(vec_set(1.0f), vec_exp(vec_sub(vec_set(0), g)));
        vec_store(gate + i, vec_mul(vec_div(g, below), vec_load(up + i)));
    }
    for (; i < n; i++) gate[i] = gate[i] / (1.0f + expf(-gate[i])) * up[i];
}

TARGET static void to_half(const float *from, uint16_t *to, size_t n) {
    size_t i = 0;
    for (; i + VEC <= n; i += VEC) vec_store_half(to + i, vec_load(from + i));
    for (; i < n; i++) to[i] = f32_to_f16(from[i]);
}

TARGET static void to_single(const uint16_t *from, float *to, size_t n) {
    for (size_t i = 0; i < n; i += VEC) vec_store(to + i, vec_load_half(from + i)); /* n is a multiple of KEY_BLOCK */
}

INLINE vec load_cached(const void *base, size_t index, bool half) {
    return half ? vec_load_half((const uint16_t *)base + index) : vec_load((const float *)base + index);
}

/* scores[row][j] = q[row] . key j, for `rows` rows and 2 * VEC keys from `key` on. */
INLINE void score_block(const float *q, uint32_t head_dim, const void *k, uint32_t key, float *scores, int rows, bool half) {
    size_t first = (size_t)(key / KEY_BLOCK) * KEY_BLOCK * head_dim + key % KEY_BLOCK;
    uint32_t next_key = key + VEC;
    size_t second = (size_t)(next_key / KEY_BLOCK) * KEY_BLOCK * head_dim + next_key % KEY_BLOCK;
    vec sums[ROWS][2];
    UNROLL for (int r = 0; r < rows; r++) sums[r][0] = sums[r][1] = vec_set(0);
    for (uint32_t d = 0; d < head_dim; d++) {
        vec a = load_cached(k, first + (size_t)d * KEY_BLOCK, half);
        vec b = load_cached(k, second + (size_t)d * KEY_BLOCK, half);
        UNROLL for (int r = 0; r < rows; r++) {
            vec x = vec_set(q[(size_t)r * head_dim + d]);
            sums[r][0] = vec_mul_add(x, a, sums[r][0]);
            sums[r][1] = vec_mul_add(x, b, sums[r][1]);
        }
    }
    UNROLL for (int r = 0; r < rows; r++) {
        vec_store(scores + (size_t)r * ATTENTION_TILE, sums[r][0]);
        vec_store(scores + (size_t)r * ATTENTION_TILE + VEC, sums[r][1]);
    }
}

/* out[row][d..d + 2 * VEC) += sum over keys of weights[row][key] * v[key][d..] */
INLINE void value_block(const float *weights, uint32_t n_keys, const void *v, uint32_t stride, uint32_t d, float *out, int rows,
                        bool half) {
    vec sums[ROWS][2];
    UNROLL for (int r = 0; r < rows; r++) {
        sums[r][0] = vec_load(out + (size_t)r * stride + d);
        sums[r][1] = vec_load(out + (size_t)r * stride + d + VEC);
    }
    for (uint32_t key = 0; key < n_keys; key++) {
        vec a = load_cached(v, (size_t)key * stride + d, half);
        vec b = load_cached(v, (size_t)key * stride + d + VEC, half);
        UNROLL for (int r = 0; r < rows; r++) {
            vec x = vec_set(weights[(size_t)r * ATTENTION_TILE + key]);
            sums[r][0] = vec_mul_add(x, a, sums[r][0]);
            sums[r][1] = vec_mul_add(x, b, sums[r][1]);
        }
    }
    UNROLL for (int r = 0; r < rows; r++) {
        vec_store(out + (size_t)r * stride + d, sums[r][0]);
        vec_store(out + (size_t)r * stride + d + VEC, sums[r][1]);
    }
}

/* One tile's part of a few rows: the number of rows is a constant in each copy, so that the sums stay in registers. */
#define SCORE_ROWS(N, HALF)                                                                                                \
    for (uint32_t key = 0; key < ATTENTION_TILE; key += 2 * VEC) score_block(q, head_dim, k, key, scores + key, N, HALF)
#define VALUE_ROWS(N, HALF)                                                                                                \
    for (uint32_t d = 0; d < stride; d += 2 * VEC) value_block(weights, n_keys, v, stride, d, out, N, HALF)
#define BY_ROWS(WHAT, HALF)                                                                                                \
    switch (rows) {                                                                                                        \
    case 1: WHAT(1, HALF); break;                                                                                          \
    case 2: WHAT(2, HALF); break;                                                                                          \
    case 3: WHAT(3, HALF); break;                                                                                          \
    case 4: WHAT(4, HALF); break;                                                                                          \
    case 5: WHAT(5, HALF); break;                                                                                          \
    default: WHAT(6, HALF); break;                                                                                         \
    }

TARGET static void score_rows(const float *q, uint32_t head_dim, const void *k, float *scores, uint32_t rows, bool half) {
    if (half) {
        BY_ROWS(SCORE_ROWS, true)
    } else {
        BY_ROWS(SCORE_ROWS, false)
    }
}

TARGET static void value_rows(const float *weights, uint32_t n_keys, const void *v, uint32_t stride, float *out, uint32_t rows,
                              bool half) {
    if (half) {
        BY_ROWS(VALUE_ROWS, true)
    } else {
        BY_ROWS(VALUE_ROWS, false)
    }
}

/* Scores of one row and tile become weights; the row's maximum, sum and output so far are brought to the new maximum. */
TARGET static void soften_row(const struct attention_part *p, uint32_t row, float *scores, uint32_t n_seen) {
    if (!n_seen) {
        memset(scores, 0, ATTENTION_TILE * sizeof *scores);
        return;
    }
    for (uint32_t i = n_seen; i < ATTENTION_TILE; i++) scores[i] = -INFINITY;
    vec largest = vec_set(p->max[row]);
    for (uint32_t i = 0; i < ATTENTION_TILE; i += VEC) largest = vec_max(vec_load(scores + i), largest);
    float max = vec_largest(largest);
    vec sum = vec_set(0);
    for (uint32_t i = 0; i < ATTENTION_TILE; i += VEC) {
        vec weight = vec_exp(vec_sub(vec_load(scores + i), vec_set(max)));
        vec_store(scores + i, weight);
        sum = vec_add(sum, weight);
    }
    for (uint32_t i = n_seen; i < ATTENTION_TILE; i++) scores[i] = 0;
    if (max > p->max[row]) {
        if (p->max[row] != -INFINITY) { /* else there is nothing yet */
            float shrink = expf(p->max[row] - max);
            float *out = p->out + (size_t)row * p->value_stride;
            for (uint32_t d = 0; d < p->value_stride; d += VEC)
                vec_store(out + d, vec_mul(vec_load(out + d), vec_set(shrink)));
            p->sum[row] *= shrink;
        }
        p->max[row] = max;
    }
    p->sum[row] += vec_sum(sum);
}

TARGET static void attend_tile(const struct attention_part *p, uint32_t base, const void *k, const void *v, bool half,
                               const float *q, float *scores) {
    uint32_t rows = p->n_queries * p->group;
    for (uint32_t r = 0; r < rows; r += ROWS) {
        uint32_t n = rows - r < ROWS ? rows - r : ROWS;
        score_rows(q + (size_t)r * p->head_dim, p->head_dim, k, scores, n, half);
        uint32_t seen = 0;
        for (uint32_t i = 0; i < n; i++) {
            uint32_t end = p->first + (r + i) / p->group + 1;
            if (end > p->end) end = p->end;
            seen = end <= base ? 0 : end - base < ATTENTION_TILE ? end - base : ATTENTION_TILE;
            soften_row(p, r + i, scores + (size_t)i * ATTENTION_TILE, seen);
        }
        /* later rows see more: the last one's count holds for all of them */
        value_rows(scores, seen, v, p->value_stride, p->out + (size_t)r * p->value_stride, n, half);
    }
}

TARGET static void attend(const struct attention_part *p) {
    uint32_t rows = p->n_queries * p->group;
    float *q = p->scratch, *scores = q + (size_t)rows * p->head_dim;
    float *k_wide = scores + (size_t)ROWS * ATTENTION_TILE, *v_wide = k_wide + (size_t)ATTENTION_TILE * p->head_dim;
    for (uint32_t r = 0; r < rows; r++) {
        const float *from = p->q + r / p->group * p->q_stride + r % p->group * p->head_dim;
        float *to = q + (size_t)r * p->head_dim;
        uint32_t d = 0;
        for (; d + VEC <= p->head_dim; d += VEC)
            vec_store(to + d, vec_mul(vec_load(from + d), vec_set(p->scale)));
        for (; d < p->head_dim; d++) to[d] = from[d] * p->scale;
        p->max[r] = -INFINITY;
        p->sum[r] = 0;
    }
    memset(p->out, 0, (size_t)rows * p->value_stride * sizeof *p->out);
    bool widen = p->half && rows > ROWS;
    size_t size = p->half ? sizeof(uint16_t) : sizeof(float);
    for (uint32_t base = p->begin; base < p->end; base += ATTENTION_TILE) {
        const char *k = (const char *)p->k + (size_t)base * p->head_dim * size;
        const char *v = (const char *)p->v + (size_t)base * p->value_stride * size;
        if (widen) {
            uint32_t left = p->end - base < ATTENTION_TILE ? p->end - base : ATTENTION_TILE;
            to_single((const uint16_t *)(const void *)k, k_wide, (size_t)ATTENTION_TILE * p->head_dim);
            to_single((const uint16_t *)(const void *)v, v_wide, (size_t)left * p->value_stride);
            attend_tile(p, base, k_wide, v_wide, false, q, scores);
        } else {
            attend_tile(p, base, k, v, p->half, q, scores);
        }
    }
}

TARGET static void join(const struct attention_part *to, const struct attention_part *run) {
    const vec one = vec_set(1);
    for (uint32_t row = 0; row < to->n_queries * to->group; row++) {
        if (run->sum[row] == 0) continue; /* the row sees no key of the run */
        bool higher = run->max[row] > to->max[row];
        float max = higher ? run->max[row] : to->max[row];
        vec less = vec_exp(vec_set((higher ? to->max[row] : run->max[row]) - max));
        vec before = higher ? less : one, added = higher ? one : less;
        float *out = to->out + (size_t)row * to->value_stride;
        const float *more = run->out + (size_t)row * to->value_stride;
        for (uint32_t d = 0; d < to->value_stride; d += VEC)
            vec_store(out + d, vec_mul_add(vec_load(more + d), added, vec_mul(vec_load(out + d), before)));
        to->sum[row] =
            vec_first(vec_mul_add(vec_set(run->sum[row]), added, vec_mul(vec_set(to->sum[row]), before)));
        to->max[row] = max;
    }
}
