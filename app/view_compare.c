/* Two ways a conversation went on, beside each other. */
#include "app/view.h"

#include "base/mem.h"

#include <string.h>

/* Where the first token that differs begins; bytes where one of them has no tokens. */
static size_t part(const struct said *a, const struct said *b) {
    size_t i = 0;
    if (a->n_tokens && b->n_tokens) {
        while (i < a->n_tokens && i < b->n_tokens && a->tokens[i].id == b->tokens[i].id) i++;
        return i < a->n_tokens ? said_token_begin(a, i) : a->text.len;
    }
    while (i < a->text.len && i < b->text.len && a->text.data[i] == b->text.data[i]) i++;
    return i;
}

/* From this message on to the end of its way. */
static void fill_way(struct view *view, int k, const struct said *first, struct said *leaf, size_t parts_at) {
    size_t n = 0, siblings, index = said_index(first, &siblings), tokens = 0;
    for (const struct said *said = leaf; said != first->parent; said = said->parent) {
        n++;
        tokens += said->n_ids; /* without the end */
    }
    view->ways[k] = xrealloc(view->ways[k], n * sizeof *view->ways[k]);
    size_t at = n;
    for (struct said *said = leaf; at > 0; said = said->parent)
        view->ways[k][--at] = view_message(said);
    buf_clear(&view->titles[k]);
    buf_printf(&view->titles[k], "branch %zu of %zu, %zu token%s", index + 1, siblings, tokens,
               tokens == 1 ? "" : "s");
    view->compare.branches[k] = (struct ui_branch){
        .title = view->titles[k].data, .messages = view->ways[k], .n_messages = n, .parts_at = parts_at};
}

const struct ui_compare *view_compare(struct view *view, const struct chat *chat,
                                      const struct inspect *inspect) {
    struct said *other = inspect_compared(inspect), *mine = NULL;
    const struct conversation *conversation = &chat->conversation;
    for (size_t i = 0; other && i < conversation->n; i++)
        if (conversation->messages[i]->parent == other->parent) mine = conversation->messages[i];
    if (!mine || mine == other) return NULL;
    size_t parts_at = part(mine, other);
    fill_way(view, 0, mine, conversation->messages[conversation->n - 1], parts_at);
    fill_way(view, 1, other, said_deepest(other), parts_at);
    return &view->compare;
}
