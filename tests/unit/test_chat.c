/* The chat and its conversation over an engine that does exactly what the test says: what is sent, what is
 * kept, and what becomes of answers that end early. */
#include "tests/unit/paper.h"

/* ---- tests ---- */

static void test_turns_keep_ids(void **state) {
    (void)state;
    struct chat chat;
    struct paper paper;
    open_chat(&chat, &paper, "be kind");
    make_ready(&chat, &paper);
    exchange(&chat, &paper, "hi", 5, "hello");
    assert_string_equal(paper.sent, "system:be kind|user:hi");
    assert_int_equal(send(&chat, "more", NULL), STATUS_OK);
    assert_string_equal(paper.sent, "system:be kind|user:hi|assistant:hello 5|user:more");
    const struct said *said = chat_shown(&chat);
    assert_int_equal(said->n_tokens, 1);
    assert_int_equal(said->tokens[0].n_top, 2);
    assert_float_equal(kept_token_candidate(&said->tokens[0], 1).prob, 0.3f, 1e-5);
    assert_int_equal(said->shown[0].end, 5);
    assert_string_equal(said->note.data, "2 tokens  2.0 tok/s  prompt 9 (4 cached)");
    chat_close(&chat);
}

/* Ids are used again only where they mean the same, and where they are all of the text. */
static void test_ids_of_another_vocabulary(void **state) {
    (void)state;
    struct chat chat;
    struct paper paper;
    open_chat(&chat, &paper, NULL);
    make_ready(&chat, &paper);
    exchange(&chat, &paper, "hi", 5, "hello");
    chat.conversation.vocabulary++; /* another model speaks */
    exchange(&chat, &paper, "more", 6, "there");
    assert_string_equal(paper.sent, "user:hi|assistant:hello|user:more");
    struct said *first = chat.conversation.messages[1];
    chat.conversation.vocabulary--;
    exchange(&chat, &paper, "again", 7, "x");
    assert_string_equal(paper.sent, "user:hi|assistant:hello 5|user:more|assistant:there|user:again");
    assert_int_equal(chat_edit(&chat, first, "my words", 8, NULL), STATUS_OK);
    assert_int_equal(chat_continue(&chat, NULL), STATUS_OK);
    say(&paper, 8, " and yours");
    end(&paper, ENGINE_END);
    chat_pump(&chat);
    exchange(&chat, &paper, "so?", 9, "y");
    assert_string_equal(paper.sent, "user:hi|assistant:my words and yours|user:so?");
    chat_close(&chat);
}

static void test_stop_keeps_and_continues(void **state) {
    (void)state;
    struct chat chat;
    struct paper paper;
    struct err err;
    open_chat(&chat, &paper, NULL);
    make_ready(&chat, &paper);
    assert_false(chat_stop(&chat));
    assert_int_equal(send(&chat, "hi", NULL), STATUS_OK);
    assert_int_equal(chat_continue(&chat, &err), STATUS_BUSY);
    assert_int_equal(chat_set_system(&chat, "x", 1, &err), STATUS_BUSY);
    assert_int_equal(chat_new(&chat, &err), STATUS_BUSY);
    say(&paper, 5, "half");
    chat_pump(&chat);
    assert_int_equal(chat.state, CHAT_ANSWERING);
    assert_true(chat_stop(&chat));
    assert_int_equal(paper.stopped, chat.request);
    end(&paper, ENGINE_STOPPED);
    chat_pump(&chat);
    assert_int_equal(chat_continue(&chat, NULL), STATUS_OK);
    assert_string_equal(paper.sent, "user:hi|assistant:half 5|+");
    say(&paper, 6, " whole");
    say(&paper, 7, longest);
    end(&paper, ENGINE_END);
    chat_pump(&chat);
    const struct said *said = conversation_last(&chat.conversation);
    char whole[128];
    snprintf(whole, sizeof whole, "half whole%s", longest);
    assert_string_equal(said->text.data, whole);
    assert_int_equal(said->n_ids, 3);
    assert_string_equal(said->note.data,
                        "3 tokens  2.0 tok/s  prompt 9 (4 cached)"); /* not only the new ones */
    assert_int_equal(chat_continue(&chat, NULL), STATUS_OK);
    struct engine_event *nothing = end(&paper, ENGINE_END);
    nothing->done.stats.tokens = 0;
    nothing->done.stats.decode_seconds = 0;
    chat_pump(&chat);
    assert_string_equal(said->note.data, "3 tokens  nothing to add  prompt 9 (4 cached)");
    assert_int_equal(chat.conversation.n, 2);
    chat_close(&chat);
}

/* A stop before the first word, and an error: the question comes back, nothing else changes. */
static void test_wordless_comes_back(void **state) {
    (void)state;
    static const enum engine_reason reasons[] = {ENGINE_STOPPED, ENGINE_ERROR};
    for (size_t i = 0; i < 2; i++) {
        struct chat chat;
        struct paper paper;
        open_chat(&chat, &paper, NULL);
        make_ready(&chat, &paper);
        exchange(&chat, &paper, "hi", 5, "hello");
        assert_int_equal(send(&chat, "what", NULL), STATUS_OK);
        err_set(&end(&paper, reasons[i])->error, STATUS_FAILED, "no");
        chat_pump(&chat);
        assert_int_equal(chat.conversation.n, 2);
        assert_string_equal(chat.returned.data, "what");
        assert_int_equal(chat.error.code, reasons[i] == ENGINE_ERROR ? STATUS_FAILED : STATUS_OK);
        chat_close(&chat);
    }
}

static void test_refused_leaves_no_trace(void **state) {
    (void)state;
    struct chat chat;
    struct paper paper;
    struct err err = {0};
    open_chat(&chat, &paper, NULL);
    make_ready(&chat, &paper);
    assert_int_equal(chat_continue(&chat, &err), STATUS_USAGE);
    assert_int_equal(chat_regenerate(&chat, &err), STATUS_USAGE);
    paper.refuse = STATUS_BUSY;
    assert_int_equal(send(&chat, "hi", &err), STATUS_BUSY);
    assert_int_equal(chat.conversation.n, 0);
    assert_int_equal(chat.state, CHAT_IDLE);
    chat_close(&chat);
}

/* Typed during an answer: sent when that has ended, given back when it was stopped, and taken back before. */
static void test_waits_for_its_turn(void **state) {
    (void)state;
    struct chat chat;
    struct paper paper;
    struct err err;
    open_chat(&chat, &paper, NULL);
    make_ready(&chat, &paper);
    assert_int_equal(send(&chat, "hi", NULL), STATUS_OK);
    assert_int_equal(chat_queue(&chat, "more", 4, NULL), STATUS_OK);
    assert_int_equal(chat_queue(&chat, "third", 5, &err), STATUS_BUSY);
    assert_string_equal(paper.sent, "user:hi");
    say(&paper, 5, "hello");
    end(&paper, ENGINE_END);
    chat_pump(&chat);
    assert_string_equal(paper.sent, "user:hi|assistant:hello 5|user:more");
    assert_int_equal(chat_queue(&chat, "last", 4, NULL), STATUS_OK);
    say(&paper, 6, "much");
    end(&paper, ENGINE_STOPPED);
    chat_pump(&chat);
    assert_int_equal(chat.request, 0);
    assert_string_equal(chat.returned.data, "last");
    assert_int_equal(chat.waiting.len, 0);
    chat_close(&chat);
}

static void test_waits_for_the_model(void **state) {
    (void)state;
    struct chat chat;
    struct paper paper;
    struct err err;
    open_chat(&chat, &paper, NULL);
    assert_int_equal(send(&chat, "first", NULL), STATUS_OK);
    assert_int_equal(send(&chat, "second", &err), STATUS_BUSY);
    make_ready(&chat, &paper);
    assert_string_equal(paper.sent, "user:first");
    chat_close(&chat);
}

static void test_context_full(void **state) {
    (void)state;
    struct chat chat;
    struct paper paper;
    struct err err;
    unsigned n;
    open_chat(&chat, &paper, "sys");
    make_ready(&chat, &paper);
    char filler[41];
    memset(filler, 'x', 40);
    filler[40] = '\0';
    exchange(&chat, &paper, filler, 5, "a");
    char answered[64];
    snprintf(answered, sizeof answered, "%s", chat.conversation.messages[2]->note.data);
    exchange(&chat, &paper, filler, 6, "b");
    assert_int_equal(send(&chat, "last", NULL), STATUS_OK);
    end(&paper, ENGINE_CONTEXT_FULL);
    chat_pump(&chat);
    assert_int_equal(chat.error.code, STATUS_CONTEXT_FULL);
    assert_non_null(strstr(chat.error.text, "/drop"));
    assert_int_equal(chat.conversation.n, 6); /* the question stays */
    assert_int_equal(chat_continue(&chat, NULL), STATUS_OK);
    end(&paper, ENGINE_CONTEXT_FULL);
    chat_pump(&chat);
    assert_int_equal(chat_undo(&chat, NULL), STATUS_OK); /* of the question: what failed was no change */
    assert_int_equal(chat.conversation.n, 5);
    assert_int_equal(chat.error.code, STATUS_OK); /* there it is not full */
    assert_int_equal(chat_redo(&chat, NULL), STATUS_OK);
    assert_int_equal(chat.conversation.n, 6);
    struct slash_result result;
    assert_int_equal(slash_run(&chat, "/drop", 5, &result, NULL),
                     STATUS_OK); /* half of 100 is free after one turn, and goes on */
    char sent[128];
    snprintf(sent, sizeof sent, "system:sys|user:%s|assistant:b 6|user:last", filler);
    assert_string_equal(paper.sent, sent);
    say(&paper, 7, "done");
    end(&paper, ENGINE_END);
    chat_pump(&chat);
    assert_int_equal(chat_drop(&chat, &n, &err), STATUS_OK);
    assert_int_equal(chat_drop(&chat, &n, &err), STATUS_USAGE);
    assert_non_null(strstr(err.text, "always sent")); /* there is room, but no older turn */
    assert_int_equal(chat.conversation.n, 7); /* dropped ones are still shown */
    const struct said *first = chat.conversation.messages[2];
    char note[96];
    assert_true(first->dropped);
    snprintf(note, sizeof note, "[no longer sent]  %s", answered);
    assert_string_equal(first->note.data, note);
    assert_int_equal(chat_undrop(&chat, &n, &err), STATUS_OK);
    assert_int_equal(n, 2);
    assert_false(first->dropped);
    assert_string_equal(first->note.data, answered);
    assert_int_equal(chat_undrop(&chat, &n, &err), STATUS_USAGE);
    assert_int_equal(send(&chat, "all", NULL), STATUS_OK);
    assert_non_null(strstr(paper.sent, "assistant:a 5|user:"));
    say(&paper, 7, "done");
    end(&paper, ENGINE_END);
    chat_pump(&chat);
    assert_int_equal(chat_new(&chat, &err), STATUS_OK);
    assert_int_equal(send(&chat, filler, NULL), STATUS_OK);
    end(&paper, ENGINE_CONTEXT_FULL);
    chat_pump(&chat);
    assert_int_equal(chat_drop(&chat, &n, &err), STATUS_CONTEXT_FULL);
    chat_close(&chat);
}

static void test_regenerate_and_new(void **state) {
    (void)state;
    struct chat chat;
    struct paper paper;
    open_chat(&chat, &paper, NULL);
    make_ready(&chat, &paper);
    exchange(&chat, &paper, "hi", 5, "one");
    assert_int_equal(paper.sampling.attempt, 0);
    assert_int_equal(chat_regenerate(&chat, NULL), STATUS_OK);
    assert_string_equal(paper.sent, "user:hi");
    assert_int_equal(paper.sampling.attempt, 1);
    say(&paper, 6, "two");
    end(&paper, ENGINE_END);
    chat_pump(&chat);
    uint64_t id = conversation_last(&chat.conversation)->id;
    assert_int_equal(chat_new(&chat, NULL), STATUS_OK);
    assert_int_equal(chat.conversation.n, 0);
    assert_string_equal(chat.earlier.data,
                        "you: hi\n\nbot: two\n     2 tokens  2.0 tok/s  prompt 9 (4 cached)\n\n");
    assert_true(chat_tps_mean(&chat) == 0); /* the speed of an answer that is gone */
    exchange(&chat, &paper, "new", 7, "x");
    assert_string_equal(paper.sent, "user:new");
    assert_true(conversation_last(&chat.conversation)->id > id);
    chat_close(&chat);
}

/* The last request is refused as a template without a system role does. */
static void refuse(struct chat *chat, struct paper *paper) {
    struct engine_event *event = end(paper, ENGINE_ERROR);
    event->done.wants_fold = true;
    err_set(&event->error, STATUS_USAGE, "System role not supported");
    chat_pump(chat);
    assert_true(chat->wants_fold);
    assert_ptr_equal(strstr(chat->error.text, "System role not supported; /fold"), chat->error.text);
}

static void test_refusal_is_folded(void **state) {
    (void)state;
    struct chat chat;
    struct paper paper;
    open_chat(&chat, &paper, "be kind");
    make_ready(&chat, &paper);
    assert_int_equal(send(&chat, "hi", NULL), STATUS_OK);
    assert_false(paper.fold);
    refuse(&chat, &paper);
    assert_string_equal(chat.returned.data, "hi"); /* the draft */
    assert_int_equal(chat.conversation.n, 1);
    run_ok(&chat, "/fold"); /* asks it again */
    assert_true(paper.fold && !chat.wants_fold && chat.error.code == STATUS_OK);
    assert_string_equal(paper.sent, "system:be kind|user:hi");
    say(&paper, 5, "hello");
    end(&paper, ENGINE_END);
    chat_pump(&chat);
    assert_int_equal(send(&chat, "more", NULL), STATUS_OK); /* and so on */
    assert_true(paper.fold);
    end(&paper, ENGINE_STOPPED);
    chat_pump(&chat);
    assert_int_equal(chat_new(&chat, NULL), STATUS_OK);
    assert_int_equal(send(&chat, "new", NULL), STATUS_OK);
    assert_true(paper.fold);
    chat_close(&chat);
}

/* A system message that comes later; the draft changed before it is asked again; an answer that goes on. */
static void test_refusal_in_later_turns(void **state) {
    (void)state;
    struct chat chat;
    struct paper paper;
    open_chat(&chat, &paper, NULL);
    make_ready(&chat, &paper);
    exchange(&chat, &paper, "hi", 5, "hello");
    run_ok(&chat, "/system be kind");
    assert_int_equal(send(&chat, "more", NULL), STATUS_OK);
    refuse(&chat, &paper);
    assert_int_equal(chat_fold(&chat, "much more", 9, NULL), STATUS_OK);
    assert_true(paper.fold);
    assert_string_equal(paper.sent, "system:be kind|user:hi|assistant:hello 5|user:much more");
    say(&paper, 6, "half");
    end(&paper, ENGINE_STOPPED);
    chat_pump(&chat);
    chat.fold = false;
    assert_int_equal(chat_continue(&chat, NULL), STATUS_OK);
    refuse(&chat, &paper);
    assert_int_equal(chat.conversation.n, 5);
    run_ok(&chat, "/fold");
    assert_true(paper.fold);
    assert_string_equal(paper.sent,
                        "system:be kind|user:hi|assistant:hello 5|user:much more|assistant:half 6|+");
    end(&paper, ENGINE_END);
    chat_pump(&chat);
    run_ok(&chat, "/fold"); /* nothing was refused: nothing is asked */
    assert_int_equal(chat.request, 0);
    chat_close(&chat);
}

static void test_template_variables(void **state) {
    (void)state;
    struct chat chat;
    struct paper paper;
    open_chat(&chat, &paper, NULL);
    make_ready(&chat, &paper);
    exchange(&chat, &paper, "hi", 5, "hello");
    assert_string_equal(paper.variables, "");
    run_ok(&chat, "/set template.enable_thinking=false");
    run_ok(&chat, "/set template.tools [\"a b\", 1]");
    run_ok(&chat, "/set template.mood very good");
    exchange(&chat, &paper, "hi", 5, "hello");
    assert_string_equal(paper.variables,
                        "{\"enable_thinking\":false,\"tools\":[\"a b\",1],\"mood\":\"very good\"}");
    run_ok(&chat, "/set template.enable_thinking True");
    assert_int_equal(chat_new(&chat, NULL), STATUS_OK);
    exchange(&chat, &paper, "hi", 5, "hello");
    assert_ptr_equal(strstr(paper.variables, "{\"enable_thinking\":true,"), paper.variables);
    chat_close(&chat);
}

static void test_each_chat_has_its_date(void **state) {
    (void)state;
    struct chat chat;
    struct paper paper;
    open_chat(&chat, &paper, NULL);
    make_ready(&chat, &paper);
    exchange(&chat, &paper, "hi", 5, "hello");
    assert_true(paper.began > 1700000000);
    chat.began = 1000; /* long ago */
    exchange(&chat, &paper, "more", 6, "yes");
    assert_int_equal(paper.began, 1000);
    assert_int_equal(chat_regenerate(&chat, NULL), STATUS_OK);
    assert_int_equal(paper.began, 1000);
    say(&paper, 6, "half");
    end(&paper, ENGINE_STOPPED);
    chat_pump(&chat);
    assert_int_equal(chat_new(&chat, NULL), STATUS_OK);
    exchange(&chat, &paper, "hi", 5, "hello");
    assert_true(paper.began > 1700000000);
    chat_close(&chat);
}

static void test_device_lost(void **state) {
    (void)state;
    struct chat chat;
    struct paper paper;
    struct err err = {0};
    open_chat(&chat, &paper, NULL);
    make_ready(&chat, &paper);
    assert_int_equal(send(&chat, "hi", NULL), STATUS_OK);
    say(&paper, 5, "half");
    err_set(&push(&paper, ENGINE_FAILED)->error, STATUS_DEVICE, "card fell off");
    err_set(&end(&paper, ENGINE_ERROR)->error, STATUS_DEVICE, "card fell off");
    chat_pump(&chat);
    assert_int_equal(chat.state, CHAT_FAILED);
    assert_string_equal(conversation_last(&chat.conversation)->text.data, "half");
    assert_int_equal(send(&chat, "more", &err), STATUS_FAILED);
    assert_non_null(strstr(err.text, "card fell off"));
    chat_close(&chat);
}

/* The device is lost in the middle of an answer, and the engine goes on elsewhere. */
static void test_engine_moves(void **state) {
    (void)state;
    struct chat chat;
    struct paper paper;
    struct buf stats = {0};
    open_chat(&chat, &paper, NULL);
    err_set(&push(&paper, ENGINE_NOTICE)->error, STATUS_DEVICE, "no card; running on the CPU");
    make_ready(&chat, &paper);
    assert_true(chat.has_notice && !chat.moved);
    assert_string_equal(chat.notice.data, "no card; running on the CPU");
    assert_int_equal(send(&chat, "hi", NULL), STATUS_OK);
    say(&paper, 5, "half");
    err_set(&push(&paper, ENGINE_NOTICE)->error, STATUS_DEVICE, "card fell off");
    push(&paper, ENGINE_LOADING)->progress.total = 10;
    chat_pump(&chat);
    assert_true(chat.moving && chat_busy(&chat));
    assert_string_equal(chat.notice.data, "card fell off");
    push(&paper, ENGINE_READY)->request = paper.request;
    say(&paper, 6, " and half");
    end(&paper, ENGINE_END);
    chat_pump(&chat);
    assert_false(chat.moving || chat.moved);
    assert_int_equal(chat.state, CHAT_IDLE);
    const struct said *answer = conversation_last(&chat.conversation);
    assert_string_equal(answer->text.data, "half and half");
    assert_non_null(strstr(answer->note.data, "[the device failed]  2 tokens"));
    chat_print_stats(&chat, &stats);
    assert_non_null(strstr(stats.data, "card fell off"));
    assert_int_equal(send(&chat, "more", NULL), STATUS_OK);
    assert_string_equal(paper.sent, "user:hi|assistant:half and half 5 6|user:more");
    buf_free(&stats);
    chat_close(&chat);
}

static void test_commands(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int status;
        const char *says; /* line, page or err */
    } cases[] = {
        {"/help", STATUS_OK, "/continue"},
        {"/?", STATUS_OK, "/continue"},
        {"/exit now", STATUS_USAGE, "/quit: found \"now\""},
        {"/clear", STATUS_OK, "a new chat"},
        {"/he", STATUS_OK, "/continue"},
        {"/se temp 0.5", STATUS_OK, "temp is 0.5 from"},
        {"/qui now", STATUS_USAGE, "/quit: found \"now\", expected nothing after it"},
        {"/re", STATUS_USAGE, "/re may be /regen, /redo"},
        {"/hepl", STATUS_USAGE, "there is no /hepl, did you mean /help?"},
        {"/nonsense", STATUS_USAGE, "//nonsense sends it to the model"},
        {"/set temp 0.25", STATUS_OK, "temp is 0.25 from the next answer on"},
        {"/set temp", STATUS_OK, "temp is 0.25"},
        {"/set temp=1", STATUS_OK, "temp is 1 from"},
        {"/set temp x", STATUS_USAGE, "temp: found \"x\", expected a number >= 0"},
        {"/set template.x [1,2]", STATUS_OK, "template.x is [1,2] from the next answer on"},
        {"/set template.x", STATUS_OK, "template.x is [1,2]"},
        {"/set template.y", STATUS_OK, "template.y is not set"},
        {"/set template.\xff 1", STATUS_USAGE, "expected NAME=VALUE in UTF-8"},
        {"/set", STATUS_OK, "template.x           [1,2]"},
        {"/fold", STATUS_OK, "into the first message"},
        {"/set tmep 1", STATUS_USAGE, "did you mean temp?"},
        {"/set", STATUS_OK, "presence-penalty"},
        {"/system be brief", STATUS_OK, "system message set"},
        {"/system", STATUS_OK, "no system message"},
        {"/stats", STATUS_OK, "Paper"},
        {"/stop", STATUS_USAGE, "nothing is being answered"},
        {"/stop now", STATUS_USAGE, "found \"now\", expected nothing"},
        {"/drop", STATUS_USAGE, "nothing to drop"},
        {"/continue", STATUS_USAGE, "nothing to go on with"},
        {"/new \n", STATUS_OK, "a new chat"},
    };
    struct chat chat;
    struct paper paper;
    open_chat(&chat, &paper, NULL);
    make_ready(&chat, &paper);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct slash_result result;
        struct err err = {0};
        int status = slash_run(&chat, cases[i].text, strlen(cases[i].text), &result, &err);
        const char *said = status < 0 ? err.text : result.page.len ? result.page.data : result.line;
        if (status != cases[i].status || !strstr(said, cases[i].says))
            fail_msg("%s: status %d, \"%s\", expected \"%s\"", cases[i].text, status, said, cases[i].says);
        slash_result_free(&result);
    }
    chat_close(&chat);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_turns_keep_ids),
        cmocka_unit_test(test_ids_of_another_vocabulary),
        cmocka_unit_test(test_stop_keeps_and_continues),
        cmocka_unit_test(test_wordless_comes_back),
        cmocka_unit_test(test_refused_leaves_no_trace),
        cmocka_unit_test(test_waits_for_the_model),
        cmocka_unit_test(test_waits_for_its_turn),
        cmocka_unit_test(test_context_full),
        cmocka_unit_test(test_regenerate_and_new),
        cmocka_unit_test(test_device_lost),
        cmocka_unit_test(test_engine_moves),
        cmocka_unit_test(test_commands),
        cmocka_unit_test(test_refusal_is_folded),
        cmocka_unit_test(test_refusal_in_later_turns),
        cmocka_unit_test(test_template_variables),
        cmocka_unit_test(test_each_chat_has_its_date),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
