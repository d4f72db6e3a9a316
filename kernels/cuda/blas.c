#include "kernels/cuda/blas.h"

#include "base/mem.h"

#include <cublasLt.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PLANS = 160 /* of all sizes of six shapes, and some */ };

/* How one shape is computed: descriptors and the algorithm the library recommends for a size of n, kept for the next layer. */
struct plan {
    struct blas_shape shape;
    uint32_t size;
    uint32_t n; /* what x and y are described with */
    cublasLtMatmulDesc_t product;
    cublasLtMatrixLayout_t w, x, y;
    cublasLtMatmulAlgo_t algorithm;
};

#define FUNCTIONS(X)                                                                                         \
    X(cublasLtCreate)                                                                                        \
    X(cublasLtDestroy)                                                                                       \
    X(cublasLtMatmul)                                                                                        \
    X(cublasLtMatmulDescCreate)                                                                              \
    X(cublasLtMatmulDescDestroy)                                                                             \
    X(cublasLtMatmulDescSetAttribute)                                                                        \
    X(cublasLtMatrixLayoutCreate)                                                                            \
    X(cublasLtMatrixLayoutDestroy)                                                                           \
    X(cublasLtMatrixLayoutSetAttribute)                                                                      \
    X(cublasLtMatmulPreferenceCreate)                                                                        \
    X(cublasLtMatmulPreferenceDestroy)                                                                       \
    X(cublasLtMatmulPreferenceSetAttribute)                                                                  \
    X(cublasLtMatmulAlgoGetHeuristic)

struct blas {
    void *library;
    cublasLtHandle_t handle;
    void *workspace;
    struct plan plans[PLANS];
    uint32_t n_plans, next;
#define X(name) __typeof__(&name) name;
    FUNCTIONS(X)
#undef X
};

static void *open_library(void) {
    static const char *const names[] = {"libcublasLt.so.13", "libcublasLt.so.12", "libcublasLt.so"};
    const char *folder = getenv("LOGITOP_CUDA_LIBRARIES"); /* set by ./run where it fetched the toolkit */
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[4096];
        snprintf(path, sizeof path, "%s%s%s", folder ? folder : "", folder ? "/" : "", names[i]);
        void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
        if (!library && folder) library = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
        if (library) return library;
    }
    return NULL;
}

void *blas_wake(void *unused) {
    (void)unused;
    open_library();
    return NULL;
}

struct blas *blas_open(void) {
    void *library = open_library();
    if (!library) return NULL;
    struct blas *blas = xcalloc(1, sizeof *blas);
    blas->library = library;
    bool complete = true;
#define X(name)                                                                                              \
    *(void **)&blas->name = dlsym(library, #name);                                                           \
    complete = complete && blas->name;
    FUNCTIONS(X)
#undef X
    if (complete && cudaMalloc(&blas->workspace, BLAS_WORKSPACE) == cudaSuccess &&
        blas->cublasLtCreate(&blas->handle) == CUBLAS_STATUS_SUCCESS)
        return blas;
    cudaGetLastError(); /* a workspace that does not fit is no error of the caller's */
    blas_close(blas);
    return NULL;
}

static void plan_free(struct blas *blas, struct plan *plan) {
    if (plan->product) blas->cublasLtMatmulDescDestroy(plan->product);
    if (plan->w) blas->cublasLtMatrixLayoutDestroy(plan->w);
    if (plan->x) blas->cublasLtMatrixLayoutDestroy(plan->x);
    if (plan->y) blas->cublasLtMatrixLayoutDestroy(plan->y);
    *plan = (struct plan){0};
}

void blas_close(struct blas *blas) {
    if (!blas) return;
    for (uint32_t i = 0; i < blas->n_plans; i++) plan_free(blas, &blas->plans[i]);
    if (blas->handle) blas->cublasLtDestroy(blas->handle);
    cudaFree(blas->workspace);
    dlclose(blas->library);
    free(blas);
}

/* The library takes y for aligned to 256 bytes, as it is where a product has an array of its own. */
static int prefer_alignment(struct blas *blas, cublasLtMatmulPreference_t preference, const struct blas_shape *shape) {
    if (shape->rows == shape->y_pitch) return 0;
    const uint32_t both = shape->rows | shape->y_pitch, elements = both & -both; /* the power of two in it */
    const uint32_t bytes = elements < 64 ? elements * (uint32_t)sizeof(float) : 256;
    int code = (int)blas->cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, &bytes, sizeof bytes);
    if (!code)
        code = (int)blas->cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, &bytes, sizeof bytes);
    return code;
}

/* The library counts columns first: our rows of W are its columns, so y (rows x n) = W^T x. */
static int plan_make(struct blas *blas, struct plan *plan, const struct blas_shape *shape, uint32_t size) {
    *plan = (struct plan){.shape = *shape, .size = size, .n = size};
    cublasOperation_t transposed = CUBLAS_OP_T;
    size_t workspace = BLAS_WORKSPACE;
    cublasLtMatmulPreference_t preference = NULL;
    cublasLtMatmulHeuristicResult_t best;
    int found = 0;
    int code = (int)blas->cublasLtMatmulDescCreate(&plan->product, CUBLAS_COMPUTE_32F, CUDA_R_32F);
    if (!code) code = (int)blas->cublasLtMatmulDescSetAttribute(plan->product, CUBLASLT_MATMUL_DESC_TRANSA, &transposed, sizeof transposed);
    if (!code) code = (int)blas->cublasLtMatrixLayoutCreate(&plan->w, CUDA_R_16F, shape->stride, shape->rows, (int64_t)shape->pitch);
    if (!code) code = (int)blas->cublasLtMatrixLayoutCreate(&plan->x, CUDA_R_16F, shape->stride, size, shape->stride);
    if (!code) code = (int)blas->cublasLtMatrixLayoutCreate(&plan->y, CUDA_R_32F, shape->rows, size, shape->y_pitch);
    if (!code) code = (int)blas->cublasLtMatmulPreferenceCreate(&preference);
    if (!code)
        code = (int)blas->cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &workspace, sizeof workspace);
    if (!code) code = prefer_alignment(blas, preference, shape);
    if (!code)
        code = (int)blas->cublasLtMatmulAlgoGetHeuristic(blas->handle, plan->product, plan->w, plan->x, plan->y, plan->y, preference, 1, &best, &found);
    if (!code && found < 1) code = CUBLAS_STATUS_NOT_SUPPORTED;
    if (!code) plan->algorithm = best.algo;
    if (preference) blas->cublasLtMatmulPreferenceDestroy(preference);
    return code;
}

static int plan_resize(struct blas *blas, struct plan *plan, uint32_t n) {
    const uint64_t columns = n;
    if (n == plan->n) return 0;
    int code = (int)blas->cublasLtMatrixLayoutSetAttribute(plan->x, CUBLASLT_MATRIX_LAYOUT_COLS, &columns, sizeof columns);
    if (!code) code = (int)blas->cublasLtMatrixLayoutSetAttribute(plan->y, CUBLASLT_MATRIX_LAYOUT_COLS, &columns, sizeof columns);
    plan->n = code ? 0 : n;
    return code;
}

static bool same_shape(const struct blas_shape *a, const struct blas_shape *b) {
    return a->rows == b->rows && a->stride == b->stride && a->pitch == b->pitch && a->y_pitch == b->y_pitch;
}

static struct plan *plan_find(struct blas *blas, const struct blas_shape *shape, uint32_t size, int *code) {
    for (uint32_t i = 0; i < blas->n_plans; i++) {
        struct plan *p = &blas->plans[i];
        if (p->size == size && same_shape(&p->shape, shape)) return p;
    }
    struct plan *plan = &blas->plans[blas->next];
    plan_free(blas, plan);
    *code = plan_make(blas, plan, shape, size);
    if (*code) {
        plan_free(blas, plan);
        return NULL;
    }
    blas->next = (blas->next + 1) % PLANS;
    if (blas->n_plans < PLANS) blas->n_plans++;
    return plan;
}

uint32_t blas_size(uint32_t n) {
    const uint32_t unit = n <= 32 ? 32 : n <= 512 ? 64 : n <= 2048 ? 128 : 1;
    return (n + unit - 1) / unit * unit;
}

int blas_plan(struct blas *blas, const struct blas_shape *shape, uint32_t n) {
    int code = 0;
    plan_find(blas, shape, blas_size(n), &code);
    return code;
}

uint32_t blas_n_plans(const struct blas *blas) { return blas->n_plans; }

int blas_product(struct blas *blas, cudaStream_t stream, const struct blas_shape *shape, const void *w, const void *x, uint32_t n, float *y) {
    int code = 0;
    struct plan *plan = plan_find(blas, shape, blas_size(n), &code);
    if (plan) code = plan_resize(blas, plan, n);
    if (code) return code;
    const float one = 1, zero = 0;
    return (int)blas->cublasLtMatmul(blas->handle, plan->product, &one, w, plan->w, x, plan->x, &zero, y, plan->y, y, plan->y,
                                     &plan->algorithm, blas->workspace, BLAS_WORKSPACE, stream);
}
