/* The device's sampler against the host's, on the logits that the device itself made. */
#ifndef LOGITOP_TESTS_GPU_SAMPLER_H
#define LOGITOP_TESTS_GPU_SAMPLER_H

#include "tests/golden/golden.h"

#include "infer/engine.h"
#include "kernels/cpu/sample.h"
#include "kernels/cuda/device.h"

/* A chain for every number: all stages, bounded and unbounded, in two orders. */
static inline struct sampling sampler_setting(int n) {
    struct sampling s;
    struct err err;
    sampling_defaults(&s);
    s.seed = (uint64_t)n * 7919;
    s.attempt = (uint32_t)n % 3;
    if (n % 4 == 1) s.top_k = 3;
    if (n % 4 == 2) s.top_k = 200, s.top_p = 0.7f, s.min_p = 0;
    if (n % 4 == 3) s.top_k = 0;
    if (n % 8 == 7) s.top_p = 1;
    if (n % 16 == 15) s.min_p = 0;
    if (n % 32 == 16) s.top_k = 5000;
    if (n % 5 == 1) s.repeat_penalty = 1.3f;
    if (n % 5 == 2) s.frequency_penalty = 0.4f, s.presence_penalty = 0.5f, s.penalty_last_n = n % 2 ? 16 : 4000;
    if (n % 5 == 3) s.typical_p = 0.6f;
    if (n % 5 == 4) s.xtc_probability = 0.7f, s.xtc_threshold = 0.05f;
    if (n % 6 == 5) s.dry_multiplier = 0.8f, s.dry_breakers[0] = n % 12 == 5 ? -1 : 7, s.dry_breakers[1] = -1;
    if (n % 7 == 6) s.temperature = 0;
    if (n % 7 == 5) s.temperature = 1.7f;
    if (n % 11 == 10) must(sampling_set_order(&s, "penalties;top-k;temperature;min-p;top-p;typical;dry;xtc", &err), &err, "order");
    return s;
}

static inline void expect_same(const struct step_result *device, const struct step_result *host, const char *what) {
    if (device->id != host->id) fail_msg("%s: the device chose %d, the host %d", what, device->id, host->id);
    assert_int_equal(device->position, host->position);
    assert_int_equal(device->rank, host->rank);
    assert_memory_equal(&device->logit, &host->logit, sizeof(float));
    assert_memory_equal(&device->prob, &host->prob, sizeof(float));
    assert_memory_equal(&device->log_sum_exp, &host->log_sum_exp, sizeof(float));
    assert_memory_equal(&device->entropy, &host->entropy, sizeof(float));
    assert_int_equal(device->n_top, host->n_top);
    for (uint32_t i = 0; i < host->n_top; i++) {
        const struct candidate *d = &device->top[i], *h = &host->top[i];
        if (d->id != h->id || d->logit != h->logit || d->prob != h->prob || d->cut != h->cut)
            fail_msg("%s: candidate %u: device id %d logit %g prob %g cut %s, host id %d logit %g prob %g cut %s", what, i, d->id, (double)d->logit,
                     (double)d->prob, stage_name(d->cut), h->id, (double)h->logit, (double)h->prob, stage_name(h->cut));
    }
}

/* Settings 0..n-1 at a few positions each, after 8 of the ids [14], some of them twice so that there is something to repeat. */
static inline void check_sampler(struct rig *rig, const int32_t *ids, const char *name, int n) {
    struct sample_scratch *scratch = sample_scratch_new(rig->view->n_vocab);
    float *logits = malloc(rig->view->n_vocab * sizeof *logits);
    assert_non_null(logits);
    for (int setting = 0; setting < n; setting++) {
        struct sampling s = sampler_setting(setting);
        struct err err;
        uint32_t top_k = setting % 6 == 5 ? 0 : setting % 6 == 4 ? 256 : 20;
        rig->ops->timeline_truncate(rig->timeline, 0);
        for (int i = 0; i < 2; i++) {
            struct step_request prompt = {.ids = ids, .n = 8};
            must(rig->ops->step(rig->timeline, &prompt, &err), &err, "step");
        }
        for (uint32_t i = 0; i < 6; i++) {
            uint32_t position = rig->ops->timeline_length(rig->timeline);
            struct decode *decode = NULL;
            struct step_result device, host;
            struct decode_request request = {.id = ids[setting % 2 ? i : i + 8], .sampling = s, .top_k = top_k, .limit = 1};
            must(rig->ops->decode_begin(rig->timeline, &request, &decode, &err), &err, "decode_begin");
            must(rig->ops->decode_next(decode, &device, &err), &err, "decode_next");
            rig->ops->decode_end(decode, position + 1);
            cudaMemcpy(logits, rig->backend->logits, rig->view->n_vocab * sizeof *logits, cudaMemcpyDeviceToHost);
            struct sample_request ask = {.logits = logits, .sampling = &s, .target = -1, .history = rig->ops->timeline_ids(rig->timeline),
                                         .n_history = position + 1, .position = position, .top_k = top_k};
            must(sample_position(scratch, &ask, &host, &err), &err, "sample_position");
            char what[96];
            snprintf(what, sizeof what, "%s, setting %d, position %u", name, setting, position);
            expect_same(&device, &host, what);
        }
    }
    free(logits);
    sample_scratch_free(scratch);
}

#endif
