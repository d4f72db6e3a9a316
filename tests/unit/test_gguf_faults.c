/* Every kind of fault a model file can have, made from a good file: refused with the line that names it. */
#include "infer/model.h"
#include "tests/unit/gguf_maker.h"

#include <math.h>
#include <sys/stat.h>

#define QWEN2 "qwen2-oldpads"
#define QWEN3 "qwen3-trace"
#define LLAMA "llama3-scaled-q8_0"

typedef void edit_fn(struct maker *m);

static void set_float(struct maker *m, const char *tensor, size_t at, float value) {
    memcpy(maker_tensor(m, tensor)->data.data + at * sizeof value, &value, sizeof value);
}

static void set_i32s(struct maker *m, const char *key, int32_t a, int32_t b, size_t n) {
    maker_array(m, key, 5, n, (int32_t[]){a, b}, n * sizeof a);
}

static void swap(struct made_tensor *t) {
    uint64_t dim = t->dims[0];
    t->dims[0] = t->dims[1];
    t->dims[1] = dim;
}

#define EDIT(name, ...)                                                                                      \
    static void name(struct maker *m) {                                                                      \
        __VA_ARGS__;                                                                                         \
    }

/* container */
EDIT(one_byte, m->keep = 1)
EDIT(bytes_23, m->keep = 23)
EDIT(magic, m->magic[3] = 'X')
EDIT(big_endian, m->version = 0x03000000)
EDIT(version_0, m->version = 0)
EDIT(version_1, m->version = 1)
EDIT(version_4, m->version = 4)
EDIT(version_huge, m->version = 0x80000001)
EDIT(keys_2_63, m->claimed_keys = (uint64_t)1 << 63)
EDIT(keys_2_64, m->claimed_keys = UINT64_MAX - 1)
EDIT(keys_too_many, m->claimed_keys = 1000000)
EDIT(tensors_2_63, m->claimed_tensors = (uint64_t)1 << 63)
EDIT(tensors_too_many, m->claimed_tensors = 1000000)
EDIT(key_empty, maker_key(m, "general.name")->name_len = 0)
EDIT(key_70000, maker_key(m, "general.name")->name_len = 70000)
EDIT(key_past_end, maker_key(m, "general.name")->name_len = UINT64_MAX)
EDIT(key_nul, maker_key(m, "general.name")->name.data[3] = 0)
EDIT(key_escape, maker_key(m, "general.name")->name.data[3] = 27)
EDIT(key_not_utf8, maker_key(m, "general.name")->name.data[3] = (char)0xC0)
EDIT(key_twice, buf_append(&maker_add_key(m, "general.name")->value, "\4\0\0\0\1\0\0\0", 8))
EDIT(type_13, maker_set(m, "general.name", 13, "1234", 4))
EDIT(element_type_13, maker_array(m, "general.name", 13, 1, "1234", 4))
EDIT(array_of_arrays, maker_array(m, "general.name", 9, 1, "\4\0\0\0\1\0\0\0\0\0\0\0abcd", 16))
EDIT(array_2_63, maker_array(m, "general.name", 4, (uint64_t)1 << 63, "1234", 4))
EDIT(array_too_long, maker_array(m, "general.name", 4, 1 << 28, "1234", 4))
EDIT(strings_too_many, maker_array(m, "general.name", 8, (uint64_t)1 << 61, "1234", 4))
EDIT(strings_past_end,
     maker_array(m, "general.name", 8, 2, "\1\0\0\0\0\0\0\0a\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x0F", 17))
EDIT(string_2_64, maker_set(m, "general.name", 8, "\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF", 8))
EDIT(string_2_32, maker_set(m, "general.name", 8, "\0\0\0\0\1\0\0\0", 8))
EDIT(bool_2, maker_set(m, "tokenizer.ggml.add_bos_token", 7, "\2", 1))
EDIT(bools_2, maker_array(m, "general.flags", 7, 3, "\1\0\7", 3))
EDIT(alignment_i32, maker_set(m, "general.alignment", 5, "\40\0\0\0", 4))
EDIT(alignment_u64, maker_u64(m, "general.alignment", 32))
EDIT(alignment_string, maker_string(m, "general.alignment", "32"))
EDIT(alignment_0, maker_u32(m, "general.alignment", 0))
EDIT(alignment_3, maker_u32(m, "general.alignment", 3))
EDIT(alignment_2_31, maker_u32(m, "general.alignment", 1u << 31))
EDIT(tensor_name_empty, maker_rename(maker_tensor(m, "output_norm.weight"), ""))
EDIT(tensor_name_64, maker_rename(maker_tensor(m, "output_norm.weight"),
                                  "1234567890123456789012345678901234567890123456789012345678901234"))
EDIT(tensor_name_escape, maker_rename(maker_tensor(m, "output_norm.weight"), "output\x1B]0;norm"))
EDIT(tensor_twice, maker_rename(maker_tensor(m, "blk.1.attn_norm.weight"), "blk.0.attn_norm.weight"))
EDIT(dims_0, maker_tensor(m, "output_norm.weight")->n_dims = 0)
EDIT(dims_5, maker_tensor(m, "output_norm.weight")->n_dims = 5)
EDIT(dim_zero, maker_tensor(m, "output_norm.weight")->dims[0] = 0)
EDIT(dim_negative, maker_tensor(m, "output_norm.weight")->dims[0] = (uint64_t)-128)
EDIT(dim_2_41, maker_tensor(m, "output_norm.weight")->dims[0] = (uint64_t)1 << 41)
EDIT(product_wraps, struct made_tensor *t = maker_tensor(m, "output_norm.weight"); t->n_dims = 4;
     for (int i = 0; i < 4; i++) t->dims[i] = (uint64_t)1 << 40)
EDIT(bytes_wrap, struct made_tensor *t = maker_tensor(m, "output_norm.weight"); t->n_dims = 3;
     t->type = DTYPE_I64; t->dims[0] = (uint64_t)1 << 30; t->dims[1] = (uint64_t)1 << 30; t->dims[2] = 4)
EDIT(padding_wraps, struct made_tensor *t = maker_tensor(m, "output_norm.weight"); t->n_dims = 4;
     t->type = DTYPE_I32; t->dims[0] = 3; t->dims[1] = 715827883; t->dims[2] = 2147483647; t->dims[3] = 1)
EDIT(sum_wraps, maker_tensor(m, "output_norm.weight")->offset = UINT64_MAX - 31)
EDIT(type_43, maker_tensor(m, "output_norm.weight")->type = 43)
EDIT(type_4, maker_tensor(m, "output_norm.weight")->type = 4)
EDIT(type_31, maker_tensor(m, "output_norm.weight")->type = 31)
EDIT(type_36, maker_tensor(m, "output_norm.weight")->type = 36)
EDIT(rows_no_blocks, maker_tensor(m, "output_norm.weight")->type = DTYPE_Q4_K)
EDIT(offset_unaligned, maker_tensor(m, "blk.0.attn_norm.weight")->offset = 17)
EDIT(offset_beyond, maker_tensor(m, "output_norm.weight")->offset = (uint64_t)1 << 40)
EDIT(tensors_overlap, maker_tensor(m, "blk.0.attn_norm.weight")->offset = 32)
EDIT(
    tensors_gap, for (size_t i = 0, at = 0; i < m->n_tensors; i++) {
        m->tensors[i].offset = at + (i ? 32 : 0);
        at += (m->tensors[i].data.len + 31) / 32 * 32;
    } m->tail = 32)
EDIT(cut_by_one, m->cut = 1)
EDIT(sparse_tail, m->tail = (uint64_t)1 << 40)
EDIT(split_alone, maker_set(m, "split.count", 2, "\3\0", 2); maker_set(m, "split.no", 2, "\0\0", 2))
EDIT(split_count_string, maker_string(m, "split.count", "3"))
EDIT(split_second, maker_set(m, "split.count", 2, "\3\0", 2); maker_set(m, "split.no", 2, "\1\0", 2))

/* hyperparameters */
EDIT(no_architecture, maker_remove_key(m, "general.architecture"))
EDIT(architecture_u32, maker_u32(m, "general.architecture", 2))
EDIT(architecture_mamba, maker_string(m, "general.architecture", "mamba"))
EDIT(architecture_other, maker_string(m, "general.architecture", "qwen3"))
EDIT(no_layers, maker_remove_key(m, "qwen2.block_count"))
EDIT(no_embd, maker_remove_key(m, "qwen2.embedding_length"))
EDIT(no_heads, maker_remove_key(m, "qwen2.attention.head_count"))
EDIT(no_ff, maker_remove_key(m, "qwen2.feed_forward_length"))
EDIT(no_eps, maker_remove_key(m, "qwen2.attention.layer_norm_rms_epsilon"))
EDIT(no_context, maker_remove_key(m, "qwen2.context_length"))
EDIT(no_base, maker_remove_key(m, "qwen2.rope.freq_base"))
EDIT(layers_u64, maker_u64(m, "qwen2.block_count", 2))
EDIT(layers_string, maker_string(m, "qwen2.block_count", "2"))
EDIT(layers_f64, maker_set(m, "qwen2.block_count", 12, "\0\0\0\0\0\0\0\0", 8))
EDIT(layers_i32, maker_set(m, "qwen2.block_count", 5, "\xFF\xFF\xFF\xFF", 4))
EDIT(layers_array, set_i32s(m, "qwen2.block_count", 2, 2, 2))
EDIT(tokens_scalar, maker_string(m, "tokenizer.ggml.tokens", "a"))
EDIT(layers_0, maker_u32(m, "qwen2.block_count", 0))
EDIT(layers_513, maker_u32(m, "qwen2.block_count", 513))
EDIT(layers_1, maker_u32(m, "qwen2.block_count", 1))
EDIT(layers_3, maker_u32(m, "qwen2.block_count", 3))
EDIT(layers_100, maker_u32(m, "qwen2.block_count", 100))
EDIT(heads_0, maker_u32(m, "qwen2.attention.head_count", 0))
EDIT(heads_3, maker_u32(m, "qwen2.attention.head_count", 3);
     maker_remove_key(m, "qwen2.attention.key_length"))
EDIT(kv_heads_3, maker_u32(m, "qwen2.attention.head_count_kv", 3))
EDIT(kv_heads_0, maker_u32(m, "qwen2.attention.head_count_kv", 0))
EDIT(kv_array_short, set_i32s(m, "qwen2.attention.head_count_kv", 1, 1, 1))
EDIT(kv_array_mixed, set_i32s(m, "qwen2.attention.head_count_kv", 1, 2, 2))
EDIT(kv_array_negative, set_i32s(m, "qwen2.attention.head_count_kv", -1, -1, 2))
EDIT(head_dim_odd, maker_u32(m, "qwen2.attention.key_length", 63))
EDIT(head_dim_258, maker_u32(m, "qwen2.attention.key_length", 258))
EDIT(value_length_other, maker_u32(m, "qwen2.attention.value_length", 32))
EDIT(rope_dim_128, maker_u32(m, "qwen2.rope.dimension_count", 128))
EDIT(rope_dim_odd, maker_u32(m, "qwen2.rope.dimension_count", 33))
EDIT(base_0, maker_f32(m, "qwen2.rope.freq_base", 0))
EDIT(base_nan, maker_f32(m, "qwen2.rope.freq_base", NAN))
EDIT(base_inf, maker_f32(m, "qwen2.rope.freq_base", INFINITY))
EDIT(eps_0, maker_f32(m, "qwen2.attention.layer_norm_rms_epsilon", 0))
EDIT(eps_nan, maker_f32(m, "qwen2.attention.layer_norm_rms_epsilon", NAN))
EDIT(eps_1, maker_f32(m, "qwen2.attention.layer_norm_rms_epsilon", 0.5f))
EDIT(context_0, maker_u32(m, "qwen2.context_length", 0))
EDIT(context_2_32, maker_u32(m, "qwen2.context_length", UINT32_MAX))
EDIT(scaling_longrope, maker_string(m, "qwen2.rope.scaling.type", "longrope"))
EDIT(scaling_no_factor, maker_string(m, "qwen2.rope.scaling.type", "yarn"))
EDIT(scaling_factor_0, maker_string(m, "qwen2.rope.scaling.type", "linear");
     maker_f32(m, "qwen2.rope.scaling.factor", 0))
EDIT(experts, maker_u32(m, "qwen2.expert_count", 8))

/* tensors */
EDIT(rows_fewer, struct made_tensor *t = maker_tensor(m, "token_embd.weight"); t->dims[1] = 320;
     t->data.len = 320 * 88; t = maker_tensor(m, "output.weight"); t->dims[1] = 320; t->data.len = 320 * 88)
EDIT(embd_cols, struct made_tensor *t = maker_tensor(m, "token_embd.weight"); t->dims[0] = 64;
     t->dims[1] = 680)
EDIT(q_transposed, swap(maker_tensor(m, "blk.0.ffn_gate.weight")))
EDIT(q_1d, struct made_tensor *t = maker_tensor(m, "blk.0.attn_q.weight"); t->n_dims = 1;
     t->dims[0] = 128 * 128)
EDIT(q_3d, struct made_tensor *t = maker_tensor(m, "blk.0.attn_q.weight"); t->n_dims = 3; t->dims[1] = 64;
     t->dims[2] = 2)
EDIT(norm_length, struct made_tensor *t = maker_tensor(m, "output_norm.weight"); t->dims[0] = 64;
     t->data.len = 256)
EDIT(norm_quantised, struct made_tensor *t = maker_tensor(m, "output_norm.weight"); t->type = DTYPE_Q8_0;
     t->data.len = 136)
EDIT(no_bias, maker_remove_tensor(m, "blk.1.attn_k.bias"))
EDIT(no_head_norm, maker_remove_tensor(m, "blk.0.attn_q_norm.weight"))
EDIT(extra_tensor, maker_add_tensor(m, "blk.0.attn_sinks.weight", DTYPE_F32, 32, 0, 128))
EDIT(no_down, maker_remove_tensor(m, "blk.1.ffn_down.weight"))
EDIT(rope_length, struct made_tensor *t = maker_tensor(m, "rope_freqs.weight"); t->dims[0] = 16;
     t->data.len = 64)
EDIT(rope_zero, set_float(m, "rope_freqs.weight", 3, 0))
EDIT(rope_negative, set_float(m, "rope_freqs.weight", 3, -1))
EDIT(rope_nan, set_float(m, "rope_freqs.weight", 3, NAN))
EDIT(type_not_ours, struct made_tensor *t = maker_tensor(m, "blk.0.attn_q.weight"); t->type = DTYPE_MXFP4;
     t->data.len = 512 * 17)
EDIT(norm_inf, set_float(m, "blk.1.ffn_norm.weight", 127, INFINITY))
EDIT(bias_nan, set_float(m, "blk.1.attn_k.bias", 5, NAN))

/* tokenizer and template: types; what they say is the tokenizer's */
EDIT(no_tokens, maker_remove_key(m, "tokenizer.ggml.tokens"))
EDIT(no_tokenizer, maker_remove_key(m, "tokenizer.ggml.model"))
EDIT(tokens_empty, maker_array(m, "tokenizer.ggml.tokens", 8, 0, "", 0))
EDIT(pre_u32, maker_u32(m, "tokenizer.ggml.pre", 1))
EDIT(types_f32, maker_array(m, "tokenizer.ggml.token_type", 6, 1, "1234", 4))
EDIT(types_short, maker_array(m, "tokenizer.ggml.token_type", 5, 1, "\1\0\0\0", 4))
EDIT(scores_i32, maker_array(m, "tokenizer.ggml.scores", 5, 1, "\1\0\0\0", 4))
EDIT(merges_many, size_t n = GGUF_STRINGS_MAX + 1; char *zeros = xcalloc(n, 8);
     maker_array(m, "tokenizer.ggml.merges", 8, n, zeros, n * 8); free(zeros))
EDIT(merges_i32, maker_array(m, "tokenizer.ggml.merges", 5, 1, "\1\0\0\0", 4))
EDIT(eos_string, maker_string(m, "tokenizer.ggml.eos_token_id", "2"))
EDIT(eos_beyond, maker_u32(m, "tokenizer.ggml.eos_token_id", 340))
EDIT(pad_beyond, maker_u32(m, "tokenizer.ggml.padding_token_id", 340))
EDIT(add_bos_u32, maker_u32(m, "tokenizer.ggml.add_bos_token", 1))
EDIT(template_u32, maker_u32(m, "tokenizer.chat_template", 1))
EDIT(template_long, char *text = xcalloc(1, (1 << 20) + 2); memset(text, 'x', (1 << 20) + 1);
     maker_string(m, "tokenizer.chat_template", text); free(text))

static const struct {
    const char *base;
    edit_fn *edit;
    const char *expected; /* in the message, after the path */
} faults[] = {
    {QWEN2, one_byte, "byte 1: the file ends in its header, expected at least 24 bytes"},
    {QWEN2, bytes_23, "byte 23: the file ends in its header"},
    {QWEN2, magic, "byte 0: found bytes 47475558, expected 47475546 (GGUF)"},
    {QWEN2, big_endian, "byte 4: big-endian file"},
    {QWEN2, version_0, "byte 4: found version 0, expected 2 or 3"},
    {QWEN2, version_1, "byte 4: found version 1, expected 2 or 3"},
    {QWEN2, version_4, "byte 4: found version 4, expected 2 or 3"},
    {QWEN2, version_huge, "byte 4: found version 2147483649, expected 2 or 3"},
    {QWEN2, keys_2_63, "byte 16: found 9223372036854775808 keys, expected at most"},
    {QWEN2, keys_2_64, "byte 16: found 18446744073709551614 keys, expected at most"},
    {QWEN2, keys_too_many, "byte 16: found 1000000 keys, expected at most"},
    {QWEN2, tensors_2_63, "byte 8: found 9223372036854775808 tensors, expected at most"},
    {QWEN2, tensors_too_many, "byte 8: found 1000000 tensors, expected at most"},
    {QWEN2, key_empty, "found a key of length 0, expected 1 to 65535"},
    {QWEN2, key_70000, "found a key of length 70000, expected 1 to 65535"},
    {QWEN2, key_past_end, "found a key of length 18446744073709551615, expected 1 to"},
    {QWEN2, key_nul, "byte 69: key with control characters or invalid UTF-8"},
    {QWEN2, key_escape, "byte 69: key with control characters or invalid UTF-8"},
    {QWEN2, key_not_utf8, "byte 69: key with control characters or invalid UTF-8"},
    {QWEN2, key_twice, "key general.name is there twice"},
    {QWEN2, type_13, "key general.name: found type 13, expected 0 to 12"},
    {QWEN2, element_type_13, "key general.name: found type 13, expected 0 to 12"},
    {QWEN2, array_of_arrays, "key general.name: found an array of arrays"},
    {QWEN2, array_2_63, "key general.name: found 9223372036854775808 elements of 4 bytes, expected at most"},
    {QWEN2, array_too_long, "key general.name: found 268435456 elements of 4 bytes, expected at most"},
    {QWEN2, strings_too_many, "key general.name: found 2305843009213693952 strings, expected at most"},
    {QWEN2, strings_past_end, "key general.name: string 1 of 2 runs past the end of the file"},
    {QWEN2, string_2_64, "key general.name: string 0 of 1 runs past the end"},
    {QWEN2, string_2_32, "key general.name: string 0 of 1 runs past the end"},
    {QWEN2, bool_2, "key tokenizer.ggml.add_bos_token: found bool 2, expected 0 or 1"},
    {QWEN2, bools_2, "key general.flags: found bool 7, expected 0 or 1"},
    {QWEN2, alignment_i32, "key general.alignment: found type i32, expected u32"},
    {QWEN2, alignment_u64, "key general.alignment: found type u64, expected u32"},
    {QWEN2, alignment_string, "key general.alignment: found type string, expected u32"},
    {QWEN2, alignment_0, "key general.alignment: found 0, expected a power of two up to 65536"},
    {QWEN2, alignment_3, "key general.alignment: found 3, expected a power of two"},
    {QWEN2, alignment_2_31, "key general.alignment: found 2147483648, expected a power of two"},
    {QWEN2, tensor_name_empty, "found a tensor name of 0 bytes, expected 1 to 63"},
    {QWEN2, tensor_name_64, "found a tensor name of 64 bytes, expected 1 to 63"},
    {QWEN2, tensor_name_escape, "tensor name with control characters or invalid UTF-8"},
    {QWEN2, tensor_twice, "tensor blk.0.attn_norm.weight is there twice"},
    {QWEN2, dims_0, "tensor output_norm.weight: found 0 dimensions, expected 1 to 4"},
    {QWEN2, dims_5, "tensor output_norm.weight: found 5 dimensions, expected 1 to 4"},
    {QWEN2, dim_zero, "tensor output_norm.weight: dimension 0: found 0, expected 1 to"},
    {QWEN2, dim_negative, "tensor output_norm.weight: dimension 0: found -128, expected 1 to"},
    {QWEN2, dim_2_41,
     "tensor output_norm.weight: dimension 0: found 2199023255552, expected 1 to 1099511627776"},
    {QWEN2, product_wraps, "tensor output_norm.weight: its dimensions multiply beyond 64 bits"},
    {QWEN2, bytes_wrap, "tensor output_norm.weight: its size in bytes is beyond 64 bits"},
    {QWEN2, padding_wraps, "tensor output_norm.weight: its size in bytes is beyond 64 bits"},
    {QWEN2, sum_wraps,
     "tensor output_norm.weight: found 512 bytes at offset 18446744073709551584, expected them within"},
    {QWEN2, type_43, "tensor output_norm.weight: found type 43"},
    {QWEN2, type_4, "tensor output_norm.weight: found type 4"},
    {QWEN2, type_31, "tensor output_norm.weight: found type 31"},
    {QWEN2, type_36, "tensor output_norm.weight: found type 36"},
    {QWEN2, rows_no_blocks,
     "tensor output_norm.weight: found rows of 128 elements, expected a multiple of 256 for Q4_K"},
    {QWEN2, offset_unaligned, "tensor blk.0.attn_norm.weight: found offset 17, expected a multiple of 32"},
    {QWEN2, offset_beyond,
     "tensor output_norm.weight: found 512 bytes at offset 1099511627776, expected them within"},
    {QWEN2, tensors_overlap, "an overlap after token_embd.weight, expected"},
    {QWEN2, tensors_gap,
     "tensor blk.0.attn_norm.weight: found offset 29952, a gap after token_embd.weight, expected 29920"},
    {QWEN2, cut_by_one, "tensor output.weight: found 29920 bytes at offset"},
    {QWEN2, sparse_tail, "found 1099511627776 bytes after the last tensor, expected the file to end"},
    {QWEN2, split_alone, "key split.count: found 3, expected a file named ...-00001-of-00003.gguf"},
    {QWEN2, split_count_string, "key split.count: found string, expected u16"},
    {QWEN2, split_second, "key split.no: found 1: open the first file of the split model instead"},

    {QWEN2, no_architecture, "key general.architecture is missing, expected string"},
    {QWEN2, architecture_u32, "key general.architecture: found u32, expected string"},
    {QWEN2, architecture_mamba,
     "key general.architecture: found 'mamba', expected one of llama, qwen2, qwen3"},
    {QWEN2, architecture_other, "key qwen3.block_count is missing, expected u32"},
    {QWEN2, no_layers, "key qwen2.block_count is missing, expected u32"},
    {QWEN2, no_embd, "key qwen2.embedding_length is missing, expected u32"},
    {QWEN2, no_heads, "key qwen2.attention.head_count is missing, expected u32"},
    {QWEN2, no_ff, "key qwen2.feed_forward_length is missing, expected u32"},
    {QWEN2, no_eps, "key qwen2.attention.layer_norm_rms_epsilon is missing, expected f32"},
    {QWEN2, no_context, "key qwen2.context_length is missing, expected u32"},
    {QWEN2, no_base, "key qwen2.rope.freq_base is missing, expected f32"},
    {QWEN2, layers_u64, "key qwen2.block_count: found u64, expected u32"},
    {QWEN2, layers_string, "key qwen2.block_count: found string, expected u32"},
    {QWEN2, layers_f64, "key qwen2.block_count: found f64, expected u32"},
    {QWEN2, layers_i32, "key qwen2.block_count: found i32, expected u32"},
    {QWEN2, layers_array, "key qwen2.block_count: found i32 array, expected u32"},
    {QWEN2, tokens_scalar, "key tokenizer.ggml.tokens: found string, expected string array"},
    {QWEN2, layers_0, "key qwen2.block_count: found 0, expected 1 to 512"},
    {QWEN2, layers_513, "key qwen2.block_count: found 513, expected 1 to 512"},
    {QWEN2, layers_1, "found tensor blk.1.attn_norm.weight, expected 1 layers by key qwen2.block_count"},
    {QWEN2, layers_3, "tensor blk.2.attn_norm.weight is missing"},
    {QWEN2, layers_100, "found 27 tensors, expected more than one for each of 100 layers"},
    {QWEN2, heads_0, "key qwen2.attention.head_count: found 0, expected 1 to"},
    {QWEN2, heads_3, "key qwen2.embedding_length: found 128, expected a multiple of head_count 3"},
    {QWEN2, kv_heads_3, "key qwen2.attention.head_count_kv: found 3, expected a divisor of head_count 2"},
    {QWEN2, kv_heads_0, "key qwen2.attention.head_count_kv: found 0, expected 1 to"},
    {QWEN2, kv_array_short,
     "key qwen2.attention.head_count_kv: found 1 elements, expected one for each of 2 layers"},
    {QWEN2, kv_array_mixed,
     "key qwen2.attention.head_count_kv: found 2 for layer 1, expected the same positive number"},
    {QWEN2, kv_array_negative,
     "key qwen2.attention.head_count_kv: found -1 for layer 0, expected the same positive number"},
    {QWEN2, head_dim_odd, "key qwen2.attention.key_length: found 63, expected an even number up to 256"},
    {QWEN2, head_dim_258, "key qwen2.attention.key_length: found 258, expected an even number up to 256"},
    {QWEN2, value_length_other, "key qwen2.attention.value_length: found 32, expected key_length 64"},
    {QWEN2, rope_dim_128, "key qwen2.rope.dimension_count: found 128, expected an even number up to 64"},
    {QWEN2, rope_dim_odd, "key qwen2.rope.dimension_count: found 33, expected an even number up to 64"},
    {QWEN2, base_0, "key qwen2.rope.freq_base: found 0, expected more than 0"},
    {QWEN2, base_nan, "key qwen2.rope.freq_base: found nan, expected more than 0"},
    {QWEN2, base_inf, "key qwen2.rope.freq_base: found inf, expected more than 0"},
    {QWEN2, eps_0,
     "key qwen2.attention.layer_norm_rms_epsilon: found 0, expected more than 0 and at most 0.01"},
    {QWEN2, eps_nan, "key qwen2.attention.layer_norm_rms_epsilon: found nan, expected"},
    {QWEN2, eps_1, "key qwen2.attention.layer_norm_rms_epsilon: found 0.5, expected"},
    {QWEN2, context_0, "key qwen2.context_length: found 0, expected 1 to"},
    {QWEN2, context_2_32, "key qwen2.context_length: found 4294967295, expected 1 to"},
    {QWEN2, scaling_longrope, "key qwen2.rope.scaling.type: found 'longrope', expected none, linear or yarn"},
    {QWEN2, scaling_no_factor, "key qwen2.rope.scaling.factor is missing, expected f32"},
    {QWEN2, scaling_factor_0, "key qwen2.rope.scaling.factor: found 0, expected more than 0"},
    {QWEN2, experts, "key qwen2.expert_count: found 8, expected a model without experts"},

    {QWEN2, rows_fewer, "tensor token_embd.weight: found 320 rows, expected one for each of 340 tokens"},
    {QWEN2, embd_cols, "tensor token_embd.weight: found shape [64, 680], expected [128, 2147483647] at most"},
    {QWEN2, q_transposed, "tensor blk.0.ffn_gate.weight: found shape [160, 128], expected [128, 160]"},
    {QWEN2, q_1d, "tensor blk.0.attn_q.weight: found shape [16384], expected [128, 128]"},
    {QWEN2, q_3d, "tensor blk.0.attn_q.weight: found shape [128, 64, 2], expected [128, 128]"},
    {QWEN2, norm_length, "tensor output_norm.weight: found shape [64], expected [128]"},
    {QWEN2, norm_quantised, "tensor output_norm.weight: found type Q8_0, expected F32"},
    {QWEN2, no_bias, "tensor blk.1.attn_k.bias is missing, expected for qwen2"},
    {QWEN3, no_head_norm, "tensor blk.0.attn_q_norm.weight is missing, expected for qwen3"},
    {QWEN2, extra_tensor, "found tensor blk.0.attn_sinks.weight, which qwen2 does not have"},
    {LLAMA, no_down, "tensor blk.1.ffn_down.weight is missing, expected for llama"},
    {LLAMA, rope_length, "tensor rope_freqs.weight: found shape [16], expected [32]"},
    {LLAMA, rope_zero, "tensor rope_freqs.weight: element 3: found 0, expected more than 0"},
    {LLAMA, rope_negative, "tensor rope_freqs.weight: element 3: found -1, expected more than 0"},
    {LLAMA, rope_nan, "tensor rope_freqs.weight: element 3: found nan, expected a finite number"},
    {QWEN2, type_not_ours, "tensor blk.0.attn_q.weight: found type MXFP4, which cannot be computed with"},
    {QWEN2, norm_inf, "tensor blk.1.ffn_norm.weight: element 127: found inf, expected a finite number"},
    {QWEN2, bias_nan, "tensor blk.1.attn_k.bias: element 5: found nan, expected a finite number"},

    {QWEN2, no_tokens, "key tokenizer.ggml.tokens is missing, expected string array"},
    {QWEN2, no_tokenizer, "key tokenizer.ggml.model is missing, expected string"},
    {QWEN2, tokens_empty, "tokenizer.ggml.tokens: missing or empty, expected one text a token"},
    {QWEN2, pre_u32, "key tokenizer.ggml.pre: found u32, expected string"},
    {QWEN2, types_f32, "key tokenizer.ggml.token_type: found f32 array, expected i32 array"},
    {QWEN2, types_short, "tokenizer.ggml.token_type"},
    {QWEN2, scores_i32, "key tokenizer.ggml.scores: found i32 array, expected f32 array"},
    {QWEN2, merges_many, "key tokenizer.ggml.merges: found 4194305 strings, expected at most 4194304"},
    {QWEN2, merges_i32, "key tokenizer.ggml.merges: found i32 array, expected string array"},
    {QWEN2, eos_string, "key tokenizer.ggml.eos_token_id: found string, expected u32"},
    {QWEN2, eos_beyond, "tokenizer.ggml.eos_token_id"},
    {QWEN2, pad_beyond, "key tokenizer.ggml.padding_token_id: found 340, expected less than 340"},
    {QWEN2, add_bos_u32, "key tokenizer.ggml.add_bos_token: found u32, expected bool"},
    {QWEN2, template_u32, "key tokenizer.chat_template: found u32, expected string"},
    {QWEN2, template_long, "key tokenizer.chat_template: found 1048577 bytes, expected at most 1048576"},
};

static char path[64];

/* Refused as a model, with one line that begins with the file and holds what is expected. Otherwise it is
 * said, and 1. */
static int refused(const char *what, int status, const struct err *err, const char *expected) {
    bool right = (status == STATUS_MODEL || status == STATUS_UNSUPPORTED) && strstr(err->text, expected) &&
                 strncmp(err->text, path, strlen(path)) == 0 && !strchr(err->text, '\n');
    if (!right)
        print_error("%s: status %d\n    found    %s\n    expected %s\n", what, status,
                    status ? err->text : "", expected);
    return !right;
}

static void every_fault_is_named(void **state) {
    (void)state;
    int wrong = 0;
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        char base[512];
        struct maker m;
        struct model *model;
        struct err err = {0};
        snprintf(base, sizeof base, "%s/nano/%s.gguf", TEST_DATA, faults[i].base);
        maker_load(&m, base);
        maker_write(&m, path);
        if (model_open(path, MODEL_WHOLE, &model, &err))
            fail_msg("taken apart and put together: %s", err.text);
        model_close(model);
        faults[i].edit(&m);
        maker_write(&m, path);
        int status = model_open(path, MODEL_WHOLE, &model, &err);
        wrong += refused(faults[i].base, status, &err, faults[i].expected);
        if (!status) model_close(model);
        maker_free(&m);
    }
    assert_int_equal(wrong, 0);
}

static void things_that_are_no_files(void **state) {
    (void)state;
    struct model *model;
    struct err err = {0};
    unlink(path);
    assert_int_equal(
        refused("missing", model_open(path, MODEL_WHOLE, &model, &err), &err, "cannot open: No such file"),
        0);
    assert_int_equal(symlink("/nowhere/at/all", path), 0);
    assert_int_equal(refused("link", model_open(path, MODEL_WHOLE, &model, &err), &err,
                             "a link to a file that is not there"),
                     0);
    unlink(path);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(
        refused("fifo", model_open(path, MODEL_WHOLE, &model, &err), &err, "found a FIFO, expected a file"),
        0);
    unlink(path);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(refused("directory", model_open(path, MODEL_WHOLE, &model, &err), &err,
                             "found a directory, expected a file"),
                     0);
    rmdir(path);
    fclose(fopen(path, "wb"));
    assert_int_equal(
        refused("empty", model_open(path, MODEL_WHOLE, &model, &err), &err, "empty file, expected GGUF"), 0);
    assert_int_equal(model_open("/dev/null", MODEL_WHOLE, &model, &err), STATUS_MODEL);
    assert_non_null(strstr(err.text, "found a device, expected a file"));
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_fault_is_named),
                                       cmocka_unit_test(things_that_are_no_files)};
    snprintf(path, sizeof path, "/tmp/logitop-faults-%ld.gguf", (long)getpid());
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(path);
    return failed;
}
