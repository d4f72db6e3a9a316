#include "app/transcript.h"

#include "app/out.h"

#include <string.h>
#include <unistd.h>

void transcript_print(struct chat *chat) {
    enum { TRANSCRIPT_MAX = 256 * 1024, LINE_NEAR = 4096 };
    struct buf clean = {0};
    conversation_print(&chat->conversation, &chat->earlier);
    const char *text = chat->earlier.data;
    size_t len = chat->earlier.len;
    if (len > TRANSCRIPT_MAX) {
        size_t skip = len - TRANSCRIPT_MAX;
        const char *newline = memchr(text + skip, '\n', LINE_NEAR);
        if (newline) skip = (size_t)(newline + 1 - text);
        while (skip < len && ((unsigned char)text[skip] & 0xC0) == 0x80) skip++;
        buf_puts(&clean, "... (the beginning is left out)\n");
        text += skip;
        len -= skip;
    }
    text_sanitize(&clean, text, len);
    struct out out;
    out_open(&out, STDOUT_FILENO);
    out_bytes(&out, clean.data, clean.len, NULL);
    buf_free(&clean);
}
