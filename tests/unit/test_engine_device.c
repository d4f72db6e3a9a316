/* An engine whose device is lost at any moment: the answer goes on on the CPU, token by token what it would
 * have been, and so does the conversation. The device is the CPU backend behind a table that fails when it is
 * told to; device_choose() is the linker's
 * (--wrap) to give it out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "infer/device.h"
#include "infer/engine.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NANO TEST_DATA "/nano/qwen2-f32.gguf"

/* ---- a device that fails ---- */

static struct {
    uint32_t fail_at;    /* the how many-th call, from 1; 0: none */
    enum status status;  /* and how */
    struct engine *stop; /* the engine is asked to stop request 1 at that moment; NULL: it is not */
    bool absent;         /* there is no such device at all */
    _Atomic uint32_t n_calls;
    _Atomic bool lost;
    _Atomic int n_held; /* backends, timelines and runs that are not let go of yet */
} device;

static bool fails(struct err *err, const char *what) {
    if (device.lost) { /* in the worker's thread, where CMocka cannot fail */
        fprintf(stderr, "%s was called on a lost device\n", what);
        abort();
    }
    if (++device.n_calls != device.fail_at) return false;
    device.lost = device.status == STATUS_DEVICE;
    if (device.stop) device.stop->ops->stop(device.stop, 1);
    err_set(err, device.status, "the device failed in %s", what);
    return true;
}

static int held(int status) {
    device.n_held += status == STATUS_OK;
    return status;
}

static int device_open(const struct model_view *model, const struct backend_options *options,
                       progress_fn progress, void *ctx, struct backend **out, struct err *err) {
    return fails(err, "open") ? device.status
                              : held(backend_cpu.open(model, options, progress, ctx, out, err));
}

static void device_close(struct backend *backend) {
    device.n_held -= backend != NULL;
    backend_cpu.close(backend);
}

static int device_timeline_new(struct backend *backend, uint32_t n_ctx, struct timeline **out,
                               struct err *err) {
    return fails(err, "timeline_new") ? device.status
                                      : held(backend_cpu.timeline_new(backend, n_ctx, out, err));
}

static void device_timeline_free(struct timeline *timeline) {
    device.n_held -= timeline != NULL;
    backend_cpu.timeline_free(timeline);
}

static int device_step(struct timeline *timeline, const struct step_request *request, struct err *err) {
    return fails(err, "step") ? device.status : backend_cpu.step(timeline, request, err);
}

static int device_begin(struct timeline *timeline, const struct decode_request *request, struct decode **out,
                        struct err *err) {
    return fails(err, "decode_begin") ? device.status
                                      : held(backend_cpu.decode_begin(timeline, request, out, err));
}

static int device_next(struct decode *decode, struct step_result *out, struct err *err) {
    return fails(err, "decode_next") ? device.status : backend_cpu.decode_next(decode, out, err);
}

static void device_end(struct decode *decode, uint32_t keep) {
    device.n_held--;
    backend_cpu.decode_end(decode, keep);
}

static void device_info(struct backend *backend, struct backend_info *out) {
    backend_cpu.info(backend, out);
    snprintf(out->device, sizeof out->device, "a card");
}

int __wrap_device_choose(const char *wanted, const struct backend_ops **ops, struct backend_options *options,
                         struct err *without, struct err *err);
int __wrap_device_choose(const char *wanted, const struct backend_ops **ops, struct backend_options *options,
                         struct err *without, struct err *err) {
    static struct backend_ops failing;
    failing = backend_cpu;
    failing.open = device_open;
    failing.close = device_close;
    failing.info = device_info;
    failing.timeline_new = device_timeline_new;
    failing.timeline_free = device_timeline_free;
    failing.step = device_step;
    failing.decode_begin = device_begin;
    failing.decode_next = device_next;
    failing.decode_end = device_end;
    (void)err;
    options->device = 0;
    *ops = device.absent ? &backend_cpu : &failing;
    if (device.absent && device_is_automatic(wanted))
        err_set(without, STATUS_DEVICE, "no device: it was sold");
    return STATUS_OK;
}

static void device_is_new(uint32_t fail_at, enum status status) {
    assert_int_equal(device.n_held, 0); /* of the one before */
    device.fail_at = fail_at;
    device.status = status;
    device.stop = NULL;
    device.absent = false;
    device.n_calls = 0;
    device.lost = false;
}

/* ---- what an engine says ---- */

enum { TOKENS = 10 };

struct seen {
    struct err notice, error;
    uint32_t n_notices, n_ready, n;
    uint64_t notice_request;
    int32_t ids[TOKENS];
    enum engine_event_type last;
    enum engine_reason reason;
    struct engine_stats stats;
};

/* Until the model is there or not (request 0), or the request is done. */
static struct seen watch(struct engine *engine, uint64_t request) {
    static struct engine_event event;
    struct seen seen = {0};
    for (;;) {
        while (!engine->ops->next(engine, &event)) {
            struct pollfd fd = {.fd = engine->ops->wake_fd(engine), .events = POLLIN};
            if (poll(&fd, 1, 60000) != 1) fail_msg("no event came");
        }
        seen.last = event.type;
        if (event.type != ENGINE_NOTICE) assert_int_equal(event.request, request);
        if (event.type == ENGINE_NOTICE) {
            seen.n_notices++;
            seen.notice = event.error;
            seen.notice_request = event.request;
        } else if (event.type == ENGINE_TOKEN) {
            assert_int_equal(event.token.index, seen.n);
            assert_true(seen.n < TOKENS);
            seen.ids[seen.n++] = event.token.result.id;
        } else if (event.type == ENGINE_READY) {
            seen.n_ready++;
            if (!request) return seen;
        } else if (event.type == ENGINE_FAILED || event.type == ENGINE_DONE) {
            seen.error = event.error;
            seen.reason = event.done.reason;
            seen.stats = event.done.stats;
            return seen;
        }
    }
}

static struct engine *open_engine(const char *wanted) {
    struct engine_options options = {
        .model = NANO, .device = wanted, .n_threads = 1, .n_ctx = 128, .exact = true};
    return engine_local(&options);
}

static struct seen ask(struct engine *engine, uint64_t id, const char *text) {
    struct engine_request request = {
        .id = id, .raw = text, .raw_len = strlen(text), .top_k = 5, .n_predict = TOKENS};
    struct err err;
    sampling_defaults(&request.sampling);
    request.sampling.repeat_penalty = 1.2f; /* what was said before counts */
    if (engine->ops->submit(engine, &request, &err) < 0) fail_msg("%s", err.text);
    return watch(engine, id);
}

static const char first[] = "the cat sat on the mat", second[] = "the cat sat on the mat and then";

/* What a whole device says. */
static struct seen wanted[2];

static void expect_answer(const struct seen *seen, const struct seen *answer) {
    if (seen->reason != answer->reason) fail_msg("ended with %d: %s", (int)seen->reason, seen->error.text);
    assert_int_equal(seen->n, answer->n);
    assert_memory_equal(seen->ids, answer->ids, seen->n * sizeof *seen->ids);
}

static int find_out(void **state) {
    (void)state;
    device_is_new(0, STATUS_OK);
    struct engine *engine = open_engine("cuda");
    assert_int_equal(watch(engine, 0).last, ENGINE_READY);
    wanted[0] = ask(engine, 1, first);
    wanted[1] = ask(engine, 2, second);
    assert_int_equal(wanted[0].n, TOKENS);
    engine->ops->close(engine);
    return 0;
}

/* ---- tests ---- */

/* One run of an engine, a load and two answers, in which the device fails once. False: it did not come to
 * that. */
static bool run_with_failure(uint32_t fail_at, const char *device_wanted, enum status status) {
    device_is_new(fail_at, status);
    struct engine *engine = open_engine(device_wanted);
    struct seen load = watch(engine, 0);
    bool automatic = device_is_automatic(device_wanted), failed = device.n_calls >= fail_at;
    if (failed && !automatic) { /* the device was asked for: no other will do */
        assert_int_equal(load.last, ENGINE_FAILED);
        assert_int_equal(load.error.code, status);
        assert_non_null(strstr(load.error.text, "the device failed in "));
        engine->ops->close(engine);
        return true;
    }
    assert_int_equal(load.last, ENGINE_READY);
    uint32_t n_notices = load.n_notices;
    for (uint64_t id = 1; id <= 2; id++) {
        bool before = device.n_calls >= fail_at;
        struct seen seen = ask(engine, id, id == 1 ? first : second);
        bool now = !before && device.n_calls >= fail_at;
        n_notices += seen.n_notices;
        if (now &&
            status != STATUS_DEVICE) { /* what does not lose the device ends the answer, and that is all */
            assert_int_equal(seen.reason, ENGINE_ERROR);
            assert_int_equal(seen.error.code, status);
            continue;
        }
        expect_answer(&seen, &wanted[id - 1]);
        assert_int_equal(seen.n_ready, now);
        if (!now) continue;
        assert_int_equal(seen.notice_request, id);
        assert_non_null(strstr(seen.notice.text, "the device failed in "));
        assert_non_null(strstr(seen.notice.text, "; going on on the CPU"));
    }
    bool lost = device.n_calls >= fail_at && (failed || status == STATUS_DEVICE);
    assert_int_equal(n_notices, lost);
    const char *name = engine->ops->info(engine)->device;
    if (lost ? !strcmp(name, "a card") : strcmp(name, "a card")) fail_msg("it runs on %s", name);
    engine->ops->close(engine);
    return device.n_calls >= fail_at;
}

static void a_lost_device_loses_nothing(void **state) {
    (void)state;
    for (int automatic = 0; automatic < 2; automatic++) {
        uint32_t n = 1;
        while (run_with_failure(n, automatic ? NULL : "cuda", STATUS_DEVICE)) n++;
        assert_true(
            n > 2 * TOKENS); /* open, timeline_new, and of each answer step, decode_begin and its tokens */
    }
}

static void what_does_not_lose_the_device_ends_one_answer(void **state) {
    (void)state;
    uint32_t n = 1;
    while (run_with_failure(n, "auto", STATUS_MEMORY)) n++;
    assert_true(n > 2 * TOKENS);
}

/* Stopped while the model is loaded onto the CPU: that is gone about when the next request comes. */
static void moving_can_be_stopped(void **state) {
    (void)state;
    device_is_new(6, STATUS_DEVICE);
    struct engine *engine = open_engine("cuda");
    assert_int_equal(watch(engine, 0).last, ENGINE_READY);
    device.stop = engine;
    struct seen seen = ask(engine, 1, first);
    assert_int_equal(seen.reason, ENGINE_STOPPED);
    assert_int_equal(seen.n_notices, 1);
    assert_int_equal(seen.n_ready, 0);
    assert_true(seen.n > 0);
    assert_memory_equal(seen.ids, wanted[0].ids, seen.n * sizeof *seen.ids);
    seen = ask(engine, 2, second);
    expect_answer(&seen, &wanted[1]);
    assert_int_equal(seen.n_ready, 1);
    assert_int_equal(seen.n_notices, 0);
    engine->ops->close(engine);
}

static void no_device_is_told(void **state) {
    (void)state;
    static const char *const ways[] = {NULL, "auto", "cpu"};
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        device_is_new(0, STATUS_OK);
        device.absent = true;
        struct engine *engine = open_engine(ways[i]);
        struct seen seen = watch(engine, 0);
        assert_int_equal(seen.last, ENGINE_READY);
        assert_int_equal(seen.n_notices, i < 2);
        if (i < 2) assert_string_equal(seen.notice.text, "no device: it was sold; running on the CPU");
        seen = ask(engine, 1, first);
        expect_answer(&seen, &wanted[0]);
        engine->ops->close(engine);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_lost_device_loses_nothing),
        cmocka_unit_test(what_does_not_lose_the_device_ends_one_answer),
        cmocka_unit_test(moving_can_be_stopped),
        cmocka_unit_test(no_device_is_told),
    };
    return cmocka_run_group_tests(tests, find_out, NULL);
}
