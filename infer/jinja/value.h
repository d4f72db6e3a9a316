/* Values of a template, with Python's rules: what is true, equal, smaller, printed how.
 *
 * A value is passed by copy; what it points to lives in the run's arena and, namespaces apart, never changes.
 * Every byte of every string knows whether it came from the template or from a person (or a model): `person`
 * for a whole string, a shadow byte for each byte where a string is mixed. Numbers from outside carry the
 * mark too, and pass it on when printed. */
#ifndef LOGITOP_INFER_JINJA_VALUE_H
#define LOGITOP_INFER_JINJA_VALUE_H

#include "infer/jinja/run.h"

#include <string.h>

enum jtype {
    JTYPE_MISSING, /* no value at all: an argument not given */
    JTYPE_UNDEFINED,
    JTYPE_NONE,
    JTYPE_BOOL,
    JTYPE_INT,
    JTYPE_FLOAT,
    JTYPE_STRING,
    JTYPE_LIST,
    JTYPE_TUPLE,
    JTYPE_DICT,
    JTYPE_VIEW,      /* dict.keys(), .values(), .items() */
    JTYPE_GENERATOR, /* what filters such as map and select give: can be walked through once */
    JTYPE_RANGE,
    JTYPE_NAMESPACE,
    JTYPE_FUNCTION, /* range, namespace, ... */
    JTYPE_METHOD,   /* "text".upper, before it is called */
    JTYPE_MACRO,
    JTYPE_LOOP,
    JTYPE_CYCLER,
    JTYPE_JOINER,
};

struct jvalue {
    uint8_t type;
    bool person; /* for none, booleans and numbers; others know it inside */
    union {
        bool boolean;
        int64_t integer;
        double real;
        struct jstr *str;
        struct jlist *list; /* list and tuple */
        struct jdict *dict; /* dict and namespace */
        struct jview *view;
        struct jgenerator *generator;
        struct jrange *range;
        struct jundefined *undefined;
        const struct jfunction *function;
        struct jmethod *method;
        struct jmacro *macro;
        struct jloop *loop;
        struct jcycler *cycler; /* cycler and joiner */
    };
};

struct jgrow { /* a buffer strings are cut from; the string that ends at its end may be extended in place */
    char *bytes;
    uint8_t *shadow; /* NULL until something mixed is put in */
    size_t len, cap;
};

struct jstr {
    const char *bytes;     /* [len], UTF-8 where the sources were; no NUL behind */
    const uint8_t *shadow; /* [len] 1: from a person; NULL: all bytes are as `person` says */
    size_t len;
    int64_t n_chars; /* -1: not counted yet */
    struct jgrow *grow;
    bool person, markup; /* markup: went through |safe or |escape */
};

struct jvector {
    struct jvalue *items;
    size_t n, cap;
    bool shared; /* of a context: no render writes to it */
};

struct jlist {
    struct jvalue *items;
    size_t n;
    struct jvector *vector; /* as jstr's grow */
    bool person;            /* the brackets, when printed */
    bool group;             /* a tuple of |groupby: .grouper and .list */
};

struct jpair {
    struct jvalue key, value;
};

struct jdict {
    struct jpair *pairs; /* in the order of insertion */
    size_t n, cap;
    uint32_t *index; /* [n_index] place in pairs + 1; only for larger ones */
    size_t n_index;
    bool person;
};

struct jview {
    const char *type; /* "dict_items" */
    struct jlist *list;
};

struct jgenerator {
    /* Fills `list` when the first item is asked for, as a Python generator would start then. */
    struct jlist *(*fill)(struct jrun *run, struct jgenerator *generator);
    const char *name; /* "sync_do_map", for its repr */
    struct jvalue source;
    struct jargs *args;
    int mode;
    struct jlist *list; /* NULL before */
    size_t at;
    uint32_t line, column;
};

struct jrange {
    int64_t start, stop, step;
    size_t n;
};

struct jundefined {
    const char *hint;   /* the whole message, or NULL */
    const char *holder; /* type of what was looked into, or NULL for a plain name */
    struct jvalue name;
};

struct jargs { /* of a call */
    struct jvalue *at;
    size_t n;
    struct jpair *named; /* keys are strings */
    size_t n_named;
};

/* ---- making ---- */

#define JVALUE(kind, field, what) ((struct jvalue){.type = (kind), .field = (what)})
#define JMISSING ((struct jvalue){.type = JTYPE_MISSING})
#define JNONE ((struct jvalue){.type = JTYPE_NONE})

static inline struct jvalue jbool(bool is) {
    return JVALUE(JTYPE_BOOL, boolean, is);
}
static inline struct jvalue jint(int64_t n) {
    return JVALUE(JTYPE_INT, integer, n);
}
static inline struct jvalue jfloat(double n) {
    return JVALUE(JTYPE_FLOAT, real, n);
}
static inline struct jvalue jstring(struct jstr *s) {
    return JVALUE(JTYPE_STRING, str, s);
}
struct jvalue jundefined_name(struct jrun *run, struct jvalue name);
struct jvalue jundefined_member(struct jrun *run, struct jvalue of, struct jvalue name);
struct jvalue jundefined_hint(struct jrun *run, const char *hint);
__attribute__((noreturn)) void jundefined_fail(struct jrun *run, struct jvalue undefined);
struct jvalue jtext(struct jrun *run, const char *text); /* a string of the template's, borrowed */

/* ---- strings (str.c) ---- */

struct jstr *jstr_ref(struct jrun *run, const char *bytes, size_t len, bool person); /* borrows */
struct jstr *jstr_copy(struct jrun *run, const char *bytes, size_t len, bool person);
struct jstr *jstr_slice(struct jrun *run, const struct jstr *s, size_t from,
                        size_t to); /* bytes from..to-1 */
struct jstr *jstr_concat(struct jrun *run, struct jstr *a, struct jstr *b);
size_t jstr_n_chars(struct jrun *run, struct jstr *s);
size_t jstr_offset(struct jrun *run, struct jstr *s, size_t n_chars); /* byte where character n begins */
bool jstr_equal(const struct jstr *a, const struct jstr *b);
bool jstr_is(const struct jstr *s, const char *text);
int jstr_compare(struct jrun *run, const struct jstr *a, const struct jstr *b);
/* Where `part` is first found at or after byte `from`; SIZE_MAX if nowhere. */
size_t jstr_find(struct jrun *run, const struct jstr *s, const struct jstr *part, size_t from);
size_t jstr_rfind(struct jrun *run, const struct jstr *s, const struct jstr *part, size_t before);
struct jstr *jstr_strip(struct jrun *run, struct jstr *s, const struct jstr *chars, bool left, bool right);
struct jstr *jstr_replace(struct jrun *run, struct jstr *s, struct jstr *from, struct jstr *to,
                          int64_t count);
struct jstr *jstr_escape(struct jrun *run, struct jstr *s); /* HTML; gives markup */
struct jlist *jstr_lines(struct jrun *run, struct jstr *s, bool keep_ends);
struct jlist *jstr_split_space(struct jrun *run, struct jstr *s, int64_t max, bool from_right);
struct jlist *jstr_split(struct jrun *run, struct jstr *s, struct jstr *by, int64_t max, bool from_right);
static inline bool jstr_person(const struct jstr *s, size_t i) {
    return s->shadow ? s->shadow[i] : s->person;
}
bool jstr_any_person(const struct jstr *s);
/* The character at `at`, its length in *length; a byte that begins none gives 0xDC00 + byte. */
uint32_t jchar_at(const char *bytes, size_t len, size_t at, int *length);
size_t jchar_before(const char *bytes, size_t at); /* where the character that ends at `at` begins */

/* ---- text being put together (out.c): pieces are only referred to ---- */

struct jpiece {
    const char *bytes;
    const uint8_t *shadow;
    size_t len;
    bool person;
};
enum { JOUT_BLOCK = 62 };
struct jout_block {
    struct jout_block *next;
    size_t n;
    struct jpiece pieces[JOUT_BLOCK];
};
struct jout {
    struct jout_block *first, *last;
    size_t len;
    const char *what; /* for the limit's message */
};
void jout_bytes(struct jrun *run, struct jout *out, const char *bytes, size_t len,
                bool person); /* borrowed */
void jout_copy(struct jrun *run, struct jout *out, const char *bytes, size_t len, bool person);
void jout_text(struct jrun *run, struct jout *out, const char *text, bool person); /* a literal */
void jout_fill(struct jrun *run, struct jout *out, char c, size_t n, bool person);
void jout_str(struct jrun *run, struct jout *out, const struct jstr *s);
void jout_value(struct jrun *run, struct jout *out, struct jvalue value); /* as str() */
struct jstr *jout_finish(struct jrun *run, struct jout *out);

/* ---- lists, dicts, everything that can be walked through (collect.c) ---- */

struct jlist *jlist_new(struct jrun *run, size_t room);
void jlist_add(struct jrun *run, struct jlist *list, struct jvalue value); /* only while nobody else has it */
struct jlist *jlist_slice(struct jrun *run, const struct jlist *list, size_t from, size_t to);
struct jlist *jlist_concat(struct jrun *run, struct jlist *a, struct jlist *b);
struct jvalue jlist_value(struct jlist *list);
struct jvalue jtuple_value(struct jlist *list);
struct jvalue jtuple2(struct jrun *run, struct jvalue a, struct jvalue b);
struct jlist *jlist_sorted(struct jrun *run, const struct jlist *keys, const struct jlist *items,
                           bool reverse);

struct jdict *jdict_new(struct jrun *run, size_t room);
void jdict_set(struct jrun *run, struct jdict *dict, struct jvalue key, struct jvalue value);
bool jdict_get(struct jrun *run, const struct jdict *dict, struct jvalue key, struct jvalue *out);
bool jdict_get_text(struct jrun *run, const struct jdict *dict, const char *key, struct jvalue *out);
struct jvalue jdict_value(struct jdict *dict);
struct jvalue jdict_view(struct jrun *run, struct jdict *dict, const char *type); /* "dict_keys", ... */

struct jvalue jgenerator_new(struct jrun *run, const char *name,
                             struct jlist *(*fill)(struct jrun *, struct jgenerator *), struct jvalue source,
                             struct jargs *args, int mode);
bool jgenerator_next(struct jrun *run, struct jgenerator *generator, struct jvalue *out);

bool jis_iterable(struct jvalue value);
/* All items, as list(value): of a list itself, of a dict the keys, of a string the characters. */
struct jlist *jlist_of(struct jrun *run, struct jvalue value);

/* ---- rules (value.c) ---- */

const char *jtype_name(struct jvalue value); /* Python's: "str", "dict", ... */
bool jtruth(struct jrun *run, struct jvalue value);
bool jequal(struct jrun *run, struct jvalue a, struct jvalue b);
/* -1, 0, 1, or 2 where neither is smaller (NaN). Fails where there is no order. */
int jcompare(struct jrun *run, struct jvalue a, struct jvalue b, const char *op);
uint64_t jhash(struct jrun *run, struct jvalue value);
bool jcontains(struct jrun *run, struct jvalue in, struct jvalue value);
bool jhas_length(struct jvalue value);
size_t jlength(struct jrun *run, struct jvalue value);
bool jis_number(struct jvalue value);            /* booleans too, as in Python */
bool jas_int(struct jvalue value, int64_t *out); /* int or boolean */
double jas_double(struct jvalue value);          /* of a number */
int64_t jneed_int(struct jrun *run, struct jvalue value, const char *what);
struct jstr *jneed_str(struct jrun *run, struct jvalue value, const char *what);
struct jvalue jget_item(struct jrun *run, struct jvalue of, struct jvalue key); /* of[key] */
struct jvalue jget_attribute(struct jrun *run, struct jvalue of,
                             struct jvalue key); /* of.key; key is a string */
struct jvalue jget_slice(struct jrun *run, struct jvalue of, struct jvalue from, struct jvalue to,
                         struct jvalue step);
/* "a.b.0" as filters read attribute=; an integer value is one index. */
struct jvalue jget_path(struct jrun *run, struct jvalue of, struct jvalue path, struct jvalue otherwise);

/* ---- numbers (number.c) ---- */

enum joperator { JOP_ADD, JOP_SUB, JOP_MUL, JOP_DIV, JOP_FLOORDIV, JOP_MOD, JOP_POW };
struct jvalue jarithmetic(struct jrun *run, enum joperator op, struct jvalue a, struct jvalue b);
struct jvalue jnegative(struct jrun *run, struct jvalue a, bool negate);
struct jvalue jfloat_to_int(struct jrun *run, double number);
bool jparse_int(struct jrun *run, const struct jstr *s, int base,
                int64_t *out);                        /* Python's int(text, base) */
bool jparse_float(const struct jstr *s, double *out); /* Python's float(text) */

/* ---- printing (repr.c) ---- */

struct jstr *jstr_of(struct jrun *run, struct jvalue value); /* str(value) */
void jrepr(struct jrun *run, struct jout *out, struct jvalue value);
int jformat_float(double number, char text[40]); /* Python's repr(float) */

/* ---- others ---- */

void jtojson(struct jrun *run, struct jout *out, struct jvalue value,
             const struct jargs *args); /* tojson.c */
struct jvalue jmethod_find(struct jrun *run, struct jvalue of,
                           const struct jstr *name); /* methods.c; or missing */
struct jstr *jformat_percent(struct jrun *run, struct jstr *format, struct jvalue args); /* format.c: % */
struct jstr *jformat_braces(struct jrun *run, struct jstr *format,
                            const struct jargs *args); /* format.c: .format() */
struct jstr *jstrftime(struct jrun *run, const struct jstr *format, const struct tm *time); /* strftime.c */

/* Place arguments by position and name, as a Python function with these parameters would: out[i] is JMISSING
 * where none was given. names: "d,attribute". Fails on too many, unknown or doubled ones, and if one of the
 * first `required` is missing. */
void jbind(struct jrun *run, const char *function, const char *names, size_t required,
           const struct jargs *args, struct jvalue *out);

#endif
