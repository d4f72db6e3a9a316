/* Filters on sequences and dicts. Those that are generators in jinja2 are generators here: they begin when
 * somebody asks. */
#include "infer/jinja/filters.h"

#include <stdio.h>

JFILTER(list) {
    (void)at;
    struct jlist *all = jlist_of(run, value);
    return jlist_value(jlist_slice(run, all, 0, all->n));
}

JFILTER(length) {
    (void)at;
    return jint((int64_t)jlength(run, value));
}

JFILTER(first) {
    (void)at;
    struct jvalue out;
    if (value.type == JTYPE_GENERATOR) {
        if (jgenerator_next(run, value.generator, &out)) return out;
    } else if (value.type == JTYPE_STRING) {
        if (value.str->len) return jget_item(run, value, jint(0));
    } else {
        struct jlist *list = jlist_of(run, value);
        if (list->n) return list->items[0];
    }
    return jundefined_hint(run, "No first item, sequence was empty.");
}

JFILTER(last) {
    (void)at;
    if (value.type == JTYPE_GENERATOR) jfail(run, "'generator' object is not reversible");
    if (value.type == JTYPE_STRING && value.str->len) return jget_item(run, value, jint(-1));
    struct jlist *list = jlist_of(run, value);
    return list->n ? list->items[list->n - 1] : jundefined_hint(run, "No last item, sequence was empty.");
}

JFILTER(join) {
    struct jout out = {0};
    struct jlist *list = jlist_of(run, value);
    struct jstr *between = at[0].type == JTYPE_MISSING ? NULL : jstr_of(run, at[0]);
    jstep(run, list->n);
    for (size_t i = 0; i < list->n; i++) {
        if (i && between) jout_str(run, &out, between);
        jout_value(run, &out, jget_path(run, list->items[i], at[1], JMISSING));
    }
    return jstring(jout_finish(run, &out));
}

JFILTER(reverse) {
    (void)at;
    if (value.type == JTYPE_STRING) return jget_slice(run, value, JMISSING, JMISSING, jint(-1));
    struct jlist *all = jlist_of(run, value), *list = jlist_new(run, all->n);
    for (size_t i = all->n; i > 0; i--) jlist_add(run, list, all->items[i - 1]);
    if (value.type == JTYPE_GENERATOR) return jlist_value(list);
    struct jvalue generator = jgenerator_new(run, "reversed", NULL, value, NULL, 0);
    generator.generator->list = list;
    return generator;
}

/* ---- order ---- */

struct jvalue jfold_case(struct jrun *run, struct jvalue value) {
    return value.type == JTYPE_STRING ? jstring(jstr_lower(run, value.str)) : value;
}

static struct jvalue key_of(struct jrun *run, struct jvalue item, struct jvalue attribute,
                            struct jvalue otherwise, bool exact) {
    struct jvalue key = jget_path(run, item, attribute, otherwise);
    return exact ? key : jfold_case(run, key);
}

/* attribute="a,b" sorts by a, then by b. */
static struct jvalue sort_key(struct jrun *run, struct jvalue item, struct jvalue attribute, bool exact) {
    if (attribute.type != JTYPE_STRING || !memchr(attribute.str->bytes, ',', attribute.str->len))
        return key_of(run, item, attribute, JMISSING, exact);
    struct jstr comma = {.bytes = ",", .len = 1, .n_chars = 1};
    struct jlist *paths = jstr_split(run, attribute.str, &comma, -1, false), *keys = jlist_new(run, paths->n);
    for (size_t i = 0; i < paths->n; i++)
        jlist_add(run, keys, key_of(run, item, paths->items[i], JMISSING, exact));
    return jtuple_value(keys);
}

JFILTER(sort) {
    struct jlist *all = jlist_of(run, value), *keys = jlist_new(run, all->n);
    bool exact = jflag(run, at[1]);
    for (size_t i = 0; i < all->n; i++) jlist_add(run, keys, sort_key(run, all->items[i], at[2], exact));
    return jlist_value(jlist_sorted(run, keys, all, jflag(run, at[0])));
}

JFILTER(dictsort) {
    if (value.type == JTYPE_UNDEFINED) jundefined_fail(run, value);
    if (value.type != JTYPE_DICT) jfail(run, "filter 'dictsort' needs a dict, not '%s'", jtype_name(value));
    bool exact = jflag(run, at[0]), by_value = false;
    if (at[1].type != JTYPE_MISSING) {
        struct jstr *by = jstr_of(run, at[1]);
        by_value = jstr_is(by, "value");
        if (!by_value && !jstr_is(by, "key")) jfail(run, "You can only sort by either \"key\" or \"value\"");
    }
    struct jlist *all = jdict_view(run, value.dict, "dict_items").view->list, *keys = jlist_new(run, all->n);
    for (size_t i = 0; i < all->n; i++)
        jlist_add(run, keys, key_of(run, all->items[i].list->items[by_value], JNONE, JMISSING, exact));
    return jlist_value(jlist_sorted(run, keys, all, jflag(run, at[2])));
}

static struct jlist *fill_unique(struct jrun *run, struct jgenerator *g) {
    struct jlist *all = jlist_of(run, g->source), *list = jlist_new(run, 0);
    struct jdict *seen = jdict_new(run, 0);
    for (size_t i = 0; i < all->n; i++) {
        struct jvalue found,
            key = key_of(run, all->items[i], g->args->at[1], JMISSING, jflag(run, g->args->at[0]));
        jhash(run, key);
        if (jdict_get(run, seen, key, &found)) continue;
        jdict_set(run, seen, key, JNONE);
        jlist_add(run, list, all->items[i]);
    }
    return list;
}

static struct jargs *keep(struct jrun *run, const struct jvalue *at, size_t n) {
    struct jargs *args = jalloc(run, sizeof *args);
    args->at = jalloc_array(run, n ? n : 1, sizeof *args->at);
    if (n) memcpy(args->at, at, n * sizeof *at);
    args->n = n;
    return args;
}

JFILTER(unique) {
    return jgenerator_new(run, "sync_do_unique", fill_unique, value, keep(run, at, 2), 0);
}

static struct jvalue extreme(struct jrun *run, struct jvalue value, struct jvalue *at, int wanted) {
    struct jlist *list = jlist_of(run, value);
    if (!list->n) return jundefined_hint(run, "No aggregated item, sequence was empty.");
    bool exact = jflag(run, at[0]);
    struct jvalue best = list->items[0], best_key = key_of(run, best, at[1], JMISSING, exact);
    for (size_t i = 1; i < list->n; i++) {
        struct jvalue key = key_of(run, list->items[i], at[1], JMISSING, exact);
        if (jcompare(run, key, best_key, wanted < 0 ? "<" : ">") != wanted) continue;
        best = list->items[i];
        best_key = key;
    }
    return best;
}

JFILTER(min) {
    return extreme(run, value, at, -1);
}
JFILTER(max) {
    return extreme(run, value, at, 1);
}

JFILTER(sum) {
    struct jvalue sum = at[1].type == JTYPE_MISSING ? jint(0) : at[1];
    struct jlist *list = jlist_of(run, value);
    if (sum.type == JTYPE_STRING) jfail(run, "sum() can't sum strings [use ''.join(seq) instead]");
    for (size_t i = 0; i < list->n; i++) {
        jstep(run, 1);
        sum = jarithmetic(run, JOP_ADD, sum, jget_path(run, list->items[i], at[0], JMISSING));
    }
    return sum;
}

/* ---- groups ---- */

static struct jlist *fill_batch(struct jrun *run, struct jgenerator *g) {
    struct jlist *all = jlist_of(run, g->source), *rows = jlist_new(run, 0), *row = NULL;
    int64_t size = jneed_int(run, g->args->at[0], "filter 'batch'");
    struct jvalue fill = g->args->at[1];
    for (size_t i = 0; i < all->n; i++) {
        if (!row || (int64_t)row->n == size) {
            row = jlist_new(run, 0);
            jlist_add(run, rows, jlist_value(row));
        }
        jlist_add(run, row, all->items[i]);
    }
    if (row && jgiven(fill)) {
        if (size > (int64_t)row->n) jcount_items(run, (uint64_t)(size - (int64_t)row->n));
        while ((int64_t)row->n < size) jlist_add(run, row, fill);
    }
    return rows;
}

JFILTER(batch) {
    return jgenerator_new(run, "do_batch", fill_batch, value, keep(run, at, 2), 0);
}

static struct jlist *fill_slice(struct jrun *run, struct jgenerator *g) {
    struct jlist *all = jlist_of(run, g->source), *columns = jlist_new(run, 0);
    int64_t slices = jneed_int(run, g->args->at[0], "filter 'slice'"), n = (int64_t)all->n, from = 0;
    struct jvalue fill = g->args->at[1];
    if (slices == 0) jfail(run, "integer division or modulo by zero");
    if (slices > 0) jcount_items(run, (uint64_t)slices);
    for (int64_t i = 0; i < slices; i++) {
        int64_t size = n / slices + (i < n % slices);
        struct jlist *column = jlist_new(run, (size_t)size + 1);
        for (int64_t k = 0; k < size; k++) jlist_add(run, column, all->items[from + k]);
        if (jgiven(fill) && i >= n % slices) jlist_add(run, column, fill);
        from += size;
        jlist_add(run, columns, jlist_value(column));
    }
    return columns;
}

JFILTER(slice) {
    return jgenerator_new(run, "sync_do_slice", fill_slice, value, keep(run, at, 2), 0);
}

JFILTER(groupby) {
    struct jlist *all = jlist_of(run, value), *keys = jlist_new(run, all->n), *groups = jlist_new(run, 0),
                 *group = NULL;
    bool exact = jflag(run, at[2]);
    for (size_t i = 0; i < all->n; i++) jlist_add(run, keys, key_of(run, all->items[i], at[0], at[1], exact));
    struct jlist *sorted = jlist_sorted(run, keys, all, false),
                 *sorted_keys = jlist_sorted(run, keys, keys, false);
    for (size_t i = 0; i < sorted->n; i++) {
        if (!i || !jequal(run, sorted_keys->items[i - 1], sorted_keys->items[i])) {
            group = jlist_new(run, 0);
            struct jvalue key = key_of(run, sorted->items[i], at[0], at[1], true);
            struct jvalue pair = jtuple2(run, key, jlist_value(group));
            pair.list->group = true;
            jlist_add(run, groups, pair);
        }
        jlist_add(run, group, sorted->items[i]);
    }
    return jlist_value(groups);
}

static struct jlist *fill_items(struct jrun *run, struct jgenerator *g) {
    if (g->source.type == JTYPE_UNDEFINED) return jlist_new(run, 0);
    if (g->source.type != JTYPE_DICT) jfail(run, "Can only get item pairs from a mapping.");
    return jdict_view(run, g->source.dict, "dict_items").view->list;
}

JFILTER(items) {
    (void)at;
    return jgenerator_new(run, "do_items", fill_items, value, NULL, 0);
}

/* ---- map, select, reject ---- */

static struct jstr *callee_name(struct jrun *run, struct jvalue name, const char *what) {
    if (name.type != JTYPE_STRING) jfail(run, "%s: a name is needed, not '%s'", what, jtype_name(name));
    return name.str;
}

static struct jlist *fill_map(struct jrun *run, struct jgenerator *g) {
    struct jlist *list = jlist_new(run, 0);
    if (!jtruth(run, g->source)) return list;
    struct jvalue attribute = JMISSING, otherwise = JMISSING;
    const struct jfilter *filter = NULL;
    struct jargs args = *g->args;
    if (!args.n) {
        for (size_t i = 0; i < args.n_named; i++) {
            const struct jstr *key = args.named[i].key.str;
            if (jstr_is(key, "attribute"))
                attribute = args.named[i].value;
            else if (jstr_is(key, "default"))
                otherwise = args.named[i].value;
            else
                jfail(run, "filter 'map': unexpected keyword argument '%.*s'", (int)(key->len & 0x7F),
                      key->bytes);
        }
        if (attribute.type == JTYPE_MISSING) jfail(run, "map requires a filter argument");
    } else {
        const struct jstr *name = callee_name(run, args.at[0], "filter 'map'");
        filter = jfilter_find(name);
        if (!filter) jfail(run, "no filter named '%.*s'", (int)(name->len & 0x7F), name->bytes);
        args.at++;
        args.n--;
    }
    struct jlist *all = jlist_of(run, g->source);
    for (size_t i = 0; i < all->n; i++)
        jlist_add(run, list,
                  filter ? jfilter_apply(run, filter, all->items[i], &args)
                         : jget_path(run, all->items[i], attribute, otherwise));
    return list;
}

static struct jargs *keep_all(struct jrun *run, const struct jargs *from) {
    struct jargs *args = keep(run, from->at, from->n);
    args->named = from->named;
    args->n_named = from->n_named;
    return args;
}

JFILTER_ANY(map) {
    return jgenerator_new(run, "sync_do_map", fill_map, value, keep_all(run, args), 0);
}

enum { SELECT_REJECT = 1, SELECT_ATTRIBUTE = 2 };

static struct jlist *fill_select(struct jrun *run, struct jgenerator *g) {
    struct jlist *list = jlist_new(run, 0);
    if (!jtruth(run, g->source)) return list;
    struct jvalue attribute = JMISSING;
    const struct jtest *test = NULL;
    struct jargs args = *g->args;
    if (g->mode & SELECT_ATTRIBUTE) {
        if (!args.n) jfail(run, "Missing parameter for attribute name");
        attribute = *args.at++;
        args.n--;
    }
    if (args.n) {
        const struct jstr *name = callee_name(run, args.at[0], "test");
        test = jtest_find(name);
        if (!test) jfail(run, "no test named '%.*s'", (int)(name->len & 0x7F), name->bytes);
        args.at++;
        args.n--;
    }
    struct jlist *all = jlist_of(run, g->source);
    for (size_t i = 0; i < all->n; i++) {
        struct jvalue item = jget_path(run, all->items[i], attribute, JMISSING);
        bool passes = test ? jtest_apply(run, test, item, &args) : jtruth(run, item);
        if (passes != (g->mode & SELECT_REJECT)) jlist_add(run, list, all->items[i]);
    }
    jstep(run, all->n);
    return list;
}

static struct jvalue select_new(struct jrun *run, struct jvalue value, const struct jargs *args, int mode) {
    return jgenerator_new(run, "select_or_reject", fill_select, value, keep_all(run, args), mode);
}

JFILTER_ANY(select) {
    return select_new(run, value, args, 0);
}
JFILTER_ANY(reject) {
    return select_new(run, value, args, SELECT_REJECT);
}
JFILTER_ANY(selectattr) {
    return select_new(run, value, args, SELECT_ATTRIBUTE);
}
JFILTER_ANY(rejectattr) {
    return select_new(run, value, args, SELECT_ATTRIBUTE | SELECT_REJECT);
}
