/* GGUF containers that are right: reading, splitting, writing, looking into them; and a file that shrinks
 * while it is open. */
#include "infer/gguf_guard.h"
#include "infer/gguf_write.h"
#include "infer/json_write.h"
#include "infer/tools.h"
#include "tests/unit/gguf_maker.h"

static char path[64];

static void nano(char out[static 512], const char *name) {
    snprintf(out, 512, "%s/nano/%s.gguf", TEST_DATA, name);
}

static struct gguf *open_right(const char *file) {
    struct gguf *g;
    struct err err;
    if (gguf_open(file, GGUF_WHOLE, NULL, &g, &err)) fail_msg("%s", err.text);
    return g;
}

static void values_by_type(void **state) {
    (void)state;
    struct maker m;
    struct err err = {0};
    maker_begin(&m);
    maker_set(&m, "a.u16", 2, "\1\2", 2);
    maker_u32(&m, "a.u32", 7);
    maker_set(&m, "a.i32", 5, "\xFE\xFF\xFF\xFF", 4);
    maker_f32(&m, "a.f32", 0.5f);
    maker_set(&m, "a.bool", 7, "\1", 1);
    maker_string(&m, "a.string", "text");
    maker_array(&m, "a.i32s", 5, 2, "\1\0\0\0\xFF\xFF\xFF\xFF", 8);
    maker_array(&m, "a.u32s", 4, 2, "\1\0\0\0\xFF\xFF\xFF\xFF", 8);
    maker_array(&m, "a.strings", 8, 2, "\2\0\0\0\0\0\0\0hi\0\0\0\0\0\0\0\0", 18);
    maker_array(&m, "a.none", 5, 0, "", 0);
    maker_write(&m, path);
    struct gguf *g = open_right(path);
    uint16_t u16 = 0;
    uint32_t u32 = 0, left = 99;
    int32_t i32 = 0, *i32s;
    float f32 = 0;
    bool yes = false;
    struct span text = {0}, *strings;
    size_t n;
    assert_int_equal(gguf_u16(g, "a.u16", GGUF_NEEDED, &u16, &err), 0);
    assert_int_equal(u16, 0x201);
    assert_int_equal(gguf_u32(g, "a.u32", GGUF_NEEDED, &u32, &err), 0);
    assert_int_equal(u32, 7);
    assert_int_equal(gguf_i32(g, "a.i32", GGUF_NEEDED, &i32, &err), 0);
    assert_int_equal(i32, -2);
    assert_int_equal(gguf_f32(g, "a.f32", GGUF_NEEDED, &f32, &err), 0);
    assert_true(f32 == 0.5f);
    assert_int_equal(gguf_bool(g, "a.bool", GGUF_NEEDED, &yes, &err), 0);
    assert_true(yes);
    assert_int_equal(gguf_string(g, "a.string", GGUF_NEEDED, &text, &err), 0);
    assert_int_equal(text.len, 4);
    assert_memory_equal(text.bytes, "text", 4);
    assert_int_equal(gguf_i32s(g, "a.i32s", GGUF_NEEDED, &i32s, &n, &err), 0);
    assert_int_equal(n, 2);
    assert_int_equal(i32s[1], -1);
    free(i32s);
    assert_int_equal(gguf_i32s(g, "a.none", GGUF_NEEDED, &i32s, &n, &err), 0);
    assert_int_equal(n, 0);
    free(i32s);
    assert_int_equal(gguf_strings(g, "a.strings", GGUF_NEEDED, &strings, &n, &err), 0);
    assert_int_equal(n, 2);
    assert_memory_equal(strings[0].bytes, "hi", 2);
    assert_int_equal(strings[1].len, 0);
    free(strings);

    assert_int_equal(gguf_u32(g, "a.missing", GGUF_OPTIONAL, &left, &err), 0);
    assert_int_equal(left, 99);
    assert_int_equal(gguf_u32(g, "a.missing", GGUF_NEEDED, &left, &err), STATUS_MODEL);
    assert_non_null(strstr(err.text, "key a.missing is missing, expected u32"));
    assert_int_equal(gguf_u32(g, "a.f32", GGUF_OPTIONAL, &left, &err), STATUS_MODEL);
    assert_non_null(strstr(err.text, "key a.f32: found f32, expected u32"));
    assert_int_equal(gguf_i32s(g, "a.u32s", GGUF_NEEDED, &i32s, &n, &err), STATUS_MODEL);
    assert_null(i32s);
    assert_int_equal(gguf_strings(g, "a.i32s", GGUF_NEEDED, &strings, &n, &err), STATUS_MODEL);
    assert_null(strings);
    gguf_close(g);
    maker_free(&m);
}

static void version_2_and_other_alignments(void **state) {
    (void)state;
    char base[512];
    nano(base, "qwen2-oldpads");
    for (uint32_t alignment = 1; alignment <= 65536; alignment *= 16) {
        struct maker m;
        maker_load(&m, base);
        m.version = 2;
        m.alignment = alignment;
        maker_u32(&m, "general.alignment", alignment);
        maker_write(&m, path);
        struct gguf *g = open_right(path), *good = open_right(base);
        const struct gguf_tensor *a = gguf_tensor(g, "output.weight"),
                                 *b = gguf_tensor(good, "output.weight");
        char *left = xmalloc(a->size), *right = xmalloc(b->size);
        struct err err;
        assert_int_equal(gguf_version(g), 2);
        assert_int_equal(gguf_alignment(g), alignment);
        assert_int_equal(a->offset % alignment, 0);
        assert_int_equal(gguf_read(g, a, 0, left, a->size, &err), 0);
        assert_int_equal(gguf_read(good, b, 0, right, b->size, &err), 0);
        assert_memory_equal(left, right, a->size);
        assert_int_equal(gguf_read(g, a, 1, left, a->size, &err), STATUS_FAILED);
        free(left);
        free(right);
        gguf_close(g);
        gguf_close(good);
        maker_free(&m);
    }
}

/* Any order of the data is right as long as nothing is between. */
static void data_in_any_order(void **state) {
    (void)state;
    struct maker m;
    maker_begin(&m);
    maker_add_tensor(&m, "a", 0, 8, 0, 32)->offset = 64;
    maker_add_tensor(&m, "b", 0, 8, 0, 32)->offset = 0;
    maker_add_tensor(&m, "c", 0, 8, 0, 32)->offset = 32;
    maker_write(&m, path);
    gguf_close(open_right(path));
    maker_free(&m);
}

static void put_split(struct maker *m, uint16_t number, uint16_t count, int32_t tensors) {
    maker_set(m, "split.no", 2, &number, 2);
    maker_set(m, "split.count", 2, &count, 2);
    maker_set(m, "split.tensors.count", 5, &tensors, 4);
}

/* A nano model in three files; opened by whichever name. */
static void split_files_open_as_one(void **state) {
    (void)state;
    char base[512], names[3][128];
    nano(base, "qwen2-oldpads");
    struct gguf *whole = open_right(base), *g;
    struct err err;
    for (uint32_t part = 0; part < 3; part++) {
        struct maker m, all;
        maker_load(&all, base);
        size_t n = all.n_tensors;
        if (part == 0) {
            maker_load(&m, base);
            for (size_t i = 0; i < n; i++) maker_remove_tensor(&m, all.tensors[i].name.data);
        } else {
            maker_begin(&m);
        }
        for (size_t i = part * 10; i < n && i < part * 10 + 10; i++) {
            struct made_tensor *from = &all.tensors[i];
            struct made_tensor *t = maker_add_tensor(&m, from->name.data, from->type, from->dims[0],
                                                     from->n_dims > 1 ? from->dims[1] : 0, from->data.len);
            memcpy(t->data.data, from->data.data, from->data.len);
        }
        put_split(&m, (uint16_t)part, 3, (int32_t)n);
        snprintf(names[part], sizeof names[part], "%s-%05u-of-00003.gguf", path, part + 1);
        maker_write(&m, names[part]);
        maker_free(&m);
        maker_free(&all);
    }
    for (int given = 0; given < 3; given++) {
        g = open_right(names[given]);
        assert_int_equal(gguf_n_files(g), 3);
        assert_int_equal(gguf_n_tensors(g), gguf_n_tensors(whole));
        assert_int_equal(gguf_map(g, &err), 0);
        for (size_t i = 0; i < gguf_n_tensors(whole); i++) {
            const struct gguf_tensor *a = gguf_tensor_at(whole, i), *b = gguf_tensor(g, a->name);
            assert_non_null(b);
            assert_int_equal(a->size, b->size);
            char *bytes = xmalloc(a->size);
            assert_int_equal(gguf_read(whole, a, 0, bytes, a->size, &err), 0);
            assert_memory_equal(bytes, b->data, a->size);
            free(bytes);
        }
        gguf_close(g);
    }
    assert_int_equal(gguf_open(names[1], GGUF_METADATA, NULL, &g, &err), 0);
    assert_non_null(gguf_find(g, "tokenizer.ggml.tokens"));
    gguf_close(g);
    assert_int_equal(truncate(names[2], 2000), 0);
    assert_int_equal(gguf_open(names[0], GGUF_WHOLE, NULL, &g, &err), STATUS_MODEL);
    assert_non_null(strstr(err.text, "-00003-of-00003.gguf"));
    unlink(names[2]);
    assert_int_equal(gguf_open(names[0], GGUF_WHOLE, NULL, &g, &err), STATUS_MODEL);
    assert_non_null(strstr(err.text, "file 3 of 3"));
    assert_int_equal(gguf_open(names[0], GGUF_METADATA, NULL, &g, &err), 0);
    gguf_close(g);
    unlink(names[0]);
    unlink(names[1]);
    gguf_close(whole);
}

/* What is gone reads as zeros, and the check says so: no signal ends the program. */
static void a_file_that_shrinks(void **state) {
    (void)state;
    char base[512];
    struct maker m;
    struct err err;
    nano(base, "qwen2-gqa7");
    maker_load(&m, base);
    maker_write(&m, path);
    struct gguf *g = open_right(path);
    assert_int_equal(gguf_map(g, &err), 0);
    assert_int_equal(gguf_check(g, &err), 0);
    const struct gguf_tensor *last = gguf_tensor(g, "output_norm.weight");
    float first = *(const float *)last->data, now = 1;
    assert_true(first != 0);
    assert_int_equal(truncate(path, 65536), 0);
    for (size_t i = 0; i < last->n_elements; i++) now = ((const volatile float *)last->data)[i];
    assert_true(now == 0);
    assert_int_equal(gguf_check(g, &err), STATUS_MODEL);
    assert_non_null(strstr(err.text, "the file shrank while it was in use"));
    assert_int_equal(gguf_read(g, last, 0, &now, sizeof now, &err), STATUS_MODEL);
    assert_non_null(strstr(err.text, "tensor output_norm.weight"));
    assert_int_equal(truncate(path, 2000000), 0); /* grown again: what was lost stays known */
    assert_int_equal(gguf_check(g, &err), STATUS_MODEL);
    gguf_close(g);
    maker_free(&m);
}

/* Opening and closing many times leaves no guard behind, and too many at once is an error. */
static void guards_are_given_back(void **state) {
    (void)state;
    static char memory[100][16];
    int handles[100], n = 0;
    for (int round = 0; round < 100; round++) {
        int handle = guard_add(memory[0], sizeof memory[0]);
        assert_true(handle >= 0);
        guard_remove(handle);
    }
    while (n < 100 && (handles[n] = guard_add(memory[n], sizeof memory[n])) >= 0) n++;
    assert_true(n >= 32 && n < 100);
    while (n) guard_remove(handles[--n]);
}

static void what_is_written_can_be_read(void **state) {
    (void)state;
    struct gguf_writer *w;
    struct err err;
    float values[13 * 3];
    for (size_t i = 0; i < 39; i++) values[i] = (float)i;
    assert_int_equal(writer_begin(path, &w, &err), 0);
    writer_string(w, "general.architecture", "golden");
    writer_u32(w, "golden.n_vocab", 13);
    writer_i32s(w, "golden.positions", (int32_t[]){0, 5, 9}, 3);
    writer_tensor(w, "logits", (uint64_t[]){13, 3}, 2);
    writer_tensor(w, "trace.embd", (uint64_t[]){2, 2, 2}, 3);
    writer_values(w, values, 5);
    writer_values(w, values + 5, 34);
    writer_values(w, values, 8);
    assert_int_equal(writer_end(w, &err), 0);
    struct gguf *g = open_right(path);
    float back[39];
    int32_t *positions;
    size_t n;
    assert_int_equal(gguf_read(g, gguf_tensor(g, "logits"), 0, back, sizeof back, &err), 0);
    assert_memory_equal(back, values, sizeof back);
    assert_int_equal(gguf_tensor(g, "trace.embd")->n_dims, 3);
    assert_int_equal(gguf_read(g, gguf_tensor(g, "trace.embd"), 0, back, 32, &err), 0);
    assert_memory_equal(back, values, 32);
    assert_int_equal(gguf_i32s(g, "golden.positions", GGUF_NEEDED, &positions, &n, &err), 0);
    assert_int_equal(positions[2], 9);
    free(positions);
    gguf_close(g);

    assert_int_equal(writer_begin(path, &w, &err), 0); /* fewer values than declared: no file changes */
    writer_tensor(w, "logits", (uint64_t[]){13, 3}, 2);
    writer_values(w, values, 5);
    assert_int_equal(writer_end(w, &err), STATUS_FAILED);
    gguf_close(open_right(path));
    assert_int_equal(writer_begin("/nowhere/x.gguf", &w, &err), STATUS_FAILED);
    assert_int_equal(writer_begin("/dev/full", &w, &err), 0);
    writer_tensor(w, "logits", (uint64_t[]){13, 3}, 2);
    writer_values(w, values, 39);
    assert_int_equal(writer_end(w, &err), STATUS_FAILED);
    assert_non_null(strstr(err.text, "No space left"));
    assert_int_equal(access("/dev/full", F_OK), 0);
}

static void inspect_shows_a_model(void **state) {
    (void)state;
    char file[512];
    struct buf report = {0};
    struct err err = {0};
    struct inspect_options options = {.tensors = true, .ranges = true};
    nano(file, "qwen2-oldpads");
    assert_int_equal(tool_inspect(file, &options, &report, &err), 0);
    const char *expected[] = {"qwen2.block_count (u32) = 2",
                              "nano qwen2-oldpads",
                              "(string[340])",
                              "306 tokens in 340 rows",
                              "blk.0.attn_k.bias",
                              "min -34 ",
                              "max 21.5 ",
                              "NaN 0 Inf 0",
                              "27 tensors"};
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++)
        if (!strstr(report.data, expected[i])) fail_msg("not in the report: %s", expected[i]);
    buf_clear(&report);
    options.json = true;
    assert_int_equal(tool_inspect(file, &options, &report, &err), 0);
    assert_non_null(
        strstr(report.data, "\"name\":\"blk.0.attn_k.bias\",\"type\":\"F32\",\"shape\":[64],\"bytes\":256"));
    assert_non_null(strstr(report.data, "\"min\":-34,\"max\":21.5,"));
    assert_non_null(strstr(report.data, "\"faults\":[]}\n"));
    buf_free(&report);
}

static void inspect_shows_what_is_wrong(void **state) {
    (void)state;
    char file[512];
    struct maker m;
    struct buf report = {0};
    struct err err = {0};
    struct inspect_options options = {.ranges = true};
    nano(file, "qwen2-f16");
    maker_load(&m, file);
    memcpy(maker_tensor(&m, "blk.0.ffn_up.weight")->data.data + 20, "\0\x7E\0\x7C\0\xFC",
           6); /* NaN, Inf, -Inf */
    maker_string(&m, "general.name", "\x1B]0;title\7 \x9B \xC3");
    maker_remove_tensor(&m, "blk.0.attn_q.bias");
    maker_write(&m, path);
    assert_int_equal(tool_inspect(path, &options, &report, &err), STATUS_MODEL);
    assert_non_null(strstr(err.text, "tensor blk.0.attn_q.bias is missing"));
    assert_non_null(strstr(report.data, "NaN 1 Inf 2"));
    assert_non_null(
        strstr(report.data, "tensor blk.0.ffn_up.weight: found 1 NaN and 2 Inf, expected finite numbers"));
    assert_non_null(strstr(report.data, "tensor blk.0.attn_q.bias is missing"));
    for (size_t i = 0; i < report.len; i++) {
        unsigned char c = (unsigned char)report.data[i];
        assert_true(c == '\n' || (c >= 0x20 && c != 0x7F));
    }
    buf_clear(&report);
    options.json = true;
    assert_int_equal(tool_inspect(path, &options, &report, &err), STATUS_MODEL);
    assert_non_null(strstr(report.data, "\"name\":\"\\u001b]0;title\\u0007 \xEF\xBF\xBD \xEF\xBF\xBD\""));
    m.keep = 3600; /* cut within the metadata: the keys before it are shown */
    maker_write(&m, path);
    buf_clear(&report);
    options.json = false;
    assert_int_equal(tool_inspect(path, &options, &report, &err), STATUS_MODEL);
    assert_non_null(strstr(report.data, "qwen2.block_count (u32) = 1"));
    assert_non_null(strstr(report.data, "runs past the end of the file"));
    buf_free(&report);
    maker_free(&m);
}

static void inspect_tells_nothing_of_other_files(void **state) {
    (void)state;
    struct buf report = {0};
    struct err err = {0};
    struct inspect_options options = {0};
    FILE *file = fopen(path, "wb");
    fputs("root:x:0:0:root:/root:/bin/bash\n", file);
    fclose(file);
    assert_int_equal(tool_inspect(path, &options, &report, &err), STATUS_MODEL);
    assert_non_null(strstr(err.text, "not a GGUF file"));
    assert_int_equal(report.len, 0);
    buf_free(&report);
}

static void json_is_json(void **state) {
    (void)state;
    struct buf out = {0};
    struct json_writer w = {.out = &out};
    json_write_open(&w, '{');
    json_write_key(&w, "a\"b\\");
    json_write_open(&w, '[');
    json_write_natural(&w, UINT64_MAX);
    json_write_integer(&w, -1);
    json_write_real(&w, 0.5);
    json_write_real(&w, 0.0 / 0.0);
    json_write_bool(&w, true);
    json_write_open(&w, '[');
    json_write_close(&w, ']');
    json_write_close(&w, ']');
    json_write_key(&w, "t");
    json_write_text(&w, "\n\x1B\xE2\x80\xAE\xC2\x9B\xF3\xA0\x81\x81\xE4\xBD\xA0");
    json_write_close(&w, '}');
    assert_string_equal(out.data, "{\"a\\\"b\\\\\":[18446744073709551615,-1,0.5,null,true,[]],"
                                  "\"t\":\"\\n\\u001b\\u202e\\u009b\\udb40\\udc41\xE4\xBD\xA0\"}");
    buf_free(&out);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_by_type),
        cmocka_unit_test(version_2_and_other_alignments),
        cmocka_unit_test(data_in_any_order),
        cmocka_unit_test(split_files_open_as_one),
        cmocka_unit_test(a_file_that_shrinks),
        cmocka_unit_test(guards_are_given_back),
        cmocka_unit_test(what_is_written_can_be_read),
        cmocka_unit_test(inspect_shows_a_model),
        cmocka_unit_test(inspect_shows_what_is_wrong),
        cmocka_unit_test(inspect_tells_nothing_of_other_files),
        cmocka_unit_test(json_is_json),
    };
    snprintf(path, sizeof path, "/tmp/logitop-gguf-%ld.gguf", (long)getpid());
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(path);
    return failed;
}
