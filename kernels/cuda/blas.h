/* Matrix products on the matrix units, by cuBLASLt. The library is opened with dlopen when a device is first used: linked, it
 * would add 150 MB and a second to every start, and be missing on machines without a GPU. */
#ifndef LOGITOP_KERNELS_CUDA_BLAS_H
#define LOGITOP_KERNELS_CUDA_BLAS_H

#include <cuda_runtime_api.h>
#include <stdbool.h>
#include <stdint.h>

enum { BLAS_WORKSPACE = 32 << 20 }; /* bytes on the device that an open library holds */

struct blas;

struct blas *blas_open(void);

/* Read the library into memory, and keep it there: 80 ms that blas_open() would take. A thread's function. */
void *blas_wake(void *unused); /* NULL where there is no such library */
void blas_close(struct blas *blas);

/* The library has kernels of their own for each few n, which take time to load: those for the size that n belongs to, at least n, serve
 * all up to it. */
uint32_t blas_size(uint32_t n);

/* Of W [rows][stride], in F16. From a row of W to the next it is `pitch` elements, from one of y `y_pitch`; y begins at a
 * multiple of what divides both rows and y_pitch, as the rows of matrices that share one do. */
struct blas_shape {
    uint32_t rows, stride; /* stride: a multiple of 8 */
    size_t pitch;
    uint32_t y_pitch;
};

/* What the first of such products finds out about its shape, without the device: 50 ms or more for the first shape of all. */
int blas_plan(struct blas *blas, const struct blas_shape *shape, uint32_t n);

/* Shapes and sizes of which that is known. */
uint32_t blas_n_plans(const struct blas *blas);

/* y[n][rows] = x[n][stride] W[rows][stride] transposed, F32 sums and result; x in F16 too. 0, or a nonzero code of the library. */
int blas_product(struct blas *blas, cudaStream_t stream, const struct blas_shape *shape, const void *w, const void *x, uint32_t n, float *y);

#endif
