/* Two small languages for putting values into text: "%05.2f" % x, and "{:>8}".format(x). */
#include "infer/jinja/eval.h"
#include "infer/jinja/filters.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { MAX_WIDTH = 100000, MAX_PRECISION = 400 };

struct spec {
    bool minus, plus, space, zero, alternate, comma, underscore;
    char align;               /* one of <>^=, or 0 */
    const struct jstr *fill;  /* one character; NULL: space */
    int64_t width, precision; /* -1: none */
    char kind;                /* 0: as the value likes */
};

/* Pads `body`, whose first `sign` bytes are a sign or a prefix. */
static void put(struct jrun *run, struct jout *out, const struct spec *spec, struct jstr *body, size_t sign,
                char align) {
    int64_t n = (int64_t)jstr_n_chars(run, body), space = spec->width > n ? spec->width - n : 0;
    int64_t left = align == '<' ? 0 : align == '^' ? space / 2 : space;
    struct jstr *fill = spec->fill ? (struct jstr *)spec->fill : jtext(run, " ").str;
    if (align == '=') {
        jout_str(run, out, jstr_slice(run, body, 0, sign));
        body = jstr_slice(run, body, sign, body->len);
    }
    jout_str(run, out, jarithmetic(run, JOP_MUL, jstring(fill), jint(left)).str);
    jout_str(run, out, body);
    jout_str(run, out, jarithmetic(run, JOP_MUL, jstring(fill), jint(space - left)).str);
}

/* A separator between groups of digits: three, or four for other bases than ten. */
static void group_digits(char *text, size_t room, size_t from, size_t to, char separator, size_t every) {
    size_t digits = to - from, n = strlen(text), extra = digits ? (digits - 1) / every : 0;
    if (n + extra + 1 > room) return;
    memmove(text + to + extra, text + to, n - to + 1);
    size_t read = to, write = to + extra;
    for (size_t count = 0; read > from; count++) {
        if (count && count % every == 0) text[--write] = separator;
        text[--write] = text[--read];
    }
}

static size_t sign_of(char *text, const struct spec *spec, bool negative) {
    if (!negative && !spec->plus && !spec->space) return 0;
    text[0] = negative ? '-' : spec->plus ? '+' : ' ';
    return 1;
}

static void put_int(struct jrun *run, struct jout *out, const struct spec *spec, int64_t n, char kind,
                    bool person, char align) {
    char text[512], digits[80];
    size_t sign = sign_of(text, spec, n < 0), at = 0;
    uint64_t rest = n < 0 ? 0 - (uint64_t)n : (uint64_t)n;
    unsigned base = kind == 'x' || kind == 'X' ? 16 : kind == 'o' ? 8 : kind == 'b' ? 2 : 10;
    do {
        digits[at++] = (kind == 'X' ? "0123456789ABCDEF" : "0123456789abcdef")[rest % base];
        rest /= base;
    } while (rest);
    if (spec->alternate && base != 10) {
        text[sign++] = '0';
        text[sign++] = kind;
    }
    size_t to = sign;
    while (spec->precision > (int64_t)(at + to - sign) && to < sizeof text - 90) text[to++] = '0';
    while (at) text[to++] = digits[--at];
    text[to] = '\0';
    if (spec->comma || spec->underscore)
        group_digits(text, sizeof text, sign, to, spec->comma ? ',' : '_', base == 10 ? 3 : 4);
    put(run, out, spec, jstr_copy(run, text, strlen(text), person), sign, align);
}

/* Python's "%g"-like forms are C's; its default for floats is repr, or repr's digits cut to a precision. */
static void put_float(struct jrun *run, struct jout *out, const struct spec *spec, double n, char kind,
                      bool person, char align) {
    char text[1024], form[16];
    size_t sign = sign_of(text, spec, signbit(n) && !isnan(n));
    int64_t precision = spec->precision < 0 ? 6 : spec->precision;
    bool percent = kind == '%';
    if (percent) n *= 100;
    n = isnan(n) ? n : fabs(n);
    if (isnan(n) || isinf(n)) {
        bool capital = kind == 'F' || kind == 'E' || kind == 'G';
        snprintf(text + sign, sizeof text - sign, "%s",
                 isnan(n)  ? (capital ? "NAN" : "nan")
                 : capital ? "INF"
                           : "inf");
    } else if (!kind && spec->precision < 0) {
        jformat_float(n, text + sign);
    } else {
        snprintf(form, sizeof form, "%%%s.%d%c", spec->alternate ? "#" : "", (int)precision,
                 !kind     ? 'g'
                 : percent ? 'f'
                           : kind);
        snprintf(text + sign, sizeof text - sign - 2, form, n);
        if (!kind && !strpbrk(text + sign, ".en")) strcat(text, ".0");
    }
    size_t whole = sign + strspn(text + sign, "0123456789");
    if (spec->comma || spec->underscore)
        group_digits(text, sizeof text, sign, whole, spec->comma ? ',' : '_', 3);
    if (percent) strcat(text, "%");
    put(run, out, spec, jstr_copy(run, text, strlen(text), person), sign, align);
}

static struct jstr *cut_chars(struct jrun *run, struct jstr *s, int64_t precision) {
    return precision < 0 ? s : jstr_slice(run, s, 0, jstr_offset(run, s, (size_t)precision));
}

static int64_t checked(struct jrun *run, int64_t n, int64_t limit, const char *what) {
    if (n > limit) jfail(run, "format: a %s beyond %" PRId64 " is not supported", what, limit);
    return n;
}

static int64_t read_number(struct jrun *run, const struct jstr *s, size_t *at, int64_t limit,
                           const char *what) {
    int64_t n = -1;
    for (; *at < s->len && s->bytes[*at] >= '0' && s->bytes[*at] <= '9'; ++*at)
        n = checked(run, (n < 0 ? 0 : n) * 10 + s->bytes[*at] - '0', limit, what);
    return n;
}

/* ---- % ---- */

struct percent {
    struct jrun *run;
    struct jvalue values;
    size_t next;
    bool single; /* one value, not a tuple */
    bool mapped; /* a %(name)s was there */
};

static struct jvalue next_value(struct percent *p) {
    size_t n = p->single ? 1 : p->values.list->n;
    if (p->next >= n) jfail(p->run, "not enough arguments for format string");
    p->next++;
    return p->single ? p->values : p->values.list->items[p->next - 1];
}

static struct jvalue mapped_value(struct percent *p, struct jstr *format, size_t *at) {
    size_t from = ++*at, open = 1;
    while (*at < format->len && open) {
        open += (format->bytes[*at] == '(') - (format->bytes[*at] == ')');
        ++*at;
    }
    if (open) jfail(p->run, "incomplete format key");
    if (p->values.type != JTYPE_DICT) jfail(p->run, "format requires a mapping");
    struct jvalue out, key = jstring(jstr_slice(p->run, format, from, *at - 1));
    if (!jdict_get(p->run, p->values.dict, key, &out))
        jfail(p->run, "format: the key '%.*s' is missing", (int)(key.str->len & 0x7F), key.str->bytes);
    p->mapped = true;
    return out;
}

static void put_percent(struct percent *p, struct jout *out, const struct spec *spec, char kind,
                        struct jvalue v) {
    struct jrun *run = p->run;
    char align = spec->minus ? '<' : spec->zero ? '=' : '>';
    struct spec with = *spec;
    struct jstr zero = {.bytes = "0", .len = 1, .n_chars = 1};
    if (spec->zero && !spec->minus) with.fill = &zero;
    int64_t n;
    struct jstr *s;
    switch (kind) {
    case 's':
    case 'r':
    case 'a':
        with.fill = NULL;
        s = jstr_of(run, v);
        if (kind != 's') {
            struct jout repr = {0};
            jrepr(run, &repr, v);
            s = jout_finish(run, &repr);
        }
        put(run, out, &with, cut_chars(run, s, spec->precision), 0, spec->minus ? '<' : '>');
        return;
    case 'c':
        with.fill = NULL;
        if (v.type == JTYPE_STRING && jstr_n_chars(run, v.str) == 1)
            put(run, out, &with, v.str, 0, spec->minus ? '<' : '>');
        else
            jfail(run, "%%c requires a single character here, not '%s'", jtype_name(v));
        return;
    case 'd':
    case 'i':
    case 'u':
    case 'x':
    case 'X':
    case 'o':
        if (v.type == JTYPE_FLOAT && (kind == 'd' || kind == 'i' || kind == 'u')) {
            bool person = v.person;
            v = jfloat_to_int(run, v.real);
            v.person = person;
        }
        if (!jas_int(v, &n))
            jfail(run, "%%%c format: a real number is required, not %s", kind, jtype_name(v));
        put_int(run, out, &with, n, kind, v.person, align);
        return;
    case 'f':
    case 'F':
    case 'e':
    case 'E':
    case 'g':
    case 'G':
        if (!jis_number(v)) jfail(run, "must be real number, not %s", jtype_name(v));
        put_float(run, out, &with, jas_double(v), kind, v.person, align);
        return;
    default: jfail(run, "unsupported format character '%c'", kind);
    }
}

struct jstr *jformat_percent(struct jrun *run, struct jstr *format, struct jvalue args) {
    struct percent p = {.run = run, .values = args, .single = args.type != JTYPE_TUPLE};
    struct jout out = {0};
    size_t at = 0;
    while (at < format->len) {
        const char *sign = memchr(format->bytes + at, '%', format->len - at);
        size_t to = sign ? (size_t)(sign - format->bytes) : format->len;
        jout_str(run, &out, jstr_slice(run, format, at, to));
        if (!sign) break;
        at = to + 1;
        jstep(run, 1);
        struct spec spec = {.width = -1, .precision = -1};
        struct jvalue value = JMISSING;
        if (at < format->len && format->bytes[at] == '(') value = mapped_value(&p, format, &at);
        for (; at < format->len && strchr("-+ 0#", format->bytes[at]) && format->bytes[at]; at++) {
            char c = format->bytes[at];
            spec.minus |= c == '-', spec.plus |= c == '+', spec.space |= c == ' ';
            spec.zero |= c == '0', spec.alternate |= c == '#';
        }
        if (at < format->len && format->bytes[at] == '*') {
            spec.width = checked(run, jneed_int(run, next_value(&p), "format"), MAX_WIDTH, "width");
            if (spec.width < 0) spec.minus = true, spec.width = -spec.width;
            at++;
        } else {
            spec.width = read_number(run, format, &at, MAX_WIDTH, "width");
        }
        if (at < format->len && format->bytes[at] == '.') {
            at++;
            spec.precision = read_number(run, format, &at, MAX_PRECISION, "precision");
            if (spec.precision < 0) spec.precision = 0;
        }
        while (at < format->len && format->bytes[at] && strchr("hlL", format->bytes[at])) at++;
        if (at >= format->len) jfail(run, "incomplete format");
        char kind = format->bytes[at++];
        if (kind == '%') {
            jout_str(run, &out, jstr_slice(run, format, at - 1, at));
            continue;
        }
        if (value.type == JTYPE_MISSING) value = next_value(&p);
        put_percent(&p, &out, &spec, kind,
                    format->markup && value.type == JTYPE_STRING ? jstring(jstr_escape(run, value.str))
                                                                 : value);
    }
    size_t given = p.single ? 1 : args.list->n;
    bool may_stay =
        p.mapped ||
        (p.single && (args.type == JTYPE_DICT || args.type == JTYPE_LIST || args.type == JTYPE_UNDEFINED));
    if (p.next < given && !may_stay) jfail(run, "not all arguments converted during string formatting");
    struct jstr *s = jout_finish(run, &out);
    s->markup = format->markup;
    return s;
}

/* ---- {} ---- */

static struct spec read_spec(struct jrun *run, struct jstr *text) {
    struct spec spec = {.width = -1, .precision = -1};
    size_t at = 0;
    int length = 1;
    if (text->len) jchar_at(text->bytes, text->len, 0, &length);
    if (text->len > (size_t)length && strchr("<>=^", text->bytes[length]) && text->bytes[length]) {
        spec.fill = jstr_slice(run, text, 0, (size_t)length);
        spec.align = text->bytes[length];
        at = (size_t)length + 1;
    } else if (text->len && strchr("<>=^", text->bytes[0]) && text->bytes[0]) {
        spec.align = text->bytes[at++];
    }
    char c = at < text->len ? text->bytes[at] : '\0';
    spec.plus = c == '+', spec.space = c == ' ';
    if (c == '+' || c == '-' || c == ' ') at++;
    if (at < text->len && text->bytes[at] == '#') spec.alternate = true, at++;
    if (at < text->len && text->bytes[at] == '0') {
        if (!spec.fill) spec.fill = jtext(run, "0").str;
        if (!spec.align) spec.align = '=', spec.zero = true;
        at++;
    }
    spec.width = read_number(run, text, &at, MAX_WIDTH, "width");
    if (at < text->len && (text->bytes[at] == ',' || text->bytes[at] == '_')) {
        spec.comma = text->bytes[at] == ',';
        spec.underscore = !spec.comma;
        at++;
    }
    if (at < text->len && text->bytes[at] == '.') {
        at++;
        spec.precision = read_number(run, text, &at, MAX_PRECISION, "precision");
        if (spec.precision < 0) jfail(run, "Format specifier missing precision");
    }
    if (at < text->len) spec.kind = text->bytes[at++];
    if (at < text->len) jfail(run, "Invalid format specifier '%.*s'", (int)(text->len & 0x7F), text->bytes);
    return spec;
}

static void put_braces(struct jrun *run, struct jout *out, struct jvalue v, struct jstr *text) {
    struct spec spec = read_spec(run, text);
    int64_t n;
    if (v.type == JTYPE_STRING || !text->len) {
        if (spec.kind && spec.kind != 's')
            jfail(run, "Unknown format code '%c' for object of type 'str'", spec.kind);
        if (spec.align == '=' && !spec.zero)
            jfail(run, "'=' alignment not allowed in string format specifier");
        put(run, out, &spec, cut_chars(run, jstr_of(run, v), spec.precision), 0,
            spec.align && spec.align != '=' ? spec.align : '<');
        return;
    }
    char align = spec.align ? spec.align : '>';
    if (!jis_number(v)) jfail(run, "unsupported format string passed to %s.__format__", jtype_name(v));
    if (jas_int(v, &n) && (!spec.kind || strchr("dxXobn", spec.kind))) {
        if (spec.precision >= 0) jfail(run, "Precision not allowed in integer format specifier");
        put_int(run, out, &spec, n, spec.kind ? spec.kind : 'd', v.person, align);
    } else if (!spec.kind || strchr("feEFgG%", spec.kind)) {
        put_float(run, out, &spec, jas_double(v), spec.kind, v.person, align);
    } else {
        jfail(run, "Unknown format code '%c' for object of type '%s'", spec.kind, jtype_name(v));
    }
}

struct braces {
    struct jrun *run;
    const struct jargs *args;
    int64_t next; /* -1: fields are numbered by hand */
};

static struct jvalue named_argument(struct braces *b, const struct jstr *name) {
    for (size_t i = 0; i < b->args->n_named; i++)
        if (jstr_equal(b->args->named[i].key.str, name)) return b->args->named[i].value;
    jfail(b->run, "format: the name '%.*s' is missing", (int)(name->len & 0x7F), name->bytes);
}

static struct jvalue field_value(struct braces *b, const struct jstr *field) {
    struct jrun *run = b->run;
    size_t at = 0;
    while (at < field->len && field->bytes[at] != '.' && field->bytes[at] != '[') at++;
    struct jstr *first = jstr_slice(run, field, 0, at);
    struct jvalue value;
    size_t end = 0;
    int64_t place = read_number(run, first, &end, MAX_WIDTH, "place");
    if (!first->len || (place >= 0 && end == first->len)) {
        if (first->len) {
            if (b->next > 0)
                jfail(run, "cannot switch from automatic field numbering to manual field specification");
            b->next = -1;
        } else {
            if (b->next < 0)
                jfail(run, "cannot switch from manual field specification to automatic field numbering");
            place = b->next++;
        }
        if ((size_t)place >= b->args->n)
            jfail(run, "Replacement index %" PRId64 " out of range for positional args tuple", place);
        value = b->args->at[place];
    } else {
        value = named_argument(b, first);
    }
    while (at < field->len) {
        bool item = field->bytes[at] == '[';
        size_t from = ++at;
        while (at < field->len &&
               (item ? field->bytes[at] != ']' : field->bytes[at] != '.' && field->bytes[at] != '['))
            at++;
        struct jstr *name = jstr_slice(run, field, from, at);
        size_t digits = 0;
        int64_t index = item ? read_number(run, name, &digits, MAX_WIDTH, "place") : -1;
        struct jvalue key = index >= 0 && digits == name->len ? jint(index) : jstring(name);
        value = item ? jget_item(run, value, key) : jget_attribute(run, value, key);
        if (item) at++;
    }
    return value;
}

/* Text with fields replaced; a field's format may hold fields itself, one level deep. */
static void fill_braces(struct braces *b, struct jout *out, struct jstr *format, int depth) {
    struct jrun *run = b->run;
    for (size_t at = 0; at < format->len;) {
        size_t from = at;
        while (at < format->len && format->bytes[at] != '{' && format->bytes[at] != '}') at++;
        jout_str(run, out, jstr_slice(run, format, from, at));
        if (at == format->len) break;
        jstep(run, 1);
        if (at + 1 < format->len && format->bytes[at + 1] == format->bytes[at]) {
            jout_str(run, out, jstr_slice(run, format, at, at + 1));
            at += 2;
            continue;
        }
        if (format->bytes[at] == '}') jfail(run, "Single '}' encountered in format string");
        size_t open = 1, begin = ++at, bang = SIZE_MAX, colon = SIZE_MAX;
        for (; at < format->len && open; at++) {
            char c = format->bytes[at];
            open += (c == '{') - (c == '}');
            if (c == '!' && bang == SIZE_MAX && colon == SIZE_MAX) bang = at;
            if (c == ':' && colon == SIZE_MAX) colon = at;
        }
        if (open) jfail(run, "expected '}' before end of string");
        size_t end = at - 1, name_end = bang != SIZE_MAX ? bang : colon != SIZE_MAX ? colon : end;
        struct jvalue value = field_value(b, jstr_slice(run, format, begin, name_end));
        if (bang != SIZE_MAX) {
            char how = bang + 1 < end ? format->bytes[bang + 1] : '\0';
            struct jout text = {0};
            if (how == 'r')
                jrepr(run, &text, value);
            else if (how == 's')
                jout_value(run, &text, value);
            else
                jfail(run, "Unknown conversion specifier");
            value = jstring(jout_finish(run, &text));
        }
        struct jstr *spec = colon == SIZE_MAX ? jtext(run, "").str : jstr_slice(run, format, colon + 1, end);
        if (memchr(spec->bytes, '{', spec->len)) {
            if (depth) jfail(run, "Max string recursion exceeded");
            struct jout inner = {0};
            fill_braces(b, &inner, spec, depth + 1);
            spec = jout_finish(run, &inner);
        }
        put_braces(run, out, value, spec);
    }
}

struct jstr *jformat_braces(struct jrun *run, struct jstr *format, const struct jargs *args) {
    struct braces b = {run, args, 0};
    struct jout out = {0};
    fill_braces(&b, &out, format, 0);
    return jout_finish(run, &out);
}
