/* Matrix products of the CPU backend: y[column][row] = sum over k of weight[row][k] * x[column][k].
 *
 * A matrix is packed once at load, 16 rows interleaved, so that a vector register holds one element (or four
 * bytes) of each of 16 rows and no sum ever runs across a register. Packing is a permutation of the file's
 * bits: same size, same values. The packed copy replaces the original: pages of the mapped file are given
 * back as they are done.
 *
 * Activations are prepared once and shared by every matrix that multiplies them (q, k and v; gate and up).
 * Two forms:
 * - F32. For F32, F16 and BF16 weights, and for every type with `exact`: weights are widened to the very F32
 * values of dtype_to_f32(), and each output is summed in an order that depends on neither n nor the slices:
 * the same bits always (on one ISA). Sums run in runs of 64 elements, which keeps rounding far below that of
 * one long chain.
 * - Q8. For block types without `exact`: blocks of 32 with an F32 scale, dot products of a block in int32,
 * sums across blocks in F32, block after block: here, too, neither n nor the slices change a bit.
 *
 * Typical use, each thread its own slices, a barrier after each fill:
 *     activations_init(&a, n, cols, forms, memory);
 *     activations_fill(&a, x, cols, first unit, last unit);       (barrier)
 *     matmul_slice(&wq, &a, q, q_stride, first row, last row);    (no barrier)
 *     matmul_slice(&wk, &a, k, k_stride, first row, last row);    (barrier)
 * Everything here may run in any thread; functions that write take disjoint slices. No function allocates. */
#ifndef LOGITOP_KERNELS_CPU_MATMUL_H
#define LOGITOP_KERNELS_CPU_MATMUL_H

#include "base/err.h"
#include "kernels/backend.h"
#include "kernels/cpu/isa.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- weights ---- */

#define MATRIX_ROWS 16 /* rows a group: slices begin at a multiple of it and end at one or at the last row */

enum activation_form { ACTIVATION_F32 = 1, ACTIVATION_Q8 = 2 };

struct matrix {
    enum dtype type;
    uint64_t rows, cols;
    enum activation_form form;    /* what matmul_slice() reads */
    const struct weight *weight;  /* the source, needed while packing */
    uint8_t *packed;              /* groups of 16 rows; the last one is filled up with zeros */
    size_t group_size;            /* bytes a group: 16 rows in the file's size */
    const struct matmul_kernels *kernels;
};

/* Bytes that the packed form of a weight takes (a multiple of 64; rows are filled up to 16). 0 if it overflows. */
size_t matrix_size(const struct weight *weight);

/* Describe a matrix whose packed form will be at `memory` (matrix_size() bytes, at a multiple of 64, alive as long as the matrix).
 * STATUS_UNSUPPORTED for a type or a shape that cannot be multiplied with; names the tensor. */
int matrix_init(struct matrix *m, const struct weight *weight, bool exact, enum isa isa, void *memory, struct err *err);

/* Pack rows [row_begin, row_end), a slice as above. Where the weight comes from a mapped file (fd >= 0), its whole pages
 * in the slice are given back to the system afterwards; they are read again from the file if somebody needs them. */
void matrix_pack(const struct matrix *m, uint64_t row_begin, uint64_t row_end);

/* One row as F32 [cols], bit for bit what dtype_to_f32() gives: embeddings. */
void matrix_row(const struct matrix *m, uint64_t row, float *out);

/* Private zeroed memory at a multiple of 2 MiB, in huge pages where the system gives them: one piece for all packed
 * weights reads a tenth faster than many small ones. NULL when there is none. */
void *weights_alloc(size_t size);
void weights_free(void *memory, size_t size);

/* ---- activations ---- */

#define ACTIVATION_PANEL 16 /* columns that a kernel works on at a time */
#define ACTIVATION_BLOCK 32 /* elements of a column that share a scale; also the unit of filling */

/* Of each block of a column: its scale, and sums over the whole block and over its halves (for 16-element sub-blocks).
 * Stored as [panel][block][ACTIVATION_FACTS][column of the panel]. */
enum { ACTIVATION_SCALE, ACTIVATION_BIAS, ACTIVATION_SUM, ACTIVATION_BIAS_LOW, ACTIVATION_BIAS_HIGH, ACTIVATION_SUM_LOW,
       ACTIVATION_SUM_HIGH, ACTIVATION_FACTS };
union activation_fact {
    float f;   /* SCALE; SUM: scale times the sum of the integers */
    int32_t i; /* BIAS: -128 times the sum of the integers: undoes the 128 that signed weights carry to be unsigned bytes */
};

struct activations {
    uint32_t n, cols;
    int forms;                   /* ACTIVATION_F32 | ACTIVATION_Q8 */
    float *f32;                  /* [panel][k][column of the panel] */
    int8_t *q8;                  /* [panel][block][column of the panel][32] */
    union activation_fact *facts;
};

/* Bytes that activations of up to n columns of `cols` elements take, a multiple of 64. 0 if it overflows. */
size_t activations_size(uint32_t n, uint32_t cols, int forms);

/* Lay out n columns at `memory` (a multiple of 64). Only sets pointers: every thread may do it for itself. Q8 needs cols to be a
 * multiple of 32, which rows of every block type are. */
void activations_init(struct activations *a, uint32_t n, uint32_t cols, int forms, void *memory);

/* A unit is 32 elements of 16 columns: threads share the work by units. */
size_t activations_units(const struct activations *a);

/* Fill units [begin, end) from x, where column c starts at x + c * stride. What is not finite stays so in the product. */
void activations_fill(const struct activations *a, enum isa isa, const float *x, size_t stride, size_t begin, size_t end);

/* ---- the product ---- */

/* y[c * stride + row] for all columns c of `a` and rows [row_begin, row_end). `a` must hold m->form and m->cols elements. */
void matmul_slice(const struct matrix *m, const struct activations *a, float *y, size_t stride, uint64_t row_begin,
                  uint64_t row_end);

/* ---- one ISA's kernels; for this folder's own files ---- */

struct matmul_kernels {
    void (*fill_q8)(const struct activations *a, const float *x, size_t stride, size_t begin, size_t end);
    void (*product_q8)(const struct matrix *m, const struct activations *a, float *y, size_t stride, uint64_t row_begin,
                       uint64_t row_end);
    void (*product_f32)(const struct matrix *m, const struct activations *a, float *y, size_t stride, uint64_t row_begin,
                        uint64_t row_end);
    /* Elements [k, k + n) of a group as F32 [n][16]; k and n multiples of 32 (of 1 for F32, F16, BF16). */
    void (*widen)(enum dtype type, const uint8_t *group, size_t k, size_t n, float *out);
};
extern const struct matmul_kernels matmul_portable, matmul_avx2, matmul_avx512;

/* pack.c: 16 rows of one block to one unit of packed bytes; `rows` holds where each row's block starts. */
void pack_unit(enum dtype type, const uint8_t *const rows[MATRIX_ROWS], uint8_t *out);

#endif
