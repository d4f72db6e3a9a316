/* Writing a GGUF container (version 3): keys and F32 tensors, streamed, for what `logits` and `trace` give
 * out.
 *
 * Keys and tensors are declared first, then the tensors' values are written in the order of declaration, in
 * any portions. One thread. The file appears under its name when writer_end() succeeds; before that it is a
 * temporary file beside it. */
#ifndef LOGITOP_INFER_GGUF_WRITE_H
#define LOGITOP_INFER_GGUF_WRITE_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

struct gguf_writer;

int writer_begin(const char *path, struct gguf_writer **out, struct err *err);
void writer_string(struct gguf_writer *writer, const char *key, const char *value);
void writer_u32(struct gguf_writer *writer, const char *key, uint32_t value);
void writer_i32s(struct gguf_writer *writer, const char *key, const int32_t *values, size_t n);
/* dims: fastest first; 1 to 4 of them, none 0. */
void writer_tensor(struct gguf_writer *writer, const char *name, const uint64_t *dims, uint32_t n_dims);
/* The next n values. The header is written before the first of them. Failures are kept for writer_end(). */
void writer_values(struct gguf_writer *writer, const float *values, size_t n);
/* Close, and give the file its name. Frees in any case. */
int writer_end(struct gguf_writer *writer, struct err *err);
void writer_abandon(struct gguf_writer *writer); /* instead of end: leaves no file. NULL is fine */

#endif
