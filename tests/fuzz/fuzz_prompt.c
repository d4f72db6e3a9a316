/* Any conversation through templates as models have them, to ids and where each of them lies: a person's text
 * never becomes a control token, no place is beyond its message or goes back in it, and asking for places
 * changes no id.
 *
 * Input: a byte for the template, one of choices, then messages, each a letter for who said it and a text up
 * to a NUL. */
#include "base/mem.h"
#include "infer/request_ids.h"
#include "tokenizer/internal.h"

#include <stdlib.h>
#include <string.h>

enum { MESSAGES_MAX = 40, FOLD = 1, CONTINUE = 2, RAW = 4 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const templates[] = {
    NULL, /* ChatML, as chat_template.c has it */
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content | trim }}<|im_end|>\n{% endfor "
    "%}<|im_start|>assistant\n",
    "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system') }}{% endif %}{{ "
    "m.content.strip() + "
    "'<|im_end|>' }}{% endfor %}",
    "{% for m in messages %}<|im_start|>{% if m.role == 'assistant' %}{{ "
    "m.content.split('</think>')[-1].lstrip() }}{% else %}{{ "
    "m.content }}{% endif %}{% endfor %}",
    "{{ messages[-1].content }}{{ messages[0].content | upper }}{{ messages | tojson }}",
    "{% for m in messages %}{{ m.content | replace('a', '<|im_start|>') }}{{ m.content[:3] }}{% endfor %}",
};

static void require(bool holds) {
    if (!holds) abort();
}

static struct tokenizer *make_tokenizer(void) {
    static const char *const more[] = {"he",           "ll",         "hell",    "\xC4\xA0w", "th",    "the",
                                       "<|im_start|>", "<|im_end|>", "<think>", "[PAD265]",  "unused"};
    static const int32_t more_types[] = {1, 1, 1, 1, 1, 1, 3, 3, 4, 1, 5};
    static const char *const pairs[] = {"h e", "l l", "he ll", "\xC4\xA0 w", "t h", "th e"};
    enum { N_MORE = sizeof more / sizeof *more, N_PAIRS = sizeof pairs / sizeof *pairs };
    static char letters[256][2];
    struct span tokens[256 + N_MORE], merges[N_PAIRS];
    int32_t types[256 + N_MORE];
    for (int i = 0; i < 256; i++) {
        tokens[i] = (struct span){letters[i], byte_letter((unsigned char)i, letters[i])};
        types[i] = TOKEN_NORMAL;
    }
    for (int i = 0; i < N_MORE; i++) {
        tokens[256 + i] = (struct span){more[i], strlen(more[i])};
        types[256 + i] = more_types[i];
    }
    for (int i = 0; i < N_PAIRS; i++) merges[i] = (struct span){pairs[i], strlen(pairs[i])};
    struct tokenizer *tokenizer = NULL;
    require(tokenizer_new(&(struct tokenizer_source){.model = {"gpt2", 4},
                                                     .pre = {"qwen2", 5},
                                                     .tokens = tokens,
                                                     .n_tokens = 256 + N_MORE,
                                                     .types = types,
                                                     .n_types = 256 + N_MORE,
                                                     .merges = merges,
                                                     .n_merges = N_PAIRS,
                                                     .bos = 262,
                                                     .eos = 263,
                                                     .eot = -1,
                                                     .eom = -1,
                                                     .unknown = -1,
                                                     .add_bos = 1,
                                                     .add_space_prefix = -1},
                          &tokenizer, NULL) == STATUS_OK);
    return tokenizer;
}

static size_t read_messages(const struct tokenizer *tokenizer, const char *at, const char *end,
                            struct message *messages, struct ids *ids) {
    static const char *const roles[] = {"system", "user", "assistant"};
    size_t n = 0;
    for (; at < end && n < MESSAGES_MAX; n++) {
        unsigned char who = (unsigned char)*at++;
        const char *nul = memchr(at, 0, (size_t)(end - at)), *stop = nul ? nul : end;
        messages[n] = (struct message){.role = roles[who % 3], .text = at, .len = (size_t)(stop - at)};
        if (who % 3 == 2 && who & 0x40) { /* with ids as it may have been said: byte by byte, or in words */
            struct segment segment = {at, messages[n].len, (who & 0x20) != 0};
            for (const char *c = at; who & 0x10 && c < stop; c++) ids_add(&ids[n], (unsigned char)*c);
            if (!(who & 0x10))
                require(tokenizer_encode(tokenizer, &segment, 1, ADDED_BY_ORIGIN, &ids[n], NULL) ==
                        STATUS_OK);
            messages[n].ids = ids[n].at;
            messages[n].n_ids = ids[n].n;
        }
        at = nul ? stop + 1 : end;
    }
    return n;
}

static void check_places(const struct tokenizer *tokenizer, const struct engine_request *request,
                         const struct ids *ids, const struct token_places *places) {
    size_t n_messages = request->raw ? 1 : request->n_messages;
    require(places->n == ids->n);
    for (size_t i = 0; i < ids->n; i++) {
        const struct token_place *place = &places->at[i], *before = &places->at[i ? i - 1 : 0];
        require(ids->at[i] >= 0 && (uint32_t)ids->at[i] < tokenizer_n_vocab(tokenizer));
        require(place->message >= -1 && place->message < (int32_t)n_messages);
        if (place->message < 0) continue;
        require(place->end <= (request->raw ? request->raw_len : request->messages[place->message].len));
        if (i && before->message == place->message) require(before->end <= place->end);
        if (!request->raw && !request->messages[place->message].ids)
            require(tokenizer_type(tokenizer, ids->at[i]) != TOKEN_CONTROL);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct tokenizer *tokenizer;
    if (size < 2) return 0;
    if (!tokenizer) tokenizer = make_tokenizer();
    const char *text = templates[data[0] % (sizeof templates / sizeof *templates)];
    struct chat_template *chat_template =
        chat_template_new(&(struct chat_template_source){.file = "fuzz",
                                                         .text = {text, text ? strlen(text) : 0},
                                                         .bos = {"<|im_start|>", 12},
                                                         .has_chatml = true});
    struct message messages[MESSAGES_MAX];
    struct ids said[MESSAGES_MAX] = {{0}}, ids = {0}, again = {0};
    struct token_places places = {0};
    struct err err = {0};
    bool wants_fold = false;
    struct engine_request request = {
        .id = 1, .messages = messages, .began = 1, .fold_system = data[1] & FOLD};
    request.n_messages =
        read_messages(tokenizer, (const char *)data + 2, (const char *)data + size, messages, said);
    request.continue_last = data[1] & CONTINUE && request.n_messages &&
                            strcmp(messages[request.n_messages - 1].role, "assistant") == 0;
    if (data[1] & RAW) request.raw = (const char *)data + 2, request.raw_len = size - 2;
    int status = request_to_ids(chat_template, tokenizer, &request, &ids, &places, &wants_fold, &err);
    require(request_to_ids(chat_template, tokenizer, &request, &again, NULL, &wants_fold, NULL) == status);
    if (status == STATUS_OK) {
        check_places(tokenizer, &request, &ids, &places);
        require(ids.n == again.n && memcmp(ids.at, again.at, ids.n * sizeof *ids.at) == 0);
    } else {
        require(err.code == (enum status)status && err.text[0] && !strchr(err.text, '\n'));
    }
    for (size_t i = 0; i < MESSAGES_MAX; i++) ids_free(&said[i]);
    ids_free(&ids);
    ids_free(&again);
    token_places_free(&places);
    chat_template_free(chat_template);
    return 0;
}
