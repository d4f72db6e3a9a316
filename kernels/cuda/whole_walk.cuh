/* How a warp of the one kernel goes through its weights as they come through its ring: along rows, or down the columns of a slice. Each type has
 * a function of its own, so that one's need of registers is not another's: what is spilled comes back past the first-level cache, of which
 * little is left beside so much shared memory. */
#pragma once

#include "kernels/cuda/exchange.cuh"
#include "kernels/cuda/slices.cuh"
#include "kernels/cuda/vector.cuh"
#include "kernels/cuda/whole_memory.cuh"

/* Where a warp is among its chunks. Sums of rows are first kept by lane, several rows together, and then added up across the lanes. */
enum { ROWS_TOGETHER = 4, ROW_PITCH = 33 /* words: lanes of all rows meet no bank twice */ };
struct row_walk {
    uint32_t col, chunks, tail; /* chunk of the row, chunks of a row, blocks of the last one */
    float sum;                  /* of this lane */
    float *lanes;               /* [ROWS_TOGETHER][ROW_PITCH] of the warp */
    float *out;                 /* where the sum of the next row goes */
    uint32_t rows;              /* in `lanes` */

    __device__ __forceinline__ void add_up() {
        const uint32_t lane = threadIdx.x % 32, row = lane / 8;
        __syncwarp();
        float total = 0;
#pragma unroll
        for (int i = 0; i < 4; i++) total += lanes[row * ROW_PITCH + lane % 8 * 4 + i];
#pragma unroll
        for (int m = 1; m < 8; m *= 2) total += __shfl_xor_sync(~0u, total, m);
        if (lane % 8 == 0 && row < rows) out[row] = total;
        __syncwarp();
        out += rows;
        rows = 0;
    }
    __device__ __forceinline__ void end_row(float total) {
        lanes[rows * ROW_PITCH + threadIdx.x % 32] = total;
        if (++rows == ROWS_TOGETHER) add_up();
    }
    __device__ __forceinline__ void take(float value) {
        sum += value;
        if (++col < chunks) return;
        end_row(sum);
        sum = 0, col = 0;
    }
};

/* Products of a chunk of n blocks with the vector, or with a lane's part of a chunk of the vector in registers: `held`. Lanes without a block
 * read what lies behind and drop it. */
template <int T> struct quantised_chunks {
    using vector = quantised_vector;
    using held = quantised_block<T>;
    enum { MOST_HELD = two_scales<T> || planes<T>::high == 4 ? 1 : 4 /* chunks; more would not fit into the registers */ };
    static __device__ __forceinline__ uint32_t size(uint32_t n) { return chunk_of<T>::size(n); }
    static __device__ __forceinline__ vector make(char *memory, uint32_t blocks) { return quantised_at(memory, blocks); }
    static __device__ __forceinline__ held hold(const vector &x, uint32_t col, uint32_t blocks) {
        return block_of<T>(x, min(col * CHUNK + threadIdx.x % 32, blocks - 1));
    }
    static __device__ __forceinline__ float dot(const char *chunk, const held &x, uint32_t n) {
        const uint32_t lane = threadIdx.x % 32;
        const float value = block_dot<T>(chunk_block<T, from_shared>(chunk, lane, n), x);
        return lane < n ? value : 0.0f;
    }
    static __device__ __forceinline__ float dot(const char *chunk, const vector &x, uint32_t col, uint32_t n) {
        return dot(chunk, block_of<T>(x, col * CHUNK + threadIdx.x % 32), n);
    }
};
template <class E> struct float_chunks {
    using vector = float_vector;
    struct held {
        float4 x[4][2];
    };
    enum { MOST_HELD = 1, UNITS = CHUNK * 4 /* of 16 bytes */ };
    static __device__ __forceinline__ uint32_t size(uint32_t n) { return n * 64; }
    static __device__ __forceinline__ vector make(char *memory, uint32_t blocks) {
        float_vector v;
        v.plane[0] = (float4 *)memory;
        v.plane[1] = v.plane[0] + blocks * 4;
        return v;
    }
    static __device__ __forceinline__ held hold(const vector &x, uint32_t col, uint32_t blocks) {
        held h;
#pragma unroll
        for (uint32_t i = 0; i < 4; i++) {
            const uint32_t u = min(col * UNITS + i * 32 + threadIdx.x % 32, blocks * 4 - 1);
            h.x[i][0] = x.plane[0][u], h.x[i][1] = x.plane[1][u];
        }
        return h;
    }
    static __device__ __forceinline__ float dot(const char *chunk, const held &x, uint32_t n) {
        float sum = 0;
#pragma unroll
        for (uint32_t i = 0; i < 4; i++) {
            const uint32_t u = i * 32 + threadIdx.x % 32;
            if (u < n * 4) sum += dot_eight(*(const uint4 *)(chunk + u * 16), x.x[i][0], x.x[i][1], E());
        }
        return sum;
    }
    static __device__ __forceinline__ float dot(const char *chunk, const vector &x, uint32_t col, uint32_t n) {
        float sum = 0;
#pragma unroll
        for (uint32_t i = 0; i < 4; i++) {
            const uint32_t u = i * 32 + threadIdx.x % 32;
            if (u < n * 4) sum += dot_bits(*(const uint4 *)(chunk + u * 16), x, col * UNITS + u, E());
        }
        return sum;
    }
};

/* What a warp has of a part of a product: `left` chunks, that come through its ring in slots. */
struct part_stream {
    weight_ring &ring;
    slot_rule rule;
    uint32_t left;
};

/* Rows of one chunk. */
template <class C> __device__ __forceinline__ void take_short_rows(part_stream s, const typename C::vector &x, uint32_t blocks, row_walk &w) {
    const typename C::held mine = C::hold(x, 0, blocks);
    const uint32_t size = C::size(w.tail);
    while (s.left) {
        uint32_t n = s.rule.take(0, s.left);
        s.left -= n;
        const char *at = s.ring.wait();
        for (; n >= 2; n -= 2, at += 2 * size) {
            const float first = C::dot(at, mine, w.tail), other = C::dot(at + size, mine, w.tail);
            w.end_row(first);
            w.end_row(other);
        }
        if (n) w.end_row(C::dot(at, mine, w.tail));
        s.ring.release();
    }
}

/* Rows of few chunks: the lane's part of the whole vector is in registers. */
template <class C> __device__ __forceinline__ void take_held_rows(part_stream s, const typename C::vector &x, uint32_t blocks, row_walk &w) {
    enum { N = C::MOST_HELD };
    typename C::held mine[N];
#pragma unroll
    for (uint32_t c = 0; c < N; c++) mine[c] = C::hold(x, c, blocks);
    const uint32_t last = w.chunks - 1;
    while (s.left) {
        uint32_t n = s.rule.take(w.col, s.left);
        s.left -= n;
        const char *at = s.ring.wait();
        while (n) {
#pragma unroll
            for (uint32_t c = 0; c < N; c++) {
                if (c != w.col || !n) continue;
                const uint32_t blocks_here = c == last ? w.tail : (uint32_t)CHUNK;
                w.sum += C::dot(at, mine[c], blocks_here);
                at += C::size(blocks_here);
                n--;
                if (w.col++ != last) continue;
                w.end_row(w.sum);
                w.sum = 0, w.col = 0;
                break;
            }
        }
        s.ring.release();
    }
}

/* Rows of any length, two chunks at a time. */
template <class C> __device__ __forceinline__ void take_long_rows(part_stream s, const typename C::vector &x, row_walk &w) {
    const uint32_t last = w.chunks - 1;
    while (s.left) {
        uint32_t n = s.rule.take(w.col, s.left);
        s.left -= n;
        const char *at = s.ring.wait();
        for (; n >= 2; n -= 2) {
            const uint32_t c0 = w.col, c1 = c0 == last ? 0 : c0 + 1, n0 = c0 == last ? w.tail : CHUNK, n1 = c1 == last ? w.tail : CHUNK;
            const char *second = at + C::size(n0);
            const float first = C::dot(at, x, c0, n0), other = C::dot(second, x, c1, n1);
            at = second + C::size(n1);
            w.take(first);
            w.take(other);
        }
        if (n) w.take(C::dot(at, x, w.col, w.col == last ? w.tail : (uint32_t)CHUNK));
        s.ring.release();
    }
}

/* `left` chunks of a product's part, from chunk `col` of a row on. */
template <class C> __device__ __noinline__ void take_rows(uint32_t kind, uint32_t left, uint32_t col, uint32_t a_slot) {
    const uint32_t warp = threadIdx.x / 32;
    const whole_shape shape = the_shares().shape[kind];
    weight_ring ring(args, memory, ring_states[warp]);
    float *const sums = (float *)(memory + args.sums_at);
    row_walk w = {col, shape.chunks, shape.tail, 0, (float *)(memory + args.lanes_at) + warp * ROWS_TOGETHER * ROW_PITCH, sums + next_sums[warp], 0};
    const part_stream s = {ring, slot_rule(a_slot, shape.chunks, shape.magic), left};
    const typename C::vector x = C::make(memory, shape.blocks);
    if (shape.chunks == 1) take_short_rows<C>(s, x, shape.blocks, w);
    else if (C::MOST_HELD > 2 && shape.chunks > 2 && shape.chunks <= C::MOST_HELD) take_held_rows<C>(s, x, shape.blocks, w);
    else take_long_rows<C>(s, x, w);
    if (w.col) w.end_row(w.sum);
    if (w.rows) w.add_up();
    if (threadIdx.x % 32 == 0) ring_states[warp] = ring.state(), next_sums[warp] = (uint32_t)(w.out - sums);
    __syncwarp();
}

/* The same of any type. */
__device__ __forceinline__ void take_part(uint32_t type, uint32_t kind, uint32_t left, uint32_t col) {
    const uint32_t a_slot = args.types[type].a_slot;
    switch (type) {
    case DTYPE_F16: take_rows<float_chunks<__half>>(kind, left, col, a_slot); break;
    case DTYPE_BF16: take_rows<float_chunks<__nv_bfloat16>>(kind, left, col, a_slot); break;
#define X(T)                                                                                                 \
    case T: take_rows<quantised_chunks<T>>(kind, left, col, a_slot); break;
        QUANT_TYPES(X)
#undef X
    default: break;
    }
}

/* ---- the slice of down ---- */

/* Where a warp is among the tiles of its row groups. A lane has the sum of a row, which goes to all at once. */
struct column_walk {
    uint32_t col, cols;     /* tile of the slice */
    uint32_t group, groups; /* of rows */
    float sum;
    uint64_t *to;           /* the sums of all rows */
    uint32_t rows, *spoiled, step;

    __device__ __forceinline__ void take(float value) {
        sum += value;
        if (++col < cols) return;
        const uint32_t row = group * 32 + threadIdx.x % 32;
        if (row < rows) contribute(to + sum_place(place_of(row, rows)), sum, 1, SUM_LIMIT, spoiled, step);
        sum = 0, col = 0;
        if (++group == groups) group = 0;
    }
};

/* The scales of 256 columns that a lane's row has, one read ahead. */
template <int T> struct super_stream {
    const char *at;
    uint32_t first, n, more; /* block of 32 columns the slice begins with; supers of a row group; bytes from the last one to the next group's */
    uint32_t k, now, next;

    __device__ __forceinline__ super_stream(const char *slices, uint32_t group)
        : first(hidden_of(args.slices, blockIdx.x).first), n(supers_of(first, hidden_of(args.slices, blockIdx.x).n)), k(0), now(0), next(0) {
        const whole_slices &s = args.slices;
        at = supers_at<T>(slices + (size_t)s.n * s.groups * s.widest * tile_of<T>::size, s, blockIdx.x, group) + threadIdx.x % 32 * planes<T>::super;
        more = (s.supers - n) * 32 * planes<T>::super;
        read();
    }
    __device__ __forceinline__ void read() {
        if (planes<T>::super) next = get_n<planes<T>::super, from_global>(at);
    }
    __device__ __forceinline__ uint32_t of(uint32_t col) { /* in turn */
        if (!planes<T>::super || (col && (first + col) % 8)) return now;
        now = next;
        at += 32 * planes<T>::super;
        if (++k == n) k = 0, at += more;
        read();
        return now;
    }
};

template <int T> struct quantised_tiles {
    using vector = quantised_vector;
    using supers = super_stream<T>;
    static constexpr uint32_t size = tile_of<T>::size;
    static __device__ __forceinline__ vector make(char *memory, uint32_t tiles) { return quantised_at(memory, tiles); }
    static __device__ __forceinline__ float dot(const char *tile, const vector &x, uint32_t col, uint32_t super) {
        raw_block raw = tile_block<T>(tile, threadIdx.x % 32);
        raw.super = super;
        return block_dot<T>(raw, x, col);
    }
};
template <class E> struct float_tiles {
    using vector = float_vector;
    struct supers { /* none */
        __device__ __forceinline__ supers(const char *, uint32_t) {}
        __device__ __forceinline__ uint32_t of(uint32_t) { return 0; }
    };
    static constexpr uint32_t size = float_tile::size;
    static __device__ __forceinline__ vector make(char *memory, uint32_t tiles) {
        return {{(float4 *)memory, (float4 *)memory + tiles}};
    }
    static __device__ __forceinline__ float dot(const char *tile, const vector &x, uint32_t col, uint32_t) {
        return dot_bits(*(const uint4 *)(tile + threadIdx.x % 32 * 16), x, col, E());
    }
};

/* The warp's row groups of the block's slice, times the hidden values. */
template <class C> __device__ __noinline__ void take_tiles(const char *slices, uint64_t *x_sums, uint32_t a_slot) {
    const uint32_t warp = threadIdx.x / 32;
    const whole_shape shape = the_shares().shape[WHOLE_DOWN];
    const part_share share = the_shares().warp[WHOLE_DOWN][warp][0];
    const uint32_t groups = args.slices.groups, group = first_group(args.slices, blockIdx.x) + share.row;
    typename C::supers supers(slices, share.row);
    weight_ring ring(args, memory, ring_states[warp]);
    column_walk w = {0, shape.chunks, group < groups ? group : group - groups, groups, 0, x_sums, args.n_embd, args.spoiled, the_epoch};
    const slot_rule rule(a_slot, shape.chunks, shape.magic);
    const typename C::vector x = C::make(memory + args.slice_vector_at, shape.chunks);
    consumers_meet(); /* the hidden values are there */
    for (uint32_t left = share.left; left;) {
        uint32_t n = rule.take(w.col, left);
        left -= n;
        const char *at = ring.wait();
        for (; n >= 2; n -= 2, at += 2 * C::size) {
            const uint32_t other_col = w.col + 1 == w.cols ? 0 : w.col + 1, super = supers.of(w.col), other_super = supers.of(other_col);
            const float first = C::dot(at, x, w.col, super), other = C::dot(at + C::size, x, other_col, other_super);
            w.take(first);
            w.take(other);
        }
        if (n) w.take(C::dot(at, x, w.col, supers.of(w.col)));
        ring.release();
    }
    if (threadIdx.x % 32 == 0) ring_states[warp] = ring.state();
}

/* The same of any type. */
__device__ __forceinline__ void take_slice(uint32_t type, const char *slices, uint64_t *x_sums) {
    const uint32_t a_slot = args.tiles[type].a_slot;
    switch (type) {
    case DTYPE_F16: take_tiles<float_tiles<__half>>(slices, x_sums, a_slot); break;
    case DTYPE_BF16: take_tiles<float_tiles<__nv_bfloat16>>(slices, x_sums, a_slot); break;
#define X(T)                                                                                                 \
    case T: take_tiles<quantised_tiles<T>>(slices, x_sums, a_slot); break;
        QUANT_TYPES(X)
#undef X
    default: break;
    }
}
