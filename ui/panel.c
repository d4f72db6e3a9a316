#include "ui/panel.h"

#include "base/text.h"
#include "ui/format.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Columns of the table: "> 1  token   raw  final  cut by     ####". */
struct table {
    int column, marker, token, raw, final, cut, bar, limit; /* first column of each; limit: after the last */
};

static struct table table_of(int column, int limit) {
    enum { MARKER = 1, RANK = 4, NUMBER = 5, CUT = 9 };
    int rest = limit - column - (MARKER + RANK + 1 + 1 + NUMBER + 1 + NUMBER + 2 + CUT + 1);
    int token = rest * 2 / 3;
    if (token < 12) token = rest < 12 ? rest : 12;
    if (token > 24) token = 24;
    struct table t = {.column = column, .marker = column, .limit = limit};
    t.token = t.marker + MARKER + RANK + 1;
    t.raw = t.token + token + 1;
    t.final = t.raw + NUMBER + 1;
    t.cut = t.final + NUMBER + 2;
    t.bar = t.cut + CUT + 1;
    return t;
}

static void draw_head(const struct table *t, struct canvas *canvas, int y) {
    canvas_printf(canvas, y, t->marker + 4, t->limit, STYLE_DIM, "#");
    canvas_printf(canvas, y, t->token, t->raw, STYLE_DIM, "token");
    canvas_printf(canvas, y, t->raw, t->limit, STYLE_DIM, "  raw final  cut by");
}

static int draw_token(const struct ui_candidate *candidate, struct canvas *canvas, int y, int x, int limit,
                      enum style style) {
    if (candidate->control) {
        if (style == STYLE_TEXT) style = STYLE_SYSTEM;
        return canvas_text_end(canvas, y, x, limit, style, candidate->text, candidate->len);
    }
    struct buf quoted = {0};
    text_quote(&quoted, candidate->text ? candidate->text : "", candidate->len, (unsigned)(limit - x));
    x = canvas_text(canvas, y, x, limit, style, quoted.data, quoted.len);
    buf_free(&quoted);
    return x;
}

static void draw_candidate(const struct table *t, const struct ui_candidate *candidate, size_t place,
                           struct canvas *canvas, int y) {
    bool cut = candidate->cut && candidate->cut[0];
    enum style style = candidate->chosen ? STYLE_CHOSEN : cut ? STYLE_CUT : STYLE_TEXT;
    char number[FORMAT_MAX];
    if (candidate->chosen) canvas_printf(canvas, y, t->marker, t->limit, STYLE_CHOSEN, ">");
    canvas_printf(canvas, y, t->marker + 1, t->limit, candidate->chosen ? STYLE_CHOSEN : STYLE_DIM, "%4s",
                  format_count((double)(candidate->rank ? candidate->rank : place + 1), number));
    draw_token(candidate, canvas, y, t->token, t->raw - 1, style);
    canvas_printf(canvas, y, t->raw, t->limit, style, "%s", format_probability(candidate->raw, number));
    canvas_printf(canvas, y, t->final, t->limit, style, "%s", format_probability(candidate->final, number));
    if (cut)
        canvas_text(canvas, y, t->cut, t->bar - 1, STYLE_DIM, candidate->cut, strlen(candidate->cut));
    else
        canvas_printf(canvas, y, t->cut, t->limit, STYLE_DIM, "-");
    if (t->bar < t->limit)
        gauge_draw(canvas, y, t->bar, t->limit - t->bar, candidate->raw, cut ? STYLE_GAUGE_REST : STYLE_GAUGE,
                   STYLE_TEXT, ' ');
}

/* Rows for `rows` lines: the best ones; the chosen one takes the last line if it is not among them. The sums
 * are of those. */
struct listing {
    size_t n, chosen_at; /* chosen_at: index of the chosen candidate if it stands last, otherwise SIZE_MAX */
    double raw, final;
};

static struct listing listing_of(const struct ui_position *position, int rows) {
    struct listing list = {.chosen_at = SIZE_MAX};
    list.n = rows < 0 ? 0 : (size_t)rows < position->n ? (size_t)rows : position->n;
    for (size_t i = list.n; i < position->n && list.n > 0; i++)
        if (position->candidates[i].chosen) list.chosen_at = i;
    for (size_t i = 0; i < list.n; i++) {
        size_t at = i + 1 == list.n && list.chosen_at != SIZE_MAX ? list.chosen_at : i;
        list.raw += position->candidates[at].raw;
        list.final += position->candidates[at].final;
    }
    return list;
}

static const struct ui_candidate *listed(const struct ui_position *position, const struct listing *list,
                                         size_t i, size_t *place) {
    *place = i + 1 == list->n && list->chosen_at != SIZE_MAX ? list->chosen_at : i;
    return &position->candidates[*place];
}

/* Candidates and the rest from row y on, not beyond `end`. */
static int draw_table(const struct ui_position *position, const struct table *t, struct canvas *canvas, int y,
                      int end) {
    struct listing list = listing_of(position, end - y - 1);
    for (size_t i = 0; i < list.n; i++) {
        size_t place;
        const struct ui_candidate *candidate = listed(position, &list, i, &place);
        draw_candidate(t, candidate, place, canvas, y++);
    }
    char count[FORMAT_MAX], number[FORMAT_MAX];
    size_t rest = position->n_vocab > list.n ? position->n_vocab - list.n : 0;
    canvas_printf(canvas, y, t->token, t->raw - 1, STYLE_DIM, "rest (%s)", format_count((double)rest, count));
    canvas_printf(canvas, y, t->raw, t->limit, STYLE_DIM, "%s",
                  format_probability(1 - list.raw < 5e-7 ? 0 : 1 - list.raw, number));
    canvas_printf(canvas, y, t->final, t->limit, STYLE_DIM, "%s",
                  format_probability(1 - list.final < 1e-4 ? 0 : 1 - list.final, number));
    return y + 1;
}

static int draw_facts(const struct ui_position *position, struct canvas *canvas, int y, int x, int limit) {
    x = canvas_printf(canvas, y, x, limit, STYLE_TEXT, "H %.2f bits", (double)position->entropy / M_LN2);
    if (position->rank) x = canvas_printf(canvas, y, x, limit, STYLE_TEXT, "  rank %u", position->rank);
    if (position->ms > 0)
        x = canvas_printf(canvas, y, x, limit, STYLE_TEXT, "  %.1f ms", (double)position->ms);
    return x;
}

/* "p 9987698729": a digit a token, as many as end with this moment's. */
static void draw_digits(const struct ui_position *position, struct canvas *canvas, int y, int x, int limit) {
    x = canvas_printf(canvas, y, x, limit, STYLE_DIM, "p ");
    if (x >= limit || position->n_strip == 0) return;
    size_t room = (size_t)(limit - x), end = position->strip_at + 1;
    for (size_t i = end > room ? end - room : 0; i < end; i++) {
        float p = position->strip[i].prob;
        int digit = p >= 0.9f ? 9 : p > 0 ? (int)(p * 10) : 0;
        x = canvas_printf(canvas, y, x, limit, (enum style)(STYLE_PROB0 + digit), "%d", digit);
    }
}

void panel_draw_right(const struct ui_position *position, struct canvas *canvas, struct rect rect) {
    int x = rect.column + 2, limit = rect.column + rect.columns - 1, y = rect.row, end = rect.row + rect.rows;
    canvas_fill(canvas, (struct rect){rect.row, rect.column, rect.rows, 1}, STYLE_DIM, 0x2502);
    int after = canvas_printf(canvas, y, x, limit, STYLE_STRONG, "NEXT");
    if (!position) {
        canvas_printf(canvas, y + 1, x, limit, STYLE_DIM, "candidates appear with the first token");
        return;
    }
    canvas_printf(canvas, y, after + 2, limit, STYLE_DIM, "position %u", position->position);
    struct table t = table_of(x, limit);
    draw_head(&t, canvas, y + 1);
    draw_table(position, &t, canvas, y + 2, end - 4);
    draw_facts(position, canvas, end - 3, x, limit);
    draw_digits(position, canvas, end - 2, x, limit);
    if (position->chain && position->chain[0]) {
        x = canvas_printf(canvas, end - 1, x, limit, STYLE_DIM, "final: ");
        canvas_text_end(canvas, end - 1, x, limit, STYLE_DIM, position->chain, strlen(position->chain));
    }
}

void panel_draw_below(const struct ui_position *position, struct canvas *canvas, struct rect rect) {
    int x = rect.column + 1, limit = rect.column + rect.columns - 1;
    canvas_fill(canvas, (struct rect){rect.row, rect.column, 1, rect.columns}, STYLE_DIM, 0x2500);
    x = canvas_printf(canvas, rect.row, x, limit, STYLE_STRONG, " NEXT ");
    if (!position) {
        canvas_printf(canvas, rect.row + 1, rect.column + 1, limit, STYLE_DIM,
                      "candidates appear with the first token");
        return;
    }
    x = canvas_printf(canvas, rect.row, x, limit, STYLE_DIM, " position %u  ", position->position);
    x = draw_facts(position, canvas, rect.row, x, limit);
    x = canvas_printf(canvas, rect.row, x, limit, STYLE_DIM, "  ");
    if (limit - x > 4) {
        size_t n = position->n_strip < (size_t)(limit - x - 3) ? position->n_strip : (size_t)(limit - x - 3);
        draw_digits(position, canvas, rect.row, x, x + 2 + (int)n);
        canvas_printf(canvas, rect.row, x + 2 + (int)n, limit, STYLE_DIM, " ");
    }
    struct table t = table_of(rect.column, limit);
    draw_table(position, &t, canvas, rect.row + 1, rect.row + rect.rows);
}

void panel_draw_strip(const struct ui_position *position, struct canvas *canvas, struct rect rect) {
    int y = rect.row, x = rect.column + 1, limit = rect.column + rect.columns - 1;
    x = canvas_printf(canvas, y, x, limit, STYLE_STRONG, "NEXT");
    if (!position) return;
    size_t chosen = 0;
    while (chosen < position->n && !position->candidates[chosen].chosen) chosen++;
    bool first = chosen > 1 && chosen < position->n; /* the chosen one is always seen */
    for (size_t i = 0; i < position->n; i++) {
        size_t at = !first ? i : i == 0 ? chosen : i <= chosen ? i - 1 : i;
        const struct ui_candidate *candidate = &position->candidates[at];
        bool cut = candidate->cut && candidate->cut[0];
        enum style style = candidate->chosen ? STYLE_CHOSEN : cut ? STYLE_CUT : STYLE_TEXT;
        if (limit - x < 2 + 6 + 6) break; /* a gap, a short token, its number */
        char number[FORMAT_MAX];
        x += 2;
        if (candidate->chosen) x = canvas_printf(canvas, y, x, limit, style, ">");
        x = draw_token(candidate, canvas, y, x, limit - 6, style);
        x = canvas_printf(canvas, y, x, limit, STYLE_DIM, "%s", format_probability(candidate->raw, number));
    }
}
