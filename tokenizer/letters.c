/* GPT-2 writes every byte of a token as one visible letter: printable bytes of Latin-1 as themselves, the
 * others, in order, as U+0100 and on (bytes_to_unicode() in GPT-2's encoder.py). */
#include "base/utf8.h"
#include "tokenizer/internal.h"

static bool is_plain(uint32_t c) {
    return (c >= 0x21 && c <= 0x7E) || (c >= 0xA1 && c <= 0xAC) || (c >= 0xAE && c <= 0xFF);
}

enum { FIRST_OTHER = 0x100, N_OTHERS = 68 };

/* The n-th byte that is not plain: 00..20, 7F..A0, AD. */
static int other_byte(uint32_t n) {
    if (n <= 0x20) return (int)n;
    if (n <= 0x20 + 0x22) return (int)(n - 0x21 + 0x7F);
    return 0xAD;
}

static uint32_t other_number(unsigned char byte) {
    if (byte <= 0x20) return byte;
    if (byte <= 0xA0) return byte - 0x7Fu + 0x21u;
    return N_OTHERS - 1;
}

size_t byte_letter(unsigned char byte, char out[2]) {
    char utf8[4];
    size_t n = (size_t)utf8_encode(is_plain(byte) ? byte : FIRST_OTHER + other_number(byte), utf8);
    out[0] = utf8[0];
    if (n > 1) out[1] = utf8[1];
    return n;
}

int letter_byte(uint32_t c) {
    if (is_plain(c)) return (int)c;
    return c >= FIRST_OTHER && c < FIRST_OTHER + N_OTHERS ? other_byte(c - FIRST_OTHER) : -1;
}
