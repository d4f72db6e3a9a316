/* Filters on numbers and on anything. */
#include "infer/jinja/filters.h"
#include "infer/jinja/json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

JFILTER(default) {
    struct jvalue otherwise = at[0].type == JTYPE_MISSING ? jtext(run, "") : at[0];
    if (value.type == JTYPE_UNDEFINED || (jflag(run, at[1]) && !jtruth(run, value))) return otherwise;
    return value;
}

JFILTER(attr) {
    struct jstr *name = jneed_str(run, at[0], "filter 'attr'");
    if (value.type == JTYPE_UNDEFINED) jundefined_fail(run, value);
    if (value.type == JTYPE_DICT) { /* attributes only, never the dict's own keys */
        struct jvalue method = jmethod_find(run, value, name);
        return method.type == JTYPE_MISSING ? jundefined_member(run, value, at[0]) : method;
    }
    return jget_attribute(run, value, at[0]);
}

JFILTER(abs) {
    (void)at;
    if (value.type == JTYPE_UNDEFINED) jundefined_fail(run, value);
    if (!jis_number(value)) jfail(run, "bad operand type for abs(): '%s'", jtype_name(value));
    if (value.type == JTYPE_FLOAT) {
        value.real = fabs(value.real);
        return value;
    }
    return jnegative(run, value, jcompare(run, value, jint(0), "<") == -1);
}

JFILTER(int) {
    struct jvalue out = at[0].type == JTYPE_MISSING ? jint(0) : at[0];
    int64_t n;
    double number;
    if (value.type == JTYPE_UNDEFINED) jundefined_fail(run, value);
    int64_t base = at[1].type == JTYPE_MISSING ? 10 : jneed_int(run, at[1], "filter 'int'");
    if (value.type == JTYPE_STRING) {
        bool person = jstr_any_person(value.str);
        if (base != 0 && (base < 2 || base > 36)) base = 10;
        if (jparse_int(run, value.str, (int)base, &n))
            out = jint(n);
        else if (jparse_float(value.str, &number) && isfinite(number))
            out = jfloat_to_int(run, number);
        else
            return out;
        out.person = person;
        return out;
    }
    if (!jis_number(value)) return out;
    if (jas_int(value, &n))
        out = jint(n);
    else if (isfinite(value.real))
        out = jfloat_to_int(run, value.real);
    else
        return out;
    out.person = value.person;
    return out;
}

JFILTER(float) {
    double number;
    struct jvalue out = at[0].type == JTYPE_MISSING ? jfloat(0) : at[0];
    if (value.type == JTYPE_UNDEFINED) jundefined_fail(run, value);
    if (jis_number(value)) {
        out = jfloat(jas_double(value));
        out.person = value.person;
    } else if (value.type == JTYPE_STRING && jparse_float(value.str, &number)) {
        out = jfloat(number);
        out.person = jstr_any_person(value.str);
    }
    return out;
}

/* Python's round(): the decimal digits of the exact value decide, halves go to even. printf() does just that.
 */
static double round_half_even(double number, int64_t digits) {
    if (!isfinite(number) || digits > 320) return number;
    if (digits < -308) return copysign(0.0, number);
    if (digits >= 0) {
        char text[800];
        snprintf(text, sizeof text, "%.*f", (int)digits, number);
        return strtod(text, NULL);
    }
    double unit = pow(10, (double)-digits), quotient = number / unit, down = floor(quotient),
           rest = quotient - down;
    double rounded = rest > 0.5 || (rest == 0.5 && fmod(down, 2) != 0) ? down + 1 : down;
    return rounded * unit;
}

JFILTER(round) {
    int64_t digits = at[0].type == JTYPE_MISSING ? 0 : jneed_int(run, at[0], "filter 'round'"), n;
    struct jstr *method = at[1].type == JTYPE_MISSING ? NULL : jstr_of(run, at[1]);
    bool common = !method || jstr_is(method, "common"), ceiling = method && jstr_is(method, "ceil");
    if (!common && !ceiling && !jstr_is(method, "floor")) jfail(run, "method must be common, ceil or floor");
    if (value.type == JTYPE_UNDEFINED) jundefined_fail(run, value);
    if (!jis_number(value)) jfail(run, "type %s doesn't define __round__ method", jtype_name(value));
    struct jvalue out;
    if (common && jas_int(value, &n)) {
        out = jint(n);
        if (digits < 0) {
            int64_t unit = 1;
            for (int64_t i = digits; i < 0 && unit <= INT64_MAX / 10; i++) unit *= 10;
            int64_t rest = n % unit, half = unit / 2;
            int64_t down = n - rest;
            if (digits < -18)
                out = jint(0);
            else if (rest > half || (rest == half && (down / unit) % 2 != 0))
                out = jarithmetic(run, JOP_ADD, jint(down), jint(unit));
            else if (rest < -half || (rest == -half && (down / unit) % 2 != 0))
                out = jarithmetic(run, JOP_SUB, jint(down), jint(unit));
            else
                out = jint(down);
        }
    } else if (common) {
        out = jfloat(round_half_even(value.real, digits));
    } else {
        struct jvalue unit = jarithmetic(run, JOP_POW, jint(10), jint(digits));
        double scaled = jas_double(jarithmetic(run, JOP_MUL, value, unit));
        struct jvalue whole = jfloat_to_int(run, ceiling ? ceil(scaled) : floor(scaled));
        out = jarithmetic(run, JOP_DIV, whole, unit);
    }
    out.person = value.person;
    return out;
}

JFILTER(filesizeformat) {
    static const char *const units[] = {"kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"};
    static const char *const binary_units[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"};
    bool binary = jflag(run, at[0]);
    struct jvalue number = value;
    double bytes, base = binary ? 1024 : 1000, unit = base;
    if (value.type == JTYPE_UNDEFINED) jundefined_fail(run, value);
    if (value.type == JTYPE_STRING && jparse_float(value.str, &bytes)) number = jfloat(bytes);
    if (!jis_number(number))
        jfail(run, "filter 'filesizeformat' needs a number, not '%s'", jtype_name(value));
    bytes = jas_double(number);
    char text[64];
    if (bytes == 1) {
        snprintf(text, sizeof text, "1 Byte");
    } else if (bytes < base) {
        snprintf(text, sizeof text, "%.0f Bytes", trunc(bytes));
    } else {
        size_t i = 0;
        for (unit = base * base; i < 7 && bytes >= unit; i++) unit *= base;
        snprintf(text, sizeof text, "%.1f %s", base * bytes / unit, binary ? binary_units[i] : units[i]);
    }
    return jstring(jstr_copy(run, text, strlen(text),
                             value.type == JTYPE_STRING ? jstr_any_person(value.str) : value.person));
}

JFILTER(from_json) {
    (void)at;
    struct jstr *text = jneed_str(run, value, "filter 'from_json'");
    return jjson_read(run, text->bytes, text->len, jstr_any_person(text));
}

JFILTER_ANY(tojson) {
    struct jout out = {0};
    jtojson(run, &out, value, args);
    return jstring(jout_finish(run, &out));
}
