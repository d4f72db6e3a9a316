/* A whole decode step in one kernel, one block a multiprocessor: from the id to the logits without a launch between dependent products.
 *
 * A layer is four products and attention:
 *     x -> norm, q k v -> attention -> output + residual -> norm, gate, up, silu -> down + residual -> x
 * Each block computes an equal share of the rows of a product and tells its results to all others through an exchange
 * (exchange.cuh); each prepares the whole vector for itself. Where the model is small a block keeps its hidden values, those between gate and
 * down: it multiplies them by their columns of down, its slice (slices.cuh), and adds what that gives to all of x, so that one exchange of
 * five falls away. Meanwhile weights keep coming through a ring (weight_ring.cuh). The residual of a row belongs to the block that has
 * the row in the output product.
 *
 * When may a place of an exchange be written again? Every block has rows of every product (whole_fits() sees to it) and reads
 * all of a product's vector before it writes any of its results. So who has read all results of a product knows that
 * every block has read all that came before, and between two writings of the same place lies at least one product. The sums of x, which must
 * be zero before the first contribution, are two, in turns: one is made zero while the other is filled.
 *
 * All blocks must run at the same time, or those that run wait for ever for those that do not: there are no more than multiprocessors
 * that hold one each (whole_load()), and no other process holds some of them (MPS: decode.c). A step is launched dependent on the one before: its blocks
 * begin to fetch weights where those of the step before have ended, while the last one still chooses the token.
 *
 * A norm's factor is applied to the sums of rows instead of the vector, so that the vector is ready with one barrier. */
#include "kernels/cuda/decode_kernels.h"
#include "kernels/cuda/dependent.cuh"
#include "kernels/cuda/exchange.cuh"
#include "kernels/cuda/vector.cuh"
#include "kernels/cuda/weight_ring.cuh"
#include "kernels/cuda/whole_attention.cuh"
#include "kernels/cuda/whole_choice.cuh"
#include "kernels/cuda/whole_memory.cuh"
#include "kernels/cuda/whole_walk.cuh"

namespace {

/* ---- the vector ---- */

/* Two values a thread, for vectors that are short: a run of 16 is eight lanes'. */
__device__ __forceinline__ void prepare_pairs(const uint64_t *from, awaited what, uint32_t cols, const float *norm, bool is_float, bool gently,
                                              float &sum) {
    const uint32_t blocks = (cols + 31) / 32, at = threadIdx.x * 2;
    if (threadIdx.x / 32 * 64 >= blocks * 32) return;
    float v[2] = {};
    float2 w = {1, 1};
    if (norm && at < cols) w = __ldg((const float2 *)(norm + at));
    hear<2>(from + (what.is_sum() ? sum_place(at) : at), what, v, 2, gently, at < cols);
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

__device__ __forceinline__ void prepare_eights(const uint64_t *from, awaited what, uint32_t cols, const float *norm, bool is_float, bool gently,
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
        hear_eight(from, at, what, v, gently, at < cols);
        __syncwarp();
#pragma unroll
        for (int e = 0; e < 8; e++) sum += v[e] * v[e];
        v[0] *= w0.x, v[1] *= w0.y, v[2] *= w0.z, v[3] *= w0.w, v[4] *= w1.x, v[5] *= w1.y, v[6] *= w1.z, v[7] *= w1.w;
        if (is_float) store_floats<8>(floats, at, padded, v);
        else store_quantised(quantised, at, padded, v);
    }
}

/* Listen for the values of a product's vector and prepare it. */
__device__ __forceinline__ void prepare(uint32_t i, const uint64_t *from, awaited what, uint32_t cols, const float *norm, bool is_float, bool gently) {
    float sum = 0;
    if (in_pairs(cols)) prepare_pairs(from, what, cols, norm, is_float, gently, sum);
    else prepare_eights(from, what, cols, norm, is_float, gently, sum);
    if (norm) {
        sum = warp_sum(sum);
        if (threadIdx.x % 32 == 0) squares[i % 2][threadIdx.x / 32] = sum;
    }
    consumers_meet();
}

/* The same for the hidden values where they come as quants. */
__device__ __forceinline__ void prepare_quants(uint32_t epoch, uint32_t cols) {
    enum { TOGETHER = 5 };
    const quantised_vector to = quantised_at(memory, cols / 32);
    const told_quants *from = (const told_quants *)args.hidden;
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

/* ---- results ---- */

/* Where the sums of the n pieces of a row are. */
struct row_place {
    uint16_t at, n;
};
__device__ __forceinline__ row_place place_row(uint32_t kind, uint32_t r) { /* row r of the block, of all parts */
    const part_deal *deal = the_shares().deal[kind];
    for (; r >= deal->rows; deal++) r -= deal->rows;
    return {(uint16_t)(deal->sums + r * deal->cuts), deal->cuts};
}
__device__ __forceinline__ float row_sum(const row_place &p) {
    const float *sums = (const float *)(memory + args.sums_at) + p.at;
    float sum = sums[0];
    for (uint32_t i = 1; i < p.n; i++) sum += sums[i];
    return sum;
}

__device__ __forceinline__ uint32_t units_of(const block_share &share) {
    uint32_t units = 0;
#pragma unroll
    for (int p = 0; p < WHOLE_PARTS; p++) units += share.end[p] - share.begin[p];
    return units;
}

/* A unit of the block, in shared memory by the thread that has it: where its rows' sums are, and where its result goes in the exchange. */
struct __align__(16) qkv_unit {
    row_place row;
    uint32_t to, bias_at; /* q, k or v << 28 | place in its bias */
    float bias;
};
struct __align__(16) x_unit { /* output and down have the same units, where down goes by rows */
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
__device__ __forceinline__ gate_unit *gate_units() { return (gate_unit *)(x_units() + args.most_x); }

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

template <bool sliced> __device__ __noinline__ void place_units() {
    const whole_shares &all = the_shares();
    const uint32_t u = threadIdx.x;
    if (u < WHOLE_HEAD) the_units[u] = units_of(all.block[u]);
    if (u < units_of(all.block[WHOLE_QKV])) {
        const block_share &share = all.block[WHOLE_QKV];
        const uint32_t q = args.rope.n_heads * args.rope.head_dim, kv = args.rope.n_kv_heads * args.rope.head_dim;
        uint32_t at = u, p = 0;
        for (; p < WHOLE_PARTS - 1 && at >= share.end[p] - share.begin[p]; p++) at -= share.end[p] - share.begin[p];
        const uint32_t row = share.begin[p] + at, which = row < q ? 0 : row < q + kv ? 1 : 2, first = which == 0 ? 0 : which == 1 ? q : q + kv;
        qkv_units()[u] = {place_row(WHOLE_QKV, u), row, which << 28 | (row - first), 0};
    }
    if (u < units_of(all.block[WHOLE_OUTPUT])) {
        const uint32_t row = all.block[WHOLE_OUTPUT].begin[0] + u;
        x_units()[u] = {place_row(WHOLE_OUTPUT, u), sliced ? row_place{} : place_row(WHOLE_DOWN, u), place_of(row, args.n_embd), 0};
    }
    if (u < units_of(all.block[WHOLE_GATE])) {
        const uint32_t to = all.block[WHOLE_GATE].begin[0] + u;
        gate_units()[u] = {place_row(WHOLE_GATE, 2 * u), place_row(WHOLE_GATE, 2 * u + 1), args.hidden_quants ? to : place_of(to, args.n_ff), 0};
    }
}

/* What a norm's vector is to be multiplied by. */
__device__ __forceinline__ float norm_factor(uint32_t i) {
    const float4 *all = (const float4 *)squares[i % 2];
    float4 a = all[0], b = all[1], c = all[2], d = all[3];
    float sum = ((a.x + a.y) + (a.z + a.w)) + ((b.x + b.y) + (b.z + b.w)) + ((c.x + c.y) + (c.z + c.w)) + ((d.x + d.y) + (d.z + d.w));
    return rsqrtf(sum / (float)args.n_embd + args.rope.eps);
}

/* Hidden values as quants: neighbouring threads have the values of a run. */
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
    if (lane % 8 == 0 && has) tell((told_quants *)args.hidden + to / 8, {make_uint2(word, second), largest * (1.0f / 127.0f), epoch});
}

/* The hidden values become the vector of the block's slice of down: one thread a value, zero where the neighbour has it. */
__device__ __forceinline__ void finish_hidden(float factor, bool is_float) {
    const hidden_share share = hidden_of(args.slices, blockIdx.x);
    const uint32_t at = threadIdx.x, padded = share.n * args.slices.columns, u = share.first * args.slices.columns + at - share.begin;
    if (at / 32 * 32 >= padded) return;
    float value = 0;
    if (u < share.end - share.begin) {
        const gate_unit unit = gate_units()[u];
        value = silu(row_sum(unit.gate) * factor) * (row_sum(unit.up) * factor);
    }
    char *to = memory + args.slice_vector_at;
    if (is_float) {
        if (at < padded) ((float *)((float4 *)to + at / 4 % 2 * share.n + at / 8))[at % 4] = value;
        return;
    }
    uint32_t bits = __float_as_uint(value) & 0x7FFFFFFFu; /* as in store_quantised() */
#pragma unroll
    for (int m = 1; m < 16; m *= 2) bits = max(bits, __shfl_xor_sync(~0u, bits, m));
    const float largest = __uint_as_float(bits), inverse = bits ? __fdividef(127.0f, largest) : 0, scale = largest * (1.0f / 127.0f);
    const int q = __float2int_rn(value * inverse);
    int total = q;
#pragma unroll
    for (int m = 1; m < 16; m *= 2) total += __shfl_xor_sync(~0u, total, m);
    const quantised_vector x = quantised_at(to, share.n);
    const uint32_t block = at / 32, half = at % 32 / 16;
    ((int8_t *)((half ? x.b : x.a) + block))[at % 16] = (int8_t)q;
    if (at % 16) return;
    ((float *)(x.scale + block))[half] = scale;
    ((float *)(x.sum + block))[half] = scale * (float)total;
}

/* What the block makes of the sums of its rows: one thread a unit. The sums of all warps are there. */
template <bool sliced> __device__ __forceinline__ void finish(uint32_t i, uint32_t kind, float factor) {
    const uint32_t epoch = the_epoch + i / 4 + 1, units = the_units[kind];
    const bool has = threadIdx.x < units;
    if (kind == WHOLE_GATE) {
        if (sliced) {
            /* All have read the sums of x before: they told what came of them. */
            if (threadIdx.x < the_units[WHOLE_OUTPUT]) args.x[(epoch - 1) % 2][sum_place(x_units()[threadIdx.x].to)] = 0;
            finish_hidden(factor, the_brief(i + 1).floats);
            return;
        }
        if (threadIdx.x / 32 * 32 >= units) return;
        const gate_unit unit = gate_units()[has ? threadIdx.x : 0];
        const float value = silu(row_sum(unit.gate) * factor) * (row_sum(unit.up) * factor);
        if (args.hidden_quants) tell_quants(has, unit.to, has ? value : 0, epoch);
        else if (has) tell(args.hidden + unit.to, value, epoch);
    } else if (kind == WHOLE_QKV && has) {
        const qkv_unit unit = qkv_units()[threadIdx.x];
        tell(args.qkv + unit.to, row_sum(unit.row) * factor + unit.bias, epoch);
    } else if (kind == WHOLE_OUTPUT && has) {
        x_unit &unit = x_units()[threadIdx.x];
        const float value = unit.residual + row_sum(unit.output);
        tell(args.middle + unit.to, value, epoch);
        if (sliced) contribute(args.x[epoch % 2] + sum_place(unit.to), value, 1, SUM_LIMIT_RESIDUAL, args.spoiled, the_epoch);
        else unit.residual = value;
    } else if (!sliced && kind == WHOLE_DOWN && has) {
        x_unit &unit = x_units()[threadIdx.x];
        unit.residual += row_sum(unit.down);
        tell(args.x[0] + unit.to, unit.residual, epoch);
    }
}

/* The logits of the block's rows, to all and to the_end(). Returns the largest of this thread's. */
__device__ __forceinline__ float make_logits(uint32_t i, const block_share &share, uint32_t units, bool spoiled) {
    const float factor = norm_factor(i);
    float largest = -INFINITY;
#pragma unroll 1
    for (uint32_t u = threadIdx.x; u < units; u += WHOLE_THREADS) {
        const uint32_t id = share.begin[0] + u;
        float l = spoiled ? NAN : row_sum(place_row(WHOLE_HEAD, u)) * factor;
        args.logits[id] = l;
        the_end().logits[u] = l;
        if (!is_finite(l)) atomicMin(&the_end().bad, id);
        largest = fmaxf(largest, l);
    }
    return largest;
}

/* The end of a step: logits, and what is chosen from them. */
__device__ __noinline__ void finish_head(uint32_t i, uint32_t epoch) {
    const block_share &share = the_shares().block[WHOLE_HEAD];
    const uint32_t units = units_of(share);
    const bool spoiled = *(volatile uint32_t *)args.spoiled == the_epoch;
    begin_choice();
    __syncthreads();
    const float mine = make_logits(i, share, units, spoiled);
    if (args.sample) choose_next(mine, share.begin[0], units, epoch);
}

template <int D> __device__ __forceinline__ whole_attention<D> &the_attention() { return *(whole_attention<D> *)(memory + args.attention_at); }
template <int D> __device__ __noinline__ void attention_of() { attend<D>(args, the_attention<D>(), *(whole_attention_sums<D> *)memory); }
/* To be called before the product whose results attention_of() waits for. */
template <int D> __device__ __noinline__ void await_attention(uint32_t i) {
    if (threadIdx.x) return;
    attention_item &item = the_attention<D>().item;
    const whole_brief &brief = the_brief(i);
    item.layer = i / 4, item.epoch = the_epoch + i / 4 + 1;
    item.q_norm = brief.q_norm, item.k_norm = brief.k_norm;
}
/* What the block will read of the cache in a layer, asked for while the layer before has its longest product to do. */
template <int D> __device__ __noinline__ void await_cache(uint32_t layer) {
    if (threadIdx.x == 0 && layer < args.n_layers) fetch_ahead<D>(args, the_attention<D>().item, layer);
}

/* The vector of a product, from what was told. */
template <bool sliced> __device__ __forceinline__ void prepare_product(uint32_t i, uint32_t kind, const whole_brief &brief) {
    const uint32_t before = the_epoch + i / 4, now = before + 1;
    if (kind == WHOLE_QKV && threadIdx.x < the_units[WHOLE_QKV]) {
        qkv_unit &unit = qkv_units()[threadIdx.x];
        const float *bias = brief.bias[unit.bias_at >> 28];
        if (bias) unit.bias = __ldg(bias + (unit.bias_at & 0xFFFFFFF));
    }
    if (!sliced && kind == WHOLE_DOWN && args.hidden_quants) {
        prepare_quants(now, args.n_ff);
        return;
    }
    const uint64_t *x = args.x[sliced ? before % 2 : 0]; /* what the layer before left */
    if (sliced && kind == WHOLE_OUTPUT && i > 1 && threadIdx.x < the_units[WHOLE_OUTPUT]) { /* they are complete: the block has heard them all */
        x_unit &unit = x_units()[threadIdx.x];
        unit.residual = sum_value(*(const volatile uint64_t *)(x + sum_place(unit.to)));
    }
    const bool after_layer = kind == WHOLE_QKV || kind == WHOLE_HEAD, sums_up = sliced && after_layer;
    const uint64_t *from = after_layer ? x : kind == WHOLE_OUTPUT ? args.attn : sliced || kind == WHOLE_GATE ? args.middle : args.hidden;
    const uint32_t cols = kind == WHOLE_OUTPUT ? args.rope.n_heads * args.rope.head_dim : !sliced && kind == WHOLE_DOWN ? args.n_ff : args.n_embd;
    prepare(i, from, sums_up ? sum_of(gridDim.x + 1) : value_of(after_layer ? before : now), cols, brief.norm, brief.floats, (kind == WHOLE_OUTPUT && !it_attends) || sums_up);
}

/* All parts of q, k, v but the first. */
__device__ __noinline__ void take_more_parts(uint32_t i) {
    for (uint32_t p = 1; p < WHOLE_PARTS; p++) {
        const part_deal &deal = the_shares().deal[WHOLE_QKV][p];
        const uint32_t piece = first_piece(deal, threadIdx.x / 32);
        if (piece < deal.pieces) take_part(the_brief(i).type[p], i, p, piece);
    }
}

/* A product from its vector to its results. What is to be known is read before the vector is waited for. */
template <bool sliced> __device__ __noinline__ void run_product(uint32_t i) {
    const uint32_t kind = kind_of(args, i), warp = threadIdx.x / 32;
    const whole_brief &brief = the_brief(i);
    const part_deal *const deals = the_shares().deal[kind];
    const uint32_t type = brief.type[0], piece = first_piece(deals[0], warp);
    prepare_product<sliced>(i, kind, brief);
    if (piece < deals[0].pieces) take_part(type, i, 0, piece);
    if (the_shares().deal[kind][1].pieces) take_more_parts(i);
    if (kind == WHOLE_HEAD) return;
    const float factor = kind == WHOLE_QKV || kind == WHOLE_GATE ? norm_factor(i) : 1;
    consumers_meet();
    finish<sliced>(i, kind, factor);
}

/* The hidden values times their slice of down. */
__device__ __forceinline__ void run_slice(uint32_t i) {
    const whole_brief &brief = the_brief(i);
    const part_deal &deal = the_shares().deal[WHOLE_DOWN][0];
    take_slice(brief.type[0], i, args.x[(the_epoch + i / 4 + 1) % 2], first_piece(deal, threadIdx.x / 32));
}

/* The block's rows of x at the beginning. */
template <bool sliced> __device__ __noinline__ void begin_x(uint32_t id, uint32_t epoch) {
    x_unit &unit = x_units()[threadIdx.x];
    unit.residual = table_element(args.table, id, the_shares().block[WHOLE_OUTPUT].begin[0] + threadIdx.x);
    if (!sliced) {
        tell(args.x[0] + unit.to, unit.residual, epoch);
        return;
    }
    args.x[(epoch - 1) % 2][sum_place(unit.to)] = 0; /* of the end of the step before, which has ended */
    contribute(args.x[epoch % 2] + sum_place(unit.to), unit.residual, gridDim.x + 1, SUM_LIMIT_RESIDUAL, args.spoiled, epoch);
}

/* The warps that multiply. */
template <int D, bool sliced> __device__ __forceinline__ void consume() {
    place_units<sliced>();
    wait_for_previous_kernel(); /* what is read from here on depends on it */
    const uint32_t position = args.state->position;
    whole_attention<D> &attention = the_attention<D>();
    if (threadIdx.x == 32) the_position = position, the_step = args.state->step;
    if (threadIdx.x == 0) the_epoch = *args.epoch, it_attends = find_item(args, position, attention.item);
    prepare_attention<D>(attention);
    for (uint32_t i = threadIdx.x; i < args.rope.rope_dim / 2; i += WHOLE_CONSUMERS) attention.turn[i] = turn_of(args.rope, position, i);
    consumers_meet();
    if (threadIdx.x < the_units[WHOLE_OUTPUT]) begin_x<sliced>((uint32_t)args.state->id, the_epoch);
    if (it_attends) await_cache<D>(0);
    for (uint32_t i = 0; i < 4 * args.n_layers; i += 4) {
        if (it_attends) await_attention<D>(i);
        run_product<sliced>(i + WHOLE_QKV);
        if (it_attends) attention_of<D>();
        run_product<sliced>(i + WHOLE_OUTPUT);
        if (it_attends) await_cache<D>(i / 4 + 1);
        run_product<sliced>(i + WHOLE_GATE);
        if (sliced) run_slice(i + WHOLE_DOWN);
        else run_product<sliced>(i + WHOLE_DOWN);
    }
    run_product<sliced>(4 * args.n_layers);
}

__device__ __noinline__ void feed() {
    if (threadIdx.x == WHOLE_CONSUMERS) feed_ring(args, memory);
    __syncwarp();
    wait_for_previous_kernel();
}

/* A table of a multiple of 16 bytes into shared memory, in the background. */
__device__ __forceinline__ void read_table(void *to, const void *from, uint32_t bytes) {
    for (uint32_t i = threadIdx.x * 16; i < bytes; i += WHOLE_THREADS * 16) copy_16_async((char *)to + i, (const char *)from + i);
}

template <int D, bool sliced> __device__ __forceinline__ void run_step(const whole_args &a) {
    for (uint32_t w = threadIdx.x; w < sizeof a / 4; w += WHOLE_THREADS) ((uint32_t *)&args)[w] = ((const uint32_t *)&a)[w];
    read_table(memory + a.briefs_at, a.briefs, (4 * a.n_layers + 1) * sizeof(whole_brief));
    read_table(memory + a.shares_at, a.shares + blockIdx.x, sizeof(whole_shares));
    read_table(memory + a.starts_at, a.starts + (size_t)blockIdx.x * a.n_starts, a.n_starts * 2);
    if (threadIdx.x < 32) make_ring(a, memory);
    if (threadIdx.x < 2) squares[threadIdx.x][WHOLE_WARPS] = 0;
    copies_commit();
    copies_wait<0>();
    __syncthreads();
    if (threadIdx.x >= WHOLE_CONSUMERS) feed();
    else consume<D, sliced>();
    let_next_kernel_start();
    __syncthreads();
    finish_head(4 * args.n_layers, the_epoch + args.n_layers);
    if (blockIdx.x == 0 && threadIdx.x == 0) *args.epoch = the_epoch + args.n_layers + 1; /* all have read it: they told x */
}

template <int D, bool sliced> __global__ void __launch_bounds__(WHOLE_THREADS, 1) whole_step_kernel(const __grid_constant__ whole_args a) {
#if __CUDA_ARCH__ >= 900
    constexpr bool runs = true;
#else
    constexpr bool runs = false; /* what comes before Hopper runs the chain */
#endif
    if (runs) run_step<D, sliced>(a);
}

} // namespace

typedef void (*whole_kernel)(const whole_args);
static whole_kernel kernel_of(const struct whole_plan *plan) {
    if (plan->args.sliced) return plan->args.rope.head_dim == 64 ? whole_step_kernel<64, true> : whole_step_kernel<128, true>;
    return plan->args.rope.head_dim == 64 ? whole_step_kernel<64, false> : whole_step_kernel<128, false>;
}

extern "C" cudaError_t whole_load(const struct whole_plan *plan, int *each) {
    cudaError_t e = cudaFuncSetAttribute(kernel_of(plan), cudaFuncAttributeMaxDynamicSharedMemorySize, (int)plan->shared);
    return e == cudaSuccess ? cudaOccupancyMaxActiveBlocksPerMultiprocessor(each, kernel_of(plan), WHOLE_THREADS, plan->shared) : e;
}

extern "C" cudaError_t launch_whole_step(cudaStream_t stream, const struct whole_plan *plan) {
    return launch_dependent(stream, dim3(plan->blocks), WHOLE_THREADS, plan->shared, kernel_of(plan), plan->args);
}
