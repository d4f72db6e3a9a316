/* Another model in the middle of a conversation: beside the one that speaks or in its place, in the middle of
 * an answer, broken, and given up again. Real engines, on nano models. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "app/inspect.h"
#include "app/slash.h"
#include "base/clock.h"
#include "base/mem.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FIRST TEST_DATA "/nano/llama-f16.gguf"
#define SECOND TEST_DATA "/nano/qwen2-f16.gguf"

static struct model_facts small = {.context = 2048, .cpu_need = 1 << 20};
static struct model_facts huge = {
    .context = 2048, .cpu_need = UINT64_MAX / 4}; /* as the list would say of one that fits alone only */

/* Until it holds; what does not within a minute is a failure. */
static void pump_until(struct chat *chat, bool (*holds)(const struct chat *chat), const char *what) {
    int64_t end = clock_ns() + (int64_t)60 * 1000000000;
    for (;;) {
        chat_pump(chat);
        if (holds(chat)) return;
        if (clock_ns() > end) fail_msg("waited in vain for %s", what);
        struct engine *coming = chat->coming;
        struct pollfd fds[2] = {{.fd = chat->engine->ops->wake_fd(chat->engine), .events = POLLIN},
                                {.fd = coming ? coming->ops->wake_fd(coming) : -1, .events = POLLIN}};
        poll(fds, 2, 100);
    }
}

static bool idle(const struct chat *chat) {
    return chat->state == CHAT_IDLE && !chat_busy(chat);
}

static bool settled(const struct chat *chat) {
    return idle(chat) && !chat_model_coming(chat);
}

static bool speaking(const struct chat *chat) {
    return chat->n_said > 3;
}

static bool came(const struct chat *chat) {
    return chat->coming_ready || !chat_model_coming(chat); /* the answer may have ended by itself */
}

static bool failed(const struct chat *chat) {
    return chat->has_notice;
}

static void begin(struct chat *chat, struct options *options, const char *path) {
    *options = (struct options){.device = "cpu", .n_threads = 1, .n_ctx = 2048};
    settings_defaults(&options->settings);
    options->settings.sampling.temperature = 0;
    options->settings.n_predict = 8;
    options->chosen_model = xstrdup(path);
    struct engine_options engine = options_engine(options, path);
    chat_open(chat, engine_local(&engine), options);
    pump_until(chat, settled, "the first model");
}

static void end(struct chat *chat, struct options *options) {
    chat_close(chat);
    free(options->chosen_model);
}

static void ask(struct chat *chat, const char *text) {
    size_t before = chat->conversation.n;
    struct err err = {0};
    if (chat_send(chat, text, strlen(text), &err) < 0) fail_msg("%s", err.text);
    pump_until(chat, idle, "an answer");
    assert_int_equal(chat->conversation.n, before + 2);
    assert_true(chat_shown(chat)->n_tokens > 0);
    assert_int_equal(chat->error.code, STATUS_OK);
}

static char *broken_file(void) {
    static char path[] = "/tmp/logitop-broken-XXXXXX";
    strcpy(path + strlen(path) - 6, "XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "GGUF nonsense that is no header", 31), 31);
    close(fd);
    return path;
}

static void use(struct chat *chat, const char *path, const struct model_facts *facts) {
    struct err err = {0};
    chat->has_notice = false;
    if (chat_use_model(chat, path, facts, &err) < 0) fail_msg("%s", err.text);
}

static void switched(struct chat *chat) {
    assert_string_equal(chat->info->architecture, "qwen2");
    assert_string_equal(chat->model_path, SECOND);
    assert_true(chat->has_notice && strstr(chat->notice.data, "goes on with the conversation"));
    assert_null(chat->former_path);
    assert_int_equal(chat->error.code, STATUS_OK); /* what was wrong was wrong with the other one */
    ask(chat, "and now?");                         /* the history is rendered and computed anew */
    assert_int_equal(chat->stats.cached_tokens, 0);
    assert_true(chat->stats.prompt_tokens > 10);
    ask(chat, "again");
    assert_true(chat->stats.cached_tokens > 0);
}

/* A template that begins the thought: from a real one's words, through tokens, to the first token of the
 * first answer, and not where a variable ends the thought at once. */
static void test_template_begins_a_thought(void **state) {
    (void)state;
    static const char text[] = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n"
                               "{% endfor %}<|im_start|>assistant\n<think>\n"
                               "{% if enable_thinking is defined and not enable_thinking %}\n</think>\n\n"
                               "{% endif %}";
    char path[] = "/tmp/logitop-template-XXXXXX";
    int fd = mkstemp(path);
    assert_int_equal(write(fd, text, sizeof text - 1), sizeof text - 1);
    close(fd);
    struct chat chat;
    struct options options = {.device = "cpu", .n_threads = 1, .n_ctx = 2048};
    settings_defaults(&options.settings);
    options.settings.n_predict = 4;
    struct engine_options engine = options_engine(&options, SECOND);
    engine.chat_template = path;
    chat_open(&chat, engine_local(&engine), &options);
    pump_until(&chat, settled, "the model");
    unlink(path);
    ask(&chat, "does <think> begin it?");
    assert_string_equal(said_thinking(conversation_leaf(&chat.conversation))->prompted, "</think>");
    assert_int_equal(chat_set_variable(&chat, "enable_thinking", "false", NULL), STATUS_OK);
    ask(&chat, "and now? <think>");
    assert_int_equal(said_thinking(conversation_leaf(&chat.conversation))->n, 0);
    chat_close(&chat);
}

static void test_beside(void **state) {
    (void)state;
    struct chat chat;
    struct options options;
    begin(&chat, &options, FIRST);
    ask(&chat, "hello");
    err_set(&chat.error, STATUS_CONTEXT_FULL, "the context is full");
    use(&chat, SECOND, &small);
    assert_non_null(chat.coming);
    assert_string_equal(chat.info->architecture, "llama"); /* it speaks on meanwhile */
    pump_until(&chat, settled, "the other model");
    assert_null(chat.coming);
    assert_int_equal(chat.error.code, STATUS_OK); /* that was the other one's context */
    switched(&chat);
    end(&chat, &options);
}

static void test_in_its_place(void **state) {
    (void)state;
    struct chat chat;
    struct options options;
    begin(&chat, &options, FIRST);
    ask(&chat, "hello");
    use(&chat, SECOND, &huge);
    assert_null(chat.coming);
    assert_null(chat.info); /* the memory of the first is given back before */
    assert_string_equal(chat.former_path, FIRST);
    struct err err = {0};
    assert_int_equal(chat_use_model(&chat, FIRST, &small, &err), STATUS_BUSY);
    pump_until(&chat, settled, "the other model");
    switched(&chat);
    end(&chat, &options);
}

/* The answer under way ends as what it was begun by; then the other model takes over. */
static void test_in_the_middle_of_an_answer(void **state) {
    (void)state;
    struct chat chat;
    struct options options;
    struct err err = {0};
    begin(&chat, &options, FIRST);
    chat.settings.n_predict = 200; /* however many of them are said, what follows has room in the context */
    assert_int_equal(chat_send(&chat, "hello", 5, &err), STATUS_OK);
    pump_until(&chat, speaking, "some tokens");
    if (chat_busy(&chat)) {
        assert_int_equal(chat_use_model(&chat, SECOND, &huge, &err), STATUS_BUSY);
        assert_string_equal(chat.info->architecture, "llama");
    }
    use(&chat, SECOND, &small);
    pump_until(&chat, came, "the other model");
    chat_stop(&chat);
    pump_until(&chat, settled, "the end of the answer");
    assert_string_equal(chat.info->architecture, "qwen2");
    assert_int_equal(chat.conversation.n, 2);
    chat.settings.n_predict = 8;
    ask(&chat, "and now?");
    end(&chat, &options);
}

static void still_the_first(struct chat *chat) {
    pump_until(chat, settled, "the first model again");
    assert_string_equal(chat->model_path, FIRST);
    assert_string_equal(chat->info->architecture, "llama");
    assert_null(chat->former_path);
    assert_null(chat->coming);
    ask(chat, "still there?");
}

static void test_broken_model(void **state) {
    (void)state;
    const struct model_facts *how[] = {&small, &huge};
    for (int i = 0; i < 2; i++) {
        struct chat chat;
        struct options options;
        char *broken = broken_file();
        begin(&chat, &options, FIRST);
        ask(&chat, "hello");
        use(&chat, broken, how[i]);
        pump_until(&chat, failed, "the bad news");
        assert_non_null(strstr(chat.notice.data, "could not be loaded: "));
        still_the_first(&chat);
        unlink(broken);
        end(&chat, &options);
    }
}

static void test_given_up(void **state) {
    (void)state;
    const struct model_facts *how[] = {&small, &huge};
    for (int i = 0; i < 2; i++) {
        struct chat chat;
        struct options options;
        begin(&chat, &options, FIRST);
        ask(&chat, "hello");
        assert_false(chat_model_cancel(&chat));
        use(&chat, SECOND, how[i]);
        assert_true(chat_model_cancel(&chat));
        still_the_first(&chat);
        end(&chat, &options);
    }
}

static void test_refused(void **state) {
    (void)state;
    struct chat chat;
    struct options options;
    struct err err = {0};
    struct model_facts bad = {.fault = "key x: found 3, expected 4"};
    begin(&chat, &options, FIRST);
    assert_int_equal(chat_use_model(&chat, FIRST, &small, &err), STATUS_USAGE);
    assert_int_equal(chat_use_model(&chat, SECOND, &bad, &err), STATUS_MODEL);
    assert_string_equal(err.text, "qwen2-f16.gguf: key x: found 3, expected 4");
    assert_int_equal(chat_use_named(&chat, "/nowhere.gguf", &err), STATUS_MODEL);
    still_the_first(&chat);
    assert_int_equal(chat_use_named(&chat, SECOND, &err), STATUS_OK); /* by its path */
    pump_until(&chat, settled, "the other model");
    assert_string_equal(chat.model_path, SECOND);
    end(&chat, &options);
}

static bool gone(const struct chat *chat) {
    return chat->state == CHAT_FAILED;
}

/* A kept chat and a model that cannot be loaded: nothing is asked of a tokenizer that is not there. */
static void test_a_chat_without_a_model(void **state) {
    (void)state;
    struct options options = {.device = "cpu", .n_threads = 1};
    settings_defaults(&options.settings);
    char *broken = broken_file();
    options.chosen_model = xstrdup(broken);
    struct engine_options engine = options_engine(&options, broken);
    struct chat chat;
    chat_open(&chat, engine_local(&engine), &options);
    conversation_add(&chat.conversation, SAID_BY_USER, "why?", 4);
    struct said *answer = conversation_add(&chat.conversation, SAID_BY_MODEL, "", 0);
    answer->vocabulary = 7;
    said_append_kept(answer, &(struct kept_token){.id = 3, .rank = 1}, "So", 2);
    pump_until(&chat, gone, "the bad news");
    struct slash_result result = {0};
    struct err err = {0};
    assert_int_equal(slash_run(&chat, "/tokens", 7, &result, &err), STATUS_OK);
    assert_false(token_page_next(result.tokens, &result.page));
    assert_non_null(strstr(result.page.data, "\"So\"")); /* its text is known */
    slash_result_free(&result);
    assert_int_equal(slash_run(&chat, "/tokens 1", 9, &result, &err), STATUS_USAGE);
    slash_result_free(&result);
    struct inspect inspect = {0};
    struct buf box = {0};
    inspect_open(&inspect, &chat);
    assert_int_equal(inspect_enter(&inspect, &err), STATUS_OK);
    inspect_update(&inspect);
    assert_int_equal(inspect_typed(&inspect, "Because", 7, &box, &err), STATUS_USAGE);
    inspect_close(&inspect);
    unlink(broken);
    end(&chat, &options);
}

/* What another model said is told by its own words, not by what its ids mean to this one. */
static void test_tokens_of_another_model(void **state) {
    (void)state;
    struct chat chat;
    struct options options;
    struct err err = {0};
    struct slash_result mine = {0}, others = {0};
    begin(&chat, &options, FIRST);
    ask(&chat, "hello");
    assert_int_equal(slash_run(&chat, "/tokens", 7, &mine, &err), STATUS_OK);
    struct said *answer = conversation_leaf(&chat.conversation);
    answer->vocabulary++;
    answer->tokens[0].id = (answer->tokens[0].id + 1) % 256;
    assert_int_equal(slash_run(&chat, "/tokens", 7, &others, &err), STATUS_OK);
    assert_false(token_page_next(mine.tokens, &mine.page));
    assert_false(token_page_next(others.tokens, &others.page));
    assert_string_equal(mine.page.data, others.page.data);
    slash_result_free(&mine);
    slash_result_free(&others);
    assert_int_equal(slash_run(&chat, "/tokens 1", 9, &mine, &err), STATUS_USAGE);
    slash_result_free(&mine);
    end(&chat, &options);
}

/* However many there are, no more is printed at once than a frame has time for; and what was said may be gone
 * by then. */
static void test_tokens_in_parts(void **state) {
    (void)state;
    enum { TOKENS = 10000, MOST = 200000 };
    struct chat chat;
    struct options options;
    struct err err = {0};
    struct slash_result result = {0};
    begin(&chat, &options, FIRST);
    struct said *answer = conversation_add(&chat.conversation, SAID_BY_MODEL, "", 0);
    answer->vocabulary = 7; /* another model's */
    for (int i = 0; i < TOKENS; i++)
        said_append_kept(answer, &(struct kept_token){.id = i % 256, .rank = 1}, "word ", 5);
    assert_int_equal(slash_run(&chat, "/tokens", 7, &result, &err), STATUS_OK);
    end(&chat, &options);
    size_t before = 0, parts = 0, lines = 0;
    for (bool more = true; more; parts++) {
        more = token_page_next(result.tokens, &result.page);
        assert_true(result.page.len > before && result.page.len < before + MOST);
        before = result.page.len;
    }
    for (const char *p = result.page.data; (p = strchr(p, '\n')); p++) lines++;
    assert_true(parts > 2);
    assert_int_equal(lines, TOKENS + 1);
    assert_non_null(strstr(result.page.data, "\n10000  \"word \""));
    slash_result_free(&result);
}

/* Leaving in the middle of it. */
static void test_closed_meanwhile(void **state) {
    (void)state;
    const struct model_facts *how[] = {&small, &huge};
    for (int i = 0; i < 2; i++) {
        struct chat chat;
        struct options options;
        begin(&chat, &options, FIRST);
        use(&chat, SECOND, how[i]);
        end(&chat, &options);
    }
}

int main(void) {
    char home[] = "/tmp/logitop-test-XXXXXX"; /* what was used is noted there */
    if (!mkdtemp(home)) return 1;
    setenv("XDG_STATE_HOME", home, 1);
    setenv("XDG_CACHE_HOME", home, 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_template_begins_a_thought),
        cmocka_unit_test(test_beside),
        cmocka_unit_test(test_in_its_place),
        cmocka_unit_test(test_broken_model),
        cmocka_unit_test(test_in_the_middle_of_an_answer),
        cmocka_unit_test(test_given_up),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_a_chat_without_a_model),
        cmocka_unit_test(test_tokens_of_another_model),
        cmocka_unit_test(test_tokens_in_parts),
        cmocka_unit_test(test_closed_meanwhile),
    };
    int failures = cmocka_run_group_tests(tests, NULL, NULL);
    char remove[64];
    snprintf(remove, sizeof remove, "rm -rf %s", home);
    return system(remove) ? 1 : failures;
}
