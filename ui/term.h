/* The real terminal: shows canvases through curses. The only file that knows curses is term.c. */
#ifndef LOGITOP_UI_TERM_H
#define LOGITOP_UI_TERM_H

#include "base/err.h"
#include "ui/canvas.h"
#include "ui/ui.h"

struct term;

/* Can there be a screen at all? Sets a UTF-8 locale for characters (LC_CTYPE). Call before term_open(). */
int term_check(int in_fd, int out_fd, struct err *err);

/* Take the terminal. `notice` receives a line worth telling the person, or "". On failure nothing has
 * changed. */
int term_open(struct term **out, int in_fd, int out_fd, enum ui_colour colour, char notice[256],
              struct err *err);
void term_close(struct term *term); /* gives it back; NULL is fine */

bool term_has_colours(const struct term *term);
enum glyphs term_glyphs(const struct term *term);

void term_leave(struct term *term); /* give it back for a while */
void term_enter(struct term *term); /* take it again; the next term_show() paints everything */

void term_size(struct term *term, int *rows, int *columns);
void term_resized(struct term *term);        /* ask the terminal for its size */
void term_redraw(struct term *term);         /* the next term_show() paints everything */
void term_sync_known(struct term *term);     /* it said that it knows synchronized output */
void term_theme(struct term *term);          /* the theme changed: show it from the next picture on */
void term_mouse(struct term *term, bool on); /* reports of clicks and the wheel; off at first */
void term_put(struct term *term, const char *bytes,
              size_t len); /* an escape sequence of ours, between two pictures */

/* Bring the screen to this picture. Only rows that differ from the last one are touched. Returns how many. */
int term_show(struct term *term, const struct canvas *canvas);

void term_emergency(void); /* async-signal-safe: modes and screen as they were */

#endif
