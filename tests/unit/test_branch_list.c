/* The list of branches: rows, where ways part, numbers. */
#include "app/branch_list.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static struct said *put(struct conversation *conversation, struct said *parent, enum said_by by,
                        const char *text) {
    return conversation_put(conversation, parent, by, text, strlen(text));
}

/* An answer of tokens with this probability each. */
static struct said *answer(struct conversation *conversation, struct said *parent, const char *text,
                           float prob) {
    struct said *said = put(conversation, parent, SAID_BY_MODEL, "");
    struct kept_token token = {.rank = 1, .logit = 0, .prob = prob, .log_sum_exp = -logf(prob)};
    for (; *text; text++) said_append_kept(said, &token, text, 1);
    return said;
}

static void rows_are(const struct branch_list *list, const char *expected) {
    struct buf rows = {0};
    for (size_t i = 0; i < list->picker.n_rows; i++) {
        const struct ui_picker_row *row = &list->picker.rows[i];
        buf_printf(&rows, "%u%s %s|%s|%s|%s|%s\n", row->depth, row->current ? "*" : "", row->columns[0],
                   row->columns[1], row->columns[2], row->columns[3], row->columns[5]);
    }
    assert_string_equal(rows.data, expected);
    buf_free(&rows);
}

static void branches_are_listed(void **state) {
    (void)state;
    struct conversation conversation = {0};
    struct branch_list list = {0};
    struct err err = {0};
    assert_int_equal(branch_list_open(&list, &conversation, &err), STATUS_USAGE);
    struct said *root = conversation_root(&conversation);
    assert_int_equal(branch_list_open(&list, &conversation, &err), STATUS_USAGE);
    assert_false(list.open);
    struct said *question = put(&conversation, root, SAID_BY_USER, "why is the sky\nblue?");
    struct said *first = answer(&conversation, question, "Because the air scatters short wavelengths.", 0.5f);
    struct said *second =
        answer(&conversation, question, "Because the air scatters short waves most.", 0.25f);
    struct said *more = put(&conversation, second, SAID_BY_USER, "and then?");
    conversation_go(&conversation, more);
    assert_int_equal(branch_list_open(&list, &conversation, &err), STATUS_OK);
    assert_true(list.open);
    rows_are(&list, "0 you: why is the sky\nblue?||||\n"
                    "1 bot: Because the air scatters short wavelengths.|1/2|43|0.50|1\n"
                    "1* bot: \xE2\x80\xA6 waves most.|2/2|42|0.25|2\n");
    assert_int_equal(list.picker.rows[1].id, first->id);
    uint64_t id = list.picker.id;
    put(&conversation, root, SAID_BY_USER, ""); /* the question asked another way */
    answer(&conversation, more, "x", 1);
    conversation_go(&conversation, first);
    assert_int_equal(branch_list_open(&list, &conversation, &err), STATUS_OK);
    assert_int_equal(list.picker.id, id); /* the same list, up to date */
    rows_are(&list, "0 you: why is the sky\nblue?|1/2|||\n"
                    "1* bot: Because the air scatters short wavelengths.|1/2|43|0.50|1\n"
                    "1 bot: \xE2\x80\xA6 waves most.|2/2|43|0.26|3\n"
                    "0 you: (nothing)|2/2|||2\n");
    branch_list_close(&list);
    assert_int_equal(branch_list_open(&list, &conversation, &err), STATUS_OK);
    assert_true(list.picker.id != id); /* another opening begins with an empty filter */
    branch_list_free(&list);
    conversation_clear(&conversation);
}

/* A path of 20,000 messages, and a place with 1,000 ways. */
static void long_ones_are_listed(void **state) {
    (void)state;
    struct conversation conversation = {0};
    struct branch_list list = {0};
    struct said *at = conversation_root(&conversation);
    for (int i = 0; i < 20000; i++)
        at = put(&conversation, at, i % 2 ? SAID_BY_MODEL : SAID_BY_USER, "words");
    for (int i = 0; i < 1000; i++) put(&conversation, at, SAID_BY_USER, "another");
    conversation_go(&conversation, at->children[7]);
    assert_int_equal(branch_list_open(&list, &conversation, NULL), STATUS_OK);
    assert_int_equal(list.picker.n_rows, 1001);
    assert_true(list.picker.rows[8].current);
    branch_list_free(&list);
    conversation_clear(&conversation);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(branches_are_listed),
                                       cmocka_unit_test(long_ones_are_listed)};
    return cmocka_run_group_tests_name("branch_list", tests, NULL, NULL);
}
