/* Attention of many positions by every kernel there is for it against sums in double precision: sizes of
 * heads, numbers of positions around the borders of tiles, contexts before them, one head of keys for one,
 * two and seven of queries. What lies in the cache beyond the last position is NaN. And the vectors that they
 * make for the next product. Skips where there is no device; `test_cuda_attention -v` lists how far off they
 * are. */
#include "tests/golden/golden.h"
#include "tests/gpu/card.h"
#include "tests/gpu/on_device.h"
#include "tests/unit/random_blocks.h"

#include "base/mem.h"
#include "kernels/cuda/attention.h"
#include "kernels/cuda/small_batch.h"

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

/* n positions after `first`, and where the answers are to go. */
struct bed {
    const struct shape *shape;
    uint32_t first, n;
    float *k, *v, *q; /* as the kernels have them */
    struct attention_args args;
    size_t n_values;
};

static struct bed bed_new(const struct shape *s, uint32_t first, uint32_t n, float spread) {
    const uint32_t n_ctx = first + n + 77, d = s->head_dim;
    const size_t n_values = (size_t)n * s->n_heads * d, n_cached = (size_t)s->n_kv_heads * n_ctx * d;
    float *q = xmalloc(n_values * sizeof *q), *k = xmalloc(n_cached * sizeof *k),
          *v = xmalloc(n_cached * sizeof *v);
    for (size_t i = 0; i < n_values; i++) {
        q[i] = random_normal() * spread;
        if (!s->wide) q[i] = f16_to_f32(f32_to_f16(q[i])); /* the fast kernels round them, too */
    }
    const struct cache_layer cache = {.k = cache_new(s, n_ctx, first + n, k),
                                      .v = cache_new(s, n_ctx, first + n, v),
                                      .n_ctx = n_ctx,
                                      .wide = s->wide};
    const struct rope_args rope = {.n_heads = s->n_heads, .n_kv_heads = s->n_kv_heads, .head_dim = d};
    return (struct bed){s,
                        first,
                        n,
                        k,
                        v,
                        q,
                        {.rope = rope,
                         .cache = cache,
                         .q = to_device(q, n_values * sizeof *q),
                         .first = first,
                         .n = n,
                         .out = device_new(n_values * sizeof(float))},
                        n_values};
}

static void bed_free(struct bed *b) {
    void *device[] = {b->args.cache.k, b->args.cache.v, (void *)b->args.q, b->args.out},
         *host[] = {b->q, b->k, b->v};
    for (size_t i = 0; i < sizeof device / sizeof *device; i++) run(cudaFree(device[i]));
    for (size_t i = 0; i < sizeof host / sizeof *host; i++) free(host[i]);
}

/* The answers of the kernel; NaN where it left any out. */
static float *answers_of(const struct bed *b) {
    float *out = xmalloc(b->n_values * sizeof *out);
    run(cudaMemset(b->args.out, 0xff, b->n_values * sizeof *out));
    run(launch_attention(NULL, &b->args));
    run(cudaMemcpy(out, b->args.out, b->n_values * sizeof *out, cudaMemcpyDeviceToHost));
    return out;
}

static double *answers_in_double(const struct bed *b) {
    const struct shape *s = b->shape;
    const uint32_t d = s->head_dim;
    double *out = xmalloc(b->n_values * sizeof *out), *weight = xmalloc((b->first + b->n) * sizeof *weight);
    for (uint32_t i = 0; i < b->n; i++) {
        for (uint32_t h = 0; h < s->n_heads; h++) {
            const size_t at = ((size_t)i * s->n_heads + h) * d,
                         cached = (size_t)(h / (s->n_heads / s->n_kv_heads)) * b->args.cache.n_ctx * d;
            attend(s, b->q + at, b->k + cached, b->v + cached, b->first + i + 1, weight, out + at);
        }
    }
    free(weight);
    return out;
}

static double off_by(const struct bed *b, const double *wanted) {
    float *out = answers_of(b);
    double difference = 0, norm = 0;
    for (size_t i = 0; i < b->n_values; i++) {
        difference += ((double)out[i] - wanted[i]) * ((double)out[i] - wanted[i]);
        norm += wanted[i] * wanted[i];
    }
    free(out);
    return sqrt(difference / norm);
}

/* Vectors that the kernel makes itself are those that are made of its answers, to the last bit. */
static void check_vectors(struct bed *b) {
    const uint32_t cols = b->shape->n_heads * b->shape->head_dim;
    float *out = answers_of(b), *x = b->args.out;
    for (int order = 0; order < 3; order++) { /* rows; as float types and as quants have them */
        const bool small = order > 0;
        if (cols % (small ? SMALL_STEP_BLOCKS * 32 : 32) || (small && b->n > SMALL_BATCH_MOST)) continue;
        const size_t size =
            small ? small_vectors_size(cols / 32, b->n) : (size_t)b->n * cols * sizeof(uint16_t);
        struct batch_vectors of_answers = {.data = device_new(size),
                                           .scale = device_new(b->n * sizeof(float)),
                                           .stride = small ? 0 : cols,
                                           .groups = small ? small_groups(b->n) : 0,
                                           .floats = order == 1};
        run(cudaMemcpy(x, out, b->n_values * sizeof *out, cudaMemcpyHostToDevice));
        run(launch_batch_rows(NULL,
                              &(struct batch_rows_args){.x = x, .cols = cols, .n = b->n, .to = of_answers}));
        b->args.to = of_answers;
        b->args.to.data = device_new(size);
        run(cudaMemset(b->args.to.data, 0, size)); /* positions that are none */
        b->args.out = NULL;
        run(launch_attention(NULL, &b->args));
        b->args.out = x;
        void *wanted = xmalloc(size), *got = xmalloc(size);
        run(cudaMemcpy(wanted, of_answers.data, size, cudaMemcpyDeviceToHost));
        run(cudaMemcpy(got, b->args.to.data, size, cudaMemcpyDeviceToHost));
        if (memcmp(wanted, got, size) != 0)
            fail_msg("%u heads of %u, %u positions after %u, order %d: vectors are not those of the answers",
                     b->shape->n_heads, b->shape->head_dim, b->n, b->first, order);
        run(cudaFree(of_answers.data)), run(cudaFree(of_answers.scale)), run(cudaFree(b->args.to.data));
        free(wanted), free(got);
    }
    free(out);
}

/* Alone, and with room to share the context among blocks. */
static double check(const struct shape *s, uint32_t first, uint32_t n, float spread) {
    /* Where scores are peaked their last bit is up to 4e-6, and by so much is off what they weigh. */
    const double most_f32 = spread > 1 ? 6e-6 : 2e-6, most = s->wide ? most_f32 : 5e-4;
    struct bed b = bed_new(s, first, n, spread);
    double *wanted = answers_in_double(&b), worst = 0;
    const size_t room = (size_t)16 << 20;
    float *scratch = device_new(room * sizeof *scratch);
    for (int shared = 0; shared < 2; shared++) {
        if (shared) b.args.scratch = scratch, b.args.room = room;
        const double off = off_by(&b, wanted);
        if (!(off < most))
            fail_msg("%u heads of %u, %s, %u positions after %u%s: off by %g relative, expected less than %g",
                     s->n_heads, s->head_dim, s->wide ? "F32" : "F16", n, first, shared ? ", shared" : "",
                     off, most);
        if (off > worst) worst = off;
        check_vectors(&b);
    }
    run(cudaFree(scratch));
    free(wanted);
    bed_free(&b);
    return worst;
}

static void attention_is_that_in_double_precision(void **state) {
    (void)state;
    static const struct shape shapes[] = {{2, 2, 64, 0}, {4, 2, 128, 0}, {7, 1, 128, 0}, {7, 1, 64, 0},
                                          {2, 1, 80, 0}, {4, 1, 96, 0},  {2, 1, 64, 1},  {2, 1, 128, 1}};
    static const struct {
        uint32_t first, n;
    } steps[] = {{0, 1},     {0, 2},   {0, 64},   {0, 65},  {1, 127},  {0, 128},
                 {128, 128}, {3, 129}, {100, 65}, {130, 8}, {255, 66}, {130, 257},
                 {640, 70},  {700, 1}, {511, 64}, {512, 2}, {600, 40}, {9000, 3}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        double worst = 0;
        for (size_t j = 0; j < sizeof steps / sizeof *steps; j++)
            for (int peaked = 0; peaked < 2; peaked++)
                worst = fmax(worst, check(&shapes[i], steps[j].first, steps[j].n, peaked ? 12.0f : 1.0f));
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
