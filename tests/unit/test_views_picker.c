/* Lists to choose from: filter, selection, grey rows, columns, whole screens. */
#include "base/mem.h"
#include "base/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/unit/golden_screens.h"

static const struct ui_picker_row rows[] = {
    {.id = 11, .columns = {"SmolLM2 135M Instruct", "94 MiB", "Q4_1", "8192"}, .current = true},
    {.id = 12, .columns = {"Qwen3 8B", "4.7 GiB", "Q4_K_M", "32768"}},
    {.id = 13, .columns = {"\xC3\x89tude \xE6\xBC\xA2\xE5\xAD\x97 7B", "4.1 GiB", "Q4_K_M", "4096"}},
    {.id = 14,
     .columns = {"Mamba 2.8B", "1.6 GiB", "Q4_0", "2048"},
     .why = "key general.architecture: found 'mamba', expected one of llama, qwen2, qwen3; nothing else runs "
            "here "
            "yet"},
    {.id = 15,
     .columns = {"A name so long that no column of a small screen could ever hold it whole, whatever it does",
                 "140 GiB", "BF16", "131072"}},
};

static struct ui_picker list_of(size_t n) {
    return (struct ui_picker){.id = 1,
                              .title = "Models",
                              .heads = {"name", "size", "type", "context"},
                              .n_columns = 4,
                              .right = 1u << 1 | 1u << 3,
                              .rows = rows,
                              .n_rows = n,
                              .empty = "no model was found in /home/me/models",
                              .verb = "Open",
                              .deletes = true};
}

static void type(struct picker *picker, const struct ui_picker *list, const char *text) {
    picker_type(picker, text, strlen(text));
    assert_true(picker->stale);
    picker_sync(picker, list);
    assert_false(picker->stale);
}

static uint64_t selected(const struct picker *picker) {
    const struct picker_row *row = picker_selected(picker);
    return row ? row->id : 0;
}

static void places_are_found_without_case(void **state) {
    (void)state;
    assert_int_equal(text_find("Hello", 5, "LL", 2), 2);
    assert_int_equal(text_find("\xC3\x89tude", 6, "\xC3\xA9TU", 4), 0);
    assert_int_equal(text_find("abc", 3, "", 0), 0);
    assert_int_equal(text_find("", 0, "", 0), 0);
    assert_int_equal(text_find("", 0, "a", 1), SIZE_MAX);
    assert_int_equal(text_find("ab", 2, "abc", 3), SIZE_MAX);
    assert_int_equal(text_find("a\xFF\xFE", 3, "\xFE", 1), 2); /* bytes that are no characters */
    assert_int_equal(text_find("\xC3\xA9", 2, "\xA9", 1), SIZE_MAX);
}

static void filter_and_selection(void **state) {
    (void)state;
    struct picker picker = {0};
    struct ui_picker list = list_of(5);
    picker_sync(&picker, &list);
    assert_int_equal(selected(&picker), 11); /* the current one */
    picker_move(&picker, 2);
    assert_int_equal(selected(&picker), 13);
    picker_sync(&picker, &list); /* a frame later it stays there */
    assert_int_equal(selected(&picker), 13);
    type(&picker, &list, "q4_k"); /* any column, any case */
    assert_int_equal(picker.n, 2);
    assert_int_equal(selected(&picker), 12);
    type(&picker, &list, " \xC3\xA9TU"); /* every word */
    assert_int_equal(picker.n, 1);
    assert_int_equal(selected(&picker), 13);
    type(&picker, &list, "x");
    assert_int_equal(picker.n, 0);
    assert_int_equal(selected(&picker), 0);
    picker_move(&picker, 1);
    picker_erase(&picker, false);
    picker_sync(&picker, &list);
    assert_int_equal(selected(&picker), 13);
    picker_erase(&picker, true);
    assert_int_equal(picker.filter.len, 0);
    picker_sync(&picker, &list);
    assert_int_equal(selected(&picker), 11);
    picker_erase(&picker, false);
    assert_false(picker.stale);
    picker_move(&picker, 1000);
    assert_int_equal(selected(&picker), 15);
    picker_move(&picker, -1000);
    assert_int_equal(selected(&picker), 11);
    picker_free(&picker);
}

static void the_selection_stays_on_its_row(void **state) {
    (void)state;
    struct picker picker = {0};
    struct ui_picker list = list_of(5);
    picker_sync(&picker, &list);
    picker_move(&picker, 3);
    assert_int_equal(selected(&picker), 14);
    assert_true(picker_selected(&picker)->grey);
    list.rows = rows + 1; /* a row above it was deleted */
    list.n_rows = 4;
    picker_sync(&picker, &list);
    assert_int_equal(selected(&picker), 14);
    list.rows = rows;
    list.n_rows = 3; /* its own, and what followed */
    picker_sync(&picker, &list);
    assert_int_equal(selected(&picker), 13);
    list.n_rows = 0;
    picker_sync(&picker, &list);
    assert_int_equal(selected(&picker), 0);
    type(&picker, &list, "abc");
    list.id = 2; /* another list begins afresh */
    list.n_rows = 5;
    picker_sync(&picker, &list);
    assert_int_equal(picker.filter.len, 0);
    assert_int_equal(selected(&picker), 11);
    picker_sync(&picker, NULL);
    assert_int_equal(picker.id, 0);
    list.searches = true; /* the app filters */
    picker_sync(&picker, &list);
    type(&picker, &list, "nothing of the rows");
    assert_int_equal(picker.n, 5);
    picker_free(&picker);
}

/* The app looks for the rows: those of before stay meanwhile, and what is found begins at its first row. */
static void rows_that_are_searched_for(void **state) {
    (void)state;
    struct picker picker = {0};
    struct ui_picker list = list_of(5);
    list.searches = true;
    picker_sync(&picker, &list);
    picker_move(&picker, 2);
    list.searching = true;
    type(&picker, &list, "an");
    assert_true(picker.searching);
    assert_int_equal(picker.n, 5);
    picker_move(&picker, 2);
    picker_sync(&picker, &list);
    assert_int_equal(selected(&picker), 13);
    list.rows = rows + 1;
    list.n_rows = 2;
    list.searching = false;
    picker_sync(&picker, &list);
    assert_int_equal(selected(&picker), 12);
    picker_move(&picker, 1);
    picker_sync(&picker, &list);
    assert_int_equal(selected(&picker), 13);
    picker_free(&picker);
}

static void clusters_are_erased_whole(void **state) {
    (void)state;
    struct picker picker = {0};
    struct ui_picker list = list_of(5);
    picker_sync(&picker, &list);
    type(&picker, &list, "ae\xCC\x81\xF0\x9F\x91\xA9\xE2\x80\x8D\xF0\x9F\x91\xA9");
    picker_erase(&picker, false);
    assert_int_equal(picker.filter.len, 4);
    picker_erase(&picker, false);
    assert_int_equal(picker.filter.len, 1);
    picker_free(&picker);
}

static void list_screens(void **state) {
    (void)state;
    struct screen screen = {0};
    struct ui_picker list = list_of(5);
    struct ui_model model = {.status = {.state = UI_STATE_IDLE, .model = "SmolLM2 135M Instruct Q4_1"},
                             .picker = &list};
    check_sizes(&screen, &model, "picker");
    picker_move(&screen.picker, 3);
    check_screen(&screen, &model, "picker-grey", 24, 80);
    type(&screen.picker, &list, "q4_k");
    check_screen(&screen, &model, "picker-filter", 24, 80);
    type(&screen.picker, &list, "xyz");
    check_screen(&screen, &model, "picker-nothing", 10, 40);
    list.n_rows = 0;
    picker_erase(&screen.picker, true);
    check_screen(&screen, &model, "picker-empty", 24, 80);
    screen_free(&screen);
}

/* A tree of branches, longer than the screen, with no heads. */
static void tree_screens(void **state) {
    (void)state;
    enum { N = 60 };
    struct screen screen = {0};
    struct ui_picker_row *branches = xcalloc(N, sizeof *branches);
    char(*texts)[2][40] = xcalloc(N, sizeof *texts);
    for (int i = 0; i < N; i++) {
        snprintf(texts[i][0], 40, "branch %d begins so", i);
        snprintf(texts[i][1], 40, "%d tokens", i * 7);
        branches[i] = (struct ui_picker_row){.id = (uint64_t)i + 1,
                                             .columns = {texts[i][0], texts[i][1]},
                                             .depth = (unsigned)(i % 9),
                                             .current = i == 40};
    }
    branches[41].depth = 1000;
    struct ui_picker list = {
        .id = 1, .title = "Branches", .n_columns = 2, .right = 2, .rows = branches, .n_rows = N};
    struct ui_model model = {.status = {.state = UI_STATE_IDLE, .model = "SmolLM2"}, .picker = &list};
    check_screen(&screen, &model, "picker-tree", 24, 80);
    for (int size = 1; size < 40; size++) {
        struct canvas canvas = {0};
        canvas_resize(&canvas, size, size * 3);
        picker_move(&screen.picker, size % 2 ? -17 : 11);
        screen_draw(&screen, &model, &canvas);
        assert_true(canvas.cursor_row < size && canvas.cursor_column < size * 3);
        canvas_free(&canvas);
    }
    screen_free(&screen);
    free(branches);
    free(texts);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(places_are_found_without_case),
        cmocka_unit_test(filter_and_selection),
        cmocka_unit_test(the_selection_stays_on_its_row),
        cmocka_unit_test(rows_that_are_searched_for),
        cmocka_unit_test(clusters_are_erased_whole),
        cmocka_unit_test(list_screens),
        cmocka_unit_test(tree_screens),
    };
    return cmocka_run_group_tests_name("views_picker", tests, NULL, NULL);
}
