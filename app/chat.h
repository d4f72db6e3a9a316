/* A chat: one engine, one conversation, one request at a time. Both front ends (the screen and the line mode)
 * stand on it.
 *
 *   LOADING --ready--> IDLE --send, continue--> PREFILL --first token--> ANSWERING --done--> IDLE
 *   any state --failed--> FAILED: what was said can be read, and another model loaded
 *
 * UI thread only. */
#ifndef LOGITOP_APP_CHAT_H
#define LOGITOP_APP_CHAT_H

#include "app/conversation.h"
#include "app/keeper.h"
#include "app/options.h"
#include "infer/engine.h"
#include "infer/tools.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum chat_state { CHAT_LOADING, CHAT_IDLE, CHAT_PREFILL, CHAT_ANSWERING, CHAT_FAILED };

enum { CHAT_SPEED_WINDOW = 16, CHAT_LOOKS = 4 };

/* Gets the events of a request that only looks, ENGINE_DONE the last. */
typedef void chat_look_fn(void *ctx, const struct engine_event *event);

struct chat {
    struct engine *engine;     /* owned */
    char *model_path;          /* of its file; NULL: a script */
    struct engine_options how; /* device, threads and so on, for whatever model; strings are the options' */
    const char *models_dir;    /* the options' */
    bool offline;              /* no model may be fetched */
    bool incognito;            /* that a model was used is not noted */
    char *template_path;       /* the model that how.chat_template is for: the first one */
    struct engine *coming;     /* another model that is being loaded beside the one that speaks; NULL */
    char *coming_path;
    bool coming_ready; /* it waits for the end of the answer */
    char *former_path; /* that the model which is being loaded took the place of: to go back to; NULL */
    const struct engine_info *info; /* NULL while loading */
    struct settings settings;
    struct sampling drawn; /* of them, what the newest answer is drawn with, */
    uint64_t drawn_id;     /* this message; 0: there is none */
    struct conversation conversation;
    const struct chat_keeper *keeper; /* NULL: nothing is kept. Set it after chat_open() */
    struct said *
        editing; /* what is sent next takes this message's place on a new branch; NULL: it follows the leaf */
    struct buf system;    /* for the next chat too */
    struct buf variables; /* of the template: a JSON object; empty: none. For the next chat too */
    bool fold;            /* the system text goes into the first message. For the next chat too */
    int64_t began;        /* of the conversation, seconds since the epoch; 0: nothing was asked yet */
    struct buf earlier;   /* chats that /new ended, as text for the transcript */
    struct buf waiting;   /* said while the model loads or answers: sent when that is over */
    uint32_t n_waited;    /* questions that waited so far */
    struct buf
        returned;    /* a question that was not answered at all: back into the box. The front end takes it */
    bool wants_fold; /* the template refused, and would not have with `fold` */
    struct buf notice;  /* the last thing the engine wants a person to know */
    bool has_notice;    /* it is new. The front end shows it and lowers this */
    struct buf refused; /* the question it refused; empty: an answer to be continued */

    uint32_t n_engines; /* that took the place of another: records of an older one say nothing of this one */

    enum chat_state state;
    uint64_t request, last_request; /* running (0: none); the last id used */
    struct chat_prompt {
        struct prompt_token
            *tokens; /* [n] of the last answer; messages are those of the path that are sent */
        size_t n, cap;
        bool whole;       /* all of it is there */
        uint64_t changes; /* conversation.changes of the path it is of */
        size_t n_before;  /* tokens of its leaf that are in the prompt */
    } prompt;
    const char *thought_end; /* prompts of this template begin a thought that this tag ends; NULL: as far as
                                is known they do not */
    bool answer_now;         /* stopped to end its thinking, then it goes on */
    bool continuing;         /* the running request goes on in an older answer */
    struct said *answer;     /* that the running request fills */
    struct said *edited;     /* that its question took the place of; NULL: none */
    struct said *computed;   /* the path to here is in the KV cache; NULL: none is */
    uint64_t last_said;      /* id of the newest message before the last change to the tree */
    bool told_conversation;  /* what the keeper knows: that this conversation began, */
    struct said *told_leaf;  /* where the path ends, */
    size_t told_tokens;      /* how much of the answer */
    bool moved;              /* its device was lost, and it goes on on another */
    bool moving;             /* onto which the model is being loaded */
    struct chat_look {
        uint64_t request; /* 0: none */
        chat_look_fn *tell;
        void *ctx;
    } looks[CHAT_LOOKS];
    uint64_t progress_done, progress_total;
    enum engine_reason reason; /* of the last request */
    struct engine_stats stats; /* of the last request; context_used grows while it answers */
    bool has_stats;
    struct err error; /* of the last failure; code 0: none */

    float window[CHAT_SPEED_WINDOW]; /* ms of the newest tokens */
    uint32_t n_said;                 /* tokens of the running or last request */
    double said_ms;                  /* their time */
};

/* Of the options: the settings, the system message, and what the template is told. All is copied. */
void chat_open(struct chat *chat, struct engine *engine, const struct options *options);
void chat_close(struct chat *chat);

/* Take all events that wait. True if anything changed. */
bool chat_pump(struct chat *chat);

/* A question, or in place of the message that is edited another one; while the model loads it waits.
 * STATUS_BUSY while an answer runs. */
int chat_send(struct chat *chat, const char *text, size_t len, struct err *err);
/* A question while an answer runs: it is asked when that is done; taken back, it goes into `returned`. One
 * can wait. Where the answer is stopped or fails it is not asked, and goes back too. */
int chat_queue(struct chat *chat, const char *text, size_t len, struct err *err);
bool chat_unqueue(struct chat *chat); /* false: none waits */
/* Go on with an answer that was cut, or answer a question that was not. */
int chat_continue(struct chat *chat, struct err *err);
/* Another answer to the last question, beside the one there is: with the next attempt of the same seed. */
int chat_regenerate(struct chat *chat, struct err *err);
bool chat_stop(struct chat *chat); /* false: nothing runs */
/* Enough thought: the thinking of the newest answer ends here, and the answer begins. */
int chat_answer_now(struct chat *chat, struct err *err);
int chat_new(struct chat *chat, struct err *err);
int chat_set_system(struct chat *chat, const char *text, size_t len, struct err *err);
/* From here on the system text goes into the first message, for templates that know no system role. What such
 * a template refused is asked again: as `text`, or as it was where that is empty. */
int chat_fold(struct chat *chat, const char *text, size_t len, struct err *err);
/* A setting by its name, from the next answer on. */
int chat_set(struct chat *chat, const char *name, const char *value, struct err *err);
/* A variable of the template, from the next answer on; `value` as --template-var reads it. */
int chat_set_variable(struct chat *chat, const char *name, const char *value, struct err *err);
/* Another model goes on with the conversation, whose prompt is made anew by its template. It is loaded beside
 * the one there is where both fit in memory; else that one's memory is given back first, which an answer must
 * not be under way for. Whatever goes wrong, the former model speaks on. */
int chat_use_model(struct chat *chat, const char *path, const struct model_facts *facts, struct err *err);
/* The same by a path or a name of the list (app/model_choice.h). */
int chat_use_named(struct chat *chat, const char *name, struct err *err);
bool chat_model_coming(const struct chat *chat); /* another model is being loaded */
bool chat_model_cancel(struct chat *chat);       /* not any more; false: none was */

/* Make room: drop the oldest turns, *n_dropped, until half of the context is free. STATUS_USAGE: there is
 * one alone. STATUS_CONTEXT_FULL: which is too long by itself. */
int chat_drop(struct chat *chat, unsigned *n_dropped, struct err *err);
/* Send all of the path again, *n_turns of which were dropped. */
int chat_undrop(struct chat *chat, unsigned *n_turns, struct err *err);

/* ---- branches (app/chat_tree.c) ---- */

/* Another text in place of this message, on a branch of its own: a question is asked, the model's words only
 * stand there. The system text has no branches, it changes. Nothing that was said is lost. */
int chat_edit(struct chat *chat, struct said *said, const char *text, size_t len, struct err *err);
/* The next text that is sent takes this message's place. */
int chat_edit_begin(struct chat *chat, struct said *said, struct err *err);
/* An answer beside `said`: its first `keep` tokens, then what a person put behind them, then the engine goes
 * on. */
struct chat_fork {
    const struct said *from; /* whose tokens are kept; NULL: of `said` */
    size_t keep;
    const int32_t *ids; /* [n_ids]; an end token ends the answer there */
    size_t n_ids;
    bool reroll;    /* with another draw from the same seed */
    uint32_t limit; /* tokens to say; 0: as many as the settings say */
};
int chat_fork(struct chat *chat, struct said *said, const struct chat_fork *fork, struct err *err);
/* Go on with an answer that is the leaf, as /continue does, by at most `limit` tokens. */
int chat_go_on(struct chat *chat, struct said *said, uint32_t limit, struct err *err);
/* The path goes through this message, and down to where it ended when it last did. */
int chat_switch(struct chat *chat, struct said *said, struct err *err);
/* The path as it was before the last change to it; and forth again. */
int chat_undo(struct chat *chat, struct err *err);
int chat_redo(struct chat *chat, struct err *err);
/* Tokens of the path, roughly, that are not in the KV cache of the last answer: what the next answer computes
 * anew. */
size_t chat_uncached(const struct chat *chat);
/* Tokens of the context that the path has taken up to its last answer. */
uint32_t chat_context_used(const struct chat *chat);

/* Ask the engine to look at the path, or at a raw text; an answer takes its place at any time. Of the request
 * only kind, from, to, and raw or prompt_of are to be filled in; it gets its id. */
int chat_look(struct chat *chat, struct engine_request *request, chat_look_fn *tell, void *ctx,
              struct err *err);
/* Nobody wants what that look would still tell: it ends soon. Nothing for one that has ended. */
void chat_look_stop(struct chat *chat, uint64_t request);

bool chat_busy(const struct chat *chat);       /* an answer runs */
bool chat_is_looking(const struct chat *chat); /* the engine was asked to look, and is not done */
/* The prompt of the last answer, as long as the path is that of this answer; NULL: it is not, or not all of
 * the prompt is there yet. */
const struct chat_prompt *chat_prompt_of_path(const struct chat *chat);
double chat_tps_now(const struct chat *chat); /* of the newest tokens; 0: nothing to tell */
double chat_tps_mean(const struct chat *chat);
const struct said *chat_shown(const struct chat *chat); /* the newest message with tokens; NULL: none */
/* "SmolLM2-135M-Instruct.Q4_1", "tiny Q4_K_M": the model there is, its quantisation named once. */
void chat_model_title(const struct chat *chat, struct buf *out);
void chat_print_stats(const struct chat *chat, struct buf *out);

#endif
