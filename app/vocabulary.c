#include "app/vocabulary.h"

/* FNV-1a, 64 bits (http://www.isthe.com/chongo/tech/comp/fnv/), over length and bytes of each token. */
uint64_t vocabulary_fingerprint(struct engine *engine) {
    uint64_t hash = 0xcbf29ce484222325;
    uint32_t n = engine->ops->info(engine)->n_vocab;
    for (uint32_t id = 0; id < n; id++) {
        size_t len;
        const char *text = engine->ops->token_text(engine, (int32_t)id, &len);
        hash = (hash ^ (len & 0xff)) * 0x100000001b3;
        for (size_t i = 0; i < len; i++) hash = (hash ^ (unsigned char)text[i]) * 0x100000001b3;
    }
    return hash ? hash : 1;
}
