/* Choosing the next token on the device: what kernels/cpu/sample.c does, with the same integers, so that the same logits and seed
 * give the same token. Two kernels end a decode step:
 *
 *   survey   every block takes a slice of the logits: largest, anything not finite, and a histogram; the last block to arrive knows
 *            the largest of all and the lowest bin that the listed candidates and the chain can reach into
 *   choose   every block adds up fixed-point weights and distances of its slice and collects what lies in those bins; the last
 *            block sorts the few collected, runs the chain on them, picks, and writes the record and the state of the next step
 *
 * Penalties that the device takes only lower a logit, so with T touched ids the chain's k best are among the k + T best raw
 * ones. Chains that nothing bounds, and what does not fit into the list, are left to the host: sample_fits() says which, and a
 * step whose list overflows leaves the state as it was, so that running it again changes nothing. */
#include "kernels/cuda/decode_kernels.h"
#include "kernels/cuda/dependent.cuh"
#include "kernels/cuda/head.cuh"

#include "kernels/sampling_math.h"

namespace {

enum { SCAN_THREADS = 512, BINS = SAMPLE_BINS, LIST = SAMPLE_LIST, NOT_FINITE = 0x7F800000 };

__device__ __forceinline__ uint32_t bin_of(float l) { return (uint32_t)fminf(fmaxf((l + 64.0f) * 32.0f, 0.0f), BINS - 1.0f); }

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

/* How many of the best raw logits are needed. */
__device__ __forceinline__ uint32_t wanted_count(const sample_args &a) {
    const sampling &s = a.order->sampling;
    uint32_t chain = s.temperature > 0 ? s.top_k : 1, touched = 0;
    if (s.repeat_penalty != 1 || s.frequency_penalty != 0 || s.presence_penalty != 0) touched = s.penalty_last_n;
    return max(chain + touched, max(a.order->top_k, 1u));
}

__global__ void __launch_bounds__(SCAN_THREADS) survey_kernel(sample_args a) {
    __shared__ uint32_t bins[BINS];
    for (uint32_t i = threadIdx.x; i < BINS; i += SCAN_THREADS) bins[i] = 0;
    __syncthreads();
    wait_for_previous_kernel();
    float largest = -INFINITY;
    for (uint32_t i = blockIdx.x * SCAN_THREADS + threadIdx.x; i < a.n_vocab; i += gridDim.x * SCAN_THREADS) {
        float l = a.logits[i];
        if ((__float_as_uint(l) & NOT_FINITE) == NOT_FINITE) atomicMin(&a.scratch->bad, i);
        largest = fmaxf(largest, l);
        atomicAdd(&bins[bin_of(l)], 1);
    }
    largest = block_max(largest); /* its barriers end the counting too */
    if (threadIdx.x == 0) atomicMax(&a.scratch->max_key, sampling_key(largest));
    for (uint32_t i = threadIdx.x; i < BINS; i += SCAN_THREADS)
        if (bins[i]) atomicAdd(&a.scratch->bins[i], bins[i]);
    if (!last_block(&a.scratch->arrived)) return;

    /* From the top: the bin in which the count of logits reaches what is wanted. Thread t holds bins of its own run. */
    constexpr uint32_t run = BINS / SCAN_THREADS;
    __shared__ uint32_t sums[SCAN_THREADS];
    uint32_t top = BINS - 1 - threadIdx.x * run, sum = 0, need = min(wanted_count(a), a.n_vocab);
    for (uint32_t j = 0; j < run; j++) sum += __ldcg(&a.scratch->bins[top - j]);
    sums[threadIdx.x] = sum;
    __syncthreads();
    for (uint32_t step = 1; step < SCAN_THREADS; step *= 2) { /* inclusive sums */
        uint32_t add = threadIdx.x >= step ? sums[threadIdx.x - step] : 0;
        __syncthreads();
        sums[threadIdx.x] += add;
        __syncthreads();
    }
    uint32_t before = sums[threadIdx.x] - sum;
    if (before < need && sums[threadIdx.x] >= need) {
        uint32_t j = 0;
        while ((before += __ldcg(&a.scratch->bins[top - j])) < need) j++;
        a.scratch->threshold = top - j;
    }
    for (uint32_t j = 0; j < run; j++) a.scratch->bins[top - j] = 0;
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
__device__ void sort_keys(uint64_t *keys, uint32_t n) {
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
__device__ uint32_t chain_entries(const sample_args &a, const uint64_t *keys, uint64_t *second, uint16_t *place, list_entry *e, uint32_t n,
                                  uint32_t position) {
    const sampling &s = a.order->sampling;
    bool off = s.repeat_penalty == 1 && s.frequency_penalty == 0 && s.presence_penalty == 0;
    uint32_t history = min(off ? 0 : s.penalty_last_n, position + 1), begin = position + 1 - history;
    for (uint32_t i = threadIdx.x; i < n; i += SCAN_THREADS) {
        int32_t id = (int32_t)~(uint32_t)keys[i];
        float l = a.logits[id];
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
__device__ uint32_t run_chain(const sample_args &a, chain &c, uint32_t position, uint64_t *sum, uint32_t lane) {
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

__global__ void __launch_bounds__(SCAN_THREADS) choose_kernel(sample_args a) {
    __shared__ uint64_t keys[LIST], second[LIST];
    __shared__ list_entry entries[LIST];
    __shared__ uint16_t place[LIST];
    __shared__ uint8_t cut[LIST];
    sample_scratch_device *w = a.scratch;
    wait_for_previous_kernel();
    const float max = key_logit(w->max_key);
    const uint32_t threshold = w->threshold;
    uint64_t weights = 0, distances = 0;
    for (uint32_t i = blockIdx.x * SCAN_THREADS + threadIdx.x; i < a.n_vocab; i += gridDim.x * SCAN_THREADS) {
        float l = a.logits[i];
        weights += sampling_weight(l, max);
        distances += sampling_distance(l, max);
        if (bin_of(l) >= threshold) {
            uint32_t at = atomicAdd(&w->count, 1);
            if (at < LIST) w->list[at] = (uint64_t)sampling_key(l) << 32 | (uint32_t)~i;
        }
    }
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
    if (!last_block(&w->arrived)) return;

    const uint32_t n = w->count, position = a.state->position, step = a.state->step;
    sample_record *record = a.ring + step % SAMPLE_RING;
    __shared__ int32_t chosen_id;
    const bool failed = w->bad != UINT32_MAX || n > LIST;
    if (!failed) {
        for (uint32_t i = threadIdx.x; i < n; i += SCAN_THREADS) keys[i] = __ldcg(&w->list[i]), cut[i] = STAGE_NONE;
        __syncthreads();
        sort_keys(keys, n);
        chain_entries(a, keys, second, place, entries, n, position);
        __shared__ uint32_t chosen_raw, left, offset;
        __shared__ uint64_t chain_sum;
        __shared__ float chain_top;
        __shared__ candidate told[CANDIDATES_MAX + 1]; /* reading the record back would cross the bus */
        if (threadIdx.x < 32) {
            chain c = {entries, second, cut, n}; /* the second keys have done their work */
            uint64_t sum;
            uint32_t chosen = run_chain(a, c, position, &sum, threadIdx.x);
            if (threadIdx.x == 0) {
                chosen_raw = c.e[chosen].raw, chain_sum = sum, left = c.n, offset = (uint32_t)(c.e - entries), chain_top = c.max();
                chosen_id = c.e[chosen].id;
            }
        }
        __syncthreads();
        /* The k best raw ones, then the chosen one if it is not among them. */
        const uint32_t top_k = a.order->top_k, k = min(top_k, n), extra = top_k && chosen_raw >= k;
        for (uint32_t i = threadIdx.x; i < k + extra; i += SCAN_THREADS) {
            uint32_t raw = i < k ? i : chosen_raw;
            int32_t id = (int32_t)~(uint32_t)keys[raw];
            told[i] = {id, a.logits[id], 0, cut[raw]};
        }
        __syncthreads();
        for (uint32_t i = threadIdx.x; i < left; i += SCAN_THREADS) {
            const list_entry &entry = entries[offset + i];
            uint32_t at = entry.raw < k ? entry.raw : extra && entry.raw == chosen_raw ? k : UINT32_MAX;
            float prob = chain_sum ? (float)((double)sampling_weight(entry.l, chain_top) / (double)chain_sum) : 1.0f;
            if (at != UINT32_MAX) told[at].prob = prob;
            if (entry.raw == chosen_raw) record->prob = prob;
        }
        __syncthreads();
        for (uint32_t i = threadIdx.x; i < k + extra; i += SCAN_THREADS) record->top[i] = told[i];
        if (threadIdx.x == 0) {
            record->n_top = k + extra;
            record->id = chosen_id;
            record->rank = chosen_raw + 1;
            record->logit = a.logits[chosen_id];
        }
    }
    __syncthreads();
    if (threadIdx.x == 0) {
        record->position = position;
        record->max = max;
        record->weights = __ldcg(&w->weights);
        record->distances = __ldcg(&w->distances);
        record->bad = w->bad;
        record->overflow = n > LIST;
        if (!failed) {
            a.history[position + 1] = chosen_id; /* has room for one beyond the context */
            a.state->id = chosen_id;
            a.state->position = position + 1;
        }
        a.state->step = step + 1;
        w->count = 0, w->weights = 0, w->distances = 0, w->max_key = 0, w->bad = UINT32_MAX;
        __threadfence_system();
        *(volatile uint32_t *)&record->ready = step + 1;
    }
}

} // namespace

extern "C" int sample_fits(const struct sampling *s, uint32_t top_k, uint32_t n_vocab) {
    bool penalties = s->repeat_penalty != 1 || s->frequency_penalty != 0 || s->presence_penalty != 0;
    if (penalties && (s->repeat_penalty < 1 || s->frequency_penalty < 0 || s->presence_penalty < 0 || s->penalty_last_n > LIST / 4)) return 0;
    if (s->dry_multiplier != 0) return 0;
    if (top_k > LIST / 2) return 0;
    if (!(s->temperature > 0)) return 1;
    if (s->top_k == 0 || s->top_k > LIST / 4 || s->top_k >= n_vocab) return 0;
    bool bounded = false; /* top-k must come before what would need the whole vocabulary */
    for (int i = 0; i < STAGE_COUNT && s->order[i] != STAGE_NONE; i++) {
        int stage = s->order[i];
        if (stage == STAGE_TOP_K) bounded = true;
        else if (stage == STAGE_PENALTIES && penalties && bounded) return 0;
        else if (stage == STAGE_TYPICAL && s->typical_p < 1 && !bounded) return 0;
        else if (stage == STAGE_TOP_P && s->top_p < 1 && !bounded) return 0;
        else if (stage == STAGE_MIN_P && s->min_p > 0 && !bounded) return 0;
        else if (stage == STAGE_XTC && s->xtc_probability > 0 && !bounded) return 0;
        else if (stage == STAGE_TEMPERATURE && s->temperature != 1 && !bounded) return 0;
    }
    return bounded;
}

extern "C" cudaError_t launch_sample(cudaStream_t stream, struct sample_args args, uint32_t multiprocessors) {
    uint32_t blocks = (args.n_vocab + SCAN_THREADS - 1) / SCAN_THREADS;
    if (blocks > multiprocessors) blocks = multiprocessors;
    cudaError_t e = launch_dependent(stream, dim3(blocks), SCAN_THREADS, 0, survey_kernel, args);
    return e == cudaSuccess ? launch_dependent(stream, dim3(blocks), SCAN_THREADS, 0, choose_kernel, args) : e;
}
