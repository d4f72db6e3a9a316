/* Programmatic dependent launch: a kernel of a chain may start while the one before it still runs, and waits for it where it first
 * reads what that one wrote. Before Hopper these do nothing and the chain is an ordinary one. */
#pragma once

#include <cuda_runtime.h>

/* Everything the kernels before this one wrote is there after this. */
__device__ __forceinline__ void wait_for_previous_kernel() {
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

__device__ __forceinline__ void let_next_kernel_start() {
#if __CUDA_ARCH__ >= 900
    asm volatile("griddepcontrol.launch_dependents;");
#endif
}

/* Of the current device, 0 if it cannot be told. */
static inline int device_attribute(cudaDeviceAttr which) {
    int device = 0, value = 0;
    return cudaGetDevice(&device) == cudaSuccess && cudaDeviceGetAttribute(&value, which, device) == cudaSuccess ? value : 0;
}
static inline int device_capability(void) { return device_attribute(cudaDevAttrComputeCapabilityMajor); } /* major */

template <class... P>
cudaError_t launch_dependent(cudaStream_t stream, dim3 grid, unsigned threads, size_t shared, void (*kernel)(P...), P... args) {
    if (shared > 48 * 1024) {
        cudaError_t e = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)shared);
        if (e != cudaSuccess) return e;
    }
    cudaLaunchAttribute attribute = {};
    attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
    attribute.val.programmaticStreamSerializationAllowed = 1;
    cudaLaunchConfig_t config = {};
    config.gridDim = grid;
    config.blockDim = dim3(threads);
    config.dynamicSmemBytes = shared;
    config.stream = stream;
    config.attrs = &attribute;
    config.numAttrs = device_capability() >= 9 ? 1 : 0;
    return cudaLaunchKernelEx(&config, kernel, args...);
}
