/* Any bytes as markdown: fed in portions it is what the whole is, what is settled stays, lines and runs cover
 * the text, rows cover it at any width. The first three bytes choose portions, width and where a thought
 * lies. */
#include "ui/find.h"
#include "ui/rows.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool fact) {
    if (!fact) abort();
}

static void check_cover(const struct markdown *markdown) {
    uint32_t at = 0;
    for (size_t i = 0; i < markdown->n_runs; i++) {
        require(markdown->runs[i].end > at && markdown->runs[i].style < STYLE_COUNT);
        at = markdown->runs[i].end;
    }
    require(at == markdown->text.len);
    for (size_t i = 0; i < markdown->n_lines; i++) {
        const struct markdown_line *line = &markdown->lines[i];
        require(line->start <= markdown->text.len && line->indent <= MARKDOWN_INDENT_MAX &&
                line->hang <= MARKDOWN_INDENT_MAX);
        require(2 * line->quote <= line->indent || line->kind == MARKDOWN_THOUGHT);
        require(i == 0 || (line->start > line[-1].start && markdown->text.data[line->start - 1] == '\n'));
    }
}

static void check_rows(struct ui_message *message, int width) {
    struct chat_entry entry = {0};
    size_t len, at = 0;
    rows_update(&entry, message, width, ROWS_MARKDOWN);
    rows_text(&entry, message, &len);
    for (size_t i = 0; i < entry.n_rows; i++) {
        require(entry.rows[i].start == at && entry.rows[i].end >= at &&
                entry.rows[i].next >= entry.rows[i].end);
        at = entry.rows[i].next;
    }
    require(at == len);
    rows_free(&entry);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 3) return 0;
    size_t len = size - 3, portion = data[0] % 64 + 1;
    char *text = malloc(len + 1); /* exactly so long: reading beyond is seen */
    require(text != NULL);
    memcpy(text, data + 3, len);
    struct ui_range thought = {(uint32_t)(len * (data[2] >> 4) / 16), (uint32_t)(len * (data[2] & 15) / 16)};
    struct ui_message message = {.id = 1, .role = UI_ROLE_BOT, .text = text, .thinking = &thought};
    message.n_thinking =
        thought.end > thought.start && thought.start == 0; /* elsewhere it may begin in what is settled */
    struct markdown grown = {.unfolded = data[1] & 1}, whole = {.unfolded = data[1] & 1};
    for (size_t at = portion; at < len; at += portion) {
        size_t settled = grown.settled.text;
        message.len = at;
        markdown_feed(&grown, &message, at, true);
        require(grown.settled.text >= settled && grown.settled.text <= grown.text.len &&
                grown.settled.taken <= at);
        check_cover(&grown);
    }
    message.len = len;
    markdown_feed(&grown, &message, len, false);
    markdown_feed(&whole, &message, len, false);
    check_cover(&whole);
    require(grown.text.len == whole.text.len &&
            (!whole.text.len || !memcmp(grown.text.data, whole.text.data, whole.text.len)));
    check_rows(&message, data[1] % 60 + 2);
    struct buf code = {0};
    size_t n = ui_code_block(text, len, 1, &code);
    require(n > 0 || code.len == 0);
    buf_free(&code);
    markdown_free(&grown);
    markdown_free(&whole);
    free(text);
    return 0;
}
