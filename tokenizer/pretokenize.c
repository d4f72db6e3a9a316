#include "tokenizer/pretokenize.h"

#include "tokenizer/chars.h"

#include <pthread.h>
#include <string.h>

#define BIT(class) (1u << CHAR_##class)
#define COUNT(array) ((int)(sizeof(array) / sizeof *(array)))

enum {
    LETTERS = BIT(LU) | BIT(LL) | BIT(LT) | BIT(LM) | BIT(LO), /* \p{L} */
    UPPER = BIT(LU) | BIT(LT) | BIT(LM) | BIT(LO) | BIT(MARK), /* [\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}] */
    LOWER = BIT(LL) | BIT(LM) | BIT(LO) | BIT(MARK),           /* [\p{Ll}\p{Lm}\p{Lo}\p{M}] */
    SPACES = BIT(SPACE) | BIT(NEWLINE),                        /* \s */
    EVERY = (1u << (CHAR_NEWLINE + 1)) - 1,
};

/* An expression that is a list of alternatives for words, numbers, punctuation and white space:
 *   contraction | prefix? letters+ | number{1,max_digits} | space? others+ [\r\n]* | \s*[\r\n]+ | \s+(?!\S) |
 * \s+ The families differ in the classes and in a few habits. */
struct word_rules {
    uint16_t
        prefix; /* classes of the one character that may begin a word of letters; 0: only the space U+0020 */
    uint16_t letters; /* what a word is made of */
    uint16_t others;  /* what a run of punctuation is made of */
    uint8_t max_digits;
    enum { CONTRACTION_NONE, CONTRACTION_EXACT, CONTRACTION_CASELESS, CONTRACTION_SUFFIX } contraction;
    bool cased; /* a word is upper* lower+ or upper+ lower*, where the classes UPPER and LOWER overlap */
    bool ascii_words;   /* first of all: one ASCII punctuation mark with the ASCII letters after it */
    bool space_numbers; /* a number may begin with U+0020 and has any length */
    bool lone_numbers;  /* each number is cut out before anything else: the expression \p{N} comes first */
    bool line_ends;     /* newlines after punctuation belong to it, and end a run of white space */
    bool slash_ends;    /* so do slashes */
};

struct range {
    uint32_t first, last;
};

enum { BYTE_IN_SET = 1, BYTE_MAY_BEGIN = 2 };

struct pre_step {
    enum { STEP_RUN, STEP_TRAILING_SPACE, STEP_WORDS } kind;
    /* STEP_RUN: \s? set{min,max} */
    uint16_t classes;           /* the set: these classes, */
    uint8_t flags;              /* characters with one of these flags, */
    const struct range *ranges; /* and these ranges, up to one that is {0, 0} */
    uint32_t min, max;          /* 0: one, any number */
    bool space_before;
    const struct word_rules *words; /* STEP_WORDS */
    bool plain;          /* STEP_WORDS, made by prepare(): a plain word is one, and no later step cuts it */
    uint8_t first, last; /* STEP_RUN, made by prepare(): no ASCII before or after these begins a match */
    uint8_t bytes[256];  /* STEP_RUN, made by prepare(): what ASCII is to it; the others may begin a match */
};

/* The tables of all pre-tokenizers. The expressions are those of the models' tokenizer.json. */

/* 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+ */
static const struct word_rules words_gpt2 = {
    .letters = LETTERS,
    .others = EVERY & ~(SPACES | LETTERS | BIT(NUMBER)),
    .contraction = CONTRACTION_EXACT,
    .space_numbers = true,
};

/* \p{N}, then the same */
static const struct word_rules words_smollm = {
    .letters = LETTERS,
    .others = EVERY & ~(SPACES | LETTERS | BIT(NUMBER)),
    .contraction = CONTRACTION_EXACT,
    .max_digits = 1,
    .lone_numbers = true,
};

/* (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|
 * ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+ */
#define WORDS_LLAMA3                                                                                         \
    .prefix = EVERY & ~(LETTERS | BIT(NUMBER) | BIT(NEWLINE)), .letters = LETTERS,                           \
    .others = EVERY & ~(SPACES | LETTERS | BIT(NUMBER)), .line_ends = true
static const struct word_rules words_llama3 = {WORDS_LLAMA3, .max_digits = 3,
                                               .contraction = CONTRACTION_CASELESS};
static const struct word_rules words_qwen2 = {WORDS_LLAMA3, .max_digits = 1,
                                              .contraction = CONTRACTION_CASELESS};

/* the same with [\p{L}\p{M}] for letters */
static const struct word_rules words_qwen35 = {
    .prefix = EVERY & ~(LETTERS | BIT(NUMBER) | BIT(NEWLINE)),
    .letters = LETTERS | BIT(MARK),
    .others = EVERY & ~(SPACES | LETTERS | BIT(MARK) | BIT(NUMBER)),
    .line_ends = true,
    .max_digits = 1,
    .contraction = CONTRACTION_CASELESS,
};

/* [^\r\n\p{L}\p{N}]?UPPER*LOWER+(?i:'s|...)?|[^\r\n\p{L}\p{N}]?UPPER+LOWER*(?i:'s|...)?|\p{N}{1,3}
 * | ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+ */
static const struct word_rules words_gpt4o = {
    WORDS_LLAMA3, .max_digits = 3, .contraction = CONTRACTION_SUFFIX, .cased = true, .slash_ends = true};
static const struct word_rules words_tekken = {WORDS_LLAMA3, .max_digits = 1, .cased = true,
                                               .slash_ends = true};

/* [!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*
 * |\s*[\r\n]+|\s+(?!\S)|\s+ */
static const struct word_rules words_deepseek_v3 = {
    .prefix = EVERY & ~(LETTERS | BIT(PUNCTUATION) | BIT(SYMBOL) | BIT(NEWLINE)),
    .letters = LETTERS | BIT(MARK),
    .others = BIT(PUNCTUATION) | BIT(SYMBOL),
    .ascii_words = true,
    .line_ends = true,
};

/* [一-龥ࠀ-一가-퟿] */
static const struct range cjk_deepseek[] = {{0x4E00, 0x9FA5}, {0x800, 0x4E00}, {0xAC00, 0xD7FF}, {0, 0}};
/* [一-龥぀-ゟ゠-ヿ] */
static const struct range cjk_deepseek_v3[] = {{0x4E00, 0x9FA5}, {0x3040, 0x30FF}, {0, 0}};
/* [!-/:-~！-／：-～‘-‟　-。] */
static const struct range marks_deepseek_llm[] = {
    {0x21, 0x2F},     {0x3A, 0x7E}, {0xFF01, 0xFF0F}, {0xFF1A, 0xFF5E}, {0x2018, 0x201F},
    {0x3000, 0x3002}, {0, 0}};
/* [$+<=>^~|`] */
static const struct range symbols_falcon[] = {{'$', '$'}, {'+', '+'}, {'<', '>'}, {'^', '^'},
                                              {'`', '`'}, {'|', '|'}, {'~', '~'}, {0, 0}};
static const struct range ascii_digits[] = {{'0', '9'}, {0, 0}};

static struct pre_step steps_gpt2[] = {{.kind = STEP_WORDS, .words = &words_gpt2}};
static struct pre_step steps_llama3[] = {{.kind = STEP_WORDS, .words = &words_llama3}};
static struct pre_step steps_qwen2[] = {{.kind = STEP_WORDS, .words = &words_qwen2}};
static struct pre_step steps_qwen35[] = {{.kind = STEP_WORDS, .words = &words_qwen35}};
static struct pre_step steps_gpt4o[] = {{.kind = STEP_WORDS, .words = &words_gpt4o}};
static struct pre_step steps_tekken[] = {{.kind = STEP_WORDS, .words = &words_tekken}};
static struct pre_step steps_smollm[] = {{.kind = STEP_WORDS, .words = &words_smollm}};
static struct pre_step steps_falcon[] = {
    {.kind = STEP_RUN, .classes = BIT(PUNCTUATION), .ranges = symbols_falcon},
    {.kind = STEP_WORDS, .words = &words_gpt2},
    {.kind = STEP_RUN, .ranges = ascii_digits, .min = 3, .max = 3},
};
static struct pre_step steps_deepseek_llm[] = {
    {.kind = STEP_RUN, .classes = BIT(NEWLINE), .max = 1},
    {.kind = STEP_RUN, .flags = CHAR_CASED_LETTER, .space_before = true},
    {.kind = STEP_RUN, .ranges = marks_deepseek_llm, .space_before = true},
    {.kind = STEP_TRAILING_SPACE},
    {.kind = STEP_RUN, .ranges = cjk_deepseek},
    {.kind = STEP_RUN, .classes = BIT(NUMBER)},
};
static struct pre_step steps_deepseek_coder[] = {
    {.kind = STEP_RUN, .classes = BIT(NEWLINE), .max = 1},
    {.kind = STEP_RUN, .classes = LETTERS, .space_before = true},
    {.kind = STEP_RUN, .classes = BIT(PUNCTUATION), .space_before = true},
    {.kind = STEP_RUN, .ranges = cjk_deepseek},
    {.kind = STEP_RUN, .classes = BIT(NUMBER), .max = 1},
};
static struct pre_step steps_deepseek_v3[] = {
    {.kind = STEP_RUN, .classes = BIT(NUMBER), .max = 3},
    {.kind = STEP_RUN, .ranges = cjk_deepseek_v3},
    {.kind = STEP_WORDS, .words = &words_deepseek_v3},
};

#define STEPS(name) .steps = steps_##name, .n_steps = COUNT(steps_##name)
static const struct pre_tokenizer pre_tokenizers[] = {
    {.names = {"gpt-2"}, STEPS(gpt2)},
    {.names = {"smollm"}, STEPS(smollm)},
    {.names = {"starcoder"}, STEPS(smollm)},
    {.names = {"refact"}, STEPS(smollm)},
    {.names = {"command-r"}, STEPS(smollm), .nfc = true},
    {.names = {"llama-bpe", "llama3", "llama-v3"}, STEPS(llama3), .ignore_merges = true, .add_bos = true},
    {.names = {"qwen2", "deepseek-r1-qwen"}, STEPS(qwen2), .nfc = true},
    {.names = {"qwen35"}, STEPS(qwen35), .nfc = true},
    {.names = {"gpt-4o"}, STEPS(gpt4o)},
    {.names = {"tekken"}, STEPS(tekken), .ignore_merges = true, .add_bos = true},
    {.names = {"falcon"}, STEPS(falcon)},
    {.names = {"deepseek-llm"}, STEPS(deepseek_llm), .letters_second = true},
    {.names = {"deepseek-coder"}, STEPS(deepseek_coder), .letters_second = true},
    {.names = {"deepseek-v3"}, STEPS(deepseek_v3)},
};

/* What lies before the scanner: one piece of text that ends at len, as if nothing followed. */
struct piece {
    const char *text;
    size_t len;
};

static inline unsigned class_at(const struct piece *p, size_t at, size_t *n) {
    unsigned char c = (unsigned char)p->text[at];
    *n = 1;
    if (c < 0x80) return char_info[0][c] & CHAR_CLASS_MASK;
    return char_lookup(char_decode(p->text + at, p->len - at, n)) & CHAR_CLASS_MASK;
}

static inline bool is_in(unsigned classes, unsigned class) {
    return classes >> class & 1;
}

static bool is_ascii_letter(char c) {
    return (unsigned char)((c | 0x20) - 'a') < 26;
}

#define ONES 0x0101010101010101u /* the same in each of eight bytes */
#define TOPS 0x8080808080808080u

/* The first byte at or after `at` that is no small ASCII letter once `fold` is set in it: 0x20 makes small
 * ones of capitals. Most words are read here, eight bytes at a time: in every byte below 0x80 the additions
 * carry into the top bit from 'a' on, and from beyond 'z' on. */
static inline size_t small_letters_end(const struct piece *p, size_t at, unsigned fold) {
    for (uint64_t eight; p->len - at >= 8; at += 8) {
        memcpy(&eight, p->text + at, 8);
        uint64_t small = (eight | fold * ONES) & ~TOPS;
        uint64_t letters = (small + (0x80 - 'a') * ONES) & ~(small + (0x7F - 'z') * ONES) & ~eight & TOPS;
        if (letters != TOPS) return at + (size_t)(__builtin_ctzll(letters ^ TOPS) / 8);
    }
    while (at < p->len && (unsigned char)(((unsigned char)p->text[at] | fold) - 'a') < 26) at++;
    return at;
}

static inline size_t ascii_letters_end(const struct piece *p, size_t at) {
    return small_letters_end(p, at, 0x20);
}

/* A plain word is U+0020 or nothing and ASCII letters, with nothing beyond ASCII after them: most words by
 * far. Its end; `at` if there is none. */
static inline size_t plain_word_end(const struct piece *p, size_t at) {
    size_t first = at + (p->text[at] == ' '), end = ascii_letters_end(p, first);
    return end > first && (end == p->len || (unsigned char)p->text[end] < 0x80) ? end : at;
}

/* The same of capitals and then small letters. */
static inline size_t plain_cased_end(const struct piece *p, size_t at) {
    size_t first = at + (p->text[at] == ' '), end = first;
    while (end < p->len && (unsigned char)(p->text[end] - 'A') < 26) end++;
    end = small_letters_end(p, end, 0);
    return end > first && (end == p->len || (unsigned char)p->text[end] < 0x80) ? end : at;
}

/* The end of the run of these classes that begins at `at` (or before it). */
static inline size_t run_end(const struct piece *p, size_t at, unsigned classes) {
    for (size_t n; at < p->len && is_in(classes, class_at(p, at, &n)); at += n) {}
    return at;
}

/* The same for classes that hold all letters. */
static inline size_t letters_end(const struct piece *p, size_t at, unsigned classes) {
    at = ascii_letters_end(p, at);
    return at < p->len && (unsigned char)p->text[at] >= 0x80 ? run_end(p, at, classes) : at;
}

/* The end of 's 't 're 've 'm 'll 'd at `at`; `at` if there is none. Caseless, U+017F (long s) is an s. */
static size_t contraction_end(const struct piece *p, size_t at, bool caseless) {
    const char *c = p->text + at;
    size_t left = p->len - at;
    if (left < 2 || c[0] != '\'') return at;
    if (caseless && left >= 3 && memcmp(c + 1, "\xC5\xBF", 2) == 0) return at + 3;
    char fold = caseless ? 0x20 : 0;
    char a = is_ascii_letter(c[1]) ? (char)(c[1] | fold) : 0;
    if (a == 's' || a == 't' || a == 'm' || a == 'd') return at + 2;
    char b = left >= 3 && is_ascii_letter(c[2]) ? (char)(c[2] | fold) : 0;
    if ((a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l')) return at + 3;
    return at;
}

/* UPPER* LOWER+ (`*mixed`) and UPPER+ LOWER* (`*upper`) at `at`: their ends, or `at` where they do not match.
 * UPPER* takes all it can, then gives back until a LOWER follows: marks and letters without case are both. */
static void cased_ends(const struct piece *p, size_t at, size_t *mixed, size_t *upper) {
    size_t end = at, both_end = at, n;
    for (unsigned class; end < p->len && is_in(UPPER, class = class_at(p, end, &n)); end += n)
        if (is_in(LOWER, class)) both_end = end + n;
    *upper = end;
    size_t lower = run_end(p, end, LOWER);
    *mixed = lower > end ? lower : both_end;
}

static size_t cased_word_end(const struct word_rules *rules, const struct piece *p, size_t at) {
    size_t n, mixed[2], upper[2] = {at, at}; /* without and with the prefix */
    unsigned class = class_at(p, at, &n);
    cased_ends(p, at, &mixed[0], &upper[0]);
    size_t end = at;
    if (is_in(rules->prefix, class)) {
        cased_ends(p, at + n, &mixed[1], &upper[1]);
        if (mixed[1] > at + n)
            end = mixed[1];
        else if (mixed[0] > at)
            end = mixed[0];
        else if (upper[1] > at + n)
            end = upper[1];
    } else if (mixed[0] > at) {
        end = mixed[0];
    }
    if (end == at) end = upper[0];
    if (end > at && rules->contraction == CONTRACTION_SUFFIX) end = contraction_end(p, end, true);
    return end;
}

/* \s*[\r\n]+|\s+(?!\S)|\s+ or the last two */
static size_t space_end(const struct word_rules *rules, const struct piece *p, size_t at) {
    size_t end = at, last = at, newline = at, n;
    for (unsigned class; end < p->len && is_in(SPACES, class = class_at(p, end, &n)); end += n) {
        last = end;
        if (class == CHAR_NEWLINE) newline = end + n;
    }
    if (rules->line_ends && newline > at) return newline;
    if (rules->lone_numbers && end < p->len && class_at(p, end, &n) == CHAR_NUMBER) return end;
    return end < p->len && last > at ? last : end;
}

static size_t others_end(const struct word_rules *rules, const struct piece *p, size_t at) {
    size_t end = run_end(p, at, rules->others);
    if (rules->line_ends && end > at)
        while (end < p->len &&
               (p->text[end] == '\n' || p->text[end] == '\r' || (rules->slash_ends && p->text[end] == '/')))
            end++;
    return end;
}

static size_t number_end(const struct piece *p, size_t at, unsigned max) {
    size_t n;
    for (unsigned digits = 0; digits < max && at < p->len && class_at(p, at, &n) == CHAR_NUMBER; digits++)
        at += n;
    return at;
}

/* The end of the first alternative that matches at `at`, or `at`. */
static size_t word_end(const struct word_rules *rules, const struct piece *p, size_t at) {
    char c = p->text[at];
    size_t plain = rules->cased ? plain_cased_end(p, at) : plain_word_end(p, at);
    if (plain > at) return rules->contraction == CONTRACTION_SUFFIX ? contraction_end(p, plain, true) : plain;
    if (c == '\'' &&
        (rules->contraction == CONTRACTION_EXACT || rules->contraction == CONTRACTION_CASELESS)) {
        size_t end = contraction_end(p, at, rules->contraction == CONTRACTION_CASELESS);
        if (end > at) return end;
    }
    size_t n, next_n = 0, next;
    unsigned class = class_at(p, at, &n);
    if (rules->ascii_words && (class == CHAR_PUNCTUATION || class == CHAR_SYMBOL) &&
        (unsigned char)c < 0x80) {
        size_t end = at + 1;
        while (end < p->len && is_ascii_letter(p->text[end])) end++;
        if (end > at + 1) return end;
    }
    if (rules->cased) {
        size_t end = cased_word_end(rules, p, at);
        if (end > at) return end;
    } else if (is_in(rules->letters, class)) {
        return letters_end(p, at + n, rules->letters);
    }
    next = at + n;
    unsigned next_class = next < p->len ? class_at(p, next, &next_n) : CHAR_SPACE;
    if (!rules->cased && (is_in(rules->prefix, class) || c == ' ') && is_in(rules->letters, next_class))
        return letters_end(p, next + next_n, rules->letters);
    if (class == CHAR_NUMBER) {
        if (rules->space_numbers) return run_end(p, next, BIT(NUMBER));
        if (rules->max_digits) return number_end(p, at, rules->max_digits);
    }
    if (c == ' ' && rules->space_numbers && next_class == CHAR_NUMBER) return run_end(p, next, BIT(NUMBER));
    if (c == ' ' && is_in(rules->others, next_class)) return others_end(rules, p, next);
    if (is_in(rules->others, class)) return others_end(rules, p, at);
    if (is_in(SPACES, class)) return space_end(rules, p, at);
    return at;
}

static bool set_holds(const struct pre_step *step, uint32_t c) {
    unsigned info = char_lookup(c);
    if (is_in(step->classes, info & CHAR_CLASS_MASK) || (info & step->flags)) return true;
    for (const struct range *r = step->ranges; r && r->last; r++)
        if (c >= r->first && c <= r->last) return true;
    return false;
}

static inline bool is_in_set(const struct pre_step *step, const struct piece *p, size_t at, size_t *n) {
    unsigned char c = (unsigned char)p->text[at];
    *n = 1;
    return c < 0x80 ? step->bytes[c] & BYTE_IN_SET
                    : set_holds(step, char_decode(p->text + at, p->len - at, n));
}

static void prepare_run(struct pre_step *step) {
    step->first = 0x80;
    step->last = 0x7F;
    for (uint8_t c = 0; c < 128; c++) {
        bool in = set_holds(step, c), space = is_in(SPACES, char_lookup(c) & CHAR_CLASS_MASK);
        step->bytes[c] =
            (uint8_t)((in ? BYTE_IN_SET : 0) | (in || (space && step->space_before) ? BYTE_MAY_BEGIN : 0));
        if (!(step->bytes[c] & BYTE_MAY_BEGIN)) continue;
        if (step->first == 0x80) step->first = c;
        step->last = c;
    }
    memset(step->bytes + 128, BYTE_MAY_BEGIN, 128);
}

static bool passes_plain(const struct pre_step *step) {
    bool passes = step->kind == STEP_RUN && !(step->bytes[' '] & BYTE_IN_SET);
    for (int c = 'A'; c <= 'z' && passes; c++)
        if (is_ascii_letter((char)c) && step->bytes[c] & BYTE_IN_SET) passes = false;
    return passes;
}

static void prepare(void) {
    for (int i = 0; i < COUNT(pre_tokenizers); i++) {
        bool passes = true;
        for (int k = pre_tokenizers[i].n_steps - 1; k >= 0; k--) {
            struct pre_step *step = &pre_tokenizers[i].steps[k];
            if (step->kind == STEP_RUN) prepare_run(step);
            step->plain = step->kind == STEP_WORDS && !step->words->cased && passes;
            passes = passes && passes_plain(step);
        }
    }
}

const struct pre_tokenizer *pre_tokenizer_find(const char *name, size_t len) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, prepare);
    for (int i = 0; i < COUNT(pre_tokenizers); i++)
        for (int n = 0; n < COUNT(pre_tokenizers[i].names) && pre_tokenizers[i].names[n]; n++) {
            const char *known = pre_tokenizers[i].names[n];
            if (strlen(known) == len && memcmp(known, name, len) == 0) return &pre_tokenizers[i];
        }
    return NULL;
}

/* \s?set{min,max} at `at`: true and its end, or false and where to look next. */
static bool run_match(const struct pre_step *step, const struct piece *p, size_t at, size_t *end) {
    size_t n, from = at;
    bool found = is_in_set(step, p, at, &n);
    *end = at + n;
    if (!found && step->space_before && is_in(SPACES, class_at(p, at, &n)) && at + n < p->len) {
        from = at + n;
        found = is_in_set(step, p, from, &n);
    }
    if (!found) return false;
    uint32_t count = 1, max = step->max ? step->max : UINT32_MAX;
    size_t to = from + n;
    for (; count < max && to < p->len && is_in_set(step, p, to, &n); to += n) count++;
    if (count < step->min) return false;
    *end = to;
    return true;
}

static bool step_match(const struct pre_step *step, const struct piece *p, size_t at, size_t *end) {
    size_t n;
    *end = at;
    switch (step->kind) {
    case STEP_RUN: return run_match(step, p, at, end);
    case STEP_TRAILING_SPACE: /* \s+$ */
        *end = run_end(p, at, SPACES);
        if (*end > at && *end == p->len) return true;
        break;
    case STEP_WORDS:
        *end = word_end(step->words, p, at);
        if (*end > at) return true;
        break;
    }
    if (*end == at) {
        class_at(p, at, &n);
        *end = at + n;
    }
    return false;
}

/* Pass over bytes that cannot begin a match: eight at a time while none is beyond ASCII or in the range that
 * holds all that can, as small_letters_end() does. */
static inline size_t skip_bytes(const struct pre_step *step, const struct piece *p, size_t at) {
    const uint64_t below = (0x80u - step->first) * ONES, beyond = (0x7Fu - step->last) * ONES;
    for (uint64_t eight; p->len - at >= 8; at += 8) {
        memcpy(&eight, p->text + at, 8);
        uint64_t ascii = eight & ~TOPS;
        if ((((ascii + below) & ~(ascii + beyond)) | eight) & TOPS) break;
    }
    while (at < p->len && !(step->bytes[(unsigned char)p->text[at]] & BYTE_MAY_BEGIN)) at++;
    return at;
}

/* The steps from `step` on, over one piece. Recursion is as deep as there are steps. */
static void split(const struct pre_tokenizer *pre, int step, struct piece p, pre_word *word, void *context) {
    if (step == pre->n_steps) {
        word(context, p.text, p.len);
        return;
    }
    const struct pre_step *s = &pre->steps[step];
    size_t at = 0, gap = 0, end = 0;
    while (at < p.len) {
        if (s->kind == STEP_RUN) at = skip_bytes(s, &p, at);
        if (at == p.len) break;
        if (at == gap && s->plain && (end = plain_word_end(&p, at)) > at) {
            word(context, p.text + at, end - at);
            at = gap = end;
            continue;
        }
        if (step_match(s, &p, at, &end)) {
            if (at > gap) split(pre, step + 1, (struct piece){p.text + gap, at - gap}, word, context);
            split(pre, step + 1, (struct piece){p.text + at, end - at}, word, context);
            gap = end;
        }
        at = end;
    }
    if (at > gap) split(pre, step + 1, (struct piece){p.text + gap, at - gap}, word, context);
}

/* What lies between two words of letters: steps 2 and later. Most often it is one character, or ASCII
 * punctuation after a space or nothing, which step 2 takes whole and no later step cuts. */
static void split_gap(const struct pre_tokenizer *pre, struct piece p, pre_word *word, void *context) {
    const struct pre_step *marks = &pre->steps[2];
    size_t at = p.len > 1 && p.text[0] == ' ';
    while (at < p.len && (unsigned char)p.text[at] < 0x80 &&
           (marks->bytes[(unsigned char)p.text[at]] & BYTE_IN_SET))
        at++;
    if (at == p.len || (p.len == 1 && (unsigned char)p.text[0] < 0x80))
        word(context, p.text, p.len);
    else
        split(pre, 2, p, word, context);
}

/* Steps 0 (newlines, each alone) and 1 (\s?letters+) in one scan: neither looks back, and no match of the
 * second holds a newline. A word of ASCII letters is one that no later step cuts. */
static void split_lines_letters(const struct pre_tokenizer *pre, struct piece p, pre_word *word,
                                void *context) {
    size_t at = 0, gap = 0, end;
    while (at < p.len) {
        bool newline = p.text[at] == '\n' || p.text[at] == '\r';
        end = newline ? at + 1 : plain_word_end(&p, at);
        bool whole = end > at;
        if (!whole && !run_match(&pre->steps[1], &p, at, &end)) {
            at = end;
            continue;
        }
        if (at > gap) split_gap(pre, (struct piece){p.text + gap, at - gap}, word, context);
        if (whole)
            word(context, p.text + at, end - at);
        else
            split(pre, 2, (struct piece){p.text + at, end - at}, word, context);
        at = gap = end;
    }
    if (at > gap) split_gap(pre, (struct piece){p.text + gap, at - gap}, word, context);
}

void pre_tokenize(const struct pre_tokenizer *pre, const char *text, size_t len, pre_word *word,
                  void *context) {
    if (pre->letters_second) {
        split_lines_letters(pre, (struct piece){text, len}, word, context);
        return;
    }
    if (pre->n_steps == 1 && pre->steps[0].kind == STEP_WORDS) { /* the common case, without a call a word */
        struct piece p = {text, len};
        for (size_t at = 0, end; at < len; at = end) {
            end = word_end(pre->steps[0].words, &p, at);
            word(context, text + at, end - at);
        }
        return;
    }
    split(pre, 0, (struct piece){text, len}, word, context);
}
