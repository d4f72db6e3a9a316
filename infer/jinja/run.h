/* What one parse or one render shares: its memory, its counters and the way out when something is wrong.
 *
 * A template is a stranger's program. All it makes lives in one arena with a limit and is freed at once, all
 * it does is counted, and a failure anywhere leaves by one longjmp to the entry (infer/jinja/jinja.c):
 * between the two nothing owns memory outside the arena. The limits are counts, never a clock: the same input
 * always ends the same way. */
#ifndef LOGITOP_INFER_JINJA_RUN_H
#define LOGITOP_INFER_JINJA_RUN_H

#include "base/arena.h"
#include "base/err.h"

#include <setjmp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

enum {
    JINJA_MAX_SOURCE = 1 << 20,  /* bytes of a template */
    JINJA_MAX_TOKENS = 100000,   /* of a template */
    JINJA_MAX_NESTING = 128,     /* brackets and blocks inside each other */
    JINJA_MAX_CHAIN = 1000,      /* height of an expression's tree: a + b + c + ... */
    JINJA_MAX_MACRO_DEPTH = 64,  /* macros, callers and recursive loops inside each other */
    JINJA_MAX_DEPTH = 2000,      /* all evaluation inside each other: bounds the C stack */
    JINJA_MAX_DATA_DEPTH = 128,  /* lists inside lists: in the context, printed, compared */
    JINJA_MAX_STEPS = 10000000,  /* evaluated nodes, and work done by filters in like units */
    JINJA_MAX_ITEMS = 1000000,   /* turns of all loops together; items of one list */
    JINJA_MAX_STRING = 16 << 20, /* bytes of a string, and of the output */
    JINJA_MAX_MEMORY = 64 << 20, /* bytes of a render, and of a parse */
    JINJA_MAX_RANGE = 100000,    /* items of range(), as in jinja2's sandbox */
};

struct jscope;
struct jout;
struct jdict;
struct jinja_template;

struct jrun {
    struct arena *arena;
    jmp_buf failed;
    enum status status;    /* of the failure */
    char text[640];        /* of the failure */
    bool refused;          /* the template itself refused, by raise_exception */
    uint32_t line, column; /* of what is being done now, 1.. */

    uint64_t steps, items;
    uint32_t depth, macro_depth;

    /* render only */
    const struct jinja_template *template;
    struct jdict *context;
    struct jscope *scope;
    struct jout *out;
    struct tm now;
};

/* Leave with "text (line L, column C)". */
__attribute__((format(printf, 2, 3), noreturn, cold)) void jfail(struct jrun *run, const char *fmt, ...);
/* The same for a spent limit: STATUS_MEMORY is only told apart from STATUS_FAILED by tests and exit codes. */
__attribute__((noreturn, cold)) void jfail_limit(struct jrun *run, const char *what, uint64_t limit);
/* The template's own words, nothing added. */
__attribute__((noreturn, cold)) void jfail_refused(struct jrun *run, const char *words, size_t len);

void *jalloc(struct jrun *run, size_t size); /* zeroed; never NULL */
void *jalloc_array(struct jrun *run, size_t n, size_t size);

static inline void jstep(struct jrun *run, uint64_t n) {
    run->steps += n;
    if (run->steps > JINJA_MAX_STEPS) jfail_limit(run, "steps", JINJA_MAX_STEPS);
}

static inline void jcount_items(struct jrun *run, uint64_t n) {
    run->items += n;
    if (run->items > JINJA_MAX_ITEMS) jfail_limit(run, "loop items", JINJA_MAX_ITEMS);
}

/* Around everything that calls itself. */
static inline void jenter(struct jrun *run) {
    if (++run->depth > JINJA_MAX_DEPTH) jfail_limit(run, "levels of evaluation", JINJA_MAX_DEPTH);
}
static inline void jleave(struct jrun *run) {
    run->depth--;
}

#endif
