/* A template, parsed. All of it lives in the template's arena and is never written after jinja_parse(): any
 * number of renders may read it at the same time. */
#ifndef LOGITOP_INFER_JINJA_AST_H
#define LOGITOP_INFER_JINJA_AST_H

#include "infer/jinja/value.h"

/* ---- tokens ---- */

enum jtoken_type {
    JTOKEN_END,
    JTOKEN_TEXT,        /* what stands outside of tags */
    JTOKEN_PRINT_BEGIN, /* {{ */
    JTOKEN_PRINT_END,
    JTOKEN_BLOCK_BEGIN, /* {% */
    JTOKEN_BLOCK_END,
    JTOKEN_NAME,
    JTOKEN_STRING,
    JTOKEN_INT,
    JTOKEN_FLOAT,
    JTOKEN_SIGN, /* operators and brackets: `bytes` */
};

struct jtoken {
    uint8_t type;
    uint32_t line, column;
    uint32_t len;
    const char *bytes; /* [len] names, signs, text and unescaped strings */
    union {
        int64_t integer;
        double real;
    };
};

struct jtokens {
    struct jtoken *at; /* [n], the last one is JTOKEN_END */
    size_t n;
};

/* The source must live as long as the tokens. Fails by the run. */
struct jtokens jtokens_of(struct jrun *run, const char *source, size_t len);

/* ---- nodes ---- */

enum jnode_type {
    /* expressions */
    JNODE_CONST,
    JNODE_NAME,
    JNODE_LIST,
    JNODE_TUPLE,
    JNODE_DICT, /* items: key, value, key, value ... */
    JNODE_ATTRIBUTE,
    JNODE_ITEM,
    JNODE_SLICE,
    JNODE_CALL,
    JNODE_FILTER,
    JNODE_TEST,
    JNODE_NOT,
    JNODE_NEGATIVE,
    JNODE_POSITIVE,
    JNODE_ARITHMETIC,
    JNODE_CONCAT,
    JNODE_AND,
    JNODE_OR,
    JNODE_COMPARE, /* items: a, b, c of a < b <= c; ops: "<", "<=" */
    JNODE_IF_ELSE,
    JNODE_NAMESPACE_MEMBER, /* target of set ns.name */
    /* statements */
    JNODE_TEXT,
    JNODE_PRINT,
    JNODE_IF,
    JNODE_FOR,
    JNODE_SET,
    JNODE_SET_BLOCK,
    JNODE_MACRO,
    JNODE_CALL_BLOCK,
    JNODE_FILTER_BLOCK,
    JNODE_WITH,
    JNODE_GENERATION,
    JNODE_BREAK,
    JNODE_CONTINUE,
};

enum jcompare_op { JCMP_EQ, JCMP_NE, JCMP_LT, JCMP_LE, JCMP_GT, JCMP_GE, JCMP_IN, JCMP_NOT_IN };

struct jnode;

struct jnodes {
    struct jnode **at;
    size_t n;
};

struct jnode_args { /* of a call, filter or test */
    struct jnodes positional;
    struct jnodes named;             /* values; */
    struct jvalue *names;            /* and their names [named.n] */
    struct jnode *more, *more_named; /* *args, **kwargs */
};

struct jfilter;
struct jtest;

struct jnode {
    uint8_t type;
    uint16_t height; /* of the tree below, for expressions */
    uint32_t line, column;
    union {
        struct jvalue value; /* const, name, text */
        struct jnodes items; /* list, tuple, dict, concat */
        struct {
            struct jnode *of;
            struct jvalue name;
        } attribute; /* namespace member: of is a name */
        struct {
            struct jnode *of, *key, *to, *step; /* slice: key is where it begins; any may be NULL */
        } item;
        struct {
            struct jnode *of;
            struct jvalue name; /* of a filter or test */
            const struct jfilter *filter;
            const struct jtest *test;
            struct jnode_args args;
        } call;
        struct {
            struct jnode *left, *right;
            enum joperator op;
        } binary; /* arithmetic, and, or; not, negative, positive: left alone */
        struct {
            struct jnodes items;
            uint8_t *ops;
        } compare;
        struct {
            struct jnode *test;
            struct jnodes then, otherwise; /* expressions: one node each; otherwise may be empty */
        } branch;
        struct {
            struct jnode *target, *list, *test;
            struct jnodes body, otherwise;
            bool recursive;
        } loop;
        struct {
            struct jnode *target,
                *value; /* set: value; set and filter block: value is the innermost filter or NULL */
            struct jnodes body;
        } set;
        struct {
            struct jvalue name;     /* missing for call blocks */
            struct jnodes params;   /* names */
            struct jnodes defaults; /* of the last ones */
            struct jnodes body;
            struct jnode *call; /* call block */
            bool uses_varargs, uses_kwargs, uses_caller, has_caller_param;
        } macro;
        struct {
            struct jnodes targets, values, body;
        } with;
        struct jnodes body; /* generation */
    };
};

struct jinja_template {
    struct arena arena;
    struct jnodes body;
};

/* Parses tokens into the template. Fails by the run. */
void jparse(struct jrun *run, struct jtokens tokens, struct jnodes *body);

/* ---- inside the parser: parse.c (statements) and parse_expression.c ---- */

struct jparser {
    struct jrun *run;
    const struct jtoken *at;
    uint32_t nesting;
    uint32_t loops;      /* for blocks around: break and continue need one */
    bool soft;           /* inside an if: an unknown filter or test fails only when it is reached */
    struct jnode *macro; /* the macro or call block around, which learns what its body uses */
};

struct jnode *jparse_expression(struct jparser *p);
struct jnode *jparse_condition(struct jparser *p); /* without inline if */
struct jnode *jparse_tuple(struct jparser *p, bool with_if,
                           const char *end); /* end: a name that ends it, or NULL */
struct jnode *jparse_target(struct jparser *p, bool with_namespace, const char *end);
struct jnode *jparse_filters(struct jparser *p, struct jnode *of,
                             bool begins); /* `| name(args)` ...; begins: name without | */
struct jnode *jparse_name(struct jparser *p);
struct jnode *jnode_new(struct jparser *p, enum jnode_type type, const struct jtoken *at);
void jnodes_add(struct jparser *p, struct jnodes *nodes, size_t *cap, struct jnode *node);

bool jparser_is_sign(const struct jparser *p, const char *sign);
bool jparser_is_name(const struct jparser *p, const char *name);
bool jparser_skip_sign(struct jparser *p, const char *sign);
bool jparser_skip_name(struct jparser *p, const char *name);
void jparser_need_sign(struct jparser *p, const char *sign);
__attribute__((format(printf, 3, 4), noreturn)) void jparser_fail(struct jparser *p, const struct jtoken *at,
                                                                  const char *fmt, ...);
/* "'endif'" and so on, for messages */
const char *jtoken_words(struct jrun *run, const struct jtoken *token);
void jparser_enter(struct jparser *p);
static inline void jparser_leave(struct jparser *p) {
    p->nesting--;
}

#endif
