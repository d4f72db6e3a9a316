#include "app/slash_internal.h"

#include "app/config.h"
#include "app/path_complete.h"
#include "app/suggest.h"
#include "base/mem.h"

#include <ctype.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct slash {
    const char *name, *arguments, *help;
    slash_fn *run;
};

static slash_fn run_help; /* prints the table that it is in */

static int run_quit(struct chat *chat, const char *arguments, struct slash_result *result, struct err *err) {
    (void)chat, (void)arguments, (void)err;
    result->quit = true;
    return STATUS_OK;
}

static int run_stop(struct chat *chat, const char *arguments, struct slash_result *result, struct err *err) {
    (void)arguments, (void)result;
    return chat_stop(chat) ? STATUS_OK : err_set(err, STATUS_USAGE, "nothing is being answered");
}

static int run_new(struct chat *chat, const char *arguments, struct slash_result *result, struct err *err) {
    (void)arguments;
    int status = chat_new(chat, err);
    if (status == STATUS_OK) snprintf(result->line, sizeof result->line, "a new chat");
    return status;
}

static int run_drop(struct chat *chat, const char *arguments, struct slash_result *result, struct err *err) {
    (void)arguments;
    unsigned n;
    int status = chat_drop(chat, &n, err);
    if (status < 0) return status;
    snprintf(result->line, sizeof result->line, "%u old turn%s no longer sent; /undrop sends %s again", n,
             n == 1 ? "" : "s", n == 1 ? "it" : "them");
    return chat->reason == ENGINE_CONTEXT_FULL ? chat_continue(chat, err) : STATUS_OK;
}

static int run_undrop(struct chat *chat, const char *arguments, struct slash_result *result,
                      struct err *err) {
    (void)arguments;
    unsigned n;
    int status = chat_undrop(chat, &n, err);
    if (status < 0) return status;
    snprintf(result->line, sizeof result->line, "%u turn%s sent again with the next question", n,
             n == 1 ? " is" : "s are");
    return STATUS_OK;
}

static int run_system(struct chat *chat, const char *arguments, struct slash_result *result,
                      struct err *err) {
    int status = chat_set_system(chat, arguments, strlen(arguments), err);
    if (status == STATUS_OK)
        snprintf(result->line, sizeof result->line, *arguments ? "system message set" : "no system message");
    return status;
}

static int run_fold(struct chat *chat, const char *arguments, struct slash_result *result, struct err *err) {
    (void)arguments;
    int status = chat_fold(chat, NULL, 0, err);
    if (status == STATUS_OK)
        snprintf(result->line, sizeof result->line, "the system text goes into the first message");
    return status;
}

/* The template's variables, a line each, or the one of this name. */
static void print_variables(const struct chat *chat, const char *only, struct buf *out) {
    json_t *all = chat->variables.len ? json_loads(chat->variables.data, 0, NULL) : NULL, *value;
    const char *name;
    json_object_foreach(all, name, value) {
        if (only && strcmp(name, only)) continue;
        char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
        if (only)
            buf_puts(out, text);
        else
            buf_printf(out, "template.%-11s %-12s a variable of the template\n", name, text);
        free(text);
    }
    if (!all && !only)
        buf_puts(out, "template.NAME        -            a variable of the template: enable_thinking\n");
    json_decref(all);
}

/* /set template.NAME VALUE */
static int set_variable(struct chat *chat, const char *name, const char *value, struct slash_result *result,
                        struct err *err) {
    struct buf shown = {0};
    int status = *value ? chat_set_variable(chat, name, value, err) : STATUS_OK;
    if (status == STATUS_OK) print_variables(chat, name, &shown);
    if (status == STATUS_OK)
        snprintf(result->line, sizeof result->line, "template.%s is %s%s", name,
                 shown.len ? shown.data : "not set", *value ? " from the next answer on" : "");
    buf_free(&shown);
    return status;
}

static int run_set(struct chat *chat, const char *arguments, struct slash_result *result, struct err *err) {
    if (!*arguments) {
        result->title = "Settings";
        settings_print(&chat->settings, &result->page);
        print_variables(chat, NULL, &result->page);
        buf_puts(&result->page, "\n/set NAME VALUE changes one from the next answer on\n");
        return STATUS_OK;
    }
    char name[64];
    size_t n = strcspn(arguments, " =\t");
    const char *value = arguments + n + strspn(arguments + n, " =\t");
    if (n >= sizeof name)
        return err_set(err, STATUS_USAGE, "/set: found a name of %zu bytes, expected a shorter one", n);
    snprintf(name, sizeof name, "%.*s", (int)n, arguments);
    if (strncmp(name, "template.", 9) == 0 && name[9])
        return set_variable(chat, name + 9, value, result, err);
    const struct setting *setting = setting_find(name);
    if (setting && !*value) {
        struct buf shown = {0};
        field_print(&setting->field, &chat->settings, &shown);
        snprintf(result->line, sizeof result->line, "%s is %s: %s", name, shown.data ? shown.data : "",
                 setting->help);
        buf_free(&shown);
        return STATUS_OK;
    }
    int status = chat_set(chat, name, value, err);
    if (status == STATUS_OK)
        snprintf(result->line, sizeof result->line, "%s is %s from the next answer on", name, value);
    return status;
}

static int run_score(struct chat *chat, const char *arguments, struct slash_result *result, struct err *err) {
    (void)chat;
    if (!*arguments) return err_set(err, STATUS_USAGE, "/score: found no text, expected one: /score TEXT");
    buf_puts(&result->score, arguments);
    return STATUS_OK;
}

static int run_stats(struct chat *chat, const char *arguments, struct slash_result *result, struct err *err) {
    (void)arguments, (void)err;
    result->title = "Numbers";
    chat_print_stats(chat, &result->page);
    return STATUS_OK;
}

static const struct slash table[] = {
    {"help", "", "this list", run_help},
    {"stop", "", "stop the answer; what was said stays", run_stop},
    {"continue", "", "go on with an answer that was cut", slash_continue},
    {"regen", "", "another answer to the last question", slash_regenerate},
    {"edit", "[N] [TEXT]", "another text in place of message N, on a branch of its own", slash_edit},
    {"undo", "", "back to before the last question, edit or switch", slash_undo},
    {"redo", "", "take back the last /undo", slash_redo},
    {"branch", "[N]", "list the branches, or go to one of them", slash_branch},
    {"new", "", "a new chat", run_new},
    {"drop", "", "forget the oldest turns, go on if the context was full", run_drop},
    {"undrop", "", "send again what /drop left out", run_undrop},
    {"system", "[TEXT]", "set the system message; without TEXT take it away", run_system},
    {"set", "[NAME [VALUE]]", "show or change settings: /set temp 0.5", run_set},
    {"fold", "", "put the system text into the first message", run_fold},
    {"score", "TEXT", "how probable the model finds a text, token by token", run_score},
    {"copy", "[N] [code [K]] [file NAME]", "the last answer, message N, a code block: into clipboard or file",
     slash_copy},
    {"find", "[TEXT]", "search in the conversation", slash_find},
    {"raw", "[N]", "the last answer or message N on the plain terminal", slash_raw},
    {"tokens", "[N]", "the tokens of the last answer in numbers, or the candidates of one", slash_tokens},
    {"theme", "[NAME]", "list the themes, or use one", slash_theme},
    {"stats", "", "model, context, speed of the last answer", run_stats},
    {"open", "[ID|WORDS]", "go on with a kept chat: choose from a list, or find words in all", slash_open},
    {"save", "[TITLE]", "name this chat; it is kept by itself", slash_save},
    {"export", "FORMAT [FILE]", "write it to a file: md, json (all branches), jsonl (with candidates)",
     slash_export},
    {"delete", "[yes]", "delete this chat for good", slash_delete},
    {"model", "[NAME]", "go on with another model: choose from a list, or by a part of its name",
     slash_model},
    {"pull", "NAME|stop", "fetch a model: user/repo[:QUANT] of huggingface.co, name[:tag] of ollama.com",
     slash_pull},
    {"quit", "", "leave", run_quit},
};
enum { N_COMMANDS = sizeof table / sizeof *table, NAME_SIZE = 32 };

static int run_help(struct chat *chat, const char *arguments, struct slash_result *result, struct err *err) {
    (void)chat, (void)arguments, (void)err;
    result->title = "Commands";
    for (size_t i = 0; i < N_COMMANDS; i++) {
        char left[40];
        snprintf(left, sizeof left, "/%s%s%s", table[i].name, *table[i].arguments ? " " : "",
                 table[i].arguments);
        buf_printf(&result->page, "%-22s %s%s\n", left, strlen(left) > 22 ? "\n                       " : "",
                   table[i].help);
    }
    buf_puts(&result->page, "//text                 send /text to the model\n");
    return STATUS_OK;
}

bool slash_is(const char *text, size_t len) {
    if (len < 2 || text[0] != '/') return false;
    if (len == 2 && text[1] == '?') return true;
    size_t i = 1;
    while (i < len && isalpha((unsigned char)text[i])) i++;
    return i > 1 && (i == len || isspace((unsigned char)text[i]));
}

/* What other chats call them: understood, and told by nobody. */
static const struct {
    const char *habit, *name;
} habits[] = {
    {"?", "help"},       {"exit", "quit"},        {"bye", "quit"},     {"clear", "new"},   {"reset", "new"},
    {"retry", "regen"},  {"regenerate", "regen"}, {"models", "model"}, {"resume", "open"}, {"chats", "open"},
    {"themes", "theme"}, {"settings", "set"},     {"search", "find"},
};

/* By its name, or by a beginning that no other has. */
static const struct slash *find_command(const char *name) {
    const struct slash *found = NULL;
    size_t n = 0;
    for (size_t i = 0; i < sizeof habits / sizeof *habits; i++)
        if (strcmp(name, habits[i].habit) == 0) name = habits[i].name;
    for (size_t i = 0; i < N_COMMANDS; i++) {
        if (strcmp(name, table[i].name) == 0) return &table[i];
        if (strncmp(name, table[i].name, strlen(name))) continue;
        found = &table[i];
        n++;
    }
    return n == 1 ? found : NULL;
}

static int unknown(const char *name, struct err *err) {
    struct suggest suggest = {.word = name};
    struct buf several = {0};
    for (size_t i = 0; i < N_COMMANDS; i++) {
        suggest_try(&suggest, table[i].name);
        if (strncmp(name, table[i].name, strlen(name)) == 0)
            buf_printf(&several, "%s/%s", several.len ? ", " : "", table[i].name);
    }
    if (several.len)
        err_set(err, STATUS_USAGE, "/%s may be %s", name, several.data);
    else if (suggest.best)
        err_set(err, STATUS_USAGE, "there is no /%s, did you mean /%s?", name, suggest.best);
    else
        err_set(err, STATUS_USAGE, "there is no /%s; /help lists the commands, //%s sends it to the model",
                name, name);
    buf_free(&several);
    return STATUS_USAGE;
}

static int run_one(struct chat *chat, const char *line, struct slash_result *result, struct err *err) {
    char name[NAME_SIZE];
    size_t n = strcspn(line + 1, " \t\n");
    snprintf(name, sizeof name, "%.*s", (int)(n < sizeof name ? n : sizeof name - 1), line + 1);
    const char *arguments = line + 1 + n + strspn(line + 1 + n, " \t\n");
    const struct slash *command = find_command(name);
    if (command && *arguments && !*command->arguments)
        return err_set(err, STATUS_USAGE, "/%s: found \"%.60s\", expected nothing after it", command->name,
                       arguments);
    if (command) return command->run(chat, arguments, result, err);
    return unknown(name, err);
}

void slash_result_free(struct slash_result *result) {
    buf_free(&result->page);
    token_page_free(result->tokens);
    buf_free(&result->box);
    buf_free(&result->query);
    buf_free(&result->export_path);
    buf_free(&result->pull);
    buf_free(&result->score);
    buf_free(&result->text);
}

int slash_run(struct chat *chat, const char *text, size_t len, struct slash_result *result, struct err *err) {
    char *line = xmemdup(text, len);
    while (len && isspace((unsigned char)line[len - 1])) line[--len] = '\0';
    *result = (struct slash_result){0};
    int status = run_one(chat, line, result, err);
    free(line);
    return status;
}

/* ---- completion ---- */

struct completion {
    const char *word; /* [len] what is typed of it */
    size_t len;
    struct buf common; /* how all that fit go on */
    struct buf *choices;
    size_t n;
};

static void complete_try(struct completion *completion, const char *name) {
    if (strncmp(name, completion->word, completion->len)) return;
    struct buf *common = &completion->common;
    if (completion->n++ == 0) buf_puts(common, name);
    size_t same = 0;
    while (same < common->len && common->data[same] == name[same]) same++;
    common->len = same;
    buf_printf(completion->choices, "%s%s", completion->n > 1 ? "  " : "", name);
}

static void complete_argument(struct completion *completion, const char *command) {
    if (strcmp(command, "set") == 0)
        for (const struct setting *s = setting_table; s->name; s++) complete_try(completion, s->name);
    if (strcmp(command, "export") == 0)
        for (int i = 0; i < EXPORT_FORMAT_COUNT; i++)
            complete_try(completion, export_format_name((enum export_format)i));
    if (strcmp(command, "theme") == 0) {
        struct buf names = {0};
        theme_list(&names);
        char *rest = names.data, *name;
        while ((name = strsep(&rest, "\n")) && *name) complete_try(completion, name);
        buf_free(&names);
    }
}

void slash_complete(const char *text, size_t len, struct buf *line, struct buf *choices) {
    char *copy = xmemdup(text, len), *blank = strpbrk(copy, " \n"), command[NAME_SIZE] = "";
    struct completion completion = {.word = copy + 1, .len = len ? len - 1 : 0, .choices = choices};
    buf_append(line, text, len);
    if (len && copy[0] == '/' && !blank) {
        for (size_t i = 0; i < N_COMMANDS; i++) complete_try(&completion, table[i].name);
    } else if (len && copy[0] == '/' && !strpbrk(blank + 1, " \n")) {
        snprintf(command, sizeof command, "%.*s", (int)(blank - copy - 1), copy + 1);
        completion.word = blank + 1;
        completion.len = strlen(blank + 1);
        const struct slash *known = find_command(command);
        if (known) complete_argument(&completion, known->name);
    }
    if (completion.n) {
        line->len -= completion.len;
        buf_append(line, completion.common.data, completion.common.len);
        if (completion.n == 1) buf_putc(line, ' ');
    }
    if (completion.n == 1) buf_clear(choices);
    buf_free(&completion.common);
    free(copy);
}

/* Where a path begins in what is behind a command; NULL: there is none yet. */
static const char *path_in(const struct slash *command, const char *arguments) {
    const char *at = arguments;
    if (command->run == slash_model) return *at && strchr("~/.", *at) ? at : NULL;
    if (command->run == slash_copy && strncmp(at, "file ", 5) && (at = strstr(at, " file "))) at++;
    if (command->run == slash_copy || command->run == slash_export) {
        size_t word = at ? strcspn(at, " ") : 0;
        return word && at[word] ? at + word + strspn(at + word, " ") : NULL;
    }
    return NULL;
}

bool slash_complete_path(const char *text, size_t len, struct buf *line, struct buf *choices) {
    if (!len || text[0] != '/' || memchr(text, '\n', len)) return false;
    char *copy = xmemdup(text, len), name[NAME_SIZE];
    size_t n = strcspn(copy + 1, " ");
    snprintf(name, sizeof name, "%.*s", (int)(n < sizeof name ? n : sizeof name - 1), copy + 1);
    const struct slash *command = find_command(name);
    const char *arguments = copy + 1 + n + strspn(copy + 1 + n, " ");
    const char *path = command && *arguments ? path_in(command, arguments) : NULL;
    if (path) {
        buf_append(line, text, len);
        path_complete(path, line, choices);
    }
    free(copy);
    return path != NULL;
}

/* ---- while it is typed ---- */

static void hint_setting(const struct chat *chat, const char *name, struct buf *out) {
    const struct setting *setting = setting_find(name);
    if (!setting) return;
    buf_printf(out, "%s is ", setting->name);
    field_print(&setting->field, &chat->settings, out);
    buf_printf(out, ": %s", setting->help);
}

static void hint_command(const struct chat *chat, const struct slash *command, const char *arguments,
                         struct buf *choices, struct buf *out) {
    if (*arguments) buf_append(out, choices->data, choices->len);
    if (!out->len && strcmp(command->name, "set") == 0) {
        char name[64] = "";
        sscanf(arguments, "%63[^ =\t]", name);
        hint_setting(chat, name, out);
    }
    if (!out->len)
        buf_printf(out, "/%s%s%s  %s", command->name, *command->arguments ? " " : "", command->arguments,
                   command->help);
}

void slash_hint(const struct chat *chat, const char *text, size_t len, struct buf *out) {
    enum { HINT_MAX = 100 }; /* longer ones know what they want */
    if (!len || len > HINT_MAX || text[0] != '/' || memchr(text, '\n', len)) return;
    struct buf line = {0}, choices = {0};
    slash_complete(text, len, &line, &choices);
    buf_append(&line, "", 0);
    size_t n = strcspn(line.data + 1, " ");
    char name[NAME_SIZE];
    snprintf(name, sizeof name, "%.*s", (int)n, line.data + 1);
    const struct slash *command = find_command(name);
    if (command)
        hint_command(chat, command, line.data + 1 + n + strspn(line.data + 1 + n, " "), &choices, out);
    else
        buf_append(out, choices.data, choices.len);
    buf_free(&line);
    buf_free(&choices);
}
