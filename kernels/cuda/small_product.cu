/* Matrix times the vectors of up to 64 positions, by the quants themselves: the weights are read once and
 * become 16 bits in registers, on their way to the matrix units. Copies in 16 bits, which larger steps
 * multiply, are two to four times as much to read.
 *
 * A warp has 32 rows and goes along them in steps of 128 columns. In such a step lane l holds one block of 32
 * weights of rows l / 4, + 8, + 16 and + 24, the block l % 4: the matrix units do not mind which columns meet
 * in a product of 16 as long as the vectors have the same order, so a block is loaded in one piece, its scale
 * is needed once, and no lane hands anything to another. The vectors come in that order (batch_rows.cu)
 * through a ring in shared memory that the warps of a block share. Where there are too few rows for all
 * multiprocessors the columns are cut into parts; whoever reads the sums adds those up, in order. */
#include "kernels/cuda/dependent.cuh"
#include "kernels/cuda/head.cuh"
#include "kernels/cuda/layout.cuh"
#include "kernels/cuda/mma.cuh"
#include "kernels/cuda/small_batch.h"

namespace {

/* A warp has two tiles of 16 rows: a lane has four rows of them. */
enum { TILE = 2 * SMALL_TILE, LANE_ROWS = 4 };

template <int T> constexpr bool is_float = T == DTYPE_F16 || T == DTYPE_BF16;

/* ---- weights ---- */

/* The rows of a warp: all in the matrix, pitch bytes apart. Gate and up give half of them each, */
struct warp_rows {
    const char *first;
    const char *other; /* and `other` is where their second half would begin if it went on from the first */
    uint32_t pitch;
    __device__ __forceinline__ const char *at(uint32_t i) const {
        return (i < SMALL_TILE ? first : other) + (uint64_t)i * pitch;
    }
};

/* Weights come through a ring in shared memory, a place of it for each unit of one or two steps: so large
 * that what a row gives is some lines of memory, and so small that some units of all warps have room. Each
 * warp fetches its own rows, by planes of the layout: in `pieces` of 16 bytes a row, BYTES a block. Rows are
 * turned against each other so that the lanes' reads meet no bank twice. What is taken of a row at a time is
 * less than a line of the second-level cache. */
template <int T> constexpr uint32_t unit_steps = is_float<T> || planes<T>::low + planes<T>::high > 24 ? 1 : 2;
template <int T> constexpr uint32_t unit_blocks = unit_steps<T> *SMALL_STEP_BLOCKS;

template <uint32_t BYTES, uint32_t BLOCKS> struct plane_ring {
    static constexpr uint32_t row = BYTES * BLOCKS, pieces = row / 16, size = row * TILE;
    /* Where byte `at` of row r lies. */
    static __device__ __forceinline__ uint32_t turned(uint32_t r, uint32_t at) {
        const uint32_t turn = row % 128 == 0            ? r % 2 * 64
                              : row == 64 && BYTES == 8 ? r / 2 % 2 * 32
                              : row == 32               ? r / 4 % 2 * 16
                                                        : 0;
        return r * row + (at ^ turn);
    }
    /* From `start` of each row on; what is beyond `end` bytes of it has vectors of zeros, and is the last
     * piece once more. */
    static __device__ __forceinline__ void fetch(char *to, const warp_rows &rows, uint32_t start,
                                                 uint32_t end) {
        constexpr uint32_t at_once = 32 / pieces; /* rows */
        const uint32_t piece = threadIdx.x % pieces * 16, r = threadIdx.x % 32 / pieces;
        const uint64_t from = start + min(piece, (end - 1) / 16 * 16) + (uint64_t)r * rows.pitch;
        const char *first = rows.first + from, *other = rows.other + from;
        to += turned(r, piece); /* the same turn for all of a lane's rows */
#pragma unroll
        for (uint32_t i = 0; i < TILE / at_once; i++) {
            copy_16_async<true>(to + i * at_once * row, (i * at_once < SMALL_TILE ? first : other) +
                                                            (uint64_t)(i * at_once) * rows.pitch);
        }
    }
};

/* Scales stand at the head of a chunk, for 32 blocks: fetched once a chunk, into one of two places. Rows lie
 * an odd number of 16 bytes apart, for the banks again. */
template <int T> struct heads_ring {
    static constexpr uint32_t pieces = chunk_of<T>::low / 16, row = (pieces | 1) * 16, size = row * TILE;
    static __device__ __forceinline__ void fetch(char *to, const warp_rows &rows, uint32_t chunk) {
#pragma unroll
        for (uint32_t i = 0; i < pieces; i++) {
            const uint32_t k = i * 32 + threadIdx.x % 32, r = k / pieces, at = k % pieces * 16;
            copy_16_async<true>(to + r * row + at, rows.at(r) + chunk * chunk_of<T>::size(CHUNK) + at);
        }
    }
};

/* All a warp has in shared memory: `depth` units, then two heads. */
template <int T> struct warp_ring {
    using P = planes<T>;
    using C = chunk_of<T>;
    using low = plane_ring<P::low, unit_blocks<T>>;
    using high = plane_ring<P::high ? P::high : 16, unit_blocks<T>>; /* where there is such a plane */
    using heads = heads_ring<T>;
    static constexpr uint32_t unit = low::size + (P::high ? high::size : 0), beside = 2 * heads::size;

    static __device__ __forceinline__ void fetch(char *to, char *head, const warp_rows &rows, uint32_t blocks,
                                                 uint32_t u, bool begin) {
        const uint32_t b = u * unit_blocks<T>, l = b % CHUNK, chunk = b / CHUNK,
                       n = min((uint32_t)CHUNK, blocks - chunk * CHUNK);
        const uint32_t at = chunk * C::size(CHUNK) + C::low;
        if (begin || l == 0) heads::fetch(head + chunk % 2 * heads::size, rows, chunk);
        low::fetch(to, rows, at + l * P::low, (n - l) * P::low);
        if constexpr (P::high > 0)
            high::fetch(to + low::size, rows, at + n * P::low + l * P::high, (n - l) * P::high);
    }

    /* The block of this lane of row r in step s of the unit. */
    static __device__ __forceinline__ raw_block take(const char *from, const char *head, uint32_t u,
                                                     uint32_t s, uint32_t r) {
        const uint32_t in_unit = s * SMALL_STEP_BLOCKS + threadIdx.x % 4,
                       l = u * unit_blocks<T> % CHUNK + in_unit;
        const char *scales = head + u * unit_blocks<T> / CHUNK % 2 * heads::size + r * heads::row;
        raw_block block;
        block.low = get_plane<P::low, from_shared>(from + low::turned(r, in_unit * P::low));
        if constexpr (P::high > 0)
            block.high =
                get_plane<P::high, from_shared>(from + low::size + high::turned(r, in_unit * P::high));
        block.scale = get_n<P::scale, from_shared>(scales + C::scale + l * P::scale);
        if constexpr (P::super > 0) block.super = get_n<P::super, from_shared>(scales + l / 8 * P::super);
        return block;
    }
};

struct float_runs { /* of eight, one of each block */
    uint4 run[4];
};
struct float_ring {
    using plane = plane_ring<64, SMALL_STEP_BLOCKS>;
    static constexpr uint32_t unit = plane::size, beside = 0;
    static __device__ __forceinline__ void fetch(char *to, char *, const warp_rows &rows, uint32_t blocks,
                                                 uint32_t u, bool) {
        const uint32_t b = u * SMALL_STEP_BLOCKS;
        plane::fetch(to, rows, b * 64, (blocks - b) * 64);
    }
    static __device__ __forceinline__ float_runs take(const char *from, const char *, uint32_t, uint32_t,
                                                      uint32_t r) {
        float_runs p;
#pragma unroll
        for (int i = 0; i < 4; i++)
            p.run[i] = *(const uint4 *)(from + plane::turned(r, (i * 4 + threadIdx.x % 4) * 16));
        return p;
    }
};
template <> struct warp_ring<DTYPE_F16> : float_ring {};
template <> struct warp_ring<DTYPE_BF16> : float_ring {};

/* ---- to 16 bits ---- */

__device__ __forceinline__ uint32_t twice(float x) {
    __half2 h = __float2half2_rn(x);
    return *(uint32_t *)&h;
}
__device__ __forceinline__ __half2 halves(uint32_t bits) {
    return *(__half2 *)&bits;
}

/* What is subtracted from the bytes of a type before they are multiplied by its scale; those with a sign of
 * their own have 128 added first. */
template <int T>
constexpr int offset_of = T == DTYPE_Q4_0                                             ? 8
                          : T == DTYPE_Q5_0                                           ? 16
                          : T == DTYPE_Q6_K                                           ? 32
                          : T == DTYPE_Q3_K                                           ? 4
                          : T == DTYPE_Q8_0 || T == DTYPE_IQ4_NL || T == DTYPE_IQ4_XS ? 128
                                                                                      : 0;
template <int T>
constexpr bool adds_minimum =
    T == DTYPE_Q4_1 || T == DTYPE_Q5_1 || T == DTYPE_Q2_K || T == DTYPE_Q4_K || T == DTYPE_Q5_K;

/* s * q + m of two halves. */
template <int T> __device__ __forceinline__ uint32_t scaled(__half2 q, uint32_t s, uint32_t m) {
    __half2 v = adds_minimum<T> ? __hfma2(q, halves(s), halves(m)) : __hmul2(q, halves(s));
    return *(uint32_t *)&v;
}

/* Two bytes of a word, less the offset: a byte below 0x64 is 1024 and the byte. */
template <int T>
__device__ __forceinline__ uint32_t two_halves(uint32_t word, uint32_t select, uint32_t s, uint32_t m) {
    constexpr uint32_t base = 0x6400u + offset_of<T>; /* 1024 + offset */
    return scaled<T>(__hsub2(halves(__byte_perm(word, 0x64646464u, select)), halves(base << 16 | base)), s,
                     m);
}

/* The same of nibbles where there is nothing else: those at bits 0 and 16 are picked with the 64 above them
 * in one instruction, those at bits 4 and 20 likewise, as 1024 + 16 q. */
template <int T> constexpr bool plain_nibbles = T == DTYPE_Q4_0 || T == DTYPE_Q4_1 || T == DTYPE_Q4_K;
__device__ __forceinline__ __half2 pick_nibbles(uint32_t word, uint32_t mask) {
    uint32_t picked; /* written out: the compiler would take two instructions for two constants */
    asm("lop3.b32 %0, %1, %2, %3, 0xEA;" : "=r"(picked) : "r"(word), "r"(mask), "r"(0x64006400u));
    return halves(picked);
}
template <int T> __device__ __forceinline__ uint32_t low_nibbles(uint32_t word, uint32_t s, uint32_t m) {
    constexpr uint32_t base = 0x6400u + offset_of<T>;
    return scaled<T>(__hsub2(pick_nibbles(word, 0x000F000Fu), halves(base << 16 | base)), s, m);
}
template <int T> __device__ __forceinline__ uint32_t high_nibbles(uint32_t word, uint32_t s, uint32_t m) {
    const __half2 sixteenth = __float2half2_rn(0.0625f), base = __float2half2_rn(-64.0f - offset_of<T>);
    return scaled<T>(__hfma2(pick_nibbles(word, 0x00F000F0u), sixteenth, base), s, m);
}

/* A block with its scales, ready for the matrix units piece by piece. Without their scales quants are whole
 * numbers, and exact. */
template <int T> struct weights {
    uint32_t a[4], b[4], s0, m0, s1, m1; /* plain nibbles are all in a */
    __device__ __forceinline__ void set(const raw_block &block) {
        const quants q = block_quants<T>(block);
        const uint32_t low[4] = {block.low.x, block.low.y, block.low.z, block.low.w},
                       sign = offset_of<T> == 128 ? 0x80808080u : 0;
#pragma unroll
        for (int k = 0; k < 4; k++) {
            a[k] = plain_nibbles<T> ? low[k] : (uint32_t)q.a[k] ^ sign;
            b[k] = (uint32_t)q.b[k] ^ sign;
        }
        s0 = twice(q.s0), m0 = twice(q.m0), s1 = twice(q.s1), m1 = twice(q.m1);
    }
    /* Elements 4 i + 0, 2, 1, 3 and 16 + 4 i + 0, 2, 1, 3. */
    __device__ __forceinline__ void get(int i, uint32_t to[4]) const {
        if constexpr (plain_nibbles<T>) {
            const uint32_t odd = a[i] >> 8;
            to[0] = low_nibbles<T>(a[i], s0, m0), to[1] = low_nibbles<T>(odd, s0, m0);
            to[2] = high_nibbles<T>(a[i], s1, m1), to[3] = high_nibbles<T>(odd, s1, m1);
        } else {
            to[0] = two_halves<T>(a[i], 0x4240, s0, m0), to[1] = two_halves<T>(a[i], 0x4341, s0, m0);
            to[2] = two_halves<T>(b[i], 0x4240, s1, m1), to[3] = two_halves<T>(b[i], 0x4341, s1, m1);
        }
    }
};
struct float_weights {
    float_runs p;
    __device__ __forceinline__ void set(const float_runs &from) { p = from; }
    __device__ __forceinline__ void get(int i, uint32_t to[4]) const {
        to[0] = p.run[i].x, to[1] = p.run[i].y, to[2] = p.run[i].z, to[3] = p.run[i].w;
    }
};
template <> struct weights<DTYPE_F16> : float_weights {};
template <> struct weights<DTYPE_BF16> : float_weights {
    __device__ __forceinline__ void
    get(int i, uint32_t to[4]) const { /* two of BF16 are the upper halves of two F32 */
        float_weights::get(i, to);
#pragma unroll
        for (int k = 0; k < 4; k++)
            to[k] = pack_halves(__uint_as_float(to[k] << 16), __uint_as_float(to[k] & 0xffff0000u));
    }
};

/* ---- a step ---- */

/* x: the step's vectors, [group][piece][lane] of eight. */
template <int T, int G>
__device__ __forceinline__ void multiply_step(const char *unit, const char *head, const uint4 *x, uint32_t u,
                                              uint32_t s, float sum[2][G][4]) {
    weights<T> w[LANE_ROWS];
#pragma unroll
    for (int r = 0; r < LANE_ROWS; r++)
        w[r].set(warp_ring<T>::take(unit, head, u, s, threadIdx.x % 32 / 4 + 8 * r));
#pragma unroll
    for (int i = 0; i < 4; i++) {
        uint32_t row[LANE_ROWS][4];
#pragma unroll
        for (int r = 0; r < LANE_ROWS; r++) w[r].get(i, row[r]);
#pragma unroll
        for (int g = 0; g < G; g++) {
            const uint4 v = x[(g * 4 + i) * 32 + threadIdx.x % 32];
#pragma unroll
            for (int half = 0; half < 2; half++) {
                const uint32_t *upper = row[2 * half], *lower = row[2 * half + 1];
                const uint32_t first[4] = {upper[0], lower[0], upper[1], lower[1]},
                               second[4] = {upper[2], lower[2], upper[3], lower[3]};
                multiply_add(sum[half][g], first, v.x, v.y);
                multiply_add(sum[half][g], second, v.z, v.w);
            }
        }
    }
}

/* ---- where a warp is ---- */

struct place {
    uint32_t matrix, row; /* its first row, or that of gate and of up */
    uint32_t before;      /* rows of the matrices before */
    bool real;            /* a warp of the last block may have none */
};

__device__ __forceinline__ place place_of(const small_product_args &a, uint32_t tile) {
    const uint32_t rows = a.gated ? TILE / 2 : TILE;
    uint32_t before = 0;
    for (uint32_t m = 0; m < (a.gated ? 1 : a.n_matrices); m++) {
        const uint32_t tiles = (a.w[m].rows + rows - 1) / rows;
        /* The last tile may have rows of the one before: both store the same. */
        if (tile < tiles) return {m, min(tile * rows, a.w[m].rows - rows), before, true};
        tile -= tiles;
        before += a.w[m].rows;
    }
    return {0, 0, 0, false};
}

__device__ __forceinline__ warp_rows rows_of(const small_product_args &a, const place &at) {
    const device_matrix &w = a.w[at.matrix], &up = a.w[a.gated ? 1 : at.matrix];
    const size_t start = (size_t)at.row * w.pitch;
    const char *first = (const char *)w.data + start;
    return {first, a.gated ? (const char *)up.data + start - (size_t)SMALL_TILE * w.pitch : first, w.pitch};
}

/* Gate and up of a row are in the same lane, in its two tiles. */
template <int G>
__device__ __forceinline__ void store_gated(const small_product_args &a, const place &at,
                                            const float sum[2][G][4]) {
    const uint32_t lane = threadIdx.x % 32, rows = a.w[0].rows;
#pragma unroll
    for (int g = 0; g < G; g++) {
#pragma unroll
        for (int e = 0; e < 4; e++) {
            const uint32_t position = g * 8 + lane % 4 * 2 + e % 2, row = at.row + lane / 4 + e / 2 * 8;
            if (position >= a.n) continue;
            const float scale = __ldcg(a.x.scale + position);
            a.to.data[(size_t)position * rows + row] = silu(sum[0][g][e] * scale) * (sum[1][g][e] * scale);
        }
    }
}

template <int G>
__device__ __forceinline__ void store_sums(const small_product_args &a, const place &at,
                                           const float sum[2][G][4]) {
    const uint32_t lane = threadIdx.x % 32;
    float *to = a.to.data + (size_t)blockIdx.y * a.n * a.to.rows + a.first_row + at.before;
#pragma unroll
    for (int half = 0; half < 2; half++) {
#pragma unroll
        for (int g = 0; g < G; g++) {
#pragma unroll
            for (int e = 0; e < 4; e++) {
                const uint32_t position = g * 8 + lane % 4 * 2 + e % 2,
                               row = at.row + half * 16 + lane / 4 + e / 2 * 8;
                if (position < a.n) to[(size_t)position * a.to.rows + row] = sum[half][g][e];
            }
        }
    }
}

/* ---- the kernel ---- */

template <int T, int G>
constexpr uint32_t vectors_size = unit_steps<T> *G * 4 * 32 * sizeof(uint4); /* of a unit */

/* The vectors of a unit into the ring; the last one may be shorter. */
template <int T, int G>
__device__ __forceinline__ void fetch_vectors(char *to, const char *x, uint32_t u, uint32_t steps) {
    const uint32_t size =
        min(vectors_size<T, G>, (steps - u * unit_steps<T>)*(G * 4 * 32 * (uint32_t)sizeof(uint4)));
    x += (size_t)u * vectors_size<T, G>;
    for (uint32_t i = threadIdx.x * 16; i < size; i += blockDim.x * 16) copy_16_async(to + i, x + i);
}

/* Until at most depth - 2 of the newest groups are under way. */
__device__ __forceinline__ void wait_for_oldest(uint32_t depth) {
    if (depth == 2)
        copies_wait<0>();
    else if (depth == 3)
        copies_wait<1>();
    else
        copies_wait<SMALL_DEEPEST - 2>();
}

/* Grid: blocks of as many tiles as they have warps, parts of the columns. */
template <int T, int G>
__global__ void __launch_bounds__(SMALL_WARPS_MOST * 32, 1)
    small_product_kernel(const __grid_constant__ small_product_args a) {
    using R = warp_ring<T>;
    extern __shared__ uint4 memory[];
    const uint32_t blocks = a.w[0].blocks, steps = (blocks + SMALL_STEP_BLOCKS - 1) / SMALL_STEP_BLOCKS;
    const uint32_t units = (steps + unit_steps<T> - 1) / unit_steps<T>, depth = a.depth;
    const uint32_t first = units * blockIdx.y / gridDim.y, end = units * (blockIdx.y + 1) / gridDim.y;
    const place at = place_of(a, blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32);
    const warp_rows rows = rows_of(a, at);
    char *const vectors = (char *)memory, *const head = vectors + depth * vectors_size<T, G> +
                                                        threadIdx.x / 32 * (R::beside + depth * R::unit);
    char *const ring = head + R::beside;
    float sum[2][G][4] = {};

    let_next_kernel_start();
    /* Weights depend on no kernel. */
    for (uint32_t u = first; at.real && u < first + depth - 1 && u < end; u++)
        R::fetch(ring + (u - first) * R::unit, head, rows, blocks, u, u == first);
    wait_for_previous_kernel();
    const char *x = (const char *)a.x.data;
    for (uint32_t u = first; u < first + depth - 1; u++) {
        if (u < end) fetch_vectors<T, G>(vectors + (u - first) * vectors_size<T, G>, x, u, steps);
        copies_commit(); /* of nothing, at the end: the count of groups stays right */
    }
    uint32_t mine = 0, free = depth - 1; /* places in the ring: of the unit, and of the one to be fetched */
    for (uint32_t u = first; u < end; u++) {
        wait_for_oldest(depth);
        __syncthreads(); /* the unit is there, and nobody reads the one before */
        const uint32_t next = u + depth - 1;
        if (next < end) {
            fetch_vectors<T, G>(vectors + free * vectors_size<T, G>, x, next, steps);
            if (at.real) R::fetch(ring + free * R::unit, head, rows, blocks, next, false);
        }
        copies_commit();
        if (at.real) {
#pragma unroll 1
            for (uint32_t s = 0; s < unit_steps<T> && u * unit_steps<T> + s < steps; s++)
                multiply_step<T, G>(ring + mine * R::unit, head,
                                    (const uint4 *)(vectors + mine * vectors_size<T, G>)+s * (G * 4 * 32), u,
                                    s, sum);
        }
        free = mine;
        mine = mine + 1 == depth ? 0 : mine + 1;
    }
    if (!at.real) return;
    if (a.gated)
        store_gated<G>(a, at, sum);
    else
        store_sums<G>(a, at, sum);
}

template <int T> constexpr small_memory memory_of(uint32_t groups) {
    return {unit_steps<T> * groups * 4 * 32 * (uint32_t)sizeof(uint4), warp_ring<T>::unit,
            warp_ring<T>::beside, unit_steps<T> == 1};
}

template <int T, int G> cudaError_t launch(cudaStream_t stream, const small_product_args &a) {
    const uint32_t rows = a.gated ? TILE / 2 : TILE;
    uint32_t tiles = 0;
    for (uint32_t m = 0; m < (a.gated ? 1 : a.n_matrices); m++) tiles += (a.w[m].rows + rows - 1) / rows;
    const dim3 grid((tiles + a.warps - 1) / a.warps, a.to.parts);
    return launch_dependent(stream, grid, a.warps * 32, small_block_memory(memory_of<T>(G), a.warps, a.depth),
                            small_product_kernel<T, G>, a);
}

template <int T> cudaError_t launch_type(cudaStream_t stream, const small_product_args &a) {
    switch (a.x.groups) {
    case 2: return launch<T, 2>(stream, a);
    case 4: return launch<T, 4>(stream, a);
    default: return launch<T, 8>(stream, a);
    }
}

} // namespace

extern "C" struct small_memory small_product_memory(int type, uint32_t groups) {
    switch (type) {
    case DTYPE_F16: return memory_of<DTYPE_F16>(groups);
    case DTYPE_BF16: return memory_of<DTYPE_BF16>(groups);
#define X(T)                                                                                                 \
    case T: return memory_of<T>(groups);
        QUANT_TYPES(X)
#undef X
    default: return {};
    }
}

extern "C" int small_product_can(int type) {
    return type != DTYPE_F32 && row_bytes(type, 1) > 0;
}

extern "C" cudaError_t launch_small_product(cudaStream_t stream, const struct small_product_args *args) {
    switch (args->w[0].type) {
    case DTYPE_F16: return launch_type<DTYPE_F16>(stream, *args);
    case DTYPE_BF16: return launch_type<DTYPE_BF16>(stream, *args);
#define X(T)                                                                                                 \
    case T: return launch_type<T>(stream, *args);
        QUANT_TYPES(X)
#undef X
    default: return cudaErrorInvalidValue;
    }
}
