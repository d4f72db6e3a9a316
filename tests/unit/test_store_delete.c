/* Deleting: nothing is left of it, nobody waits for that, and it is seen at once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/store_maker.h"

#include <signal.h>
#include <sys/wait.h>

static size_t occurrences(const char *path, const char *what) {
    FILE *file = fopen(path, "rb");
    if (!file) return 0;
    static char all[16 << 20];
    size_t len = fread(all, 1, sizeof all, file), n = 0, width = strlen(what);
    fclose(file);
    for (size_t i = 0; i + width <= len; i++) n += memcmp(all + i, what, width) == 0;
    return n;
}

static void test_delete_leaves_nothing(void **state) {
    (void)state;
    struct store *store = must_open();
    kept_conversation(store, 0);
    store_handle handle =
        store_begin(store, &(struct store_facts){.title = "a qwertzuiop title", .settings = ""});
    add_message(store, handle, 11, 0, STORE_USER, "my qwertzuiop secret");
    end_message(store, 11, NULL, false);
    store_draft(store, handle, "qwertzuiop", 10);
    wait_store(store);
    assert_int_equal(found(store, "qwertzuiop"), 1);
    store_delete(store, store_id(store, handle));
    wait_store(store);
    assert_int_equal(found(store, "qwertzuiop"), 0);
    assert_int_equal(found(store, NULL), 1);
    store_close(store, NULL);
    assert_int_equal(occurrences(store_path, "qwertzuiop"), 0);
    assert_int_equal(occurrences(store_path, "zui"), 0); /* no other word of the index begins like this one */
    check_integrity();
}

static int count_of(const char *statement) {
    sqlite3 *db;
    sqlite3_stmt *count;
    assert_int_equal(sqlite3_open(store_path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, statement, -1, &count, NULL), SQLITE_OK);
    int n = sqlite3_step(count) == SQLITE_ROW ? sqlite3_column_int(count, 0) : -1;
    sqlite3_finalize(count);
    sqlite3_close(db);
    return n;
}

/* An index that takes its time to be rid of words: many parts, and more than one transaction merges. */
static void keep_many_words(struct store *store) {
    enum { MESSAGES = 12, BYTES = 200000 };
    static char text[BYTES + 1];
    uint32_t random = 1;
    store_handle handle = store_begin(store, &paper_facts);
    for (uint64_t m = 0; m < MESSAGES; m++) {
        for (size_t i = 0; i < BYTES; i++) {
            random = random * 1664525 + 1013904223;
            text[i] = random >> 24 < 40 ? ' ' : (char)('a' + (random >> 16) % 16); /* to 'p' */
        }
        add_message(store, handle, 100 + m, m ? 99 + m : 0, STORE_USER, text);
        end_message(store, 100 + m, NULL, false);
        assert_int_equal(wait_store(store).error.code, 0);
    }
}

static off_t size_of(const char *path) {
    struct stat file;
    return stat(path, &file) ? -1 : file.st_size;
}

/* What a deleted chat took is given back to the disk. */
static void test_delete_makes_it_small(void **state) {
    (void)state;
    struct store *store = must_open();
    keep_many_words(store);
    store_close(store, NULL);
    off_t before = size_of(store_path);
    assert_true(before > 4 << 20);
    store = must_open();
    int64_t other = kept_conversation(store, 0);
    store_delete(store, 1);
    assert_int_equal(wait_store(store).error.code, 0);
    check_conversation(store, other);
    store_close(store, NULL);
    assert_true(size_of(store_path) < before / 2);
    check_integrity();
}

/* A program that ends before all is merged leaves the rest to the next one. */
static void test_delete_goes_on(void **state) {
    (void)state;
    struct store *store = must_open();
    store_handle handle = store_begin(store, &paper_facts);
    add_message(store, handle, 11, 0, STORE_USER, "my qwertzuiop secret");
    end_message(store, 11, NULL, false);
    keep_many_words(store);
    int64_t id = store_id(store, handle);
    store_close(store, NULL);
    pid_t child = fork();
    if (child == 0) {
        store = must_open();
        store_delete(store, id);
        while (count_of("SELECT count(*) FROM conversation") != 1) poll(NULL, 0, 1);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    store = must_open();
    assert_int_equal(wait_store(store).error.code, 0);
    store_close(store, NULL);
    assert_int_equal(occurrences(store_path, "qwertzuiop"), 0);
    assert_int_equal(occurrences(store_path, "zui"), 0); /* no other word of the index begins like this one */
    check_integrity();
}

/* What is to be deleted is gone for everybody here, however long the disk takes. */
static void test_deleted_at_once(void **state) {
    (void)state;
    struct store *store = must_open();
    int64_t first = kept_conversation(store, 0), second = kept_conversation(store, 10);
    sqlite3 *other;
    assert_int_equal(sqlite3_open(store_path, &other), SQLITE_OK);
    assert_int_equal(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    store_delete(store, second);
    struct store_conversation got;
    struct err err = {0};
    for (int moment = 0; moment < 2; moment++) { /* in the queue, and in the writer's hands */
        assert_int_equal(found(store, NULL), 1);
        assert_int_equal(found(store, "welt"), 1);
        assert_int_equal(store_load(store, second, &got, &err), STATUS_USAGE);
        assert_string_equal(err.text, "there is no chat 2");
        store_conversation_free(&got);
        check_conversation(store, first);
        assert_int_equal(newest_of(store), first);
        poll(NULL, 0, 50);
    }
    assert_int_equal(sqlite3_exec(other, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(other);
    assert_int_equal(wait_store(store).error.code, 0);
    assert_int_equal(found(store, NULL), 1);
    store_close(store, NULL);
    check_integrity();
}

/* ---- in parts ---- */

/* What the transactions of this process delete of records, and before which of them it is killed. */
static struct {
    int rows, most, parts; /* rows: of this one */
    int killed_at;         /* 0: at none */
} watched;

static void see_row(void *context, int operation, const char *database, const char *table,
                    sqlite3_int64 row) {
    (void)context, (void)database, (void)row;
    watched.rows += operation == SQLITE_DELETE && strcmp(table, "tokens") == 0;
}

static int see_commit(void *context) {
    (void)context;
    watched.parts += watched.rows > 0;
    if (watched.killed_at && watched.parts == watched.killed_at) raise(SIGKILL);
    if (watched.rows > watched.most) watched.most = watched.rows;
    watched.rows = 0;
    return 0;
}

static int see_all(sqlite3 *db, const char **message, const struct sqlite3_api_routines *functions) {
    (void)message, (void)functions;
    sqlite3_update_hook(db, see_row, NULL);
    sqlite3_commit_hook(db, see_commit, NULL);
    return SQLITE_OK;
}

enum { LONG_MESSAGES = 24 };

/* Twenty megabytes of records and more. */
static int64_t keep_long(struct store *store) {
    enum { TOKENS = 20000 };
    struct store_token *tokens = malloc(TOKENS * sizeof *tokens);
    assert_non_null(tokens);
    for (int32_t i = 0; i < TOKENS; i++) tokens[i] = token_of(i, 0);
    store_handle handle = store_begin(store, &paper_facts);
    for (uint64_t m = 0; m < LONG_MESSAGES; m++) {
        add_message(store, handle, 100 + m, m ? 99 + m : 0, STORE_MODEL, "a qwertzuiop answer");
        store_append(store, 100 + m, "", 0, 0, tokens, TOKENS);
        end_message(store, 100 + m, "said", false);
    }
    free(tokens);
    assert_int_equal(wait_store(store).error.code, 0);
    return store_id(store, handle);
}

/* No transaction is so long that a message would have to wait for all of a long chat. */
static void test_delete_in_parts(void **state) {
    (void)state;
    struct store *store = must_open();
    int64_t other = kept_conversation(store, 0), id = keep_long(store);
    assert_int_equal(count_of("SELECT count(*) FROM tokens WHERE length(records) > 1000000"), LONG_MESSAGES);
    store_close(store, NULL);
    memset(&watched, 0, sizeof watched);
    sqlite3_auto_extension((void (*)(void))see_all);
    store = must_open();
    store_delete(store, id);
    assert_int_equal(wait_store(store).error.code, 0);
    store_close(store, NULL);
    sqlite3_cancel_auto_extension((void (*)(void))see_all);
    assert_true(watched.parts > 2);
    assert_true(watched.most <= LONG_MESSAGES / 3);
    store = must_open();
    check_conversation(store, other);
    store_close(store, NULL);
    assert_int_equal(occurrences(store_path, "qwertzuiop"), 0);
    check_integrity();
}

/* A process that is told by `go` which chat to delete, and is killed when a part of it is gone. */
static pid_t killed_while_deleting(int go) {
    pid_t child = fork();
    if (child) return child;
    int64_t id = 0;
    if (read(go, &id, sizeof id) != sizeof id) _exit(1);
    watched.killed_at = 2;
    sqlite3_auto_extension((void (*)(void))see_all);
    struct store *store = must_open();
    store_delete(store, id);
    wait_store(store);
    _exit(1);
}

/* A long chat, and who is to delete half of it. */
struct half_deleted {
    struct store *store; /* that has it */
    int64_t id;
    int go[2];
    pid_t child;
};
static struct half_deleted keep_for_deleting(void) {
    struct half_deleted half;
    assert_int_equal(pipe(half.go), 0);
    memset(&watched, 0, sizeof watched);
    half.child = killed_while_deleting(half.go[0]);
    half.store = must_open();
    half.id = keep_long(half.store);
    return half;
}

static void delete_half(const struct half_deleted *half) {
    int status;
    assert_int_equal(write(half->go[1], &half->id, sizeof half->id), sizeof half->id);
    assert_int_equal(waitpid(half->child, &status, 0), half->child);
    close(half->go[0]);
    close(half->go[1]);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    int left = count_of("SELECT count(*) FROM message");
    assert_true(left > 1 && left < LONG_MESSAGES);
}

/* Half of a chat is seen by nobody, and the next program deletes the rest. */
static void test_half_deleted_stays_gone(void **state) {
    (void)state;
    const struct half_deleted half = keep_for_deleting();
    store_close(half.store, NULL);
    delete_half(&half);
    sqlite3 *other; /* nothing is deleted while we look */
    assert_int_equal(sqlite3_open(store_path, &other), SQLITE_OK);
    assert_int_equal(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    struct store *store = must_open();
    struct store_conversation got;
    struct err err = {0};
    assert_int_equal(found(store, NULL), 0);
    assert_int_equal(found(store, "qwertzuiop"), 0);
    assert_int_equal(found(store, "so"), 0); /* of the title; too short for the index */
    assert_int_equal(newest_of(store), 0);
    assert_int_equal(store_load(store, half.id, &got, &err), STATUS_USAGE);
    assert_string_equal(err.text, "there is no chat 1");
    store_conversation_free(&got);
    assert_int_equal(sqlite3_exec(other, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(other);
    assert_int_equal(wait_store(store).error.code, 0);
    store_close(store, NULL);
    assert_int_equal(count_of("SELECT (SELECT count(*) FROM conversation) + (SELECT count(*) FROM message)"
                              " + (SELECT count(*) FROM tokens)"),
                     0);
    assert_int_equal(occurrences(store_path, "qwertzuiop"), 0);
    check_integrity();
}

/* Who still has the chat that another program is deleting keeps what comes now as a new one. */
static void test_half_deleted_for_others(void **state) {
    (void)state;
    for (int ended = 0; ended < 2; ended++) {
        const struct half_deleted half = keep_for_deleting();
        struct store *store = half.store;
        add_message(store, 1, 900, 123, STORE_MODEL, "not all said");
        struct store_look look = wait_store(store);
        uint64_t epoch = look.epoch;
        delete_half(&half);
        if (ended)
            end_message(store, 900, "said", false);
        else
            add_message(store, 1, 901, 123, STORE_USER, "and more");
        look = wait_store(store);
        assert_true(look.epoch > epoch);
        store_close(store, NULL);
        remove_store_folder();
        make_store_folder();
    }
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, setup_store_folder, teardown_store_folder)
    const struct CMUnitTest tests[] = {
        TEST(delete_leaves_nothing),   TEST(delete_makes_it_small), TEST(delete_goes_on),
        TEST(deleted_at_once),         TEST(delete_in_parts),       TEST(half_deleted_stays_gone),
        TEST(half_deleted_for_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
