#include "ui/format.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *format_count(double count, char *out) {
    static const char units[] = {0, 'k', 'M', 'G'};
    int unit = 0;
    if (!(count >= 0)) count = 0;
    while (count >= 999.5 && unit < 3) {
        count /= 1000;
        unit++;
    }
    char suffix[2] = {units[unit], 0};
    snprintf(out, FORMAT_MAX, unit > 0 && count < 9.95 ? "%.1f%s" : "%.0f%s", count, suffix);
    return out;
}

const char *format_probability(double p, char *out) {
    if (!(p > 0)) return strcpy(out, " .000");
    if (p < 0.0005) return strcpy(out, "<.001");
    if (p >= 0.9995) return strcpy(out, "1.000");
    snprintf(out, FORMAT_MAX, " .%03d", (int)lround(p * 1000));
    return out;
}

static int decimals(double value) {
    return value < 9.95 ? 1 : 0;
}

const char *format_memory(uint64_t used, uint64_t total, char *out) {
    uint64_t larger = total > used ? total : used;
    bool gib = larger >= (uint64_t)1 << 30;
    double unit = gib ? 1 << 30 : 1 << 20, u = (double)used / unit, t = (double)total / unit;
    const char *name = gib ? "GiB" : "MiB";
    if (total)
        snprintf(out, FORMAT_MAX, "%.*f/%.*f %s", decimals(u), u, decimals(t), t, name);
    else
        snprintf(out, FORMAT_MAX, "%.*f %s", decimals(u), u, name);
    return out;
}

void gauge_draw(struct canvas *canvas, int row, int column, int columns, double share, enum style full,
                enum style rest, uint32_t rest_character) {
    if (!(share > 0)) share = 0;
    if (share > 1) share = 1;
    int halves = (int)(share * columns * 2 + 0.5), whole = halves / 2;
    canvas_fill(canvas, (struct rect){row, column, 1, columns}, rest, rest_character);
    canvas_fill(canvas, (struct rect){row, column, 1, whole}, full, 0x2588);
    if (halves & 1) canvas_fill(canvas, (struct rect){row, column + whole, 1, 1}, full, 0x258C);
}

int phrase_draw(struct canvas *canvas, int row, int column, int limit, enum style style, const char *fmt,
                ...) {
    char text[128];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    int width = (int)strlen(text);
    if (column + width > limit) return column;
    canvas_text(canvas, row, column, limit, style, text, strlen(text));
    return column + width + 2;
}
