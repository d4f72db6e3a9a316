/* Methods of strings, dicts and lists. What would change a list or a dict is refused, as jinja2's immutable
 * sandbox does. */
#include "infer/jinja/eval.h"
#include "infer/jinja/filters.h"
#include "infer/jinja/unicode.h"

#include <stdio.h>

#define METHOD(name) static struct jvalue name(struct jrun *run, struct jvalue of, const struct jargs *args)

static struct jvalue result(const struct jvalue of, struct jstr *s) {
    if (of.str->markup) s->markup = true;
    return jstring(s);
}

static int64_t number_or(struct jrun *run, struct jvalue v, int64_t otherwise, const char *what) {
    return jgiven(v) ? jneed_int(run, v, what) : otherwise;
}

/* ---- letters ---- */

static int map_swap(uint32_t c, uint32_t previous, uint32_t out[3]) {
    (void)previous;
    return uchar_is_upper(c) ? uchar_lower(c, out) : uchar_upper(c, out);
}
static int map_title(uint32_t c, uint32_t previous, uint32_t out[3]) {
    return uchar_is_cased(previous) ? uchar_lower(c, out) : uchar_title(c, out);
}

static void no_arguments(struct jrun *run, const char *name, const struct jargs *args) {
    jbind(run, name, "", 0, args, NULL);
}

METHOD(str_upper) {
    return no_arguments(run, "upper()", args), jstring(jstr_upper(run, of.str));
}
METHOD(str_lower) {
    return no_arguments(run, "lower()", args), jstring(jstr_lower(run, of.str));
}
METHOD(str_title) {
    return no_arguments(run, "title()", args), jstring(jstr_map(run, of.str, map_title));
}
METHOD(str_swapcase) {
    return no_arguments(run, "swapcase()", args), jstring(jstr_map(run, of.str, map_swap));
}
METHOD(str_capitalize) {
    return no_arguments(run, "capitalize()", args), jstring(jstr_capitalize(run, of.str));
}

/* ---- what it is made of ---- */

static struct jvalue all_chars(struct jrun *run, struct jvalue of, bool (*is)(uint32_t c), bool if_empty) {
    int length;
    jstep(run, of.str->len / 16);
    for (size_t i = 0; i < of.str->len; i += (size_t)length)
        if (!is(jchar_at(of.str->bytes, of.str->len, i, &length))) return jbool(false);
    return jbool(of.str->len > 0 || if_empty);
}
static bool is_alnum(uint32_t c) {
    return uchar_is_alpha(c) || uchar_is_numeric(c);
}
static bool is_ascii(uint32_t c) {
    return c < 0x80;
}
METHOD(str_isalpha) {
    return no_arguments(run, "isalpha()", args), all_chars(run, of, uchar_is_alpha, false);
}
METHOD(str_isalnum) {
    return no_arguments(run, "isalnum()", args), all_chars(run, of, is_alnum, false);
}
METHOD(str_isascii) {
    return no_arguments(run, "isascii()", args), all_chars(run, of, is_ascii, true);
}
METHOD(str_isdecimal) {
    return no_arguments(run, "isdecimal()", args), all_chars(run, of, uchar_is_decimal, false);
}
METHOD(str_isdigit) {
    return no_arguments(run, "isdigit()", args), all_chars(run, of, uchar_is_digit, false);
}
METHOD(str_isnumeric) {
    return no_arguments(run, "isnumeric()", args), all_chars(run, of, uchar_is_numeric, false);
}
METHOD(str_isspace) {
    return no_arguments(run, "isspace()", args), all_chars(run, of, uchar_is_space, false);
}
METHOD(str_isprintable) {
    return no_arguments(run, "isprintable()", args), all_chars(run, of, uchar_is_printable, true);
}

METHOD(str_isidentifier) {
    int length;
    no_arguments(run, "isidentifier()", args);
    if (!of.str->len || !uchar_is_name_start(jchar_at(of.str->bytes, of.str->len, 0, &length)))
        return jbool(false);
    for (size_t i = 0; i < of.str->len; i += (size_t)length)
        if (!uchar_is_word(jchar_at(of.str->bytes, of.str->len, i, &length))) return jbool(false);
    return jbool(true);
}
METHOD(str_isupper) {
    no_arguments(run, "isupper()", args);
    return jbool(jtest_apply(run, jtest_find(jtext(run, "upper").str), of, args));
}
METHOD(str_islower) {
    no_arguments(run, "islower()", args);
    return jbool(jtest_apply(run, jtest_find(jtext(run, "lower").str), of, args));
}
METHOD(str_istitle) {
    bool any = false, previous = false;
    int length;
    no_arguments(run, "istitle()", args);
    for (size_t i = 0; i < of.str->len; i += (size_t)length) {
        uint32_t c = jchar_at(of.str->bytes, of.str->len, i, &length);
        bool capital = uchar_is_upper(c) || uchar_is_title(c), small = uchar_is_lower(c);
        if ((capital && previous) || (small && !previous)) return jbool(false);
        previous = capital || small;
        any |= previous;
    }
    return jbool(any);
}

/* ---- space and width ---- */

static struct jvalue strip(struct jrun *run, struct jvalue of, const struct jargs *args, const char *name,
                           bool left, bool right) {
    struct jvalue chars;
    jbind(run, name, "chars", 0, args, &chars);
    return jstring(jstr_strip(run, of.str, jgiven(chars) ? jneed_str(run, chars, name) : NULL, left, right));
}
METHOD(str_strip) {
    return strip(run, of, args, "strip()", true, true);
}
METHOD(str_lstrip) {
    return strip(run, of, args, "lstrip()", true, false);
}
METHOD(str_rstrip) {
    return strip(run, of, args, "rstrip()", false, true);
}

/* side: -1 text to the left, 0 centred, 1 to the right */
static struct jvalue justify(struct jrun *run, struct jvalue of, const struct jargs *args, const char *name,
                             int side) {
    struct jvalue at[2];
    jbind(run, name, "width,fillchar", 1, args, at);
    int64_t width = jneed_int(run, at[0], name), n = (int64_t)jstr_n_chars(run, of.str);
    struct jstr *fill = at[1].type == JTYPE_MISSING ? jtext(run, " ").str : jneed_str(run, at[1], name);
    if (jstr_n_chars(run, fill) != 1)
        jfail(run, "%s: The fill character must be exactly one character long", name);
    if (width <= n) return of;
    int64_t space = width - n, left = side < 0 ? 0 : side > 0 ? space : space / 2 + (space & width & 1);
    struct jout out = {0};
    jout_str(run, &out, jarithmetic(run, JOP_MUL, jstring(fill), jint(left)).str);
    jout_str(run, &out, of.str);
    jout_str(run, &out, jarithmetic(run, JOP_MUL, jstring(fill), jint(space - left)).str);
    return result(of, jout_finish(run, &out));
}
METHOD(str_ljust) {
    return justify(run, of, args, "ljust()", -1);
}
METHOD(str_center) {
    return justify(run, of, args, "center()", 0);
}
METHOD(str_rjust) {
    return justify(run, of, args, "rjust()", 1);
}

METHOD(str_zfill) {
    struct jvalue at;
    jbind(run, "zfill()", "width", 1, args, &at);
    int64_t width = jneed_int(run, at, "zfill()"), n = (int64_t)jstr_n_chars(run, of.str);
    if (width <= n) return of;
    size_t sign = of.str->len && (of.str->bytes[0] == '-' || of.str->bytes[0] == '+');
    struct jout out = {0};
    jout_str(run, &out, jstr_slice(run, of.str, 0, sign));
    jout_fill(run, &out, '0', (size_t)(width - n), false);
    jout_str(run, &out, jstr_slice(run, of.str, sign, of.str->len));
    return result(of, jout_finish(run, &out));
}

METHOD(str_expandtabs) {
    struct jvalue at;
    jbind(run, "expandtabs()", "tabsize", 0, args, &at);
    int64_t size = at.type == JTYPE_MISSING ? 8 : jneed_int(run, at, "expandtabs()"), column = 0;
    struct jout out = {0};
    int length;
    jstep(run, of.str->len / 4);
    for (size_t i = 0; i < of.str->len; i += (size_t)length) {
        uint32_t c = jchar_at(of.str->bytes, of.str->len, i, &length);
        if (c == '\t') {
            int64_t n = size > 0 ? size - column % size : 0;
            jout_fill(run, &out, ' ', (size_t)n, jstr_person(of.str, i));
            column += n;
        } else {
            jout_str(run, &out, jstr_slice(run, of.str, i, i + (size_t)length));
            column = c == '\n' || c == '\r' ? 0 : column + 1;
        }
    }
    return result(of, jout_finish(run, &out));
}

/* ---- finding ---- */

/* The part of the text that start and end (in characters) leave, in bytes. */
static bool window(struct jrun *run, struct jvalue of, struct jvalue start, struct jvalue end, size_t *from,
                   size_t *to) {
    int64_t n = (int64_t)jstr_n_chars(run, of.str), a = number_or(run, start, 0, "start"),
            b = number_or(run, end, n, "end");
    if (a < 0) a = a < -n ? 0 : a + n;
    if (b < 0) b = b < -n ? 0 : b + n;
    if (b > n) b = n;
    if (a > b) return false;
    *from = jstr_offset(run, of.str, (size_t)a);
    *to = jstr_offset(run, of.str, (size_t)b);
    return true;
}

static int64_t chars_before(struct jrun *run, struct jstr *s, size_t byte) {
    return (int64_t)jstr_n_chars(run, jstr_slice(run, s, 0, byte));
}

static struct jvalue find(struct jrun *run, struct jvalue of, const struct jargs *args, const char *name,
                          bool last, bool must) {
    struct jvalue at[3];
    size_t from, to, found = SIZE_MAX;
    jbind(run, name, "sub,start,end", 1, args, at);
    struct jstr *part = jneed_str(run, at[0], name);
    if (window(run, of, at[1], at[2], &from, &to)) {
        struct jstr *in = jstr_slice(run, of.str, from, to);
        found = last ? jstr_rfind(run, in, part, in->len) : jstr_find(run, in, part, 0);
        if (found != SIZE_MAX) return jint(chars_before(run, of.str, from + found));
    }
    if (must) jfail(run, "%s: substring not found", name);
    return jint(-1);
}
METHOD(str_find) {
    return find(run, of, args, "find()", false, false);
}
METHOD(str_rfind) {
    return find(run, of, args, "rfind()", true, false);
}
METHOD(str_index) {
    return find(run, of, args, "index()", false, true);
}
METHOD(str_rindex) {
    return find(run, of, args, "rindex()", true, true);
}

METHOD(str_count) {
    struct jvalue at[3];
    size_t from, to;
    int64_t n = 0;
    jbind(run, "count()", "sub,start,end", 1, args, at);
    struct jstr *part = jneed_str(run, at[0], "count()");
    if (!window(run, of, at[1], at[2], &from, &to)) return jint(0);
    struct jstr *in = jstr_slice(run, of.str, from, to);
    if (!part->len) return jint((int64_t)jstr_n_chars(run, in) + 1);
    for (size_t found = jstr_find(run, in, part, 0); found != SIZE_MAX;
         found = jstr_find(run, in, part, found + part->len)) {
        jstep(run, 1);
        n++;
    }
    return jint(n);
}

static bool has_end(struct jrun *run, const struct jstr *s, size_t from, size_t to, struct jvalue part,
                    const char *name, bool tail) {
    const struct jstr *p = jneed_str(run, part, name);
    if (p->len > to - from) return false;
    return memcmp(s->bytes + (tail ? to - p->len : from), p->bytes, p->len) == 0;
}

static struct jvalue ends(struct jrun *run, struct jvalue of, const struct jargs *args, const char *name,
                          bool tail) {
    struct jvalue at[3];
    size_t from, to;
    jbind(run, name, "prefix,start,end", 1, args, at);
    if (!window(run, of, at[1], at[2], &from, &to)) return jbool(false);
    if (at[0].type != JTYPE_TUPLE) return jbool(has_end(run, of.str, from, to, at[0], name, tail));
    for (size_t i = 0; i < at[0].list->n; i++) {
        jstep(run, 1);
        if (has_end(run, of.str, from, to, at[0].list->items[i], name, tail)) return jbool(true);
    }
    return jbool(false);
}
METHOD(str_startswith) {
    return ends(run, of, args, "startswith()", false);
}
METHOD(str_endswith) {
    return ends(run, of, args, "endswith()", true);
}

/* ---- parts ---- */

static struct jvalue split(struct jrun *run, struct jvalue of, const struct jargs *args, const char *name,
                           bool from_right) {
    struct jvalue at[2];
    jbind(run, name, "sep,maxsplit", 0, args, at);
    int64_t max = number_or(run, at[1], -1, name);
    if (!jgiven(at[0])) return jlist_value(jstr_split_space(run, of.str, max, from_right));
    return jlist_value(jstr_split(run, of.str, jneed_str(run, at[0], name), max, from_right));
}
METHOD(str_split) {
    return split(run, of, args, "split()", false);
}
METHOD(str_rsplit) {
    return split(run, of, args, "rsplit()", true);
}

METHOD(str_splitlines) {
    struct jvalue keep;
    jbind(run, "splitlines()", "keepends", 0, args, &keep);
    return jlist_value(jstr_lines(run, of.str, jflag(run, keep)));
}

static struct jvalue partition(struct jrun *run, struct jvalue of, const struct jargs *args, const char *name,
                               bool last) {
    struct jvalue by;
    jbind(run, name, "sep", 1, args, &by);
    struct jstr *part = jneed_str(run, by, name), *s = of.str, *empty = jtext(run, "").str;
    if (!part->len) jfail(run, "%s: empty separator", name);
    size_t at = last ? jstr_rfind(run, s, part, s->len) : jstr_find(run, s, part, 0);
    struct jlist *three = jlist_new(run, 3);
    bool found = at != SIZE_MAX;
    jlist_add(run, three, jstring(found ? jstr_slice(run, s, 0, at) : last ? empty : s));
    jlist_add(run, three, jstring(found ? jstr_slice(run, s, at, at + part->len) : empty));
    jlist_add(run, three, jstring(found ? jstr_slice(run, s, at + part->len, s->len) : last ? s : empty));
    return jtuple_value(three);
}
METHOD(str_partition) {
    return partition(run, of, args, "partition()", false);
}
METHOD(str_rpartition) {
    return partition(run, of, args, "rpartition()", true);
}

static struct jvalue remove_end(struct jrun *run, struct jvalue of, const struct jargs *args,
                                const char *name, bool tail) {
    struct jvalue at;
    jbind(run, name, "prefix", 1, args, &at);
    size_t n = of.str->len, part = jneed_str(run, at, name)->len;
    if (!has_end(run, of.str, 0, n, at, name, tail)) return of;
    return jstring(tail ? jstr_slice(run, of.str, 0, n - part) : jstr_slice(run, of.str, part, n));
}
METHOD(str_removeprefix) {
    return remove_end(run, of, args, "removeprefix()", false);
}
METHOD(str_removesuffix) {
    return remove_end(run, of, args, "removesuffix()", true);
}

METHOD(str_replace) {
    struct jvalue at[3];
    jbind(run, "replace()", "old,new,count", 2, args, at);
    struct jstr *from = jneed_str(run, at[0], "replace()"), *to = jneed_str(run, at[1], "replace()");
    if (of.str->markup) to = jstr_escape(run, to);
    return jstring(jstr_replace(run, of.str, from, to, number_or(run, at[2], -1, "replace()")));
}

METHOD(str_join) {
    struct jvalue at;
    jbind(run, "join()", "iterable", 1, args, &at);
    if (at.type != JTYPE_UNDEFINED && !jis_iterable(at)) jfail(run, "can only join an iterable");
    struct jlist *list = jlist_of(run, at);
    struct jout out = {0};
    jstep(run, list->n);
    for (size_t i = 0; i < list->n; i++) {
        if (list->items[i].type != JTYPE_STRING)
            jfail(run, "sequence item %zu: expected str instance, %s found", i, jtype_name(list->items[i]));
        if (i) jout_str(run, &out, of.str);
        jout_str(run, &out, of.str->markup ? jstr_escape(run, list->items[i].str) : list->items[i].str);
    }
    return result(of, jout_finish(run, &out));
}

METHOD(str_format) {
    return result(of, jformat_braces(run, of.str, args));
}

METHOD(str_format_map) {
    struct jvalue at;
    jbind(run, "format_map()", "mapping", 1, args, &at);
    if (at.type != JTYPE_DICT) jfail(run, "format_map() needs a dict, not '%s'", jtype_name(at));
    struct jargs named = {.n_named = at.dict->n, .named = at.dict->pairs};
    for (size_t i = 0; i < named.n_named; i++) jneed_str(run, named.named[i].key, "format_map()");
    return result(of, jformat_braces(run, of.str, &named));
}

/* ---- dicts ---- */

METHOD(dict_get) {
    struct jvalue at[2], out;
    jbind(run, "get()", "key,default", 1, args, at);
    jhash(run, at[0]);
    if (jdict_get(run, of.dict, at[0], &out)) return out;
    return at[1].type == JTYPE_MISSING ? JNONE : at[1];
}
METHOD(dict_keys) {
    return no_arguments(run, "keys()", args), jdict_view(run, of.dict, "dict_keys");
}
METHOD(dict_values) {
    return no_arguments(run, "values()", args), jdict_view(run, of.dict, "dict_values");
}
METHOD(dict_items) {
    return no_arguments(run, "items()", args), jdict_view(run, of.dict, "dict_items");
}
METHOD(dict_copy) {
    no_arguments(run, "copy()", args);
    struct jdict *dict = jdict_new(run, of.dict->n);
    for (size_t i = 0; i < of.dict->n; i++)
        jdict_set(run, dict, of.dict->pairs[i].key, of.dict->pairs[i].value);
    dict->person = of.dict->person;
    return jdict_value(dict);
}

/* ---- lists and tuples ---- */

METHOD(list_index) {
    struct jvalue at[3];
    jbind(run, "index()", "value,start,stop", 1, args, at);
    int64_t n = (int64_t)of.list->n, from = number_or(run, at[1], 0, "index()"),
            to = number_or(run, at[2], n, "index()");
    if (from < 0) from = from < -n ? 0 : from + n;
    if (to < 0) to = to < -n ? 0 : to + n;
    for (int64_t i = from; i < to && i < n; i++)
        if (jequal(run, of.list->items[i], at[0])) return jint(i);
    jfail(run, "index(): the value is not in the %s", jtype_name(of));
}
METHOD(list_count) {
    struct jvalue at;
    int64_t n = 0;
    jbind(run, "count()", "value", 1, args, &at);
    for (size_t i = 0; i < of.list->n; i++) n += jequal(run, of.list->items[i], at);
    return jint(n);
}
METHOD(list_copy) {
    no_arguments(run, "copy()", args);
    return jlist_value(jlist_slice(run, of.list, 0, of.list->n));
}

METHOD(cycler_next) {
    no_arguments(run, "next()", args);
    return of.cycler->items->items[of.cycler->at++ % of.cycler->items->n];
}
METHOD(cycler_reset) {
    no_arguments(run, "reset()", args);
    of.cycler->at = 0;
    return JNONE;
}

/* ---- which there are ---- */

struct entry {
    const char *name;
    struct jvalue (*call)(struct jrun *run, struct jvalue of, const struct jargs *args);
};

static const struct entry str_methods[] = {{"capitalize", str_capitalize},
                                           {"casefold", str_lower},
                                           {"center", str_center},
                                           {"count", str_count},
                                           {"endswith", str_endswith},
                                           {"expandtabs", str_expandtabs},
                                           {"find", str_find},
                                           {"format", str_format},
                                           {"format_map", str_format_map},
                                           {"index", str_index},
                                           {"isalnum", str_isalnum},
                                           {"isalpha", str_isalpha},
                                           {"isascii", str_isascii},
                                           {"isdecimal", str_isdecimal},
                                           {"isdigit", str_isdigit},
                                           {"isidentifier", str_isidentifier},
                                           {"islower", str_islower},
                                           {"isnumeric", str_isnumeric},
                                           {"isprintable", str_isprintable},
                                           {"isspace", str_isspace},
                                           {"istitle", str_istitle},
                                           {"isupper", str_isupper},
                                           {"join", str_join},
                                           {"ljust", str_ljust},
                                           {"lower", str_lower},
                                           {"lstrip", str_lstrip},
                                           {"partition", str_partition},
                                           {"removeprefix", str_removeprefix},
                                           {"removesuffix", str_removesuffix},
                                           {"replace", str_replace},
                                           {"rfind", str_rfind},
                                           {"rindex", str_rindex},
                                           {"rjust", str_rjust},
                                           {"rpartition", str_rpartition},
                                           {"rsplit", str_rsplit},
                                           {"rstrip", str_rstrip},
                                           {"split", str_split},
                                           {"splitlines", str_splitlines},
                                           {"startswith", str_startswith},
                                           {"strip", str_strip},
                                           {"swapcase", str_swapcase},
                                           {"title", str_title},
                                           {"upper", str_upper},
                                           {"zfill", str_zfill},
                                           {NULL, NULL}};
static const struct entry dict_methods[] = {{"get", dict_get},   {"items", dict_items},
                                            {"keys", dict_keys}, {"values", dict_values},
                                            {"copy", dict_copy}, {NULL, NULL}};
static const struct entry list_methods[] = {
    {"index", list_index}, {"count", list_count}, {"copy", list_copy}, {NULL, NULL}};
static const struct entry cycler_methods[] = {{"next", cycler_next}, {"reset", cycler_reset}, {NULL, NULL}};
/* there in Python, but not here: an error by name instead of an undefined value */
static const char *const str_missing[] = {"encode", "maketrans", "translate", NULL};
static const char *const dict_missing[] = {"fromkeys", NULL};
/* change their object */
static const char *const dict_unsafe[] = {"clear", "pop", "popitem", "setdefault", "update", NULL};
static const char *const list_unsafe[] = {"append", "clear",  "pop",    "reverse", "insert",
                                          "sort",   "extend", "remove", NULL};

static bool listed(const char *const *names, const struct jstr *name) {
    for (; names && *names; names++)
        if (jstr_is(name, *names)) return true;
    return false;
}

struct jvalue jmethod_find(struct jrun *run, struct jvalue of, const struct jstr *name) {
    const struct entry *methods = NULL;
    const char *const *missing = NULL, *const *unsafe = NULL;
    switch (of.type) {
    case JTYPE_STRING: methods = str_methods, missing = str_missing; break;
    case JTYPE_DICT: methods = dict_methods, missing = dict_missing, unsafe = dict_unsafe; break;
    case JTYPE_LIST: methods = list_methods, unsafe = list_unsafe; break;
    case JTYPE_TUPLE: methods = list_methods; break;
    case JTYPE_CYCLER:
        methods = cycler_methods;
        if (jstr_is(name, "current")) return of.cycler->items->items[of.cycler->at % of.cycler->items->n];
        break;
    default: return JMISSING;
    }
    for (; methods->name; methods++) {
        if (!jstr_is(name, methods->name) || (of.type == JTYPE_TUPLE && methods->call == list_copy)) continue;
        struct jmethod *method = jalloc(run, sizeof *method);
        *method = (struct jmethod){of, methods->name, methods->call};
        return JVALUE(JTYPE_METHOD, method, method);
    }
    bool internal = name->len > 4 && memcmp(name->bytes, "__", 2) == 0 &&
                    memcmp(name->bytes + name->len - 2, "__", 2) == 0;
    if (listed(missing, name))
        jfail(run, "the method '%.*s' of '%s' is not supported", (int)name->len, name->bytes, jtype_name(of));
    if (!internal && !listed(unsafe, name)) return JMISSING;
    char *hint = jalloc(run, 160);
    snprintf(hint, 160, "access to attribute '%.*s' of '%s' object is unsafe.", (int)(name->len & 0x3F),
             name->bytes, jtype_name(of));
    return jundefined_hint(run, hint);
}
