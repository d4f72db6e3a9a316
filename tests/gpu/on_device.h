/* Arrays on the device for the tests of kernels. For one test program a file. */
#ifndef LOGITOP_TESTS_GPU_ON_DEVICE_H
#define LOGITOP_TESTS_GPU_ON_DEVICE_H

#include <cuda_runtime_api.h>

static inline void run(cudaError_t code) {
    if (code != cudaSuccess) fail_msg("%s", cudaGetErrorString(code));
}

static inline void *device_new(size_t size) { /* full of NaN */
    void *memory = NULL;
    run(cudaMalloc(&memory, size));
    run(cudaMemset(memory, 0xff, size));
    return memory;
}

static inline void *to_device(const void *from, size_t size) {
    void *to = device_new(size);
    run(cudaMemcpy(to, from, size, cudaMemcpyHostToDevice));
    return to;
}

#endif
