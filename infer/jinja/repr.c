#include "infer/jinja/unicode.h"
#include "infer/jinja/value.h"

#include "infer/jinja/eval.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* The shortest digits that read back as the same number, laid out as Python does: an exponent below 1e-4 and
 * from 1e16. */
int jformat_float(double number, char text[40]) {
    if (isnan(number)) return snprintf(text, 40, "nan");
    if (isinf(number)) return snprintf(text, 40, number < 0 ? "-inf" : "inf");
    char digits[40];
    for (int precision = 0; precision < 17; precision++) {
        snprintf(digits, sizeof digits, "%.*e", precision, number);
        if (strtod(digits, NULL) == number) break;
    }
    char *e = strchr(digits, 'e');
    int exponent = atoi(e + 1);
    *e = '\0';
    if (exponent < -4 || exponent >= 16)
        return snprintf(text, 40, "%se%c%02d", digits, exponent < 0 ? '-' : '+', abs(exponent));
    int mantissa = (int)strspn(digits + (digits[0] == '-'), "0123456789.");
    int after = (mantissa > 1 ? mantissa - 2 : 0) - exponent; /* digits behind the point */
    return snprintf(text, 40, "%.*f", after > 1 ? after : 1, number);
}

static void repr_string(struct jrun *run, struct jout *out, const struct jstr *s) {
    char quote = memchr(s->bytes, '\'', s->len) && !memchr(s->bytes, '"', s->len) ? '"' : '\'';
    bool person = jstr_any_person(s);
    jstep(run, s->len / 16);
    if (s->markup) jout_text(run, out, "Markup(", false);
    jout_text(run, out, quote == '"' ? "\"" : "'", person);
    size_t from = 0;
    int length;
    for (size_t i = 0; i < s->len; i += (size_t)length) {
        uint32_t c = jchar_at(s->bytes, s->len, i, &length);
        char as[16];
        int n = 0;
        if (c == (uint32_t)quote || c == '\\')
            n = snprintf(as, sizeof as, "\\%c", (char)c);
        else if (c == '\n')
            n = snprintf(as, sizeof as, "\\n");
        else if (c == '\r')
            n = snprintf(as, sizeof as, "\\r");
        else if (c == '\t')
            n = snprintf(as, sizeof as, "\\t");
        else if (uchar_is_printable(c))
            continue;
        else if (c < 0x100)
            n = snprintf(as, sizeof as, "\\x%02x", c);
        else if (c < 0x10000)
            n = snprintf(as, sizeof as, "\\u%04x", c);
        else
            n = snprintf(as, sizeof as, "\\U%08x", c);
        jout_str(run, out, jstr_slice(run, s, from, i));
        jout_copy(run, out, as, (size_t)n, jstr_person(s, i));
        from = i + (size_t)length;
    }
    jout_str(run, out, jstr_slice(run, s, from, s->len));
    jout_text(run, out, quote == '"' ? "\"" : "'", person);
    if (s->markup) jout_text(run, out, ")", false);
}

static void repr_list(struct jrun *run, struct jout *out, const struct jlist *list, const char *open,
                      const char *close) {
    jout_text(run, out, open, list->person);
    for (size_t i = 0; i < list->n; i++) {
        if (i) jout_text(run, out, ", ", list->person);
        jrepr(run, out, list->items[i]);
    }
    jout_text(run, out, close, list->person);
}

static void repr_dict(struct jrun *run, struct jout *out, const struct jdict *dict) {
    jout_text(run, out, "{", dict->person);
    for (size_t i = 0; i < dict->n; i++) {
        if (i) jout_text(run, out, ", ", dict->person);
        jrepr(run, out, dict->pairs[i].key);
        jout_text(run, out, ": ", dict->person);
        jrepr(run, out, dict->pairs[i].value);
    }
    jout_text(run, out, "}", dict->person);
}

static void repr_others(struct jrun *run, struct jout *out, struct jvalue v) {
    char text[128];
    switch (v.type) {
    case JTYPE_RANGE:
        if (v.range->step == 1)
            snprintf(text, sizeof text, "range(%" PRId64 ", %" PRId64 ")", v.range->start, v.range->stop);
        else
            snprintf(text, sizeof text, "range(%" PRId64 ", %" PRId64 ", %" PRId64 ")", v.range->start,
                     v.range->stop, v.range->step);
        break;
    case JTYPE_GENERATOR: snprintf(text, sizeof text, "<generator object %s>", v.generator->name); break;
    case JTYPE_METHOD:
        snprintf(text, sizeof text, "<built-in method %s of %s object>", v.method->name,
                 jtype_name(v.method->of));
        break;
    case JTYPE_MACRO: jmacro_repr(v.macro, text, sizeof text); break;
    case JTYPE_LOOP:
        snprintf(text, sizeof text, "<LoopContext %zu/%zu>", v.loop->index0 + 1, v.loop->n);
        break;
    default: snprintf(text, sizeof text, "<%s object>", jtype_name(v)); break;
    }
    jout_copy(run, out, text, strlen(text), false);
}

void jrepr(struct jrun *run, struct jout *out, struct jvalue v) {
    char text[40];
    jstep(run, 1);
    jenter(run);
    switch (v.type) {
    case JTYPE_MISSING:
    case JTYPE_UNDEFINED: jout_text(run, out, "Undefined", false); break;
    case JTYPE_NONE: jout_text(run, out, "None", v.person); break;
    case JTYPE_BOOL: jout_text(run, out, v.boolean ? "True" : "False", v.person); break;
    case JTYPE_INT:
        jout_copy(run, out, text, (size_t)snprintf(text, sizeof text, "%" PRId64, v.integer), v.person);
        break;
    case JTYPE_FLOAT: jout_copy(run, out, text, (size_t)jformat_float(v.real, text), v.person); break;
    case JTYPE_STRING: repr_string(run, out, v.str); break;
    case JTYPE_LIST: repr_list(run, out, v.list, "[", "]"); break;
    case JTYPE_TUPLE: repr_list(run, out, v.list, "(", v.list->n == 1 ? ",)" : ")"); break;
    case JTYPE_DICT: repr_dict(run, out, v.dict); break;
    case JTYPE_VIEW:
        jout_text(run, out, v.view->type, false);
        repr_list(run, out, v.view->list, "([", "])");
        break;
    case JTYPE_NAMESPACE:
        jout_text(run, out, "<Namespace ", false);
        repr_dict(run, out, v.dict);
        jout_text(run, out, ">", false);
        break;
    default: repr_others(run, out, v); break;
    }
    jleave(run);
}

struct jstr *jstr_of(struct jrun *run, struct jvalue v) {
    if (v.type == JTYPE_STRING) return v.str;
    struct jout out = {0};
    if (v.type != JTYPE_UNDEFINED) jrepr(run, &out, v);
    return jout_finish(run, &out);
}
