/* The products of a step of 2 to 64 positions (batch.c), the usual turn of a chat, by the quants themselves
 * (small_product.cu): which models can have them, and how they are cut into blocks. */
#include "kernels/cuda/small_batch.h"
#include "kernels/cuda/device.h"

#include <string.h>

/* ---- which models ---- */

static bool is_float(const struct device_matrix *w) {
    return w->type == DTYPE_F16 || w->type == DTYPE_BF16;
}

/* A matrix of which a warp gets `tile` rows. */
static bool matrix_can(const struct backend *b, const struct device_matrix *w, uint32_t tile) {
    const struct small_memory memory = small_product_memory(w->type, small_groups(SMALL_BATCH_MOST));
    return small_product_can(w->type) && w->cols <= BATCH_COLS_MOST &&
           w->rows >= tile && small_block_memory(memory, 1, 2) <= b->properties.sharedMemPerBlockOptin;
}

static bool layer_can(const struct backend *b, const struct device_layer *l) {
    const struct device_matrix *w[] = {&l->q, &l->k, &l->v, &l->o, &l->down};
    for (size_t i = 0; i < sizeof w / sizeof *w; i++)
        if (!matrix_can(b, w[i], 2 * SMALL_TILE)) return false;
    /* what meets the same vectors wants them in the same order */
    return matrix_can(b, &l->gate, SMALL_TILE) && l->gate.type == l->up.type &&
           is_float(&l->q) == is_float(&l->k) && is_float(&l->k) == is_float(&l->v);
}

bool small_batch_can(const struct backend *b) {
    if (b->exact || b->properties.major < 8) return false;
    for (uint32_t i = 0; i < b->model->n_layers; i++)
        if (!layer_can(b, &b->layers[i])) return false;
    return true;
}

/* ---- how a product is cut ---- */

static uint32_t divide_up(uint32_t a, uint32_t b) {
    return (a + b - 1) / b;
}
static uint32_t least_of(uint32_t a, uint32_t b) {
    return a < b ? a : b;
}
static uint32_t most_of(uint32_t a, uint32_t b) {
    return a > b ? a : b;
}

/* Blocks of a cut that a multiprocessor has room for. */
static uint32_t room_for(const struct backend *b, const struct small_work *w, struct small_cut c) {
    const uint32_t bytes = small_block_memory(w->memory, c.warps, c.depth);
    if (bytes > b->properties.sharedMemPerBlockOptin) return 0;
    return least_of(SMALL_WARPS_MOST / c.warps,
                    (uint32_t)(b->properties.sharedMemPerMultiprocessor /
                               (bytes + b->properties.reservedSharedMemPerBlock)));
}

/* Microseconds on an H100, near enough to choose by: the four schedulers of a multiprocessor have their warps
 * multiply one after the other, but a step never takes less than seven warps would, a block has its start,
 * and the sums of parts are written and read. */
static double cost_of(const struct backend *b, const struct small_work *w, struct small_cut c,
                      uint32_t room) {
    const uint32_t each =
        divide_up(divide_up(w->tiles, c.warps) * c.parts, (uint32_t)b->properties.multiProcessorCount);
    const uint32_t together = least_of(each, room) * c.warps, rounds = divide_up(each, room);
    const double warps = most_of(divide_up(together, 4) * 4, 7) + 0.01 * together;
    const double warp_step = w->groups == 2 ? 0.12 : w->groups == 4 ? 0.17 : 0.256;
    const double start = 3, sums_a_us = 3e6 / (2 * sizeof(float));
    return rounds * (warps * warp_step * divide_up(w->steps, c.parts) + start) +
           (double)c.parts * w->groups * 8 * w->rows / sums_a_us;
}

/* Of equals the first: where memory is what counts, few large blocks with much under way, else small ones,
 * whose warps wait less for each other. */
static struct small_cut find_cut(const struct backend *b, const struct small_work *w) {
    struct small_cut best = {0};
    double least = 0;
    for (uint32_t i = 0; i < (SMALL_DEEPEST - 1) * SMALL_WARPS_MOST; i++) {
        const uint32_t k = w->wide ? (SMALL_DEEPEST - 1) * SMALL_WARPS_MOST - 1 - i : i;
        struct small_cut c = {.warps = k % SMALL_WARPS_MOST + 1, .depth = k / SMALL_WARPS_MOST + 2};
        const uint32_t room = room_for(b, w, c);
        for (c.parts = 1; room && c.parts <= w->most_parts && c.parts <= w->steps; c.parts++) {
            const double cost = cost_of(b, w, c, room);
            if (!best.warps || cost < least) best = c, least = cost;
        }
    }
    return best;
}

static struct small_cut cut_for(struct backend *b, const struct small_work *w) {
    struct small_cuts *known = &b->small_cuts;
    for (uint32_t i = 0; i < known->n && i < SMALL_CUTS; i++)
        if (memcmp(&known->work[i], w, sizeof *w) == 0) return known->cut[i];
    const uint32_t i = known->n++ % SMALL_CUTS;
    known->work[i] = *w;
    return known->cut[i] = find_cut(b, w);
}

/* Of a matrix more; a warp has `tile` of its rows. */
static void add_work(const struct device_matrix *m, uint32_t tile, struct small_work *w) {
    const struct small_memory memory = small_product_memory(m->type, w->groups);
    w->tiles += divide_up(m->rows, tile);
    w->rows += m->rows;
    w->steps = small_steps(m->blocks);
    w->wide |= memory.wide;
    w->memory.vectors = most_of(w->memory.vectors, memory.vectors);
    w->memory.pieces = most_of(w->memory.pieces, memory.pieces);
    w->memory.heads = most_of(w->memory.heads, memory.heads);
}

/* ---- the products ---- */

/* A launch for each run of matrices that has one type. */
int small_multiply(struct backend *b, const struct batch_vectors *x, uint32_t n,
                   const struct device_matrix *m, uint32_t n_matrices, struct batch_sums *sums,
                   struct err *err) {
    struct small_work work = {.groups = x->groups};
    for (uint32_t i = 0; i < n_matrices; i++) add_work(&m[i], 2 * SMALL_TILE, &work);
    /* gate and up hold them */
    const size_t room = (size_t)((char *)b->h - (char *)b->gate) / sizeof(float) / n / work.rows;
    work.most_parts = room < SMALL_PARTS_MOST ? (uint32_t)room : SMALL_PARTS_MOST;
    const struct small_cut cut = cut_for(b, &work);
    *sums = (struct batch_sums){b->gate, cut.parts, work.rows, x->scale};
    uint32_t first_row = 0;
    for (uint32_t i = 0; i < n_matrices;) {
        struct small_product_args args = {
            .n = n, .x = *x, .to = *sums, .first_row = first_row, .warps = cut.warps, .depth = cut.depth};
        for (int type = m[i].type; i < n_matrices && m[i].type == type; i++) {
            args.w[args.n_matrices++] = m[i];
            first_row += m[i].rows;
        }
        CUDA_TRY(launch_small_product(b->stream, &args));
    }
    return STATUS_OK;
}

int small_multiply_gated(struct backend *b, const struct batch_vectors *x, uint32_t n,
                         const struct device_matrix *gate, const struct device_matrix *up, float *y,
                         struct err *err) {
    struct small_work work = {.groups = x->groups, .most_parts = 1};
    add_work(gate, SMALL_TILE, &work);
    const struct small_cut cut = cut_for(b, &work);
    const struct small_product_args args = {.w = {*gate, *up},
                                            .n_matrices = 2,
                                            .gated = true,
                                            .n = n,
                                            .x = *x,
                                            .to = {y, 1, gate->rows},
                                            .warps = cut.warps,
                                            .depth = cut.depth};
    CUDA_TRY(launch_small_product(b->stream, &args));
    return STATUS_OK;
}
