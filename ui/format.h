/* Numbers as people read them, into a buffer of FORMAT_MAX bytes; returns it. */
#ifndef LOGITOP_UI_FORMAT_H
#define LOGITOP_UI_FORMAT_H

#include "ui/canvas.h"

#include <stdint.h>

enum { FORMAT_MAX = 32 };

const char *format_count(double count, char *out);   /* 412, 3.1k, 12k, 1.5M */
const char *format_probability(double p, char *out); /* 5 columns: " .612", "1.000", "<.001", " .000" for 0 */
const char *format_memory(uint64_t used, uint64_t total, char *out); /* "7.9/139 GiB", "92 MiB" */

/* A bar of `columns` cells, `share` of it filled, in steps of half a cell. */
void gauge_draw(struct canvas *canvas, int row, int column, int columns, double share, enum style full,
                enum style rest, uint32_t rest_character);

/* A phrase, only if it fits whole. Returns the column two blanks after it, or x. */
__attribute__((format(printf, 6, 7))) int phrase_draw(struct canvas *canvas, int row, int column, int limit,
                                                      enum style style, const char *fmt, ...);

#endif
