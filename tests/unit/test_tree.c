/* The conversation as a tree: branches, undo, what the keeper hears, and what a token takes in memory. */
#include "app/inspect.h"
#include "app/scoring.h"
#include "tests/unit/paper.h"

/* ---- a keeper that writes down what it hears ---- */

struct diary {
    struct chat_keeper keeper;
    char text[2048];
};

static void note(struct diary *diary, const char *what, const struct said *said) {
    size_t used = strlen(diary->text);
    snprintf(diary->text + used, sizeof diary->text - used, "%s%s:%s", used ? "|" : "", what,
             said && said->text.data ? said->text.data : "");
}

static void hear_begun(void *ctx, const struct chat *chat) {
    (void)chat;
    note(ctx, "begun", NULL);
}

static void hear_added(void *ctx, const struct chat *chat, struct said *said) {
    (void)chat;
    assert_true(said->parent && (said->parent->kept || !said->parent->parent));
    said->kept = said->id;
    note(ctx, "added", said);
}

static void hear_tokens(void *ctx, const struct chat *chat, struct said *said, size_t first) {
    (void)chat;
    assert_true(first < said->n_tokens && said->kept);
    note(ctx, "tokens", said);
}

static void hear_closed(void *ctx, const struct chat *chat, struct said *said) {
    (void)chat;
    assert_true(said->kept && !said->open);
    note(ctx, "closed", said);
}

static void hear_removed(void *ctx, const struct chat *chat, struct said *said) {
    (void)chat;
    assert_int_equal(said->n_children, 0);
    note(ctx, "removed", said);
}

static void hear_leaf(void *ctx, const struct chat *chat, struct said *leaf) {
    assert_ptr_equal(leaf, conversation_leaf((struct conversation *)&chat->conversation));
    note(ctx, "leaf", leaf);
}

static void hear_settings(void *ctx, const struct chat *chat) {
    (void)chat;
    note(ctx, "settings", NULL);
}

static void start(struct chat *chat, struct paper *paper, struct diary *diary) {
    open_chat(chat, paper, NULL);
    *diary = (struct diary){.keeper = {diary, hear_begun, hear_added, hear_tokens, hear_closed, hear_removed,
                                       hear_leaf, hear_settings}};
    chat->keeper = &diary->keeper;
    make_ready(chat, paper);
}

static void heard(struct diary *diary, const char *expected) {
    assert_string_equal(diary->text, expected);
    *diary->text = '\0';
}

/* The path as "hi>hello>more". */
static void path_is(const struct chat *chat, const char *expected) {
    char path[512] = "";
    for (size_t i = 0; i < chat->conversation.n; i++) {
        size_t used = strlen(path);
        const struct buf *text = &chat->conversation.messages[i]->text;
        snprintf(path + used, sizeof path - used, "%s%.*s", i ? ">" : "", (int)text->len,
                 text->data ? text->data : "");
    }
    assert_string_equal(path, expected);
}

static void answer(struct chat *chat, struct paper *paper, int32_t id, const char *text) {
    say(paper, id, text);
    end(paper, ENGINE_END);
    chat_pump(chat);
    assert_int_equal(chat->state, CHAT_IDLE);
}

/* ---- tests ---- */

static void test_branches(void **state) {
    (void)state;
    struct chat chat;
    struct paper paper;
    struct diary diary;
    start(&chat, &paper, &diary);
    exchange(&chat, &paper, "hi", 5, "hello");
    heard(&diary, "begun:|added:hi|added:|leaf:|tokens:hello|closed:hello");
    exchange(&chat, &paper, "more", 6, "much");
    struct said *hi = chat.conversation.messages[0];
    assert_int_equal(chat_edit(&chat, hi, "ho", 2, NULL), STATUS_OK);
    assert_string_equal(paper.sent, "user:ho");
    *diary.text = '\0';
    answer(&chat, &paper, 7, "hey");
    path_is(&chat, "ho>hey");
    heard(&diary, "tokens:hey|closed:hey");
    assert_int_equal(chat_uncached(&chat), 0);
    assert_int_equal(chat_regenerate(&chat, NULL), STATUS_OK);
    answer(&chat, &paper, 8, "yo");
    path_is(&chat, "ho>yo");
    size_t n;
    assert_int_equal(said_index(chat.conversation.messages[1], &n), 1);
    assert_int_equal(n, 2);
    *diary.text = '\0';
    run_ok(&chat, "/branch 1"); /* leaves in order of birth: much, hey, yo */
    path_is(&chat, "hi>hello>more>much");
    heard(&diary, "leaf:much");
    assert_int_equal(chat_uncached(&chat), 2 + 1 + 4 + 1); /* paper counts bytes; answers have one id */
    run_ok(&chat, "/branch 3");
    path_is(&chat, "ho>yo");
    struct slash_result list; /* for front ends without a list to choose from */
    assert_int_equal(slash_run(&chat, "/branch", 7, &list, NULL), STATUS_OK);
    assert_non_null(strstr(list.page.data, "    1  you: more bot: much\n    2  you: ho bot: hey\n"
                                           "*   3  you: ho bot: yo\n"));
    slash_result_free(&list);
    assert_int_equal(chat_switch(&chat, hi, NULL), STATUS_OK); /* down to where it ended */
    path_is(&chat, "hi>hello>more>much");
    assert_int_equal(send(&chat, "next", NULL), STATUS_OK);
    assert_string_equal(paper.sent, "user:hi|assistant:hello 5|user:more|assistant:much 6|user:next");
    answer(&chat, &paper, 9, "end");
    chat_close(&chat);
}

static void test_undo(void **state) {
    (void)state;
    struct chat chat;
    struct paper paper;
    struct diary diary;
    struct err err;
    start(&chat, &paper, &diary);
    assert_int_equal(chat_undo(&chat, &err), STATUS_USAGE);
    exchange(&chat, &paper, "hi", 5, "hello");
    paper.position = 20;
    exchange(&chat, &paper, "more", 6, "much");
    paper.position = 30;
    run_ok(&chat, "/regen");
    answer(&chat, &paper, 7, "lots");
    path_is(&chat, "hi>hello>more>lots");
    run_ok(&chat, "/undo"); /* now it is that of this path, and no longer of the last answer: */
    path_is(&chat, "hi>hello>more>much");
    assert_int_equal(chat_context_used(&chat), 21);
    run_ok(&chat, "/undo");
    path_is(&chat, "hi>hello");
    assert_int_equal(chat_context_used(&chat), 8);
    run_ok(&chat, "/undo");
    path_is(&chat, "");
    assert_int_equal(chat_context_used(&chat), 0);
    assert_int_equal(chat_undo(&chat, &err), STATUS_USAGE);
    for (int i = 0; i < 3; i++) run_ok(&chat, "/redo");
    assert_int_equal(chat_redo(&chat, &err), STATUS_USAGE);
    path_is(&chat, "hi>hello>more>lots");
    run_ok(&chat, "/undo");
    run_ok(&chat, "/undo");
    exchange(&chat, &paper, "other", 8, "word");
    assert_int_equal(chat_redo(&chat, &err), STATUS_USAGE); /* that way was left, but nothing of it is lost */
    path_is(&chat, "hi>hello>other>word");
    run_ok(&chat, "/branch 2");
    path_is(&chat, "hi>hello>more>lots");
    chat_close(&chat);
}

/* What ends before a word leaves the tree as it was, whatever it was that began it. */
static void test_wordless_changes_nothing(void **state) {
    (void)state;
    struct chat chat;
    struct paper paper;
    struct diary diary;
    start(&chat, &paper, &diary);
    exchange(&chat, &paper, "hi", 5, "hello");
    *diary.text = '\0';
    assert_int_equal(chat_regenerate(&chat, NULL), STATUS_OK);
    end(&paper, ENGINE_STOPPED);
    chat_pump(&chat);
    path_is(&chat, "hi>hello");
    assert_int_equal(chat.returned.len, 0);
    heard(&diary, "settings:|added:|leaf:|removed:|leaf:hello");
    struct said *hi = chat.conversation.messages[0];
    run_ok(&chat, "/edit 1");
    assert_ptr_equal(chat.editing, hi);
    assert_int_equal(send(&chat, "ho", NULL), STATUS_OK);
    end(&paper, ENGINE_STOPPED);
    chat_pump(&chat);
    path_is(&chat, "hi>hello");
    assert_string_equal(chat.returned.data, "ho");
    assert_ptr_equal(chat.editing, hi); /* what is in the box again still belongs there */
    paper.refuse = STATUS_BUSY;
    assert_int_equal(send(&chat, "ha", NULL), STATUS_BUSY);
    path_is(&chat, "hi>hello");
    paper.refuse = 0;
    assert_int_equal(send(&chat, "ha", NULL), STATUS_OK);
    assert_null(chat.editing);
    answer(&chat, &paper, 6, "haha");
    path_is(&chat, "ha>haha");
    assert_int_equal(chat.conversation.root->n_children, 2);
    chat_close(&chat);
}

static void test_edit_forms(void **state) {
    (void)state;
    struct chat chat;
    struct paper paper;
    struct diary diary;
    struct slash_result result;
    struct err err;
    start(&chat, &paper, &diary);
    assert_int_equal(slash_run(&chat, "/edit", 5, &result, &err), STATUS_USAGE);
    exchange(&chat, &paper, "hi", 5, "hello");
    assert_int_equal(slash_run(&chat, "/edit 3", 7, &result, &err), STATUS_USAGE);
    assert_int_equal(slash_run(&chat, "/edit", 5, &result, &err), STATUS_OK);
    assert_string_equal(result.box.data, "hi");
    slash_result_free(&result);
    chat.editing = NULL;
    run_ok(&chat, "/edit 2 howdy"); /* the model's words: nothing is asked */
    path_is(&chat, "hi>howdy");
    assert_int_equal(chat.request, 0);
    run_ok(&chat, "/edit 3rd try"); /* no number */
    assert_string_equal(paper.sent, "user:3rd try");
    answer(&chat, &paper, 6, "ok");
    run_ok(&chat, "/edit 1 last");
    assert_string_equal(paper.sent, "user:last");
    answer(&chat, &paper, 6, "ok");
    run_ok(&chat, "/system be kind");
    path_is(&chat, "be kind>last>ok");
    assert_int_equal(chat_edit(&chat, chat.conversation.root, "be brief", 8, NULL), STATUS_OK);
    path_is(&chat, "be brief>last>ok");
    chat_close(&chat);
}

/* Other ways at a token: picked, ended, cut, drawn again. */
static void test_forks(void **state) {
    (void)state;
    struct chat chat;
    struct paper paper;
    struct diary diary;
    struct err err;
    start(&chat, &paper, &diary);
    assert_int_equal(send(&chat, "hi", NULL), STATUS_OK);
    say(&paper, 5, "one");
    say(&paper, 6, " two");
    end(&paper, ENGINE_LIMIT);
    chat_pump(&chat);
    struct said *said = conversation_leaf(&chat.conversation);
    int32_t id = 1; /* the other candidate */
    *diary.text = '\0';
    assert_int_equal(chat_fork(&chat, said, &(struct chat_fork){.keep = 1, .ids = &id, .n_ids = 1}, NULL),
                     STATUS_OK);
    char sent[256];
    snprintf(sent, sizeof sent, "user:hi|assistant:one%s 5 1|+", longest);
    assert_string_equal(paper.sent, sent);
    const struct said *fork = conversation_leaf(&chat.conversation);
    assert_true(fork->tokens[1].picked && fork->shown[1].picked && fork->tokens[1].rank == 1);
    assert_float_equal(fork->tokens[1].prob, 0.7f, 1e-5);
    assert_int_equal(chat_fork(&chat, said, &(struct chat_fork){.keep = 1}, &err), STATUS_BUSY);
    end(&paper, ENGINE_STOPPED); /* a pick is kept even if nothing came behind it */
    chat_pump(&chat);
    assert_ptr_equal(conversation_leaf(&chat.conversation), fork);
    id = 8; /* paper's end token */
    assert_int_equal(chat_fork(&chat, said, &(struct chat_fork){.keep = 1, .ids = &id, .n_ids = 1}, NULL),
                     STATUS_OK);
    path_is(&chat, "hi>one");
    assert_int_equal(chat.request, 0); /* ended by hand: nothing is asked */
    assert_true(conversation_leaf(&chat.conversation)->tokens[1].end);
    uint32_t attempt = chat.settings.sampling.attempt;
    assert_int_equal(chat_fork(&chat, said, &(struct chat_fork){.reroll = true}, NULL), STATUS_OK);
    assert_string_equal(paper.sent, "user:hi"); /* from its first token */
    assert_int_equal(paper.sampling.attempt, attempt + 1);
    answer(&chat, &paper, 7, "new");
    assert_int_equal(chat_go_on(&chat, said, 1, NULL), STATUS_OK); /* not the leaf: a copy goes on */
    assert_string_equal(paper.sent, "user:hi|assistant:one two 5 6|+");
    answer(&chat, &paper, 9, " three");
    path_is(&chat, "hi>one two three");
    assert_int_equal(said->n_tokens, 2);
    assert_int_equal(said->parent->n_children, 5);
    assert_int_equal(chat_fork(&chat, said->parent, &(struct chat_fork){.keep = 0}, &err), STATUS_USAGE);
    chat_close(&chat);
}

static void test_answer_now(void **state) {
    (void)state;
    struct chat chat;
    struct paper paper;
    struct diary diary;
    struct err err;
    start(&chat, &paper, &diary);
    exchange(&chat, &paper, "hi", 5, "hello");
    assert_int_equal(chat_answer_now(&chat, &err), STATUS_USAGE);
    assert_int_equal(send(&chat, "why", NULL), STATUS_OK);
    say(&paper, 6, "<thi");
    say(&paper, 7, "nk>hm");
    chat_pump(&chat);
    assert_int_equal(chat_answer_now(&chat, NULL), STATUS_OK);
    assert_int_equal(paper.stopped, chat.request);
    say(&paper, 9, " hm\n"); /* was under way */
    end(&paper, ENGINE_STOPPED);
    *diary.text = '\0';
    chat_pump(&chat);
    struct said *said = conversation_leaf(&chat.conversation);
    assert_ptr_equal(strstr(said->text.data, "<think>hm hm\n"), said->text.data);
    assert_non_null(strstr(paper.sent, " 6 7 9 110|+")); /* </think> and an empty line */
    assert_true(chat.request && said->tokens[3].picked);
    chat_close(&chat);
}

/* A template that begins the thought itself: known once an answer ended one that it did not begin. */
static void test_prompted_thinking(void **state) {
    (void)state;
    struct chat chat;
    struct paper paper;
    struct diary diary;
    start(&chat, &paper, &diary);
    exchange(&chat, &paper, "hi", 5, "hm</think>hello");
    const struct thinking *thinking = said_thinking(conversation_leaf(&chat.conversation));
    assert_true(thinking->n == 1 && thinking->ranges[0].end == 10 && !thinking->end);
    assert_int_equal(send(&chat, "why", NULL), STATUS_OK);
    say(&paper, 6, "hm hm");
    chat_pump(&chat);
    struct said *said = conversation_leaf(&chat.conversation);
    assert_string_equal(said_thinking(said)->end, "</think>"); /* known from its first token on */
    assert_int_equal(chat_answer_now(&chat, NULL), STATUS_OK);
    end(&paper, ENGINE_STOPPED);
    chat_pump(&chat);
    assert_non_null(strstr(paper.sent, " 6 111|+"));
    say(&paper, 7, "yes");
    end(&paper, ENGINE_END);
    chat_pump(&chat);
    run_ok(&chat, "/set template.enable_thinking false");
    exchange(&chat, &paper, "more", 9, "no thought");
    assert_int_equal(said_thinking(conversation_leaf(&chat.conversation))->n, 0);
    chat.thought_end = "</think>"; /* wrongly so */
    exchange(&chat, &paper, "more", 9, "no thought again");
    assert_int_equal(said_thinking(conversation_leaf(&chat.conversation))->n, 0);
    assert_null(chat.thought_end);
    chat_close(&chat);
}

/* One that shows it in the prompt: known from the first token of the first answer, and where a variable of
 * the template turns it off, from the prompt again. */
static void test_thinking_in_the_prompt(void **state) {
    (void)state;
    static const int32_t opened[] = {51, 7, 53, 51, 50}, closed[] = {51, 7, 53, 51, 50, 52, 50},
                         none[] = {53, 51, 7, 53};
    struct chat chat;
    struct paper paper;
    struct diary diary;
    start(&chat, &paper, &diary);
    assert_int_equal(send(&chat, "hi", NULL), STATUS_OK);
    tell_prompt(&paper, opened, 5);
    say(&paper, 5, "hm");
    chat_pump(&chat);
    struct said *said = conversation_leaf(&chat.conversation);
    assert_string_equal(said_thinking(said)->end, "</think>");
    end(&paper, ENGINE_STOPPED);
    chat_pump(&chat);
    assert_int_equal(chat_continue(&chat, NULL), STATUS_OK); /* the prompt has its beginning, too */
    tell_prompt(&paper, (int32_t[]){7, 53, 51, 50, 5}, 5);
    say(&paper, 6, " so</think>yes");
    end(&paper, ENGINE_END);
    chat_pump(&chat);
    assert_true(said_thinking(said)->n == 1 && said_thinking(said)->ranges[0].end == 13);
    for (int k = 0; k < 2; k++) {
        assert_int_equal(send(&chat, "why", NULL), STATUS_OK);
        if (!k) tell_prompt(&paper, closed, 7);
        if (k) tell_prompt(&paper, none, 4);
        say(&paper, 6, "so");
        chat_pump(&chat);
        assert_int_equal(said_thinking(conversation_leaf(&chat.conversation))->n, 0);
        end(&paper, ENGINE_END);
        chat_pump(&chat);
    }
    chat_close(&chat);
}

/* Another first word of a thought that the prompt begins is part of it, and one without a byte can be cut
 * short too. */
static void test_thinking_from_the_first_token(void **state) {
    (void)state;
    static const int32_t opened[] = {7, 53, 51, 50, 4};
    struct chat chat;
    struct paper paper;
    struct diary diary;
    start(&chat, &paper, &diary);
    assert_int_equal(send(&chat, "hi", NULL), STATUS_OK);
    tell_prompt(&paper, opened, 4);
    say(&paper, 5, "hm");
    end(&paper, ENGINE_STOPPED);
    chat_pump(&chat);
    struct said *said = conversation_leaf(&chat.conversation);
    assert_int_equal(chat_fork(&chat, said, &(struct chat_fork){.ids = &opened[4], .n_ids = 1}, NULL),
                     STATUS_OK);
    tell_prompt(&paper, opened, 5);
    say(&paper, 5, " so");
    end(&paper, ENGINE_STOPPED);
    chat_pump(&chat);
    said = conversation_leaf(&chat.conversation);
    assert_string_equal(said_thinking(said)->end, "</think>");
    assert_true(said_thinking(said)->ranges[0].start == 0 &&
                said_thinking(said)->ranges[0].end == said->text.len);
    assert_int_equal(chat_regenerate(&chat, NULL), STATUS_OK);
    tell_prompt(&paper, opened, 4);
    say(&paper, 5, "");
    end(&paper, ENGINE_STOPPED);
    chat_pump(&chat);
    assert_int_equal(chat_answer_now(&chat, NULL), STATUS_OK);
    assert_non_null(strstr(paper.sent, " 5 110|+")); /* </think> and an empty line, no line before it */
    chat_close(&chat);
}

/* What is computed for a token that the cursor has left, or for nobody any more, is stopped. */
static void test_looks_that_nobody_wants(void **state) {
    (void)state;
    struct chat chat;
    struct paper paper;
    struct diary diary;
    struct inspect inspect = {0};
    int32_t ids[41] = {0};
    start(&chat, &paper, &diary);
    exchange(&chat, &paper, "hi", 5, "hello");
    inspect_open(&inspect, &chat);
    assert_int_equal(inspect_enter(&inspect, NULL), STATUS_OK);
    inspect_update(&inspect);
    assert_int_equal(paper.asked.kind, REQUEST_LIST);
    uint64_t list = paper.request;
    for (int i = 0; i < 41; i++) ids[i] = i < 40 ? 7 : 53;
    tell_prompt(&paper, ids, 41);
    end(&paper, ENGINE_END);
    chat_pump(&chat);
    assert_true(inspect.listed && inspect.n == 41);
    inspect_move(&inspect, UI_ACTION_FIRST_TOKEN);
    inspect_move(&inspect, UI_ACTION_TOKEN_ON);
    inspect_update(&inspect);
    assert_true(paper.asked.kind == REQUEST_SCORE && paper.asked.from == 1 && paper.asked.prompt_of == list);
    inspect_move(&inspect, UI_ACTION_TOKEN_ON);
    inspect_update(&inspect);
    assert_int_not_equal(paper.stopped, paper.request); /* it is of this token, too */
    inspect_move(&inspect, UI_ACTION_LAST_TOKEN);
    inspect_update(&inspect);
    assert_int_equal(paper.stopped, paper.request);
    end(&paper, ENGINE_STOPPED);
    chat_pump(&chat);
    inspect_update(&inspect);
    assert_true(paper.asked.kind == REQUEST_SCORE && paper.asked.from > 30);
    assert_int_not_equal(paper.stopped, paper.request);
    inspect_leave(&inspect);
    assert_int_equal(paper.stopped, paper.request);
    end(&paper, ENGINE_STOPPED);
    chat_pump(&chat);
    struct scoring score = {0};
    assert_int_equal(scoring_begin(&score, &chat, "a text", 6, NULL), STATUS_OK);
    scoring_close(&score);
    assert_int_equal(paper.stopped, paper.request);
    scoring_free(&score);
    inspect_close(&inspect);
    chat_close(&chat);
}

/* The ranges, whatever the portions in which the text comes. */
static void test_thinking_ranges(void **state) {
    (void)state;
    static const struct {
        const char *text, *ranges;
    } cases[] = {
        {"no thought at all", ""},
        {"<think>hm</think>yes", "0-17"},
        {"a <b> [x] <think>one</think> and <think>two", "10-28 33-43+"},
        {"began in the prompt</think>\n\nyes </think>", "0-27"},
        {"[THINK]a</think>b[/THINK]c<", "0-25"},
        {"<thinking>x <think> y</thinking>", "0-32"},
        {"<thin", ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (size_t portion = 1; portion < 50; portion++) {
            struct thinking thinking = {0};
            size_t len = strlen(cases[i].text);
            char shown[64] = "";
            for (size_t end = portion; end < len; end += portion)
                thinking_follow(&thinking, cases[i].text, end);
            thinking_follow(&thinking, cases[i].text, len);
            for (size_t k = 0; k < thinking.n; k++) {
                size_t used = strlen(shown);
                snprintf(shown + used, sizeof shown - used, "%s%u-%u%s", k ? " " : "",
                         thinking.ranges[k].start, thinking.ranges[k].end,
                         k + 1 == thinking.n && thinking.end ? "+" : "");
            }
            if (strcmp(shown, cases[i].ranges))
                fail_msg("%s: %s, expected %s", cases[i].text, shown, cases[i].ranges);
            thinking_free(&thinking);
        }
}

/* Screens show three digits of a probability, JSON five of a logarithm. */
static void test_candidates_in_eight_bytes(void **state) {
    (void)state;
    for (int id = 0; id < 1 << 18; id += 4099)
        for (float p = 1; p > 1e-9f; p *= 0.83f) {
            float lse = 17.25f;
            struct candidate in = {
                .id = id, .logit = lse + logf(p), .prob = p, .cut = (uint8_t)(id % STAGE_COUNT)};
            struct candidate out = kept_candidate_unpack(kept_candidate_pack(&in, lse), lse);
            assert_int_equal(out.id, in.id);
            assert_int_equal(out.cut, in.cut);
            assert_float_equal(out.logit, in.logit, 1e-5);
            assert_float_equal(out.prob, in.prob, 4e-6);
            if (p > 1e-4f) assert_float_equal(out.prob / in.prob, 1, 1e-3);
        }
    struct candidate far = {.id = 1, .logit = -1000}, cut = {.id = 2, .logit = 3, .prob = 0};
    assert_float_equal(kept_candidate_unpack(kept_candidate_pack(&far, 0), 0).logit, -64, 1e-3);
    assert_true(kept_candidate_unpack(kept_candidate_pack(&cut, 3), 3).prob == 0);
}

/* A long conversation: 100,000 tokens with 20 candidates each. */
static void test_memory_of_tokens(void **state) {
    (void)state;
    struct conversation conversation = {0};
    kept_candidate top[20] = {0};
    struct kept_token token = {.id = 3, .rank = 1, .n_top = 20, .top = top};
    size_t bytes = 0;
    for (int m = 0; m < 100; m++) {
        struct said *said = conversation_add(&conversation, SAID_BY_MODEL, "", 0);
        for (int i = 0; i < 1000; i++) said_append_kept(said, &token, " word", 5);
        bytes += said->text.cap + said->cap_ids * sizeof *said->ids +
                 said->cap_tokens * sizeof *said->tokens + said->cap_shown * sizeof *said->shown +
                 said->arena.used;
    }
    print_message("100,000 tokens with 20 candidates: %.1f MB\n", (double)bytes / 1e6);
    assert_true(bytes < 40000000);
    struct said *last = conversation_last(&conversation);
    assert_int_equal(said_token_begin(last, 999), 999 * 5);
    conversation_clear(&conversation);
}

/* A conversation in place of another is no path that was there before: what was known of one of those is not
 * taken for what is known of this. */
static void test_another_conversation(void **state) {
    (void)state;
    struct conversation conversation = {0}, other = {0};
    struct said *said = NULL;
    for (int i = 0; i < 9; i++) said = conversation_add(&conversation, SAID_BY_USER, "one of many", 11);
    uint64_t changes = conversation.changes, id = said->id;
    conversation_add(&other, SAID_BY_USER, "alone", 5);
    conversation_take(&conversation, &other);
    assert_true(conversation.changes > changes);
    assert_int_equal(conversation.n, 1);
    assert_true(conversation.messages[0]->id > id);
    assert_null(other.root);
    conversation_clear(&conversation);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_branches),
        cmocka_unit_test(test_undo),
        cmocka_unit_test(test_wordless_changes_nothing),
        cmocka_unit_test(test_edit_forms),
        cmocka_unit_test(test_forks),
        cmocka_unit_test(test_answer_now),
        cmocka_unit_test(test_prompted_thinking),
        cmocka_unit_test(test_thinking_in_the_prompt),
        cmocka_unit_test(test_thinking_from_the_first_token),
        cmocka_unit_test(test_looks_that_nobody_wants),
        cmocka_unit_test(test_thinking_ranges),
        cmocka_unit_test(test_candidates_in_eight_bytes),
        cmocka_unit_test(test_memory_of_tokens),
        cmocka_unit_test(test_another_conversation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
