/* Expressions. */
#include "infer/jinja/eval.h"

static void stand_at(struct jrun *run, const struct jnode *node) {
    run->line = node->line;
    run->column = node->column;
}

/* ---- names ---- */

struct jscope *jscope_new(struct jrun *run, struct jscope *parent) {
    struct jscope *scope = jalloc(run, sizeof *scope);
    scope->parent = parent;
    return scope;
}

static struct jpair *scope_find(const struct jscope *scope, const struct jstr *name) {
    for (size_t i = 0; i < scope->n; i++)
        if (jstr_equal(scope->names[i].key.str, name)) return &scope->names[i];
    return NULL;
}

void jscope_set(struct jrun *run, struct jscope *scope, struct jvalue name, struct jvalue value) {
    struct jpair *pair = scope_find(scope, name.str);
    if (!pair) {
        if (scope->n == scope->cap) {
            size_t cap = scope->cap ? scope->cap * 2 : 4;
            struct jpair *names = jalloc_array(run, cap, sizeof *names);
            if (scope->n) memcpy(names, scope->names, scope->n * sizeof *names);
            scope->names = names;
            scope->cap = cap;
        }
        pair = &scope->names[scope->n++];
        pair->key = name;
    }
    pair->value = value;
}

struct jvalue jscope_get(struct jrun *run, struct jvalue name) {
    struct jvalue out;
    for (const struct jscope *scope = run->scope; scope; scope = scope->parent) {
        const struct jpair *pair = scope_find(scope, name.str);
        jstep(run, scope->n / 32);
        if (pair) return pair->value;
    }
    if (jdict_get(run, run->context, name, &out) || jglobal_find(run, name.str, &out)) return out;
    return jundefined_name(run, name);
}

void jassign(struct jrun *run, const struct jnode *target, struct jvalue value) {
    if (target->type == JNODE_NAME) {
        jscope_set(run, run->scope, target->value, value);
        return;
    }
    stand_at(run, target);
    if (target->type == JNODE_NAMESPACE_MEMBER) {
        struct jvalue of = jscope_get(run, target->attribute.of->value);
        if (of.type != JTYPE_NAMESPACE) jfail(run, "cannot assign attribute on non-namespace object");
        jdict_set(run, of.dict, target->attribute.name, value);
        return;
    }
    if (!jis_iterable(value)) jfail(run, "cannot unpack non-iterable %s object", jtype_name(value));
    struct jlist *list = jlist_of(run, value);
    if (list->n != target->items.n)
        jfail(run,
              list->n < target->items.n ? "not enough values to unpack (expected %zu, got %zu)"
                                        : "too many values to unpack (expected %zu, got %zu)",
              target->items.n, list->n);
    for (size_t i = 0; i < list->n; i++) jassign(run, target->items.at[i], list->items[i]);
}

/* ---- calls ---- */

static void named_add(struct jrun *run, struct jargs *out, size_t room, struct jvalue name,
                      struct jvalue value) {
    for (size_t i = 0; i < out->n_named; i++)
        if (jstr_equal(out->named[i].key.str, name.str))
            jfail(run, "got multiple values for keyword argument '%.*s'", (int)(name.str->len & 0xFF),
                  name.str->bytes);
    if (out->n_named < room) out->named[out->n_named++] = (struct jpair){name, value};
}

void jeval_args(struct jrun *run, const struct jnode_args *args, struct jargs *out) {
    *out = (struct jargs){0};
    size_t n = args->positional.n, n_named = args->named.n;
    struct jlist *more = NULL;
    if (n) out->at = jalloc_array(run, n, sizeof *out->at);
    for (size_t i = 0; i < n; i++) out->at[i] = jeval(run, args->positional.at[i]);
    out->n = n;
    if (args->more) {
        more = jlist_of(run, jeval(run, args->more));
        struct jvalue *all = jalloc_array(run, n + more->n + 1, sizeof *all);
        if (n) memcpy(all, out->at, n * sizeof *all);
        if (more->n) memcpy(all + n, more->items, more->n * sizeof *all);
        out->at = all;
        out->n = n + more->n;
    }
    struct jdict *dict = NULL;
    if (args->more_named) {
        struct jvalue value = jeval(run, args->more_named);
        if (value.type != JTYPE_DICT)
            jfail(run, "argument after ** must be a mapping, not %s", jtype_name(value));
        dict = value.dict;
    }
    size_t room = n_named + (dict ? dict->n : 0);
    if (room) out->named = jalloc_array(run, room, sizeof *out->named);
    for (size_t i = 0; i < n_named; i++)
        named_add(run, out, room, args->names[i], jeval(run, args->named.at[i]));
    for (size_t i = 0; dict && i < dict->n; i++) {
        if (dict->pairs[i].key.type != JTYPE_STRING) jfail(run, "keywords must be strings");
        named_add(run, out, room, dict->pairs[i].key, dict->pairs[i].value);
    }
}

static struct jvalue eval_call(struct jrun *run, const struct jnode *node) {
    struct jvalue what = jeval(run, node->call.of);
    struct jargs args;
    jeval_args(run, &node->call.args, &args);
    stand_at(run, node);
    return jcall(run, what, &args);
}

static _Noreturn void fail_unknown(struct jrun *run, const char *kind, const struct jstr *name) {
    jfail(run, "no %s named '%.*s'", kind, name->len < 200 ? (int)name->len : 200, name->bytes);
}

static struct jvalue eval_filter(struct jrun *run, const struct jnode *node, struct jvalue value) {
    struct jargs args;
    jeval_args(run, &node->call.args, &args);
    stand_at(run, node);
    if (!node->call.filter) fail_unknown(run, "filter", node->call.name.str);
    return jfilter_apply(run, node->call.filter, value, &args);
}

static struct jvalue eval_test(struct jrun *run, const struct jnode *node) {
    struct jvalue value = jeval(run, node->call.of);
    struct jargs args;
    jeval_args(run, &node->call.args, &args);
    stand_at(run, node);
    if (!node->call.test) fail_unknown(run, "test", node->call.name.str);
    return jbool(jtest_apply(run, node->call.test, value, &args));
}

/* ---- the rest ---- */

static struct jvalue eval_list(struct jrun *run, const struct jnode *node) {
    struct jlist *list = jlist_new(run, node->items.n);
    for (size_t i = 0; i < node->items.n; i++) jlist_add(run, list, jeval(run, node->items.at[i]));
    return node->type == JNODE_TUPLE ? jtuple_value(list) : jlist_value(list);
}

static struct jvalue eval_dict(struct jrun *run, const struct jnode *node) {
    struct jdict *dict = jdict_new(run, node->items.n / 2);
    for (size_t i = 0; i + 1 < node->items.n; i += 2) {
        struct jvalue key = jeval(run, node->items.at[i]);
        struct jvalue value = jeval(run, node->items.at[i + 1]);
        stand_at(run, node);
        jhash(run, key);
        jdict_set(run, dict, key, value);
    }
    return jdict_value(dict);
}

static bool compare(struct jrun *run, uint8_t op, struct jvalue a, struct jvalue b) {
    int order;
    switch (op) {
    case JCMP_EQ: return jequal(run, a, b);
    case JCMP_NE: return !jequal(run, a, b);
    case JCMP_LT: return jcompare(run, a, b, "<") == -1;
    case JCMP_LE: order = jcompare(run, a, b, "<="); return order == -1 || order == 0;
    case JCMP_GT: return jcompare(run, a, b, ">") == 1;
    case JCMP_GE: order = jcompare(run, a, b, ">="); return order == 1 || order == 0;
    case JCMP_IN: return jcontains(run, b, a);
    default: return !jcontains(run, b, a);
    }
}

static struct jvalue eval_compare(struct jrun *run, const struct jnode *node) {
    struct jvalue left = jeval(run, node->compare.items.at[0]);
    for (size_t i = 1; i < node->compare.items.n; i++) {
        struct jvalue right = jeval(run, node->compare.items.at[i]);
        stand_at(run, node);
        if (!compare(run, node->compare.ops[i - 1], left, right)) return jbool(false);
        left = right;
    }
    return jbool(true);
}

static struct jvalue eval_concat(struct jrun *run, const struct jnode *node) {
    if (!node->items.n) return jstring(jstr_ref(run, "", 0, false)); /* {% print %} of nothing */
    struct jvalue first = jeval(run, node->items.at[0]);
    struct jstr *text = jstr_of(run, first);
    for (size_t i = 1; i < node->items.n; i++)
        text = jstr_concat(run, text, jstr_of(run, jeval(run, node->items.at[i])));
    if (!text->markup) return jstring(text);
    struct jstr *plain = jstr_slice(run, text, 0, text->len);
    plain->markup = false;
    return jstring(plain);
}

static struct jvalue eval_slice(struct jrun *run, const struct jnode *node) {
    struct jvalue of = jeval(run, node->item.of);
    struct jvalue from = node->item.key ? jeval(run, node->item.key) : JMISSING;
    struct jvalue to = node->item.to ? jeval(run, node->item.to) : JMISSING;
    struct jvalue step = node->item.step ? jeval(run, node->item.step) : JMISSING;
    stand_at(run, node);
    return jget_slice(run, of, from, to, step);
}

static struct jvalue eval_if_else(struct jrun *run, const struct jnode *node) {
    if (jtruth(run, jeval(run, node->branch.test))) return jeval(run, node->branch.then.at[0]);
    if (node->branch.otherwise.n) return jeval(run, node->branch.otherwise.at[0]);
    return jundefined_hint(run,
                           "the inline if-expression evaluated to false and no else section was defined.");
}

static struct jvalue eval_inside(struct jrun *run, const struct jnode *node) {
    struct jvalue a, b;
    switch ((enum jnode_type)node->type) {
    case JNODE_LIST:
    case JNODE_TUPLE: return eval_list(run, node);
    case JNODE_DICT: return eval_dict(run, node);
    case JNODE_ATTRIBUTE:
        a = jeval(run, node->attribute.of);
        stand_at(run, node);
        return jget_attribute(run, a, node->attribute.name);
    case JNODE_ITEM:
        a = jeval(run, node->item.of);
        b = jeval(run, node->item.key);
        stand_at(run, node);
        return jget_item(run, a, b);
    case JNODE_SLICE: return eval_slice(run, node);
    case JNODE_CALL: return eval_call(run, node);
    case JNODE_FILTER: return eval_filter(run, node, jeval(run, node->call.of));
    case JNODE_TEST: return eval_test(run, node);
    case JNODE_NOT: return jbool(!jtruth(run, jeval(run, node->binary.left)));
    case JNODE_NEGATIVE:
    case JNODE_POSITIVE:
        a = jeval(run, node->binary.left);
        stand_at(run, node);
        return jnegative(run, a, node->type == JNODE_NEGATIVE);
    case JNODE_ARITHMETIC:
        a = jeval(run, node->binary.left);
        b = jeval(run, node->binary.right);
        stand_at(run, node);
        return jarithmetic(run, node->binary.op, a, b);
    case JNODE_CONCAT: return eval_concat(run, node);
    case JNODE_AND:
        a = jeval(run, node->binary.left);
        return jtruth(run, a) ? jeval(run, node->binary.right) : a;
    case JNODE_OR:
        a = jeval(run, node->binary.left);
        return jtruth(run, a) ? a : jeval(run, node->binary.right);
    case JNODE_COMPARE: return eval_compare(run, node);
    case JNODE_IF_ELSE: return eval_if_else(run, node);
    default: jfail(run, "this cannot stand in an expression");
    }
}

struct jvalue jeval(struct jrun *run, const struct jnode *node) {
    jstep(run, 1);
    if (node->type == JNODE_CONST) return node->value;
    stand_at(run, node);
    if (node->type == JNODE_NAME) return jscope_get(run, node->value);
    jenter(run);
    struct jvalue value = eval_inside(run, node);
    jleave(run);
    return value;
}

/* The filters of a set or filter block: the innermost takes the body's text. */
static struct jvalue filter_chain(struct jrun *run, const struct jnode *node, struct jvalue text) {
    jenter(run);
    if (node->call.of) text = filter_chain(run, node->call.of, text);
    jleave(run);
    return eval_filter(run, node, text);
}

struct jvalue jeval_filters(struct jrun *run, const struct jnode *node, struct jvalue text) {
    return node ? filter_chain(run, node, text) : text;
}
