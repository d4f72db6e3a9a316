/* Cells: clipping, wide characters at edges, overwriting halves of them. */
#include "base/text.h"
#include "ui/canvas.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define WIDE "\xE6\xBC\xA2"

static void check_row(struct canvas *canvas, const char *expected) {
    struct buf out = {0};
    canvas_dump(canvas, false, &out);
    out.data[strcspn(out.data, "\n")] = 0;
    assert_string_equal(out.data, expected);
    buf_free(&out);
    /* the halves of wide characters belong together */
    for (int y = 0; y < canvas->rows; y++)
        for (int x = 0; x < canvas->columns; x++) {
            const struct cell *cell = &canvas->cells[y * canvas->columns + x];
            if (cell->width == 2)
                assert_true(x + 1 < canvas->columns && cell[1].c == 0 && cell[1].width == 0);
            if (cell->c == 0) assert_true(x > 0 && cell[-1].width == 2);
        }
}

static void text_is_clipped(void **state) {
    (void)state;
    struct canvas canvas = {0};
    canvas_resize(&canvas, 2, 6);
    assert_int_equal(canvas_text(&canvas, 0, 0, 6, STYLE_TEXT, "abcdefgh", 8), 6);
    check_row(&canvas, "abcdef");
    assert_int_equal(canvas_text_end(&canvas, 0, 0, 6, STYLE_TEXT, "abcdefgh", 8), 6);
    check_row(&canvas, "abcde\xE2\x80\xA6");
    assert_int_equal(canvas_text_end(&canvas, 0, 0, 6, STYLE_TEXT, "abcdef", 6), 6);
    check_row(&canvas, "abcdef");
    canvas_text(&canvas, 5, 0, 6, STYLE_TEXT, "x", 1); /* outside: nothing */
    canvas_text(&canvas, -1, 0, 6, STYLE_TEXT, "x", 1);
    canvas_text(&canvas, 0, 9, 20, STYLE_TEXT, "x", 1);
    canvas_fill(&canvas, (struct rect){-1, 4, 5, 9}, STYLE_BAR, '.');
    check_row(&canvas, "abcd..");
    canvas_free(&canvas);
}

static void wide_ones_stay_whole(void **state) {
    (void)state;
    struct canvas canvas = {0};
    canvas_resize(&canvas, 1, 5);
    assert_int_equal(canvas_text(&canvas, 0, 0, 5, STYLE_TEXT, WIDE WIDE WIDE, 9), 5);
    check_row(&canvas, WIDE WIDE); /* the third would straddle the edge */
    canvas_text(&canvas, 0, 1, 5, STYLE_TEXT, "x", 1);
    check_row(&canvas, " x" WIDE);
    canvas_text(&canvas, 0, 1, 5, STYLE_TEXT, WIDE, 3);
    check_row(&canvas, " " WIDE);
    canvas_text(&canvas, 0, 0, 5, STYLE_TEXT, "abcde", 5);
    canvas_text_end(&canvas, 0, 0, 4, STYLE_TEXT, WIDE WIDE WIDE, 9);
    check_row(&canvas, WIDE "\xE2\x80\xA6"
                            "de");
    canvas_free(&canvas);
}

static void marks_stay_on_their_base(void **state) {
    (void)state;
    struct canvas canvas = {0};
    canvas_resize(&canvas, 1, 4);
    canvas_text(&canvas, 0, 0, 4, STYLE_TEXT, "e\xCC\x81x", 4);
    assert_int_equal(canvas.cells[0].marks[0], 0x301);
    assert_int_equal(canvas.cells[1].c, 'x');
    char zalgo[1 + 2 * 20] = "a";
    for (int i = 0; i < 20; i++) memcpy(zalgo + 1 + 2 * i, "\xCC\x82", 2);
    canvas_text(&canvas, 0, 0, 4, STYLE_TEXT, zalgo, sizeof zalgo);
    assert_int_equal(canvas.cells[0].marks[CELL_MARKS_MAX - 1], 0x302);
    canvas_free(&canvas);
}

/* Whatever is drawn anywhere, no cell ever holds a control character. */
static void no_cell_is_a_control(void **state) {
    (void)state;
    struct canvas canvas = {0};
    canvas_resize(&canvas, 3, 17);
    uint32_t seed = 1;
    for (int round = 0; round < 20000; round++) {
        char text[24];
        for (size_t i = 0; i < sizeof text; i++) {
            static const char *const bits[] = {"\033", "\r", "\n",   WIDE,           "\xC2\x9B", "\xCC\x81",
                                               "a",    "\t", "\xFF", "\xE2\x80\xAE", " "};
            seed = seed * 1664525 + 1013904223;
            const char *bit = bits[(seed >> 16) % 11];
            text[i] = bit[(seed >> 8) % strlen(bit)];
        }
        int x = (int)(seed >> 10) % 20 - 1, limit = (int)(seed >> 5) % 22;
        canvas_text(&canvas, (int)(seed % 4), x, limit, STYLE_TEXT, text, sizeof text);
        canvas_text_end(&canvas, (int)(seed % 3), x, limit, STYLE_TEXT, text, sizeof text);
    }
    for (int i = 0; i < 3 * 17; i++) {
        uint32_t c = canvas.cells[i].c;
        assert_true(c == 0 || (c >= 0x20 && !(c >= 0x7F && c <= 0x9F) && c != 0x202E));
    }
    struct buf out = {0};
    canvas_dump(&canvas, true, &out);
    buf_free(&out);
    canvas_free(&canvas);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_is_clipped),
        cmocka_unit_test(wide_ones_stay_whole),
        cmocka_unit_test(marks_stay_on_their_base),
        cmocka_unit_test(no_cell_is_a_control),
    };
    return cmocka_run_group_tests_name("canvas", tests, NULL, NULL);
}
