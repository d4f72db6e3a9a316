/* Inspect mode over the scripted engine, in its own thread: random walks of moving, taking, typing, stepping,
 * re-rolling, comparing, undoing, editing and asking, at any moment, answers running or not. Under the
 * sanitizers this is where a dangling message or a race shows. */
#include "app/branch_list.h"
#include "app/inspect.h"
#include "app/scoring.h"
#include "app/slash.h"
#include "app/view.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <poll.h>

static const char script[] =
    "context 100000\n"
    "answer\ntoken \"Because\" 0.4 | \"Air\" 0.3\ntoken \" \\xF0\\x9F\" 0.6 | \" the\" 0.1\n"
    "token \"\\x8C\\x8D\" 0.5 | \"x\" 0.2\nend \"<|end|>\" 0.9 | \" And\" 0.05\n"
    "answer\ntoken \"<think>\" 0.5\nsay \" hm hm\"\ndelay 1\nsay \" </think> well\"\nend \"<|end|>\" 0.9\n"
    "answer\nsay \"one two three four\"\n"
    "answer\nprompt 20 0 4 1\nsay \"never ends\"\ndone limit\n"
    "answer\ndone error \"no\"\n"
    "answer\nsay \"again and again\"\nend \"<|end|>\" 0.8 | \" on\" 0.1\n";

struct rig {
    struct chat chat;
    struct inspect inspect;
    struct scoring scoring;
    struct branch_list branches;
    struct view view;
    uint64_t random;
};

static uint32_t draw(struct rig *rig, size_t n) {
    rig->random = rig->random * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((rig->random >> 33) % n);
}

static void rig_open(struct rig *rig, uint64_t seed) {
    struct options options = {0};
    settings_defaults(&options.settings);
    *rig = (struct rig){.random = seed};
    chat_open(&rig->chat, engine_scripted(script), &options);
    inspect_open(&rig->inspect, &rig->chat);
}

static void rig_close(struct rig *rig) {
    chat_close(&rig->chat);
    inspect_close(&rig->inspect);
    scoring_free(&rig->scoring);
    branch_list_free(&rig->branches);
    view_free(&rig->view);
}

/* As the loop does between two waits; every number the screen is given must mean something. */
static void turn(struct rig *rig) {
    struct inspect *inspect = &rig->inspect;
    chat_pump(&rig->chat);
    inspect_update(inspect);
    view_fill(&rig->view, &rig->chat, inspect, "script");
    scoring_view(&rig->scoring);
    const struct ui_inspect *view = rig->view.model.inspect;
    if (!view || !inspect->n) return;
    assert_true(view->index < view->n_tokens);
    const struct inspect_token *token = inspect_token(inspect);
    const struct kept_token *record = inspect_record(token);
    assert_true(!record || !record->n_top || inspect->selected < record->n_top);
    assert_true(!view->stages || view->stages->n_candidates == record->n_top);
    if (!token->said) return;
    assert_true(token->end <= token->said->text.len && token->begin <= token->end);
    bool shown = false;
    for (size_t i = 0; i < rig->view.model.n_messages; i++) {
        const struct ui_message *message = &rig->view.model.messages[i];
        if (message->id == view->message) shown = view->token < message->n_tokens;
    }
    assert_true(shown);
}

static void wait_for_event(struct rig *rig) {
    struct pollfd fd = {.fd = rig->chat.engine->ops->wake_fd(rig->chat.engine), .events = POLLIN};
    if (poll(&fd, 1, 60000) != 1) fail_msg("nothing came");
}

static void wait_for(struct rig *rig, bool asked_too) {
    for (turn(rig);
         chat_busy(&rig->chat) || rig->chat.state == CHAT_LOADING || (asked_too && rig->inspect.asking);
         turn(rig))
        wait_for_event(rig);
}

/* A list of branches stays open for a while; what is picked may be gone by then. */
static void pick_branch(struct rig *rig) {
    struct branch_list *list = &rig->branches;
    if (!list->open || draw(rig, 2)) {
        branch_list_open(list, &rig->chat.conversation, NULL);
        return;
    }
    uint64_t id = list->rows[draw(rig, list->picker.n_rows)].id;
    struct said *said = conversation_find(&rig->chat.conversation, id);
    branch_list_close(list);
    if (said) chat_switch(&rig->chat, said, NULL);
}

static void run_slash(struct rig *rig) {
    static const char *const commands[] = {"/tokens", "/tokens 2", "/branch", "/branch 2", "/edit 1 so",
                                           "/edit",   "/raw",      "/copy",   "/stats",    "/continue"};
    struct slash_result result = {0};
    const char *command = commands[draw(rig, sizeof commands / sizeof *commands)];
    slash_run(&rig->chat, command, strlen(command), &result, NULL);
    slash_result_free(&result);
}

static void act(struct rig *rig) {
    struct inspect *inspect = &rig->inspect;
    struct chat *chat = &rig->chat;
    struct buf box = {0};
    inspect_update(inspect);
    switch (draw(rig, 30)) {
    case 0: inspect_take(inspect, &box, NULL); break;
    case 1: inspect_typed(inspect, "new words \xC3\xA9", 12, &box, NULL); break;
    case 2: inspect_step(inspect, NULL); break;
    case 3: inspect_go_on(inspect, NULL); break;
    case 4: inspect_reroll(inspect, NULL); break;
    case 5: inspect_sibling(inspect, draw(rig, 2), NULL); break;
    case 6: inspect_compare(inspect, NULL); break;
    case 7: inspect_edit(inspect, &box, NULL); break;
    case 8: chat_undo(chat, NULL); break;
    case 9: chat_redo(chat, NULL); break;
    case 10: chat_send(chat, "why is it so?", 13, NULL); break;
    case 11: chat_regenerate(chat, NULL); break;
    case 12: chat_stop(chat); break;
    case 13: chat_answer_now(chat, NULL); break;
    case 14: scoring_begin(&rig->scoring, chat, "a text to score", 15, NULL); break;
    case 15:
        if (draw(rig, 6) == 0) chat_new(chat, NULL);
        break;
    case 16: inspect_leave(inspect); break;
    case 17: chat_set_system(chat, "be kind", draw(rig, 2) ? 7 : 0, NULL); break;
    case 18: chat_queue(chat, "and then?", 9, NULL); break;
    case 19: chat_unqueue(chat); break;
    case 20: chat_drop(chat, &(unsigned){0}, NULL); break;
    case 21: chat_set_variable(chat, "thoughts", draw(rig, 2) ? "one" : "two", NULL); break;
    case 22: pick_branch(rig); break;
    case 23: run_slash(rig); break;
    default:
        inspect_move(inspect,
                     UI_ACTION_TOKEN_BACK + draw(rig, UI_ACTION_CANDIDATE_DOWN - UI_ACTION_TOKEN_BACK + 1));
    }
    if (box.len) chat_send(chat, box.data, box.len, NULL);
    buf_free(&box);
    if (!inspect->on && draw(rig, 3) == 0) inspect_enter(inspect, NULL);
}

static void walks(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct rig rig;
        rig_open(&rig, seed);
        wait_for(&rig, false);
        for (int i = 0; i < 120; i++) {
            act(&rig);
            switch (draw(&rig, 4)) {
            case 0: wait_for(&rig, true); break;
            case 1: wait_for(&rig, false); break;
            default: turn(&rig);
            }
        }
        rig_close(&rig);
    }
}

/* Every token of the context is reached, and each comes to be known; those of answers are the ones that were
 * said. */
static void every_token_is_there(void **state) {
    (void)state;
    struct rig rig;
    rig_open(&rig, 1);
    wait_for(&rig, false);
    chat_set_system(&rig.chat, "be kind", 7, NULL);
    assert_int_equal(inspect_enter(&rig.inspect, NULL), STATUS_OK); /* the system text is there */
    chat_send(&rig.chat, "why is it so?", 13, NULL);
    wait_for(&rig, true);
    inspect_move(&rig.inspect, UI_ACTION_FIRST_TOKEN);
    size_t n = rig.inspect.n, n_said = 0, n_template = 0;
    for (size_t i = 0; i < n; i++) {
        wait_for(&rig, true);
        const struct inspect_token *token = inspect_token(&rig.inspect);
        assert_int_equal(rig.inspect.cursor, i);
        assert_true(i == 0 || inspect_record(token));
        assert_true(i == 0 || rig.view.model.inspect->stages);
        n_template += !token->said;
        n_said += token->kept;
        inspect_move(&rig.inspect, UI_ACTION_TOKEN_ON);
    }
    assert_int_equal(n_said, 4);
    assert_int_equal(n, n_said + n_template + 2 + 4);
    rig_close(&rig);
}

/* A new conversation is begun while the engine answers about a token of the old one. */
static void an_answer_may_come_too_late(void **state) {
    (void)state;
    struct rig rig;
    rig_open(&rig, 1);
    wait_for(&rig, false);
    chat_send(&rig.chat, "why is it so?", 13, NULL);
    wait_for(&rig, false);
    assert_int_equal(inspect_enter(&rig.inspect, NULL), STATUS_OK);
    while (!rig.inspect.listed || !rig.inspect.asking)
        turn(&rig); /* stages of the last token, which is kept */
    assert_true(inspect_token(&rig.inspect)->kept);
    wait_for_event(&rig);
    assert_int_equal(chat_new(&rig.chat, NULL), STATUS_OK);
    wait_for(&rig, true);
    assert_int_equal(rig.inspect.n, 0);
    rig_close(&rig);
}

/* What the template is told changes its prompt: the list of tokens is asked for again. */
static void a_variable_changes_the_prompt(void **state) {
    (void)state;
    struct rig rig;
    rig_open(&rig, 1);
    wait_for(&rig, false);
    chat_send(&rig.chat, "why is it so?", 13, NULL);
    wait_for(&rig, false);
    assert_int_equal(inspect_enter(&rig.inspect, NULL), STATUS_OK);
    static const char *const values[] = {"one", "two"};
    for (int i = 0; i < 2; i++) {
        assert_int_equal(chat_set_variable(&rig.chat, "thoughts", values[i], NULL), STATUS_OK);
        inspect_update(&rig.inspect);
        assert_false(rig.inspect.listed);
        struct ui_inspect before = *inspect_view(&rig.inspect); /* it has its place all the same */
        wait_for(&rig, true);
        assert_true(rig.inspect.listed);
        assert_int_equal(inspect_view(&rig.inspect)->index, before.index);
        assert_int_equal(inspect_view(&rig.inspect)->n_tokens, before.n_tokens);
    }
    rig_close(&rig);
}

/* Outside of inspect mode nothing is known of tokens: their messages may be gone. */
static void nothing_is_done_outside(void **state) {
    (void)state;
    struct rig rig;
    struct buf box = {0};
    rig_open(&rig, 1);
    wait_for(&rig, false);
    chat_send(&rig.chat, "why is it so?", 13, NULL);
    wait_for(&rig, false);
    assert_int_equal(inspect_enter(&rig.inspect, NULL), STATUS_OK);
    inspect_update(&rig.inspect);
    assert_true(rig.inspect.asking); /* for a list that comes when nobody wants it any more */
    inspect_leave(&rig.inspect);
    wait_for(&rig, true);
    assert_int_equal(chat_new(&rig.chat, NULL), STATUS_OK);
    assert_null(inspect_token(&rig.inspect));
    assert_int_equal(inspect_edit(&rig.inspect, &box, NULL), STATUS_USAGE);
    rig_close(&rig);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answer_may_come_too_late),
        cmocka_unit_test(nothing_is_done_outside),
        cmocka_unit_test(a_variable_changes_the_prompt),
        cmocka_unit_test(every_token_is_there),
        cmocka_unit_test(walks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
