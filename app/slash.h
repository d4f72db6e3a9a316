/* Commands typed into the chat: one table with names, arguments and help, from which /help and did-you-mean
 * come too. */
#ifndef LOGITOP_APP_SLASH_H
#define LOGITOP_APP_SLASH_H

#include "app/chat.h"
#include "app/export.h"
#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

/* What the front end does with `text`, where it can. */
enum slash_show {
    SLASH_SHOW_NONE,
    SLASH_SHOW_COPY,  /* into the clipboard */
    SLASH_SHOW_PLAIN, /* as plain lines */
    SLASH_SHOW_FIND,  /* search the conversation for it; empty: ask for what */
    SLASH_SHOW_THEME, /* the theme changed */
};

enum slash_list { SLASH_LIST_NONE, SLASH_LIST_CHATS, SLASH_LIST_MODELS, SLASH_LIST_BRANCHES };

/* What a command leaves for the front end. */
struct slash_result {
    const char *title;         /* of page */
    struct buf page;           /* a text to read, or empty */
    struct token_page *tokens; /* a longer one, printed by token_page_next(); NULL: none */
    struct buf box;            /* a text to be edited and sent, or empty */
    char line[256];            /* a short word, or empty */
    enum slash_list list; /* where the front end can show one to choose from; else `page` has it as text */
    struct buf query;     /* SLASH_LIST_CHATS, which has no page: words that the list begins with */
    bool open;            /* a kept chat, */
    int64_t open_id;      /* this one, or STORE_NEWEST */
    bool export;          /* the chat, as */
    enum export_format export_format;
    struct buf export_path; /* empty: by its title */
    struct buf pull;        /* a model to fetch, or empty */
    struct buf score;       /* a text to be scored, or empty */
    enum slash_show show;
    struct buf text; /* of `show` */
    bool quit;
};

/* Is this a command? "/help", "/set temp 1", but neither "/etc/passwd is a file" nor "//comment". */
bool slash_is(const char *text, size_t len);

/* Run it. On failure err is one line, and nothing was changed. slash_result_free() in any case. */
int slash_run(struct chat *chat, const char *text, size_t len, struct slash_result *result, struct err *err);

void slash_result_free(struct slash_result *result);

/* The next lines of the page, a token_page, appended to a text; false: there are no more. */
bool token_page_next(void *page, struct buf *out);
void token_page_free(void *page);

/* Complete what is typed of a command, its setting or its theme: the whole line as it goes on into `line`.
 * Where several are possible, `choices` lists them and the line goes on as far as all of them do. */
void slash_complete(const char *text, size_t len, struct buf *line, struct buf *choices);

/* The same of a command that ends in the path of a file, by what is in its folder. False: it ends in none,
 * and nothing was done. */
bool slash_complete_path(const char *text, size_t len, struct buf *line, struct buf *choices);

/* What could be typed next, in a line: the names that fit, or how the command is used. Nothing where the text
 * begins no command. */
void slash_hint(const struct chat *chat, const char *text, size_t len, struct buf *out);

#endif
