/* The engine that runs a model file here: model, backend, session and prompt in one worker thread.
 *
 * A device can be lost in the middle of an answer, and its context with it. What was said is not: the model
 * is loaded again on the CPU, reads the prompt and what it had said so far, and goes on after that. */
#include "infer/engine.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/thread.h"
#include "infer/chat_template.h"
#include "infer/device.h"
#include "infer/gguf.h"
#include "infer/model.h"
#include "infer/request_ids.h"
#include "infer/session.h"
#include "infer/worker.h"

#include <stdlib.h>
#include <string.h>

enum { CONTEXT_DEFAULT = 8192, PROGRESS_NS = 30 * 1000 * 1000 };

struct local {
    struct worker worker; /* first */
    struct engine_options options;
    struct model *model;
    const struct tokenizer *tokenizer;
    struct chat_template *chat_template;
    const struct backend_ops *ops;
    int ordinal; /* of the device */
    struct backend
        *backend; /* NULL, like session: the model is on no device, and goes onto the CPU when it is needed */
    struct session *session;
    uint32_t n_ctx; /* of the session, or of the last one */
    struct facts {
        struct backend_info device;
        struct engine_info info;
    } facts[2];                         /* of the device it began on, and of the CPU it moved to */
    const struct facts *_Atomic told;   /* those of now, for the owner's thread */
    int32_t breakers[DRY_BREAKERS_MAX]; /* where DRY is on and the request names none */
    struct listed {                     /* the newest LIST: what is asked about it is not made anew */
        uint64_t request;               /* 0: there was none */
        struct ids ids;
        struct token_places places;
    } listed;
};

/* ---- progress, not more often than a screen can show ---- */

struct meter {
    struct local *engine;
    enum engine_event_type type;
    uint64_t request;
    int64_t last_ns;
};

static int meter_progress(void *ctx, uint64_t done, uint64_t total) {
    struct meter *meter = ctx;
    int64_t now = clock_ns();
    if (done == total || now - meter->last_ns >= PROGRESS_NS) { /* the first one, too */
        meter->last_ns = now;
        worker_progress(&meter->engine->worker, meter->type, meter->request, done, total);
    }
    struct worker *worker = &meter->engine->worker;
    if (meter->type != ENGINE_LOADING) return 0;
    return meter->request ? atomic_load(&worker->stop_flag) && worker_stopped(worker, meter->request)
                          : atomic_load(&worker->load_stopped);
}

/* ---- loading ---- */

/* How long a context is wanted: what was asked for, or the smaller of the model's and 8192. */
static uint32_t wanted_context(const struct local *engine) {
    uint32_t trained = model_view(engine->model)->n_ctx_train;
    if (engine->options.n_ctx) return engine->options.n_ctx;
    return trained < CONTEXT_DEFAULT ? trained : CONTEXT_DEFAULT;
}

/* options->n_ctx becomes what fits, unless somebody insists on all of it. */
static int fit_context(const struct local *engine, struct backend_options *options, bool insist,
                       struct err *err) {
    struct memory_estimate estimate;
    int status = engine->ops->estimate(model_view(engine->model), options, &estimate, err);
    if (status < 0) return status;
    if (estimate.largest_ctx >= options->n_ctx) return STATUS_OK;
    double gib = 1024.0 * 1024 * 1024;
    if (estimate.largest_ctx == 0 || insist)
        return err_set(
            err, STATUS_MEMORY,
            "a context of %u tokens needs %.2f GiB (weights %.2f), %.2f GiB are free; %u tokens would fit",
            options->n_ctx, (double)estimate.total / gib, (double)estimate.weights / gib,
            (double)estimate.available / gib, estimate.largest_ctx);
    options->n_ctx = estimate.largest_ctx;
    return STATUS_OK;
}

static int load_template(struct local *engine, struct err *err) {
    struct chat_template_source source = {.file = gguf_path(model_gguf(engine->model))};
    chat_template_source_fill(&source, engine->tokenizer, model_chat_template(engine->model));
    struct buf text = {0};
    int status = STATUS_OK;
    if (engine->options.chat_template) {
        source.file = engine->options.chat_template;
        status = chat_template_read(source.file, &text, err);
        source.text = (struct span){text.data, text.len};
    }
    if (status == STATUS_OK) engine->chat_template = chat_template_new(&source);
    buf_free(&text);
    return status;
}

/* The strings that end a repetition for DRY, where the vocabulary has a token that is just that. */
static void find_breakers(struct local *engine) {
    static const char *const texts[] = {"\n", ":", "\"", "*"};
    size_t n = 0;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct ids ids = {0};
        struct segment segment = {texts[i], 1, false};
        if (tokenizer_encode(engine->tokenizer, &segment, 1, ADDED_BY_ORIGIN, &ids, NULL) == STATUS_OK &&
            ids.n == 1)
            engine->breakers[n++] = ids.at[0];
        ids_free(&ids);
    }
    engine->breakers[n] = -1;
}

static void tell_facts(struct local *engine, struct facts *facts, double load_seconds) {
    const struct model_view *view = model_view(engine->model);
    engine->ops->info(engine->backend, &facts->device);
    facts->info = (struct engine_info){
        .model_name = model_label(engine->model),
        .architecture = view->architecture,
        .quantisation = model_quantisation(engine->model),
        .device = facts->device.device,
        .template_name = chat_template_name(engine->chat_template),
        .memory_used = facts->device.memory_used,
        .memory_total = facts->device.memory_total,
        .context_size = session_size(engine->session),
        .context_trained = view->n_ctx_train,
        .n_vocab = view->n_vocab,
        .load_seconds = load_seconds,
    };
    atomic_store(&engine->told, facts);
}

/* ---- onto a device, and from a lost one to the CPU ---- */

static void close_backend(struct local *engine) {
    session_free(engine->session);
    if (engine->backend) engine->ops->close(engine->backend);
    engine->session = NULL;
    engine->backend = NULL;
}

/* Onto engine->ops; on failure onto nothing. request: that waits for it, or 0. */
static int open_backend(struct local *engine, uint32_t n_ctx, bool insist, uint64_t request,
                        struct err *err) {
    struct backend_options options = {.device = engine->ordinal,
                                      .n_threads = engine->options.n_threads,
                                      .n_ctx = n_ctx,
                                      .exact = engine->options.exact};
    struct meter meter = {.engine = engine, .type = ENGINE_LOADING, .request = request};
    int status = fit_context(engine, &options, insist, err);
    if (status == STATUS_OK)
        status = engine->ops->open(model_view(engine->model), &options, meter_progress, &meter,
                                   &engine->backend, err);
    if (status == STATUS_OK)
        status = session_new(engine->ops, engine->backend, options.n_ctx, &engine->session, err);
    if (status == STATUS_OK)
        engine->n_ctx = options.n_ctx;
    else
        close_backend(engine);
    return status;
}

static void put_notice(struct local *engine, uint64_t request, const char *why, const char *what_now) {
    struct engine_event *event = xcalloc(1, sizeof *event);
    event->type = ENGINE_NOTICE;
    event->request = request;
    err_set(&event->error, STATUS_DEVICE, "%s; %s", why, what_now);
    ring_put(engine->worker.ring, event);
    free(event);
}

/* What the device could not take or do, told as `why`, the CPU shall. */
static int move_to_cpu(struct local *engine, const char *why, uint32_t n_ctx, bool insist, uint64_t request,
                       struct err *err) {
    close_backend(engine);
    engine->ops = &backend_cpu;
    engine->ordinal = 0;
    put_notice(engine, request, why, request ? "going on on the CPU" : "running on the CPU");
    int status = open_backend(engine, n_ctx, insist, request, err);
    return status == STATUS_OK || status == STATUS_STOPPED ? status : err_prefix(err, "%s; on the CPU", why);
}

/* The device is chosen, and wakes, while the model is read. */
struct choice {
    pthread_t thread;
    bool beside; /* there is such a thread */
    const char *wanted;
    const struct backend_ops *ops;
    struct backend_options options;
    int status;
    struct err without, err; /* of device_choose() */
};

static void *choose(void *context) {
    struct choice *choice = context;
    choice->status =
        device_choose(choice->wanted, &choice->ops, &choice->options, &choice->without, &choice->err);
    if (choice->status == STATUS_OK && choice->ops->wake) choice->ops->wake(&choice->options);
    return NULL;
}

static void choice_begin(struct choice *choice, const char *wanted) {
    *choice = (struct choice){.wanted = wanted};
    choice->beside = thread_start(&choice->thread, choose, choice) == 0;
    if (!choice->beside) choose(choice);
}

static void choice_end(struct choice *choice) {
    if (choice->beside) pthread_join(choice->thread, NULL);
}

/* The first time, when nothing is on it yet. */
static int open_device(struct local *engine, const struct choice *choice, struct err *err) {
    struct err why = {0};
    const char *wanted = choice->wanted;
    bool insist = engine->options.n_ctx != 0;
    int status = choice->status;
    if (status < 0) {
        *err = choice->err;
        return status;
    }
    engine->ops = choice->ops;
    engine->ordinal = choice->options.device;
    if (choice->without.code) put_notice(engine, 0, choice->without.text, "running on the CPU");
    uint32_t n_ctx = wanted_context(engine);
    status = open_backend(engine, n_ctx, insist, 0, &why);
    bool unfit = status == STATUS_DEVICE || status == STATUS_MEMORY || status == STATUS_UNSUPPORTED;
    if (unfit && device_is_automatic(wanted) && engine->ops != &backend_cpu)
        return move_to_cpu(engine, why.text, n_ctx, insist, 0, err);
    if (status < 0) *err = why;
    return status;
}

/* In a request: `why` the device was lost; NULL: it was lost before, and loading was cut short. */
static int go_on_on_cpu(struct local *engine, const char *why, uint64_t request, struct err *err) {
    int64_t begin = clock_ns();
    int status = why ? move_to_cpu(engine, why, engine->n_ctx, false, request, err)
                     : open_backend(engine, engine->n_ctx, false, request, err);
    if (status < 0) return status;
    tell_facts(engine, &engine->facts[1], (double)(clock_ns() - begin) * 1e-9);
    worker_progress(&engine->worker, ENGINE_READY, request, 0, 0);
    return STATUS_OK;
}

static int local_load(struct worker *worker, struct err *err) {
    struct local *engine = (struct local *)worker;
    int64_t begin = clock_ns();
    struct choice choice;
    choice_begin(&choice, engine->options.device);
    int status = model_open(engine->options.model, MODEL_WHOLE, &engine->model, err);
    if (status == STATUS_OK) engine->tokenizer = model_tokenizer(engine->model);
    if (status == STATUS_OK) status = load_template(engine, err);
    choice_end(&choice);
    if (status == STATUS_OK) status = open_device(engine, &choice, err);
    if (status < 0) return status;
    find_breakers(engine);
    tell_facts(engine, &engine->facts[0], (double)(clock_ns() - begin) * 1e-9);
    return STATUS_OK;
}

/* ---- a request ---- */

struct answer {
    struct local *engine;
    const struct engine_request *request;
    struct engine_event *done;
    struct engine_event *event; /* of tokens; large */
    struct sampling sampling;
    struct ids ids; /* the prompt, and what was said since: what to go on from on another device */
    struct token_places places; /* of the prompt */
    uint32_t next;              /* looking: the position that the next record is about */
    uint32_t index;
    int64_t last_ns;
    bool ended; /* an end token came */
};

/* What a token says of itself. */
static void fill_token(const struct local *engine, struct token_record *token, int32_t id) {
    struct span text = id < 0 ? (struct span){"", 0} : tokenizer_bytes(engine->tokenizer, id);
    token->end = id >= 0 && tokenizer_is_end(engine->tokenizer, id);
    token->n_text = (uint32_t)text.len;
    memcpy(token->text, text.bytes, text.len < sizeof token->text ? text.len : sizeof token->text);
}

static int on_token(void *ctx, const struct step_result *result) {
    struct answer *answer = ctx;
    struct local *engine = answer->engine;
    struct engine_stats *stats = &answer->done->done.stats;
    int64_t now = clock_ns();
    answer->event->type = ENGINE_TOKEN;
    answer->event->request = answer->request->id;
    struct token_record *token = &answer->event->token;
    fill_token(engine, token, result->id);
    token->index = answer->index++;
    token->ms = (float)((double)(now - answer->last_ns) * 1e-6);
    memcpy(&token->result, result, offsetof(struct step_result, top) + result->n_top * sizeof *result->top);
    if (token->index == 0) stats->first_token_seconds = (double)(now - engine->worker.submitted_ns) * 1e-9;
    stats->tokens += !token->end;
    answer->last_ns = now;
    answer->ended = token->end;
    ids_add(&answer->ids, result->id);
    ring_put(engine->worker.ring, answer->event);
    return token->end;
}

/* STATUS_STOPPED only if this request was really meant: a late flag of an earlier one is no reason to end. */
static int read_prompt(struct answer *answer, struct err *err) {
    struct local *engine = answer->engine;
    struct meter meter = {.engine = engine, .type = ENGINE_PREFILL, .request = answer->request->id};
    struct session_watch watch = {meter_progress, &meter, &engine->worker.stop_flag};
    struct engine_stats *stats = &answer->done->done.stats;
    uint32_t cached = 0;
    bool again = false;
    for (;;) {
        int status =
            session_prompt(engine->session, answer->ids.at, (uint32_t)answer->ids.n, &watch, &cached, err);
        if (!again && answer->index == 0) stats->cached_tokens = cached;
        if (status != STATUS_STOPPED || worker_stopped(&engine->worker, answer->request->id)) return status;
        again = true;
    }
}

static int say(struct answer *answer, struct err *err) {
    struct local *engine = answer->engine;
    uint32_t limit = answer->request->n_predict ? answer->request->n_predict : UINT32_MAX;
    for (;;) {
        int status = session_decode(engine->session, &answer->sampling, answer->request->top_k,
                                    limit - answer->index, &engine->worker.stop_flag, on_token, answer, err);
        if (status != STATUS_STOPPED || worker_stopped(&engine->worker, answer->request->id)) return status;
    }
}

static enum engine_reason reason_of(const struct answer *answer, int status) {
    switch (status) {
    case STATUS_OK: return answer->ended ? ENGINE_END : ENGINE_LIMIT;
    case STATUS_STOPPED: return ENGINE_STOPPED;
    case STATUS_CONTEXT_FULL: return ENGINE_CONTEXT_FULL;
    default: return ENGINE_ERROR;
    }
}

/* Read what is to be read of answer->ids, and say what follows, on the device the model is on. */
static int read_and_say(struct answer *answer, struct err *err) {
    struct engine_stats *stats = &answer->done->done.stats;
    int64_t begin = clock_ns();
    int status = read_prompt(answer, err);
    int64_t read = answer->last_ns = clock_ns();
    if (answer->index == 0 && stats->cached_tokens + 1 < stats->prompt_tokens)
        stats->prefill_seconds = (double)(read - begin) * 1e-9;
    if (status < 0) return status;
    status = say(answer, err);
    stats->decode_seconds += (double)(clock_ns() - read) * 1e-9;
    return status;
}

/* The prompt itself: who looks at its tokens while the answer runs knows them from the beginning. */
static void put_prompt(struct answer *answer) {
    struct engine_event *event = answer->event;
    uint32_t n = answer->done->done.stats.prompt_tokens;
    event->type = ENGINE_PROMPT;
    event->request = answer->request->id;
    event->prompt.total = n;
    for (uint32_t at = 0, part; at < n; at += part) {
        part = n - at < PROMPT_PART ? n - at : PROMPT_PART;
        event->prompt.n = part;
        for (uint32_t i = 0; i < part; i++) {
            const struct token_place *place = &answer->places.at[at + i];
            event->prompt.tokens[i] =
                (struct prompt_token){answer->ids.at[at + i], place->message, place->end};
        }
        ring_put(answer->engine->worker.ring, event);
    }
}

/* ---- looking at a prompt ---- */

static struct token_record *look_token(struct answer *answer, struct token_record *token) {
    const struct token_places *places = &answer->places;
    uint32_t at = answer->next++;
    token->index = at;
    token->message = at < places->n ? places->at[at].message : -1;
    token->text_end = at < places->n ? places->at[at].end : 0;
    token->result.id = answer->ids.at[at];
    fill_token(answer->engine, token, token->result.id);
    return token;
}

static void put_look(struct answer *answer, enum engine_event_type type) {
    answer->event->type = type;
    answer->event->request = answer->request->id;
    ring_put(answer->engine->worker.ring, answer->event);
}

/* Nothing stands before the first one. */
static void put_first(struct answer *answer) {
    struct step_result *result = &look_token(answer, &answer->event->token)->result;
    *result = (struct step_result){.id = result->id};
    put_look(answer, ENGINE_TOKEN);
}

static int on_score(void *ctx, const struct step_result *result, const float *logits) {
    struct answer *answer = ctx;
    struct token_record *token = look_token(answer, &answer->event->token);
    (void)logits;
    memcpy(&token->result, result, offsetof(struct step_result, top) + result->n_top * sizeof *result->top);
    put_look(answer, ENGINE_TOKEN);
    return 0;
}

static int on_stages(void *ctx, const struct step_result *result, const float *logits) {
    struct answer *answer = ctx;
    struct engine_event *event = answer->event;
    struct token_record *token = look_token(answer, &event->stages.token);
    int status =
        sampling_stages(logits, model_view(answer->engine->model)->n_vocab, &answer->sampling, answer->ids.at,
                        result->position + 1, token->result.id, answer->request->top_k, &token->result,
                        &event->stages.table, &answer->done->error);
    if (status == STATUS_OK) put_look(answer, ENGINE_STAGES);
    return status < 0;
}

/* Positions [answer->next, end) on the device the model is on. */
static int look_at(struct answer *answer, uint32_t end, struct err *err) {
    struct local *engine = answer->engine;
    const struct engine_request *request = answer->request;
    bool stages = request->kind == REQUEST_STAGES;
    for (;;) {
        struct meter meter = {.engine = engine, .type = ENGINE_PREFILL, .request = request->id};
        struct session_watch watch = {meter_progress, &meter, &engine->worker.stop_flag};
        int status = session_score(engine->session, answer->ids.at, answer->next, end, request->top_k, stages,
                                   &watch, stages ? on_stages : on_score, answer, err);
        if (status == STATUS_STOPPED && answer->done->error.code < 0) {
            *err = answer->done->error;
            return err->code;
        }
        if (status != STATUS_STOPPED || worker_stopped(&engine->worker, request->id)) return status;
    }
}

/* The positions that are asked about; the last may be what would come next. */
static int look(struct answer *answer, struct err *err) {
    const struct engine_request *request = answer->request;
    uint32_t n = answer->done->done.stats.prompt_tokens, end = request->to < n + 1 ? request->to : n + 1;
    answer->ended = true;
    if (request->kind == REQUEST_LIST) return STATUS_OK; /* the prompt was told */
    if (request->kind == REQUEST_STAGES) {
        if (request->from == 0 || request->from > n)
            return err_set(err, STATUS_USAGE, "stages of position %u, expected one from 1 to %u",
                           request->from, n);
        end = request->from + 1;
    }
    if (answer->next < request->from) answer->next = request->from;
    if (answer->next == 0 && end > 0) put_first(answer);
    return look_at(answer, end, err);
}

/* ---- serving ---- */

/* On the device the model is on; may be called again after it moved to another. */
static int work(struct answer *answer, struct err *err) {
    return answer->request->kind == REQUEST_ANSWER ? read_and_say(answer, err) : look(answer, err);
}

static void listed_free(struct listed *listed) {
    ids_free(&listed->ids);
    token_places_free(&listed->places);
}

/* Made of what the request brings, or lent by the newest list. */
static int take_prompt(struct answer *answer, struct err *err) {
    struct local *engine = answer->engine;
    const struct engine_request *request = answer->request;
    if (!request->prompt_of)
        return request_to_ids(engine->chat_template, engine->tokenizer, request, &answer->ids,
                              &answer->places, &answer->done->done.wants_fold, err);
    if (request->prompt_of != engine->listed.request)
        return err_set(err, STATUS_USAGE,
                       "the prompt of request %llu, expected that of the newest list, %llu",
                       (unsigned long long)request->prompt_of, (unsigned long long)engine->listed.request);
    answer->ids = engine->listed.ids;
    answer->places = engine->listed.places;
    engine->listed = (struct listed){0};
    return STATUS_OK;
}

/* What was listed, or lent, is kept for the next. */
static void give_prompt(struct answer *answer) {
    const struct engine_request *request = answer->request;
    uint64_t list = request->kind == REQUEST_LIST ? request->id : request->prompt_of;
    struct listed prompt = {list, answer->ids, answer->places};
    if (!list || !answer->ids.n) {
        listed_free(&prompt);
        return;
    }
    prompt.ids.n = answer->done->done.stats.prompt_tokens; /* without what would come next */
    listed_free(&answer->engine->listed);
    answer->engine->listed = prompt;
}

static int serve(struct answer *answer, struct err *err) {
    struct local *engine = answer->engine;
    const struct engine_request *request = answer->request;
    int status = gguf_check(model_gguf(engine->model), err);
    if (status == STATUS_OK) status = take_prompt(answer, err);
    if (status < 0) return status;
    answer->done->done.stats.prompt_tokens = (uint32_t)answer->ids.n;
    if (request->kind == REQUEST_ANSWER || request->kind == REQUEST_LIST) put_prompt(answer);
    if (!engine->session) status = go_on_on_cpu(engine, NULL, request->id, err);
    if (status < 0) return status;
    if (request->kind != REQUEST_ANSWER) ids_add(&answer->ids, -1); /* what would come next */
    status = work(answer, err);
    if (status != STATUS_DEVICE || engine->ops == &backend_cpu) return status;
    struct err why = *err;
    status = go_on_on_cpu(engine, why.text, request->id, err);
    return status == STATUS_OK ? work(answer, err) : status;
}

static int local_serve(struct worker *worker, const struct engine_request *request,
                       struct engine_event *done) {
    struct local *engine = (struct local *)worker;
    struct answer answer = {
        .engine = engine, .request = request, .done = done, .sampling = request->sampling};
    if (answer.sampling.dry_multiplier != 0 && answer.sampling.dry_breakers[0] < 0)
        memcpy(answer.sampling.dry_breakers, engine->breakers, sizeof engine->breakers);
    answer.event = xcalloc(1, sizeof *answer.event);
    struct err err = {0};
    int status = serve(&answer, &err);
    done->done.reason = reason_of(&answer, status);
    if (done->done.reason == ENGINE_ERROR || done->done.reason == ENGINE_CONTEXT_FULL) done->error = err;
    done->done.stats.context_used = engine->session ? session_used(engine->session) : 0;
    done->done.stats.context_size = engine->n_ctx;
    give_prompt(&answer);
    free(answer.event);
    return status;
}

/* ---- the table ---- */

static const struct engine_info *local_info(struct engine *base) {
    return &atomic_load(&((struct local *)base)->told)->info;
}

static const char *local_token_text(struct engine *base, int32_t id, size_t *len) {
    const struct local *engine = (struct local *)base;
    bool known = id >= 0 && (uint32_t)id < tokenizer_n_tokens(engine->tokenizer);
    struct span text = known ? tokenizer_bytes(engine->tokenizer, id) : (struct span){"", 0};
    *len = text.len;
    return text.bytes;
}

static bool local_token_is_control(struct engine *base, int32_t id) {
    const struct local *engine = (struct local *)base;
    return id >= 0 && (uint32_t)id < tokenizer_n_tokens(engine->tokenizer) &&
           tokenizer_type(engine->tokenizer, id) == TOKEN_CONTROL;
}

static bool local_token_is_end(struct engine *base, int32_t id) {
    const struct local *engine = (struct local *)base;
    return id >= 0 && (uint32_t)id < tokenizer_n_vocab(engine->tokenizer) &&
           tokenizer_is_end(engine->tokenizer, id);
}

static size_t local_encode(struct engine *base, const char *text, size_t len, bool control, int32_t *ids,
                           size_t cap) {
    const struct local *engine = (struct local *)base;
    struct ids all = {0};
    struct segment segment = {text, len, control};
    tokenizer_encode(engine->tokenizer, &segment, 1, ADDED_BY_ORIGIN, &all, NULL);
    size_t n = all.n;
    for (size_t i = 0; i < n && i < cap; i++) ids[i] = all.at[i];
    ids_free(&all);
    return n;
}

static size_t local_count_tokens(struct engine *base, const char *text, size_t len) {
    return local_encode(base, text, len, false, NULL, 0);
}

static void local_close(struct engine *base) {
    if (!base) return;
    struct local *engine = (struct local *)base;
    worker_stop_and_join(&engine->worker);
    close_backend(engine);
    listed_free(&engine->listed);
    chat_template_free(engine->chat_template);
    model_close(engine->model);
    worker_free(&engine->worker);
    free((char *)engine->options.model);
    free((char *)engine->options.device);
    free((char *)engine->options.chat_template);
    free(engine);
}

struct engine *engine_local(const struct engine_options *options) {
    static const struct engine_ops ops = {
        worker_submit,
        worker_next,
        worker_wake_fd,
        worker_stop,
        local_info,
        local_token_text,
        local_token_is_control,
        local_token_is_end,
        local_count_tokens,
        local_encode,
        local_close,
    };
    static const struct worker_job job = {local_load, local_serve};
    struct local *engine = xcalloc(1, sizeof *engine);
    engine->options = *options;
    engine->options.model = xstrdup(options->model);
    engine->options.device = options->device ? xstrdup(options->device) : NULL;
    engine->options.chat_template = options->chat_template ? xstrdup(options->chat_template) : NULL;
    worker_start(&engine->worker, &ops, &job);
    return &engine->worker.engine;
}
