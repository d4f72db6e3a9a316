#include "app/slash_internal.h"

#include "base/text.h"
#include "base/utf8.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What the next answer computes anew, where that is worth a word. */
static void tell_uncached(const struct chat *chat, struct slash_result *result) {
    size_t n = chat_uncached(chat), used = strlen(result->line);
    if (n)
        snprintf(result->line + used, sizeof result->line - used,
                 "; the next answer computes about %zu tokens anew", n);
}

int slash_continue(struct chat *chat, const char *arguments, struct slash_result *result, struct err *err) {
    (void)arguments, (void)result;
    return chat_continue(chat, err);
}

int slash_regenerate(struct chat *chat, const char *arguments, struct slash_result *result, struct err *err) {
    (void)arguments, (void)result;
    return chat_regenerate(chat, err);
}

int slash_undo(struct chat *chat, const char *arguments, struct slash_result *result, struct err *err) {
    (void)arguments;
    int status = chat_undo(chat, err);
    if (status < 0) return status;
    snprintf(result->line, sizeof result->line, "undone; /redo brings it back");
    tell_uncached(chat, result);
    return STATUS_OK;
}

int slash_redo(struct chat *chat, const char *arguments, struct slash_result *result, struct err *err) {
    (void)arguments;
    int status = chat_redo(chat, err);
    if (status < 0) return status;
    snprintf(result->line, sizeof result->line, "redone");
    tell_uncached(chat, result);
    return STATUS_OK;
}

/* ---- editing ---- */

struct said *slash_message(const struct chat *chat, unsigned long number) {
    const struct conversation *conversation = &chat->conversation;
    struct said *last_question = NULL;
    for (size_t i = 0; i < conversation->n; i++) {
        struct said *said = conversation->messages[i];
        if (said->by != SAID_BY_USER && said->by != SAID_BY_MODEL) continue;
        if (number && --number == 0) return said;
        if (said->by == SAID_BY_USER) last_question = said;
    }
    return number ? NULL : last_question;
}

/* /edit, /edit N: into the box; /edit TEXT, /edit N TEXT: at once. */
int slash_edit(struct chat *chat, const char *arguments, struct slash_result *result, struct err *err) {
    char *rest;
    unsigned long number = strtoul(arguments, &rest, 10);
    bool numbered = rest > arguments && strchr(" \t\n", *rest) && *arguments != '-' && number > 0;
    const char *text = numbered ? rest + strspn(rest, " \t\n") : arguments;
    struct said *said = slash_message(chat, numbered ? number : 0);
    if (!said && numbered)
        return err_set(err, STATUS_USAGE,
                       "/edit: found %lu, expected the number of a message, 1 is the first question", number);
    if (!said) return err_set(err, STATUS_USAGE, "there is no question to edit yet");
    if (*text) return chat_edit(chat, said, text, strlen(text), err);
    int status = chat_edit_begin(chat, said, err);
    if (status < 0) return status;
    buf_append(&result->box, said->text.data, said->text.len);
    snprintf(result->line, sizeof result->line, "edit it; Enter puts it on a branch of its own");
    return STATUS_OK;
}

/* ---- branches ---- */

/* The n-th leaf of the tree in order of birth, from 1; NULL and their number in *n_leaves if there are fewer.
 */
static struct said *find_leaf(const struct conversation *conversation, size_t number, size_t *n_leaves) {
    *n_leaves = 0;
    for (size_t i = 0; i < conversation->all.n; i++) {
        struct said *said = conversation->all.at[i];
        if (said->parent && !said->n_children && ++*n_leaves == number) return said;
    }
    return NULL;
}

/* One line: the number, whether the path ends there, and the last question and answer. */
static void print_branch(const struct conversation *conversation, const struct said *leaf, size_t number,
                         struct buf *out) {
    bool active = conversation->n && said_is_below(leaf, conversation->messages[conversation->n - 1]);
    const struct said *shown[2] = {leaf->by == SAID_BY_MODEL ? leaf->parent : NULL, leaf};
    buf_printf(out, "%c %3zu ", active ? '*' : ' ', number);
    for (size_t i = 0; i < 2; i++) {
        if (!shown[i] || !shown[i]->parent) continue;
        size_t room = i ? 80 : 40, len = shown[i]->text.len;
        if (len > room) len = room - utf8_incomplete_tail(shown[i]->text.data, room);
        buf_puts(out, shown[i]->by == SAID_BY_USER ? " you: " : " bot: ");
        text_sanitize_line(out, shown[i]->text.data ? shown[i]->text.data : "", len);
        if (len < shown[i]->text.len) buf_puts(out, "...");
    }
    buf_putc(out, '\n');
}

/* /branch lists where the branches end, /branch N goes there. */
int slash_branch(struct chat *chat, const char *arguments, struct slash_result *result, struct err *err) {
    const struct conversation *conversation = &chat->conversation;
    size_t n_leaves;
    char *rest;
    size_t number = strtoul(arguments, &rest, 10);
    struct said *leaf = find_leaf(conversation, *rest || *arguments == '-' ? 0 : number, &n_leaves);
    if (!n_leaves) return err_set(err, STATUS_USAGE, "there are no branches yet: nothing was said");
    if (*arguments && !leaf)
        return err_set(err, STATUS_USAGE, "/branch: found \"%.20s\", expected a number from 1 to %zu",
                       arguments, n_leaves);
    if (!*arguments) {
        result->list = SLASH_LIST_BRANCHES; /* on a screen; else as text */
        result->title = "Branches";
        for (size_t i = 1, n; (leaf = find_leaf(conversation, i, &n)); i++)
            print_branch(conversation, leaf, i, &result->page);
        buf_puts(
            &result->page,
            "\n* is where you are; /branch N goes to the end of another; /edit and /regen make new ones\n");
        return STATUS_OK;
    }
    int status = chat_switch(chat, leaf, err);
    if (status < 0) return status;
    snprintf(result->line, sizeof result->line, "branch %zu", number);
    tell_uncached(chat, result);
    return STATUS_OK;
}
