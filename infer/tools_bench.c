/* `logitop bench`: how fast prompts are read and tokens are made, set against what a plain read loop gets from memory in the
 * same run. Token ids are random (the same each time): what is computed does not depend on them. */
#include "infer/tools.h"

#include "base/clock.h"
#include "base/mem.h"
#include "infer/runner.h"
#include "kernels/backend.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct spread {
    double min, median, max;
};

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static struct spread spread_of(double *values, uint32_t n) {
    qsort(values, n, sizeof *values, by_value);
    return (struct spread){values[0], (values[(n - 1) / 2] + values[n / 2]) / 2, values[n - 1]};
}

struct bench {
    const struct bench_options *options;
    FILE *out;
    struct runner runner;
    struct backend_info info;
    double load_seconds;
    int32_t *ids;            /* [longest] */
    double *seconds, *reads; /* [repeats] */
    bool first;              /* row of the JSON list */
};

static int feed(struct bench *bench, uint32_t n, struct err *err) {
    struct step_request request = {.ids = bench->ids, .n = n, .wanted = WANT_NOTHING};
    return n ? runner_step(&bench->runner, &request, err) : STATUS_OK;
}

/* Make n tokens after what is in the timeline. Sampling is the default's: it is part of what a token costs. */
static int make_tokens(struct bench *bench, uint32_t n, struct err *err) {
    struct runner *r = &bench->runner;
    struct decode_request request = {.id = bench->ids[0], .top_k = bench->options->top_k, .limit = n};
    sampling_defaults(&request.sampling);
    struct step_result *result = xmalloc(sizeof *result);
    struct decode *decode;
    uint32_t begin = r->ops->timeline_length(r->timeline);
    int status = r->ops->decode_begin(r->timeline, &request, &decode, err);
    if (status == STATUS_OK) {
        for (uint32_t i = 0; i < n && status == STATUS_OK; i++)
            status = r->ops->decode_next(decode, result, err);
        r->ops->decode_end(decode, begin);
    }
    free(result);
    return status;
}

/* ---- rows ---- */

static void print_row(struct bench *bench, const char *kind, uint32_t n, double bytes) {
    const struct bench_options *o = bench->options;
    struct spread seconds = spread_of(bench->seconds, o->repeats);
    double rate = bytes / seconds.median, read = spread_of(bench->reads, o->repeats).median;
    if (o->json) {
        fprintf(
            bench->out,
            "%s\n  "
            "{\"test\":\"%s\",\"tokens\":%u,\"depth\":%u,\"tokens_per_second\":{\"min\":%.3f,\"median\":%.3f,"
            "\"max\":%.3f},\"bytes\":%.0f,\"bytes_per_second\":%.0f,\"read_bytes_per_second\":%.0f,\"share_"
            "of_read\":%.4f}",
            bench->first ? "" : ",", kind, n, o->depth, n / seconds.max, n / seconds.median, n / seconds.min,
            bytes, rate, read, rate / read);
    } else {
        fprintf(bench->out, "%-8s %6u %7u %10.2f %10.2f %10.2f %9.2f %9.2f %8.1f %%\n", kind, n, o->depth,
                n / seconds.max, n / seconds.median, n / seconds.min, rate * 1e-9, read * 1e-9,
                100 * rate / read);
    }
    fflush(bench->out);
    bench->first = false;
}

/* The weights are read at least once; each of the tokens reads the cache before it. */
static double bytes_read(const struct bench *bench, uint32_t n, bool one_by_one) {
    double depth = bench->options->depth, kv = (double)bench->info.kv_bytes_per_token;
    double weights = (double)bench->info.bytes_per_token;
    return one_by_one ? n * (weights + kv * (depth + (n + 1) / 2.0)) : weights + kv * (depth + n);
}

static int run_row(struct bench *bench, uint32_t n, bool decode, struct err *err) {
    const struct bench_options *o = bench->options;
    struct runner *r = &bench->runner;
    int status = STATUS_OK;
    for (uint32_t i = 0; i <= o->repeats && status == STATUS_OK;
         i++) { /* the first is not counted: it warms up */
        r->ops->timeline_truncate(r->timeline, o->depth);
        if (i)
            bench->reads[i - 1] =
                r->ops->read_bandwidth(r->backend); /* in turns: a busy machine slows down both */
        int64_t begin = clock_ns();
        status = decode ? make_tokens(bench, n, err) : feed(bench, n, err);
        if (i) bench->seconds[i - 1] = (double)(clock_ns() - begin) * 1e-9;
    }
    if (status == STATUS_OK) print_row(bench, decode ? "decode" : "prefill", n, bytes_read(bench, n, decode));
    return status;
}

/* ---- head ---- */

/* A JSON string; bytes of a file may be anything: what is not printable ASCII is written as the code point of its byte. */
static void put_json_text(FILE *out, const char *text) {
    fputc('"', out);
    for (const unsigned char *at = (const unsigned char *)text; *at; at++) {
        if (*at < 0x20 || *at >= 0x7f)
            fprintf(out, "\\u%04x", *at);
        else if (*at == '"' || *at == '\\')
            fprintf(out, "\\%c", *at);
        else
            fputc(*at, out);
    }
    fputc('"', out);
}

static void put_plain(FILE *out, const char *text) {
    for (; *text; text++) fputc(*text >= 0x20 && *text < 0x7f ? *text : '?', out);
}

static void print_head(struct bench *bench, uint32_t prompt, double first_token) {
    const struct model *model = bench->runner.model;
    FILE *out = bench->out;
    if (bench->options->json) {
        fputs("{\"model\":", out);
        put_json_text(out, model_name(model));
        fputs(",\"quantisation\":", out);
        put_json_text(out, model_quantisation(model));
        fputs(",\"device\":", out);
        put_json_text(out, bench->info.device);
        fprintf(out,
                ",\"exact\":%s,\"load_seconds\":%.4f,\"first_token_prompt\":%u,\"first_token_seconds\":%.4f,"
                "\"bytes_per_token\":%llu,\"kv_bytes_per_token\":%llu,\"repeats\":%u,\"rows\":[",
                bench->options->engine.exact ? "true" : "false", bench->load_seconds, prompt, first_token,
                (unsigned long long)bench->info.bytes_per_token,
                (unsigned long long)bench->info.kv_bytes_per_token, bench->options->repeats);
        return;
    }
    fputs("model    ", out);
    put_plain(out, model_name(model));
    fprintf(out, ", %s, %s\n", model_quantisation(model), model_view(model)->architecture);
    fprintf(out, "device   %s%s\n", bench->info.device, bench->options->engine.exact ? ", exact" : "");
    fprintf(out, "load     %.3f s, first token after a prompt of %u: %.3f s\n", bench->load_seconds, prompt,
            first_token);
    fprintf(out,
            "memory   %.1f MB are read for a token, and %.1f kB for each token of context; read GB/s: a "
            "plain loop, in turns\n\n",
            (double)bench->info.bytes_per_token * 1e-6, (double)bench->info.kv_bytes_per_token * 1e-3);
    fprintf(out, "%-8s %6s %7s %10s %10s %10s %9s %9s %10s\n", "test", "tokens", "depth", "tok/s min",
            "median", "max", "GB/s", "read GB/s", "share");
}

/* From an empty timeline to the first token of an answer. */
static int time_first_token(struct bench *bench, uint32_t prompt, double *seconds, struct err *err) {
    int64_t begin = clock_ns();
    int status = feed(bench, prompt - 1, err);
    if (status == STATUS_OK) status = make_tokens(bench, 1, err);
    *seconds = (double)(clock_ns() - begin) * 1e-9;
    bench->runner.ops->timeline_truncate(bench->runner.timeline, 0);
    return status;
}

/* ---- the whole ---- */

static uint32_t longest(const uint32_t *list, uint32_t most) {
    for (; *list; list++) most = *list > most ? *list : most;
    return most;
}

static void make_ids(struct bench *bench, uint32_t n) {
    uint32_t n_vocab = model_view(bench->runner.model)->n_vocab, x = 12345;
    bench->ids = xmalloc(n * sizeof *bench->ids);
    for (uint32_t i = 0; i < n; i++) {
        x = x * 1664525u + 1013904223u; /* Numerical Recipes' generator */
        bench->ids[i] = (int32_t)((x >> 8) % n_vocab);
    }
}

static int run_model(struct bench *bench, struct err *err) {
    const struct bench_options *o = bench->options;
    struct runner *r = &bench->runner;
    int64_t begin = clock_ns();
    int status = runner_open(r, &o->engine, err);
    if (status < 0) return status;
    uint32_t most = longest(o->predicts, longest(o->prompts, 1));
    uint64_t positions = (uint64_t)o->depth + most;
    if ((status = runner_begin(r, &o->engine, positions, err)) < 0) return status;
    bench->load_seconds = (double)(clock_ns() - begin) * 1e-9;
    r->ops->info(r->backend, &bench->info);
    make_ids(bench, most > o->depth ? most : o->depth);
    uint32_t prompt = o->prompts[0] ? o->prompts[0] : 1;
    double first_token;
    if ((status = time_first_token(bench, prompt, &first_token, err)) < 0) return status;
    print_head(bench, prompt, first_token);
    if ((status = feed(bench, o->depth, err)) < 0) return status;
    for (const uint32_t *n = o->prompts; *n && status == STATUS_OK; n++)
        status = run_row(bench, *n, false, err);
    for (const uint32_t *n = o->predicts; *n && status == STATUS_OK; n++)
        status = run_row(bench, *n, true, err);
    if (o->json && status == STATUS_OK) fputs("\n]}\n", bench->out);
    return status;
}

/* ---- the tokenizer ---- */

/* Near English, as a tokenizer sees it: about half are the hundred commonest words, a third longer ones that
 * are mostly one token, and the rest numbers and rare words, made of syllables: some fifty thousand, so that
 * they miss the tokenizer's cache of words as the rare words of a real text do. */
static void write_english(struct buf *text, size_t size) {
    static const char *const words[] = {
        "the",  "of",    "and",   "to",    "a",     "in",    "is",    "that",   "it",   "was",    "for",
        "on",   "are",   "as",    "with",  "his",   "they",  "I",     "at",     "be",   "this",   "have",
        "from", "or",    "one",   "had",   "by",    "word",  "but",   "not",    "what", "all",    "were",
        "we",   "when",  "your",  "can",   "said",  "there", "use",   "an",     "each", "which",  "she",
        "do",   "how",   "their", "if",    "will",  "up",    "other", "about",  "out",  "many",   "then",
        "them", "these", "so",    "some",  "her",   "would", "make",  "like",   "him",  "into",   "time",
        "has",  "look",  "two",   "more",  "write", "go",    "see",   "number", "way",  "could",  "people",
        "my",   "than",  "first", "water", "been",  "call",  "who",   "oil",    "its",  "now",    "find",
        "long", "down",  "day",   "did",   "get",   "come",  "made",  "may",    "part", "didn't", "over",
        "new",  "sound", "take",  "only",  "little"};
    static const char *const longer[] = {
        "information",  "system",        "different",      "between",     "program",     "example",
        "development",  "government",    "university",     "important",   "however",     "through",
        "community",    "children",      "according",      "public",      "history",     "several",
        "research",     "language",      "possible",       "power",       "general",     "service",
        "continue",     "result",        "change",         "process",     "control",     "question",
        "another",      "without",       "interest",       "experience",  "position",    "problem",
        "business",     "available",     "national",       "following",   "together",    "political",
        "provide",      "support",       "understand",     "consider",    "increase",    "society",
        "education",    "international", "themselves",     "particular",  "although",    "remember",
        "certain",      "required",      "simple",         "method",      "memory",      "present",
        "country",      "company",       "building",       "knowledge",   "current",     "because",
        "against",      "special",       "common",         "performance", "standard",    "function",
        "product",      "structure",     "theory",         "practice",    "original",    "century",
        "individual",   "market",        "received",       "value",       "material",    "evidence",
        "management",   "second",        "return",         "surface",     "energy",      "complete",
        "necessary",    "natural",       "human",          "condition",   "science",     "student",
        "describe",     "effect",        "early",          "usually",     "sometimes",   "difference",
        "quickly",      "probably",      "started",        "believe",     "morning",     "window",
        "mother",       "father",        "garden",         "evening",     "letter",      "answer",
        "reason",       "travel",        "village",        "river",       "mountain",    "machine",
        "computer",     "network",       "library",        "document",    "command",     "password",
        "picture",      "station",       "winter",         "summer",      "minister",    "president",
        "economic",     "industry",      "traffic",        "hospital",    "doctor",      "teacher",
        "freedom",      "justice",       "silence",        "beautiful",   "strange",     "careful",
        "heavy",        "yellow",        "distance",       "temperature", "weather",     "direction",
        "movement",     "considerable",  "previously",     "currently",   "significant", "environment",
        "relationship", "opportunity",   "responsibility",
    };
    static const char *const begins[] = {"ad",  "be",  "con", "de",  "ex",    "in", "mis",
                                         "out", "pre", "re",  "sub", "trans", "un"};
    static const char *const stems[] = {"act",   "form", "port",  "struct", "view",  "press",
                                        "mark",  "turn", "serve", "light",  "train", "quest",
                                        "count", "vent", "claim", "duct",   "tend",  "pose"};
    static const char *const ends[] = {"",     "ed",   "ing", "er",  "s",    "ly",
                                       "able", "ment", "ion", "ive", "ness", "'s"};
    enum { N_WORDS = sizeof words / sizeof *words, N_LONGER = sizeof longer / sizeof *longer };
    uint32_t x = 1, in_sentence = 0;
    while (text->len < size) {
        x = x * 1664525u + 1013904223u;
        double u = (x >> 8) / 16777216.0;
        x = x * 1664525u + 1013904223u;
        uint32_t y = x >> 8;
        if (in_sentence) buf_putc(text, ' ');
        if (u < 0.53)
            buf_puts(text, words[(uint32_t)(N_WORDS * pow(u / 0.53, 1.5))]);
        else if (u < 0.86)
            buf_puts(text, longer[(uint32_t)(N_LONGER * ((u - 0.53) / 0.33))]);
        else if (u < 0.99)
            buf_printf(text, "%s%s%s%s", begins[y % 13], stems[y / 13 % 18], stems[y / 234 % 18],
                       ends[y / 4212 % 12]);
        else
            buf_printf(text, "%u", y % 10000);
        in_sentence++;
        x = x * 1664525u + 1013904223u; /* a comma must not tell which word was before it */
        y = x >> 8;
        if (in_sentence > 6 && y % 11 == 0) {
            buf_puts(text, y % 5 ? ". " : ".\n\n");
            in_sentence = 0;
        } else if (y % 13 == 0) {
            buf_putc(text, ',');
        }
    }
}

/* Processor time of this thread: on a busy machine the clock on the wall tells how busy it is. */
static double thread_seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static int run_tokenizer(struct bench *bench, struct err *err) {
    enum { SIZE = 16 << 20 };
    int status = model_open(bench->options->engine.model, MODEL_VOCABULARY, &bench->runner.model, err);
    if (status < 0) return status;
    const struct tokenizer *tokenizer = model_tokenizer(bench->runner.model);
    struct buf text = {0};
    write_english(&text, SIZE);
    struct segment segment = {text.data, text.len, false};
    struct ids ids = {0};
    uint32_t repeats = bench->options->repeats;
    for (uint32_t i = 0; i <= repeats && status == STATUS_OK; i++) {
        ids.n = 0;
        double begin = thread_seconds();
        status = tokenizer_encode(tokenizer, &segment, 1, ADDED_BY_ORIGIN, &ids, err);
        if (i) bench->seconds[i - 1] = thread_seconds() - begin;
    }
    if (status == STATUS_OK) {
        struct spread s = spread_of(bench->seconds, repeats);
        double mb = (double)text.len * 1e-6;
        const char *format = bench->options->json
                                 ? "{\"test\":\"tokenizer\",\"bytes\":%zu,\"tokens\":%zu,"
                                   "\"megabytes_per_second\":{\"min\":%.2f,"
                                   "\"median\":%.2f,\"max\":%.2f}}\n"
                                 : "tokenizer: %zu bytes of English, %zu tokens, one "
                                   "thread's processor time: %.1f min, %.1f median, %.1f max MB/s\n";
        fprintf(bench->out, format, text.len, ids.n, mb / s.max, mb / s.median, mb / s.min);
    }
    ids_free(&ids);
    buf_free(&text);
    return status;
}

int tool_bench(const struct bench_options *options, FILE *out, struct err *err) {
    if (options->repeats == 0) return err_set(err, STATUS_USAGE, "found 0 repeats, expected at least 1");
    if (options->top_k > CANDIDATES_MAX)
        return err_set(err, STATUS_USAGE, "found %u candidates, expected at most %d", options->top_k,
                       CANDIDATES_MAX);
    struct bench bench = {.options = options, .out = out, .first = true};
    bench.seconds = xmalloc(options->repeats * sizeof *bench.seconds);
    bench.reads = xmalloc(options->repeats * sizeof *bench.reads);
    int status = options->tokenizer ? run_tokenizer(&bench, err) : run_model(&bench, err);
    free(bench.ids);
    free(bench.seconds);
    free(bench.reads);
    runner_close(&bench.runner);
    return status;
}
