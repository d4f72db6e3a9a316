/* A whole decode step in one kernel, one block a multiprocessor: from the id to the logits without a launch between dependent products.
 *
 * A layer is four products and attention:
 *     x -> norm, q k v -> attention -> output + residual -> norm, gate, up, silu -> down + residual -> x
 * Each block computes an equal share of the rows of every product and tells its results to all others through an exchange
 * (exchange.cuh); each prepares the whole vector for itself. Meanwhile weights keep coming through the rings (weight_ring.cuh). The residual
 * of a row stays with the block that has the row.
 *
 * When may a place of an exchange be written again? Every block has rows of every product (whole_fits() sees to it) and reads
 * all of a product's vector before it writes any of its results. So who has read all results of a product knows that
 * every block has read all that came before, and between two writings of the same place lies at least one product.
 *
 * All blocks must run at the same time, or those that run wait for ever for those that do not: there are no more than multiprocessors
 * that hold one each (whole_load()), and no other process holds some of them (MPS: decode.c). A step is launched dependent on the one before: its blocks
 * begin to fetch weights where those of the step before have ended, while the last one still chooses the token.
 *
 * A norm's factor is applied to the sums of rows instead of the vector, so that the vector is ready with one barrier. */
#include "kernels/cuda/decode_kernels.h"
#include "kernels/cuda/dependent.cuh"
#include "kernels/cuda/exchange.cuh"
#include "kernels/cuda/sample.cuh"
#include "kernels/cuda/vector.cuh"
#include "kernels/cuda/weight_ring.cuh"
#include "kernels/cuda/whole_attention.cuh"

/* What a block keeps besides what whole_args places in its dynamic memory. */
__shared__ whole_args args;
__shared__ __align__(16) float squares[2][WHOLE_WARPS + 1]; /* of the vectors of this product and the one before, by warp; the last is zero */
__shared__ uint32_t the_epoch, it_attends;       /* the epoch that x begins with; does the block have a part of attention? */
__shared__ uint32_t the_units[WHOLE_HEAD];       /* of the block, by kind of product */
__shared__ uint32_t ring_states[WHOLE_WARPS];
extern __shared__ __align__(128) char memory[]; /* the vector is at its beginning */

namespace {

__device__ __forceinline__ const shares &the_shares() { return *(const shares *)(memory + args.shares_at); }

/* ---- the vector ---- */

/* Two values a thread, for vectors that are short: a run of 16 is eight lanes'. */
__device__ __forceinline__ void prepare_pairs(const uint64_t *from, uint32_t epoch, uint32_t cols, const float *norm, bool is_float, bool gently,
                                              float &sum) {
    const uint32_t blocks = (cols + 31) / 32, at = threadIdx.x * 2;
    if (threadIdx.x / 32 * 64 >= blocks * 32) return;
    float v[2] = {};
    float2 w = {1, 1};
    if (norm && at < cols) w = __ldg((const float2 *)(norm + at));
    hear<2>(from + at, epoch, v, 2, gently, at < cols);
    __syncwarp();
    sum = v[0] * v[0] + v[1] * v[1];
    v[0] *= w.x, v[1] *= w.y;
    if (is_float) {
        if (at < blocks * 32) *(float2 *)((float *)((float4 *)memory + at / 4 % 2 * blocks * 4 + at / 8) + at % 4) = make_float2(v[0], v[1]);
        return;
    }
    uint32_t bits = max(__float_as_uint(v[0]) & 0x7FFFFFFFu, __float_as_uint(v[1]) & 0x7FFFFFFFu);
#pragma unroll
    for (int m = 1; m < 8; m *= 2) bits = max(bits, __shfl_xor_sync(~0u, bits, m));
    const float largest = __uint_as_float(bits), inverse = bits ? __fdividef(127.0f, largest) : 0;
    const int q0 = __float2int_rn(v[0] * inverse), q1 = __float2int_rn(v[1] * inverse);
    int total = q0 + q1;
#pragma unroll
    for (int m = 1; m < 8; m *= 2) total += __shfl_xor_sync(~0u, total, m);
    if (at >= blocks * 32) return;
    const quantised_vector to = quantised_at(memory, blocks);
    const uint32_t block = at / 32, half = at % 32 / 16;
    *(uint16_t *)((char *)((half ? to.b : to.a) + block) + at % 16) = (uint16_t)((q0 & 0xFF) | q1 << 8);
    if (at % 16 == 0) {
        const float scale = largest * (1.0f / 127.0f);
        ((float *)(to.scale + block))[half] = scale;
        ((float *)(to.sum + block))[half] = scale * (float)total;
    }
}

__device__ __forceinline__ void prepare_eights(const uint64_t *from, uint32_t epoch, uint32_t cols, const float *norm, bool is_float, bool gently,
                                              float &sum) {
    const uint32_t blocks = (cols + 31) / 32, padded = blocks * 32, warp = threadIdx.x / 32;
    const quantised_vector quantised = quantised_at(memory, blocks);
    float_vector floats;
    floats.plane[0] = (float4 *)memory;
    floats.plane[1] = floats.plane[0] + blocks * 4;
    for (uint32_t first = 0; first + warp * 256 < padded; first += WHOLE_CONSUMERS * 8) {
        const uint32_t at = first + threadIdx.x * 8;
        float4 w0 = {1, 1, 1, 1}, w1 = {1, 1, 1, 1};
        float v[8] = {};
        if (norm && at < cols) w0 = __ldg((const float4 *)(norm + at)), w1 = __ldg((const float4 *)(norm + at) + 1);
        hear_eight(from, at, epoch, v, gently, at < cols);
        __syncwarp();
#pragma unroll
        for (int e = 0; e < 8; e++) sum += v[e] * v[e];
        v[0] *= w0.x, v[1] *= w0.y, v[2] *= w0.z, v[3] *= w0.w, v[4] *= w1.x, v[5] *= w1.y, v[6] *= w1.z, v[7] *= w1.w;
        if (is_float) store_floats<8>(floats, at, padded, v);
        else store_quantised(quantised, at, padded, v);
    }
}

/* Listen for the values of a product's vector and prepare it. */
__device__ __forceinline__ void prepare(uint32_t i, const uint64_t *from, uint32_t epoch, uint32_t cols, const float *norm, bool is_float, bool gently) {
    float sum = 0;
    if (in_pairs(cols)) prepare_pairs(from, epoch, cols, norm, is_float, gently, sum);
    else prepare_eights(from, epoch, cols, norm, is_float, gently, sum);
    if (norm) {
        sum = warp_sum(sum);
        if (threadIdx.x % 32 == 0) squares[i % 2][threadIdx.x / 32] = sum;
    }
    consumers_meet();
}

/* The same for the gated vector where it comes as quants. */
__device__ __forceinline__ void prepare_quants(uint32_t epoch, uint32_t cols) {
    enum { TOGETHER = 5 };
    const quantised_vector to = quantised_at(memory, cols / 32);
    const told_quants *from = (const told_quants *)args.gated;
    for (uint32_t first = threadIdx.x; first - threadIdx.x % 32 < cols / 8; first += TOGETHER * WHOLE_CONSUMERS) {
        told_quants got[TOGETHER] = {};
        bool there = false;
        for (patience p; !there; p.look()) {
            there = true;
#pragma unroll
            for (int k = 0; k < TOGETHER; k++)
                if (first + k * WHOLE_CONSUMERS < cols / 8) got[k] = listen(from + first + k * WHOLE_CONSUMERS);
#pragma unroll
            for (int k = 0; k < TOGETHER; k++) there = there && (first + k * WHOLE_CONSUMERS >= cols / 8 || got[k].epoch == epoch);
        }
        __syncwarp();
#pragma unroll
        for (int k = 0; k < TOGETHER; k++) {
            int sum = __dp4a((int)got[k].quants.x, 0x01010101, __dp4a((int)got[k].quants.y, 0x01010101, 0));
            sum += __shfl_xor_sync(~0u, sum, 1);
            if (first + k * WHOLE_CONSUMERS < cols / 8) put_eight(to, (first + k * WHOLE_CONSUMERS) * 8, got[k].quants, got[k].scale, sum);
        }
    }
    consumers_meet();
}

/* ---- rows ---- */

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
    __device__ __forceinline__ void end_row() {
        lanes[rows * ROW_PITCH + threadIdx.x % 32] = sum;
        sum = 0;
        col = 0;
        if (++rows == ROWS_TOGETHER) add_up();
    }
    __device__ __forceinline__ void take(float value) {
        sum += value;
        if (++col == chunks) end_row();
    }
};

template <int T> struct quantised_chunks {
    using vector = quantised_vector;
    static __device__ __forceinline__ uint32_t size(uint32_t n) { return chunk_of<T>::size(n); }
    static __device__ __forceinline__ vector make(char *memory, uint32_t blocks) { return quantised_at(memory, blocks); }
    /* Lanes without a block read what lies behind and drop it. */
    static __device__ __forceinline__ float dot(const char *chunk, const vector &x, uint32_t col, uint32_t n) {
        const uint32_t lane = threadIdx.x % 32;
        const float value = block_dot<T>(chunk_block<T, from_shared>(chunk, lane, n), x, col * CHUNK + lane);
        return lane < n ? value : 0.0f;
    }
};
template <class E> struct float_chunks {
    using vector = float_vector;
    static constexpr uint32_t units = CHUNK * 4; /* of 16 bytes */
    static __device__ __forceinline__ uint32_t size(uint32_t n) { return n * 64; }
    static __device__ __forceinline__ vector make(char *memory, uint32_t blocks) {
        float_vector v;
        v.plane[0] = (float4 *)memory;
        v.plane[1] = v.plane[0] + blocks * 4;
        return v;
    }
    static __device__ __forceinline__ float dot(const char *chunk, const vector &x, uint32_t col, uint32_t n) {
        float sum = 0;
#pragma unroll
        for (uint32_t i = 0; i < units / 32; i++) {
            uint32_t u = i * 32 + threadIdx.x % 32;
            if (u < n * 4) sum += dot_bits(*(const uint4 *)(chunk + u * 16), x, col * units + u, E());
        }
        return sum;
    }
};

/* n chunks that lie together, two at a time. */
template <class C> __device__ __forceinline__ void take_chunks(const char *at, uint32_t n, char *memory, uint32_t blocks, row_walk &w) {
    const typename C::vector x = C::make(memory, blocks);
    const uint32_t last = w.chunks - 1;
    for (; n >= 2; n -= 2) {
        const uint32_t c0 = w.col, c1 = c0 == last ? 0 : c0 + 1, n0 = c0 == last ? w.tail : CHUNK, n1 = c1 == last ? w.tail : CHUNK;
        const char *second = at + C::size(n0);
        const float first = C::dot(at, x, c0, n0), other = C::dot(second, x, c1, n1);
        at = second + C::size(n1);
        w.take(first);
        w.take(other);
    }
    if (n) w.take(C::dot(at, x, w.col, w.col == last ? w.tail : (uint32_t)CHUNK));
}

/* The chunks of one slot, of any type. */
__device__ __forceinline__ void take_slot(uint32_t type, const char *at, uint32_t n, char *memory, uint32_t blocks, row_walk &w) {
    switch (type) {
    case DTYPE_F16: take_chunks<float_chunks<__half>>(at, n, memory, blocks, w); break;
    case DTYPE_BF16: take_chunks<float_chunks<__nv_bfloat16>>(at, n, memory, blocks, w); break;
#define X(T)                                                                                                 \
    case T: take_chunks<quantised_chunks<T>>(at, n, memory, blocks, w); break;
        QUANT_TYPES(X)
#undef X
    default: break;
    }
}

/* ---- results ---- */

/* Where the sum of a row is: place `at`, and the beginnings of the `more` warps after `warp`. */
struct row_place {
    uint16_t at;
    uint8_t warp, more;
};
__device__ __forceinline__ row_place place_row(uint32_t kind, uint32_t r) {
    const block_share &share = the_shares().block[kind];
    const whole_shape &shape = the_shares().shape[kind];
    const uint32_t first = r * shape.chunks, w0 = divide(first, share.each, share.each_magic),
                   w1 = divide(first + shape.chunks - 1, share.each, share.each_magic);
    return {(uint16_t)(w0 * args.sums_each + r - divide(w0 * share.each, shape.chunks, shape.magic)), (uint8_t)w0, (uint8_t)(w1 - w0)};
}
__device__ __forceinline__ float row_sum(const row_place &p) {
    const float *sums = (const float *)(memory + args.sums_at);
    float sum = sums[p.at];
    for (uint32_t i = 1; i <= p.more; i++) sum += sums[(p.warp + i) * args.sums_each];
    return sum;
}

__device__ __forceinline__ uint32_t units_of(const block_share &share) {
    uint32_t units = 0;
#pragma unroll
    for (int p = 0; p < WHOLE_PARTS; p++) units += share.end[p] - share.begin[p];
    return units;
}

/* A unit of the block, in shared memory by the thread that has it: where its rows' sums are, and where its result goes in the exchange.
 * The output and the down product have the same units. */
struct __align__(16) qkv_unit {
    row_place row;
    uint32_t to, bias_at; /* part << 28 | place in the part */
    float bias;
};
struct __align__(16) x_unit {
    row_place output, down;
    uint32_t to;
    float residual;
};
struct __align__(16) gate_unit {
    row_place gate, up;
    uint32_t to, unused;
};
__device__ __forceinline__ qkv_unit *qkv_units() { return (qkv_unit *)(memory + args.units_at); }
__device__ __forceinline__ x_unit *x_units() { return (x_unit *)(memory + args.units_at) + args.most_qkv; }
__device__ __forceinline__ gate_unit *gate_units() { return (gate_unit *)(memory + args.units_at) + args.most_qkv + args.most_x; }

/* Element e of a row of the table. */
__device__ __noinline__ float table_element(const device_matrix &table, uint32_t row, uint32_t e) {
    float values[32] = {};
    FOR_TYPE(table.type, block_floats<T>(table, row, e / 32, values));
    float found = 0;
#pragma unroll
    for (uint32_t i = 0; i < 32; i++)
        if (i == e % 32) found = values[i];
    return found;
}

__device__ __noinline__ void place_units() {
    const shares &all = the_shares();
    const uint32_t u = threadIdx.x;
    if (u < WHOLE_HEAD) the_units[u] = units_of(all.block[u]);
    if (u < WHOLE_WARPS) ring_states[u] = 0;
    if (u < units_of(all.block[WHOLE_QKV])) {
        const block_share &share = all.block[WHOLE_QKV];
        uint32_t at = u, before = 0, p = 0;
        for (; p < WHOLE_PARTS - 1 && at >= share.end[p] - share.begin[p]; p++) {
            at -= share.end[p] - share.begin[p];
            before += args.products[0].part[p].units;
        }
        at += share.begin[p];
        qkv_units()[u] = {place_row(WHOLE_QKV, u), before + at, p << 28 | at, 0};
    }
    if (u < units_of(all.block[WHOLE_OUTPUT])) {
        const uint32_t row = all.block[WHOLE_OUTPUT].begin[0] + u;
        x_units()[u] = {place_row(WHOLE_OUTPUT, u), place_row(WHOLE_DOWN, u), place_of(row, args.n_embd), 0};
    }
    if (u < units_of(all.block[WHOLE_GATE])) {
        const uint32_t to = all.block[WHOLE_GATE].begin[0] + u;
        gate_units()[u] = {place_row(WHOLE_GATE, 2 * u), place_row(WHOLE_GATE, 2 * u + 1), args.gated_quants ? to : place_of(to, args.n_ff), 0};
    }
}

/* What a norm's vector is to be multiplied by. */
__device__ __forceinline__ float norm_factor(uint32_t i) {
    const float4 *all = (const float4 *)squares[i % 2];
    float4 a = all[0], b = all[1], c = all[2], d = all[3];
    float sum = ((a.x + a.y) + (a.z + a.w)) + ((b.x + b.y) + (b.z + b.w)) + ((c.x + c.y) + (c.z + c.w)) + ((d.x + d.y) + (d.z + d.w));
    return rsqrtf(sum / (float)args.n_embd + args.rope.eps);
}

/* The gated vector as quants: neighbouring threads have the values of a run. */
__device__ __forceinline__ void tell_quants(bool has, uint32_t to, float value, uint32_t epoch) {
    const uint32_t lane = threadIdx.x % 32;
    uint32_t bits = __float_as_uint(value) & 0x7FFFFFFFu; /* as in store_quantised() */
#pragma unroll
    for (int m = 1; m < 16; m *= 2) bits = max(bits, __shfl_xor_sync(~0u, bits, m));
    const float largest = __uint_as_float(bits), inverse = bits ? __fdividef(127.0f, largest) : 0;
    uint32_t word = (uint32_t)(__float2int_rn(value * inverse) & 0xFF) << (lane % 4 * 8);
    word |= __shfl_xor_sync(~0u, word, 1);
    word |= __shfl_xor_sync(~0u, word, 2);
    const uint32_t second = __shfl_down_sync(~0u, word, 4);
    if (lane % 8 == 0 && has) tell((told_quants *)args.gated + to / 8, {make_uint2(word, second), largest * (1.0f / 127.0f), epoch});
}

/* What the block makes of the sums of its rows: one thread a unit. The sums of all warps are there. */
__device__ __forceinline__ void finish(uint32_t i, uint32_t kind, float factor) {
    const uint32_t epoch = the_epoch + i / 4 + 1, units = the_units[kind];
    const bool has = threadIdx.x < units;
    if (threadIdx.x / 32 * 32 >= units) return;
    if (kind == WHOLE_QKV) {
        if (!has) return;
        const qkv_unit unit = qkv_units()[threadIdx.x];
        tell(args.qkv + unit.to, row_sum(unit.row) * factor + unit.bias, epoch);
    } else if (kind == WHOLE_GATE) {
        const gate_unit unit = gate_units()[has ? threadIdx.x : 0];
        const float value = silu(row_sum(unit.gate) * factor) * (row_sum(unit.up) * factor);
        if (args.gated_quants) tell_quants(has, unit.to, has ? value : 0, epoch);
        else if (has) tell(args.gated + unit.to, value, epoch);
    } else if (has) {
        x_unit &unit = x_units()[threadIdx.x];
        const float value = unit.residual + row_sum(kind == WHOLE_OUTPUT ? unit.output : unit.down);
        tell((kind == WHOLE_OUTPUT ? args.middle : args.x) + unit.to, value, epoch);
        unit.residual = value;
    }
}

/* Shared memory of the end of a step, where the rings were. */
enum { END_WARPS = WHOLE_THREADS / 32 }; /* all of them */
struct end_memory {
    choice_memory choice;
    uint32_t counts[2][END_WARPS];
    float largest[END_WARPS];
    float logits[1]; /* of the block's rows */
};
__device__ __forceinline__ end_memory &the_end() { return *(end_memory *)(memory + args.ring_at); }

/* The logits of the block's rows, to all and to the_end(). Returns the largest of this thread's. */
__device__ __forceinline__ float make_logits(uint32_t i, const block_share &share, uint32_t units) {
    const float factor = norm_factor(i);
    float largest = -INFINITY;
    for (uint32_t u = threadIdx.x; u < units; u += WHOLE_THREADS) {
        const uint32_t id = share.begin[0] + u;
        float l = row_sum(place_row(WHOLE_HEAD, u)) * factor;
        args.logits[id] = l;
        the_end().logits[u] = l;
        if (args.sample && !is_finite(l)) atomicMin(&args.choice.scratch->bad, id);
        largest = fmaxf(largest, l);
    }
    return largest;
}

/* A key that at least `need` of the keys reach, three pairs a thread; nearly the largest such: its lower half is zero. */
__device__ __forceinline__ uint32_t key_reached_by(const uint32_t (&keys)[6], uint32_t need) {
    uint32_t found = 0;
    for (int bit = 31; bit >= 16; bit--) {
        const uint32_t probe = found | 1u << bit;
        uint32_t count = 0;
#pragma unroll
        for (int k = 0; k < 6; k++) count += keys[k] >= probe;
#if __CUDA_ARCH__ >= 800
        count = __reduce_add_sync(~0u, count);
#endif
        uint32_t *counts = the_end().counts[bit % 2];
        if (threadIdx.x % 32 == 0) counts[threadIdx.x / 32] = count;
        __syncthreads();
        uint32_t sum = 0;
#pragma unroll
        for (int w = 0; w < END_WARPS; w++) sum += counts[w];
        if (sum >= need) found = probe;
    }
    return found;
}

/* The end of a step: logits, and what is chosen from them. Every warp of every block tells the largest of its logits; the k-th largest
 * of those is reached by at least k logits, and hardly by more: they are the candidates. */
__device__ __noinline__ void finish_head(uint32_t i, uint32_t epoch) {
    const block_share &share = the_shares().block[WHOLE_HEAD];
    const uint32_t units = units_of(share), all = gridDim.x * END_WARPS;
    const float mine = warp_max(make_logits(i, share, units));
    if (!args.sample) return;
    if (threadIdx.x % 32 == 0) tell(args.largest + blockIdx.x * END_WARPS + threadIdx.x / 32, mine, epoch);
    uint32_t keys[6] = {};
    float max = -INFINITY;
#pragma unroll
    for (int k = 0; k < 3; k++) {
        const uint32_t at = (k * WHOLE_THREADS + threadIdx.x) * 2;
        if (at >= all) break;
        float two[2];
        hear<2>(args.largest + at, epoch, two);
        keys[2 * k] = sampling_key(two[0]), keys[2 * k + 1] = sampling_key(two[1]);
        max = fmaxf(max, fmaxf(two[0], two[1]));
    }
    max = warp_max(max);
    if (threadIdx.x % 32 == 0) the_end().largest[threadIdx.x / 32] = max;
    __syncthreads();
    max = warp_max(the_end().largest[threadIdx.x % END_WARPS]);
    const uint32_t threshold = key_reached_by(keys, min(wanted_count(args.choice), args.choice.n_vocab));
    auto each = [&](auto take) {
        for (uint32_t u = threadIdx.x; u < units; u += WHOLE_THREADS) {
            float l = the_end().logits[u];
            take(share.begin[0] + u, l, sampling_key(l) >= threshold);
        }
    };
    if (collect(args.choice.scratch, max, each)) choose(args.choice, the_end().choice, max);
}

template <int D> __device__ __noinline__ void attention_of(uint32_t i) {
    const whole_brief &brief = ((const whole_brief *)(memory + args.briefs_at))[i];
    attend<D>(args, brief.q_norm, brief.k_norm, i / 4, *(whole_attention<D> *)(memory + args.attention_at),
              *(whole_attention_sums<D> *)memory, the_epoch + i / 4 + 1);
}

/* The vector of a product, from what was told. */
__device__ __forceinline__ void prepare_product(uint32_t i, uint32_t kind, const whole_brief &brief) {
    const uint32_t before = the_epoch + i / 4, now = before + 1;
    if (kind == WHOLE_QKV && threadIdx.x < the_units[WHOLE_QKV]) {
        qkv_unit &unit = qkv_units()[threadIdx.x];
        const float *bias = brief.bias[unit.bias_at >> 28];
        if (bias) unit.bias = __ldg(bias + (unit.bias_at & 0xFFFFFFF));
    }
    if (kind == WHOLE_DOWN && args.gated_quants) {
        prepare_quants(now, args.n_ff);
        return;
    }
    const bool after_layer = kind == WHOLE_QKV || kind == WHOLE_HEAD; /* reads what the layer before told */
    const uint64_t *from = after_layer ? args.x : kind == WHOLE_OUTPUT ? args.attn : kind == WHOLE_GATE ? args.middle : args.gated;
    const uint32_t cols = kind == WHOLE_OUTPUT ? args.rope.n_heads * args.rope.head_dim : kind == WHOLE_DOWN ? args.n_ff : args.n_embd;
    prepare(i, from, after_layer ? before : now, cols, brief.norm, brief.floats, kind == WHOLE_OUTPUT);
}

/* A product from its vector to its results, a function of its own so that it has all registers. What is to be known is read before the
 * vector is waited for. */
__device__ __noinline__ void run_product(uint32_t i) {
    const uint32_t kind = kind_of(args, i), warp = threadIdx.x / 32;
    const whole_brief &brief = ((const whole_brief *)(memory + args.briefs_at))[i];
    const whole_shape shape = the_shares().shape[kind];
    const part_share *all = the_shares().warp[kind][warp];
    part_share share = all[0];
    uint32_t type = brief.type[0], per_slot = args.types[type].a_slot;
    weight_ring ring(args, memory, ring_states[warp]);
    row_walk w = {share.col, shape.chunks, shape.tail, 0, (float *)(memory + args.lanes_at) + warp * ROWS_TOGETHER * ROW_PITCH,
                  (float *)(memory + args.sums_at) + warp * args.sums_each, 0};
    prepare_product(i, kind, brief);
    for (uint32_t p = 0;;) {
        for (uint32_t left = share.left; left;) {
            const uint32_t n = min(per_slot, left);
            take_slot(type, ring.wait(), n, memory, shape.blocks, w);
            ring.release();
            left -= n;
        }
        if (kind != WHOLE_QKV || ++p == WHOLE_PARTS) break;
        share = all[p];
        if (!share.left) continue;
        w.col = share.col;
        type = brief.type[p], per_slot = args.types[type].a_slot;
    }
    if (w.col) w.end_row();
    if (w.rows) w.add_up();
    if (threadIdx.x % 32 == 0) ring_states[warp] = ring.state();
    if (kind == WHOLE_HEAD) return;
    const float factor = kind == WHOLE_QKV || kind == WHOLE_GATE ? norm_factor(i) : 1;
    consumers_meet();
    finish(i, kind, factor);
}

/* The block's rows of x at the beginning. */
__device__ __noinline__ void begin_x(uint32_t id, uint32_t epoch) {
    x_unit &unit = x_units()[threadIdx.x];
    unit.residual = table_element(args.table, id, the_shares().block[WHOLE_OUTPUT].begin[0] + threadIdx.x);
    tell(args.x + unit.to, unit.residual, epoch);
}

/* The warps that multiply. */
template <int D> __device__ __forceinline__ void consume() {
    place_units();
    wait_for_previous_kernel(); /* what is read from here on depends on it */
    const uint32_t position = args.state->position;
    whole_attention<D> &attention = *(whole_attention<D> *)(memory + args.attention_at);
    if (threadIdx.x == 0) the_epoch = *args.epoch, it_attends = find_item(args, position, attention.item);
    for (uint32_t i = threadIdx.x; i < args.rope.rope_dim / 2; i += WHOLE_CONSUMERS) attention.turn[i] = turn_of(args.rope, position, i);
    consumers_meet();
    if (threadIdx.x < the_units[WHOLE_OUTPUT]) begin_x((uint32_t)args.state->id, the_epoch);
    for (uint32_t i = 0; i <= 4 * args.n_layers; i++) {
        run_product(i);
        if (it_attends && kind_of(args, i) == WHOLE_QKV) attention_of<D>(i);
    }
}

__device__ __noinline__ void feed() {
    weight_feeder{args, memory}.run();
    wait_for_previous_kernel();
}

template <int D> __device__ __forceinline__ void run_step(const whole_args &a) {
    for (uint32_t w = threadIdx.x; w < sizeof a / 4; w += WHOLE_THREADS) ((uint32_t *)&args)[w] = ((const uint32_t *)&a)[w];
    __syncthreads();
    make_shares(*(shares *)(memory + args.shares_at), args.products, args.n_layers);
    make_briefs((whole_brief *)(memory + args.briefs_at), args.products, args.n_layers);
    if (threadIdx.x < 32) make_rings(args, memory);
    if (threadIdx.x < 2) squares[threadIdx.x][WHOLE_WARPS] = 0;
    __syncthreads();
    if (threadIdx.x >= WHOLE_CONSUMERS) feed();
    else consume<D>();
    let_next_kernel_start();
    __syncthreads();
    finish_head(4 * args.n_layers, the_epoch + args.n_layers);
    if (blockIdx.x == 0 && threadIdx.x == 0) *args.epoch = the_epoch + args.n_layers + 1; /* all have read it: they told x */
}

template <int D> __global__ void __launch_bounds__(WHOLE_THREADS, 1) whole_step_kernel(const __grid_constant__ whole_args a) {
#if __CUDA_ARCH__ >= 900
    constexpr bool runs = true;
#else
    constexpr bool runs = false; /* what comes before Hopper runs the chain */
#endif
    if (runs) run_step<D>(a);
}

template <int D> constexpr uint32_t attention_bytes = sizeof(whole_attention<D>);
template <int D> constexpr uint32_t sums_bytes = sizeof(whole_attention_sums<D>);

uint32_t aligned(uint32_t n) { return (n + 127) / 128 * 128; }

/* Bytes of a block's quants. */
uint32_t bytes_of_type(uint32_t type) {
    uint32_t bytes = 64;
    if (type != DTYPE_F16 && type != DTYPE_BF16) FOR_TYPE(type, bytes = planes<T>::low + planes<T>::high);
    return bytes;
}

/* Bytes of a chunk of n blocks; 0: no type of whole steps. */
uint32_t chunk_bytes(uint32_t type, uint32_t n) {
    uint32_t bytes = 0;
    if (type != DTYPE_F32) FOR_TYPE(type, bytes = chunk_of<T>::size(n));
    return bytes;
}

} // namespace

extern "C" int whole_fits(struct whole_plan *plan, struct whole_product *products, uint32_t multiprocessors, size_t shared_limit) {
    struct whole_args &a = plan->args;
    const uint32_t n = 4 * a.n_layers + 1, d = a.rope.head_dim, group = a.rope.n_heads / a.rope.n_kv_heads;
    if (d != 64 && d != 128) return 0;
    uint32_t blocks = multiprocessors, vector = d == 64 ? sums_bytes<64> : sums_bytes<128>, rows = 0, largest = 0;
    for (uint32_t i = 0; i < n; i++) {
        whole_product &product = products[i];
        product.blocks = (product.cols + 31) / 32;
        product.chunks = (product.blocks + CHUNK - 1) / CHUNK;
        product.chunks_magic = 0xFFFFFFFFu / product.chunks + 1;
        product.floats = product.part[0].type == DTYPE_F16 || product.part[0].type == DTYPE_BF16;
        if (product.cols % 8) return 0;
        uint32_t bytes = product.floats ? product.blocks * 128 : product.blocks * 48;
        if (bytes > vector) vector = bytes;
        if (product.part[0].units < blocks) blocks = product.part[0].units;
        for (uint32_t p = 0; p < product.n_parts; p++) {
            const uint32_t type = product.part[p].type, bytes_of_chunk = chunk_bytes(type, CHUNK);
            if (!bytes_of_chunk || (type == DTYPE_F16 || type == DTYPE_BF16) != product.floats) return 0;
            const uint32_t block = bytes_of_type(type);
            a.types[type] = {(uint16_t)(bytes_of_chunk - CHUNK * block), (uint16_t)block, 0, 0};
            if (bytes_of_chunk > largest) largest = bytes_of_chunk;
        }
    }
    /* The gated vector is told as quants where that leaves the blocks nearly equal shares, or where the memory is not what a step waits for. */
    bool quants = a.n_ff % 32 == 0;
    for (uint32_t i = WHOLE_DOWN; i < n; i += 4) quants = quants && !products[i].floats;
    const uint32_t runs = a.n_ff / 16, longest = (runs + blocks - 1) / blocks;
    a.gated_quants = quants && runs >= blocks && (longest * blocks * 20 <= runs * 21 || a.n_embd <= 2048);
    if (a.gated_quants)
        for (uint32_t i = WHOLE_GATE; i < n; i += 4) products[i].run = 16;
    /* Rows of a block, and how many of them, or of their parts, a warp can have. */
    uint32_t each = 0;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t count = 0;
        for (uint32_t p = 0; p < products[i].n_parts; p++)
            count += (products[i].part[p].units / products[i].run + blocks - 1) / blocks * products[i].run * products[i].rows_a_unit;
        if (count * products[i].chunks > 60000) return 0;
        if (count > rows) rows = count;
        if (i + 1 < n && count / products[i].rows_a_unit > WHOLE_CONSUMERS) return 0;
    }
    each = (rows + WHOLE_WARPS - 1) / WHOLE_WARPS + 2;
    const uint32_t units = a.rope.n_kv_heads * ((group + WHOLE_HEADS - 1) / WHOLE_HEADS);
    a.most_splits = blocks / units;
    if (!a.most_splits || blocks < a.rope.n_heads) return 0;

    uint32_t at = aligned(vector);
    auto place = [&](uint32_t bytes) {
        uint32_t here = at;
        at += aligned(bytes);
        return here;
    };
    a.shares_at = place(sizeof(shares));
    a.sums_each = each;
    a.sums_at = place(each * WHOLE_WARPS * 4);
    a.attention_at = place(d == 64 ? attention_bytes<64> : attention_bytes<128>);
    uint32_t most[WHOLE_HEAD] = {};
    for (uint32_t i = 0; i < WHOLE_HEAD; i++)
        for (uint32_t p = 0; p < products[i].n_parts; p++)
            most[i] += (products[i].part[p].units / products[i].run + blocks - 1) / blocks * products[i].run;
    a.most_qkv = most[WHOLE_QKV], a.most_x = most[WHOLE_OUTPUT];
    a.lanes_at = place(WHOLE_WARPS * ROWS_TOGETHER * ROW_PITCH * 4);
    a.units_at = place((most[WHOLE_QKV] + most[WHOLE_OUTPUT] + most[WHOLE_GATE]) * 16);
    a.briefs_at = place(n * (uint32_t)sizeof(whole_brief));
    a.barriers_at = place(WHOLE_WARPS * 16 * WHOLE_SLOTS);
    a.ring_at = at;
    if (blocks > WHOLE_BLOCKS) return 0;
    const uint32_t end = (uint32_t)sizeof(end_memory) + (products[n - 1].part[0].units / blocks + 1) * 4;
    const uint32_t fixed = sizeof args + sizeof squares + 512 + largest;
    if (at + fixed + WHOLE_WARPS * 2 * largest > shared_limit || at + fixed + end > shared_limit) return 0;
    /* As many bytes on their way as possible of the type that most of the model is of, in slots that are worth a copy each. */
    const uint32_t ring = (uint32_t)(shared_limit - fixed - at) / WHOLE_WARPS, main = chunk_bytes(products[2].part[0].type, CHUNK);
    uint32_t best = 0;
    a.n_slots = 2, a.slot_size = ring / 2 / 16 * 16;
    for (uint32_t slots = 2; slots <= WHOLE_SLOTS; slots++) {
        const uint32_t size = ring / slots / 16 * 16, use = size / main * main;
        if (size < largest || use < 2000 || use * (slots - 1) <= best) continue;
        best = use * (slots - 1), a.n_slots = slots, a.slot_size = size;
    }
    for (whole_type &type : a.types)
        if (type.block) type.a_slot = (uint16_t)(a.slot_size / (type.head + CHUNK * type.block));
    plan->shared = at + (WHOLE_WARPS * a.n_slots * a.slot_size > end ? WHOLE_WARPS * a.n_slots * a.slot_size : end);
    plan->shared += largest; /* lanes without a block read behind the last chunk */
    plan->blocks = blocks;
    plan->exchange = 0;
    whole_exchange(plan, NULL);
    return 1;
}

extern "C" void whole_exchange(struct whole_plan *plan, void *memory) {
    struct whole_args &a = plan->args;
    const size_t q = (size_t)a.rope.n_heads * a.rope.head_dim, kv = (size_t)a.rope.n_kv_heads * a.rope.head_dim;
    const uint32_t group = a.rope.n_heads / a.rope.n_kv_heads, units = a.rope.n_kv_heads * ((group + WHOLE_HEADS - 1) / WHOLE_HEADS);
    size_t at = 0;
    auto cut = [&](size_t n) {
        uint64_t *here = (uint64_t *)memory + at;
        at += (n + 255) / 256 * 256; /* place_of() wants whole runs of 256 */
        return here;
    };
    a.x = cut(a.n_embd);
    a.qkv = cut(q + 2 * kv);
    a.attn = cut(q);
    a.middle = cut(a.n_embd);
    a.gated = cut(a.n_ff);
    a.largest = cut((size_t)WHOLE_BLOCKS * END_WARPS);
    a.partial = cut((size_t)units * a.most_splits * WHOLE_HEADS * (a.rope.head_dim + 2));
    plan->exchange = at * sizeof(uint64_t);
}

typedef void (*whole_kernel)(const whole_args);
static whole_kernel kernel_of(const struct whole_plan *plan) {
    return plan->args.rope.head_dim == 64 ? whole_step_kernel<64> : whole_step_kernel<128>;
}

extern "C" cudaError_t whole_load(const struct whole_plan *plan, int *each) {
    cudaError_t e = cudaFuncSetAttribute(kernel_of(plan), cudaFuncAttributeMaxDynamicSharedMemorySize, (int)plan->shared);
    return e == cudaSuccess ? cudaOccupancyMaxActiveBlocksPerMultiprocessor(each, kernel_of(plan), WHOLE_THREADS, plan->shared) : e;
}

extern "C" cudaError_t launch_whole_step(cudaStream_t stream, const struct whole_plan *plan) {
    return launch_dependent(stream, dim3(plan->blocks), WHOLE_THREADS, plan->shared, kernel_of(plan), plan->args);
}
