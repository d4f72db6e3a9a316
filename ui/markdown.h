/* Light markdown for the screen: what a message looks like, made of what it says. Only what is shown changes;
 * the message stays as it is. Parsing is md4c's (CommonMark); here its blocks and spans become lines with
 * styles.
 *
 * A message that is still being said is cut into chunks at places behind which nothing changes any more (a
 * blank line outside of fences, the beginning or end of a table, or MARKDOWN_CHUNK bytes): what is before the
 * last cut is settled, and only the rest is parsed again when more comes. So a token costs at most a chunk,
 * however long the message is, and fed in any portions the result is that of the whole.
 *
 * Shown differently: headings, bold, italics, code, code blocks ("[1] python" above, so that a block can be
 * named), lists, quotes, rules, links (the address behind the text), tables in columns. HTML and line breaks
 * stay as they are written. Thinking is one dimmed line, or unfolded as it is. The bytes are not sanitised
 * here: what is drawn passes base/text.c like everything else. */
#ifndef LOGITOP_UI_MARKDOWN_H
#define LOGITOP_UI_MARKDOWN_H

#include "base/buf.h"
#include "ui/style.h"
#include "ui/ui.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MARKDOWN_CHUNK = 4096, MARKDOWN_INDENT_MAX = 40, MARKDOWN_LEVELS = 8 };

enum markdown_kind {
    MARKDOWN_TEXT,
    MARKDOWN_CODE /* a line of a code block */,
    MARKDOWN_RULE,
    MARKDOWN_TABLE,
    MARKDOWN_THOUGHT
};

struct markdown_line { /* of the shown text; ends before the next one's LF */
    uint32_t start;
    uint32_t source; /* offset in the message of its first text, as if it began at `start`; 0: it has none */
    uint8_t indent, hang; /* columns before its first row, and before the rows it goes on in */
    uint8_t quote;        /* depth of quotes: a bar each, within the indent */
    uint8_t kind;         /* enum markdown_kind */
};

struct markdown_run { /* bytes up to `end` have this style */
    uint32_t end;
    uint8_t style;
};

struct markdown_mark { /* a moment to go back to */
    size_t text, n_lines, n_runs;
    size_t source;     /* end of the last source text that is shown */
    size_t taken;      /* source bytes whose lines are settled */
    size_t n_thinking; /* thoughts among them */
    unsigned n_code;
};

struct markdown {
    struct buf text; /* what is shown, lines with LF between them */
    struct markdown_line *lines;
    struct markdown_run *runs;
    size_t n_lines, cap_lines, n_runs, cap_runs;
    size_t source;
    unsigned n_code; /* code blocks so far */
    char fence;      /* the settled part ends inside of a fence of this character; 0: it does not */
    uint8_t fence_length;
    struct markdown_mark settled; /* more source never changes text, lines and runs before it */
    bool unfolded;                /* thinking is shown whole */
};

/* Bring it up to date with this text, of which an earlier part may have been given before. */
void markdown_feed(struct markdown *markdown, const struct ui_message *message, size_t len, bool open);
/* False: a thought was found in what is settled already (its end told of it), so that it must be cleared
 * first. */
bool markdown_keeps(const struct markdown *markdown, const struct ui_message *message);
void markdown_clear(struct markdown *markdown); /* for another text; keeps the memory and `unfolded` */
void markdown_free(struct markdown *markdown);

enum style markdown_style(const struct markdown *markdown, size_t offset,
                          size_t *run);                                  /* *run: where to look first */
size_t markdown_line_at(const struct markdown *markdown, size_t offset); /* the line that holds the offset */
/* About where in the message this offset of the shown text comes from: exact up to the first markup of its
 * line. */
size_t markdown_source(const struct markdown *markdown, size_t offset);

/* For markdown.c: append what text[begin..end) shows. fence: what is open where it begins. */
struct markdown_chunk {
    const char *text; /* the whole message */
    size_t begin, end;
    char fence;
    uint8_t fence_length;
    bool table; /* all of it are rows of a table */
};
void markdown_render(struct markdown *markdown, const struct markdown_chunk *chunk);
void markdown_begin_line(struct markdown *markdown, struct markdown_line line);
void markdown_put(struct markdown *markdown, enum style style, const char *text, size_t len);

#endif
