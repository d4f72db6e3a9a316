/* Both engines through their table of functions: order of events, stops from other threads, refusals, replay.
 */
#include "tests/unit/engine_rig.h"

#include "base/clock.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct outcome {
    enum engine_reason reason;
    struct engine_stats stats;
    struct err error;
    int32_t ids[512];
    uint32_t n;
    char text[4096];
};

/* All events of a request until its end; checks their order. */
static struct outcome *finish(struct engine *engine, uint64_t id) {
    static struct outcome out;
    memset(&out, 0, sizeof out);
    uint64_t read = 0;
    for (;;) {
        struct engine_event *event = wait_event(engine);
        assert_int_equal(event->request, id);
        if (event->type == ENGINE_PROMPT) {
            assert_true(out.n == 0 && read == 0 && event->prompt.n); /* before all else */
        } else if (event->type == ENGINE_PREFILL) {
            assert_int_equal(out.n, 0); /* before all tokens, and growing */
            assert_true(event->progress.done >= read && event->progress.done <= event->progress.total);
            read = event->progress.done;
        } else if (event->type == ENGINE_TOKEN) {
            assert_int_equal(event->token.index, out.n);
            assert_true(event->token.n_text < sizeof event->token.text);
            if (out.n < 512) out.ids[out.n] = event->token.result.id;
            out.n++;
            size_t at = strlen(out.text);
            if (!event->token.end)
                snprintf(out.text + at, sizeof out.text - at, "%.*s", (int)event->token.n_text,
                         event->token.text);
        } else {
            assert_int_equal(event->type, ENGINE_DONE);
            out.reason = event->done.reason;
            out.stats = event->done.stats;
            out.error = event->error;
            return &out;
        }
    }
}

static struct outcome *ask(struct engine *engine, const struct engine_request *request) {
    submit(engine, request);
    return finish(engine, request->id);
}

/* ---- scripted ---- */

static void a_script_is_played(void **state) {
    (void)state;
    struct engine *engine =
        engine_scripted("# a demo\nmodel \"Tiny\"\ncontext 100\nload 1000 4 1\n"
                        "answer\nprompt 20 5 3 1\n"
                        "token \"Hi\" 0.25 | \" you\" 0.5 top-p | \"!\\x21\" 0.125\nend \"<|end|>\" 0.9\n"
                        "answer\nsay \"one two three\"\ndone error \"no more\"\n"
                        "answer\nmoved \"gone\" \"abacus\"\nsay \"one two\"\n"
                        "answer\nlost \"gone\"\n");
    wait_ready(engine);
    assert_string_equal(engine->ops->info(engine)->model_name, "Tiny");
    struct engine_request request = raw_request(1, "hello", 0);
    request.top_k = 2;
    submit(engine, &request);
    struct engine_event *event;
    uint64_t read = 0;
    assert_int_equal(wait_event(engine)->type, ENGINE_PROMPT);
    while ((event = wait_event(engine))->type == ENGINE_PREFILL) read = event->progress.done;
    assert_int_equal(read, 15);
    const struct step_result *r = &event->token.result;
    assert_int_equal(r->n_top, 2);
    assert_int_equal(r->rank, 2);
    assert_int_equal(r->top[1].id, r->id);
    assert_true(r->prob > 0.66f && r->prob < 0.67f && r->top[0].prob == 0 && r->top[0].cut == STAGE_TOP_P);
    size_t len;
    assert_string_equal(engine->ops->token_text(engine, 2, &len), "!!");
    event = wait_event(engine);
    assert_true(event->token.end && engine->ops->token_is_control(engine, event->token.result.id));
    event = wait_event(engine);
    assert_int_equal(event->done.reason, ENGINE_END);
    assert_int_equal(event->done.stats.tokens, 1);
    assert_int_equal(event->done.stats.cached_tokens, 5);
    request.id = 2;
    struct outcome *out = ask(engine, &request);
    assert_string_equal(out->text, "one two three");
    assert_int_equal(out->reason, ENGINE_ERROR);
    assert_string_equal(out->error.text, "no more");
    request.id = 3;
    submit(engine, &request);
    assert_int_equal(wait_event(engine)->type, ENGINE_PROMPT);
    while ((event = wait_event(engine))->type == ENGINE_PREFILL) {}
    assert_int_equal(event->type, ENGINE_NOTICE);
    assert_string_equal(event->error.text, "gone");
    while ((event = wait_event(engine))->type == ENGINE_LOADING) assert_int_equal(event->request, 3);
    assert_int_equal(event->type, ENGINE_READY);
    assert_string_equal(engine->ops->info(engine)->device, "abacus");
    out = finish(engine, 3);
    assert_string_equal(out->text, "one two");
    request.id = 4;
    out = ask(engine, &request);
    assert_int_equal(out->error.code, STATUS_DEVICE);
    assert_int_equal(wait_event(engine)->type, ENGINE_FAILED);
    struct err err;
    request.id = 5;
    assert_int_equal(engine->ops->submit(engine, &request, &err), STATUS_BUSY);
    engine->ops->close(engine);
}

static void a_script_can_be_stopped_and_limited(void **state) {
    (void)state;
    struct engine *engine = engine_scripted(
        "context 30\nanswer\nprompt 10 0\ndelay 5\nsay \"a b c d e f g h i j k l m n o p q r s t u v\"");
    wait_ready(engine);
    struct engine_request request = raw_request(1, "x", 3);
    struct outcome *out = ask(engine, &request);
    assert_int_equal(out->reason, ENGINE_LIMIT);
    assert_int_equal(out->n, 3);
    request.id = 2;
    request.n_predict = 0;
    out = ask(engine, &request);
    assert_int_equal(out->reason, ENGINE_CONTEXT_FULL);
    assert_int_equal(out->n, 20);
    request.id = 3;
    submit(engine, &request);
    struct err err;
    request.id = 4;
    assert_int_equal(engine->ops->submit(engine, &request, &err), STATUS_BUSY);
    engine->ops->stop(engine, 2); /* long over */
    while (wait_event(engine)->type != ENGINE_TOKEN) {}
    engine->ops->stop(engine, 3);
    struct engine_event *event;
    while ((event = wait_event(engine))->type == ENGINE_TOKEN) {}
    assert_int_equal(event->done.reason, ENGINE_STOPPED);
    engine->ops->close(engine);
}

static void wrong_scripts_are_refused_with_their_line(void **state) {
    (void)state;
    const char *const wrong[][2] = {{"\ntokin \"a\" 1", "line 2: found \"tokin\""},
                                    {"token \"a\"", "a probability"},
                                    {"token \"a\" 0.5 top-q", "the name of a sampler"},
                                    {"say \"a", "a closing quote"},
                                    {"say \"\\q\"", "after a backslash"},
                                    {"prompt 5 9", "how many of them"},
                                    {"done soon", "end, limit"},
                                    {"delay 5 6", "the end of the line"},
                                    {"token \"a\" 0.5 | \"a\" 0.2", "candidates that differ"},
                                    {"fail \"no file\"", "no file"}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct engine *engine = engine_scripted(wrong[i][0]);
        struct engine_event *event = wait_event(engine);
        assert_int_equal(event->type, ENGINE_FAILED);
        if (!strstr(event->error.text, wrong[i][1])) fail_msg("%s: %s", wrong[i][0], event->error.text);
        engine->ops->close(engine);
    }
}

static void a_load_can_be_cancelled(void **state) {
    (void)state;
    struct engine *engine = engine_scripted("load 100 1000 50");
    while (wait_event(engine)->type != ENGINE_LOADING) {}
    engine->ops->stop(engine, 0);
    struct engine_event *event;
    while ((event = wait_event(engine))->type == ENGINE_LOADING) {}
    assert_int_equal(event->type, ENGINE_FAILED);
    assert_int_equal(event->error.code, STATUS_STOPPED);
    engine->ops->close(engine);
    engine = engine_scripted("load 100 1000 50"); /* close() alone does, too */
    engine->ops->close(engine);
}

/* ---- local ---- */

static struct engine *open_nano(uint32_t n_ctx) {
    struct engine_options options = {
        .model = NANO, .device = "cpu", .n_threads = 1, .n_ctx = n_ctx, .exact = true};
    struct engine *engine = engine_local(&options);
    wait_ready(engine);
    return engine;
}

static void a_model_answers(void **state) {
    (void)state;
    struct engine *engine = open_nano(64);
    const struct engine_info *info = engine->ops->info(engine);
    assert_string_equal(info->architecture, "qwen2");
    assert_int_equal(info->context_size, 64);
    struct engine_request request = raw_request(1, "the cat", 12);
    struct outcome first = *ask(engine, &request);
    assert_int_equal(first.stats.context_size, 64);
    assert_int_equal(first.stats.cached_tokens, 0);
    assert_true(first.stats.first_token_seconds > 0);
    if (first.reason == ENGINE_LIMIT) assert_int_equal(first.n, 12);
    request.id = 2; /* the same seed: the same answer, from the cache */
    struct outcome again = *ask(engine, &request);
    assert_int_equal(again.stats.cached_tokens, again.stats.prompt_tokens - 1);
    assert_int_equal(first.n, again.n);
    assert_memory_equal(first.ids, again.ids, first.n * sizeof *first.ids);
    request.id = 3;
    request.sampling.seed = 99;
    request.sampling.temperature = 2;
    request.sampling.top_p = 1;
    request.sampling.min_p = 0;
    struct outcome other = *ask(engine, &request);
    assert_memory_not_equal(first.ids, other.ids, 8 * sizeof *first.ids);
    request = raw_request(4,
                          "a b c d e f g h i j k l m n o p q r s t u v w x y z a b c d e f g h i j k l m n o "
                          "p q r s t u v w x y z",
                          0);
    struct outcome *full = ask(engine, &request);
    assert_int_equal(full->reason, ENGINE_CONTEXT_FULL);
    assert_int_equal(full->error.code, STATUS_CONTEXT_FULL);
    request = raw_request(5, "", 3);
    struct outcome *empty = ask(engine, &request);
    if (empty->reason == ENGINE_ERROR) assert_int_equal(empty->error.code, STATUS_USAGE);
    assert_true(engine->ops->count_tokens(engine, "the cat", 7) > 0);
    size_t len;
    engine->ops->token_text(engine, -1, &len);
    assert_int_equal(len, 0);
    engine->ops->close(engine);
}

static void what_cannot_be_loaded_is_told(void **state) {
    (void)state;
    struct engine_options wrong[] = {{.model = TEST_DATA "/no-such-file.gguf", .device = "cpu"},
                                     {.model = NANO, .device = "abacus"},
                                     {.model = NANO, .device = "cpu", .n_ctx = 2000000000}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct engine *engine = engine_local(&wrong[i]);
        struct engine_event *event;
        while ((event = wait_event(engine))->type == ENGINE_LOADING) {}
        assert_int_equal(event->type, ENGINE_FAILED);
        assert_true(event->error.text[0] != '\0');
        engine->ops->close(engine);
    }
    struct engine *engine = engine_local(&wrong[0]); /* closed before it could say so */
    engine->ops->close(engine);
}

static void unknown_requests_are_refused(void **state) {
    (void)state;
    struct engine *engine = open_nano(32);
    struct err err;
    struct engine_request request = raw_request(0, "x", 1);
    assert_int_equal(engine->ops->submit(engine, &request, &err), STATUS_USAGE);
    request = raw_request(1, "x", 1);
    request.top_k = CANDIDATES_MAX + 1;
    assert_int_equal(engine->ops->submit(engine, &request, &err), STATUS_USAGE);
    struct message message = {"narrator", "x", 1, NULL, 0}; /* a role nobody knows, or no template at all */
    request = (struct engine_request){.id = 2, .messages = &message, .n_messages = 1, .continue_last = true};
    sampling_defaults(&request.sampling);
    struct outcome *out = ask(engine, &request);
    assert_int_equal(out->reason, ENGINE_ERROR);
    engine->ops->close(engine);
}

/* ---- templates ---- */

/* An engine with a template of our own. */
static struct engine *open_with_template(const char *model, const char *text) {
    char path[] = "/tmp/logitop-test-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    close(fd);
    struct engine_options options = {
        .model = model, .device = "cpu", .n_threads = 2, .n_ctx = 256, .exact = true, .chat_template = path};
    struct engine *engine = engine_local(&options);
    wait_ready(engine);
    unlink(path);
    return engine;
}

/* Everything that is known of an answer. */
struct answer {
    struct step_result results[16];
    uint32_t n;
    struct engine_stats stats;
};

static struct answer *ask_all(struct engine *engine, const struct engine_request *request) {
    static struct answer answers[2];
    static int turn;
    struct answer *answer = &answers[turn = !turn];
    memset(answer, 0, sizeof *answer);
    submit(engine, request);
    for (;;) {
        struct engine_event *event = wait_event(engine);
        if (event->type == ENGINE_TOKEN) {
            const struct step_result *from = &event->token.result;
            assert_true(answer->n < 16);
            memcpy(&answer->results[answer->n++], from,
                   offsetof(struct step_result, top) + from->n_top * sizeof *from->top);
        } else if (event->type == ENGINE_DONE) {
            if (event->done.reason == ENGINE_ERROR) fail_msg("%s", event->error.text);
            answer->stats = event->done.stats;
            return answer;
        }
    }
}

static struct engine_request chat_request(uint64_t id, const struct message *messages, size_t n) {
    struct engine_request request = raw_request(id, "", 12);
    request.raw = NULL;
    request.messages = messages;
    request.n_messages = n;
    return request;
}

/* The template leaves old thinking out: what stands before it is used again, and the answer is that of an
 * engine that never saw the thinking, to the last bit. */
static void dropped_thinking_keeps_the_prefix(void **state) {
    (void)state;
    static const char drops[] = "{% for m in messages %}{{ m.role }}:\n{{ m.content.split('</think>')[-1] if "
                                "m.role == 'assistant' else "
                                "m.content }}\n{% endfor %}assistant:\n";
    static const char *const models[] = {NANO, TEST_DATA "/nano/llama-smol-q4_1.gguf",
                                         TEST_DATA "/nano/qwen3-q8_0.gguf",
                                         THIRD_PARTY "/SmolLM2-135M-Instruct.Q4_1.gguf"};
    static const char thought[] = "<think>the cat is a cat and not a dog</think>yes";
    const struct message messages[] = {{"user", "is the cat a cat", 16, NULL, 0},
                                       {"assistant", thought, strlen(thought), NULL, 0},
                                       {"user", "and the dog", 11, NULL, 0}};
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        if (access(models[i], R_OK)) {
            print_message("left out: no %s\n", models[i]);
            continue;
        }
        struct engine *engine = open_with_template(models[i], drops),
                      *fresh = open_with_template(models[i], drops);
        struct engine_request request = chat_request(1, messages, 1);
        uint32_t before = ask_all(engine, &request)->stats.prompt_tokens; /* up to where the answer begins */
        request = chat_request(2, messages, 2);
        request.continue_last = true;
        struct answer *thinking = ask_all(engine, &request);
        assert_true(thinking->stats.prompt_tokens > before + 5);
        request = chat_request(3, messages, 3);
        struct answer *again = ask_all(engine, &request), *wanted = ask_all(fresh, &request);
        assert_int_equal(again->stats.cached_tokens, before);
        assert_true(again->stats.prompt_tokens > before + 1);
        assert_int_equal(wanted->stats.cached_tokens, 0);
        assert_int_equal(again->stats.prompt_tokens, wanted->stats.prompt_tokens);
        assert_true(again->n > 0);
        assert_int_equal(again->n, wanted->n);
        assert_memory_equal(again->results, wanted->results, sizeof again->results);
        engine->ops->close(engine);
        fresh->ops->close(fresh);
    }
}

/* The date and the variables are those of the request: the same ones make the same prompt, whatever the clock
 * says. */
static void a_request_brings_date_and_variables(void **state) {
    (void)state;
    struct engine *engine = open_with_template(NANO, "{{ strftime_now('%d %m %Y') }}{% if tall %} very "
                                                     "tall{% endif %}{% for m in messages %} {{ m.content }}"
                                                     "{% endfor %}");
    const struct message message = {"user", "the cat", 7, NULL, 0};
    struct engine_request request = chat_request(1, &message, 1);
    request.began = 1000000000;
    uint32_t n = ask_all(engine, &request)->stats.prompt_tokens;
    request.id = 2;
    assert_int_equal(ask_all(engine, &request)->stats.cached_tokens, n - 1);
    request.id = 3;
    request.began += 400 * 86400; /* another day, month and year */
    assert_true(ask_all(engine, &request)->stats.cached_tokens < n - 1);
    request.id = 4;
    request.template_variables = "{\"tall\": true}";
    assert_true(ask_all(engine, &request)->stats.prompt_tokens > n);
    request.id = 5;
    request.template_variables = NULL;
    assert_int_equal(ask_all(engine, &request)->stats.prompt_tokens, n);
    request.id = 6;
    request.template_variables = "[]";
    struct outcome *out = ask(engine, &request);
    assert_int_equal(out->reason, ENGINE_ERROR);
    assert_non_null(strstr(out->error.text, "template variables"));
    request.id = 7;
    request.began = INT64_MAX; /* no calendar has it */
    request.template_variables = NULL;
    assert_int_equal(ask(engine, &request)->reason, ENGINE_LIMIT);
    engine->ops->close(engine);
}

/* Another thread stops whatever it is told to, at any moment, and now and then something that is over. */
struct stopper {
    struct engine *engine;
    _Atomic uint64_t request;
    atomic_bool quit;
};

static void *stop_now_and_then(void *arg) {
    struct stopper *stopper = arg;
    uint32_t x = 1;
    while (!atomic_load(&stopper->quit)) {
        x = x * 1664525u + 1013904223u;
        struct pollfd none = {.fd = -1};
        poll(&none, 1, (int)(x >> 24) % 4);
        uint64_t request = atomic_load(&stopper->request);
        if (x >> 16 & 1)
            stopper->engine->ops->stop(stopper->engine, request);
        else if (request > 1)
            stopper->engine->ops->stop(stopper->engine, request - 1);
    }
    return NULL;
}

static void stops_hit_only_what_they_name(void **state) {
    (void)state;
    struct engine *engine = open_nano(256);
    struct stopper stopper = {.engine = engine};
    const char *const prompts[] = {"one two three four five six seven", "one two three FOUR",
                                   "something else entirely"};
    struct outcome wanted[3];
    for (uint32_t i = 0; i < 3; i++) {
        struct engine_request request = raw_request(1 + i, prompts[i], 40);
        wanted[i] = *ask(engine, &request);
    }
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, stop_now_and_then, &stopper), 0);
    uint32_t reasons[ENGINE_ERROR + 1] = {0};
    for (uint64_t id = 10; id < 160; id++) {
        struct engine_request request = raw_request(id, prompts[id % 3], 40);
        submit(engine, &request);
        if (id % 2) atomic_store(&stopper.request, id); /* the even ones are never named */
        struct outcome *out = finish(engine, id);
        reasons[out->reason]++;
        assert_true(out->reason == ENGINE_STOPPED || out->reason == wanted[id % 3].reason);
        if (id % 2 == 0) assert_true(out->reason != ENGINE_STOPPED);
        assert_memory_equal(out->ids, wanted[id % 3].ids, out->n * sizeof *out->ids); /* as far as it came */
        if (out->reason != ENGINE_STOPPED) assert_int_equal(out->n, wanted[id % 3].n);
    }
    atomic_store(&stopper.quit, true);
    pthread_join(thread, NULL);
    assert_true(reasons[ENGINE_STOPPED] > 0);
    struct engine_request request = raw_request(1000, prompts[0], 40); /* closed in the middle of an answer */
    submit(engine, &request);
    engine->ops->close(engine);
}

/* In the middle of a long prompt of a real model, too; and what was read by then is not read again. */
static void a_stop_is_seen_soon(void **state) {
    (void)state;
    struct engine_options options = {.model = THIRD_PARTY "/SmolLM2-135M-Instruct.Q4_1.gguf",
                                     .device = "cpu"};
    FILE *file = fopen(options.model, "rb");
    if (!file) {
        print_message("skipped: no %s\n", options.model);
        skip();
    }
    fclose(file);
    struct engine *engine = engine_local(&options);
    wait_ready(engine);
    static char text[12000];
    for (size_t i = 0; i + 6 < sizeof text; i += 6) memcpy(text + i, i % 5 ? " hello" : " world", 6);
    struct engine_request request = raw_request(1, text, 1);
    submit(engine, &request);
    uint32_t steps = 0;
    int64_t begin = clock_ns();
    for (uint64_t read = 0; read < 300; steps++) { /* more than a chunk */
        struct engine_event *event = wait_event(engine);
        if (event->type == ENGINE_PROMPT) continue;
        assert_true(event->type == ENGINE_PREFILL && event->progress.done >= read);
        read = event->progress.done;
    }
    assert_true(steps >= 6 ||
                clock_ns() - begin < 400000000); /* it moves within a chunk, unless that is over at once */
    begin = clock_ns();
    engine->ops->stop(engine, 1);
    struct outcome *out = finish(engine, 1);
    double ms = (double)(clock_ns() - begin) * 1e-6;
    print_message("stopped in %.1f ms after %u of %u tokens\n", ms, out->stats.context_used,
                  out->stats.prompt_tokens);
    assert_int_equal(out->reason, ENGINE_STOPPED);
    assert_int_equal(out->n, 0);
    uint32_t kept = out->stats.context_used;
    assert_true(kept >= 256);
    request.id = 2;
    submit(engine, &request);
    while (wait_event(engine)->type != ENGINE_PREFILL) {}
    engine->ops->stop(engine, 2);
    assert_int_equal(finish(engine, 2)->stats.cached_tokens, kept);
    engine->ops->close(engine);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_script_is_played),
        cmocka_unit_test(a_script_can_be_stopped_and_limited),
        cmocka_unit_test(wrong_scripts_are_refused_with_their_line),
        cmocka_unit_test(a_load_can_be_cancelled),
        cmocka_unit_test(a_model_answers),
        cmocka_unit_test(what_cannot_be_loaded_is_told),
        cmocka_unit_test(unknown_requests_are_refused),
        cmocka_unit_test(dropped_thinking_keeps_the_prefix),
        cmocka_unit_test(a_request_brings_date_and_variables),
        cmocka_unit_test(stops_hit_only_what_they_name),
        cmocka_unit_test(a_stop_is_seen_soon),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
