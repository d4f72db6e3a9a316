#include "base/sha256.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#if defined __x86_64__
#include <cpuid.h>
#include <immintrin.h>
#endif

static const uint32_t k[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

static uint32_t rotate(uint32_t x, int n) {
    return x >> n | x << (32 - n);
}

static void add_blocks_plain(uint32_t h[8], const uint8_t *block, size_t n) {
    for (; n > 0; n--, block += 64) {
        uint32_t w[64], a = h[0], b = h[1], c = h[2], d = h[3], e = h[4], f = h[5], g = h[6], last = h[7];
        for (int i = 0; i < 16; i++)
            w[i] = (uint32_t)block[4 * i] << 24 | (uint32_t)block[4 * i + 1] << 16 |
                   (uint32_t)block[4 * i + 2] << 8 | block[4 * i + 3];
        for (int i = 16; i < 64; i++) {
            uint32_t x = w[i - 15], y = w[i - 2];
            w[i] = w[i - 16] + (rotate(x, 7) ^ rotate(x, 18) ^ x >> 3) + w[i - 7] +
                   (rotate(y, 17) ^ rotate(y, 19) ^ y >> 10);
        }
        for (int i = 0; i < 64; i++) {
            uint32_t t1 =
                last + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) + ((e & f) ^ (~e & g)) + k[i] + w[i];
            uint32_t t2 = (rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
            last = g, g = f, f = e, e = d + t1, d = c, c = b, b = a, a = t1 + t2;
        }
        h[0] += a, h[1] += b, h[2] += c, h[3] += d, h[4] += e, h[5] += f, h[6] += g, h[7] += last;
    }
}

#if defined __x86_64__
/* The processor's own instructions (Intel SDM, SHA256RNDS2), many times as fast: the state is held as ABEF
 * and CDGH. */
__attribute__((target("sha,sse4.1"))) static void add_blocks_sha(uint32_t h[8], const uint8_t *block,
                                                                 size_t n) {
    const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0bLL, 0x0405060700010203LL);
    __m128i abcd = _mm_shuffle_epi32(_mm_loadu_si128((const void *)h), 0xB1);
    __m128i efgh = _mm_shuffle_epi32(_mm_loadu_si128((const void *)(h + 4)), 0x1B);
    __m128i abef = _mm_alignr_epi8(abcd, efgh, 8), cdgh = _mm_blend_epi16(efgh, abcd, 0xF0);
    for (; n > 0; n--, block += 64) {
        __m128i w[4], kept_abef = abef, kept_cdgh = cdgh;
        for (int i = 0; i < 16; i++) { /* four rounds each */
            __m128i *now = &w[i & 3], before = w[(i + 3) & 3];
            if (i < 4)
                *now = _mm_shuffle_epi8(_mm_loadu_si128((const void *)(block + 16 * i)), swap);
            else
                *now = _mm_sha256msg2_epu32(_mm_add_epi32(_mm_sha256msg1_epu32(*now, w[(i + 1) & 3]),
                                                          _mm_alignr_epi8(before, w[(i + 2) & 3], 4)),
                                            before);
            __m128i sum = _mm_add_epi32(*now, _mm_loadu_si128((const void *)(k + 4 * i)));
            cdgh = _mm_sha256rnds2_epu32(cdgh, abef, sum);
            abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(sum, 0x0E));
        }
        abef = _mm_add_epi32(abef, kept_abef);
        cdgh = _mm_add_epi32(cdgh, kept_cdgh);
    }
    __m128i feba = _mm_shuffle_epi32(abef, 0x1B), dchg = _mm_shuffle_epi32(cdgh, 0xB1);
    _mm_storeu_si128((void *)h, _mm_blend_epi16(feba, dchg, 0xF0));
    _mm_storeu_si128((void *)(h + 4), _mm_alignr_epi8(dchg, feba, 8));
}

static bool has_sha(void) {
    unsigned a, b, c, d;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) && b >> 29 & 1 && __builtin_cpu_supports("sse4.1");
}
#endif

static void add_blocks(uint32_t h[8], const uint8_t *block, size_t n) {
#if defined __x86_64__
    static int known; /* 0: not asked yet; every thread finds the same */
    if (!__atomic_load_n(&known, __ATOMIC_RELAXED))
        __atomic_store_n(&known, has_sha() ? 1 : -1, __ATOMIC_RELAXED);
    if (__atomic_load_n(&known, __ATOMIC_RELAXED) > 0) {
        add_blocks_sha(h, block, n);
        return;
    }
#endif
    add_blocks_plain(h, block, n);
}

void sha256_begin(struct sha256 *sha) {
    *sha = (struct sha256){.h = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c,
                                 0x1f83d9ab, 0x5be0cd19}};
}

void sha256_add(struct sha256 *sha, const void *bytes, size_t len) {
    const uint8_t *at = bytes;
    size_t held = sha->len % 64, room = 64 - held;
    sha->len += len;
    if (held && len >= room) {
        memcpy(sha->block + held, at, room);
        add_blocks(sha->h, sha->block, 1);
        at += room;
        len -= room;
        held = 0;
    }
    if (!held) {
        add_blocks(sha->h, at, len / 64);
        at += len / 64 * 64;
        len %= 64;
    }
    if (len) memcpy(sha->block + held, at, len);
}

void sha256_end(struct sha256 *sha, char out[static SHA256_HEX]) {
    uint8_t tail[72] = {0x80};
    uint64_t bits = sha->len * 8;
    size_t held = sha->len % 64, pad = (held < 56 ? 56 : 120) - held;
    for (size_t i = 0; i < 8; i++) tail[pad + 7 - i] = (uint8_t)(bits >> 8 * i);
    sha256_add(sha, tail, pad + 8);
    for (int i = 0; i < 8; i++) snprintf(out + 8 * i, 9, "%08x", sha->h[i]);
}

void sha256_hex(const void *bytes, size_t len, char out[static SHA256_HEX]) {
    struct sha256 sha;
    sha256_begin(&sha);
    sha256_add(&sha, bytes, len);
    sha256_end(&sha, out);
}
