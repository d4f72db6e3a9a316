/* What the first steps would wait for, done while the weights are read and after: cuBLASLt sets itself up at its first product, 50 to 100
 * ms, and loads a kernel from its file, 3 ms or more, wherever it has not used it before. So a thread multiplies once what a layer
 * multiplies, for every size that a step may have; the weights need not be there yet, nobody looks at the results. A step that comes
 * before the thread is through stops it: without products of the library it waits for one kernel at most, else for the shape in hand. */
#include "kernels/cuda/device.h"

#include "base/thread.h"

/* One product of a layer. False: enough. */
static bool multiply(struct backend *b, const struct half_products *p, uint32_t i, uint32_t n) {
    const struct blas_shape shape = half_shape(p, i);
    const void *w16 = p->product[i].w16;
    if (atomic_load(&b->warming.stop) || blas_plan(b->blas, &shape, n)) return false;
    pthread_mutex_lock(&b->warming.lock);
    bool done = !atomic_load(&b->warming.stop) &&
                !blas_product(b->blas, b->warming.stream, &shape, w16 ? w16 : b->scratch16, b->narrow, n, b->gate + p->product[i].first_row);
    pthread_mutex_unlock(&b->warming.lock);
    return done;
}

/* All layers are of one shape. */
static bool multiply_layer(struct backend *b, uint32_t n) {
    for (int which = 0; which < LAYER_PRODUCTS; which++) {
        const struct half_products products = half_products(&b->layers[0], (enum layer_product)which);
        for (uint32_t i = 0; i < products.n; i++)
            if (!multiply(b, &products, i, n)) return false;
    }
    return true;
}

/* What fails here fails again where somebody is told. */
static void *warm(void *context) {
    struct backend *b = context;
    uint32_t n = blas_size(b->small ? SMALL_BATCH_MOST + 1 : BLAS_MIN); /* shorter ones need no library */
    if (cudaSetDevice(b->device) == cudaSuccess)
        while (n <= blas_size(b->warming.most) && multiply_layer(b, n)) n = blas_size(n + 1);
    atomic_store(&b->warming.over, true);
    return NULL;
}

void warm_begin(struct backend *b) {
    if (!b->blas) return;
    if (cudaStreamCreateWithFlags(&b->warming.stream, cudaStreamNonBlocking) != cudaSuccess) {
        cudaGetLastError();
        return;
    }
    pthread_mutex_init(&b->warming.lock, NULL);
    b->warming.runs = thread_start(&b->warming.thread, warm, b) == 0;
}

void warm_leave(struct backend *b) {
    if (!b->warming.runs || atomic_exchange(&b->warming.stop, true)) return;
    pthread_mutex_lock(&b->warming.lock); /* what it is giving the stream, it has given */
    pthread_mutex_unlock(&b->warming.lock);
    cudaStreamSynchronize(b->warming.stream);
}

void warm_end(struct backend *b) {
    warm_leave(b);
    if (b->warming.runs) pthread_join(b->warming.thread, NULL);
    if (b->warming.stream) {
        pthread_mutex_destroy(&b->warming.lock);
        cudaStreamDestroy(b->warming.stream);
    }
    b->warming.stream = NULL;
    b->warming.runs = false;
}
