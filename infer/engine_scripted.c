// clang-format off
/* An engine that plays a script: for tests of the UI and demos without a model. Numbers it reports, times included, are those of
 * the script, so that a screen is the same each time.
 *
 * One command a line; # begins a comment line; texts stand in double quotes with \n \t \r \e \" \\ \xNN.
 *   model "NAME"  architecture "A"  quantisation "Q"  device "D"  template "T"     facts, each its own line
 *   context N     vocabulary N
 *   opening "TEXT"           what the template writes where the model begins to speak, behind <|assistant|>
 *   load BYTES STEPS MS      loading: progress in STEPS steps of MS each
 *   fail "TEXT"              and it ends in this failure
 *   answer                   what follows answers the next request; the last answer serves all requests after it
 *   prompt N CACHED [STEPS [MS]]   the prompt has N tokens, CACHED of them are there already. Without it: a guess from the texts,
 *                            and all that was there before is cached
 *   delay MS                 before each of the tokens that follow
 *   token "TEXT" P [CUT] | "TEXT" P [CUT] | ...   a token, the chosen candidate first; P raw probability, CUT a sampler
 *   end "TEXT" P | ...       the same for an end token; the answer ends with it
 *   say "TEXT"               word by word, with candidates made up
 *   done REASON ["TEXT"]     end, limit, stopped, full, error; without it: end
 *   refuse "TEXT"            as a template without a system role: passed where there is none, or it is folded
 *   moved "TEXT" "DEVICE"    the device is lost, which TEXT tells; loading goes on on DEVICE, then the answer
 *   lost "TEXT"              the device is lost, and the engine with it */
// clang-format on
#include "infer/engine.h"

#include "base/buf.h"
#include "base/mem.h"
#include "infer/script.h"
#include "infer/worker.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct scripted {
    struct worker worker; /* first */
    struct script script;
    pthread_mutex_t lock;   /* of the script's vocabulary, which grows by what is looked at and typed */
    struct err parse_error; /* of the script; code 0: none */
    struct engine_info info, moved; /* before and after `moved` */
    const struct engine_info *_Atomic told;
    size_t next_answer;
    uint32_t context_used; /* after the last answer */
    struct listed {        /* the newest LIST */
        uint64_t request;  /* 0: there was none */
        struct scripted_token *tokens;
        size_t n;
        bool open; /* it ends in an answer that goes on */
    } listed;
};

/* What has been played of one answer. */
struct play {
    struct scripted *engine;
    const struct engine_request *request;
    struct engine_event *done;
    struct engine_event *event; /* for tokens */
    uint32_t delay, index;
};

enum { NAP_MS = 2 };

/* False if `stopped` came true meanwhile. */
static bool wait_ms(struct scripted *engine, uint32_t ms, uint64_t request) {
    for (uint32_t waited = 0;; waited += NAP_MS) {
        if (request ? worker_stopped(&engine->worker, request) : atomic_load(&engine->worker.load_stopped))
            return false;
        if (waited >= ms) return true;
        uint32_t nap = ms - waited < NAP_MS ? ms - waited : NAP_MS;
        nanosleep(&(struct timespec){.tv_nsec = nap * 1000000l}, NULL);
    }
}

/* request: that waits for it, or 0. */
static int play_load(struct scripted *engine, uint64_t request, struct err *err) {
    const struct script *script = &engine->script;
    for (uint32_t i = 0; i < script->load_parts; i++) {
        if (!wait_ms(engine, script->load_ms, request))
            return err_set(err, STATUS_STOPPED, "loading was stopped");
        worker_progress(&engine->worker, ENGINE_LOADING, request,
                        script->load_total / script->load_parts * (i + 1), script->load_total);
    }
    return STATUS_OK;
}

static int scripted_load(struct worker *worker, struct err *err) {
    struct scripted *engine = (struct scripted *)worker;
    const struct script *script = &engine->script;
    if (engine->parse_error.code) {
        *err = engine->parse_error;
        return err->code;
    }
    int status = play_load(engine, 0, err);
    if (status < 0) return status;
    return script->fail ? err_set(err, STATUS_MODEL, "%s", script->fail) : STATUS_OK;
}

/* ---- a prompt ---- */

/* One token of a prompt. A script has no tokenizer and no template: words are tokens, and each message stands
 * between <|its role|> and <|end|>. */
struct scripted_token {
    int32_t id, message;
    uint32_t end;
    bool said; /* by the model: its ids were given */
};

struct look {
    struct play *play;
    struct scripted_token *tokens; /* [n] */
    size_t n, cap;
    bool open; /* it ends in an answer that goes on */
};

static void add_token(struct look *look, int32_t id, int32_t message, size_t end) {
    grow_array(&look->tokens, &look->cap, look->n + 1, sizeof *look->tokens);
    look->tokens[look->n++] = (struct scripted_token){id, message, (uint32_t)end, false};
}

static void add_mark(struct look *look, const char *name) {
    char mark[32];
    int len = snprintf(mark, sizeof mark, "<|%s|>", name);
    add_token(look, script_id(&look->play->engine->script, mark, (size_t)len), -1, 0);
}

static void add_words(struct look *look, const char *text, size_t len, int32_t message) {
    for (size_t at = 0, n; at < len; at += n) {
        n = script_word_len(text + at, len - at);
        add_token(look, script_id(&look->play->engine->script, text + at, n), message,
                  message < 0 ? 0 : at + n);
    }
}

static void add_message(struct look *look, const struct message *message, int32_t index) {
    const struct script *script = &look->play->engine->script;
    size_t end = 0;
    if (!message->n_ids) add_words(look, message->text, message->len, index);
    for (size_t i = 0; i < message->n_ids; i++) {
        bool known = message->ids[i] >= 0 && (size_t)message->ids[i] < script->n_words;
        end += known ? script->words[message->ids[i]].len : 0;
        if (!known) continue;
        add_token(look, message->ids[i], index, end < message->len ? end : message->len);
        look->tokens[look->n - 1].said = true;
    }
}

/* Where the model begins to speak. */
static void add_opening(struct look *look) {
    const char *opening = look->play->engine->script.opening;
    add_mark(look, "assistant");
    if (opening) add_words(look, opening, strlen(opening), -1);
}

static void list_prompt(struct look *look, const struct engine_request *request) {
    pthread_mutex_lock(&look->play->engine->lock);
    if (request->raw) add_words(look, request->raw, request->raw_len, 0);
    for (size_t i = 0; !request->raw && i < request->n_messages; i++) {
        bool open = request->continue_last && i + 1 == request->n_messages;
        if (open)
            add_opening(look);
        else
            add_mark(look, request->messages[i].role);
        add_message(look, &request->messages[i], (int32_t)i);
        if (!open) add_mark(look, "end");
    }
    if (!request->raw && !request->continue_last) add_opening(look);
    look->open = request->continue_last;
    pthread_mutex_unlock(&look->play->engine->lock);
}

static void put_prompt(const struct look *look) {
    struct engine_event *event = look->play->event;
    memset(event, 0, sizeof *event);
    event->type = ENGINE_PROMPT;
    event->request = look->play->request->id;
    event->prompt.total = (uint32_t)look->n;
    for (size_t at = 0, part; at < look->n; at += part) {
        part = look->n - at < PROMPT_PART ? look->n - at : PROMPT_PART;
        event->prompt.n = (uint32_t)part;
        for (size_t i = 0; i < part; i++) {
            const struct scripted_token *from = &look->tokens[at + i];
            event->prompt.tokens[i] = (struct prompt_token){from->id, from->message, from->end};
        }
        ring_put(look->play->engine->worker.ring, event);
    }
}

/* ---- an answer ---- */

static void finish(struct play *play, enum engine_reason reason) {
    play->done->done.reason = reason;
}

static int play_prompt(struct play *play, uint32_t prompt, uint32_t cached, uint32_t parts, uint32_t ms) {
    struct engine_stats *stats = &play->done->done.stats;
    stats->prompt_tokens = prompt;
    stats->cached_tokens = cached;
    stats->context_used = prompt;
    if (prompt > play->engine->script.context) {
        finish(play, ENGINE_CONTEXT_FULL);
        return err_set(&play->done->error, STATUS_CONTEXT_FULL,
                       "the prompt takes %u tokens, the context holds %u", prompt,
                       play->engine->script.context);
    }
    for (uint32_t i = 0; i < parts; i++) {
        if (!wait_ms(play->engine, ms, play->request->id)) {
            finish(play, ENGINE_STOPPED);
            return STATUS_STOPPED;
        }
        stats->prefill_seconds += ms / 1000.0;
        worker_progress(&play->engine->worker, ENGINE_PREFILL, play->request->id,
                        (uint64_t)(prompt - cached) * (i + 1) / parts, prompt - cached);
    }
    return STATUS_OK;
}

static int play_guessed_prompt(struct play *play) {
    const struct engine_request *request = play->request;
    size_t n = request->raw ? request->raw_len / 4 + 1 : 0;
    for (size_t i = 0; !request->raw && i < request->n_messages; i++) n += request->messages[i].len / 4 + 4;
    uint32_t prompt = n < UINT32_MAX ? (uint32_t)n : UINT32_MAX, cached = play->engine->context_used;
    if (prompt == 0) prompt = 1;
    return play_prompt(play, prompt, cached < prompt ? cached : prompt - 1, 1, 0);
}

static int by_probability(const void *a, const void *b) {
    const struct candidate *x = a, *y = b;
    return x->logit != y->logit ? (x->logit < y->logit ? 1 : -1) : (x->id > y->id) - (x->id < y->id);
}

/* Fill a result from the candidates of a step: all sorted, then the k best and the chosen one. */
static void fill_result(struct step_result *result, const struct script_step *step, uint32_t k) {
    double open = 0, rest = 1;
    result->id = step->candidates[0].id;
    for (uint32_t i = 0; i < step->n; i++) {
        const struct script_candidate *from = &step->candidates[i];
        if (from->cut == STAGE_NONE) open += (double)from->p;
        rest -= (double)from->p;
        result->entropy -= from->p * logf(from->p);
        result->top[i] =
            (struct candidate){.id = from->id, .logit = logf(from->p), .prob = from->p, .cut = from->cut};
    }
    if (rest > 1e-6) result->entropy -= (float)(rest * log(rest));
    qsort(result->top, step->n, sizeof *result->top, by_probability);
    for (uint32_t i = 0; i < step->n; i++) {
        struct candidate *at = &result->top[i];
        at->prob = at->cut == STAGE_NONE ? (float)(at->prob / open) : 0;
        if (at->id != result->id) continue;
        result->rank = i + 1;
        result->logit = at->logit;
        result->prob = at->prob;
        if (i >= k) result->top[k] = *at;
    }
    result->n_top = step->n < k ? step->n : k;
    if (k && result->rank > k) result->n_top = k + 1;
}

static struct script_word word_of(struct scripted *engine, int32_t id) {
    const struct script *script = &engine->script;
    pthread_mutex_lock(&engine->lock);
    bool known = id >= 0 && (size_t)id < script->n_words;
    struct script_word word = known ? script->words[id] : (struct script_word){"", 0, false};
    pthread_mutex_unlock(&engine->lock);
    return word;
}

static void fill_token(struct scripted *engine, struct token_record *token, int32_t id) {
    struct script_word word = word_of(engine, id);
    token->n_text = (uint32_t)word.len;
    memcpy(token->text, word.text, word.len < sizeof token->text ? word.len : sizeof token->text);
}

static int play_token(struct play *play, const struct script_step *step) {
    struct scripted *engine = play->engine;
    struct engine_stats *stats = &play->done->done.stats;
    if (stats->context_used >= engine->script.context) {
        finish(play, ENGINE_CONTEXT_FULL);
        return err_set(&play->done->error, STATUS_CONTEXT_FULL, "the context is full: %u tokens",
                       engine->script.context);
    }
    if (!wait_ms(engine, play->delay, play->request->id)) {
        finish(play, ENGINE_STOPPED);
        return STATUS_STOPPED;
    }
    stats->decode_seconds += play->delay / 1000.0;
    struct token_record *token = &play->event->token;
    memset(play->event, 0, sizeof *play->event);
    play->event->type = ENGINE_TOKEN;
    play->event->request = play->request->id;
    token->index = play->index++;
    token->end = step->end;
    token->ms = (float)play->delay;
    token->result.position = stats->context_used - 1;
    fill_result(&token->result, step, play->request->top_k);
    fill_token(engine, token, token->result.id);
    if (token->index == 0) stats->first_token_seconds = stats->prefill_seconds + play->delay / 1000.0;
    stats->context_used += !step->end;
    stats->tokens += !step->end;
    ring_put(engine->worker.ring, play->event);
    if (step->end) {
        finish(play, ENGINE_END);
        return STATUS_STOPPED;
    }
    if (play->request->n_predict && play->index >= play->request->n_predict) {
        finish(play, ENGINE_LIMIT);
        return STATUS_STOPPED;
    }
    return STATUS_OK;
}

static int play_refusal(struct play *play, const struct script_step *step) {
    const struct engine_request *request = play->request;
    bool has_system = false;
    for (size_t i = 0; i < request->n_messages; i++)
        has_system |= strcmp(request->messages[i].role, "system") == 0;
    if (!has_system || request->fold_system) return STATUS_OK;
    finish(play, ENGINE_ERROR);
    play->done->done.wants_fold = true;
    return err_set(&play->done->error, STATUS_USAGE, "%s", step->text);
}

static int play_move(struct play *play, const struct script_step *step) {
    struct scripted *engine = play->engine;
    memset(play->event, 0, sizeof *play->event);
    play->event->type = ENGINE_NOTICE;
    play->event->request = play->request->id;
    err_set(&play->event->error, STATUS_DEVICE, "%s", step->text);
    ring_put(engine->worker.ring, play->event);
    int status = play_load(engine, play->request->id, NULL);
    if (status < 0) {
        finish(play, ENGINE_STOPPED);
        return status;
    }
    engine->moved = engine->info;
    engine->moved.device = step->device;
    atomic_store(&engine->told, &engine->moved);
    worker_progress(&engine->worker, ENGINE_READY, play->request->id, 0, 0);
    return STATUS_OK;
}

/* STATUS_OK: go on; anything else ends the answer. */
static int play_step(struct play *play, const struct script_step *step) {
    switch (step->op) {
    case SCRIPT_PROMPT: return play_prompt(play, step->prompt, step->cached, step->parts, step->ms);
    case SCRIPT_REFUSE: return play_refusal(play, step);
    case SCRIPT_DELAY: play->delay = step->ms; return STATUS_OK;
    case SCRIPT_MOVED: return play_move(play, step);
    case SCRIPT_TOKEN: return play_token(play, step);
    case SCRIPT_DONE:
        finish(play, step->reason);
        if (step->reason == ENGINE_ERROR) return err_set(&play->done->error, STATUS_FAILED, "%s", step->text);
        if (step->reason == ENGINE_CONTEXT_FULL)
            return err_set(&play->done->error, STATUS_CONTEXT_FULL, "%s", step->text);
        return STATUS_STOPPED;
    default: finish(play, ENGINE_ERROR); return err_set(&play->done->error, STATUS_DEVICE, "%s", step->text);
    }
}

/* ---- looking at a prompt ---- */

/* The place of an id among the candidates of a step; an id of -1 is the chosen one. step->n: it is none of
 * them. */
static uint32_t candidate_at(const struct script_step *step, int32_t id) {
    uint32_t k = 0;
    while (id >= 0 && k < step->n && step->candidates[k].id != id) k++;
    return k;
}

/* The step of the script in which `id` could have been said after `before` (-1: as the first of an answer).
 * NULL: there is none. */
static const struct script_step *find_step(const struct script *script, int32_t before, int32_t id) {
    for (size_t a = 0; a < script->n_answers; a++) {
        int32_t last = -1;
        for (size_t i = 0; i < script->answers[a].n; i++) {
            const struct script_step *step = &script->answers[a].steps[i];
            if (step->op != SCRIPT_TOKEN) continue;
            if (last == before && candidate_at(step, id) < step->n) return step;
            last = step->candidates[0].id;
        }
    }
    return NULL;
}

/* What could have come at this position, the token that stands there first: as the script has it, else made
 * up. */
static struct script_step step_at(struct look *look, size_t at) {
    struct script *script = &look->play->engine->script;
    bool there = at < look->n, open = !there && look->open;
    const struct scripted_token *before = &look->tokens[at - 1];
    bool said = there ? look->tokens[at].said : open && before->said;
    int32_t id = there ? look->tokens[at].id : -1;
    const struct script_step *found = said ? find_step(script, before->said ? before->id : -1, id) : NULL;
    struct script_step step;
    if (!found) {
        script_make_up(script, there ? id : before->id, at, &step);
        return step;
    }
    step = *found;
    uint32_t k = candidate_at(found, id);
    step.candidates = arena_alloc(&script->arena, step.n * sizeof *step.candidates);
    memcpy(step.candidates, found->candidates, step.n * sizeof *step.candidates);
    step.candidates[0] = found->candidates[k];
    step.candidates[k] = found->candidates[0];
    return step;
}

/* Sharply what the script's chain makes of it, as if every other token had almost no chance. */
static int fill_stages(struct look *look, size_t at, const struct script_step *step,
                       struct engine_event *event, struct err *err) {
    const struct engine_request *request = look->play->request;
    size_t n_vocab = look->play->engine->script.n_words;
    float *logits = xmalloc(n_vocab * sizeof *logits);
    int32_t *history = xmalloc(at * sizeof *history);
    for (size_t i = 0; i < n_vocab; i++) logits[i] = -30;
    for (uint32_t i = 0; i < step->n; i++) logits[step->candidates[i].id] = logf(step->candidates[i].p);
    for (size_t i = 0; i < at; i++) history[i] = look->tokens[i].id;
    int status = sampling_stages(logits, (uint32_t)n_vocab, &request->sampling, history, (uint32_t)at,
                                 at < look->n ? look->tokens[at].id : -1, request->top_k,
                                 &event->stages.token.result, &event->stages.table, err);
    free(logits);
    free(history);
    return status;
}

/* The record of position `at`; one behind the last token is what would come next. */
static int look_at(struct look *look, size_t at, struct err *err) {
    struct play *play = look->play;
    bool stages = play->request->kind == REQUEST_STAGES, there = at < look->n;
    struct engine_event *event = play->event;
    memset(event, 0, sizeof *event);
    event->type = stages ? ENGINE_STAGES : ENGINE_TOKEN;
    event->request = play->request->id;
    struct token_record *token = stages ? &event->stages.token : &event->token;
    token->index = (uint32_t)at;
    token->message = there ? look->tokens[at].message : -1;
    token->text_end = there ? look->tokens[at].end : 0;
    token->result.id = there ? look->tokens[at].id : -1;
    token->result.position = at ? (uint32_t)at - 1 : 0;
    int status = STATUS_OK;
    if (at > 0) {
        pthread_mutex_lock(&play->engine->lock);
        struct script_step step = step_at(look, at);
        if (stages)
            status = fill_stages(look, at, &step, event, err);
        else
            fill_result(&token->result, &step, play->request->top_k);
        pthread_mutex_unlock(&play->engine->lock);
    }
    token->result.id = there ? look->tokens[at].id : -1;
    token->end = there && word_of(play->engine, token->result.id).ends;
    if (there) fill_token(play->engine, token, token->result.id);
    if (status == STATUS_OK) ring_put(play->engine->worker.ring, event);
    return status;
}

/* The prompt that is looked at: kept from one look to the next. */
static int take_prompt(struct look *look, struct err *err) {
    struct listed *listed = &look->play->engine->listed;
    const struct engine_request *request = look->play->request;
    if (request->prompt_of && request->prompt_of != listed->request)
        return err_set(err, STATUS_USAGE,
                       "the prompt of request %llu, expected that of the newest list, %llu",
                       (unsigned long long)request->prompt_of, (unsigned long long)listed->request);
    if (!request->prompt_of) {
        list_prompt(look, request);
        return STATUS_OK;
    }
    look->tokens = listed->tokens;
    look->n = listed->n;
    look->open = listed->open;
    listed->tokens = NULL;
    return STATUS_OK;
}

static void give_prompt(struct look *look) {
    struct listed *listed = &look->play->engine->listed;
    const struct engine_request *request = look->play->request;
    if (request->kind != REQUEST_LIST && !request->prompt_of) {
        free(look->tokens);
        return;
    }
    free(listed->tokens);
    uint64_t list = request->prompt_of ? request->prompt_of : request->id;
    *listed = (struct listed){list, look->tokens, look->n, look->open};
}

static int play_look(struct play *play) {
    const struct engine_request *request = play->request;
    struct look look = {.play = play};
    int status = take_prompt(&look, &play->done->error);
    if (status < 0) {
        finish(play, ENGINE_ERROR);
        return status;
    }
    size_t at = request->from, end = request->to < look.n + 1 ? request->to : look.n + 1;
    if (request->kind == REQUEST_LIST) {
        put_prompt(&look);
        end = at;
    } else if (request->kind == REQUEST_STAGES) {
        end = at + 1;
        if (at == 0 || at > look.n)
            status = err_set(&play->done->error, STATUS_USAGE,
                             "stages of position %zu, expected one from 1 to %zu", at, look.n);
    }
    for (; at < end && status == STATUS_OK; at++) {
        status = look_at(&look, at, &play->done->error);
        if (worker_stopped(&play->engine->worker, request->id)) {
            finish(play, ENGINE_STOPPED);
            break;
        }
    }
    if (status < 0) finish(play, ENGINE_ERROR);
    play->done->done.stats.prompt_tokens = (uint32_t)look.n;
    give_prompt(&look);
    return status;
}

/* ---- serving ---- */

static int play_answer(struct play *play) {
    struct scripted *engine = play->engine;
    struct script *script = &engine->script;
    struct script_answer none = {0}, *answer = &none;
    if (script->n_answers) answer = &script->answers[engine->next_answer];
    if (engine->next_answer + 1 < script->n_answers) engine->next_answer++;
    struct look look = {.play = play};
    list_prompt(&look, play->request);
    put_prompt(&look);
    free(look.tokens);
    bool prompted = false;
    for (size_t i = 0; i < answer->n; i++) prompted = prompted || answer->steps[i].op == SCRIPT_PROMPT;
    int status = prompted ? STATUS_OK : play_guessed_prompt(play);
    for (size_t i = 0; status == STATUS_OK && i < answer->n; i++) status = play_step(play, &answer->steps[i]);
    engine->context_used = play->done->done.stats.context_used;
    return status;
}

static int scripted_serve(struct worker *worker, const struct engine_request *request,
                          struct engine_event *done) {
    struct scripted *engine = (struct scripted *)worker;
    struct play play = {
        .engine = engine, .request = request, .done = done, .event = xmalloc(sizeof *play.event)};
    done->done.stats.context_size = engine->script.context;
    finish(&play, ENGINE_END);
    int status = request->kind == REQUEST_ANSWER ? play_answer(&play) : play_look(&play);
    free(play.event);
    return status;
}

/* ---- the table ---- */

static const struct engine_info *scripted_info(struct engine *base) {
    return atomic_load(&((struct scripted *)base)->told);
}

static const char *scripted_token_text(struct engine *base, int32_t id, size_t *len) {
    struct script_word word = word_of((struct scripted *)base, id);
    *len = word.len;
    return word.text;
}

static bool scripted_token_is_control(struct engine *base, int32_t id) {
    size_t len;
    const char *text = scripted_token_text(base, id, &len);
    return len > 4 && memcmp(text, "<|", 2) == 0 && memcmp(text + len - 2, "|>", 2) == 0;
}

static bool scripted_token_is_end(struct engine *base, int32_t id) {
    return word_of((struct scripted *)base, id).ends;
}

static size_t scripted_encode(struct engine *base, const char *text, size_t len, bool control, int32_t *ids,
                              size_t cap) {
    struct scripted *engine = (struct scripted *)base;
    size_t n = 0;
    (void)control;
    pthread_mutex_lock(&engine->lock);
    for (size_t at = 0, word; at < len; at += word) {
        word = script_word_len(text + at, len - at);
        int32_t id = script_id(&engine->script, text + at, word);
        if (n++ < cap) ids[n - 1] = id;
    }
    pthread_mutex_unlock(&engine->lock);
    return n;
}

static size_t scripted_count_tokens(struct engine *base, const char *text, size_t len) {
    (void)base;
    (void)text;
    return (len + 3) / 4;
}

static void scripted_close(struct engine *base) {
    if (!base) return;
    struct scripted *engine = (struct scripted *)base;
    worker_stop_and_join(&engine->worker);
    worker_free(&engine->worker);
    free(engine->listed.tokens);
    script_free(&engine->script);
    pthread_mutex_destroy(&engine->lock);
    free(engine);
}

struct engine *engine_scripted(const char *text) {
    static const struct engine_ops ops = {
        worker_submit,
        worker_next,
        worker_wake_fd,
        worker_stop,
        scripted_info,
        scripted_token_text,
        scripted_token_is_control,
        scripted_token_is_end,
        scripted_count_tokens,
        scripted_encode,
        scripted_close,
    };
    static const struct worker_job job = {scripted_load, scripted_serve};
    struct scripted *engine = xcalloc(1, sizeof *engine);
    struct script *script = &engine->script;
    pthread_mutex_init(&engine->lock, NULL);
    script_parse(script, text, &engine->parse_error);
    engine->info = (struct engine_info){
        .model_name = script->model,
        .architecture = script->architecture,
        .quantisation = script->quantisation,
        .device = script->device,
        .template_name = script->template_name,
        .memory_used = script->load_total,
        .context_size = script->context,
        .context_trained = script->context,
        .n_vocab = script->vocabulary,
        .load_seconds = script->load_parts * script->load_ms / 1000.0,
    };
    atomic_store(&engine->told, &engine->info);
    worker_start(&engine->worker, &ops, &job);
    return &engine->worker.engine;
}
