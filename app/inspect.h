/* Inspect mode: a cursor on one token of all that the model read and said, what else could have come there,
 * and the ways from there. What is not known of a token is asked of the engine when the cursor comes there.
 *
 *     the path changes --> LIST: the tokens of the prompt, each in its message
 *     the cursor moves --> SCORE: candidates of a few tokens around it (those of answers are known already)
 *                      --> STAGES: what the sampler chain made of them
 *
 * While an answer runs only the answers' own tokens are there; the rest comes when it is done. UI thread
 * only. */
#ifndef LOGITOP_APP_INSPECT_H
#define LOGITOP_APP_INSPECT_H

#include "app/chat.h"
#include "ui/ui.h"

struct inspect_token {
    struct said *said; /* NULL: written by the template */
    size_t index;      /* among the message's tokens; of a template's: in their run */
    size_t begin, end; /* its bytes in the message's text */
    int32_t id;
    bool kept;                /* it is said->tokens[index], which tells what was known when it was said */
    struct kept_token record; /* what was found out since; rank 0: nothing */
};

struct inspect {
    struct chat *chat;
    bool on;
    struct inspect_token
        *tokens;            /* [n] of the context, as far as they are known; of a list their positions */
    struct ui_token *shown; /* [n] the same for the screen */
    size_t n, cap, cap_shown;
    size_t cursor;   /* < n, or 0 */
    size_t selected; /* row of the candidates */
    bool follow;     /* the cursor goes to the newest token as it comes */
    uint64_t stamp;  /* of the path that the tokens are of; 0: none */
    bool listed;     /* they are the whole context, and their places positions in it */

    /* what the engine was asked */
    struct inspect_token *coming; /* [n_coming] a list on its way */
    size_t n_coming, cap_coming;
    struct said **sent; /* [n_sent] messages by their index in the request */
    size_t n_sent;
    bool asking;           /* a request runs */
    uint64_t asked;        /* the stamp it was made for */
    struct err failed;     /* the last one failed; code 0: it did not */
    uint64_t failed_stamp; /* so it is not made again for this path */
    bool has_failed;       /* and nobody was told yet. The front end does and lowers this */
    struct stage_table stages;
    int32_t stage_ids[CANDIDATES_MAX + 1]; /* [stages.n_candidates] */
    size_t staged;                         /* the token they are of; SIZE_MAX: none */
    struct sampling stage_sampling;
    struct arena arena; /* candidates of the records */

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
 * in their order; *from is 0 for the first. */
const struct ui_token *inspect_shown(const struct inspect *inspect, const struct said *said, size_t *from,
                                     size_t *n);
/* All of it for the ui, valid until the next call; NULL: not in inspect mode. */
const struct ui_inspect *inspect_view(struct inspect *inspect);

#endif
