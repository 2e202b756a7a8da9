// The inputs of a single token, which every block makes for itself and keeps in shared memory.
#pragma once
#include "tile.cuh"

// Bytes of a chunk: two planes of bytes, or one of pairs.
constexpr int TOKEN = 2 * CHUNK, PLANE = CHUNK;

// What stands beside a chunk.
template <int KIND> struct Extra {
  static constexpr int SUMS = Form<KIND>::TILES * Form<KIND>::SUMS;
  float scales[CHUNK / SCALED];
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
    if (KIND == INT8 && lane % SUM_LANES == 0) extra->sums[lane / SUM_LANES] = made.sum;
  } else {
    *(uint4*)(to + lane * 16) = {made.high[0], made.high[1], made.low[0], made.low[1]};
  }
  if (lane % (SCALED / 8) == 0) extra->scales[lane / (SCALED / 8)] = made.scale;
}

// acc[row half] += tile * inputs, in all columns alike. `g` is the tile's place in the chunk.
template <int KIND> __device__ __forceinline__ void multiply(float (&acc)[2], const Tile<KIND>& w, const char* inputs, const Extra<KIND>& e, int g, int lane) {
  const int t = lane & 3;
  const float scale = e.scales[g * Form<KIND>::K / SCALED];
  if constexpr (KIND == INT4) {
    const int plane = lane >> 2 & 1;
    const char* x = inputs + plane * PLANE + g * 128;
    const uint4 x0 = *(const uint4*)(x + swizzled<KIND>(t * 16, plane)), x1 = *(const uint4*)(x + swizzled<KIND>(64 + t * 16, plane));
    int c[4] = {0, 0, 0, 0};
    const uint4 a = w.codes[0], b = w.codes[1];
    mma_s8(c, lower(a.x), lower(a.y), lower(a.z), lower(a.w), x0.x, x0.y);
    mma_s8(c, upper(a.x), upper(a.y), upper(a.z), upper(a.w), x0.z, x0.w);
    mma_s8(c, lower(b.x), lower(b.y), lower(b.z), lower(b.w), x1.x, x1.y);
    mma_s8(c, upper(b.x), upper(b.y), upper(b.z), upper(b.w), x1.z, x1.w);
    const float2 s = __half22float2(*(const __half2*)&w.scales);
    acc[0] = fmaf(s.x * scale, (float)(c[0] * 256 + c[1]), acc[0]);
    acc[1] = fmaf(s.y * scale, (float)(c[2] * 256 + c[3]), acc[1]);
  } else if constexpr (KIND == INT8) {
    const int plane = lane >> 2 & 1;
    const char* x = inputs + plane * PLANE + g * 128;
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const uint2 b = *(const uint2*)(x + swizzled<KIND>(j * 32 + t * 8, plane));
      add_bytes(acc, w, j, b.x, b.y, scale, e.sums[g * 4 + j]);
    }
  } else {
    const char* x = inputs + g * 128;
    float c[4] = {0, 0, 0, 0};
#pragma unroll
    for (int u = 0; u < 4; ++u) {
      const uint2 b = *(const uint2*)(x + u * 32 + t * 8);
      mma_half<KIND>(c, w.values[u], b.x, b.y);
    }
    acc[0] = fmaf(scale, c[0], acc[0]);
    acc[1] = fmaf(scale, c[2], acc[1]);
  }
}
