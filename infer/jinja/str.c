#include "infer/jinja/unicode.h"
#include "infer/jinja/value.h"

#include "base/utf8.h"

static struct jstr *str_new(struct jrun *run, const char *bytes, const uint8_t *shadow, size_t len,
                            bool person) {
    struct jstr *s = jalloc(run, sizeof *s);
    *s = (struct jstr){.bytes = bytes, .shadow = shadow, .len = len, .n_chars = -1, .person = person};
    return s;
}

struct jstr *jstr_ref(struct jrun *run, const char *bytes, size_t len, bool person) {
    return str_new(run, bytes, NULL, len, person);
}

struct jstr *jstr_copy(struct jrun *run, const char *bytes, size_t len, bool person) {
    char *copy = jalloc(run, len + 1);
    if (len) memcpy(copy, bytes, len);
    return str_new(run, copy, NULL, len, person);
}

struct jvalue jtext(struct jrun *run, const char *text) {
    return jstring(jstr_ref(run, text, strlen(text), false));
}

struct jstr *jstr_slice(struct jrun *run, const struct jstr *s, size_t from, size_t to) {
    struct jstr *part =
        str_new(run, s->bytes + from, s->shadow ? s->shadow + from : NULL, to - from, s->person);
    part->markup = s->markup;
    return part;
}

/* Room for `total` bytes behind those of `a`, and `a` in front of it. */
static struct jgrow *grow_for(struct jrun *run, const struct jstr *a, size_t total, bool mixed) {
    struct jgrow *grow = a->grow;
    bool at_end = grow && a->bytes + a->len == grow->bytes + grow->len && a->bytes == grow->bytes;
    if (!at_end || grow->cap < total) {
        size_t cap = at_end ? total * 2 : total; /* whoever extends once is likely to go on */
        if (cap > JINJA_MAX_STRING) cap = JINJA_MAX_STRING;
        grow = jalloc(run, sizeof *grow);
        *grow = (struct jgrow){.bytes = jalloc(run, cap), .len = a->len, .cap = cap};
        if (a->len) memcpy(grow->bytes, a->bytes, a->len);
    }
    if (mixed && !grow->shadow) grow->shadow = jalloc(run, grow->cap);
    if (grow->shadow && a->len && a->shadow != grow->shadow) {
        if (a->shadow)
            memcpy(grow->shadow, a->shadow, a->len);
        else
            memset(grow->shadow, a->person, a->len);
    }
    return grow;
}

struct jstr *jstr_concat(struct jrun *run, struct jstr *a, struct jstr *b) {
    if (!a->len) return b;
    if (!b->len) return a;
    if (b->len > JINJA_MAX_STRING || a->len > JINJA_MAX_STRING - b->len) /* either may come from outside */
        jfail_limit(run, "bytes in a string", JINJA_MAX_STRING);
    bool mixed = a->shadow || b->shadow || a->person != b->person;
    size_t total = a->len + b->len;
    struct jgrow *grow = grow_for(run, a, total, mixed);
    jstep(run, b->len / 64);
    memcpy(grow->bytes + a->len, b->bytes, b->len);
    if (grow->shadow) {
        if (b->shadow)
            memcpy(grow->shadow + a->len, b->shadow, b->len);
        else
            memset(grow->shadow + a->len, b->person, b->len);
    }
    grow->len = total;
    struct jstr *s = str_new(run, grow->bytes, mixed ? grow->shadow : NULL, total, a->person);
    s->grow = grow;
    if (a->n_chars >= 0 && b->n_chars >= 0) s->n_chars = a->n_chars + b->n_chars;
    return s;
}

uint32_t jchar_at(const char *bytes, size_t len, size_t at, int *length) {
    uint32_t c = (unsigned char)bytes[at];
    *length = 1;
    if (c < 0x80) return c;
    int n = utf8_decode(bytes + at, len - at, &c);
    if (n < 1) return 0xDC00u + (unsigned char)bytes[at];
    *length = n;
    return c;
}

size_t jchar_before(const char *bytes, size_t at) {
    for (size_t n = 1; n <= 4 && n <= at; n++) {
        int length;
        jchar_at(bytes + at - n, n, 0, &length);
        if ((size_t)length == n) {
            if (n > 1 || (unsigned char)bytes[at - 1] < 0x80) return at - n;
        }
    }
    return at - 1;
}

size_t jstr_n_chars(struct jrun *run, struct jstr *s) {
    if (s->n_chars >= 0) return (size_t)s->n_chars;
    jstep(run, s->len / 32);
    size_t n = 0;
    int length;
    for (size_t i = 0; i < s->len; i += (size_t)length, n++) jchar_at(s->bytes, s->len, i, &length);
    s->n_chars = (int64_t)n;
    return n;
}

size_t jstr_offset(struct jrun *run, struct jstr *s, size_t n_chars) {
    size_t all = jstr_n_chars(run, s);
    if (n_chars >= all) return s->len;
    if (all == s->len) return n_chars;
    jstep(run, n_chars / 32);
    size_t at = 0;
    int length;
    for (; n_chars; n_chars--, at += (size_t)length) jchar_at(s->bytes, s->len, at, &length);
    return at;
}

bool jstr_equal(const struct jstr *a, const struct jstr *b) {
    return a->len == b->len && (a->bytes == b->bytes || !a->len || memcmp(a->bytes, b->bytes, a->len) == 0);
}

bool jstr_is(const struct jstr *s, const char *text) {
    return s->len == strlen(text) && memcmp(s->bytes, text, s->len) == 0;
}

int jstr_compare(struct jrun *run, const struct jstr *a, const struct jstr *b) {
    size_t n = a->len < b->len ? a->len : b->len;
    jstep(run, n / 64);
    int order = n ? memcmp(a->bytes, b->bytes, n) : 0; /* the order of UTF-8 is that of code points */
    return order ? (order > 0) - (order < 0) : (a->len > b->len) - (a->len < b->len);
}

bool jstr_any_person(const struct jstr *s) {
    return s->len && (s->shadow ? memchr(s->shadow, 1, s->len) != NULL : s->person);
}

size_t jstr_find(struct jrun *run, const struct jstr *s, const struct jstr *part, size_t from) {
    if (from > s->len) return SIZE_MAX;
    if (!part->len) return from;
    const char *at = memmem(s->bytes + from, s->len - from, part->bytes, part->len);
    jstep(run, ((at ? (size_t)(at - s->bytes) : s->len) - from) / 32 + part->len / 32);
    return at ? (size_t)(at - s->bytes) : SIZE_MAX;
}

size_t jstr_rfind(struct jrun *run, const struct jstr *s, const struct jstr *part, size_t before) {
    if (before > s->len) before = s->len;
    if (part->len > before) return SIZE_MAX;
    for (size_t at = before - part->len;; at--) {
        if (!part->len) return at;
        if (s->bytes[at] == part->bytes[0]) {
            jstep(run, part->len / 64 + 1);
            if (memcmp(s->bytes + at, part->bytes, part->len) == 0) return at;
        }
        if (!at) break;
    }
    jstep(run, before / 32);
    return SIZE_MAX;
}

static bool char_in(struct jrun *run, const struct jstr *set, const char *bytes, size_t len, uint32_t c) {
    if (!set) return uchar_is_space(c);
    jstep(run, set->len / 16);
    int length;
    for (size_t i = 0; i < set->len; i += (size_t)length) {
        jchar_at(set->bytes, set->len, i, &length);
        if ((size_t)length == len && memcmp(set->bytes + i, bytes, len) == 0) return true;
    }
    return false;
}

struct jstr *jstr_strip(struct jrun *run, struct jstr *s, const struct jstr *chars, bool left, bool right) {
    size_t from = 0, to = s->len;
    int length;
    while (left && from < to) {
        uint32_t c = jchar_at(s->bytes, to, from, &length);
        if (!char_in(run, chars, s->bytes + from, (size_t)length, c)) break;
        from += (size_t)length;
    }
    while (right && to > from) {
        size_t at = jchar_before(s->bytes, to);
        if (at < from) break;
        uint32_t c = jchar_at(s->bytes, to, at, &length);
        if (!char_in(run, chars, s->bytes + at, to - at, c)) break;
        to = at;
    }
    jstep(run, (s->len - (to - from)) / 16);
    return jstr_slice(run, s, from, to);
}

struct jstr *jstr_replace(struct jrun *run, struct jstr *s, struct jstr *from, struct jstr *to,
                          int64_t count) {
    struct jout out = {0};
    size_t at = 0;
    if (count < 0) count = INT64_MAX;
    while (count-- > 0) {
        size_t found = jstr_find(run, s, from, at);
        if (found == SIZE_MAX) break;
        size_t next = found + from->len;
        jstep(run, 1);
        if (from->len) {
            jout_str(run, &out, jstr_slice(run, s, at, found));
            jout_str(run, &out, to);
        } else { /* an empty text is found before every character and at the end */
            jout_str(run, &out, to);
            if (at == s->len) break;
            int length;
            jchar_at(s->bytes, s->len, at, &length);
            next = at + (size_t)length;
            jout_str(run, &out, jstr_slice(run, s, at, next));
        }
        at = next;
    }
    if (at < s->len) jout_str(run, &out, jstr_slice(run, s, at, s->len));
    struct jstr *result = jout_finish(run, &out);
    result->markup = s->markup;
    return result;
}

struct jstr *jstr_escape(struct jrun *run, struct jstr *s) {
    if (s->markup) return s;
    struct jout out = {0};
    size_t from = 0;
    jstep(run, s->len / 16);
    for (size_t i = 0; i < s->len; i++) {
        const char *as = NULL;
        switch (s->bytes[i]) {
        case '&': as = "&amp;"; break;
        case '<': as = "&lt;"; break;
        case '>': as = "&gt;"; break;
        case '"': as = "&#34;"; break;
        case '\'': as = "&#39;"; break;
        default: continue;
        }
        jout_str(run, &out, jstr_slice(run, s, from, i));
        jout_text(run, &out, as, jstr_person(s, i));
        from = i + 1;
    }
    jout_str(run, &out, jstr_slice(run, s, from, s->len));
    struct jstr *result = jout_finish(run, &out);
    result->markup = true;
    return result;
}

struct jlist *jstr_lines(struct jrun *run, struct jstr *s, bool keep_ends) {
    struct jlist *lines = jlist_new(run, 0);
    size_t from = 0;
    jstep(run, s->len / 16);
    for (size_t i = 0; i < s->len;) {
        int length;
        uint32_t c = jchar_at(s->bytes, s->len, i, &length);
        size_t end = i;
        i += (size_t)length;
        if (!uchar_is_line_end(c)) continue;
        if (c == '\r' && i < s->len && s->bytes[i] == '\n') i++;
        jlist_add(run, lines, jstring(jstr_slice(run, s, from, keep_ends ? i : end)));
        from = i;
    }
    if (from < s->len) jlist_add(run, lines, jstring(jstr_slice(run, s, from, s->len)));
    return lines;
}

static void list_reverse(struct jlist *list) {
    for (size_t i = 0; i < list->n / 2; i++) {
        struct jvalue one = list->items[i];
        list->items[i] = list->items[list->n - 1 - i];
        list->items[list->n - 1 - i] = one;
    }
}

struct jlist *jstr_split_space(struct jrun *run, struct jstr *s, int64_t max, bool from_right) {
    struct jlist *parts = jlist_new(run, 0);
    if (max < 0) max = INT64_MAX;
    struct jstr *rest = jstr_strip(run, s, NULL, !from_right, from_right);
    jstep(run, s->len / 8);
    while (rest->len) {
        if (max-- <= 0) {
            jlist_add(run, parts, jstring(rest));
            break;
        }
        int length;
        size_t at;
        if (from_right) {
            at = rest->len;
            while (at > 0) {
                size_t before = jchar_before(rest->bytes, at);
                if (uchar_is_space(jchar_at(rest->bytes, at, before, &length))) break;
                at = before;
            }
            jlist_add(run, parts, jstring(jstr_slice(run, rest, at, rest->len)));
            rest = jstr_strip(run, jstr_slice(run, rest, 0, at), NULL, false, true);
        } else {
            for (at = 0; at < rest->len; at += (size_t)length)
                if (uchar_is_space(jchar_at(rest->bytes, rest->len, at, &length))) break;
            jlist_add(run, parts, jstring(jstr_slice(run, rest, 0, at)));
            rest = jstr_strip(run, jstr_slice(run, rest, at, rest->len), NULL, true, false);
        }
    }
    if (from_right) list_reverse(parts);
    return parts;
}

struct jlist *jstr_split(struct jrun *run, struct jstr *s, struct jstr *by, int64_t max, bool from_right) {
    struct jlist *parts = jlist_new(run, 0);
    if (!by->len) jfail(run, "split: empty separator");
    if (max < 0) max = INT64_MAX;
    size_t from = 0, to = s->len;
    while (max-- > 0) {
        size_t at = from_right ? jstr_rfind(run, s, by, to) : jstr_find(run, s, by, from);
        if (at == SIZE_MAX) break;
        if (from_right) {
            jlist_add(run, parts, jstring(jstr_slice(run, s, at + by->len, to)));
            to = at;
        } else {
            jlist_add(run, parts, jstring(jstr_slice(run, s, from, at)));
            from = at + by->len;
        }
    }
    jlist_add(run, parts, jstring(jstr_slice(run, s, from, to)));
    if (from_right) list_reverse(parts);
    return parts;
}
