/* Every call into the CUDA runtime, seen and failed from outside: the linker puts these functions in the place of the library's
 * (--wrap, the list is in tests/CMakeLists.txt), so that the program itself knows nothing of it. For one test program a file. */
#ifndef LOGITOP_TESTS_GPU_CUDA_CALLS_H
#define LOGITOP_TESTS_GPU_CUDA_CALLS_H

#include <cuda_runtime_api.h>

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum { ALLOCATIONS_MAX = 4096 };

static struct {
    pthread_mutex_t lock;
    uint32_t n;           /* calls that may fail, so far */
    uint32_t fail_at;     /* the how many-th fails, from 1; 0: none */
    bool for_good;        /* and every one after it: the context is lost */
    char failed[64];      /* which one it was */
    cudaError_t pending;  /* of a launch, for cudaGetLastError() */
    int held;             /* memory, streams, events and graphs that are not given back */
    uint32_t n_made;      /* all that were ever made */
    size_t bytes, peak;   /* of device memory */
    bool crowded;         /* a multiprocessor holds no block of any kernel, says the library */
    bool mps;             /* the card is shared with other processes at the same time */
    struct {
        void *at;
        size_t size;
    } allocations[ALLOCATIONS_MAX];
} calls = {.lock = PTHREAD_MUTEX_INITIALIZER};

static inline void calls_begin(uint32_t fail_at, bool for_good) {
    pthread_mutex_lock(&calls.lock);
    calls.n = calls.n_made = 0;
    calls.fail_at = fail_at;
    calls.for_good = for_good;
    calls.failed[0] = '\0';
    calls.pending = cudaSuccess;
    calls.peak = calls.bytes;
    pthread_mutex_unlock(&calls.lock);
}

static inline bool calls_failed(void) { return calls.failed[0] != '\0'; }

/* Shall this call fail, and how? An allocation fails for want of memory, anything else as after a kernel that crashed. */
static inline cudaError_t calls_count(const char *name, bool allocates) {
    pthread_mutex_lock(&calls.lock);
    bool now = ++calls.n == calls.fail_at, lost = calls.for_good && calls.failed[0];
    if (now) snprintf(calls.failed, sizeof calls.failed, "%s", name);
    pthread_mutex_unlock(&calls.lock);
    if (!now && !lost) return cudaSuccess;
    return allocates && !calls.for_good ? cudaErrorMemoryAllocation : cudaErrorLaunchFailure;
}

static inline void calls_hold(void *at, size_t size) {
    pthread_mutex_lock(&calls.lock);
    calls.held++;
    calls.n_made++;
    for (int i = 0; size && i < ALLOCATIONS_MAX; i++) {
        if (calls.allocations[i].at) continue;
        calls.allocations[i].at = at;
        calls.allocations[i].size = size;
        calls.bytes += size;
        if (calls.bytes > calls.peak) calls.peak = calls.bytes;
        break;
    }
    pthread_mutex_unlock(&calls.lock);
}

static inline void calls_release(void *at) {
    pthread_mutex_lock(&calls.lock);
    calls.held--;
    for (int i = 0; i < ALLOCATIONS_MAX; i++) {
        if (calls.allocations[i].at != at) continue;
        calls.allocations[i].at = NULL;
        calls.bytes -= calls.allocations[i].size;
        break;
    }
    pthread_mutex_unlock(&calls.lock);
}

/* ---- calls that do something ---- */

#define WRAP(name, parameters, arguments)                                                                    \
    cudaError_t __real_##name parameters;                                                                    \
    cudaError_t __wrap_##name parameters;                                                                    \
    cudaError_t __wrap_##name parameters {                                                                   \
        cudaError_t code = calls_count(#name, false);                                                        \
        return code == cudaSuccess ? __real_##name arguments : code;                                         \
    }
WRAP(cudaSetDevice, (int device), (device))
WRAP(cudaMemGetInfo, (size_t *left, size_t *total), (left, total))
WRAP(cudaMemcpy, (void *to, const void *from, size_t n, enum cudaMemcpyKind kind), (to, from, n, kind))
WRAP(cudaMemcpyAsync, (void *to, const void *from, size_t n, enum cudaMemcpyKind kind, cudaStream_t stream), (to, from, n, kind, stream))
WRAP(cudaMemcpy2D, (void *to, size_t to_pitch, const void *from, size_t from_pitch, size_t width, size_t height, enum cudaMemcpyKind kind),
     (to, to_pitch, from, from_pitch, width, height, kind))
WRAP(cudaMemset, (void *to, int value, size_t n), (to, value, n))
WRAP(cudaMemsetAsync, (void *to, int value, size_t n, cudaStream_t stream), (to, value, n, stream))
WRAP(cudaEventRecord, (cudaEvent_t event, cudaStream_t stream), (event, stream))
WRAP(cudaFuncSetAttribute, (const void *function, enum cudaFuncAttribute attribute, int value), (function, attribute, value))
WRAP(cudaGetDeviceProperties, (struct cudaDeviceProp *to, int device), (to, device))
WRAP(cudaStreamBeginCapture, (cudaStream_t stream, enum cudaStreamCaptureMode mode), (stream, mode))
WRAP(cudaGraphLaunch, (cudaGraphExec_t graph, cudaStream_t stream), (graph, stream))
WRAP(cudaLaunchKernelExC, (const cudaLaunchConfig_t *config, const void *function, void **arguments), (config, function, arguments))
#undef WRAP

/* ---- questions ---- */

cudaError_t __real_cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int *blocks, const void *function, int threads, size_t shared, unsigned flags);
cudaError_t __wrap_cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int *blocks, const void *function, int threads, size_t shared, unsigned flags);
cudaError_t __wrap_cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int *blocks, const void *function, int threads, size_t shared, unsigned flags) {
    cudaError_t code = calls_count("cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags", false);
    if (code == cudaSuccess) code = __real_cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(blocks, function, threads, shared, flags);
    if (calls.crowded) *blocks = 0;
    return code;
}

cudaError_t __real_cudaDeviceGetAttribute(int *value, enum cudaDeviceAttr attribute, int device);
cudaError_t __wrap_cudaDeviceGetAttribute(int *value, enum cudaDeviceAttr attribute, int device);
cudaError_t __wrap_cudaDeviceGetAttribute(int *value, enum cudaDeviceAttr attribute, int device) {
    if (!calls.mps || (int)attribute != 133 /* cudaDevAttrMpsEnabled, from 12.3 on */) return __real_cudaDeviceGetAttribute(value, attribute, device);
    *value = 1;
    return cudaSuccess;
}

/* ---- calls that wait ---- */

/* Whoever does not look at the result may rely on the work being over. */
#define WRAP_WAIT(name, parameters, arguments)                                                               \
    cudaError_t __real_##name parameters;                                                                    \
    cudaError_t __wrap_##name parameters;                                                                    \
    cudaError_t __wrap_##name parameters {                                                                   \
        cudaError_t code = calls_count(#name, false), real = __real_##name arguments;                        \
        return code == cudaSuccess ? real : code;                                                            \
    }
WRAP_WAIT(cudaStreamSynchronize, (cudaStream_t stream), (stream))
WRAP_WAIT(cudaEventSynchronize, (cudaEvent_t event), (event))
#undef WRAP_WAIT

/* What <<<>>> becomes. Its error is told by cudaGetLastError() alone. */
cudaError_t __real___cudaLaunchKernel(cudaKernel_t kernel, dim3 grid, dim3 block, void **arguments, size_t shared, cudaStream_t stream);
cudaError_t __wrap___cudaLaunchKernel(cudaKernel_t kernel, dim3 grid, dim3 block, void **arguments, size_t shared, cudaStream_t stream);
cudaError_t __wrap___cudaLaunchKernel(cudaKernel_t kernel, dim3 grid, dim3 block, void **arguments, size_t shared, cudaStream_t stream) {
    calls.pending = calls_count("a kernel launch", false);
    return calls.pending == cudaSuccess ? __real___cudaLaunchKernel(kernel, grid, block, arguments, shared, stream) : calls.pending;
}

cudaError_t __real_cudaGetLastError(void);
cudaError_t __wrap_cudaGetLastError(void);
cudaError_t __wrap_cudaGetLastError(void) {
    cudaError_t pending = calls.pending, real = __real_cudaGetLastError();
    calls.pending = cudaSuccess;
    return pending == cudaSuccess ? real : pending;
}

/* ---- calls that make and give back ---- */

#define WRAP_MAKE(name, allocates, bytes, parameters, arguments)                                             \
    cudaError_t __real_##name parameters;                                                                    \
    cudaError_t __wrap_##name parameters;                                                                    \
    cudaError_t __wrap_##name parameters {                                                                   \
        cudaError_t code = calls_count(#name, allocates);                                                    \
        if (code == cudaSuccess) code = __real_##name arguments;                                             \
        if (code == cudaSuccess) calls_hold((void *)*made, bytes);                                           \
        return code;                                                                                         \
    }
WRAP_MAKE(cudaMalloc, true, size, (void **made, size_t size), (made, size))
WRAP_MAKE(cudaHostAlloc, true, 0, (void **made, size_t size, unsigned flags), (made, size, flags))
WRAP_MAKE(cudaStreamCreateWithFlags, false, 0, (cudaStream_t *made, unsigned flags), (made, flags))
WRAP_MAKE(cudaEventCreateWithFlags, false, 0, (cudaEvent_t *made, unsigned flags), (made, flags))
WRAP_MAKE(cudaGraphInstantiate, true, 0, (cudaGraphExec_t *made, cudaGraph_t graph, unsigned long long flags), (made, graph, flags))
#undef WRAP_MAKE

/* A capture ends in any case. */
cudaError_t __real_cudaGraphDestroy(cudaGraph_t graph);
cudaError_t __real_cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *made);
cudaError_t __wrap_cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *made);
cudaError_t __wrap_cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *made) {
    cudaError_t code = calls_count("cudaStreamEndCapture", false), real = __real_cudaStreamEndCapture(stream, made);
    if (code != cudaSuccess && real == cudaSuccess) {
        __real_cudaGraphDestroy(*made);
        *made = NULL;
    }
    if (code == cudaSuccess) code = real;
    if (code == cudaSuccess) calls_hold(*made, 0);
    return code;
}

/* Memory of a lost context is gone all the same; here the device is well, and takes it back. */
#define WRAP_BACK(name, type)                                                                                \
    cudaError_t __real_##name(type made);                                                                    \
    cudaError_t __wrap_##name(type made);                                                                    \
    cudaError_t __wrap_##name(type made) {                                                                   \
        if (made) calls_release((void *)made);                                                               \
        return __real_##name(made);                                                                          \
    }
WRAP_BACK(cudaFree, void *)
WRAP_BACK(cudaFreeHost, void *)
WRAP_BACK(cudaStreamDestroy, cudaStream_t)
WRAP_BACK(cudaEventDestroy, cudaEvent_t)
WRAP_BACK(cudaGraphExecDestroy, cudaGraphExec_t)
WRAP_BACK(cudaGraphDestroy, cudaGraph_t)
#undef WRAP_BACK

#endif
