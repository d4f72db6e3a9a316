/* Running a parsed template. eval.c: expressions; exec.c: statements; call.c: macros, loops and functions. */
#ifndef LOGITOP_INFER_JINJA_EVAL_H
#define LOGITOP_INFER_JINJA_EVAL_H

#include "infer/jinja/ast.h"

struct jscope {
    struct jscope *parent; /* NULL: the context and the globals are behind it */
    struct jpair *names;   /* [n] keys are strings */
    size_t n, cap;
    bool kept; /* a macro was defined here or further in: it must stay as it is */
};

struct jloop {
    struct jvalue *items;
    size_t n, index0, depth0;
    struct jlist *last_changed; /* arguments of the last loop.changed(); NULL before */
    const struct jnode *node;
    struct jscope *scope; /* around the loop: a recursive one begins there again */
};

struct jmacro {
    const struct jnode *node;
    struct jscope *scope; /* where it was defined */
};

struct jmethod {
    struct jvalue of;
    const char *name;
    struct jvalue (*call)(struct jrun *run, struct jvalue of, const struct jargs *args);
};

struct jfunction {
    const char *name;
    struct jvalue (*call)(struct jrun *run, const struct jargs *args);
};

struct jcycler {
    struct jlist *items; /* joiner: the separator alone */
    size_t at;
};

/* Filters and tests get the value before | or `is`, and what stands in brackets, placed by parameter name. */
struct jfilter {
    const char *name;
    struct jvalue (*call)(struct jrun *run, struct jvalue value, struct jvalue *at);
    const char *params; /* "d,attribute"; NULL: takes all as they come */
    size_t required;    /* so many of them must be given */
    struct jvalue (*call_any)(struct jrun *run, struct jvalue value, const struct jargs *args);
};

struct jtest {
    const char *name;
    bool (*call)(struct jrun *run, struct jvalue value, struct jvalue at);
    const char *param; /* NULL: takes none */
};

enum { JFILTER_MAX_PARAMS = 8 };

const struct jfilter *jfilter_find(const struct jstr *name); /* filters.c; NULL if there is none */
const struct jtest *jtest_find(const struct jstr *name);     /* tests.c */
bool jglobal_find(struct jrun *run, const struct jstr *name, struct jvalue *out); /* globals.c */

struct jvalue jfilter_apply(struct jrun *run, const struct jfilter *filter, struct jvalue value,
                            const struct jargs *args);
bool jtest_apply(struct jrun *run, const struct jtest *test, struct jvalue value, const struct jargs *args);

struct jvalue jeval(struct jrun *run, const struct jnode *node);
struct jvalue jeval_filters(struct jrun *run, const struct jnode *node,
                            struct jvalue text); /* of a set or filter block */
void jeval_args(struct jrun *run, const struct jnode_args *args, struct jargs *out);
struct jvalue jcall(struct jrun *run, struct jvalue what, const struct jargs *args);

enum jflow { JFLOW_ON, JFLOW_BREAK, JFLOW_CONTINUE };
enum jflow jexec(struct jrun *run, const struct jnodes *body);
struct jstr *jexec_captured(struct jrun *run,
                            const struct jnodes *body); /* what the body prints, as a string */
void jassign(struct jrun *run, const struct jnode *target, struct jvalue value);

struct jscope *jscope_new(struct jrun *run, struct jscope *parent);
void jscope_set(struct jrun *run, struct jscope *scope, struct jvalue name, struct jvalue value);
struct jvalue jscope_get(struct jrun *run, struct jvalue name); /* undefined if nobody knows it */

void jexec_for(struct jrun *run, const struct jnode *node, struct jvalue list, size_t depth0);
bool jloop_attribute(struct jrun *run, struct jloop *loop, const struct jstr *name, struct jvalue *out);
struct jvalue jloop_call(struct jrun *run, struct jloop *loop, const struct jargs *args);
bool jmacro_attribute(struct jrun *run, const struct jmacro *macro, const struct jstr *name,
                      struct jvalue *out);
struct jvalue jmacro_call(struct jrun *run, const struct jmacro *macro, const struct jargs *args);
void jmacro_repr(const struct jmacro *macro, char *text, size_t size);

#endif
