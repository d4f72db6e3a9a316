/* Time travel proven by numbers: random walks of asking, picking, typing, editing, answering again, undoing
 * and switching over a chat with a model. After every walk another process, which was given nothing but the
 * ids of the path, computes them anew, and then goes on. All that is known of every token on the path - id,
 * logits, log-sum-exp, entropy, rank - is what it tells, bit for bit, and so is what the chat says next: with
 * `exact` and on the fast path. That process is this program: test_walks --fresh MODEL. */
#include "tests/golden/golden.h"

#include "app/chat.h"
#include "base/mem.h"
#include "base/strmap.h"
#include "infer/request_ids.h"
#include "kernels/cpu/sample.h"

#include <errno.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

/* What the sanitizers look for shows in few walks: the numbers are the same. */
#ifdef __SANITIZE_ADDRESS__
enum { SLOW = 10 };
#else
enum { SLOW = 1 };
#endif
enum { CONTEXT = 512, TOP = 8, ANSWER = 3 /* tokens */ };

/* ---- all logits of what is sampled, by what was read before ---- */

struct seen {
    uint64_t history, logits; /* hashes */
};

static struct seen *seen; /* written by the thread that samples, read when it has nothing to do */
static size_t n_seen;
static bool seen_differs; /* the same ids gave other logits */
static uint32_t n_vocab;

static uint64_t hash_ids(const int32_t *ids, size_t n) {
    return hash_bytes(ids, n * sizeof *ids, n);
}

static uint64_t hash_logits(const float *logits) {
    return hash_bytes(logits, n_vocab * sizeof *logits, 0);
}

static const struct seen *seen_at(uint64_t history) {
    for (size_t i = 0; i < n_seen; i++)
        if (seen[i].history == history) return &seen[i];
    return NULL;
}

int __real_sample_position(struct sample_scratch *scratch, const struct sample_request *request,
                           struct step_result *out, struct err *err);
int __wrap_sample_position(struct sample_scratch *scratch, const struct sample_request *request,
                           struct step_result *out, struct err *err);

int __wrap_sample_position(struct sample_scratch *scratch, const struct sample_request *request,
                           struct step_result *out, struct err *err) {
    if (request->sampling) {
        struct seen now = {hash_ids(request->history, request->n_history), hash_logits(request->logits)};
        const struct seen *before = seen_at(now.history);
        if (before) {
            seen_differs |= before->logits != now.logits;
        } else {
            seen = xrealloc(seen, (n_seen + 1) * sizeof *seen);
            seen[n_seen++] = now;
        }
    }
    return __real_sample_position(scratch, request, out, err);
}

/* ---- the other process ---- */

struct fresh_request { /* ids [n] follow */
    bool exact;
    uint32_t from, n; /* of tokens before `from` nothing is asked */
    struct sampling sampling;
};

/* [n + 1] come back: of the token at each position from `from` on, and of the one that comes next. */
struct fresh_result {
    struct step_result result;
    uint64_t logits; /* their hash */
};

static int keep_result(void *ctx, const struct step_result *result, const float *logits) {
    struct fresh_result *fresh = ctx;
    fresh[result->position + 1] = (struct fresh_result){*result, hash_logits(logits)};
    return 0;
}

static void transfer(int fd, void *data, size_t size, bool in) {
    for (char *at = data; size;) {
        ssize_t n = in ? read(fd, at, size) : write(fd, at, size);
        if (n <= 0)
            fail_msg("%zu bytes were not %s: %s", size, in ? "read" : "written",
                     n ? strerror(errno) : "the end");
        at += n;
        size -= (size_t)n;
    }
}

/* Standard input has a request, standard output gets the results. The path is read from its beginning and
 * then gone on with: nothing here looks for what is known already, cuts a timeline or copies one. */
static int answer_fresh(const char *path) {
    struct fresh_request request;
    int32_t ids[CONTEXT];
    struct model *model;
    struct backend *backend;
    struct timeline *timeline;
    struct decode *decode;
    struct err err = {0};
    const struct backend_ops *ops = &backend_cpu;
    transfer(STDIN_FILENO, &request, sizeof request, true);
    transfer(STDIN_FILENO, ids, request.n * sizeof *ids, true);
    struct backend_options options = {.n_threads = 1, .n_ctx = CONTEXT, .exact = request.exact};
    must(model_open(path, MODEL_WHOLE, &model, &err), &err, path);
    must(ops->open(model_view(model), &options, NULL, NULL, &backend, &err), &err, path);
    must(ops->timeline_new(backend, CONTEXT, &timeline, &err), &err, "timeline");
    n_vocab = model_view(model)->n_vocab;
    struct fresh_result *fresh = xcalloc(request.n + 1, sizeof *fresh);
    struct step_request read = {.ids = ids, .n = request.from - 1};
    must(ops->step(timeline, &read, &err), &err, "step");
    struct step_request ask = {.ids = ids + request.from - 1,
                               .n = request.n - request.from,
                               .wanted = WANT_ALL,
                               .top_k = TOP,
                               .logits = true,
                               .targets = ids + request.from,
                               .on_result = keep_result,
                               .ctx = fresh};
    must(ops->step(timeline, &ask, &err), &err, "step");
    struct decode_request next = {
        .id = ids[request.n - 1], .sampling = request.sampling, .top_k = TOP, .limit = 1};
    must(ops->decode_begin(timeline, &next, &decode, &err), &err, "decode");
    must(ops->decode_next(decode, &fresh[request.n].result, &err), &err, "decode");
    fresh[request.n].logits = seen[0].logits;
    ops->decode_end(decode, request.n);
    transfer(STDOUT_FILENO, fresh, (request.n + 1) * sizeof *fresh, false);
    free(fresh);
    free(seen);
    ops->timeline_free(timeline);
    ops->close(backend);
    model_close(model);
    return 0;
}

static struct fresh_result *ask_fresh(const char *path, const struct fresh_request *request,
                                      const int32_t *ids) {
    int to[2], from[2], status;
    pid_t pid;
    posix_spawn_file_actions_t files;
    if (pipe(to) || pipe(from)) fail_msg("pipe: %s", strerror(errno));
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_adddup2(&files, to[0], STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&files, from[1], STDOUT_FILENO);
    posix_spawn_file_actions_addclose(&files, to[1]); /* or it would wait for what it does not write itself */
    posix_spawn_file_actions_addclose(&files, from[0]);
    char *argv[] = {"test_walks", "--fresh", (char *)path, NULL};
    int failed = posix_spawn(&pid, "/proc/self/exe", &files, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&files);
    if (failed) fail_msg("spawn: %s", strerror(failed));
    close(to[0]);
    close(from[1]);
    struct fresh_result *fresh = xcalloc(request->n + 1, sizeof *fresh);
    transfer(to[1], (void *)request, sizeof *request, false);
    transfer(to[1], (void *)ids, request->n * sizeof *ids, false);
    close(to[1]);
    transfer(from[0], fresh, (request->n + 1) * sizeof *fresh, true);
    close(from[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    return fresh;
}

/* ---- a walk ---- */

struct walk {
    struct chat chat;
    const char *path;
    struct model *model; /* its tokenizer, for the ids of the path */
    struct chat_template *chat_template;
    bool exact;
    uint64_t random;
    unsigned n_checked, n_next, n_picks,
        n_split; /* tokens compared, said next; picks; tokens that split a character */
};

static uint32_t draw(struct walk *walk, size_t n) {
    walk->random = walk->random * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((walk->random >> 33) % n);
}

static bool walk_open(struct walk *walk, const char *path, bool exact, uint64_t seed) {
    struct err err = {0};
    *walk = (struct walk){.path = path, .exact = exact, .random = seed};
    if (model_open(path, MODEL_VOCABULARY, &walk->model, &err) < 0) {
        print_message("skipped: %s\n", err.text);
        return false;
    }
    struct chat_template_source source = {.file = path};
    chat_template_source_fill(&source, model_tokenizer(walk->model), model_chat_template(walk->model));
    walk->chat_template = chat_template_new(&source);
    n_vocab = tokenizer_n_vocab(model_tokenizer(walk->model));
    struct options options = {0};
    settings_defaults(&options.settings);
    options.settings.sampling.seed = seed;
    options.settings.top = TOP;
    options.settings.n_predict = ANSWER;
    struct engine_options engine = {
        .model = path, .device = "cpu", .n_threads = 2, .n_ctx = CONTEXT, .exact = exact};
    chat_open(&walk->chat, engine_local(&engine), &options);
    return true;
}

static void walk_close(struct walk *walk) {
    chat_close(&walk->chat);
    chat_template_free(walk->chat_template);
    model_close(walk->model);
    free(seen);
    seen = NULL;
    n_seen = 0;
}

static void wait_idle(struct walk *walk) {
    struct chat *chat = &walk->chat;
    for (chat_pump(chat); chat_busy(chat) || chat->state == CHAT_LOADING; chat_pump(chat)) {
        struct pollfd fd = {.fd = chat->engine->ops->wake_fd(chat->engine), .events = POLLIN};
        if (poll(&fd, 1, 60000) < 0) fail_msg("poll");
    }
    if (chat->state != CHAT_IDLE || chat->error.code) fail_msg("%s", chat->error.text);
    assert_false(seen_differs);
}

/* A token as it was said, behind ids[0..n), and as another process computes it. */
static void compare(struct walk *walk, const struct kept_token *kept, const struct fresh_result *fresh,
                    const int32_t *ids, uint32_t n) {
    const struct step_result *result = &fresh->result;
    if (!kept->rank) return; /* a typed one: nothing was known */
    walk->n_checked++;
    assert_int_equal(kept->position, result->position);
    assert_true(kept->log_sum_exp == result->log_sum_exp && kept->entropy == result->entropy);
    if (!kept->end) { /* after an end the template says what comes */
        assert_int_equal(kept->id, result->id);
        assert_int_equal(kept->rank, result->rank);
        if (!kept->picked) assert_true(kept->logit == result->logit);
    }
    for (uint32_t i = 0; i < kept->n_top && i < TOP; i++) {
        kept_candidate packed = kept_candidate_pack(&result->top[i], result->log_sum_exp);
        struct candidate ours = kept_token_candidate(kept, i),
                         its = kept_candidate_unpack(packed, result->log_sum_exp);
        assert_int_equal(ours.id, its.id);
        assert_true(ours.logit == its.logit);
    }
    const struct seen *said = seen_at(hash_ids(ids, n));
    assert_non_null(said);
    assert_true(said->logits == fresh->logits);
}

/* Every token of every answer on the path. */
static void compare_path(struct walk *walk, const struct token_places *places, const struct ids *ids,
                         const struct fresh_result *fresh) {
    int32_t message = -1;
    for (size_t m = 0; m < walk->chat.conversation.n; m++) {
        const struct said *said = walk->chat.conversation.messages[m];
        if (!said_is_sent(said)) continue;
        message++;
        if (said->by != SAID_BY_MODEL || !said->n_ids) continue;
        uint32_t at = 0;
        while (at < ids->n && places->at[at].message != message) at++;
        assert_true(at + said->n_ids <= ids->n);
        for (size_t i = 0; i < said->n_tokens; i++) {
            const struct kept_token *kept = &said->tokens[i];
            if (!kept->end) assert_int_equal(ids->at[at], kept->id);
            compare(walk, kept, &fresh[at], ids->at, at);
            at += !kept->end;
        }
    }
}

/* The chat says one token more, as the other process did. */
static void compare_next(struct walk *walk, struct said *leaf, const struct ids *ids,
                         const struct fresh_result *next) {
    struct chat *chat = &walk->chat;
    struct err err = {0};
    bool there = chat->computed == leaf; /* nobody went elsewhere in the meantime */
    must(chat_go_on(chat, leaf, 1, &err), &err, "go on");
    wait_idle(walk);
    leaf = conversation_leaf(&chat->conversation); /* a copy, if others stand below it */
    const struct kept_token *said = &leaf->tokens[leaf->n_tokens - 1];
    assert_int_equal(said->id, next->result.id);
    assert_true(said->logit == next->result.logit && said->prob == next->result.prob);
    compare(walk, said, next, ids->at, (uint32_t)ids->n);
    walk->n_next++;
    if (there) assert_int_equal(chat->stats.cached_tokens + 1, chat->stats.prompt_tokens);
}

/* Where the first answer begins on the path. */
static uint32_t first_answer(const struct chat *chat, const struct token_places *places) {
    int32_t message = -1;
    for (size_t m = 0; m < chat->conversation.n; m++) {
        const struct said *said = chat->conversation.messages[m];
        message += said_is_sent(said);
        if (said->by == SAID_BY_MODEL) break;
    }
    uint32_t at = 0;
    while (places->at[at].message != message) at++;
    return at;
}

/* What the path is for the engine, computed from nothing. */
static void check(struct walk *walk) {
    struct chat *chat = &walk->chat;
    struct said *last = conversation_leaf(&chat->conversation);
    if (!last || last->by != SAID_BY_MODEL || !last->n_ids) return;
    struct engine_request request = {.kind = REQUEST_SCORE, .continue_last = true, .began = chat->began};
    struct message *messages = conversation_messages(&chat->conversation, &request.n_messages);
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
    struct fresh_request ask = {.exact = walk->exact,
                                .from = first_answer(chat, &places),
                                .n = n,
                                .sampling = chat->settings.sampling};
    struct fresh_result *fresh = ask_fresh(walk->path, &ask, ids.at);
    compare_path(walk, &places, &ids, fresh);
    if (!last->tokens[last->n_tokens - 1].end) compare_next(walk, last, &ids, &fresh[n]);
    free(fresh);
    ids_free(&ids);
    token_places_free(&places);
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
    walks = (walks + SLOW - 1) / SLOW;
    for (unsigned w = 0; w < walks; w++) {
        for (unsigned s = 0; s < steps; s++) {
            must(step(&walk, &err), &err, "step");
            wait_idle(&walk);
        }
        check(&walk);
        if (w % 5 == 4) chat_new(&walk.chat, NULL);
    }
    print_message(
        "%s%s: %u walks, %u tokens compared, %u said next, %u picks, %u tokens that split a character\n",
        strrchr(path, '/') + 1, exact ? ", exact" : "", walks, walk.n_checked, walk.n_next, walk.n_picks,
        walk.n_split);
    assert_true(walk.n_checked > walks * steps && walk.n_next > walks / 2 && (walk.n_picks > 0 || SLOW > 1));
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
    run(THIRD_PARTY "/SmolLM2-135M-Instruct.Q4_1.gguf", false, 10, 2);
}

int main(int argc, char **argv) {
    if (argc == 3 && strcmp(argv[1], "--fresh") == 0) return answer_fresh(argv[2]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(walks_of_nano_models),
        cmocka_unit_test(walks_of_the_default_model),
        cmocka_unit_test(walks_on_the_fast_path),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
