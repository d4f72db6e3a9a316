/* Commands about what is seen: search, copies, the text as it is, themes. What they do the front end does. */
#include "app/config.h"
#include "app/new_file.h"
#include "app/paths.h"
#include "app/record_json.h"
#include "app/slash_internal.h"
#include "base/text.h"
#include "ui/ui.h"

#include <ctype.h>
#include <math.h>
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

/* A number from 1 on; 0, and nothing taken, if none stands there. */
static unsigned long take_number(const char **at) {
    size_t n = strspn(*at, "0123456789");
    if (!n || n > 9 || ((*at)[n] && !isspace((unsigned char)(*at)[n]))) return 0;
    unsigned long number = strtoul(*at, NULL, 10);
    *at += n;
    *at += strspn(*at, " \t");
    return number;
}

/* ---- what is meant ---- */

/* Message `number`, counted as /edit does; 0: the last answer. */
static int find_message(const struct chat *chat, const char *command, unsigned long number, struct said **out,
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
    unsigned long number = take_number(&arguments);
    bool code = take_word(&arguments, "code");
    unsigned long k = code ? take_number(&arguments) : 0;
    bool file = take_word(&arguments, "file");
    if (file != (*arguments != '\0'))
        return err_set(err, STATUS_USAGE, "/copy: found \"%.60s\", expected [N] [code [K]] [file NAME]",
                       arguments);
    int status = find_message(chat, "/copy", number, &said, err);
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

/* ---- tokens as numbers ---- */

static void print_quoted(const char *text, size_t len, bool control, struct buf *out) {
    enum { WIDTH = 24 };
    size_t start = out->len;
    if (control)
        buf_append(out, text, len);
    else
        text_quote(out, text, len, WIDTH);
    unsigned width = text_width(out->data + start, out->len - start);
    buf_printf(out, "%*s", width < WIDTH ? (int)(WIDTH - width) : 1, "");
}

static void print_name(const struct chat *chat, int32_t id, struct buf *out) {
    const struct engine_ops *ops = chat->engine->ops;
    size_t len;
    const char *text = ops->token_text(chat->engine, id, &len);
    print_quoted(text, len, ops->token_is_control(chat->engine, id), out);
}

/* Candidates of one token: rank, token, raw and final probability, what cut it. */
static void print_candidates(const struct chat *chat, const struct kept_token *token, struct buf *out) {
    for (uint32_t i = 0; i < token->n_top; i++) {
        struct candidate candidate = kept_token_candidate(token, i);
        bool chosen = candidate.id == token->id;
        buf_printf(out, "%-7s%5u  ", chosen ? "chosen" : "", chosen && token->rank ? token->rank : i + 1);
        print_name(chat, candidate.id, out);
        buf_printf(out, "raw %.3f  final %.3f", exp((double)(candidate.logit - token->log_sum_exp)),
                   (double)candidate.prob);
        buf_printf(out, *stage_name(candidate.cut) ? "  cut by %s\n" : "\n", stage_name(candidate.cut));
    }
    buf_printf(out, "entropy %.2f bits, %.1f ms\n", (double)token->entropy / M_LN2, (double)token->ms);
}

/* /tokens: those of the last answer; /tokens N: what could have come in place of the N-th. */
int slash_tokens(struct chat *chat, const char *arguments, struct slash_result *result, struct err *err) {
    struct said *said;
    unsigned long number = take_number(&arguments);
    if (*arguments)
        return err_set(err, STATUS_USAGE, "/tokens: found \"%.60s\", expected the number of a token",
                       arguments);
    int status = find_message(chat, "/tokens", 0, &said, err);
    if (status < 0) return status;
    if (number > said->n_tokens)
        return err_set(err, STATUS_USAGE, "/tokens: found %lu, expected 1 to %zu", number, said->n_tokens);
    bool known = conversation_knows_ids(&chat->conversation, said);
    if (number && !known)
        return err_set(err, STATUS_USAGE,
                       "/tokens: another model said this: what else could have come has no text here");
    result->title = number ? "Token" : "Tokens of the last answer";
    if (number) {
        print_candidates(chat, &said->tokens[number - 1], &result->page);
        return STATUS_OK;
    }
    for (size_t i = 0; i < said->n_tokens; i++) {
        const struct kept_token *token = &said->tokens[i];
        size_t begin = said_token_begin(said, i);
        buf_printf(&result->page, "%5zu  ", i + 1);
        if (known)
            print_name(chat, token->id, &result->page);
        else
            print_quoted(said->text.data + begin, said->shown[i].end - begin, false, &result->page);
        buf_printf(&result->page, "p %.3f  rank %u\n", exp((double)(token->logit - token->log_sum_exp)),
                   token->rank);
    }
    buf_puts(&result->page, "/tokens N: what else could have come in place of token N\n");
    return STATUS_OK;
}

int slash_raw(struct chat *chat, const char *arguments, struct slash_result *result, struct err *err) {
    struct said *said;
    unsigned long number = take_number(&arguments);
    if (*arguments)
        return err_set(err, STATUS_USAGE, "/raw: found \"%.60s\", expected the number of a message",
                       arguments);
    int status = find_message(chat, "/raw", number, &said, err);
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
