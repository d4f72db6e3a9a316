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
#include "kernels/cuda/sample.cuh"

namespace {

enum { BINS = SAMPLE_BINS };

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

__device__ __forceinline__ uint32_t bin_of(float l) { return (uint32_t)fminf(fmaxf((l + 64.0f) * 32.0f, 0.0f), BINS - 1.0f); }

__global__ void __launch_bounds__(SCAN_THREADS) survey_kernel(sample_args a) {
    __shared__ uint32_t bins[BINS];
    for (uint32_t i = threadIdx.x; i < BINS; i += SCAN_THREADS) bins[i] = 0;
    __syncthreads();
    wait_for_previous_kernel();
    float largest = -INFINITY;
    for (uint32_t i = blockIdx.x * SCAN_THREADS + threadIdx.x; i < a.n_vocab; i += gridDim.x * SCAN_THREADS) {
        float l = a.logits[i];
        if (!is_finite(l)) atomicMin(&a.scratch->bad, i);
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
    uint32_t top = BINS - 1 - threadIdx.x * run, sum = 0, need = min(wanted_count(*a.order), a.n_vocab);
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

__global__ void __launch_bounds__(SCAN_THREADS) choose_kernel(sample_args a) {
    __shared__ choice_memory m;
    sample_scratch_device *w = a.scratch;
    wait_for_previous_kernel();
    const float max = key_logit(w->max_key);
    const uint32_t threshold = w->threshold;
    uint64_t weights = 0, distances = 0;
    for (uint32_t i = blockIdx.x * SCAN_THREADS + threadIdx.x; i < a.n_vocab; i += gridDim.x * SCAN_THREADS) {
        const float l = a.logits[i];
        weights += sampling_weight(l, max);
        distances += sampling_distance(l, max);
        if (bin_of(l) < threshold) continue;
        const uint32_t at = atomicAdd(&w->count, 1);
        if (at < LIST) w->list[at] = (uint64_t)sampling_key(l) << 32 | (uint32_t)~i;
    }
    /* One atomic a block: thousands to one address would stand in line. */
    if (threadIdx.x == 0) m.weights = m.distances = 0;
    __syncthreads();
    add_up(m.weights, m.distances, weights, distances);
    __syncthreads();
    if (threadIdx.x == 0) atomicAdd((unsigned long long *)&w->weights, m.weights);
    if (threadIdx.x == 1) atomicAdd((unsigned long long *)&w->distances, m.distances);
    if (!last_block(&w->arrived)) return;

    const uint32_t n = __ldcg(&w->count), position = a.state->position, step = a.state->step;
    for (uint32_t i = threadIdx.x; i < min(n, (uint32_t)LIST); i += SCAN_THREADS) m.keys[i] = __ldcg(&w->list[i]);
    for (uint32_t i = threadIdx.x; i < sizeof m.order / 4; i += SCAN_THREADS) ((uint32_t *)&m.order)[i] = ((const uint32_t *)a.order)[i];
    if (threadIdx.x == 0) m.n = n, m.bad = __ldcg(&w->bad), m.weights = __ldcg(&w->weights), m.distances = __ldcg(&w->distances);
    __syncthreads();
    if (threadIdx.x == 0) w->count = 0, w->weights = 0, w->distances = 0, w->max_key = 0, w->bad = UINT32_MAX;
    choose(a, m, position, step, max, [](uint32_t, uint32_t) {});
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
