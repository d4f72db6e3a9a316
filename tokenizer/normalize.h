/* Unicode normal form C, as far as text is text: bytes that are no character are left as they are. */
#ifndef LOGITOP_TOKENIZER_NORMALIZE_H
#define LOGITOP_TOKENIZER_NORMALIZE_H

#include <stdbool.h>
#include <stddef.h>

struct buf;
struct offsets;

/* False: text[0..len) is in normal form C (nothing written). True: `out` now ends with its normal form, and
 * `ends`, if not NULL, tells of each byte of it where in the text ends what it came from. Linear in len but
 * for n log n over one run of combining marks. */
bool normalize_nfc(const char *text, size_t len, struct buf *out, struct offsets *ends);

#endif
