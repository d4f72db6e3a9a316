/* The screen: terminal, line editor, views. It knows nothing of models or tokenizers: the app fills plain
 * structs, and what a person does comes back as actions.
 *
 * The loop belongs to the app. Because the line editor wants to fetch its own keys, it runs inside ui_run(),
 * which calls the app's step function whenever it has nothing to do:
 *
 *     static bool step(void *context) {
 *         struct pollfd fds[UI_FDS + 2];              // ours first, then the engine's, a signal pipe
 *         ui_poll_fds(ui, fds);
 *         poll(fds, n, ui_timeout_ms(ui));            // -1: sleep until something happens
 *         if (ui_input(ui, fds, &err) < 0) ...        // the terminal is gone: save and leave
 *         while (ui_next_action(ui, &action)) ...     // what the person wants
 *         ...                                         // engine events, signals
 *         ui_draw(ui, &model);                        // as often as you like: at most 60 frames a second
 *         return !quit;
 *     }
 *     ui_open(&ui, &options, &err);  ui_run(ui, step, context);  ui_close(ui);
 *
 * Every text in these structs may hold any bytes: all of it passes the sanitiser (base/text.h) on its way to
 * the screen. Texts are borrowed for the call. NULL texts are empty ones.
 *
 * The ui handles alone: editing, history, scrolling, help, log and panel switches, colour modes, resize
 * drawing. The app owns the signals (handlers that set a flag and write a pipe); it calls ui_resized() on
 * SIGWINCH, ui_suspend() on SIGTSTP and UI_ACTION_SUSPEND, ui_resumed() on SIGCONT. The ui catches the
 * signals of crashes (SEGV, BUS, FPE, ILL, ABRT) and others that end a program (QUIT, XCPU, USR1, USR2, ALRM)
 * to restore the terminal, then lets the earlier handler have them; it does the same at exit().
 *
 * All functions: UI thread only. One ui at a time in a process. */
#ifndef LOGITOP_UI_UI_H
#define LOGITOP_UI_UI_H

#include "base/buf.h"
#include "base/err.h"

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- what is shown ---- */

enum ui_state {
    UI_STATE_LOADING, /* progress_done of progress_total bytes */
    UI_STATE_IDLE,
    UI_STATE_PREFILL, /* progress_done of progress_total prompt tokens */
    UI_STATE_GENERATING,
    UI_STATE_FAILED, /* no model any more: `error` tells */
};

struct ui_status {
    enum ui_state state;
    const char *model;                   /* "SmolLM2 135M Instruct Q4_1"; while loading: the file's name */
    const char *chat;                    /* title */
    const char *device;                  /* "cpu 2 threads", "H200" */
    uint32_t context_used, context_size; /* tokens; size 0: not known yet */
    uint64_t memory_used, memory_total;  /* bytes; used 0: not shown */
    uint64_t progress_done, progress_total;
    double tps_now, tps_mean;              /* decode; 0: not shown */
    double prefill_tps;                    /* 0: not shown */
    uint32_t prompt_tokens, cached_tokens; /* of the last prompt; 0, 0: not shown */
    const char *mark;                      /* a word that stays in sight, "incognito"; NULL: none */
    const char *task;  /* what goes on beside the chat, shown while nothing else does; NULL */
    const char *error; /* one line, shown until it is gone from here */
};

enum ui_role { UI_ROLE_YOU, UI_ROLE_BOT, UI_ROLE_SYSTEM, UI_ROLE_NOTE /* the program's own words, dimmed */ };

struct ui_token {  /* what is known about one token of a message */
    uint32_t end;  /* offset in the message's text just after it; never decreases */
    float prob;    /* raw probability when it was chosen, 0..1; negative: unknown (prompt tokens) */
    float entropy; /* nats */
    float ms;      /* since the token before it; 0: not known */
    uint32_t rank; /* 1 is the best, 0 unknown */
    bool picked;   /* by a person, not by the sampler */
};

struct ui_range {
    uint32_t start, end; /* offsets in a message's text */
};

struct ui_message {
    uint64_t id;      /* of this message as long as the program runs, never 0: rows are cached under it */
    uint32_t version; /* changes whenever the text changes otherwise than by appending */
    enum ui_role role;
    bool open;        /* more bytes may come: the beginning of a character at the end is not shown yet */
    const char *text; /* [len] */
    size_t len;
    const struct ui_token *tokens; /* [n_tokens], or NULL; text after the last one has no colour */
    size_t n_tokens;
    uint32_t sibling, n_siblings; /* "2/3": which of the messages that could stand here; n <= 1: not shown */
    const struct ui_range *thinking; /* [n_thinking], ascending, tags included; the last may still grow */
    size_t n_thinking;
    const char *note; /* a dimmed line below: "[stopped]  86 tokens  41.8 tok/s" */
};

struct ui_candidate {
    int32_t id;
    const char *text; /* [len] bytes of the token */
    size_t len;
    bool control; /* a control token: its text is a name, never spoken */
    bool chosen;
    uint32_t rank;   /* by raw probability, 1 is the best; 0: its place in the list */
    float raw;       /* probability over the real vocabulary, before anything */
    float final;     /* after the sampler chain; 0 where cut */
    const char *cut; /* the stage that cut it ("top-p"); empty: it could be picked */
};

struct ui_position {                       /* the moment whose candidates are shown */
    uint32_t position;                     /* of the token they compete for, in the context */
    const char *chain;                     /* what "final" means: "T 0.8 top-k 40 top-p 0.95" */
    const struct ui_candidate *candidates; /* [n], best raw first; a chosen one outside the best comes last */
    size_t n;
    uint32_t
        n_vocab;   /* real vocabulary: "rest (49132)" is what is not listed, so that each column sums to 1 */
    float entropy; /* nats (shown in bits) */
    uint32_t rank; /* of the chosen token; 0: none chosen */
    float ms;
    bool foreign; /* another model said this token: its candidates have no text here, and n is 0 */
    const struct ui_token *strip; /* [n_strip] of the same message, oldest first; NULL: none */
    size_t n_strip, strip_at;     /* strip_at: the token whose moment this is */
};

/* ---- inspect mode: a cursor on one token of all that the model read and said ---- */

struct ui_stages { /* what the sampler chain made of the candidates, stage by stage */
    size_t n_stages, n_candidates;
    const char *const *names; /* [n_stages], in the chain's order: "top-k" */
    const float *prob;        /* [n_stages][n_candidates] after each; candidates as in ui_position; 0: cut */
};

/* The candidates of the moment are those of ui_model.shown. */
struct ui_inspect {
    uint64_t message;       /* id of the message the token lies in; 0: written by the template, */
    uint64_t before;        /* in front of the message with this id; 0: behind the last one */
    size_t token;           /* index in the message's tokens; of a template's: in their run */
    size_t index, n_tokens; /* the cursor among all tokens of the context */
    int32_t id;             /* of the token */
    const char *text;       /* [len] its bytes */
    size_t len;
    bool control;                   /* a control token: its text is a name */
    size_t selected;                /* row of the candidates */
    const struct ui_stages *stages; /* NULL until they came */
    bool computing;                 /* candidates or stages are on their way */
    bool waits;                     /* candidates are computed when the answer that runs is done */
    uint32_t sibling, n_siblings;   /* of the message: "2 of 3"; n <= 1: not shown */
    const char *next;               /* what Enter would do: "take \" violet\": a new branch"; NULL: nothing */
};

/* ---- views over the conversation ---- */

enum { UI_PICKER_COLUMNS = 6 };

struct ui_picker_row {
    uint64_t id;                            /* what the actions name it by */
    const char *columns[UI_PICKER_COLUMNS]; /* the first one takes the room that is left */
    const char *why;                        /* grey rows: why it cannot be picked, NULL: it can */
    unsigned depth;                         /* of a tree: so far the first column is indented */
    bool current;                           /* where we are: marked, and where the selection begins */
};

/* A list to choose from: UI_ACTION_PICK, UI_ACTION_PICK_DELETE, or UI_ACTION_ESCAPE. Typing filters. */
struct ui_picker {
    uint64_t id; /* another one begins with an empty filter; never 0 */
    const char *title;
    const char *heads[UI_PICKER_COLUMNS]; /* of the columns; all NULL: no line of heads */
    size_t n_columns;                     /* on a narrow screen the last ones give way to the first */
    unsigned first_width;                 /* cells they leave to it; 0: a few */
    unsigned right;                       /* bit i: column i is aligned at its right end */
    const struct ui_picker_row *rows;     /* [n_rows] */
    size_t n_rows;
    const char *empty; /* shown when there is no row: "nothing was kept yet" */
    const char *verb;  /* what Enter does: "open" */
    bool deletes;      /* the delete key is offered */
    bool searches;     /* the app filters: it is told by UI_ACTION_FILTER and gives the rows that match, */
    bool searching;    /* once it has found them: these rows are still those of before */
};

/* Two ways a conversation went on, beside each other, from the message on in which they part. */
struct ui_branch {
    const char *title;                 /* "2 of 3, 86 tokens" */
    const struct ui_message *messages; /* [n_messages] */
    size_t n_messages;
    size_t parts_at; /* offset in the first message where its first differing token begins */
};
struct ui_compare {
    struct ui_branch branches[2];
};

/* A text and how probable the model found it. */
struct ui_score {
    struct ui_message message; /* the text with its tokens */
    double nats, perplexity;   /* in total; perplexity 0: not known */
    bool computing;            /* more tokens come */
};

/* What a person can ask for. The key table (ui/keymap.c) maps keys to these; the help page is printed from
 * it. */
enum ui_action_type {
    UI_ACTION_SUBMIT,    /* Enter: `text` */
    UI_ACTION_INTERRUPT, /* Ctrl-C: stop; else clear the box (ui_input_clear); else "press again to quit"
                            (ui_interrupt_again) */
    UI_ACTION_ESCAPE,  /* Esc that closed nothing of the ui's. The first that there is: close the picker, the
                          comparison, the score; stop the answer; leave inspect mode */
    UI_ACTION_EOF,     /* Ctrl-D in an empty box: quit when idle */
    UI_ACTION_SUSPEND, /* Ctrl-Z */
    UI_ACTION_QUIT,
    UI_ACTION_NEW, /* a new chat */
    UI_ACTION_REGENERATE,
    UI_ACTION_CONTINUE, /* go on with the last answer where it stopped; in inspect mode: from the cursor */
    UI_ACTION_FOLD, /* put the system text into the first message and ask again: `text` is what the box holds
                     */
    UI_ACTION_MODELS,   /* choose another model */
    UI_ACTION_BRANCHES, /* list the branches */
    UI_ACTION_CHATS,    /* list the kept chats */
    UI_ACTION_UNDO,     /* the path before the last change of the tree */
    UI_ACTION_REDO,

    UI_ACTION_INSPECT, /* enter or leave inspect mode. In it: */
    UI_ACTION_TOKEN_BACK,
    UI_ACTION_TOKEN_ON,
    UI_ACTION_WORD_BACK,
    UI_ACTION_WORD_ON,
    UI_ACTION_MESSAGE_BACK,
    UI_ACTION_MESSAGE_ON,
    UI_ACTION_FIRST_TOKEN,
    UI_ACTION_LAST_TOKEN,
    UI_ACTION_CANDIDATE_UP,
    UI_ACTION_CANDIDATE_DOWN,
    UI_ACTION_TAKE,   /* the selected candidate: a new branch from the cursor */
    UI_ACTION_STEP,   /* one token, then wait */
    UI_ACTION_REROLL, /* another draw at the cursor */
    UI_ACTION_TYPED,  /* instead of the token under the cursor: `text` */
    UI_ACTION_SIBLING_BACK,
    UI_ACTION_SIBLING_ON,
    UI_ACTION_COMPARE, /* this branch with a sibling; again: with the next, after the last leave */
    UI_ACTION_EXPORT,
    UI_ACTION_EDIT,      /* put the message under the cursor into the box */
    UI_ACTION_POINT,     /* put the cursor on the token at byte `offset` of message `id` */
    UI_ACTION_CANDIDATE, /* select candidate `id`, from 0 */

    UI_ACTION_PICK,        /* row `id` of the picker */
    UI_ACTION_PICK_DELETE, /* the same */
    UI_ACTION_FILTER,      /* of a picker that searches: `text`, may be empty */

    UI_ACTION_COPY,       /* the last answer into the clipboard */
    UI_ACTION_ANSWER_NOW, /* end the thinking, answer */
    UI_ACTION_COMPLETE,   /* Tab: `text` is the box up to the cursor; what the app makes of it: ui_input_set()
                           */

    UI_ACTION_COUNT_APP, /* below: the ui does these itself, the app never sees them */
    UI_ACTION_HELP = UI_ACTION_COUNT_APP,
    UI_ACTION_PANEL,
    UI_ACTION_COLOUR,
    UI_ACTION_DIGITS,
    UI_ACTION_LOG,
    UI_ACTION_REDRAW,
    UI_ACTION_PAGE_UP,
    UI_ACTION_PAGE_DOWN,
    UI_ACTION_LINE_UP,
    UI_ACTION_LINE_DOWN,
    UI_ACTION_TOP,
    UI_ACTION_BOTTOM,
    UI_ACTION_TYPE, /* a token, in the box: becomes UI_ACTION_TYPED */
    UI_ACTION_PICK_UP,
    UI_ACTION_PICK_DOWN,
    UI_ACTION_FIND, /* search in the conversation */
    UI_ACTION_FIND_NEXT,
    UI_ACTION_FIND_BACK,
    UI_ACTION_SOURCE,   /* the conversation as it is written, or as its markdown looks */
    UI_ACTION_UNFOLD,   /* show what the model thought, or only that it did */
    UI_ACTION_MOUSE,    /* the wheel scrolls, a click chooses; or the terminal's own */
    UI_ACTION_EXTERNAL, /* the box in a text editor */
    UI_ACTION_COUNT,
};

/* A bit of ui_model.off. */
#define UI_OFF(action) ((uint64_t)1 << (action))
_Static_assert(UI_ACTION_COUNT_APP <= 64, "an action of the app a bit");

struct ui_action {
    enum ui_action_type type;
    const char *text; /* SUBMIT, FOLD, TYPED, FILTER, COMPLETE: [len] UTF-8 as typed, lines joined by LF
                         (SUBMIT, TYPED: not empty); lives until the next ui_next_action() */
    size_t len;
    uint64_t id;   /* PICK, PICK_DELETE: of the row; POINT: of the message; CANDIDATE */
    size_t offset; /* POINT */
};

struct ui_model {
    struct ui_status status;
    const struct ui_message *messages; /* [n_messages], oldest first */
    size_t n_messages;
    const struct ui_position *shown;  /* NULL: no candidates yet */
    const struct ui_inspect *inspect; /* NULL: not in inspect mode */
    const struct ui_compare *compare; /* at most one of these three is there; NULL: none */
    const struct ui_score *score;
    const struct ui_picker *picker;
    bool waits;       /* the last message is not sent yet: Up in an empty box is UI_ACTION_ESCAPE */
    bool editing;     /* the box has a message that is edited: Enter makes a branch of it, Esc leaves it */
    const char *hint; /* shown in an empty box: "ask something" */
    const char *commands; /* what could be typed, where the box begins a command; NULL: nothing */
    uint64_t off;         /* actions that can do nothing now, UI_OFF() of each: hidden from the key bar */
};

/* The k-th code block (1 is the first) of a markdown text, appended to `out` as it is written, without its
 * fences. Returns how many there are; out NULL only counts. */
size_t ui_code_block(const char *text, size_t len, size_t k, struct buf *out);

/* ---- the screen ---- */

struct ui;

enum ui_colour { UI_COLOUR_AUTO /* NO_COLOR and the terminal decide */, UI_COLOUR_ALWAYS, UI_COLOUR_NEVER };

enum ui_bell {
    UI_BELL_AUTO /* when the terminal says that it has lost the focus */,
    UI_BELL_ALWAYS,
    UI_BELL_NEVER
};

struct ui_options {
    int in_fd, out_fd; /* the terminal; 0 and 1 */
    enum ui_colour colour;
    enum ui_bell bell;
    bool mouse;               /* on from the start */
    const char *history_path; /* NULL: kept in memory only. Made with mode 0600; its folder must exist */
    bool keep_stderr; /* leave standard error where it is (it is not a terminal, or a debugger wants it) */
};

/* Take the terminal: alternate screen, raw keys, bracketed paste; standard error goes to the log from here
 * on. STATUS_UNSUPPORTED where a screen cannot be had (not a terminal, TERM=dumb or unknown): go plain. On
 * failure the terminal is as it was. */
int ui_open(struct ui **out, const struct ui_options *options, struct err *err);

/* Give the terminal back as it was, then write the log that came in on standard error there. NULL is fine. */
void ui_close(struct ui *ui);

/* Edit lines until `step` returns false. */
void ui_run(struct ui *ui, bool (*step)(void *context), void *context);

enum { UI_FDS = 2 };
void ui_poll_fds(struct ui *ui, struct pollfd fds[UI_FDS]); /* sets fd, events; revents = 0 */
/* Take what came; revents as poll() left them. Reads only what is there. STATUS_FAILED: the terminal is gone
 * (end of file, error, hang-up) and will not come back. */
int ui_input(struct ui *ui, const struct pollfd fds[UI_FDS], struct err *err);
int ui_timeout_ms(
    struct ui *ui); /* until the ui wants a turn (ui_input, then ui_draw) though nothing came; -1: never */
bool ui_next_action(struct ui *ui, struct ui_action *out); /* false: none is waiting */

/* Show this. Paints what changed, at most every 16 ms; an earlier call only notes that something may have
 * changed, and ui_timeout_ms() tells when to come back. */
void ui_draw(struct ui *ui, const struct ui_model *model);

void ui_resized(struct ui *ui);
void ui_suspend(struct ui *ui); /* gives the terminal back, stops the process group's job like Ctrl-Z does,
                                   returns when continued */
void ui_resumed(
    struct ui *ui); /* after SIGCONT that ui_suspend() did not wait for: take the terminal again, repaint */

/* A line in place of the status line for `ms` milliseconds or until the next key. */
__attribute__((format(printf, 3, 4))) void ui_notice(struct ui *ui, int ms, const char *fmt, ...);
/* For Ctrl-C with nothing to stop: true if it was pressed within the last two seconds before; otherwise shows
 * "press Ctrl-C again to quit". */
bool ui_interrupt_again(struct ui *ui);

/* A text over the conversation, to be scrolled and closed by the person (Esc, q). Copied. */
void ui_show_text(struct ui *ui, const char *title, const char *text, size_t len);

/* One that takes long to print: as much of it as a frame has time for. */
struct ui_parts {
    bool (*next)(void *context, struct buf *text); /* appends whole lines; false: there are no more */
    void (*free)(void *context);
    void *context;
};
void ui_show_parts(struct ui *ui, const char *title, struct ui_parts parts); /* takes the context */

/* The box. Clearing with `keep` puts the text into the history (Up brings it back). Effects are seen after
 * the current step. */
bool ui_input_empty(struct ui *ui);
bool ui_input_begins(struct ui *ui, char c); /* at once, however long it is */
void ui_input_clear(struct ui *ui, bool keep);
void ui_input_set(struct ui *ui, const char *text, size_t len);
void ui_input_text(struct ui *ui, struct buf *out); /* what would be sent, appended */

void ui_find(struct ui *ui, const char *text, size_t len); /* search the conversation; empty: ask for what */
/* The text on the normal screen, until a key is pressed: for the terminal to break and copy. */
void ui_show_plain(struct ui *ui, const char *text, size_t len);
/* Into the clipboard (OSC 52, tmux). No answer tells whether it arrived: "sent". */
int ui_copy(struct ui *ui, const char *text, size_t len, struct err *err);
/* An answer is done: ring where the person looks elsewhere (the terminal tells), or as the options say. */
void ui_bell(struct ui *ui);

void ui_follow(struct ui *ui); /* show the end of the conversation and stay there */

/* Other keys for an action, before ui_open(): ui_bind("keys", "find", "F7, Alt+/", &err); "none" takes them
 * away. `context`: "keys", "keys.inspect", "keys.view", "keys.picker" or "keys.find". STATUS_USAGE with what
 * was found and what was expected. */
int ui_bind(const char *context, const char *action, const char *keys, struct err *err);
/* After all are bound: STATUS_USAGE where one key has two meanings. */
int ui_bindings_check(struct err *err);
/* All of them as they are now, in the form of the configuration file. */
void ui_bindings_print(struct buf *out);

/* Themes: begin with one that comes with the program, then change styles ("bar", "252 on 237 bold"). Before
 * ui_open(), or followed by ui_theme_show(). STATUS_USAGE with what was found and what was expected. */
const char *const *ui_theme_names(void); /* ended by NULL */
int ui_theme_begin(const char *name, struct err *err);
int ui_theme_style(const char *style, const char *look, struct err *err);
void ui_theme_show(struct ui *ui);
void ui_theme_print(const char *before,
                    struct buf *out); /* all styles, a line each, in the form of a theme file */

/* The terminal as it was, from any place, signal handlers included: async-signal-safe, may be called more
 * than once. Does nothing when no ui is open. For the app's last words (a panic, xmalloc_last_words). */
void ui_emergency_restore(void);

#endif
