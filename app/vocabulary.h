/* Which vocabulary ids belong to: what a model sampled means nothing to a model with another one. */
#ifndef LOGITOP_APP_VOCABULARY_H
#define LOGITOP_APP_VOCABULARY_H

#include "infer/engine.h"

/* A fingerprint of the texts of all ids, never 0; the same on every machine: it may be stored. The engine is
 * ready. */
uint64_t vocabulary_fingerprint(struct engine *engine);

#endif
