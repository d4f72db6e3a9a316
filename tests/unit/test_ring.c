/* The queue of events: order, contents, the wake, and one thread against another. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "infer/ring.h"

#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static bool readable(struct ring *ring, int ms) {
    struct pollfd fd = {.fd = ring_fd(ring), .events = POLLIN};
    return poll(&fd, 1, ms) == 1;
}

static void put_token(struct ring *ring, struct engine_event *event, uint32_t i) {
    memset(event, 0, sizeof *event);
    event->type = ENGINE_TOKEN;
    event->request = 5;
    event->token.index = i;
    event->token.result.n_top = i % (CANDIDATES_MAX + 2);
    for (uint32_t k = 0; k < event->token.result.n_top; k++) event->token.result.top[k].id = (int32_t)(i + k);
    ring_put(ring, event);
}

static void check_token(const struct engine_event *event, uint32_t i) {
    assert_int_equal(event->type, ENGINE_TOKEN);
    assert_int_equal(event->token.index, i);
    assert_int_equal(event->token.result.n_top, i % (CANDIDATES_MAX + 2));
    for (uint32_t k = 0; k < event->token.result.n_top; k++)
        assert_int_equal(event->token.result.top[k].id, i + k);
    assert_int_equal(event->error.code, 0);
}

static void events_come_out_as_they_went_in(void **state) {
    (void)state;
    struct ring *ring = ring_new();
    struct engine_event *event = calloc(1, sizeof *event);
    assert_false(ring_take(ring, event));
    assert_false(readable(ring, 0));
    for (uint32_t i = 0; i < 1000; i++) put_token(ring, event, i);
    *event = (struct engine_event){
        .type = ENGINE_DONE, .request = 5, .done = {.reason = ENGINE_ERROR, .stats = {.tokens = 77}}};
    err_set(&event->error, STATUS_FAILED, "no %s", "way");
    ring_put(ring, event);
    *event = (struct engine_event){.type = ENGINE_PREFILL, .request = 6, .progress = {3, 4}};
    ring_put(ring, event);
    assert_true(readable(ring, 0));
    for (uint32_t i = 0; i < 1000; i++) {
        assert_true(ring_take(ring, event));
        check_token(event, i);
    }
    assert_true(ring_take(ring, event));
    assert_int_equal(event->type, ENGINE_DONE);
    assert_int_equal(event->done.reason, ENGINE_ERROR);
    assert_int_equal(event->done.stats.tokens, 77);
    assert_int_equal(event->error.code, STATUS_FAILED);
    assert_string_equal(event->error.text, "no way");
    assert_true(ring_take(ring, event));
    assert_int_equal(event->progress.total, 4);
    assert_false(ring_take(ring, event));
    assert_false(readable(ring, 0)); /* the wake is cleared by finding nothing */
    put_token(ring, event, 1);
    assert_true(readable(ring, 0)); /* and comes again */
    ring_free(ring);
    ring_free(NULL);
    free(event);
}

/* The consumer may run at any moment: here between a record and its wake. Linked with --wrap=write. */
static struct ring *emptied_before_wake;
ssize_t __real_write(int fd, const void *bytes, size_t size);
ssize_t __wrap_write(int fd, const void *bytes, size_t size);

ssize_t __wrap_write(int fd, const void *bytes, size_t size) {
    struct ring *ring = emptied_before_wake;
    emptied_before_wake = NULL;
    if (ring) {
        struct engine_event *event = calloc(1, sizeof *event);
        assert_true(ring_take(ring, event));
        assert_false(ring_take(ring, event));
        free(event);
    }
    return __real_write(fd, bytes, size);
}

/* A wake that comes after its record was taken is cleared by the next look: the descriptor must not stay
 * readable, or its owner would never sleep again. */
static void a_late_wake_is_cleared(void **state) {
    (void)state;
    struct ring *ring = ring_new();
    struct engine_event *event = calloc(1, sizeof *event);
    emptied_before_wake = ring;
    put_token(ring, event, 1);
    assert_null(emptied_before_wake);
    assert_false(ring_take(ring, event));
    assert_false(readable(ring, 0));
    put_token(ring, event, 2);
    assert_true(readable(ring, 0));
    assert_true(ring_take(ring, event));
    ring_free(ring);
    free(event);
}

enum { MANY = 30000 };

static void *produce(void *arg) {
    struct engine_event *event = calloc(1, sizeof *event);
    for (uint32_t i = 0; i < MANY; i++) put_token(arg, event, i);
    free(event);
    return NULL;
}

/* The consumer only looks when it was woken: a lost wake would leave it waiting. */
static void no_wake_is_lost(void **state) {
    (void)state;
    struct ring *ring = ring_new();
    struct engine_event *event = calloc(1, sizeof *event);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, produce, ring), 0);
    for (uint32_t got = 0; got < MANY;) {
        assert_true(readable(ring, 20000));
        while (ring_take(ring, event)) check_token(event, got++);
    }
    pthread_join(thread, NULL);
    assert_false(ring_take(ring, event));
    ring_free(ring);
    free(event);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(events_come_out_as_they_went_in),
        cmocka_unit_test(a_late_wake_is_cleared),
        cmocka_unit_test(no_wake_is_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
