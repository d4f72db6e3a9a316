/* Inside of the CUDA backend, shared by its C files. */
#ifndef LOGITOP_KERNELS_CUDA_DEVICE_H
#define LOGITOP_KERNELS_CUDA_DEVICE_H

#include "kernels/backend.h"
#include "kernels/cuda/blas.h"
#include "kernels/cuda/attention.h"
#include "kernels/cuda/decode_kernels.h"
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/small_batch.h"

#include <cuda_runtime_api.h>
#include <pthread.h>

/* Turn a failed call into an error. STATUS_MEMORY for an allocation, which leaves the device usable; STATUS_DEVICE for
 * everything else. The sticky state of the last error is cleared where that is possible. */
int cuda_failed(struct err *err, cudaError_t code, const char *what);

#define CUDA_TRY(call)                                                                                       \
    do {                                                                                                     \
        cudaError_t cuda_code = (call);                                                                      \
        if (cuda_code != cudaSuccess) return cuda_failed(err, cuda_code, #call);                             \
    } while (0)

/* The same of functions that have filled err themselves. */
#define TRY(call)                                                                                            \
    do {                                                                                                     \
        int status_ = (call);                                                                                \
        if (status_ != STATUS_OK) return status_;                                                            \
    } while (0)

/* A vector of F32 on the device, NULL where the architecture has none. */
typedef float *device_vector;

struct device_layer {
    device_vector attn_norm, ffn_norm, q_bias, k_bias, v_bias, q_norm, k_norm;
    struct device_matrix q, k, v, o, gate, up, down;
    /* Copies in F16 for the matrix units, or what is F16 itself; NULL where there is no room for them */
    void *q16, *k16, *v16, *o16, *gate16, *up16, *down16;
};

struct backend { /* of kernels/backend.h */
    const struct model_view *model;
    int device;
    struct cudaDeviceProp properties;
    cudaStream_t stream;
    bool exact;
    bool crowded; /* under MPS: another process may hold multiprocessors as long as it likes, so no block may wait for another */
    bool whole; /* a decode step is one kernel (decode_whole.cu), not a chain */
    bool small; /* products of a few positions are those of the quants themselves (small_batch.c) */
    struct small_cuts small_cuts;
    struct blas *blas; /* NULL: no library of matrix products, or exact */

    struct device_matrix token_embd, output; /* output may share the planes of token_embd */
    device_vector output_norm, rope_freq;
    struct device_layer *layers;
    struct rope_args rope; /* but q_norm and k_norm, which are a layer's */
    void *weights;         /* one allocation that all planes, copies and vectors are cut from */
    size_t weights_size, weights_used;

    /* Work space of a step of `chunk` positions. */
    uint32_t chunk;
    void *work;
    int32_t *ids;
    float *x, *normed, *q, *k, *v, *attn, *gate, *up, *h, *row_scale, *logits; /* logits: [n_rows], one position */
    void *narrow, *scratch16; /* activations in 16 bits; a matrix in 16 bits where there are no copies */
    float *host_logits; /* pinned [n_rows] */
    struct decode_buffers *decode; /* of decode.c */
    struct {                       /* of warm.c */
        pthread_t thread;
        pthread_mutex_t lock; /* of giving work to the stream, which ends with `stop` */
        cudaStream_t stream;
        bool runs; /* or is to be joined */
        uint32_t most; /* positions of a step */
        atomic_bool stop, over;
    } warming;
    struct sample_scratch *scratch; /* for what is sampled on the host */
};

struct timeline {
    struct backend *backend;
    uint32_t n_ctx, length;
    int32_t *ids; /* [n_ctx + 1], host */
    void *cache;  /* [n_layers] keys and values */
    int32_t *device_ids; /* [n_ctx + 1], valid during a decode run */
    cudaGraphExec_t graphs[2]; /* of a decode step on this cache, by enum decode_way; NULL where steps are not fused */
};

struct cache_layer timeline_layer(const struct timeline *timeline, uint32_t layer);
size_t cache_element(const struct backend *backend);

/* weights.c: lay out, upload and pack everything a model has. */
int weights_check(const struct model_view *model, struct err *err);          /* refuses what cannot run, by tensor */
int weights_size(const struct model_view *model, bool exact, size_t *planes, size_t *copies, struct err *err);
size_t weights_staging(void);                                                /* bytes on the device while they are loaded */
int weights_load(struct backend *backend, bool copies, progress_fn progress, void *ctx, struct err *err);

/* warm.c. Begins when it is known where everything will lie; leaves the work space alone from the first step on, and is over before that
 * uses the library of products. */
void warm_begin(struct backend *backend);
void warm_leave(struct backend *backend);
void warm_end(struct backend *backend);

/* forward.c: the steps of the model over n positions from `first`, n <= chunk. ids are in backend->ids already. */
struct forward_request {
    uint32_t first, n;
    trace_fn trace;
    void *ctx;
    const atomic_bool *stop;
};
int forward(struct timeline *timeline, const struct forward_request *request, struct err *err);
enum { BLAS_MIN = 2 /* positions from which the matrix units pay */ };
/* The same fused (batch.c): does it take this step? */
bool batch_takes(const struct backend *backend, const struct forward_request *request);
int batch_forward(struct timeline *timeline, const struct forward_request *request, struct err *err);
/* Logits of position i of the last forward() into backend->logits. */
int forward_logits(struct backend *backend, uint32_t i, struct err *err);

/* small_batch.c: products by the quants themselves, of x, n vectors in that order. */
bool small_batch_can(const struct backend *backend); /* this model; once it is known where its weights will lie */
/* Sums of the matrices one after the other, in backend->gate. */
int small_multiply(struct backend *backend, const struct batch_vectors *x, uint32_t n, const struct device_matrix *matrices,
                   uint32_t n_matrices, struct batch_sums *sums, struct err *err);
/* y [n][rows of gate] = silu(gate x) * (up x), with all scales. */
int small_multiply_gated(struct backend *backend, const struct batch_vectors *x, uint32_t n, const struct device_matrix *gate,
                         const struct device_matrix *up, float *y, struct err *err);

/* half_product.c: products by cuBLASLt. */
enum layer_product { PRODUCT_QKV, PRODUCT_OUT, PRODUCT_GATE_UP, PRODUCT_DOWN }; /* of what meets the same vectors */
enum { LAYER_PRODUCTS = PRODUCT_DOWN + 1, HALF_PRODUCTS_MOST = 3 };
struct half_product { /* a matrix, or matrices that lie so that they are one */
    const struct device_matrix *w; /* the first of them */
    const void *w16;               /* NULL: w is made 16-bit when it is multiplied */
    size_t pitch;                  /* elements from a row of w16 to the next */
    uint32_t rows;                 /* of them all */
    uint32_t first_row;            /* of y: where theirs begin */
};
struct half_products {
    struct half_product product[HALF_PRODUCTS_MOST];
    uint32_t n, rows; /* of y, those of all */
};
struct half_products half_products(const struct device_layer *layer, enum layer_product which);
bool gate_up_in_turns(const struct device_layer *layer); /* their rows in 16 bits: one product makes both */
struct blas_shape half_shape(const struct half_products *products, uint32_t i);
/* y [n][rows] = W x for what backend->narrow holds, [n][32 * blocks], but for the factor row_scale. */
int half_multiply(struct backend *backend, const struct half_products *products, uint32_t n, float *y, struct err *err);

/* timeline.c */
int cuda_timeline_new(struct backend *backend, uint32_t n_ctx, struct timeline **out, struct err *err);
void cuda_timeline_free(struct timeline *timeline);
uint32_t cuda_timeline_length(const struct timeline *timeline);
const int32_t *cuda_timeline_ids(const struct timeline *timeline);
void cuda_timeline_truncate(struct timeline *timeline, uint32_t n);
int cuda_timeline_copy(struct timeline *to, const struct timeline *from, uint32_t n, struct err *err);
size_t cuda_timeline_size(const struct timeline *timeline, uint32_t n);
int cuda_timeline_save(const struct timeline *timeline, uint32_t n, void *to, struct err *err);
int cuda_timeline_load(struct timeline *timeline, const void *from, size_t size, struct err *err);

/* step.c and decode.c */
int cuda_step(struct timeline *timeline, const struct step_request *request, struct err *err);
size_t decode_memory(const struct model_view *model); /* bytes on the device */
int decode_memory_new(struct backend *backend, struct err *err);
/* Bytes that whole steps need besides: their tables and the copy of down in slices (slices.cuh). 0: there are no whole steps. */
size_t decode_whole_memory(const struct model_view *model, const struct device_shape *card);
/* After the weights are loaded: whole steps, if this model can have them on this card and what they need fits into `room` bytes. */
int decode_whole_new(struct backend *backend, const struct device_shape *card, size_t room, struct err *err);
void decode_memory_free(struct backend *backend);
int decode_prepare(struct timeline *timeline, struct err *err); /* its graphs: nothing is allocated in a run */
int cuda_decode_begin(struct timeline *timeline, const struct decode_request *request, struct decode **out, struct err *err);
int cuda_decode_next(struct decode *decode, struct step_result *out, struct err *err);
void cuda_decode_end(struct decode *decode, uint32_t keep);

#endif
