/* What file names tell: quantisation, the number of a shard, and that a file is no model. */
#include "models/list.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* A word that names an element type: Q4_K_M, IQ2_XXS, TQ1_0, MXFP4, F16, BF16, FP16. */
static bool is_quant(const char *word, size_t n) {
    static const char *const whole[] = {"F16", "BF16", "F32", "FP16", "FP32", "MXFP4", "MXFP4_MOE"};
    if (n + 1 > QUANT_MAX) return false;
    for (size_t i = 0; i < sizeof whole / sizeof *whole; i++)
        if (strlen(whole[i]) == n && strncasecmp(word, whole[i], n) == 0) return true;
    size_t at = n > 1 && strchr("IiTt", word[0]) ? 1 : 0;
    return n >= at + 2 && toupper((unsigned char)word[at]) == 'Q' && isdigit((unsigned char)word[at + 1]) &&
           (n == at + 2 || word[at + 2] == '_');
}

bool model_name_quant(const char *file_name, char out[static QUANT_MAX]) {
    bool found = false;
    for (const char *word = file_name; *word;) {
        size_t n = strcspn(word, "-./");
        if (is_quant(word, n)) {
            for (size_t i = 0; i < n; i++) out[i] = (char)toupper((unsigned char)word[i]);
            out[n] = '\0';
            found = true;
        }
        word += n + (word[n] != '\0');
    }
    return found;
}

bool model_name_shard(const char *file_name, unsigned *number, unsigned *count, size_t *stem) {
    enum { TAIL = sizeof "-00001-of-00002.gguf" - 1 };
    size_t n = strlen(file_name);
    if (n <= TAIL) return false;
    const char *tail = file_name + n - TAIL;
    for (int i = 0; i < 5; i++)
        if (!isdigit((unsigned char)tail[1 + i]) || !isdigit((unsigned char)tail[10 + i])) return false;
    if (tail[0] != '-' || strncmp(tail + 6, "-of-", 4) || strcmp(tail + 15, ".gguf")) return false;
    sscanf(tail, "-%5u-of-%5u", number, count);
    *stem = n - TAIL;
    return *number >= 1 && *number <= *count;
}

/* The list is llama.cpp's (common/hf-cache.cpp and its callers). */
bool model_name_hidden(const char *file_name) {
    static const char *const beginnings[] = {"mtp-", "eagle3-", "dflash-", "dspark-"};
    if (strcasestr(file_name, "mmproj") || strcasestr(file_name, "imatrix")) return true;
    for (size_t i = 0; i < sizeof beginnings / sizeof *beginnings; i++)
        if (strncasecmp(file_name, beginnings[i], strlen(beginnings[i])) == 0) return true;
    return false;
}
