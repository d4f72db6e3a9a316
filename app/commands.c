/* The table of commands, and those that look into a model: they read their input, call infer/tools.h, write
 * the result. */
#include "app/chat_command.h"
#include "app/list_command.h"
#include "app/model_choice.h"
#include "app/options.h"
#include "app/out.h"
#include "app/pull_command.h"
#include "app/record_json.h"
#include "base/mem.h"
#include "infer/tools.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A report for people or programs, sanitised where a terminal would obey it. */
static int write_report(const struct buf *report, struct err *err) {
    struct out out;
    out_open(&out, STDOUT_FILENO);
    int status = out_text(&out, report->data, report->len, err);
    if (status == STATUS_OK) status = out_end(&out, err);
    out_close(&out);
    return status;
}

/* ---- tokenize ---- */

struct texts {
    const char **texts; /* [n], borrowed from `input` or `json` */
    size_t *lens, n;
    struct buf input;
    json_t *json;
};

static void texts_free(struct texts *texts) {
    free(texts->texts);
    free(texts->lens);
    buf_free(&texts->input);
    json_decref(texts->json);
}

/* The input as one text, or each string of a JSON array. */
static int texts_split(struct texts *texts, bool json_strings, struct err *err) {
    json_error_t where;
    if (json_strings) {
        texts->json =
            json_loadb(texts->input.data ? texts->input.data : "", texts->input.len, JSON_ALLOW_NUL, &where);
        if (!texts->json)
            return err_set(err, STATUS_USAGE, "--json-strings: line %d, column %d: %s", where.line,
                           where.column, where.text);
        if (!json_is_array(texts->json))
            return err_set(err, STATUS_USAGE, "--json-strings: expected a JSON array of strings");
    }
    texts->n = json_strings ? json_array_size(texts->json) : 1;
    texts->texts = xcalloc(texts->n + 1, sizeof *texts->texts);
    texts->lens = xcalloc(texts->n + 1, sizeof *texts->lens);
    if (!json_strings) {
        texts->texts[0] = texts->input.data ? texts->input.data : "";
        texts->lens[0] = texts->input.len;
    }
    for (size_t i = 0; json_strings && i < texts->n; i++) {
        const json_t *string = json_array_get(texts->json, i);
        if (!json_is_string(string))
            return err_set(err, STATUS_USAGE,
                           "--json-strings: item %zu is no string, expected an array of strings", i);
        texts->texts[i] = json_string_value(string);
        texts->lens[i] = json_string_length(string);
    }
    return STATUS_OK;
}

static int run_tokenize(struct options *options, struct err *err) {
    const char *model;
    struct texts texts = {0};
    struct buf ids = {0};
    int status = options_model(options, &model, err);
    if (status == STATUS_OK) status = read_input(options->input, &texts.input, err);
    if (status == STATUS_OK) status = texts_split(&texts, options->json_strings, err);
    if (status == STATUS_OK)
        status = tool_tokenize(model, options->plain, texts.texts, texts.lens, texts.n, &ids, err);
    if (status == STATUS_OK) status = write_report(&ids, err);
    texts_free(&texts);
    buf_free(&ids);
    return status;
}

/* ---- render ---- */

static int run_render(struct options *options, struct err *err) {
    struct buf prompt = {0};
    struct render_options render = {.template_file = options->template_file,
                                    .context = options->context,
                                    .now = options->now,
                                    .segments = options->segments};
    if (!render.context)
        return err_set(err, STATUS_USAGE,
                       "render: found no --context, expected a JSON file with the messages");
    int status = render.template_file ? STATUS_OK : options_model(options, &render.model, err);
    if (status == STATUS_OK) status = tool_render(&render, &prompt, err);
    if (status == STATUS_OK) status = write_report(&prompt, err);
    buf_free(&prompt);
    return status;
}

/* ---- logits, trace ---- */

/* "1,2,3" or "[1, 2, 3]", in the argument or in a file: numbers with commas or blanks between them. */
static int parse_ids(const char *text, int32_t **ids, size_t *n, struct err *err) {
    size_t cap = 0;
    *n = 0;
    while (*(text += strspn(text, " \t\r\n,[]"))) {
        char *end;
        errno = 0;
        long long id = strtoll(text, &end, 10);
        if (end == text || errno || id < 0 || id > INT32_MAX || (*end && !strchr(" \t\r\n,]", *end)))
            return err_set(err, STATUS_USAGE,
                           "--ids: found \"%.20s\" as id number %zu, expected whole numbers", text, *n);
        grow_array(ids, &cap, *n + 1, sizeof **ids);
        (*ids)[(*n)++] = (int32_t)id;
        text = end;
    }
    return *n ? STATUS_OK : err_set(err, STATUS_USAGE, "--ids: found no number, expected 1,2,3");
}

static int read_ids(const char *argument, int32_t **ids, size_t *n, struct err *err) {
    if (argument[0] != '@') return parse_ids(argument, ids, n, err);
    struct buf text = {0};
    int status = read_input(argument + 1, &text, err);
    if (status == STATUS_OK) status = parse_ids(text.data ? text.data : "", ids, n, err);
    buf_free(&text);
    return status;
}

static int run_logits(struct options *options, struct err *err) {
    const char *model;
    int32_t *ids = NULL;
    size_t n_ids = 0;
    int status = options_model(options, &model, err);
    if (status == STATUS_OK) status = read_ids(options->ids, &ids, &n_ids, err);
    if (status == STATUS_OK) {
        struct logits_options logits = {.engine = options_engine(options, model),
                                        .ids = ids,
                                        .n_ids = n_ids,
                                        .positions = options->positions,
                                        .trace = options->command == COMMAND_TRACE,
                                        .chunk = options->chunk};
        status = tool_logits(&logits, options->output, err);
    }
    free(ids);
    return status;
}

/* ---- score ---- */

static void score_json(const struct scores *scores, bool ascii, struct buf *report) {
    json_t *object = json_object(), *tokens = json_array();
    for (size_t i = 0; i < scores->n; i++) {
        const struct scored_token *token = &scores->tokens[i];
        json_t *row = json_object();
        json_object_set_new(row, "id", json_integer(token->id));
        json_object_set_new(row, "text", json_lossy(token->text, token->len));
        json_object_set_new(row, "logprob", json_number(token->logprob));
        json_object_set_new(row, "rank", token->rank ? json_integer(token->rank) : json_null());
        json_array_append_new(tokens, row);
    }
    json_object_set_new(object, "tokens", tokens);
    json_object_set_new(object, "nats", json_number(scores->nats));
    json_object_set_new(object, "perplexity", json_number(scores->perplexity));
    char *line = json_line(object, ascii);
    buf_puts(report, line);
    free(line);
    json_decref(object);
}

static void score_table(const struct scores *scores, struct buf *report) {
    buf_puts(report, "  logprob    rank      id  token\n");
    for (size_t i = 0; i < scores->n; i++) {
        const struct scored_token *token = &scores->tokens[i];
        if (token->rank)
            buf_printf(report, "%9.4f %7u %7d  ", token->logprob, token->rank, token->id);
        else
            buf_printf(report, "%9s %7s %7d  ", "-", "-", token->id);
        text_quote(report, token->text, token->len, 60);
        buf_putc(report, '\n');
    }
    buf_printf(report, "%zu token%s, %.4f nats", scores->n, scores->n == 1 ? "" : "s", scores->nats);
    if (scores->n > 1) buf_printf(report, ", perplexity %.4f", scores->perplexity); /* the first has no probability */
    buf_putc(report, '\n');
}

static int run_score(struct options *options, struct err *err) {
    const char *model;
    struct buf text = {0}, report = {0};
    struct scores scores = {0};
    int status = options_model(options, &model, err);
    if (status == STATUS_OK) status = read_input(options->input, &text, err);
    if (status == STATUS_OK) {
        struct engine_options engine = options_engine(options, model);
        status = tool_score(&engine, text.data ? text.data : "", text.len, &scores, err);
    }
    if (status == STATUS_OK) {
        if (options->json)
            score_json(&scores, isatty(STDOUT_FILENO), &report);
        else
            score_table(&scores, &report);
        status = write_report(&report, err);
        scores_free(&scores);
    }
    buf_free(&text);
    buf_free(&report);
    return status;
}

/* ---- bench, inspect ---- */

static int run_bench(struct options *options, struct err *err) {
    static const uint32_t prompts[] = {512, 0}, predicts[] = {128, 0};
    const char *model;
    int status = options_model(options, &model, err);
    if (status < 0) return status;
    struct bench_options bench = {.engine = options_engine(options, model),
                                  .prompts = options->prompts ? options->prompts : prompts,
                                  .predicts = options->predicts ? options->predicts : predicts,
                                  .depth = options->depth,
                                  .repeats = options->repeats,
                                  .top_k = options->settings.top,
                                  .json = options->json,
                                  .tokenizer = options->tokenizer};
    return tool_bench(&bench, stdout, err);
}

/* What could be read of a faulty file is shown all the same. */
static int run_inspect(struct options *options, struct err *err) {
    const char *path = options->input ? options->input : options->model;
    struct buf report = {0};
    struct inspect_options inspect = {
        .tensors = options->tensors, .ranges = options->ranges, .json = options->json};
    if (path) options->model = path;
    int status = options_model(options, &path, err);
    if (status < 0) return status;
    status = tool_inspect(path, &inspect, &report, err);
    int written = report.len ? write_report(&report, status < 0 ? NULL : err) : STATUS_OK;
    buf_free(&report);
    return status < 0 ? status : written;
}

const struct command command_table[COMMAND_COUNT] = {
    [COMMAND_CHAT] = {"", "[options] [TEXT]", "Chat on a terminal; without one, answer once and leave.",
                      chat_command},
    [COMMAND_TOKENIZE] = {"tokenize", "-m FILE [--plain] [--json-strings] [INPUT]",
                          "text in, a JSON array of token ids out", run_tokenize},
    [COMMAND_RENDER] = {"render", "(-m FILE | --template FILE) --context FILE.json [--now TIME] [--segments]",
                        "the prompt that a chat template makes of messages", run_render},
    [COMMAND_LOGITS] = {"logits",
                        "-m FILE --ids 1,2,3|@FILE [--positions all|last|0,5] [--exact] -o OUT.gguf",
                        "the logits of a list of tokens, into a GGUF container", run_logits},
    [COMMAND_TRACE] = {"trace", "-m FILE --ids 1,2,3|@FILE [--positions all|last|0,5] [--exact] -o OUT.gguf",
                       "the same with every intermediate tensor", run_logits},
    [COMMAND_SCORE] = {"score", "-m FILE [--json] [INPUT]",
                       "log-probability and rank of each token of a text", run_score},
    [COMMAND_BENCH] = {"bench", "-m FILE [-p N,N] [-n N,N] [-d DEPTH] [-r R] [--json]",
                       "prefill and decode speed", run_bench},
    [COMMAND_INSPECT] = {"inspect", "FILE [--tensors] [--ranges] [--json]",
                         "what is in a model file, and what is wrong with it", run_inspect},
    [COMMAND_LIST] = {"list", "[--models-dir FOLDER] [--json]",
                      "the models on this machine: where, how large, whether they fit", list_command},
    [COMMAND_PULL] = {"pull", "[--hf-file FILE] [--offline] USER/REPO[:QUANT] | NAME[:TAG]",
                      "fetch a model of huggingface.co or ollama.com", pull_command},
};
