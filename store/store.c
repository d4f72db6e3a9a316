/* The queue between the caller and the writer thread. */
#include "store/store.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/thread.h"
#include "store/read.h"
#include "store/write.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

enum { COMMIT_MS = 200, RETRY_MS = 1000 };

struct store {
    struct writer writer; /* the thread's */
    struct reader *reader;
    atomic_bool stop_reading;
    pthread_t thread;
    int wake_fd;
    store_handle last_handle;

    pthread_mutex_t lock;   /* of what follows */
    pthread_cond_t changed; /* there is work for the writer */
    pthread_cond_t settled; /* the database is open, or refused, or nobody should wait for it */
    bool open;
    struct err refused;
    struct job *first, **end; /* the queue */
    struct job *in_hand;      /* what the writer took of it */
    size_t waiting;           /* in both */
    bool urgent, closing;
    uint64_t epoch;
    int64_t *ids; /* by handle, committed */
    size_t cap_ids;
    struct err error, notice;
};

/* ---- the writer thread ---- */

static struct timespec time_of(int64_t ns) {
    return (struct timespec){.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};
}

/* Until there is work whose time has come. Locked. */
static void wait_for_work(struct store *store, int64_t last_commit, bool failed) {
    int64_t due = last_commit + (int64_t)(failed ? RETRY_MS : COMMIT_MS) * 1000000;
    while (!store->closing) {
        bool hurry = store->urgent && !failed;
        if (!store->first) {
            pthread_cond_wait(&store->changed, &store->lock);
        } else if (hurry || clock_ns() >= due) {
            break;
        } else {
            struct timespec at = time_of(due);
            pthread_cond_timedwait(&store->changed, &store->lock, &at);
        }
    }
    store->urgent = false;
}

static struct job *take_all(struct store *store) {
    struct job *jobs = store->first;
    store->first = NULL;
    store->end = &store->first;
    return jobs;
}

static void put_back(struct store *store, struct job *jobs) {
    struct job **end = &jobs;
    while (*end) end = &(*end)->next;
    *end = store->first;
    if (!store->first) store->end = end;
    store->first = jobs;
}

/* Those of an epoch that is over leave. */
static struct job *without_void(struct job *jobs, uint64_t epoch, size_t *n_void) {
    struct job *kept = NULL, **end = &kept;
    *n_void = 0;
    while (jobs) {
        struct job *job = jobs;
        jobs = job->next;
        job->next = NULL;
        if (job->epoch == epoch) {
            *end = job;
            end = &job->next;
        } else {
            job_free(job);
            ++*n_void;
        }
    }
    return kept;
}

/* What a developer's log says about a commit is what tests trust in. */
static void log_commit(const struct writer *writer, const struct job *jobs) {
    for (; jobs; jobs = jobs->next)
        if (jobs->message)
            log_line("kept %s row %lld: %zu bytes, %zu of records",
                     jobs->kind == JOB_END   ? "end"
                     : jobs->kind == JOB_ADD ? "new"
                                             : "more",
                     (long long)(jobs->message < writer->cap_rows ? writer->rows[jobs->message] : 0),
                     jobs->text.len, jobs->records.len);
}

/* True if a conversation got its id. */
static bool publish(struct store *store, const struct job *jobs) {
    bool any = false;
    for (; jobs; jobs = jobs->next) {
        if (jobs->kind != JOB_BEGIN && jobs->kind != JOB_RESUME) continue;
        note_row(&store->ids, &store->cap_ids, jobs->conversation,
                 store->writer.conversations[jobs->conversation]);
        any = true;
    }
    return any;
}

/* What was deleted here is gone in the end; what others left has time. */
static bool must_clean(const struct job *jobs) {
    while (jobs && jobs->kind != JOB_DELETE && !(jobs->kind == JOB_CLEAN && jobs->flag)) jobs = jobs->next;
    return jobs != NULL;
}

/* Behind what waits already: no message waits for all of it. Locked. */
static void put_cleaning(struct store *store, bool must) {
    if (store->closing && !must) return;
    struct job *job = xcalloc(1, sizeof *job);
    job->kind = JOB_CLEAN;
    job->flag = must;
    job->epoch = store->epoch;
    *store->end = job;
    store->end = &job->next;
    store->waiting++;
}

static void wake(struct store *store) {
    fd_wake(store->wake_fd);
}

static void free_all(struct job *jobs) {
    for (struct job *next; jobs; jobs = next) {
        next = jobs->next;
        job_free(jobs);
    }
}

/* Locked before and after. False if nothing could be written. */
static bool work(struct store *store) {
    size_t n_void;
    struct job *jobs = without_void(take_all(store), store->epoch, &n_void);
    struct err error = {0};
    store->waiting -= n_void;
    if (!jobs) return true;
    store->in_hand = jobs;
    pthread_mutex_unlock(&store->lock);
    enum outcome outcome = writer_run(&store->writer, jobs, &error);
    if (outcome == OUTCOME_DONE) log_commit(&store->writer, jobs);
    pthread_mutex_lock(&store->lock);
    store->in_hand = NULL;
    if (store->writer.notice.code) {
        store->notice = store->writer.notice;
        store->writer.notice.code = STATUS_OK;
        wake(store);
    }
    if (outcome == OUTCOME_RETRY) {
        put_back(store, jobs);
        if (!store->error.code || strcmp(store->error.text, error.text)) wake(store);
        store->error = error;
        return false;
    }
    bool news = store->error.code != STATUS_OK;
    if (outcome == OUTCOME_DONE) news |= publish(store, jobs);
    if (outcome == OUTCOME_DONE && store->writer.cleaning) put_cleaning(store, must_clean(jobs));
    if (outcome == OUTCOME_VOID) store->epoch++;
    if (outcome == OUTCOME_VOID || news) wake(store);
    store->error.code = STATUS_OK;
    for (const struct job *job = jobs; job; job = job->next) store->waiting--;
    pthread_mutex_unlock(&store->lock); /* nobody waits for free() */
    free_all(jobs);
    pthread_mutex_lock(&store->lock);
    return true;
}

/* Locked before and after. What waits for a database that is refused is no longer waited for. */
static bool open_database(struct store *store) {
    struct err refused = {0};
    pthread_mutex_unlock(&store->lock);
    bool open = writer_open(&store->writer, &refused) == STATUS_OK;
    pthread_mutex_lock(&store->lock);
    store->open = open;
    store->refused = refused;
    store->notice = store->writer.notice;
    store->writer.notice.code = STATUS_OK;
    if (!open) {
        free_all(take_all(store));
        store->waiting = 0;
    }
    pthread_cond_broadcast(&store->settled);
    if (!open || store->notice.code) wake(store);
    return open;
}

static void *write_all(void *context) {
    struct store *store = context;
    int64_t last = clock_ns() - (int64_t)COMMIT_MS * 1000000;
    bool failed = false;
    pthread_mutex_lock(&store->lock);
    bool open = open_database(store);
    for (bool closing = !open; !closing || (store->first && !failed);) {
        wait_for_work(store, last, failed);
        closing = store->closing;
        failed = store->first && !work(store);
        last = clock_ns();
    }
    pthread_mutex_unlock(&store->lock);
    return NULL;
}

static struct job *new_job(enum job_kind kind) {
    struct job *job = xcalloc(1, sizeof *job);
    job->kind = kind;
    job->time = time(NULL);
    return job;
}

static void put(struct store *store, struct job *job, bool urgent) {
    pthread_mutex_lock(&store->lock);
    if (store->refused.code) {
        pthread_mutex_unlock(&store->lock);
        job_free(job);
        return;
    }
    job->epoch = store->epoch;
    *store->end = job;
    store->end = &job->next;
    store->waiting++;
    bool first = store->first == job;
    store->urgent |= urgent;
    pthread_mutex_unlock(&store->lock);
    if (first || urgent) pthread_cond_signal(&store->changed);
}

/* ---- opening ---- */

int store_open(struct store **out, const char *path, struct err *err) {
    *out = NULL;
    int wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (wake_fd < 0)
        return err_set(err, STATUS_FAILED, "cannot make an event descriptor: %s", strerror(errno));
    struct store *store = xcalloc(1, sizeof *store);
    store->writer.path = xstrdup(path);
    store->reader = reader_new(path, &store->stop_reading);
    store->wake_fd = wake_fd;
    store->end = &store->first;
    store->epoch = 1;
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&store->lock, NULL);
    pthread_cond_init(&store->changed, &monotonic);
    pthread_cond_init(&store->settled, NULL);
    pthread_condattr_destroy(&monotonic);
    put(store, new_job(JOB_TIDY), false);
    int code = thread_start(&store->thread, write_all, store);
    if (code) {
        free_all(take_all(store));
        store->thread = 0;
        store_close(store, NULL);
        return err_set(err, STATUS_FAILED, "cannot start a thread: %s", strerror(code));
    }
    *out = store;
    return STATUS_OK;
}

/* A reader may also wait; it can be stopped. */
static int wait_open(struct store *store, bool stoppable, struct err *err) {
    pthread_mutex_lock(&store->lock);
    while (!store->open && !store->refused.code && !(stoppable && atomic_load(&store->stop_reading)))
        pthread_cond_wait(&store->settled, &store->lock);
    bool stopped = stoppable && atomic_load(&store->stop_reading);
    int status = stopped       ? err_set(err, STATUS_STOPPED, "stopped")
                 : store->open ? STATUS_OK
                               : err_set(err, store->refused.code, "%s", store->refused.text);
    pthread_mutex_unlock(&store->lock);
    return status;
}

int store_wait(struct store *store, struct err *err) {
    return wait_open(store, false, err);
}

int store_close(struct store *store, struct err *err) {
    int status = STATUS_OK;
    if (!store) return status;
    pthread_mutex_lock(&store->lock);
    store->closing = true;
    pthread_cond_signal(&store->changed);
    pthread_mutex_unlock(&store->lock);
    if (store->thread) pthread_join(store->thread, NULL);
    if (store->first)
        status = err_set(err, STATUS_FAILED, "the newest part of the chat could not be kept: %s",
                         store->error.text);
    free_all(store->first);
    reader_free(store->reader);
    writer_free(&store->writer);
    close(store->wake_fd);
    pthread_cond_destroy(&store->changed);
    pthread_cond_destroy(&store->settled);
    pthread_mutex_destroy(&store->lock);
    free(store->ids);
    free(store);
    return status;
}

void store_look(struct store *store, struct store_look *out) {
    fd_calm(store->wake_fd);
    pthread_mutex_lock(&store->lock);
    *out = (struct store_look){store->epoch, store->waiting, store->error, store->notice, store->refused};
    store->notice.code = STATUS_OK;
    pthread_mutex_unlock(&store->lock);
}

int store_wake_fd(struct store *store) {
    return store->wake_fd;
}

/* ---- work ---- */

static void put_string(struct buf *buf, const char *text) {
    if (text) buf_puts(buf, text);
}

static void put_facts(struct job *job, const struct store_facts *facts) {
    put_string(&job->text, facts->title);
    put_string(&job->model, facts->model);
    put_string(&job->settings, facts->settings);
    job->flag = facts->named;
    if (facts->began) job->time = facts->began;
}

store_handle store_begin(struct store *store, const struct store_facts *facts) {
    struct job *job = new_job(JOB_BEGIN);
    put_facts(job, facts);
    store_handle handle = job->conversation = ++store->last_handle;
    put(store, job, false);
    return handle;
}

void store_change(struct store *store, store_handle conversation, const struct store_facts *facts) {
    struct job *job = new_job(JOB_CHANGE);
    job->conversation = conversation;
    put_facts(job, facts);
    put(store, job, false);
}

void store_add(struct store *store, store_handle conversation, const struct store_message *message) {
    struct job *job = new_job(JOB_ADD);
    job->conversation = conversation;
    job->message = message->number;
    job->parent = message->parent;
    job->role = message->role;
    job->time = message->born;
    job->flag = message->dropped;
    job->vocabulary = message->vocabulary;
    job->has_note = message->note != NULL;
    buf_append(&job->text, message->text, message->len);
    put_string(&job->note, message->note);
    put_string(&job->model, message->model);
    if (message->n_tokens) tokens_encode(&job->records, message->tokens, message->n_tokens);
    put(store, job, false);
}

/* Tokens come one by one: what waits for the same message grows instead. */
static bool append_to_last(struct store *store, uint64_t message, const char *text, size_t len,
                           const struct store_token *tokens, size_t n_tokens) {
    pthread_mutex_lock(&store->lock);
    struct job *last = store->first ? (struct job *)((char *)store->end - offsetof(struct job, next)) : NULL;
    bool fits = last && last->kind == JOB_APPEND && last->message == message && last->epoch == store->epoch;
    if (fits) {
        buf_append(&last->text, text, len);
        if (n_tokens) tokens_encode(&last->records, tokens, n_tokens);
    }
    pthread_mutex_unlock(&store->lock);
    return fits;
}

void store_append(struct store *store, uint64_t message, const char *text, size_t len, size_t first,
                  const struct store_token *tokens, size_t n_tokens) {
    if (append_to_last(store, message, text, len, tokens, n_tokens)) return;
    struct job *job = new_job(JOB_APPEND);
    job->message = message;
    job->first = first;
    buf_append(&job->text, text, len);
    if (n_tokens) tokens_encode(&job->records, tokens, n_tokens);
    put(store, job, false);
}

void store_end(struct store *store, const struct store_message *message) {
    struct job *job = new_job(JOB_END);
    job->message = message->number;
    job->flag = message->dropped;
    job->vocabulary = message->vocabulary;
    put_string(&job->note, message->note);
    put(store, job, true);
}

void store_remove(struct store *store, uint64_t message) {
    struct job *job = new_job(JOB_REMOVE);
    job->message = message;
    put(store, job, false);
}

void store_leaf(struct store *store, store_handle conversation, uint64_t message) {
    struct job *job = new_job(JOB_LEAF);
    job->conversation = conversation;
    job->message = message;
    put(store, job, false);
}

void store_draft(struct store *store, store_handle conversation, const char *text, size_t len) {
    struct job *job = new_job(JOB_DRAFT);
    job->conversation = conversation;
    if (!conversation) job->id = -(int64_t)getpid();
    buf_append(&job->text, text, len);
    put(store, job, false);
}

void store_delete(struct store *store, int64_t id) {
    struct job *job = new_job(JOB_DELETE);
    job->id = id;
    put(store, job, true);
}

int64_t store_id(struct store *store, store_handle conversation) {
    pthread_mutex_lock(&store->lock);
    int64_t id = conversation < store->cap_ids ? store->ids[conversation] : 0;
    pthread_mutex_unlock(&store->lock);
    return id;
}

store_handle store_resume(struct store *store, const struct store_conversation *conversation,
                          const uint64_t *numbers) {
    struct job *job = new_job(JOB_RESUME);
    size_t n = job->n = conversation->n;
    job->id = conversation->id;
    job->numbers = n ? (uint64_t *)xmemdup(numbers, n * sizeof *numbers) : NULL;
    job->rows = n ? (int64_t *)xmemdup(conversation->rows, n * sizeof *conversation->rows) : NULL;
    store_handle handle = job->conversation = ++store->last_handle;
    pthread_mutex_lock(&store->lock);
    note_row(&store->ids, &store->cap_ids, handle, conversation->id);
    pthread_mutex_unlock(&store->lock);
    put(store, job, true);
    return handle;
}

/* ---- reading ---- */

/* A reader that met damage has it repaired, and begins anew when that is done. */
static int told(struct store *store, int status, bool damaged) {
    if (damaged) put(store, new_job(JOB_REPAIR), true);
    return status;
}

void store_stop_reading(struct store *store, bool stop) {
    pthread_mutex_lock(&store->lock);
    atomic_store(&store->stop_reading, stop);
    pthread_cond_broadcast(&store->settled);
    pthread_mutex_unlock(&store->lock);
}

static void add_doomed(struct doomed *doomed, const struct job *jobs) {
    for (; jobs; jobs = jobs->next) {
        if (jobs->kind != JOB_DELETE) continue;
        grow_array(&doomed->ids, &doomed->cap, doomed->n + 1, sizeof *doomed->ids);
        doomed->ids[doomed->n++] = jobs->id;
    }
}

/* Looked for before the database is read: what is committed in between is in neither. */
static struct doomed find_doomed(struct store *store) {
    struct doomed doomed = {0};
    pthread_mutex_lock(&store->lock);
    add_doomed(&doomed, store->in_hand);
    add_doomed(&doomed, store->first);
    pthread_mutex_unlock(&store->lock);
    return doomed;
}

int store_list(struct store *store, const char *query, uint32_t limit, struct arena *arena,
               struct store_row **rows, size_t *n, struct err *err) {
    bool damaged = false;
    size_t kept = 0;
    *rows = NULL;
    *n = 0;
    int status = wait_open(store, true, err);
    if (status < 0) return status;
    struct doomed doomed = find_doomed(store);
    status = reader_list(store->reader, query, limit, arena, rows, n, &damaged, err);
    for (size_t i = 0; i < *n; i++)
        if (!doomed_has(&doomed, (*rows)[i].id)) (*rows)[kept++] = (*rows)[i];
    *n = kept;
    free(doomed.ids);
    return told(store, status, damaged);
}

int store_load(struct store *store, int64_t id, struct store_conversation *out, struct err *err) {
    bool damaged = false;
    *out = (struct store_conversation){.id = id};
    int status = wait_open(store, true, err);
    if (status < 0) return status;
    struct doomed doomed = find_doomed(store);
    status = reader_load(store->reader, id, &doomed, out, &damaged, err);
    free(doomed.ids);
    return told(store, status, damaged);
}

void store_conversation_free(struct store_conversation *conversation) {
    for (size_t i = 0; i < conversation->n; i++) free((void *)conversation->messages[i].tokens);
    arena_free(&conversation->arena);
    *conversation = (struct store_conversation){0};
}

char *store_read_draft(struct store *store, int64_t *id) {
    return wait_open(store, true, NULL) == STATUS_OK ? reader_draft(store->reader, id) : NULL;
}

void store_forget_draft(struct store *store, int64_t id) {
    struct job *job = new_job(JOB_DRAFT);
    job->id = id;
    put(store, job, false);
}
