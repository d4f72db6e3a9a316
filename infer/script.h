/* A script for the scripted engine, parsed: see infer/engine_scripted.c for the language. Once parsed only
 * its vocabulary grows, by the words of what is looked at. */
#ifndef LOGITOP_INFER_SCRIPT_H
#define LOGITOP_INFER_SCRIPT_H

#include "base/arena.h"
#include "base/strmap.h"
#include "infer/engine.h"

enum script_op {
    SCRIPT_PROMPT,
    SCRIPT_DELAY,
    SCRIPT_TOKEN,
    SCRIPT_DONE,
    SCRIPT_REFUSE,
    SCRIPT_MOVED,
    SCRIPT_LOST
};

struct script_candidate {
    int32_t id;
    float p; /* raw probability */
    uint8_t cut;
};

struct script_step {
    enum script_op op;
    uint32_t prompt, cached, parts; /* PROMPT */
    uint32_t ms;                    /* PROMPT: a part; DELAY */
    bool end;                       /* TOKEN: an end token */
    uint32_t n;                     /* TOKEN: candidates, the chosen one first */
    struct script_candidate *candidates;
    enum engine_reason reason; /* DONE */
    const char *text;          /* DONE, REFUSE, MOVED, LOST: of the error */
    const char *device;        /* MOVED: where to */
};

struct script_answer {
    struct script_step *steps;
    size_t n, cap;
};

struct script_word {
    const char *text;
    size_t len;
    bool ends; /* an end token of the script */
};

struct script {
    struct arena arena;
    const char *model, *architecture, *quantisation, *device, *template_name;
    uint32_t context, vocabulary;
    uint64_t load_total;
    uint32_t load_parts, load_ms;
    const char *opening; /* of an answer, by the template; NULL: nothing */
    const char *fail;    /* loading ends so; NULL: it does not */
    struct script_answer *answers;
    size_t n_answers, cap_answers;
    struct script_word *words; /* by id */
    size_t n_words, cap_words;
    struct strmap ids;
};

/* STATUS_USAGE with the line where the script is wrong. Free it in any case. */
int script_parse(struct script *script, const char *text, struct err *err);
void script_free(struct script *script);

/* The id of a text, which is copied: as in the script, or a new one. */
int32_t script_id(struct script *script, const char *text, size_t len);
/* How long the first word of a text is: words keep the space before them. */
size_t script_word_len(const char *text, size_t len);
/* A step with this word and candidates made up from `salt`. Its memory is the script's. */
void script_make_up(struct script *script, int32_t id, uint64_t salt, struct script_step *step);

#endif
