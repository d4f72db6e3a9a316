/* The table of a moment's candidates: "> 1  token   raw  top-k top-p  final  cut by   ####". */
#ifndef LOGITOP_UI_CANDIDATES_H
#define LOGITOP_UI_CANDIDATES_H

#include "ui/canvas.h"
#include "ui/ui.h"

enum { TABLE_STAGES_MAX = 16 };

struct table {
    const struct ui_position *position;
    const struct ui_stages *stages;                        /* NULL: not shown */
    size_t selected;                                       /* row of the candidates; SIZE_MAX: none */
    int marker, token, raw, stage, final, cut, bar, limit; /* first column of each; limit: after the last */
    size_t n_shown;                                        /* stages that are shown, */
    size_t shown[TABLE_STAGES_MAX];                        /* in the chain's order */
    bool has_cut;
};

/* Columns for a table from `column` up to `limit`. Stages take the place of bars and, if all are there, of
 * "cut by"; where they are too many, those that cut something go first. */
struct table table_of(const struct ui_position *position, const struct ui_inspect *inspect, int column,
                      int limit);
void table_draw_head(const struct table *table, struct canvas *canvas, int y);
/* Candidates and the rest of the vocabulary from row y on, not beyond `end`. Returns the row after. The
 * chosen one is always seen, and the selected one. */
int table_draw(const struct table *table, struct canvas *canvas, int y, int end);

/* A token's bytes in quotes, or the name of a control token. Returns the column after. */
int token_text_draw(const char *text, size_t len, bool control, struct canvas *canvas, int y, int x,
                    int limit, enum style style);

#endif
