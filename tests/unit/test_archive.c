/* A chat that is kept and taken out again is the same chat: tree, tokens, candidates, settings - after any
 * walk. */
#include "app/branch_list.h"
#include "app/chat_list.h"
#include "app/export.h"
#include "app/slash.h"
#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/paper.h"
#include "tests/unit/store_maker.h"

static int folder(void **state) {
    (void)state;
    make_store_folder();
    snprintf(store_path, sizeof store_path, "%s/logitop/chats.db", store_folder);
    return setenv("XDG_DATA_HOME", store_folder, 1);
}

struct kept {
    struct chat chat;
    struct paper paper;
    struct archive archive;
};

static void begin(struct kept *kept, const char *system) {
    open_chat(&kept->chat, &kept->paper, system);
    archive_open(&kept->archive, &kept->chat, &(struct options){0});
    if (kept->archive.off.code) fail_msg("%s", kept->archive.off.text);
    make_ready(&kept->chat, &kept->paper);
}

static void finish(struct kept *kept) {
    struct err err = {0};
    if (archive_close(&kept->archive, &err) < 0) fail_msg("%s", err.text);
    chat_close(&kept->chat);
}

static size_t place_of(const struct conversation *conversation, const struct said *said) {
    for (size_t i = 0; i < conversation->all.n; i++)
        if (conversation->all.at[i] == said) return i;
    return SIZE_MAX;
}

static void check_same_token(const struct kept_token *s, const struct kept_token *t) {
    assert_int_equal(s->id, t->id);
    assert_int_equal(s->position, t->position);
    assert_int_equal(s->rank, t->rank);
    assert_memory_equal(&s->ms, &t->ms, 5 * sizeof(float)); /* and logit, prob, log_sum_exp, entropy */
    assert_int_equal(s->end, t->end);
    assert_int_equal(s->picked, t->picked);
    assert_int_equal(s->n_top, t->n_top);
    if (s->n_top) assert_memory_equal(s->top, t->top, s->n_top * sizeof *s->top);
}

/* The root stands first in both: it is made before all else. */
static void check_same(struct kept *a, struct kept *b) {
    struct conversation *x = &a->chat.conversation, *y = &b->chat.conversation;
    assert_int_equal(x->all.n, y->all.n);
    for (size_t i = 0; i < x->all.n; i++) {
        const struct said *s = x->all.at[i], *t = y->all.at[i];
        if (s->parent) assert_int_equal(place_of(x, s->parent), place_of(y, t->parent));
        assert_int_equal(s->by, t->by);
        assert_int_equal(s->dropped, t->dropped);
        assert_int_equal(s->text.len, t->text.len);
        if (s->text.len) assert_memory_equal(s->text.data, t->text.data, s->text.len);
        if (!s->open) assert_string_equal(s->note.data ? s->note.data : "", t->note.data ? t->note.data : "");
        assert_int_equal(s->n_tokens, t->n_tokens);
        assert_int_equal(s->n_ids, t->n_ids);
        if (s->n_ids) assert_memory_equal(s->ids, t->ids, s->n_ids * sizeof *s->ids);
        if (s->n_ids) assert_true(s->vocabulary == t->vocabulary);
        for (size_t k = 0; k < s->n_tokens; k++) {
            check_same_token(&s->tokens[k], &t->tokens[k]);
            assert_int_equal(s->shown[k].end, t->shown[k].end);
            assert_true(s->shown[k].prob == t->shown[k].prob);
        }
    }
    assert_int_equal(place_of(x, conversation_leaf(x)), place_of(y, conversation_leaf(y)));
    char *one = archive_settings(&a->chat), *two = archive_settings(&b->chat);
    assert_string_equal(one, two);
    free(one);
    free(two);
    assert_int_equal(a->chat.began, b->chat.began);
    assert_string_equal(archive_title(&a->archive), archive_title(&b->archive));
}

static void resume(struct kept *kept, int64_t id, const struct options *given) {
    struct buf line = {0}, draft = {0};
    struct err err = {0};
    if (archive_resume(&kept->archive, id, given, &line, &draft, &err) < 0) fail_msg("%s", err.text);
    buf_free(&line);
    buf_free(&draft);
}

static int64_t settle(struct kept *kept) {
    struct store_look look = wait_store(kept->archive.store);
    if (look.error.code) fail_msg("%s", look.error.text);
    return archive_id(&kept->archive);
}

/* A second program opens what the first one has kept so far, and finds the same. */
static void check_kept(struct kept *kept) {
    static struct kept other;
    int64_t id = settle(kept);
    begin(&other, NULL);
    resume(&other, id, NULL);
    check_same(kept, &other);
    finish(&other);
}

static void test_a_chat_comes_back(void **state) {
    (void)state;
    static struct kept kept;
    begin(&kept, "be kind");
    assert_int_equal(archive_id(&kept.archive), 0);
    exchange(&kept.chat, &kept.paper, "  why is\nit so?", 5, "hello");
    assert_string_equal(archive_title(&kept.archive), "why is");
    check_kept(&kept);
    assert_int_equal(chat_set(&kept.chat, "temp", "0.123456789", NULL), STATUS_OK);
    assert_int_equal(chat_set_variable(&kept.chat, "enable_thinking", "false", NULL), STATUS_OK);
    assert_int_equal(chat_set_system(&kept.chat, "\xff no \xc3\xa9", 6, NULL), STATUS_OK); /* any bytes */
    assert_int_equal(archive_name(&kept.archive, "my name for it", NULL), STATUS_OK);
    check_kept(&kept);
    finish(&kept);
    check_integrity();
}

/* What the command line asks for goes before what was kept. */
static void test_given_options_stay(void **state) {
    (void)state;
    static struct kept kept, other;
    begin(&kept, "be kind");
    assert_int_equal(chat_set(&kept.chat, "temp", "0.5", NULL), STATUS_OK);
    assert_int_equal(chat_set(&kept.chat, "top-k", "7", NULL), STATUS_OK);
    exchange(&kept.chat, &kept.paper, "hi", 5, "hello");
    int64_t id = settle(&kept);
    begin(&other, "be short");
    struct options given = {.given = option_given_bit("top-k") | option_given_bit("system")};
    resume(&other, id, &given);
    assert_true(other.chat.settings.sampling.temperature == 0.5f);
    assert_int_equal(other.chat.settings.sampling.top_k, 40);
    exchange(&other.chat, &other.paper, "more", 6, "again");
    assert_string_equal(other.paper.sent, "system:be short|user:hi|assistant:hello 5|user:more");
    finish(&other);
    finish(&kept);
}

static struct said *any(struct chat *chat, unsigned dice) {
    struct said_stack *all = &chat->conversation.all;
    return all->n ? all->at[dice % all->n] : NULL;
}

static void walk_step(struct kept *kept, unsigned dice) {
    struct chat *chat = &kept->chat;
    unsigned n;
    struct said *said = any(chat, dice >> 8);
    int32_t ids[] = {(int32_t)(dice % 9), 3};
    switch (dice % 14) {
    case 0:
    case 1: chat_send(chat, "a question", 10, NULL); break;
    case 2: chat_regenerate(chat, NULL); break;
    case 3: chat_continue(chat, NULL); break;
    case 4:
        if (said) chat_edit(chat, said, "other words", 11, NULL);
        break;
    case 5: chat_undo(chat, NULL); break;
    case 6: chat_redo(chat, NULL); break;
    case 7:
    case 8:
        if (said && said->parent) chat_switch(chat, said, NULL);
        break;
    case 9: chat_set(chat, "min-p", dice & 256 ? "0.25" : "0.01", NULL); break;
    case 10:
        if (dice % 5 == 0) chat_drop(chat, &n, NULL);
        if (dice % 10 == 0) chat_undrop(chat, &n, NULL);
        break;
    case 11:
    case 12:
        if (said)
            chat_fork(chat, said,
                      &(struct chat_fork){.keep = said->n_tokens ? dice / 14 % said->n_tokens : 0,
                                          .ids = ids,
                                          .n_ids = dice / 7 % 3,
                                          .reroll = dice % 3 == 0},
                      NULL);
        break;
    default: chat_set_system(chat, "be brief", dice & 256 ? 8 : 0, NULL); break;
    }
    if (!kept->paper.request) return;
    static const enum engine_reason reasons[] = {ENGINE_END,     ENGINE_END,   ENGINE_LIMIT,
                                                 ENGINE_STOPPED, ENGINE_ERROR, ENGINE_CONTEXT_FULL};
    for (unsigned i = 0; i < dice / 12 % 4; i++)
        say(&kept->paper, (int32_t)(dice % 7 + i), i ? " word" : "\xf0\x9f");
    end(&kept->paper, reasons[dice / 48 % 6]);
    chat_pump(chat);
}

static void test_any_walk(void **state) {
    (void)state;
    for (unsigned seed = 1; seed <= 6; seed++) {
        static struct kept kept;
        unsigned dice = seed * 2654435761u;
        begin(&kept, seed & 1 ? "be kind" : NULL);
        exchange(&kept.chat, &kept.paper, "first", 5, "hello");
        for (int i = 0; i < 60; i++) {
            dice = dice * 1664525u + 1013904223u;
            walk_step(&kept, dice >> 8);
            if (i % 15 == 14) check_kept(&kept);
        }
        finish(&kept);
    }
    check_integrity();
}

/* Of a chat taken out, walked on, and taken out again. */
static void test_walks_go_on(void **state) {
    (void)state;
    static struct kept kept;
    int64_t id = 0;
    unsigned dice = 4711;
    for (int life = 0; life < 6; life++) {
        begin(&kept, NULL);
        if (id) resume(&kept, id, NULL);
        for (int i = 0; i < 15; i++) {
            dice = dice * 1664525u + 1013904223u;
            walk_step(&kept, dice >> 8);
        }
        exchange(&kept.chat, &kept.paper, "one more", 5, "yes");
        id = settle(&kept);
        check_kept(&kept);
        finish(&kept);
    }
}

/* An answer in the middle, and the end of the program. */
static void test_interrupted_answer(void **state) {
    (void)state;
    static struct kept kept, other;
    begin(&kept, NULL);
    assert_int_equal(send(&kept.chat, "hi", NULL), STATUS_OK);
    say(&kept.paper, 5, "half");
    chat_pump(&kept.chat);
    int64_t id = settle(&kept);
    begin(&other, NULL); /* what a program would find if this one were killed now */
    resume(&other, id, NULL);
    struct said *said = conversation_last(&other.chat.conversation);
    assert_string_equal(said->text.data, "half");
    assert_string_equal(said->note.data, "[interrupted, /continue]");
    assert_int_equal(chat_continue(&other.chat, NULL), STATUS_OK);
    assert_string_equal(other.paper.sent, "user:hi|assistant:half 5|+");
    say(&other.paper, 6, " whole");
    end(&other.paper, ENGINE_END);
    chat_pump(&other.chat);
    check_kept(&other);
    finish(&other);
    finish(&kept);
}

/* The file goes away under the program: all of the chat is in the next one. */
static void test_file_is_removed(void **state) {
    (void)state;
    static struct kept kept;
    char command[256];
    begin(&kept, "be kind");
    exchange(&kept.chat, &kept.paper, "hi", 5, "hello");
    assert_int_equal(chat_regenerate(&kept.chat, NULL), STATUS_OK);
    say(&kept.paper, 6, "another");
    chat_pump(&kept.chat);
    settle(&kept);
    snprintf(command, sizeof command, "rm -f %s*", store_path);
    assert_int_equal(system(command), 0);
    say(&kept.paper, 7, " one");
    chat_pump(&kept.chat);
    settle(&kept);
    assert_true(archive_pump(&kept.archive) || kept.archive.epoch == 2);
    end(&kept.paper, ENGINE_END);
    chat_pump(&kept.chat);
    check_kept(&kept);
    finish(&kept);
}

static void test_drafts(void **state) {
    (void)state;
    static struct kept kept;
    begin(&kept, NULL);
    archive_draft(&kept.archive, "of the new one", 14);
    settle(&kept);
    exchange(&kept.chat, &kept.paper, "hi", 5, "hello");
    archive_draft(&kept.archive, "", 0);
    archive_draft(&kept.archive, "next", 4);
    int64_t id = settle(&kept);
    int64_t draft_id;
    assert_null(store_read_draft(kept.archive.store, &draft_id)); /* it was sent */
    struct buf line = {0}, draft = {0};
    assert_int_equal(archive_resume(&kept.archive, id, NULL, &line, &draft, NULL), STATUS_OK);
    assert_string_equal(draft.data, "next");
    buf_free(&line);
    buf_free(&draft);
    finish(&kept);
}

static void test_incognito(void **state) {
    (void)state;
    static struct kept kept;
    open_chat(&kept.chat, &kept.paper, NULL);
    archive_open(&kept.archive, &kept.chat, &(struct options){.incognito = true});
    make_ready(&kept.chat, &kept.paper);
    exchange(&kept.chat, &kept.paper, "hi", 5, "hello");
    assert_string_equal(archive_mark(&kept.archive), "incognito");
    struct slash_result result = {0};
    struct err err = {0};
    assert_int_equal(slash_run(&kept.chat, "/save", 5, &result, &err), STATUS_UNSUPPORTED);
    slash_result_free(&result);
    finish(&kept);
    assert_int_equal(access(store_path, F_OK), -1);
}

/* Times and ids that no program would have written are listed and opened as any others. */
static void test_numbers_of_any_size(void **state) {
    (void)state;
    static struct kept kept;
    begin(&kept, NULL);
    exchange(&kept.chat, &kept.paper, "hi", 5, "hello");
    int64_t id = settle(&kept);
    static const long long numbers[] = {INT64_MIN, INT64_MIN + 1, -1, INT64_MAX};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        sqlite3 *db;
        char sql[400];
        snprintf(sql, sizeof sql,
                 "UPDATE conversation SET changed = %1$lld, began = %1$lld, leaf = %1$lld;"
                 "UPDATE message SET born = %1$lld, vocabulary = %1$lld;"
                 "INSERT OR REPLACE INTO draft VALUES(%1$lld, 'left')",
                 numbers[i]);
        assert_int_equal(sqlite3_open(store_path, &db), SQLITE_OK);
        assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
        sqlite3_close(db);
        struct err err = {0};
        struct lookup_answer answer = {0};
        struct chat_list chats = {0};
        assert_int_equal(
            store_list(kept.archive.store, "hi", 10, &answer.arena, &answer.rows, &answer.n_rows, &err),
            STATUS_OK);
        assert_int_equal(chat_list_found(&chats, &kept.archive, &answer, &err), STATUS_OK);
        assert_int_equal(chats.picker.n_rows, 1);
        assert_string_equal(chats.picker.rows[0].columns[0], "hi");
        chat_list_free(&chats);
        arena_free(&answer.arena);
        resume(&kept, id, NULL);
        struct branch_list branches = {0};
        assert_int_equal(branch_list_open(&branches, &kept.chat.conversation, &err), STATUS_OK);
        branch_list_free(&branches);
        int64_t draft_id;
        char *draft = store_read_draft(kept.archive.store, &draft_id);
        if (draft) store_forget_draft(kept.archive.store, draft_id);
        free(draft);
        settle(&kept);
    }
    finish(&kept);
}

/* ---- exporting ---- */

static char *read_file(const char *path) {
    static char all[1 << 16];
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    all[fread(all, 1, sizeof all - 1, file)] = '\0';
    fclose(file);
    return all;
}

static int export_now(const struct chat *chat, const struct slash_result *result, struct err *err) {
    struct export *export;
    int status = export_begin(&export, chat, result->export_format, result->export_path.data, err);
    return status < 0 ? status : export_end(export, err);
}

static void test_export(void **state) {
    (void)state;
    static struct kept kept;
    char path[128], line[160];
    begin(&kept, "be kind");
    exchange(&kept.chat, &kept.paper, "Why? **So**", 5, "hello");
    exchange(&kept.chat, &kept.paper, "more", 6, "\xf0\x9f");
    for (int i = 0; i < 2; i++) { /* live, and taken out again */
        static const struct {
            const char *format, *holds[4];
        } cases[] = {
            {"md", {"# Why? **So**\n", "## You\n\nmore\n", "## Model\n\nhello\n", "## System\n\nbe kind"}},
            {"json", {"\"leaf\":5", "\"parent\":2", "\"role\":\"system\"", "\"bytes\":[240,159]"}},
            {"jsonl",
             {"{\"message\":{\"id\":2,\"parent\":1,\"role\":\"user\"",
              "\"top\":[{\"id\":1,\"text\":", "\"rank\":2", "\"prob\":0.3"}}};
        for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
            struct slash_result result = {0};
            struct err err = {0};
            snprintf(path, sizeof path, "%s/%d.%s", store_folder, i, cases[c].format);
            int n = snprintf(line, sizeof line, "/export %s %s", cases[c].format, path);
            if (slash_run(&kept.chat, line, (size_t)n, &result, &err) < 0) fail_msg("%s", err.text);
            assert_true(result.export);
            if (export_now(&kept.chat, &result, &err) < 0) fail_msg("%s", err.text);
            if (i == 0)
                for (int h = 0; h < 4; h++)
                    if (!strstr(read_file(path), cases[c].holds[h]))
                        fail_msg("%s: expected %s in\n%s", path, cases[c].holds[h], read_file(path));
            assert_int_equal(export_now(&kept.chat, &result, &err), STATUS_FAILED); /* it is there */
            slash_result_free(&result);
        }
        resume(&kept, settle(&kept), NULL);
    }
    setenv("HOME", store_folder, 1);
    struct slash_result home = {.export_format = EXPORT_MD};
    struct err err = {0};
    buf_puts(&home.export_path, "~/home.md");
    if (export_now(&kept.chat, &home, &err) < 0) fail_msg("%s", err.text);
    slash_result_free(&home);
    run_ok(&kept.chat, "/copy file ~/copy");
    snprintf(path, sizeof path, "%s/home.md", store_folder);
    assert_non_null(strstr(read_file(path), "## You"));
    snprintf(path, sizeof path, "%s/copy", store_folder);
    read_file(path);
    static const char *const names[][2] = {
        {"Why? **So**", "why-so.md"},
        {"\xE6\x97\xA5\xE6\x9C\xAC\xE8\xAA\x9E \xC3\xA9t\xC3\xA9 e\xCC\x81",
         "\xE6\x97\xA5\xE6\x9C\xAC\xE8\xAA\x9E-\xC3\xA9t\xC3\xA9-e\xCC\x81.md"},
        {"../\033[2J\xE2\x80\xAE\xFF/x", "2j-x.md"},
        {"?", "chat.md"}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char *name = export_file_name(names[i][0], EXPORT_MD);
        assert_string_equal(name, names[i][1]);
        free(name);
    }
    char *name = export_file_name("\xE6\x97\xA5\xE6\x97\xA5\xE6\x97\xA5\xE6\x97\xA5\xE6\x97\xA5\xE6\x97\xA5"
                                  "\xE6\x97\xA5\xE6\x97\xA5\xE6\x97\xA5"
                                  "\xE6\x97\xA5\xE6\x97\xA5\xE6\x97\xA5\xE6\x97\xA5\xE6\x97\xA5\xE6\x97\xA5"
                                  "\xE6\x97\xA5\xE6\x97\xA5\xE6\x97\xA5",
                                  EXPORT_JSONL);
    assert_int_equal(strlen(name), 48 + strlen(".jsonl")); /* and no half of a character */
    free(name);
    finish(&kept);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, folder, teardown_store_folder)
    const struct CMUnitTest tests[] = {
        TEST(a_chat_comes_back),
        TEST(given_options_stay),
        TEST(any_walk),
        TEST(walks_go_on),
        TEST(interrupted_answer),
        TEST(file_is_removed),
        TEST(drafts),
        TEST(incognito),
        TEST(numbers_of_any_size),
        TEST(export),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
