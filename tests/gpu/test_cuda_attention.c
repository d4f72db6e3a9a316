/* Attention of many positions by every kernel there is for it against sums in double precision: sizes of
 * heads, numbers of positions around the borders of tiles, contexts before them, one head of keys for one,
 * two and seven of queries. What lies in the cache beyond the last position is NaN. Skips where there is no
 * device; `test_cuda_attention -v` lists how far off they are. */
#include "tests/golden/golden.h"
#include "tests/gpu/card.h"
#include "tests/gpu/on_device.h"
#include "tests/unit/random_blocks.h"

#include "base/mem.h"
#include "kernels/cuda/kernels.h"

struct shape {
    uint32_t n_heads, n_kv_heads, head_dim;
    int wide;
};

/* Keys or values of `length` positions as the cache has them, and as F32. */
static void *cache_new(const struct shape *s, uint32_t n_ctx, uint32_t length, float *values) {
    const size_t element = s->wide ? sizeof(float) : 2, count = (size_t)s->n_kv_heads * n_ctx * s->head_dim;
    char *raw = xmalloc(count * element);
    memset(raw, 0xff, count * element);
    for (size_t i = 0; i < count; i++) {
        if (i / s->head_dim % n_ctx >= length) continue;
        values[i] = random_normal();
        if (s->wide) {
            memcpy(raw + i * element, &values[i], element);
        } else {
            const uint16_t half = f32_to_f16(values[i]);
            memcpy(raw + i * element, &half, element);
            values[i] = f16_to_f32(half);
        }
    }
    void *cache = to_device(raw, count * element);
    free(raw);
    return cache;
}

/* out[head_dim] of one query. */
static void attend(const struct shape *s, const float *query, const float *k, const float *v, uint32_t length,
                   double *weight, double *out) {
    double largest = -INFINITY, sum = 0;
    for (uint32_t p = 0; p < length; p++) {
        double score = 0;
        for (uint32_t e = 0; e < s->head_dim; e++) score += (double)query[e] * (double)k[p * s->head_dim + e];
        weight[p] = score / sqrt((double)s->head_dim);
        if (weight[p] > largest) largest = weight[p];
    }
    for (uint32_t p = 0; p < length; p++) sum += weight[p] = exp(weight[p] - largest);
    for (uint32_t e = 0; e < s->head_dim; e++) {
        out[e] = 0;
        for (uint32_t p = 0; p < length; p++) out[e] += weight[p] / sum * (double)v[p * s->head_dim + e];
    }
}

/* How far off n positions after `first` are, relative. */
static double off_by(const struct shape *s, uint32_t first, uint32_t n, float spread) {
    const uint32_t n_ctx = first + n + 77, d = s->head_dim;
    const size_t n_values = (size_t)n * s->n_heads * d, n_cached = (size_t)s->n_kv_heads * n_ctx * d;
    float *q = xmalloc(n_values * sizeof *q), *out = xmalloc(n_values * sizeof *out);
    float *k = xmalloc(n_cached * sizeof *k), *v = xmalloc(n_cached * sizeof *v);
    for (size_t i = 0; i < n_values; i++) q[i] = random_normal() * spread;
    memset(out, 0xff, n_values * sizeof *out);
    const struct cache_layer cache = {.k = cache_new(s, n_ctx, first + n, k),
                                      .v = cache_new(s, n_ctx, first + n, v),
                                      .n_ctx = n_ctx,
                                      .wide = s->wide};
    const struct rope_args rope = {.n_heads = s->n_heads, .n_kv_heads = s->n_kv_heads, .head_dim = d};
    float *device_q = to_device(q, n_values * sizeof *q),
          *device_out = to_device(out, n_values * sizeof *out);
    run(launch_attention(NULL, rope, cache, device_q, first, n, device_out, NULL));
    run(cudaMemcpy(out, device_out, n_values * sizeof *out, cudaMemcpyDeviceToHost));
    double *weight = xmalloc((first + n) * sizeof *weight), wanted[256], difference = 0, norm = 0;
    for (uint32_t i = 0; i < n; i++) {
        for (uint32_t h = 0; h < s->n_heads; h++) {
            const size_t at = ((size_t)i * s->n_heads + h) * d,
                         cached = (size_t)(h / (s->n_heads / s->n_kv_heads)) * n_ctx * d;
            attend(s, q + at, k + cached, v + cached, first + i + 1, weight, wanted);
            for (uint32_t e = 0; e < d; e++) {
                difference += ((double)out[at + e] - wanted[e]) * ((double)out[at + e] - wanted[e]);
                norm += wanted[e] * wanted[e];
            }
        }
    }
    void *device[] = {cache.k, cache.v, device_q, device_out}, *host[] = {q, out, k, v, weight};
    for (size_t i = 0; i < sizeof device / sizeof *device; i++) run(cudaFree(device[i]));
    for (size_t i = 0; i < sizeof host / sizeof *host; i++) free(host[i]);
    return sqrt(difference / norm);
}

static void attention_is_that_in_double_precision(void **state) {
    (void)state;
    static const struct shape shapes[] = {{2, 2, 64, 0}, {4, 2, 128, 0}, {7, 1, 128, 0}, {7, 1, 64, 0},
                                          {2, 1, 80, 0}, {2, 1, 64, 1},  {2, 1, 128, 1}};
    static const struct {
        uint32_t first, n;
    } steps[] = {{0, 1},    {0, 2},    {0, 64},    {0, 65},   {1, 127}, {0, 128},  {128, 128}, {3, 129},
                 {100, 65}, {255, 66}, {130, 257}, {640, 70}, {700, 1}, {511, 64}, {512, 2},   {600, 40}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        double worst = 0;
        const double most = shapes[i].wide ? 2e-6 : 1e-3;
        for (size_t j = 0; j < sizeof steps / sizeof *steps; j++) {
            for (int peaked = 0; peaked < 2; peaked++) {
                const double off = off_by(&shapes[i], steps[j].first, steps[j].n, peaked ? 12.0f : 1.0f);
                if (!(off < most))
                    fail_msg("%u heads of %u, %s, %u positions after %u: off by %g relative, expected less "
                             "than %g",
                             shapes[i].n_heads, shapes[i].head_dim, shapes[i].wide ? "F32" : "F16",
                             steps[j].n, steps[j].first, off, most);
                if (off > worst) worst = off;
            }
        }
        if (verbose)
            printf("%u heads of %3u, %s: off by at most %.2e\n", shapes[i].n_heads, shapes[i].head_dim,
                   shapes[i].wide ? "F32" : "F16", worst);
    }
}

int main(int argc, char **argv) {
    if (!card_is_there(argc, argv)) return SKIPPED;
    const struct CMUnitTest tests[] = {cmocka_unit_test(attention_is_that_in_double_precision)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
