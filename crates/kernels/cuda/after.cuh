// What stands before and after a product: the norm's factor, SiLU, the residual.
#pragma once
#include "common.cuh"

enum After { PLAIN, GATED, ADD };

// Parts of a sum of squares.
constexpr int PARTS = 128;

__device__ __forceinline__ float silu(float v) { return v / (1.f + __expf(-v)); }

// 1 / RMS of a token's inputs, by a warp; a lane has four parts of the sum of squares.
__device__ __forceinline__ float norm_factor(const float4& parts, u32 inputs, float epsilon) {
  return rsqrtf(warp_sum((parts.x + parts.y) + (parts.z + parts.w)) / inputs + epsilon);
}
