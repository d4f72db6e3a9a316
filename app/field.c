#include "app/field.h"

#include "base/mem.h"
#include "infer/engine.h"

#include <ctype.h>
#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

uint64_t seed_draw(void) {
    uint32_t seed;
    if (getrandom(&seed, sizeof seed, GRND_NONBLOCK) != sizeof seed) {
        struct timespec now;
        clock_gettime(CLOCK_REALTIME, &now);
        seed = (uint32_t)(now.tv_nsec ^ now.tv_sec);
    }
    return seed;
}

/* "a number >= 0", "a whole number from 1 to 256" */
static int expected(const struct field *field, const char *label, const char *text, const char *what,
                    struct err *err) {
    if (isinf(field->min))
        return err_set(err, STATUS_USAGE, "%s: found \"%s\", expected %s", label, text, what);
    if (field->max >= UINT32_MAX)
        return err_set(err, STATUS_USAGE, "%s: found \"%s\", expected %s >= %g", label, text, what,
                       field->min);
    return err_set(err, STATUS_USAGE, "%s: found \"%s\", expected %s from %.10g to %.10g", label, text, what,
                   field->min, field->max);
}

/* The whole of `text` as digits. */
static bool parse_whole(const char *text, uint64_t *out) {
    if (!isdigit((unsigned char)*text)) return false;
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (errno || *end) return false;
    *out = value;
    return true;
}

static int set_float(const struct field *field, void *to, const char *label, const char *text,
                     struct err *err) {
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end || isspace((unsigned char)*text) || !isfinite(value) || value < field->min ||
        value > field->max || fabs(value) > 3e38)
        return expected(field, label, text, "a number", err);
    *(float *)to = (float)value;
    return STATUS_OK;
}

static int set_count(const struct field *field, void *to, const char *label, const char *text,
                     struct err *err) {
    uint64_t value;
    if (field->kind == FIELD_LIMIT && strcmp(text, "-1") == 0) text = "0";
    if (!parse_whole(text, &value) || value > UINT32_MAX || (double)value < field->min ||
        (double)value > field->max)
        return expected(field, label, text, "a whole number", err);
    *(uint32_t *)to = (uint32_t)value;
    return STATUS_OK;
}

static int set_seed(void *to, const char *label, const char *text, struct err *err) {
    uint64_t value;
    if (strcmp(text, "-1") == 0)
        value = seed_draw();
    else if (!parse_whole(text, &value) || value > INT64_MAX)
        return err_set(err, STATUS_USAGE, "%s: found \"%s\", expected a whole number >= 0, or -1 to draw one",
                       label, text);
    *(uint64_t *)to = value;
    return STATUS_OK;
}

static int set_counts(const struct field *field, void *to, const char *label, const char *text,
                      struct err *err) {
    uint32_t *list = NULL;
    size_t n = 0, cap = 0;
    char *copy = xstrdup(text), *rest = copy, *item;
    bool good = *text != '\0';
    while (good && (item = strsep(&rest, ","))) {
        uint64_t value;
        good = parse_whole(item, &value) && value <= UINT32_MAX && (double)value >= field->min &&
               (double)value <= field->max;
        grow_array(&list, &cap, n + 2, sizeof *list);
        if (good && value) list[n++] = (uint32_t)value; /* "0" is an empty list */
    }
    free(copy);
    if (!good) {
        free(list);
        return err_set(err, STATUS_USAGE,
                       "%s: found \"%s\", expected whole numbers >= %g with commas between them", label, text,
                       field->min);
    }
    list[n] = 0;
    free(*(uint32_t **)to);
    *(uint32_t **)to = list;
    return STATUS_OK;
}

static int set_order(void *to, const char *label, const char *text, struct err *err) {
    struct sampling sampling;
    sampling_defaults(&sampling);
    int status = sampling_set_order(&sampling, text, err);
    if (status < 0) return err_prefix(err, "%s", label);
    memcpy(to, sampling.order, sizeof sampling.order);
    return STATUS_OK;
}

/* Named alone, it is on. */
static int set_flag(void *to, const char *label, const char *text, struct err *err) {
    bool on = !text || strcmp(text, "on") == 0, off = text && strcmp(text, "off") == 0;
    if (!on && !off) return err_set(err, STATUS_USAGE, "%s: found \"%s\", expected on or off", label, text);
    *(bool *)to = on;
    return STATUS_OK;
}

static bool is_device(const char *text) {
    uint64_t ordinal;
    return strcmp(text, "auto") == 0 || strcmp(text, "cpu") == 0 || strcmp(text, "cuda") == 0 ||
           (strncmp(text, "cuda:", 5) == 0 && parse_whole(text + 5, &ordinal) && ordinal < 1024);
}

static const char *const when_names[] = {
    [WHEN_AUTO] = "auto", [WHEN_ALWAYS] = "always", [WHEN_NEVER] = "never"};

static int set_when(void *to, const char *label, const char *text, struct err *err) {
    for (size_t i = 0; i < sizeof when_names / sizeof *when_names; i++)
        if (strcmp(text, when_names[i]) == 0) {
            *(enum when *)to = (enum when)i;
            return STATUS_OK;
        }
    return err_set(err, STATUS_USAGE, "%s: found \"%s\", expected auto, always or never", label, text);
}

/* A value is JSON (true, 3, ["a"]) where it can be read as that, Python's True, False and None too; otherwise
 * it is text. */
static json_t *pair_value(const char *text) {
    if (strcasecmp(text, "true") == 0) return json_true();
    if (strcasecmp(text, "false") == 0) return json_false();
    if (strcasecmp(text, "none") == 0) return json_null();
    json_t *value = json_loads(text, JSON_DECODE_ANY, NULL);
    return value ? value : json_string(text);
}

static int add_pair(void *to, const char *label, const char *text, struct err *err) {
    struct buf *pairs = to;
    const char *equals = strchr(text, '=');
    if (!equals || equals == text)
        return err_set(err, STATUS_USAGE, "%s: found \"%s\", expected NAME=VALUE", label, text);
    json_t *all = pairs->len ? json_loads(pairs->data, 0, NULL) : json_object();
    char *name = xmemdup(text, (size_t)(equals - text));
    bool set = json_object_set_new(all, name, pair_value(equals + 1)) == 0;
    char *json = set ? json_dumps(all, JSON_COMPACT) : NULL;
    free(name);
    json_decref(all);
    if (!json)
        return err_set(err, STATUS_USAGE, "%s: found \"%s\", expected NAME=VALUE in UTF-8", label, text);
    buf_clear(pairs);
    buf_puts(pairs, json);
    free(json);
    return STATUS_OK;
}

int field_set(const struct field *field, void *base, const char *label, const char *text, struct err *err) {
    void *to = (char *)base + field->offset;
    switch (field->kind) {
    case FIELD_FLAG: return set_flag(to, label, text, err);
    case FIELD_TEXT: *(const char **)to = text; return STATUS_OK;
    case FIELD_FLOAT: return set_float(field, to, label, text, err);
    case FIELD_COUNT:
    case FIELD_LIMIT: return set_count(field, to, label, text, err);
    case FIELD_SEED: return set_seed(to, label, text, err);
    case FIELD_COUNTS: return set_counts(field, to, label, text, err);
    case FIELD_ORDER: return set_order(to, label, text, err);
    case FIELD_PAIRS: return add_pair(to, label, text, err);
    case FIELD_WHEN: return set_when(to, label, text, err);
    case FIELD_DEVICE:
        if (!is_device(text))
            return err_set(err, STATUS_USAGE, "%s: found \"%s\", expected auto, cpu, cuda or cuda:N", label,
                           text);
        *(const char **)to = text;
        return STATUS_OK;
    }
    return STATUS_USAGE;
}

/* As few digits as give the same number back. */
static void print_float(float value, struct buf *out) {
    char text[32];
    for (int digits = 6; digits <= 9; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, (double)value);
        if (strtof(text, NULL) == value) break;
    }
    buf_puts(out, text);
}

void field_print(const struct field *field, const void *base, struct buf *out) {
    const void *from = (const char *)base + field->offset;
    switch (field->kind) {
    case FIELD_FLAG: buf_puts(out, *(const bool *)from ? "on" : "off"); break;
    case FIELD_PAIRS:
        buf_append(out, ((const struct buf *)from)->data, ((const struct buf *)from)->len);
        break;
    case FIELD_DEVICE:
    case FIELD_TEXT: buf_puts(out, *(const char *const *)from ? *(const char *const *)from : ""); break;
    case FIELD_FLOAT: print_float(*(const float *)from, out); break;
    case FIELD_COUNT:
    case FIELD_LIMIT: buf_printf(out, "%u", *(const uint32_t *)from); break;
    case FIELD_SEED: buf_printf(out, "%llu", (unsigned long long)*(const uint64_t *)from); break;
    case FIELD_WHEN: buf_puts(out, when_names[*(const enum when *)from]); break;
    case FIELD_COUNTS:
        for (const uint32_t *item = *(uint32_t *const *)from; item && *item; item++)
            buf_printf(out, item[1] ? "%u," : "%u", *item);
        break;
    case FIELD_ORDER:
        for (const uint8_t *stage = from; *stage != STAGE_NONE; stage++)
            buf_printf(out, stage[1] != STAGE_NONE ? "%s;" : "%s", stage_name(*stage));
        break;
    }
}
