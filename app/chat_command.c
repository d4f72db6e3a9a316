#include "app/chat_command.h"

#include "app/out.h"
#include "app/plain.h"
#include "app/screen.h"
#include "app/signals.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int chat_command(struct options *options, struct err *err) {
    int status = signals_open(err);
    if (status < 0) return status;
    bool terminal = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
    if (!terminal || options->raw || options->json || options->jsonl) return plain_answer(options, err);
    const char *term = getenv("TERM"), *accessible = getenv("ACCESSIBLE");
    if (accessible && *accessible && strcmp(accessible, "0")) options->accessible = true;
    if (options->accessible) return plain_lines(options, err);
    if (!term || !*term || strcmp(term, "dumb") == 0) return plain_lines(options, err);
    status = screen_chat(options, err);
    if (status != STATUS_UNSUPPORTED) return status;
    out_error("%s", err->text);
    return plain_lines(options, err);
}
