/* Kept chats that are looked up in a thread: every question has its answer, the newest of a kind alone. */
#include "app/lookup.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/store_maker.h"

enum { N_CHATS = 40 };

/* Chats about number1, number2 and so on. */
static int chats(void **state) {
    make_store_folder();
    struct store *store = must_open();
    for (uint64_t i = 1; i <= N_CHATS; i++) {
        char text[64];
        snprintf(text, sizeof text, "what of number%d?", (int)i);
        store_handle handle = store_begin(store, &(struct store_facts){.title = text, .settings = "{}"});
        add_message(store, handle, 2 * i, 0, STORE_USER, text);
        end_message(store, 2 * i, NULL, false);
        add_message(store, handle, 2 * i + 1, 2 * i, STORE_MODEL, "");
        say_answer(store, 2 * i + 1);
    }
    assert_int_equal(wait_store(store).error.code, 0);
    *state = store;
    return 0;
}

static int no_chats(void **state) {
    store_close(*state, NULL);
    remove_store_folder();
    return 0;
}

static struct lookup *open_lookup(struct store *store) {
    struct err err = {0};
    struct lookup *lookup = lookup_open(store, &err);
    if (!lookup) fail_msg("%s", err.text);
    return lookup;
}

/* The next answer; NULL: none within so long. */
static struct lookup_answer *answer_within(struct lookup *lookup, int ms) {
    struct lookup_answer *answer = lookup_take(lookup);
    struct pollfd fd = {.fd = lookup_wake_fd(lookup), .events = POLLIN};
    while (!answer && poll(&fd, 1, ms) > 0) answer = lookup_take(lookup);
    return answer;
}

static struct lookup_answer *next_answer(struct lookup *lookup, enum lookup_kind kind) {
    struct lookup_answer *answer = answer_within(lookup, 60000);
    assert_non_null(answer);
    assert_int_equal(answer->kind, kind);
    return answer;
}

static void every_kind_is_answered(void **state) {
    struct lookup *lookup = open_lookup(*state);
    lookup_list(lookup, "number7");
    struct lookup_answer *answer = next_answer(lookup, LOOKUP_LIST);
    assert_int_equal(answer->n_rows, 1);
    assert_string_equal(answer->rows[0].title, "what of number7?");
    lookup_answer_free(answer);
    lookup_chat(lookup, 3);
    answer = next_answer(lookup, LOOKUP_CHAT);
    assert_int_equal(answer->err.code, 0);
    assert_int_equal(answer->chat.kept.n, 2);
    const struct conversation *conversation = &answer->chat.conversation;
    assert_int_equal(conversation->n, 2);
    assert_string_equal(conversation->messages[0]->text.data, "what of number3?");
    assert_int_equal(conversation->messages[1]->n_tokens, 3);
    lookup_answer_free(answer);
    lookup_chat(lookup, STORE_NEWEST);
    answer = next_answer(lookup, LOOKUP_CHAT);
    assert_int_equal(answer->chat.kept.id, N_CHATS);
    lookup_answer_free(answer);
    lookup_chat(lookup, 4711);
    answer = next_answer(lookup, LOOKUP_CHAT);
    assert_int_equal(answer->err.code, STATUS_USAGE);
    lookup_answer_free(answer);
    lookup_draft(lookup);
    answer = next_answer(lookup, LOOKUP_DRAFT);
    assert_null(answer->draft);
    lookup_answer_free(answer);
    lookup_close(lookup);
}

/* Whatever the thread was at when the next question came: what is told last is the answer to the last one. */
static void a_newer_question_takes_the_place(void **state) {
    struct lookup *lookup = open_lookup(*state);
    char words[32], title[64];
    for (int round = 0; round < 20; round++) {
        for (int i = 0; i <= round; i++) {
            snprintf(words, sizeof words, "number%d?", i + 1);
            lookup_list(lookup, words);
            if (i % 3 == 1) poll(NULL, 0, 1); /* some are begun, some are done */
        }
        snprintf(title, sizeof title, "what of number%d?", round + 1);
        struct lookup_answer *answer = next_answer(lookup, LOOKUP_LIST);
        assert_int_equal(answer->err.code, 0); /* not that it was stopped */
        assert_int_equal(answer->n_rows, 1);
        assert_string_equal(answer->rows[0].title, title);
        lookup_answer_free(answer);
        assert_null(lookup_take(lookup));
    }
    lookup_list(lookup, "number1");
    lookup_forget(lookup, LOOKUP_LIST);
    lookup_chat(lookup, 2); /* one of another kind is not forgotten with it */
    lookup_answer_free(next_answer(lookup, LOOKUP_CHAT));
    assert_null(answer_within(lookup, 50));
    lookup_close(lookup);
}

/* Nobody waits for an answer before leaving, wherever the thread is. */
static void closed_at_any_moment(void **state) {
    for (int i = 0; i < 30; i++) {
        struct lookup *lookup = open_lookup(*state);
        lookup_list(lookup, "o");
        lookup_chat(lookup, 1 + i);
        lookup_draft(lookup);
        if (i % 2) poll(NULL, 0, i % 5);
        if (i % 3 == 2) lookup_answer_free(lookup_take(lookup));
        lookup_close(lookup);
    }
    lookup_close(NULL);
    assert_int_equal(lookup_wake_fd(NULL), -1);
    assert_null(lookup_take(NULL));
    struct arena arena = {0};
    struct store_row *rows;
    size_t n;
    store_stop_reading(*state, false); /* as the last one left it */
    assert_int_equal(store_list(*state, "number9?", 10, &arena, &rows, &n, NULL), STATUS_OK);
    assert_int_equal(n, 1);
    arena_free(&arena);
}

/* The file goes away between two keys: the next answers say so or are empty, and later ones are whole again.
 */
static void the_file_goes_away(void **state) {
    struct store *store = *state;
    struct lookup *lookup = open_lookup(store);
    char command[256];
    lookup_list(lookup, "number1");
    lookup_answer_free(next_answer(lookup, LOOKUP_LIST));
    snprintf(command, sizeof command, "rm -f %s*", store_path);
    lookup_list(lookup, "number2");
    assert_int_equal(system(command), 0);
    lookup_list(lookup, "number3?");
    struct lookup_answer *answer = next_answer(lookup, LOOKUP_LIST);
    assert_int_equal(answer->n_rows, 0);
    lookup_answer_free(answer);
    lookup_chat(lookup, 1);
    answer = next_answer(lookup, LOOKUP_CHAT);
    assert_true(answer->err.code < 0);
    lookup_answer_free(answer);
    keep_conversation(store, 1000); /* it is refused, the handles are void, */
    assert_int_equal(wait_store(store).epoch, 2);
    keep_conversation(store, 2000); /* and begun again in a new file */
    assert_int_equal(wait_store(store).error.code, 0);
    lookup_list(lookup, "welt");
    answer = next_answer(lookup, LOOKUP_LIST);
    assert_int_equal(answer->n_rows, 1);
    lookup_answer_free(answer);
    lookup_close(lookup);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, chats, no_chats)
    const struct CMUnitTest tests[] = {
        TEST(every_kind_is_answered),
        TEST(a_newer_question_takes_the_place),
        TEST(closed_at_any_moment),
        TEST(the_file_goes_away),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
