/* Source to tokens, after the rules of jinja2's lexer with trim_blocks and lstrip_blocks on: which white
 * space a tag takes along is decided here and nowhere else. */
#include "infer/jinja/ast.h"
#include "infer/jinja/unicode.h"

#include "base/utf8.h"

#include <stdlib.h>

struct lexer {
    struct jrun *run;
    const char *source;
    size_t len, at;
    size_t counted; /* line and column are those of this byte */
    uint32_t line, column;
    bool line_starting; /* what was read last ended in a newline, or nothing was read yet */
    struct jtokens tokens;
    size_t cap;
    char closers[JINJA_MAX_NESTING + 1]; /* of the brackets that are open in this tag */
    size_t n_closers;
};

static void place(struct lexer *x, size_t at) {
    for (; x->counted < at; x->counted++) {
        unsigned char c = (unsigned char)x->source[x->counted];
        if (c == '\n') {
            x->line++;
            x->column = 1;
        } else if ((c & 0xC0) != 0x80) {
            x->column++;
        }
    }
    x->run->line = x->line;
    x->run->column = x->column;
}

static struct jtoken *add(struct lexer *x, enum jtoken_type type, size_t from, size_t len) {
    place(x, from);
    if (x->tokens.n >= JINJA_MAX_TOKENS) jfail_limit(x->run, "tokens in a template", JINJA_MAX_TOKENS);
    if (x->tokens.n == x->cap) {
        size_t cap = x->cap ? x->cap * 2 : 256;
        struct jtoken *at = jalloc_array(x->run, cap, sizeof *at);
        if (x->tokens.n) memcpy(at, x->tokens.at, x->tokens.n * sizeof *at);
        x->tokens.at = at;
        x->cap = cap;
    }
    struct jtoken *token = &x->tokens.at[x->tokens.n++];
    *token = (struct jtoken){.type = (uint8_t)type, .line = x->line, .column = x->column};
    token->bytes = x->source + from;
    token->len = (uint32_t)len;
    return token;
}

static bool starts(const struct lexer *x, size_t at, const char *text) {
    size_t n = strlen(text);
    return x->len - at >= n && memcmp(x->source + at, text, n) == 0;
}

static size_t skip_space(const struct lexer *x, size_t at) {
    int length;
    while (at < x->len && uchar_is_space(jchar_at(x->source, x->len, at, &length))) at += (size_t)length;
    return at;
}

static void eat(struct lexer *x, size_t to) {
    x->line_starting = to > x->at ? x->source[to - 1] == '\n' : false;
    x->at = to;
}

/* The text before a tag, less what the tag strips: all space for '-', what stands between the line's
 * beginning and the tag for blocks and comments without a sign. */
static void add_text(struct lexer *x, size_t from, size_t to, char sign, bool is_print) {
    if (sign == '-') {
        while (to > from) {
            int length;
            size_t before = jchar_before(x->source, to);
            if (before < from || !uchar_is_space(jchar_at(x->source, to, before, &length))) break;
            to = before;
        }
    } else if (sign != '+' && !is_print) {
        size_t line = to;
        while (line > from && x->source[line - 1] != '\n') line--;
        if ((line > from || x->line_starting) && skip_space(x, line) >= to) to = line;
    }
    if (to > from) add(x, JTOKEN_TEXT, from, to - from);
}

/* Where a tag that ends with `close` at `at` (its sign included) ends with the white space it takes; 0 if
 * none ends here. */
static size_t tag_end(const struct lexer *x, size_t at, const char *close, bool is_print) {
    if (x->source[at] == '-' && starts(x, at + 1, close)) return skip_space(x, at + 3);
    if (!is_print && x->source[at] == '+' && starts(x, at + 1, close)) return at + 3;
    if (!starts(x, at, close)) return 0;
    at += 2;
    return !is_print && at < x->len && x->source[at] == '\n' ? at + 1 : at;
}

static void read_comment(struct lexer *x, size_t begin) {
    for (size_t at = x->at; at < x->len; at++) {
        const char *next = memchr(x->source + at, '#', x->len - at);
        if (!next) break;
        size_t hash = (size_t)(next - x->source);
        bool sign = hash > x->at && (x->source[hash - 1] == '-' || x->source[hash - 1] == '+');
        size_t end = starts(x, hash, "#}") ? tag_end(x, sign ? hash - 1 : hash, "#}", false) : 0;
        if (end) {
            eat(x, end);
            return;
        }
        at = hash;
    }
    place(x, begin);
    jfail(x->run, "syntax: missing end of comment tag '#}'");
}

/* Where {% raw %}'s text begins if the block at `at` (behind its sign) is one; 0 if it is not. */
static size_t raw_begin(const struct lexer *x, size_t at) {
    at = skip_space(x, at);
    if (!starts(x, at, "raw")) return 0;
    at = skip_space(x, at + 3);
    if (at >= x->len) return 0;
    if (starts(x, at, "-%}")) return skip_space(x, at + 3);
    return starts(x, at, "%}") ? at + 2 : 0;
}

static void read_raw(struct lexer *x, size_t begin) {
    size_t from = x->at;
    for (size_t at = from; at + 1 < x->len; at++) {
        const char *next = memchr(x->source + at, '{', x->len - at);
        if (!next) break;
        at = (size_t)(next - x->source);
        if (!starts(x, at, "{%")) continue;
        size_t word = at + 2;
        char sign = word < x->len ? x->source[word] : '\0';
        if (sign == '-' || sign == '+') word++;
        word = skip_space(x, word);
        if (!starts(x, word, "endraw")) {
            at = word - 1; /* the space is not looked at twice */
            continue;
        }
        word = skip_space(x, word + 6);
        size_t end = word < x->len ? tag_end(x, word, "%}", false) : 0;
        if (!end) continue;
        add_text(x, from, at, sign, false);
        eat(x, end);
        return;
    }
    place(x, begin);
    jfail(x->run, "syntax: missing end of raw directive, '{%% endraw %%}'");
}

/* ---- inside a tag ---- */

static size_t digits_end(const struct lexer *x,
                         size_t at) { /* digits, with single underscores between them */
    size_t end = at;
    while (end < x->len) {
        char c = x->source[end];
        if (c >= '0' && c <= '9')
            end++;
        else if (c == '_' && end > at && end + 1 < x->len && x->source[end + 1] >= '0' &&
                 x->source[end + 1] <= '9')
            end++;
        else
            break;
    }
    return end;
}

static size_t float_end(const struct lexer *x, size_t at) { /* or `at` if no float begins there */
    size_t end = digits_end(x, at), whole = end;
    if (at > 0 && x->source[at - 1] == '.') return at;
    if (end + 1 < x->len && x->source[end] == '.' && digits_end(x, end + 1) > end + 1)
        end = digits_end(x, end + 1);
    if (end < x->len && (x->source[end] == 'e' || x->source[end] == 'E')) {
        size_t exponent = end + 1;
        if (exponent < x->len && (x->source[exponent] == '+' || x->source[exponent] == '-')) exponent++;
        if (digits_end(x, exponent) > exponent) end = digits_end(x, exponent);
    }
    return end > whole ? end : at;
}

static size_t int_end(const struct lexer *x, size_t at) {
    if (x->source[at] != '0') return digits_end(x, at);
    char kind = at + 1 < x->len ? (char)(x->source[at + 1] | 32) : '\0';
    const char *allowed = kind == 'x'   ? "0123456789abcdefABCDEF_"
                          : kind == 'o' ? "01234567_"
                          : kind == 'b' ? "01_"
                                        : NULL;
    size_t end = at + 1;
    if (allowed) {
        end = at + 2;
        while (end < x->len && x->source[end] && strchr(allowed, x->source[end])) end++;
        while (x->source[end - 1] == '_') end--;
        return end > at + 2 ? end : at + 1;
    }
    while (end < x->len && (x->source[end] == '0' ||
                            (x->source[end] == '_' && end + 1 < x->len && x->source[end + 1] == '0')))
        end++;
    return end;
}

static void read_number(struct lexer *x) {
    size_t end = float_end(x, x->at);
    bool is_float = end > x->at;
    if (!is_float) end = int_end(x, x->at);
    struct jtoken *token = add(x, is_float ? JTOKEN_FLOAT : JTOKEN_INT, x->at, end - x->at);
    struct jstr text = {.bytes = token->bytes, .len = token->len, .n_chars = -1};
    if (is_float && !jparse_float(&text, &token->real)) jfail(x->run, "syntax: bad number");
    if (!is_float && !jparse_int(x->run, &text, 0, &token->integer)) jfail(x->run, "syntax: bad number");
    eat(x, end);
}

static int hex_digits(struct lexer *x, const char *at, size_t left, int want, uint32_t *out) {
    *out = 0;
    for (int i = 0; i < want; i++) {
        char c = (size_t)i < left ? at[i] : '\0';
        int digit = c >= '0' && c <= '9'                 ? c - '0'
                    : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10
                                                         : -1;
        if (digit < 0) jfail(x->run, "syntax: a \\x, \\u or \\U escape needs %d hexadecimal digits", want);
        *out = *out << 4 | (uint32_t)digit;
    }
    return want;
}

/* One escape behind a backslash; returns the bytes it took. Unknown ones stay as they are, as in Python. */
static size_t unescape(struct lexer *x, const char *from, size_t left, char *out, size_t *n) {
    static const char names[] = "abfnrtv\\'\"", values[] = "\a\b\f\n\r\t\v\\'\"";
    const char *simple = *from ? strchr(names, *from) : NULL;
    if (simple) {
        out[(*n)++] = values[simple - names];
        return 1;
    }
    uint32_t c = 0;
    size_t took = 1;
    if (*from == '\n') return 1;
    if (*from >= '0' && *from <= '7') {
        for (took = 0; took < 3 && took < left && from[took] >= '0' && from[took] <= '7'; took++)
            c = c * 8 + (uint32_t)(from[took] - '0');
    } else if (*from == 'x' || *from == 'u' || *from == 'U') {
        took += (size_t)hex_digits(x, from + 1, left - 1, *from == 'x' ? 2 : *from == 'u' ? 4 : 8, &c);
    } else if (*from == 'N') {
        jfail(x->run, "syntax: \\N{...} escapes are not supported");
    } else {
        out[(*n)++] = '\\';
        out[(*n)++] = *from;
        return 1;
    }
    char encoded[4];
    int bytes = utf8_encode(c, encoded);
    if (!bytes) jfail(x->run, "syntax: \\%c escape of U+%04X, which is no character", *from, c);
    memcpy(out + *n, encoded, (size_t)bytes);
    *n += (size_t)bytes;
    return took;
}

static void read_string(struct lexer *x) {
    char quote = x->source[x->at];
    size_t from = x->at + 1, to = from;
    bool escapes = false;
    while (to < x->len && x->source[to] != quote) {
        if (x->source[to] == '\\') {
            escapes = true;
            to++;
        }
        to++;
    }
    place(x, x->at);
    if (to >= x->len) jfail(x->run, "syntax: string without its closing %c", quote);
    struct jtoken *token = add(x, JTOKEN_STRING, x->at, to - from);
    token->bytes = x->source + from;
    if (escapes) {
        char *text =
            jalloc(x->run, (to - from) * 2 + 1); /* "\1" is two bytes and becomes one, "\q" stays two */
        size_t n = 0;
        for (size_t i = from; i < to;) {
            if (x->source[i] != '\\')
                text[n++] = x->source[i++];
            else
                i += 1 + unescape(x, x->source + i + 1, to - i - 1, text, &n);
        }
        token->bytes = text;
        token->len = (uint32_t)n;
    }
    eat(x, to + 1);
}

static void read_sign(struct lexer *x) {
    static const char *const pairs[] = {"//", "**", "==", "!=", ">=", "<="};
    size_t n = 0;
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs && !n; i++)
        if (starts(x, x->at, pairs[i])) n = 2;
    char c = x->source[x->at];
    if (!n && c && strchr("+-/*%~[](){}><=.:|,;", c)) n = 1;
    place(x, x->at);
    if (!n) {
        int length;
        uint32_t found = jchar_at(x->source, x->len, x->at, &length);
        jfail(x->run, "syntax: unexpected character U+%04X", found);
    }
    if (c == '(' || c == '[' || c == '{') {
        if (x->n_closers >= JINJA_MAX_NESTING)
            jfail_limit(x->run, "brackets inside each other", JINJA_MAX_NESTING);
        x->closers[x->n_closers++] = c == '(' ? ')' : c == '[' ? ']' : '}';
    } else if (c == ')' || c == ']' || c == '}') {
        if (!x->n_closers) jfail(x->run, "syntax: unexpected '%c'", c);
        char expected = x->closers[--x->n_closers];
        if (expected != c) jfail(x->run, "syntax: unexpected '%c', expected '%c'", c, expected);
    }
    add(x, JTOKEN_SIGN, x->at, n);
    eat(x, x->at + n);
}

static void read_tag(struct lexer *x, bool is_print) {
    x->n_closers = 0;
    for (;;) {
        size_t end =
            x->at < x->len && !x->n_closers ? tag_end(x, x->at, is_print ? "}}" : "%}", is_print) : 0;
        if (end) {
            add(x, is_print ? JTOKEN_PRINT_END : JTOKEN_BLOCK_END, x->at, end - x->at);
            eat(x, end);
            return;
        }
        size_t next = skip_space(x, x->at);
        if (next > x->at) {
            eat(x, next);
            continue;
        }
        if (x->at >= x->len) return; /* the parser sees the end and tells what was open */
        int length;
        uint32_t c = jchar_at(x->source, x->len, x->at, &length);
        if (c >= '0' && c <= '9') {
            read_number(x);
        } else if (c == '\'' || c == '"') {
            read_string(x);
        } else if (uchar_is_name_start(c)) {
            size_t to = x->at;
            while (to < x->len &&
                   (uchar_is_name_start(c = jchar_at(x->source, x->len, to, &length)) || uchar_is_word(c)))
                to += (size_t)length;
            add(x, JTOKEN_NAME, x->at, to - x->at);
            eat(x, to);
        } else {
            read_sign(x);
        }
    }
}

/* Newlines become \n, and one at the very end goes. */
static char *normalise(struct jrun *run, const char *source, size_t len, size_t *out_len) {
    char *out = jalloc(run, len + 1);
    size_t n = 0;
    for (size_t i = 0; i < len; i++) {
        if (source[i] == '\r') {
            if (i + 1 < len && source[i + 1] == '\n') i++;
            out[n++] = '\n';
        } else {
            out[n++] = source[i];
        }
    }
    if (n && out[n - 1] == '\n') n--;
    *out_len = n;
    return out;
}

struct jtokens jtokens_of(struct jrun *run, const char *source, size_t len) {
    struct lexer x = {.run = run, .line = 1, .column = 1, .line_starting = true};
    if (len > JINJA_MAX_SOURCE) jfail_limit(run, "bytes of template", JINJA_MAX_SOURCE);
    x.source = normalise(run, source, len, &x.len);
    while (x.at < x.len) {
        size_t tag = x.at;
        while (tag < x.len) {
            const char *brace = memchr(x.source + tag, '{', x.len - tag);
            tag = brace ? (size_t)(brace - x.source) : x.len;
            if (tag + 1 < x.len && strchr("%{#", x.source[tag + 1]) && x.source[tag + 1]) break;
            if (tag < x.len) tag++;
        }
        if (tag >= x.len) {
            add(&x, JTOKEN_TEXT, x.at, x.len - x.at);
            break;
        }
        char kind = x.source[tag + 1];
        size_t inside = tag + 2;
        char sign = inside < x.len ? x.source[inside] : '\0';
        if (sign != '-' && sign != '+')
            sign = '\0';
        else
            inside++;
        add_text(&x, x.at, tag, sign, kind == '{');
        size_t raw = kind == '%' ? raw_begin(&x, inside) : 0;
        eat(&x, raw ? raw : inside);
        if (raw) {
            read_raw(&x, tag);
        } else if (kind == '#') {
            read_comment(&x, tag);
        } else {
            add(&x, kind == '{' ? JTOKEN_PRINT_BEGIN : JTOKEN_BLOCK_BEGIN, tag, 2);
            read_tag(&x, kind == '{');
        }
    }
    add(&x, JTOKEN_END, x.len, 0);
    return x.tokens;
}
