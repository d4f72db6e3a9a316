/* The end of choosing the next token, by one block: sort the few candidates that were collected, run the chain, pick, and write the record
 * and the state of the next step. What kernels/cpu/sample.c does, with the same integers. */
#pragma once

#include "kernels/cuda/decode_kernels.h"
#include "kernels/cuda/head.cuh"
#include "kernels/sampling_math.h"

enum { SCAN_THREADS = 512, LIST = SAMPLE_LIST };

/* The last block to get here, with what the others wrote in sight. */
__device__ __forceinline__ bool last_block(uint32_t *arrived) {
    __shared__ bool last;
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0) {
        last = atomicAdd(arrived, 1) == gridDim.x - 1;
        if (last) *arrived = 0;
    }
    __syncthreads();
    if (last) __threadfence();
    return last;
}

__device__ __forceinline__ bool is_finite(float l) { return (__float_as_uint(l) & 0x7F800000) != 0x7F800000; }

/* How many of the best raw logits are needed. */
__device__ __forceinline__ uint32_t wanted_count(const sample_args &a) {
    const sampling &s = a.order->sampling;
    uint32_t chain = s.temperature > 0 ? s.top_k : 1, touched = 0;
    if (s.repeat_penalty != 1 || s.frequency_penalty != 0 || s.presence_penalty != 0) touched = s.penalty_last_n;
    return max(chain + touched, max(a.order->top_k, 1u));
}

/* ---- the chain, by one warp, on entries sorted by (logit descending, id ascending) ---- */

struct list_entry {
    float l;        /* as the stages changed it */
    int32_t id;
    uint16_t raw;   /* place among the raw candidates */
};

__device__ __forceinline__ uint64_t warp_sum_64(uint64_t v) {
#pragma unroll
    for (int m = 16; m; m >>= 1) v += __shfl_xor_sync(~0u, v, m);
    return v;
}

struct chain {
    list_entry *e; /* shared memory */
    uint64_t *w;   /* weights of the entries, as weigh() left them */
    uint8_t *cut;  /* by place among the raw candidates */
    uint32_t n;

    __device__ float max() const { return e[0].l; }
    /* To be called whenever logits or the best entry changed: one exp an entry, however often its weight is used. */
    __device__ void weigh(uint32_t lane) {
        for (uint32_t i = lane; i < n; i += 32) w[i] = sampling_weight(e[i].l, max());
        __syncwarp();
    }
    __device__ uint64_t total(uint32_t lane) const {
        uint64_t sum = 0;
        for (uint32_t i = lane; i < n; i += 32) sum += w[i];
        return warp_sum_64(sum);
    }
    __device__ void keep(uint32_t count, uint8_t stage, uint32_t lane) {
        for (uint32_t i = count + lane; i < n; i += 32) cut[e[i].raw] = stage;
        n = min(n, count);
        __syncwarp();
    }
    /* Leading entries whose weight is at least `need`; weights fall along the list. */
    __device__ uint32_t heavy(uint64_t need, uint32_t lane) const {
        uint32_t count = 0;
        for (uint32_t i = lane; i < n; i += 32) count += w[i] >= need;
        return (uint32_t)warp_sum_64(count);
    }
    __device__ void top_p(float p, uint32_t lane) {
        if (!(p < 1)) return;
        uint64_t need = sampling_share(total(lane), p > 0 ? p : 0), before = 0;
        for (uint32_t start = 0; start < n; start += 32) {
            uint32_t i = start + lane;
            uint64_t sum = i < n ? w[i] : 0;
            for (int step = 1; step < 32; step *= 2) {
                uint64_t add = __shfl_up_sync(~0u, sum, step);
                if (lane >= (uint32_t)step) sum += add;
            }
            sum += before;
            uint32_t enough = __ballot_sync(~0u, i < n && sum >= need);
            if (enough) {
                keep(start + __ffs(enough), STAGE_TOP_P, lane);
                return;
            }
            before = __shfl_sync(~0u, sum, 31);
        }
    }
    __device__ void min_p(float p, uint32_t lane) {
        if (!(p > 0)) return;
        uint64_t need = sampling_fixed(p < 1 ? p : 1);
        if (need) keep(heavy(need, lane), STAGE_MIN_P, lane);
    }
    __device__ void xtc(const sampling &s, uint32_t position, uint32_t lane) {
        if (!(s.xtc_probability > 0) || s.xtc_threshold > 0.5f) return;
        uint32_t coin = sampling_draw(s.seed, position, s.attempt, STAGE_XTC).word[0];
        if (!(coin / 4294967296.0 < (double)s.xtc_probability)) return;
        uint32_t count = heavy(sampling_share(total(lane), s.xtc_threshold > 0 ? s.xtc_threshold : 0), lane);
        uint32_t drop = count ? count - 1 : 0;
        for (uint32_t i = lane; i < drop; i += 32) cut[e[i].raw] = STAGE_XTC;
        e += drop;
        n -= drop;
        weigh(lane);
    }
    __device__ void typical(float p, uint32_t lane) {
        if (!(p < 1)) return;
        uint64_t distances = 0, sum = total(lane);
        for (uint32_t i = lane; i < n; i += 32) distances += sampling_distance(e[i].l, max());
        float mean = sampling_mean(warp_sum_64(distances), sum), top = max();
        uint64_t need = sampling_share(sum, p > 0 ? p : 0);
        auto order = [&](uint32_t i) {
            float score = fabsf(__fadd_rn(__fadd_rn(top, -e[i].l), -mean));
            return (uint64_t)sampling_key(score) << 32 | (uint32_t)e[i].id;
        };
        uint32_t kept = 0;
        for (uint32_t i = lane; i < n; i += 32) { /* an entry goes when those nearer weigh enough without it */
            uint64_t nearer = 0, mine = order(i);
            for (uint32_t j = 0; j < n; j++)
                if (order(j) < mine) nearer += w[j];
            cut[e[i].raw] = nearer > need ? STAGE_TYPICAL : STAGE_NONE;
        }
        __syncwarp();
        for (uint32_t start = 0; start < n; start += 32) {
            uint32_t i = start + lane;
            list_entry mine = {};
            if (i < n) mine = e[i];
            bool stays = i < n && cut[mine.raw] == STAGE_NONE;
            uint32_t who = __ballot_sync(~0u, stays);
            if (stays) e[kept + __popc(who & ((1u << lane) - 1))] = mine;
            kept += __popc(who);
            __syncwarp();
        }
        n = kept;
        weigh(lane);
    }
    __device__ void heat(float temperature, uint32_t lane) {
        if (temperature == 1) return;
        float top = max();
        __syncwarp();
        for (uint32_t i = lane; i < n; i += 32) e[i].l = sampling_heat(e[i].l, top, temperature);
        __syncwarp();
        weigh(lane);
    }
    /* In the order of ids, the first whose running sum is above the target. Returns its place. */
    __device__ uint32_t pick(uint64_t sum, const sampling &s, uint32_t position, uint32_t lane) const {
        philox draw = sampling_draw(s.seed, position, s.attempt, STAGE_NONE);
        uint64_t target = sampling_mulhi((uint64_t)draw.word[1] << 32 | draw.word[0], sum);
        uint32_t found = 0;
        for (uint32_t i = lane; i < n; i += 32) {
            uint64_t before = 0;
            for (uint32_t j = 0; j < n; j++) before += e[j].id < e[i].id ? w[j] : 0;
            if (before <= target && target < before + w[i]) found = i + 1;
        }
        return (uint32_t)warp_sum_64(found) - 1;
    }
};

/* Sort n 64-bit keys descending in shared memory; room up to the next power of two, filled with 0. */
static __device__ void sort_keys(uint64_t *keys, uint32_t n) {
    uint32_t size = 1;
    while (size < n) size *= 2;
    for (uint32_t i = n + threadIdx.x; i < size; i += SCAN_THREADS) keys[i] = 0;
    __syncthreads();
    for (uint32_t k = 2; k <= size; k *= 2) {
        for (uint32_t j = k / 2; j; j /= 2) {
            for (uint32_t i = threadIdx.x; i < size; i += SCAN_THREADS) {
                uint32_t other = i ^ j;
                if (other > i && (keys[i] < keys[other]) == ((i & k) == 0)) {
                    uint64_t t = keys[i];
                    keys[i] = keys[other];
                    keys[other] = t;
                }
            }
            __syncthreads();
        }
    }
}

__device__ __forceinline__ float key_logit(uint32_t key) {
    return __uint_as_float(key & 0x80000000u ? key & 0x7FFFFFFFu : ~key);
}

/* Raw candidates in `keys`, sorted; their penalised logits, sorted again, become the chain's list. */
static __device__ uint32_t chain_entries(const sample_args &a, const uint64_t *keys, uint64_t *second, uint16_t *place, list_entry *e, uint32_t n,
                                  uint32_t position) {
    const sampling &s = a.order->sampling;
    bool off = s.repeat_penalty == 1 && s.frequency_penalty == 0 && s.presence_penalty == 0;
    uint32_t history = min(off ? 0 : s.penalty_last_n, position + 1), begin = position + 1 - history;
    for (uint32_t i = threadIdx.x; i < n; i += SCAN_THREADS) {
        int32_t id = (int32_t)~(uint32_t)keys[i];
        float l = __ldcg(a.logits + id);
        uint32_t count = 0;
        for (uint32_t h = 0; h < history; h++) count += __ldcg(a.history + begin + h) == id;
        if (count) l = sampling_penalise(l, count, s.repeat_penalty, s.frequency_penalty, s.presence_penalty);
        e[i].l = l;
        second[i] = (uint64_t)sampling_key(l) << 32 | (uint32_t)~id;
    }
    __syncthreads();
    if (!off) sort_keys(second, n);
    /* The place of each among the raw ones: where its id stands. Without penalties the order is the same. */
    for (uint32_t i = threadIdx.x; i < n; i += SCAN_THREADS) {
        uint32_t at = i;
        if (!off)
            for (at = 0; (uint32_t)keys[at] != (uint32_t)second[i];) at++;
        place[i] = (uint16_t)at;
    }
    __syncthreads();
    float mine[LIST / SCAN_THREADS];
#pragma unroll
    for (int r = 0; r < LIST / SCAN_THREADS; r++) {
        uint32_t i = threadIdx.x + r * SCAN_THREADS;
        if (i < n) mine[r] = e[place[i]].l;
    }
    __syncthreads();
#pragma unroll
    for (int r = 0; r < LIST / SCAN_THREADS; r++) {
        uint32_t i = threadIdx.x + r * SCAN_THREADS;
        if (i < n) e[i] = {mine[r], (int32_t)~(uint32_t)second[i], place[i]};
    }
    __syncthreads();
    return n;
}

/* One warp. Runs the chain and returns the place of the chosen in c; `sum` is the weight of what could be picked, 0 if greedy. */
static __device__ uint32_t run_chain(const sample_args &a, chain &c, uint32_t position, uint64_t *sum, uint32_t lane) {
    const sampling &s = a.order->sampling;
    *sum = 0;
    if (!(s.temperature > 0)) {
        for (uint32_t i = 1 + lane; i < c.n; i += 32) c.cut[c.e[i].raw] = STAGE_TEMPERATURE;
        c.n = 1;
        return 0;
    }
    c.weigh(lane);
    for (int i = 0; i < STAGE_COUNT && s.order[i] != STAGE_NONE; i++) {
        switch (s.order[i]) {
        case STAGE_TOP_K: c.keep(s.top_k, STAGE_TOP_K, lane); break;
        case STAGE_TYPICAL: c.typical(s.typical_p, lane); break;
        case STAGE_TOP_P: c.top_p(s.top_p, lane); break;
        case STAGE_MIN_P: c.min_p(s.min_p, lane); break;
        case STAGE_XTC: c.xtc(s, position, lane); break;
        case STAGE_TEMPERATURE: c.heat(s.temperature, lane); break;
        default: break; /* penalties are in the logits */
        }
    }
    *sum = c.total(lane);
    return c.pick(*sum, s, position, lane);
}

/* A block's part of the sums and of the list of candidates: those of its logits whose key is at least `threshold`. `each(f)` calls f(id,
 * logit, wanted) for the thread's logits. All threads; true in the block that comes last, with all others' parts in sight. */
template <class E> __device__ __forceinline__ bool collect(sample_scratch_device *w, float max, E each) {
    uint64_t weights = 0, distances = 0;
    each([&](uint32_t id, float l, bool wanted) {
        weights += sampling_weight(l, max);
        distances += sampling_distance(l, max);
        if (!wanted) return;
        uint32_t at = atomicAdd(&w->count, 1);
        if (at < LIST) w->list[at] = (uint64_t)sampling_key(l) << 32 | (uint32_t)~id;
    });
    /* One atomic a block: thousands to one address would stand in line. */
    __shared__ unsigned long long part[2];
    if (threadIdx.x < 2) part[threadIdx.x] = 0;
    __syncthreads();
    weights = warp_sum_64(weights);
    distances = warp_sum_64(distances);
    if (threadIdx.x % 32 == 0) {
        atomicAdd(&part[0], (unsigned long long)weights);
        atomicAdd(&part[1], (unsigned long long)distances);
    }
    __syncthreads();
    if (threadIdx.x == 0) atomicAdd((unsigned long long *)&w->weights, part[0]);
    if (threadIdx.x == 1) atomicAdd((unsigned long long *)&w->distances, part[1]);
    return last_block(&w->arrived);
}

/* Shared memory of choose(). */
struct choice_memory {
    uint64_t keys[LIST], second[LIST];
    list_entry entries[LIST];
    candidate told[CANDIDATES_MAX + 1]; /* reading the record back would cross the bus */
    uint16_t place[LIST];
    uint8_t cut[LIST];
    uint32_t chosen_raw, left, offset;
    int32_t chosen_id;
    uint64_t sum;
    float top;
};

/* From what all blocks left in a.scratch: list, count, weights and distances, which become zero again. */
__device__ __forceinline__ void choose(const sample_args &a, choice_memory &m, float max) {
    sample_scratch_device *w = a.scratch;
    const uint32_t n = __ldcg(&w->count), bad = __ldcg(&w->bad), position = a.state->position, step = a.state->step;
    sample_record *record = a.ring + step % SAMPLE_RING;
    const bool failed = bad != UINT32_MAX || n > LIST;
    if (!failed) {
        for (uint32_t i = threadIdx.x; i < n; i += SCAN_THREADS) m.keys[i] = __ldcg(&w->list[i]), m.cut[i] = STAGE_NONE;
        __syncthreads();
        sort_keys(m.keys, n);
        chain_entries(a, m.keys, m.second, m.place, m.entries, n, position);
        if (threadIdx.x < 32) {
            chain c = {m.entries, m.second, m.cut, n}; /* the second keys have done their work */
            uint64_t sum;
            uint32_t chosen = run_chain(a, c, position, &sum, threadIdx.x);
            if (threadIdx.x == 0) {
                m.chosen_raw = c.e[chosen].raw, m.sum = sum, m.left = c.n, m.offset = (uint32_t)(c.e - m.entries), m.top = c.max();
                m.chosen_id = c.e[chosen].id;
            }
        }
        __syncthreads();
        /* The k best raw ones, then the chosen one if it is not among them. */
        const uint32_t top_k = a.order->top_k, k = min(top_k, n), extra = top_k && m.chosen_raw >= k;
        for (uint32_t i = threadIdx.x; i < k + extra; i += SCAN_THREADS) {
            uint32_t raw = i < k ? i : m.chosen_raw;
            int32_t id = (int32_t)~(uint32_t)m.keys[raw];
            m.told[i] = {id, __ldcg(a.logits + id), 0, m.cut[raw]};
        }
        __syncthreads();
        for (uint32_t i = threadIdx.x; i < m.left; i += SCAN_THREADS) {
            const list_entry &entry = m.entries[m.offset + i];
            uint32_t at = entry.raw < k ? entry.raw : extra && entry.raw == m.chosen_raw ? k : UINT32_MAX;
            float prob = m.sum ? (float)((double)sampling_weight(entry.l, m.top) / (double)m.sum) : 1.0f;
            if (at != UINT32_MAX) m.told[at].prob = prob;
            if (entry.raw == m.chosen_raw) record->prob = prob;
        }
        __syncthreads();
        for (uint32_t i = threadIdx.x; i < k + extra; i += SCAN_THREADS) record->top[i] = m.told[i];
        if (threadIdx.x == 0) {
            record->n_top = k + extra;
            record->id = m.chosen_id;
            record->rank = m.chosen_raw + 1;
            record->logit = __ldcg(a.logits + m.chosen_id);
        }
    }
    __syncthreads();
    if (threadIdx.x == 0) {
        record->position = position;
        record->max = max;
        record->weights = __ldcg(&w->weights);
        record->distances = __ldcg(&w->distances);
        record->bad = bad;
        record->overflow = n > LIST;
        if (!failed) {
            a.history[position + 1] = m.chosen_id; /* has room for one beyond the context */
            a.state->id = m.chosen_id;
            a.state->position = position + 1;
        }
        a.state->step = step + 1;
        w->count = 0, w->weights = 0, w->distances = 0, w->max_key = 0, w->bad = UINT32_MAX;
        __threadfence_system();
        *(volatile uint32_t *)&record->ready = step + 1;
    }
}
