// The inputs of a single token, which every block makes for itself and keeps in shared memory.
#pragma once
#include "tile.cuh"

// Bytes of a chunk: two planes of bytes, or one of pairs.
constexpr int TOKEN = 2 * CHUNK, PLANE = CHUNK;

// What stands beside a chunk.
template <int KIND> struct Extra {
  static constexpr int SUMS = Form<KIND>::TILES * Form<KIND>::SUMS;
  float scale;
  int sums[SUMS ? SUMS : 1];
};

// Where a byte of a plane stands, so that the lanes of one access meet no bank twice.
template <int KIND> __device__ __forceinline__ int swizzled(int byte, int plane) {
  return byte ^ plane * (KIND == INT4 ? 64 : 32);
}

// A chunk of a slot, eight bf16 values a lane.
template <int KIND> __device__ __forceinline__ void store_inputs(const uint4& values, char* to, Extra<KIND>* extra, int lane) {
  const Made<KIND> made = make<KIND>(values);
  if constexpr (KIND == INT4 || KIND == INT8) {
    *(uint2*)(to + swizzled<KIND>(lane * 8, 0)) = {made.high[0], made.high[1]};
    *(uint2*)(to + PLANE + swizzled<KIND>(lane * 8, 1)) = {made.low[0], made.low[1]};
    if (lane % made.LANES == 0) extra->sums[lane / made.LANES] = made.sum;
  } else {
    *(uint4*)(to + lane * 16) = {made.high[0], made.high[1], made.low[0], made.low[1]};
  }
  if (!lane) extra->scale = made.scale;
}

// acc[row half] += tile * inputs, in all columns alike. `g` is the tile's place in the chunk.
template <int KIND> __device__ __forceinline__ void multiply(float (&acc)[2], const Tile<KIND>& w, const char* inputs, const Extra<KIND>& e, int g, int lane) {
  const int t = lane & 3;
  if constexpr (KIND == INT4) {
    const int plane = lane >> 2 & 1;
    const char* x = inputs + plane * PLANE + g * 128;
    const uint4 x0 = *(const uint4*)(x + swizzled<KIND>(t * 16, plane)), x1 = *(const uint4*)(x + swizzled<KIND>(64 + t * 16, plane));
    const int zero = -e.sums[g];
    // The high codes stay where they are, sixteen times too large, and have sums of their own.
    int c[4] = {0, 0, 0, 0}, d[4] = {0, zero, 0, zero};
    constexpr u32 LOW = 0x0f0f0f0fu, HIGH = 0xf0f0f0f0u;
    const uint4 a = w.codes[0], b = w.codes[1];
    mma_u8s8(c, a.x & LOW, a.y & LOW, a.z & LOW, a.w & LOW, x0.x, x0.y);
    mma_u8s8(d, a.x & HIGH, a.y & HIGH, a.z & HIGH, a.w & HIGH, x0.z, x0.w);
    mma_u8s8(c, b.x & LOW, b.y & LOW, b.z & LOW, b.w & LOW, x1.x, x1.y);
    mma_u8s8(d, b.x & HIGH, b.y & HIGH, b.z & HIGH, b.w & HIGH, x1.z, x1.w);
    const float2 s = __half22float2(*(const __half2*)&w.scales);
    acc[0] = fmaf(s.x * e.scale, (float)((c[0] * 16 + d[0]) * 256 + c[1] * 16 + d[1]), acc[0]);
    acc[1] = fmaf(s.y * e.scale, (float)((c[2] * 16 + d[2]) * 256 + c[3] * 16 + d[3]), acc[1]);
  } else if constexpr (KIND == INT8) {
    const int plane = lane >> 2 & 1;
    const char* x = inputs + plane * PLANE + g * 128;
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const uint2 b = *(const uint2*)(x + swizzled<KIND>(j * 32 + t * 8, plane));
      add_bytes(acc, w, j, b.x, b.y, e.scale, e.sums[g * 4 + j]);
    }
  } else {
    const char* x = inputs + g * 128;
    float c[4] = {0, 0, 0, 0};
#pragma unroll
    for (int u = 0; u < 4; ++u) {
      const uint2 b = *(const uint2*)(x + u * 32 + t * 8);
      mma_half<KIND>(c, w.values[u], b.x, b.y);
    }
    acc[0] = fmaf(e.scale, c[0], acc[0]);
    acc[1] = fmaf(e.scale, c[2], acc[1]);
  }
}
