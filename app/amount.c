#include "app/amount.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <time.h>

const char *amount_bytes(uint64_t bytes, char out[static AMOUNT_MAX]) {
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB", "PB", "EB"};
    double value = (double)bytes;
    size_t unit = 0;
    while (value >= 999.5 && unit + 1 < sizeof units / sizeof *units) {
        value /= 1000;
        unit++;
    }
    snprintf(out, AMOUNT_MAX, unit && value < 99.95 ? "%.1f %s" : "%.0f %s", value, units[unit]);
    return out;
}

static const struct {
    const char *name;
    uint64_t seconds;
} units[] = {{"d", 86400}, {"h", 3600}, {"min", 60}, {"s", 1}};

const char *amount_duration(uint64_t seconds, char out[static AMOUNT_MAX]) {
    size_t unit = 0;
    while (unit < 3 && seconds < units[unit].seconds) unit++;
    uint64_t whole = seconds / units[unit].seconds, rest = seconds % units[unit].seconds;
    uint64_t next = unit < 3 ? rest / units[unit + 1].seconds : 0;
    if (next)
        snprintf(out, AMOUNT_MAX, "%" PRIu64 " %s %" PRIu64 " %s", whole, units[unit].name, next,
                 units[unit + 1].name);
    else
        snprintf(out, AMOUNT_MAX, "%" PRIu64 " %s", whole, units[unit].name);
    return out;
}

const char *amount_tokens(uint32_t n, char out[static AMOUNT_MAX]) {
    if (!n)
        snprintf(out, AMOUNT_MAX, "-");
    else if (n >= 1024)
        snprintf(out, AMOUNT_MAX, "%" PRIu32 "k", n / 1024);
    else
        snprintf(out, AMOUNT_MAX, "%" PRIu32, n);
    return out;
}

const char *amount_age(int64_t then, int64_t now, char out[static AMOUNT_MAX]) {
    size_t unit = 0;
    if (!then) {
        snprintf(out, AMOUNT_MAX, "-");
        return out;
    }
    uint64_t seconds = now > then ? (uint64_t)now - (uint64_t)then : 0;
    while (unit < 2 && seconds < units[unit].seconds) unit++;
    if (seconds < 60)
        snprintf(out, AMOUNT_MAX, "just now");
    else
        snprintf(out, AMOUNT_MAX, "%" PRIu64 " %s ago", seconds / units[unit].seconds, units[unit].name);
    return out;
}

const char *amount_moment(int64_t then, int64_t now, char out[static AMOUNT_MAX]) {
    time_t seconds[2] = {then, now};
    struct tm a, b;
    if (!localtime_r(&seconds[0], &a) || !localtime_r(&seconds[1], &b)) {
        snprintf(out, AMOUNT_MAX, "-");
        return out;
    }
    const char *format = a.tm_year != b.tm_year   ? "%Y-%m-%d"
                         : a.tm_yday != b.tm_yday ? "%b %d %H:%M"
                                                  : "%H:%M";
    strftime(out, AMOUNT_MAX, format, &a);
    return out;
}
