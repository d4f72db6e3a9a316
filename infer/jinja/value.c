#include "infer/jinja/value.h"

#include "infer/jinja/eval.h"

#include "base/strmap.h"

#include <math.h>
#include <stdio.h>

const char *jtype_name(struct jvalue value) {
    switch (value.type) {
    case JTYPE_UNDEFINED: return "Undefined";
    case JTYPE_NONE: return "NoneType";
    case JTYPE_BOOL: return "bool";
    case JTYPE_INT: return "int";
    case JTYPE_FLOAT: return "float";
    case JTYPE_STRING: return value.str->markup ? "Markup" : "str";
    case JTYPE_LIST: return "list";
    case JTYPE_TUPLE: return value.list->group ? "_GroupTuple" : "tuple";
    case JTYPE_DICT: return "dict";
    case JTYPE_VIEW: return value.view->type;
    case JTYPE_GENERATOR: return "generator";
    case JTYPE_RANGE: return "range";
    case JTYPE_NAMESPACE: return "Namespace";
    case JTYPE_FUNCTION: return "function";
    case JTYPE_METHOD: return "builtin_function_or_method";
    case JTYPE_MACRO: return "Macro";
    case JTYPE_LOOP: return "LoopContext";
    case JTYPE_CYCLER: return "Cycler";
    case JTYPE_JOINER: return "Joiner";
    default: return "missing";
    }
}

/* ---- undefined ---- */

static struct jvalue undefined_new(struct jrun *run, struct jundefined what) {
    struct jundefined *u = jalloc(run, sizeof *u);
    *u = what;
    return JVALUE(JTYPE_UNDEFINED, undefined, u);
}

struct jvalue jundefined_name(struct jrun *run, struct jvalue name) {
    return undefined_new(run, (struct jundefined){.name = name});
}

struct jvalue jundefined_member(struct jrun *run, struct jvalue of, struct jvalue name) {
    const char *holder = of.type == JTYPE_NONE ? "None" : jtype_name(of);
    return undefined_new(run, (struct jundefined){.holder = holder, .name = name});
}

struct jvalue jundefined_hint(struct jrun *run, const char *hint) {
    return undefined_new(run, (struct jundefined){.hint = hint});
}

void jundefined_fail(struct jrun *run, struct jvalue undefined) {
    const struct jundefined *u = undefined.undefined;
    if (u->hint) jfail(run, "%s", u->hint);
    struct jout out = {0};
    jrepr(run, &out, u->name);
    struct jstr *name = jout_finish(run, &out);
    int n = name->len < 200 ? (int)name->len : 200;
    if (!u->holder) jfail(run, "%.*s is undefined", n, name->bytes);
    const char *object = strcmp(u->holder, "None") == 0 ? "" : " object";
    if (u->name.type == JTYPE_STRING)
        jfail(run, "'%s%s' has no attribute %.*s", u->holder, object, n, name->bytes);
    jfail(run, "%s%s has no element %.*s", u->holder, object, n, name->bytes);
}

/* ---- truth, equality, order ---- */

bool jtruth(struct jrun *run, struct jvalue value) {
    switch (value.type) {
    case JTYPE_MISSING:
    case JTYPE_UNDEFINED:
    case JTYPE_NONE: return false;
    case JTYPE_BOOL: return value.boolean;
    case JTYPE_INT: return value.integer != 0;
    case JTYPE_FLOAT: return value.real != 0;
    case JTYPE_STRING:
    case JTYPE_LIST:
    case JTYPE_TUPLE:
    case JTYPE_DICT:
    case JTYPE_VIEW:
    case JTYPE_RANGE:
    case JTYPE_LOOP: return jlength(run, value) != 0;
    default: return true;
    }
}

bool jis_number(struct jvalue v) {
    return v.type == JTYPE_BOOL || v.type == JTYPE_INT || v.type == JTYPE_FLOAT;
}

bool jas_int(struct jvalue v, int64_t *out) {
    if (v.type == JTYPE_BOOL)
        *out = v.boolean;
    else if (v.type == JTYPE_INT)
        *out = v.integer;
    else
        return false;
    return true;
}

double jas_double(struct jvalue v) {
    int64_t n = 0;
    if (v.type == JTYPE_FLOAT) return v.real;
    jas_int(v, &n);
    return (double)n;
}

/* -1, 0, 1, or 2 where one is NaN. Exact: an integer is not rounded to compare it with a float. */
static int number_compare(struct jvalue a, struct jvalue b) {
    int64_t x, y;
    bool ints = jas_int(a, &x);
    if (ints && jas_int(b, &y)) return (x > y) - (x < y);
    if (ints) {
        int other = number_compare(b, a);
        return other == 2 ? 2 : -other;
    }
    double f = a.real;
    if (isnan(f)) return 2;
    if (!jas_int(b, &y)) return isnan(b.real) ? 2 : (f > b.real) - (f < b.real);
    if (f >= 9223372036854775808.0) return 1;
    if (f < -9223372036854775808.0) return -1;
    int64_t whole = (int64_t)f;
    if (whole != y) return whole > y ? 1 : -1;
    double rest = f - (double)whole;
    return (rest > 0) - (rest < 0);
}

static bool lists_equal(struct jrun *run, const struct jlist *a, const struct jlist *b) {
    if (a->n != b->n) return false;
    if (a->items == b->items) return true;
    for (size_t i = 0; i < a->n; i++)
        if (!jequal(run, a->items[i], b->items[i])) return false;
    return true;
}

static bool dicts_equal(struct jrun *run, const struct jdict *a, const struct jdict *b) {
    if (a == b) return true;
    if (a->n != b->n) return false;
    for (size_t i = 0; i < a->n; i++) {
        struct jvalue other;
        if (!jdict_get(run, b, a->pairs[i].key, &other) || !jequal(run, a->pairs[i].value, other))
            return false;
    }
    return true;
}

static bool equal_inside(struct jrun *run, struct jvalue a, struct jvalue b) {
    jenter(run);
    bool is = a.type == JTYPE_DICT ? dicts_equal(run, a.dict, b.dict)
                                   : lists_equal(run, jlist_of(run, a), jlist_of(run, b));
    jleave(run);
    return is;
}

bool jequal(struct jrun *run, struct jvalue a, struct jvalue b) {
    jstep(run, 1);
    if (jis_number(a) && jis_number(b)) return number_compare(a, b) == 0;
    if (a.type != b.type) return false;
    switch (a.type) {
    case JTYPE_UNDEFINED:
    case JTYPE_NONE: return true;
    case JTYPE_STRING: jstep(run, a.str->len / 64); return jstr_equal(a.str, b.str);
    case JTYPE_LIST:
    case JTYPE_TUPLE:
    case JTYPE_DICT:
    case JTYPE_RANGE: return equal_inside(run, a, b);
    case JTYPE_VIEW:
        if (strcmp(a.view->type, "dict_values") == 0) return a.view == b.view;
        return strcmp(a.view->type, b.view->type) == 0 && equal_inside(run, a, b);
    default: return a.dict == b.dict; /* the same object */
    }
}

static int lists_compare(struct jrun *run, struct jvalue a, struct jvalue b, const char *op) {
    const struct jlist *x = a.list, *y = b.list;
    for (size_t i = 0; i < x->n && i < y->n; i++) {
        if (jequal(run, x->items[i], y->items[i])) continue;
        jenter(run);
        int order = jcompare(run, x->items[i], y->items[i], op);
        jleave(run);
        return order;
    }
    return (x->n > y->n) - (x->n < y->n);
}

int jcompare(struct jrun *run, struct jvalue a, struct jvalue b, const char *op) {
    jstep(run, 1);
    if (jis_number(a) && jis_number(b)) return number_compare(a, b);
    if (a.type == JTYPE_UNDEFINED) jundefined_fail(run, a);
    if (b.type == JTYPE_UNDEFINED) jundefined_fail(run, b);
    if (a.type == b.type) {
        if (a.type == JTYPE_STRING) return jstr_compare(run, a.str, b.str);
        if (a.type == JTYPE_LIST || a.type == JTYPE_TUPLE) return lists_compare(run, a, b, op);
    }
    jfail(run, "'%s' not supported between instances of '%s' and '%s'", op, jtype_name(a), jtype_name(b));
}

uint64_t jhash(struct jrun *run, struct jvalue value) {
    int64_t n;
    jstep(run, 1);
    if (jas_int(value, &n)) return hash_bytes(&n, sizeof n, 1);
    switch (value.type) {
    case JTYPE_UNDEFINED:
    case JTYPE_NONE: return value.type;
    case JTYPE_FLOAT:
        if (value.real == floor(value.real) && fabs(value.real) < 9e18) {
            n = (int64_t)value.real; /* 1.0 is the key 1 */
            return hash_bytes(&n, sizeof n, 1);
        }
        return hash_bytes(&value.real, sizeof value.real, 2);
    case JTYPE_STRING:
        jstep(run, value.str->len / 64);
        return hash_bytes(value.str->bytes, value.str->len, 3);
    case JTYPE_TUPLE: {
        uint64_t hash = 4;
        jenter(run);
        for (size_t i = 0; i < value.list->n; i++) {
            uint64_t one = jhash(run, value.list->items[i]);
            hash = hash_bytes(&one, sizeof one, hash);
        }
        jleave(run);
        return hash;
    }
    case JTYPE_LIST:
    case JTYPE_DICT: jfail(run, "unhashable type: '%s'", jtype_name(value));
    default: return (uint64_t)(uintptr_t)value.dict;
    }
}

bool jcontains(struct jrun *run, struct jvalue in, struct jvalue value) {
    struct jvalue found;
    switch (in.type) {
    case JTYPE_STRING:
        if (value.type == JTYPE_UNDEFINED) jundefined_fail(run, value);
        if (value.type != JTYPE_STRING)
            jfail(run, "'in <string>' requires string as left operand, not %s", jtype_name(value));
        return jstr_find(run, in.str, value.str, 0) != SIZE_MAX;
    case JTYPE_DICT: jhash(run, value); return jdict_get(run, in.dict, value, &found);
    case JTYPE_RANGE: {
        int64_t n;
        if (!jas_int(value, &n)) {
            if (value.type != JTYPE_FLOAT || value.real != floor(value.real) || fabs(value.real) > 9e18)
                return false;
            n = (int64_t)value.real;
        }
        const struct jrange *r = in.range;
        if (!r->n) return false;
        int64_t last = r->start + (int64_t)(r->n - 1) * r->step, low = r->step > 0 ? r->start : last;
        int64_t high = r->step > 0 ? last : r->start;
        return n >= low && n <= high && (n - r->start) % r->step == 0;
    }
    case JTYPE_GENERATOR:
        while (jgenerator_next(run, in.generator, &found))
            if (jequal(run, found, value)) return true;
        return false;
    default:
        if (!jis_iterable(in)) jfail(run, "argument of type '%s' is not iterable", jtype_name(in));
        struct jlist *list = jlist_of(run, in);
        for (size_t i = 0; i < list->n; i++)
            if (jequal(run, list->items[i], value)) return true;
        return false;
    }
}

bool jhas_length(struct jvalue value) {
    switch (value.type) {
    case JTYPE_UNDEFINED:
    case JTYPE_STRING:
    case JTYPE_LIST:
    case JTYPE_TUPLE:
    case JTYPE_DICT:
    case JTYPE_VIEW:
    case JTYPE_RANGE:
    case JTYPE_LOOP: return true;
    default: return false;
    }
}

size_t jlength(struct jrun *run, struct jvalue value) {
    switch (value.type) {
    case JTYPE_UNDEFINED: return 0;
    case JTYPE_STRING: return jstr_n_chars(run, value.str);
    case JTYPE_LIST:
    case JTYPE_TUPLE: return value.list->n;
    case JTYPE_DICT: return value.dict->n;
    case JTYPE_VIEW: return value.view->list->n;
    case JTYPE_RANGE: return value.range->n;
    case JTYPE_LOOP: return value.loop->n;
    default: jfail(run, "object of type '%s' has no len()", jtype_name(value));
    }
}

int64_t jneed_int(struct jrun *run, struct jvalue value, const char *what) {
    int64_t n = 0;
    if (value.type == JTYPE_UNDEFINED) jundefined_fail(run, value);
    if (!jas_int(value, &n))
        jfail(run, "%s: '%s' object cannot be interpreted as an integer", what, jtype_name(value));
    return n;
}

struct jstr *jneed_str(struct jrun *run, struct jvalue value, const char *what) {
    if (value.type == JTYPE_UNDEFINED) jundefined_fail(run, value);
    if (value.type != JTYPE_STRING) jfail(run, "%s: a string is needed, not '%s'", what, jtype_name(value));
    return value.str;
}

/* ---- looking into ---- */

static bool item_at(struct jrun *run, struct jvalue of, int64_t at, struct jvalue *out) {
    int64_t n = (int64_t)jlength(run, of);
    if (at < 0) at += n;
    if (at < 0 || at >= n) return false;
    if (of.type == JTYPE_RANGE) {
        *out = jint(of.range->start + at * of.range->step);
    } else if (of.type == JTYPE_STRING) {
        size_t from = jstr_offset(run, of.str, (size_t)at);
        int length;
        jchar_at(of.str->bytes, of.str->len, from, &length);
        *out = jstring(jstr_slice(run, of.str, from, from + (size_t)length));
    } else {
        *out = of.list->items[at];
    }
    return true;
}

/* of[key] as Python does it, or false where that fails. */
static bool subscript(struct jrun *run, struct jvalue of, struct jvalue key, struct jvalue *out) {
    int64_t at;
    switch (of.type) {
    case JTYPE_DICT:
        if (key.type == JTYPE_LIST || key.type == JTYPE_DICT) return false;
        return jdict_get(run, of.dict, key, out);
    case JTYPE_STRING:
    case JTYPE_LIST:
    case JTYPE_TUPLE:
    case JTYPE_RANGE: return jas_int(key, &at) && item_at(run, of, at, out);
    default: return false;
    }
}

static bool attribute(struct jrun *run, struct jvalue of, struct jstr *name, struct jvalue *out) {
    switch (of.type) {
    case JTYPE_NAMESPACE: return jdict_get(run, of.dict, jstring(name), out);
    case JTYPE_LOOP: return jloop_attribute(run, of.loop, name, out);
    case JTYPE_MACRO: return jmacro_attribute(run, of.macro, name, out);
    case JTYPE_TUPLE:
        if (of.list->group && (jstr_is(name, "grouper") || jstr_is(name, "list"))) {
            *out = of.list->items[jstr_is(name, "list")];
            return true;
        }
        break;
    case JTYPE_RANGE:
        if (jstr_is(name, "start")) return *out = jint(of.range->start), true;
        if (jstr_is(name, "stop")) return *out = jint(of.range->stop), true;
        if (jstr_is(name, "step")) return *out = jint(of.range->step), true;
        break;
    default: break;
    }
    *out = jmethod_find(run, of, name);
    return out->type != JTYPE_MISSING;
}

struct jvalue jget_item(struct jrun *run, struct jvalue of, struct jvalue key) {
    struct jvalue out;
    if (of.type == JTYPE_UNDEFINED) jundefined_fail(run, of);
    if (subscript(run, of, key, &out)) return out;
    if (key.type == JTYPE_STRING && attribute(run, of, key.str, &out)) return out;
    return jundefined_member(run, of, key);
}

struct jvalue jget_attribute(struct jrun *run, struct jvalue of, struct jvalue key) {
    struct jvalue out;
    if (of.type == JTYPE_UNDEFINED) jundefined_fail(run, of);
    if (attribute(run, of, key.str, &out)) return out;
    if (subscript(run, of, key, &out)) return out;
    return jundefined_member(run, of, key);
}

static struct jvalue slice_every(struct jrun *run, struct jvalue of, int64_t from, int64_t to, int64_t step) {
    if (of.type == JTYPE_STRING) {
        struct jlist *chars = jlist_of(run, of);
        struct jout out = {0};
        for (int64_t i = from; step > 0 ? i < to : i > to; i += step)
            jout_str(run, &out, chars->items[i].str);
        return jstring(jout_finish(run, &out));
    }
    struct jlist *list = jlist_new(run, 0), *all = jlist_of(run, of);
    list->person = all->person;
    for (int64_t i = from; step > 0 ? i < to : i > to; i += step) jlist_add(run, list, all->items[i]);
    jstep(run, list->n / 8);
    return of.type == JTYPE_TUPLE ? jtuple_value(list) : jlist_value(list);
}

/* One end of a slice: counted from the end if negative, and cut to low..high. */
static int64_t slice_end(struct jrun *run, struct jvalue value, int64_t otherwise, int64_t n, int64_t low,
                         int64_t high) {
    if (value.type == JTYPE_MISSING || value.type == JTYPE_NONE) return otherwise;
    int64_t at = jneed_int(run, value, "slice");
    if (at < 0)
        at = at < -n ? -1 : at + n;
    else if (at > n)
        at = n;
    return at < low ? low : at > high ? high : at;
}

struct jvalue jget_slice(struct jrun *run, struct jvalue of, struct jvalue from, struct jvalue to,
                         struct jvalue step) {
    if (of.type == JTYPE_UNDEFINED) jundefined_fail(run, of);
    if (of.type != JTYPE_STRING && of.type != JTYPE_LIST && of.type != JTYPE_TUPLE && of.type != JTYPE_RANGE)
        jfail(run, "'%s' object is not subscriptable", jtype_name(of));
    int64_t n = (int64_t)jlength(run, of), by = 1;
    if (step.type != JTYPE_MISSING && step.type != JTYPE_NONE) by = jneed_int(run, step, "slice");
    if (by == 0) jfail(run, "slice step cannot be zero");
    int64_t low = by > 0 ? 0 : -1, high = by > 0 ? n : n - 1;
    int64_t a = slice_end(run, from, by > 0 ? 0 : n - 1, n, low, high);
    int64_t b = slice_end(run, to, by > 0 ? n : -1, n, low, high);
    if (by > n + 1) by = n + 1; /* the same items, and no overflow behind the last */
    if (by < -n - 1) by = -n - 1;
    if (of.type == JTYPE_RANGE) {
        struct jrange *r = jalloc(run, sizeof *r);
        size_t count = by > 0 ? (b > a ? (size_t)((b - a - 1) / by) + 1 : 0)
                              : (a > b ? (size_t)((a - b - 1) / -by) + 1 : 0);
        *r = (struct jrange){.n = count};
        if (__builtin_mul_overflow(of.range->step, by, &r->step) || /* steps of steps of steps */
            __builtin_mul_overflow(of.range->step, a, &r->start) ||
            __builtin_mul_overflow(of.range->step, b, &r->stop) ||
            __builtin_add_overflow(of.range->start, r->start, &r->start) ||
            __builtin_add_overflow(of.range->start, r->stop, &r->stop))
            jfail(run, "slice of a range: a number does not fit in 64 bits");
        return JVALUE(JTYPE_RANGE, range, r);
    }
    if (by != 1) return slice_every(run, of, a, b, by);
    if (b < a) b = a;
    if (of.type == JTYPE_STRING) {
        size_t start = jstr_offset(run, of.str, (size_t)a);
        size_t end = b == n ? of.str->len : jstr_offset(run, of.str, (size_t)b);
        return jstring(jstr_slice(run, of.str, start, end));
    }
    struct jlist *list = jlist_slice(run, of.list, (size_t)a, (size_t)b);
    return of.type == JTYPE_TUPLE ? jtuple_value(list) : jlist_value(list);
}

struct jvalue jget_path(struct jrun *run, struct jvalue of, struct jvalue path, struct jvalue otherwise) {
    if (path.type == JTYPE_NONE || path.type == JTYPE_MISSING) return of;
    bool has_other = otherwise.type != JTYPE_MISSING && otherwise.type != JTYPE_NONE;
    if (path.type != JTYPE_STRING) {
        struct jvalue item = jget_item(run, of, path);
        return has_other && item.type == JTYPE_UNDEFINED ? otherwise : item;
    }
    size_t from = 0;
    for (;;) {
        const char *dot = memchr(path.str->bytes + from, '.', path.str->len - from);
        size_t to = dot ? (size_t)(dot - path.str->bytes) : path.str->len;
        struct jstr *part = jstr_slice(run, path.str, from, to);
        bool digits = part->len > 0 && part->len < 18;
        int64_t n = 0;
        for (size_t i = 0; i < part->len && digits; i++) {
            digits = part->bytes[i] >= '0' && part->bytes[i] <= '9';
            if (digits) n = n * 10 + part->bytes[i] - '0';
        }
        of = jget_item(run, of, digits ? jint(n) : jstring(part));
        if (has_other && of.type == JTYPE_UNDEFINED) of = otherwise;
        if (!dot) return of;
        from = to + 1;
        jstep(run, 1);
    }
}
