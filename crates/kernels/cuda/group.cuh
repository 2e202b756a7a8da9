// The inputs of several tokens, which `prepare` makes once for all blocks.
//
// They stand as the matrix instructions take them, so that a lane loads its registers and keeps them while tiles go by: for each
// tile along k, each slot and each *group* of four tokens (eight of halves) two times sixteen bytes a lane, and beside them a scale
// and sums for every token of the group. A token that there is not in a group has columns of its own, which nobody looks at.
#pragma once
#include "tile.cuh"

template <int KIND> struct Group {
  static constexpr int TOKENS = COLUMN_TOKENS<KIND>;
  static constexpr int PAIR = TOKENS / 4;                     // of a lane's sums
  static constexpr int VALUES = 1024;                         // bytes of all lanes
  // Bytes of a token's scale and sums; more for INT4, whose groups would not begin where sectors of memory do.
  static constexpr int TOKEN = KIND == INT4 ? 8 : 4 * (1 + Form<KIND>::SUMS);
  static constexpr int BESIDE = TOKENS * TOKEN, BYTES = VALUES + BESIDE;
};

// A group's registers for one tile. They come from shared memory or, past L1, which may hold what memory had before, from global
// memory.
template <int KIND> struct Columns {
  using G = Group<KIND>;
  static constexpr int SUMS = Form<KIND>::SUMS;
  uint4 values[2];
  float scales[G::PAIR];
  int sums[SUMS ? SUMS : 1];

  template <bool GLOBAL> __device__ __forceinline__ void load_values(const char* from, int lane) {
    const uint4* parts = (const uint4*)from + lane;
    values[0] = GLOBAL ? __ldcg(parts) : parts[0], values[1] = GLOBAL ? __ldcg(parts + 32) : parts[32];
  }
  // What stands beside them, for the tokens of the lane's sums.
  template <bool GLOBAL> __device__ __forceinline__ void load_beside(const char* from, int lane) {
    from += (lane & 3) * G::PAIR * G::TOKEN;
#pragma unroll
    for (int i = 0; i < G::PAIR; ++i) {
      const float* scale = (const float*)(from + i * G::TOKEN);
      scales[i] = GLOBAL ? __ldcg(scale) : *scale;
    }
#pragma unroll
    for (int i = 0; i < SUMS; ++i) {
      const int* sum = (const int*)from + 1 + i;
      sums[i] = GLOBAL ? __ldcg(sum) : *sum;
    }
  }
};

// A chunk of a slot of one token, eight bf16 values a lane, into its groups. `to` is the token's group for the chunk's first tile,
// `step` the bytes from there to the group for the next one.
template <int KIND> __device__ __forceinline__ void store_inputs(const uint4& values, char* to, size_t step, u32 token, u32 tiles, int lane) {
  using G = Group<KIND>;
  const Made<KIND> made = make<KIND>(values);
  const int first = lane * 8, inside = first % Form<KIND>::K, column = token % G::TOKENS;
  if (first / Form<KIND>::K >= tiles) return;
  to += first / Form<KIND>::K * step;
  u32* beside = (u32*)(to + G::VALUES + column * G::TOKEN);
  if (inside == 0) beside[0] = __float_as_uint(made.scale);
  if constexpr (KIND == INT4 || KIND == INT8) {
    const int lanes = column * 8, half = inside / 64 * 512;
    // Sixteen neighbours a lane, or eight of both halves of 64.
    const int at = KIND == INT4 ? (lanes + inside % 64 / 16) * 16 + inside % 16 : (lanes + inside % 32 / 8) * 16 + inside % 64 / 32 * 8;
    *(uint2*)(to + half + at) = {made.high[0], made.high[1]};
    *(uint2*)(to + half + at + 4 * 16) = {made.low[0], made.low[1]};
    if (KIND == INT8 && lane % SUM_LANES == 0) beside[1 + inside / (SUM_LANES * 8)] = made.sum;
  } else {
    // Four neighbours a lane.
    const int at = inside / 32 * 512 + (column * 4 + inside % 16 / 4) * 16 + inside % 32 / 16 * 8;
    *(uint2*)(to + at) = {made.high[0], made.high[1]};
    *(uint2*)(to + at + 16) = {made.low[0], made.low[1]};
  }
}

// acc[n][row half][token of the pair] += tile * inputs, where `columns(n)` are those of the n-th group.
template <int KIND, int N, int PAIR, class COLUMNS>
__device__ __forceinline__ void multiply(float (&acc)[N][2][PAIR], const Tile<KIND>& w, const COLUMNS& columns) {
  if constexpr (KIND == INT4) {
    const u32 codes[8] = {w.codes[0].x, w.codes[0].y, w.codes[0].z, w.codes[0].w, w.codes[1].x, w.codes[1].y, w.codes[1].z, w.codes[1].w};
    u32 low[8], high[8];
#pragma unroll
    for (int i = 0; i < 8; ++i) low[i] = lower(codes[i]), high[i] = upper(codes[i]);
    const float2 s = __half22float2(*(const __half2*)&w.scales);
#pragma unroll
    for (int n = 0; n < N; ++n) {
      const Columns<KIND> x = columns(n);
      int c[4] = {0, 0, 0, 0};
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        const uint4& b = x.values[h];
        mma_s8(c, low[h * 4], low[h * 4 + 1], low[h * 4 + 2], low[h * 4 + 3], b.x, b.y);
        mma_s8(c, high[h * 4], high[h * 4 + 1], high[h * 4 + 2], high[h * 4 + 3], b.z, b.w);
      }
      acc[n][0][0] = fmaf(s.x * x.scales[0], (float)(c[0] * 256 + c[1]), acc[n][0][0]);
      acc[n][1][0] = fmaf(s.y * x.scales[0], (float)(c[2] * 256 + c[3]), acc[n][1][0]);
    }
  } else if constexpr (KIND == INT8) {
#pragma unroll
    for (int n = 0; n < N; ++n) {
      const Columns<KIND> x = columns(n);
      float sums[2] = {acc[n][0][0], acc[n][1][0]};
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        const uint4& b = x.values[j / 2];
        add_bytes(sums, w, j, j & 1 ? b.z : b.x, j & 1 ? b.w : b.y, x.scales[0], x.sums[j]);
      }
      acc[n][0][0] = sums[0], acc[n][1][0] = sums[1];
    }
  } else {
#pragma unroll
    for (int n = 0; n < N; ++n) {
      const Columns<KIND> x = columns(n);
      float c[4] = {0, 0, 0, 0};
#pragma unroll
      for (int u = 0; u < 4; ++u) {
        const uint4& b = x.values[u / 2];
        mma_half<KIND>(c, w.values[u], u & 1 ? b.z : b.x, u & 1 ? b.w : b.y);
      }
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        acc[n][0][i] = fmaf(x.scales[i], c[i], acc[n][0][i]);
        acc[n][1][i] = fmaf(x.scales[i], c[2 + i], acc[n][1][i]);
      }
    }
  }
}
