#include "infer/ring.h"

#include "base/mem.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { CHUNK_BYTES = 128 * 1024 };

/* `written` grows as records are complete; `next` is set once nothing more will be written here. */
struct chunk {
    atomic_size_t written;
    struct chunk *_Atomic next;
    _Alignas(16) char bytes[CHUNK_BYTES];
};

struct ring {
    struct chunk *head; /* the consumer's */
    size_t read;
    struct chunk *tail; /* the producer's */
    atomic_bool woken;  /* a wake is in the descriptor, or on its way */
    int fd;
};

/* A record: this, then `body` bytes of the event's union, then `error` bytes of the error's text. */
struct record {
    uint32_t size; /* of all of it, a multiple of 16 */
    uint32_t body, error;
    int32_t error_code;
    uint64_t request;
    enum engine_event_type type;
};

_Static_assert(sizeof(struct record) + sizeof(struct engine_event) + 32 < CHUNK_BYTES,
               "an event fits into a chunk");

static struct chunk *chunk_new(void) {
    struct chunk *chunk = xmalloc(sizeof *chunk);
    atomic_init(&chunk->written, 0);
    atomic_init(&chunk->next, NULL);
    return chunk;
}

struct ring *ring_new(void) {
    struct ring *ring = xcalloc(1, sizeof *ring);
    ring->head = ring->tail = chunk_new();
    atomic_init(&ring->woken, false);
    ring->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    return ring;
}

void ring_free(struct ring *ring) {
    if (!ring) return;
    for (struct chunk *chunk = ring->head; chunk;) {
        struct chunk *next = atomic_load(&chunk->next);
        free(chunk);
        chunk = next;
    }
    if (ring->fd >= 0) close(ring->fd);
    free(ring);
}

int ring_fd(const struct ring *ring) {
    return ring->fd;
}

/* How much of the event's union means something. */
static size_t body_size(const struct engine_event *event) {
    switch (event->type) {
    case ENGINE_TOKEN:
        return offsetof(struct token_record, result) + offsetof(struct step_result, top) +
               event->token.result.n_top * sizeof(struct candidate);
    case ENGINE_PROMPT:
        return offsetof(struct engine_event, prompt.tokens) - offsetof(struct engine_event, progress) +
               event->prompt.n * sizeof *event->prompt.tokens;
    case ENGINE_STAGES:
        return offsetof(struct engine_event, stages.table.probs) - offsetof(struct engine_event, progress) +
               event->stages.table.n_stages * event->stages.table.n_candidates * sizeof(float);
    case ENGINE_DONE: return sizeof event->done;
    default: return sizeof event->progress;
    }
}

void ring_put(struct ring *ring, const struct engine_event *event) {
    size_t body = body_size(event), error = event->error.code ? strlen(event->error.text) : 0;
    size_t size = (sizeof(struct record) + body + error + 15) / 16 * 16;
    size_t at = atomic_load_explicit(&ring->tail->written, memory_order_relaxed);
    if (at + size > CHUNK_BYTES) {
        struct chunk *chunk = chunk_new();
        atomic_store(&ring->tail->next, chunk);
        ring->tail = chunk;
        at = 0;
    }
    struct record record = {(uint32_t)size,    (uint32_t)body, (uint32_t)error,
                            event->error.code, event->request, event->type};
    char *to = ring->tail->bytes + at;
    memcpy(to, &record, sizeof record);
    memcpy(to + sizeof record, (const char *)event + offsetof(struct engine_event, progress), body);
    memcpy(to + sizeof record + body, event->error.text, error);
    atomic_store(&ring->tail->written, at + size);
    if (!atomic_exchange(&ring->woken, true) && ring->fd >= 0) {
        uint64_t one = 1;
        while (write(ring->fd, &one, sizeof one) < 0) {} /* can only be interrupted: the counter is 0 */
    }
}

static bool take_record(struct ring *ring, struct engine_event *out) {
    struct chunk *next =
        atomic_load(&ring->head->next); /* before `written`: set means that `written` is final */
    if (ring->read == atomic_load(&ring->head->written)) {
        if (!next) return false;
        free(ring->head);
        ring->head = next;
        ring->read = 0;
        if (atomic_load(&next->written) == 0) return false;
    }
    const char *from = ring->head->bytes + ring->read;
    struct record record;
    memcpy(&record, from, sizeof record);
    out->type = record.type;
    out->request = record.request;
    memcpy((char *)out + offsetof(struct engine_event, progress), from + sizeof record, record.body);
    out->error.code = record.error_code;
    memcpy(out->error.text, from + sizeof record + record.body, record.error);
    out->error.text[record.error] = '\0';
    ring->read += record.size;
    return true;
}

bool ring_take(struct ring *ring, struct engine_event *out) {
    if (take_record(ring, out)) return true;
    if (!atomic_load(&ring->woken)) return false;
    /* Take the wake away, allow the next one, and look again: what came in between made no wake of its own. A
     * wake that is still on its way must find `woken` set when it comes, or nobody would take it away: the
     * look after it does. */
    uint64_t count;
    if (ring->fd >= 0 && read(ring->fd, &count, sizeof count) < 0) return false;
    atomic_store(&ring->woken, false);
    return take_record(ring, out);
}
