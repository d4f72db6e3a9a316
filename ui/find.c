#include "ui/find.h"

#include "base/utf8.h"

#include <stdlib.h>
#include <utf8proc.h>

void find_begin(struct find *find) {
    find->state = FIND_TYPING;
    find->changed = true;
    buf_clear(&find->pattern);
}

static size_t last_character(const struct buf *text) {
    size_t at = text->len;
    while (at > 0 && ((unsigned char)text->data[at - 1] & 0xC0) == 0x80) at--;
    return at ? at - 1 : 0;
}

void find_type(struct find *find, uint32_t c) {
    char bytes[4];
    if (c == 0)
        find->pattern.len = last_character(&find->pattern);
    else
        buf_append(&find->pattern, bytes, (size_t)utf8_encode(c, bytes));
    find->changed = true;
}

void find_set(struct find *find, const char *pattern, size_t len) {
    find_begin(find);
    buf_append(&find->pattern, pattern, len);
    find->state = FIND_ON;
}

void find_end(struct find *find) {
    find->state = FIND_OFF;
    find->message = 0;
    find->n = find->count = 0;
    find->step = 0;
}

void find_free(struct find *find) {
    buf_free(&find->pattern);
}

static bool has_capital(const struct buf *pattern) {
    for (size_t at = 0; at < pattern->len;) {
        uint32_t c = 0;
        int n = utf8_decode(pattern->data + at, pattern->len - at, &c);
        if (n > 0 && utf8proc_tolower((utf8proc_int32_t)c) != (utf8proc_int32_t)c) return true;
        at += n > 0 ? (size_t)n : 1;
    }
    return false;
}

static size_t match_at(const struct buf *pattern, bool exact, const char *text, size_t len) {
    size_t at = 0, used = 0;
    while (at < pattern->len) {
        uint32_t wanted = 0, c = 0;
        int n = utf8_decode(pattern->data + at, pattern->len - at, &wanted);
        int m = utf8_decode(text + used, len - used, &c);
        if (n <= 0 || m <= 0) return 0;
        if (!exact) c = (uint32_t)utf8proc_tolower((utf8proc_int32_t)c);
        if (c == '\n') c = ' '; /* a line's end is a blank to who searches */
        if (c != wanted) return 0;
        at += (size_t)n;
        used += (size_t)m;
    }
    return used;
}

/* Bytes of the match that begins at text[0..len); 0: none does. */
static size_t find_match(const struct find *find, const char *text, size_t len) {
    if (!find->pattern.len) return 0;
    return match_at(&find->pattern, has_capital(&find->pattern), text, len);
}

/* Bytes that a match may begin with: most of a text is passed over by these alone. */
static void find_beginnings(const struct buf *pattern, bool exact, bool may_begin[256]) {
    unsigned char first = (unsigned char)pattern->data[0];
    for (int byte = 0; byte < 256; byte++) {
        bool letter = !exact && byte >= 'A' && byte <= 'Z';
        bool same = (letter ? byte - 'A' + 'a' : byte) == first || (byte == '\n' && first == ' ');
        may_begin[byte] = byte < 0x80 ? same : byte >= 0xC0; /* of others only a look at the whole tells */
    }
}

size_t find_first(const struct find *find, const char *text, size_t len, size_t from) {
    bool may_begin[256];
    if (!find->pattern.len) return SIZE_MAX;
    bool exact = has_capital(&find->pattern);
    find_beginnings(&find->pattern, exact, may_begin);
    for (size_t at = from; at < len; at++)
        if (may_begin[(unsigned char)text[at]] && match_at(&find->pattern, exact, text + at, len - at))
            return at;
    return SIZE_MAX;
}

struct match {
    size_t message, offset;
};

/* All matches, in their order. Owned by the caller. */
static struct match *all_matches(const struct find *find, const struct chat_entry *entries,
                                 const struct ui_model *model, size_t *n) {
    struct match *matches = NULL;
    size_t cap = 0;
    *n = 0;
    for (size_t i = 0; i < model->n_messages; i++) {
        size_t len;
        const char *text = rows_text(&entries[i], &model->messages[i], &len);
        for (size_t at = 0; (at = find_first(find, text, len, at)) != SIZE_MAX; at++) {
            grow_array(&matches, &cap, *n + 1, sizeof *matches);
            matches[(*n)++] = (struct match){i, at};
        }
    }
    return matches;
}

/* The one to go to, by its index. here: whether there is a match we are at, that one's message and offset. */
static size_t choose(const struct find *find, const struct match *matches, size_t n, bool here,
                     struct match at) {
    size_t i = 0;
    while (i < n && (matches[i].message < at.message ||
                     (matches[i].message == at.message && matches[i].offset < at.offset)))
        i++;
    bool exact = here && i < n && matches[i].message == at.message && matches[i].offset == at.offset;
    long target = (long)i + find->step - (find->step > 0 && !exact), count = (long)n;
    return (size_t)((target % count + count) % count);
}

size_t find_go(struct find *find, const struct chat_entry *entries, const struct ui_model *model,
               size_t from) {
    size_t n;
    struct match at = {from, 0};
    bool here = false;
    for (size_t i = 0; find->message && i < model->n_messages; i++)
        if (model->messages[i].id == find->message) at = (struct match){i, find->offset}, here = true;
    struct match *matches = all_matches(find, entries, model, &n);
    size_t i = n ? choose(find, matches, n, here, at) : 0, message = n ? matches[i].message : SIZE_MAX;
    find->count = n;
    find->n = n ? i + 1 : 0;
    find->message = n ? model->messages[message].id : 0;
    find->offset = n ? matches[i].offset : 0;
    find->changed = false;
    find->step = 0;
    free(matches);
    return message;
}

void find_marks_begin(struct find_marks *marks, size_t start) {
    if (marks->find->state == FIND_OFF) return;
    size_t reach = marks->find->pattern.len * 4; /* a match may have begun in the row before */
    for (size_t at = start > reach ? start - reach : 0; at < start; at++) {
        size_t n = at >= marks->end ? find_match(marks->find, marks->text + at, marks->len - at) : 0;
        if (n)
            marks->end = at + n,
            marks->here = marks->find->message == marks->message && marks->find->offset == at;
    }
}

enum style find_marks_style(struct find_marks *marks, size_t at, enum style style) {
    if (marks->find->state == FIND_OFF) return style;
    size_t n = at >= marks->end ? find_match(marks->find, marks->text + at, marks->len - at) : 0;
    if (n)
        marks->end = at + n,
        marks->here = marks->find->message == marks->message && marks->find->offset == at;
    return at >= marks->end ? style : marks->here ? STYLE_MATCH_HERE : STYLE_MATCH;
}
