/* How styles look: tables that come with the program, and what a theme file or the configuration says
 * instead. Colours are numbers of the 256 that terminals share (xterm's cube and greys). No terminal here. */
#ifndef LOGITOP_UI_THEME_H
#define LOGITOP_UI_THEME_H

#include "ui/style.h"

#include <stdbool.h>
#include <stdint.h>

enum { LOOK_BOLD = 1, LOOK_DIM = 2, LOOK_UNDERLINE = 4, LOOK_REVERSE = 8, LOOK_ITALIC = 16 };

struct look {
    int16_t fg, bg; /* 0..255; -1: the terminal's own */
    uint8_t attributes;
};

/* The look of a style where there are so many colours; 0: none, attributes alone. */
struct look theme_look(enum style style, int colours);
/* What the terminal is drawn on, as far as is known: dark until it is told. True if looks changed by that. */
bool theme_background(bool light);
bool theme_is_mono(void); /* no colours, whatever the terminal has */

#endif
