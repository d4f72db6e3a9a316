/* Attention over the cache, for many positions: what C and CUDA files share. The one position that a step of
 * decode adds has kernels of its own (decode_attention.cu, whole_attention.cuh). */
#ifndef LOGITOP_KERNELS_CUDA_ATTENTION_H
#define LOGITOP_KERNELS_CUDA_ATTENTION_H

#include "kernels/cuda/batch.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The answer of position first + i is the mean of the values of positions 0..first + i. It goes to `out`, or
 * where that is NULL to `to`, vectors without padding of columns, whose scale is left alone: it is 1. */
struct attention_args {
    struct rope_args rope;
    struct cache_layer cache;
    const float *q; /* [n][n_heads][head_dim] */
    uint32_t first, n;
    float *out; /* [n][n_heads][head_dim] */
    struct batch_vectors to;
    float *weights; /* NULL, or for traces [n_heads][n][first + n] */
    float *scratch; /* `room` floats, 0 if there are none: a long context may be shared among blocks */
    size_t room;
};
cudaError_t launch_attention(cudaStream_t stream, const struct attention_args *args);

#ifdef __cplusplus
}
#endif

#endif
