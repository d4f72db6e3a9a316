#include "app/lookup.h"

#include "base/fd.h"
#include "base/mem.h"
#include "base/thread.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { LISTED_MAX = 500 };

struct question {
    bool asked;      /* and nobody works on it yet */
    uint64_t serial; /* grows with every question: an answer to another one is not wanted any more */
    char *words;
    int64_t id;
    struct lookup_answer *answer; /* not taken yet */
};

struct lookup {
    struct store *store;
    pthread_t thread;
    int wake_fd;

    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t changed;
    struct question questions[LOOKUP_KIND_COUNT];
    int running; /* the kind that is worked on; -1: none */
    bool closing;
};

void lookup_answer_free(struct lookup_answer *answer) {
    if (!answer) return;
    arena_free(&answer->arena);
    kept_chat_free(&answer->chat);
    free(answer->draft);
    free(answer);
}

/* ---- the thread ---- */

static struct lookup_answer *find_answer(struct store *store, enum lookup_kind kind, const char *words,
                                         int64_t id) {
    struct lookup_answer *answer = xcalloc(1, sizeof *answer);
    answer->kind = kind;
    switch (kind) {
    case LOOKUP_LIST:
        store_list(store, words, LISTED_MAX, &answer->arena, &answer->rows, &answer->n_rows, &answer->err);
        break;
    case LOOKUP_CHAT: kept_chat_load(store, id, &answer->chat, &answer->err); break;
    case LOOKUP_DRAFT: answer->draft = store_read_draft(store, &answer->draft_id); break;
    case LOOKUP_KIND_COUNT: break;
    }
    if (answer->err.code) answer->n_rows = 0; /* all or nothing */
    return answer;
}

/* Locked. -1: nothing is asked. */
static int next_kind(const struct lookup *lookup) {
    for (int kind = 0; kind < LOOKUP_KIND_COUNT; kind++)
        if (lookup->questions[kind].asked) return kind;
    return -1;
}

/* Locked before and after. */
static void work(struct lookup *lookup, int kind) {
    struct question *question = &lookup->questions[kind];
    uint64_t serial = question->serial;
    int64_t id = question->id;
    char *words = question->words;
    question->words = NULL;
    question->asked = false;
    lookup->running = kind;
    store_stop_reading(lookup->store, false);
    pthread_mutex_unlock(&lookup->lock);
    struct lookup_answer *answer = find_answer(lookup->store, (enum lookup_kind)kind, words, id);
    free(words);
    pthread_mutex_lock(&lookup->lock);
    lookup->running = -1;
    if (question->serial == serial) {
        question->answer = answer;
        fd_wake(lookup->wake_fd);
        return;
    }
    pthread_mutex_unlock(&lookup->lock);
    lookup_answer_free(answer);
    pthread_mutex_lock(&lookup->lock);
}

static void *run(void *context) {
    struct lookup *lookup = context;
    pthread_mutex_lock(&lookup->lock);
    while (!lookup->closing) {
        int kind = next_kind(lookup);
        if (kind >= 0)
            work(lookup, kind);
        else
            pthread_cond_wait(&lookup->changed, &lookup->lock);
    }
    pthread_mutex_unlock(&lookup->lock);
    return NULL;
}

/* ---- the UI's side ---- */

struct lookup *lookup_open(struct store *store, struct err *err) {
    struct lookup *lookup = xcalloc(1, sizeof *lookup);
    lookup->store = store;
    lookup->running = -1;
    lookup->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    pthread_mutex_init(&lookup->lock, NULL);
    pthread_cond_init(&lookup->changed, NULL);
    int failed = lookup->wake_fd < 0 ? errno : thread_start(&lookup->thread, run, lookup);
    if (!failed) return lookup;
    if (lookup->wake_fd >= 0) close(lookup->wake_fd);
    free(lookup);
    err_set(err, STATUS_FAILED, "kept chats cannot be opened: no thread for that: %s", strerror(failed));
    return NULL;
}

/* A newer question, or none, in place of the one of this kind. Gives back its answer, which nobody took. */
static struct lookup_answer *replace(struct lookup *lookup, enum lookup_kind kind, bool asked, char *words,
                                     int64_t id) {
    struct question *question = &lookup->questions[kind];
    pthread_mutex_lock(&lookup->lock);
    struct lookup_answer *old = question->answer;
    free(question->words);
    *question = (struct question){.asked = asked, .serial = question->serial + 1, .words = words, .id = id};
    if (lookup->running == (int)kind) store_stop_reading(lookup->store, true);
    pthread_cond_signal(&lookup->changed);
    pthread_mutex_unlock(&lookup->lock);
    return old;
}

void lookup_list(struct lookup *lookup, const char *words) {
    lookup_answer_free(replace(lookup, LOOKUP_LIST, true, xstrdup(words), 0));
}

void lookup_chat(struct lookup *lookup, int64_t id) {
    lookup_answer_free(replace(lookup, LOOKUP_CHAT, true, NULL, id));
}

void lookup_draft(struct lookup *lookup) {
    lookup_answer_free(replace(lookup, LOOKUP_DRAFT, true, NULL, 0));
}

void lookup_forget(struct lookup *lookup, enum lookup_kind kind) {
    lookup_answer_free(replace(lookup, kind, false, NULL, 0));
}

int lookup_wake_fd(const struct lookup *lookup) {
    return lookup ? lookup->wake_fd : -1;
}

struct lookup_answer *lookup_take(struct lookup *lookup) {
    struct lookup_answer *answer = NULL;
    if (!lookup) return NULL;
    pthread_mutex_lock(&lookup->lock);
    for (int kind = 0; kind < LOOKUP_KIND_COUNT && !answer; kind++) {
        answer = lookup->questions[kind].answer;
        lookup->questions[kind].answer = NULL;
    }
    if (!answer) fd_calm(lookup->wake_fd); /* the last one was taken */
    pthread_mutex_unlock(&lookup->lock);
    return answer;
}

void lookup_close(struct lookup *lookup) {
    if (!lookup) return;
    pthread_mutex_lock(&lookup->lock);
    lookup->closing = true;
    store_stop_reading(lookup->store, true);
    pthread_cond_signal(&lookup->changed);
    pthread_mutex_unlock(&lookup->lock);
    pthread_join(lookup->thread, NULL);
    for (int kind = 0; kind < LOOKUP_KIND_COUNT; kind++) {
        free(lookup->questions[kind].words);
        lookup_answer_free(lookup->questions[kind].answer);
    }
    pthread_mutex_destroy(&lookup->lock);
    pthread_cond_destroy(&lookup->changed);
    close(lookup->wake_fd);
    free(lookup);
}
