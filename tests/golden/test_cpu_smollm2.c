/* The exact CPU path on a real model, SmolLM2-135M-Instruct in Q4_1, against log-probabilities of Hugging Face transformers in F32 on
 * the dequantised weights (tests/data/smollm2/golden.json): nine prompts and their greedy continuations. F32 arithmetic comes
 * within 5e-5 nats, an F16 cache alone costs 0.02, so the limit of 0.001 tells the paths apart. */
#include "tests/golden/golden.h"

#include <jansson.h>
#include <unistd.h>

static const char model_path[] = THIRD_PARTY "/SmolLM2-135M-Instruct.Q4_1.gguf";

enum { N_CTX = 256 };
static const double limit = 0.001, clear_margin = 0.01;

struct check {
    const char *name;
    json_t *prompt_logprobs, *steps;
    size_t n_prompt;
    const int32_t *ids; /* prompt and golden continuation */
    size_t n_results, n_steps; /* seen; steps whose greedy id was the same */
    bool over;                 /* at a step without a clear choice */
    double worst;
};

static double logprob_of(const float *logits, const struct step_result *result, int32_t id) {
    return (double)logits[id] - (double)result->log_sum_exp;
}

static void compare(struct check *check, double ours, double golden, const char *what, size_t i) {
    double error = fabs(ours - golden);
    if (!(error <= limit)) fail_msg("%s, %s %zu: log-probability %.5f, expected %.5f", check->name, what, i, ours, golden);
    if (error > check->worst) check->worst = error;
}

static int on_result(void *ctx, const struct step_result *result, const float *logits) {
    struct check *check = ctx;
    size_t i = check->n_results++; /* this result tells what follows ids[i] */
    if (i + 1 < check->n_prompt) {
        compare(check, logprob_of(logits, result, check->ids[i + 1]), json_number_value(json_array_get(check->prompt_logprobs, i + 1)),
                "prompt token", i + 1);
        return 0;
    }
    json_t *step = json_array_get(check->steps, i + 1 - check->n_prompt), *top = json_object_get(step, "top");
    if (!step) return 0; /* the last id was fed, too */
    double margin = json_number_value(json_array_get(json_array_get(top, 0), 1)) - json_number_value(json_array_get(json_array_get(top, 1), 1));
    for (size_t j = 0; j < json_array_size(top); j++) {
        json_t *pair = json_array_get(top, j);
        compare(check, logprob_of(logits, result, (int32_t)json_integer_value(json_array_get(pair, 0))),
                json_number_value(json_array_get(pair, 1)), "step", i + 1 - check->n_prompt);
    }
    check->over = check->over || margin < clear_margin;
    if (check->over) return 0;
    assert_int_equal(result->top[0].id, json_integer_value(json_object_get(step, "id")));
    check->n_steps++;
    return 0;
}

static size_t read_ids(json_t *array, int32_t *to) {
    for (size_t i = 0; i < json_array_size(array); i++) to[i] = (int32_t)json_integer_value(json_array_get(array, i));
    return json_array_size(array);
}

static json_t *goldens;
static struct rig rig;

/* Feeding the golden's own continuation gives every step's logits at once: with `exact`, the same bits as decoding. */
static void log_probabilities_of_all_prompts(void **state) {
    (void)state;
    for (size_t i = 0; i < json_array_size(goldens); i++) {
        json_t *golden = json_array_get(goldens, i);
        int32_t ids[N_CTX];
        assert_true(json_array_size(json_object_get(golden, "prompt_ids")) + json_array_size(json_object_get(golden, "greedy")) <= N_CTX);
        size_t n_prompt = read_ids(json_object_get(golden, "prompt_ids"), ids);
        size_t n = n_prompt + read_ids(json_object_get(golden, "greedy"), ids + n_prompt);
        struct check check = {.name = json_string_value(json_object_get(golden, "name")), .n_prompt = n_prompt, .ids = ids,
                              .prompt_logprobs = json_object_get(golden, "prompt_logprobs"), .steps = json_object_get(golden, "steps")};
        struct step_request request = {.ids = ids, .n = (uint32_t)n, .wanted = WANT_ALL, .top_k = 20, .logits = true,
                                       .on_result = on_result, .ctx = &check};
        struct err err;
        rig.ops->timeline_truncate(rig.timeline, 0);
        must(rig.ops->step(rig.timeline, &request, &err), &err, check.name);
        assert_int_equal(check.n_results, n);
        printf("%-8s %zu prompt tokens, %zu of %zu greedy ids%s, log-probabilities within %.1e\n", check.name, n_prompt, check.n_steps,
               json_array_size(check.steps), check.over ? " to an unclear one" : "", check.worst);
    }
}

/* And one after the other, in the decode loop. */
static void greedy_decoding(void **state) {
    (void)state;
    for (size_t i = 0; i < json_array_size(goldens); i++) {
        json_t *golden = json_array_get(goldens, i), *greedy = json_object_get(golden, "greedy");
        if (json_array_size(greedy) > 30) continue; /* the short ones: to their end token */
        int32_t ids[N_CTX];
        uint32_t n = (uint32_t)read_ids(json_object_get(golden, "prompt_ids"), ids);
        struct step_request prompt = {.ids = ids, .n = n - 1};
        struct decode_request request = {.id = ids[n - 1], .sampling = {.repeat_penalty = 1}, .limit = (uint32_t)json_array_size(greedy)};
        struct decode *decode;
        struct step_result result;
        struct err err;
        rig.ops->timeline_truncate(rig.timeline, 0);
        must(rig.ops->step(rig.timeline, &prompt, &err), &err, "step");
        must(rig.ops->decode_begin(rig.timeline, &request, &decode, &err), &err, "decode_begin");
        for (size_t j = 0; j < json_array_size(greedy); j++) {
            must(rig.ops->decode_next(decode, &result, &err), &err, "decode_next");
            assert_int_equal(result.id, json_integer_value(json_array_get(greedy, j)));
        }
        assert_int_equal(rig.ops->decode_next(decode, &result, &err), STATUS_STOPPED);
        rig.ops->decode_end(decode, n);
    }
}

int main(void) {
    if (access(model_path, R_OK)) {
        fprintf(stderr, "skipped: %s is not there\n", model_path);
        return 77;
    }
    json_error_t error;
    goldens = json_load_file(TEST_DATA "/smollm2/golden.json", 0, &error);
    if (!goldens) {
        fprintf(stderr, "golden.json: %s\n", error.text);
        return 1;
    }
    rig = rig_open_path(&backend_cpu, model_path, &(struct backend_options){.n_ctx = N_CTX, .exact = true});
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(log_probabilities_of_all_prompts),
        cmocka_unit_test(greedy_decoding),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    rig_close(&rig);
    json_decref(goldens);
    return failed;
}
