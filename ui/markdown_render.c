/* One chunk of markdown: md4c's blocks and spans become lines and styles. */
#include "ui/markdown.h"

#include "base/mem.h"
#include "base/text.h"

#include <limits.h>
#include <md4c.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char BULLET[] = "\xE2\x80\xA2 ";

struct level { /* of lists */
    bool ordered;
    char delimiter;
    unsigned next;
    unsigned base, content; /* columns of the marker and of what it marks */
};

/* What md4c tells of a table, before its columns have a width. */
struct cell {
    size_t start, source; /* in the text of all cells; in the message, SIZE_MAX: nothing is in it */
    MD_ALIGN align;
};
struct table {
    struct markdown text; /* the cells behind each other */
    struct cell *cells;   /* [n], a row's behind each other; the first row is the head */
    size_t n, cap;
    unsigned columns; /* 0: it is none */
};

struct render {
    struct markdown *markdown; /* of a table: table->text, while it is read */
    struct table *table;       /* NULL: no table is read */
    const struct markdown_chunk *chunk;
    const char *input; /* [n_input] what md4c reads: an opening fence of `prefix` bytes, where the chunk
                          begins inside of one */
    size_t n_input, prefix;
    struct level levels[MARKDOWN_LEVELS];
    int depth; /* of lists; may exceed MARKDOWN_LEVELS */
    unsigned quote, strong, italic, code, heading;
    bool fresh;         /* the next text begins a line */
    bool in_block_code; /* and with it: */
    bool code_line;     /* the next byte of code begins a line */
    bool carried;       /* this code block began in an earlier chunk */
    char marker[24];    /* of the list item that begins with the next line */
    size_t link_from;   /* where the shown text of the innermost link begins */
};

/* ---- places in the source ---- */

/* Offset in the message of text that md4c points to; SIZE_MAX for text of its own. */
static size_t source_offset(const struct render *r, const char *p) {
    if (p < r->input + r->prefix || p >= r->input + r->n_input) return SIZE_MAX;
    return r->chunk->begin + (size_t)(p - r->input) - r->prefix;
}

/* Between what was shown last and `offset`: line ends, 2 for a blank line or more. */
static int line_ends_before(const struct render *r, size_t offset) {
    const char *text = r->chunk->text;
    int n = 0;
    bool blank = false;
    for (size_t i = r->markdown->source; i < offset && n < 2; i++) {
        if (text[i] == '\n') {
            n = blank && n ? 2 : 1;
            blank = true;
        } else if (text[i] != ' ' && text[i] != '\t' && text[i] != '\r' && text[i] != '>')
            blank = false;
    }
    return n;
}

/* Where a block without text of its own begins: nothing tells but what was shown before it. */
static size_t next_source(const struct render *r) {
    const char *text = r->chunk->text;
    size_t at = r->markdown->source;
    while (at < r->chunk->end && text[at] && strchr(" \t\r\n>", text[at])) at++;
    return at;
}

/* ---- lines ---- */

static const struct level *innermost(const struct render *r) {
    int i = r->depth < MARKDOWN_LEVELS ? r->depth : MARKDOWN_LEVELS;
    return i > 0 ? &r->levels[i - 1] : NULL;
}

static uint8_t column(const struct render *r, unsigned columns) {
    columns += 2 * r->quote;
    return (uint8_t)(columns < MARKDOWN_INDENT_MAX ? columns : MARKDOWN_INDENT_MAX);
}

static void begin_line(struct render *r, enum markdown_kind kind) {
    const struct level *level = innermost(r);
    unsigned content = level ? level->content : 0;
    struct markdown_line line = {.indent = column(r, content),
                                 .hang = column(r, content),
                                 .quote = (uint8_t)(r->quote < MARKDOWN_LEVELS ? r->quote : MARKDOWN_LEVELS),
                                 .kind = (uint8_t)kind};
    if (line.quote * 2 > line.indent) line.quote = line.indent / 2;
    r->fresh = false;
    if (!r->marker[0]) {
        if (kind == MARKDOWN_CODE) line.indent = line.hang = column(r, content + 2); /* set off */
        markdown_begin_line(r->markdown, line);
        return;
    }
    line.indent = column(r, level ? level->base : 0);
    line.kind = MARKDOWN_TEXT;
    markdown_begin_line(r->markdown, line);
    markdown_put(r->markdown, STYLE_DIM, r->marker, strlen(r->marker));
    r->marker[0] = 0;
    if (kind != MARKDOWN_TEXT) begin_line(r, kind);
}

/* A block's first line: behind a blank one if the source has one there. offset: of its first text. */
static void begin_block(struct render *r, size_t offset, enum markdown_kind kind) {
    struct markdown *markdown = r->markdown;
    int ends = offset == SIZE_MAX ? 1 : line_ends_before(r, offset);
    bool said = markdown->n_lines && markdown->lines[markdown->n_lines - 1].kind != MARKDOWN_THOUGHT;
    if (said && ends == 0 && !r->marker[0] && kind == MARKDOWN_TEXT) {
        r->fresh = false; /* a paragraph that was cut for its length goes on */
        if (markdown->source < offset) markdown_put(markdown, STYLE_TEXT, " ", 1);
        return;
    }
    if (markdown->n_lines && ends == 2) {
        uint8_t above = markdown->lines[markdown->n_lines - 1].quote,
                quote = r->quote < above ? (uint8_t)r->quote : above;
        uint8_t indent = (uint8_t)(2 * quote);
        markdown_begin_line(markdown,
                            (struct markdown_line){.indent = indent, .hang = indent, .quote = quote});
    }
    begin_line(r, kind);
}

/* ---- text ---- */

static enum style text_style(const struct render *r) {
    if (r->code) return STYLE_CODE;
    if (r->heading) return STYLE_HEADING;
    if (r->strong) return STYLE_STRONG;
    return r->italic ? STYLE_ITALIC : STYLE_TEXT;
}

/* The head of a code block: its number among those of the message, its language. */
static void code_head(struct render *r, const char *language, size_t len, size_t offset) {
    char number[24];
    int n = snprintf(number, sizeof number, "[%u] ", ++r->markdown->n_code);
    begin_block(r, offset, MARKDOWN_TEXT);
    markdown_put(r->markdown, STYLE_DIM, number, (size_t)n);
    markdown_put(r->markdown, STYLE_DIM, len ? language : "code", len ? len : 4);
}

/* The newest line shows source text from this offset on. */
static void note_source(struct render *r, size_t offset) {
    struct markdown *markdown = r->markdown;
    struct markdown_line *line = markdown->n_lines ? &markdown->lines[markdown->n_lines - 1] : NULL;
    size_t before = line ? markdown->text.len - line->start : 0;
    if (line && line->source == 0 && offset != SIZE_MAX && offset >= before)
        line->source = (uint32_t)(offset - before);
}

/* A line of code that is too long goes on a little deeper than it began. */
static void hang_code(struct markdown *markdown) {
    struct markdown_line *line = markdown->n_lines ? &markdown->lines[markdown->n_lines - 1] : NULL;
    size_t at = line ? line->start : 0, columns = 0;
    if (!line || line->kind != MARKDOWN_CODE || line->hang != line->indent) return;
    for (; at < markdown->text.len && (markdown->text.data[at] == ' ' || markdown->text.data[at] == '\t');
         at++)
        columns += markdown->text.data[at] == ' ' ? 1 : TEXT_TAB - columns % TEXT_TAB;
    if (at == markdown->text.len) return; /* nothing but blanks yet */
    columns += line->indent + 2u;
    line->hang = (uint8_t)(columns < MARKDOWN_INDENT_MAX ? columns : MARKDOWN_INDENT_MAX);
}

static void put_code(struct render *r, const char *text, size_t len) {
    for (size_t at = 0; at < len;) {
        const char *newline = memchr(text + at, '\n', len - at);
        size_t end = newline ? (size_t)(newline - text) : len;
        if (r->code_line && (end > at || newline)) begin_line(r, MARKDOWN_CODE);
        if (r->code_line && (end > at || newline)) r->code_line = false;
        if (end > at && text[end - 1] == '\r') end--;
        if (end > at && source_offset(r, text) != SIZE_MAX) note_source(r, source_offset(r, text) + at);
        markdown_put(r->markdown, STYLE_CODE_BLOCK, text + at, end - at);
        hang_code(r->markdown);
        if (newline) r->code_line = true;
        at = newline ? (size_t)(newline + 1 - text) : len;
    }
}

static void put_entity(struct render *r, const char *text, size_t len) {
    static const struct {
        const char *name, *means;
    } known[] = {{"&amp;", "&"},   {"&lt;", "<"},  {"&gt;", ">"},
                 {"&quot;", "\""}, {"&#39;", "'"}, {"&nbsp;", " "}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (len == strlen(known[i].name) && memcmp(text, known[i].name, len) == 0) {
            markdown_put(r->markdown, text_style(r), known[i].means, 1);
            return;
        }
    markdown_put(r->markdown, text_style(r), text, len);
}

/* The newest cell shows source text from this offset on. */
static void note_cell(struct render *r, size_t offset) {
    struct cell *cell = r->table && r->table->n ? &r->table->cells[r->table->n - 1] : NULL;
    if (cell && cell->source == SIZE_MAX) cell->source = offset;
}

static int on_text(MD_TEXTTYPE type, const MD_CHAR *text, MD_SIZE len, void *context) {
    struct render *r = context;
    size_t offset = source_offset(r, text);
    bool broken = len > r->n_input || (offset != SIZE_MAX && offset + len > r->chunk->end);
    if (broken) return 0; /* a parser's slip must not become ours */
    if (r->in_block_code) {
        if (r->carried && offset != SIZE_MAX && len) { /* cut within a line: it goes on */
            if (line_ends_before(r, offset) == 0) r->code_line = false;
            r->carried = false;
        }
        put_code(r, text, len);
    } else {
        if (r->fresh) begin_block(r, offset, MARKDOWN_TEXT);
        note_source(r, offset);
        note_cell(r, offset);
        switch (type) {
        case MD_TEXT_NULLCHAR: markdown_put(r->markdown, text_style(r), "\xEF\xBF\xBD", 3); break;
        case MD_TEXT_BR:
        case MD_TEXT_SOFTBR: begin_line(r, MARKDOWN_TEXT); break;
        case MD_TEXT_ENTITY: put_entity(r, text, len); break;
        default: markdown_put(r->markdown, text_style(r), text, len); break;
        }
    }
    if (offset != SIZE_MAX) r->markdown->source = offset + len;
    return 0;
}

/* ---- blocks ---- */

static void enter_item(struct render *r, const MD_BLOCK_LI_DETAIL *detail) {
    if (r->marker[0]) begin_line(r, MARKDOWN_TEXT); /* an item that begins with a list */
    if (r->depth > MARKDOWN_LEVELS) return;
    struct level *level = &r->levels[r->depth - 1];
    int n = level->ordered ? snprintf(r->marker, sizeof r->marker, "%u%c ", level->next++, level->delimiter)
                           : snprintf(r->marker, sizeof r->marker, "%s", BULLET);
    unsigned width = level->ordered ? (unsigned)n : 2;
    if (detail->is_task) {
        strcat(r->marker, detail->task_mark == ' ' ? "[ ] " : "[x] ");
        width += 4;
    }
    level->content = level->base + width;
    r->fresh = true;
}

static void enter_list(struct render *r, bool ordered, unsigned start, char delimiter) {
    const struct level *outer = innermost(r);
    unsigned base = outer ? outer->content : 0;
    if (r->marker[0]) begin_line(r, MARKDOWN_TEXT);
    if (r->depth++ < MARKDOWN_LEVELS)
        r->levels[r->depth - 1] = (struct level){ordered, delimiter, start, base, base};
}

static void enter_code(struct render *r, const MD_BLOCK_CODE_DETAIL *detail) {
    r->in_block_code = r->code_line = true;
    if (r->carried) return;
    size_t offset = source_offset(r, detail->lang.text ? detail->lang.text : "");
    size_t len = detail->lang.size <= r->n_input ? detail->lang.size : 0;
    code_head(r, detail->lang.text, len, offset == SIZE_MAX ? next_source(r) : offset);
}

static void enter_cell(struct render *r, const MD_BLOCK_TD_DETAIL *detail) {
    struct table *table = r->table;
    grow_array(&table->cells, &table->cap, table->n + 1, sizeof *table->cells);
    table->cells[table->n++] = (struct cell){table->text.text.len, SIZE_MAX, detail->align};
    r->fresh = false;
}

static int enter_block(MD_BLOCKTYPE type, void *detail, void *context) {
    struct render *r = context;
    switch (type) {
    case MD_BLOCK_QUOTE: r->quote++; break;
    case MD_BLOCK_UL: enter_list(r, false, 0, 0); break;
    case MD_BLOCK_OL: {
        const MD_BLOCK_OL_DETAIL *list = detail;
        enter_list(r, true, list->start, list->mark_delimiter);
        break;
    }
    case MD_BLOCK_LI: enter_item(r, detail); break;
    case MD_BLOCK_HR: begin_block(r, next_source(r), MARKDOWN_RULE); break;
    case MD_BLOCK_H: r->heading = 1; /* fall through */
    case MD_BLOCK_P: r->fresh = true; break;
    case MD_BLOCK_CODE: enter_code(r, detail); break;
    case MD_BLOCK_TABLE: r->table->columns = ((MD_BLOCK_TABLE_DETAIL *)detail)->col_count; break;
    case MD_BLOCK_TH: r->strong++; /* fall through */
    case MD_BLOCK_TD: enter_cell(r, detail); break;
    default: break;
    }
    return 0;
}

static int leave_block(MD_BLOCKTYPE type, void *detail, void *context) {
    struct render *r = context;
    (void)detail;
    switch (type) {
    case MD_BLOCK_QUOTE: r->quote--; break;
    case MD_BLOCK_UL:
    case MD_BLOCK_OL: r->depth--; break;
    case MD_BLOCK_LI:
        if (r->marker[0]) begin_line(r, MARKDOWN_TEXT); /* an empty item */
        break;
    case MD_BLOCK_H: r->heading = 0; break;
    case MD_BLOCK_CODE: r->in_block_code = r->carried = false; break;
    case MD_BLOCK_TH: r->strong--; break;
    default: break;
    }
    return 0;
}

/* ---- spans ---- */

static int enter_span(MD_SPANTYPE type, void *detail, void *context) {
    struct render *r = context;
    (void)detail;
    if (type == MD_SPAN_STRONG) r->strong++;
    if (type == MD_SPAN_EM) r->italic++;
    if (type == MD_SPAN_CODE) r->code++;
    if (type == MD_SPAN_A) r->link_from = r->fresh ? SIZE_MAX : r->markdown->text.len;
    return 0;
}

/* The address is always seen: what a link says and where it leads may differ. */
static void put_address(struct render *r, const MD_ATTRIBUTE *address) {
    struct buf *shown = &r->markdown->text;
    if (r->fresh || !address->size || address->size > r->n_input) return;
    size_t from = r->link_from < shown->len ? r->link_from : 0, len = shown->len - from;
    if (len >= address->size &&
        memcmp(shown->data + shown->len - address->size, address->text, address->size) == 0)
        return;
    markdown_put(r->markdown, STYLE_DIM, " (", 2);
    markdown_put(r->markdown, STYLE_DIM, address->text, address->size);
    markdown_put(r->markdown, STYLE_DIM, ")", 1);
}

static int leave_span(MD_SPANTYPE type, void *detail, void *context) {
    struct render *r = context;
    if (type == MD_SPAN_STRONG) r->strong--;
    if (type == MD_SPAN_EM) r->italic--;
    if (type == MD_SPAN_CODE) r->code--;
    if (type == MD_SPAN_A) put_address(r, &((MD_SPAN_A_DETAIL *)detail)->href);
    if (type == MD_SPAN_IMG) put_address(r, &((MD_SPAN_IMG_DETAIL *)detail)->src);
    return 0;
}

static const MD_PARSER chunk_parser = {.flags = MD_FLAG_NOHTML | MD_FLAG_TASKLISTS,
                                       .enter_block = enter_block,
                                       .leave_block = leave_block,
                                       .enter_span = enter_span,
                                       .leave_span = leave_span,
                                       .text = on_text};

/* md4c 0.4.8 looks up to a few bytes behind the end of what it is given. */
static void add_input(struct buf *input, const char *text, size_t len) {
    enum { BEHIND = 16 };
    buf_append(input, text, len);
    memset(buf_reserve(input, BEHIND), 0, BEHIND);
}

/* ---- tables ---- */

enum { COLUMN_MAX = 40 /* wider cells stand out of their column */, HANG_MAX = 30 };

static size_t cell_end(const struct table *table, size_t i) {
    return i + 1 < table->n ? table->cells[i + 1].start : table->text.text.len;
}

static unsigned cell_width(const struct table *table, size_t i) {
    size_t start = table->cells[i].start;
    return start < table->text.text.len
               ? text_width(table->text.text.data + start, cell_end(table, i) - start)
               : 0;
}

static void put_times(struct markdown *markdown, const char *text, unsigned n) {
    while (n--) markdown_put(markdown, STYLE_DIM, text, strlen(text));
}

static void put_cell(struct render *r, const struct table *table, size_t i, unsigned width, bool last) {
    const struct cell *cell = &table->cells[i];
    size_t end = cell_end(table, i), run = 0;
    unsigned own = cell_width(table, i), free = width > own ? width - own : 0;
    unsigned before = cell->align == MD_ALIGN_RIGHT ? free : cell->align == MD_ALIGN_CENTER ? free / 2 : 0;
    put_times(r->markdown, " ", before);
    note_source(r, cell->source);
    for (size_t at = cell->start; at < end;) {
        enum style style = markdown_style(&table->text, at, &run);
        size_t stop =
            run < table->text.n_runs && table->text.runs[run].end < end ? table->text.runs[run].end : end;
        markdown_put(r->markdown, style, table->text.text.data + at, stop - at);
        at = stop;
    }
    if (!last) put_times(r->markdown, " ", free - before);
}

/* Rows in columns, a rule below the head. What does not fit into a row of the screen goes on in the last
 * column, where that is not far. */
static void put_table(struct render *r, const struct table *table) {
    unsigned *widths = xcalloc(table->columns, sizeof *widths), n = table->columns;
    for (size_t i = 0; i < table->n; i++) {
        unsigned width = cell_width(table, i);
        if (width > COLUMN_MAX) width = COLUMN_MAX;
        if (width > widths[i % n]) widths[i % n] = width;
    }
    unsigned hang = 0;
    for (unsigned k = 0; k + 1 < n && hang <= HANG_MAX; k++) hang += widths[k] + 3;
    if (hang > HANG_MAX) hang = 2;
    begin_block(r, r->chunk->begin, MARKDOWN_TABLE);
    for (size_t i = 0; i < table->n; i++) {
        if (i && i % n == 0) begin_line(r, MARKDOWN_TABLE);
        struct markdown_line *line = &r->markdown->lines[r->markdown->n_lines - 1];
        if (i % n == 0) line->hang = column(r, line->indent + hang);
        put_cell(r, table, i, widths[i % n], (i + 1) % n == 0);
        if ((i + 1) % n) markdown_put(r->markdown, STYLE_DIM, " \xE2\x94\x82 ", 5);
        if (i + 1 != n) continue;
        begin_line(r, MARKDOWN_TABLE);
        for (unsigned k = 0; k < n; k++) {
            put_times(r->markdown, "\xE2\x94\x80", k + 1 < n ? widths[k] : cell_width(table, k));
            if (k + 1 < n) markdown_put(r->markdown, STYLE_DIM, "\xE2\x94\x80\xE2\x94\xBC\xE2\x94\x80", 9);
        }
    }
    free(widths);
}

static void table_free(struct table *table) {
    markdown_free(&table->text);
    free(table->cells);
}

/* False: md4c finds no table in these rows, or not yet. */
static bool read_table(struct render *r, struct table *table) {
    struct markdown *markdown = r->markdown;
    struct buf input = {0};
    MD_PARSER parser = chunk_parser;
    parser.flags |= MD_FLAG_TABLES;
    add_input(&input, r->chunk->text + r->chunk->begin, r->chunk->end - r->chunk->begin);
    r->input = input.data;
    r->n_input = input.len;
    r->table = table;
    r->markdown = &table->text;
    if (r->n_input <= UINT_MAX) md_parse(r->input, (MD_SIZE)r->n_input, &parser, r);
    *r = (struct render){.markdown = markdown, .chunk = r->chunk};
    buf_free(&input);
    return table->columns && table->n >= table->columns && table->n % table->columns == 0;
}

/* What is no table yet, or none at all: as it is written. */
static void put_rows(struct render *r) {
    const char *text = r->chunk->text;
    size_t at = r->chunk->begin, end = r->chunk->end;
    while (end > at && text[end - 1] == '\n') end--;
    begin_block(r, at, MARKDOWN_TABLE);
    while (at < end) {
        const char *newline = memchr(text + at, '\n', end - at);
        size_t stop = newline ? (size_t)(newline - text) : end;
        note_source(r, at);
        markdown_put(r->markdown, STYLE_TEXT, text + at,
                     stop > at && text[stop - 1] == '\r' ? stop - 1 - at : stop - at);
        at = stop + (newline != NULL);
        if (at < end) begin_line(r, MARKDOWN_TABLE);
    }
}

static void render_table(struct render *r) {
    struct table table = {0};
    size_t end = r->chunk->end;
    if (read_table(r, &table))
        put_table(r, &table);
    else
        put_rows(r);
    table_free(&table);
    while (end > r->chunk->begin && r->chunk->text[end - 1] == '\n') end--;
    r->markdown->source = end;
}

void markdown_render(struct markdown *markdown, const struct markdown_chunk *chunk) {
    struct render r = {.markdown = markdown, .chunk = chunk};
    struct buf input = {0};
    if (chunk->table) {
        render_table(&r);
        return;
    }
    for (unsigned i = 0; chunk->fence && i < chunk->fence_length; i++) buf_putc(&input, chunk->fence);
    if (chunk->fence) buf_putc(&input, '\n');
    r.carried = chunk->fence != 0;
    r.prefix = input.len;
    add_input(&input, chunk->text + chunk->begin, chunk->end - chunk->begin);
    r.input = input.data;
    r.n_input = input.len;
    if (r.n_input <= UINT_MAX) md_parse(r.input, (MD_SIZE)r.n_input, &chunk_parser, &r);
    buf_free(&input);
}

/* ---- code blocks of a text, for /copy ---- */

struct pick_code {
    size_t wanted, seen, len;
    struct buf *out; /* NULL: only count */
    bool inside;
};

static int pick_enter(MD_BLOCKTYPE type, void *detail, void *context) {
    struct pick_code *pick = context;
    (void)detail;
    if (type == MD_BLOCK_CODE) pick->inside = ++pick->seen == pick->wanted;
    return 0;
}

static int pick_leave(MD_BLOCKTYPE type, void *detail, void *context) {
    struct pick_code *pick = context;
    (void)detail;
    if (type == MD_BLOCK_CODE) pick->inside = false;
    return 0;
}

static int pick_span(MD_SPANTYPE type, void *detail, void *context) {
    (void)type, (void)detail, (void)context;
    return 0;
}

static int pick_text(MD_TEXTTYPE type, const MD_CHAR *text, MD_SIZE len, void *context) {
    struct pick_code *pick = context;
    if (len > pick->len) return 0; /* as above */
    if (pick->inside && pick->out)
        buf_append(pick->out, type == MD_TEXT_NULLCHAR ? "" : text, type == MD_TEXT_NULLCHAR ? 1 : len);
    return 0;
}

size_t ui_code_block(const char *text, size_t len, size_t k, struct buf *out) {
    static const MD_PARSER picker = {.flags = MD_FLAG_NOHTML | MD_FLAG_TASKLISTS,
                                     .enter_block = pick_enter,
                                     .leave_block = pick_leave,
                                     .enter_span = pick_span,
                                     .leave_span = pick_span,
                                     .text = pick_text};
    struct pick_code pick = {.wanted = k, .len = len, .out = out};
    struct buf input = {0};
    add_input(&input, text, len);
    if (len <= UINT_MAX) md_parse(input.data, (MD_SIZE)len, &picker, &pick);
    buf_free(&input);
    return pick.seen;
}
