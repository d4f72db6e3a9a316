/* The end of choosing the next token, by one block: sort the few candidates that were collected, run the chain, pick, and write the record
 * and the state of the next step. What kernels/cpu/sample.c does, with the same integers. */
#pragma once

#include "kernels/cuda/decode_kernels.h"
#include "kernels/cuda/head.cuh"
#include "kernels/sampling_math.h"

enum { SCAN_THREADS = 512, LIST = SAMPLE_LIST };

__device__ __forceinline__ bool is_finite(float l) { return (__float_as_uint(l) & 0x7F800000) != 0x7F800000; }

/* How many of the best raw logits are needed. */
__device__ __forceinline__ uint32_t wanted_count(const sample_order &order) {
    const sampling &s = order.sampling;
    uint32_t chain = s.temperature > 0 ? s.top_k : 1, touched = 0;
    if (s.repeat_penalty != 1 || s.frequency_penalty != 0 || s.presence_penalty != 0) touched = s.penalty_last_n;
    return max(chain + touched, max(order.top_k, 1u));
}

/* ---- the chain, by one warp, on entries sorted by (logit descending, id ascending) ---- */

struct list_entry {
    float l;        /* as the stages changed it */
    int32_t id;
    uint16_t raw;   /* place among the raw candidates */
};

/* Of a warp, in every lane. */
__device__ __forceinline__ uint64_t warp_sum_64(uint64_t v) {
#if __CUDA_ARCH__ >= 800
    enum { PART = 22 }; /* bits that 32 lanes can add up in 32 */
    const uint32_t mask = (1u << PART) - 1;
    const uint64_t low = __reduce_add_sync(~0u, (uint32_t)v & mask), middle = __reduce_add_sync(~0u, (uint32_t)(v >> PART) & mask);
    return low + (middle << PART) + ((uint64_t)__reduce_add_sync(~0u, (uint32_t)(v >> 2 * PART)) << 2 * PART);
#else
#pragma unroll
    for (int m = 16; m; m >>= 1) v += __shfl_xor_sync(~0u, v, m);
    return v;
#endif
}

struct chain {
    list_entry *e; /* shared memory */
    uint64_t *w;   /* weights of the entries, as weigh() left them */
    uint8_t *cut;  /* by place among the raw candidates */
    uint32_t n;
    bool stale; /* logits or the best entry changed since weights were made */

    __device__ float max() const { return e[0].l; }
    /* One exp an entry, however often its weight is used. */
    __device__ void weigh(uint32_t lane) {
#pragma unroll 1
        for (uint32_t i = lane; i < n; i += 32) w[i] = sampling_weight(e[i].l, max());
        __syncwarp();
    }
    __device__ uint64_t total(uint32_t lane) const {
        uint64_t sum = 0;
#pragma unroll 1
        for (uint32_t i = lane; i < n; i += 32) sum += w[i];
        return warp_sum_64(sum);
    }
    __device__ void keep(uint32_t count, uint8_t stage, uint32_t lane) {
#pragma unroll 1
        for (uint32_t i = count + lane; i < n; i += 32) cut[e[i].raw] = stage;
        n = min(n, count);
        __syncwarp();
    }
    /* Leading entries whose weight is at least `need`; weights fall along the list. */
    __device__ uint32_t heavy(uint64_t need, uint32_t lane) const {
        uint32_t count = 0;
#pragma unroll 1
        for (uint32_t start = 0; start < n; start += 32) count += __popc(__ballot_sync(~0u, start + lane < n && w[start + lane] >= need));
        return count;
    }
    __device__ void top_p(float p, uint32_t lane) {
        if (!(p < 1)) return;
        uint64_t need = sampling_share(total(lane), p > 0 ? p : 0), before = 0;
#pragma unroll 1
        for (uint32_t start = 0; start < n; start += 32) {
            uint32_t i = start + lane;
            uint64_t sum = i < n ? w[i] : 0;
            const uint64_t whole = warp_sum_64(sum);
            if (before + whole < need) {
                before += whole;
                continue;
            }
#pragma unroll 1
            for (int step = 1; step < 32; step *= 2) {
                uint64_t add = __shfl_up_sync(~0u, sum, step);
                if (lane >= (uint32_t)step) sum += add;
            }
            keep(start + __ffs(__ballot_sync(~0u, i < n && before + sum >= need)), STAGE_TOP_P, lane);
            return;
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
#pragma unroll 1
        for (uint32_t i = lane; i < drop; i += 32) cut[e[i].raw] = STAGE_XTC;
        e += drop;
        n -= drop;
        stale = true;
    }
    __device__ void typical(float p, uint32_t lane) {
        if (!(p < 1)) return;
        uint64_t distances = 0, sum = total(lane);
#pragma unroll 1
        for (uint32_t i = lane; i < n; i += 32) distances += sampling_distance(e[i].l, max());
        float mean = sampling_mean(warp_sum_64(distances), sum), top = max();
        uint64_t need = sampling_share(sum, p > 0 ? p : 0);
        auto order = [&](uint32_t i) {
            float score = fabsf(__fadd_rn(__fadd_rn(top, -e[i].l), -mean));
            return (uint64_t)sampling_key(score) << 32 | (uint32_t)e[i].id;
        };
        uint32_t kept = 0;
#pragma unroll 1
        for (uint32_t i = lane; i < n; i += 32) { /* an entry goes when those nearer weigh enough without it */
            uint64_t nearer = 0, mine = order(i);
#pragma unroll 1
            for (uint32_t j = 0; j < n; j++)
                if (order(j) < mine) nearer += w[j];
            cut[e[i].raw] = nearer > need ? STAGE_TYPICAL : STAGE_NONE;
        }
        __syncwarp();
#pragma unroll 1
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
        stale = true;
    }
    __device__ void heat(float temperature, uint32_t lane) {
        if (temperature == 1) return;
        float top = max();
        __syncwarp();
#pragma unroll 1
        for (uint32_t i = lane; i < n; i += 32) e[i].l = sampling_heat(e[i].l, top, temperature);
        __syncwarp();
        stale = true;
    }
};

/* Sort n different 64-bit keys descending in shared memory; room up to the next power of two. Few of them: each goes where the number of larger ones
 * says, which four threads count. */
enum { SORT_FEW = SCAN_THREADS / 4 };
static __device__ __noinline__ void sort_keys(uint64_t *keys, uint32_t n) {
    if (n <= SORT_FEW) {
        const uint32_t i = threadIdx.x / 4;
        const uint64_t mine = i < n ? keys[i] : ~0ull;
        uint32_t larger = 0;
#pragma unroll 1
        for (uint32_t j = threadIdx.x % 4; j < n; j += 4) larger += keys[j] > mine;
        larger += __shfl_xor_sync(~0u, larger, 1);
        larger += __shfl_xor_sync(~0u, larger, 2);
        __syncthreads();
        if (i < n && threadIdx.x % 4 == 0) keys[larger] = mine;
        __syncthreads();
        return;
    }
    uint32_t size = 1;
    while (size < n) size *= 2;
    for (uint32_t i = n + threadIdx.x; i < size; i += SCAN_THREADS) keys[i] = 0;
    __syncthreads();
#pragma unroll 1
    for (uint32_t k = 2; k <= size; k *= 2) {
#pragma unroll 1
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

/* Shared memory of choose(). */
struct choice_memory {
    uint64_t keys[LIST], second[LIST];
    list_entry entries[LIST];
    candidate told[CANDIDATES_MAX + 1]; /* reading the record back would cross the bus */
    uint8_t cut[LIST];
    sample_order order;
    uint32_t n, bad;                         /* candidates, in `keys`; first id whose logit is not finite */
    unsigned long long weights, distances;   /* of all logits */
    uint32_t left, offset, chosen;           /* what the chain leaves of the entries, and what is picked of that */
    uint64_t sum, target;
    float top;
};

/* Raw candidates in `keys`, sorted, become the chain's list: as they are, or with penalties, sorted again. */
static __device__ __forceinline__ void chain_entries(const sample_args &a, choice_memory &m, uint32_t n, uint32_t position) {
    const sampling &s = m.order.sampling;
    if (s.repeat_penalty == 1 && s.frequency_penalty == 0 && s.presence_penalty == 0) {
        for (uint32_t i = threadIdx.x; i < n; i += SCAN_THREADS)
            m.entries[i] = {key_logit((uint32_t)(m.keys[i] >> 32)), (int32_t)~(uint32_t)m.keys[i], (uint16_t)i};
        return;
    }
    const uint32_t history = min(s.penalty_last_n, position + 1), begin = position + 1 - history;
    for (uint32_t i = threadIdx.x; i < n; i += SCAN_THREADS) {
        const int32_t id = (int32_t)~(uint32_t)m.keys[i];
        float l = key_logit((uint32_t)(m.keys[i] >> 32));
        uint32_t count = 0;
        for (uint32_t h = 0; h < history; h++) count += __ldcg(a.history + begin + h) == id;
        if (count) l = sampling_penalise(l, count, s.repeat_penalty, s.frequency_penalty, s.presence_penalty);
        m.second[i] = (uint64_t)sampling_key(l) << 32 | (uint32_t)~id;
    }
    __syncthreads();
    sort_keys(m.second, n);
    for (uint32_t i = threadIdx.x; i < n; i += SCAN_THREADS) { /* its place among the raw ones is where its id stands */
        uint32_t at = 0;
        while ((uint32_t)m.keys[at] != (uint32_t)m.second[i]) at++;
        m.entries[i] = {key_logit((uint32_t)(m.second[i] >> 32)), (int32_t)~(uint32_t)m.second[i], (uint16_t)at};
    }
}

/* One warp. Runs the chain on its entries; what is left, and the weight of what can be picked (0 if greedy), go to m. */
static __device__ __noinline__ void run_chain(choice_memory &m, uint32_t n, uint32_t position) {
    const uint32_t lane = threadIdx.x % 32;
    const sampling &s = m.order.sampling;
    chain c = {m.entries, m.second, m.cut, n, true}; /* the second keys have done their work */
    uint64_t sum = 0;
    if (s.temperature > 0) {
#pragma unroll 1
        for (int i = 0;; i++) {
            const uint32_t stage = i < STAGE_COUNT ? s.order[i] : (uint32_t)STAGE_NONE;
            if (c.stale && stage != STAGE_TOP_K && stage != STAGE_PENALTIES && stage != STAGE_DRY) {
                c.weigh(lane);
                c.stale = false;
            }
            if (stage == STAGE_NONE) break;
            switch (stage) {
            case STAGE_TOP_K: c.keep(s.top_k, STAGE_TOP_K, lane); break;
            case STAGE_TYPICAL: c.typical(s.typical_p, lane); break;
            case STAGE_TOP_P: c.top_p(s.top_p, lane); break;
            case STAGE_MIN_P: c.min_p(s.min_p, lane); break;
            case STAGE_XTC: c.xtc(s, position, lane); break;
            case STAGE_TEMPERATURE: c.heat(s.temperature, lane); break;
            default: break; /* penalties are in the logits */
            }
        }
        sum = c.total(lane);
    } else {
        c.keep(1, STAGE_TEMPERATURE, lane);
    }
    if (lane == 0) m.left = c.n, m.offset = (uint32_t)(c.e - m.entries), m.top = c.max(), m.sum = sum;
}

/* A chain over entries that nobody wants, by one warp while the block waits for the true ones: else each of its instructions would be waited for, since
 * they have not run for a whole step. */
__device__ __forceinline__ void warm_chain(choice_memory &m) {
    const uint32_t lane = threadIdx.x % 32;
    m.entries[lane] = {-(float)lane, (int32_t)lane, (uint16_t)lane};
    __syncwarp();
    run_chain(m, 32, 0);
}

/* In the order of ids, the first entry whose running sum is above the target. All threads, eight an entry. */
static __device__ __forceinline__ void pick(choice_memory &m) {
    const list_entry *e = m.entries + m.offset;
    const uint32_t n = m.left;
    const uint64_t target = sampling_mulhi(m.target, m.sum);
    if (!m.sum) {
        if (threadIdx.x == 0) m.chosen = 0;
        return;
    }
    for (uint32_t first = 0; first < n; first += SCAN_THREADS / 8) {
        const uint32_t i = first + threadIdx.x / 8;
        const int32_t id = i < n ? e[i].id : 0;
        uint64_t before = 0;
        for (uint32_t j = threadIdx.x % 8; j < n; j += 8) before += e[j].id < id ? m.second[j] : 0;
#pragma unroll
        for (int step = 1; step < 8; step *= 2) before += __shfl_xor_sync(~0u, before, step);
        if (i < n && threadIdx.x % 8 == 0 && before <= target && target < before + m.second[i]) m.chosen = i;
    }
}

/* A block's weights and distances, 0 before, from those of its threads. A barrier must follow. */
__device__ __forceinline__ void add_up(unsigned long long &weights, unsigned long long &distances, uint64_t own_weights, uint64_t own_distances) {
    own_weights = warp_sum_64(own_weights);
    own_distances = warp_sum_64(own_distances);
    if (threadIdx.x % 32) return;
    atomicAdd(&weights, (unsigned long long)own_weights);
    atomicAdd(&distances, (unsigned long long)own_distances);
}

/* Into the record: the k best raw ones, which are in m.told already but for what the chain made of them, the chosen one if it is not among them, and
 * numbers. All threads. */
__device__ __forceinline__ void write_record(const sample_args &a, choice_memory &m, uint32_t position, uint32_t step, float max, bool failed) {
    sample_record *const record = a.ring + step % SAMPLE_RING;
    const uint32_t k = min(m.order.top_k, m.n);
    uint32_t told = 0;
    list_entry chosen = {};
    if (!failed) {
        chosen = m.entries[m.offset + m.chosen];
        told = k + (k && chosen.raw >= k);
        for (uint32_t i = threadIdx.x; i < k; i += SCAN_THREADS) m.told[i].cut = m.cut[i];
        for (uint32_t i = threadIdx.x; i < m.left; i += SCAN_THREADS) {
            const list_entry &entry = m.entries[m.offset + i];
            const float prob = m.sum ? (float)((double)sampling_weight(entry.l, m.top) / (double)m.sum) : 1.0f;
            if (entry.raw < k) m.told[entry.raw].prob = prob;
            if (entry.raw != chosen.raw) continue;
            const float logit = key_logit((uint32_t)(m.keys[chosen.raw] >> 32));
            if (told > k) m.told[k] = {chosen.id, logit, prob, STAGE_NONE};
            record->prob = prob;
            record->logit = logit;
        }
        __syncthreads();
        for (uint32_t i = threadIdx.x; i < told; i += SCAN_THREADS) record->top[i] = m.told[i];
    }
    __syncthreads();
    if (threadIdx.x) return;
    record->n_top = told;
    record->id = chosen.id;
    record->rank = chosen.raw + 1u;
    record->position = position;
    record->max = max;
    record->weights = m.weights;
    record->distances = m.distances;
    record->bad = m.bad;
    record->overflow = m.n > LIST;
    if (!failed) {
        a.history[position + 1] = chosen.id; /* has room for one beyond the context */
        a.state->id = chosen.id;
        a.state->position = position + 1;
    }
    a.state->step = step + 1;
    __threadfence_system();
    *(volatile uint32_t *)&record->ready = step + 1;
}

/* From the candidates in m, their number, m.bad and m.order; `max` of all logits. All threads, which have met after these were written. Meanwhile most
 * of them run `sums`, which adds up m.weights and m.distances: it is given a thread's number, of how many. */
template <class S>
__device__ __forceinline__ void choose(const sample_args &a, choice_memory &m, uint32_t position, uint32_t step, float max, S sums) {
    enum { BUSY = 64 /* threads */ };
    const uint32_t n = m.n;
    const bool failed = m.bad != UINT32_MAX || n > LIST;
    if (!failed) {
        for (uint32_t i = threadIdx.x; i < n; i += SCAN_THREADS) m.cut[i] = STAGE_NONE;
        sort_keys(m.keys, n);
        chain_entries(a, m, n, position);
        __syncthreads();
    }
    if (threadIdx.x >= BUSY) {
        sums(threadIdx.x - BUSY, SCAN_THREADS - BUSY);
        const uint32_t told = failed ? 0 : min(m.order.top_k, n);
        for (uint32_t i = threadIdx.x - BUSY; i < told; i += SCAN_THREADS - BUSY)
            m.told[i] = {(int32_t)~(uint32_t)m.keys[i], key_logit((uint32_t)(m.keys[i] >> 32)), 0, STAGE_NONE};
    } else if (!failed && threadIdx.x < 32) {
        run_chain(m, n, position);
    } else if (threadIdx.x == 32) {
        const philox draw = sampling_draw(m.order.sampling.seed, position, m.order.sampling.attempt, STAGE_NONE);
        m.target = (uint64_t)draw.word[1] << 32 | draw.word[0];
    }
    __syncthreads();
    if (!failed) pick(m);
    __syncthreads();
    write_record(a, m, position, step, max, failed);
}
