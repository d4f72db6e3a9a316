/* The kernels of the CUDA backend as C sees them: every function here enqueues work on a stream and returns at once.
 *
 * Weights are kept in chunks of planes (kernels/cuda/layout.cuh), activations in F32. A matrix has `rows` outputs and `cols` inputs; a row is
 * cut into blocks of 32 inputs. All pointers are device pointers unless a name says host. */
#ifndef LOGITOP_KERNELS_CUDA_KERNELS_H
#define LOGITOP_KERNELS_CUDA_KERNELS_H

#include "kernels/dtype.h"
#include "kernels/sampling.h"

#include <cuda_runtime_api.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A matrix in chunks of planes (layout.cuh). `pitch`: bytes from a row to the next, at least row_bytes(); two matrices may lie with their
 * rows in turns. */
struct device_matrix {
    int type; /* enum dtype */
    uint32_t rows, cols, blocks, pitch;
    void *data;
};

/* Bytes of a row of `blocks` blocks of 32; 0: no type of this backend. */
size_t row_bytes(int type, uint32_t blocks);

/* From `raw`, n_rows rows as they are in the file, to rows first_row and on of the matrix. */
cudaError_t launch_pack(cudaStream_t stream, struct device_matrix to, const void *raw, uint32_t first_row, uint32_t n_rows);

/* All of a matrix as F16, rows of 32 * blocks elements at a pitch of `stride` elements, for the matrix units. Of BF16 that loses what is below 2^-25; what is
 * beyond 65504 becomes infinite, and no answer. */
cudaError_t launch_to_16bit(cudaStream_t stream, struct device_matrix from, void *to, size_t stride);

/* ---- many positions: [n][...] arrays, one row a position ---- */

/* out[i] = row ids[i] of the matrix. */
cudaError_t launch_embed(cudaStream_t stream, struct device_matrix table, const int32_t *ids, uint32_t n, float *out);

/* out = x / rms(x) * weight over rows of `cols`; n rows. */
cudaError_t launch_norm(cudaStream_t stream, const float *x, const float *weight, float eps, uint32_t cols, uint32_t n, float *out);

/* y[i] = W x[i] (+ bias) (+ y[i] if add), in F32, the sum of an output in an order that does not depend on n. */
cudaError_t launch_product_exact(cudaStream_t stream, struct device_matrix w, const float *x, const float *bias, int add,
                                 uint32_t n, float *y);

/* Heads of q and k: optional norm over the head (weights [head_dim] or NULL), then rotation; k and v go into the cache at positions
 * first + i. q and k stay in place, rotated. `normed_q` / `normed_k`, if not NULL, get the values before the rotation (trace). */
struct rope_args {
    uint32_t n_heads, n_kv_heads, head_dim, rope_dim;
    int neighbours; /* pairs (2i, 2i+1) instead of (i, i + d/2) */
    float magnitude, eps;
    const float *freq; /* [rope_dim / 2] */
    const float *q_norm, *k_norm;
};
/* A layer's cache: keys then values, each [n_kv_heads][n_ctx][head_dim], F32 if wide else F16. */
struct cache_layer {
    void *k, *v;
    uint32_t n_ctx;
    int wide;
};
cudaError_t launch_rope_append(cudaStream_t stream, struct rope_args rope, struct cache_layer cache, float *q, float *k,
                               const float *v, uint32_t first, uint32_t n, float *normed_q, float *normed_k);

/* out = silu(gate) * up, elementwise. */
cudaError_t launch_silu_mul(cudaStream_t stream, const float *gate, const float *up, size_t n, float *out);
cudaError_t launch_add_rows(cudaStream_t stream, const float *from, const float *row_scale, const float *bias, uint32_t cols, uint32_t n,
                            int add, float *to); /* to (+)= from * row_scale[row] + bias */
/* F16 copy of rows for the matrix units, each row divided by row_scale so that nothing overflows. Padded to `stride`. */
cudaError_t launch_rows_to_16bit(cudaStream_t stream, const float *x, uint32_t cols, uint32_t stride, uint32_t n, void *to, float *row_scale);

/* Read n 16-byte words and do nothing with them: what the memory gives. `sink` is never written. */
cudaError_t launch_read(cudaStream_t stream, const void *from, size_t n, float *sink, uint32_t multiprocessors);

#ifdef __cplusplus
}
#endif

#endif
