#include "kernels/cpu/ops.h"

#include <math.h>

const struct vector_ops *vector_ops_for(enum isa isa) {
    switch (isa) {
#ifdef __x86_64__
    case ISA_avx512: return &vector_ops_avx512;
    case ISA_avx2: return &vector_ops_avx2;
#endif
    default: return &vector_ops_portable;
    }
}

/* The angle is an F32 product, as in the models' own code. */
void rope_angles(const struct model_view *model, uint32_t position, float *cosines, float *sines) {
    for (uint32_t i = 0; i < model->rope_dim / 2; i++) {
        float angle = (float)position * model->rope_freq[i];
        cosines[i] = cosf(angle) * model->rope_magnitude;
        sines[i] = sinf(angle) * model->rope_magnitude;
    }
}

void rope_rotate(const struct model_view *model, const float *cosines, const float *sines, const float *x, float *out) {
    uint32_t pairs = model->rope_dim / 2;
    uint32_t step = model->rope_pairing == ROPE_HALVES ? 1 : 2, apart = model->rope_pairing == ROPE_HALVES ? pairs : 1;
    for (uint32_t i = 0; i < pairs; i++) {
        float a = x[i * step], b = x[i * step + apart];
        out[i * step] = a * cosines[i] - b * sines[i];
        out[i * step + apart] = b * cosines[i] + a * sines[i];
    }
    for (uint32_t i = model->rope_dim; i < model->head_dim; i++) out[i] = x[i];
}

/* ---- the exact table ---- */

static void rms_norm_exact(const float *x, const float *weight, float eps, uint32_t n, float *out) {
    double sum = 0;
    for (uint32_t i = 0; i < n; i++) sum += (double)x[i] * x[i];
    float scale = (float)(1.0 / sqrt(sum / n + (double)eps));
    for (uint32_t i = 0; i < n; i++) out[i] = x[i] * scale * weight[i];
}

static void silu_mul_exact(float *gate, const float *up, size_t n) {
    for (size_t i = 0; i < n; i++) gate[i] = gate[i] / (1.0f + expf(-gate[i])) * up[i];
}

static void to_half_exact(const float *from, uint16_t *to, size_t n) {
    for (size_t i = 0; i < n; i++) to[i] = f32_to_f16(from[i]);
}

/* Scores of a block of keys. Keys behind the last one are computed too and thrown away. */
static void score_keys(const struct attention_part *p, const float *q, uint32_t block, float scores[KEY_BLOCK]) {
    size_t at = (size_t)block * KEY_BLOCK * p->head_dim;
    for (int i = 0; i < KEY_BLOCK; i++) scores[i] = 0;
    for (uint32_t d = 0; d < p->head_dim; d++, at += KEY_BLOCK) {
        float keys[KEY_BLOCK];
        const float *from = keys;
        if (p->half)
            for (int i = 0; i < KEY_BLOCK; i++) keys[i] = f16_to_f32(((const uint16_t *)p->k)[at + (size_t)i]);
        else
            from = (const float *)p->k + at;
        for (int i = 0; i < KEY_BLOCK; i++) scores[i] += q[d] * from[i];
    }
    for (int i = 0; i < KEY_BLOCK; i++) scores[i] *= p->scale;
}

static void add_value(const struct attention_part *p, uint32_t key, float weight, float *out) {
    size_t at = (size_t)key * p->value_stride;
    if (p->half)
        for (uint32_t d = 0; d < p->head_dim; d++) out[d] += weight * f16_to_f32(((const uint16_t *)p->v)[at + d]);
    else
        for (uint32_t d = 0; d < p->head_dim; d++) out[d] += weight * ((const float *)p->v)[at + d];
}

/* Row by row, key by key. */
static void attend_exact(const struct attention_part *p) {
    float *scores = p->scratch; /* of one row, by key */
    for (uint32_t row = 0; row < p->n_queries * p->group; row++) {
        uint32_t query = row / p->group, head = row % p->group;
        uint32_t end = p->first + query + 1 < p->end ? p->first + query + 1 : p->end;
        float *out = p->out + (size_t)row * p->value_stride, max = -INFINITY;
        for (uint32_t d = 0; d < p->value_stride; d++) out[d] = 0;
        for (uint32_t key = p->begin; key < end; key += KEY_BLOCK)
            score_keys(p, p->q + query * p->q_stride + (size_t)head * p->head_dim, key / KEY_BLOCK, scores + (key - p->begin));
        for (uint32_t key = p->begin; key < end; key++)
            if (scores[key - p->begin] > max) max = scores[key - p->begin];
        double sum = 0;
        for (uint32_t key = p->begin; key < end; key++) {
            float weight = expf(scores[key - p->begin] - max);
            scores[key - p->begin] = weight;
            sum += (double)weight;
            add_value(p, key, weight, out);
        }
        p->max[row] = max;
        p->sum[row] = (float)sum;
        if (p->weights) {
            float *to = p->weights + query * p->weights_row_stride + head * p->weights_head_stride;
            for (uint32_t key = p->begin; key < end; key++) to[key] = scores[key - p->begin] / (float)sum;
        }
    }
}

const struct vector_ops vector_ops_exact = {rms_norm_exact, silu_mul_exact, to_half_exact, attend_exact,
                                            NULL};

size_t attention_scratch(uint32_t rows, uint32_t head_dim, uint32_t value_stride, uint32_t end) {
    size_t tiled = (size_t)rows * head_dim + (size_t)ATTENTION_TILE * (6 + head_dim + value_stride);
    size_t plain = ((size_t)end + KEY_BLOCK - 1) / KEY_BLOCK * KEY_BLOCK;
    return tiled > plain ? tiled : plain;
}
