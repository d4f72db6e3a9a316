/* How a warp of the one kernel goes through its weights as they come through the ring: along rows, or down
 * the columns of a slice. Each type has a function of its own, so that one's need of registers is not
 * another's: what is spilled comes back past the first-level cache, of which little is left beside so much
 * shared memory. */
#pragma once

#include "kernels/cuda/exchange.cuh"
#include "kernels/cuda/slices.cuh"
#include "kernels/cuda/vector.cuh"
#include "kernels/cuda/whole_memory.cuh"

/* The sums of a warp's rows, or of its pieces of rows: first kept by lane, several together, and then added
 * up across the lanes. */
struct row_sums {
    uint32_t lanes;    /* where in shared memory: [ROWS_TOGETHER][ROW_PITCH] of the warp */
    uint32_t rows, to; /* in `lanes`; where the sum goes that this lane adds up with others */

    __device__ __forceinline__ row_sums()
        : lanes(args.lanes_at + threadIdx.x / 32 * ROWS_TOGETHER * ROW_PITCH * 4), rows(0), to(0) {}
    __device__ __forceinline__ void add_up() {
        const uint32_t lane = threadIdx.x % 32, row = lane / 8;
        const float *const from = (const float *)(memory + lanes) + row * ROW_PITCH + lane % 8 * 4;
        __syncwarp();
        float total = 0;
#pragma unroll
        for (int i = 0; i < 4; i++) total += from[i];
#pragma unroll
        for (int m = 1; m < 8; m *= 2) total += __shfl_xor_sync(~0u, total, m);
        if (lane % 8 == 0 && row < rows) ((float *)(memory + args.sums_at))[to] = total;
        __syncwarp();
        rows = 0;
    }
    __device__ __forceinline__ void put(uint32_t at, float of_lane) {
        const uint32_t lane = threadIdx.x % 32;
        ((float *)(memory + lanes))[rows * ROW_PITCH + lane] = of_lane;
        if (lane / 8 == rows) to = at;
        if (++rows == ROWS_TOGETHER) add_up();
    }
};

/* Products of a chunk of n blocks with the vector, or with a lane's part of a chunk of the vector in
 * registers: `held`. Lanes without a block read what lies behind and drop it. */
template <int T> struct quantised_chunks {
    using vector = quantised_vector;
    using held = quantised_block<T>;
    enum {
        MOST_HELD =
            two_scales<T> || planes<T>::high == 4 ? 1 : 4 /* chunks; more would not fit into the registers */
    };
    static __device__ __forceinline__ uint32_t size(uint32_t n) { return chunk_of<T>::size(n); }
    static __device__ __forceinline__ vector make(char *memory, uint32_t blocks) {
        return quantised_at(memory, blocks);
    }
    static __device__ __forceinline__ held hold(const vector &x, uint32_t col, uint32_t blocks) {
        return block_of<T>(x, min(col * CHUNK + threadIdx.x % 32, blocks - 1));
    }
    static __device__ __forceinline__ float dot(const char *chunk, const held &x, uint32_t n) {
        const uint32_t lane = threadIdx.x % 32;
        const float value = block_dot<T>(chunk_block<T, from_shared>(chunk, lane, n), x);
        return lane < n ? value : 0.0f;
    }
    static __device__ __forceinline__ float dot(const char *chunk, const vector &x, uint32_t col,
                                                uint32_t n) {
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
    static __device__ __forceinline__ float dot(const char *chunk, const vector &x, uint32_t col,
                                                uint32_t n) {
        float sum = 0;
#pragma unroll
        for (uint32_t i = 0; i < 4; i++) {
            const uint32_t u = i * 32 + threadIdx.x % 32;
            if (u < n * 4) sum += dot_bits(*(const uint4 *)(chunk + u * 16), x, col * UNITS + u, E());
        }
        return sum;
    }
};

/* The pieces of a warp, in turns with the other warps, as they come through the ring. */
struct piece_walk {
    const part_deal &deal;
    uint32_t first, start, a_load; /* the warp's first piece; where in the ring the part begins
                                      (make_start()); pieces of a load */
    uint32_t row_bytes, cut_bytes; /* of a row, and of a piece of one */

    /* Do `take(piece, weights)`. */
    template <class F> __device__ __forceinline__ void each(F take) {
        const weight_ring ring(args, memory);
        const uint32_t pieces = deal.pieces, magic = args.load_magic[a_load];
        const uint32_t cuts = deal.cuts, cuts_magic = deal.cuts_magic, rows_bytes = deal.a_piece * row_bytes;
        uint32_t slot = start_slot(start), round = start_round(start), load = 0;
        for (uint32_t piece = first; piece < pieces; piece += WHOLE_WARPS) {
            const uint32_t now = divide(piece, a_load, magic), begin = now * a_load, nth = piece - begin;
            slot += now - load, load = now;
            while (slot >= ring.n) slot -= ring.n, round++;
            uint32_t at = nth * rows_bytes;
            if (cuts > 1) {
                const uint32_t rows = divide(piece, cuts, cuts_magic) - divide(begin, cuts, cuts_magic);
                at = rows * row_bytes + (nth - rows * cuts) * cut_bytes;
            }
            take(piece, ring.wait(slot, round) + at);
            ring.release(slot, nth, nth + 1 == min(a_load, pieces - begin));
        }
    }
    /* Do `take(row, n, weights)` where rows are whole: n of them from `row` of the block on. */
    template <class F> __device__ __forceinline__ void each_rows(F take) {
        const uint32_t a_piece = deal.a_piece, rows = deal.rows;
        each([&](uint32_t piece, const char *at) {
            take(piece * a_piece, min(a_piece, rows - piece * a_piece), at);
        });
    }
};

/* Rows of one chunk. */
template <class C>
__device__ __forceinline__ void take_short_rows(piece_walk walk, const typename C::vector &x,
                                                const whole_shape &shape, row_sums &sums) {
    const typename C::held mine = C::hold(x, 0, shape.blocks);
    const uint32_t size = walk.row_bytes, first_sum = walk.deal.sums;
    walk.each_rows([&](uint32_t row, uint32_t n, const char *at) {
        uint32_t to = first_sum + row;
        for (; n >= 2; n -= 2, at += 2 * size, to += 2) {
            const float first = C::dot(at, mine, shape.tail), other = C::dot(at + size, mine, shape.tail);
            sums.put(to, first);
            sums.put(to + 1, other);
        }
        if (n) sums.put(to, C::dot(at, mine, shape.tail));
    });
}

/* Rows of N chunks: the lane's part of the whole vector is in registers. */
template <class C, int N>
__device__ __forceinline__ void take_held_rows(piece_walk walk, const typename C::vector &x,
                                               const whole_shape &shape, row_sums &sums) {
    typename C::held mine[N];
#pragma unroll
    for (uint32_t c = 0; c < N; c++) mine[c] = C::hold(x, c, shape.blocks);
    const uint32_t first_sum = walk.deal.sums;
    walk.each_rows([&](uint32_t row, uint32_t n, const char *at) {
        for (uint32_t i = 0; i < n; i++, at += walk.row_bytes) {
            float sum = 0;
#pragma unroll
            for (uint32_t c = 0; c < N; c++)
                sum += C::dot(at + c * C::size(CHUNK), mine[c], c == N - 1 ? shape.tail : (uint32_t)CHUNK);
            sums.put(first_sum + row + i, sum);
        }
    });
}

/* The lane's sum of chunks `from` to `until` of a row, two at a time. */
template <class C>
__device__ __forceinline__ float take_chunks(const char *at, uint32_t from, uint32_t until,
                                             const typename C::vector &x, const whole_shape &shape) {
    const uint32_t last = shape.chunks - 1;
    float sum = 0;
    uint32_t c = from;
    for (; c + 2 <= until; c += 2, at += 2 * C::size(CHUNK)) {
        const float first = C::dot(at, x, c, CHUNK),
                    other =
                        C::dot(at + C::size(CHUNK), x, c + 1, c + 1 == last ? shape.tail : (uint32_t)CHUNK);
        sum += first + other;
    }
    return c < until ? sum + C::dot(at, x, c, c == last ? shape.tail : (uint32_t)CHUNK) : sum;
}

/* Rows of any length, whole or cut. */
template <class C>
__device__ __forceinline__ void take_long_rows(piece_walk walk, const typename C::vector &x,
                                               const whole_shape &shape, row_sums &sums) {
    const part_deal &deal = walk.deal;
    if (deal.cuts == 1) {
        walk.each_rows([&](uint32_t row, uint32_t n, const char *at) {
            for (uint32_t i = 0; i < n; i++, at += walk.row_bytes)
                sums.put(deal.sums + row + i, take_chunks<C>(at, 0, shape.chunks, x, shape));
        });
        return;
    }
    walk.each([&](uint32_t piece, const char *at) {
        const uint32_t from = (piece - divide(piece, deal.cuts, deal.cuts_magic) * deal.cuts) * deal.chunks;
        sums.put(deal.sums + piece,
                 take_chunks<C>(at, from, min(from + deal.chunks, shape.chunks), x, shape));
    });
}

/* The warp's pieces of a product's part. */
template <class C> __device__ __noinline__ void take_rows(uint32_t product, uint32_t part, uint32_t piece) {
    const uint32_t kind = kind_of(args, product);
    const whole_shape shape = the_shares().shape[kind];
    const part_deal &deal = the_shares().deal[kind][part];
    const piece_walk walk = {deal,
                             piece,
                             the_start(product, part),
                             the_brief(product).a_load[part],
                             (shape.chunks - 1) * C::size(CHUNK) + C::size(shape.tail),
                             deal.chunks * C::size(CHUNK)};
    row_sums sums;
    const typename C::vector x = C::make(memory, shape.blocks);
    const uint32_t held = deal.cuts == 1 && shape.chunks <= C::MOST_HELD ? shape.chunks : 0;
    if (shape.chunks == 1)
        take_short_rows<C>(walk, x, shape, sums);
    else if (C::MOST_HELD >= 2 && held == 2)
        take_held_rows<C, 2>(walk, x, shape, sums);
    else if (C::MOST_HELD >= 3 && held == 3)
        take_held_rows<C, 3>(walk, x, shape, sums);
    else if (C::MOST_HELD >= 4 && held == 4)
        take_held_rows<C, 4>(walk, x, shape, sums);
    else
        take_long_rows<C>(walk, x, shape, sums);
    if (sums.rows) sums.add_up();
}

/* The same of any type. */
__device__ __forceinline__ void take_part(uint32_t type, uint32_t product, uint32_t part, uint32_t piece) {
    switch (type) {
    case DTYPE_F16: take_rows<float_chunks<__half>>(product, part, piece); break;
    case DTYPE_BF16: take_rows<float_chunks<__nv_bfloat16>>(product, part, piece); break;
#define X(T)                                                                                                 \
    case T: take_rows<quantised_chunks<T>>(product, part, piece); break;
        QUANT_TYPES(X)
#undef X
    default: break;
    }
}

/* ---- the slice of down ---- */

/* Where a warp is among the tiles of its row groups. A lane has the sum of a row, which goes to all at once.
 */
struct column_walk {
    uint32_t col, cols;     /* tile of the slice */
    uint32_t group, groups; /* of rows */
    float sum;
    uint64_t *to; /* the sums of all rows */
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
    uint32_t first, n, more; /* block of 32 columns the slice begins with; supers of a row group; bytes from
                                the last one to the next group's */
    uint32_t k, now, next;

    __device__ __forceinline__ super_stream(const char *slices, uint32_t group)
        : first(hidden_of(args.slices, blockIdx.x).first),
          n(supers_of(first, hidden_of(args.slices, blockIdx.x).n)), k(0), now(0), next(0) {
        const whole_slices &s = args.slices;
        at = supers_at<T>(slices + (size_t)s.n * s.groups * s.widest * tile_of<T>::size, s, blockIdx.x,
                          group) +
             threadIdx.x % 32 * planes<T>::super;
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
    static __device__ __forceinline__ vector make(char *memory, uint32_t tiles) {
        return quantised_at(memory, tiles);
    }
    static __device__ __forceinline__ float dot(const char *tile, const vector &x, uint32_t col,
                                                uint32_t super) {
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
template <class C>
__device__ __noinline__ void take_tiles(uint32_t product, uint64_t *x_sums, uint32_t piece) {
    const whole_shape shape = the_shares().shape[WHOLE_DOWN];
    const part_deal &deal = the_shares().deal[WHOLE_DOWN][0];
    const uint32_t groups = args.slices.groups,
                   row = piece < deal.pieces ? piece * deal.a_piece : 0; /* row group of the slice */
    const uint32_t group = first_group(args.slices, blockIdx.x) + row;
    typename C::supers supers(the_brief(product).slices, row);
    column_walk w = {0,
                     shape.chunks,
                     group < groups ? group : group - groups,
                     groups,
                     0,
                     x_sums,
                     args.n_embd,
                     args.spoiled,
                     the_epoch};
    const typename C::vector x = C::make(memory + args.slice_vector_at, shape.chunks);
    piece_walk walk = {
        deal, piece, the_start(product, 0), the_brief(product).a_load[0], shape.chunks * C::size, 0};
    consumers_meet(); /* the hidden values are there */
    walk.each_rows([&](uint32_t, uint32_t n_rows, const char *at) {
        uint32_t n = n_rows * shape.chunks;
        for (; n >= 2; n -= 2, at += 2 * C::size) {
            const uint32_t other_col = w.col + 1 == w.cols ? 0 : w.col + 1, super = supers.of(w.col),
                           other_super = supers.of(other_col);
            const float first = C::dot(at, x, w.col, super),
                        other = C::dot(at + C::size, x, other_col, other_super);
            w.take(first);
            w.take(other);
        }
        if (n) w.take(C::dot(at, x, w.col, supers.of(w.col)));
    });
}

/* The same of any type. */
__device__ __forceinline__ void take_slice(uint32_t type, uint32_t product, uint64_t *x_sums,
                                           uint32_t piece) {
    switch (type) {
    case DTYPE_F16: take_tiles<float_tiles<__half>>(product, x_sums, piece); break;
    case DTYPE_BF16: take_tiles<float_tiles<__nv_bfloat16>>(product, x_sums, piece); break;
#define X(T)                                                                                                 \
    case T: take_tiles<quantised_tiles<T>>(product, x_sums, piece); break;
        QUANT_TYPES(X)
#undef X
    default: break;
    }
}
