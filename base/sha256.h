/* SHA-256 (FIPS 180-4), in portions. */
#ifndef LOGITOP_BASE_SHA256_H
#define LOGITOP_BASE_SHA256_H

#include <stddef.h>
#include <stdint.h>

enum { SHA256_HEX = 65 }; /* 64 digits of lower-case hexadecimal and a NUL */

struct sha256 {
    uint32_t h[8];
    uint64_t len; /* bytes so far */
    uint8_t block[64];
};

void sha256_begin(struct sha256 *sha);
void sha256_add(struct sha256 *sha, const void *bytes, size_t len);
void sha256_end(struct sha256 *sha,
                char out[static SHA256_HEX]); /* to be begun again before it is used again */

void sha256_hex(const void *bytes, size_t len, char out[static SHA256_HEX]); /* of one run of bytes */

#endif
