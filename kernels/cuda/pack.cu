/* From the records of a GGUF file to the planes of layout.cuh: one thread a block of 32. Record layouts are those of ggml's
 * ggml-common.h as its reference dequantizers read them. */
#include "kernels/cuda/layout.cuh"

namespace {

/* What one block says: quants as small non-negative numbers (Q8_0: signed bytes), and its entries of the scale planes. */
struct unpacked {
    uint8_t q[32];
    uint32_t scale, super;
};

__device__ uint32_t u16(const uint8_t *p) { return p[0] | (uint32_t)p[1] << 8; }
__device__ uint32_t u32(const uint8_t *p) { return u16(p) | u16(p + 2) << 16; }

/* 6-bit scale and minimum j of Q4_K and Q5_K as two bytes. */
__device__ uint32_t scale_min(const uint8_t *s, int j) {
    uint32_t scale, min;
    if (j < 4) {
        scale = s[j] & 63, min = s[j + 4] & 63;
    } else {
        scale = (s[j + 4] & 0xF) | (s[j - 4] >> 6) << 4;
        min = s[j + 4] >> 4 | (s[j] >> 6) << 4;
    }
    return scale | min << 8;
}

/* 6-bit scale i of Q3_K, minus 32, as a byte. */
__device__ uint32_t scale_q3(const uint8_t *s, int i) {
    int low = i < 8 ? s[i] & 0xF : s[i - 8] >> 4;
    int high = s[8 + i % 4] >> (2 * (i / 4)) & 3;
    return (uint32_t)((low | high << 4) - 32) & 0xFF;
}

/* Block b of a row. Small types: p is the record of the block itself; 256-types: the record that holds it, b within it. */
template <int T> __device__ unpacked unpack(const uint8_t *p, int b) {
    unpacked u = {};
    for (int l = 0; l < 32; l++) {
        int nibble_shift = l < 16 ? 0 : 4;
        switch (T) {
        case DTYPE_Q4_0:
        case DTYPE_IQ4_NL: u.q[l] = p[2 + l % 16] >> nibble_shift & 0xF; break;
        case DTYPE_Q4_1: u.q[l] = p[4 + l % 16] >> nibble_shift & 0xF; break;
        case DTYPE_Q5_0: u.q[l] = (uint8_t)((p[6 + l % 16] >> nibble_shift & 0xF) | (u32(p + 2) >> l & 1) << 4); break;
        case DTYPE_Q5_1: u.q[l] = (uint8_t)((p[8 + l % 16] >> nibble_shift & 0xF) | (u32(p + 4) >> l & 1) << 4); break;
        case DTYPE_Q8_0: u.q[l] = p[2 + l]; break;
        case DTYPE_Q2_K: u.q[l] = p[16 + b / 4 * 32 + l] >> (b % 4 * 2) & 3; break;
        case DTYPE_Q3_K:
            u.q[l] = (uint8_t)((p[32 + b / 4 * 32 + l] >> (b % 4 * 2) & 3) | (p[l] >> b & 1) << 2);
            break;
        case DTYPE_Q4_K: u.q[l] = p[16 + b / 2 * 32 + l] >> (b % 2 * 4) & 0xF; break;
        case DTYPE_Q5_K:
            u.q[l] = (uint8_t)((p[48 + b / 2 * 32 + l] >> (b % 2 * 4) & 0xF) | (p[16 + l] >> b & 1) << 4);
            break;
        case DTYPE_Q6_K:
            u.q[l] = (uint8_t)((p[b / 4 * 64 + b % 2 * 32 + l] >> (b % 4 / 2 * 4) & 0xF) |
                               (p[128 + b / 4 * 32 + l] >> (b % 4 * 2) & 3) << 4);
            break;
        case DTYPE_IQ4_XS: u.q[l] = p[8 + b * 16 + l % 16] >> nibble_shift & 0xF; break;
        default: break;
        }
    }
    switch (T) {
    case DTYPE_Q4_0:
    case DTYPE_IQ4_NL:
    case DTYPE_Q5_0:
    case DTYPE_Q8_0: u.scale = u16(p); break;
    case DTYPE_Q4_1:
    case DTYPE_Q5_1: u.scale = u32(p); break;
    case DTYPE_Q2_K: u.scale = p[2 * b] | (uint32_t)p[2 * b + 1] << 8, u.super = u32(p + 80); break;
    case DTYPE_Q3_K: u.scale = scale_q3(p + 96, 2 * b) | scale_q3(p + 96, 2 * b + 1) << 8, u.super = u16(p + 108); break;
    case DTYPE_Q4_K:
    case DTYPE_Q5_K: u.scale = scale_min(p + 4, b), u.super = u32(p); break;
    case DTYPE_Q6_K: u.scale = p[192 + 2 * b] | (uint32_t)p[192 + 2 * b + 1] << 8, u.super = u16(p + 208); break;
    case DTYPE_IQ4_XS: {
        int low = p[4 + b / 2] >> (b % 2 * 4) & 0xF, high = u16(p + 2) >> (2 * b) & 3;
        u.scale = (uint32_t)((low | high << 4) - 32) & 0xFF, u.super = u16(p);
        break;
    }
    default: break;
    }
    return u;
}

/* Bytes of a chunk that no block has: they are copied with the others, so they are zeros and not what lay there before. */
template <int T> __device__ void clear_room(char *chunk, uint32_t n) {
    using P = planes<T>;
    using C = chunk_of<T>;
    auto clear = [=](uint32_t from, uint32_t to) {
        for (; from < to; from++) chunk[from] = 0;
    };
    clear((n + 7) / 8 * P::super, C::scale);
    clear(C::scale + n * P::scale, C::low);
    clear(C::low + n * (P::low + P::high), C::size(n));
}

template <int T>
__global__ void pack_kernel(device_matrix to, const uint8_t *raw, uint32_t first_row, uint32_t n_rows, uint32_t record_blocks,
                            uint32_t record_size) {
    using P = planes<T>;
    using C = chunk_of<T>;
    size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= (size_t)n_rows * to.blocks) return;
    uint32_t row = (uint32_t)(i / to.blocks), b = (uint32_t)(i % to.blocks);
    size_t record = (size_t)row * (to.blocks / record_blocks) + b / record_blocks;
    unpacked u = unpack<T>(raw + record * record_size, (int)(b % record_blocks));
    char *chunk = chunk_at<T>(to, first_row + row, b);
    const uint32_t l = b % CHUNK, n = chunk_blocks(to, b);
    uint8_t *low = (uint8_t *)chunk + C::low + l * P::low, *high = (uint8_t *)chunk + C::low + n * P::low + l * P::high;
    if (T == DTYPE_Q8_0) {
        for (int e = 0; e < 16; e++) low[e] = u.q[e], high[e] = u.q[16 + e];
    } else if (P::low == 16) {
        for (int e = 0; e < 16; e++) low[e] = (uint8_t)((u.q[e] & 0xF) | (u.q[16 + e] & 0xF) << 4);
    } else {
        for (int e = 0; e < 8; e++)
            low[e] = (uint8_t)((u.q[e] & 3) | (u.q[8 + e] & 3) << 2 | (u.q[16 + e] & 3) << 4 | (u.q[24 + e] & 3) << 6);
    }
    if (P::high == 8) {
        for (int e = 0; e < 8; e++)
            high[e] = (uint8_t)(u.q[e] >> 4 | u.q[8 + e] >> 4 << 2 | u.q[16 + e] >> 4 << 4 | u.q[24 + e] >> 4 << 6);
    } else if (P::high == 4) {
        const int shift = P::low == 16 ? 4 : 2;
        uint32_t bits = 0;
        for (int k = 0; k < 8; k++)
            for (int j = 0; j < 4; j++) bits |= (uint32_t)(u.q[4 * k + j] >> shift & 1) << (8 * j + k);
        *(uint32_t *)high = bits;
    }
    put_n(chunk + C::scale, l, P::scale, u.scale);
    if (l % 8 == 0) put_n(chunk, l / 8, P::super, u.super);
    if (l + 1 == n) clear_room<T>(chunk, n);
}

/* Float types keep their elements; a row is padded with zeros to whole blocks. */
template <class E>
__global__ void pack_floats_kernel(device_matrix to, const E *raw, uint32_t first_row, uint32_t n_rows) {
    size_t stride = (size_t)to.blocks * 32, i = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= n_rows * stride) return;
    size_t row = i / stride, col = i % stride;
    ((E *)((char *)to.data + (first_row + row) * to.pitch))[col] = col < to.cols ? raw[row * to.cols + col] : E(0);
}

template <int T> __global__ void to_16bit_kernel(device_matrix from, __half *to, size_t stride) {
    size_t i = (size_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= (size_t)from.rows * from.blocks) return;
    float values[32];
    uint32_t row = (uint32_t)(i / from.blocks), b = (uint32_t)(i % from.blocks);
    block_floats<T>(from, row, b, values);
    alignas(16) __half out[32];
#pragma unroll
    for (int e = 0; e < 32; e++) out[e] = __float2half(values[e]);
#pragma unroll
    for (int e = 0; e < 4; e++) ((uint4 *)(to + row * stride + b * 32))[e] = ((uint4 *)out)[e];
}

/* Bytes of one record in the file. */
constexpr uint32_t record_size(int type) {
    switch (type) {
#define X(name, id, block, bytes, computable)                                                                \
    case id: return bytes;
        DTYPE_MAP(X)
#undef X
    }
    return 0;
}

unsigned grid_for(size_t work, unsigned block) { return (unsigned)((work + block - 1) / block); }

} // namespace

extern "C" size_t row_bytes(int type, uint32_t blocks) {
    size_t bytes = 0;
    FOR_TYPE(type, bytes = (size_t)(blocks / CHUNK) * chunk_of<T>::size(CHUNK) + (blocks % CHUNK ? chunk_of<T>::size(blocks % CHUNK) : 0));
    return bytes;
}

extern "C" cudaError_t launch_pack(cudaStream_t stream, struct device_matrix to, const void *raw, uint32_t first_row,
                                   uint32_t n_rows) {
    const unsigned block = 128;
    size_t blocks = (size_t)n_rows * to.blocks;
    switch (to.type) {
    case DTYPE_F32:
        pack_floats_kernel<<<grid_for(blocks * 32, block), block, 0, stream>>>(to, (const uint32_t *)raw, first_row, n_rows);
        break;
    case DTYPE_F16:
    case DTYPE_BF16:
        pack_floats_kernel<<<grid_for(blocks * 32, block), block, 0, stream>>>(to, (const uint16_t *)raw, first_row, n_rows);
        break;
#define X(T)                                                                                                 \
    case T:                                                                                                  \
        pack_kernel<T><<<grid_for(blocks, block), block, 0, stream>>>(to, (const uint8_t *)raw, first_row, n_rows,              \
                                                                      planes<T>::super ? 8 : 1, record_size(T)); \
        break;
        QUANT_TYPES(X)
#undef X
    default: return cudaErrorInvalidValue;
    }
    return cudaGetLastError();
}

extern "C" cudaError_t launch_to_16bit(cudaStream_t stream, struct device_matrix from, void *to, size_t stride) {
    FOR_TYPE(from.type, (to_16bit_kernel<T><<<grid_for((size_t)from.rows * from.blocks, 128), 128, 0, stream>>>(from, (__half *)to, stride)));
    return cudaGetLastError();
}
