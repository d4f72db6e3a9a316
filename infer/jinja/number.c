#include "infer/jinja/unicode.h"
#include "infer/jinja/value.h"

#include <math.h>
#include <stdlib.h>

static const char *const signs[] = {"+", "-", "*", "/", "//", "%", "**"};

static _Noreturn void fail_types(struct jrun *run, enum joperator op, struct jvalue a, struct jvalue b) {
    if (a.type == JTYPE_UNDEFINED) jundefined_fail(run, a);
    if (b.type == JTYPE_UNDEFINED) jundefined_fail(run, b);
    if (op == JOP_ADD && a.type == JTYPE_STRING)
        jfail(run, "can only concatenate str (not \"%s\") to str", jtype_name(b));
    jfail(run, "unsupported operand type(s) for %s: '%s' and '%s'", signs[op], jtype_name(a), jtype_name(b));
}

static _Noreturn void fail_overflow(struct jrun *run, enum joperator op) {
    jfail(run, "integer overflow: the result of '%s' does not fit in 64 bits", signs[op]);
}

static int64_t int_power(struct jrun *run, int64_t base, int64_t exponent) {
    int64_t result = 1;
    while (exponent > 0) {
        if (exponent & 1 && __builtin_mul_overflow(result, base, &result)) fail_overflow(run, JOP_POW);
        exponent >>= 1;
        if (exponent && __builtin_mul_overflow(base, base, &base)) fail_overflow(run, JOP_POW);
    }
    return result;
}

static struct jvalue int_arithmetic(struct jrun *run, enum joperator op, int64_t a, int64_t b) {
    int64_t n = 0;
    bool over = false;
    if (b == 0 && (op == JOP_DIV || op == JOP_FLOORDIV || op == JOP_MOD))
        jfail(run, op == JOP_DIV ? "division by zero" : "integer division or modulo by zero");
    switch (op) {
    case JOP_ADD: over = __builtin_add_overflow(a, b, &n); break;
    case JOP_SUB: over = __builtin_sub_overflow(a, b, &n); break;
    case JOP_MUL: over = __builtin_mul_overflow(a, b, &n); break;
    case JOP_DIV: return jfloat((double)a / (double)b);
    case JOP_FLOORDIV:
        if (b == -1)
            over = __builtin_sub_overflow(0, a, &n);
        else
            n = a / b - (a % b != 0 && (a < 0) != (b < 0));
        break;
    case JOP_MOD:
        n = b == -1 ? 0 : a % b;
        if (n && (n < 0) != (b < 0)) n += b;
        break;
    case JOP_POW:
        if (b < 0) {
            if (a == 0) jfail(run, "0.0 cannot be raised to a negative power");
            return jfloat(pow((double)a, (double)b));
        }
        n = int_power(run, a, b);
        break;
    }
    if (over) fail_overflow(run, op);
    return jint(n);
}

static double float_modulo(double a, double b) { /* the sign of the divisor, as in Python */
    double rest = fmod(a, b);
    if (rest == 0) return copysign(0.0, b);
    return (rest < 0) != (b < 0) ? rest + b : rest;
}

static struct jvalue float_arithmetic(struct jrun *run, enum joperator op, double a, double b) {
    double n = 0;
    if (b == 0 && (op == JOP_DIV || op == JOP_FLOORDIV || op == JOP_MOD))
        jfail(run, op == JOP_DIV   ? "float division by zero"
                   : op == JOP_MOD ? "float modulo"
                                   : "float floor division by zero");
    switch (op) {
    case JOP_ADD: n = a + b; break;
    case JOP_SUB: n = a - b; break;
    case JOP_MUL: n = a * b; break;
    case JOP_DIV: n = a / b; break;
    case JOP_MOD: n = float_modulo(a, b); break;
    case JOP_FLOORDIV: {
        double quotient = (a - float_modulo(a, b)) / b;
        n = floor(quotient);
        if (quotient - n > 0.5) n += 1;
        if (quotient == 0) n = copysign(0.0, a / b);
        break;
    }
    case JOP_POW:
        if (a == 0 && b < 0) jfail(run, "0.0 cannot be raised to a negative power");
        n = pow(a, b);
        if (isnan(n) && !isnan(a) && !isnan(b))
            jfail(run, "complex numbers are not supported (operator '**')");
        if (isinf(n) && !isinf(a) && !isinf(b)) jfail(run, "float overflow: the result of '**' is too large");
        break;
    }
    return jfloat(n);
}

static struct jvalue repeat(struct jrun *run, struct jvalue what, int64_t times) {
    if (times < 0) times = 0;
    if (what.type == JTYPE_STRING) {
        struct jout out = {0};
        if (what.str->len && (uint64_t)times > JINJA_MAX_STRING / what.str->len)
            jfail_limit(run, "bytes in a string", JINJA_MAX_STRING);
        if (!what.str->len) times = 0;
        if (times > 1 && what.str->len == 1 && !what.str->shadow)
            jout_fill(run, &out, what.str->bytes[0], (size_t)times, what.str->person);
        else
            for (int64_t i = 0; i < times; i++, jstep(run, 1)) jout_str(run, &out, what.str);
        struct jstr *s = jout_finish(run, &out);
        s->markup = what.str->markup;
        return jstring(s);
    }
    size_t n = what.list->n;
    if (n && (uint64_t)times > JINJA_MAX_ITEMS / n) jfail_limit(run, "items in a list", JINJA_MAX_ITEMS);
    jcount_items(run, (uint64_t)times * n);
    struct jlist *list = jlist_new(run, (size_t)times * n);
    list->person = what.list->person;
    for (size_t i = 0; i < (size_t)times * n; i++) jlist_add(run, list, what.list->items[i % n]);
    return what.type == JTYPE_TUPLE ? jtuple_value(list) : jlist_value(list);
}

static struct jvalue add_strings(struct jrun *run, struct jstr *a, struct jstr *b) {
    if (!a->markup && !b->markup) return jstring(jstr_concat(run, a, b));
    struct jstr *joined = jstr_concat(run, jstr_escape(run, a), jstr_escape(run, b));
    struct jstr *s = jalloc(run, sizeof *s);
    *s = *joined;
    s->grow = NULL;
    s->markup = true;
    return jstring(s);
}

static bool is_sequence(struct jvalue v) {
    return v.type == JTYPE_STRING || v.type == JTYPE_LIST || v.type == JTYPE_TUPLE;
}

struct jvalue jarithmetic(struct jrun *run, enum joperator op, struct jvalue a, struct jvalue b) {
    int64_t x, y;
    if (jis_number(a) && jis_number(b)) {
        struct jvalue n = jas_int(a, &x) && jas_int(b, &y)
                              ? int_arithmetic(run, op, x, y)
                              : float_arithmetic(run, op, jas_double(a), jas_double(b));
        n.person = a.person || b.person;
        return n;
    }
    if (op == JOP_ADD && a.type == b.type && is_sequence(a)) {
        if (a.type == JTYPE_STRING) return add_strings(run, a.str, b.str);
        struct jlist *list = jlist_concat(run, a.list, b.list);
        return a.type == JTYPE_TUPLE ? jtuple_value(list) : jlist_value(list);
    }
    if (op == JOP_MUL && is_sequence(a) && jas_int(b, &y)) return repeat(run, a, y);
    if (op == JOP_MUL && is_sequence(b) && jas_int(a, &x)) return repeat(run, b, x);
    if (op == JOP_MOD && a.type == JTYPE_STRING) return jstring(jformat_percent(run, a.str, b));
    fail_types(run, op, a, b);
}

struct jvalue jnegative(struct jrun *run, struct jvalue a, bool negate) {
    int64_t n;
    struct jvalue out;
    if (a.type == JTYPE_UNDEFINED) jundefined_fail(run, a);
    if (jas_int(a, &n)) {
        if (negate && __builtin_sub_overflow(0, n, &n)) fail_overflow(run, JOP_SUB);
        out = jint(n);
    } else if (a.type == JTYPE_FLOAT) {
        out = jfloat(negate ? -a.real : a.real);
    } else {
        jfail(run, "bad operand type for unary %s: '%s'", negate ? "-" : "+", jtype_name(a));
    }
    out.person = a.person;
    return out;
}

struct jvalue jfloat_to_int(struct jrun *run, double number) {
    if (isnan(number)) jfail(run, "cannot convert float NaN to integer");
    if (isinf(number)) jfail(run, "cannot convert float infinity to integer");
    if (fabs(number) >= 9223372036854775808.0)
        jfail(run, "integer overflow: %.17g does not fit in 64 bits", number);
    return jint((int64_t)number);
}

/* The text without the space around it, and without the underscores between digits; false if it is too long
 * or an underscore stands elsewhere. */
static bool plain_digits(const struct jstr *s, char *out, size_t room) {
    size_t from = 0, to = s->len, n = 0;
    int length;
    while (from < to && uchar_is_space(jchar_at(s->bytes, to, from, &length))) from += (size_t)length;
    while (to > from) {
        size_t at = jchar_before(s->bytes, to);
        if (at < from || !uchar_is_space(jchar_at(s->bytes, to, at, &length))) break;
        to = at;
    }
    for (size_t i = from; i < to; i++) {
        char c = s->bytes[i];
        if (c == '_') {
            char before = i > from ? s->bytes[i - 1] : '_', after = i + 1 < to ? s->bytes[i + 1] : '_';
            bool digits =
                (before | 32) >= '0' && before != '_' && after != '_' && before != '+' && before != '-';
            if (!digits) return false;
            continue;
        }
        if (n + 1 >= room || (unsigned char)c >= 0x80 || c == 0) return false;
        out[n++] = c;
    }
    out[n] = '\0';
    return n > 0;
}

bool jparse_int(struct jrun *run, const struct jstr *s, int base, int64_t *out) {
    char text[512];
    if (!plain_digits(s, text, sizeof text)) return false;
    const char *p = text;
    bool negative = *p == '-';
    if (*p == '-' || *p == '+') p++;
    int prefix = 0;
    if (p[0] == '0' && p[1]) {
        char kind = (char)(p[1] | 32);
        prefix = kind == 'x' ? 16 : kind == 'o' ? 8 : kind == 'b' ? 2 : 0;
        if (prefix && (base == 0 || base == prefix)) {
            base = prefix;
            p += 2;
        }
    }
    if (base == 0) {
        if (p[0] == '0' && strspn(p, "0") != strlen(p)) return false;
        base = 10;
    }
    if (!*p) return false;
    uint64_t n = 0;
    bool over = false;
    for (; *p; p++) {
        int digit = *p >= '0' && *p <= '9'                 ? *p - '0'
                    : (*p | 32) >= 'a' && (*p | 32) <= 'z' ? (*p | 32) - 'a' + 10
                                                           : 99;
        if (digit >= base) return false;
        over |=
            __builtin_mul_overflow(n, (uint64_t)base, &n) || __builtin_add_overflow(n, (uint64_t)digit, &n);
    }
    if (over || n > (uint64_t)INT64_MAX + negative)
        jfail(run, "integer overflow: %s does not fit in 64 bits", text);
    *out = negative ? (int64_t)(0 - n) : (int64_t)n;
    return true;
}

bool jparse_float(const struct jstr *s, double *out) {
    char text[512];
    if (!plain_digits(s, text, sizeof text)) return false;
    const char *p = text + (text[0] == '-' || text[0] == '+');
    bool word = strcasecmp(p, "inf") == 0 || strcasecmp(p, "infinity") == 0 || strcasecmp(p, "nan") == 0;
    if (!word && strspn(p, "0123456789.eE+-") != strlen(p)) return false;
    char *end;
    *out = strtod(text, &end);
    return end != text && !*end;
}
