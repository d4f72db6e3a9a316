#include "infer/script.h"

#include "base/buf.h"
#include "base/mem.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

struct parser {
    struct script *script;
    const char *at; /* in the line */
    const char *end;
    size_t line;
    struct script_answer *answer; /* that steps go to */
    struct err *err;
};

enum { WORD_MAX = 4096, CANDIDATES_SAID = 20 };

static int fault(struct parser *parser, const char *expected) {
    int left = (int)(parser->end - parser->at < 40 ? parser->end - parser->at : 40);
    return err_set(parser->err, STATUS_USAGE, "script line %zu: found \"%.*s\", expected %s", parser->line,
                   left, parser->at, expected);
}

static void skip_space(struct parser *parser) {
    while (parser->at < parser->end && (*parser->at == ' ' || *parser->at == '\t' || *parser->at == '\r'))
        parser->at++;
}

static bool at_end(struct parser *parser) {
    skip_space(parser);
    return parser->at == parser->end;
}

/* A bare word into `out`; false if there is none or it is too long. */
static bool take_word(struct parser *parser, char *out, size_t size) {
    skip_space(parser);
    size_t n = 0;
    while (parser->at + n < parser->end && !isspace((unsigned char)parser->at[n])) n++;
    if (n == 0 || n >= size) return false;
    memcpy(out, parser->at, n);
    out[n] = '\0';
    parser->at += n;
    return true;
}

static bool take_number(struct parser *parser, double max, double *out) {
    char word[40], *rest;
    const char *before = parser->at;
    if (take_word(parser, word, sizeof word)) {
        *out = strtod(word, &rest);
        if (*rest == '\0' && *out >= 0 && *out <= max) return true;
    }
    parser->at = before;
    return false;
}

static bool take_count(struct parser *parser, uint32_t *out) {
    double number;
    if (!take_number(parser, 4e9, &number)) return false;
    *out = (uint32_t)number;
    return true;
}

static int hex_digit(char c) {
    const char *digits = "0123456789abcdef", *at = c ? strchr(digits, tolower((unsigned char)c)) : NULL;
    return at ? (int)(at - digits) : -1;
}

/* One character after a backslash; false if it is none of ours. */
static bool take_escape(struct parser *parser, char *out) {
    static const char from[] = "ntre\"\\", to[] = "\n\t\r\033\"\\";
    char c = parser->at < parser->end ? *parser->at++ : '\0';
    const char *known = c ? strchr(from, c) : NULL;
    if (known) {
        *out = to[known - from];
        return true;
    }
    if (c != 'x' || parser->end - parser->at < 2) return false;
    int high = hex_digit(parser->at[0]), low = hex_digit(parser->at[1]);
    parser->at += 2;
    *out = (char)(high * 16 + low);
    return high >= 0 && low >= 0;
}

/* "text" with \n \t \r \e \" \\ \xNN. The bytes live in the script. */
static int take_text(struct parser *parser, struct script_word *out) {
    skip_space(parser);
    if (parser->at == parser->end || *parser->at != '"') return fault(parser, "a text in double quotes");
    const char *begin = parser->at++;
    char *bytes = arena_alloc(&parser->script->arena, (size_t)(parser->end - parser->at) + 1);
    size_t n = 0;
    while (parser->at < parser->end && *parser->at != '"') {
        char c = *parser->at++;
        if (c == '\\' && !take_escape(parser, &c)) {
            parser->at = begin;
            return fault(parser, "one of \\n \\t \\r \\e \\\" \\\\ \\xNN after a backslash");
        }
        bytes[n++] = c;
    }
    if (parser->at == parser->end) {
        parser->at = begin;
        return fault(parser, "a closing quote");
    }
    parser->at++;
    bytes[n] = '\0';
    *out = (struct script_word){bytes, n, false};
    return STATUS_OK;
}

/* The id of a text: in order of appearance. */
static int32_t id_of(struct script *script, struct script_word word) {
    uint32_t id = (uint32_t)script->n_words;
    if (!strmap_add(&script->ids, word.text, word.len, id)) {
        strmap_get(&script->ids, word.text, word.len, &id);
        return (int32_t)id;
    }
    grow_array(&script->words, &script->cap_words, script->n_words + 1, sizeof *script->words);
    script->words[script->n_words++] = word;
    return (int32_t)id;
}

int32_t script_id(struct script *script, const char *text, size_t len) {
    uint32_t id;
    if (strmap_get(&script->ids, text, len, &id)) return (int32_t)id;
    return id_of(script, (struct script_word){arena_dup(&script->arena, text, len), len, false});
}

static struct script_step *add_step(struct parser *parser, enum script_op op) {
    struct script *script = parser->script;
    if (!parser->answer) { /* steps without `answer` before them are the first one */
        grow_array(&script->answers, &script->cap_answers, script->n_answers + 1, sizeof *script->answers);
        parser->answer = &script->answers[script->n_answers++];
        *parser->answer = (struct script_answer){0};
    }
    struct script_answer *answer = parser->answer;
    grow_array(&answer->steps, &answer->cap, answer->n + 1, sizeof *answer->steps);
    struct script_step *step = &answer->steps[answer->n++];
    *step = (struct script_step){.op = op};
    return step;
}

/* ---- made-up candidates for `say` ---- */

static const char *const made_up[] = {
    " the",  " a",    " of",  " and",  " to",    " in",    " is",    " it",   " that",  " for",
    " on",   " with", " as",  " be",   " at",    " one",   " this",  " by",   " not",   " are",
    ",",     ".",     "\n",   " from", " or",    " have",  " an",    " they", " which", " you",
    " were", " her",  " all", " she",  " there", " would", " their", " we",   " him",   " been"};

void script_make_up(struct script *script, int32_t id, uint64_t salt, struct script_step *step) {
    struct script_word word = script->words[id];
    uint64_t hash = hash_bytes(word.text, word.len, salt);
    *step = (struct script_step){.op = SCRIPT_TOKEN};
    step->candidates = arena_alloc(&script->arena, CANDIDATES_SAID * sizeof *step->candidates);
    double p = 0.35 + 0.6 * (double)(hash % 1000) / 1000, left = 1 - p, sum = p;
    step->candidates[step->n++] = (struct script_candidate){id, (float)p, STAGE_NONE};
    const size_t n_made_up = sizeof made_up / sizeof *made_up;
    for (size_t i = 0; step->n < CANDIDATES_SAID && i < n_made_up; i++) {
        struct script_word other = {made_up[(hash / 1000 + i * 7) % n_made_up], 0, false};
        other.len = strlen(other.text);
        int32_t other_id = id_of(script, other);
        if (other_id == id) continue;
        double share = left * (step->n == 1 && left > 0.4 ? 0.6 : 0.45);
        step->candidates[step->n++] =
            (struct script_candidate){other_id, (float)share, sum < 0.95 ? STAGE_NONE : STAGE_TOP_P};
        left -= share;
        sum += share;
    }
}

static void say_word(struct parser *parser, struct script_word word) {
    int32_t id = id_of(parser->script, word);
    struct script_step *step = add_step(parser, SCRIPT_TOKEN);
    script_make_up(parser->script, id, parser->answer->n - 1, step);
}

size_t script_word_len(const char *text, size_t len) {
    size_t i = 1;
    while (i < len && text[i] != ' ' && text[i] != '\n' && text[i - 1] != '\n') i++;
    return i < len ? i : len;
}

static int parse_say(struct parser *parser) {
    struct script_word text;
    int status = take_text(parser, &text);
    for (size_t at = 0, len; status == STATUS_OK && at < text.len; at += len) {
        len = script_word_len(text.text + at, text.len - at);
        say_word(parser, (struct script_word){text.text + at, len, false});
    }
    return status;
}

/* ---- lines ---- */

static uint8_t stage_of(const char *name) {
    for (uint8_t stage = STAGE_NONE + 1; stage < STAGE_COUNT; stage++)
        if (strcmp(stage_name(stage), name) == 0) return stage;
    return STAGE_NONE;
}

static int parse_token(struct parser *parser, bool end) {
    struct script_candidate list[CANDIDATES_MAX];
    uint32_t n = 0;
    do {
        struct script_word text;
        double p;
        if (take_text(parser, &text) < 0) return STATUS_USAGE;
        if (n == CANDIDATES_MAX) return fault(parser, "at most 256 candidates");
        if (!take_number(parser, 1, &p) || p == 0) return fault(parser, "a probability above 0, at most 1");
        list[n] = (struct script_candidate){id_of(parser->script, text), (float)p, STAGE_NONE};
        for (uint32_t i = 0; i < n; i++)
            if (list[i].id == list[n].id) return fault(parser, "candidates that differ");
        skip_space(parser);
        if (parser->at < parser->end && *parser->at != '|') {
            char word[24] = "";
            const char *before = parser->at;
            take_word(parser, word, sizeof word);
            list[n].cut = stage_of(word);
            if (list[n].cut == STAGE_NONE) {
                parser->at = before;
                return fault(parser, "the name of a sampler, | or the end of the line");
            }
        }
        n++;
        skip_space(parser);
    } while (parser->at < parser->end && *parser->at++ == '|');
    struct script_step *step = add_step(parser, SCRIPT_TOKEN);
    step->end = end;
    if (end) parser->script->words[list[0].id].ends = true;
    step->n = n;
    step->candidates = arena_alloc(&parser->script->arena, n * sizeof *list);
    memcpy(step->candidates, list, n * sizeof *list);
    return STATUS_OK;
}

static int parse_prompt(struct parser *parser) {
    uint32_t prompt, cached, parts = 1, ms = 0;
    if (!take_count(parser, &prompt) || prompt == 0) return fault(parser, "the number of prompt tokens");
    if (!take_count(parser, &cached) || cached > prompt) return fault(parser, "how many of them are cached");
    if (!at_end(parser) && (!take_count(parser, &parts) || parts == 0))
        return fault(parser, "the number of progress steps");
    if (!at_end(parser) && !take_count(parser, &ms)) return fault(parser, "milliseconds a step");
    struct script_step *step = add_step(parser, SCRIPT_PROMPT);
    step->prompt = prompt;
    step->cached = cached;
    step->parts = parts;
    step->ms = ms;
    return STATUS_OK;
}

static int parse_done(struct parser *parser) {
    static const struct {
        const char *word;
        enum engine_reason reason;
    } reasons[] = {{"end", ENGINE_END},
                   {"limit", ENGINE_LIMIT},
                   {"stopped", ENGINE_STOPPED},
                   {"full", ENGINE_CONTEXT_FULL},
                   {"error", ENGINE_ERROR}};
    char word[16] = "";
    const char *before = parser->at;
    take_word(parser, word, sizeof word);
    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++) {
        if (strcmp(word, reasons[i].word) != 0) continue;
        struct script_word text = {"the script says so", 0, false};
        if (!at_end(parser) && take_text(parser, &text) < 0) return STATUS_USAGE;
        struct script_step *step = add_step(parser, SCRIPT_DONE);
        step->reason = reasons[i].reason;
        step->text = text.text;
        return STATUS_OK;
    }
    parser->at = before;
    return fault(parser, "end, limit, stopped, full or error");
}

static int parse_load(struct parser *parser) {
    struct script *script = parser->script;
    double total;
    if (!take_number(parser, 1e15, &total)) return fault(parser, "the number of bytes");
    script->load_total = (uint64_t)total;
    if (!take_count(parser, &script->load_parts) || script->load_parts == 0)
        return fault(parser, "the number of steps");
    return take_count(parser, &script->load_ms) ? STATUS_OK : fault(parser, "milliseconds a step");
}

/* `name "text"` lines that set a fact. */
static const char **fact_of(struct script *script, const char *name) {
    if (strcmp(name, "model") == 0) return &script->model;
    if (strcmp(name, "architecture") == 0) return &script->architecture;
    if (strcmp(name, "quantisation") == 0) return &script->quantisation;
    if (strcmp(name, "device") == 0) return &script->device;
    if (strcmp(name, "template") == 0) return &script->template_name;
    if (strcmp(name, "opening") == 0) return &script->opening;
    return strcmp(name, "fail") == 0 ? &script->fail : NULL;
}

static int parse_command(struct parser *parser, const char *name) {
    struct script *script = parser->script;
    struct script_word text;
    const char **fact = fact_of(script, name);
    if (fact) {
        if (take_text(parser, &text) < 0) return STATUS_USAGE;
        *fact = text.text;
        return STATUS_OK;
    }
    if (strcmp(name, "context") == 0)
        return take_count(parser, &script->context) ? 0 : fault(parser, "a number of tokens");
    if (strcmp(name, "vocabulary") == 0)
        return take_count(parser, &script->vocabulary) ? 0 : fault(parser, "a number of ids");
    if (strcmp(name, "load") == 0) return parse_load(parser);
    if (strcmp(name, "prompt") == 0) return parse_prompt(parser);
    if (strcmp(name, "token") == 0) return parse_token(parser, false);
    if (strcmp(name, "end") == 0) return parse_token(parser, true);
    if (strcmp(name, "say") == 0) return parse_say(parser);
    if (strcmp(name, "done") == 0) return parse_done(parser);
    if (strcmp(name, "answer") == 0) {
        parser->answer = NULL;
        struct script_step *step = add_step(parser, SCRIPT_DELAY); /* an answer may be empty */
        step->ms = 0;
        return STATUS_OK;
    }
    if (strcmp(name, "delay") == 0) {
        uint32_t ms;
        if (!take_count(parser, &ms)) return fault(parser, "milliseconds");
        add_step(parser, SCRIPT_DELAY)->ms = ms;
        return STATUS_OK;
    }
    if (strcmp(name, "lost") == 0 || strcmp(name, "refuse") == 0) {
        if (take_text(parser, &text) < 0) return STATUS_USAGE;
        add_step(parser, *name == 'l' ? SCRIPT_LOST : SCRIPT_REFUSE)->text = text.text;
        return STATUS_OK;
    }
    if (strcmp(name, "moved") == 0) {
        struct script_word device;
        if (take_text(parser, &text) < 0 || take_text(parser, &device) < 0) return STATUS_USAGE;
        struct script_step *step = add_step(parser, SCRIPT_MOVED);
        step->text = text.text;
        step->device = device.text;
        return STATUS_OK;
    }
    return err_set(parser->err, STATUS_USAGE, "script line %zu: found \"%s\", expected a command",
                   parser->line, name);
}

int script_parse(struct script *script, const char *text, struct err *err) {
    *script = (struct script){.model = "Script",
                              .architecture = "script",
                              .quantisation = "none",
                              .device = "no device",
                              .template_name = "none",
                              .context = 4096};
    struct parser parser = {.script = script, .err = err};
    while (*text) {
        const char *end = strchr(text, '\n');
        if (!end) end = text + strlen(text);
        parser.at = text;
        parser.end = end;
        parser.line++;
        text = *end ? end + 1 : end;
        if (at_end(&parser) || *parser.at == '#') continue;
        char name[24];
        if (!take_word(&parser, name, sizeof name)) return fault(&parser, "a command");
        if (parse_command(&parser, name) < 0) return STATUS_USAGE;
        if (!at_end(&parser)) return fault(&parser, "the end of the line");
    }
    if (script->vocabulary < script->n_words) script->vocabulary = (uint32_t)script->n_words;
    return STATUS_OK;
}

void script_free(struct script *script) {
    for (size_t i = 0; i < script->n_answers; i++) free(script->answers[i].steps);
    free(script->answers);
    free(script->words);
    strmap_free(&script->ids);
    arena_free(&script->arena);
}
