/* Choosing the next token on the device for chains that look at the whole vocabulary: no top-k before what needs one, DRY, many penalised
 * tokens. kernels/cpu/sample.c with the same integers, so that the same logits and seed give the same token. A few blocks, all at work at
 * the same time, take the stages one after another over working logits and a mark for every id: the stage that cut it, or none. They meet
 * wherever one needs what another wrote.
 *
 * A stage that keeps "the first, by some order, until there is enough" finds the last one that stays in two steps: a histogram over bins
 * that follow the order tells in which bin it is, and the members of that bin are sorted. Should they be too many for the list, the step
 * is left to the host, and the state stays as it was. */
#include "kernels/cuda/decode_kernels.h"
#include "kernels/cuda/exchange.cuh"

#include "kernels/sampling_math.h"

#include <cstddef>

namespace {

enum { THREADS = SAMPLE_ALL_THREADS, WARPS = THREADS / 32, BLOCKS = 32, BINS = SAMPLE_ALL_BINS, LIST = THREADS /* a thread an entry */,
       TILE = SAMPLE_ALL_TILE, TILES = SAMPLE_ALL_TILES, NOT_FINITE = 0x7F800000 };

/* What the threads of a block share. */
struct shared {
    uint64_t bins[BINS];
    uint64_t keys[LIST];
    uint64_t part[WARPS], found;
    uint32_t bin;
    candidate told[CANDIDATES_MAX + 1]; /* the record lies across the bus */
};

/* All threads of all blocks, and how far they have come: which slots of the scratch were used. */
struct team {
    shared &sh;
    sample_all_scratch *g;
    uint32_t rank, size; /* of this thread; threads */
    uint32_t meetings, slots, places;
};

#define EACH(i, n) for (uint32_t i = t.rank; i < (n); i += t.size)               /* every thread of all its share */
#define EACH_HERE(i, n) for (uint32_t i = threadIdx.x; i < (n); i += THREADS)    /* the same within a block */

/* ---- over all threads; barriers inside ---- */

/* What anybody wrote before is seen by everybody after. */
__device__ void meet(team &t) {
    t.meetings++;
    __syncthreads();
    if (threadIdx.x == 0) {
        __threadfence();
        atomicAdd(&t.g->arrived, 1);
        for (patience p; *(volatile uint32_t *)&t.g->arrived < t.meetings * gridDim.x;) p.look();
        __threadfence();
    }
    __syncthreads();
}

__device__ uint64_t sum_of(team &t, uint64_t v) {
#pragma unroll
    for (int m = 16; m; m >>= 1) v += __shfl_xor_sync(~0u, v, m);
    unsigned long long *slot = &t.g->slots[t.slots++];
    if (threadIdx.x % 32 == 0 && v) atomicAdd(slot, (unsigned long long)v);
    meet(t);
    return __ldcg(slot);
}

__device__ uint64_t least_of(team &t, uint64_t v) {
#pragma unroll
    for (int m = 16; m; m >>= 1) v = min(v, __shfl_xor_sync(~0u, v, m));
    unsigned long long *slot = &t.g->slots[t.slots++]; /* begins as 0: turned round, the greatest is the least */
    if (threadIdx.x % 32 == 0) atomicMax(slot, (unsigned long long)~v);
    meet(t);
    return ~(uint64_t)__ldcg(slot);
}

/* ---- within a block ---- */

/* Sum of the values of the threads before this one. */
__device__ uint64_t sum_before(shared &sh, uint64_t v) {
    uint64_t sum = v;
#pragma unroll
    for (int step = 1; step < 32; step *= 2) {
        uint64_t add = __shfl_up_sync(~0u, sum, step);
        if (threadIdx.x % 32 >= (uint32_t)step) sum += add;
    }
    __syncthreads();
    if (threadIdx.x % 32 == 31) sh.part[threadIdx.x / 32] = sum;
    __syncthreads();
    for (uint32_t w = 0; w < threadIdx.x / 32; w++) sum += sh.part[w];
    return sum - v;
}

/* Sort n keys ascending; n is at most LIST. */
__device__ void sort_keys(uint64_t *keys, uint32_t n) {
    uint32_t size = 1;
    while (size < n) size *= 2;
    for (uint32_t i = n + threadIdx.x; i < size; i += THREADS) keys[i] = UINT64_MAX;
    __syncthreads();
    for (uint32_t k = 2; k <= size; k *= 2) {
        for (uint32_t j = k / 2; j; j /= 2) {
            EACH_HERE(i, size) {
                uint32_t other = i ^ j;
                if (other > i && (keys[i] > keys[other]) == ((i & k) == 0)) {
                    uint64_t t = keys[i];
                    keys[i] = keys[other];
                    keys[other] = t;
                }
            }
            __syncthreads();
        }
    }
}

/* ---- orders: keys ascend from the first to the last, their bins with them ---- */

struct place {
    uint64_t key;
    uint32_t bin;
};

__device__ __forceinline__ uint32_t bin_of(float distance) { return (uint32_t)fminf(distance * 64.0f, BINS - 1.0f); }

__device__ __forceinline__ place by_logit(float l, float max, uint32_t id) {
    return {(uint64_t)~sampling_key(l) << 32 | id, bin_of(SAMPLING_ADD(max, -l))};
}

__device__ __forceinline__ place by_score(float l, float max, float mean, uint32_t id) {
    float score = fabsf(SAMPLING_ADD(SAMPLING_ADD(max, -l), -mean));
    return {(uint64_t)sampling_key(score) << 32 | id, bin_of(score)};
}

/* Of the ids that `in` takes, in the order of `at`: the key of the one with which the sum of `amount` reaches `target`, which is above 0
 * and no more than all of them come to. False: too many in its bin. */
template <class In, class At, class Amount>
__device__ bool find_place(team &t, uint32_t n, In in, At at, Amount amount, uint64_t target, uint64_t *key) {
    shared &sh = t.sh;
    sample_all_place &g = t.g->places[t.places++];
    __syncthreads();
    EACH_HERE(i, BINS) sh.bins[i] = 0;
    __syncthreads();
    EACH(i, n) {
        if (in(i)) atomicAdd((unsigned long long *)&sh.bins[at(i).bin], (unsigned long long)amount(i));
    }
    __syncthreads();
    EACH_HERE(i, BINS) {
        if (sh.bins[i]) atomicAdd(&g.bins[i], (unsigned long long)sh.bins[i]);
    }
    meet(t);
    constexpr uint32_t run = BINS / THREADS;
    uint64_t in_run = 0;
    for (uint32_t j = 0; j < run; j++) in_run += sh.bins[threadIdx.x * run + j] = __ldcg(&g.bins[threadIdx.x * run + j]);
    uint64_t before = sum_before(sh, in_run);
    if (before < target && before + in_run >= target) {
        uint32_t j = 0;
        while (before + sh.bins[threadIdx.x * run + j] < target) before += sh.bins[threadIdx.x * run + j++];
        sh.found = before;
        sh.bin = threadIdx.x * run + j;
    }
    __syncthreads();
    const uint32_t bin = sh.bin;
    const uint64_t rest = target - sh.found;
    EACH(i, n) {
        if (!in(i)) continue;
        place p = at(i);
        if (p.bin != bin) continue;
        uint32_t slot = atomicAdd(&g.n, 1);
        if (slot < LIST) t.g->keys[slot] = p.key;
    }
    meet(t);
    const uint32_t members = __ldcg(&g.n);
    if (members > LIST) return false;
    EACH_HERE(i, members) sh.keys[i] = __ldcg(&t.g->keys[i]);
    sort_keys(sh.keys, members);
    uint64_t mine = threadIdx.x < members ? amount((uint32_t)sh.keys[threadIdx.x]) : 0, earlier = sum_before(sh, mine);
    if (earlier < rest && earlier + mine >= rest) sh.found = sh.keys[threadIdx.x];
    __syncthreads();
    *key = sh.found;
    meet(t); /* the list is free for the next one */
    return true;
}

/* ---- the chain ---- */

struct chain {
    const sample_all_args &a;
    const sampling &s;
    team &t;
    uint32_t n; /* of the vocabulary */

    __device__ bool left(uint32_t i) const { return a.marks[i] == STAGE_NONE; }
    __device__ float max() const {
        uint64_t best = UINT64_MAX;
        EACH(i, n) {
            if (left(i)) best = min(best, (uint64_t)~sampling_key(a.logits[i]));
        }
        uint32_t key = ~(uint32_t)least_of(t, best);
        return __uint_as_float(key & 0x80000000u ? key & 0x7FFFFFFFu : ~key);
    }
    __device__ uint64_t weights(float top) const {
        uint64_t sum = 0;
        EACH(i, n) {
            if (left(i)) sum += sampling_weight(a.logits[i], top);
        }
        return sum_of(t, sum);
    }
    __device__ uint64_t distances(float top) const {
        uint64_t sum = 0;
        EACH(i, n) {
            if (left(i)) sum += sampling_distance(a.logits[i], top);
        }
        return sum_of(t, sum);
    }
    __device__ uint64_t count() const {
        uint64_t sum = 0;
        EACH(i, n) sum += left(i);
        return sum_of(t, sum);
    }

    /* Keep what comes up to `key` in the order of `at`. */
    template <class At> __device__ void cut_after(uint64_t key, At at, uint8_t stage) const {
        EACH(i, n) {
            if (left(i) && at(i).key > key) a.marks[i] = stage;
        }
    }

    __device__ bool top_k() const {
        if (s.top_k >= count()) return true;
        float top = max();
        uint64_t key;
        auto at = [&](uint32_t i) { return by_logit(a.logits[i], top, i); };
        if (!find_place(t, n, [&](uint32_t i) { return left(i); }, at, [](uint32_t) { return (uint64_t)1; }, s.top_k, &key)) return false;
        cut_after(key, at, STAGE_TOP_K);
        return true;
    }
    __device__ bool top_p() const {
        float top = max();
        uint64_t key, need = sampling_share(weights(top), s.top_p > 0 ? s.top_p : 0);
        auto at = [&](uint32_t i) { return by_logit(a.logits[i], top, i); };
        auto amount = [&](uint32_t i) { return sampling_weight(a.logits[i], top); };
        if (!find_place(t, n, [&](uint32_t i) { return left(i); }, at, amount, need ? need : 1, &key)) return false;
        cut_after(key, at, STAGE_TOP_P);
        return true;
    }
    __device__ bool typical() const {
        float top = max();
        uint64_t key, sum = weights(top), need = sampling_share(sum, s.typical_p > 0 ? s.typical_p : 0);
        float mean = sampling_mean(distances(top), sum);
        auto at = [&](uint32_t i) { return by_score(a.logits[i], top, mean, i); };
        auto amount = [&](uint32_t i) { return sampling_weight(a.logits[i], top); };
        if (!find_place(t, n, [&](uint32_t i) { return left(i); }, at, amount, need + 1, &key)) return false;
        cut_after(key, at, STAGE_TYPICAL);
        return true;
    }
    __device__ void min_p() const {
        uint64_t need = sampling_fixed(s.min_p < 1 ? s.min_p : 1);
        if (need == 0) return;
        float top = max();
        EACH(i, n) {
            if (left(i) && sampling_weight(a.logits[i], top) < need) a.marks[i] = STAGE_MIN_P;
        }
    }
    __device__ void xtc(uint32_t position) const {
        if (s.xtc_threshold > 0.5f) return;
        uint32_t coin = sampling_draw(s.seed, position, s.attempt, STAGE_XTC).word[0];
        if (!(coin / 4294967296.0 < (double)s.xtc_probability)) return;
        float top = max();
        uint64_t need = sampling_share(weights(top), s.xtc_threshold > 0 ? s.xtc_threshold : 0), last = UINT64_MAX;
        auto heavy = [&](uint32_t i) { return left(i) && sampling_weight(a.logits[i], top) >= need; };
        EACH(i, n) { /* the last in order stays: the least of the keys turned round */
            if (heavy(i)) last = min(last, ~by_logit(a.logits[i], top, i).key);
        }
        last = ~least_of(t, last);
        EACH(i, n) {
            if (heavy(i) && by_logit(a.logits[i], top, i).key < last) a.marks[i] = STAGE_XTC;
        }
    }
    __device__ void heat() const {
        float top = max();
        EACH(i, n) {
            if (left(i)) a.logits[i] = sampling_heat(a.logits[i], top, s.temperature);
        }
    }

    /* The logit of every id with a count, once, by what the count says; the counts go back to 0. id(k): of the k-th place. */
    template <class Id, class Change> __device__ void change(uint32_t places, Id id_at, Change change_of) const {
        meet(t);
        EACH(k, places) {
            uint32_t id = (uint32_t)id_at(k), counted = id < n ? atomicExch(&a.counts[id], 0) : 0;
            if (counted && left(id)) a.logits[id] = change_of(a.logits[id], counted);
        }
        meet(t);
    }
    __device__ void penalties(uint32_t n_history) const {
        uint32_t looks = min(s.penalty_last_n, n_history);
        auto id_at = [&](uint32_t k) { return __ldcg(a.sample.history + (n_history - looks + k)); };
        EACH(k, looks) {
            uint32_t id = (uint32_t)id_at(k);
            if (id < n) atomicAdd(&a.counts[id], 1);
        }
        change(looks, id_at, [&](float l, uint32_t counted) {
            return sampling_penalise(l, counted, s.repeat_penalty, s.frequency_penalty, s.presence_penalty);
        });
    }
    __device__ bool is_breaker(int32_t id) const {
        for (int i = 0; i < DRY_BREAKERS_MAX && s.dry_breakers[i] >= 0; i++)
            if (s.dry_breakers[i] == id) return true;
        return false;
    }
    /* A length from which on the penalty no longer grows. */
    __device__ uint32_t longest_repeat(uint32_t most) const {
        float penalty = s.dry_multiplier;
        uint32_t length = s.dry_allowed_length;
        if (s.dry_base == 1) return min(length, most);
        for (; length < most && penalty < SAMPLING_LIMIT; length++) penalty = SAMPLING_MUL(penalty, s.dry_base);
        return length;
    }
    __device__ void dry(uint32_t n_history) const {
        uint32_t looks = s.dry_last_n && s.dry_last_n < n_history ? s.dry_last_n : n_history;
        if (looks <= s.dry_allowed_length) return;
        const int32_t *history = a.sample.history + (n_history - looks);
        auto newest = [&](uint32_t k) { return __ldcg(history + (looks - 1 - k)); }; /* the k-th newest, from 0 */
        uint64_t breaker = looks; /* a repetition does not reach over one */
        EACH(k, looks) {
            if (is_breaker(newest(k))) breaker = min(breaker, (uint64_t)k);
        }
        const uint32_t limit = longest_repeat((uint32_t)least_of(t, breaker));
        if (limit < s.dry_allowed_length) return;
        for (uint32_t k = 1 + t.rank; k < looks; k += t.size) { /* what came after the k-th newest would go on with the repetition */
            uint32_t id = (uint32_t)newest(k - 1), length = 0;
            if (id >= n || is_breaker((int32_t)id)) continue;
            while (length < limit && k + length < looks && newest(length) == newest(k + length)) length++;
            if (length >= s.dry_allowed_length) atomicMax(&a.counts[id], length + 1);
        }
        change(looks - 1, newest, [&](float l, uint32_t counted) {
            return sampling_dry(l, counted - 1, s.dry_allowed_length, s.dry_multiplier, s.dry_base);
        });
    }

    /* False: the host must. */
    __device__ bool run(uint32_t position) const {
        bool sampled = s.temperature > 0; /* greedy: nothing else changes which logit is the largest */
        for (int i = 0; i < STAGE_COUNT && s.order[i] != STAGE_NONE; i++) {
            switch (s.order[i]) {
            case STAGE_PENALTIES:
                if ((s.repeat_penalty != 1 || s.frequency_penalty != 0 || s.presence_penalty != 0) && s.penalty_last_n) penalties(position + 1);
                break;
            case STAGE_DRY:
                if (s.dry_multiplier != 0 && s.dry_base >= 1) dry(position + 1);
                break;
            case STAGE_TOP_K:
                if (sampled && s.top_k && !top_k()) return false;
                break;
            case STAGE_TYPICAL:
                if (sampled && s.typical_p < 1 && !typical()) return false;
                break;
            case STAGE_TOP_P:
                if (sampled && s.top_p < 1 && !top_p()) return false;
                break;
            case STAGE_MIN_P:
                if (sampled && s.min_p > 0) min_p();
                break;
            case STAGE_XTC:
                if (sampled && s.xtc_probability > 0) xtc(position);
                break;
            case STAGE_TEMPERATURE:
                if (sampled && s.temperature != 1) heat();
                break;
            default: break;
            }
        }
        return true;
    }

    /* The first largest; everything else is cut. */
    __device__ uint32_t greedy() const {
        uint64_t best = UINT64_MAX;
        EACH(i, n) best = min(best, (uint64_t)~sampling_key(a.logits[i]) << 32 | i);
        uint32_t id = (uint32_t)least_of(t, best);
        EACH(i, n) a.marks[i] = i == id ? STAGE_NONE : STAGE_TEMPERATURE;
        return id;
    }
    /* In the order of ids, the first whose running sum is above the target. */
    __device__ uint32_t pick(uint32_t position, float top, uint64_t total) const {
        philox draw = sampling_draw(s.seed, position, s.attempt, STAGE_NONE);
        uint64_t target = sampling_mulhi((uint64_t)draw.word[1] << 32 | draw.word[0], total);
        const uint32_t n_tiles = (n + TILE - 1) / TILE;
        auto weight = [&](uint32_t i) { return i < n && left(i) ? sampling_weight(a.logits[i], top) : 0; };
        for (uint32_t tile = t.rank / 32; tile < n_tiles; tile += t.size / 32) { /* a warp a tile */
            uint64_t w = 0;
            for (uint32_t j = threadIdx.x % 32; j < TILE; j += 32) w += weight(tile * TILE + j);
#pragma unroll
            for (int m = 16; m; m >>= 1) w += __shfl_xor_sync(~0u, w, m);
            if (threadIdx.x % 32 == 0) t.g->tiles[tile] = w;
        }
        meet(t);
        const uint32_t run = (n_tiles + THREADS - 1) / THREADS, first = threadIdx.x * run;
        uint64_t mine = 0;
        for (uint32_t j = first; j < first + run && j < n_tiles; j++) mine += __ldcg(&t.g->tiles[j]);
        uint64_t before = sum_before(t.sh, mine);
        if (before <= target && target < before + mine) {
            uint32_t tile = first;
            for (uint64_t w; before + (w = __ldcg(&t.g->tiles[tile])) <= target; tile++) before += w;
            uint32_t id = tile * TILE;
            while ((before += weight(id)) <= target) id++;
            t.sh.found = id;
        }
        __syncthreads();
        return (uint32_t)t.sh.found;
    }
};

/* ---- what is told ---- */

struct outcome {
    uint32_t id;
    float top;      /* the largest of what is left */
    uint64_t total; /* its weights; 0: greedy */
};

__device__ float prob_of(const sample_all_args &a, const outcome &o, uint32_t id) {
    if (a.marks[id] != STAGE_NONE) return 0;
    return o.total ? (float)((double)sampling_weight(a.logits[id], o.top) / (double)o.total) : 1.0f;
}

/* The k best raw ones, then the chosen one if it is not among them; the first block writes. False: the host must. */
__device__ bool tell(const sample_all_args &a, team &t, const outcome &o, float raw_top, sample_record *record) {
    const float *raw = a.sample.logits;
    const uint32_t n = a.sample.n_vocab, top_k = a.sample.order->top_k, k = min(top_k, n);
    uint64_t key = 0;
    auto at = [&](uint32_t i) { return by_logit(raw[i], raw_top, i); };
    if (k) {
        if (!find_place(t, n, [](uint32_t) { return true; }, at, [](uint32_t) { return (uint64_t)1; }, k, &key)) return false;
        EACH(i, n) {
            uint64_t mine = at(i).key;
            if (mine <= key) t.g->keys[atomicAdd(&t.g->n_told, 1)] = mine;
        }
    }
    const uint64_t chosen = at(o.id).key;
    uint64_t before = 0;
    EACH(i, n) before += at(i).key < chosen;
    const uint32_t rank = (uint32_t)sum_of(t, before) + 1, extra = k && chosen > key;
    if (blockIdx.x) return true;
    EACH_HERE(i, k) t.sh.keys[i] = __ldcg(&t.g->keys[i]);
    sort_keys(t.sh.keys, k);
    EACH_HERE(i, k + extra) {
        uint32_t id = i < k ? (uint32_t)t.sh.keys[i] : o.id;
        t.sh.told[i] = {(int32_t)id, raw[id], prob_of(a, o, id), a.marks[id]};
    }
    __syncthreads();
    EACH_HERE(i, k + extra) record->top[i] = t.sh.told[i];
    if (threadIdx.x == 0) {
        record->n_top = k + extra;
        record->id = (int32_t)o.id;
        record->rank = rank;
        record->logit = raw[o.id];
        record->prob = prob_of(a, o, o.id);
    }
    return true;
}

__global__ void __launch_bounds__(THREADS, 1) choose_all_kernel(sample_all_args a) {
    __shared__ shared sh;
    team t = {sh, a.scratch, blockIdx.x * THREADS + threadIdx.x, gridDim.x * THREADS, 0, 0, 0};
    const uint32_t n = a.sample.n_vocab, position = a.sample.state->position, step = a.sample.state->step;
    sample_record *record = a.sample.ring + step % SAMPLE_RING;
    const chain c = {a, a.sample.order->sampling, t, n};
    uint64_t bad = UINT64_MAX;
    EACH(i, n) {
        float l = a.sample.logits[i];
        if ((__float_as_uint(l) & NOT_FINITE) == NOT_FINITE) bad = min(bad, (uint64_t)i);
        a.logits[i] = l;
        a.marks[i] = STAGE_NONE;
    }
    bad = least_of(t, bad);
    bool done = false;
    float raw_top = 0;
    uint64_t raw_weights = 0, raw_distances = 0;
    outcome o = {};
    if (bad == UINT64_MAX) {
        raw_top = c.max();
        raw_weights = c.weights(raw_top);
        raw_distances = c.distances(raw_top);
        done = c.run(position);
    }
    if (done) {
        if (c.s.temperature > 0) {
            o.top = c.max();
            o.total = c.weights(o.top);
            o.id = c.pick(position, o.top, o.total);
        } else {
            o.id = c.greedy();
        }
        done = tell(a, t, o, raw_top, record);
    }
    __syncthreads();
    if (t.rank == 0) {
        record->position = position;
        record->max = raw_top;
        record->weights = raw_weights;
        record->distances = raw_distances;
        record->bad = bad == UINT64_MAX ? UINT32_MAX : (uint32_t)bad;
        record->overflow = bad == UINT64_MAX && !done;
        if (done) {
            a.sample.history[position + 1] = (int32_t)o.id; /* has room for one beyond the context */
            a.sample.state->id = (int32_t)o.id;
            a.sample.state->position = position + 1;
        }
        a.sample.state->step = step + 1;
        __threadfence_system();
        *(volatile uint32_t *)&record->ready = step + 1;
    }
}

} // namespace

extern "C" cudaError_t launch_sample_all(cudaStream_t stream, struct sample_all_args args, uint32_t multiprocessors) {
    cudaError_t e = cudaMemsetAsync(args.scratch, 0, offsetof(struct sample_all_scratch, keys), stream);
    if (e != cudaSuccess) return e;
    choose_all_kernel<<<min((uint32_t)BLOCKS, multiprocessors), THREADS, 0, stream>>>(args); /* a block a multiprocessor: none waits for room, but under MPS (decode.c) */
    return cudaGetLastError();
}
