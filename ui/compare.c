#include "ui/compare.h"

#include "base/text.h"
#include "ui/token_row.h"

#include <stdlib.h>
#include <string.h>

enum { BESIDE_FROM = 80 };

void compare_free(struct compare *compare) {
    for (int side = 0; side < 2; side++) {
        for (size_t i = 0; i < compare->cap[side]; i++) rows_free(&compare->entries[side][i]);
        free(compare->entries[side]);
    }
    *compare = (struct compare){0};
}

/* The rows of a branch, broken for this width. */
static struct chat_entry *update(struct compare *compare, int side, const struct ui_branch *branch,
                                 int width) {
    size_t old = compare->cap[side];
    grow_array(&compare->entries[side], &compare->cap[side], branch->n_messages + 1,
               sizeof **compare->entries);
    struct chat_entry *entries = compare->entries[side];
    if (compare->cap[side] > old) memset(entries + old, 0, (compare->cap[side] - old) * sizeof *entries);
    for (size_t i = 0; i < branch->n_messages; i++)
        rows_update(&entries[i], &branch->messages[i], width, ROWS_SOURCE);
    return entries;
}

/* Lines of messages: each has its name, its rows of so many lines, and a blank one. */
static long total(const struct chat_entry *entries, size_t n, long row_lines) {
    long lines = 0;
    for (size_t i = 0; i < n; i++) lines += (long)entries[i].n_shown * row_lines + 2;
    return lines > 0 ? lines - 1 : 0; /* the last blank one is none */
}

/* ---- where they part ---- */

static bool parts(const struct ui_branch *branch) {
    return branch->n_messages > 0 && branch->parts_at < branch->messages[0].len;
}

/* The token that begins there; without tokens the rest of the message. */
static struct ui_range parting_token(const struct ui_branch *branch) {
    const struct ui_message *message = &branch->messages[0];
    size_t token = token_find(message, branch->parts_at);
    uint32_t start = (uint32_t)branch->parts_at;
    if (message->tokens && token < message->n_tokens)
        return (struct ui_range){start, message->tokens[token].end};
    return (struct ui_range){start, (uint32_t)message->len};
}

/* ---- drawing ---- */

/* How both are drawn. */
struct look_at {
    enum colour_mode colour;
    long row_lines, top; /* lines a row: with digits two */
};

/* A line of a message: its name, text, digits, or nothing. */
static void draw_line(const struct ui_message *message, const struct chat_entry *entry, long line,
                      long row_lines, const struct token_pen *pen, struct canvas *canvas, int y, int x,
                      int limit) {
    static const char *const names[] = {"you", "bot", "sys", ""};
    static const enum style styles[] = {STYLE_YOU, STYLE_BOT, STYLE_SYSTEM, STYLE_DIM};
    if (line == 0) {
        canvas_printf(canvas, y, x, limit, styles[message->role], "%s", names[message->role]);
        return;
    }
    size_t row = (size_t)((line - 1) / row_lines);
    if (row >= entry->n_shown) return;
    struct token_pen used = *pen;
    used.text = (line - 1) % row_lines == 0;
    used.digits = !used.text;
    token_row_draw(message, &entry->rows[row], NULL, &used, canvas, y, x, limit);
}

static void draw_branch(const struct ui_branch *branch, const struct chat_entry *entries,
                        const struct look_at *look, struct canvas *canvas, struct rect rect) {
    int x = rect.column + 1, limit = rect.column + rect.columns - 1, y = rect.row, end = rect.row + rect.rows;
    const char *title = branch->title ? branch->title : "";
    canvas_text_end(canvas, y++, x, limit, STYLE_STRONG, title, strlen(title));
    long skip = look->top;
    for (size_t i = 0; i < branch->n_messages && y < end; i++) {
        const struct ui_message *message = &branch->messages[i];
        struct token_pen pen = {.colour = look->colour};
        if (i == 0) pen.dim = branch->parts_at;
        if (i == 0 && parts(branch)) pen.mark = parting_token(branch);
        long height = total(&entries[i], 1, look->row_lines) + 1; /* with the blank line */
        for (long line = skip; line < height && y < end; line++)
            draw_line(message, &entries[i], line, look->row_lines, &pen, canvas, y++, x, limit);
        skip = skip > height ? skip - height : 0;
    }
}

static int text_width_of(struct rect rect) {
    return rect.columns > 4 ? rect.columns - 2 : 2;
}

/* Break both for the room they have; the view begins where they part if it is another pair than before. */
static void arrange(struct compare *compare, const struct ui_compare *of, const struct rect sides[2],
                    long row_lines) {
    long most = 0, part_line = 0;
    bool fresh = false;
    compare->page = sides[1].rows > 2 ? sides[1].rows - 1 : 1;
    for (int side = 0; side < 2; side++) {
        const struct ui_branch *branch = &of->branches[side];
        struct chat_entry *entries = update(compare, side, branch, text_width_of(sides[side]));
        uint64_t id = branch->n_messages ? branch->messages[0].id : 0;
        long lines = total(entries, branch->n_messages, row_lines);
        if (lines > most) most = lines;
        if (id != compare->first[side]) fresh = true;
        compare->first[side] = id;
        if (branch->n_messages) part_line = 1 + (long)rows_find(&entries[0], branch->parts_at) * row_lines;
    }
    if (fresh) compare->top = part_line < compare->page ? 0 : part_line - compare->page / 3;
    if (compare->top > most - compare->page) compare->top = most - compare->page;
    if (compare->top < 0) compare->top = 0;
}

void compare_draw(struct compare *compare, const struct ui_compare *of, enum colour_mode colour, bool digits,
                  struct canvas *canvas, struct rect rect) {
    bool beside = rect.columns >= BESIDE_FROM;
    struct rect sides[2] = {rect, rect};
    if (beside) {
        sides[0].columns = rect.columns / 2;
        sides[1].column += rect.columns / 2 + 1; /* a line between them */
        sides[1].columns -= rect.columns / 2 + 1;
    } else {
        sides[0].rows = rect.rows / 2;
        sides[1].row += rect.rows / 2 + 1;
        sides[1].rows -= rect.rows / 2 + 1;
    }
    struct look_at look = {.colour = colour, .row_lines = digits && colour != COLOUR_MODE_OFF ? 2 : 1};
    arrange(compare, of, sides, look.row_lines);
    look.top = compare->top;
    canvas_fill(canvas, rect, STYLE_TEXT, ' ');
    for (int side = 0; side < 2; side++)
        draw_branch(&of->branches[side], compare->entries[side], &look, canvas, sides[side]);
    if (beside)
        canvas_fill(canvas, (struct rect){rect.row, sides[1].column - 1, rect.rows, 1}, STYLE_DIM, 0x2502);
    else
        canvas_fill(canvas, (struct rect){sides[1].row - 1, rect.column, 1, rect.columns}, STYLE_DIM, 0x2500);
}
