/* The sampler chain against a slow, straightforward reference in double precision; the arithmetic against
 * known answers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "infer/engine.h"
#include "kernels/cpu/sample.h"
#include "kernels/cpu/sample_scan.h"
#include "kernels/sampling_math.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t random_state = 1;
static uint32_t random_u32(void) {
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(random_state >> 33) << 1 | (uint32_t)(random_state >> 32 & 1);
}
static double uniform(void) {
    return random_u32() / 4294967296.0;
}

static float *random_logits(uint32_t n, double spread) {
    float *logits = malloc(n * sizeof *logits);
    for (uint32_t i = 0; i < n; i++)
        logits[i] = (float)(sqrt(-2 * log(uniform() + 1e-12)) * cos(6.283185307179586 * uniform()) * spread);
    return logits;
}

/* ---- arithmetic ---- */

static void philox_gives_the_published_numbers(void **state) { /* Random123's kat_vectors, philox4x32 10 */
    (void)state;
    struct philox a = philox_block(0, 0, 0, 0, 0);
    struct philox b = philox_block(UINT64_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX);
    struct philox c = philox_block(0x299f31d0a4093822u, 0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344);
    const uint32_t wanted[3][4] = {{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8},
                                   {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd},
                                   {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}};
    assert_memory_equal(a.word, wanted[0], 16);
    assert_memory_equal(b.word, wanted[1], 16);
    assert_memory_equal(c.word, wanted[2], 16);
}

static void exp_is_close_to_exp(void **state) {
    (void)state;
    double worst = 0;
    for (float x = -32; x <= 0; x += 1e-4f) {
        double error = fabs((double)sampling_exp(x) / exp((double)x) - 1);
        worst = error > worst ? error : worst;
    }
    assert_true(worst < 2e-7);
    assert_true(sampling_exp(0) == 1.0f);
    assert_int_equal(sampling_weight(5, 5), 1ull << 44);
    assert_int_equal(sampling_weight(-40, 5), 0);
    assert_int_equal(sampling_weight(-3e38f, 3e38f), 0); /* the difference overflows */
}

static void a_weight_is_its_floor(void **state) {
    (void)state;
    for (int i = 0; i < 100000; i++) {
        float v = (float)uniform() * powf(2, -(float)(random_u32() % 50));
        assert_int_equal(sampling_fixed(v), (uint64_t)((double)v * 17592186044416.0));
    }
}

static void scans_agree_on_every_machine(void **state) {
    (void)state;
    const char *const names[] = {"avx2", "avx512"};
    const struct scan_ops *plain = scan_named("portable");
    for (uint32_t n = 1; n < 1500; n = n * 3 / 2 + 1) {
        float *logits = random_logits(n, 6), max = -INFINITY, best[32], other_best[32];
        for (uint32_t i = 0; i < n; i++) max = fmaxf(max, logits[i]);
        uint64_t weights[1500], other_weights[1500];
        assert_true(plain->blocks(logits, n, best));
        plain->weights(logits, n, max, weights);
        struct scan_sums sums = plain->sums(logits, n, max), by_one = {0, 0};
        for (uint32_t i = 0; i < n; i++) {
            assert_int_equal(weights[i], sampling_weight(logits[i], max));
            by_one.weights += weights[i];
            by_one.distances += sampling_distance(logits[i], max);
        }
        assert_memory_equal(&sums, &by_one, sizeof sums);
        for (int k = 0; k < 2; k++) {
            const struct scan_ops *ops = scan_named(names[k]);
            if (!ops) continue;
            uint32_t larger, equal, plain_larger, plain_equal;
            assert_true(ops->blocks(logits, n, other_best));
            assert_memory_equal(best, other_best, (n + SCAN_BLOCK - 1) / SCAN_BLOCK * sizeof *best);
            ops->weights(logits, n, max, other_weights);
            assert_memory_equal(weights, other_weights, n * sizeof *weights);
            struct scan_sums other = ops->sums(logits, n, max);
            assert_memory_equal(&sums, &other, sizeof sums);
            ops->count(logits, n, logits[n / 2], &larger, &equal);
            plain->count(logits, n, logits[n / 2], &plain_larger, &plain_equal);
            assert_int_equal(larger, plain_larger);
            assert_int_equal(equal, plain_equal);
        }
        float *heated = malloc(n * sizeof *heated);
        memcpy(heated, logits, n * sizeof *heated);
        plain->heat(heated, n, max, 0.7f);
        scan_best()->heat(logits, n, max, 0.7f);
        assert_memory_equal(heated, logits, n * sizeof *heated);
        free(heated);
        free(logits);
    }
}

/* ---- the reference: every token, sorted, in double ---- */

struct ref {
    uint32_t n;
    const float *raw;
    double *logit;
    uint8_t *cut;
    double margin; /* how close any decision was: results closer than rounding are not compared */
};

static struct ref *sorting;
static int by_logit(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    double lx = sorting->logit[x], ly = sorting->logit[y];
    return lx != ly ? (lx < ly ? 1 : -1) : (x > y) - (x < y);
}
static double *sort_scores;
static int by_score(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    double sx = sort_scores[x], sy = sort_scores[y];
    return sx != sy ? (sx > sy ? 1 : -1) : (x > y) - (x < y);
}

/* Ids left, best first; *p their probabilities by id. */
static uint32_t ref_left(struct ref *ref, uint32_t *ids, double *p) {
    uint32_t n = 0;
    double sum = 0, max = -INFINITY;
    for (uint32_t i = 0; i < ref->n; i++)
        if (!ref->cut[i]) ids[n++] = i, max = fmax(max, ref->logit[i]);
    for (uint32_t i = 0; i < n; i++) sum += p[ids[i]] = exp(ref->logit[ids[i]] - max);
    for (uint32_t i = 0; i < n; i++) p[ids[i]] /= sum;
    sorting = ref;
    qsort(ids, n, sizeof *ids, by_logit);
    return n;
}

static void ref_close(struct ref *ref, double a, double b) {
    ref->margin = fmin(ref->margin, fabs(a - b));
}

static void ref_stage(struct ref *ref, const struct sampling *s, uint32_t position, uint8_t stage) {
    uint32_t *ids = malloc(ref->n * sizeof *ids), n;
    double *p = calloc(ref->n, sizeof *p), sum = 0;
    n = ref_left(ref, ids, p);
    if (stage == STAGE_TOP_K && s->top_k)
        for (uint32_t i = s->top_k; i < n; i++) ref->cut[ids[i]] = stage;
    if (stage == STAGE_TOP_P && s->top_p < 1)
        for (uint32_t i = 0; i < n; i++) {
            if (i > 0 && sum >= (double)s->top_p) ref->cut[ids[i]] = stage;
            sum += p[ids[i]];
            ref_close(ref, sum, (double)s->top_p);
        }
    if (stage == STAGE_MIN_P && s->min_p > 0)
        for (uint32_t i = n; i-- > 0;) {
            if (p[ids[i]] < (double)s->min_p * p[ids[0]]) ref->cut[ids[i]] = stage;
            ref_close(ref, p[ids[i]] / p[ids[0]], (double)s->min_p);
        }
    if (stage == STAGE_TYPICAL && s->typical_p < 1) {
        double entropy = 0;
        for (uint32_t i = 0; i < n; i++)
            if (p[ids[i]] > 0) entropy -= p[ids[i]] * log(p[ids[i]]);
        sort_scores = calloc(ref->n, sizeof *sort_scores);
        for (uint32_t i = 0; i < n; i++) sort_scores[ids[i]] = fabs(-log(p[ids[i]]) - entropy);
        qsort(ids, n, sizeof *ids, by_score);
        for (uint32_t i = 0; i < n; i++) {
            if (sum > (double)s->typical_p)
                ref->cut[ids[i]] = stage;
            else if (i > 0)
                ref_close(ref, sort_scores[ids[i]], sort_scores[ids[i - 1]]);
            sum += p[ids[i]];
            ref_close(ref, sum, (double)s->typical_p);
        }
        free(sort_scores);
    }
    if (stage == STAGE_XTC && s->xtc_probability > 0 && s->xtc_threshold <= 0.5f) {
        double coin = sampling_draw(s->seed, position, s->attempt, STAGE_XTC).word[0] / 4294967296.0;
        uint32_t above = 0;
        for (uint32_t i = 0; i < n; i++) {
            above += p[ids[i]] >= (double)s->xtc_threshold;
            ref_close(ref, p[ids[i]], (double)s->xtc_threshold);
        }
        if (coin < (double)s->xtc_probability)
            for (uint32_t i = 0; i + 1 < above; i++) ref->cut[ids[i]] = stage;
    }
    if (stage == STAGE_TEMPERATURE)
        for (uint32_t i = 0; i < ref->n; i++) ref->logit[i] /= (double)s->temperature;
    free(ids);
    free(p);
}

static void ref_penalties(struct ref *ref, const struct sampling *s, const int32_t *history, uint32_t n) {
    for (uint32_t id = 0; id < ref->n; id++) {
        uint32_t count = 0, last = n < s->penalty_last_n ? n : s->penalty_last_n;
        for (uint32_t i = n - last; i < n; i++) count += history[i] == (int32_t)id;
        if (!count) continue;
        double l = ref->logit[id];
        l = l > 0 ? l / (double)s->repeat_penalty : l * (double)s->repeat_penalty;
        ref->logit[id] = l - count * (double)s->frequency_penalty - (double)s->presence_penalty;
    }
}

static bool breaks(const struct sampling *s, int32_t id) {
    for (int i = 0; i < DRY_BREAKERS_MAX && s->dry_breakers[i] >= 0; i++)
        if (s->dry_breakers[i] == id) return true;
    return false;
}

/* For each id by trying: how long a suffix of the history, repeated earlier, was followed by it? */
static void ref_dry(struct ref *ref, const struct sampling *s, const int32_t *history, uint32_t n) {
    if (s->dry_multiplier == 0) return;
    const int32_t *h = history;
    if (s->dry_last_n && s->dry_last_n < n) h += n - s->dry_last_n, n = s->dry_last_n;
    for (uint32_t id = 0; id < ref->n; id++) {
        uint32_t longest = 0;
        for (uint32_t at = 0; at + 1 < n; at++) { /* h[at] before id */
            if (h[at + 1] != (int32_t)id) continue;
            uint32_t length = 0;
            while (length <= at && h[at - length] == h[n - 1 - length] && !breaks(s, h[n - 1 - length]))
                length++;
            longest = length > longest ? length : longest;
        }
        if (longest >= s->dry_allowed_length && longest > 0 && !breaks(s, (int32_t)id))
            ref->logit[id] -=
                (double)s->dry_multiplier * pow((double)s->dry_base, longest - s->dry_allowed_length);
    }
}

/* The chosen id, -1 where rounding could decide. Fills ref->cut and final probabilities. */
static int32_t ref_run(struct ref *ref, const struct sampling *s, const int32_t *history, uint32_t n_history,
                       uint32_t position, double *prob) {
    bool greedy = s->temperature == 0;
    for (uint32_t i = 0; i < ref->n; i++) ref->logit[i] = (double)ref->raw[i];
    for (int i = 0; s->order[i]; i++) {
        if (s->order[i] == STAGE_PENALTIES)
            ref_penalties(ref, s, history, n_history);
        else if (s->order[i] == STAGE_DRY)
            ref_dry(ref, s, history, n_history);
        else if (!greedy)
            ref_stage(ref, s, position, s->order[i]);
    }
    uint32_t *ids = malloc(ref->n * sizeof *ids);
    double *p = calloc(ref->n, sizeof *p);
    uint32_t n = ref_left(ref, ids, p);
    int32_t chosen = (int32_t)ids[0];
    memset(prob, 0, ref->n * sizeof *prob);
    if (greedy) {
        if (n > 1) ref_close(ref, ref->logit[ids[0]], ref->logit[ids[1]]);
        for (uint32_t i = 1; i < n; i++) ref->cut[ids[i]] = STAGE_TEMPERATURE;
        prob[chosen] = 1;
    } else {
        struct philox draw = sampling_draw(s->seed, position, s->attempt, STAGE_NONE);
        double target = (draw.word[1] + draw.word[0] / 4294967296.0) / 4294967296.0, sum = 0;
        chosen = -1;
        for (uint32_t id = 0; id < ref->n; id++) {
            if (ref->cut[id]) continue;
            sum += prob[id] = p[id];
            ref_close(ref, sum, target);
            if (chosen < 0 && sum > target) chosen = (int32_t)id;
        }
    }
    free(ids);
    free(p);
    return ref->margin < 1e-6 ? -1 : chosen;
}

static void shuffle_order(struct sampling *s) {
    for (uint32_t i = 7; i > 0; i--) {
        uint32_t j = random_u32() % (i + 1);
        uint8_t swap = s->order[i];
        s->order[i] = s->order[j];
        s->order[j] = swap;
    }
}

/* Some stages on, some off, often near what people use. Temperature stays behind what looks at signs or
 * probabilities. */
static struct sampling random_sampling(uint32_t n, bool any_order) {
    struct sampling s;
    sampling_defaults(&s);
    s.seed = random_u32();
    s.attempt = random_u32() % 3;
    s.temperature = random_u32() % 6 == 0 ? 0 : (float)(0.3 + uniform());
    s.top_k = random_u32() % 3 == 0 ? 0 : 1 + random_u32() % (n + 5);
    s.top_p = random_u32() % 3 == 0 ? 1 : (float)uniform();
    s.min_p = random_u32() % 2 == 0 ? 0 : (float)(uniform() * 0.3);
    s.typical_p = random_u32() % 2 == 0 ? 1 : (float)uniform();
    if (random_u32() % 2) s.xtc_probability = 0.7f, s.xtc_threshold = (float)(uniform() * 0.3);
    if (random_u32() % 2) {
        s.repeat_penalty = (float)(1 + uniform() * 0.5);
        s.frequency_penalty = (float)(uniform() * 0.5);
        s.presence_penalty = (float)(uniform() - 0.5);
        s.penalty_last_n = random_u32() % 100;
    }
    if (random_u32() % 2) {
        s.dry_multiplier = (float)uniform();
        s.dry_allowed_length = 1 + random_u32() % 3;
        s.dry_last_n = random_u32() % 2 ? 0 : random_u32() % 80;
        s.dry_breakers[0] = (int32_t)(random_u32() % 6);
        s.dry_breakers[1] = -1;
    }
    if (any_order) {
        shuffle_order(&s);
        s.temperature =
            s.temperature == 0 ? 0 : 1; /* elsewhere its place would matter to the penalties' signs */
    }
    return s;
}

static void compare(const struct step_result *got, const struct ref *ref, const double *prob, int32_t chosen,
                    uint32_t k) {
    assert_int_equal(got->id, chosen);
    assert_true(got->n_top == k || (got->n_top == k + 1 && got->top[k].id == chosen) || got->n_top == ref->n);
    double max = -INFINITY, sum = 0, entropy = 0;
    uint32_t rank = 1;
    for (uint32_t i = 0; i < ref->n; i++) max = fmax(max, (double)ref->raw[i]);
    for (uint32_t i = 0; i < ref->n; i++) sum += exp((double)ref->raw[i] - max);
    double lse = max + log(sum);
    for (uint32_t i = 0; i < ref->n; i++) {
        entropy -= exp((double)ref->raw[i] - lse) * ((double)ref->raw[i] - lse);
        rank += ref->raw[i] > ref->raw[chosen] || (ref->raw[i] == ref->raw[chosen] && (int32_t)i < chosen);
    }
    assert_true(fabs((double)got->log_sum_exp - lse) < 2e-6 * (1 + fabs(lse)));
    assert_true(fabs((double)got->entropy - entropy) < 2e-6 * (1 + entropy));
    assert_int_equal(got->rank, rank);
    assert_true(got->logit == ref->raw[chosen]);
    for (uint32_t i = 0; i < got->n_top; i++) {
        const struct candidate *c = &got->top[i];
        assert_true(c->logit == ref->raw[c->id]);
        assert_int_equal(c->cut, ref->cut[c->id]);
        assert_true(fabs((double)c->prob - prob[c->id]) < 3e-6);
        if (i > 0 && i < k) {
            const struct candidate *before = c - 1;
            assert_true(before->logit > c->logit || (before->logit == c->logit && before->id < c->id));
        }
        if (c->id == chosen) assert_true(got->prob == c->prob);
    }
}

static void run_random(uint32_t n, uint32_t rounds, bool any_order) {
    struct sample_scratch *scratch = sample_scratch_new(n);
    struct step_result *got = malloc(sizeof *got);
    struct ref ref = {.n = n, .logit = malloc(n * sizeof *ref.logit), .cut = malloc(n)};
    double *prob = malloc(n * sizeof *prob);
    uint32_t compared = 0;
    for (uint32_t round = 0; round < rounds; round++) {
        float *logits = random_logits(n, 0.5 + uniform() * 4);
        if (round % 4 == 0) /* ties */
            for (uint32_t i = 0; i < n; i++) logits[i] = roundf(logits[i] * 8) / 8;
        int32_t history[120];
        uint32_t n_history = 1 + random_u32() % 120;
        for (uint32_t i = 0; i < n_history; i++) history[i] = (int32_t)(random_u32() % (n < 6 ? n : 6));
        struct sampling s = random_sampling(n, any_order);
        struct sample_request request = {
            logits, &s, -1, history, n_history, round, 1 + random_u32() % CANDIDATES_MAX};
        if (request.top_k > n) request.top_k = n;
        struct err err;
        assert_int_equal(sample_position(scratch, &request, got, &err), STATUS_OK);
        ref.raw = logits;
        ref.margin = 1;
        memset(ref.cut, 0, n);
        int32_t chosen = ref_run(&ref, &s, history, n_history, round, prob);
        if (chosen >= 0) {
            compare(got, &ref, prob, chosen, request.top_k);
            compared++;
        }
        free(logits);
    }
    assert_true(compared > rounds / 3);
    free(ref.logit);
    free(ref.cut);
    free(prob);
    free(got);
    sample_scratch_free(scratch);
}

static void the_chain_equals_the_reference(void **state) {
    (void)state;
    const uint32_t sizes[] = {1, 2, 7, 64, 65, 300};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) run_random(sizes[i], 400, false);
    run_random(3000, 100, false);
    run_random(20011, 30, false);
}

static void any_order_equals_the_reference(void **state) {
    (void)state;
    run_random(40, 600, true);
    run_random(700, 200, true);
}

/* ---- properties ---- */

static int sample(struct sample_scratch *scratch, const float *logits, const struct sampling *s,
                  uint32_t position, struct step_result *out, struct err *err) {
    struct sample_request request = {
        .logits = logits, .sampling = s, .target = -1, .position = position, .top_k = 20};
    return sample_position(scratch, &request, out, err);
}

static void picks_follow_the_probabilities(void **state) {
    (void)state;
    enum { N = 12, DRAWS = 60000 };
    float *logits = random_logits(N, 1.5);
    struct sample_scratch *scratch = sample_scratch_new(N);
    struct sampling s;
    sampling_defaults(&s);
    s.top_p = 1;
    s.min_p = 0;
    s.temperature = 1.3f;
    s.seed = 42;
    static struct step_result out;
    uint32_t counts[N] = {0};
    for (uint32_t i = 0; i < DRAWS; i++) {
        assert_int_equal(sample(scratch, logits, &s, i, &out, NULL), STATUS_OK);
        counts[out.id]++;
    }
    double chi = 0;
    for (uint32_t i = 0; i < out.n_top; i++) {
        double wanted = (double)out.top[i].prob * DRAWS, got = counts[out.top[i].id];
        chi += (got - wanted) * (got - wanted) / wanted;
    }
    assert_true(chi < 31.3); /* 11 degrees of freedom: one in a thousand is above; the seed is fixed */
    assert_true(chi > 1.0);  /* nor suspiciously even */
    sample_scratch_free(scratch);
    free(logits);
}

static void ties_go_to_the_lowest_id(void **state) {
    (void)state;
    enum { N = 200 };
    float logits[N];
    for (int i = 0; i < N; i++) logits[i] = i % 2 ? 0.0f : -0.0f; /* equal, whatever the sign of zero */
    struct sample_scratch *scratch = sample_scratch_new(N);
    struct sampling s;
    sampling_defaults(&s);
    s.temperature = 0;
    static struct step_result out;
    assert_int_equal(sample(scratch, logits, &s, 0, &out, NULL), STATUS_OK);
    assert_int_equal(out.id, 0);
    assert_int_equal(out.rank, 1);
    for (int i = 0; i < 20; i++) assert_int_equal(out.top[i].id, i);
    s.temperature = 1;
    s.top_k = 3;
    for (uint32_t position = 0; position < 50; position++) {
        assert_int_equal(sample(scratch, logits, &s, position, &out, NULL), STATUS_OK);
        assert_true(out.id < 3);
        assert_int_equal(out.top[3].cut, STAGE_TOP_K);
    }
    sample_scratch_free(scratch);
}

static void what_is_not_finite_is_refused(void **state) {
    (void)state;
    const float bad[] = {NAN, -NAN, INFINITY, -INFINITY};
    enum { N = 1000 };
    struct sample_scratch *scratch = sample_scratch_new(N);
    struct sampling s;
    sampling_defaults(&s);
    static struct step_result out;
    for (int k = 0; k < 4; k++)
        for (uint32_t at = 0; at < N; at += 111) {
            float *logits = random_logits(N, 2);
            logits[at] = bad[k];
            struct err err;
            char id[16];
            snprintf(id, sizeof id, "token %u ", at);
            assert_int_equal(sample(scratch, logits, &s, 7, &out, &err), STATUS_FAILED);
            assert_non_null(strstr(err.text, id));
            free(logits);
        }
    sample_scratch_free(scratch);
}

static void huge_logits_are_no_trouble(void **state) {
    (void)state;
    enum { N = 300 };
    float logits[N];
    for (int i = 0; i < N; i++) logits[i] = i % 3 ? 3.4e38f : -3.4e38f;
    struct sample_scratch *scratch = sample_scratch_new(N);
    struct sampling s;
    static struct step_result out;
    for (int mode = 0; mode < 5; mode++) {
        sampling_defaults(&s);
        s.top_k = mode == 0 ? 40 : 0;
        s.top_p = mode <= 1 ? 0.9f : 1;
        s.typical_p = mode == 2 ? 0.5f : 1;
        s.temperature = mode == 4 ? 1e-30f : 0.5f;
        assert_int_equal(sample(scratch, logits, &s, 1, &out, NULL), STATUS_OK);
        assert_true(out.id % 3 != 0);
        assert_true(isfinite(out.entropy));
    }
    sample_scratch_free(scratch);
}

/* However cold: what is far below the best weighs nothing, and is a number all the same, even where XTC
 * leaves nothing else. */
static void the_coldest_makes_no_infinity(void **state) {
    (void)state;
    static const float temperatures[] = {1e-45f, 1e-38f, 1e-20f, 1e-3f};
    enum { N = 100 };
    float logits[N];
    for (int i = 0; i < N; i++) logits[i] = (float)((i * 37) % N);
    struct sample_scratch *scratch = sample_scratch_new(N);
    for (size_t i = 0; i < sizeof temperatures / sizeof *temperatures; i++)
        for (uint32_t top_k = 0; top_k < 60; top_k += 50) {
            struct sampling s;
            struct err err;
            struct step_result result;
            sampling_defaults(&s);
            assert_int_equal(sampling_set_order(&s, "top-k;temperature;xtc", &err), STATUS_OK);
            s.temperature = temperatures[i];
            s.top_k = top_k;
            s.xtc_probability = 1;
            s.xtc_threshold = 0;
            struct sample_request request = {.logits = logits, .sampling = &s, .target = -1, .top_k = N};
            assert_int_equal(sample_position(scratch, &request, &result, &err), STATUS_OK);
            assert_in_range(result.id, 0, N - 1);
            assert_true(result.prob == 1 && logits[result.id] < N - 1);
        }
    sample_scratch_free(scratch);
}

static void a_target_is_told_of(void **state) {
    (void)state;
    const float logits[] = {1, 4, 2, 4, -1};
    struct sample_scratch *scratch = sample_scratch_new(5);
    static struct step_result out;
    struct sample_request request = {.logits = logits, .target = 3, .top_k = 1, .position = 9};
    assert_int_equal(sample_position(scratch, &request, &out, NULL), STATUS_OK);
    assert_int_equal(out.id, 3);
    assert_int_equal(out.rank, 2);
    assert_int_equal(out.n_top, 2);
    assert_int_equal(out.top[0].id, 1);
    assert_int_equal(out.top[1].id, 3);
    assert_true(fabs(log((double)out.prob) - (double)(out.logit - out.log_sum_exp)) < 1e-6);
    request.target = -1;
    assert_int_equal(sample_position(scratch, &request, &out, NULL), STATUS_OK);
    assert_int_equal(out.id, -1);
    assert_int_equal(out.n_top, 1);
    assert_null(sample_scratch_new(0));
    assert_null(sample_scratch_new((1u << 18) + 1));
    sample_scratch_free(scratch);
}

/* The last column is what the chain picks with, and a candidate is in every column before the stage that cut
 * it. */
static void stages_add_up_to_the_chain(void **state) {
    (void)state;
    enum { N = 700, ROUNDS = 300 };
    struct sample_scratch *scratch = sample_scratch_new(N);
    struct step_result *whole = malloc(sizeof *whole), *result = malloc(sizeof *result);
    struct stage_table *table = malloc(sizeof *table);
    uint32_t n_columns = 0;
    for (uint32_t round = 0; round < ROUNDS; round++) {
        float *logits = random_logits(N, 0.5 + uniform() * 4);
        int32_t history[60], target = (int32_t)(random_u32() % N);
        for (uint32_t i = 0; i < 60; i++) history[i] = (int32_t)(random_u32() % 6);
        struct sampling s = random_sampling(N, true);
        struct sample_request request = {logits, &s, -1, history, 60, 59, 30};
        assert_int_equal(sample_position(scratch, &request, whole, NULL), STATUS_OK);
        assert_int_equal(sampling_stages(logits, N, &s, history, 60, target, 30, result, table, NULL),
                         STATUS_OK);
        assert_int_equal(result->id, target);
        assert_true(table->n_candidates == 30 || (table->n_candidates == 31 && result->top[30].id == target));
        assert_true(table->n_stages >= 1 && table->n_stages <= STAGE_COUNT);
        n_columns += table->n_stages;
        const float *last = table->probs + (table->n_stages - 1) * table->n_candidates;
        for (uint32_t i = 0; i < 30; i++) {
            assert_int_equal(result->top[i].id, whole->top[i].id);
            assert_int_equal(result->top[i].cut, whole->top[i].cut);
            assert_true(result->top[i].prob == whole->top[i].prob && last[i] == whole->top[i].prob);
        }
        for (uint32_t i = 0; i < table->n_candidates; i++) {
            bool gone = false;
            double raw = exp((double)result->top[i].logit - (double)result->log_sum_exp);
            assert_float_equal(table->probs[i], raw, 1e-6);
            for (uint32_t stage = 1; stage < table->n_stages; stage++) {
                gone = gone || table->stages[stage] == result->top[i].cut;
                if (gone) assert_true(table->probs[stage * table->n_candidates + i] == 0);
            }
        }
        for (uint32_t stage = 0; stage < table->n_stages; stage++) {
            double sum = 0;
            for (uint32_t i = 0; i < 30; i++) sum += (double)table->probs[stage * table->n_candidates + i];
            assert_true(sum < 1 + 1e-5 && (stage > 0 || sum > 0));
        }
        free(logits);
    }
    assert_true(n_columns > 3 * ROUNDS);
    free(whole);
    free(result);
    free(table);
    sample_scratch_free(scratch);
}

static void seed_and_attempt_decide(void **state) {
    (void)state;
    enum { N = 500 };
    float *logits = random_logits(N, 1);
    struct sample_scratch *scratch = sample_scratch_new(N);
    struct sampling s;
    sampling_defaults(&s);
    static struct step_result out;
    uint32_t changed[3] = {0};
    for (uint32_t position = 0; position < 200; position++) {
        int32_t ids[4];
        for (int k = 0; k < 4; k++) {
            s.seed = k == 1 ? 8 : 7;
            s.attempt = k == 2;
            sample(scratch, logits, &s, position, &out, NULL);
            ids[k] = out.id;
        }
        assert_int_equal(ids[0], ids[3]);
        changed[0] += ids[0] != ids[1];
        changed[1] += ids[0] != ids[2];
    }
    assert_true(changed[0] > 100 && changed[1] > 100);
    sample_scratch_free(scratch);
    free(logits);
}

static void orders_are_read_from_names(void **state) {
    (void)state;
    struct sampling s;
    struct err err;
    sampling_defaults(&s);
    assert_int_equal(sampling_set_order(&s, "min-p;temperature,top-k", &err), STATUS_OK);
    const uint8_t wanted[] = {STAGE_MIN_P, STAGE_TEMPERATURE, STAGE_TOP_K, STAGE_NONE};
    assert_memory_equal(s.order, wanted, sizeof wanted);
    assert_int_equal(sampling_set_order(&s, "top-k;mirostat", &err), STATUS_USAGE);
    assert_non_null(strstr(err.text, "mirostat"));
    assert_int_equal(sampling_set_order(&s, "top-k;top-k", &err), STATUS_USAGE);
    assert_int_equal(sampling_set_order(&s, ";", &err), STATUS_USAGE);
    assert_memory_equal(s.order, wanted, sizeof wanted); /* a fault changes nothing */
    assert_int_equal(sampling_set_order(&s, "", &err), STATUS_OK);
    assert_int_equal(s.order[0], STAGE_NONE);
    assert_string_equal(stage_name(STAGE_TOP_P), "top-p");
    assert_string_equal(stage_name(STAGE_NONE), "");
    assert_string_equal(stage_name(200), "");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(philox_gives_the_published_numbers),
        cmocka_unit_test(exp_is_close_to_exp),
        cmocka_unit_test(a_weight_is_its_floor),
        cmocka_unit_test(scans_agree_on_every_machine),
        cmocka_unit_test(the_chain_equals_the_reference),
        cmocka_unit_test(any_order_equals_the_reference),
        cmocka_unit_test(picks_follow_the_probabilities),
        cmocka_unit_test(ties_go_to_the_lowest_id),
        cmocka_unit_test(what_is_not_finite_is_refused),
        cmocka_unit_test(huge_logits_are_no_trouble),
        cmocka_unit_test(the_coldest_makes_no_infinity),
        cmocka_unit_test(a_target_is_told_of),
        cmocka_unit_test(stages_add_up_to_the_chain),
        cmocka_unit_test(seed_and_attempt_decide),
        cmocka_unit_test(orders_are_read_from_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
