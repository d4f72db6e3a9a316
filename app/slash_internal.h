/* The commands typed into the chat, by concept: slash.c has the table. */
#ifndef LOGITOP_APP_SLASH_INTERNAL_H
#define LOGITOP_APP_SLASH_INTERNAL_H

#include "app/slash.h"

typedef int slash_fn(struct chat *chat, const char *arguments, struct slash_result *result, struct err *err);

/* ---- slash_tree.c: the conversation as a tree ---- */
slash_fn slash_continue, slash_regenerate, slash_edit, slash_undo, slash_redo, slash_branch;
/* The n-th message of the path, counting from 1 what people and the model said; 0: the last question. NULL:
 * there is none. */
struct said *slash_message(const struct chat *chat, unsigned long number);

/* ---- slash_show.c: what is seen ---- */
slash_fn slash_copy, slash_find, slash_raw, slash_theme;
/* A number from 1 on, and the blanks behind it; 0, and nothing taken, if none stands there. */
unsigned long slash_take_number(const char **at);
/* Message `number`, counted as /edit does; 0: the last answer. */
int slash_find_message(const struct chat *chat, const char *command, unsigned long number, struct said **out,
                       struct err *err);

/* ---- slash_tokens.c: tokens as numbers ---- */
slash_fn slash_tokens;

/* ---- slash_archive.c: kept chats ---- */
slash_fn slash_open, slash_save, slash_delete, slash_export;

/* ---- slash_model.c: which model speaks ---- */
slash_fn slash_model, slash_pull;

#endif
