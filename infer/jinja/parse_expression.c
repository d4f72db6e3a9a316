/* Expressions, one function a level of precedence, in the order and with the oddities of jinja2's parser: ~
 * binds tighter than + and -, ** is left-associative, filters and tests bind tighter than any operator. */
#include "infer/jinja/ast.h"
#include "infer/jinja/eval.h"

static uint16_t height_of(struct jparser *p, const struct jnode *at, size_t of_child) {
    if (of_child + 1 > JINJA_MAX_CHAIN) {
        p->run->line = at->line;
        p->run->column = at->column;
        jfail_limit(p->run, "levels in one expression", JINJA_MAX_CHAIN);
    }
    return (uint16_t)(of_child + 1);
}

static void over(struct jparser *p, struct jnode *node, const struct jnode *child) {
    if (child && child->height >= node->height) node->height = height_of(p, node, child->height);
}

static struct jnode *pair(struct jparser *p, enum jnode_type type, const struct jtoken *at,
                          struct jnode *left, struct jnode *right) {
    struct jnode *node = jnode_new(p, type, at);
    node->binary.left = left;
    node->binary.right = right;
    over(p, node, left);
    over(p, node, right);
    return node;
}

static bool token_is(const struct jtoken *token, enum jtoken_type type, const char *text) {
    return token->type == type && token->len == strlen(text) && memcmp(token->bytes, text, token->len) == 0;
}

static struct jvalue token_text(struct jparser *p, const struct jtoken *token) {
    struct jstr *s = jstr_ref(p->run, token->bytes, token->len, false);
    jstr_n_chars(p->run, s); /* counted now: a parsed template is never written to */
    return jstring(s);
}

struct jnode *jparse_name(struct jparser *p) {
    if (p->at->type != JTOKEN_NAME)
        jparser_fail(p, p->at, "syntax: expected a name, got %s", jtoken_words(p->run, p->at));
    struct jnode *node = jnode_new(p, JNODE_NAME, p->at);
    node->value = token_text(p, p->at++);
    return node;
}

/* ---- literals ---- */

static struct jnode *parse_list(struct jparser *p) {
    struct jnode *node = jnode_new(p, JNODE_LIST, p->at++);
    size_t cap = 0;
    while (!jparser_is_sign(p, "]")) {
        if (node->items.n) jparser_need_sign(p, ",");
        if (jparser_is_sign(p, "]")) break;
        jnodes_add(p, &node->items, &cap, jparse_expression(p));
        over(p, node, node->items.at[node->items.n - 1]);
    }
    p->at++;
    return node;
}

static struct jnode *parse_dict(struct jparser *p) {
    struct jnode *node = jnode_new(p, JNODE_DICT, p->at++);
    size_t cap = 0;
    while (!jparser_is_sign(p, "}")) {
        if (node->items.n) jparser_need_sign(p, ",");
        if (jparser_is_sign(p, "}")) break;
        jnodes_add(p, &node->items, &cap, jparse_expression(p));
        over(p, node, node->items.at[node->items.n - 1]);
        jparser_need_sign(p, ":");
        jnodes_add(p, &node->items, &cap, jparse_expression(p));
        over(p, node, node->items.at[node->items.n - 1]);
    }
    p->at++;
    return node;
}

static struct jnode *constant(struct jparser *p, const struct jtoken *at, struct jvalue value) {
    struct jnode *node = jnode_new(p, JNODE_CONST, at);
    node->value = value;
    return node;
}

static struct jnode *parse_strings(struct jparser *p) { /* "a" "b" is "ab" */
    const struct jtoken *first = p->at++;
    struct jvalue value = token_text(p, first);
    while (p->at->type == JTOKEN_STRING) {
        value = jstring(jstr_concat(p->run, value.str, token_text(p, p->at++).str));
        value.str->grow = NULL; /* a render must not extend it in place */
    }
    return constant(p, first, value);
}

static void note_macro_use(struct jparser *p, const struct jtoken *name) {
    if (!p->macro) return;
    if (token_is(name, JTOKEN_NAME, "varargs")) p->macro->macro.uses_varargs = true;
    if (token_is(name, JTOKEN_NAME, "kwargs")) p->macro->macro.uses_kwargs = true;
    if (token_is(name, JTOKEN_NAME, "caller")) p->macro->macro.uses_caller = true;
}

static struct jnode *parse_primary(struct jparser *p, bool with_namespace) {
    const struct jtoken *token = p->at;
    switch (token->type) {
    case JTOKEN_NAME:
        if (jparser_skip_name(p, "true") || jparser_skip_name(p, "True"))
            return constant(p, token, jbool(true));
        if (jparser_skip_name(p, "false") || jparser_skip_name(p, "False"))
            return constant(p, token, jbool(false));
        if (jparser_skip_name(p, "none") || jparser_skip_name(p, "None")) return constant(p, token, JNONE);
        note_macro_use(p, token);
        struct jnode *name = jparse_name(p);
        if (!with_namespace || !jparser_skip_sign(p, ".")) return name;
        struct jnode *member = jnode_new(p, JNODE_NAMESPACE_MEMBER, token);
        member->attribute.of = name;
        member->attribute.name = jparse_name(p)->value;
        return member;
    case JTOKEN_STRING: return parse_strings(p);
    case JTOKEN_INT: p->at++; return constant(p, token, jint(token->integer));
    case JTOKEN_FLOAT: p->at++; return constant(p, token, jfloat(token->real));
    case JTOKEN_SIGN:
        if (jparser_is_sign(p, "[")) return parse_list(p);
        if (jparser_is_sign(p, "{")) return parse_dict(p);
        if (jparser_skip_sign(p, "(")) {
            struct jnode *node;
            if (jparser_is_sign(p, ")"))
                node = jnode_new(p, JNODE_TUPLE, token);
            else
                node = jparse_tuple(p, true, NULL);
            jparser_need_sign(p, ")");
            return node;
        }
        break;
    default: break;
    }
    jparser_fail(p, token, "syntax: unexpected %s", jtoken_words(p->run, token));
}

/* ---- what stands behind: .name [key] (args) | filter is test ---- */

static struct jnode *parse_subscript_part(struct jparser *p) { /* key or from:to:step */
    const struct jtoken *at = p->at;
    struct jnode *from = jparser_is_sign(p, ":") ? NULL : jparse_expression(p);
    if (!jparser_is_sign(p, ":")) return from;
    struct jnode *node = jnode_new(p, JNODE_SLICE, at);
    node->item.key = from;
    p->at++;
    if (!jparser_is_sign(p, ":") && !jparser_is_sign(p, "]") && !jparser_is_sign(p, ","))
        node->item.to = jparse_expression(p);
    if (jparser_skip_sign(p, ":") && !jparser_is_sign(p, "]") && !jparser_is_sign(p, ","))
        node->item.step = jparse_expression(p);
    over(p, node, node->item.key);
    over(p, node, node->item.to);
    over(p, node, node->item.step);
    return node;
}

static struct jnode *parse_brackets(struct jparser *p, struct jnode *of) {
    const struct jtoken *at = p->at++;
    struct jnode *key = parse_subscript_part(p);
    if (jparser_is_sign(p, ",")) { /* a[1, 2] is a[(1, 2)] */
        struct jnode *tuple = jnode_new(p, JNODE_TUPLE, at);
        size_t cap = 0;
        jnodes_add(p, &tuple->items, &cap, key);
        while (jparser_skip_sign(p, ",")) jnodes_add(p, &tuple->items, &cap, parse_subscript_part(p));
        for (size_t i = 0; i < tuple->items.n; i++) {
            if (tuple->items.at[i]->type == JNODE_SLICE)
                jparser_fail(p, at, "slices in several dimensions are not supported");
            over(p, tuple, tuple->items.at[i]);
        }
        key = tuple;
    }
    jparser_need_sign(p, "]");
    struct jnode *node = key->type == JNODE_SLICE ? key : jnode_new(p, JNODE_ITEM, at);
    if (node != key) node->item.key = key;
    node->item.of = of;
    over(p, node, of);
    over(p, node, node == key ? NULL : key);
    return node;
}

static struct jnode *parse_dot(struct jparser *p, struct jnode *of) {
    const struct jtoken *at = p->at++;
    struct jnode *node;
    if (p->at->type == JTOKEN_INT) {
        node = jnode_new(p, JNODE_ITEM, at);
        node->item.key = constant(p, p->at, jint(p->at->integer));
        p->at++;
        node->item.of = of;
    } else {
        node = jnode_new(p, JNODE_ATTRIBUTE, at);
        node->attribute.name = jparse_name(p)->value;
        node->attribute.of = of;
    }
    over(p, node, of);
    return node;
}

static void parse_args(struct jparser *p, struct jnode *node, struct jnode_args *args) {
    const struct jtoken *open = p->at;
    size_t cap = 0, named_cap = 0, names_cap = 0;
    bool first = true;
    jparser_need_sign(p, "(");
    while (!jparser_is_sign(p, ")")) {
        if (!first) jparser_need_sign(p, ",");
        first = false;
        if (jparser_is_sign(p, ")")) break;
        bool wrong = false;
        struct jnode *value;
        if (jparser_skip_sign(p, "*")) {
            wrong = args->more || args->more_named;
            value = args->more = jparse_expression(p);
        } else if (jparser_skip_sign(p, "**")) {
            wrong = args->more_named != NULL;
            value = args->more_named = jparse_expression(p);
        } else if (p->at->type == JTOKEN_NAME && token_is(&p->at[1], JTOKEN_SIGN, "=")) {
            wrong = args->more_named != NULL;
            struct jvalue name = token_text(p, p->at);
            p->at += 2;
            value = jparse_expression(p);
            jnodes_add(p, &args->named, &named_cap, value);
            if (args->named.n > names_cap) {
                names_cap = named_cap;
                struct jvalue *names = jalloc_array(p->run, names_cap, sizeof *names);
                if (args->named.n > 1) memcpy(names, args->names, (args->named.n - 1) * sizeof *names);
                args->names = names;
            }
            for (size_t i = 0; i + 1 < args->named.n; i++)
                if (jstr_equal(args->names[i].str, name.str))
                    jparser_fail(p, open, "syntax: keyword argument repeated");
            args->names[args->named.n - 1] = name;
        } else {
            wrong = args->more || args->more_named || args->named.n;
            value = jparse_expression(p);
            jnodes_add(p, &args->positional, &cap, value);
        }
        if (wrong) jparser_fail(p, open, "syntax: invalid syntax for function call expression");
        over(p, node, value);
    }
    p->at++;
}

static struct jnode *parse_call(struct jparser *p, struct jnode *of) {
    struct jnode *node = jnode_new(p, JNODE_CALL, p->at);
    node->call.of = of;
    over(p, node, of);
    parse_args(p, node, &node->call.args);
    return node;
}

static struct jnode *parse_postfix(struct jparser *p, struct jnode *node) {
    for (;;) {
        if (jparser_is_sign(p, "."))
            node = parse_dot(p, node);
        else if (jparser_is_sign(p, "["))
            node = parse_brackets(p, node);
        else if (jparser_is_sign(p, "("))
            node = parse_call(p, node);
        else
            return node;
    }
}

struct jnode *jparse_filters(struct jparser *p, struct jnode *of, bool begins) {
    while (begins || jparser_is_sign(p, "|")) {
        if (!begins) p->at++;
        begins = false;
        const struct jtoken *at = p->at;
        struct jnode *node = jnode_new(p, JNODE_FILTER, at);
        node->call.of = of;
        node->call.name = jparse_name(p)->value;
        node->call.filter = jfilter_find(node->call.name.str);
        if (!node->call.filter && !p->soft)
            jparser_fail(p, at, "no filter named '%.*s'", (int)(at->len < 200 ? at->len : 200), at->bytes);
        over(p, node, of);
        if (jparser_is_sign(p, "(")) parse_args(p, node, &node->call.args);
        of = node;
    }
    return of;
}

static bool begins_test_argument(const struct jparser *p) {
    switch (p->at->type) {
    case JTOKEN_NAME:
        return !jparser_is_name(p, "else") && !jparser_is_name(p, "or") && !jparser_is_name(p, "and");
    case JTOKEN_STRING:
    case JTOKEN_INT:
    case JTOKEN_FLOAT: return true;
    case JTOKEN_SIGN: return jparser_is_sign(p, "[") || jparser_is_sign(p, "{");
    default: return false;
    }
}

static struct jnode *parse_test(struct jparser *p, struct jnode *of) {
    const struct jtoken *is = p->at++;
    bool negated = jparser_skip_name(p, "not");
    const struct jtoken *at = p->at;
    struct jnode *node = jnode_new(p, JNODE_TEST, at);
    node->call.of = of;
    node->call.name = jparse_name(p)->value;
    node->call.test = jtest_find(node->call.name.str);
    if (!node->call.test && !p->soft)
        jparser_fail(p, at, "no test named '%.*s'", (int)(at->len < 200 ? at->len : 200), at->bytes);
    over(p, node, of);
    if (jparser_is_sign(p, "(")) {
        parse_args(p, node, &node->call.args);
    } else if (begins_test_argument(p)) {
        if (jparser_is_name(p, "is"))
            jparser_fail(p, p->at, "syntax: You cannot chain multiple tests with is");
        size_t cap = 0;
        struct jnode *argument = parse_postfix(p, parse_primary(p, false));
        jnodes_add(p, &node->call.args.positional, &cap, argument);
        over(p, node, argument);
    }
    return negated ? pair(p, JNODE_NOT, is, node, NULL) : node;
}

/* ---- operators ---- */

static struct jnode *parse_unary(struct jparser *p, bool with_filters) {
    const struct jtoken *at = p->at;
    struct jnode *node;
    jparser_enter(p);
    if (jparser_skip_sign(p, "-"))
        node = pair(p, JNODE_NEGATIVE, at, parse_unary(p, false), NULL);
    else if (jparser_skip_sign(p, "+"))
        node = pair(p, JNODE_POSITIVE, at, parse_unary(p, false), NULL);
    else
        node = parse_primary(p, false);
    node = parse_postfix(p, node);
    while (with_filters) {
        if (jparser_is_sign(p, "|"))
            node = jparse_filters(p, node, false);
        else if (jparser_is_name(p, "is"))
            node = parse_test(p, node);
        else if (jparser_is_sign(p, "("))
            node = parse_call(p, node);
        else
            break;
    }
    jparser_leave(p);
    return node;
}

/* A level of left-associative operators. */
static struct jnode *parse_arithmetic(struct jparser *p, int level) {
    static const struct {
        const char *sign;
        enum joperator op;
        int level;
    } ops[] = {{"+", JOP_ADD, 0}, {"-", JOP_SUB, 0},       {"*", JOP_MUL, 2}, {"/", JOP_DIV, 2},
               {"%", JOP_MOD, 2}, {"//", JOP_FLOORDIV, 2}, {"**", JOP_POW, 3}};
    if (level == 4) return parse_unary(p, true);
    struct jnode *left = parse_arithmetic(p, level + 1);
    if (level == 1) {
        if (!jparser_is_sign(p, "~")) return left;
        struct jnode *node = jnode_new(p, JNODE_CONCAT, p->at);
        size_t cap = 0;
        jnodes_add(p, &node->items, &cap, left);
        over(p, node, left);
        while (jparser_skip_sign(p, "~")) {
            jnodes_add(p, &node->items, &cap, parse_arithmetic(p, 2));
            over(p, node, node->items.at[node->items.n - 1]);
        }
        return node;
    }
    for (;;) {
        size_t i = 0, n = sizeof ops / sizeof *ops;
        while (i < n && (ops[i].level != level || !jparser_is_sign(p, ops[i].sign))) i++;
        if (i == n) return left;
        const struct jtoken *at = p->at++;
        left = pair(p, JNODE_ARITHMETIC, at, left, parse_arithmetic(p, level + 1));
        left->binary.op = ops[i].op;
    }
}

static bool skip_compare(struct jparser *p, uint8_t *op) {
    static const char *const signs[] = {"==", "!=", "<", "<=", ">", ">="};
    for (uint8_t i = 0; i < 6; i++) {
        if (!jparser_skip_sign(p, signs[i])) continue;
        *op = i;
        return true;
    }
    *op = JCMP_IN;
    if (jparser_skip_name(p, "in")) return true;
    *op = JCMP_NOT_IN;
    if (!jparser_is_name(p, "not") || !token_is(&p->at[1], JTOKEN_NAME, "in")) return false;
    p->at += 2;
    return true;
}

static struct jnode *parse_compare(struct jparser *p) {
    const struct jtoken *at = p->at;
    struct jnode *first = parse_arithmetic(p, 0), *node = NULL;
    size_t cap = 0;
    uint8_t op;
    for (const struct jtoken *sign = p->at; skip_compare(p, &op); sign = p->at) {
        if (!node) {
            node = jnode_new(p, JNODE_COMPARE, sign == at ? at : sign);
            jnodes_add(p, &node->compare.items, &cap, first);
            over(p, node, first);
        }
        struct jnode *next = parse_arithmetic(p, 0);
        size_t n = node->compare.items.n, room = cap;
        jnodes_add(p, &node->compare.items, &cap, next);
        if (cap != room || n == 1) {
            uint8_t *ops = jalloc(p->run, cap);
            if (n > 1) memcpy(ops, node->compare.ops, n - 1);
            node->compare.ops = ops;
        }
        node->compare.ops[n - 1] = op;
        over(p, node, next);
    }
    return node ? node : first;
}

static struct jnode *parse_not(struct jparser *p) {
    const struct jtoken *at = p->at;
    if (!jparser_skip_name(p, "not")) return parse_compare(p);
    jparser_enter(p);
    struct jnode *node = pair(p, JNODE_NOT, at, parse_not(p), NULL);
    jparser_leave(p);
    return node;
}

static struct jnode *parse_and(struct jparser *p) {
    struct jnode *left = parse_not(p);
    for (const struct jtoken *at = p->at; jparser_skip_name(p, "and"); at = p->at)
        left = pair(p, JNODE_AND, at, left, parse_not(p));
    return left;
}

struct jnode *jparse_condition(struct jparser *p) {
    struct jnode *left = parse_and(p);
    for (const struct jtoken *at = p->at; jparser_skip_name(p, "or"); at = p->at)
        left = pair(p, JNODE_OR, at, left, parse_and(p));
    return left;
}

struct jnode *jparse_expression(struct jparser *p) {
    bool soft = p->soft;
    struct jnode *node = jparse_condition(p);
    while (jparser_is_name(p, "if")) {
        struct jnode *branch = jnode_new(p, JNODE_IF_ELSE, p->at++);
        size_t cap = 0, other_cap = 0;
        p->soft = true;
        jnodes_add(p, &branch->branch.then, &cap, node);
        branch->branch.test = jparse_condition(p);
        over(p, branch, node);
        over(p, branch, branch->branch.test);
        if (jparser_skip_name(p, "else")) {
            jparser_enter(p);
            jnodes_add(p, &branch->branch.otherwise, &other_cap, jparse_expression(p));
            jparser_leave(p);
            over(p, branch, branch->branch.otherwise.at[0]);
        }
        p->soft = soft;
        node = branch;
    }
    return node;
}

struct jnode *jparse_tuple(struct jparser *p, bool with_if, const char *end) {
    const struct jtoken *at = p->at;
    struct jnodes items = {0};
    size_t cap = 0;
    bool is_tuple = false;
    for (;;) {
        bool ends = p->at->type == JTOKEN_PRINT_END || p->at->type == JTOKEN_BLOCK_END ||
                    jparser_is_sign(p, ")") || (end && jparser_is_name(p, end));
        if (ends) break;
        jnodes_add(p, &items, &cap, with_if ? jparse_expression(p) : jparse_condition(p));
        if (!jparser_skip_sign(p, ",")) break;
        is_tuple = true;
    }
    if (!is_tuple && items.n) return items.at[0];
    if (!is_tuple)
        jparser_fail(p, p->at, "syntax: expected an expression, got %s", jtoken_words(p->run, p->at));
    struct jnode *node = jnode_new(p, JNODE_TUPLE, at);
    node->items = items;
    for (size_t i = 0; i < items.n; i++) over(p, node, items.at[i]);
    return node;
}

struct jnode *jparse_target(struct jparser *p, bool with_namespace, const char *end) {
    const struct jtoken *at = p->at;
    struct jnodes items = {0};
    size_t cap = 0;
    bool is_tuple = false;
    jparser_enter(p);
    while (!(end && jparser_is_name(p, end)) && p->at->type != JTOKEN_BLOCK_END && !jparser_is_sign(p, ")")) {
        struct jnode *one;
        if (jparser_skip_sign(p, "(")) {
            one = jparse_target(p, false, NULL);
            jparser_need_sign(p, ")");
        } else {
            one = parse_primary(p, with_namespace);
        }
        if (one->type != JNODE_NAME && one->type != JNODE_NAMESPACE_MEMBER && one->type != JNODE_TUPLE)
            jparser_fail(p, at, "syntax: can't assign to this, a name is needed");
        jnodes_add(p, &items, &cap, one);
        if (!jparser_skip_sign(p, ",")) break;
        is_tuple = true;
    }
    jparser_leave(p);
    if (!items.n)
        jparser_fail(p, at, "syntax: expected a name to assign to, got %s", jtoken_words(p->run, at));
    if (!is_tuple) return items.at[0];
    struct jnode *node = jnode_new(p, JNODE_TUPLE, at);
    node->items = items;
    return node;
}
