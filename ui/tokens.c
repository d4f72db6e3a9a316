#include "ui/tokens.h"

#include "base/text.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { LEVELS = 10, LABEL_MAX = 8 };

/* Upper ends of the levels 9, 8, ... 1; what is above the last is level 0. */
static const double rank_ends[LEVELS - 1] = {1, 2, 3, 5, 10, 20, 50, 200, 1000};
static const double bits_ends[LEVELS - 1] = {0.25, 0.5, 1, 1.5, 2, 2.5, 3, 4, 5};

static int level_of(double value, const double ends[LEVELS - 1]) {
    int level = LEVELS - 1;
    while (level > 0 && value > ends[LEVELS - 1 - level]) level--;
    return level;
}

static int level_of_prob(float p) {
    int level = (int)(p * LEVELS); /* in single precision, where 0.7 * 10 is 7 */
    return level > LEVELS - 1 ? LEVELS - 1 : level;
}

int token_level(const struct ui_token *token, enum colour_mode mode) {
    if (!(token->prob >= 0)) return -1;
    switch (mode) {
    case COLOUR_MODE_PROB: return level_of_prob(token->prob);
    case COLOUR_MODE_RANK: return token->rank ? level_of(token->rank, rank_ends) : -1;
    case COLOUR_MODE_ENTROPY: return level_of((double)token->entropy / M_LN2, bits_ends);
    default: return -1;
    }
}

static enum style level_style(int level) {
    return level < 0 ? STYLE_TEXT : (enum style)(STYLE_PROB0 + level);
}

enum style token_style(const struct ui_token *token, enum colour_mode mode) {
    return level_style(token_level(token, mode));
}

size_t token_find(const struct ui_message *message, size_t offset) {
    size_t low = 0, high = message->tokens ? message->n_tokens : 0;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (message->tokens[middle].end > offset)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

/* ---- the legend ---- */

static const char *const rank_names[LEVELS] = {">1000", "1000", "200", "50", "20", "10", "5", "3", "2", "1"};
static const char *const bits_names[LEVELS] = {">5", "5", "4", "3", "2.5", "2", "1.5", "1", ".5", ".25"};

/* From the surest to the least sure, with words where there is room for them. */
int legend_draw(enum colour_mode mode, bool digits, struct canvas *canvas, int y, int x, int limit) {
    static const char *const heads[] = {"", "p ", "rank ", "bits "};
    const char *const *names = mode == COLOUR_MODE_RANK      ? rank_names
                               : mode == COLOUR_MODE_ENTROPY ? bits_names
                                                             : NULL;
    char labels[LEVELS][LABEL_MAX + 4];
    int width = (int)strlen(heads[mode]), gap = names ? 1 : 0;
    if (mode == COLOUR_MODE_OFF) return limit;
    for (int level = 0; level < LEVELS; level++) {
        if (!names)
            snprintf(labels[level], sizeof labels[level], "%d", level);
        else if (digits)
            snprintf(labels[level], sizeof labels[level], "%d:%s", level, names[level]);
        else
            snprintf(labels[level], sizeof labels[level], "%s", names[level]);
        width += (int)strlen(labels[level]) + gap;
    }
    width -= gap;
    if (width > limit - x) { /* levels alone */
        width = (int)strlen(heads[mode]) + LEVELS;
        gap = 0;
        for (int level = 0; level < LEVELS; level++)
            snprintf(labels[level], sizeof labels[level], "%d", level);
    }
    if (width > limit - x) return limit;
    int begin = limit - width, at = canvas_printf(canvas, y, begin, limit, STYLE_DIM, "%s", heads[mode]);
    for (int i = 0; i < LEVELS; i++) {
        int level = names ? LEVELS - 1 - i : i;
        at = canvas_printf(canvas, y, at, limit, level_style(level), "%s", labels[level]) + gap;
    }
    return begin;
}

/* ---- strips ---- */

/* The tokens in view: as many as there is room for, up to the moment's, which is in the middle if more
 * follow. */
static size_t strip_first(const struct ui_position *position, size_t room) {
    size_t at = position->strip_at, n = position->n_strip;
    if (n <= room) return 0;
    if (at < room / 2) return 0;
    size_t first = at - room / 2;
    return first + room > n ? n - room : first;
}

/* A block of eighths, or a digit where there are no such blocks. */
static void draw_spark(struct canvas *canvas, int y, int x, enum style style, double share) {
    enum { EIGHTHS = 8, LOWEST = 0x2581 };
    if (!(share > 0)) share = 0;
    if (share > 1) share = 1;
    if (canvas->glyphs == GLYPHS_ALL)
        canvas_fill(canvas, (struct rect){y, x, 1, 1}, style,
                    (uint32_t)(LOWEST + (int)(share * (EIGHTHS - 1) + 0.5)));
    else
        canvas_printf(canvas, y, x, x + 1, style, "%d", (int)(share * 9 + 0.5));
}

enum strip { STRIP_PROB, STRIP_ENTROPY, STRIP_MS, STRIP_COUNT };
enum { HEAD_WIDTH = 3, TOP_WIDTH = 6, TOP_BITS = 6 };

/* One token's cell; top: the value that fills it. */
static void draw_strip_cell(const struct ui_token *token, enum strip strip, double top, bool cursor,
                            struct canvas *canvas, int y, int x) {
    int level = token_level(token, strip == STRIP_ENTROPY ? COLOUR_MODE_ENTROPY : COLOUR_MODE_PROB);
    enum style style = cursor ? STYLE_CURSOR : strip == STRIP_MS ? STYLE_GAUGE : level_style(level);
    if (strip == STRIP_MS)
        draw_spark(canvas, y, x, style, (double)token->ms / top);
    else if (level < 0)
        canvas_text(canvas, y, x, x + 1, cursor ? STYLE_CURSOR : STYLE_DIM, ".", 1);
    else if (strip == STRIP_PROB)
        canvas_printf(canvas, y, x, x + 1, style, "%d", level);
    else
        draw_spark(canvas, y, x, style, (double)token->entropy / M_LN2 / top);
}

void strips_draw(const struct ui_position *position, bool cursor, struct canvas *canvas, int y, int x,
                 int limit) {
    static const char *const heads[STRIP_COUNT] = {"p", "H", "ms"};
    int room = limit - x - HEAD_WIDTH - TOP_WIDTH;
    if (room < 1 || position->n_strip == 0) return;
    size_t first = strip_first(position, (size_t)room), end = first + (size_t)room;
    if (end > position->n_strip) end = position->n_strip;
    double tops[STRIP_COUNT] = {1, TOP_BITS, 0};
    for (size_t i = first; i < end; i++) tops[STRIP_MS] = fmax(tops[STRIP_MS], (double)position->strip[i].ms);
    for (int strip = 0; strip < STRIP_COUNT; strip++, y++) {
        double top = tops[strip];
        if (!(top > 0)) continue; /* what was only read took no time of its own */
        int at = x + HEAD_WIDTH;
        canvas_printf(canvas, y, x, limit, STYLE_DIM, "%s", heads[strip]);
        for (size_t i = first; i < end; i++)
            draw_strip_cell(&position->strip[i], (enum strip)strip, top, cursor && i == position->strip_at,
                            canvas, y, at++);
        if (strip != STRIP_PROB)
            canvas_printf(canvas, y, at, limit, STYLE_DIM,
                          top < 100 && strip == STRIP_MS ? " <%.1f" : " <%.0f", top);
    }
}
