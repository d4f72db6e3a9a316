/* Files broken at every byte load or are refused with one line, and large ones take linear time. */
#include "infer/model.h"
#include "tests/unit/cpu_time.h"
#include "tests/unit/gguf_maker.h"

#include <fcntl.h>
#include <sys/stat.h>

static char path[64];

static void load(const char *name, struct buf *bytes, size_t *data_begin) {
    char file[512];
    struct maker m;
    snprintf(file, sizeof file, "%s/nano/%s.gguf", TEST_DATA, name);
    maker_load(&m, file);
    maker_bytes(&m, bytes, data_begin);
    maker_free(&m);
}

static int write_file(const struct buf *bytes) {
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes->data, bytes->len), bytes->len);
    return fd;
}

/* Opens or is refused with one line that names the file. Returns the status. */
static int try(enum model_part part, size_t at) {
    struct model *model;
    struct err err = {0};
    int status = model_open(path, part, &model, &err);
    if (!status) {
        model_close(model);
        return status;
    }
    bool named = strstr(err.text, path) && !strchr(err.text, '\n') && err.text[strlen(path)];
    if (!named || (status != STATUS_MODEL && status != STATUS_UNSUPPORTED))
        fail_msg("byte %zu: %d: %s", at, status, err.text);
    return status;
}

/* Every prefix is refused as a model; as a vocabulary it loads once all keys are there. */
static void every_prefix(void **state) {
    (void)state;
    struct buf bytes = {0};
    size_t data_begin, first_vocabulary = 0;
    load("qwen3-trace", &bytes, &data_begin);
    int fd = write_file(&bytes);
    assert_int_equal(try(MODEL_WHOLE, bytes.len), STATUS_OK);
    for (size_t at = bytes.len - 1; at > data_begin; at -= at / 16) {
        assert_int_equal(ftruncate(fd, (off_t)at), 0);
        assert_int_not_equal(try(MODEL_WHOLE, at), STATUS_OK);
    }
    for (size_t at = data_begin; at > 0; at--) {
        assert_int_equal(ftruncate(fd, (off_t)at), 0);
        assert_int_not_equal(try(MODEL_WHOLE, at), STATUS_OK);
        if (at % 3 == 0 && try(MODEL_VOCABULARY, at) == STATUS_OK) first_vocabulary = at;
    }
    assert_true(first_vocabulary > data_begin / 2 && first_vocabulary < data_begin);
    close(fd);
    buf_free(&bytes);
}

/* Change the byte at `at` by a mask, open, and change it back. */
static int try_flipped(int fd, const struct buf *bytes, size_t at, unsigned char mask) {
    char changed = (char)(bytes->data[at] ^ mask);
    assert_int_equal(pwrite(fd, &changed, 1, (off_t)at), 1);
    int status = try(MODEL_WHOLE, at);
    assert_int_equal(pwrite(fd, bytes->data + at, 1, (off_t)at), 1);
    return status;
}

/* Each bit of the header of one file. */
static void every_bit_flipped(void **state) {
    (void)state;
    struct buf bytes = {0};
    size_t data_begin, loaded = 0, refused = 0;
    load("qwen3-trace", &bytes, &data_begin);
    int fd = write_file(&bytes);
    for (size_t at = 0; at < data_begin; at++)
        for (unsigned bit = 0; bit < 8; bit++)
            *(try_flipped(fd, &bytes, at, (unsigned char)(1u << bit)) ? &refused : &loaded) += 1;
    assert_int_equal(try(MODEL_WHOLE, 0), STATUS_OK);
    assert_true(loaded > 1000 && refused > 10000);
    close(fd);
    buf_free(&bytes);
}

/* One byte changed at a time: all of the header, and the data up to 64 KiB in larger strides. */
static void every_byte_flipped(void **state) {
    (void)state;
    static const char *const names[] = {"qwen2-oldpads", "qwen3-trace", "llama3-scaled-q8_0"};
    static const unsigned char masks[] = {0x01, 0x80, 0xFF, 0x20, 0x10};
    size_t loaded = 0, refused = 0;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct buf bytes = {0};
        size_t data_begin;
        load(names[i], &bytes, &data_begin);
        int fd = write_file(&bytes);
        for (size_t at = 0; at < bytes.len && at < 65536; at += at < data_begin ? 1 : 509) {
            unsigned char mask = masks[(at + i) % sizeof masks];
            *(try_flipped(fd, &bytes, at, mask) ? &refused : &loaded) += 1;
        }
        assert_int_equal(try(MODEL_WHOLE, 0), STATUS_OK);
        close(fd);
        buf_free(&bytes);
    }
    assert_true(loaded > 100 && refused > 1000); /* a letter of a name may change, a length may not */
}

static double seconds_to_open(int expected, struct err *err) {
    struct gguf *g;
    double begin = cpu_seconds();
    assert_int_equal(gguf_open(path, GGUF_WHOLE, NULL, &g, err), expected);
    double seconds = cpu_seconds() - begin;
    if (!expected) gguf_close(g);
    return seconds;
}

/* 10^5 keys and as many tensors; then the same with a duplicate at the very end, and in the worst order. */
static void large_headers_are_linear(void **state) {
    (void)state;
    enum { N = 100000 };
    struct maker m;
    struct err err = {0};
    char name[64];
    maker_begin(&m);
    for (int i = 0; i < N; i++) {
        uint32_t one = 1, type = GGUF_TYPE_U32;
        snprintf(name, sizeof name, "key.%d", i);
        struct made_key *key = maker_add_key(&m, name);
        buf_append(&key->value, &type, 4);
        buf_append(&key->value, &one, 4);
        snprintf(name, sizeof name, "tensor.%d", i);
        struct made_tensor *t = maker_add_tensor(&m, name, DTYPE_F32, 8, 0, 32);
        t->offset = (uint64_t)(N - 1 - i) * 32;
    }
    maker_write(&m, path);
    assert_true(seconds_to_open(STATUS_OK, &err) < 3);
    maker_rename(&m.tensors[N - 1], "tensor.0");
    maker_write(&m, path);
    assert_true(seconds_to_open(STATUS_MODEL, &err) < 3);
    assert_non_null(strstr(err.text, "tensor tensor.0 is there twice"));
    maker_free(&m);
}

/* What is allocated follows what the file holds, not what it says: a process with little address space
 * refuses just so. */
static void claims_cost_nothing(void **state) {
    (void)state;
    static const uint64_t claims[] = {1 << 20, (uint64_t)1 << 32, (uint64_t)1 << 60, UINT64_MAX};
    for (size_t i = 0; i < sizeof claims / sizeof *claims; i++)
        for (uint32_t type = 0; type < GGUF_TYPE_COUNT; type++) {
            struct maker m;
            struct err err = {0};
            maker_begin(&m);
            maker_array(&m, "a", type, claims[i], "12345678", 8);
            maker_write(&m, path);
            assert_true(seconds_to_open(STATUS_MODEL, &err) < 1);
            maker_free(&m);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_prefix),        cmocka_unit_test(every_byte_flipped),
        cmocka_unit_test(every_bit_flipped),   cmocka_unit_test(large_headers_are_linear),
        cmocka_unit_test(claims_cost_nothing),
    };
    snprintf(path, sizeof path, "/tmp/logitop-hostile-%ld.gguf", (long)getpid());
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(path);
    return failed;
}
