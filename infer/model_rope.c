/* Rotary frequencies as transformers computes them, in its order and in F32 (modeling_rope_utils.py):
 *   default   1 / base^(2i/d)
 *   factors   divided by rope_freqs.weight[i] (Llama 3's scaling, stored by the converter)
 *   linear    divided by the factor
 *   yarn      a blend of both by wave length, and cos and sin times a magnitude (arXiv 2309.00071) */
#include "base/mem.h"
#include "infer/model_internal.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

static const float BASE_DEFAULT = 10000.0f, PI = 3.14159265358979323846f;

struct scaling {
    enum { SCALING_NONE, SCALING_LINEAR, SCALING_YARN } type;
    float factor;
    uint32_t original_context;
    float beta_fast, beta_slow, blend, log_multiplier;
    float magnitude; /* 0: from the factor */
};

static int read_float(const struct model *m, const char *name, enum gguf_need need, float least, float *out,
                      struct err *err) {
    char key[MODEL_KEY_MAX];
    int status = gguf_f32(m->gguf, model_key(m, name, key), need, out, err);
    if (status || !gguf_find(m->gguf, key)) return status;
    if (isfinite(*out) && *out > least) return STATUS_OK;
    return err_set(err, STATUS_MODEL, "%s: key %s: found %g, expected more than %g", gguf_path(m->gguf), key,
                   (double)*out, (double)least);
}

static bool is(struct span text, const char *word) {
    return text.len == strlen(word) && memcmp(text.bytes, word, text.len) == 0;
}

static int read_scaling_type(const struct model *m, struct scaling *s, struct err *err) {
    char key[MODEL_KEY_MAX];
    struct span type = {"linear", 6}; /* a factor alone means this */
    int status = gguf_string(m->gguf, model_key(m, "rope.scaling.type", key), GGUF_OPTIONAL, &type, err);
    if (status) return status;
    if (is(type, "none"))
        s->type = SCALING_NONE;
    else if (is(type, "linear"))
        s->type = SCALING_LINEAR;
    else if (is(type, "yarn"))
        s->type = SCALING_YARN;
    else
        return err_set(err, STATUS_UNSUPPORTED, "%s: key %s: found '%.*s', expected none, linear or yarn",
                       gguf_path(m->gguf), key, (int)(type.len < 100 ? type.len : 100), type.bytes);
    return STATUS_OK;
}

static int read_scaling(const struct model *m, struct scaling *s, struct err *err) {
    *s = (struct scaling){
        .factor = 1, .original_context = m->view.n_ctx_train, .beta_fast = 32, .beta_slow = 1, .blend = 1};
    char key[MODEL_KEY_MAX];
    int status = read_scaling_type(m, s, err);
    if (status) return status;
    bool named = gguf_find(m->gguf, model_key(m, "rope.scaling.type", key)) && s->type != SCALING_NONE;
    bool old = gguf_find(m->gguf, model_key(m, "rope.scale_linear", key));
    if ((status = read_float(m, "rope.scale_linear", GGUF_OPTIONAL, 0, &s->factor, err)) ||
        (status = read_float(m, "rope.scaling.factor", named && !old ? GGUF_NEEDED : GGUF_OPTIONAL, 0,
                             &s->factor, err)) ||
        (status = gguf_u32(m->gguf, model_key(m, "rope.scaling.original_context_length", key), GGUF_OPTIONAL,
                           &s->original_context, err)) ||
        (status = read_float(m, "rope.scaling.yarn_beta_fast", GGUF_OPTIONAL, 0, &s->beta_fast, err)) ||
        (status = read_float(m, "rope.scaling.yarn_beta_slow", GGUF_OPTIONAL, 0, &s->beta_slow, err)) ||
        (status = read_float(m, "rope.scaling.yarn_ext_factor", GGUF_OPTIONAL, -1, &s->blend, err)) ||
        (status =
             read_float(m, "rope.scaling.yarn_log_multiplier", GGUF_OPTIONAL, -1, &s->log_multiplier, err)) ||
        (status = read_float(m, "rope.scaling.yarn_attn_factor", GGUF_OPTIONAL, 0, &s->magnitude, err)))
        return status;
    if (s->original_context == 0)
        return err_set(err, STATUS_MODEL, "%s: key %s: found 0, expected a context length",
                       gguf_path(m->gguf), model_key(m, "rope.scaling.original_context_length", key));
    return STATUS_OK;
}

/* The element whose wave turns so often within the original context. */
static float turning_element(const struct scaling *s, float turns, uint32_t dim, float base) {
    return (float)dim * logf((float)s->original_context / (turns * 2 * PI)) / (2 * logf(base));
}

/* One frequency of YaRN: fast waves stay, slow ones are stretched by the factor, between them a ramp. */
static void scale_yarn(const struct scaling *s, float base, uint32_t dim, float *freq) {
    float low = floorf(turning_element(s, s->beta_fast, dim, base)),
          high = ceilf(turning_element(s, s->beta_slow, dim, base));
    if (!(low > 0)) low = 0;
    if (!(high < (float)dim - 1)) high = (float)dim - 1;
    if (low == high) high += 0.001f;
    for (uint32_t i = 0; i < dim / 2; i++) {
        float ramp = ((float)i - low) / (high - low);
        float keep = (1 - fminf(fmaxf(ramp, 0), 1)) * s->blend;
        freq[i] = freq[i] / s->factor * (1 - keep) + freq[i] * keep;
    }
}

static float yarn_magnitude(const struct scaling *s) {
    if (s->magnitude > 0) return s->magnitude;
    if (s->factor <= 1) return 1;
    float magnitude = 0.1f * logf(s->factor) + 1;
    return s->log_multiplier > 0 ? magnitude / (0.1f * s->log_multiplier * logf(s->factor) + 1) : magnitude;
}

/* Llama 3's factors; their length and that they are finite was checked with the other vectors. */
static int divide_by_factors(struct model *m, struct err *err) {
    const struct gguf_tensor *tensor = gguf_tensor(m->gguf, "rope_freqs.weight");
    if (!tensor) return STATUS_OK;
    float factors[512];
    if (tensor->size > sizeof factors || tensor->size != m->view.rope_dim / 2 * sizeof(float))
        return STATUS_OK; /* noted */
    int status = gguf_read(m->gguf, tensor, 0, factors, tensor->size, err);
    for (uint32_t i = 0; i < m->view.rope_dim / 2 && !status; i++) {
        if (!(factors[i] > 0))
            return err_set(err, STATUS_MODEL,
                           "%s: tensor rope_freqs.weight: element %" PRIu32
                           ": found %g, expected more than 0",
                           gguf_path(m->gguf), i, (double)factors[i]);
        m->rope_freq[i] /= factors[i];
    }
    return status;
}

int model_read_rope(struct model *m, struct err *err) {
    uint32_t dim = m->view.rope_dim;
    float base = BASE_DEFAULT, magnitude = 1;
    struct scaling s;
    int status;
    if ((status =
             read_float(m, "rope.freq_base", m->architecture->rope_base_needed ? GGUF_NEEDED : GGUF_OPTIONAL,
                        0, &base, err)) ||
        (status = read_scaling(m, &s, err)) ||
        (status = read_float(m, "rope.scaling.attn_factor", GGUF_OPTIONAL, 0, &magnitude, err)))
        return status;
    m->rope_freq = xcalloc(dim / 2, sizeof *m->rope_freq);
    for (uint32_t i = 0; i < dim / 2; i++) m->rope_freq[i] = 1.0f / powf(base, (float)(2 * i) / (float)dim);
    if ((status = divide_by_factors(m, err))) return status;
    if (s.type == SCALING_LINEAR)
        for (uint32_t i = 0; i < dim / 2; i++) m->rope_freq[i] /= s.factor;
    if (s.type == SCALING_YARN) {
        scale_yarn(&s, base, dim, m->rope_freq);
        magnitude *= yarn_magnitude(&s);
    }
    for (uint32_t i = 0; i < dim / 2; i++)
        if (!isfinite(m->rope_freq[i]))
            return err_set(err, STATUS_MODEL, "%s: rotary frequency %" PRIu32 " of base %g is not finite",
                           gguf_path(m->gguf), i, (double)base);
    m->view.rope_freq = m->rope_freq;
    m->view.rope_magnitude = magnitude;
    return STATUS_OK;
}
