#include "infer/jinja/json.h"

#include "base/buf.h"
#include "base/utf8.h"

#include <jansson.h>
#include <string.h>

enum { JSON_MAX_BYTES = 8 << 20 }; /* the library's own tree is many times as large */

static struct jvalue convert(struct jrun *run, const json_t *json, bool person, uint32_t depth);

static struct jvalue string_new(struct jrun *run, const char *text, size_t len, bool person) {
    struct jstr *s = jstr_copy(run, text, len, person);
    jstr_n_chars(run, s); /* now, so that no render writes to it */
    return jstring(s);
}

static struct jvalue convert_object(struct jrun *run, const json_t *json, bool person, uint32_t depth) {
    struct jdict *dict = jdict_new(run, json_object_size(json));
    dict->person = person;
    json_t *object = (json_t *)json; /* walking changes nothing */
    for (void *at = json_object_iter(object); at; at = json_object_iter_next(object, at)) {
        const char *name = json_object_iter_key(at); /* holds no NUL: jansson refuses such keys when it reads */
        struct jvalue key = string_new(run, name, strlen(name), person);
        jdict_set(run, dict, key, convert(run, json_object_iter_value(at), person, depth + 1));
    }
    return jdict_value(dict);
}

static struct jvalue convert(struct jrun *run, const json_t *json, bool person, uint32_t depth) {
    if (depth > JINJA_MAX_DATA_DEPTH)
        jfail_limit(run, "levels of data inside each other", JINJA_MAX_DATA_DEPTH);
    struct jvalue value = JNONE;
    switch (json_typeof(json)) {
    case JSON_OBJECT: return convert_object(run, json, person, depth);
    case JSON_ARRAY: {
        size_t n = json_array_size(json);
        struct jlist *list = jlist_new(run, n);
        list->person = person;
        list->vector->shared = true;
        for (size_t i = 0; i < n; i++)
            jlist_add(run, list, convert(run, json_array_get(json, i), person, depth + 1));
        return jlist_value(list);
    }
    case JSON_STRING: return string_new(run, json_string_value(json), json_string_length(json), person);
    case JSON_INTEGER: value = jint(json_integer_value(json)); break;
    case JSON_REAL: value = jfloat(json_real_value(json)); break;
    case JSON_TRUE: value = jbool(true); break;
    case JSON_FALSE: value = jbool(false); break;
    default: break;
    }
    value.person = person;
    return value;
}

struct jvalue jjson_read(struct jrun *run, const char *text, size_t len, bool person) {
    json_error_t error;
    if (len > JSON_MAX_BYTES) jfail_limit(run, "bytes of JSON", JSON_MAX_BYTES);
    json_t *json = json_loadb(text, len, JSON_DECODE_ANY | JSON_ALLOW_NUL, &error);
    if (!json) jfail(run, "JSON, line %d, column %d: %.200s", error.line, error.column, error.text);
    jmp_buf outer;
    memcpy(outer, run->failed, sizeof outer);
    if (setjmp(run->failed)) { /* the library's tree is not in the arena */
        json_decref(json);
        memcpy(run->failed, outer, sizeof outer);
        longjmp(run->failed, 1);
    }
    struct jvalue value = convert(run, json, person, 0);
    memcpy(run->failed, outer, sizeof outer);
    json_decref(json);
    return value;
}

static void trust(struct jvalue *value) {
    if (value->type == JTYPE_STRING) value->str->person = false;
}

struct jdict *jjson_read_context(struct jrun *run, const char *text, size_t len) {
    static const char *const roles[] = {"system", "user", "assistant", "tool", "developer", NULL};
    struct jvalue root = jjson_read(run, text, len, true), messages;
    if (root.type != JTYPE_DICT) jfail(run, "the context must be a JSON object, found %s", jtype_name(root));
    struct jdict *dict = root.dict;
    for (size_t i = 0; i < dict->n; i++) {
        const struct jstr *key = dict->pairs[i].key.str;
        if (key->len > 6 && memcmp(key->bytes + key->len - 6, "_token", 6) == 0) trust(&dict->pairs[i].value);
    }
    if (!jdict_get_text(run, dict, "messages", &messages) || messages.type != JTYPE_LIST) return dict;
    for (size_t i = 0; i < messages.list->n; i++) {
        struct jvalue role;
        if (messages.list->items[i].type != JTYPE_DICT ||
            !jdict_get_text(run, messages.list->items[i].dict, "role", &role))
            continue;
        for (size_t k = 0; roles[k]; k++)
            if (role.type == JTYPE_STRING && jstr_is(role.str, roles[k])) trust(&role);
    }
    return dict;
}

void jjson_quote(struct buf *out, const char *text, size_t len) {
    buf_putc(out, '"');
    for (size_t i = 0; i < len;) {
        uint32_t c;
        int n = utf8_decode(text + i, len - i, &c);
        if (n < 1) {
            buf_puts(out, "\xEF\xBF\xBD");
            i += (size_t)utf8_bad_length(text + i, len - i);
            continue;
        }
        if (c == '"' || c == '\\')
            buf_printf(out, "\\%c", (char)c);
        else if (c == '\n')
            buf_puts(out, "\\n");
        else if (c < ' ' || c == 0x7F)
            buf_printf(out, "\\u%04x", c);
        else
            buf_append(out, text + i, (size_t)n);
        i += (size_t)n;
    }
    buf_putc(out, '"');
}
