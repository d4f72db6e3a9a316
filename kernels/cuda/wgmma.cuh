/* Hopper's own matrix instructions (PTX ISA, wgmma): a warpgroup of 128 threads multiplies 64 rows of A by
 * tiles of B that lie in shared memory, beside whatever else its threads do. Sums in F32: thread t holds of
 * each 8 columns what mma.m16n8 gives lane t % 32 (mma.cuh), of rows 16 (t / 32) and on. For sm_90a alone,
 * like everything that includes this. */
#pragma once

#include <stdint.h>

/* Tiles in shared memory are rows of 64 halves, 128 bytes, whose eight pieces of 16 bytes are stored at piece
 * ^ (row % 8) (128-byte swizzle); tiles begin at multiples of 1024 bytes. */
__device__ __forceinline__ uint32_t swizzled(uint32_t row, uint32_t piece) {
    return row * 128 + ((piece ^ row % 8) * 16);
}

/* What an instruction is told of an operand there: its address, and where columns are what lies together
 * (`across`), the way from 64 of them to the next 64. Groups of eight rows follow each other. */
__device__ __forceinline__ uint64_t operand_at(uint32_t address, uint32_t across = 16) {
    return (uint64_t)(address >> 4 & 0x3fff) | (uint64_t)(across >> 4) << 16 | (uint64_t)(1024 >> 4) << 32 |
           1ull << 62;
}

/* The ordinary stores and copies that this thread knows of, its own or of before a barrier, are there for the
 * matrix units: by who wrote or by who will have them read. */
__device__ __forceinline__ void publish_to_matrix_units() {
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

/* Registers of the products to come hold what was last written to them. */
__device__ __forceinline__ void products_begin() {
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}
__device__ __forceinline__ void products_commit() {
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
/* Until at most `pending` of the newest groups are under way. */
template <int pending> __device__ __forceinline__ void products_wait() {
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(pending) : "memory");
}

#define SUMS_8(c, i)                                                                                         \
    "+f"(c[i]), "+f"(c[i + 1]), "+f"(c[i + 2]), "+f"(c[i + 3]), "+f"(c[i + 4]), "+f"(c[i + 5]),              \
        "+f"(c[i + 6]), "+f"(c[i + 7])
#define SUMS_32(c, i) SUMS_8(c, i), SUMS_8(c, i + 8), SUMS_8(c, i + 16), SUMS_8(c, i + 24)
#define NAMES_32                                                                                             \
    "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, "   \
    "%22, %23, %24, "                                                                                        \
    "%25, %26, %27, %28, %29, %30, %31"
#define NAMES_64                                                                                             \
    NAMES_32 ", %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, %48, %49, "  \
             "%50, %51, %52, %53, %54, "                                                                     \
             "%55, %56, %57, %58, %59, %60, %61, %62, %63"

/* c (+)= a b of 16 columns of a and 128 of b, both with their columns of summation together; c is overwritten
 * where `add` is 0. */
__device__ __forceinline__ void product(float (&c)[64], uint64_t a, uint64_t b, int add) {
    asm volatile("{.reg .pred p; setp.ne.b32 p, %66, 0;\n"
                 "wgmma.mma_async.sync.aligned.m64n128k16.f32.f16.f16 {" NAMES_64
                 "}, %64, %65, p, 1, 1, 0, 0;}"
                 : SUMS_32(c, 0), SUMS_32(c, 32)
                 : "l"(a), "l"(b), "r"(add));
}

/* The same with a in registers, as mma.m16n8k16 has it, and rows of b across the columns of summation. */
__device__ __forceinline__ void product_transposed(float (&c)[64], const uint32_t (&a)[4], uint64_t b,
                                                   int add) {
    asm volatile("{.reg .pred p; setp.ne.b32 p, %69, 0;\n"
                 "wgmma.mma_async.sync.aligned.m64n128k16.f32.f16.f16 {" NAMES_64
                 "}, {%64, %65, %66, %67}, %68, p, 1, 1, 1;}"
                 : SUMS_32(c, 0), SUMS_32(c, 32)
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(add));
}
__device__ __forceinline__ void product_transposed(float (&c)[32], const uint32_t (&a)[4], uint64_t b,
                                                   int add) {
    asm volatile("{.reg .pred p; setp.ne.b32 p, %37, 0;\n"
                 "wgmma.mma_async.sync.aligned.m64n64k16.f32.f16.f16 {" NAMES_32
                 "}, {%32, %33, %34, %35}, %36, p, 1, 1, 1;}"
                 : SUMS_32(c, 0)
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(add));
}
