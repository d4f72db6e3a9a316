/* Statements. */
#include "infer/jinja/ast.h"
#include "infer/jinja/eval.h"

#include <stdarg.h>
#include <stdio.h>

/* ---- what both halves of the parser use ---- */

struct jnode *jnode_new(struct jparser *p, enum jnode_type type, const struct jtoken *at) {
    struct jnode *node = jalloc(p->run, sizeof *node);
    node->type = (uint8_t)type;
    node->height = 1;
    node->line = at->line;
    node->column = at->column;
    return node;
}

void jnodes_add(struct jparser *p, struct jnodes *nodes, size_t *cap, struct jnode *node) {
    if (nodes->n == *cap) {
        size_t room = *cap ? *cap * 2 : 4;
        struct jnode **at = jalloc_array(p->run, room, sizeof *at);
        if (nodes->n) memcpy(at, nodes->at, nodes->n * sizeof *at);
        nodes->at = at;
        *cap = room;
    }
    nodes->at[nodes->n++] = node;
}

static bool token_is(const struct jtoken *token, enum jtoken_type type, const char *text) {
    size_t n = strlen(text);
    return token->type == type && token->len == n && memcmp(token->bytes, text, n) == 0;
}

bool jparser_is_sign(const struct jparser *p, const char *sign) {
    return token_is(p->at, JTOKEN_SIGN, sign);
}
bool jparser_is_name(const struct jparser *p, const char *name) {
    return token_is(p->at, JTOKEN_NAME, name);
}

bool jparser_skip_sign(struct jparser *p, const char *sign) {
    bool is = jparser_is_sign(p, sign);
    p->at += is;
    return is;
}

bool jparser_skip_name(struct jparser *p, const char *name) {
    bool is = jparser_is_name(p, name);
    p->at += is;
    return is;
}

void jparser_fail(struct jparser *p, const struct jtoken *at, const char *fmt, ...) {
    char text[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    p->run->line = at->line;
    p->run->column = at->column;
    jfail(p->run, "%s", text);
}

const char *jtoken_words(struct jrun *run, const struct jtoken *token) {
    static const char *const words[] = {"the end of the template", "text", "'{{'",
                                        "the end of '{{ ... }}'",  "'{%'", "the end of '{% ... %}'"};
    if (token->type < sizeof words / sizeof *words) return words[token->type];
    char *text = jalloc(run, 64);
    snprintf(text, 64, "'%.*s'", token->len < 40 ? (int)token->len : 40, token->bytes);
    return text;
}

void jparser_need_sign(struct jparser *p, const char *sign) {
    if (!jparser_skip_sign(p, sign))
        jparser_fail(p, p->at, "syntax: expected '%s', got %s", sign, jtoken_words(p->run, p->at));
}

void jparser_enter(struct jparser *p) {
    if (++p->nesting <= JINJA_MAX_NESTING) return;
    p->run->line = p->at->line;
    p->run->column = p->at->column;
    jfail_limit(p->run, "levels of nesting", JINJA_MAX_NESTING);
}

/* ---- bodies ---- */

static void parse_body(struct jparser *p, struct jnodes *body, const struct jtoken *opened,
                       const char *const *ends);

static void need_block_end(struct jparser *p) {
    if (p->at->type != JTOKEN_BLOCK_END)
        jparser_fail(p, p->at, "syntax: expected the end of the statement, '%%}', got %s",
                     jtoken_words(p->run, p->at));
    p->at++;
}

static bool is_end(const struct jparser *p, const char *const *ends) {
    for (; ends && *ends; ends++)
        if (jparser_is_name(p, *ends)) return true;
    return false;
}

/* "%}" body "{% end": stands at the ending name afterwards. */
static void parse_block(struct jparser *p, struct jnodes *body, const struct jtoken *opened,
                        const char *const *ends) {
    jparser_skip_sign(p, ":");
    need_block_end(p);
    jparser_enter(p);
    parse_body(p, body, opened, ends);
    jparser_leave(p);
}

static void parse_whole_block(struct jparser *p, struct jnodes *body, const struct jtoken *opened,
                              const char *end) {
    const char *const ends[] = {end, NULL};
    parse_block(p, body, opened, ends);
    p->at++;
}

/* ---- statements ---- */

static struct jnode *parse_if(struct jparser *p) {
    static const char *const ends[] = {"elif", "else", "endif", NULL};
    const struct jtoken *opened = p->at++;
    struct jnode *first = jnode_new(p, JNODE_IF, opened), *node = first;
    bool soft = p->soft;
    p->soft = true;
    node->branch.test = jparse_tuple(p, false, NULL);
    parse_block(p, &node->branch.then, opened, ends);
    while (jparser_is_name(p, "elif")) {
        struct jnode *next = jnode_new(p, JNODE_IF, p->at++);
        size_t cap = 0;
        jnodes_add(p, &node->branch.otherwise, &cap, next);
        node = next;
        node->branch.test = jparse_tuple(p, false, NULL);
        parse_block(p, &node->branch.then, opened, ends);
    }
    if (jparser_skip_name(p, "else"))
        parse_whole_block(p, &node->branch.otherwise, opened, "endif");
    else
        p->at++;
    p->soft = soft;
    return first;
}

static struct jnode *parse_for(struct jparser *p) {
    static const char *const ends[] = {"endfor", "else", NULL};
    const struct jtoken *opened = p->at++;
    struct jnode *node = jnode_new(p, JNODE_FOR, opened);
    bool soft = p->soft;
    node->loop.target = jparse_target(p, false, "in");
    if (!jparser_skip_name(p, "in"))
        jparser_fail(p, p->at, "syntax: expected 'in', got %s", jtoken_words(p->run, p->at));
    node->loop.list = jparse_tuple(p, false, "recursive");
    p->soft = false;
    if (jparser_skip_name(p, "if")) node->loop.test = jparse_expression(p);
    node->loop.recursive = jparser_skip_name(p, "recursive");
    p->loops++;
    parse_block(p, &node->loop.body, opened, ends);
    p->loops--;
    if (jparser_skip_name(p, "else"))
        parse_whole_block(p, &node->loop.otherwise, opened, "endfor");
    else
        p->at++;
    p->soft = soft;
    return node;
}

static struct jnode *parse_set(struct jparser *p) {
    const struct jtoken *opened = p->at++;
    struct jnode *target = jparse_target(p, true, NULL), *node;
    if (jparser_skip_sign(p, "=")) {
        node = jnode_new(p, JNODE_SET, opened);
        node->set.target = target;
        node->set.value = jparse_tuple(p, true, NULL);
        return node;
    }
    node = jnode_new(p, JNODE_SET_BLOCK, opened);
    node->set.target = target;
    node->set.value = jparse_filters(p, NULL, false);
    bool soft = p->soft;
    p->soft = false;
    parse_whole_block(p, &node->set.body, opened, "endset");
    p->soft = soft;
    return node;
}

static void parse_params(struct jparser *p, struct jnode *node) {
    size_t cap = 0, default_cap = 0;
    jparser_need_sign(p, "(");
    while (!jparser_is_sign(p, ")")) {
        if (node->macro.params.n) jparser_need_sign(p, ",");
        const struct jtoken *at = p->at;
        struct jnode *name = jparse_name(p);
        node->macro.has_caller_param |= token_is(at, JTOKEN_NAME, "caller");
        jnodes_add(p, &node->macro.params, &cap, name);
        if (jparser_skip_sign(p, "="))
            jnodes_add(p, &node->macro.defaults, &default_cap, jparse_expression(p));
        else if (node->macro.defaults.n)
            jparser_fail(p, at, "syntax: non-default argument follows default argument");
    }
    p->at++;
}

/* The body of a macro: its own world for loops, and it learns which special names it uses. */
static void parse_macro_body(struct jparser *p, struct jnode *node, const struct jtoken *opened,
                             const char *end) {
    struct jparser outer = *p;
    p->macro = node;
    p->loops = 0;
    p->soft = false;
    parse_whole_block(p, &node->macro.body, opened, end);
    p->macro = outer.macro;
    p->loops = outer.loops;
    p->soft = outer.soft;
}

static struct jnode *parse_macro(struct jparser *p) {
    const struct jtoken *opened = p->at++;
    struct jnode *node = jnode_new(p, JNODE_MACRO, opened);
    node->macro.name = jparse_name(p)->value;
    parse_params(p, node);
    parse_macro_body(p, node, opened, "endmacro");
    return node;
}

static struct jnode *parse_call_block(struct jparser *p) {
    const struct jtoken *opened = p->at++;
    struct jnode *node = jnode_new(p, JNODE_CALL_BLOCK, opened);
    if (jparser_is_sign(p, "(")) parse_params(p, node);
    node->macro.call = jparse_expression(p);
    if (node->macro.call->type != JNODE_CALL)
        jparser_fail(p, opened, "syntax: expected a call behind 'call'");
    parse_macro_body(p, node, opened, "endcall");
    return node;
}

static struct jnode *parse_filter_block(struct jparser *p) {
    const struct jtoken *opened = p->at++;
    struct jnode *node = jnode_new(p, JNODE_FILTER_BLOCK, opened);
    node->set.value = jparse_filters(p, NULL, true);
    bool soft = p->soft;
    p->soft = false;
    parse_whole_block(p, &node->set.body, opened, "endfilter");
    p->soft = soft;
    return node;
}

static struct jnode *parse_with(struct jparser *p) {
    const struct jtoken *opened = p->at++;
    struct jnode *node = jnode_new(p, JNODE_WITH, opened);
    size_t cap = 0, value_cap = 0;
    while (p->at->type != JTOKEN_BLOCK_END) {
        if (node->with.targets.n) jparser_need_sign(p, ",");
        jnodes_add(p, &node->with.targets, &cap, jparse_name(p));
        jparser_need_sign(p, "=");
        jnodes_add(p, &node->with.values, &value_cap, jparse_expression(p));
    }
    bool soft = p->soft;
    p->soft = false;
    parse_whole_block(p, &node->with.body, opened, "endwith");
    p->soft = soft;
    return node;
}

static struct jnode *parse_generation(struct jparser *p) {
    const struct jtoken *opened = p->at++;
    struct jnode *node = jnode_new(p, JNODE_GENERATION, opened);
    struct jparser outer = *p;
    p->loops = 0; /* its body is a caller's, as with Hugging Face's tag: break cannot leave it */
    p->soft = false;
    parse_whole_block(p, &node->body, opened, "endgeneration");
    p->loops = outer.loops;
    p->soft = outer.soft;
    return node;
}

static struct jnode *parse_jump(struct jparser *p) {
    bool is_break = jparser_is_name(p, "break");
    if (!p->loops) jparser_fail(p, p->at, "syntax: '%s' outside of a loop", is_break ? "break" : "continue");
    return jnode_new(p, is_break ? JNODE_BREAK : JNODE_CONTINUE, p->at++);
}

static struct jnode *parse_print(struct jparser *p) { /* {% print a, b %} */
    struct jnode *node = jnode_new(p, JNODE_PRINT, p->at++);
    struct jnode *items = jnode_new(p, JNODE_CONCAT, p->at);
    size_t cap = 0;
    while (p->at->type != JTOKEN_BLOCK_END) {
        if (items->items.n) jparser_need_sign(p, ",");
        jnodes_add(p, &items->items, &cap, jparse_expression(p));
    }
    node->branch.test = items;
    return node;
}

static struct jnode *parse_statement(struct jparser *p, const struct jtoken *opened,
                                     const char *const *ends) {
    static const struct {
        const char *name;
        struct jnode *(*parse)(struct jparser *p);
    } statements[] = {{"if", parse_if},
                      {"for", parse_for},
                      {"set", parse_set},
                      {"macro", parse_macro},
                      {"call", parse_call_block},
                      {"filter", parse_filter_block},
                      {"with", parse_with},
                      {"break", parse_jump},
                      {"continue", parse_jump},
                      {"print", parse_print},
                      {"generation", parse_generation}};
    static const char *const unsupported[] = {"include",    "import", "from",  "extends", "block",
                                              "autoescape", "do",     "trans", "debug",   NULL};
    const struct jtoken *at = p->at;
    if (at->type != JTOKEN_NAME)
        jparser_fail(p, at, "syntax: tag name expected, got %s", jtoken_words(p->run, at));
    for (size_t i = 0; i < sizeof statements / sizeof *statements; i++)
        if (jparser_is_name(p, statements[i].name)) return statements[i].parse(p);
    const char *word = jtoken_words(p->run, at);
    if (is_end(p, unsupported)) jparser_fail(p, at, "the statement %s is not supported", word);
    if (opened)
        jparser_fail(p, at, "syntax: unknown tag %s; '%s' was looked for, to close '%.*s' of line %u", word,
                     ends[0], (int)opened->len, opened->bytes, opened->line);
    jparser_fail(p, at, "syntax: unknown tag %s", word);
}

static void parse_body(struct jparser *p, struct jnodes *body, const struct jtoken *opened,
                       const char *const *ends) {
    size_t cap = 0;
    for (;;) {
        const struct jtoken *at = p->at;
        struct jnode *node;
        switch (at->type) {
        case JTOKEN_TEXT:
            node = jnode_new(p, JNODE_TEXT, at);
            node->value = jstring(jstr_ref(p->run, at->bytes, at->len, false));
            jstr_n_chars(p->run, node->value.str);
            p->at++;
            break;
        case JTOKEN_PRINT_BEGIN:
            p->at++;
            node = jnode_new(p, JNODE_PRINT, at);
            node->branch.test = jparse_tuple(p, true, NULL);
            if (p->at->type != JTOKEN_PRINT_END)
                jparser_fail(p, p->at, "syntax: expected the end of '{{ ... }}', got %s",
                             jtoken_words(p->run, p->at));
            p->at++;
            break;
        case JTOKEN_BLOCK_BEGIN:
            p->at++;
            if (is_end(p, ends)) return;
            node = parse_statement(p, opened, ends);
            need_block_end(p);
            break;
        case JTOKEN_END:
            if (!opened) return;
            jparser_fail(
                p, at,
                "syntax: unexpected end of the template; '%s' was looked for, to close '%.*s' of line %u",
                ends[0], (int)opened->len, opened->bytes, opened->line);
        default: jparser_fail(p, at, "syntax: unexpected %s", jtoken_words(p->run, at));
        }
        jnodes_add(p, body, &cap, node);
    }
}

void jparse(struct jrun *run, struct jtokens tokens, struct jnodes *body) {
    struct jparser p = {.run = run, .at = tokens.at};
    parse_body(&p, body, NULL, NULL);
}
