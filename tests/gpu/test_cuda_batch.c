/* What lies between the products of a fused step, against plain kernels and the host: rows, gate and up,
 * heads, of widths that are and are not multiples of what a thread and a warp take at once. And whole fused
 * steps of nano models, short and long, with 16-bit copies of the matrices and without, against those of
 * --exact. Skips where there is no device; `test_cuda_batch -v` lists figures. */
#include "tests/golden/golden.h"
#include "tests/gpu/card.h"
#include "tests/gpu/on_device.h"
#include "tests/unit/random_blocks.h"

#include "base/mem.h"
#include "kernels/cuda/device.h"

static float *random_floats(size_t n, float size) {
    float *values = xmalloc(n * sizeof *values);
    for (size_t i = 0; i < n; i++) values[i] = random_normal() * size;
    return values;
}

static void *to_host(const void *from, size_t size) {
    void *to = xmalloc(size);
    run(cudaMemcpy(to, from, size, cudaMemcpyDeviceToHost));
    return to;
}

/* Scales as rows have them: powers of two. */
static float *random_scales(uint32_t n) {
    float *scale = xmalloc(n * sizeof *scale);
    for (uint32_t i = 0; i < n; i++) scale[i] = i % 3 == 1 ? 8 : 1;
    return scale;
}

/* Vectors in rows of `stride`, times their scales: [n][cols]. What is beyond cols must be zero. */
static float *values_of(const struct batch_vectors *v, uint32_t cols, uint32_t n) {
    uint16_t *halves = to_host(v->data, (size_t)n * v->stride * 2);
    float *scale = to_host(v->scale, n * sizeof *scale), *out = xmalloc((size_t)n * cols * sizeof *out),
          *row = xmalloc(v->stride * sizeof *row);
    for (uint32_t i = 0; i < n; i++) {
        dtype_to_f32(DTYPE_F16, halves + (size_t)i * v->stride, row, v->stride);
        for (uint32_t k = 0; k < v->stride; k++) {
            if (k < cols)
                out[(size_t)i * cols + k] = row[k] * scale[i];
            else
                assert_true(row[k] == 0);
        }
    }
    free(halves), free(scale), free(row);
    return out;
}

static const double half_error = 5e-4;

/* ---- rows ---- */

enum added { NO_SUMS, SUMS_WITH_SCALE, SUMS, N_ADDED };

static void check_rows(uint32_t cols, uint32_t n, enum added add, bool normed) {
    const size_t size = (size_t)n * cols * sizeof(float);
    const uint32_t stride = (cols + 31) / 32 * 32;
    float *x = random_floats((size_t)n * cols, 1), *sums = random_floats((size_t)n * cols, 2),
          *norm = random_floats(cols, 1), *scale = random_scales(n);
    for (uint32_t k = 0; k < cols && n > 2; k++)
        x[2 * cols + k] *= 3e5f; /* needs a scale, where there is no norm */
    float *plain_x = to_device(x, size), *fused_x = to_device(x, size), *device_sums = to_device(sums, size),
          *device_norm = to_device(norm, cols * sizeof(float)),
          *device_scale = to_device(scale, n * sizeof(float)), *wanted = device_new(size);
    const struct batch_vectors to = {
        .data = device_new((size_t)n * stride * 2), .scale = device_scale, .stride = stride};
    const float *scale_of_sums = add == SUMS_WITH_SCALE ? device_scale : NULL;
    if (add) run(launch_add_rows(NULL, device_sums, scale_of_sums, NULL, cols, n, true, plain_x));
    if (normed)
        run(launch_norm(NULL, plain_x, device_norm, 1e-6f, cols, n, wanted));
    else
        run(cudaMemcpy(wanted, plain_x, size, cudaMemcpyDeviceToDevice));
    struct batch_rows_args args = {
        .x = fused_x, .norm = normed ? device_norm : NULL, .eps = 1e-6f, .cols = cols, .n = n, .to = to};
    if (add) args.add = (struct batch_sums){device_sums, 1, cols, scale_of_sums};
    run(launch_batch_rows(NULL, &args));
    float *a = values_of(&to, cols, n), *b = to_host(wanted, size);
    for (uint32_t i = 0; i < n; i++) {
        double off = relative(a + (size_t)i * cols, b + (size_t)i * cols, cols);
        if (!(off < half_error))
            fail_msg("%u columns, %u positions: position %u is off by %g relative", cols, n, i, off);
    }
    free(a), free(b);
    a = to_host(plain_x, size), b = to_host(fused_x, size);
    assert_memory_equal(a, b, size);
    free(a), free(b);
    args.normed = wanted; /* the end of a step: in F32 */
    args.add.data = NULL;
    b = to_host(wanted, size);
    run(launch_batch_rows(NULL, &args));
    a = to_host(wanted, size);
    assert_true(relative(a, b, (size_t)n * cols) < 1e-5);
    void *all[] = {plain_x, fused_x, device_sums, device_norm, device_scale, wanted, to.data};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) run(cudaFree(all[i]));
    free(a), free(b), free(x), free(sums), free(norm), free(scale);
}

static void rows_are_those_of_plain_kernels(void **state) {
    (void)state;
    static const uint32_t widths[] = {7, 30, 64, 130, 896, 1001, 3584, 4100, 8192, 18944, 32768},
                          counts[] = {1, 3, 70};
    for (size_t w = 0; w < sizeof widths / sizeof *widths; w++)
        for (size_t c = 0; c < sizeof counts / sizeof *counts; c++)
            for (int way = 0; way < 2 * N_ADDED; way++)
                check_rows(widths[w], counts[c], (enum added)(way / 2), way % 2);
}

/* ---- gate and up ---- */

static void check_gated(uint32_t cols, uint32_t n, bool in_turns) {
    const size_t all = (size_t)n * 2 * cols;
    const uint32_t stride = (cols + 31) / 32 * 32;
    float *sums = random_floats(all, 1), *scale = random_scales(n),
          *wanted = xmalloc((size_t)n * cols * sizeof *wanted);
    for (uint32_t i = 0; i < n; i++) {
        for (uint32_t k = 0; k < cols; k++) {
            float *row = sums + (size_t)i * 2 * cols, *gate = row + (in_turns ? 2 * k : k),
                  *up = row + (in_turns ? 2 * k + 1 : cols + k);
            if (i == 2) *gate *= 50, *up *= 3e4f; /* needs a scale */
            const float g = *gate * scale[i];
            wanted[(size_t)i * cols + k] = g / (1 + expf(-g)) * (*up * scale[i]);
        }
    }
    float *device_sums = to_device(sums, all * sizeof *sums),
          *device_scale = to_device(scale, n * sizeof *scale);
    const struct batch_vectors to = {
        .data = device_new((size_t)n * stride * 2), .scale = device_scale, .stride = stride};
    run(launch_batch_gated(NULL,
                           &(struct batch_gated_args){
                               .sums = device_sums, .in_turns = in_turns, .cols = cols, .n = n, .to = to}));
    float *got = values_of(&to, cols, n), *scales = to_host(device_scale, n * sizeof *scales);
    for (uint32_t i = 0; i < n; i++) {
        double off = relative(got + (size_t)i * cols, wanted + (size_t)i * cols, cols);
        if (!(off < half_error))
            fail_msg("%u columns%s, position %u of %u is off by %g relative", cols,
                     in_turns ? " in turns" : "", i, n, off);
        if (i == 2 && cols > 100) assert_true(scales[i] > 1);
    }
    run(cudaFree(device_sums)), run(cudaFree(device_scale)), run(cudaFree(to.data));
    free(sums), free(scale), free(wanted), free(got), free(scales);
}

static void gate_and_up_are_those_of_the_host(void **state) {
    (void)state;
    static const uint32_t widths[] = {6, 31, 64, 130, 1001, 4864, 18944, 40000};
    for (size_t w = 0; w < sizeof widths / sizeof *widths; w++)
        for (int way = 0; way < 4; way++) check_gated(widths[w], way & 2 ? 70 : 3, way & 1);
}

/* ---- heads ---- */

enum { PARTS = 3, FIRST = 2 };

struct heads {
    uint32_t n_heads, n_kv_heads, head_dim, rope_dim;
    bool neighbours, norm, bias;
};

/* q, k and v [n][...] on the device, of the sums, with scale and bias. */
static void split(const struct heads *h, uint32_t n, const float *sums, const float *scale,
                  float *const bias[3], float *to[3]) {
    const uint32_t widths[3] = {h->n_heads * h->head_dim, h->n_kv_heads * h->head_dim,
                                h->n_kv_heads * h->head_dim},
                   rows = widths[0] + 2 * widths[1];
    for (uint32_t first = 0, which = 0; which < 3; first += widths[which++]) {
        float *values = xmalloc((size_t)n * widths[which] * sizeof *values);
        for (uint32_t i = 0; i < n; i++) {
            for (uint32_t e = 0; e < widths[which]; e++) {
                float total = 0;
                for (uint32_t part = 0; part < PARTS; part++)
                    total += sums[((size_t)part * n + i) * rows + first + e];
                values[(size_t)i * widths[which] + e] = total * scale[i] + (h->bias ? bias[which][e] : 0);
            }
        }
        to[which] = to_device(values, (size_t)n * widths[which] * sizeof *values);
        free(values);
    }
}

static void check_same(const void *a, const void *b, size_t n, bool half, const char *what,
                       const struct heads *h) {
    const size_t size = n * (half ? 2 : sizeof(float));
    void *one = to_host(a, size), *other = to_host(b, size);
    float *x = xmalloc(n * sizeof *x), *y = xmalloc(n * sizeof *y);
    dtype_to_f32(half ? DTYPE_F16 : DTYPE_F32, one, x, n);
    dtype_to_f32(half ? DTYPE_F16 : DTYPE_F32, other, y, n);
    double off = relative(x, y, n);
    if (!(off < (half ? 1e-4 : 1e-6)))
        fail_msg("%s of %u + 2 x %u heads of %u, %u of them turned: off by %g relative", what, h->n_heads,
                 h->n_kv_heads, h->head_dim, h->rope_dim, off);
    free(one), free(other), free(x), free(y);
}

static void check_heads(const struct heads *h, uint32_t n) {
    const uint32_t q = h->n_heads * h->head_dim, kv = h->n_kv_heads * h->head_dim, rows = q + 2 * kv,
                   n_ctx = FIRST + n + 1;
    const size_t cached = (size_t)kv * n_ctx;
    float *sums = random_floats((size_t)PARTS * n * rows, 1), *scale = random_scales(n),
          *norm = random_floats(h->head_dim, 1), *freq = xmalloc(h->rope_dim / 2 * sizeof *freq), *bias[3],
          *apart[3];
    for (uint32_t i = 0; i < h->rope_dim / 2; i++)
        freq[i] = powf(1e4f, -2.0f * (float)i / (float)h->rope_dim);
    struct batch_heads_args args = {.sums = {to_device(sums, (size_t)PARTS * n * rows * sizeof *sums), PARTS,
                                             rows, to_device(scale, n * sizeof *scale)},
                                    .first = FIRST,
                                    .n = n,
                                    .q = device_new((size_t)n * q * sizeof(float))};
    for (int i = 0; i < 3; i++) {
        bias[i] = random_floats(i ? kv : q, 3);
        args.bias[i] = h->bias ? to_device(bias[i], (i ? kv : q) * sizeof(float)) : NULL;
    }
    float *device_norm = to_device(norm, h->head_dim * sizeof *norm),
          *device_freq = to_device(freq, h->rope_dim / 2 * sizeof *freq);
    args.rope = (struct rope_args){.n_heads = h->n_heads,
                                   .n_kv_heads = h->n_kv_heads,
                                   .head_dim = h->head_dim,
                                   .rope_dim = h->rope_dim,
                                   .neighbours = h->neighbours,
                                   .magnitude = 1.1f,
                                   .eps = 1e-6f,
                                   .freq = device_freq,
                                   .q_norm = h->norm ? device_norm : NULL,
                                   .k_norm = h->norm ? device_norm : NULL};
    struct cache_layer plain = {.k = device_new(cached * 2), .v = device_new(cached * 2), .n_ctx = n_ctx};
    args.cache =
        (struct cache_layer){.k = device_new(cached * 2), .v = device_new(cached * 2), .n_ctx = n_ctx};
    void *caches[] = {plain.k, plain.v, args.cache.k, args.cache.v};
    for (int i = 0; i < 4; i++) run(cudaMemset(caches[i], 0, cached * 2)); /* what no position has */
    split(h, n, sums, scale, bias, apart);
    run(launch_rope_append(NULL, args.rope, plain, apart[0], apart[1], apart[2], FIRST, n, NULL, NULL));
    run(launch_batch_heads(NULL, &args));
    check_same(args.q, apart[0], (size_t)n * q, false, "queries", h);
    check_same(args.cache.k, plain.k, cached, true, "keys", h);
    check_same(args.cache.v, plain.v, cached, true, "values", h);
    void *all[] = {args.sums.data,
                   (void *)args.sums.scale,
                   args.q,
                   device_norm,
                   device_freq,
                   apart[0],
                   apart[1],
                   apart[2],
                   (void *)args.bias[0],
                   (void *)args.bias[1],
                   (void *)args.bias[2]};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) run(cudaFree(all[i]));
    for (int i = 0; i < 4; i++) run(cudaFree(caches[i]));
    for (int i = 0; i < 3; i++) free(bias[i]);
    free(sums), free(scale), free(norm), free(freq);
}

static void heads_are_those_of_plain_kernels(void **state) {
    (void)state;
    static const struct heads shapes[] = {
        {28, 4, 128, 128, false, false, true}, {32, 8, 128, 128, false, true, false},
        {14, 2, 64, 64, false, false, true},   {32, 8, 64, 64, true, false, false},
        {5, 1, 80, 32, false, true, true},     {3, 3, 6, 6, true, true, true},
        {7, 1, 30, 20, false, false, true},    {2, 1, 256, 256, true, true, false},
        {1, 1, 2, 2, false, false, false},
    };
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        check_heads(&shapes[i], 2);
        check_heads(&shapes[i], 67);
    }
}

/* ---- whole steps ---- */

static const uint32_t counts[] = {2, 7, 8, 9, 31, 32, 33, 64, 65, 100, 513, 700};
enum { COUNTS = sizeof counts / sizeof *counts, N_CTX = 720 };

enum way { EXACT, FAST, WITHOUT_COPIES };
static const char *const way_names[] = {"exact", "fast", "without copies"};

/* As where there was no room for them. */
static void leave_copies(struct backend *b) {
    warm_end(b);
    if (!b->scratch16) run(cudaMalloc(&b->scratch16, 1 << 22)); /* more than any matrix of a nano model */
    for (uint32_t i = 0; i < b->model->n_layers; i++) {
        struct device_layer *l = &b->layers[i];
        l->q16 = l->k16 = l->v16 = l->o16 = l->gate16 = l->up16 = l->down16 = NULL;
    }
}

/* Logits of all positions of a step of each count, after 0, 5 or 10 others. */
static void logits_of(const char *name, enum way way, const int32_t *ids, float *logits[COUNTS]) {
    struct rig rig =
        rig_open(&backend_cuda, name, &(struct backend_options){.n_ctx = N_CTX, .exact = way == EXACT});
    struct err err;
    if (way != EXACT && rig.backend->small != (rig.view->layers[0].attn_q->type != DTYPE_F32 &&
                                               rig.backend->properties.major >= 8))
        fail_msg("%s: steps of a few positions %s by the quants themselves", name,
                 rig.backend->small ? "are" : "are not");
    if (way == WITHOUT_COPIES) leave_copies(rig.backend);
    for (uint32_t c = 0; c < COUNTS; c++) {
        const uint32_t before = c % 3 * 5;
        struct step_request first = {.ids = ids, .n = before};
        rig.ops->timeline_truncate(rig.timeline, 0);
        if (before) must(rig.ops->step(rig.timeline, &first, &err), &err, "step");
        logits[c] = xmalloc((size_t)counts[c] * rig.view->n_vocab * sizeof *logits[c]);
        rig_feed(&rig, ids + before, counts[c], 0, logits[c]);
    }
    rig_close(&rig);
}

static void fused_steps_are_near_the_exact_ones(void **state) {
    (void)state;
    for (size_t i = 0; i < NANO_MODELS; i++) {
        struct golden golden = golden_open(nano_names[i]);
        const double most = 8e-3;
        int32_t ids[N_CTX];
        float *exact[COUNTS], *fast[COUNTS];
        for (uint32_t k = 0; k < N_CTX; k++) ids[k] = (int32_t)(k * 37 % golden.n_vocab);
        logits_of(nano_names[i], EXACT, ids, exact);
        for (enum way way = FAST; way <= WITHOUT_COPIES; way++) {
            double worst = 0;
            logits_of(nano_names[i], way, ids, fast);
            for (uint32_t c = 0; c < COUNTS; c++) {
                double off = relative(fast[c], exact[c], (size_t)counts[c] * golden.n_vocab);
                if (!(off < most))
                    fail_msg("%s, %s, %u positions: off by %g relative, expected less than %g", nano_names[i],
                             way_names[way], counts[c], off, most);
                if (off > worst) worst = off;
                free(fast[c]);
            }
            if (verbose) printf("%-20s %-14s off by at most %.2e\n", nano_names[i], way_names[way], worst);
        }
        for (uint32_t c = 0; c < COUNTS; c++) free(exact[c]);
        golden_close(&golden);
    }
}

int main(int argc, char **argv) {
    if (!card_is_there(argc, argv)) return SKIPPED;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_those_of_plain_kernels),
        cmocka_unit_test(gate_and_up_are_those_of_the_host),
        cmocka_unit_test(heads_are_those_of_plain_kernels),
        cmocka_unit_test(fused_steps_are_near_the_exact_ones),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
