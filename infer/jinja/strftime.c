/* strftime with English names, whatever the locale is: a prompt must be the same on every machine. */
#include "infer/jinja/value.h"

#include <stdio.h>

static const char *const days[] = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                   "Thursday", "Friday", "Saturday"};
static const char *const months[] = {"January", "February", "March",     "April",   "May",      "June",
                                     "July",    "August",   "September", "October", "November", "December"};

/* Week of the year, weeks beginning on day `first` (0 Sunday, 1 Monday). */
static int week_of(const struct tm *t, int first) {
    return (t->tm_yday + 7 - (t->tm_wday + 7 - first) % 7) / 7;
}

static int days_in(int year) {
    return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) ? 366 : 365;
}

/* ISO 8601: weeks begin on Monday, the first is the one with 4 January. */
static int iso_week(const struct tm *t, int *year) {
    int weekday = (t->tm_wday + 6) % 7, week = (t->tm_yday - weekday + 10) / 7;
    *year = t->tm_year + 1900;
    if (week < 1) {
        *year -= 1;
        return (t->tm_yday + days_in(*year) - weekday + 10) / 7;
    }
    if (week == 53 && t->tm_yday - weekday + 3 >= days_in(*year)) {
        *year += 1;
        return 1;
    }
    return week;
}

static int one(char *text, size_t size, char letter, const struct tm *t) {
    int year = t->tm_year + 1900, hour12 = t->tm_hour % 12 ? t->tm_hour % 12 : 12, iso_year;
    int week = iso_week(t, &iso_year);
    const char *day = days[((unsigned)t->tm_wday) % 7], *month = months[((unsigned)t->tm_mon) % 12];
    switch (letter) {
    case 'a': return snprintf(text, size, "%.3s", day);
    case 'A': return snprintf(text, size, "%s", day);
    case 'b':
    case 'h': return snprintf(text, size, "%.3s", month);
    case 'B': return snprintf(text, size, "%s", month);
    case 'c':
        return snprintf(text, size, "%.3s %.3s %2d %02d:%02d:%02d %d", day, month, t->tm_mday, t->tm_hour,
                        t->tm_min, t->tm_sec, year);
    case 'C': return snprintf(text, size, "%02d", year / 100);
    case 'd': return snprintf(text, size, "%02d", t->tm_mday);
    case 'D':
    case 'x': return snprintf(text, size, "%02d/%02d/%02d", t->tm_mon + 1, t->tm_mday, year % 100);
    case 'e': return snprintf(text, size, "%2d", t->tm_mday);
    case 'f': return snprintf(text, size, "000000");
    case 'F': return snprintf(text, size, "%d-%02d-%02d", year, t->tm_mon + 1, t->tm_mday);
    case 'g': return snprintf(text, size, "%02d", iso_year % 100);
    case 'G': return snprintf(text, size, "%d", iso_year);
    case 'H': return snprintf(text, size, "%02d", t->tm_hour);
    case 'I': return snprintf(text, size, "%02d", hour12);
    case 'j': return snprintf(text, size, "%03d", t->tm_yday + 1);
    case 'k': return snprintf(text, size, "%2d", t->tm_hour);
    case 'l': return snprintf(text, size, "%2d", hour12);
    case 'm': return snprintf(text, size, "%02d", t->tm_mon + 1);
    case 'M': return snprintf(text, size, "%02d", t->tm_min);
    case 'n': return snprintf(text, size, "\n");
    case 'p': return snprintf(text, size, "%s", t->tm_hour < 12 ? "AM" : "PM");
    case 'P': return snprintf(text, size, "%s", t->tm_hour < 12 ? "am" : "pm");
    case 'r':
        return snprintf(text, size, "%02d:%02d:%02d %s", hour12, t->tm_min, t->tm_sec,
                        t->tm_hour < 12 ? "AM" : "PM");
    case 'R': return snprintf(text, size, "%02d:%02d", t->tm_hour, t->tm_min);
    case 'S': return snprintf(text, size, "%02d", t->tm_sec);
    case 't': return snprintf(text, size, "\t");
    case 'T':
    case 'X': return snprintf(text, size, "%02d:%02d:%02d", t->tm_hour, t->tm_min, t->tm_sec);
    case 'u': return snprintf(text, size, "%d", t->tm_wday ? t->tm_wday : 7);
    case 'U': return snprintf(text, size, "%02d", week_of(t, 0));
    case 'V': return snprintf(text, size, "%02d", week);
    case 'w': return snprintf(text, size, "%d", t->tm_wday);
    case 'W': return snprintf(text, size, "%02d", week_of(t, 1));
    case 'y': return snprintf(text, size, "%02d", year % 100);
    case 'Y': return snprintf(text, size, "%d", year);
    case 'z':
    case 'Z': return 0; /* a time without a zone, as datetime.now() gives */
    case '%': return snprintf(text, size, "%%");
    default: return -1;
    }
}

struct jstr *jstrftime(struct jrun *run, const struct jstr *format, const struct tm *time) {
    struct jout out = {0};
    jstep(run, format->len / 16);
    for (size_t i = 0; i < format->len; i++) {
        char text[64];
        if (format->bytes[i] != '%' || i + 1 == format->len) {
            jout_str(run, &out, jstr_slice(run, format, i, i + 1));
            continue;
        }
        size_t begin = i++;
        bool bare = format->bytes[i] == '-' && i + 1 < format->len; /* %-d: no leading zero */
        if (bare) i++;
        int n = one(text, sizeof text, format->bytes[i], time);
        if (n < 0) {
            jout_str(run, &out, jstr_slice(run, format, begin, i + 1));
            continue;
        }
        int skip = 0;
        while (bare && skip + 1 < n && (text[skip] == '0' || text[skip] == ' ')) skip++;
        jout_copy(run, &out, text + skip, (size_t)(n - skip), jstr_person(format, i));
    }
    return jout_finish(run, &out);
}
