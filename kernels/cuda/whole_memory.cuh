/* What a block of the one kernel keeps in shared memory, besides what whole_args places in its dynamic part. */
#pragma once

#include "kernels/cuda/weight_ring.cuh"

__shared__ whole_args args;
__shared__ __align__(16) float squares[2][WHOLE_WARPS + 1]; /* of the vectors of this product and the one before, by warp; the last is zero */
__shared__ uint32_t the_epoch, it_attends;       /* the epoch that x begins with; does the block have a part of attention? */
__shared__ uint32_t the_position, the_step;      /* as the state has them */
__shared__ uint32_t the_units[WHOLE_HEAD];       /* of the block, by kind of product */
__shared__ uint32_t ring_states[WHOLE_WARPS];
__shared__ uint32_t next_sums[WHOLE_WARPS];      /* where the sum of a warp's next row goes */
extern __shared__ __align__(128) char memory[]; /* the vector is at its beginning */

__device__ __forceinline__ const whole_brief &the_brief(uint32_t i) { return ((const whole_brief *)(memory + args.briefs_at))[i]; }
__device__ __forceinline__ const shares &the_shares() { return *(const shares *)(memory + args.shares_at); }
