#include "app/branch_list.h"

#include "app/amount.h"
#include "base/mem.h"
#include "base/utf8.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { COLUMNS = 6, TEXT_MAX = 240, SHARED_MIN = 24 };

/* ---- what a row says ---- */

static char *keep(struct branch_list *list, const char *text) {
    return arena_dup(&list->arena, text, strlen(text));
}

/* Bytes at the beginning that the first of its siblings says too. */
static size_t shared_with_first(const struct said *said) {
    const struct said *first = said->parent ? said->parent->children[0] : said;
    size_t n = 0, most = said->text.len < first->text.len ? said->text.len : first->text.len;
    while (first != said && n < most && said->text.data[n] == first->text.data[n]) n++;
    return n;
}

/* "bot: Because air": its first words, or where it goes another way than the first sibling. */
static char *first_words(struct branch_list *list, const struct said *said) {
    static const char *const names[] = {[SAID_BY_SYSTEM] = "sys",
                                        [SAID_BY_USER] = "you",
                                        [SAID_BY_MODEL] = "bot",
                                        [SAID_BY_PROGRAM] = "note"};
    struct buf words = {0};
    const char *text = said->text.data ? said->text.data : "";
    size_t from = shared_with_first(said), len;
    if (from < SHARED_MIN) from = 0;
    while (from > 0 && text[from] != ' ') from--;
    len = said->text.len - from < TEXT_MAX ? said->text.len - from : TEXT_MAX;
    len -= utf8_incomplete_tail(text + from, len);
    buf_printf(&words, "%s: %s", names[said->by], from ? "\xE2\x80\xA6" : "");
    buf_append(&words, text + from, len);
    if (said->text.len == 0) buf_puts(&words, "(nothing)");
    buf_append(&words, "", 0);
    char *copy = arena_dup(&list->arena, words.data, words.len);
    buf_free(&words);
    return copy;
}

/* Of the model's words from here until the next parting: how many tokens, and their mean probability
 * (geometric). */
struct measure {
    size_t tokens, known;
    double nats;
};

static void measure_add(struct measure *measure, const struct said *said) {
    if (said->by != SAID_BY_MODEL) return;
    measure->tokens += said->n_ids; /* without the end */
    for (size_t i = 0; i < said->n_tokens; i++) {
        float prob = said->shown[i].prob;
        if (!(prob > 0)) continue;
        measure->nats -= log((double)prob);
        measure->known++;
    }
}

static int by_id(const void *a, const void *b) {
    uint64_t x = (*(struct said *const *)a)->id, y = (*(struct said *const *)b)->id;
    return x < y ? -1 : x > y;
}

/* Where branches end, in order of birth: as /branch counts them. */
static void find_ends(const struct conversation *conversation, struct said_stack *ends) {
    for (size_t i = 0; i < conversation->all.n; i++) {
        struct said *said = conversation->all.at[i];
        if (!said->parent || said->n_children) continue;
        grow_array(&ends->at, &ends->cap, ends->n + 1, sizeof *ends->at);
        ends->at[ends->n++] = said;
    }
}

static void add_row(struct branch_list *list, const struct said *said, unsigned depth,
                    const struct said_stack *ends) {
    struct measure measure = {0};
    const struct said *at = said;
    for (;;) {
        measure_add(&measure, at);
        if (at->n_children != 1) break;
        at = at->children[0];
    }
    char text[64];
    size_t n, index = said_index(said, &n);
    grow_array(&list->rows, &list->cap_rows, list->picker.n_rows + 1, sizeof *list->rows);
    struct ui_picker_row *row = &list->rows[list->picker.n_rows++];
    *row = (struct ui_picker_row){.id = said->id, .depth = depth};
    row->columns[0] = first_words(list, said);
    snprintf(text, sizeof text, "%zu/%zu", index + 1, n);
    row->columns[1] = keep(list, n > 1 ? text : "");
    snprintf(text, sizeof text, "%zu", measure.tokens);
    row->columns[2] = keep(list, measure.tokens ? text : "");
    snprintf(text, sizeof text, "%.2f", exp(-measure.nats / (double)(measure.known ? measure.known : 1)));
    row->columns[3] = keep(list, measure.known ? text : "");
    row->columns[4] = keep(list, amount_moment(said->born, time(NULL), text));
    struct said **end = bsearch(&at, ends->at, ends->n, sizeof *ends->at, by_id);
    snprintf(text, sizeof text, "%zu", end ? (size_t)(end - ends->at) + 1 : 0);
    row->columns[5] = keep(list, end ? text : "");
}

/* ---- which rows ---- */

static bool on_path(const struct conversation *conversation, const struct said *said) {
    for (size_t i = 0; i < conversation->n; i++)
        if (conversation->messages[i] == said) return true;
    return false;
}

struct visit {
    const struct said *said;
    unsigned depth;
};

static bool begins_branch(const struct said *said) {
    return said->parent && (!said->parent->parent || said->parent->n_children > 1);
}

/* Every message where a branch begins, each before those below it. The last one on the path is where we are.
 */
static void add_rows(struct branch_list *list, const struct conversation *conversation) {
    struct visit *stack = NULL;
    struct said_stack ends = {0};
    size_t n = 0, cap = 0, current = SIZE_MAX;
    find_ends(conversation, &ends);
    grow_array(&stack, &cap, 1, sizeof *stack);
    stack[n++] = (struct visit){conversation->root, 0};
    while (n) {
        struct visit visit = stack[--n];
        unsigned below = visit.depth;
        if (begins_branch(visit.said)) {
            if (on_path(conversation, visit.said)) current = list->picker.n_rows;
            add_row(list, visit.said, visit.depth, &ends);
            below++;
        }
        grow_array(&stack, &cap, n + visit.said->n_children, sizeof *stack);
        for (size_t i = visit.said->n_children; i-- > 0;)
            stack[n++] = (struct visit){visit.said->children[i], below};
    }
    if (current != SIZE_MAX) list->rows[current].current = true;
    free(stack);
    free(ends.at);
}

int branch_list_open(struct branch_list *list, const struct conversation *conversation, struct err *err) {
    static uint64_t last_id = 0x6272616E6368; /* no list of another kind has it */
    if (!conversation->root || conversation->root->n_children == 0)
        return err_set(err, STATUS_USAGE, "there are no branches yet: nothing was said");
    arena_free(&list->arena);
    list->picker = (struct ui_picker){.id = list->open ? list->picker.id : ++last_id,
                                      .title = "Branches",
                                      .heads = {"begins with", "of", "tokens", "mean p", "born", "/branch"},
                                      .n_columns = COLUMNS,
                                      .right = 1u << 1 | 1u << 2 | 1u << 3 | 1u << 5,
                                      .verb = "Go there"};
    add_rows(list, conversation);
    list->picker.rows = list->rows;
    list->open = true;
    return STATUS_OK;
}

void branch_list_close(struct branch_list *list) {
    list->open = false;
}

void branch_list_free(struct branch_list *list) {
    arena_free(&list->arena);
    free(list->rows);
    *list = (struct branch_list){0};
}
