/* What the first steps would wait for, done while the weights are read and after: cuBLASLt sets itself up at its first product, 50 to 100
 * ms, and loads a kernel from its file, 3 ms or more, wherever it has not used it before. So a thread multiplies once what a layer
 * multiplies, for every size that a step may have; the weights need not be there yet, nobody looks at the results. A step that comes
 * before the thread is through stops it between two products and goes on alone. */
#include "kernels/cuda/device.h"

#include "base/thread.h"

/* One product of a layer. False: enough. */
static bool multiply(struct backend *b, cudaStream_t stream, const struct device_matrix *w, uint32_t rows, const void *w16, uint32_t n) {
    const uint32_t stride = w->blocks * 32;
    if (atomic_load(&b->warming.stop)) return false;
    return blas_product(b->blas, stream, b->half_type == DTYPE_BF16, w16 ? w16 : b->scratch16, stride, b->narrow, rows, stride, n, b->gate) == 0;
}

/* All layers are of one shape. */
static bool multiply_layer(struct backend *b, cudaStream_t stream, uint32_t n) {
    const struct device_layer *l = &b->layers[0];
    const uint32_t gated = gate_up_in_turns(l) ? 2 * l->gate.rows : l->gate.rows;
    return multiply(b, stream, &l->q, l->q.rows, l->q16, n) && multiply(b, stream, &l->k, l->k.rows, l->k16, n) &&
           multiply(b, stream, &l->o, l->o.rows, l->o16, n) && multiply(b, stream, &l->gate, gated, l->gate16, n) &&
           multiply(b, stream, &l->down, l->down.rows, l->down16, n);
}

/* What fails here fails again where somebody is told. */
static void *warm(void *context) {
    struct backend *b = context;
    cudaStream_t stream = NULL;
    if (cudaSetDevice(b->device) == cudaSuccess && cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking) == cudaSuccess) {
        uint32_t n = blas_size(BLAS_MIN);
        while (n <= b->chunk && multiply_layer(b, stream, n)) n = blas_size(n + 1);
        cudaStreamSynchronize(stream); /* the work space is a step's again */
        cudaStreamDestroy(stream);
    }
    atomic_store(&b->warming.over, true);
    return NULL;
}

void warm_begin(struct backend *b) {
    if (b->blas) b->warming.runs = thread_start(&b->warming.thread, warm, b) == 0;
}

void warm_end(struct backend *b) {
    if (!b->warming.runs) return;
    atomic_store(&b->warming.stop, true);
    pthread_join(b->warming.thread, NULL);
    b->warming.runs = false;
}
