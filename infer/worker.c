#include "infer/worker.h"

#include "base/arena.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/thread.h"

#include <stdlib.h>
#include <string.h>

struct request_copy {
    struct request_copy *next; /* that was given after it */
    struct arena arena;        /* holds what the request points at */
    struct engine_request request;
    int64_t submitted_ns;
};

static struct request_copy *copy_new(const struct engine_request *from) {
    struct request_copy *copy = xcalloc(1, sizeof *copy);
    copy->request = *from;
    copy->submitted_ns = clock_ns();
    if (from->raw) copy->request.raw = arena_dup(&copy->arena, from->raw, from->raw_len);
    if (from->template_variables)
        copy->request.template_variables =
            arena_dup(&copy->arena, from->template_variables, strlen(from->template_variables));
    struct message *messages = arena_alloc(&copy->arena, (from->n_messages + 1) * sizeof *messages);
    for (size_t i = 0; i < from->n_messages; i++) {
        messages[i] = from->messages[i];
        messages[i].role = arena_dup(&copy->arena, from->messages[i].role, strlen(from->messages[i].role));
        messages[i].text = arena_dup(&copy->arena, from->messages[i].text, from->messages[i].len);
        if (from->messages[i].ids)
            messages[i].ids = (const int32_t *)(const void *)arena_dup(
                &copy->arena, from->messages[i].ids, from->messages[i].n_ids * sizeof(int32_t));
    }
    copy->request.messages = messages;
    return copy;
}

static void copy_free(struct request_copy *copy) {
    if (!copy) return;
    arena_free(&copy->arena);
    free(copy);
}

/* ---- the worker's thread ---- */

void worker_progress(struct worker *worker, enum engine_event_type type, uint64_t request, uint64_t done,
                     uint64_t total) {
    static const struct engine_event blank;
    struct engine_event event = blank;
    event.type = type;
    event.request = request;
    event.progress.done = done;
    event.progress.total = total;
    ring_put(worker->ring, &event);
}

bool worker_stopped(struct worker *worker, uint64_t request) {
    atomic_store(&worker->stop_flag, false); /* first: a stop that comes now raises it again */
    return atomic_load(&worker->armed) != request;
}

/* Wait for a request; NULL: it is time to go. */
static struct request_copy *next_request(struct worker *worker) {
    pthread_mutex_lock(&worker->lock);
    while (!worker->waiting && !worker->quit) pthread_cond_wait(&worker->changed, &worker->lock);
    struct request_copy *copy = worker->quit ? NULL : worker->waiting;
    if (copy) worker->waiting = copy->next;
    worker->running = copy != NULL;
    pthread_mutex_unlock(&worker->lock);
    /* No longer wanted before it began: the flag may have been taken for the one before it. */
    if (copy && atomic_load(&worker->armed) != copy->request.id) atomic_store(&worker->stop_flag, true);
    return copy;
}

/* It was served: its reader may submit at once. */
static void request_served(struct worker *worker, const struct engine_request *request) {
    uint64_t id = request->id;
    pthread_mutex_lock(&worker->lock);
    worker->running = false;
    if (request->kind == REQUEST_ANSWER) worker->answers = false;
    atomic_compare_exchange_strong(&worker->armed, &id, 0);
    pthread_mutex_unlock(&worker->lock);
}

static void set_ready(struct worker *worker, bool ready) {
    pthread_mutex_lock(&worker->lock);
    worker->ready = ready;
    pthread_mutex_unlock(&worker->lock);
}

static void put_failed(struct worker *worker, const struct err *err) {
    struct engine_event *event = xcalloc(1, sizeof *event);
    event->type = ENGINE_FAILED;
    event->error = *err;
    ring_put(worker->ring, event);
    free(event);
}

/* The device is lost: what waits behind the request that found so ends like it. */
static void end_waiting(struct worker *worker, struct engine_event *done) {
    while (worker->waiting) { /* nobody adds to it any more */
        struct request_copy *copy = worker->waiting;
        worker->waiting = copy->next;
        done->request = copy->request.id;
        ring_put(worker->ring, done);
        copy_free(copy);
    }
}

static void *worker_main(void *arg) {
    struct worker *worker = arg;
    struct err err = {0};
    if (worker->job->load(worker, &err) != STATUS_OK) {
        put_failed(worker, &err);
        return NULL;
    }
    set_ready(worker, true);
    worker_progress(worker, ENGINE_READY, 0, 0, 0);
    struct engine_event *done = xmalloc(sizeof *done);
    for (struct request_copy *copy; (copy = next_request(worker));) {
        memset(done, 0, sizeof *done);
        done->type = ENGINE_DONE;
        done->request = copy->request.id;
        worker->submitted_ns = copy->submitted_ns;
        int status = worker->job->serve(worker, &copy->request, done);
        if (status == STATUS_DEVICE) set_ready(worker, false);
        request_served(worker, &copy->request); /* before the event that tells so */
        copy_free(copy);
        ring_put(worker->ring, done);
        if (status == STATUS_DEVICE) {
            end_waiting(worker, done);
            put_failed(worker, &done->error);
            break;
        }
    }
    free(done);
    return NULL;
}

/* ---- the owner ---- */

void worker_start(struct worker *worker, const struct engine_ops *ops, const struct worker_job *job) {
    worker->engine.ops = ops;
    worker->job = job;
    worker->ring = ring_new();
    pthread_mutex_init(&worker->lock, NULL);
    pthread_cond_init(&worker->changed, NULL);
    int failed = thread_start(&worker->thread, worker_main, worker);
    worker->has_thread = !failed;
    if (failed) {
        struct err err;
        err_set(&err, STATUS_FAILED, "no thread for the engine: %s", strerror(failed));
        put_failed(worker, &err);
    }
}

int worker_submit(struct engine *engine, const struct engine_request *request, struct err *err) {
    struct worker *worker = (struct worker *)engine;
    if (request->id == 0) return err_set(err, STATUS_USAGE, "request id 0, expected another number");
    if (request->top_k > CANDIDATES_MAX)
        return err_set(err, STATUS_USAGE, "%u candidates a token, expected at most %d", request->top_k,
                       CANDIDATES_MAX);
    struct request_copy *copy = copy_new(request), **last = &worker->waiting;
    pthread_mutex_lock(&worker->lock);
    bool taken = worker->ready && !worker->answers;
    if (taken) {
        while (*last) last = &(*last)->next;
        *last = copy;
        worker->answers = request->kind == REQUEST_ANSWER;
        atomic_store(&worker->armed,
                     request->id); /* what only looks is so no longer: it sees the flag and ends */
        atomic_store(&worker->stop_flag, worker->running);
        pthread_cond_signal(&worker->changed);
    }
    pthread_mutex_unlock(&worker->lock);
    if (taken) return STATUS_OK;
    copy_free(copy);
    return err_set(err, STATUS_BUSY, "the engine is busy");
}

bool worker_next(struct engine *engine, struct engine_event *out) {
    return ring_take(((struct worker *)engine)->ring, out);
}

int worker_wake_fd(struct engine *engine) {
    return ring_fd(((struct worker *)engine)->ring);
}

void worker_stop(struct engine *engine, uint64_t request) {
    struct worker *worker = (struct worker *)engine;
    if (request == 0) {
        atomic_store(&worker->load_stopped, true);
        return;
    }
    uint64_t expected = request;
    if (atomic_compare_exchange_strong(&worker->armed, &expected, 0)) atomic_store(&worker->stop_flag, true);
}

void worker_stop_and_join(struct worker *worker) {
    worker_stop(&worker->engine, 0);
    worker_stop(&worker->engine, atomic_load(&worker->armed));
    pthread_mutex_lock(&worker->lock);
    worker->quit = true;
    pthread_cond_signal(&worker->changed);
    pthread_mutex_unlock(&worker->lock);
    if (worker->has_thread) pthread_join(worker->thread, NULL);
}

void worker_free(struct worker *worker) {
    for (struct request_copy *copy = worker->waiting, *next; copy; copy = next) {
        next = copy->next;
        copy_free(copy);
    }
    ring_free(worker->ring);
    pthread_mutex_destroy(&worker->lock);
    pthread_cond_destroy(&worker->changed);
}
