/* What a block of the one kernel keeps in shared memory, besides what whole_args places in its dynamic part. */
#pragma once

#include "kernels/cuda/weight_ring.cuh"

enum { ROWS_TOGETHER = 4, ROW_PITCH = 33 /* rows of a warp that are added up together; words from one to the next: lanes of all meet no bank twice */ };

__shared__ whole_args args;
__shared__ __align__(16) float squares[2][WHOLE_WARPS + 1]; /* of the vectors of this product and the one before, by warp; the last is zero */
__shared__ uint32_t the_epoch, it_attends;       /* the epoch that x begins with; does the block have a part of attention? */
__shared__ uint32_t the_position, the_step;      /* as the state has them */
__shared__ uint32_t the_units[WHOLE_HEAD];       /* of the block, by kind of product */
extern __shared__ __align__(128) char memory[]; /* the vector is at its beginning */

__device__ __forceinline__ const whole_brief &the_brief(uint32_t i) { return ((const whole_brief *)(memory + args.briefs_at))[i]; }
__device__ __forceinline__ uint32_t the_start(uint32_t product, uint32_t part) { return ((const uint16_t *)(memory + args.starts_at))[product * WHOLE_PARTS + part]; }
__device__ __forceinline__ const whole_shares &the_shares() { return *(const whole_shares *)(memory + args.shares_at); }
