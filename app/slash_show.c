/* Commands about what is seen: search, copies, the text as it is, themes. What they do the front end does. */
#include "app/config.h"
#include "app/new_file.h"
#include "app/paths.h"
#include "app/slash_internal.h"
#include "base/text.h"
#include "ui/ui.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- words of the arguments ---- */

static bool take_word(const char **at, const char *word) {
    size_t n = strlen(word);
    if (strncmp(*at, word, n) || ((*at)[n] && !isspace((unsigned char)(*at)[n]))) return false;
    *at += n;
    *at += strspn(*at, " \t");
    return true;
}

unsigned long slash_take_number(const char **at) {
    size_t n = strspn(*at, "0123456789");
    if (!n || n > 9 || ((*at)[n] && !isspace((unsigned char)(*at)[n]))) return 0;
    unsigned long number = strtoul(*at, NULL, 10);
    *at += n;
    *at += strspn(*at, " \t");
    return number;
}

/* ---- what is meant ---- */

int slash_find_message(const struct chat *chat, const char *command, unsigned long number, struct said **out,
                       struct err *err) {
    *out = number ? slash_message(chat, number) : NULL;
    for (size_t i = chat->conversation.n; !number && !*out && i > 0; i--)
        if (chat->conversation.messages[i - 1]->by == SAID_BY_MODEL)
            *out = chat->conversation.messages[i - 1];
    if (*out) return STATUS_OK;
    if (!number) return err_set(err, STATUS_USAGE, "%s: there is no answer yet", command);
    return err_set(err, STATUS_USAGE,
                   "%s: found %lu, expected the number of a message, 1 is the first question", command,
                   number);
}

/* What was said without what was only thought, as the screen numbers its code blocks. */
static void print_said(struct said *said, struct buf *out) {
    const struct thinking *thinking = said_thinking(said);
    size_t at = 0;
    for (size_t i = 0; i < thinking->n; i++) {
        buf_append(out, said->text.data + at, thinking->ranges[i].start - at);
        at = thinking->ranges[i].end;
        while (!out->len && at < said->text.len && isspace((unsigned char)said->text.data[at])) at++;
    }
    buf_append(out, said->text.data + at, said->text.len - at);
}

static int take_code(const struct buf *said, unsigned long k, struct buf *out, struct err *err) {
    size_t n = ui_code_block(said->data ? said->data : "", said->len, 0, NULL);
    if (n == 0) return err_set(err, STATUS_USAGE, "/copy code: there is no code block in that message");
    if (k > n)
        return err_set(err, STATUS_USAGE, "/copy code: found %lu, expected 1%s%.0zu", k, n > 1 ? " to " : "",
                       n > 1 ? n : 0);
    ui_code_block(said->data, said->len, k ? k : n, out);
    return STATUS_OK;
}

/* /copy [N] [code [K]] [file NAME] */
int slash_copy(struct chat *chat, const char *arguments, struct slash_result *result, struct err *err) {
    struct said *said;
    struct buf text = {0};
    unsigned long number = slash_take_number(&arguments);
    bool code = take_word(&arguments, "code");
    unsigned long k = code ? slash_take_number(&arguments) : 0;
    bool file = take_word(&arguments, "file");
    if (file != (*arguments != '\0'))
        return err_set(err, STATUS_USAGE, "/copy: found \"%.60s\", expected [N] [code [K]] [file NAME]",
                       arguments);
    int status = slash_find_message(chat, "/copy", number, &said, err);
    if (status == STATUS_OK) print_said(said, &text);
    if (status == STATUS_OK && code) {
        struct buf whole = text;
        text = (struct buf){0};
        status = take_code(&whole, k, &text, err);
        buf_free(&whole);
    }
    if (status == STATUS_OK && file) {
        char *path = path_expand(arguments);
        status = new_file_write(path, 0666, &text, err);
        if (status == STATUS_OK)
            snprintf(result->line, sizeof result->line, "%zu bytes written to %.180s", text.len, path);
        free(path);
    } else if (status == STATUS_OK) {
        result->show = SLASH_SHOW_COPY;
        result->text = text;
        return STATUS_OK;
    }
    buf_free(&text);
    return status;
}

int slash_raw(struct chat *chat, const char *arguments, struct slash_result *result, struct err *err) {
    struct said *said;
    unsigned long number = slash_take_number(&arguments);
    if (*arguments)
        return err_set(err, STATUS_USAGE, "/raw: found \"%.60s\", expected the number of a message",
                       arguments);
    int status = slash_find_message(chat, "/raw", number, &said, err);
    if (status < 0) return status;
    result->show = SLASH_SHOW_PLAIN;
    buf_append(&result->text, said->text.data, said->text.len);
    return STATUS_OK;
}

int slash_find(struct chat *chat, const char *arguments, struct slash_result *result, struct err *err) {
    (void)chat, (void)err;
    result->show = SLASH_SHOW_FIND;
    buf_puts(&result->text, arguments);
    return STATUS_OK;
}

static void print_themes(struct buf *out) {
    struct buf names = {0};
    theme_list(&names);
    char *rest = names.data, *name;
    while ((name = strsep(&rest, "\n")) && *name)
        buf_printf(out, "%c %s\n", strcmp(name, theme_current()) ? ' ' : '*', name);
    buf_free(&names);
    buf_puts(out, "\n* is in use; /theme NAME uses another, or a file of your own: man logitop-config\n");
}

int slash_theme(struct chat *chat, const char *arguments, struct slash_result *result, struct err *err) {
    (void)chat;
    if (!*arguments) {
        result->title = "Themes";
        print_themes(&result->page);
        return STATUS_OK;
    }
    struct buf problems = {0};
    int status = theme_load(arguments, &problems, err);
    if (status == STATUS_OK) {
        result->show = SLASH_SHOW_THEME;
        snprintf(result->line, sizeof result->line, "theme %.60s%s%.150s", arguments,
                 problems.len ? ": " : "", problems.len ? problems.data : "");
    }
    buf_free(&problems);
    return status;
}
