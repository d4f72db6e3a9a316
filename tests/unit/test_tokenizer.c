/* Hand-made vocabularies: what tokenizer_new() refuses, what encoding and decoding do at their edges. */
#include "base/buf.h"
#include "base/mem.h"
#include "tests/unit/cpu_time.h"
#include "tokenizer/internal.h"
#include "tokenizer/normalize.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* A source with room to break things. */
enum { MADE_MAX = 400 };
struct made {
    struct tokenizer_source source;
    struct span tokens[MADE_MAX], merges[MADE_MAX];
    int32_t types[MADE_MAX];
    float scores[MADE_MAX];
    char letters[256][2];
};

static struct span text(const char *bytes) {
    return (struct span){bytes, strlen(bytes)};
}

static int32_t add(struct made *m, const char *token, int32_t type) {
    size_t at = m->source.n_tokens++;
    m->source.n_types = m->source.n_scores = m->source.n_tokens;
    m->tokens[at] = text(token);
    m->types[at] = type;
    m->scores[at] = -(float)at;
    return (int32_t)at;
}

static void merge(struct made *m, const char *pair) {
    m->merges[m->source.n_merges++] = text(pair);
}

static void make(struct made *m, const char *model, const char *pre) {
    memset(m, 0, sizeof *m);
    m->source = (struct tokenizer_source){.file = "made",
                                          .model = text(model),
                                          .pre = text(pre),
                                          .tokens = m->tokens,
                                          .types = m->types,
                                          .merges = m->merges,
                                          .scores = m->scores,
                                          .bos = -1,
                                          .eos = -1,
                                          .eot = -1,
                                          .eom = -1,
                                          .unknown = -1,
                                          .add_bos = -1,
                                          .add_space_prefix = -1};
}

enum { HE = 256, LL, HELL, SPACE_W, START, END, TEXT_END, THINK, THINK2, PAD, UNUSED };

/* Bytes are tokens 0 to 255, then a few words, control tokens and padding. */
static void make_bytes(struct made *m, const char *pre) {
    make(m, "gpt2", pre);
    for (int i = 0; i < 256; i++) {
        size_t len = byte_letter((unsigned char)i, m->letters[i]);
        add(m, "-", TOKEN_NORMAL);
        m->tokens[i] = (struct span){m->letters[i], len};
    }
    assert_int_equal(add(m, "he", TOKEN_NORMAL), HE);
    assert_int_equal(add(m, "ll", TOKEN_NORMAL), LL);
    assert_int_equal(add(m, "hell", TOKEN_NORMAL), HELL);
    assert_int_equal(add(m, "\xC4\xA0w", TOKEN_NORMAL), SPACE_W);
    assert_int_equal(add(m, "<|im_start|>", TOKEN_CONTROL), START);
    assert_int_equal(add(m, "<|im_end|>", TOKEN_CONTROL), END);
    assert_int_equal(add(m, "<|endoftext|>", TOKEN_CONTROL), TEXT_END);
    assert_int_equal(add(m, "<think>", TOKEN_USER_DEFINED), THINK);
    assert_int_equal(add(m, "<think>more", TOKEN_CONTROL), THINK2);
    assert_int_equal(add(m, "[PAD265]", TOKEN_USER_DEFINED), PAD);
    assert_int_equal(add(m, "unused", TOKEN_UNUSED), UNUSED);
    merge(m, "h e");
    merge(m, "l l");
    merge(m, "he ll");
    merge(m, "\xC4\xA0 w");
}

/* "llama": unknown, bos, eos, the bytes but one, then pieces with falling scores. */
static char byte_names[256][8];
static void make_scores(struct made *m) {
    make(m, "llama", "default");
    add(m, "<unk>", TOKEN_UNKNOWN);
    add(m, "<s>", TOKEN_CONTROL);
    add(m, "</s>", TOKEN_CONTROL);
    for (int i = 0; i < 256; i++) {
        snprintf(byte_names[i], sizeof byte_names[i], "<0x%02X>", i);
        if (i != 0xFE) add(m, byte_names[i], TOKEN_BYTE);
    }
    static const char *const pieces[] = {
        "ab", "bc", SPACE_MARK "a", SPACE_MARK SPACE_MARK, SPACE_MARK, "a", "b", "c", "<", "s", ">",
        "<s", "s>"};
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) add(m, pieces[i], TOKEN_NORMAL);
}

static struct tokenizer *build(const struct made *m) {
    struct tokenizer *t = NULL;
    struct err err = {0};
    if (tokenizer_new(&m->source, &t, &err)) fail_msg("%s", err.text);
    return t;
}

/* The ids of segments ("template" and "person" by turns, a NULL ends), as text: "104 101". */
static const char *ids_text(const struct tokenizer *t, enum added_tokens mode, const char *first, ...) {
    static char out[4096];
    struct segment segments[8];
    size_t n = 0, at = 0;
    va_list args;
    va_start(args, first);
    for (const char *next = first; next; next = va_arg(args, const char *)) {
        segments[n] = (struct segment){next, strlen(next), n % 2 == 0};
        n++;
    }
    va_end(args);
    struct ids ids = {0};
    struct err err;
    assert_int_equal(tokenizer_encode(t, segments, n, mode, &ids, &err), STATUS_OK);
    out[0] = 0;
    for (size_t i = 0; i < ids.n; i++)
        at += (size_t)snprintf(out + at, sizeof out - at, i ? " %d" : "%d", ids.at[i]);
    ids_free(&ids);
    return out;
}

static void test_words_and_merges(void **state) {
    (void)state;
    static struct made m;
    make_bytes(&m, "gpt-2");
    struct tokenizer *t = build(&m);
    assert_string_equal(ids_text(t, ADDED_ALL, "hello", NULL), "258 111");
    assert_string_equal(ids_text(t, ADDED_ALL, "hell w", NULL), "258 259");
    assert_string_equal(ids_text(t, ADDED_ALL, "h\xFFllll", NULL), "104 255 257 257");
    assert_string_equal(ids_text(t, ADDED_ALL, "", NULL), "");
    tokenizer_free(t);
}

static void test_ignored_merges(void **state) {
    (void)state;
    static struct made m;
    make_bytes(&m, "llama-bpe");
    int32_t whole = add(&m, "word", TOKEN_NORMAL);
    struct tokenizer *t = build(&m);
    assert_true(tokenizer_add_bos(t) == false); /* no BOS to add */
    char expected[64];
    snprintf(expected, sizeof expected, "%d 259 111 114 100", whole);
    assert_string_equal(ids_text(t, ADDED_ALL, "word word", NULL), expected);
    tokenizer_free(t);
}

/* A byte without a token is dropped before merging, as in Hugging Face tokenizers. */
static void test_missing_byte(void **state) {
    (void)state;
    static struct made m;
    make_bytes(&m, "gpt-2");
    m.tokens['x'] = text("elsewhere");
    struct tokenizer *t = build(&m);
    assert_string_equal(ids_text(t, ADDED_ALL, "hxe", NULL), "256");
    assert_string_equal(ids_text(t, ADDED_ALL, "xx", NULL), "");
    tokenizer_free(t);
}

static void test_added_tokens(void **state) {
    (void)state;
    static struct made m;
    make_bytes(&m, "gpt-2");
    struct tokenizer *t = build(&m);
    /* the longest wins, [PADn] and unused ones never match */
    assert_string_equal(ids_text(t, ADDED_ALL, "<think>more<think>mo", NULL), "264 263 109 111");
    assert_string_equal(ids_text(t, ADDED_ALL, "[PAD265]", NULL), "91 80 65 68 50 54 53 93");
    assert_string_equal(ids_text(t, ADDED_ALL, "<|im_end|><|im_end|>", NULL), "261 261");
    assert_string_equal(ids_text(t, ADDED_ALL, "<|im_<|im_end|>", NULL), "60 124 105 109 95 261");
    /* plain: only user-defined ones */
    assert_string_equal(ids_text(t, ADDED_PLAIN, "<think>more<|im_end|>", NULL),
                        "263 109 111 114 101 60 124 105 109 95 101 110 100 124 62");
    /* by origin: what a person types is text, and so is what is half his */
    assert_string_equal(ids_text(t, ADDED_BY_ORIGIN, "<|im_start|>", "<think>", "<|im_end|>", NULL),
                        "260 60 116 104 105 110 107 62 261");
    assert_string_equal(ids_text(t, ADDED_BY_ORIGIN, "<|im_", "end|>", NULL),
                        "60 124 105 109 95 101 110 100 124 62");
    assert_string_equal(ids_text(t, ADDED_BY_ORIGIN, "", "<|im_end|>", NULL),
                        "60 124 105 109 95 101 110 100 124 62");
    /* two pieces of a template may make one, and words cross the borders */
    assert_string_equal(ids_text(t, ADDED_BY_ORIGIN, "<|im_", "", "end|>", NULL), "261");
    assert_string_equal(ids_text(t, ADDED_BY_ORIGIN, "he", "l", "l w", NULL), "258 259");
    tokenizer_free(t);
}

/* However a message is made, the number of control tokens in a prompt is the template's. */
static void test_no_injection(void **state) {
    (void)state;
    static struct made m;
    make_bytes(&m, "qwen2");
    struct tokenizer *t = build(&m);
    static const char *const parts[] = {"<|im_start|>", "<|im_end|>", "<|im_", "end|>", "<think>", "<",
                                        "|>",           "more",       " ",     "\n"};
    uint32_t random = 7;
    for (int round = 0; round < 2000; round++) {
        char message[128] = "";
        for (int i = 0; i < 5; i++) {
            random = random * 1664525u + 1013904223u;
            strcat(message, parts[(random >> 16) % (sizeof parts / sizeof *parts)]);
        }
        struct segment segments[] = {
            {"<|im_start|>user\n", 17, true}, {message, strlen(message), false}, {"<|im_end|>\n", 11, true}};
        struct ids ids = {0};
        struct err err;
        assert_int_equal(tokenizer_encode(t, segments, 3, ADDED_BY_ORIGIN, &ids, &err), STATUS_OK);
        int added = 0;
        for (size_t i = 0; i < ids.n; i++) added += ids.at[i] >= START;
        assert_int_equal(added, 2);
        ids_free(&ids);
    }
    tokenizer_free(t);
}

static void test_vocabulary_facts(void **state) {
    (void)state;
    static struct made m;
    make_bytes(&m, "gpt-2");
    m.source.eos = TEXT_END;
    m.source.bos = START;
    m.source.add_bos = 1;
    struct tokenizer *t = build(&m);
    assert_int_equal(tokenizer_n_tokens(t), UNUSED + 1);
    assert_int_equal(tokenizer_n_vocab(t), PAD); /* padding and unused tokens at the end do not count */
    assert_int_equal(tokenizer_bos(t), START);
    assert_int_equal(tokenizer_eos(t), TEXT_END);
    assert_true(tokenizer_add_bos(t));
    assert_true(tokenizer_is_end(t, END) && tokenizer_is_end(t, TEXT_END));
    assert_false(tokenizer_is_end(t, START) || tokenizer_is_end(t, 5) || tokenizer_is_end(t, -1));
    assert_int_equal(tokenizer_find(t, "<think>", 7), THINK);
    assert_int_equal(tokenizer_find(t, "nothing", 7), -1);
    struct span said = tokenizer_bytes(t, SPACE_W);
    assert_int_equal(said.len, 2);
    assert_memory_equal(said.bytes, " w", 2);
    for (int i = 0; i < 256; i++) {
        said = tokenizer_bytes(t, i);
        assert_int_equal(said.len, 1);
        assert_int_equal((unsigned char)said.bytes[0], i);
    }
    said = tokenizer_bytes(t, END);
    assert_memory_equal(said.bytes, "<|im_end|>", 10);
    assert_int_equal(tokenizer_bytes(t, 100000).len, 0);
    assert_int_equal(tokenizer_bytes(t, -1).len, 0);
    assert_int_equal(tokenizer_type(t, THINK), TOKEN_USER_DEFINED);
    tokenizer_free(t);
}

/* Files older than token types call <|im_end|> an ordinary or a user-defined token. */
static void test_late_control_tokens(void **state) {
    (void)state;
    static struct made m;
    make_bytes(&m, "gpt-2");
    m.types[END] = TOKEN_USER_DEFINED;
    m.types[TEXT_END] = TOKEN_NORMAL;
    struct tokenizer *t = build(&m);
    assert_int_equal(tokenizer_type(t, END), TOKEN_CONTROL);
    assert_int_equal(tokenizer_type(t, TEXT_END), TOKEN_CONTROL);
    assert_true(tokenizer_is_end(t, END) && tokenizer_is_end(t, TEXT_END));
    tokenizer_free(t);
}

/* A merge that would make a control token is not made. */
static void test_merge_to_control_token(void **state) {
    (void)state;
    static struct made m;
    make_bytes(&m, "gpt-2");
    add(&m, "ab", TOKEN_CONTROL);
    merge(&m, "a b");
    struct tokenizer *t = build(&m);
    assert_string_equal(ids_text(t, ADDED_PLAIN, "ab", NULL), "97 98");
    tokenizer_free(t);
}

/* Nor is one that would make a token of the padding: no model takes its id. */
static void test_padding_is_never_said(void **state) {
    (void)state;
    static struct made m;
    make_bytes(&m, "gpt-2");
    add(&m, "qz", TOKEN_UNUSED);
    merge(&m, "q z");
    struct tokenizer *t = build(&m);
    assert_int_equal(tokenizer_n_vocab(t), PAD);
    assert_string_equal(ids_text(t, ADDED_ALL, "qz", NULL), "113 122");
    tokenizer_free(t);

    make_scores(&m);
    int32_t left = add(&m, "[PAD2", TOKEN_NORMAL), right = add(&m, "85]", TOKEN_NORMAL);
    const char *const parts[] = {"[", "P", "A", "D", "2", "8", "5", "]", "[P", "[PA", "[PAD", "85"};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) add(&m, parts[i], TOKEN_NORMAL);
    char pad[32];
    snprintf(pad, sizeof pad, "[PAD%zu]", m.source.n_tokens);
    add(&m, pad, TOKEN_NORMAL);
    m.source.add_space_prefix = 0;
    t = build(&m);
    assert_int_equal(tokenizer_n_vocab(t), 285);
    char expected[64];
    snprintf(expected, sizeof expected, "%d %d", left, right);
    assert_string_equal(ids_text(t, ADDED_ALL, "[PAD285]", NULL), expected);
    tokenizer_free(t);
}

static void test_scores(void **state) {
    (void)state;
    static struct made m;
    make_scores(&m);
    struct tokenizer *t = build(&m);
    int32_t ab = tokenizer_find(t, "ab", 2), c = tokenizer_find(t, "c", 1),
            space_a = tokenizer_find(t, SPACE_MARK "a", 4);
    int32_t b = tokenizer_find(t, "b", 1), space = tokenizer_find(t, SPACE_MARK, 3);
    int32_t two = tokenizer_find(t, SPACE_MARK SPACE_MARK, 6), less_s = tokenizer_find(t, "<s", 2);
    char expected[128];
    assert_true(tokenizer_bos(t) == 1 && tokenizer_eos(t) == 2 && tokenizer_add_bos(t));
    snprintf(expected, sizeof expected, "%d %d %d", space, ab, c); /* "ab" has the best score */
    assert_string_equal(ids_text(t, ADDED_ALL, "abc", NULL), expected);
    snprintf(expected, sizeof expected, "%d %d %d", space_a, two, b);
    assert_string_equal(ids_text(t, ADDED_ALL, "a  b", NULL), expected);
    /* U+00E9 is no token: its bytes; FE has none: dropped */
    snprintf(expected, sizeof expected, "%d %d %d", space, tokenizer_find(t, "<0xC3>", 6),
             tokenizer_find(t, "<0xA9>", 6));
    assert_string_equal(ids_text(t, ADDED_ALL, "\xC3\xA9\xFE", NULL), expected);
    /* a person's "<s>" stays text though its halves are tokens */
    snprintf(expected, sizeof expected, "%d %d %d", space, less_s, tokenizer_find(t, ">", 1));
    assert_string_equal(ids_text(t, ADDED_PLAIN, "<s>", NULL), expected);
    snprintf(expected, sizeof expected, "1 %d %d", space, ab); /* after a control token a space again */
    assert_string_equal(ids_text(t, ADDED_ALL, "<s>ab", NULL), expected);
    tokenizer_free(t);
    m.source.add_space_prefix = 0;
    t = build(&m);
    snprintf(expected, sizeof expected, "%d %d", ab, c);
    assert_string_equal(ids_text(t, ADDED_ALL, "abc", NULL), expected);
    tokenizer_free(t);
}

/* phi-3: white space after its tokens goes with them. */
static void test_stripping_tokens(void **state) {
    (void)state;
    static struct made m;
    make_scores(&m);
    int32_t user = add(&m, "<|assistant|>", TOKEN_CONTROL);
    add(&m, "<|placeholder1|>", TOKEN_CONTROL);
    struct tokenizer *t = build(&m);
    char expected[128];
    snprintf(expected, sizeof expected, "%d %d 1 %d %d", user, tokenizer_find(t, SPACE_MARK "a", 4),
             tokenizer_find(t, SPACE_MARK SPACE_MARK, 6), tokenizer_find(t, "b", 1));
    assert_string_equal(ids_text(t, ADDED_ALL, "<|assistant|>\n a<s> b", NULL), expected);
    tokenizer_free(t);
}

static void say(struct decoder *d, const struct tokenizer *t, int32_t id, const char *expected) {
    struct buf out = {0};
    decoder_add(d, t, id, &out);
    assert_string_equal(out.data ? out.data : "", expected);
    buf_free(&out);
}

static void test_streaming(void **state) {
    (void)state;
    static struct made m;
    make_bytes(&m, "gpt-2");
    struct tokenizer *t = build(&m);
    struct decoder d = {0};
    say(&d, t, 0xF0, ""); /* U+1F600 byte by byte */
    say(&d, t, 0x9F, "");
    say(&d, t, 0x98, "");
    say(&d, t, 0x80, "\xF0\x9F\x98\x80");
    say(&d, t, 0xE4, "");
    say(&d, t, 'a',
        "\xE4"
        "a"); /* no character begins so: given out as it is */
    say(&d, t, 0x80, "\x80");
    say(&d, t, SPACE_W, " w");
    say(&d, t, 0xC3, "");
    struct buf rest = {0};
    decoder_finish(&d, &rest);
    assert_string_equal(rest.data, "\xC3");
    buf_free(&rest);
    tokenizer_free(t);
    make_scores(&m);
    t = build(&m);
    d = (struct decoder){0};
    say(&d, t, tokenizer_find(t, SPACE_MARK "a", 4), "a"); /* the space that encoding put there */
    say(&d, t, tokenizer_find(t, SPACE_MARK "a", 4), " a");
    say(&d, t, tokenizer_find(t, "<0x0A>", 6), "\n");
    tokenizer_free(t);
}

/* Long words take the heap, short ones do not: the same ids, and n log n. */
static void test_long_words(void **state) {
    (void)state;
    static struct made m;
    make_bytes(&m, "gpt-2");
    struct tokenizer *t = build(&m);
    enum { SIZE = 1 << 20 };
    char *word = xmalloc(SIZE);
    for (size_t i = 0; i < SIZE; i++) word[i] = "hell"[i % 4];
    struct ids ids = {0};
    struct err err;
    static const size_t rest[] = {0, 1, 1, 2}; /* "", h, he, he l */
    for (size_t len = 1; len <= 200; len++) {
        struct segment segment = {word, len, false};
        ids.n = 0;
        assert_int_equal(tokenizer_encode(t, &segment, 1, ADDED_PLAIN, &ids, &err), STATUS_OK);
        assert_int_equal(ids.n, len / 4 + rest[len % 4]);
        for (size_t i = 0; i < len / 4; i++) assert_int_equal(ids.at[i], HELL);
    }
    static const char *const words[] = {"hell", "l", "x", "he"};
    static const size_t left[] = {SIZE / 4, SIZE / 2, SIZE, SIZE / 2};
    for (size_t w = 0; w < 4; w++) {
        size_t unit = strlen(words[w]);
        for (size_t i = 0; i < SIZE; i++) word[i] = words[w][i % unit];
        struct segment segment = {word, SIZE, false};
        ids.n = 0;
        double start = cpu_seconds();
        assert_int_equal(tokenizer_encode(t, &segment, 1, ADDED_PLAIN, &ids, &err), STATUS_OK);
        double seconds = cpu_seconds() - start;
        assert_int_equal(ids.n, left[w]);
        if (seconds > 10) fail_msg("1 MiB of '%s' takes %.1f s", words[w], seconds);
    }
    struct segment huge = {word, (size_t)(1 << 30) + 1, false};
    assert_int_equal(tokenizer_encode(t, &huge, 1, ADDED_PLAIN, &ids, &err), STATUS_USAGE);
    ids_free(&ids);
    free(word);
    tokenizer_free(t);
}

static void check_nfc(const char *from, const char *expected) {
    struct buf out = {0};
    if (normalize_nfc(from, strlen(from), &out, NULL))
        assert_string_equal(out.data, expected);
    else
        assert_string_equal(from, expected);
    buf_free(&out);
}

/* Each byte of the form tells where ends what it came from. */
static void check_nfc_ends(const char *from, size_t n, const uint32_t expected[]) {
    struct buf out = {0};
    struct offsets ends = {0};
    assert_true(normalize_nfc(from, strlen(from), &out, &ends));
    assert_int_equal(out.len, n);
    assert_int_equal(ends.n, n);
    assert_memory_equal(ends.at, expected, n * sizeof *expected);
    buf_free(&out);
    free(ends.at);
}

static void test_nfc(void **state) {
    (void)state;
    check_nfc_ends("ae\xCC\x81"
                   "b",
                   4, (uint32_t[]){1, 4, 4, 5});
    check_nfc_ends("e\xCC\x81 \xE2\x84\xAB", 5, (uint32_t[]){3, 3, 4, 7, 7});
    check_nfc_ends("\xE1\x84\x80\xE1\x85\xA1!", 4, (uint32_t[]){6, 6, 6, 7});
    check_nfc("plain", "plain");
    check_nfc("xe\xCC\x81y", "x\xC3\xA9y");
    check_nfc("e\xCC\x81", "\xC3\xA9");
    check_nfc("\xC3\xA9", "\xC3\xA9");
    check_nfc("\xCC\x81"
              "a\xCC\x80",
              "\xCC\x81\xC3\xA0");
    check_nfc("\xE2\x84\xAB", "\xC3\x85");                             /* the Angstrom sign */
    check_nfc("\xE1\x84\x80\xE1\x85\xA1\xE1\x86\xA8", "\xEA\xB0\x81"); /* Hangul of three */
    check_nfc("a\xCC\x81\xCC\xA3z", "\xE1\xBA\xA1\xCC\x81z");          /* marks are put in order first */
    check_nfc("e\xFF\xCC\x81", "e\xFF\xCC\x81"); /* a bad byte stays and parts what it parts */
    check_nfc("\xCC\x81\xFF"
              "e\xCC\x81 \xE4\xB8",
              "\xCC\x81\xFF\xC3\xA9 \xE4\xB8");
    static struct made m;
    make_bytes(&m, "qwen2");
    struct tokenizer *t = build(&m);
    assert_string_equal(ids_text(t, ADDED_ALL, "e\xCC\x81<|im_end|>\xCC\x81", NULL), "195 169 261 204 129");
    /* marks out of order by the hundred thousand */
    struct buf marks = {0};
    buf_putc(&marks, 'a');
    for (int i = 0; i < 200000; i++) buf_puts(&marks, i % 2 ? "\xCC\xA3" : "\xCC\x81");
    struct buf out = {0};
    double start = cpu_seconds();
    assert_true(normalize_nfc(marks.data, marks.len, &out, NULL));
    double seconds = cpu_seconds() - start;
    if (seconds > 5) fail_msg("NFC takes %.1f s", seconds);
    assert_memory_equal(out.data, "\xE1\xBA\xA1\xCC\xA3\xCC\xA3", 7);
    buf_free(&marks);
    buf_free(&out);
    tokenizer_free(t);
}

/* ---- what is refused ---- */

static void no_model(struct made *m) {
    m->source.model = text("");
}
static void other_model(struct made *m) {
    m->source.model = text("bert");
}
static void other_pre(struct made *m) {
    m->source.pre = text("qwen99");
}
static void no_pre(struct made *m) {
    m->source.pre = text("");
}
static void no_tokens(struct made *m) {
    m->source.n_tokens = 0;
}
static void many_tokens(struct made *m) {
    m->source.n_tokens = (1 << 22) + 1;
}
static void same_token(struct made *m) {
    m->tokens[LL] = text("he");
}
static void empty_token(struct made *m) {
    m->tokens[LL] = text("");
}
static void long_token(struct made *m) {
    static char bytes[8193 + 1];
    memset(bytes, 'a', 8193);
    m->tokens[LL] = text(bytes);
}
static void few_types(struct made *m) {
    m->source.n_types--;
}
static void type_zero(struct made *m) {
    m->types[9] = 0;
}
static void type_seven(struct made *m) {
    m->types[9] = 7;
}
static void no_merges(struct made *m) {
    m->source.n_merges = 0;
}
static void merge_of_one(struct made *m) {
    m->merges[1] = text("ll");
}
static void merge_of_three(struct made *m) {
    m->merges[1] = text("l l l");
}
static void merge_without_left(struct made *m) {
    m->merges[1] = text(" l");
}
static void merge_without_right(struct made *m) {
    m->merges[1] = text("l ");
}
static void merge_empty(struct made *m) {
    m->merges[1] = text("");
}
static void merge_unknown_side(struct made *m) {
    m->merges[1] = text("l zz");
}
static void merge_unknown_result(struct made *m) {
    m->merges[1] = text("l h");
}
static void merge_twice(struct made *m) {
    m->merges[1] = text("h e");
}
static void bad_byte(struct made *m) {
    m->types[THINK] = TOKEN_BYTE;
}
static void bos_beyond(struct made *m) {
    m->source.bos = UNUSED + 1;
}
static void eos_beyond(struct made *m) {
    m->source.eos = 4294967295;
}
static void eot_negative(struct made *m) {
    m->source.eot = -2;
}
static void unknown_beyond(struct made *m) {
    m->source.unknown = 1 << 30;
}
static void no_end(struct made *m) {
    m->tokens[END] = text("<|other|>");
    m->tokens[TEXT_END] = text("<|another|>");
}
static void nothing_real(struct made *m) {
    for (size_t i = 0; i < m->source.n_tokens; i++) m->types[i] = TOKEN_UNUSED;
    m->tokens[END] = text("<|other|>");
    m->tokens[TEXT_END] = text("<|another|>");
    m->source.eos = HE;
}
static void few_scores(struct made *m) {
    make_scores(m);
    m->source.n_scores--;
}
static void no_scores(struct made *m) {
    make_scores(m);
    m->source.scores = NULL;
}
static void score_nan(struct made *m) {
    make_scores(m);
    m->scores[5] = NAN;
}
static void byte_of_letters(struct made *m) {
    make_scores(m);
    m->tokens[5] = text("<0xZZ>");
}
static void byte_with_sign(struct made *m) {
    make_scores(m);
    m->tokens[5] = text("<0x-1>");
}
static void gemma_without_merges(struct made *m) {
    make_scores(m);
    m->source.model = text("gemma4");
}

struct fault {
    void (*make)(struct made *m);
    const char *line; /* what the message begins with after "made: " */
    enum status status;
};

static void test_refused(void **state) {
    (void)state;
    static const struct fault faults[] = {
        {no_model, "tokenizer.ggml.model: missing or empty", STATUS_MODEL},
        {other_model, "tokenizer.ggml.model: found 'bert', expected", STATUS_UNSUPPORTED},
        {other_pre, "tokenizer.ggml.pre: found 'qwen99'", STATUS_UNSUPPORTED},
        {no_pre, "tokenizer.ggml.pre: found ''", STATUS_UNSUPPORTED},
        {no_tokens, "tokenizer.ggml.tokens: missing or empty", STATUS_MODEL},
        {many_tokens, "tokenizer.ggml.tokens: found 4194305 tokens, expected at most 4194304", STATUS_MODEL},
        {same_token, "tokenizer.ggml.tokens[257]: found 'he' again, which is token 256", STATUS_MODEL},
        {empty_token, "tokenizer.ggml.tokens[257]: found an empty text", STATUS_MODEL},
        {long_token, "tokenizer.ggml.tokens[257]: found 8193 bytes, expected at most 8192", STATUS_MODEL},
        {few_types, "tokenizer.ggml.token_type: found 266 types, expected one for each of 267", STATUS_MODEL},
        {type_zero, "tokenizer.ggml.token_type[9]: found 0, expected 1 to 6", STATUS_MODEL},
        {type_seven, "tokenizer.ggml.token_type[9]: found 7, expected 1 to 6", STATUS_MODEL},
        {no_merges, "tokenizer.ggml.merges: missing or empty", STATUS_MODEL},
        {merge_of_one, "tokenizer.ggml.merges[1]: found 'll', expected two tokens", STATUS_MODEL},
        {merge_of_three, "tokenizer.ggml.merges[1]: found 'l l l', expected two tokens", STATUS_MODEL},
        {merge_without_left, "tokenizer.ggml.merges[1]: found ' l', expected two tokens", STATUS_MODEL},
        {merge_without_right, "tokenizer.ggml.merges[1]: found 'l ', expected two tokens", STATUS_MODEL},
        {merge_empty, "tokenizer.ggml.merges[1]: found '', expected two tokens", STATUS_MODEL},
        {merge_unknown_side, "tokenizer.ggml.merges[1]: found 'l zz', whose sides or result are no tokens",
         STATUS_MODEL},
        {merge_unknown_result, "tokenizer.ggml.merges[1]: found 'l h', whose sides or result are no tokens",
         STATUS_MODEL},
        {merge_twice, "tokenizer.ggml.merges[1]: found 'h e' again", STATUS_MODEL},
        {bad_byte, "tokenizer.ggml.tokens[263]: found '<think>' for a byte, expected <0x00> to <0xFF>",
         STATUS_MODEL},
        {bos_beyond, "tokenizer.ggml.bos_token_id: found 267, expected 0 to 266", STATUS_MODEL},
        {eos_beyond, "tokenizer.ggml.eos_token_id: found 4294967295, expected 0 to 266", STATUS_MODEL},
        {eot_negative, "tokenizer.ggml.eot_token_id: found -2, expected 0 to 266", STATUS_MODEL},
        {unknown_beyond, "tokenizer.ggml.unknown_token_id: found 1073741824, expected 0 to 266",
         STATUS_MODEL},
        {no_end, "tokenizer.ggml.eos_token_id: missing, and no token is known to end an answer",
         STATUS_MODEL},
        {nothing_real, "tokenizer.ggml.token_type: found no token that is in use", STATUS_MODEL},
        {few_scores, "tokenizer.ggml.scores: found 270 scores, expected one for each of 271", STATUS_MODEL},
        {no_scores, "tokenizer.ggml.scores: found", STATUS_MODEL},
        {score_nan, "tokenizer.ggml.scores[5]: found nan", STATUS_MODEL},
        {byte_of_letters, "tokenizer.ggml.tokens[5]: found '<0xZZ>' for a byte", STATUS_MODEL},
        {byte_with_sign, "tokenizer.ggml.tokens[5]: found '<0x-1>' for a byte", STATUS_MODEL},
        {gemma_without_merges, "tokenizer.ggml.merges: missing or empty", STATUS_MODEL},
    };
    static struct made m;
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        struct tokenizer *t = NULL;
        struct err err = {0};
        make_bytes(&m, "gpt-2");
        faults[i].make(&m);
        int status = tokenizer_new(&m.source, &t, &err);
        if (status != (int)faults[i].status || err.code != faults[i].status ||
            strncmp(err.text, "made: ", 6) != 0 ||
            strncmp(err.text + 6, faults[i].line, strlen(faults[i].line)) != 0)
            fail_msg("found %d '%s', expected '%s'", status, err.text, faults[i].line);
        assert_null(strchr(err.text, '\n'));
        assert_null(t);
    }
}

/* What is made of a vocabulary takes many times its size: one that is larger than any is refused first. */
static void test_huge_vocabulary(void **state) {
    (void)state;
    enum { N = 2100, LEN = 8192 };
    static struct made m;
    make_scores(&m);
    struct span *tokens = xmalloc(N * sizeof *tokens);
    char *bytes = xmalloc((size_t)N * LEN);
    for (size_t i = 0; i < (size_t)N * LEN; i++) bytes[i] = (char)('a' + i / LEN * (i % LEN + 1) % 23);
    for (size_t i = 0; i < N; i++) {
        tokens[i] = (struct span){bytes + i * LEN, LEN};
        memcpy(bytes + i * LEN, &i, 4); /* none is there twice */
    }
    m.source.tokens = tokens;
    m.source.n_tokens = N;
    m.source.types = NULL;
    m.source.eos = 0;
    struct tokenizer *t = NULL;
    struct err err = {0};
    assert_int_equal(tokenizer_new(&m.source, &t, &err), STATUS_MODEL);
    assert_string_equal(err.text, "made: tokenizer.ggml.tokens: found more than 16777216 bytes of text");
    free(tokens);
    free(bytes);
}

/* Each prefix of every array, with everything else as it is: built or refused, never worse. */
static void test_cut_short(void **state) {
    (void)state;
    static struct made m;
    for (size_t n = 0; n < 267; n++) {
        struct tokenizer *t = NULL;
        make_bytes(&m, "gpt-2");
        m.source.n_tokens = m.source.n_types = n;
        if (tokenizer_new(&m.source, &t, NULL) == STATUS_OK) {
            assert_true(n > END);
            ids_text(t, ADDED_ALL, "hello \xFF<|im_end|>", NULL);
        }
        tokenizer_free(t);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_words_and_merges),
        cmocka_unit_test(test_ignored_merges),
        cmocka_unit_test(test_missing_byte),
        cmocka_unit_test(test_added_tokens),
        cmocka_unit_test(test_no_injection),
        cmocka_unit_test(test_vocabulary_facts),
        cmocka_unit_test(test_late_control_tokens),
        cmocka_unit_test(test_merge_to_control_token),
        cmocka_unit_test(test_padding_is_never_said),
        cmocka_unit_test(test_scores),
        cmocka_unit_test(test_stripping_tokens),
        cmocka_unit_test(test_streaming),
        cmocka_unit_test(test_long_words),
        cmocka_unit_test(test_nfc),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_huge_vocabulary),
        cmocka_unit_test(test_cut_short),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
