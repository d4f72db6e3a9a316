/* /tokens: the tokens of an answer as numbers. They may be as many as the context holds: the page is printed
 * part by part, of a copy of what it tells, so that the chat can go on behind it. */
#include "app/slash_internal.h"
#include "base/mem.h"
#include "base/text.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static void print_quoted(const char *text, size_t len, bool control, struct buf *out) {
    enum { WIDTH = 24 };
    size_t start = out->len;
    if (control)
        buf_append(out, text, len);
    else
        text_quote(out, text, len, WIDTH);
    unsigned width = text_width(out->data + start, out->len - start);
    buf_printf(out, "%*s", width < WIDTH ? (int)(WIDTH - width) : 1, "");
}

/* ---- all of them ---- */

struct token_line {
    size_t end;   /* of its text, in token_page.text; it begins where the one before ends */
    bool control; /* which is a name */
    float logprob;
    uint32_t rank;
};

struct token_page {
    struct token_line *lines; /* [n] */
    size_t n, next;
    struct buf text;
};

static struct token_page *page_new(const struct chat *chat, const struct said *said) {
    const struct engine_ops *ops = chat->engine->ops;
    const bool known = conversation_knows_ids(&chat->conversation, said);
    struct token_page *page = xcalloc(1, sizeof *page);
    page->n = said->n_tokens;
    page->lines = xcalloc(page->n + 1, sizeof *page->lines);
    for (size_t i = 0; i < page->n; i++) {
        const struct kept_token *token = &said->tokens[i];
        size_t begin = said_token_begin(said, i), len = said->shown[i].end - begin;
        const char *text = said->text.data + begin;
        if (known) text = ops->token_text(chat->engine, token->id, &len);
        buf_append(&page->text, text, len);
        page->lines[i] =
            (struct token_line){.end = page->text.len,
                                .control = known && ops->token_is_control(chat->engine, token->id),
                                .logprob = token->logit - token->log_sum_exp,
                                .rank = token->rank};
    }
    return page;
}

bool token_page_next(void *context, struct buf *out) {
    enum { PART = 2048 }; /* tokens: some 100 KB, which are printed and laid out in 4 ms */
    struct token_page *page = context;
    size_t end = page->n - page->next < PART ? page->n : page->next + PART;
    for (size_t i = page->next; i < end; i++) {
        const struct token_line *line = &page->lines[i];
        size_t begin = i ? line[-1].end : 0;
        buf_printf(out, "%5zu  ", i + 1);
        print_quoted(page->text.data + begin, line->end - begin, line->control, out);
        buf_printf(out, "p %.3f  rank %u\n", exp((double)line->logprob), line->rank);
    }
    page->next = end;
    if (end < page->n) return true;
    buf_puts(out, "/tokens N: what else could have come in place of token N\n");
    return false;
}

void token_page_free(void *context) {
    struct token_page *page = context;
    if (!page) return;
    buf_free(&page->text);
    free(page->lines);
    free(page);
}

/* ---- one ---- */

/* Its candidates: rank, token, raw and final probability, what cut it. */
static void print_candidates(const struct chat *chat, const struct kept_token *token, struct buf *out) {
    const struct engine_ops *ops = chat->engine->ops;
    for (uint32_t i = 0; i < token->n_top; i++) {
        struct candidate candidate = kept_token_candidate(token, i);
        bool chosen = candidate.id == token->id;
        size_t len;
        const char *text = ops->token_text(chat->engine, candidate.id, &len);
        buf_printf(out, "%-7s%5u  ", chosen ? "chosen" : "", chosen && token->rank ? token->rank : i + 1);
        print_quoted(text, len, ops->token_is_control(chat->engine, candidate.id), out);
        buf_printf(out, "raw %.3f  final %.3f", exp((double)(candidate.logit - token->log_sum_exp)),
                   (double)candidate.prob);
        buf_printf(out, *stage_name(candidate.cut) ? "  cut by %s\n" : "\n", stage_name(candidate.cut));
    }
    buf_printf(out, "entropy %.2f bits, %.1f ms\n", (double)token->entropy / M_LN2, (double)token->ms);
}

/* /tokens: those of the last answer; /tokens N: what could have come in place of the N-th. */
int slash_tokens(struct chat *chat, const char *arguments, struct slash_result *result, struct err *err) {
    struct said *said;
    unsigned long number = slash_take_number(&arguments);
    if (*arguments)
        return err_set(err, STATUS_USAGE, "/tokens: found \"%.60s\", expected the number of a token",
                       arguments);
    int status = slash_find_message(chat, "/tokens", 0, &said, err);
    if (status < 0) return status;
    if (number > said->n_tokens)
        return err_set(err, STATUS_USAGE, "/tokens: found %lu, expected 1 to %zu", number, said->n_tokens);
    if (number && !conversation_knows_ids(&chat->conversation, said))
        return err_set(err, STATUS_USAGE,
                       "/tokens: another model said this: what else could have come has no text here");
    result->title = number ? "Token" : "Tokens of the last answer";
    if (number)
        print_candidates(chat, &said->tokens[number - 1], &result->page);
    else
        result->tokens = page_new(chat, said);
    return STATUS_OK;
}
