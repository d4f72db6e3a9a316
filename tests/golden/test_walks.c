/* Time travel proven by numbers: random walks of asking, picking, typing, editing, answering again, undoing
 * and switching over a chat with a model. After every step all that is known of every token on the path -
 * ids, logits, log-sum-exp, entropy, rank - is what a fresh computation of the whole prompt tells: bit for
 * bit where the engine is exact, and close on the fast path. What the chat says next is what a fresh session
 * says next. */
#include "tests/golden/golden.h"

#include "app/chat.h"
#include "infer/request_ids.h"
#include "infer/session.h"

#include <poll.h>

struct walk {
    struct chat chat;
    struct model *model; /* a second time, for the fresh computation */
    struct backend *backend;
    struct chat_template *chat_template;
    bool exact;
    uint64_t random;
    unsigned n_checked, n_picks, n_split; /* tokens compared; picks; tokens that split a character */
};

/* What the sanitizers look for shows in few walks: the numbers are the same. */
#ifdef __SANITIZE_ADDRESS__
enum { SLOW = 10 };
#else
enum { SLOW = 1 };
#endif
enum { CONTEXT = 512, TOP = 8 };

static uint32_t draw(struct walk *walk, size_t n) {
    walk->random = walk->random * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((walk->random >> 33) % n);
}

static bool walk_open(struct walk *walk, const char *path, bool exact, uint64_t seed) {
    struct err err = {0};
    *walk = (struct walk){.exact = exact, .random = seed};
    if (model_open(path, MODEL_WHOLE, &walk->model, &err) < 0) {
        print_message("skipped: %s\n", err.text);
        return false;
    }
    struct backend_options backend = {.n_threads = 2, .n_ctx = CONTEXT, .exact = exact};
    must(backend_cpu.open(model_view(walk->model), &backend, NULL, NULL, &walk->backend, &err), &err, path);
    struct chat_template_source source = {.file = path};
    chat_template_source_fill(&source, model_tokenizer(walk->model), model_chat_template(walk->model));
    walk->chat_template = chat_template_new(&source);
    struct options options = {0};
    settings_defaults(&options.settings);
    options.settings.sampling.seed = seed;
    options.settings.top = TOP;
    options.settings.n_predict = 3;
    struct engine_options engine = {
        .model = path, .device = "cpu", .n_threads = 2, .n_ctx = CONTEXT, .exact = exact};
    chat_open(&walk->chat, engine_local(&engine), &options);
    return true;
}

static void walk_close(struct walk *walk) {
    chat_close(&walk->chat);
    chat_template_free(walk->chat_template);
    backend_cpu.close(walk->backend);
    model_close(walk->model);
}

static void wait_idle(struct walk *walk) {
    struct chat *chat = &walk->chat;
    for (chat_pump(chat); chat_busy(chat) || chat->state == CHAT_LOADING; chat_pump(chat)) {
        struct pollfd fd = {.fd = chat->engine->ops->wake_fd(chat->engine), .events = POLLIN};
        if (poll(&fd, 1, 60000) < 0) fail_msg("poll");
    }
    if (chat->state != CHAT_IDLE || chat->error.code) fail_msg("%s", chat->error.text);
}

/* ---- the fresh computation ---- */

struct fresh {
    struct walk *walk;
    struct step_result *results; /* by position of the token they are about */
    uint32_t n;
};

static int keep_result(void *ctx, const struct step_result *result, const float *logits) {
    struct fresh *fresh = ctx;
    (void)logits;
    memcpy(&fresh->results[result->position + 1], result,
           offsetof(struct step_result, top) + result->n_top * sizeof *result->top);
    return 0;
}

static void compare(struct walk *walk, const struct kept_token *kept, const struct step_result *fresh,
                    bool ended) {
    if (!kept->rank) return; /* a typed one: nothing was known */
    if (!ended) assert_int_equal(kept->id, fresh->id);
    walk->n_checked++;
    if (!walk->exact) {
        assert_float_equal(kept->log_sum_exp, fresh->log_sum_exp, 0.5);
        float clear =
            fresh->top[0].logit - fresh->top[1].logit; /* 8-bit activations, f16 cache: 0.1 was seen */
        if (clear > 0.25f && kept->n_top)
            assert_int_equal(kept_token_candidate(kept, 0).id, fresh->top[0].id);
        return;
    }
    assert_int_equal(kept->position, fresh->position);
    assert_true(kept->log_sum_exp == fresh->log_sum_exp && kept->entropy == fresh->entropy);
    if (!ended) assert_int_equal(kept->rank, fresh->rank);
    if (!ended && !kept->picked) assert_true(kept->logit == fresh->logit);
    for (uint32_t i = 0; i < kept->n_top && i < TOP; i++) {
        struct candidate candidate = kept_token_candidate(kept, i);
        assert_int_equal(candidate.id, fresh->top[i].id);
        assert_float_equal(candidate.logit, fresh->top[i].logit, 1e-4);
    }
}

/* Every token of every answer on the path. */
static void compare_path(struct walk *walk, const struct token_places *places, const int32_t *ids, uint32_t n,
                         const struct fresh *fresh) {
    int32_t message = -1;
    for (size_t m = 0; m < walk->chat.conversation.n; m++) {
        const struct said *said = walk->chat.conversation.messages[m];
        if (!said_is_sent(said)) continue;
        message++;
        if (said->by != SAID_BY_MODEL || !said->n_ids) continue;
        uint32_t at = 0;
        while (at < n && places->at[at].message != message) at++;
        assert_true(at + said->n_ids <= n);
        for (size_t i = 0; i < said->n_tokens; i++) {
            const struct kept_token *kept = &said->tokens[i];
            if (!kept->end) assert_int_equal(ids[at], kept->id);
            compare(walk, kept, &fresh->results[at], kept->end);
            at += !kept->end;
        }
    }
}

/* What the path is for the engine, computed from nothing. */
static void check(struct walk *walk) {
    struct chat *chat = &walk->chat;
    struct conversation *conversation = &chat->conversation;
    const struct said *last = conversation_last(conversation);
    if (!last || last->by != SAID_BY_MODEL || !last->n_ids) return;
    struct engine_request request = {.kind = REQUEST_SCORE, .continue_last = true, .began = chat->began};
    struct message *messages = conversation_messages(conversation, &request.n_messages);
    request.messages = messages;
    struct ids ids = {0};
    struct token_places places = {0};
    struct err err = {0};
    bool fold;
    must(request_to_ids(walk->chat_template, model_tokenizer(walk->model), &request, &ids, &places, &fold,
                        &err),
         &err, "prompt");
    uint32_t n = (uint32_t)ids.n;
    assert_memory_equal(ids.at + n - last->n_ids, last->ids, last->n_ids * sizeof *last->ids);
    struct session *session;
    struct session_watch watch = {0};
    must(session_new(&backend_cpu, walk->backend, CONTEXT, &session, &err), &err, "session");
    struct fresh fresh = {.walk = walk, .results = calloc(n + 1, sizeof *fresh.results), .n = n};
    ids_add(&ids, -1);
    must(session_score(session, ids.at, 1, n + 1, TOP, false, &watch, keep_result, &fresh, &err), &err,
         "score");
    compare_path(walk, &places, ids.at, n, &fresh);
    session_free(session);
    free(fresh.results);
    ids_free(&ids);
    token_places_free(&places);
    free(messages);
}

static int first_result(void *ctx, const struct step_result *result) {
    memcpy(ctx, result, offsetof(struct step_result, top));
    return 1;
}

/* One token more, by the chat and by a session that knows nothing: the same. */
static void check_next(struct walk *walk) {
    struct chat *chat = &walk->chat;
    struct said *leaf = conversation_leaf(&chat->conversation);
    if (!walk->exact || leaf->by != SAID_BY_MODEL || !leaf->n_ids || leaf->tokens[leaf->n_tokens - 1].end)
        return;
    struct engine_request request = {.continue_last = true, .began = chat->began};
    struct message *messages = conversation_messages(&chat->conversation, &request.n_messages);
    request.messages = messages;
    struct ids ids = {0};
    struct err err = {0};
    bool fold;
    must(request_to_ids(walk->chat_template, model_tokenizer(walk->model), &request, &ids, NULL, &fold, &err),
         &err, "prompt");
    struct session *session;
    struct session_watch watch = {0};
    uint32_t cached;
    static struct step_result next;
    must(session_new(&backend_cpu, walk->backend, CONTEXT, &session, &err), &err, "session");
    must(session_prompt(session, ids.at, (uint32_t)ids.n, &watch, &cached, &err), &err, "prompt");
    must(session_decode(session, &chat->settings.sampling, TOP, 1, NULL, first_result, &next, &err), &err,
         "decode");
    assert_int_equal(cached, 0);
    bool there = chat->computed == leaf; /* nobody went elsewhere in the meantime */
    must(chat_go_on(chat, leaf, 1, &err), &err, "go on");
    wait_idle(walk);
    leaf = conversation_leaf(&chat->conversation); /* a copy, if others stand below it */
    const struct kept_token *said = &leaf->tokens[leaf->n_tokens - 1];
    assert_int_equal(said->id, next.id);
    assert_true(said->logit == next.logit && said->prob == next.prob &&
                said->log_sum_exp == next.log_sum_exp);
    if (there) assert_int_equal(chat->stats.cached_tokens + 1, chat->stats.prompt_tokens);
    session_free(session);
    ids_free(&ids);
    free(messages);
}

/* ---- steps ---- */

/* A message of the path, by whom; NULL: there is none. */
static struct said *some_said(struct walk *walk, enum said_by by) {
    const struct conversation *conversation = &walk->chat.conversation;
    for (int i = 0; i < 20 && conversation->n; i++) {
        struct said *said = conversation->messages[draw(walk, conversation->n)];
        if (said->by == by && (by != SAID_BY_MODEL || said->n_tokens)) return said;
    }
    return NULL;
}

/* Another candidate at some token of some answer, end tokens too. Its prompt is in the cache but for that
 * token, if the answer was the last one that was computed. */
static int pick(struct walk *walk, struct err *err) {
    struct said *said = some_said(walk, SAID_BY_MODEL);
    if (!said) return STATUS_OK;
    size_t at = draw(walk, said->n_tokens);
    const struct kept_token *token = &said->tokens[at];
    if (!token->n_top) return STATUS_OK;
    int32_t id = kept_token_candidate(token, draw(walk, token->n_top)).id;
    bool newest = walk->chat.computed == said;
    int status = chat_fork(&walk->chat, said, &(struct chat_fork){.keep = at, .ids = &id, .n_ids = 1}, err);
    if (status < 0) return status;
    walk->n_picks++;
    wait_idle(walk);
    const struct said *leaf = conversation_leaf(&walk->chat.conversation);
    assert_int_equal(leaf->tokens[leaf->n_tokens > at ? at : leaf->n_tokens - 1].id, id);
    size_t end = leaf->n_tokens > at ? leaf->shown[at].end : 0;
    walk->n_split += end && end < leaf->text.len && ((unsigned char)leaf->text.data[end] & 0xC0) == 0x80;
    if (newest && !leaf->tokens[leaf->n_tokens - 1].end)
        assert_int_equal(walk->chat.stats.cached_tokens + 1, walk->chat.stats.prompt_tokens);
    return STATUS_OK;
}

static int typed(struct walk *walk, struct err *err) {
    struct said *said = some_said(walk, SAID_BY_MODEL);
    static const char text[] = " na\xC3\xAFve \xF0\x9F\x8C\x8D";
    int32_t ids[32];
    if (!said) return STATUS_OK;
    struct engine *engine = walk->chat.engine;
    size_t n = engine->ops->encode(engine, text, strlen(text), false, ids, 32);
    n = 1 + draw(walk, n); /* may end in the middle of a character */
    struct chat_fork fork = {.keep = draw(walk, said->n_tokens + 1), .ids = ids, .n_ids = n};
    return chat_fork(&walk->chat, said, &fork, err);
}

static int step(struct walk *walk, struct err *err) {
    static const char *const questions[] = {"Hi", "Name a colour.", "And \xC3\xA9t\xC3\xA9?", "the the"};
    struct chat *chat = &walk->chat;
    const char *text = questions[draw(walk, 4)];
    const struct said *last = conversation_last(&chat->conversation);
    if (!last || chat->stats.context_used > CONTEXT / 2) {
        chat_new(chat, NULL);
        return chat_send(chat, text, strlen(text), err);
    }
    struct said *said;
    switch (draw(walk, 10)) {
    case 0: return chat_send(chat, text, strlen(text), err);
    case 1:
        said = some_said(walk, SAID_BY_USER);
        return said ? chat_edit(chat, said, text, strlen(text), err) : STATUS_OK;
    case 2: return chat_regenerate(chat, err);
    case 3: chat_undo(chat, NULL); return STATUS_OK;
    case 4: chat_redo(chat, NULL); return STATUS_OK;
    case 5: return chat_switch(chat, chat->conversation.all.at[draw(walk, chat->conversation.all.n)], err);
    case 6: return typed(walk, err);
    default: return pick(walk, err);
    }
}

static void run(const char *path, bool exact, unsigned walks, unsigned steps) {
    struct walk walk;
    struct err err = {0};
    if (!walk_open(&walk, path, exact, 17)) return;
    wait_idle(&walk);
    if (!exact) walk.chat.settings.sampling.temperature = 0;
    walks = (walks + SLOW - 1) / SLOW;
    for (unsigned w = 0; w < walks; w++) {
        for (unsigned s = 0; s < steps; s++) {
            must(step(&walk, &err), &err, "step");
            wait_idle(&walk);
            check(&walk);
        }
        if (w % 3 == 0) check_next(&walk);
        if (w % 10 == 9) chat_new(&walk.chat, NULL);
    }
    print_message("%s: %u tokens compared, %u picks, %u tokens that split a character\n",
                  strrchr(path, '/') + 1, walk.n_checked, walk.n_picks, walk.n_split);
    assert_true(walk.n_checked > walks * steps && (walk.n_picks > 0 || SLOW > 1));
    walk_close(&walk);
}

static void walks_of_nano_models(void **state) {
    (void)state;
    static const char *const names[] = {"qwen2-f32", "llama-smol-q4_1", "qwen3-q8_0", "qwen2-gqa7"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[512];
        snprintf(path, sizeof path, "%s/nano/%s.gguf", TEST_DATA, names[i]);
        run(path, true, i ? 15 : 50, 2);
    }
}

static void walks_of_the_default_model(void **state) {
    (void)state;
    run(THIRD_PARTY "/SmolLM2-135M-Instruct.Q4_1.gguf", true, 50, 1);
}

static void walks_on_the_fast_path(void **state) {
    (void)state;
    run(TEST_DATA "/nano/llama-smol-q4_1.gguf", false, 20, 2);
    run(THIRD_PARTY "/SmolLM2-135M-Instruct.Q4_1.gguf", false, 10, 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(walks_of_nano_models),
        cmocka_unit_test(walks_of_the_default_model),
        cmocka_unit_test(walks_on_the_fast_path),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
