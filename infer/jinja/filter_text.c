/* Filters on text. */
#include "infer/jinja/filters.h"
#include "infer/jinja/unicode.h"

#include "base/utf8.h"

/* ---- letters ---- */

struct jstr *jstr_map(struct jrun *run, struct jstr *s,
                      int (*map)(uint32_t c, uint32_t previous, uint32_t out[3])) {
    size_t room = s->len, n = 0;
    int length, took;
    uint32_t previous = 0, out[3];
    char encoded[4];
    jstep(run, s->len / 8);
    for (int pass = 0; pass < 2; pass++) { /* measure, then write */
        static char nothing[1];
        char *bytes = pass ? jalloc(run, room) : nothing;
        uint8_t *shadow = pass && s->shadow ? jalloc(run, room) : NULL;
        n = 0;
        previous = 0;
        for (size_t i = 0; i < s->len; i += (size_t)length) {
            uint32_t c = jchar_at(s->bytes, s->len, i, &length);
            int count = map(c, previous, out);
            previous = c;
            for (int k = 0; k < count; k++) {
                took = utf8_encode(out[k], encoded);
                if (!took) { /* a byte that is no character stays itself */
                    took = 1;
                    encoded[0] = s->bytes[i];
                }
                if (pass) memcpy(bytes + n, encoded, (size_t)took);
                if (shadow) memset(shadow + n, s->shadow[i], (size_t)took);
                n += (size_t)took;
            }
        }
        room = n;
        if (!pass && n > JINJA_MAX_STRING) jfail_limit(run, "bytes in a string", JINJA_MAX_STRING);
        if (!pass) continue;
        struct jstr *mapped = jstr_ref(run, bytes, n, s->person);
        mapped->shadow = shadow;
        mapped->markup = s->markup;
        return mapped;
    }
    return s;
}

static int map_upper(uint32_t c, uint32_t previous, uint32_t out[3]) {
    return (void)previous, uchar_upper(c, out);
}
static int map_capitalize(uint32_t c, uint32_t previous, uint32_t out[3]) {
    return previous ? uchar_lower(c, out) : uchar_title(c, out);
}
static int map_lower(uint32_t c, uint32_t previous, uint32_t out[3]) {
    (void)previous;
    return uchar_lower(c, out);
}
static int map_title(uint32_t c, uint32_t previous,
                     uint32_t out[3]) { /* jinja2's words: behind - ( { [ < or space */
    bool begins =
        !previous || uchar_is_space(previous) || (previous < 0x80 && strchr("-({[<", (int)previous));
    return begins ? uchar_upper(c, out) : uchar_lower(c, out);
}

/* A capital sigma at the end of a word becomes the final one. */
static struct jstr *fix_final_sigma(struct jrun *run, const struct jstr *before, struct jstr *lowered) {
    if (!memmem(before->bytes, before->len, "\xCE\xA3", 2)) return lowered;
    char *bytes = jalloc(run, lowered->len);
    memcpy(bytes, lowered->bytes, lowered->len);
    int length;
    uint32_t previous = 0;
    size_t to = 0;
    for (size_t i = 0; i < before->len; i += (size_t)length) {
        uint32_t out[3], c = jchar_at(before->bytes, before->len, i, &length);
        char encoded[4];
        size_t size = 0;
        for (int k = 0, n = uchar_lower(c, out); k < n; k++) {
            int took = utf8_encode(out[k], encoded);
            size += took ? (size_t)took : 1;
        }
        if (c == 0x3A3 && uchar_is_cased(previous)) {
            int ignored;
            size_t next = i + (size_t)length;
            bool cased_after =
                next < before->len && uchar_is_cased(jchar_at(before->bytes, before->len, next, &ignored));
            if (!cased_after && size == 2) memcpy(bytes + to, "\xCF\x82", 2);
        }
        to += size;
        previous = c;
    }
    lowered->bytes = bytes;
    return lowered;
}

struct jstr *jstr_lower(struct jrun *run, struct jstr *s) {
    return fix_final_sigma(run, s, jstr_map(run, s, map_lower));
}
struct jstr *jstr_upper(struct jrun *run, struct jstr *s) {
    return jstr_map(run, s, map_upper);
}
struct jstr *jstr_capitalize(struct jrun *run, struct jstr *s) {
    struct jstr *mapped = jstr_map(run, s, map_capitalize);
    return mapped;
}

JFILTER(upper) {
    return (void)at, jstring(jstr_upper(run, jstr_of(run, value)));
}
JFILTER(lower) {
    return (void)at, jstring(jstr_lower(run, jstr_of(run, value)));
}
JFILTER(capitalize) {
    return (void)at, jstring(jstr_capitalize(run, jstr_of(run, value)));
}
JFILTER(title) {
    return (void)at, jstring(jstr_map(run, jstr_of(run, value), map_title));
}

/* ---- space ---- */

JFILTER(trim) {
    const struct jstr *chars = jgiven(at[0]) ? jneed_str(run, at[0], "filter 'trim'") : NULL;
    return jstring(jstr_strip(run, jstr_of(run, value), chars, true, true));
}

JFILTER(center) {
    struct jstr *s = jstr_of(run, value);
    int64_t width = at[0].type == JTYPE_MISSING ? 80 : jneed_int(run, at[0], "filter 'center'"),
            n = (int64_t)jstr_n_chars(run, s);
    if (width <= n) return jstring(s);
    int64_t space = width - n, left = space / 2 + (space & width & 1); /* as CPython does */
    struct jout out = {0};
    jout_fill(run, &out, ' ', (size_t)left, false);
    jout_str(run, &out, s);
    jout_fill(run, &out, ' ', (size_t)(space - left), false);
    return jstring(jout_finish(run, &out));
}

JFILTER(indent) {
    struct jstr *s, *by, *newline = jstr_ref(run, "\n", 1, false);
    bool first = jflag(run, at[1]), blank = jflag(run, at[2]);
    if (value.type == JTYPE_UNDEFINED) jundefined_fail(run, value);
    s = jneed_str(run, value, "filter 'indent'");
    if (at[0].type == JTYPE_STRING) {
        by = at[0].str;
    } else {
        int64_t width = at[0].type == JTYPE_MISSING ? 4 : jneed_int(run, at[0], "filter 'indent'");
        struct jout spaces = {0};
        jout_fill(run, &spaces, ' ', width > 0 ? (size_t)width : 0, false);
        by = jout_finish(run, &spaces);
    }
    /* a newline is put behind first, so that the text's own last one counts as an empty line */
    struct jlist *lines = jstr_lines(run, jstr_concat(run, s, newline), false);
    struct jout out = {0};
    if (first) jout_str(run, &out, by);
    for (size_t i = 0; i < lines->n; i++) {
        if (i) jout_str(run, &out, newline);
        if (i && (blank || lines->items[i].str->len)) jout_str(run, &out, by);
        jout_str(run, &out, lines->items[i].str);
    }
    struct jstr *result = jout_finish(run, &out);
    result->markup = s->markup;
    return jstring(result);
}

/* ---- parts ---- */

JFILTER(replace) {
    int64_t count = jgiven(at[2]) ? jneed_int(run, at[2], "filter 'replace'") : -1;
    struct jstr *s = jstr_of(run, value), *plain = jstr_slice(run, s, 0, s->len);
    plain->markup = false;
    return jstring(jstr_replace(run, plain, jstr_of(run, at[0]), jstr_of(run, at[1]), count));
}

JFILTER(truncate) {
    struct jstr *s = jneed_str(run, value, "filter 'truncate'");
    struct jstr *end =
        at[2].type == JTYPE_MISSING ? jtext(run, "...").str : jneed_str(run, at[2], "filter 'truncate'");
    int64_t length = at[0].type == JTYPE_MISSING ? 255 : jneed_int(run, at[0], "filter 'truncate'");
    int64_t leeway = jgiven(at[3]) ? jneed_int(run, at[3], "filter 'truncate'") : 5,
            n_end = (int64_t)jstr_n_chars(run, end);
    if (length < n_end)
        jfail(run, "filter 'truncate': expected length >= %d, got %d", (int)n_end, (int)length);
    if (leeway < 0) jfail(run, "filter 'truncate': expected leeway >= 0");
    if ((int64_t)jstr_n_chars(run, s) - length <= leeway) return value;
    struct jstr *cut = jstr_slice(run, s, 0, jstr_offset(run, s, (size_t)(length - n_end)));
    if (!jflag(run, at[1])) {
        struct jstr space = {.bytes = " ", .len = 1, .n_chars = 1};
        size_t at_space = jstr_rfind(run, cut, &space, cut->len);
        if (at_space != SIZE_MAX) cut = jstr_slice(run, cut, 0, at_space);
    }
    return jstring(jstr_concat(run, cut, end));
}

JFILTER(wordcount) {
    (void)at;
    struct jstr *s = jstr_of(run, value);
    int64_t n = 0;
    int length;
    bool inside = false;
    jstep(run, s->len / 8);
    for (size_t i = 0; i < s->len; i += (size_t)length) {
        bool word = uchar_is_word(jchar_at(s->bytes, s->len, i, &length));
        n += word && !inside;
        inside = word;
    }
    return jint(n);
}

JFILTER(string) {
    return (void)at, jstring(jstr_of(run, value));
}

/* ---- markup ---- */

JFILTER(safe) {
    (void)at;
    struct jstr *s = jstr_of(run, value), *marked = jstr_slice(run, s, 0, s->len);
    marked->n_chars = s->n_chars;
    marked->markup = true;
    return jstring(marked);
}

JFILTER(escape) {
    return (void)at, jstring(jstr_escape(run, jstr_of(run, value)));
}

JFILTER(forceescape) {
    (void)at;
    struct jstr *s = jstr_of(run, value), *plain = jstr_slice(run, s, 0, s->len);
    plain->markup = false;
    return jstring(jstr_escape(run, plain));
}

static size_t unescape_entity(const struct jstr *s, size_t at, const char **as) {
    static const struct {
        const char *name, *text;
    } entities[] = {{"&amp;", "&"},   {"&lt;", "<"},  {"&gt;", ">"},         {"&#34;", "\""},
                    {"&quot;", "\""}, {"&#39;", "'"}, {"&nbsp;", "\xC2\xA0"}};
    for (size_t i = 0; i < sizeof entities / sizeof *entities; i++) {
        size_t n = strlen(entities[i].name);
        if (s->len - at < n || memcmp(s->bytes + at, entities[i].name, n) != 0) continue;
        *as = entities[i].text;
        return n;
    }
    return 0;
}

JFILTER(striptags) { /* comments and tags go, white space becomes single spaces, entities become characters */
    (void)at;
    struct jstr *s = jstr_of(run, value);
    struct jout out = {0}, plain = {0};
    jstep(run, s->len / 4);
    for (size_t i = 0; i < s->len;) {
        bool comment = s->len - i >= 4 && memcmp(s->bytes + i, "<!--", 4) == 0;
        const char *end = NULL;
        if (comment)
            end = memmem(s->bytes + i, s->len - i, "-->", 3);
        else if (s->bytes[i] == '<')
            end = memchr(s->bytes + i, '>', s->len - i);
        if (end) {
            i = (size_t)(end - s->bytes) + (comment ? 3 : 1);
            continue;
        }
        if (s->bytes[i] == '<') { /* no tag begins any more */
            jout_str(run, &out, jstr_slice(run, s, i, s->len));
            break;
        }
        const char *next = memchr(s->bytes + i, '<', s->len - i);
        size_t to = next ? (size_t)(next - s->bytes) : s->len;
        jout_str(run, &out, jstr_slice(run, s, i, to));
        i = to;
    }
    struct jlist *words = jstr_split_space(run, jout_finish(run, &out), -1, false);
    for (size_t w = 0; w < words->n; w++) {
        struct jstr *word = words->items[w].str;
        if (w) jout_text(run, &plain, " ", false);
        for (size_t i = 0; i < word->len;) {
            const char *as;
            size_t n = word->bytes[i] == '&' ? unescape_entity(word, i, &as) : 0;
            if (n)
                jout_text(run, &plain, as, jstr_person(word, i));
            else
                jout_str(run, &plain, jstr_slice(run, word, i, i + 1));
            i += n ? n : 1;
        }
    }
    return jstring(jout_finish(run, &plain));
}

static void url_quote(struct jrun *run, struct jout *out, struct jvalue value, bool query) {
    struct jstr *s = jstr_of(run, value);
    jstep(run, s->len / 4);
    for (size_t i = 0; i < s->len; i++) {
        unsigned char c = (unsigned char)s->bytes[i];
        bool plain = (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z') ||
                     (c && strchr("_.-~", c)) || (!query && c == '/');
        if (plain) {
            jout_str(run, out, jstr_slice(run, s, i, i + 1));
        } else if (query && c == ' ') {
            jout_text(run, out, "+", jstr_person(s, i));
        } else {
            static const char hex[] = "0123456789ABCDEF";
            jout_copy(run, out, (char[]){'%', hex[c >> 4], hex[c & 15]}, 3, jstr_person(s, i));
        }
    }
}

JFILTER(urlencode) {
    (void)at;
    struct jout out = {0};
    if (value.type == JTYPE_STRING || !jis_iterable(value)) {
        url_quote(run, &out, value, false);
        return jstring(jout_finish(run, &out));
    }
    struct jlist *pairs = value.type == JTYPE_DICT ? jdict_view(run, value.dict, "dict_items").view->list
                                                   : jlist_of(run, value);
    for (size_t i = 0; i < pairs->n; i++) {
        struct jlist *pair = jlist_of(run, pairs->items[i]);
        if (pair->n != 2)
            jfail(run, "filter 'urlencode': a pair of key and value is needed, got %zu items", pair->n);
        if (i) jout_text(run, &out, "&", false);
        url_quote(run, &out, pair->items[0], true);
        jout_text(run, &out, "=", false);
        url_quote(run, &out, pair->items[1], true);
    }
    return jstring(jout_finish(run, &out));
}

JFILTER(xmlattr) {
    if (value.type == JTYPE_UNDEFINED) jundefined_fail(run, value);
    if (value.type != JTYPE_DICT) jfail(run, "filter 'xmlattr' needs a dict, not '%s'", jtype_name(value));
    struct jout out = {0};
    bool space = at[0].type == JTYPE_MISSING || jtruth(run, at[0]);
    for (size_t i = 0; i < value.dict->n; i++) {
        struct jpair *pair = &value.dict->pairs[i];
        if (pair->value.type == JTYPE_NONE || pair->value.type == JTYPE_UNDEFINED) continue;
        struct jstr *key = jneed_str(run, pair->key, "filter 'xmlattr'");
        for (size_t k = 0; k < key->len; k++)
            if (key->bytes[k] && strchr(" \t\n\r\f\v/>=", key->bytes[k]))
                jfail(run, "Invalid character in attribute name");
        if (space || out.len) jout_text(run, &out, " ", false);
        jout_str(run, &out, jstr_escape(run, key));
        jout_text(run, &out, "=\"", false);
        jout_str(run, &out, jstr_escape(run, jstr_of(run, pair->value)));
        jout_text(run, &out, "\"", false);
    }
    return jstring(jout_finish(run, &out));
}

JFILTER_ANY(format) {
    struct jstr *format = jstr_of(run, value);
    if (args->n && args->n_named)
        jfail(run, "can't handle positional and keyword arguments at the same time");
    if (args->n_named) {
        struct jdict *dict = jdict_new(run, args->n_named);
        for (size_t i = 0; i < args->n_named; i++)
            jdict_set(run, dict, args->named[i].key, args->named[i].value);
        return jstring(jformat_percent(run, format, jdict_value(dict)));
    }
    struct jlist *list = jlist_new(run, args->n);
    for (size_t i = 0; i < args->n; i++) jlist_add(run, list, args->at[i]);
    return jstring(jformat_percent(run, format, jtuple_value(list)));
}
