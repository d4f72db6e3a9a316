/* The frame of an engine that works in a thread of its own: request slot, event queue, stop, life and death.
 * A maker embeds it first and gives it a job.
 *
 *     LOADING --job->load ok--> IDLE --submit()--> BUSY --job->serve done--> IDLE
 *        \--load fails--> DEAD <--serve says the device is lost--/            close(): from everywhere
 *
 * Stopping: `armed` holds the id of the request that runs and was not asked to stop. stop(id) exchanges
 * exactly that id for 0, so it can never hit another request, and then raises the flag that long work polls.
 * A late flag of an earlier request may still come: whoever sees the flag asks worker_stopped(), and goes on
 * if it was not meant. A request that only looks ends when another one is armed in its place. */
#ifndef LOGITOP_INFER_WORKER_H
#define LOGITOP_INFER_WORKER_H

#include "infer/engine.h"
#include "infer/ring.h"

#include <pthread.h>
#include <stdatomic.h>

struct worker;

struct worker_job {
    /* Both run in the worker's thread. load: STATUS_OK, or why not (STATUS_STOPPED when cancelled). */
    int (*load)(struct worker *worker, struct err *err);
    /* Do what is asked; fill type-independent parts of `done` (reason, stats, error). STATUS_DEVICE: only
     * close() is left. */
    int (*serve)(struct worker *worker, const struct engine_request *request, struct engine_event *done);
};

struct worker {
    struct engine engine; /* first */
    const struct worker_job *job;
    struct ring *ring;
    pthread_t thread;
    bool has_thread;
    pthread_mutex_t lock; /* of the six below */
    pthread_cond_t changed;
    struct request_copy
        *waiting; /* given and not begun, oldest first: at most one answer, behind what only looks */
    bool ready;   /* the model is there, and the device not lost */
    bool running; /* a request is served */
    bool answers; /* one that is no look waits or is served: no other is taken */
    bool quit;
    _Atomic uint64_t armed;
    atomic_bool stop_flag;    /* what backends poll */
    atomic_bool load_stopped; /* stop(0) or close() */
    int64_t submitted_ns;     /* when the request that runs was given */
};

void worker_start(struct worker *worker, const struct engine_ops *ops,
                  const struct worker_job *job); /* on zeroed memory */
void worker_stop_and_join(
    struct worker *worker);              /* then the maker frees what the job used, then worker_free() */
void worker_free(struct worker *worker); /* not the memory of the struct itself */

/* For the table of functions. */
int worker_submit(struct engine *engine, const struct engine_request *request, struct err *err);
bool worker_next(struct engine *engine, struct engine_event *out);
int worker_wake_fd(struct engine *engine);
void worker_stop(struct engine *engine, uint64_t request);

/* For the job, in the worker's thread. */
bool worker_stopped(struct worker *worker, uint64_t request); /* really asked to; also lowers the flag */
void worker_progress(struct worker *worker, enum engine_event_type type, uint64_t request, uint64_t done,
                     uint64_t total);

#endif
