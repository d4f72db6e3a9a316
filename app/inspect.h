/* Inspect mode: a cursor on one token of all that the model read and said, what else could have come there,
 * and the ways from there. What is not known of a token is asked of the engine when the cursor comes there.
 *
 *     the path changes --> LIST: the tokens of the prompt, each in its message. An answer tells its own
 * prompt the cursor moves --> SCORE: candidates of a few tokens around it (those of answers are known
 * already)
 *                      --> STAGES: what the sampler chain made of them
 *
 * While an answer runs its prompt's tokens and its own are there; what is not known of them is asked for when
 * it is done. UI thread only. */
#ifndef LOGITOP_APP_INSPECT_H
#define LOGITOP_APP_INSPECT_H

#include "app/chat.h"
#include "ui/ui.h"

struct inspect_token {
    struct said *said; /* NULL: written by the template */
    size_t index;      /* among the message's tokens; of a template's: in their run */
    size_t begin, end; /* its bytes in the message's text */
    int32_t id;
    bool kept; /* it is said->tokens[index], which tells what was known when it was said */
    const struct kept_token *record; /* what was found out since; NULL: nothing */
};

/* A message's tokens, one behind the other. Spans are in the order of the path. */
struct inspect_span {
    struct said *said;
    uint64_t id; /* of it, and what its text was then */
    uint32_t version;
    size_t begin, end;
};

/* Where the cursor was put, to be found again among other tokens. */
struct inspect_place {
    uint64_t said; /* id of the message; 0: in the template, or wherever `cursor` is */
    size_t index, cursor;
};

struct inspect {
    struct chat *chat;
    bool on;
    struct inspect_token *tokens; /* [n] of the context, as far as they are known */
    struct ui_token *shown;       /* [n] the same for the screen */
    size_t n, cap, cap_shown;
    struct inspect_span *spans; /* [n_spans] the messages among them */
    size_t n_spans, cap_spans;
    bool whole;  /* they are the context from its beginning: their places are positions in it */
    bool listed; /* and the engine would make the same prompt of the path now: it can be asked about them */
    struct said *grows; /* the last message that is sent, */
    size_t n_grown;     /* of whose tokens so many are there */
    uint64_t stamp;     /* of the path that the tokens are of; 0: none */
    size_t cursor;      /* < n, or 0 */
    struct inspect_place place;
    struct {
        uint64_t said; /* 0: nowhere */
        size_t offset;
    } point;         /* where it was sent before that message's tokens were known */
    size_t selected; /* row of the candidates */
    bool follow;     /* the cursor goes to the newest token as it comes */

    /* the whole context before, whose records may still hold */
    struct inspect_token *former; /* [n_former]; their messages may be gone */
    size_t n_former, cap_former;
    uint32_t engine; /* chat.n_engines that told the records */

    /* what the engine was asked */
    struct prompt_token *list; /* [n_list] on its way */
    size_t n_list, cap_list;
    bool asking;                 /* a request runs, */
    bool asked_list;             /* for a list */
    uint64_t asked;              /* the stamp it was made for, */
    size_t asked_at;             /* and the cursor */
    size_t asked_from, asked_to; /* the tokens it is about */
    uint64_t request;            /* the newest of all */
    uint64_t list_id;  /* the newest request for a list: of `listed` tokens the one that told them */
    struct err failed; /* the last one failed; code 0: it did not */
    bool has_failed;   /* and nobody was told yet. The front end does and lowers this */
    struct stage_table stages;
    int32_t stage_ids[CANDIDATES_MAX + 1]; /* [stages.n_candidates] */
    size_t staged;                         /* the token they are of; SIZE_MAX: none */
    struct sampling stage_sampling;
    struct arena arena; /* the records with their candidates */

    /* what the ui is given */
    struct ui_inspect view;
    struct ui_stages view_stages;
    const char *stage_names[STAGE_COUNT];
    float stage_probs[STAGE_COUNT * (CANDIDATES_MAX + 1)];
    struct buf next;

    /* comparing */
    uint64_t
        compare; /* the path beside the active one goes through the message with this id; 0: none is shown */
};

void inspect_open(struct inspect *inspect, struct chat *chat); /* on zeroed memory */
void inspect_close(struct inspect *inspect);

int inspect_enter(struct inspect *inspect, struct err *err); /* at the newest token */
void inspect_leave(struct inspect *inspect);

/* Follow the chat, ask the engine for what is missing. Call it when anything may have changed. */
void inspect_update(struct inspect *inspect);

/* Moves of the cursor and the selection: UI_ACTION_TOKEN_BACK to UI_ACTION_CANDIDATE_DOWN. */
void inspect_move(struct inspect *inspect, enum ui_action_type move);
/* To this token of a message, or the last one there is before it. */
void inspect_go_to(struct inspect *inspect, const struct said *said, size_t index);
void inspect_select(struct inspect *inspect, uint64_t candidate); /* if there is such a one */
void inspect_point(struct inspect *inspect, uint64_t said, size_t offset);

/* ---- app/inspect_take.c: ways from the cursor. box: gets a text to be edited and sent, where that is what
 * it takes ---- */

int inspect_take(struct inspect *inspect, struct buf *box, struct err *err); /* the selected candidate */
int inspect_typed(struct inspect *inspect, const char *text, size_t len, struct buf *box, struct err *err);
int inspect_step(struct inspect *inspect, struct err *err);
int inspect_go_on(struct inspect *inspect, struct err *err);
int inspect_reroll(struct inspect *inspect, struct err *err);
int inspect_edit(struct inspect *inspect, struct buf *box, struct err *err);
int inspect_sibling(struct inspect *inspect, bool on, struct err *err); /* of the message under the cursor */
/* The next of its siblings beside it; after the last, none again. */
int inspect_compare(struct inspect *inspect, struct err *err);

/* ---- for the view ---- */

/* The message that the path beside the active one goes through; NULL: none is shown. */
struct said *inspect_compared(const struct inspect *inspect);
/* Under the cursor; NULL: nothing is there. */
const struct inspect_token *inspect_token(const struct inspect *inspect);
/* What is known of it; NULL: nothing. */
const struct kept_token *inspect_record(const struct inspect_token *token);
/* The tokens of a message that has none of its own, [*n]; NULL: they are not known. Messages are asked about
 * in the order of the path; *from is 0 for the first. */
const struct ui_token *inspect_shown(const struct inspect *inspect, const struct said *said, size_t *from,
                                     size_t *n);
/* All of it for the ui, valid until the next call; NULL: not in inspect mode. */
const struct ui_inspect *inspect_view(struct inspect *inspect);

#endif
