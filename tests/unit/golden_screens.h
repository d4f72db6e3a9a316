/* Whole screens, drawn without a terminal and compared with tests/data/screens. UPDATE_SCREENS=1 writes them
 * anew: look at the difference before committing it. Behind each picture its styles follow, a letter a cell
 * (canvas_dump). Include after cmocka.h. */
#ifndef LOGITOP_TESTS_GOLDEN_SCREENS_H
#define LOGITOP_TESTS_GOLDEN_SCREENS_H

#include "ui/screen.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static inline char *golden_read(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file) return NULL;
    struct buf text = {0};
    char part[4096];
    for (size_t n; (n = fread(part, 1, sizeof part, file)) > 0;) buf_append(&text, part, n);
    fclose(file);
    return buf_take(&text);
}

static inline void check_screen(struct screen *screen, const struct ui_model *model, const char *name,
                                int rows, int columns) {
    struct canvas canvas = {0};
    struct buf picture = {0};
    char path[512];
    canvas_resize(&canvas, rows, columns);
    screen_draw(screen, model, &canvas);
    canvas_dump(&canvas, true, &picture);
    snprintf(path, sizeof path, "%s/screens/%s-%dx%d.txt", TEST_DATA, name, columns, rows);
    if (getenv("UPDATE_SCREENS")) {
        FILE *file = fopen(path, "wb");
        assert_non_null(file);
        fwrite(picture.data, 1, picture.len, file);
        fclose(file);
    }
    char *golden = golden_read(path);
    if (!golden || strcmp(golden, picture.data) != 0) fail_msg("%s differs:\n%s", path, picture.data);
    free(golden);
    buf_free(&picture);
    canvas_free(&canvas);
}

static inline void check_sizes(struct screen *screen, const struct ui_model *model, const char *name) {
    static const int sizes[][2] = {{10, 40}, {24, 80}, {40, 120}, {60, 200}};
    for (size_t i = 0; i < 4; i++) check_screen(screen, model, name, sizes[i][0], sizes[i][1]);
}

#endif
