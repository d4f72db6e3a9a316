/* From rows in chunks to slices of tiles (slices.cuh): one thread a row of a tile. */
#include "kernels/cuda/slices.cuh"

namespace {

__device__ __forceinline__ void put_plane(char *to, uint32_t bytes, uint4 v) {
    if (bytes == 16) *(uint4 *)to = v;
    else if (bytes == 8) *(uint2 *)to = make_uint2(v.x, v.y);
    else if (bytes == 4) *(uint32_t *)to = v.x;
}

/* Grid: slices by row groups; threads: lanes by tiles. */
template <int T> __global__ void slices_kernel(device_matrix from, whole_slices s, char *to, char *behind) {
    using P = planes<T>;
    using L = tile_of<T>;
    const hidden_share share = hidden_of(s, blockIdx.x);
    const uint32_t at = blockIdx.y, c = threadIdx.y, l = threadIdx.x, row = (first_group(s, blockIdx.x) + at) % s.groups * 32 + l, b = share.first + c;
    if (c >= share.n) return;
    raw_block r = {};
    if (row < from.rows) r = block_load<T>(from, row, b);
    char *tile = to + ((size_t)blockIdx.x * s.groups * s.widest + at * share.n + c) * L::size;
    put_n(tile + l * P::scale, 0, P::scale, r.scale);
    put_plane(tile + L::low + l * P::low, P::low, r.low);
    put_plane(tile + L::high + l * P::high, P::high, r.high);
    if (c && b % 8) return;
    put_n((char *)supers_at<T>(behind, s, blockIdx.x, at) + ((b / 8 - share.first / 8) * 32 + l) * P::super, 0, P::super, r.super);
}
__device__ void put_floats(const device_matrix &from, const whole_slices &s, char *to) {
    const hidden_share share = hidden_of(s, blockIdx.x);
    const uint32_t at = blockIdx.y, c = threadIdx.y, l = threadIdx.x, row = (first_group(s, blockIdx.x) + at) % s.groups * 32 + l;
    if (c >= share.n) return;
    uint4 eight = {};
    if (row < from.rows) eight = ((const uint4 *)((const char *)from.data + (size_t)row * from.pitch))[share.first + c];
    *(uint4 *)(to + ((size_t)blockIdx.x * s.groups * s.widest + at * share.n + c) * float_tile::size + l * 16) = eight;
}
template <> __global__ void slices_kernel<DTYPE_F16>(device_matrix from, whole_slices s, char *to, char *) { put_floats(from, s, to); }
template <> __global__ void slices_kernel<DTYPE_BF16>(device_matrix from, whole_slices s, char *to, char *) { put_floats(from, s, to); }

size_t tiles_bytes(const struct whole_slices *s, uint32_t type) { return (size_t)s->n * s->groups * s->widest * tile_bytes(type); }

} // namespace

extern "C" uint32_t tile_bytes(uint32_t type) {
    uint32_t bytes = 0;
    FOR_TILE_TYPE(type, bytes = tile_of<T>::size);
    return bytes;
}

/* A warp reads one row group of scales ahead: there is one more. */
extern "C" size_t slices_bytes(const struct whole_slices *s, uint32_t type) {
    uint32_t super = 0;
    FOR_TILE_TYPE(type, super = planes<T>::super);
    return tiles_bytes(s, type) + ((size_t)s->n * s->groups + 1) * s->supers * 32 * super;
}

extern "C" cudaError_t launch_slices(cudaStream_t stream, struct device_matrix from, const struct whole_slices *s, void *to) {
    const dim3 grid(s->n, s->groups), block(32, s->widest);
    char *tiles = (char *)to, *behind = tiles + tiles_bytes(s, (uint32_t)from.type);
    FOR_TILE_TYPE(from.type, (slices_kernel<T><<<grid, block, 0, stream>>>(from, *s, tiles, behind)));
    return cudaGetLastError();
}
