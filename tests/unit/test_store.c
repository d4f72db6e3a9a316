/* Conversations on disk: what goes in comes out and is found; files that are no longer what they
 * were. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/store_maker.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/wait.h>

static void test_round_trip(void **state) {
    (void)state;
    struct store *store = must_open();
    int64_t id = kept_conversation(store, 0);
    check_conversation(store, id);
    assert_int_equal(store_close(store, NULL), STATUS_OK);
    store = must_open();
    check_conversation(store, id);
    assert_int_equal(newest_of(store), id);
    store_close(store, NULL);
    check_integrity();
    struct stat facts;
    assert_int_equal(stat(store_path, &facts), 0);
    assert_int_equal(facts.st_mode & 0777, 0600);
}

/* What was queued in the last moment is committed by closing. */
/* The lock by which other programs know that they are not alone: without it the last one of them that leaves
 * would take the journal away from under us. Locks are a process's own, so a child looks. */
static bool is_locked(void) {
    enum { SHARED_FIRST = 0x40000002, SHARED_SIZE = 510 }; /* https://sqlite.org/src/file/src/os.h */
    pid_t child = fork();
    if (!child) {
        struct flock lock = {.l_type = F_WRLCK, .l_start = SHARED_FIRST, .l_len = SHARED_SIZE};
        int fd = open(store_path, O_RDWR);
        _exit(fcntl(fd, F_GETLK, &lock) == 0 && lock.l_type == F_RDLCK ? 0 : 1);
    }
    int result = 1;
    waitpid(child, &result, 0);
    return result == 0;
}

static void test_stays_locked(void **state) {
    (void)state;
    struct store *store = must_open();
    assert_true(is_locked());
    int64_t id = kept_conversation(store, 0);
    check_conversation(store, id);
    assert_true(is_locked());
    struct store *other = must_open();
    store_close(other, NULL);
    assert_true(is_locked());
    store_close(store, NULL);
    assert_false(is_locked());
}

static void test_close_commits(void **state) {
    (void)state;
    struct store *store = must_open();
    keep_conversation(store, 0);
    assert_int_equal(store_close(store, NULL), STATUS_OK);
    store = must_open();
    check_conversation(store, newest_of(store));
    store_close(store, NULL);
}

static void execute(const char *sql) {
    sqlite3 *db;
    assert_int_equal(sqlite3_open(store_path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

/* ---- token records ---- */

static unsigned roll(unsigned *dice) {
    *dice = *dice * 1664525u + 1013904223u;
    return *dice >> 8;
}

static size_t decode(const struct buf *blob, struct arena *arena, struct store_token **tokens, int *status) {
    size_t n = 0, cap = 0;
    *tokens = NULL;
    *status = tokens_decode(blob->data, blob->len, arena, tokens, &n, &cap, NULL);
    return n;
}

static void test_records_to_the_bit(void **state) {
    (void)state;
    enum { N = 200 };
    unsigned dice = 5;
    uint64_t top[40];
    struct store_token tokens[N], *got;
    struct buf blob = {0};
    struct arena arena = {0};
    int status;
    for (size_t i = 0; i < 40; i++)
        top[i] = (uint64_t)roll(&dice) << 40 ^ (uint64_t)roll(&dice) << 20 ^ roll(&dice);
    for (size_t i = 0; i < N; i++) {
        tokens[i] = token_of((int32_t)roll(&dice) - (1 << 23), roll(&dice));
        if (i % 3 == 0) tokens[i].position = UINT32_MAX - roll(&dice) % 3;
        if (i % 7 == 0) tokens[i].id = i % 2 ? INT32_MIN : INT32_MAX;
        tokens[i].ended = i & 1;
        tokens[i].top = top;
        tokens[i].n_top = 1 + roll(&dice) % 40;
        uint32_t bits = roll(&dice) << 9; /* any floats, NaN and Inf too */
        memcpy(&tokens[i].logit, &bits, sizeof bits);
    }
    for (size_t i = 0; i < N; i += 10) tokens_encode(&blob, tokens + i, 10); /* in pieces, as they stream */
    assert_int_equal(decode(&blob, &arena, &got, &status), N);
    assert_int_equal(status, STATUS_OK);
    for (size_t i = 0; i < N; i++) check_token(&got[i], tokens[i]);
    free(got);
    for (size_t len = 0; len < 2000; len++) { /* cut anywhere: those before are there */
        struct buf cut = {.data = blob.data, .len = len};
        size_t n = decode(&cut, &arena, &got, &status);
        for (size_t i = 0; i < n; i++) check_token(&got[i], tokens[i]);
        free(got);
    }
    for (int i = 0; i < 3000; i++) { /* any byte may be another: nothing worse than other numbers */
        size_t at = roll(&dice) % blob.len;
        char was = blob.data[at];
        blob.data[at] = (char)roll(&dice);
        decode(&blob, &arena, &got, &status);
        free(got);
        blob.data[at] = was;
        if (i % 100 == 0) arena_free(&arena);
    }
    blob.data[0] = 2;
    assert_int_equal(decode(&blob, &arena, &got, &status), 0);
    assert_int_equal(status, STATUS_FAILED);
    arena_free(&arena);
    buf_free(&blob);
}

/* Records that are damaged, or not all there, are left out; the text is not. */
static void test_broken_records(void **state) {
    (void)state;
    static const char *const damages[] = {
        "UPDATE tokens SET records = x'01ff' WHERE message = 2",
        "DELETE FROM tokens WHERE message = 2 AND first = 0",
        "UPDATE tokens SET records = CAST(x'02' || substr(records, 2) AS BLOB) WHERE message = 2",
        "UPDATE message SET text = x'6f' WHERE id = 2"};
    for (size_t i = 0; i < sizeof damages / sizeof *damages; i++) {
        struct store *store = must_open();
        kept_conversation(store, 0);
        store_close(store, NULL);
        execute(damages[i]);
        store = must_open();
        struct store_conversation got;
        assert_int_equal(store_load(store, 1, &got, NULL), STATUS_OK);
        assert_int_equal(got.messages[1].n_tokens, 0);
        check_text(&got.messages[1], i == 3 ? "o" : "one \xff\xf0two");
        assert_int_equal(got.messages[2].n_tokens, 3);
        store_conversation_free(&got);
        store_close(store, NULL);
        unlink(store_path);
    }
}

/* What is opened has its id before the writer comes to it: here another program keeps it waiting. */
static void test_resumed_is_known(void **state) {
    (void)state;
    struct store *store = must_open();
    int64_t id = kept_conversation(store, 0);
    struct store_conversation got;
    assert_int_equal(store_load(store, id, &got, NULL), STATUS_OK);
    sqlite3 *other;
    assert_int_equal(sqlite3_open(store_path, &other), SQLITE_OK);
    assert_int_equal(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    static const uint64_t numbers[] = {101, 102, 103, 104};
    store_handle handle = store_resume(store, &got, numbers);
    store_conversation_free(&got);
    assert_int_equal(store_id(store, handle), id);
    assert_int_equal(sqlite3_exec(other, "COMMIT", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(other);
    wait_store(store);
    assert_int_equal(store_id(store, handle), id);
    store_close(store, NULL);
}

static void test_resume_goes_on(void **state) {
    (void)state;
    struct store *store = must_open();
    int64_t id = kept_conversation(store, 0);
    store_close(store, NULL);
    store = must_open();
    struct store_conversation got;
    assert_int_equal(store_load(store, id, &got, NULL), STATUS_OK);
    static const uint64_t numbers[] = {101, 102, 103, 104};
    store_handle handle = store_resume(store, &got, numbers);
    store_conversation_free(&got);
    add_message(store, handle, 105, 104, STORE_MODEL, "");
    say_answer(store, 105);
    struct store_token more = token_of(11, 14);
    store_append(store, 105, " more", 5, 3, &more, 1); /* an answer that was complete goes on */
    end_message(store, 105, "[stopped]", false);
    end_message(store, 102, "[no longer sent]", true);
    store_change(store, handle, &(struct store_facts){.title = "a name", .named = true, .settings = "{}"});
    wait_store(store);
    assert_int_equal(store_load(store, id, &got, NULL), STATUS_OK);
    assert_int_equal(got.n, 5);
    check_text(&got.messages[4], "one \xff\xf0two more");
    assert_int_equal(got.messages[4].parent, 4);
    assert_int_equal(got.messages[4].n_tokens, 4);
    check_token(&got.messages[4].tokens[3], more);
    assert_true(got.messages[1].dropped);
    assert_string_equal(got.messages[1].note, "[no longer sent]");
    assert_string_equal(got.facts.title, "a name");
    assert_true(got.facts.named);
    store_conversation_free(&got);
    store_close(store, NULL);
    check_integrity();
}

/* ---- finding ---- */

static void test_search(void **state) {
    (void)state;
    struct store *store = must_open();
    int64_t first = kept_conversation(store, 0);
    store_handle handle = store_begin(store, &(struct store_facts){.title = "100% sure_thing, \xc3\x9c"
                                                                            "ber \xd0\x9c\xd0\xb8\xd1\x80",
                                                                   .settings = ""});
    add_message(store, handle, 11, 0, STORE_USER, "a \"quoted\" word, * and - and NOT; select \xc3\x84pfel");
    end_message(store, 11, NULL, false);
    wait_store(store);
    assert_int_equal(found(store, NULL), 2);
    assert_int_equal(found(store, "  "), 2);
    static const struct {
        const char *query;
        size_t n;
    } cases[] = {{"welt", 1},
                 {"SCH\xc3\x96NE", 1},
                 {"elt why", 1},
                 {"welt then", 0}, /* not in one message */
                 {"\xe6\x9c\xac", 1},
                 {"\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e", 1},
                 {"so", 1},
                 {"\"quoted\"", 1},
                 {"*", 1},
                 {"NOT", 1},
                 {"'; DROP TABLE", 0},
                 {"100%", 1},
                 {"0% sure_", 1},
                 {"%%%", 0},
                 {"sureXthing", 0},
                 {"two", 1},
                 {"\xc3\xa4p", 1}, /* upper and lower case of any script, in short words and titles too */
                 {"\xc3\xa4pfel", 1},
                 {"\xc3\xbc"
                  "ber",
                  1},
                 {"\xd0\xbc\xd0\xb8\xd1\x80", 1},
                 {"\xd0\xbc\xd0\xb8\xd1\x80\xd1\x8b", 0},
                 {"nowhere", 0},
                 {"\xff\xfe\xfd\xfc", 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (found(store, cases[i].query) != cases[i].n)
            fail_msg("\"%s\": found %zu, expected %zu", cases[i].query, found(store, cases[i].query),
                     cases[i].n);
    struct arena arena = {0};
    struct store_row *rows;
    size_t n;
    assert_int_equal(store_list(store, "welt", 10, &arena, &rows, &n, NULL), STATUS_OK);
    assert_int_equal(rows[0].id, first);
    assert_int_equal(rows[0].n_messages, 4);
    assert_non_null(strstr(rows[0].found, "Welt?"));
    arena_free(&arena);
    assert_int_equal(store_list(store, "\xc3\xa4pf", 10, &arena, &rows, &n, NULL), STATUS_OK);
    assert_non_null(strstr(rows[0].found, "select \xc3\x84pfel"));
    assert_null(strstr(rows[0].found, "quoted")); /* but around what was found */
    arena_free(&arena);
    store_close(store, NULL);
}

/* What another program is in the middle of saying is not lost to the index, whatever the order. */
static void test_search_of_unfinished(void **state) {
    (void)state;
    struct store *store = must_open();
    store_handle handle = store_begin(store, &paper_facts);
    struct store_token token = token_of(1, 9);
    add_message(store, handle, 1, 0, STORE_MODEL, "");
    store_append(store, 1, "beginning", 9, 0, &token, 1);
    wait_store(store);
    struct store *other = must_open(); /* takes it for left behind */
    wait_store(other);
    assert_int_equal(found(other, "beginning"), 1);
    token = token_of(2, 18);
    store_append(store, 1, " continued", 10, 1, &token, 1);
    end_message(store, 1, "", false);
    wait_store(store);
    assert_int_equal(found(other, "ginning cont"), 1);
    store_close(store, NULL);
    store_close(other, NULL);
    check_integrity();
}

static void test_remove_and_drafts(void **state) {
    (void)state;
    struct store *store = must_open();
    int64_t id = kept_conversation(store, 0);
    struct store_conversation got;
    store_draft(store, 1, "half a question", 15);
    store_draft(store, 0, "of nobody", 9);
    store_remove(store, 4);
    wait_store(store);
    assert_int_equal(store_load(store, id, &got, NULL), STATUS_OK);
    assert_int_equal(got.n, 3);
    assert_int_equal(got.leaf, 3);
    assert_string_equal(got.draft, "half a question");
    store_conversation_free(&got);
    int64_t draft_id;
    char *draft = store_read_draft(store, &draft_id);
    assert_string_equal(draft, "of nobody");
    free(draft);
    store_forget_draft(store, draft_id);
    wait_store(store);
    assert_null(store_read_draft(store, &draft_id));
    assert_int_equal(store_load(store, 4711, &got, NULL), STATUS_USAGE);
    store_conversation_free(&got);
    store_close(store, NULL);
}

/* ---- nobody waits who need not ---- */

static void *list_until_failure(void *context) {
    struct store *store = context;
    int status;
    do {
        struct arena arena = {0};
        struct store_row *rows;
        size_t n;
        status = store_list(store, "o", 100, &arena, &rows, &n, NULL); /* a word too short for the index */
        arena_free(&arena);
    } while (status == STATUS_OK);
    return (void *)(intptr_t)status;
}

/* A search that runs ends, one that begins does not begin; afterwards reading goes on as before. */
static void test_reading_is_stopped(void **state) {
    (void)state;
    struct store *store = must_open();
    char text[4000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = 0;
    store_handle handle = store_begin(store, &paper_facts);
    for (uint64_t i = 1; i <= 500; i++) add_message(store, handle, i, i - 1, STORE_USER, text);
    int64_t id = kept_conversation(store, 1000);
    pthread_t thread;
    void *status;
    assert_int_equal(pthread_create(&thread, NULL, list_until_failure, store), 0);
    poll(NULL, 0, 20);
    store_stop_reading(store, true);
    assert_int_equal(pthread_join(thread, &status), 0);
    assert_int_equal((int)(intptr_t)status, STATUS_STOPPED);
    struct store_conversation got;
    assert_int_equal(store_load(store, 1, &got, NULL), STATUS_STOPPED);
    store_conversation_free(&got);
    store_stop_reading(store, false);
    assert_int_equal(found(store, "o"), 2);
    check_conversation(store, id);
    assert_int_equal(newest_of(store), id);
    store_close(store, NULL);
}

/* Another program has the file to itself: what is kept meanwhile is kept when it lets go. */
static void test_opening_keeps_nobody_waiting(void **state) {
    (void)state;
    sqlite3 *other;
    struct store *store;
    struct err err = {0};
    assert_int_equal(sqlite3_open(store_path, &other), SQLITE_OK);
    assert_int_equal(sqlite3_exec(other, "BEGIN EXCLUSIVE", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(store_open(&store, store_path, &err), STATUS_OK);
    keep_conversation(store, 0);
    struct store_look look;
    store_look(store, &look);
    assert_true(look.waiting > 5);
    assert_int_equal(store_id(store, 1), 0);
    pthread_t thread;
    void *status;
    assert_int_equal(pthread_create(&thread, NULL, list_until_failure, store), 0);
    store_stop_reading(store, true);
    assert_int_equal(pthread_join(thread, &status), 0);
    assert_int_equal((int)(intptr_t)status, STATUS_STOPPED);
    store_stop_reading(store, false);
    assert_int_equal(sqlite3_close(other), SQLITE_OK);
    if (store_wait(store, &err) < 0) fail_msg("%s", err.text);
    assert_int_equal(wait_store(store).error.code, 0);
    check_conversation(store, 1);
    store_close(store, NULL);
    check_integrity();
}

/* ---- several programs ---- */

static void *keep_many(void *context) {
    struct store *store = must_open();
    for (uint64_t i = 0; i < 20; i++) kept_conversation(store, 10 * i);
    *(int *)context = store_close(store, NULL);
    return NULL;
}

static void test_two_at_once(void **state) {
    (void)state;
    pthread_t threads[2];
    int results[2] = {1, 1};
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, keep_many, &results[i]), 0);
    for (int i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(results[i], STATUS_OK);
    }
    struct store *store = must_open();
    assert_int_equal(found(store, NULL), 40);
    for (int64_t id = 1; id <= 40; id++) check_conversation(store, id);
    store_close(store, NULL);
    check_integrity();
}

/* Several programs make the same database at the same moment. */
static void test_made_by_many(void **state) {
    (void)state;
    enum { ROUNDS = 12, PROGRAMS = 5 };
    for (int round = 0; round < ROUNDS; round++) {
        int failed = 0, result;
        for (int i = 0; i < PROGRAMS; i++)
            if (fork() == 0) {
                struct err aside = {0}, err = {0};
                struct store *store = try_open(&aside, &err);
                int status = store ? STATUS_OK : (int)err.code;
                if (status == STATUS_OK && aside.code == STATUS_OK) {
                    keep_conversation(store, 0);
                    status = store_close(store, &err);
                }
                if (status < 0 || aside.code) fprintf(stderr, "%s%s\n", err.text, aside.text);
                _exit(status < 0 || aside.code);
            }
        while (wait(&result) > 0) failed += result != 0;
        assert_int_equal(failed, 0);
        struct store *store = must_open();
        assert_int_equal(found(store, NULL), PROGRAMS);
        store_close(store, NULL);
        assert_int_equal(unlink(store_path), 0);
    }
}

/* Both go on with the same conversation: two branches of one tree. */
static void test_two_in_one_conversation(void **state) {
    (void)state;
    struct store *a = must_open(), *b = must_open();
    int64_t id = kept_conversation(a, 0);
    struct store_conversation got;
    assert_int_equal(store_load(b, id, &got, NULL), STATUS_OK);
    static const uint64_t numbers[] = {1, 2, 3, 4};
    store_handle handle = store_resume(b, &got, numbers);
    store_conversation_free(&got);
    add_message(b, handle, 5, 4, STORE_MODEL, "from b");
    add_message(a, 1, 5, 4, STORE_MODEL, "from a");
    wait_store(a);
    wait_store(b);
    assert_int_equal(store_load(a, id, &got, NULL), STATUS_OK);
    assert_int_equal(got.n, 6);
    assert_int_equal(got.messages[4].parent, 4);
    assert_int_equal(got.messages[5].parent, 4);
    store_conversation_free(&got);
    /* One forgets it: the other hears that what it knows is void, and begins again. */
    store_delete(b, id);
    wait_store(b);
    struct store_look before, after;
    store_look(a, &before);
    add_message(a, 1, 6, 5, STORE_USER, "still here?");
    after = wait_store(a);
    assert_int_equal(after.epoch, before.epoch + 1);
    id = kept_conversation(a, 100);
    check_conversation(a, id);
    store_close(a, NULL);
    store_close(b, NULL);
}

/* ---- files that are not what they should be ---- */

static char *contents(size_t *len) {
    FILE *file = fopen(store_path, "rb");
    assert_non_null(file);
    char *all = malloc(8 << 20);
    *len = fread(all, 1, 8 << 20, file);
    fclose(file);
    return all;
}

static void test_refuses_other_versions(void **state) {
    (void)state;
    static const char *const changes[] = {"PRAGMA user_version=2", "PRAGMA application_id=1",
                                          "PRAGMA user_version=0"};
    static const char *const words[] = {"version 2", "another program", "version 0"};
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        struct store *store = must_open();
        kept_conversation(store, 0);
        store_close(store, NULL);
        execute(changes[i]);
        size_t len, len_after;
        char *before = contents(&len);
        struct err aside = {0}, err = {0};
        assert_null(try_open(&aside, &err));
        assert_int_equal(err.code, STATUS_UNSUPPORTED);
        assert_non_null(strstr(err.text, words[i]));
        char *after = contents(&len_after);
        assert_int_equal(len, len_after);
        assert_memory_equal(before, after, len);
        free(before);
        free(after);
        unlink(store_path);
    }
}

static int count_aside(void) {
    DIR *dir = opendir(store_folder);
    int n = 0;
    for (struct dirent *entry; (entry = readdir(dir));)
        n += strstr(entry->d_name, ".damaged-") && !strstr(entry->d_name, "-wal") &&
             !strstr(entry->d_name, "-shm");
    closedir(dir);
    return n;
}

static void overwrite(long at, size_t len, int byte) {
    int fd = open(store_path, O_WRONLY);
    char *junk = malloc(len);
    memset(junk, byte, len);
    assert_int_equal(pwrite(fd, junk, len, at), (ssize_t)len);
    free(junk);
    close(fd);
}

static void fill(int n) {
    struct store *store = must_open();
    for (int i = 0; i < n; i++) kept_conversation(store, (uint64_t)i * 10);
    store_close(store, NULL);
}

static void test_damaged_header(void **state) {
    (void)state;
    fill(1);
    overwrite(0, 16, 'x');
    struct err aside = {0}, err = {0};
    struct store *store = try_open(&aside, &err);
    assert_non_null(store);
    assert_int_not_equal(aside.code, 0);
    assert_int_equal(err.code, 0);
    assert_non_null(strstr(aside.text, "damaged"));
    assert_int_equal(count_aside(), 1);
    check_conversation(store, kept_conversation(store, 0));
    store_close(store, NULL);
}

/* Every page in turn: whatever was hit, the program goes on, and all that did not lie there is carried over.
 */
static void test_damaged_pages(void **state) {
    (void)state;
    enum { N = 40, PAGE = 4096 };
    fill(N);
    size_t len, n_noticed = 0, n_carried = 0;
    char *whole = contents(&len), command[256];
    snprintf(command, sizeof command, "rm -f %s.* %s-*", store_path, store_path);
    for (size_t page = 0; page < len / PAGE; page++) {
        struct store *store;
        struct err aside = {0}, err = {0};
        int fd = open(store_path, O_WRONLY | O_TRUNC);
        assert_int_equal(write(fd, whole, len), (ssize_t)len);
        close(fd);
        overwrite((long)page * PAGE + (page ? 0 : 100), PAGE - (page ? 0 : 100), 0xA5);
        if (!(store = try_open(&aside, &err))) fail_msg("page %zu: %s", page, err.text);
        struct store_look look = {.notice = aside};
        for (int64_t id = 1; id <= N && !look.notice.code; id++) { /* whoever meets it has it repaired */
            struct store_conversation got;
            if (store_load(store, id, &got, &err) < 0) look = wait_store(store);
            store_conversation_free(&got);
        }
        if (!look.notice.code) {
            keep_conversation(store, 10000);
            look = wait_store(store);
            assert_int_equal(look.error.code, 0);
        }
        if (look.notice.code) {
            assert_int_equal(count_aside(), 1);
            n_noticed++;
        }
        size_t n = found(store, NULL);
        n_carried += n >= N - 12;
        kept_conversation(store, 20000);
        store_close(store, NULL);
        if (look.notice.code) check_integrity();
        assert_int_equal(system(command), 0);
    }
    print_message("%zu pages, %zu noticed, %zu lost next to nothing\n", len / PAGE, n_noticed, n_carried);
    assert_true(n_noticed > len / PAGE / 2);
    assert_true(n_carried > len / PAGE * 3 / 4);
    free(whole);
}

/* A program that was killed in the middle of a repair: the next one ends it, whatever was done already. */
static void test_repair_goes_on(void **state) {
    (void)state;
    char old[128], new[128];
    static const char *const parts[] = {"-wal", ""};
    for (int done = 1; done <= 3; done++) { /* journal renamed; both; and a new one begun */
        pid_t child = fork();
        if (!child) { /* its journal stays: it is not closed */
            struct store *store = must_open();
            for (uint64_t i = 0; i < 5; i++) kept_conversation(store, 10 * i);
            _exit(0);
        }
        int result = 1;
        waitpid(child, &result, 0);
        assert_int_equal(result, 0);
        for (int i = 0; i < 2 && i < done; i++) {
            snprintf(old, sizeof old, "%s%s", store_path, parts[i]);
            snprintf(new, sizeof new, "%s.repairing%s", store_path, parts[i]);
            assert_int_equal(rename(old, new), 0);
        }
        if (done == 1) overwrite(0, 16, 'x');
        if (done == 3) close(open(store_path, O_CREAT | O_RDWR, 0600));
        struct store *store;
        struct err aside = {0}, err = {0};
        if (!(store = try_open(&aside, &err))) fail_msg("%d: %s", done, err.text);
        assert_int_not_equal(aside.code, 0);
        if (done > 1) /* with a broken header nothing can be read */
            for (int64_t id = 1; id <= 5; id++) check_conversation(store, id);
        store_close(store, NULL);
        assert_int_equal(count_aside(), 1);
        char command[256];
        snprintf(command, sizeof command, "rm -f %s*", store_path);
        assert_int_equal(system(command), 0);
    }
}

static void test_cut_file(void **state) {
    (void)state;
    fill(20);
    size_t len;
    char *whole = contents(&len), command[256];
    snprintf(command, sizeof command, "rm -f %s*", store_path);
    for (size_t cut = 0; cut < len; cut += cut < 100 ? 33 : len / 16 + 1) {
        struct store *store;
        struct err aside = {0}, err = {0};
        int fd = open(store_path, O_WRONLY | O_TRUNC | O_CREAT, 0600);
        assert_int_equal(write(fd, whole, cut), (ssize_t)cut);
        close(fd);
        if (!(store = try_open(&aside, &err))) fail_msg("cut at %zu: %s", cut, err.text);
        assert_int_equal(aside.code != 0, cut != 0);
        kept_conversation(store, 0);
        store_close(store, NULL);
        check_integrity();
        assert_int_equal(system(command), 0);
    }
    free(whole);
}

static void test_file_removed_while_open(void **state) {
    (void)state;
    struct store *store = must_open();
    kept_conversation(store, 0);
    char command[256];
    snprintf(command, sizeof command, "rm -f %s*", store_path);
    assert_int_equal(system(command), 0);
    add_message(store, 1, 5, 4, STORE_MODEL, "more");
    struct store_look look = wait_store(store);
    assert_int_equal(look.epoch, 2);
    check_conversation(store, kept_conversation(store, 10));
    store_close(store, NULL);
}

static void test_read_only_folder(void **state) {
    (void)state;
    if (geteuid() == 0) {
        print_message("root may write anywhere: a folder that is a file stands in\n");
        assert_int_equal(close(open(store_path, O_CREAT | O_WRONLY, 0600)), 0);
        strcat(store_path, "/chats.db");
    } else {
        assert_int_equal(chmod(store_folder, 0500), 0);
    }
    struct err aside = {0}, err = {0};
    assert_null(try_open(&aside, &err));
    assert_int_equal(err.code, STATUS_FAILED);
    assert_non_null(strstr(err.text, "chats.db"));
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, setup_store_folder, teardown_store_folder)
    const struct CMUnitTest tests[] = {
        TEST(round_trip),
        TEST(stays_locked),
        TEST(close_commits),
        TEST(records_to_the_bit),
        TEST(broken_records),
        TEST(resumed_is_known),
        TEST(resume_goes_on),
        TEST(search),
        TEST(search_of_unfinished),
        TEST(remove_and_drafts),
        TEST(reading_is_stopped),
        TEST(opening_keeps_nobody_waiting),
        TEST(two_at_once),
        TEST(made_by_many),
        TEST(two_in_one_conversation),
        TEST(refuses_other_versions),
        TEST(damaged_header),
        TEST(damaged_pages),
        TEST(repair_goes_on),
        TEST(cut_file),
        TEST(file_removed_while_open),
        TEST(read_only_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
