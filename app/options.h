/* The command line as one table: names, arguments and words of every option, which command takes it, where it
 * goes. */
#ifndef LOGITOP_APP_OPTIONS_H
#define LOGITOP_APP_OPTIONS_H

#include "app/field.h"
#include "app/settings.h"
#include "base/buf.h"
#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct options;

/* A command of the table in commands.c. Its position is its bit in an option's `commands`. */
struct command {
    const char *name;  /* "tokenize"; "" for the chat, which comes first */
    const char *usage; /* what follows the name in the usage line */
    const char *help;
    int (*run)(struct options *options,
               struct err *err); /* the program's exit code, or a negative status with err */
};

enum command_id { /* the order of command_table */
                  COMMAND_CHAT,
                  COMMAND_TOKENIZE,
                  COMMAND_RENDER,
                  COMMAND_LOGITS,
                  COMMAND_TRACE,
                  COMMAND_SCORE,
                  COMMAND_BENCH,
                  COMMAND_INSPECT,
                  COMMAND_LIST,
                  COMMAND_PULL,
                  COMMAND_COUNT
};
extern const struct command command_table[COMMAND_COUNT];

enum help_wanted { HELP_NONE, HELP_SHORT, HELP_ALL, HELP_VERSION };

struct options {
    enum command_id command;
    enum help_wanted help;
    const char *model, *device, *system, *script, *prompt; /* NULL if not given; device: "auto" */
    const char *models_dir, *hf, *hf_file;
    const char *input; /* the commands' one operand */
    struct buf text;   /* the chat's operands with blanks between them; data NULL: none */
    uint32_t n_ctx, n_threads;
    const char *chat_template;
    struct buf template_variables; /* a JSON object; data NULL: none */
    bool offline;
    bool exact, raw, json, jsonl, incognito, save, resume_newest, fold_system;
    const char *resume;       /* --resume: a number, "last", "" to choose among those with the words of
                                 `text`; NULL: a new chat */
    bool plain, json_strings; /* tokenize */
    const char *template_file, *context, *now; /* render */
    bool segments;
    bool tensors, ranges;                 /* inspect */
    const char *ids, *positions, *output; /* logits, trace */
    uint32_t chunk;
    uint32_t *prompts, *predicts; /* bench; ended by 0 */
    uint32_t depth, repeats;
    bool tokenizer;
    enum when colour, bell;
    const char *theme;
    bool mouse, accessible, no_config, print_config;
    struct buf config;          /* the configuration file: texts of options may lie in it */
    struct buf config_problems; /* what is wrong with it, a line each */
    struct settings settings;
    uint64_t given; /* option_given_bit() of what the command line names, which goes before what a chat had */
    char *chosen_model; /* what options_model() found */
};

/* What is so if nothing is said; then a configuration file may speak, then the command line (options_read):
 * STATUS_USAGE with one line that says what was found and what was expected. The strings of argv are
 * borrowed. options_free() after success and failure. */
void options_begin(struct options *options);
int options_read(struct options *options, int argc, char **argv, struct err *err);

/* An option of the chat by its long name, as a configuration writes it: flags are on or off. */
/* What is said first; NULL: nothing. Words behind --resume are for its list instead. */
const char *options_first(const struct options *options);
int options_set(struct options *options, const char *name, const char *value, struct err *err);
void options_print(const struct options *options, const char *name,
                   struct buf *out); /* its value, in that form */

uint64_t option_given_bit(const char *name);
void options_free(struct options *options);

struct engine_options options_engine(const struct options *options, const char *model);

void options_help(const struct options *options,
                  struct buf *out); /* for options->help and options->command */

/* Every option of a command, for completions and the man page: calls back with its long name, letter or 0,
 * argument or NULL, help. */
void options_each(enum command_id command,
                  void (*visit)(void *ctx, const char *name, char letter, const char *argument,
                                const char *help),
                  void *ctx);

#endif
