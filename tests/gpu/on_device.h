/* Arrays on the device for the tests of kernels. For one test program a file. */
#ifndef LOGITOP_TESTS_GPU_ON_DEVICE_H
#define LOGITOP_TESTS_GPU_ON_DEVICE_H

#include <cuda_runtime_api.h>
#include <math.h>

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

/* How far a is from the reference, of the reference's length. */
static inline double relative(const float *a, const float *reference, size_t n) {
    double difference = 0, norm = 0;
    for (size_t i = 0; i < n; i++) {
        double d = (double)a[i] - (double)reference[i];
        difference += d * d;
        norm += (double)reference[i] * (double)reference[i];
    }
    return norm > 0 ? sqrt(difference / norm) : difference;
}

#endif
