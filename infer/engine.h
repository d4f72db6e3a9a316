/* The engine: a worker thread that owns a model, its device, one session and its KV cache.
 *
 * The owner of the engine (the UI thread, or a command) submits one request at a time and takes events from a
 * queue. Between the two threads there are only a request slot, a single-producer single-consumer ring of
 * events, one wake file descriptor and a stop flag: the worker never waits for the reader, and the reader
 * never waits at all unless it polls the descriptor. The ring holds a whole context, so no event is lost.
 *
 * The engine is a table of functions so that there can be several makers: engine_local() runs a GGUF file
 * here, engine_scripted() plays a script (tests of the UI, demos without a model).
 *
 * Life: a maker returns at once, the model loads in the worker (ENGINE_LOADING..., then ENGINE_READY or
 * ENGINE_FAILED). Every accepted request ends in exactly one ENGINE_DONE. A device that is lost in the middle
 * of one ends nothing: the model is loaded again on the CPU. close() stops, joins and frees. */
#ifndef LOGITOP_INFER_ENGINE_H
#define LOGITOP_INFER_ENGINE_H

#include "base/err.h"
#include "kernels/sampling.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- what goes in ---- */

struct message {
    const char *role; /* "system", "user", "assistant" */
    const char *text; /* bytes as typed or said, [len] */
    size_t len;
    const int32_t *ids; /* [n_ids]: what the model sampled when it said this; NULL for others. Used again
                           where the template */
    size_t n_ids;       /* leaves the text whole, otherwise the text is tokenised anew */
};

/* What is asked of the prompt. All but the first only look: no token is said, the next answer starts as if
 * they had not been, and an answer that is asked for while one of them runs takes its place. */
enum request_kind {
    REQUEST_ANSWER, /* the model speaks */
    REQUEST_LIST,   /* ENGINE_PROMPT tells the prompt as it would to an answer. Nothing is computed */
    REQUEST_SCORE,  /* an ENGINE_TOKEN for each of the positions [from, to): what stands there, and what could
                       have come there instead */
    REQUEST_STAGES, /* one ENGINE_STAGES: what the sampler chain makes of position `from` */
};

struct engine_request {
    uint64_t id; /* chosen by the caller, never 0, never used before */
    enum request_kind kind;
    uint32_t from,
        to; /* SCORE, STAGES: positions in the prompt; its end is what would come next. Cut to that */
    uint64_t prompt_of; /* SCORE, STAGES: their prompt is that of the newest LIST, which had this id. 0: it is
                           given below, as for all others */
    const struct message *messages; /* [n_messages]; copied by submit() */
    size_t n_messages;
    bool continue_last; /* the last message is the model's: go on in the middle of it instead of starting a
                           new one */
    bool fold_system; /* the system text goes in front of the user's first message (templates without a system
                         role) */
    /* What else the template sees; both belong to the conversation, so that the beginning of its prompts
     * stays the same. */
    const char *template_variables; /* a JSON object of further variables, {"enable_thinking": false}; NULL:
                                       none. Copied */
    int64_t
        began; /* seconds since the epoch when the conversation began: the date the template sees; 0: now */
    const char
        *raw; /* instead of messages: no template, continue these bytes (control tokens in them count) */
    size_t raw_len;
    struct sampling sampling;
    uint32_t top_k;     /* candidates a token, at most CANDIDATES_MAX */
    uint32_t n_predict; /* at most so many tokens; 0 is until the end or a full context */
};

/* ---- what comes out ---- */

enum engine_event_type {
    ENGINE_LOADING, /* progress: bytes */
    ENGINE_NOTICE,  /* nothing ends, but a person should know: error. The model runs on another device than
                       was asked for; in a request: its device was lost. LOADING..., READY follow, and the
                       answer goes on where it was */
    ENGINE_READY,   /* model is there: info() tells, anew if it comes in a request */
    ENGINE_FAILED,  /* loading failed, or the engine is lost: error; only close() is left */
    ENGINE_PROMPT,  /* a part of the prompt, token by token: of an answer before all else, parts in order */
    ENGINE_PREFILL, /* progress: prompt tokens that had to be computed */
    ENGINE_TOKEN,
    ENGINE_STAGES,
    ENGINE_DONE,
};

enum engine_reason {                      /* why a request ended */
                     ENGINE_END,          /* the model ended its turn */
                     ENGINE_LIMIT,        /* n_predict */
                     ENGINE_STOPPED,      /* stop() */
                     ENGINE_CONTEXT_FULL, /* prompt or answer does not fit */
                     ENGINE_ERROR,        /* error tells */
};

/* One token of a prompt, and where it lies. */
struct prompt_token {
    int32_t id;
    int32_t message;   /* which of the request's messages, -1: the template wrote it. A raw prompt is message
                          0 */
    uint32_t text_end; /* offset in that message's text where it ends; never decreases in a row of them */
};

enum { PROMPT_PART = 256 };

/* One token of an answer, or of a prompt that is scored. Candidates and numbers are those of `result`: rank 0
 * and n_top 0 where nothing is known of it (the first of a prompt). */
struct token_record {
    uint32_t index;  /* 0.. in this answer; of a prompt: its position */
    int32_t message; /* of a prompt: as in struct prompt_token */
    uint32_t text_end;
    bool end;      /* an end token: not part of the text */
    float ms;      /* since the token before it, or since the prompt was done */
    char text[64]; /* the bytes this id stands for, n_text of them (longer ones: token_text()) */
    uint32_t n_text;
    struct step_result result;
};

struct engine_stats {
    uint32_t prompt_tokens, cached_tokens; /* cached: of the prompt, those whose KV was there already */
    uint32_t tokens;                       /* said */
    uint32_t context_used, context_size;
    double prefill_seconds, decode_seconds;
    double first_token_seconds; /* from submit */
};

struct engine_event {
    enum engine_event_type type;
    uint64_t request; /* 0: of the first loading */
    union {
        struct {
            uint64_t done, total;
        } progress;
        struct {
            uint32_t total; /* tokens the prompt has */
            uint32_t n;     /* in this part */
            struct prompt_token tokens[PROMPT_PART];
        } prompt;
        struct token_record token;
        struct {
            struct token_record
                token; /* of the position, with final probabilities; id -1 where none stands there yet */
            struct stage_table table;
        } stages;
        struct {
            enum engine_reason reason;
            struct engine_stats stats;
            bool wants_fold; /* with ENGINE_ERROR: the template has no system role; fold_system would do */
        } done;
    };
    struct err
        error; /* ENGINE_NOTICE, ENGINE_FAILED, and ENGINE_DONE with ENGINE_ERROR or ENGINE_CONTEXT_FULL */
};

struct engine_info {           /* of the newest ENGINE_READY; it and its strings live as long as the engine */
    const char *model_name;    /* "SmolLM2-135M-Instruct.Q4_1" */
    const char *architecture;  /* "llama" */
    const char *quantisation;  /* "Q4_1" */
    const char *device;        /* "AMD EPYC, 2 threads, avx512" */
    const char *template_name; /* how messages become a prompt: "file", "ChatML" */
    uint64_t memory_used, memory_total;
    uint32_t context_size, context_trained, n_vocab;
    double load_seconds;
};

/* ---- the table ---- */

struct engine;

struct engine_ops {
    /* Take a request. STATUS_BUSY while an answer is running or the model is loading. A request that only
     * looks gives way: it is stopped, and this one begins when it has ended. Owner thread. */
    int (*submit)(struct engine *engine, const struct engine_request *request, struct err *err);

    /* Take the next event; false if there is none now. The event is the caller's. Owner thread. */
    bool (*next)(struct engine *engine, struct engine_event *out);

    /* Readable when events may be waiting. Drain it by next() returning false, which also clears it. */
    int (*wake_fd)(struct engine *engine);

    /* End this request soon (100 ms), in prefill too; 0 cancels loading. Any thread; async-signal-safe. A
     * request that is not running is ignored. */
    void (*stop)(struct engine *engine, uint64_t request);

    /* Facts. Owner thread, after ENGINE_READY. */
    const struct engine_info *(*info)(struct engine *engine);
    /* Bytes of any id, for candidates. Lives as long as the engine. Any thread after ENGINE_READY. */
    const char *(*token_text)(struct engine *engine, int32_t id, size_t *len);
    /* A control token: shown, never spoken. */
    bool (*token_is_control)(struct engine *engine, int32_t id);
    /* A token that ends an answer. */
    bool (*token_is_end)(struct engine *engine, int32_t id);
    /* How many tokens a text would take (for the editor's counter). Owner thread. */
    size_t (*count_tokens)(struct engine *engine, const char *text, size_t len);
    /* The ids of a text, at most `cap` of them; returns how many there are. `control`: names of control
     * tokens in it are those tokens; never for what a person typed. Owner thread. */
    size_t (*encode)(struct engine *engine, const char *text, size_t len, bool control, int32_t *ids,
                     size_t cap);

    void (*close)(struct engine *engine); /* stops, joins, frees; NULL is fine */
};

struct engine { /* makers embed it first */
    const struct engine_ops *ops;
};

/* ---- makers ---- */

struct engine_options {
    const char *model;  /* path */
    const char *device; /* "auto", "cpu", "cuda", "cuda:1" */
    uint32_t n_threads; /* 0: one a core */
    uint32_t n_ctx;     /* 0: the smaller of the model's and 8192, and what fits */
    bool exact;
    const char *chat_template; /* path of a Jinja file to use instead of the model's own template; NULL: the
                                  model's */
};

/* Never fails to return an engine: what is wrong comes as ENGINE_FAILED. Strings are copied. */
struct engine *engine_local(const struct engine_options *options);

/* Plays a script: a JSONL-free plain format, see infer/engine_scripted.c. The text is copied. */
struct engine *engine_scripted(const char *script);

/* What holds where nothing is set. */
void sampling_defaults(struct sampling *sampling);
/* "top-p" and so on; NULL-terminated order list from names separated by ';' or ','. */
int sampling_set_order(struct sampling *sampling, const char *names, struct err *err);
const char *stage_name(uint8_t stage); /* "" for STAGE_NONE */

#endif
