#include "app/options.h"

#include "app/suggest.h"
#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BIT(command) (1u << COMMAND_##command)
#define AT(member) offsetof(struct options, member)
#define ENGINE (BIT(CHAT) | BIT(LOGITS) | BIT(TRACE) | BIT(SCORE) | BIT(BENCH))
#define EVERY ((1u << COMMAND_COUNT) - 1)

struct option_row {
    const char *name;
    char letter;
    const char *argument, *help; /* argument NULL: a flag */
    unsigned commands;
    struct field field;
};

/* One row a meaning: the same name may mean something else to another command. The settings of the chat
 * (settings.c) follow. */
/* clang-format off */
static const struct option_row rows[] = {
    {"model", 'm', "MODEL", "a GGUF file, or a name (or part of one) that `logitop list` shows",
     EVERY & ~(BIT(LIST) | BIT(PULL)), {FIELD_TEXT, AT(model), 0, 0}},
    {"hf", 0, "USER/REPO[:QUANT]", "a model of huggingface.co (-hf too), fetched where it is not here yet",
     BIT(CHAT) | BIT(PULL), {FIELD_TEXT, AT(hf), 0, 0}},
    {"hf-file", 0, "FILE", "this file of the repository", BIT(CHAT) | BIT(PULL), {FIELD_TEXT, AT(hf_file), 0, 0}},
    {"offline", 0, NULL, "fetch nothing", BIT(CHAT) | BIT(PULL), {FIELD_FLAG, AT(offline), 0, 0}},
    {"models-dir", 0, "FOLDER", "a folder with models to look into, too", EVERY & ~BIT(PULL), {FIELD_TEXT, AT(models_dir), 0, 0}},
    {"prompt", 'p', "TEXT", "what to say first", BIT(CHAT), {FIELD_TEXT, AT(prompt), 0, 0}},
    {"system", 0, "TEXT", "the system message", BIT(CHAT), {FIELD_TEXT, AT(system), 0, 0}},
    {"fold-system", 0, NULL, "put the system message into the first one (templates without a system role)",
     BIT(CHAT), {FIELD_FLAG, AT(fold_system), 0, 0}},
    {"raw", 0, NULL, "no template: the text is continued as it is", BIT(CHAT), {FIELD_FLAG, AT(raw), 0, 0}},
    {"chat-template", 0, "FILE", "a Jinja template instead of the model's",
     BIT(CHAT), {FIELD_TEXT, AT(chat_template), 0, 0}},
    {"template-var", 0, "NAME=VALUE", "a variable for the template (enable_thinking=false); again for more",
     BIT(CHAT), {FIELD_PAIRS, AT(template_variables), 0, 0}},
    {"json", 0, NULL, "one JSON object at the end",
     BIT(CHAT) | BIT(SCORE) | BIT(BENCH) | BIT(INSPECT) | BIT(LIST), {FIELD_FLAG, AT(json), 0, 0}},
    {"jsonl", 0, NULL, "one JSON object a token, and one at the end",
     BIT(CHAT), {FIELD_FLAG, AT(jsonl), 0, 0}},
    {"plain", 0, NULL, "control tokens in the text are text", BIT(TOKENIZE), {FIELD_FLAG, AT(plain), 0, 0}},
    {"json-strings", 0, NULL, "the input is a JSON array of strings; a line of ids for each",
     BIT(TOKENIZE), {FIELD_FLAG, AT(json_strings), 0, 0}},
    {"template", 0, "FILE", "a template instead of the model's",
     BIT(RENDER), {FIELD_TEXT, AT(template_file), 0, 0}},
    {"context", 0, "FILE", "the messages and all else for the template, a JSON object",
     BIT(RENDER), {FIELD_TEXT, AT(context), 0, 0}},
    {"now", 0, "TIME", "the clock for the template, 'YYYY-MM-DD HH:MM:SS'",
     BIT(RENDER), {FIELD_TEXT, AT(now), 0, 0}},
    {"segments", 0, NULL, "JSON that tells the template's text from a person's",
     BIT(RENDER), {FIELD_FLAG, AT(segments), 0, 0}},
    {"ids", 0, "1,2,3|@FILE", "the tokens, or a file with them",
     BIT(LOGITS) | BIT(TRACE), {FIELD_TEXT, AT(ids), 0, 0}},
    {"positions", 0, "LIST", "all (default), last, or some: 0,5",
     BIT(LOGITS) | BIT(TRACE), {FIELD_TEXT, AT(positions), 0, 0}},
    {"output", 'o', "FILE", "the GGUF container to write",
     BIT(LOGITS) | BIT(TRACE), {FIELD_TEXT, AT(output), 0, 0}},
    {"chunk", 0, "N", "feed the prompt in pieces of N tokens (0: as it is fastest)",
     BIT(LOGITS) | BIT(TRACE), {FIELD_COUNT, AT(chunk), 0, UINT32_MAX}},
    {"tensors", 0, NULL, "list every tensor", BIT(INSPECT), {FIELD_FLAG, AT(tensors), 0, 0}},
    {"ranges", 0, NULL, "read all weights: minimum, maximum, mean, NaN and Inf",
     BIT(INSPECT), {FIELD_FLAG, AT(ranges), 0, 0}},
    {"prompt", 'p', "N,N", "prefill so many tokens (512); 0 for none",
     BIT(BENCH), {FIELD_COUNTS, AT(prompts), 0, UINT32_MAX}},
    {"predict", 'n', "N,N", "decode so many tokens (128); 0 for none",
     BIT(BENCH), {FIELD_COUNTS, AT(predicts), 0, UINT32_MAX}},
    {"depth", 'd', "N", "after so many tokens of context (0)",
     BIT(BENCH), {FIELD_COUNT, AT(depth), 0, UINT32_MAX}},
    {"repeats", 'r', "N", "measure each row N times (5)", BIT(BENCH), {FIELD_COUNT, AT(repeats), 1, 10000}},
    {"tokenizer", 0, NULL, "measure the tokenizer instead", BIT(BENCH), {FIELD_FLAG, AT(tokenizer), 0, 0}},
    {"top", 0, "N", "candidates a token (20)",
     BIT(BENCH), {FIELD_COUNT, AT(settings.top), 0, CANDIDATES_MAX}},
    {"ctx-size", 'c', "N", "context in tokens (default: the model's, at most 8192)",
     ENGINE, {FIELD_COUNT, AT(n_ctx), 0, UINT32_MAX}},
    {"threads", 't', "N", "CPU threads (default: one a core)", ENGINE, {FIELD_COUNT, AT(n_threads), 0, 1024}},
    {"device", 0, "DEVICE", "auto, cpu, cuda or cuda:N", ENGINE, {FIELD_DEVICE, AT(device), 0, 0}},
    {"exact", 0, NULL, "F32 activations and KV cache: slower, the yardstick",
     ENGINE, {FIELD_FLAG, AT(exact), 0, 0}},
    {"resume", 0, "[ID|WORDS]", "go on with a kept chat: its number, last, or a list of those with words",
     BIT(CHAT), {FIELD_TEXT, AT(resume), 0, 0}},
    {"continue", 0, NULL, "go on with the newest kept chat", BIT(CHAT), {FIELD_FLAG, AT(resume_newest), 0, 0}},
    {"incognito", 0, NULL, "keep nothing: neither this chat nor the history of what you type",
     BIT(CHAT), {FIELD_FLAG, AT(incognito), 0, 0}},
    {"save", 0, NULL, "keep a single answer (-p, a pipe) as a chat too", BIT(CHAT), {FIELD_FLAG, AT(save), 0, 0}},
    {"color", 0, "WHEN", "auto, always or never", BIT(CHAT), {FIELD_WHEN, AT(colour), 0, 0}},
    {"theme", 0, "NAME", "auto, dark, light, mono or a theme file's name", BIT(CHAT), {FIELD_TEXT, AT(theme), 0, 0}},
    {"mouse", 0, NULL, "the mouse is on from the start (F8 switches it)", BIT(CHAT), {FIELD_FLAG, AT(mouse), 0, 0}},
    {"bell", 0, "WHEN", "ring when an answer is done: auto (the terminal has lost the focus), always or never",
     BIT(CHAT), {FIELD_WHEN, AT(bell), 0, 0}},
    {"accessible", 0, NULL, "plain lines, nothing is drawn over: for screen readers (also: ACCESSIBLE=1)",
     BIT(CHAT), {FIELD_FLAG, AT(accessible), 0, 0}},
    {"no-config", 0, NULL, "as if there were no configuration file", BIT(CHAT), {FIELD_FLAG, AT(no_config), 0, 0}},
    {"print-config", 0, NULL, "write a configuration file that says what is so, and leave",
     BIT(CHAT), {FIELD_FLAG, AT(print_config), 0, 0}},
    {"script", 0, "FILE", "play a script instead of a model (tests, demos)",
     BIT(CHAT), {FIELD_TEXT, AT(script), 0, 0}},
};
/* clang-format on */
enum { N_ROWS = sizeof rows / sizeof *rows };

/* Other names that llama-cli knows for the same. */
static const struct {
    const char *name, *means;
} aliases[] = {{"n-predict", "predict"}, {"system-prompt", "system"}, {"context", "ctx-size"},
               {"no-template", "raw"},   {"no-history", "incognito"}, {"colour", "color"},
               {"temperature", "temp"},  {"hf-repo", "hf"},           {"hff", "hf-file"}};

/* ---- finding ---- */

struct found {
    const char *name, *argument;
    char letter;
    struct field field;
    bool setting; /* field.offset is in options->settings */
};

static bool row_matches(const char *name, char letter, const char *wanted, char wanted_letter) {
    return wanted ? strcmp(name, wanted) == 0 : letter == wanted_letter;
}

static bool own_name_find(enum command_id command, const char *name, char letter, struct found *found) {
    for (size_t i = 0; i < N_ROWS; i++) {
        const struct option_row *row = &rows[i];
        if (!(row->commands & 1u << command) || !row_matches(row->name, row->letter, name, letter)) continue;
        *found = (struct found){row->name, row->argument, row->letter, row->field, false};
        return true;
    }
    for (const struct setting *s = setting_table; command == COMMAND_CHAT && s->name; s++) {
        if (!row_matches(s->name, s->letter, name, letter)) continue;
        *found = (struct found){s->name, s->argument, s->letter, s->field, true};
        return true;
    }
    return false;
}

/* By name, or by letter where name is NULL. A command's own name goes before what the word means elsewhere.
 */
static bool option_find(enum command_id command, const char *name, char letter, struct found *found) {
    if (own_name_find(command, name, letter, found)) return true;
    for (size_t i = 0; name && i < sizeof aliases / sizeof *aliases; i++)
        if (strcmp(name, aliases[i].name) == 0)
            return own_name_find(command, aliases[i].means, letter, found);
    return false;
}

void options_each(enum command_id command,
                  void (*visit)(void *ctx, const char *name, char letter, const char *argument,
                                const char *help),
                  void *ctx) {
    for (size_t i = 0; i < N_ROWS; i++)
        if (rows[i].commands & 1u << command)
            visit(ctx, rows[i].name, rows[i].letter, rows[i].argument, rows[i].help);
    for (const struct setting *s = setting_table; command == COMMAND_CHAT && s->name; s++)
        visit(ctx, s->name, s->letter, s->argument, s->help);
    visit(ctx, "help", 'h', NULL, "the most used options, and examples");
    visit(ctx, "help-all", 0, NULL, "every option");
    visit(ctx, "version", 0, NULL, "the version");
}

static void try_name(void *ctx, const char *name, char letter, const char *argument, const char *help) {
    (void)letter, (void)argument, (void)help;
    suggest_try(ctx, name);
}

static const char *command_words(enum command_id command) {
    return command == COMMAND_CHAT ? "the chat" : command_table[command].name;
}

/* Told apart: an option of another command, a near miss, anything else. Of one dash and several letters the
 * first may be an option, or all of them a word. `shown` is the option as it was written. */
static int option_unknown(enum command_id command, const char *name, char letter, const char *shown,
                          struct err *err) {
    struct found found;
    for (int other = 0; other < COMMAND_COUNT; other++)
        if (option_find((enum command_id)other, name, letter, &found) ||
            (name && letter && option_find((enum command_id)other, NULL, letter, &found)))
            return err_set(err, STATUS_USAGE, "%s: an option of %s, not of %s", shown,
                           command_words((enum command_id)other), command_words(command));
    struct suggest suggest = {.word = name ? name : ""};
    options_each(command, try_name, &suggest);
    if (suggest.best)
        return err_set(err, STATUS_USAGE, "%s: there is no such option, did you mean --%s?", shown,
                       suggest.best);
    return err_set(err, STATUS_USAGE, "%s: there is no such option; logitop --help-all lists them", shown);
}

/* ---- reading ---- */

struct reader {
    struct options *options;
    char **next; /* the arguments that are left, ended by NULL */
};

uint64_t option_given_bit(const char *name) {
    static const char *const others[] = {"system", "template-var", "fold-system"};
    enum { AFTER_SETTINGS = 48 };
    const struct setting *setting = setting_find(name);
    if (setting) return (uint64_t)1 << (setting - setting_table);
    for (int i = 0; i < 3; i++)
        if (strcmp(name, others[i]) == 0) return (uint64_t)1 << (AFTER_SETTINGS + i);
    return 0;
}

/* A value that may be missing is told from the text that may follow. */
static bool names_kept_chat(const char *argument) {
    if (!argument || !*argument) return false;
    return strcmp(argument, "last") == 0 || argument[strspn(argument, "0123456789")] == '\0';
}

static void *found_base(struct options *options, const struct found *found) {
    return found->setting ? (void *)&options->settings : (void *)options;
}

static int take_value(struct reader *reader, const struct found *found, const char *label,
                      const char *attached, struct err *err) {
    if (!found->argument && attached)
        return err_set(err, STATUS_USAGE, "%s: found the value \"%s\", expected none", label, attached);
    const char *value = attached;
    bool optional = found->argument && *found->argument == '[';
    if (optional && !value) value = names_kept_chat(*reader->next) ? *reader->next++ : "";
    if (found->argument && !value) {
        if (!*reader->next)
            return err_set(err, STATUS_USAGE, "%s: found nothing after it, expected %s", label,
                           found->argument);
        value = *reader->next++;
    }
    reader->options->given |= option_given_bit(found->name);
    return field_set(&found->field, found_base(reader->options, found), label, value, err);
}

static int read_long(struct reader *reader, const char *argument, struct err *err) {
    char name[64], label[68];
    size_t len = strcspn(argument + 2, "=");
    if (len >= sizeof name) return err_set(err, STATUS_USAGE, "%.40s...: there is no such option", argument);
    memcpy(name, argument + 2, len);
    name[len] = '\0';
    memcpy(label, "--", 2);
    memcpy(label + 2, name, len + 1);
    const char *value = argument[2 + len] == '=' ? argument + 3 + len : NULL;
    static const struct {
        const char *name;
        enum help_wanted help;
    } helps[] = {{"help", HELP_SHORT}, {"help-all", HELP_ALL}, {"version", HELP_VERSION}};
    for (size_t i = 0; i < sizeof helps / sizeof *helps; i++)
        if (strcmp(name, helps[i].name) == 0) {
            reader->options->help = helps[i].help;
            return STATUS_OK;
        }
    struct found found;
    if (!option_find(reader->options->command, name, 0, &found))
        return option_unknown(reader->options->command, name, 0, label, err);
    return take_value(reader, &found, label, value, err);
}

static int read_short(struct reader *reader, const char *argument, struct err *err) {
    char label[3] = {'-', argument[1], '\0'};
    struct found found = {0};
    if (argument[1] == 'h' && !argument[2]) {
        reader->options->help = HELP_SHORT;
        return STATUS_OK;
    }
    if (strcmp(argument, "-hf") == 0 || strcmp(argument, "-hff") == 0) { /* as llama-cli writes them */
        option_find(reader->options->command, argument + 1, 0, &found);
        return found.name ? take_value(reader, &found, argument, NULL, err)
                          : option_unknown(reader->options->command, argument + 1, 0, argument, err);
    }
    /* -top-k for --top-k is a common slip: the whole word is looked at first */
    if (argument[2] && option_find(reader->options->command, argument + 1, 0, &found))
        return err_set(err, STATUS_USAGE, "%s: there is no such option, did you mean --%s?", argument,
                       found.name);
    if (!option_find(reader->options->command, NULL, argument[1], &found))
        return option_unknown(reader->options->command, argument[2] ? argument + 1 : NULL, argument[1],
                              argument, err);
    if (!found.argument && argument[2])
        return err_set(err, STATUS_USAGE, "%s: found \"%s\" after %s, expected nothing", argument,
                       argument + 2, label);
    return take_value(reader, &found, label, argument[2] ? argument + 2 : NULL, err);
}

static int read_operand(struct options *options, const char *argument, struct err *err) {
    if (options->command == COMMAND_CHAT) {
        if (options->text.data) buf_putc(&options->text, ' ');
        buf_append(&options->text, argument, strlen(argument));
        return STATUS_OK;
    }
    if (options->input)
        return err_set(err, STATUS_USAGE, "found \"%s\" after \"%s\", expected one input only", argument,
                       options->input);
    if (options->command == COMMAND_LOGITS || options->command == COMMAND_TRACE ||
        options->command == COMMAND_BENCH || options->command == COMMAND_RENDER ||
        options->command == COMMAND_LIST)
        return err_set(err, STATUS_USAGE, "%s: found \"%s\", expected options only",
                       command_words(options->command), argument);
    options->input = argument;
    return STATUS_OK;
}

/* A word that is nearly a command, alone or before what looks like a file or a repository, is more likely a
 * slip than a question; so is a command behind options. */
static int check_slip(const char *word, const char *text, struct err *err) {
    struct suggest suggest = {.word = word};
    for (int i = COMMAND_CHAT + 1; i < COMMAND_COUNT; i++) suggest_try(&suggest, command_table[i].name);
    if (!suggest.best) return STATUS_OK;
    if (strcmp(word, suggest.best) == 0)
        return err_set(err, STATUS_USAGE,
                       "a command comes first: logitop %s [options] (to say it to the model: -p \"%.80s\")",
                       word, text);
    return err_set(err, STATUS_USAGE,
                   "there is no command \"%s\", did you mean %s? (to say it to the model: -p \"%.80s\")",
                   word, suggest.best, text);
}

/* So is the name of a model's file in front of everything. */
static int check_file(const char *word, const char *text, struct err *err) {
    const char *end = word ? strrchr(word, '.') : NULL;
    if (!end || strcmp(end, ".gguf") || strpbrk(word, " \t\n")) return STATUS_OK;
    return err_set(err, STATUS_USAGE,
                   "found the name of a file, \"%.200s\", expected -m before it (to say it to the model: -p "
                   "\"%.80s\")",
                   word, text);
}

static bool may_be_slip(const char *last, unsigned operands) {
    return operands == 1 || (operands == 2 && strpbrk(last, "/."));
}

/* --resume without a number. */
static bool chooses(const struct options *options) {
    return options->resume && !*options->resume;
}

static int check_together(const struct options *options, struct err *err) {
    if (options->prompt && options->text.data)
        return err_set(err, STATUS_USAGE, "found both -p and the text \"%.60s\", expected one of them",
                       options->text.data);
    if (options->json && options->jsonl)
        return err_set(err, STATUS_USAGE, "found both --json and --jsonl, expected one of them");
    if (options->raw && options->system)
        return err_set(err, STATUS_USAGE,
                       "found both --raw and --system: without a template there is no system message");
    if (options->hf && options->model)
        return err_set(err, STATUS_USAGE, "found both -hf and -m, expected one of them");
    if (options->hf_file && !options->hf && !options->input)
        return err_set(err, STATUS_USAGE, "found --hf-file alone, expected -hf user/repo too");
    if (options->save && (options->raw || options->incognito))
        return err_set(err, STATUS_USAGE, "found both --save and --%s: there is no chat to keep",
                       options->raw ? "raw" : "incognito");
    if ((options->raw || options->incognito) && (options->resume || options->resume_newest))
        return err_set(err, STATUS_USAGE, "found both --%s and --%s: no chat is kept that could go on",
                       options->raw ? "raw" : "incognito", options->resume ? "resume" : "continue");
    if (chooses(options) && options->prompt)
        return err_set(err, STATUS_USAGE, "--resume: found no number, which -p needs: 1, or last");
    if (options->script && options->model)
        return err_set(err, STATUS_USAGE, "found both --script and -m, expected one of them");
    if ((options->command == COMMAND_LOGITS || options->command == COMMAND_TRACE) &&
        (!options->ids || !options->output))
        return err_set(err, STATUS_USAGE, "%s: expected %s", command_words(options->command),
                       options->ids ? "-o OUT.gguf" : "--ids 1,2,3 or --ids @FILE");
    if (options->command == COMMAND_INSPECT && options->input && options->model)
        return err_set(err, STATUS_USAGE, "inspect: found both -m and \"%s\", expected one file",
                       options->input);
    return STATUS_OK;
}

/* The model of the configuration is for those who name none in any way. */
static void default_model(struct options *options, const char *model, const char *hf) {
    bool file = options->command == COMMAND_INSPECT && options->input;
    if (options->model || options->hf || options->script || file) return;
    options->model = model;
    options->hf = model ? NULL : hf;
}

static int read_all(struct options *options, char **argv, struct err *err) {
    struct reader reader = {options, argv + 1};
    const char *model = options->model, *hf = options->hf;
    options->model = options->hf = NULL;
    int status = STATUS_OK;
    if (*reader.next)
        for (int i = COMMAND_CHAT + 1; i < COMMAND_COUNT; i++)
            if (strcmp(*reader.next, command_table[i].name) == 0) options->command = (enum command_id)i;
    if (options->command != COMMAND_CHAT) reader.next++;
    const char *first = NULL, *last = NULL;
    unsigned operands = 0;
    bool only_operands = false;
    while (status == STATUS_OK && !options->help && *reader.next) {
        const char *argument = *reader.next++;
        if (!only_operands && strcmp(argument, "--") == 0) {
            only_operands = true;
        } else if (!only_operands && strncmp(argument, "--", 2) == 0) {
            status = read_long(&reader, argument, err);
        } else if (!only_operands && argument[0] == '-' && argument[1]) {
            status = read_short(&reader, argument, err);
        } else {
            status = read_operand(options, argument, err);
            last = argument;
            if (!only_operands && !operands++) first = argument;
        }
    }
    if (status < 0 || options->help) return status;
    default_model(options, model, hf);
    if (options->command == COMMAND_CHAT && may_be_slip(last, operands) && !chooses(options) &&
        (status = check_slip(first, options->text.data, err)) < 0)
        return status;
    if (options->command == COMMAND_CHAT && !chooses(options) &&
        (status = check_file(first, options->text.data, err)) < 0)
        return status;
    return check_together(options, err);
}

void options_begin(struct options *options) {
    *options = (struct options){.device = "auto", .positions = "all", .repeats = 5, .theme = "auto"};
    settings_defaults(&options->settings);
}

int options_read(struct options *options, int argc, char **argv, struct err *err) {
    return argc < 1 ? STATUS_OK : read_all(options, argv, err);
}

const char *options_first(const struct options *options) {
    const char *first = options->prompt || chooses(options) ? options->prompt : options->text.data;
    return first && *first ? first : NULL;
}

int options_set(struct options *options, const char *name, const char *value, struct err *err) {
    struct found found;
    if (!option_find(COMMAND_CHAT, name, 0, &found)) {
        struct suggest suggest = {.word = name};
        options_each(COMMAND_CHAT, try_name, &suggest);
        return err_set(err, STATUS_USAGE, "found \"%.60s\", expected an option%s%s", name,
                       suggest.best ? "; did you mean " : " (logitop --print-config lists them)",
                       suggest.best ? suggest.best : "");
    }
    return field_set(&found.field, found_base(options, &found), name, value, err);
}

void options_print(const struct options *options, const char *name, struct buf *out) {
    struct found found;
    if (!option_find(COMMAND_CHAT, name, 0, &found)) return;
    if (found.field.kind == FIELD_SEED)
        buf_puts(out, "-1"); /* drawn anew each time */
    else
        field_print(&found.field, found_base((struct options *)options, &found), out);
}

void options_free(struct options *options) {
    buf_free(&options->text);
    buf_free(&options->template_variables);
    buf_free(&options->config);
    buf_free(&options->config_problems);
    free(options->prompts);
    free(options->predicts);
    free(options->chosen_model);
    options->prompts = options->predicts = NULL;
    options->chosen_model = NULL;
}

/* ---- what follows from them ---- */

struct engine_options options_engine(const struct options *options, const char *model) {
    return (struct engine_options){.model = model,
                                   .device = options->device,
                                   .n_threads = options->n_threads,
                                   .n_ctx = options->n_ctx,
                                   .exact = options->exact,
                                   .chat_template = options->chat_template};
}

/* ---- help ---- */

static void print_option(void *ctx, const char *name, char letter, const char *argument, const char *help) {
    char left[64], shown[8] = "    ";
    if (letter) snprintf(shown, sizeof shown, "-%c, ", letter);
    snprintf(left, sizeof left, "%s--%s%s%s", shown, name, argument ? " " : "", argument ? argument : "");
    buf_printf(ctx, "  %-30s %s\n", left, help);
}

static void help_short(struct buf *out) {
    buf_puts(out,
             "logitop: chat with a local language model and see what it is about to say\n\n"
             "Usage: logitop [options] [TEXT]          chat, or one answer without a terminal\n"
             "       logitop COMMAND [options]         look into a model\n\n"
             "Examples:\n"
             "  logitop -m model.gguf                  chat; F1 shows the keys\n"
             "  git diff | logitop -p \"what changed?\"  one answer: standard input first, then the text\n"
             "  logitop -p \"hello\" --jsonl --top 5     every token with its five best candidates\n\n"
             "Commands:\n");
    for (int i = COMMAND_CHAT + 1; i < COMMAND_COUNT; i++)
        buf_printf(out, "  %-10s %s\n", command_table[i].name, command_table[i].help);
    buf_puts(out, "\nOptions used most:\n");
    static const char *const most[] = {"model", "prompt", "predict", "ctx-size", "system",
                                       "temp",  "seed",   "device",  "continue"};
    for (size_t i = 0; i < sizeof most / sizeof *most; i++) {
        const struct setting *setting = setting_find(most[i]);
        if (setting) print_option(out, setting->name, setting->letter, setting->argument, setting->help);
        for (size_t r = 0; r < N_ROWS; r++)
            if (rows[r].commands & BIT(CHAT) && strcmp(rows[r].name, most[i]) == 0)
                print_option(out, rows[r].name, rows[r].letter, rows[r].argument, rows[r].help);
    }
    buf_puts(out, "  --help-all shows every option, logitop COMMAND --help those of a command\n");
}

static void help_command(struct buf *out, enum command_id command) {
    const struct command *row = &command_table[command];
    buf_printf(out, "Usage: logitop %s%s%s\n%s\n\n", row->name, *row->name ? " " : "", row->usage, row->help);
    options_each(command, print_option, out);
}

static void help_all(struct buf *out) {
    for (int i = 0; i < COMMAND_COUNT; i++) {
        help_command(out, (enum command_id)i);
        buf_putc(out, '\n');
    }
    buf_puts(out, "Exit codes: 0 done, 1 failed while running, 2 wrong usage, 3 model not found, unreadable "
                  "or refused,\n"
                  "4 out of memory, 5 context full, 129 / 130 / 141 / 143 for HUP / INT / PIPE / TERM.\n");
}

void options_help(const struct options *options, struct buf *out) {
    if (options->help == HELP_VERSION)
        buf_puts(out, "logitop " LOGITOP_VERSION "\n");
    else if (options->help == HELP_ALL)
        help_all(out);
    else if (options->command == COMMAND_CHAT)
        help_short(out);
    else
        help_command(out, options->command);
}
