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

/* Lines of a message: its name, its rows, a blank one. */
static long height_of(const struct chat_entry *entry) {
    return (long)entry->n_shown + 2;
}

static long total(const struct chat_entry *entries, size_t n) {
    long lines = 0;
    for (size_t i = 0; i < n; i++) lines += height_of(&entries[i]);
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

static void draw_branch(const struct ui_branch *branch, const struct chat_entry *entries, long top,
                        enum colour_mode colour, struct canvas *canvas, struct rect rect) {
    static const char *const names[] = {"you", "bot", "sys", ""};
    static const enum style styles[] = {STYLE_YOU, STYLE_BOT, STYLE_SYSTEM, STYLE_DIM};
    int x = rect.column + 1, limit = rect.column + rect.columns - 1, y = rect.row, end = rect.row + rect.rows;
    const char *title = branch->title ? branch->title : "";
    canvas_text_end(canvas, y++, x, limit, STYLE_STRONG, title, strlen(title));
    long line = 0;
    for (size_t i = 0; i < branch->n_messages && y < end; i++) {
        const struct ui_message *message = &branch->messages[i];
        struct token_pen pen = {.colour = colour, .text = true};
        if (i == 0) pen.dim = branch->parts_at;
        if (i == 0 && parts(branch)) pen.mark = parting_token(branch);
        for (long row = -1; row <= (long)entries[i].n_shown && y < end; row++, line++) {
            if (line < top) continue;
            if (row < 0)
                canvas_printf(canvas, y, x, limit, styles[message->role], "%s", names[message->role]);
            else if (row < (long)entries[i].n_shown)
                token_row_draw(message, &entries[i].rows[row], NULL, &pen, canvas, y, x, limit);
            y++;
        }
    }
}

static int text_width_of(struct rect rect) {
    return rect.columns > 4 ? rect.columns - 2 : 2;
}

void compare_draw(struct compare *compare, const struct ui_compare *of, enum colour_mode colour,
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
    long most = 0, part_line = 0;
    bool fresh = false;
    compare->page = sides[1].rows > 2 ? sides[1].rows - 1 : 1;
    for (int side = 0; side < 2; side++) {
        const struct ui_branch *branch = &of->branches[side];
        struct chat_entry *entries = update(compare, side, branch, text_width_of(sides[side]));
        uint64_t id = branch->n_messages ? branch->messages[0].id : 0;
        long lines = total(entries, branch->n_messages);
        if (lines > most) most = lines;
        if (id != compare->first[side]) fresh = true;
        compare->first[side] = id;
        if (branch->n_messages) part_line = 1 + (long)rows_find(&entries[0], branch->parts_at);
    }
    if (fresh) compare->top = part_line < compare->page ? 0 : part_line - compare->page / 3;
    if (compare->top > most - compare->page) compare->top = most - compare->page;
    if (compare->top < 0) compare->top = 0;
    canvas_fill(canvas, rect, STYLE_TEXT, ' ');
    for (int side = 0; side < 2; side++)
        draw_branch(&of->branches[side], compare->entries[side], compare->top, colour, canvas, sides[side]);
    if (beside)
        canvas_fill(canvas, (struct rect){rect.row, sides[1].column - 1, rect.rows, 1}, STYLE_DIM, 0x2502);
    else
        canvas_fill(canvas, (struct rect){sides[1].row - 1, rect.column, 1, rect.columns}, STYLE_DIM, 0x2500);
}
