#include "app/thinking.h"

#include "base/buf.h"

#include <stdlib.h>
#include <string.h>

/* Of Qwen3, DeepSeek-R1 and their kin; of Mistral's Magistral; of Seed-OSS; of others that were taught to. */
static const struct {
    const char *begin, *end;
} tags[] = {{"<think>", "</think>"},       {"[THINK]", "[/THINK]"},     {"<seed:think>", "</seed:think>"},
            {"<thinking>", "</thinking>"}, {"<thought>", "</thought>"}, {"<reasoning>", "</reasoning>"}};
enum { N_TAGS = sizeof tags / sizeof *tags };

/* The length of the tag if it stands here; 0: it does not. *maybe: the text ends in what may become it. */
static size_t tag_here(const char *text, size_t len, const char *tag, bool *maybe) {
    size_t n = strlen(tag);
    if (len >= n) return memcmp(text, tag, n) == 0 ? n : 0;
    if (memcmp(text, tag, len) == 0) *maybe = true;
    return 0;
}

static void add(struct thinking *thinking, size_t start, size_t end) {
    grow_array(&thinking->ranges, &thinking->cap, thinking->n + 1, sizeof *thinking->ranges);
    thinking->ranges[thinking->n++] = (struct ui_range){(uint32_t)start, (uint32_t)end};
}

/* A tag that begins or ends thinking at text[at]: returns its length, or 0. */
static size_t take_tag(struct thinking *thinking, const char *text, size_t at, size_t len, bool *maybe) {
    for (size_t i = 0; i < N_TAGS; i++) {
        size_t n = thinking->end ? 0 : tag_here(text + at, len - at, tags[i].begin, maybe);
        if (n) {
            add(thinking, at, at + n);
            thinking->end = tags[i].end;
            return n;
        }
        bool ours = thinking->end ? thinking->end == tags[i].end : thinking->n == 0;
        n = ours ? tag_here(text + at, len - at, tags[i].end, maybe) : 0;
        if (!n) continue;
        if (!thinking->end) {
            add(thinking, 0, 0);
            thinking->prompted = tags[i].end;
        }
        thinking->ranges[thinking->n - 1].end = (uint32_t)(at + n);
        thinking->end = NULL;
        return n;
    }
    return 0;
}

void thinking_begin(struct thinking *thinking, const char *end) {
    add(thinking, 0, 0);
    thinking->end = thinking->prompted = end;
}

void thinking_follow(struct thinking *thinking, const char *text, size_t len) {
    size_t at = thinking->seen;
    while (at < len) {
        bool maybe = false;
        size_t n = text[at] == '<' || text[at] == '[' ? take_tag(thinking, text, at, len, &maybe) : 0;
        if (maybe && !n) break;
        at += n ? n : 1;
    }
    thinking->seen = at;
    if (thinking->end) thinking->ranges[thinking->n - 1].end = (uint32_t)len;
}

bool thinking_left_open(const char *text, size_t len, const char **end) {
    struct thinking thinking = {0};
    thinking_follow(&thinking, text, len);
    bool told = thinking.n > 0;
    if (told) *end = thinking.end;
    thinking_free(&thinking);
    return told;
}

void thinking_free(struct thinking *thinking) {
    free(thinking->ranges);
    *thinking = (struct thinking){0};
}
