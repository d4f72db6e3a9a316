/* Stores of their own for tests: a folder that goes with the test, and a conversation whose content is known.
 */
#ifndef LOGITOP_TESTS_STORE_MAKER_H
#define LOGITOP_TESTS_STORE_MAKER_H

#include "store/store.h"

#include <poll.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char store_folder[64], store_path[96];

static inline void make_store_folder(void) {
    snprintf(store_folder, sizeof store_folder, "/tmp/logitop-store-XXXXXX");
    assert_non_null(mkdtemp(store_folder));
    snprintf(store_path, sizeof store_path, "%s/chats.db", store_folder);
}

static inline void remove_store_folder(void) {
    char command[256];
    snprintf(command, sizeof command, "chmod -R u+w %s; rm -rf %s", store_folder, store_folder);
    assert_int_equal(system(command), 0);
}

/* For CMocka. */
static inline int setup_store_folder(void **state) {
    (void)state;
    make_store_folder();
    return 0;
}

static inline int teardown_store_folder(void **state) {
    (void)state;
    remove_store_folder();
    return 0;
}

/* Until everything is committed, or a try failed. */
static inline struct store_look wait_store(struct store *store) {
    struct store_look look;
    for (store_look(store, &look); look.waiting && !look.error.code; store_look(store, &look))
        poll(&(struct pollfd){.fd = store_wake_fd(store), .events = POLLIN}, 1, 5);
    return look;
}

/* Until the database is open; `aside` gets the word on one that was damaged. NULL: it could not be opened. */
static inline struct store *try_open(struct err *aside, struct err *err) {
    struct store *store;
    struct store_look look;
    assert_int_equal(store_open(&store, store_path, err), STATUS_OK);
    int status = store_wait(store, err);
    store_look(store, &look);
    assert_int_equal(look.refused.code, status);
    *aside = look.notice;
    if (status == STATUS_OK) return store;
    assert_int_equal(look.waiting, 0);
    assert_int_equal(store_close(store, NULL), STATUS_OK);
    return NULL;
}

static inline struct store *must_open(void) {
    struct err aside = {0}, err = {0};
    struct store *store = try_open(&aside, &err);
    if (!store) fail_msg("%s", err.text);
    assert_int_equal(aside.code, 0);
    return store;
}

/* Id of the conversation that changed last; 0: there is none. */
static inline int64_t newest_of(struct store *store) {
    struct store_conversation got;
    int64_t id = store_load(store, STORE_NEWEST, &got, NULL) == STATUS_OK ? got.id : 0;
    store_conversation_free(&got);
    return id;
}

static inline struct store_token token_of(int32_t id, uint32_t end) {
    static const uint64_t top[] = {1, UINT64_MAX, 0x0123456789abcdef};
    return (struct store_token){.id = id,
                                .position = (uint32_t)id * 3,
                                .rank = 2,
                                .end = end,
                                .ms = 1.5f,
                                .logit = -0.1f * (float)id,
                                .prob = 0.25f,
                                .log_sum_exp = 17.123f,
                                .entropy = 1e-9f,
                                .picked = id == 7,
                                .ended = id == 9,
                                .n_top = 3,
                                .top = top};
}

static inline void add_message(struct store *store, store_handle conversation, uint64_t number,
                               uint64_t parent, enum store_role role, const char *text) {
    struct store_message message = {.number = number,
                                    .parent = parent,
                                    .role = role,
                                    .born = 1000 + (int64_t)number,
                                    .text = text,
                                    .len = strlen(text),
                                    .model = role == STORE_MODEL ? "Paper" : NULL,
                                    .vocabulary = role == STORE_MODEL ? 0xfedcba9876543210 : 0};
    store_add(store, conversation, &message);
}

static inline void end_message(struct store *store, uint64_t number, const char *note, bool dropped) {
    struct store_message message = {
        .number = number, .note = note, .dropped = dropped, .vocabulary = note ? 0xfedcba9876543210 : 0};
    store_end(store, &message);
}

/* Two words and an end token. */
static inline void say_answer(struct store *store, uint64_t number) {
    struct store_token tokens[] = {token_of(5, 3), token_of(7, 9), token_of(9, 9)};
    store_append(store, number, "one", 3, 0, tokens, 1);
    store_append(store, number, " \xff\xf0two", 6, 1, tokens + 1, 2);
    end_message(store, number, "3 tokens", false);
}

static const struct store_facts paper_facts = {
    .title = "why is it so", .model = "Paper", .settings = "{\"temp\":0.5}", .began = 77};

/* 1 question, 2 answer, 3 another answer to it, 4 a question below 2. */
static inline store_handle keep_conversation(struct store *store, uint64_t base) {
    store_handle handle = store_begin(store, &paper_facts);
    add_message(store, handle, base + 1, 0, STORE_USER, "why is it so, Sch\xc3\xb6ne Welt?");
    end_message(store, base + 1, NULL, false);
    add_message(store, handle, base + 2, base + 1, STORE_MODEL, "");
    say_answer(store, base + 2);
    add_message(store, handle, base + 3, base + 1, STORE_MODEL, "");
    say_answer(store, base + 3);
    add_message(store, handle, base + 4, base + 2, STORE_USER,
                "and \xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e then?");
    end_message(store, base + 4, NULL, false);
    store_leaf(store, handle, base + 4);
    return handle;
}

static inline void check_token(const struct store_token *found, struct store_token wanted) {
    assert_int_equal(found->n_top, wanted.n_top);
    assert_memory_equal(found->top, wanted.top, wanted.n_top * sizeof *wanted.top);
    wanted.top = found->top;
    assert_memory_equal(&found->ms, &wanted.ms, 5 * sizeof(float)); /* to the bit */
    assert_int_equal(found->id, wanted.id);
    assert_int_equal(found->position, wanted.position);
    assert_int_equal(found->rank, wanted.rank);
    assert_int_equal(found->end, wanted.end);
    assert_int_equal(found->ended, wanted.ended);
    assert_int_equal(found->picked, wanted.picked);
}

static inline void check_text(const struct store_message *message, const char *text) {
    assert_int_equal(message->len, strlen(text));
    assert_memory_equal(message->text, text, message->len);
}

/* That keep_conversation() is all there. */
static inline void check_conversation(struct store *store, int64_t id) {
    struct store_conversation got;
    struct err err = {0};
    if (store_load(store, id, &got, &err) < 0) fail_msg("%s", err.text);
    assert_string_equal(got.facts.title, paper_facts.title);
    assert_string_equal(got.facts.model, "Paper");
    assert_string_equal(got.facts.settings, paper_facts.settings);
    assert_int_equal(got.facts.began, 77);
    assert_int_equal(got.n, 4);
    assert_int_equal(got.leaf, 4);
    static const uint64_t parents[] = {0, 1, 1, 2};
    for (size_t i = 0; i < 4; i++) assert_int_equal(got.messages[i].parent, parents[i]);
    check_text(&got.messages[0], "why is it so, Sch\xc3\xb6ne Welt?");
    for (size_t i = 1; i < 3; i++) {
        const struct store_message *answer = &got.messages[i];
        check_text(answer, "one \xff\xf0two");
        assert_int_equal(answer->role, STORE_MODEL);
        assert_string_equal(answer->note, "3 tokens");
        assert_string_equal(answer->model, "Paper");
        assert_true(answer->vocabulary == 0xfedcba9876543210);
        assert_int_equal(answer->n_tokens, 3);
        check_token(&answer->tokens[0], token_of(5, 3));
        check_token(&answer->tokens[1], token_of(7, 9));
        check_token(&answer->tokens[2], token_of(9, 9));
    }
    store_conversation_free(&got);
}

static inline int64_t kept_conversation(struct store *store, uint64_t base) {
    store_handle handle = keep_conversation(store, base);
    struct store_look look = wait_store(store);
    if (look.error.code) fail_msg("%s", look.error.text);
    assert_int_not_equal(store_id(store, handle), 0);
    return store_id(store, handle);
}

/* How many conversations have these words. */
static inline size_t found(struct store *store, const char *query) {
    struct arena arena = {0};
    struct store_row *rows;
    struct err err = {0};
    size_t n;
    if (store_list(store, query, 100, &arena, &rows, &n, &err) < 0)
        fail_msg("%s: %s", query ? query : "all", err.text);
    arena_free(&arena);
    return n;
}

/* What SQLite says about the file; "ok". */
static inline void check_integrity(void) {
    sqlite3 *db;
    sqlite3_stmt *statement;
    assert_int_equal(sqlite3_open(store_path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, "PRAGMA integrity_check", -1, &statement, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    assert_string_equal((const char *)sqlite3_column_text(statement, 0), "ok");
    sqlite3_finalize(statement);
    char *wrong = NULL; /* the index and the texts are of one mind */
    sqlite3_exec(db, "INSERT INTO search(search, rank) VALUES('integrity-check', 1)", NULL, NULL, &wrong);
    if (wrong) fail_msg("%s", wrong);
    sqlite3_close(db);
}

#endif
