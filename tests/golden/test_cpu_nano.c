/* The CPU backend against the goldens of the nano models. `test_cpu_nano -v` lists figures. */
#include "tests/golden/golden.h"

#include "kernels/cpu/isa.h"

enum { N_CTX = 1200 };
static bool verbose;

static float *logits_new(const struct golden *golden) {
    float *logits = malloc(golden->n_prompt * golden->n_vocab * sizeof *logits);
    assert_non_null(logits);
    return logits;
}

static void exact_equals_the_reference(void **state) {
    (void)state;
    for (size_t i = 0; i < NANO_MODELS; i++) {
        struct golden golden = golden_open(nano_names[i]);
        struct rig rig = rig_open(&backend_cpu, nano_names[i], &(struct backend_options){.n_threads = 2, .n_ctx = N_CTX, .exact = true});
        assert_int_equal(rig.view->n_vocab, golden.n_vocab);
        float *logits = logits_new(&golden);
        rig_feed(&rig, golden.prompt, golden.n_prompt, 0, logits);
        double error = golden_error(&golden, logits);
        size_t same = rig_check_greedy(&rig, &golden, logits + (golden.n_prompt - 1) * golden.n_vocab, 1e-3f);
        if (verbose) printf("exact %-20s error %.2e, %zu of %zu greedy ids\n", nano_names[i], error, same, golden.n_greedy);
        if (!(error < 3e-4)) fail_msg("%s: logits are off by %g, expected less than 3e-4", nano_names[i], error);
        free(logits);
        rig_close(&rig);
        golden_close(&golden);
    }
}

/* How a prompt is cut and how many threads run changes no bit: all at once on one thread is what steps of any
 * size are on two. */
static void check_chunks_and_threads(const char *name, bool exact, enum isa isa) {
    static const size_t chunks[] = {0, 512, 32, 7, 4, 1};
    struct golden golden = golden_open(name);
    size_t size = golden.n_prompt * golden.n_vocab * sizeof(float);
    float *first = logits_new(&golden), *other = logits_new(&golden);
    struct backend_options options = {.n_threads = 1, .n_ctx = N_CTX, .exact = exact, .isa = isa_name(isa)};
    struct rig rig = rig_open(&backend_cpu, name, &options);
    rig_feed(&rig, golden.prompt, golden.n_prompt, 0, first);
    rig_close(&rig);
    options.n_threads = 2;
    rig = rig_open(&backend_cpu, name, &options);
    for (size_t c = 0; c < sizeof chunks / sizeof *chunks; c++) {
        rig.ops->timeline_truncate(rig.timeline, 0);
        rig_feed(&rig, golden.prompt, golden.n_prompt, chunks[c], other);
        if (memcmp(first, other, size) != 0)
            fail_msg("%s: chunks of %zu on two threads give other bits, %s%s", name, chunks[c], isa_name(isa),
                     exact ? " exact" : "");
    }
    rig_close(&rig);
    free(first);
    free(other);
    golden_close(&golden);
}

static void exact_ignores_chunks_and_threads(void **state) {
    (void)state;
    for (size_t i = 0; i < NANO_MODELS; i++) check_chunks_and_threads(nano_names[i], true, isa_best());
}

static void fast_ignores_chunks_and_threads(void **state) {
    (void)state;
    for (enum isa isa = ISA_portable; isa < ISA_COUNT; isa++)
        for (size_t i = 0; isa_available(isa) && i < NANO_MODELS; i++)
            check_chunks_and_threads(nano_names[i], false, isa);
}

static void fast_is_as_good_as_llama_cpp(void **state) {
    (void)state;
    for (enum isa isa = ISA_portable; isa < ISA_COUNT; isa++) {
        if (!isa_available(isa)) continue;
        double product = 0, worst = 0;
        const char *worst_name = "";
        for (size_t i = 0; i < NANO_MODELS; i++) {
            struct golden golden = golden_open(nano_names[i]);
            struct rig rig = rig_open(&backend_cpu, nano_names[i], &(struct backend_options){.n_threads = 2, .n_ctx = N_CTX, .isa = isa_name(isa)});
            float *logits = logits_new(&golden);
            rig_feed(&rig, golden.prompt, golden.n_prompt, 0, logits);
            double kl = golden_kl(&golden, logits), ratio = kl / llama_cpp_kl(nano_names[i]);
            rig_check_greedy(&rig, &golden, logits + (golden.n_prompt - 1) * golden.n_vocab, 1.0f);
            if (verbose) printf("%-8s %-20s KL %.2e, %.3f of llama.cpp's\n", isa_name(isa), nano_names[i], kl, ratio);
            product += log(ratio);
            if (!(ratio <= worst)) worst = ratio, worst_name = nano_names[i];
            free(logits);
            rig_close(&rig);
            golden_close(&golden);
        }
        double mean = exp(product / NANO_MODELS);
        if (verbose) printf("%-8s geometric mean %.3f, worst %.3f\n", isa_name(isa), mean, worst);
        if (!(mean <= 1)) fail_msg("%s: KL is %.3f of llama.cpp's in the geometric mean", isa_name(isa), mean);
        if (!(worst <= 1.5)) fail_msg("%s: KL of %s is %.3f of llama.cpp's", isa_name(isa), worst_name, worst);
    }
}

int main(int argc, char **argv) {
    verbose = argc > 1 && strcmp(argv[1], "-v") == 0;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exact_equals_the_reference),
        cmocka_unit_test(exact_ignores_chunks_and_threads),
        cmocka_unit_test(fast_ignores_chunks_and_threads),
        cmocka_unit_test(fast_is_as_good_as_llama_cpp),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
