/* What may stand behind `is`. */
#include "infer/jinja/eval.h"
#include "infer/jinja/unicode.h"

#include <math.h>

static bool is_defined(struct jrun *run, struct jvalue v, struct jvalue at) {
    (void)run, (void)at;
    return v.type != JTYPE_UNDEFINED;
}
static bool is_undefined(struct jrun *run, struct jvalue v, struct jvalue at) {
    return !is_defined(run, v, at);
}
static bool is_none(struct jrun *run, struct jvalue v, struct jvalue at) {
    (void)run, (void)at;
    return v.type == JTYPE_NONE;
}
static bool is_boolean(struct jrun *run, struct jvalue v, struct jvalue at) {
    (void)run, (void)at;
    return v.type == JTYPE_BOOL;
}
static bool is_true(struct jrun *run, struct jvalue v, struct jvalue at) {
    (void)run, (void)at;
    return v.type == JTYPE_BOOL && v.boolean;
}
static bool is_false(struct jrun *run, struct jvalue v, struct jvalue at) {
    (void)run, (void)at;
    return v.type == JTYPE_BOOL && !v.boolean;
}
static bool is_integer(struct jrun *run, struct jvalue v, struct jvalue at) {
    (void)run, (void)at;
    return v.type == JTYPE_INT;
}
static bool is_float(struct jrun *run, struct jvalue v, struct jvalue at) {
    (void)run, (void)at;
    return v.type == JTYPE_FLOAT;
}
static bool is_number(struct jrun *run, struct jvalue v, struct jvalue at) {
    (void)run, (void)at;
    return jis_number(v);
}
static bool is_string(struct jrun *run, struct jvalue v, struct jvalue at) {
    (void)run, (void)at;
    return v.type == JTYPE_STRING;
}
static bool is_mapping(struct jrun *run, struct jvalue v, struct jvalue at) {
    (void)run, (void)at;
    return v.type == JTYPE_DICT;
}
static bool is_iterable(struct jrun *run, struct jvalue v, struct jvalue at) {
    (void)run, (void)at;
    return jis_iterable(v);
}
/* len() and [] are there: Python's undefined has both, a dict's views have no []. */
static bool is_sequence(struct jrun *run, struct jvalue v, struct jvalue at) {
    (void)run, (void)at;
    return jhas_length(v) && v.type != JTYPE_VIEW && v.type != JTYPE_LOOP;
}
static bool is_callable(struct jrun *run, struct jvalue v, struct jvalue at) {
    (void)run, (void)at;
    return v.type == JTYPE_FUNCTION || v.type == JTYPE_METHOD || v.type == JTYPE_MACRO ||
           v.type == JTYPE_LOOP || v.type == JTYPE_JOINER || v.type == JTYPE_UNDEFINED;
}
static bool is_escaped(struct jrun *run, struct jvalue v, struct jvalue at) {
    (void)run, (void)at;
    return v.type == JTYPE_STRING && v.str->markup;
}

/* The cased characters are all of one case, and there is one: str.isupper(), str.islower(). */
static bool all_cased(struct jrun *run, struct jvalue v, bool (*is)(uint32_t), bool (*is_other)(uint32_t)) {
    struct jstr *s = jstr_of(run, v);
    bool any = false;
    int length;
    jstep(run, s->len / 16);
    for (size_t i = 0; i < s->len; i += (size_t)length) {
        uint32_t c = jchar_at(s->bytes, s->len, i, &length);
        if (is_other(c) || uchar_is_title(c)) return false;
        any |= is(c);
    }
    return any;
}
static bool is_upper(struct jrun *run, struct jvalue v, struct jvalue at) {
    (void)at;
    return all_cased(run, v, uchar_is_upper, uchar_is_lower);
}
static bool is_lower(struct jrun *run, struct jvalue v, struct jvalue at) {
    (void)at;
    return all_cased(run, v, uchar_is_lower, uchar_is_upper);
}

static bool remainder_is(struct jrun *run, struct jvalue v, struct jvalue by, int64_t rest) {
    return jequal(run, jarithmetic(run, JOP_MOD, v, by), jint(rest));
}
static bool is_odd(struct jrun *run, struct jvalue v, struct jvalue at) {
    (void)at;
    return remainder_is(run, v, jint(2), 1);
}
static bool is_even(struct jrun *run, struct jvalue v, struct jvalue at) {
    (void)at;
    return remainder_is(run, v, jint(2), 0);
}
static bool is_divisibleby(struct jrun *run, struct jvalue v, struct jvalue at) {
    return remainder_is(run, v, at, 0);
}

static bool is_eq(struct jrun *run, struct jvalue v, struct jvalue at) {
    return jequal(run, v, at);
}
static bool is_ne(struct jrun *run, struct jvalue v, struct jvalue at) {
    return !jequal(run, v, at);
}
static bool is_lt(struct jrun *run, struct jvalue v, struct jvalue at) {
    return jcompare(run, v, at, "<") == -1;
}
static bool is_gt(struct jrun *run, struct jvalue v, struct jvalue at) {
    return jcompare(run, v, at, ">") == 1;
}
static bool is_le(struct jrun *run, struct jvalue v, struct jvalue at) {
    int order = jcompare(run, v, at, "<=");
    return order == -1 || order == 0;
}
static bool is_ge(struct jrun *run, struct jvalue v, struct jvalue at) {
    int order = jcompare(run, v, at, ">=");
    return order == 1 || order == 0;
}
static bool is_in(struct jrun *run, struct jvalue v, struct jvalue at) {
    return jcontains(run, at, v);
}

static bool is_sameas(struct jrun *run, struct jvalue v, struct jvalue at) {
    (void)run;
    if (v.type != at.type) return false;
    switch (v.type) {
    case JTYPE_NONE: return true;
    case JTYPE_BOOL: return v.boolean == at.boolean;
    case JTYPE_INT: return v.integer == at.integer;
    case JTYPE_STRING: return jstr_equal(v.str, at.str); /* Python shares equal short strings */
    case JTYPE_FLOAT: return false;
    default: return v.dict == at.dict;
    }
}

static bool is_filter(struct jrun *run, struct jvalue v, struct jvalue at) {
    (void)run, (void)at;
    return v.type == JTYPE_STRING && jfilter_find(v.str);
}
static bool is_test(struct jrun *run, struct jvalue v, struct jvalue at) {
    (void)run, (void)at;
    return v.type == JTYPE_STRING && jtest_find(v.str);
}

const struct jtest *jtest_find(const struct jstr *name) {
    static const struct jtest tests[] = {{"defined", is_defined, NULL},
                                         {"string", is_string, NULL},
                                         {"none", is_none, NULL},
                                         {"mapping", is_mapping, NULL},
                                         {"iterable", is_iterable, NULL},
                                         {"sequence", is_sequence, NULL},
                                         {"undefined", is_undefined, NULL},
                                         {"boolean", is_boolean, NULL},
                                         {"true", is_true, NULL},
                                         {"false", is_false, NULL},
                                         {"integer", is_integer, NULL},
                                         {"float", is_float, NULL},
                                         {"number", is_number, NULL},
                                         {"callable", is_callable, NULL},
                                         {"escaped", is_escaped, NULL},
                                         {"odd", is_odd, NULL},
                                         {"even", is_even, NULL},
                                         {"divisibleby", is_divisibleby, "num"},
                                         {"upper", is_upper, NULL},
                                         {"lower", is_lower, NULL},
                                         {"sameas", is_sameas, "other"},
                                         {"in", is_in, "seq"},
                                         {"filter", is_filter, NULL},
                                         {"test", is_test, NULL},
                                         {"==", is_eq, "b"},
                                         {"eq", is_eq, "b"},
                                         {"equalto", is_eq, "b"},
                                         {"!=", is_ne, "b"},
                                         {"ne", is_ne, "b"},
                                         {"<", is_lt, "b"},
                                         {"lt", is_lt, "b"},
                                         {"lessthan", is_lt, "b"},
                                         {"<=", is_le, "b"},
                                         {"le", is_le, "b"},
                                         {">", is_gt, "b"},
                                         {"gt", is_gt, "b"},
                                         {"greaterthan", is_gt, "b"},
                                         {">=", is_ge, "b"},
                                         {"ge", is_ge, "b"}};
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++)
        if (jstr_is(name, tests[i].name)) return &tests[i];
    return NULL;
}
