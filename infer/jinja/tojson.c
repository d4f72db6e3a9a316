/* |tojson as Hugging Face has it: json.dumps(value, ensure_ascii=False, indent=None, separators=None,
 * sort_keys=False). */
#include "infer/jinja/eval.h"
#include "infer/jinja/filters.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

struct writer {
    struct jrun *run;
    struct jout *out;
    struct jstr *indent, *between, *colon; /* indent: NULL for one line */
    bool ascii, sorted;
    uint32_t level;
};

static void write_string(struct writer *w, const struct jstr *s) {
    struct jrun *run = w->run;
    size_t from = 0;
    int length;
    bool person = jstr_any_person(s);
    jstep(run, s->len / 16);
    jout_text(run, w->out, "\"", person);
    for (size_t i = 0; i < s->len; i += (size_t)length) {
        uint32_t c = jchar_at(s->bytes, s->len, i, &length);
        if (c >= ' ' && c != '"' && c != '\\' && (!w->ascii || c < 0x7F)) continue;
        jout_str(run, w->out, jstr_slice(run, s, from, i));
        from = i + (size_t)length;
        static const char special[] = "\"\\\b\f\n\r\t", names[] = "\"\\bfnrt";
        const char *named = c && c < 0x80 ? strchr(special, (int)c) : NULL;
        char as[16];
        int n;
        if (named)
            n = snprintf(as, sizeof as, "\\%c", names[named - special]);
        else if (c < 0x10000)
            n = snprintf(as, sizeof as, "\\u%04x", c);
        else
            n = snprintf(as, sizeof as, "\\u%04x\\u%04x", 0xD7C0 + (c >> 10), 0xDC00 + (c & 0x3FF));
        jout_copy(run, w->out, as, (size_t)n, jstr_person(s, i));
    }
    jout_str(run, w->out, jstr_slice(run, s, from, s->len));
    jout_text(run, w->out, "\"", person);
}

static void write_float(struct writer *w, struct jvalue v) {
    char text[40];
    int n = jformat_float(v.real, text);
    if (isnan(v.real)) n = snprintf(text, sizeof text, "NaN");
    if (isinf(v.real)) n = snprintf(text, sizeof text, v.real < 0 ? "-Infinity" : "Infinity");
    jout_copy(w->run, w->out, text, (size_t)n, v.person);
}

static void new_line(struct writer *w, bool person) {
    if (!w->indent) return;
    jout_text(w->run, w->out, "\n", person);
    for (uint32_t i = 0; i < w->level; i++)
        jout_bytes(w->run, w->out, w->indent->bytes, w->indent->len, person);
}

static void write_value(struct writer *w, struct jvalue v);

static void write_list(struct writer *w, const struct jlist *list) {
    jout_text(w->run, w->out, "[", list->person);
    w->level++;
    for (size_t i = 0; i < list->n; i++) {
        if (i) jout_bytes(w->run, w->out, w->between->bytes, w->between->len, list->person);
        new_line(w, list->person);
        write_value(w, list->items[i]);
    }
    w->level--;
    if (list->n) new_line(w, list->person);
    jout_text(w->run, w->out, "]", list->person);
}

static void write_key(struct writer *w, struct jvalue key) {
    switch (key.type) {
    case JTYPE_STRING: write_string(w, key.str); return;
    case JTYPE_NONE:
    case JTYPE_BOOL:
    case JTYPE_INT:
    case JTYPE_FLOAT:
        jout_text(w->run, w->out, "\"", key.person);
        write_value(w, key);
        jout_text(w->run, w->out, "\"", key.person);
        return;
    default: jfail(w->run, "keys must be str, int, float, bool or None, not %s", jtype_name(key));
    }
}

static void write_dict(struct writer *w, struct jdict *dict) {
    struct jlist *pairs = jdict_view(w->run, dict, "dict_items").view->list;
    if (w->sorted)
        pairs = jlist_sorted(w->run, jdict_view(w->run, dict, "dict_keys").view->list, pairs, false);
    jout_text(w->run, w->out, "{", dict->person);
    w->level++;
    for (size_t i = 0; i < pairs->n; i++) {
        if (i) jout_bytes(w->run, w->out, w->between->bytes, w->between->len, dict->person);
        new_line(w, dict->person);
        write_key(w, pairs->items[i].list->items[0]);
        jout_bytes(w->run, w->out, w->colon->bytes, w->colon->len, dict->person);
        write_value(w, pairs->items[i].list->items[1]);
    }
    w->level--;
    if (pairs->n) new_line(w, dict->person);
    jout_text(w->run, w->out, "}", dict->person);
}

static void write_value(struct writer *w, struct jvalue v) {
    char text[32];
    jstep(w->run, 1);
    jenter(w->run);
    switch (v.type) {
    case JTYPE_NONE: jout_text(w->run, w->out, "null", v.person); break;
    case JTYPE_BOOL: jout_text(w->run, w->out, v.boolean ? "true" : "false", v.person); break;
    case JTYPE_INT:
        jout_copy(w->run, w->out, text, (size_t)snprintf(text, sizeof text, "%" PRId64, v.integer), v.person);
        break;
    case JTYPE_FLOAT: write_float(w, v); break;
    case JTYPE_STRING: write_string(w, v.str); break;
    case JTYPE_LIST:
    case JTYPE_TUPLE: write_list(w, v.list); break;
    case JTYPE_DICT: write_dict(w, v.dict); break;
    default: jfail(w->run, "Object of type %s is not JSON serializable", jtype_name(v));
    }
    jleave(w->run);
}

void jtojson(struct jrun *run, struct jout *out, struct jvalue value, const struct jargs *args) {
    struct jvalue at[4];
    jbind(run, "filter 'tojson'", "ensure_ascii,indent,separators,sort_keys", 0, args, at);
    struct writer w = {.run = run, .out = out, .ascii = jflag(run, at[0]), .sorted = jflag(run, at[3])};
    if (at[1].type == JTYPE_STRING) {
        w.indent = at[1].str;
    } else if (jgiven(at[1])) {
        int64_t n = jneed_int(run, at[1], "filter 'tojson'");
        struct jout spaces = {0};
        jout_fill(run, &spaces, ' ', n > 0 ? (size_t)n : 0, false);
        w.indent = jout_finish(run, &spaces);
    }
    w.between = jtext(run, w.indent ? "," : ", ").str;
    w.colon = jtext(run, ": ").str;
    if (jgiven(at[2])) {
        struct jlist *pair = jlist_of(run, at[2]);
        if (pair->n != 2) jfail(run, "filter 'tojson': separators need two strings, got %zu", pair->n);
        w.between = jneed_str(run, pair->items[0], "filter 'tojson'");
        w.colon = jneed_str(run, pair->items[1], "filter 'tojson'");
    }
    write_value(&w, value);
}
