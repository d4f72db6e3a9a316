#include "ui/keys.h"

#include "base/utf8.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { SEQUENCE_MAX = 64, STRING_MAX = 4096 };
static const char paste_end[] = "\033[201~";

/* Decoders return the bytes of one key at p[0..n), or 0 for "more bytes needed". */

void keys_feed(struct keys *keys, const void *bytes, size_t len, int64_t now_ns) {
    if (keys->at == keys->in.len) {
        buf_clear(&keys->in);
        keys->at = 0;
    }
    /* The end of a paste may be lost on its way: Ctrl+C or Esc, alone after a silence, is a person who waits
     * for it. */
    bool waits = keys->pasting && len == 1 && now_ns - keys->newest_ns >= KEYS_PASTE_SILENCE_NS;
    if (waits && (*(const char *)bytes == 3 || *(const char *)bytes == 27))
        buf_puts(&keys->in, paste_end);
    else
        buf_append(&keys->in, bytes, len);
    keys->newest_ns = now_ns;
}

void keys_free(struct keys *keys) {
    buf_free(&keys->in);
    buf_free(&keys->paste);
    *keys = (struct keys){0};
}

int64_t keys_deadline_ns(const struct keys *keys) {
    return keys->at < keys->in.len && !keys->pasting ? keys->newest_ns + KEYS_ESCAPE_NS : 0;
}

static struct key control_key(unsigned char c) {
    if (c == '\r') return (struct key){.code = KEY_CODE_ENTER};
    if (c == '\t') return (struct key){.code = KEY_CODE_TAB};
    if (c == 0x7F || c == '\b') return (struct key){.code = KEY_CODE_BACKSPACE};
    uint32_t letter = c | 0x40u;
    if (letter >= 'A' && letter <= 'Z') letter |= 0x20u;
    return (struct key){.code = KEY_CODE_CHAR, .c = letter, .mods = KEY_MOD_CTRL};
}

/* A key by its Unicode number, as modern keyboard protocols report it. */
static struct key unicode_key(unsigned number, unsigned mods) {
    struct key key = {.code = KEY_CODE_CHAR, .c = number, .mods = mods};
    if (number == 27)
        key = (struct key){.code = KEY_CODE_ESCAPE, .mods = mods};
    else if (number < 0x20 || number == 0x7F) {
        key = control_key((unsigned char)number);
        key.mods |= mods;
    } else if (mods & KEY_MOD_CTRL && number >= 'A' && number <= 'Z')
        key.c = number | 0x20;
    else if (!(mods & KEY_MOD_CTRL))
        key.mods &= ~(unsigned)KEY_MOD_SHIFT;
    char ignored[4];
    if (key.code == KEY_CODE_CHAR && utf8_encode(key.c, ignored) == 0) key = (struct key){0};
    if (key.code == KEY_CODE_CHAR && key.c >= 0xE000 && key.c <= 0xF8FF)
        key = (struct key){0}; /* keypad, media keys */
    return key;
}

static enum key_code tilde_code(unsigned number) {
    static const uint8_t codes[] = {
        [1] = KEY_CODE_HOME,    [2] = KEY_CODE_INSERT,    [3] = KEY_CODE_DELETE,   [4] = KEY_CODE_END,
        [5] = KEY_CODE_PAGE_UP, [6] = KEY_CODE_PAGE_DOWN, [7] = KEY_CODE_HOME,     [8] = KEY_CODE_END,
        [11] = KEY_CODE_F1,     [12] = KEY_CODE_F1 + 1,   [13] = KEY_CODE_F1 + 2,  [14] = KEY_CODE_F1 + 3,
        [15] = KEY_CODE_F1 + 4, [17] = KEY_CODE_F1 + 5,   [18] = KEY_CODE_F1 + 6,  [19] = KEY_CODE_F1 + 7,
        [20] = KEY_CODE_F1 + 8, [21] = KEY_CODE_F1 + 9,   [23] = KEY_CODE_F1 + 10, [24] = KEY_CODE_F12,
    };
    return number < sizeof codes ? (enum key_code)codes[number] : KEY_CODE_NONE;
}

static enum key_code letter_code(char final) {
    switch (final) {
    case 'A': return KEY_CODE_UP;
    case 'B': return KEY_CODE_DOWN;
    case 'C': return KEY_CODE_RIGHT;
    case 'D': return KEY_CODE_LEFT;
    case 'H': return KEY_CODE_HOME;
    case 'F': return KEY_CODE_END;
    case 'M': return KEY_CODE_ENTER;
    case 'P':
    case 'Q':
    case 'R':
    case 'S': return (enum key_code)(KEY_CODE_F1 + (final - 'P'));
    default: return KEY_CODE_NONE;
    }
}

/* The numbers of a control sequence; more than three are not needed. Returns how many. */
static int csi_numbers(const char *p, size_t n, unsigned numbers[3]) {
    int count = 0;
    numbers[0] = numbers[1] = numbers[2] = 0;
    bool sub = false; /* behind a colon: sub-parameters are skipped */
    for (size_t i = 0; i < n; i++) {
        if (p[i] == ';') {
            if (++count == 3) return count;
            sub = false;
        } else if (p[i] == ':')
            sub = true;
        else if (!sub && p[i] >= '0' && p[i] <= '9' && numbers[count] < 1u << 24)
            numbers[count] = numbers[count] * 10 + (unsigned)(p[i] - '0');
    }
    return n ? count + 1 : 0;
}

/* A mouse report in the form of mode 1006: CSI < button ; column ; row M, or m when it is let go. */
static void mouse_key(const unsigned v[3], char final, struct key *key) {
    enum { MODIFIERS = 4 | 8 | 16 };
    unsigned button = v[0] & ~(unsigned)MODIFIERS;
    if (final != 'M' || v[1] == 0 || v[2] == 0 || v[1] > 10000 || v[2] > 10000) return;
    key->column = (int)v[1] - 1;
    key->row = (int)v[2] - 1;
    key->code = button == 0    ? KEY_CODE_CLICK
                : button == 64 ? KEY_CODE_WHEEL_UP
                : button == 65 ? KEY_CODE_WHEEL_DOWN
                               : KEY_CODE_NONE;
}

/* The meaning of CSI params final, params being p[0..n). */
static void csi_key(struct keys *keys, const char *p, size_t n, char final, struct key *key) {
    unsigned v[3];
    char lead = n && p[0] >= '<' && p[0] <= '?' ? p[0] : 0;
    int count = csi_numbers(p + (lead != 0), n - (lead != 0), v);
    if (lead) {
        if (lead == '?' && final == 'y' && v[0] == 2026 && v[1] >= 1 && v[1] <= 3) key->code = KEY_CODE_SYNC;
        if (lead == '<' && count == 3) mouse_key(v, final, key);
        return;
    }
    unsigned mods = count > 1 && v[1] > 0 ? (v[1] - 1) & 7 : 0;
    if (final == '~' || final == '^') {
        if (v[0] == 200) {
            keys->pasting = true;
            buf_clear(&keys->paste);
        } else if (v[0] == 27 && count > 2)
            *key = unicode_key(v[2], mods);
        else
            *key = (struct key){.code = tilde_code(v[0]), .mods = final == '^' ? KEY_MOD_CTRL : mods};
    } else if (final == 'u')
        *key = unicode_key(v[0], mods);
    else if ((final == 'I' || final == 'O') && n == 0)
        key->code = final == 'I' ? KEY_CODE_FOCUS : KEY_CODE_BLUR;
    else if (final == 'Z')
        *key = (struct key){.code = KEY_CODE_TAB, .mods = KEY_MOD_SHIFT};
    else if (final != 'R' || v[0] == 1)
        *key = (struct key){.code = letter_code(final), .mods = mods};
}

static size_t decode_csi(struct keys *keys, const char *p, size_t n, struct key *key) {
    if (n > 2 && p[2] == '[') { /* the Linux console's F1..F5: ESC [ [ A */
        if (n < 4) return 0;
        if (p[3] >= 'A' && p[3] <= 'E') key->code = (enum key_code)(KEY_CODE_F1 + (p[3] - 'A'));
        return 4;
    }
    if (n > 2 && p[2] == 'M') return n < 6 ? 0 : 6; /* an old mouse report */
    size_t i = 2;
    while (i < n && p[i] >= 0x20 && p[i] < 0x40 && i < SEQUENCE_MAX) i++;
    if (i == n && i < SEQUENCE_MAX) return 0;
    if (p[i] < 0x40 || p[i] > 0x7E) return i; /* broken: what follows is looked at afresh */
    csi_key(keys, p + 2, i - 2, p[i], key);
    return i + 1;
}

/* An answer of the terminal that is a string: up to BEL or ESC \. */
static size_t decode_string(const char *p, size_t n) {
    for (size_t i = 2; i < n; i++) {
        if (p[i] == '\a') return i + 1;
        if (p[i] == '\033' && i + 1 < n) return p[i + 1] == '\\' ? i + 2 : i;
        if (i == STRING_MAX) return i;
    }
    return 0;
}

/* "11;rgb:ffff/ffff/ffff", one to four digits for each of red, green and blue (xterm's ctlseqs, XParseColor):
 * the terminal's background. */
static void colour_key(const char *p, size_t n, struct key *key) {
    static const char lead[] = "11;rgb"; /* or rgba, with how opaque it is at the end */
    static const double luma[] = {0.299, 0.587, 0.114};
    double light = 0;
    if (n < sizeof lead - 1 || memcmp(p, lead, sizeof lead - 1) != 0) return;
    const char *at = p + sizeof lead - 1, *end = p + n;
    if (at < end && *at == 'a') at++;
    if (at == end || *at++ != ':') return;
    for (int i = 0; i < 3; i++) {
        unsigned value = 0, most = 0;
        for (; at < end && isxdigit((unsigned char)*at) && most < 0xFFFF; at++, most = most << 4 | 15)
            value = value << 4 | (unsigned)(*at <= '9' ? *at - '0' : (*at | 32) - 'a' + 10);
        if (!most || (i < 2 && (at == end || *at++ != '/'))) return;
        light += luma[i] * value / most;
    }
    *key = (struct key){.code = KEY_CODE_BACKGROUND, .c = light > 0.5};
}

static size_t decode_plain(const char *p, size_t n, struct key *key) {
    unsigned char c = (unsigned char)p[0];
    if (c < 0x20 || c == 0x7F) {
        *key = control_key(c);
        return 1;
    }
    uint32_t code_point;
    int got = utf8_decode(p, n, &code_point);
    if (got == 0) return 0;
    *key = (struct key){.code = KEY_CODE_CHAR, .c = got < 0 ? 0xFFFD : code_point};
    return got < 0 ? (size_t)utf8_bad_length(p, n) : (size_t)got;
}

static size_t decode_escape(struct keys *keys, const char *p, size_t n, struct key *key) {
    if (n == 1) return 0;
    switch (p[1]) {
    case '[': return decode_csi(keys, p, n, key);
    case 'O':
        if (n < 3) return 0;
        key->code = letter_code(p[2]);
        return 3;
    case ']': {
        size_t used = decode_string(p, n);
        if (used > 2) colour_key(p + 2, used - 2, key);
        return used;
    }
    case 'P':
    case '_':
    case '^':
    case 'X': return decode_string(p, n);
    case '\033': key->code = KEY_CODE_ESCAPE; return 1;
    default: {
        size_t got = decode_plain(p + 1, n - 1, key);
        if (got == 0) return 0;
        key->mods |= KEY_MOD_ALT;
        return got + 1;
    }
    }
}

/* A sequence that did not go on in time. */
static size_t give_up(const char *p, size_t n, struct key *key) {
    if (p[0] != '\033') {
        *key = (struct key){.code = KEY_CODE_CHAR, .c = 0xFFFD};
        return n;
    }
    if (n == 1) {
        key->code = KEY_CODE_ESCAPE;
        return 1;
    }
    if (n == 2) *key = (struct key){.code = KEY_CODE_CHAR, .c = (unsigned char)p[1], .mods = KEY_MOD_ALT};
    return n;
}

/* Bytes of a paste. Returns true when its end was seen. */
static bool paste_take(struct keys *keys) {
    const char *p = keys->in.data + keys->at;
    size_t n = keys->in.len - keys->at, end_len = sizeof paste_end - 1;
    const char *end = memmem(p, n, paste_end, end_len);
    size_t take = end ? (size_t)(end - p) : n;
    if (!end) /* keep what may be the beginning of the end */
        for (size_t tail = n < end_len - 1 ? n : end_len - 1; tail > 0; tail--)
            if (memcmp(p + n - tail, paste_end, tail) == 0) {
                take = n - tail;
                break;
            }
    size_t room = KEYS_PASTE_MAX - keys->paste.len;
    buf_append(&keys->paste, p, take < room ? take : room);
    keys->at += take + (end ? end_len : 0);
    if (!end) return false;
    keys->pasting = false;
    return true;
}

bool keys_next(struct keys *keys, int64_t now_ns, struct key *key) {
    while (keys->at < keys->in.len) {
        *key = (struct key){0};
        if (keys->pasting) {
            if (!paste_take(keys)) return false;
            key->code = KEY_CODE_PASTE;
            return true;
        }
        const char *p = keys->in.data + keys->at;
        size_t n = keys->in.len - keys->at;
        size_t used = p[0] == '\033' ? decode_escape(keys, p, n, key) : decode_plain(p, n, key);
        if (used == 0) {
            if (now_ns - keys->newest_ns < KEYS_ESCAPE_NS) return false;
            *key = (struct key){0};
            used = give_up(p, n, key);
        }
        keys->at += used;
        if (key->code != KEY_CODE_NONE) return true;
    }
    return false;
}

bool key_equal(const struct key *a, const struct key *b) {
    return a->code == b->code && a->mods == b->mods && (a->code != KEY_CODE_CHAR || a->c == b->c);
}

static const char *const names[] = {
    [KEY_CODE_ENTER] = "Enter",  [KEY_CODE_TAB] = "Tab",        [KEY_CODE_BACKSPACE] = "Backspace",
    [KEY_CODE_ESCAPE] = "Esc",   [KEY_CODE_UP] = "Up",          [KEY_CODE_DOWN] = "Down",
    [KEY_CODE_RIGHT] = "Right",  [KEY_CODE_LEFT] = "Left",      [KEY_CODE_HOME] = "Home",
    [KEY_CODE_END] = "End",      [KEY_CODE_INSERT] = "Ins",     [KEY_CODE_DELETE] = "Del",
    [KEY_CODE_PAGE_UP] = "PgUp", [KEY_CODE_PAGE_DOWN] = "PgDn",
};

void key_name(const struct key *key, char name[32]) {
    char core[16] = "";
    if (key->code == KEY_CODE_CHAR) {
        char bytes[5] = {0};
        utf8_encode(key->mods & KEY_MOD_CTRL && key->c >= 'a' && key->c <= 'z' ? key->c - 32 : key->c, bytes);
        snprintf(core, sizeof core, "%s", key->c == ' ' ? "Space" : bytes);
    } else if (key->code >= KEY_CODE_F1 && key->code <= KEY_CODE_F12)
        snprintf(core, sizeof core, "F%d", (int)key->code - (int)KEY_CODE_F1 + 1);
    else if (key->code < KEY_CODE_F1 && names[key->code])
        snprintf(core, sizeof core, "%s", names[key->code]);
    snprintf(name, 32, "%s%s%s%s", key->mods & KEY_MOD_CTRL ? "Ctrl+" : "",
             key->mods & KEY_MOD_ALT ? "Alt+" : "", key->mods & KEY_MOD_SHIFT ? "Shift+" : "", core);
}

static bool take_word(const char **name, size_t *len, const char *word) {
    size_t n = strlen(word);
    if (*len <= n || strncasecmp(*name, word, n) != 0) return false;
    *name += n;
    *len -= n;
    return true;
}

bool key_parse(const char *name, size_t len, struct key *key) {
    *key = (struct key){0};
    for (bool more = true; more;) {
        unsigned mod = take_word(&name, &len, "Ctrl+")    ? KEY_MOD_CTRL
                       : take_word(&name, &len, "Alt+")   ? KEY_MOD_ALT
                       : take_word(&name, &len, "Shift+") ? KEY_MOD_SHIFT
                                                          : 0;
        key->mods |= mod;
        more = mod != 0;
    }
    for (size_t code = 0; code < sizeof names / sizeof *names; code++)
        if (names[code] && strlen(names[code]) == len && strncasecmp(name, names[code], len) == 0)
            key->code = (enum key_code)code;
    char digits[4] = "", *end;
    if (len > 1 && len < 4 && (name[0] == 'F' || name[0] == 'f')) memcpy(digits, name + 1, len - 1);
    long number = strtol(digits, &end, 10);
    if (*digits && !*end && number >= 1 && number <= 12)
        key->code = (enum key_code)(KEY_CODE_F1 + number - 1);
    if (key->code != KEY_CODE_NONE) return true;
    bool space = len == 5 && strncasecmp(name, "Space", 5) == 0;
    if (!space && (utf8_decode(name, len, &key->c) != (int)len || key->c <= ' ')) return false;
    key->code = KEY_CODE_CHAR;
    if (space) key->c = ' ';
    if (key->mods & KEY_MOD_CTRL && key->c >= 'A' && key->c <= 'Z') key->c += 32;
    return true;
}
