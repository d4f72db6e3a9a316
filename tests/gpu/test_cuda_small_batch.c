/* Products of a few positions by the quants themselves against those in F32 of the same packed weights: every
 * type, numbers of positions around the borders of the groups of eight, rows and columns around those of
 * tiles and steps, columns in parts. Skips where there is no device; `test_cuda_small_batch -v` lists
 * figures. */
#include "tests/golden/golden.h"
#include "tests/gpu/card.h"
#include "tests/gpu/on_device.h"
#include "tests/unit/random_blocks.h"

#include "base/mem.h"
#include "kernels/cuda/device.h"
#include "kernels/cuda/small_batch.h"

static uint32_t shared; /* bytes a block can have */

/* ---- one product ---- */

struct bed { /* what a product needs, on the device */
    struct device_matrix w[2];
    float *x, *exact[2], *sums, *y, *scale;
    void *vectors;
};

static struct device_matrix matrix_new(enum dtype type, uint32_t rows, uint32_t cols) {
    const struct dtype_info *info = dtype_info(type);
    struct device_matrix m = {.type = (int)type, .rows = rows, .cols = cols, .blocks = (cols + 31) / 32};
    const size_t size = (size_t)rows * cols / info->block * info->block_size;
    m.pitch = (uint32_t)row_bytes((int)type, m.blocks);
    uint8_t *raw = xmalloc(size);
    for (size_t at = 0; at < size; at += info->block_size) random_block(type, raw + at, info->block_size);
    void *file = device_new(size);
    m.data = device_new((size_t)rows * m.pitch);
    run(cudaMemcpy(file, raw, size, cudaMemcpyHostToDevice));
    run(launch_pack(NULL, m, file, 0, rows));
    run(cudaDeviceSynchronize());
    run(cudaFree(file));
    free(raw);
    return m;
}

/* Row 1 is large enough to need a scale, row 0 is zeros. */
static struct bed bed_new(enum dtype type, uint32_t rows, uint32_t cols) {
    const size_t n = SMALL_BATCH_MOST;
    struct bed b = {.w = {matrix_new(type, rows, cols), matrix_new(type, rows, cols)}};
    float *x = xmalloc(n * cols * sizeof *x);
    for (size_t i = 0; i < n * cols; i++)
        x[i] = i < cols ? 0 : random_normal() * (i < 2 * cols ? 3e5f : 1.0f);
    b.x = device_new(n * cols * sizeof *x);
    run(cudaMemcpy(b.x, x, n * cols * sizeof *x, cudaMemcpyHostToDevice));
    free(x);
    for (int i = 0; i < 2; i++) {
        b.exact[i] = device_new(n * rows * sizeof(float));
        run(launch_product_exact(NULL, b.w[i], b.x, NULL, false, SMALL_BATCH_MOST, b.exact[i]));
    }
    b.sums = device_new(SMALL_PARTS_MOST * n * 2 * rows * sizeof(float));
    b.y = device_new(n * 2 * rows * sizeof(float));
    b.scale = device_new(n * sizeof(float));
    b.vectors = device_new(small_vectors_size(b.w[0].blocks, SMALL_BATCH_MOST));
    return b;
}

static void bed_free(struct bed *b) {
    void *all[] = {b->w[0].data, b->w[1].data, b->x,     b->exact[0], b->exact[1],
                   b->sums,      b->y,         b->scale, b->vectors};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) run(cudaFree(all[i]));
}

/* y[n][rows of both] or, gated, y[n][rows of one], as a layer has it made. */
static void multiply(struct bed *b, uint32_t n, uint32_t warps, uint32_t parts, uint32_t depth, bool gated,
                     float *y) {
    const int type = b->w[0].type;
    const uint32_t rows = b->w[0].rows, all = gated ? rows : 2 * rows;
    struct batch_vectors x = {.data = b->vectors,
                              .groups = small_groups(n),
                              .scale = b->scale,
                              .floats = type == DTYPE_F16 || type == DTYPE_BF16};
    struct batch_sums sums = {b->sums, parts, all, b->scale};
    run(cudaMemset(b->sums, 0xff, (size_t)parts * n * all * sizeof(float)));
    run(cudaMemset(b->vectors, 0xff, small_vectors_size(b->w[0].blocks, n)));
    run(launch_batch_rows(NULL, &(struct batch_rows_args){.x = b->x, .cols = b->w[0].cols, .n = n, .to = x}));
    run(launch_small_product(NULL, &(struct small_product_args){.w = {b->w[0], b->w[1]},
                                                                .n_matrices = 2,
                                                                .gated = gated,
                                                                .n = n,
                                                                .x = x,
                                                                .to = sums,
                                                                .warps = warps,
                                                                .depth = depth}));
    if (!gated) { /* the reader of the sums adds them up */
        run(cudaMemset(b->y, 0, (size_t)n * all * sizeof(float)));
        run(launch_batch_rows(
            NULL,
            &(struct batch_rows_args){.x = b->y, .add = sums, .cols = all, .n = n, .to = x, .normed = b->y}));
    }
    run(cudaMemcpy(y, gated ? b->sums : b->y, (size_t)n * all * sizeof(float), cudaMemcpyDeviceToHost));
}

static double check_product(struct bed *b, uint32_t n, uint32_t warps, uint32_t parts, uint32_t depth,
                            bool gated, double most) {
    const uint32_t rows = b->w[0].rows, all = gated ? rows : 2 * rows;
    float *y = xmalloc((size_t)n * all * sizeof *y), *again = xmalloc((size_t)n * all * sizeof *y),
          *wanted = xmalloc((size_t)n * all * sizeof *y);
    float *exact[2];
    for (int i = 0; i < 2; i++) {
        exact[i] = xmalloc((size_t)n * rows * sizeof(float));
        run(cudaMemcpy(exact[i], b->exact[i], (size_t)n * rows * sizeof(float), cudaMemcpyDeviceToHost));
    }
    for (uint32_t p = 0; p < n; p++) {
        for (uint32_t r = 0; r < rows; r++) {
            const float one = exact[0][p * rows + r], other = exact[1][p * rows + r];
            wanted[p * all + r] = gated ? one / (1 + expf(-one)) * other : one;
            if (!gated) wanted[p * all + rows + r] = other;
        }
    }
    multiply(b, n, warps, parts, depth, gated, y);
    multiply(b, n, warps, parts, depth, gated, again);
    assert_memory_equal(y, again, (size_t)n * all * sizeof *y);
    double worst = 0;
    for (uint32_t p = 0; p < n; p++) {
        double off = relative(y + p * all, wanted + p * all, all);
        if (!(off < most))
            fail_msg("%s, %u x %u, %u positions, %u warps, %u parts, depth %u%s: position %u is off by %g "
                     "relative, expected less than %g",
                     dtype_info((uint32_t)b->w[0].type)->name, rows, b->w[0].cols, n, warps, parts, depth,
                     gated ? ", gated" : "", p, off, most);
        if (off > worst) worst = off;
    }
    free(y), free(again), free(wanted), free(exact[0]), free(exact[1]);
    return worst;
}

static void every_product_is_that_in_f32(void **state) {
    (void)state;
    static const uint32_t counts[] = {2, 7, 8, 9, 16, 17, 31, 32, 33, 63, 64};
    static const uint32_t small[][2] = {{32, 32}, {33, 96}, {40, 1056}, {200, 2656}},
                          large[][2] = {{32, 256}, {33, 768}, {200, 2560}};
    for (int t = 0; t < N_TYPES; t++) {
        const enum dtype type = types[t];
        if (!small_product_can((int)type)) continue;
        const bool wide = dtype_info(type)->block == 256;
        const double most = 1.5e-3; /* the vectors have 11 bits, and so have the weights */
        double worst = 0;
        for (size_t s = 0; s < (wide ? sizeof large / sizeof *large : sizeof small / sizeof *small); s++) {
            struct bed bed =
                bed_new(type, wide ? large[s][0] : small[s][0], wide ? large[s][1] : small[s][1]);
            const uint32_t steps = small_steps(bed.w[0].blocks);
            for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
                const struct small_memory memory = small_product_memory((int)type, small_groups(counts[i]));
                uint32_t most_warps = SMALL_WARPS_MOST;
                while (small_block_memory(memory, most_warps, 2) > shared) most_warps--;
                worst = fmax(worst, check_product(&bed, counts[i], 2, 1, 3, false, most));
                worst = fmax(
                    worst, check_product(&bed, counts[i], most_warps, steps < 3 ? steps : 3, 2, false, most));
                worst = fmax(worst, check_product(&bed, counts[i], 1, 1, 4, true,
                                                  5 * most)); /* products of two, and silu near zero */
            }
            bed_free(&bed);
        }
        if (verbose) printf("%-8s off by at most %.2e\n", dtype_info(type)->name, worst);
    }
}

int main(int argc, char **argv) {
    if (!card_is_there(argc, argv)) return SKIPPED;
    int bytes = 0;
    cudaDeviceGetAttribute(&bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, 0);
    shared = (uint32_t)bytes;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_product_is_that_in_f32),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
