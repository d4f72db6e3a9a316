/* Cutting text into words, as the pre-tokenizer of a model does it before byte-pair encoding; no pair is ever
 * merged across two words.
 *
 * The models publish their pre-tokenizers as lists of regular expressions. Each expression cuts every piece
 * that the one before it left into its matches and what lies between them. Here each is a hand-written
 * scanner over character classes, linear in the text, with no recursion that depends on it. */
#ifndef LOGITOP_TOKENIZER_PRETOKENIZE_H
#define LOGITOP_TOKENIZER_PRETOKENIZE_H

#include <stdbool.h>
#include <stddef.h>

struct pre_step;

struct pre_tokenizer {
    const char *names[3]; /* tokenizer.ggml.pre; NULL where fewer */
    struct pre_step *steps;
    int n_steps;
    bool nfc;           /* the model's tokenizer brings text into normal form C first */
    bool ignore_merges; /* a whole word that is a token is that token, whatever the merges say */
    bool add_bos;       /* where the file does not say */
    /* Step 0 is a newline alone, 1 is \s?letters+, 2 is \s?marks+, and no later step cuts ASCII letters or
     * marks: made in one scan. */
    bool letters_second;
};

/* NULL: unknown. Static data; any thread. */
const struct pre_tokenizer *pre_tokenizer_find(const char *name, size_t len);

/* Called with each word in order. The words make up the text without gaps; none is empty. */
typedef void pre_word(void *context, const char *word, size_t len);
void pre_tokenize(const struct pre_tokenizer *pre, const char *text, size_t len, pre_word *word,
                  void *context);

#endif
