/* Calls: of macros, callers, recursive loops, functions and methods. */
#include "infer/jinja/eval.h"

#include <inttypes.h>
#include <stdio.h>

static int shown(const struct jstr *name) {
    return name->len < 100 ? (int)name->len : 100;
}

void jbind(struct jrun *run, const char *function, const char *names, size_t required,
           const struct jargs *args, struct jvalue *out) {
    const char *name[JFILTER_MAX_PARAMS];
    size_t len[JFILTER_MAX_PARAMS], n = 0;
    for (const char *p = names; *p && n < JFILTER_MAX_PARAMS;) {
        const char *comma = strchr(p, ',');
        len[n] = comma ? (size_t)(comma - p) : strlen(p);
        name[n++] = p;
        p += len[n - 1] + (comma != NULL);
    }
    if (args->n > n)
        jfail(run, "%s takes at most %zu argument%s (%zu given)", function, n, n == 1 ? "" : "s", args->n);
    for (size_t i = 0; i < n; i++) out[i] = i < args->n ? args->at[i] : JMISSING;
    for (size_t k = 0; k < args->n_named; k++) {
        const struct jstr *key = args->named[k].key.str;
        size_t i = 0;
        while (i < n && (len[i] != key->len || memcmp(name[i], key->bytes, len[i]) != 0)) i++;
        if (i == n)
            jfail(run, "%s got an unexpected keyword argument '%.*s'", function, shown(key), key->bytes);
        if (out[i].type != JTYPE_MISSING)
            jfail(run, "%s got multiple values for argument '%.*s'", function, shown(key), key->bytes);
        out[i] = args->named[k].value;
    }
    for (size_t i = 0; i < required; i++)
        if (out[i].type == JTYPE_MISSING)
            jfail(run, "%s misses its argument '%.*s'", function, (int)len[i], name[i]);
}

/* ---- macros ---- */

static const char *macro_name(const struct jmacro *macro, int *len) {
    if (macro->node->type == JNODE_CALL_BLOCK) {
        *len = 6;
        return "caller";
    }
    *len = shown(macro->node->macro.name.str);
    return macro->node->macro.name.str->bytes;
}

void jmacro_repr(const struct jmacro *macro, char *text, size_t size) {
    int len;
    const char *name = macro_name(macro, &len);
    if (macro->node->type == JNODE_CALL_BLOCK)
        snprintf(text, size, "<Macro anonymous>");
    else
        snprintf(text, size, "<Macro '%.*s'>", len, name);
}

bool jmacro_attribute(struct jrun *run, const struct jmacro *macro, const struct jstr *name,
                      struct jvalue *out) {
    const struct jnode *node = macro->node;
    if (jstr_is(name, "name")) {
        *out = node->type == JNODE_CALL_BLOCK ? JNONE : node->macro.name;
    } else if (jstr_is(name, "arguments")) {
        struct jlist *list = jlist_new(run, node->macro.params.n);
        for (size_t i = 0; i < node->macro.params.n; i++)
            jlist_add(run, list, node->macro.params.at[i]->value);
        *out = jtuple_value(list);
    } else if (jstr_is(name, "catch_kwargs")) {
        *out = jbool(node->macro.uses_kwargs);
    } else if (jstr_is(name, "catch_varargs")) {
        *out = jbool(node->macro.uses_varargs);
    } else if (jstr_is(name, "caller")) {
        *out = jbool(node->macro.uses_caller);
    } else {
        return false;
    }
    return true;
}

/* Takes a keyword argument out of those that are left. */
static struct jvalue take_named(struct jargs *left, const struct jstr *name) {
    for (size_t i = 0; i < left->n_named; i++) {
        if (!jstr_equal(left->named[i].key.str, name)) continue;
        struct jvalue value = left->named[i].value;
        memmove(left->named + i, left->named + i + 1, (left->n_named - i - 1) * sizeof *left->named);
        left->n_named--;
        return value;
    }
    return JMISSING;
}

static void bind_special(struct jrun *run, const struct jmacro *macro, const struct jargs *args,
                         struct jargs *left) {
    const struct jnode *node = macro->node;
    size_t n_params = node->macro.params.n;
    int len;
    const char *name = macro_name(macro, &len);
    if (node->macro.uses_caller && !node->macro.has_caller_param) {
        struct jvalue caller = take_named(left, jtext(run, "caller").str);
        if (caller.type == JTYPE_MISSING || caller.type == JTYPE_NONE)
            caller = jundefined_hint(run, "No caller defined");
        jscope_set(run, run->scope, jtext(run, "caller"), caller);
    }
    if (node->macro.uses_kwargs) {
        struct jdict *dict = jdict_new(run, left->n_named);
        for (size_t i = 0; i < left->n_named; i++)
            jdict_set(run, dict, left->named[i].key, left->named[i].value);
        jscope_set(run, run->scope, jtext(run, "kwargs"), jdict_value(dict));
    } else if (left->n_named) {
        const struct jstr *key = left->named[0].key.str;
        if (jstr_is(key, "caller"))
            jfail(run,
                  "macro '%.*s' was invoked with two values for the special caller argument, or does not use "
                  "it",
                  len, name);
        jfail(run, "macro '%.*s' takes no keyword argument '%.*s'", len, name, shown(key), key->bytes);
    }
    if (node->macro.uses_varargs) {
        struct jlist *list = jlist_new(run, 0);
        for (size_t i = n_params; i < args->n; i++) jlist_add(run, list, args->at[i]);
        jscope_set(run, run->scope, jtext(run, "varargs"), jtuple_value(list));
    } else if (args->n > n_params) {
        jfail(run, "macro '%.*s' takes not more than %zu argument(s)", len, name, n_params);
    }
}

static void bind_params(struct jrun *run, const struct jmacro *macro, const struct jargs *args,
                        struct jargs *left) {
    const struct jnode *node = macro->node;
    size_t n = node->macro.params.n, first_default = n - node->macro.defaults.n;
    struct jvalue *given = jalloc_array(run, n ? n : 1, sizeof *given);
    for (size_t i = 0; i < n; i++) {
        struct jvalue name = node->macro.params.at[i]->value;
        given[i] = i < args->n ? args->at[i] : take_named(left, name.str);
        /* what was given is there before any default is worked out; the rest is bound in order */
        if (given[i].type != JTYPE_MISSING) jscope_set(run, run->scope, name, given[i]);
    }
    bind_special(run, macro, args, left);
    for (size_t i = 0; i < n; i++) {
        struct jvalue name = node->macro.params.at[i]->value;
        if (given[i].type != JTYPE_MISSING) continue;
        if (i >= first_default) {
            jscope_set(run, run->scope, name, jeval(run, node->macro.defaults.at[i - first_default]));
            continue;
        }
        char *hint = jalloc(run, name.str->len + 40);
        sprintf(hint, "parameter '%.*s' was not provided", shown(name.str), name.str->bytes);
        jscope_set(run, run->scope, name, jundefined_hint(run, hint));
    }
}

static void enter_macro(struct jrun *run) {
    if (++run->macro_depth > JINJA_MAX_MACRO_DEPTH)
        jfail_limit(run, "macros inside each other", JINJA_MAX_MACRO_DEPTH);
    jenter(run);
}

static void leave_macro(struct jrun *run) {
    jleave(run);
    run->macro_depth--;
}

struct jvalue jmacro_call(struct jrun *run, const struct jmacro *macro, const struct jargs *args) {
    struct jscope *outer = run->scope;
    struct jargs left = *args;
    enter_macro(run);
    run->scope = jscope_new(run, macro->scope);
    if (args->n_named) {
        left.named = jalloc_array(run, args->n_named, sizeof *left.named);
        memcpy(left.named, args->named, args->n_named * sizeof *left.named);
    }
    bind_params(run, macro, args, &left);
    struct jstr *text = jexec_captured(run, &macro->node->macro.body);
    run->scope = outer;
    leave_macro(run);
    return jstring(text);
}

/* ---- loops ---- */

static struct jvalue loop_cycle(struct jrun *run, struct jvalue of, const struct jargs *args) {
    if (!args->n) jfail(run, "no items for cycling given");
    return args->at[of.loop->index0 % args->n];
}

static struct jvalue loop_changed(struct jrun *run, struct jvalue of, const struct jargs *args) {
    struct jlist *now = jlist_new(run, args->n);
    for (size_t i = 0; i < args->n; i++) jlist_add(run, now, args->at[i]);
    struct jlist *before = of.loop->last_changed;
    if (before && jequal(run, jtuple_value(before), jtuple_value(now))) return jbool(false);
    of.loop->last_changed = now;
    return jbool(true);
}

bool jloop_attribute(struct jrun *run, struct jloop *loop, const struct jstr *name, struct jvalue *out) {
    size_t i = loop->index0, n = loop->n;
    const struct {
        const char *name;
        int64_t value;
    } numbers[] = {{"index", (int64_t)i + 1},
                   {"index0", (int64_t)i},
                   {"revindex", (int64_t)n - (int64_t)i},
                   {"revindex0", (int64_t)n - (int64_t)i - 1},
                   {"length", (int64_t)n},
                   {"depth", (int64_t)loop->depth0 + 1},
                   {"depth0", (int64_t)loop->depth0}};
    for (size_t k = 0; k < sizeof numbers / sizeof *numbers; k++)
        if (jstr_is(name, numbers[k].name)) return *out = jint(numbers[k].value), true;
    if (jstr_is(name, "first")) return *out = jbool(i == 0), true;
    if (jstr_is(name, "last")) return *out = jbool(i + 1 >= n), true;
    if (jstr_is(name, "previtem"))
        return *out = i ? loop->items[i - 1] : jundefined_hint(run, "there is no previous item"), true;
    if (jstr_is(name, "nextitem"))
        return *out = i + 1 < n ? loop->items[i + 1] : jundefined_hint(run, "there is no next item"), true;
    bool cycle = jstr_is(name, "cycle");
    if (!cycle && !jstr_is(name, "changed")) return false;
    struct jmethod *method = jalloc(run, sizeof *method);
    *method = (struct jmethod){JVALUE(JTYPE_LOOP, loop, loop), cycle ? "cycle" : "changed",
                               cycle ? loop_cycle : loop_changed};
    *out = JVALUE(JTYPE_METHOD, method, method);
    return true;
}

struct jvalue jloop_call(struct jrun *run, struct jloop *loop, const struct jargs *args) {
    struct jvalue list;
    if (!loop->node->loop.recursive)
        jfail(run, "The loop must have the 'recursive' marker to be called recursively.");
    jbind(run, "loop()", "iterable", 1, args, &list);
    struct jout out = {0}, *outer_out = run->out;
    struct jscope *outer = run->scope;
    enter_macro(run);
    run->out = &out;
    run->scope = loop->scope;
    jexec_for(run, loop->node, list, loop->depth0 + 1);
    run->scope = outer;
    run->out = outer_out;
    leave_macro(run);
    return jstring(jout_finish(run, &out));
}

/* ---- anything ---- */

struct jvalue jcall(struct jrun *run, struct jvalue what, const struct jargs *args) {
    switch (what.type) {
    case JTYPE_MACRO: return jmacro_call(run, what.macro, args);
    case JTYPE_FUNCTION: return what.function->call(run, args);
    case JTYPE_METHOD: return what.method->call(run, what.method->of, args);
    case JTYPE_LOOP: return jloop_call(run, what.loop, args);
    case JTYPE_JOINER: /* nothing the first time, the separator from then on */
        return what.cycler->at++ ? what.cycler->items->items[0] : jtext(run, "");
    case JTYPE_UNDEFINED: jundefined_fail(run, what);
    default: jfail(run, "'%s' object is not callable", jtype_name(what));
    }
}

/* ---- filters and tests ---- */

struct jvalue jfilter_apply(struct jrun *run, const struct jfilter *filter, struct jvalue value,
                            const struct jargs *args) {
    struct jvalue at[JFILTER_MAX_PARAMS];
    jstep(run, 1);
    if (filter->call_any) return filter->call_any(run, value, args);
    char what[64];
    snprintf(what, sizeof what, "filter '%s'", filter->name);
    jbind(run, what, filter->params ? filter->params : "", filter->required, args, at);
    return filter->call(run, value, at);
}

bool jtest_apply(struct jrun *run, const struct jtest *test, struct jvalue value, const struct jargs *args) {
    struct jvalue at = JMISSING;
    char what[64];
    jstep(run, 1);
    snprintf(what, sizeof what, "test '%s'", test->name);
    jbind(run, what, test->param ? test->param : "", test->param != NULL, args, &at);
    return test->call(run, value, at);
}
