/* Inspect mode over the scripted engine, in its own thread: random walks of moving, taking, typing, stepping,
 * re-rolling, comparing, undoing, editing and asking, at any moment, answers running or not. Under the
 * sanitizers this is where a dangling message or a race shows. */
#include "app/branch_list.h"
#include "app/inspect.h"
#include "app/scoring.h"
#include "app/slash.h"
#include "app/view.h"
#include "tests/unit/cpu_time.h"

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

static void rig_open_engine(struct rig *rig, struct engine *engine) {
    struct options options = {0};
    settings_defaults(&options.settings);
    *rig = (struct rig){0};
    chat_open(&rig->chat, engine, &options);
    inspect_open(&rig->inspect, &rig->chat);
}

static void rig_open(struct rig *rig, uint64_t seed) {
    rig_open_engine(rig, engine_scripted(script));
    rig->random = seed;
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
    case 20: (draw(rig, 2) ? chat_drop : chat_undrop)(chat, &(unsigned){0}, NULL); break;
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

/* ---- while an answer runs ---- */

/* One that takes its time, with so many tokens said. */
static void begin_answer(struct rig *rig, size_t n) {
    static const char slow[] =
        "context 1000\nanswer\nprompt 20 0\ntoken \"So\" 0.5\ndelay 20\n"
        "say \" a b c d e f g h i j k l m n o p q r s t u v w x y z\"\nend \"<|end|>\" 0.9\n";
    rig_open_engine(rig, engine_scripted(slow));
    wait_for(rig, false);
    chat_set_system(&rig->chat, "be kind", 7, NULL);
    assert_int_equal(chat_send(&rig->chat, "why is it so?", 13, NULL), STATUS_OK);
    for (turn(rig); rig->chat.n_said < n; turn(rig)) wait_for_event(rig);
}

/* All of the context is walked over at once, the answer goes on meanwhile, and the cursor stays where it was
 * put. What is not known is told to be so, and asked for when the answer is done. */
static void the_prompt_is_there_meanwhile(void **state) {
    (void)state;
    struct rig rig;
    begin_answer(&rig, 2);
    assert_int_equal(inspect_enter(&rig.inspect, NULL), STATUS_OK);
    turn(&rig);
    assert_true(inspect_token(&rig.inspect)->said == rig.chat.answer); /* follows */
    inspect_move(&rig.inspect, UI_ACTION_FIRST_TOKEN);
    turn(&rig);
    assert_int_equal(rig.inspect.cursor, 0);
    assert_null(inspect_token(&rig.inspect)->said);
    assert_false(rig.view.model.inspect->waits); /* nothing could have come there */
    for (int i = 0; i < 6; i++) inspect_move(&rig.inspect, UI_ACTION_TOKEN_ON);
    turn(&rig);
    assert_int_equal(inspect_token(&rig.inspect)->said->by, SAID_BY_USER);
    assert_true(rig.view.model.inspect->waits && rig.view.model.shown->n == 0);
    assert_true(rig.view.model.off & UI_OFF(UI_ACTION_TAKE) && rig.view.model.off & UI_OFF(UI_ACTION_UNDO));
    size_t n = rig.inspect.n;
    uint32_t said = rig.chat.n_said;
    while (rig.chat.n_said < said + 5) {
        wait_for_event(&rig);
        turn(&rig);
    }
    assert_true(chat_busy(&rig.chat));
    assert_int_equal(rig.inspect.cursor, 6);
    assert_int_equal(rig.inspect.n, n + rig.chat.n_said - said);
    inspect_move(&rig.inspect, UI_ACTION_LAST_TOKEN);
    turn(&rig);
    assert_true(inspect_record(inspect_token(&rig.inspect)) && !rig.view.model.inspect->waits);
    inspect_go_to(&rig.inspect, rig.chat.conversation.messages[1], 1);
    wait_for(&rig, true);
    assert_int_equal(rig.inspect.cursor, 6); /* the list made anew is the same */
    assert_true(inspect_record(inspect_token(&rig.inspect)) && rig.view.model.inspect->stages);
    assert_true(rig.inspect.listed && rig.inspect.n == 4 + 6 + 1 + 28);
    assert_false(rig.view.model.off & UI_OFF(UI_ACTION_TAKE) || rig.view.model.off & UI_OFF(UI_ACTION_UNDO));
    rig_close(&rig);
}

/* An answer that goes on has its beginning in the prompt; no token is there twice or missing. */
static void an_answer_that_goes_on(void **state) {
    (void)state;
    struct rig rig;
    begin_answer(&rig, 4);
    chat_stop(&rig.chat);
    wait_for(&rig, false);
    assert_int_equal(inspect_enter(&rig.inspect, NULL), STATUS_OK);
    wait_for(&rig, true);
    size_t n = rig.inspect.n;
    const struct said *answer = conversation_leaf(&rig.chat.conversation);
    size_t before = answer->n_tokens;
    assert_int_equal(inspect_go_on(&rig.inspect, NULL), STATUS_OK);
    while (answer->n_tokens < before + 3) {
        turn(&rig);
        wait_for_event(&rig);
    }
    turn(&rig);
    assert_true(chat_busy(&rig.chat));
    assert_int_equal(rig.inspect.n, n + answer->n_tokens - before);
    for (size_t i = 0; i < answer->n_tokens; i++) {
        const struct inspect_token *token = &rig.inspect.tokens[n - before + i];
        assert_true(token->said == answer && token->index == i && token->kept);
    }
    rig_close(&rig);
}

/* The words of a person put into the model's mouth, and it goes on: they are told apart by their tokens. */
static void an_answer_behind_typed_words(void **state) {
    (void)state;
    struct rig rig;
    begin_answer(&rig, 2);
    chat_stop(&rig.chat);
    wait_for(&rig, false);
    assert_int_equal(chat_edit(&rig.chat, conversation_leaf(&rig.chat.conversation), "these words", 11, NULL),
                     STATUS_OK);
    assert_int_equal(chat_continue(&rig.chat, NULL), STATUS_OK);
    assert_int_equal(inspect_enter(&rig.inspect, NULL), STATUS_OK);
    const struct said *answer = rig.chat.answer;
    while (answer->n_tokens < 3) {
        wait_for_event(&rig);
        turn(&rig);
    }
    assert_true(chat_busy(&rig.chat) && inspect_token(&rig.inspect)->said == answer);
    assert_int_equal(inspect_token(&rig.inspect)->index, 2 + answer->n_tokens - 1);
    assert_int_equal(inspect_token(&rig.inspect)->end, answer->text.len);
    wait_for(&rig, true);
    rig_close(&rig);
}

/* The cursor is where it was put, whatever is asked next, and what was found out there is not forgotten. */
static void the_cursor_stays(void **state) {
    (void)state;
    struct rig rig;
    rig_open(&rig, 1);
    wait_for(&rig, false);
    chat_send(&rig.chat, "why is it so?", 13, NULL);
    wait_for(&rig, false);
    assert_int_equal(inspect_enter(&rig.inspect, NULL), STATUS_OK);
    wait_for(&rig, true);
    inspect_go_to(&rig.inspect, rig.chat.conversation.messages[0], 2);
    wait_for(&rig, true);
    size_t at = rig.inspect.cursor;
    assert_true(at == 3 && inspect_record(inspect_token(&rig.inspect)));
    inspect_move(&rig.inspect, UI_ACTION_CANDIDATE_DOWN);
    chat_send(&rig.chat, "and then?", 9, NULL);
    inspect_update(&rig.inspect); /* before the engine said anything */
    assert_true(rig.inspect.cursor == at && rig.inspect.selected != 0);
    assert_ptr_equal(inspect_token(&rig.inspect)->said, rig.chat.conversation.messages[0]);
    assert_non_null(inspect_record(inspect_token(&rig.inspect)));
    turn(&rig);
    while (!chat_prompt_of_path(&rig.chat)) {
        wait_for_event(&rig);
        turn(&rig);
    }
    assert_int_equal(rig.inspect.cursor, at);
    assert_non_null(inspect_record(inspect_token(&rig.inspect))); /* at once, the answer runs or not */
    wait_for(&rig, true);
    assert_int_equal(rig.inspect.cursor, at);
    rig_close(&rig);
}

/* Who looks at the candidates of the newest token does not lose it to the next one. */
static void choosing_stops_the_following(void **state) {
    (void)state;
    struct rig rig;
    begin_answer(&rig, 3);
    assert_int_equal(inspect_enter(&rig.inspect, NULL), STATUS_OK);
    turn(&rig);
    size_t at = rig.inspect.cursor, said = rig.chat.n_said;
    inspect_move(&rig.inspect, UI_ACTION_CANDIDATE_DOWN);
    while (rig.chat.n_said < said + 2) {
        wait_for_event(&rig);
        turn(&rig);
    }
    assert_int_equal(rig.inspect.cursor, at);
    assert_int_equal(rig.inspect.selected, 1);
    rig_close(&rig);
}

/* ---- who asks whom ---- */

/* A score and the cursor want the engine at once: neither ends the other's request. */
static void a_score_beside_the_cursor(void **state) {
    (void)state;
    static char text[6000];
    for (size_t i = 0; i + 4 < sizeof text; i += 4) memcpy(text + i, i % 3 ? " abc" : " xyz", 4);
    struct rig rig;
    rig_open(&rig, 1);
    wait_for(&rig, false);
    chat_send(&rig.chat, "why is it so?", 13, NULL);
    wait_for(&rig, false);
    for (int later = 0; later < 2; later++) {
        if (!later) assert_int_equal(inspect_enter(&rig.inspect, NULL), STATUS_OK);
        if (later) inspect_leave(&rig.inspect);
        if (later) wait_for(&rig, true);
        assert_int_equal(scoring_begin(&rig.scoring, &rig.chat, text, strlen(text), NULL), STATUS_OK);
        if (later) assert_int_equal(inspect_enter(&rig.inspect, NULL), STATUS_OK);
        for (turn(&rig); rig.scoring.view.computing; turn(&rig)) wait_for_event(&rig);
        if (rig.scoring.failed.code) fail_msg("%s", rig.scoring.failed.text);
        assert_int_equal(rig.scoring.n, strlen(text) / 4);
        wait_for(&rig, true);
        assert_true(rig.inspect.listed && rig.view.model.inspect->stages);
    }
    rig_close(&rig);
}

/* A text whose scoring was closed is no hindrance to another one, and tells nothing into it. */
static void a_score_after_a_closed_one(void **state) {
    (void)state;
    static char text[40000];
    for (size_t i = 0; i + 4 < sizeof text; i += 4) memcpy(text + i, i % 3 ? " abc" : " xyz", 4);
    struct rig rig;
    rig_open(&rig, 1);
    wait_for(&rig, false);
    assert_int_equal(scoring_begin(&rig.scoring, &rig.chat, text, strlen(text), NULL), STATUS_OK);
    assert_int_equal(scoring_begin(&rig.scoring, &rig.chat, text, 8, NULL), STATUS_BUSY);
    scoring_close(&rig.scoring);
    assert_int_equal(scoring_begin(&rig.scoring, &rig.chat, text, 20, NULL), STATUS_OK);
    for (turn(&rig); rig.scoring.view.computing; turn(&rig)) wait_for_event(&rig);
    assert_int_equal(rig.scoring.failed.code, STATUS_OK);
    assert_int_equal(rig.scoring.n, 5);
    rig_close(&rig);
}

/* A click enters the mode; the tokens of what was clicked on come later. */
static void a_click_is_not_forgotten(void **state) {
    (void)state;
    struct rig rig;
    rig_open(&rig, 1);
    wait_for(&rig, false);
    chat_send(&rig.chat, "why is it so?", 13, NULL);
    wait_for(&rig, false);
    chat_set_system(&rig.chat, "be kind", 7, NULL); /* what the last prompt was says nothing any more */
    const struct said *question = rig.chat.conversation.messages[1];
    assert_int_equal(inspect_enter(&rig.inspect, NULL), STATUS_OK);
    inspect_point(&rig.inspect, question->id, 5);
    wait_for(&rig, true);
    assert_ptr_equal(inspect_token(&rig.inspect)->said, question);
    assert_int_equal(inspect_token(&rig.inspect)->index, 1);
    rig_close(&rig);
}

/* What one model said of the prompt's tokens another one did not say, be its vocabulary the same. */
static void another_model_of_the_same_vocabulary(void **state) {
    (void)state;
    struct options options = {.device = "cpu", .n_threads = 1, .n_ctx = 2048};
    static char first[] = TEST_DATA "/nano/qwen2-f16.gguf";
    struct model_facts small = {.context = 2048, .cpu_need = 1 << 20};
    settings_defaults(&options.settings);
    options.settings.n_predict = 4;
    options.chosen_model = first;
    struct engine_options engine = options_engine(&options, first);
    struct rig rig = {0};
    chat_open(&rig.chat, engine_local(&engine), &options);
    inspect_open(&rig.inspect, &rig.chat);
    wait_for(&rig, false);
    uint64_t vocabulary = rig.chat.conversation.vocabulary;
    chat_send(&rig.chat, "the cat", 7, NULL);
    wait_for(&rig, false);
    assert_int_equal(inspect_enter(&rig.inspect, NULL), STATUS_OK);
    wait_for(&rig, true);
    inspect_move(&rig.inspect, UI_ACTION_FIRST_TOKEN);
    inspect_move(&rig.inspect, UI_ACTION_TOKEN_ON);
    wait_for(&rig, true);
    struct kept_token was = *inspect_record(inspect_token(&rig.inspect));
    rig.chat.incognito = true;
    assert_int_equal(chat_use_model(&rig.chat, TEST_DATA "/nano/qwen2-q8_0.gguf", &small, NULL), STATUS_OK);
    while (chat_model_coming(&rig.chat)) {
        struct pollfd fd = {.fd = rig.chat.coming ? rig.chat.coming->ops->wake_fd(rig.chat.coming) : -1,
                            .events = POLLIN};
        poll(&fd, 1, 100);
        turn(&rig);
    }
    assert_int_equal(rig.chat.conversation.vocabulary, vocabulary);
    wait_for(&rig, true);
    const struct kept_token *now = inspect_record(inspect_token(&rig.inspect));
    assert_int_equal(rig.inspect.cursor, 1);
    assert_true(now && now->id == was.id && now->log_sum_exp != was.log_sum_exp);
    struct model_facts huge = {.context = 2048, .cpu_need = UINT64_MAX / 4}; /* in the place of this one */
    assert_int_equal(scoring_begin(&rig.scoring, &rig.chat, "the cat", 7, NULL), STATUS_OK);
    assert_int_equal(chat_use_model(&rig.chat, first, &huge, NULL), STATUS_OK);
    assert_non_null(strstr(rig.scoring.failed.text, "another model"));
    wait_for(&rig, true);
    assert_non_null(inspect_record(inspect_token(&rig.inspect)));
    rig_close(&rig);
}

/* ---- what it costs ---- */

/* Seconds of this thread for moves of the cursor, and for following an answer, behind so many tokens. */
static void time_moves(size_t n_tokens, double *moves, double *answer) {
    enum { MOVES = 100, TOKENS = 100 };
    struct buf text = {0};
    buf_puts(&text, "context 1000000\nanswer\nprompt 20 0\nsay \"");
    for (size_t i = 0; i < n_tokens; i++) buf_printf(&text, " w%zu", i % 500);
    buf_puts(&text, "\"\nanswer\nprompt 20 0\ndelay 1\nsay \"");
    for (size_t i = 0; i < TOKENS; i++) buf_printf(&text, " w%zu", i % 500);
    buf_puts(&text, "\"\n");
    struct rig rig;
    rig_open_engine(&rig, engine_scripted(text.data));
    wait_for(&rig, false);
    assert_int_equal(chat_send(&rig.chat, "why?", 4, NULL), STATUS_OK);
    wait_for(&rig, false);
    assert_int_equal(inspect_enter(&rig.inspect, NULL), STATUS_OK);
    wait_for(&rig, true);
    assert_true(rig.inspect.n > n_tokens);
    double begin = cpu_seconds();
    for (int i = 0; i < MOVES; i++) {
        inspect_move(&rig.inspect, i % 10   ? UI_ACTION_TOKEN_BACK
                                   : i % 20 ? UI_ACTION_MESSAGE_BACK
                                            : UI_ACTION_LAST_TOKEN);
        wait_for(&rig, true);
    }
    *moves = cpu_seconds() - begin;
    inspect_move(&rig.inspect, UI_ACTION_LAST_TOKEN);
    assert_int_equal(chat_send(&rig.chat, "and?", 4, NULL), STATUS_OK);
    for (turn(&rig); rig.chat.n_said < 2; turn(&rig)) wait_for_event(&rig);
    begin = cpu_seconds();
    for (turn(&rig); rig.chat.n_said < TOKENS - 1; turn(&rig)) wait_for_event(&rig);
    *answer = cpu_seconds() - begin;
    rig_close(&rig);
    buf_free(&text);
}

/* Behind a hundred times as many tokens neither a move nor a token that comes costs much more. */
static void it_costs_what_is_near(void **state) {
    (void)state;
    double moves[2], answer[2];
    time_moves(1000, &moves[0], &answer[0]);
    time_moves(100000, &moves[1], &answer[1]);
    print_message("moves %.1f and %.1f ms, an answer %.1f and %.1f ms\n", moves[0] * 1e3, moves[1] * 1e3,
                  answer[0] * 1e3, answer[1] * 1e3);
    assert_true(moves[1] < 5 * moves[0] + 0.01);
    assert_true(answer[1] < 5 * answer[0] + 0.01);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_answer_may_come_too_late),
        cmocka_unit_test(nothing_is_done_outside),
        cmocka_unit_test(a_variable_changes_the_prompt),
        cmocka_unit_test(every_token_is_there),
        cmocka_unit_test(the_prompt_is_there_meanwhile),
        cmocka_unit_test(an_answer_that_goes_on),
        cmocka_unit_test(an_answer_behind_typed_words),
        cmocka_unit_test(the_cursor_stays),
        cmocka_unit_test(choosing_stops_the_following),
        cmocka_unit_test(a_score_beside_the_cursor),
        cmocka_unit_test(a_score_after_a_closed_one),
        cmocka_unit_test(a_click_is_not_forgotten),
        cmocka_unit_test(another_model_of_the_same_vocabulary),
        cmocka_unit_test(it_costs_what_is_near),
        cmocka_unit_test(walks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
