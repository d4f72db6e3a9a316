/* For tests that drive an engine through its table of functions: wait as an owner does. */
#ifndef LOGITOP_TESTS_ENGINE_RIG_H
#define LOGITOP_TESTS_ENGINE_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "infer/engine.h"

#include <poll.h>
#include <string.h>

#define NANO TEST_DATA "/nano/qwen2-f32.gguf"

/* The next event, waiting as an owner does. */
static inline struct engine_event *wait_event(struct engine *engine) {
    static struct engine_event event;
    while (!engine->ops->next(engine, &event)) {
        struct pollfd fd = {.fd = engine->ops->wake_fd(engine), .events = POLLIN};
        if (poll(&fd, 1, 60000) != 1) fail_msg("no event came");
    }
    return &event;
}

static inline void wait_ready(struct engine *engine) {
    struct engine_event *event;
    while ((event = wait_event(engine))->type == ENGINE_LOADING)
        assert_true(event->progress.done <= event->progress.total);
    if (event->type != ENGINE_READY) fail_msg("%s", event->error.text);
}

static inline struct engine_request raw_request(uint64_t id, const char *text, uint32_t n_predict) {
    struct engine_request request = {
        .id = id, .raw = text, .raw_len = strlen(text), .top_k = 5, .n_predict = n_predict};
    sampling_defaults(&request.sampling);
    return request;
}

static inline void submit(struct engine *engine, const struct engine_request *request) {
    struct err err;
    if (engine->ops->submit(engine, request, &err) < 0) fail_msg("%s", err.text);
}

#endif
