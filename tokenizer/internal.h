/* What the files of this folder share; nobody else includes it. */
#ifndef LOGITOP_TOKENIZER_INTERNAL_H
#define LOGITOP_TOKENIZER_INTERNAL_H

#include "tokenizer/pretokenize.h"
#include "tokenizer/tokenizer.h"

#include "base/strmap.h"

/* Which pair of tokens becomes which token, and how early: a hash table, read-only once built. */
struct pair_slot {
    uint64_t key;  /* left id in the upper half, right id in the lower; PAIR_FREE: none */
    uint32_t rank; /* lower is merged first */
    int32_t id;
};
#define PAIR_FREE UINT64_MAX

struct merges {
    struct pair_slot *slots;
    uint64_t seed;
    unsigned shift; /* the table has 2^(64-shift) slots */
    size_t n_slots, n_used;
};

void merges_init(struct merges *merges, size_t n_pairs);
bool merges_add(struct merges *merges, int32_t left, int32_t right, uint32_t rank,
                int32_t id); /* false: known */
void merges_free(struct merges *merges);

/* Memory for merging words of any length; zero it to begin. */
struct merge_space {
    int32_t *id;    /* of the symbol that begins here, -1 where it was merged into the one before */
    int32_t *to;    /* what it and the next symbol become */
    uint32_t *rank; /* of that pair, RANK_NONE: no merge */
    uint32_t *next, *prev;
    uint64_t *heap; /* rank in the upper half, position in the lower */
    size_t cap, heap_cap;
};

int32_t *merge_symbols(struct merge_space *space,
                       size_t n); /* room for n symbols, to be filled by the caller */
/* Merge the n symbols of merge_symbols() in place, lowest rank first, leftmost of equal ones; the ids that
 * are left, and how many. n log n. */
size_t merge_run(const struct merges *merges, struct merge_space *space, size_t n);
void merge_space_free(struct merge_space *space);

/* Added tokens (control and user-defined), found in text by a trie: the longest that begins at a position. */
struct added_node {
    uint32_t next;  /* sibling, 0: none */
    uint32_t child; /* first child, 0: none */
    int32_t id;     /* of the token that ends here, -1: none */
    unsigned char byte;
};

struct added {
    struct added_node *nodes; /* nodes[0] is not used */
    size_t n, cap;
    uint32_t first[256]; /* the root's children by byte, 0: none */
    int n_first;         /* how many there are */
    char one_first;      /* the last one added */
};

void added_add(struct added *added, const char *text, size_t len, int32_t id);
void added_free(struct added *added);

enum tokenizer_kind {
    KIND_BYTES,  /* "gpt2": tokens are bytes in the letters of GPT-2, words come from a pre-tokenizer */
    KIND_SCORES, /* "llama": tokens are text with U+2581 for space, merged by their scores */
    KIND_GEMMA4, /* "gemma4": such tokens, merged by a list, in lines */
};

enum token_flag {
    FLAG_END = 1,   /* ends an answer */
    FLAG_STRIP = 2, /* takes the white space after it with it (phi-3) */
};

struct tokenizer {
    enum tokenizer_kind kind;
    const struct pre_tokenizer *pre; /* KIND_BYTES */
    uint32_t n_tokens, n_vocab;
    struct strmap by_text; /* keys are the source's */
    uint8_t *types;        /* enum token_type */
    uint8_t *flags;        /* enum token_flag */
    char *bytes;           /* what each token says, one after the other */
    uint32_t *bytes_at;    /* [n_tokens + 1] into `bytes` */
    struct merges merges;
    int32_t byte_ids[256]; /* the token of a single byte, -1: none */
    int32_t space_id;      /* U+2581, -1: none */
    /* Not KIND_BYTES: joins[x][y] if some token has a character that ends in byte x before one that begins
     * with y, where U+2581 counts as ' '. Between any others a text can be cut without losing a merge. */
    bool joins[256][256];
    int32_t ascii_ids[128]; /* not KIND_BYTES: tokens of one ASCII character, -1: none */
    struct added added;
    int32_t bos, eos;
    bool add_bos, space_prefix;
};

/* The longest added token that text[0..len) begins with, and its length; -1: none. Control tokens only if
 * asked for. */
int32_t added_match(const struct tokenizer *tokenizer, const char *text, size_t len, bool control,
                    size_t *matched);

/* The next place in text[at..end) where an added token may begin, or end. */
size_t added_next(const struct added *added, const char *text, size_t at, size_t end);

/* The token with this text if merging may make it: a normal one, or a user-defined one of white space only,
 * and no padding; else -1. */
int32_t text_token(const struct tokenizer *tokenizer, const char *text, size_t len);

/* GPT-2's letter for a byte, in UTF-8: 1 or 2 bytes, returns how many. And back: -1 if no letter. */
size_t byte_letter(unsigned char byte, char out[2]);
int letter_byte(uint32_t code_point);

#define SPACE_MARK "\xE2\x96\x81" /* U+2581, in place of a space */

#endif
