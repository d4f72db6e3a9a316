/* Unicode normal form C, as far as text is text: bytes that are no character are left as they are. */
#ifndef LOGITOP_TOKENIZER_NORMALIZE_H
#define LOGITOP_TOKENIZER_NORMALIZE_H

#include <stdbool.h>
#include <stddef.h>

struct buf;

/* False: text[0..len) is in normal form C (nothing written). True: `out` now ends with its normal form.
 * Linear in len but for n log n over one run of combining marks. */
bool normalize_nfc(const char *text, size_t len, struct buf *out);

#endif
