/* The pieces of one decode step: the fused kernels and what they are given. Callable from C. */
#ifndef LOGITOP_KERNELS_CUDA_DECODE_H
#define LOGITOP_KERNELS_CUDA_DECODE_H

#include "kernels/cuda/kernels.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- attention of the newest position (decode_attention.cu); heads of a multiple of 8 elements ---- */
struct decode_attention_args {
    struct rope_args rope;
    struct cache_layer cache;
    const float *q, *k, *v; /* of the newest position, before norm and rotation */
    const uint32_t *position;
    float *out;        /* [n_heads][head_dim] */
    float *partial;    /* decode_attention_partial() bytes */
    uint32_t *arrived; /* [decode_attention_blocks()], zero */
    uint32_t splits;
};
uint32_t decode_attention_blocks(struct rope_args rope);
uint32_t decode_attention_splits(struct rope_args rope, uint32_t n_ctx, uint32_t multiprocessors);
size_t decode_attention_partial(struct rope_args rope, uint32_t splits);
cudaError_t launch_decode_attention(cudaStream_t stream, struct decode_attention_args args);

/* ---- matrix times vector (decode_product.cu) ---- */
enum { PRODUCT_MATRICES = 3 };
struct decode_product_args {
    struct device_matrix w[PRODUCT_MATRICES]; /* n of them, all with the same cols: q, k, v or one */
    const float *bias[PRODUCT_MATRICES];      /* or NULL */
    float *y[PRODUCT_MATRICES];
    uint32_t n;
    const float *x;    /* [cols] */
    const float *norm; /* weights of an RMS norm over x, or NULL */
    float eps;
    int add;  /* y += instead of y = */
    int gate; /* w[0] is the gate, w[1] is up: y[0] = silu(w0 x) * (w1 x) */
};
/* Can one launch do it? Float and quantised matrices do not mix, nor do the types of gate and up. */
int decode_product_fits(const struct decode_product_args *args);
/* Weights that are quantised meet x as 8-bit blocks of 32, others meet it in F32. */
cudaError_t launch_decode_product(cudaStream_t stream, struct decode_product_args args, uint32_t multiprocessors);

/* x = row *id of the table. */
cudaError_t launch_decode_embed(cudaStream_t stream, struct device_matrix table, const int32_t *id, float *x);

#ifdef __cplusplus
}
#endif

#endif
