#include "ui/markdown.h"

#include "base/mem.h"
#include "base/utf8.h"
#include "ui/keymap.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void markdown_clear(struct markdown *markdown) {
    buf_clear(&markdown->text);
    markdown->n_lines = markdown->n_runs = markdown->source = 0;
    markdown->n_code = 0;
    markdown->fence = 0;
    markdown->settled = (struct markdown_mark){0};
}

void markdown_free(struct markdown *markdown) {
    buf_free(&markdown->text);
    free(markdown->lines);
    free(markdown->runs);
    *markdown = (struct markdown){0};
}

/* ---- building ---- */

void markdown_begin_line(struct markdown *markdown, struct markdown_line line) {
    if (markdown->n_lines) markdown_put(markdown, STYLE_TEXT, "\n", 1);
    line.start = (uint32_t)markdown->text.len;
    if (line.indent > MARKDOWN_INDENT_MAX) line.indent = MARKDOWN_INDENT_MAX;
    if (line.hang > MARKDOWN_INDENT_MAX) line.hang = MARKDOWN_INDENT_MAX;
    grow_array(&markdown->lines, &markdown->cap_lines, markdown->n_lines + 1, sizeof *markdown->lines);
    markdown->lines[markdown->n_lines++] = line;
}

void markdown_put(struct markdown *markdown, enum style style, const char *text, size_t len) {
    if (len == 0) return;
    buf_append(&markdown->text, text, len);
    struct markdown_run *last = markdown->n_runs ? &markdown->runs[markdown->n_runs - 1] : NULL;
    if (!last || last->style != style) {
        grow_array(&markdown->runs, &markdown->cap_runs, markdown->n_runs + 1, sizeof *markdown->runs);
        last = &markdown->runs[markdown->n_runs++];
        last->style = (uint8_t)style;
    }
    last->end = (uint32_t)markdown->text.len;
}

enum style markdown_style(const struct markdown *markdown, size_t offset, size_t *run) {
    size_t low = 0, high = markdown->n_runs;
    if (*run < high && (*run == 0 || markdown->runs[*run - 1].end <= offset)) {
        low = *run;
        if (markdown->runs[low].end > offset) high = low;
    }
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (markdown->runs[middle].end > offset)
            high = middle;
        else
            low = middle + 1;
    }
    *run = low;
    return low < markdown->n_runs ? (enum style)markdown->runs[low].style : STYLE_TEXT;
}

size_t markdown_line_at(const struct markdown *markdown, size_t offset) {
    size_t low = 0, high = markdown->n_lines;
    while (low + 1 < high) {
        size_t middle = low + (high - low) / 2;
        if (markdown->lines[middle].start <= offset)
            low = middle;
        else
            high = middle;
    }
    return low;
}

size_t markdown_source(const struct markdown *markdown, size_t offset) {
    size_t i = markdown_line_at(markdown, offset);
    while (i > 0 && markdown->lines[i].source == 0) i--;
    const struct markdown_line *line = markdown->n_lines ? &markdown->lines[i] : NULL;
    return line ? line->source + offset - line->start : 0;
}

/* ---- chunks ---- */

/* The fence that a line opens: its character and length; 0 if it opens none. (CommonMark 0.31, 4.5; deeper
 * indents too, as in lists: opening one too many only makes a chunk longer.) */
static char fence_of(const char *line, size_t len, uint8_t *length, bool *bare) {
    size_t i = 0, n = 0;
    while (i < len && (line[i] == ' ' || line[i] == '\t' || line[i] == '>')) i++;
    char c = i < len && (line[i] == '`' || line[i] == '~') ? line[i] : 0;
    while (c && i < len && line[i] == c) i++, n++;
    if (n < 3) return 0;
    *length = (uint8_t)(n < 255 ? n : 255);
    *bare = true;
    for (; i < len; i++) {
        if (line[i] != ' ' && line[i] != '\t' && line[i] != '\r' && line[i] != '\n') *bare = false;
        if (line[i] == '`' && c == '`') return 0;
    }
    return c;
}

/* Does a line at the left edge begin a list item? */
static bool is_item(const char *line, size_t len) {
    size_t i = 0;
    while (i < len && line[i] >= '0' && line[i] <= '9') i++;
    bool mark = i < len && (i ? line[i] == '.' || line[i] == ')' : strchr("-+*", line[i]) != NULL);
    return mark && (i + 1 >= len || line[i + 1] == ' ' || line[i + 1] == '\t');
}

static bool is_blank(const char *line, size_t len) {
    for (size_t i = 0; i < len; i++)
        if (line[i] != ' ' && line[i] != '\t' && line[i] != '\r' && line[i] != '\n') return false;
    return true;
}

/* Does a table's row begin here? (At the left edge only: in lists and quotes tables are text.) */
static bool is_row(const char *text, size_t at) {
    return text[at] == '|' && (at == 0 || text[at - 1] == '\n');
}

/* Where a chunk that grows too long is cut: at its last line, else its last blank, else anywhere. */
static size_t forced_cut(const char *text, size_t begin, size_t last_line) {
    if (last_line > begin) return last_line;
    size_t end = begin + MARKDOWN_CHUNK, at = end;
    while (at > begin + MARKDOWN_CHUNK / 2 && text[at - 1] != ' ') at--;
    if (text[at - 1] == ' ') return at;
    for (at = end; at > end - 4 && ((unsigned char)text[at] & 0xC0) == 0x80; at--) {}
    return at;
}

/* The end of the chunk that begins at `begin`: where what follows cannot change it. `end` if there is no such
 * place yet. fence: what is open at `begin`, then at the end. */
static size_t chunk_end(const char *text, size_t begin, size_t end, bool open, char *fence, uint8_t *length) {
    bool full = end - begin > MARKDOWN_CHUNK, list = false, blank_before = false;
    size_t view = full ? begin + MARKDOWN_CHUNK : end, last_line = begin, last_line_before = begin;
    char now = *fence, at_last = now;
    uint8_t now_length = *length, length_at_last = now_length;
    for (size_t at = begin; at < view;) {
        const char *newline = memchr(text + at, '\n', view - at);
        size_t next = newline ? (size_t)(newline + 1 - text) : view;
        last_line = at;
        at_last = now;
        length_at_last = now_length;
        if (!newline && (full || open)) break; /* how it goes on is not known */
        bool blank = is_blank(text + at, next - at), edge = text[at] != ' ' && text[at] != '\t';
        bool item = edge && is_item(text + at, next - at), bare = false;
        bool border = at > begin && is_row(text, at) != is_row(text, last_line_before);
        if (!now && ((blank_before && !blank && edge && !(item && list)) || border)) {
            *fence = 0;
            return at;
        }
        last_line_before = at;
        list = list || item;
        uint8_t n = 0;
        char c = fence_of(text + at, next - at, &n, &bare);
        if (!now && c)
            now = c, now_length = n;
        else if (now && c == now && n >= now_length && bare)
            now = 0;
        blank_before = blank;
        at = next;
    }
    if (!full) return end;
    if (last_line > begin) {
        *fence = at_last;
        *length = length_at_last;
    }
    return forced_cut(text, begin, last_line);
}

/* ---- thinking ---- */

static size_t count_words(const char *text, size_t len) {
    size_t n = 0;
    for (size_t i = 0; i < len; i++)
        n += (unsigned char)text[i] > ' ' && (i == 0 || (unsigned char)text[i - 1] <= ' ');
    return n;
}

/* <tag>thought</tag> without the tags. */
static void strip_tags(const char *text, size_t *begin, size_t *end) {
    size_t from = *begin, to = *end;
    if (from < to && text[from] == '<') {
        const char *close = memchr(text + from, '>', to - from);
        if (close) from = (size_t)(close + 1 - text);
    }
    if (to > from && text[to - 1] == '>')
        for (size_t i = to; i > from; i--)
            if (text[i - 1] == '<') {
                to = i - 1;
                break;
            }
    while (from < to && (unsigned char)text[from] <= ' ') from++;
    while (to > from && (unsigned char)text[to - 1] <= ' ') to--;
    *begin = from;
    *end = to;
}

/* What a key does, where it has one. */
static void put_key(struct markdown *markdown, int action, const char *does) {
    char line[KEY_NAME_MAX + 32], key[KEY_NAME_MAX];
    keymap_key(action, key);
    int n = snprintf(line, sizeof line, "; %s %s", key, does);
    if (*key) markdown_put(markdown, STYLE_THOUGHT, line, (size_t)n);
}

static void show_thinking(struct markdown *markdown, const char *text, size_t begin, size_t end,
                          bool growing) {
    size_t from = begin, to = end;
    strip_tags(text, &from, &to);
    size_t words = count_words(text + from, to - from);
    markdown->source = end;
    if (words == 0 && !growing) return; /* an empty thought: how templates say that there is none */
    char line[64];
    int n = snprintf(line, sizeof line, "(%s, %zu word%s", growing ? "thinking" : "thought", words,
                     words == 1 ? "" : "s");
    markdown_begin_line(markdown, (struct markdown_line){.kind = MARKDOWN_THOUGHT});
    markdown_put(markdown, STYLE_THOUGHT, line, (size_t)n);
    if (!markdown->unfolded) put_key(markdown, UI_ACTION_UNFOLD, "shows it");
    if (growing) put_key(markdown, UI_ACTION_ANSWER_NOW, "answers now");
    markdown_put(markdown, STYLE_THOUGHT, ")", 1);
    while (markdown->unfolded && from < to) {
        const char *newline = memchr(text + from, '\n', to - from);
        size_t stop = newline ? (size_t)(newline - text) : to;
        markdown_begin_line(
            markdown, (struct markdown_line){.indent = 2, .hang = 2, .quote = 1, .kind = MARKDOWN_THOUGHT});
        markdown_put(markdown, STYLE_THOUGHT, text + from, stop - from);
        from = stop + (newline != NULL);
    }
}

/* ---- feeding ---- */

static size_t count_thinking(const struct ui_message *message, size_t before) {
    size_t n = 0;
    while (n < message->n_thinking && message->thinking[n].start < before) n++;
    return n;
}

bool markdown_keeps(const struct markdown *markdown, const struct ui_message *message) {
    return count_thinking(message, markdown->settled.taken) == markdown->settled.n_thinking;
}

static void mark(struct markdown *markdown, const struct ui_message *message, size_t taken) {
    markdown->settled = (struct markdown_mark){.text = markdown->text.len,
                                               .n_lines = markdown->n_lines,
                                               .n_runs = markdown->n_runs,
                                               .source = markdown->source,
                                               .taken = taken,
                                               .n_thinking = count_thinking(message, taken),
                                               .n_code = markdown->n_code};
}

static void go_back(struct markdown *markdown) {
    const struct markdown_mark *to = &markdown->settled;
    markdown->text.len = to->text;
    markdown->n_lines = to->n_lines;
    markdown->n_runs = to->n_runs;
    if (to->n_runs && markdown->runs[to->n_runs - 1].end > to->text)
        markdown->runs[to->n_runs - 1].end = (uint32_t)to->text; /* it went on in what is dropped */
    markdown->source = to->source;
    markdown->n_code = to->n_code;
}

/* The thinking that begins at or behind `at`; NULL: none. */
static const struct ui_range *next_thinking(const struct ui_message *message, size_t at) {
    for (size_t i = 0; i < message->n_thinking; i++)
        if (message->thinking[i].start >= at && message->thinking[i].end > message->thinking[i].start)
            return &message->thinking[i];
    return NULL;
}

void markdown_feed(struct markdown *markdown, const struct ui_message *message, size_t len, bool open) {
    go_back(markdown);
    for (size_t at = markdown->settled.taken; at < len;) {
        const struct ui_range *thinking = next_thinking(message, at);
        if (thinking && thinking->start == at && !markdown->fence) {
            size_t end = thinking->end < len ? thinking->end : len;
            bool growing = open && end == len;
            show_thinking(markdown, message->text, at, end, growing);
            at = end;
            if (!growing) mark(markdown, message, at);
            continue;
        }
        size_t stop = thinking && thinking->start < len ? thinking->start : len;
        bool more = open && stop == len;
        struct markdown_chunk chunk = {message->text,          at,   stop, markdown->fence,
                                       markdown->fence_length, false};
        char fence = markdown->fence;
        uint8_t length = markdown->fence_length;
        chunk.end = chunk_end(message->text, at, stop, more, &fence, &length);
        chunk.table = !markdown->fence && is_row(message->text, at);
        bool settled = chunk.end < len;
        markdown_render(markdown, &chunk);
        at = chunk.end;
        if (!settled) break;
        markdown->fence = fence;
        markdown->fence_length = length;
        mark(markdown, message, at);
    }
}
