/* Models that are right: the view of every nano model, rotary frequencies, the default model, vocabularies of
 * other kinds. */
#include "infer/model.h"
#include "tests/unit/gguf_maker.h"

#include <dirent.h>
#include <math.h>

static char path[64];

static struct model *open_right(const char *file, enum model_part part) {
    struct model *model;
    struct err err;
    if (model_open(file, part, &model, &err)) fail_msg("%s", err.text);
    return model;
}

static struct model *open_nano(const char *name) {
    char file[512];
    snprintf(file, sizeof file, "%s/nano/%s.gguf", TEST_DATA, name);
    return open_right(file, MODEL_WHOLE);
}

static void every_nano_model(void **state) {
    (void)state;
    char folder[512];
    snprintf(folder, sizeof folder, "%s/nano", TEST_DATA);
    DIR *list = opendir(folder);
    assert_non_null(list);
    int n = 0;
    for (struct dirent *entry; (entry = readdir(list));) {
        char name[300];
        snprintf(name, sizeof name, "%s", entry->d_name);
        char *end = strstr(name, ".gguf");
        if (!end || strstr(name, ".golden")) continue;
        *end = 0;
        struct model *model = open_nano(name);
        const struct model_view *v = model_view(model);
        bool llama = strncmp(name, "llama", 5) == 0, qwen2 = strncmp(name, "qwen2", 5) == 0;
        assert_string_equal(v->architecture, llama ? "llama" : qwen2 ? "qwen2" : "qwen3");
        assert_int_equal(v->rope_pairing, llama ? ROPE_NEIGHBOURS : ROPE_HALVES);
        assert_int_equal(v->n_vocab, 306); /* the rest of the rows is padding, whatever its type */
        assert_true(v->n_rows >= 320);
        assert_int_equal(v->layers[0].attn_q_bias != NULL, qwen2);
        assert_int_equal(v->layers[0].attn_k_norm != NULL, !llama && !qwen2);
        assert_int_equal(v->layers[0].attn_q->rows, v->n_heads * v->head_dim);
        assert_int_equal(v->layers[0].ffn_down->cols, v->n_ff);
        assert_int_equal(v->output_norm->rows, 0);
        assert_int_equal(v->output_norm->cols, v->n_embd);
        assert_true(isfinite(*(const float *)v->output_norm->data));
        model_close(model);
        n++;
    }
    closedir(list);
    assert_int_equal(n, 28);
}

static void facts_of_one_model(void **state) {
    (void)state;
    struct model *model = open_nano("qwen2-gqa7");
    const struct model_view *v = model_view(model);
    struct err err;
    assert_string_equal(model_name(model), "nano qwen2-gqa7");
    assert_string_equal(model_quantisation(model), "Q8_0");
    assert_int_equal(v->n_layers, 2);
    assert_int_equal(v->n_embd, 448);
    assert_int_equal(v->n_ff, 96);
    assert_int_equal(v->n_heads, 7);
    assert_int_equal(v->n_kv_heads, 1);
    assert_int_equal(v->head_dim, 64);
    assert_int_equal(v->n_ctx_train, 2048);
    assert_true(v->norm_eps == 1e-6f);
    assert_ptr_equal(v->output, v->token_embd);
    assert_string_equal(v->layers[1].attn_k_bias->name, "blk.1.attn_k.bias");
    assert_int_equal(v->layers[1].attn_k_bias->type, DTYPE_F32);
    assert_memory_equal(model_chat_template(model).bytes, "{% for m in", 11);
    assert_int_equal(model_check(model, &err), 0);
    model_close(model);
    model = open_nano("qwen2-oldpads");
    assert_ptr_not_equal(model_view(model)->output, model_view(model)->token_embd);
    model_close(model);
}

static void near(float found, double expected) {
    if (!(fabs(found - expected) <= 2e-6 * fabs(expected)))
        fail_msg("found %.9g, expected %.9g", (double)found, expected);
}

static void load(struct maker *m, const char *name) {
    char file[512];
    snprintf(file, sizeof file, "%s/nano/%s.gguf", TEST_DATA, name);
    maker_load(m, file);
}

static void people_call_it_by_its_file(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"SmolLM2-135M-Instruct.Q4_1.gguf", "SmolLM2-135M-Instruct.Q4_1"},
        {"big-00001-of-00001.gguf", "big"},
        {"odd-0001-of-00001.gguf", "odd-0001-of-00001"},
        {"-00001-of-00001.GGUF", "-00001-of-00001"},
        {"sha256-0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", "nano llama-f16"},
        {"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", "nano llama-f16"},
        {"deadbeef", "deadbeef"},
    };
    char folder[] = "/tmp/logitop-label-XXXXXX", file[512];
    struct maker m;
    assert_non_null(mkdtemp(folder));
    load(&m, "llama-f16");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        snprintf(file, sizeof file, "%s/%s", folder, cases[i][0]);
        maker_write(&m, file);
        struct model *model = open_right(file, MODEL_WHOLE);
        assert_string_equal(model_label(model), cases[i][1]);
        model_close(model);
        unlink(file);
    }
    rmdir(folder);
    maker_free(&m);
}

/* Expected numbers: the formulas of transformers' modeling_rope_utils.py in F64. */
static void rotary_frequencies(void **state) {
    (void)state;
    struct maker m;
    load(&m, "qwen2-oldpads"); /* base 1e6, 64 elements */
    maker_write(&m, path);
    struct model *model = open_right(path, MODEL_WHOLE);
    near(model_view(model)->rope_freq[0], 1);
    near(model_view(model)->rope_freq[8], 0.03162277660168379);
    near(model_view(model)->rope_freq[31], 1.539926526059492e-06);
    assert_true(model_view(model)->rope_magnitude == 1);
    model_close(model);

    maker_f32(&m, "qwen2.rope.scaling.factor", 4); /* a factor alone is linear */
    maker_write(&m, path);
    model = open_right(path, MODEL_WHOLE);
    near(model_view(model)->rope_freq[8], 0.03162277660168379 / 4);
    assert_true(model_view(model)->rope_magnitude == 1);
    model_close(model);

    maker_string(&m, "qwen2.rope.scaling.type", "yarn");
    maker_u32(&m, "qwen2.rope.scaling.original_context_length", 32768);
    maker_write(&m, path);
    model = open_right(path, MODEL_WHOLE);
    static const struct {
        int at;
        double freq;
    } yarn[] = {{0, 1.0},
                {1, 0.6493816315762113},
                {8, 0.03162277660168379},
                {12, 0.005154795480911533},
                {16, 0.0005833333333333333},
                {20, 4.445698525097307e-05},
                {24, 7.905694150420949e-06},
                {31, 3.84981631514873e-07}};
    for (size_t i = 0; i < sizeof yarn / sizeof *yarn; i++)
        near(model_view(model)->rope_freq[yarn[i].at], yarn[i].freq);
    near(model_view(model)->rope_magnitude, 1.138629436111989);
    model_close(model);

    maker_string(&m, "qwen2.rope.scaling.type", "none");
    maker_write(&m, path);
    model = open_right(path, MODEL_WHOLE);
    near(model_view(model)->rope_freq[8], 0.03162277660168379);
    model_close(model);
    maker_free(&m);

    load(&m, "llama3-scaled-q8_0"); /* factor 32 for slow waves, none for fast ones */
    float factors[32];
    memcpy(factors, maker_tensor(&m, "rope_freqs.weight")->data.data, sizeof factors);
    model = open_nano("llama3-scaled-q8_0");
    assert_true(factors[0] == 1 && factors[31] == 32);
    for (int i = 0; i < 32; i++)
        near(model_view(model)->rope_freq[i], pow(5e5, -2.0 * i / 64) / (double)factors[i]);
    model_close(model);
    maker_free(&m);
}

/* Heads per layer may come as an array; older llama files name no frequency base; biases of llama are all or
 * none. */
static void forms_that_occur(void **state) {
    (void)state;
    struct maker m;
    load(&m, "llama-f16");
    maker_array(&m, "llama.attention.head_count_kv", 5, 2, "\1\0\0\0\1\0\0\0", 8);
    maker_remove_key(&m, "llama.rope.freq_base");
    maker_remove_key(&m, "llama.rope.dimension_count");
    maker_remove_key(&m, "llama.attention.key_length");
    maker_remove_key(&m, "llama.attention.value_length");
    maker_remove_key(&m, "tokenizer.chat_template");
    maker_remove_key(&m, "general.name");
    maker_u32(&m, "general.file_type", 15);
    maker_write(&m, path);
    struct model *model = open_right(path, MODEL_WHOLE);
    const struct model_view *v = model_view(model);
    assert_int_equal(v->n_kv_heads, 1);
    assert_int_equal(v->head_dim, 64);
    assert_int_equal(v->rope_dim, 64);
    near(v->rope_freq[1], pow(10000, -2.0 / 64));
    assert_string_equal(model_quantisation(model), "Q4_K_M");
    assert_string_equal(model_name(model), strrchr(path, '/') + 1);
    assert_int_equal(model_chat_template(model).len, 0);
    model_close(model);
    struct err err;
    maker_add_tensor(&m, "blk.0.attn_q.bias", DTYPE_F32, 128, 0, 512);
    maker_write(&m, path);
    assert_int_equal(model_open(path, MODEL_WHOLE, &model, &err), STATUS_MODEL);
    assert_non_null(
        strstr(err.text, "tensor blk.0.attn_k.bias is missing, expected beside the other biases"));
    maker_free(&m);
}

/* Tokenizing needs the tokenizer's keys and nothing else of a file. */
static void vocabulary_alone(void **state) {
    (void)state;
    struct maker m;
    load(&m, "qwen2-oldpads");
    maker_string(&m, "general.architecture", "whatever");
    maker_remove_key(&m, "qwen2.block_count");
    m.cut = 100000;
    maker_write(&m, path);
    struct model *model = open_right(path, MODEL_VOCABULARY);
    assert_null(model_view(model));
    assert_int_equal(tokenizer_n_vocab(model_tokenizer(model)), 306);
    model_close(model);
    maker_free(&m);
}

static const char *third_party(const char *name) {
    static char file[512];
    snprintf(file, sizeof file, "%s/%s", THIRD_PARTY, name);
    if (access(file, R_OK)) {
        print_message("skipped: no %s\n", file);
        skip();
    }
    return file;
}

static void the_default_model(void **state) {
    (void)state;
    struct model *model = open_right(third_party("SmolLM2-135M-Instruct.Q4_1.gguf"), MODEL_WHOLE);
    assert_int_equal(model_view(model)->n_layers, 30);
    assert_int_equal(model_view(model)->n_vocab, 49152);
    assert_string_equal(model_quantisation(model), "Q4_1");
    model_close(model);
}

static void vocabularies_of_others(void **state) {
    (void)state;
    static const struct {
        const char *name;
        uint32_t n_tokens;
    } vocabularies[] = {{"qwen2", 151936}, {"llama-bpe", 128256}, {"llama-spm", 32000},
                        {"gpt-2", 50257},  {"gemma-4", 262144},   {"phi-3", 32064}};
    char file[512];
    third_party("models"); /* all of them or none: they come in one archive */
    for (size_t i = 0; i < sizeof vocabularies / sizeof *vocabularies; i++) {
        snprintf(file, sizeof file, "%s/models/ggml-vocab-%s.gguf", THIRD_PARTY, vocabularies[i].name);
        struct model *model = open_right(file, MODEL_VOCABULARY);
        assert_int_equal(tokenizer_n_tokens(model_tokenizer(model)), vocabularies[i].n_tokens);
        model_close(model);
        struct err err;
        assert_int_not_equal(model_open(file, MODEL_WHOLE, &model, &err), STATUS_OK);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_nano_model),           cmocka_unit_test(facts_of_one_model),
        cmocka_unit_test(people_call_it_by_its_file), cmocka_unit_test(rotary_frequencies),
        cmocka_unit_test(forms_that_occur),           cmocka_unit_test(vocabulary_alone),
        cmocka_unit_test(the_default_model),          cmocka_unit_test(vocabularies_of_others),
    };
    snprintf(path, sizeof path, "/tmp/logitop-model-%ld.gguf", (long)getpid());
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(path);
    return failed;
}
