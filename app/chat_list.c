#include "app/chat_list.h"

#include "app/amount.h"
#include "base/utf8.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    COLUMNS = 4,
    MODEL_MAX = 18,
    TITLE_BESIDE = 24, /* bytes */
    FOUND_WIDTH = 60   /* cells for a title and what was found, before they are worth more than the rest */
};

/* At most so many bytes of it, the end marked where some are left out. */
static void put_beginning(struct buf *out, const char *text, size_t most) {
    size_t len = strlen(text), keep = len > most ? most - utf8_incomplete_tail(text, most) : len;
    buf_append(out, text, keep);
    if (keep < len) buf_puts(out, "\xE2\x80\xA6");
}

/* The title; with what was searched for beside it, unless that is where the title is from. */
static char *first_column(const struct store_row *row, struct arena *arena) {
    struct buf text = {0};
    const char *title = *row->title ? row->title : "(no words yet)";
    bool beside = row->found && strncmp(row->found, title, strcspn(title, "\n")) != 0;
    put_beginning(&text, title, beside ? TITLE_BESIDE : SIZE_MAX);
    if (beside) buf_printf(&text, "  %s", row->found);
    char *copy = arena_dup(arena, text.data, text.len);
    buf_free(&text);
    return copy;
}

static struct ui_picker_row picker_row(const struct store_row *row, int64_t current, struct arena *arena) {
    char moment[AMOUNT_MAX];
    struct buf count = {0}, model = {0};
    buf_printf(&count, "%u", row->n_messages);
    put_beginning(&model, row->model, MODEL_MAX);
    struct ui_picker_row shown = {.id = (uint64_t)row->id, .current = row->id == current};
    amount_moment(row->changed, time(NULL), moment);
    shown.columns[0] = first_column(row, arena);
    shown.columns[1] = arena_dup(arena, moment, strlen(moment));
    shown.columns[2] = arena_dup(arena, count.data, count.len);
    shown.columns[3] = model.len ? arena_dup(arena, model.data, model.len) : NULL;
    buf_free(&count);
    buf_free(&model);
    return shown;
}

static void look(struct chat_list *list, struct lookup *lookup) {
    struct buf words = {0};
    buf_printf(&words, "%s %s", list->words.data ? list->words.data : "",
               list->filter.data ? list->filter.data : "");
    lookup_list(lookup, words.data);
    list->searched = strspn(words.data, " ") < words.len;
    buf_free(&words);
    list->picker.searching = true;
}

int chat_list_found(struct chat_list *list, const struct archive *archive, const struct lookup_answer *answer,
                    struct err *err) {
    arena_free(&list->arena);
    grow_array(&list->rows, &list->cap_rows, answer->n_rows + 1, sizeof *list->rows);
    int64_t current = archive_id(archive);
    for (size_t i = 0; i < answer->n_rows; i++)
        list->rows[i] = picker_row(&answer->rows[i], current, &list->arena);
    list->picker.rows = list->rows;
    list->picker.n_rows = answer->n_rows;
    list->picker.searching = false;
    list->picker.first_width = list->searched ? FOUND_WIDTH : 0;
    list->deleting = 0;
    return answer->err.code ? err_set(err, answer->err.code, "%s", answer->err.text) : STATUS_OK;
}

void chat_list_open(struct chat_list *list, struct lookup *lookup, const struct buf *words) {
    static uint64_t last_id = 0x63686174; /* no list of another kind has it */
    buf_clear(&list->filter);
    buf_clear(&list->words);
    buf_append(&list->words, words->data, words->len);
    buf_clear(&list->title);
    buf_puts(&list->title, "Kept chats");
    if (words->len) buf_printf(&list->title, " with \"%s\"", words->data);
    list->picker =
        (struct ui_picker){.id = ++last_id,
                           .title = list->title.data,
                           .heads = {"chat", "last", "messages", "model"},
                           .n_columns = COLUMNS,
                           .right = 1u << 2,
                           .empty = words->len ? "no chat has these words" : "nothing was kept yet",
                           .verb = "Open",
                           .deletes = true,
                           .searches = true};
    list->deleting = 0;
    list->open = true;
    look(list, lookup);
}

void chat_list_filter(struct chat_list *list, struct lookup *lookup, const char *text, size_t len) {
    buf_clear(&list->filter);
    buf_append(&list->filter, text, len);
    list->deleting = 0;
    look(list, lookup);
}

static const char *title_of(const struct chat_list *list, int64_t id) {
    for (size_t i = 0; i < list->picker.n_rows; i++)
        if (list->rows[i].id == (uint64_t)id) return list->rows[i].columns[0];
    return "";
}

int chat_list_delete(struct chat_list *list, struct archive *archive, int64_t id, struct buf *line,
                     struct err *err) {
    if (id == archive_id(archive))
        return err_set(err, STATUS_USAGE, "this is the chat that is open; /delete yes deletes it");
    if (list->deleting != id) {
        list->deleting = id;
        buf_printf(line, "the same key again deletes it for good: %s", title_of(list, id));
        return STATUS_OK;
    }
    buf_printf(line, "deleted: %s", title_of(list, id));
    store_delete(archive->store, id);
    size_t kept = 0;
    for (size_t i = 0; i < list->picker.n_rows; i++) /* the database hears of it a moment later */
        if (list->rows[i].id != (uint64_t)id) list->rows[kept++] = list->rows[i];
    list->picker.n_rows = kept;
    list->deleting = 0;
    return STATUS_OK;
}

void chat_list_close(struct chat_list *list) {
    list->open = false;
}

void chat_list_free(struct chat_list *list) {
    buf_free(&list->title);
    buf_free(&list->words);
    buf_free(&list->filter);
    free(list->rows);
    arena_free(&list->arena);
    *list = (struct chat_list){0};
}
