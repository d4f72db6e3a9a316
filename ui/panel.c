#include "ui/panel.h"

#include "ui/candidates.h"
#include "ui/format.h"
#include "ui/tokens.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const char *moment_name(const struct ui_model *model) {
    return model->inspect ? "TOKEN" : "NEXT";
}

/* "13 of 86  position 412  branch 2 of 3  ": those parts of it that fit whole. */
static int draw_place(const struct ui_model *model, struct canvas *canvas, int y, int x, int limit) {
    const struct ui_inspect *inspect = model->inspect;
    char parts[3][64] = {"", "", ""};
    if (inspect && inspect->n_tokens)
        snprintf(parts[0], sizeof parts[0], "%zu of %zu  ", inspect->index + 1, inspect->n_tokens);
    if (model->shown) snprintf(parts[1], sizeof parts[1], "position %u  ", model->shown->position);
    if (inspect && inspect->n_siblings > 1)
        snprintf(parts[2], sizeof parts[2], "branch %u of %u  ", inspect->sibling, inspect->n_siblings);
    for (size_t i = 0; i < 3; i++)
        if (x + (int)strlen(parts[i]) <= limit)
            x = canvas_text(canvas, y, x, limit, STYLE_DIM, parts[i], strlen(parts[i]));
    return x;
}

static enum ui_role role_of(const struct ui_model *model, uint64_t id) {
    for (size_t i = 0; i < model->n_messages; i++)
        if (model->messages[i].id == id) return model->messages[i].role;
    return UI_ROLE_NOTE;
}

static const struct ui_token *cursor_token(const struct ui_model *model) {
    const struct ui_inspect *inspect = model->inspect;
    for (size_t i = 0; inspect->message && i < model->n_messages; i++)
        if (model->messages[i].id == inspect->message && inspect->token < model->messages[i].n_tokens)
            return model->messages[i].tokens ? &model->messages[i].tokens[inspect->token] : NULL;
    return NULL;
}

/* The token under the cursor: its text, its bytes where they are no text of their own, who wrote it. */
static int draw_cursor_token(const struct ui_model *model, struct canvas *canvas, int y, int x, int limit) {
    static const char *const who[] = {"you", "bot", "sys", "note"};
    const struct ui_inspect *inspect = model->inspect;
    const struct ui_token *token = cursor_token(model);
    if (inspect->n_tokens == 0) return x;
    x = token_text_draw(inspect->text, inspect->len, inspect->control, canvas, y, x,
                        x + 28 < limit ? x + 28 : limit, STYLE_CURSOR);
    x = canvas_printf(canvas, y, x, limit, STYLE_DIM, "  id %d", inspect->id);
    if (inspect->message)
        x = canvas_printf(canvas, y, x, limit, STYLE_DIM, "  %s", who[role_of(model, inspect->message)]);
    else if (inspect->before)
        x = canvas_printf(canvas, y, x, limit, STYLE_DIM, "  template, before %s",
                          who[role_of(model, inspect->before)]);
    else
        x = canvas_printf(canvas, y, x, limit, STYLE_DIM, "  template, at the end");
    if (token && token->picked) x = canvas_printf(canvas, y, x, limit, STYLE_NOTICE, "  picked by you");
    return x;
}

static int draw_facts(const struct ui_model *model, struct canvas *canvas, int y, int x, int limit) {
    const struct ui_position *position = model->shown;
    if (model->inspect && model->inspect->computing)
        return canvas_printf(canvas, y, x, limit, STYLE_NOTICE, "computing ...");
    bool wide = limit - x > 34;
    char rank[FORMAT_MAX];
    x = canvas_printf(canvas, y, x, limit, STYLE_TEXT, wide ? "H %.2f bits  " : "H %.2f ",
                      (double)position->entropy / M_LN2);
    if (position->rank && wide)
        x = canvas_printf(canvas, y, x, limit, STYLE_TEXT, "rank %u  ", position->rank);
    else if (position->rank)
        x = canvas_printf(canvas, y, x, limit, STYLE_TEXT, "rank %s ", format_count(position->rank, rank));
    if (position->ms > 0)
        x = canvas_printf(canvas, y, x, limit, STYLE_TEXT, wide ? "%.1f ms" : "%.1fms", (double)position->ms);
    return x;
}

/* Entropy, rank, time, and the tokens around: rows y to y + 3. */
static void draw_numbers(const struct ui_model *model, struct canvas *canvas, int y, int x, int limit) {
    draw_facts(model, canvas, y, x, limit);
    strips_draw(model->shown, model->inspect != NULL, canvas, y + 1, x, limit);
}

/* What "final" means. */
static int draw_chain(const struct ui_position *position, struct canvas *canvas, int y, int x, int limit) {
    if (!position->chain || !position->chain[0]) return x;
    x = canvas_printf(canvas, y, x, limit, STYLE_DIM, "final: ");
    return canvas_text_end(canvas, y, x, limit, STYLE_DIM, position->chain, strlen(position->chain));
}

/* Is there nothing to list? The tokens around are shown all the same. */
static bool is_empty(const struct ui_model *model) {
    return !model->shown || model->shown->foreign || (model->inspect && model->shown->n == 0);
}

static const char *why_empty(const struct ui_model *model) {
    if (model->shown && model->shown->foreign) return "another model said this";
    if (!model->inspect) return "candidates appear with the first token";
    if (model->inspect->n_tokens == 0) return "no token is known here yet";
    if (model->inspect->waits) return "known after the answer";
    if (model->inspect->computing) return "computing ...";
    return model->inspect->index == 0 ? "the first token: nothing stands before it"
                                      : "nothing is known of this token";
}

/* ---- beside ---- */

void panel_draw_right(const struct ui_model *model, struct canvas *canvas, struct rect rect) {
    enum { NUMBERS = 5 }; /* with the chain */
    int x = rect.column + 2, limit = rect.column + rect.columns - 1, y = rect.row, end = rect.row + rect.rows;
    canvas_fill(canvas, (struct rect){rect.row, rect.column, rect.rows, 1}, STYLE_DIM, 0x2502);
    int after = canvas_printf(canvas, y, x, limit, STYLE_STRONG, "%s", moment_name(model));
    draw_place(model, canvas, y++, after + 2, limit);
    if (model->inspect) draw_cursor_token(model, canvas, y++, x, limit);
    if (is_empty(model)) {
        canvas_printf(canvas, y, x, limit, STYLE_DIM, "%s", why_empty(model));
        if (model->shown) strips_draw(model->shown, true, canvas, end - NUMBERS + 1, x, limit);
        return;
    }
    struct table t = table_of(model->shown, model->inspect, x, limit);
    table_draw_head(&t, canvas, y);
    table_draw(&t, canvas, y + 1, end - NUMBERS - 1);
    draw_numbers(model, canvas, end - NUMBERS, x, limit);
    draw_chain(model->shown, canvas, end - 1, x, limit);
}

/* ---- below: a rule that says where, the table, numbers at its right ---- */

static void draw_rule(const struct ui_model *model, struct canvas *canvas, int y, int x, int limit) {
    canvas_fill(canvas, (struct rect){y, x - 1, 1, limit - x + 2}, STYLE_DIM, 0x2500);
    x = canvas_printf(canvas, y, x, limit, STYLE_STRONG, " %s  ", moment_name(model));
    if (model->inspect) {
        x = draw_cursor_token(model, canvas, y, x, limit);
        x = canvas_printf(canvas, y, x, limit, STYLE_DIM, "  ");
    }
    x = draw_place(model, canvas, y, x, limit);
    if (model->shown && !model->inspect) {
        x = draw_chain(model->shown, canvas, y, x, limit - 1);
        canvas_printf(canvas, y, x, limit, STYLE_DIM, " ");
    }
}

void panel_draw_below(const struct ui_model *model, struct canvas *canvas, struct rect rect) {
    int side = rect.columns >= 100 ? 34 : 24, limit = rect.column + rect.columns - 1;
    draw_rule(model, canvas, rect.row, rect.column + 1, limit);
    if (is_empty(model)) {
        if (model->shown) strips_draw(model->shown, true, canvas, rect.row + 2, limit - side + 2, limit);
        canvas_printf(canvas, rect.row + 1, rect.column + 1, limit, STYLE_DIM, "%s", why_empty(model));
        return;
    }
    struct table t = table_of(model->shown, model->inspect, rect.column, limit - side);
    int y = rect.row + 1, end = rect.row + rect.rows;
    if (t.n_shown && rect.rows > 5) table_draw_head(&t, canvas, y++); /* stages need their names */
    table_draw(&t, canvas, y, end);
    draw_numbers(model, canvas, rect.row + 1, limit - side + 2, limit);
}

/* ---- one line ---- */

/* The selected or chosen candidate is always seen: first where it would lie too far to the right. */
void panel_draw_strip(const struct ui_model *model, struct canvas *canvas, struct rect rect) {
    const struct ui_position *position = model->shown;
    int y = rect.row, x = rect.column + 1, limit = rect.column + rect.columns - 1;
    if (model->inspect)
        x = token_text_draw(model->inspect->text, model->inspect->len, model->inspect->control, canvas, y, x,
                            x + (limit - x) / 3, STYLE_CURSOR);
    else
        x = canvas_printf(canvas, y, x, limit, STYLE_STRONG, "NEXT");
    if (is_empty(model) && model->inspect)
        canvas_text_end(canvas, y, x + 2, limit, STYLE_DIM, why_empty(model), strlen(why_empty(model)));
    if (!position) return;
    size_t seen = model->inspect ? model->inspect->selected : 0;
    while (!model->inspect && seen < position->n && !position->candidates[seen].chosen) seen++;
    bool first = seen > 1 && seen < position->n;
    for (size_t i = 0; i < position->n; i++) {
        size_t at = !first ? i : i == 0 ? seen : i <= seen ? i - 1 : i;
        const struct ui_candidate *candidate = &position->candidates[at];
        bool cut = candidate->cut && candidate->cut[0], selected = model->inspect && at == seen;
        enum style style = candidate->chosen ? STYLE_CHOSEN : cut ? STYLE_CUT : STYLE_TEXT;
        if (limit - x < 2 + 6 + 6) break; /* a gap, a short token, its number */
        char number[FORMAT_MAX];
        int begin = x += 2;
        if (model->inspect ? selected : candidate->chosen) x = canvas_printf(canvas, y, x, limit, style, ">");
        x = token_text_draw(candidate->text, candidate->len, candidate->control, canvas, y, x, limit - 6,
                            style);
        const char *raw = format_probability(candidate->raw, number);
        x = canvas_printf(canvas, y, x, limit, STYLE_DIM, " %s", raw + (raw[0] == ' '));
        if (selected) canvas_restyle(canvas, (struct rect){y, begin, 1, x - begin}, STYLE_SELECTED);
    }
}
