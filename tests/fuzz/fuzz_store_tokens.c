/* Any bytes as token records of a database: what can be read is the same after writing and reading it again.
 */
#include "store/tokens.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct store_token *tokens = NULL, *again = NULL;
    size_t n = 0, cap = 0, n_again = 0, cap_again = 0;
    struct arena arena = {0};
    struct buf blob = {0};
    tokens_decode(data, size, &arena, &tokens, &n, &cap, NULL);
    if (n) {
        tokens_encode(&blob, tokens, n);
        if (tokens_decode(blob.data, blob.len, &arena, &again, &n_again, &cap_again, NULL) < 0 ||
            n != n_again)
            abort();
        for (size_t i = 0; i < n; i++)
            if (tokens[i].id != again[i].id || memcmp(&tokens[i].ms, &again[i].ms, 5 * sizeof(float)) ||
                tokens[i].n_top != again[i].n_top ||
                (tokens[i].n_top &&
                 memcmp(tokens[i].top, again[i].top, tokens[i].n_top * sizeof *tokens[i].top)))
                abort();
    }
    free(tokens);
    free(again);
    buf_free(&blob);
    arena_free(&arena);
    return 0;
}
