/* Looking into a model, for the commands: everything here is synchronous and runs in the calling thread.
 *
 * What a function writes is machine-readable and goes to the FILE it is given; texts for people come back in `err`. */
#ifndef LOGITOP_INFER_TOOLS_H
#define LOGITOP_INFER_TOOLS_H

#include "base/buf.h"
#include "base/err.h"
#include "infer/engine.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* `logitop inspect`: what is in a model file, and every fault that was found in it (the report tells, and the status is
 * STATUS_MODEL then). ranges: also read all weights for min, max, mean, NaN and Inf counts. json: one object. */
struct inspect_options {
    bool tensors, ranges, json;
};
int tool_inspect(const char *path, const struct inspect_options *options, struct buf *report, struct err *err);

/* `logitop list`: what the header of a model file says, and the memory that running it takes. */
struct model_facts {
    char name[96], architecture[32], quantisation[16]; /* as far as the file tells; sanitised, "" if it does not */
    uint64_t size;                                     /* bytes of all its files */
    uint64_t n_parameters;
    uint32_t context; /* that it was trained for; 0: unknown */
    bool has_template;
    uint64_t cpu_need, gpu_need; /* bytes with a context of FACTS_CONTEXT, by the backend's estimate; 0: that one cannot run it */
    uint64_t kv_position; /* bytes that each further position of the context takes */
    char fault[256];             /* why it cannot be run, sanitised; "": it can */
};
enum { FACTS_CONTEXT = 2048 };
/* A file that is refused is told in facts->fault and is no failure; STATUS_MODEL: no readable file at all. */
int tool_facts(const char *path, struct model_facts *out, struct err *err);

/* Bytes free now. gpu is 0 where there is no card. */
struct memory_free {
    uint64_t cpu, gpu;
};
void tool_memory_free(struct memory_free *out);

/* `logitop tokenize`: for each of n texts one JSON array of ids and a newline. Needs only the tokenizer's keys of the file.
 * plain: control tokens in the text are text. */
int tool_tokenize(const char *model, bool plain, const char *const *texts, const size_t *lens, size_t n, struct buf *out,
                  struct err *err);

/* `logitop logits` and `logitop trace`: a GGUF container laid out as data/nano's goldens.
 * positions: "all", "last" or a list "0,5,9". Prompt is fed in chunks of `chunk` (0: as the backend likes). */
struct logits_options {
    struct engine_options engine;
    const int32_t *ids;
    size_t n_ids;
    const char *positions;
    bool trace;
    uint32_t chunk;
};
int tool_logits(const struct logits_options *options, const char *out_path, struct err *err);

/* `logitop score`: log-probabilities of the tokens of a text; the first has none. */
struct scored_token {
    int32_t id;
    const char *text; /* [len], lives until scores_free() */
    size_t len;
    double logprob; /* NaN for the first */
    uint32_t rank;  /* 0 for the first */
};
struct scores {
    struct scored_token *tokens;
    size_t n;
    double nats, perplexity;
    void *hold; /* keeps the texts */
};
int tool_score(const struct engine_options *engine, const char *text, size_t len, struct scores *out, struct err *err);
void scores_free(struct scores *scores);

/* `logitop bench`: rows of prefill and decode speed; lists end with 0. Writes a table or JSON as rows get done. */
struct bench_options {
    struct engine_options engine;
    const uint32_t *prompts;  /* -p, default 512 */
    const uint32_t *predicts; /* -n, default 128 */
    uint32_t depth, repeats;  /* -d 0, -r 5 */
    uint32_t top_k;           /* --top, default 20 */
    bool json;
    bool tokenizer;           /* --tokenizer: MB/s of the tokenizer on English text instead */
};
int tool_bench(const struct bench_options *options, FILE *out, struct err *err);

/* `logitop render`: the prompt that a chat template makes of a context, byte for byte, or (segments) a JSON array of
 * {"text","from":"template"|"person"}. A template's refusal and its faults are STATUS_FAILED. */
struct render_options {
    const char *model, *template_file; /* one of them; the file wins, and needs no model */
    const char *context;               /* a JSON file: the object with "messages" and all else the template may ask for */
    const char *now;                   /* "YYYY-MM-DD HH:MM:SS" for strftime_now(); NULL: the clock */
    bool segments;
};
int tool_render(const struct render_options *options, struct buf *out, struct err *err);

#endif
