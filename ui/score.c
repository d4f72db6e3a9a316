#include "ui/score.h"

#include "base/text.h"
#include "ui/candidates.h"
#include "ui/format.h"
#include "ui/token_row.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { BESIDE_FROM = 100, TABLE_WIDTH = 44, LEAST_MAX = 64 };

void score_free(struct score *score) {
    rows_free(&score->entry);
    *score = (struct score){0};
}

/* ---- the least likely ones ---- */

/* Indices of the `most` least probable tokens, the least first. Returns how many there are. */
static size_t least_likely(const struct ui_message *message, size_t most, size_t *out) {
    size_t n = 0;
    for (size_t i = 0; i < message->n_tokens; i++) {
        float prob = message->tokens[i].prob;
        if (!(prob >= 0)) continue;
        if (n == most && prob >= message->tokens[out[n - 1]].prob) continue;
        size_t at = n < most ? n++ : n - 1;
        for (; at > 0 && message->tokens[out[at - 1]].prob > prob; at--) out[at] = out[at - 1];
        out[at] = i;
    }
    return n;
}

static void draw_least(const struct ui_score *of, struct canvas *canvas, struct rect rect) {
    enum { NATS = 6, PROB = 5, RANK = 6, GAP = 2 };
    size_t least[LEAST_MAX], most = rect.rows > 1 ? (size_t)(rect.rows - 1) : 0;
    size_t n = most ? least_likely(&of->message, most < LEAST_MAX ? most : LEAST_MAX, least) : 0;
    int x = rect.column, limit = rect.column + rect.columns, y = rect.row;
    int prob = x + NATS + GAP, rank = prob + PROB + GAP, token = rank + RANK + GAP;
    canvas_printf(canvas, y++, x, limit, STYLE_DIM, "%*s  %*s  %*s  least likely", NATS, "nats", PROB, "p",
                  RANK, "rank");
    for (size_t i = 0; i < n; i++, y++) {
        const struct ui_token *known = &of->message.tokens[least[i]];
        struct ui_range range = token_range(&of->message, least[i]);
        char number[FORMAT_MAX];
        double nats = known->prob > 0 ? -log((double)known->prob) : INFINITY;
        canvas_printf(canvas, y, x, limit, STYLE_TEXT, "%*.2f", NATS, nats);
        canvas_printf(canvas, y, prob, limit, token_style(known, COLOUR_MODE_PROB), "%s",
                      format_probability(known->prob, number));
        canvas_printf(canvas, y, rank, limit, STYLE_DIM, "%*s", RANK, format_count(known->rank, number));
        token_text_draw(of->message.text + range.start, range.end - range.start, false, canvas, y, token,
                        limit, STYLE_TEXT);
    }
}

/* ---- the whole ---- */

static void draw_sums(const struct ui_score *of, struct canvas *canvas, int y, int x, int limit) {
    size_t n = 0;
    for (size_t i = 0; i < of->message.n_tokens; i++) n += of->message.tokens[i].prob >= 0;
    x = phrase_draw(canvas, y, x, limit, STYLE_STRONG, "Score");
    if (n)
        x = phrase_draw(canvas, y, x, limit, STYLE_TEXT, "%zu token%s", of->message.n_tokens,
                        of->message.n_tokens == 1 ? "" : "s");
    if (n) x = phrase_draw(canvas, y, x, limit, STYLE_TEXT, "%.2f nats", of->nats);
    if (n) x = phrase_draw(canvas, y, x, limit, STYLE_TEXT, "%.2f a token", of->nats / (double)n);
    if (of->computing) x = phrase_draw(canvas, y, x, limit, STYLE_NOTICE, "computing ...");
    if (of->perplexity > 0) phrase_draw(canvas, y, x, limit, STYLE_TEXT, "perplexity %.2f", of->perplexity);
}

void score_draw(struct score *score, const struct ui_score *of, enum colour_mode colour, bool digits,
                struct canvas *canvas, struct rect rect) {
    struct rect text = {rect.row + 2, rect.column + 1, rect.rows - 2, rect.columns - 2}, table = text;
    if (rect.columns >= BESIDE_FROM) {
        text.columns -= TABLE_WIDTH + 2;
        table.column += text.columns + 2;
        table.columns = TABLE_WIDTH;
    } else {
        table.rows = text.rows / 3;
        text.rows -= table.rows + 1;
        table.row += text.rows + 1;
    }
    canvas_fill(canvas, rect, STYLE_TEXT, ' ');
    draw_sums(of, canvas, rect.row, rect.column + 1, rect.column + rect.columns - 1);
    const char *note = of->message.note; /* why there is no more of it */
    if (note && rect.rows > 1)
        canvas_text_end(canvas, rect.row + 1, rect.column + 1, rect.column + rect.columns - 1, STYLE_ERROR,
                        note, strlen(note));
    if (text.rows < 1 || text.columns < 8) return;
    int lines = digits ? 2 : 1;
    rows_update(&score->entry, &of->message, text.columns, ROWS_SOURCE);
    score->page = text.rows / lines > 1 ? text.rows / lines : 1;
    long last = (long)score->entry.n_shown - score->page;
    if (score->top > last) score->top = last;
    if (score->top < 0) score->top = 0;
    struct token_pen pen = {
        .colour = colour == COLOUR_MODE_OFF ? COLOUR_MODE_PROB : colour, .text = true, .digits = digits};
    for (size_t i = (size_t)score->top; i < score->entry.n_shown; i++) {
        int y = text.row + (int)(i - (size_t)score->top) * lines;
        if (y + lines > text.row + text.rows) break;
        token_row_draw(&of->message, &score->entry.rows[i], NULL, &pen, canvas, y, text.column,
                       text.column + text.columns);
    }
    draw_least(of, canvas, table);
}
