#include "infer/request_ids.h"

#include <string.h>

static struct chat_template_input template_input(const struct engine_request *request) {
    struct chat_template_input input = {.messages = request->messages,
                                        .n = request->n_messages,
                                        .continue_last = request->continue_last,
                                        .variables = request->template_variables};
    time_t began = request->began ? (time_t)request->began : time(NULL);
    if (!localtime_r(&began, &input.now))
        input.now = (struct tm){.tm_year = 70, .tm_mday = 1}; /* no such year */
    return input;
}

static bool is_role(const struct message *message, const char *role) {
    return strcmp(message->role, role) == 0;
}

/* Places in the folded messages become places in the request's own: the system text stands in front of what
 * the user said first. */
static void unfold_places(const struct engine_request *request, const struct folded *folded,
                          struct token_places *places) {
    size_t system = 0, user = 0, first_user = 0;
    while (system < request->n_messages && !is_role(&request->messages[system], "system")) system++;
    if (system == request->n_messages) return;
    while (user < request->n_messages && !is_role(&request->messages[user], "user")) user++;
    while (first_user < folded->n && !is_role(&folded->messages[first_user], "user")) first_user++;
    size_t before =
        first_user < folded->n ? folded->messages[first_user].len - request->messages[user].len : 0;
    for (size_t i = 0; i < places->n; i++) {
        struct token_place *place = &places->at[i];
        if (place->message < 0) continue;
        size_t left = (size_t)place->message, own = 0; /* the own message that became this one */
        for (;; own++) {
            if (is_role(&request->messages[own], "system")) continue;
            if (left-- == 0) break;
        }
        bool in_system = (size_t)place->message == first_user && place->end <= before;
        if (in_system && place->end > request->messages[system].len)
            place->end = (uint32_t)request->messages[system].len;
        else if (own == user && !in_system)
            place->end -= (uint32_t)before;
        place->message = (int32_t)(in_system ? system : own);
    }
}

static int messages_to_ids(const struct chat_template *chat_template, const struct tokenizer *tokenizer,
                           const struct engine_request *request, struct ids *ids, struct token_places *places,
                           bool *wants_fold, struct err *err) {
    struct chat_template_input input = template_input(request);
    struct folded folded = {0};
    struct prompt prompt = {0};
    if (request->fold_system) {
        messages_fold(request->messages, request->n_messages, &folded);
        input.messages = folded.messages;
        input.n = folded.n;
    }
    int status = chat_template_render(chat_template, &input, &prompt, err);
    *wants_fold = status == STATUS_USAGE && chat_template_wants_fold(chat_template, &input);
    if (status == STATUS_OK)
        status = prompt_to_ids(tokenizer, &prompt, input.messages, input.n, ids, places, err);
    if (status == STATUS_OK && request->fold_system && places) unfold_places(request, &folded, places);
    prompt_free(&prompt);
    folded_free(&folded);
    return status;
}

static int raw_to_ids(const struct tokenizer *tokenizer, const struct engine_request *request,
                      struct ids *ids, struct token_places *places, struct err *err) {
    struct prompt prompt = {0};
    prompt_add(&prompt, request->raw, request->raw_len, true);
    int status = prompt_to_ids(tokenizer, &prompt, NULL, 0, ids, NULL, err);
    if (status == STATUS_OK && places) {
        bool bos = ids->n && ids->at[0] == tokenizer_bos(tokenizer) && tokenizer_add_bos(tokenizer);
        struct message whole = {.role = "user", .text = request->raw, .len = request->raw_len};
        if (bos) token_places_of_template(places);
        if (prompt.n) {
            prompt.pieces[0].from_template = false;
            token_places_of_pieces(tokenizer, &prompt, 0, 1, &whole, 1, ids->at + bos, ids->n - bos, places);
        }
    }
    prompt_free(&prompt);
    return status;
}

int request_to_ids(const struct chat_template *chat_template, const struct tokenizer *tokenizer,
                   const struct engine_request *request, struct ids *ids, struct token_places *places,
                   bool *wants_fold, struct err *err) {
    int status = request->raw
                     ? raw_to_ids(tokenizer, request, ids, places, err)
                     : messages_to_ids(chat_template, tokenizer, request, ids, places, wants_fold, err);
    if (status == STATUS_OK && ids->n == 0)
        return err_set(err, STATUS_USAGE, "the prompt is empty, expected some text");
    if (status == STATUS_OK && ids->n > UINT32_MAX)
        return err_set(err, STATUS_CONTEXT_FULL, "the prompt takes %zu tokens", ids->n);
    return status;
}
