/* tokenize, logits, trace and score on nano models: what they write is what the goldens hold. */
#include "infer/tools.h"
#include "tests/golden/golden.h"

#include <unistd.h>

static char path[64];

static struct engine_options engine_for(const char *name, char file[static 512]) {
    snprintf(file, 512, "%s/nano/%s.gguf", TEST_DATA, name);
    return (struct engine_options){.model = file, .device = "cpu", .n_threads = 1, .exact = true};
}

static struct gguf *open_output(void) {
    struct gguf *file;
    struct err err;
    must(gguf_open(path, GGUF_WHOLE, NULL, &file, &err), &err, path);
    must(gguf_map(file, &err), &err, path);
    return file;
}

/* Every tensor of the golden is there, in its shape, within 1e-4 of its norm. */
static void compare(const struct gguf *golden, const struct gguf *ours) {
    assert_int_equal(gguf_n_tensors(golden), gguf_n_tensors(ours));
    for (size_t i = 0; i < gguf_n_tensors(golden); i++) {
        const struct gguf_tensor *a = gguf_tensor_at(golden, i), *b = gguf_tensor(ours, a->name);
        if (!b) fail_msg("missing: %s", a->name);
        assert_int_equal(a->n_dims, b->n_dims);
        assert_memory_equal(a->dims, b->dims, sizeof a->dims);
        const double off = relative(b->data, a->data, a->n_elements);
        if (!(off <= 1e-4)) fail_msg("%s: off by %g of its norm", a->name, off);
    }
}

static void check_output(const char *name, bool trace, uint32_t chunk) {
    char file[512], list[4096] = "";
    struct golden golden = golden_open(name);
    for (size_t i = 0, at = 0; i < golden.n_positions; i++)
        at += (size_t)snprintf(list + at, sizeof list - at, i ? ",%d" : "%d", golden.positions[i]);
    struct logits_options options = {.engine = engine_for(name, file),
                                     .ids = golden.prompt,
                                     .n_ids = golden.n_prompt,
                                     .positions = list,
                                     .trace = trace,
                                     .chunk = chunk};
    struct err err;
    must(tool_logits(&options, path, &err), &err, name);
    struct gguf *ours = open_output();
    int32_t *ids;
    uint32_t n_vocab;
    size_t n;
    compare(golden.file, ours);
    must(gguf_i32s(ours, "golden.prompt", GGUF_NEEDED, &ids, &n, &err), &err, path);
    assert_int_equal(n, golden.n_prompt);
    assert_memory_equal(ids, golden.prompt, n * sizeof *ids);
    free(ids);
    must(gguf_i32s(ours, "golden.positions", GGUF_NEEDED, &ids, &n, &err), &err, path);
    assert_int_equal(n, golden.n_positions);
    assert_memory_equal(ids, golden.positions, n * sizeof *ids);
    free(ids);
    must(gguf_u32(ours, "golden.n_vocab", GGUF_NEEDED, &n_vocab, &err), &err, path);
    assert_int_equal(n_vocab, golden.n_vocab);
    gguf_close(ours);
    golden_close(&golden);
}

static void logits_as_the_goldens(void **state) {
    (void)state;
    check_output("qwen2-deep", false, 0); /* borders of chunks up to position 1099 */
    check_output("qwen2-deep", false, 100);
    check_output("qwen3-q8_0", false, 7);
    check_output("llama3-scaled-q8_0", false, 1);
}

static void traces_as_the_goldens(void **state) {
    (void)state;
    check_output("qwen2-trace", true, 0);
    check_output("qwen3-trace", true, 0);
    check_output("llama-trace", true, 0);
}

static void positions_and_ids_are_checked(void **state) {
    (void)state;
    static const struct {
        const char *positions;
        size_t n; /* 0: refused */
    } cases[] = {{"all", 4}, {NULL, 4}, {"last", 1}, {"3", 1},  {"2,0,2", 2},
                 {"4", 0},   {"-1", 0}, {"", 0},     {"1,", 0}, {"1 2", 0}};
    char file[512];
    int32_t ids[4] = {1, 2, 3, 4};
    struct logits_options options = {.engine = engine_for("qwen2-f16", file), .ids = ids, .n_ids = 4};
    struct err err;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        options.positions = cases[i].positions;
        unlink(path);
        int status = tool_logits(&options, path, &err);
        assert_int_equal(status, cases[i].n ? STATUS_OK : STATUS_USAGE);
        assert_int_equal(access(path, F_OK) == 0, status == STATUS_OK);
        if (status) continue;
        struct gguf *ours = open_output();
        assert_int_equal(gguf_tensor(ours, "logits")->dims[1], cases[i].n);
        gguf_close(ours);
    }
    options.positions = "all";
    ids[2] = 306; /* padding */
    assert_int_equal(tool_logits(&options, path, &err), STATUS_USAGE);
    assert_non_null(strstr(err.text, "id number 2: found 306, expected 0 to 305"));
    ids[2] = -1;
    assert_int_equal(tool_logits(&options, path, &err), STATUS_USAGE);
    options.n_ids = 0;
    assert_int_equal(tool_logits(&options, path, &err), STATUS_USAGE);
    options.n_ids = 2;
    options.engine.n_ctx = 1;
    assert_int_equal(tool_logits(&options, path, &err), STATUS_CONTEXT_FULL);
    options.engine.device = "abacus";
    assert_int_equal(tool_logits(&options, path, &err), STATUS_USAGE);
    options.engine.device = "cuda:x";
    assert_int_equal(tool_logits(&options, path, &err), STATUS_USAGE);
}

static void ids_of_texts(void **state) {
    (void)state;
    char file[512];
    struct buf out = {0};
    struct err err;
    const char *texts[] = {"in the", "", "<|im_start|>in<think>"};
    const size_t lens[] = {6, 0, 21};
    struct engine_options engine = engine_for("qwen2-f16", file);
    must(tool_tokenize(engine.model, false, texts, lens, 3, &out, &err), &err, file);
    int32_t in, the;
    assert_int_equal(sscanf(out.data, "[%d,%d]\n", &in, &the), 2);
    char expected[128];
    snprintf(expected, sizeof expected, "[%d,%d]\n[]\n[302,%d,304]\n", in, the, in);
    assert_string_equal(out.data, expected);
    buf_clear(&out);
    must(tool_tokenize(engine.model, true, texts + 2, lens + 2, 1, &out, &err), &err, file);
    assert_null(strstr(out.data, "302"));
    assert_non_null(strstr(out.data, ",304]\n"));
    buf_free(&out);
}

/* Scores are the logits' own: the same numbers by another way. */
static void scores_are_log_probabilities(void **state) {
    (void)state;
    static const char text[] = "in the on and of to";
    char file[512];
    struct engine_options engine = engine_for("qwen2-f16", file);
    struct scores scores;
    struct err err;
    must(tool_score(&engine, text, strlen(text), &scores, &err), &err, file);
    assert_true(scores.n > 4);
    int32_t *ids = malloc(scores.n * sizeof *ids);
    for (size_t i = 0; i < scores.n; i++) ids[i] = scores.tokens[i].id;
    struct logits_options options = {.engine = engine, .ids = ids, .n_ids = scores.n, .positions = "all"};
    must(tool_logits(&options, path, &err), &err, file);
    struct gguf *ours = open_output();
    const struct gguf_tensor *logits = gguf_tensor(ours, "logits");
    double nats = 0;
    assert_true(isnan(scores.tokens[0].logprob));
    assert_int_equal(scores.tokens[0].rank, 0);
    for (size_t i = 1; i < scores.n; i++) {
        const float *row = (const float *)logits->data + (i - 1) * logits->dims[0];
        double sum = 0, own = row[ids[i]];
        uint32_t rank = 1;
        for (uint64_t j = 0; j < logits->dims[0]; j++) {
            sum += exp((double)row[j]);
            if (row[j] > own) rank++;
        }
        nats -= own - log(sum);
        assert_true(fabs(scores.tokens[i].logprob - (own - log(sum))) < 1e-5);
        assert_int_equal(scores.tokens[i].rank, rank);
    }
    assert_true(fabs(scores.nats - nats) < 1e-4);
    assert_true(fabs(scores.perplexity - exp(nats / (double)(scores.n - 1))) < 1e-2);
    assert_memory_equal(scores.tokens[0].text, "in", 2);
    gguf_close(ours);
    free(ids);
    scores_free(&scores);
    must(tool_score(&engine, "", 0, &scores, &err), &err, file);
    assert_int_equal(scores.n, 0);
    scores_free(&scores);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logits_as_the_goldens),         cmocka_unit_test(traces_as_the_goldens),
        cmocka_unit_test(positions_and_ids_are_checked), cmocka_unit_test(ids_of_texts),
        cmocka_unit_test(scores_are_log_probabilities),
    };
    snprintf(path, sizeof path, "/tmp/logitop-tools-%ld.gguf", (long)getpid());
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(path);
    return failed;
}
