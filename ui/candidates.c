#include "ui/candidates.h"

#include "base/text.h"
#include "ui/format.h"

#include <stdio.h>
#include <string.h>

enum { MARKER = 1, RANK = 4, NUMBER = 5, CUT = 9, TOKEN_MIN = 12, TOKEN_MAX = 24, BAR_MIN = 4 };

/* ---- columns ---- */

static double stage_prob(const struct ui_stages *stages, size_t stage, size_t candidate) {
    return candidate < stages->n_candidates ? (double)stages->prob[stage * stages->n_candidates + candidate]
                                            : 0;
}

static bool stage_cuts(const struct ui_stages *stages, size_t stage) {
    for (size_t i = 0; i < stages->n_candidates; i++) {
        double before = stage == 0 ? 1 : stage_prob(stages, stage - 1, i);
        if (before > 0 && !(stage_prob(stages, stage, i) > 0)) return true;
    }
    return false;
}

/* Which stages there is room for. The last one is what "final" shows. */
static void choose_stages(struct table *t, int room) {
    size_t n = t->stages && t->stages->n_stages ? t->stages->n_stages - 1 : 0;
    if (n > TABLE_STAGES_MAX) n = TABLE_STAGES_MAX;
    size_t fit = room > 0 ? (size_t)(room / (NUMBER + 1)) : 0;
    t->has_cut = n == 0 || fit < n;
    if (t->has_cut) fit = room > CUT + 2 ? (size_t)((room - CUT - 2) / (NUMBER + 1)) : 0;
    bool take[TABLE_STAGES_MAX] = {false};
    for (int cutting = 1; cutting >= 0; cutting--)
        for (size_t i = 0; i < n && fit > 0; i++)
            if (!take[i] && (!cutting || stage_cuts(t->stages, i))) {
                take[i] = true;
                fit--;
            }
    for (size_t i = 0; i < n; i++)
        if (take[i]) t->shown[t->n_shown++] = i;
}

struct table table_of(const struct ui_position *position, const struct ui_inspect *inspect, int column,
                      int limit) {
    struct table t = {.position = position, .marker = column, .limit = limit, .selected = SIZE_MAX};
    int width = limit - column, fixed = MARKER + RANK + 1 + 1 + NUMBER + 1 + NUMBER;
    if (inspect) {
        t.selected = inspect->selected;
        t.stages = inspect->stages;
    }
    choose_stages(&t, width - fixed - TOKEN_MIN);
    int rest = width - fixed - (int)t.n_shown * (NUMBER + 1) - (t.has_cut ? 2 + CUT + 1 : 1);
    int token = t.n_shown ? rest : rest * 2 / 3;
    if (token < TOKEN_MIN) token = rest < TOKEN_MIN ? rest : TOKEN_MIN;
    if (token > TOKEN_MAX) token = TOKEN_MAX;
    t.token = t.marker + MARKER + RANK + 1;
    t.raw = t.token + token + 1;
    t.stage = t.raw + NUMBER + 1;
    t.final = t.stage + (int)t.n_shown * (NUMBER + 1);
    t.cut = t.final + NUMBER + 2;
    t.bar = t.has_cut ? t.cut + CUT + 1 : t.cut;
    return t;
}

/* ---- rows ---- */

/* Stages in five columns. */
static const char *short_name(const char *name) {
    static const struct {
        const char *name, *brief;
    } names[] = {{"penalties", "penal"}, {"typical", "typic"}, {"temperature", "temp"}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(name, names[i].name) == 0) return names[i].brief;
    return name;
}

void table_draw_head(const struct table *t, struct canvas *canvas, int y) {
    canvas_printf(canvas, y, t->marker + 4, t->limit, STYLE_DIM, "#");
    canvas_printf(canvas, y, t->token, t->raw, STYLE_DIM, "token");
    canvas_printf(canvas, y, t->raw, t->limit, STYLE_DIM, "  raw");
    for (size_t i = 0; i < t->n_shown; i++)
        canvas_printf(canvas, y, t->stage + (int)i * (NUMBER + 1), t->limit, STYLE_DIM, "%5.5s",
                      short_name(t->stages->names[t->shown[i]]));
    canvas_printf(canvas, y, t->final, t->limit, STYLE_DIM, "final");
    if (t->has_cut) canvas_printf(canvas, y, t->cut, t->limit, STYLE_DIM, "cut by");
}

int token_text_draw(const char *text, size_t len, bool control, struct canvas *canvas, int y, int x,
                    int limit, enum style style) {
    if (control) {
        if (style == STYLE_TEXT) style = STYLE_SYSTEM;
        return canvas_text_end(canvas, y, x, limit, style, text, len);
    }
    struct buf quoted = {0};
    if (limit - x < 4) return x;
    text_quote(&quoted, text ? text : "", len, (unsigned)(limit - x));
    x = canvas_text(canvas, y, x, limit, style, quoted.data, quoted.len);
    buf_free(&quoted);
    return x;
}

/* Its probability after each stage; the stage that cut it says so, and those after it are empty. */
static void draw_stages(const struct table *t, size_t candidate, enum style style, struct canvas *canvas,
                        int y) {
    char number[FORMAT_MAX];
    for (size_t i = 0; i < t->n_shown; i++) {
        size_t stage = t->shown[i];
        int x = t->stage + (int)i * (NUMBER + 1);
        double before = stage == 0 ? 1 : stage_prob(t->stages, stage - 1, candidate);
        double now = stage_prob(t->stages, stage, candidate);
        if (now > 0)
            canvas_printf(canvas, y, x, t->limit, style, "%s", format_probability(now, number));
        else if (before > 0)
            canvas_printf(canvas, y, x, t->limit, STYLE_NOTICE, "  cut");
    }
}

static void draw_candidate(const struct table *t, size_t place, struct canvas *canvas, int y) {
    const struct ui_candidate *candidate = &t->position->candidates[place];
    bool cut = candidate->cut && candidate->cut[0], inspecting = t->selected != SIZE_MAX;
    enum style style = candidate->chosen ? STYLE_CHOSEN : cut ? STYLE_CUT : STYLE_TEXT;
    char number[FORMAT_MAX];
    if (candidate->chosen)
        canvas_printf(canvas, y, t->marker, t->limit, STYLE_CHOSEN, inspecting ? "*" : ">");
    canvas_printf(canvas, y, t->marker + 1, t->limit, candidate->chosen ? STYLE_CHOSEN : STYLE_DIM, "%4s",
                  format_count((double)(candidate->rank ? candidate->rank : place + 1), number));
    token_text_draw(candidate->text, candidate->len, candidate->control, canvas, y, t->token, t->raw - 1,
                    style);
    canvas_printf(canvas, y, t->raw, t->limit, style, "%s", format_probability(candidate->raw, number));
    if (t->stages) draw_stages(t, place, style, canvas, y);
    canvas_printf(canvas, y, t->final, t->limit, style, "%s", format_probability(candidate->final, number));
    if (t->has_cut && cut) {
        const char *stage = strlen(candidate->cut) <= CUT ? candidate->cut : short_name(candidate->cut);
        canvas_text(canvas, y, t->cut, t->bar - 1, STYLE_DIM, stage, strlen(stage));
    } else if (t->has_cut) {
        canvas_printf(canvas, y, t->cut, t->limit, STYLE_DIM, "-");
    }
    if (t->limit - t->bar >= BAR_MIN || (t->has_cut && t->bar < t->limit))
        gauge_draw(canvas, y, t->bar, t->limit - t->bar, candidate->raw, cut ? STYLE_GAUGE_REST : STYLE_GAUGE,
                   STYLE_TEXT, ' ');
    if (place != t->selected) return;
    canvas_restyle(canvas, (struct rect){y, t->marker, 1, t->limit - t->marker}, STYLE_SELECTED);
    canvas_printf(canvas, y, t->marker, t->limit, STYLE_SELECTED, ">");
}

/* ---- which candidates ---- */

/* For `rows` lines: the best ones, or those up to the selected one. The chosen one takes the last line if it
 * is not among them and the selected one is not there. */
struct listing {
    size_t first, n, last; /* last: what stands in the last line */
};

static struct listing listing_of(const struct table *t, int rows) {
    const struct ui_position *position = t->position;
    struct listing list = {0};
    list.n = rows < 0 ? 0 : (size_t)rows < position->n ? (size_t)rows : position->n;
    if (t->selected < position->n && t->selected >= list.n && list.n > 0)
        list.first = t->selected + 1 - list.n;
    list.last = list.first + list.n - 1;
    if (list.last == t->selected) return list;
    for (size_t i = list.first + list.n; i < position->n && list.n > 0; i++)
        if (position->candidates[i].chosen) list.last = i;
    return list;
}

static size_t listed(const struct listing *list, size_t i) {
    return i + 1 == list->n ? list->last : list->first + i;
}

/* What is not listed: tokens, and probability after the stage (or raw, or final). */
static void draw_rest(const struct table *t, const struct listing *list, struct canvas *canvas, int y) {
    char number[FORMAT_MAX];
    size_t n_vocab = t->position->n_vocab, rest = n_vocab > list->n ? n_vocab - list->n : 0;
    double raw = 1, final = 1;
    for (size_t i = 0; i < list->n; i++) {
        raw -= (double)t->position->candidates[listed(list, i)].raw;
        final -= (double)t->position->candidates[listed(list, i)].final;
    }
    canvas_printf(canvas, y, t->token, t->raw - 1, STYLE_DIM, "rest (%s)",
                  format_count((double)rest, number));
    canvas_printf(canvas, y, t->raw, t->limit, STYLE_DIM, "%s",
                  format_probability(raw < 5e-7 ? 0 : raw, number));
    for (size_t s = 0; s < t->n_shown; s++) {
        double left = 1;
        for (size_t i = 0; i < list->n; i++) left -= stage_prob(t->stages, t->shown[s], listed(list, i));
        canvas_printf(canvas, y, t->stage + (int)s * (NUMBER + 1), t->limit, STYLE_DIM, "%s",
                      format_probability(left < 1e-4 ? 0 : left, number));
    }
    canvas_printf(canvas, y, t->final, t->limit, STYLE_DIM, "%s",
                  format_probability(final < 1e-4 ? 0 : final, number));
}

int table_draw(const struct table *t, struct canvas *canvas, int y, int end) {
    struct listing list = listing_of(t, end - y - 1);
    for (size_t i = 0; i < list.n; i++, y++) {
        size_t place = listed(&list, i);
        struct rect row = {y, t->marker, 1, t->limit - t->marker};
        draw_candidate(t, place, canvas, y);
        if (t->selected != SIZE_MAX) canvas_area(canvas, row, AREA_CANDIDATE, place);
    }
    draw_rest(t, &list, canvas, y);
    return y + 1;
}
