/* What lies between the products of a fused step of many positions (batch.c): what C and CUDA files share. */
#ifndef LOGITOP_KERNELS_CUDA_BATCH_H
#define LOGITOP_KERNELS_CUDA_BATCH_H

#include "kernels/cuda/kernels.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { BATCH_COLS_MOST = 32768 }; /* of launch_batch_rows(): a row is kept in registers */

/* What a product multiplies: the vectors of n positions in F16. */
struct batch_vectors {
    void *data;
    float *scale;    /* [n] each row was divided by it so that nothing overflows; NULL: by 1 */
    uint32_t stride; /* elements of a row, a multiple of 32, zero from its columns on; or 0: */
    uint32_t groups; /* the order of small_vectors_size(), small_groups(n), */
    int floats;      /* with the columns as float types want them */
};

/* What it makes: sums over a part of the columns, not yet multiplied by the scale of the vectors:
 * [parts][n][rows]. */
struct batch_sums {
    float *data;
    uint32_t parts, rows;
    const float *scale; /* [n] that of the vectors, NULL: 1 */
};

/* A block a position: v = x (+ sums * scale, and x = v), an RMS norm of it if wanted, and the result as
 * vectors, or in F32 where `normed` is given. */
struct batch_rows_args {
    float *x;              /* [n][cols], cols at most BATCH_COLS_MOST */
    struct batch_sums add; /* data NULL: none */
    const float *norm;     /* [cols] or NULL */
    float eps;
    uint32_t cols, n;
    struct batch_vectors to; /* with a scale, which may be that of the sums */
    float *normed;           /* [n][cols] or NULL */
};
cudaError_t launch_batch_rows(cudaStream_t stream, const struct batch_rows_args *args);

/* Sums of gate and up, [n][2 * cols], become the vectors silu(gate) * up, in rows with a stride. */
struct batch_gated_args {
    const float *sums;
    int in_turns; /* a row is gate and up in turns, else all of gate, then all of up */
    uint32_t cols, n;
    struct batch_vectors to; /* its scale is read, then written */
};
cudaError_t launch_batch_gated(cudaStream_t stream, const struct batch_gated_args *args);

/* Sums of q, k and v: scale and bias, norm of heads, rotation; q to [n][n_heads][head_dim], k and v to the
 * cache, which is F16. */
struct batch_heads_args {
    struct rope_args rope;
    struct cache_layer cache;
    struct batch_sums sums; /* rows of q, then of k, then of v; with a scale */
    const float *bias[3];   /* of q, k, v, or NULL */
    uint32_t first, n;
    float *q;
};
cudaError_t launch_batch_heads(cudaStream_t stream, const struct batch_heads_args *args);

#ifdef __cplusplus
}
#endif

#endif
