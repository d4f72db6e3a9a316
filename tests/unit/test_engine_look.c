/* Requests that only look: listing a prompt's tokens, scoring them, the stages of one position; on both
 * engines. */
#include "tests/unit/engine_rig.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { RECORDS_MAX = 400, PROMPT_MAX = 2000 };

struct seen {
    struct prompt_token *prompt; /* [n_prompt] */
    uint32_t n_prompt;
    struct token_record *records; /* [n] */
    uint32_t n;
    struct stage_table table;
    bool staged;
    enum engine_reason reason;
    struct engine_stats stats;
    struct err error;
};

static void forget(struct seen *seen) {
    free(seen->records);
    free(seen->prompt);
    *seen = (struct seen){0};
}

/* All events of a request until its end. */
static void take(struct engine *engine, uint64_t id, struct seen *seen) {
    forget(seen);
    seen->records = calloc(RECORDS_MAX, sizeof *seen->records);
    seen->prompt = calloc(PROMPT_MAX, sizeof *seen->prompt);
    for (;;) {
        const struct engine_event *event = wait_event(engine);
        if (event->request != id)
            fail_msg("an event of request %d, expected %d", (int)event->request, (int)id);
        assert_true(seen->n < RECORDS_MAX);
        switch (event->type) {
        case ENGINE_PROMPT:
            assert_true(seen->n == 0 && seen->n_prompt + event->prompt.n <= PROMPT_MAX && event->prompt.n);
            memcpy(seen->prompt + seen->n_prompt, event->prompt.tokens,
                   event->prompt.n * sizeof *seen->prompt);
            seen->n_prompt += event->prompt.n;
            assert_true(seen->n_prompt <= event->prompt.total);
            break;
        case ENGINE_TOKEN: seen->records[seen->n++] = event->token; break;
        case ENGINE_STAGES:
            seen->records[seen->n++] = event->stages.token;
            seen->table = event->stages.table;
            seen->staged = true;
            break;
        case ENGINE_DONE:
            seen->reason = event->done.reason;
            seen->stats = event->done.stats;
            seen->error = event->error;
            return;
        default: assert_int_equal(event->type, ENGINE_PREFILL);
        }
    }
}

static void ask(struct engine *engine, struct engine_request request, struct seen *seen) {
    submit(engine, &request);
    take(engine, request.id, seen);
}

static struct engine_request looking(struct engine_request request, uint64_t id, enum request_kind kind,
                                     uint32_t from, uint32_t to) {
    request.id = id;
    request.kind = kind;
    request.from = from;
    request.to = to;
    return request;
}

static void same_candidates(const struct step_result *a, const struct step_result *b, uint32_t n) {
    assert_true(a->log_sum_exp == b->log_sum_exp && a->entropy == b->entropy);
    for (uint32_t i = 0; i < n; i++)
        assert_true(a->top[i].id == b->top[i].id && a->top[i].logit == b->top[i].logit);
}

/* What is told of old positions is what was told when they were new, and the KV cache is as it was. */
static void looking_tells_what_was_said(void **state) {
    (void)state;
    struct engine *engine =
        engine_local(&(struct engine_options){.model = NANO, .device = "cpu", .n_ctx = 128, .exact = true});
    wait_ready(engine);
    struct seen answer = {0}, seen = {0};
    struct engine_request request = raw_request(1, "the quick brown fox", 8);
    request.sampling.seed = 5;
    ask(engine, request, &answer);
    uint32_t n = answer.stats.prompt_tokens;
    ask(engine, looking(request, 2, REQUEST_LIST, 0, 0), &seen);
    assert_true(seen.n == 0 && seen.n_prompt == n && answer.n_prompt == n);
    assert_memory_equal(seen.prompt, answer.prompt, n * sizeof *seen.prompt);
    uint32_t end = 0;
    for (uint32_t i = 0; i < n; i++) {
        size_t len;
        engine->ops->token_text(engine, answer.prompt[i].id, &len);
        assert_int_equal(answer.prompt[i].message, 0);
        assert_int_equal(answer.prompt[i].text_end, end + len);
        end = answer.prompt[i].text_end;
    }
    assert_int_equal(end, request.raw_len);
    struct seen scored = {0};
    ask(engine, looking(request, 3, REQUEST_SCORE, 0, UINT32_MAX), &scored);
    assert_int_equal(scored.n, n + 1); /* and what would come next */
    for (uint32_t i = 1; i < n; i++) {
        const struct step_result *result = &scored.records[i].result;
        assert_int_equal(result->id, answer.prompt[i].id);
        assert_int_equal(scored.records[i].index, i);
        assert_int_equal(scored.records[i].text_end, answer.prompt[i].text_end);
        assert_true(result->rank > 0 && result->n_top >= 5 && result->position == i - 1);
    }
    assert_int_equal(scored.records[0].result.n_top, 0);
    assert_int_equal(scored.records[n].result.id, -1);
    same_candidates(&scored.records[n].result, &answer.records[0].result, 5);
    ask(engine, looking(request, 4, REQUEST_STAGES, n, 0), &seen);
    assert_true(seen.staged && seen.n == 1 && seen.table.n_candidates == 5);
    same_candidates(&seen.records[0].result, &answer.records[0].result, 5);
    const float *last = seen.table.probs + (seen.table.n_stages - 1) * 5;
    for (uint32_t i = 0; i < 5; i++) {
        assert_true(last[i] == answer.records[0].result.top[i].prob);
        assert_int_equal(seen.records[0].result.top[i].cut, answer.records[0].result.top[i].cut);
    }
    request.id = 5;
    ask(engine, request, &seen);
    assert_int_equal(seen.stats.cached_tokens, n - 1);
    for (uint32_t i = 0; i < 8; i++)
        assert_memory_equal(&seen.records[i].result, &answer.records[i].result,
                            offsetof(struct step_result, top));
    ask(engine, looking(request, 6, REQUEST_STAGES, 0, 0), &seen);
    assert_int_equal(seen.error.code, STATUS_USAGE);
    ask(engine, looking(request, 7, REQUEST_STAGES, n + 1, 0), &seen);
    assert_int_equal(seen.error.code, STATUS_USAGE);
    ask(engine, looking(request, 8, REQUEST_SCORE, n + 5, n + 9), &seen);
    assert_true(seen.n == 0 && seen.reason == ENGINE_END);
    engine->ops->close(engine);
    forget(&answer);
    forget(&seen);
    forget(&scored);
}

/* An answer takes the place of what only looks, at whatever moment; a stop of it before it began is no stop
 * of nothing. */
static void answers_come_first(void **state) {
    (void)state;
    static char text[241];
    memset(text, 'a', sizeof text - 1);
    struct engine *engines[] = {
        engine_local(&(struct engine_options){.model = NANO, .device = "cpu", .n_ctx = 256, .exact = true}),
        engine_scripted("say \"one two three\"\n")};
    for (size_t e = 0; e < 2; e++) {
        struct engine *engine = engines[e];
        wait_ready(engine);
        struct seen seen = {0};
        for (uint64_t id = 1; id < 90; id += 3) {
            struct engine_request request = raw_request(id + 1, text, 3);
            struct engine_request look = looking(request, id, REQUEST_SCORE, 0, UINT32_MAX);
            submit(engine, &look);
            for (uint64_t spin = 0; spin < id * id * 40; spin++) __asm__ volatile("");
            submit(engine, &request);
            bool stop = id % 2;
            if (stop) engine->ops->stop(engine, id + 1);
            take(engine, id, &seen);
            assert_true(seen.reason == ENGINE_STOPPED || seen.reason == ENGINE_END);
            take(engine, id + 1, &seen);
            assert_true(stop || (seen.reason != ENGINE_STOPPED && seen.n == 3));
        }
        forget(&seen);
        engine->ops->close(engine);
    }
}

static const char *prompt_text(struct engine *engine, const struct seen *seen) {
    static char shown[1024];
    *shown = '\0';
    for (uint32_t i = 0; i < seen->n_prompt; i++) {
        size_t len, used = strlen(shown);
        const char *text = engine->ops->token_text(engine, seen->prompt[i].id, &len);
        snprintf(shown + used, sizeof shown - used, "[%.*s|%d %u]", (int)len, text, seen->prompt[i].message,
                 seen->prompt[i].text_end);
    }
    return shown;
}

/* Where the template begins to speak for the model, that is a part of the prompt, of new answers and of those
 * that go on. */
static void a_script_may_open_a_thought(void **state) {
    (void)state;
    struct engine *engine = engine_scripted("opening \"<think>\\n\"\nsay \"hm\"\n");
    wait_ready(engine);
    struct seen seen = {0};
    struct message messages[] = {{"user", "why", 3, NULL, 0}, {"assistant", "so it is", 8, NULL, 0}};
    struct engine_request request = raw_request(1, "x", 0);
    request.raw = NULL;
    request.messages = messages;
    request.n_messages = 1;
    ask(engine, request, &seen);
    assert_string_equal(prompt_text(engine, &seen),
                        "[<|user|>|-1 0][why|0 3][<|end|>|-1 0][<|assistant|>|-1 0][<think>|-1 0][\n|-1 0]");
    request.id = 2;
    request.n_messages = 2;
    request.continue_last = true;
    ask(engine, request, &seen);
    assert_non_null(strstr(prompt_text(engine, &seen), "[<think>|-1 0][\n|-1 0][so|1 2][ it|1 5][ is|1 8]"));
    ask(engine, looking(request, 3, REQUEST_STAGES, seen.n_prompt + 1, 0), &seen);
    assert_int_equal(seen.error.code, STATUS_USAGE);
    forget(&seen);
    engine->ops->close(engine);
}

/* What is asked about the newest list need not bring its prompt again, however often; about another one it is
 * refused. */
static void a_list_is_asked_about(void **state) {
    (void)state;
    struct engine *engines[] = {
        engine_local(&(struct engine_options){.model = NANO, .device = "cpu", .n_ctx = 128, .exact = true}),
        engine_scripted("token \"the\" 0.5 | \" you\" 0.25\nsay \" quick brown fox\"\n")};
    for (size_t e = 0; e < 2; e++) {
        struct engine *engine = engines[e];
        wait_ready(engine);
        struct seen seen = {0}, brought = {0};
        struct engine_request whole = raw_request(1, "the quick brown fox", 4),
                              of = {.prompt_of = 3, .top_k = 5};
        sampling_defaults(&of.sampling);
        ask(engine, looking(of, 1, REQUEST_SCORE, 1, 3), &seen); /* there is none yet */
        assert_int_equal(seen.error.code, STATUS_USAGE);
        ask(engine, looking(whole, 2, REQUEST_LIST, 0, 0), &seen);
        ask(engine, looking(whole, 3, REQUEST_LIST, 0, 0), &seen);
        uint32_t n = seen.n_prompt;
        for (uint64_t id = 4; id < 20; id += 4) {
            ask(engine, looking(whole, id, REQUEST_SCORE, 1, UINT32_MAX), &brought);
            ask(engine, looking(of, id + 1, REQUEST_SCORE, 1, UINT32_MAX), &seen);
            assert_true(seen.n == n && brought.n == n && seen.stats.prompt_tokens == n);
            for (uint32_t i = 0; i < n; i++) {
                assert_int_equal(seen.records[i].text_end, brought.records[i].text_end);
                assert_int_equal(seen.records[i].result.id, brought.records[i].result.id);
                same_candidates(&seen.records[i].result, &brought.records[i].result, 2);
            }
            ask(engine, looking(of, id + 2, REQUEST_STAGES, n, 0), &seen);
            assert_true(seen.staged && seen.n == 1 && seen.reason == ENGINE_END);
            whole.id = id + 3;
            ask(engine, whole, &seen); /* an answer takes nothing of it away */
        }
        of.prompt_of = 2;
        ask(engine, looking(of, 20, REQUEST_SCORE, 1, 3), &seen);
        assert_int_equal(seen.error.code, STATUS_USAGE);
        forget(&seen);
        forget(&brought);
        engine->ops->close(engine);
    }
}

/* Longer than a part of the event, and nothing at all. */
static void a_prompt_of_any_length(void **state) {
    (void)state;
    static char text[1500];
    memset(text, 'a', sizeof text - 1);
    struct engine *engine =
        engine_local(&(struct engine_options){.model = NANO, .device = "cpu", .n_ctx = 128, .exact = true});
    wait_ready(engine);
    struct seen seen = {0};
    ask(engine, looking(raw_request(1, text, 0), 1, REQUEST_LIST, 0, 0), &seen);
    assert_true(seen.n_prompt > 2 * PROMPT_PART && seen.n_prompt == seen.stats.prompt_tokens);
    assert_int_equal(seen.prompt[seen.n_prompt - 1].text_end, sizeof text - 1);
    ask(engine, raw_request(2, text, 3), &seen); /* told although it does not fit */
    assert_true(seen.n_prompt > 2 * PROMPT_PART && seen.reason == ENGINE_CONTEXT_FULL);
    ask(engine, raw_request(3, "", 3), &seen);
    assert_int_equal(seen.n_prompt, seen.stats.prompt_tokens);
    forget(&seen);
    engine->ops->close(engine);
}

/* Each message word for word, in its place; marks of the "template" between them. */
static void a_script_has_tokens_too(void **state) {
    (void)state;
    struct engine *engine = engine_scripted("token \"Hi\" 0.5 | \" you\" 0.25\nend \"<|end|>\" 0.9\n");
    wait_ready(engine);
    struct seen seen = {0};
    struct engine_request request = raw_request(1, "x", 0);
    ask(engine, request, &seen);
    int32_t ids[2] = {seen.records[0].result.id, seen.records[0].result.top[1].id};
    struct message messages[] = {{"user", "why is it", 9, NULL, 0}, {"assistant", "Hi you", 6, ids, 2}};
    request.raw = NULL;
    request.messages = messages;
    request.n_messages = 2;
    request.continue_last = true;
    ask(engine, looking(request, 2, REQUEST_SCORE, 0, UINT32_MAX), &seen);
    char shown[256] = "";
    for (uint32_t i = 0; i < seen.n; i++) {
        const struct token_record *token = &seen.records[i];
        size_t used = strlen(shown);
        snprintf(shown + used, sizeof shown - used, "[%.*s|%d %u]", (int)token->n_text, token->text,
                 token->message, token->text_end);
        assert_true(i == 0 || token->result.n_top > 0);
    }
    assert_string_equal(shown,
                        "[<|user|>|-1 0][why|0 3][ is|0 6][ it|0 9][<|end|>|-1 0][<|assistant|>|-1 0][Hi|1 2]"
                        "[ you|1 6][|-1 0]");
    assert_true(engine->ops->token_is_end(engine, seen.records[4].result.id));
    assert_false(engine->ops->token_is_end(engine, ids[0]));
    ask(engine, looking(request, 3, REQUEST_STAGES, 2, 0), &seen);
    assert_true(seen.staged && seen.table.n_stages > 2);
    int32_t typed[3];
    assert_int_equal(engine->ops->encode(engine, "Hi new words", 12, false, typed, 3), 3);
    assert_int_equal(typed[0], ids[0]);
    size_t len;
    assert_string_equal(engine->ops->token_text(engine, typed[1], &len), " new");
    forget(&seen);
    engine->ops->close(engine);
}

/* With the default model's own template: every byte of every message lies under some token of it. */
static void places_cover_the_messages(void **state) {
    (void)state;
    struct engine *engine = engine_local(&(struct engine_options){
        .model = THIRD_PARTY "/SmolLM2-135M-Instruct.Q4_1.gguf", .device = "cpu", .n_ctx = 512});
    const struct engine_event *event;
    while ((event = wait_event(engine))->type == ENGINE_LOADING) {}
    if (event->type != ENGINE_READY) {
        print_message("skipped: %s\n", event->error.text);
        engine->ops->close(engine);
        skip();
    }
    static const char *const texts[] = {"be kind", "What's a \xE2\x82\xAC worth?\n\n  Naïve <|im_end|> text",
                                        "A caf\xC3\xA9.", "\n\nand more"};
    static const char *const roles[] = {"system", "user", "assistant", "user"};
    struct message messages[4];
    for (int i = 0; i < 4; i++) messages[i] = (struct message){roles[i], texts[i], strlen(texts[i]), NULL, 0};
    int32_t ids[16];
    messages[2].n_ids = engine->ops->encode(engine, texts[2], strlen(texts[2]), false, ids, 16);
    messages[2].ids = ids;
    struct seen seen = {0};
    for (int fold = 0; fold < 2; fold++) {
        struct engine_request request = {.messages = messages,
                                         .n_messages = 4,
                                         .fold_system = fold,
                                         .kind = REQUEST_LIST,
                                         .id = 1 + (uint64_t)fold};
        ask(engine, request, &seen);
        uint32_t end[4] = {0}, n_template = 0;
        for (uint32_t i = 0; i < seen.n_prompt; i++) {
            const struct prompt_token *token = &seen.prompt[i];
            n_template += token->message < 0;
            if (token->message < 0) continue;
            size_t len;
            const char *text = engine->ops->token_text(engine, token->id, &len);
            assert_true(token->text_end >= end[token->message]);
            if (!fold && token->text_end - end[token->message] == len)
                assert_memory_equal(texts[token->message] + end[token->message], text, len);
            end[token->message] = token->text_end;
        }
        assert_true(n_template > 8);
        for (int i = 0; i < 4; i++) assert_int_equal(end[i], messages[i].len);
    }
    forget(&seen);
    engine->ops->close(engine);
}

/* A template may say a message twice, or parts of it in any order: its tokens lie in it one behind the other
 * all the same. */
static void places_only_go_on(void **state) {
    (void)state;
    static const char *const templates[] = {
        "{% for m in messages %}{{ m.content }} {{ m.content }}{% endfor %}",
        "{% for m in messages %}{{ m.content }}{{ m.content }}{% endfor %}",
        "{% for m in messages %}{{ m.content[4:] }} {{ m.content[:5] }} {{ m.content }}{% endfor %}",
        "{% for m in messages %}{{ m.content[4:7] }}{{ m.content }}{{ m.content[1:3] }}{% endfor %}"};
    struct message messages[] = {{"user", "the quick brown fox", 19, NULL, 0},
                                 {"assistant", "the quick brown dog", 19, NULL, 0}};
    for (size_t t = 0; t < sizeof templates / sizeof *templates; t++) {
        char path[] = "/tmp/logitop-template-XXXXXX";
        int fd = mkstemp(path);
        assert_true(write(fd, templates[t], strlen(templates[t])) > 0);
        close(fd);
        struct engine *engine = engine_local(&(struct engine_options){
            .model = NANO, .device = "cpu", .n_ctx = 256, .exact = true, .chat_template = path});
        wait_ready(engine);
        unlink(path);
        int32_t ids[32];
        messages[1].n_ids = engine->ops->encode(engine, messages[1].text, 19, false, ids, 32);
        messages[1].ids = ids;
        struct engine_request request = {
            .messages = messages, .n_messages = 2, .kind = REQUEST_LIST, .id = 1};
        struct seen seen = {0};
        ask(engine, request, &seen);
        assert_true(seen.n_prompt > 10);
        uint32_t end = 0;
        int32_t message = -1;
        for (uint32_t i = 0; i < seen.n_prompt; i++) {
            const struct prompt_token *token = &seen.prompt[i];
            if (token->message >= 0 && token->message == message) assert_true(token->text_end >= end);
            assert_true(token->message < 0 || token->text_end <= 19);
            message = token->message;
            end = token->text_end;
        }
        forget(&seen);
        engine->ops->close(engine);
    }
}

/* Text that the tokenizer brings into another form is found again behind it: what the template wrote is never
 * a message's, and the next message is whole. */
static void places_are_found_again(void **state) {
    (void)state;
    static const char *const texts[] = {
        "e\u0301e\u0301e\u0301e\u0301e\u0301e\u0301e\u0301e\u0301e\u0301", /* decomposed */
        "\u1112\u1161\u11AB\u1100\u1173\u11AF\u1112\u1161\u11AB",          /* conjoining */
        "the quick brown", ""};
    struct engine *engine =
        engine_local(&(struct engine_options){.model = NANO, .device = "cpu", .n_ctx = 256, .exact = true});
    wait_ready(engine);
    uint64_t id = 1;
    for (size_t t = 0; t < sizeof texts / sizeof *texts; t++) {
        struct message messages[] = {{"user", texts[t], strlen(texts[t]), NULL, 0},
                                     {"assistant", "the quick brown fox", 19, NULL, 0},
                                     {"user", texts[t], strlen(texts[t]), NULL, 0},
                                     {"assistant", "the quick brown dog", 19, NULL, 0}};
        struct engine_request request = {
            .messages = messages, .n_messages = 4, .kind = REQUEST_LIST, .id = id++};
        struct seen seen = {0};
        uint32_t ends[4] = {0}, n_ends = 0;
        int32_t message = 0;
        ask(engine, request, &seen);
        for (uint32_t i = 0; i < seen.n_prompt; i++) {
            const struct prompt_token *token = &seen.prompt[i];
            if (engine->ops->token_is_control(engine, token->id)) assert_int_equal(token->message, -1);
            if (token->message < 0) continue;
            assert_true(token->message >= message);
            message = token->message;
            if (message == 2 && token->text_end > ends[2]) n_ends++;
            ends[message] = token->text_end;
        }
        assert_int_equal(ends[0], strlen(texts[t]));
        assert_int_equal(ends[2], strlen(texts[t]));
        if (*texts[t]) assert_true(n_ends > 1); /* its tokens lie one behind the other, not all at its end */
        assert_int_equal(ends[1], 19);
        assert_int_equal(ends[3], 19);
        forget(&seen);
    }
    engine->ops->close(engine);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(looking_tells_what_was_said), cmocka_unit_test(answers_come_first),
        cmocka_unit_test(a_script_has_tokens_too),     cmocka_unit_test(a_script_may_open_a_thought),
        cmocka_unit_test(a_list_is_asked_about),       cmocka_unit_test(a_prompt_of_any_length),
        cmocka_unit_test(places_cover_the_messages),   cmocka_unit_test(places_only_go_on),
        cmocka_unit_test(places_are_found_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
