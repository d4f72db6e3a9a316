/* How messages become the text of a prompt, piece by piece: what the template wrote and what a person (or the
 * model, or a file) said. Control tokens are recognised only in the former.
 *
 * The template is the model file's own, rendered by infer/jinja as Hugging Face would; where there is none,
 * ChatML if the vocabulary has its two tokens; otherwise messages are refused with a clear line, and only raw
 * prompts work. Immutable once made: any thread may render. */
#ifndef LOGITOP_INFER_CHAT_TEMPLATE_H
#define LOGITOP_INFER_CHAT_TEMPLATE_H

#include "base/buf.h"
#include "base/err.h"
#include "infer/engine.h"
#include "tokenizer/tokenizer.h"

#include <time.h>

/* ---- what comes out ---- */

struct prompt_piece {
    size_t begin, len; /* in text */
    bool from_template;
};

/* Zero it to begin. */
struct prompt {
    struct buf text;
    struct prompt_piece
        *pieces; /* one behind the other, none empty; pieces of one origin may be neighbours */
    size_t n, cap;
};

/* Nothing if len is 0. */
void prompt_add(struct prompt *prompt, const char *bytes, size_t len, bool from_template);
void prompt_free(struct prompt *prompt);

/* ---- the template ---- */

/* Where a template comes from. All is copied or used up by chat_template_new(). */
struct chat_template_source {
    const char *file;     /* for messages */
    struct span text;     /* tokenizer.chat_template; empty if missing */
    struct span bos, eos; /* texts of these tokens; empty if missing */
    bool has_chatml;      /* the vocabulary has <|im_start|> and <|im_end|> as control tokens */
};

/* What of the conversation it may look at. */
struct chat_template_input {
    const struct message *messages; /* [n]; roles "system", "user", "assistant" */
    size_t n;
    bool continue_last;    /* the last message is the model's and stays open */
    const char *variables; /* a JSON object of further variables ({"enable_thinking": false}), or NULL. They
                              replace none of the messages, the texts of tokens and what else is set here */
    struct tm
        now; /* the date it sees: the conversation's, so that the beginning of a prompt stays the same */
};

struct chat_template;

/* A template's text from a file of at most 8 MiB, as --chat-template names it. STATUS_USAGE. */
int chat_template_read(const char *path, struct buf *out, struct err *err);

/* Fills in all but the file's name from a tokenizer and the file's template text. */
void chat_template_source_fill(struct chat_template_source *source, const struct tokenizer *tokenizer,
                               struct span text);

/* A missing template is no failure, nor one that cannot be parsed: rendering refuses then, and says why. */
struct chat_template *chat_template_new(const struct chat_template_source *source);
void chat_template_free(struct chat_template *chat_template);              /* NULL is fine */
const char *chat_template_name(const struct chat_template *chat_template); /* "file", "ChatML", "none" */

/* The whole prompt, ready for the model to speak: with continue_last the last message stands behind the
 * generation prompt, just as it was said, otherwise a new one of the model begins. STATUS_UNSUPPORTED: no
 * template, or one that cannot be parsed. STATUS_USAGE: the template refuses the messages, in its own words,
 * or the variables are no JSON object. STATUS_CONTEXT_FULL: more than 8 MiB of messages, which no context
 * holds. STATUS_FAILED: it failed, with line and column. `out` is empty then. */
int chat_template_render(const struct chat_template *chat_template, const struct chat_template_input *input,
                         struct prompt *out, struct err *err);

/* The template refuses these messages, and takes them once the system text stands in the user's first
 * message. */
bool chat_template_wants_fold(const struct chat_template *chat_template,
                              const struct chat_template_input *input);

/* The same conversation with the system texts put before the first message of the user, an empty line
 * between. */
struct folded {
    struct message *messages; /* [n]; all but one text are those of the original */
    size_t n;
    char *text; /* of the message that took the system text */
};
void messages_fold(const struct message *messages, size_t n, struct folded *out);
void folded_free(struct folded *folded);

/* ChatML as a template, for vocabularies that have its tokens. */
extern const char chat_template_chatml[];

#endif
