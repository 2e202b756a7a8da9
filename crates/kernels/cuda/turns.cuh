// What the matrix instructions of a warpgroup do with one tile of a warp's rows and all tokens, for each kind of weights.
#pragma once
#include "inputs.cuh"
#include "wgmma.cuh"

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

// Sets of four tokens, one of which a lane of four has: sums of its rows `row` and `row + 8`.
template <int WIDTH> using RowSums = float[WIDTH / 4][2];

template <int KIND, int WIDTH> struct Turns;

// A token has two columns, so that a lane's sums of one instruction are those of one token.
template <int WIDTH> struct Turns<INT4, WIDTH> {
  // Columns of one instruction, and instructions one after another for all.
  static constexpr int COLUMNS = WIDTH == 64 ? 64 : 2 * WIDTH, TURNS = 2 * WIDTH / COLUMNS;
  // Of instructions, sums in registers.
  static constexpr int WHOLES = WIDTH == 64 ? 1 : 2;
  using Whole = int[COLUMNS / 8][4];

  u32 codes[4][4];
  float2 scales;
  Columns columns;
  const float* token_scales;

  __device__ __forceinline__ static int token(int set, int lane) { return set * 4 + (lane & 3); }
  __device__ __forceinline__ void load(const char* weights, const char* values, const char* beside, int lane) {
    Tile<INT4> tile;
    tile.load(weights, lane);
    const u32 packed[8] = {tile.codes[0].x, tile.codes[0].y, tile.codes[0].z, tile.codes[0].w, tile.codes[1].x, tile.codes[1].y, tile.codes[1].z, tile.codes[1].w};
#pragma unroll
    for (int i = 0; i < 8; ++i) codes[i / 4 * 2][i % 4] = lower(packed[i]), codes[i / 4 * 2 + 1][i % 4] = upper(packed[i]);
    scales = __half22float2(*(const __half2*)&tile.scales);
    columns = Columns(values);
    token_scales = (const float*)beside + (lane & 3);
  }
  __device__ __forceinline__ void begin(Whole& whole, int turn) const {
    wgmma_begin();
#pragma unroll
    for (int k = 0; k < 4; ++k) wgmma(whole, codes[k], columns.from(turn * COLUMNS * 128 + k * 32), k > 0);
    wgmma_commit();
  }
  __device__ __forceinline__ void add(RowSums<WIDTH>& acc, const Whole& whole, int turn) const {
#pragma unroll
    for (int n = 0; n < COLUMNS / 8; ++n) {
      const int set = turn * (COLUMNS / 8) + n;
      const float scale = token_scales[set * 4];
      acc[set][0] = fmaf(scales.x * scale, (float)(whole[n][0] * 256 + whole[n][1]), acc[set][0]);
      acc[set][1] = fmaf(scales.y * scale, (float)(whole[n][2] * 256 + whole[n][3]), acc[set][1]);
    }
  }
};

// A token has one column: a lane's sums are those of two neighbours.
template <int WIDTH> struct Turns<F16, WIDTH> {
  static constexpr int COLUMNS = WIDTH, TURNS = 1, WHOLES = 1;
  using Whole = float[COLUMNS / 8][4];

  u32 halves[4][4];
  Columns columns;
  const float2* token_scales;

  __device__ __forceinline__ static int token(int set, int lane) { return set / 2 * 8 + (lane & 3) * 2 + set % 2; }
  __device__ __forceinline__ void load(const char* weights, const char* values, const char* beside, int lane) {
    Tile<F16> tile;
    tile.load(weights, lane);
#pragma unroll
    for (int k = 0; k < 4; ++k) halves[k][0] = tile.values[k].x, halves[k][1] = tile.values[k].y, halves[k][2] = tile.values[k].z, halves[k][3] = tile.values[k].w;
    columns = Columns(values);
    token_scales = (const float2*)beside + (lane & 3);
  }
  __device__ __forceinline__ void begin(Whole& whole, int) const {
    wgmma_begin();
#pragma unroll
    for (int k = 0; k < 4; ++k) wgmma(whole, halves[k], columns.from(k * 32), k > 0);
    wgmma_commit();
  }
  __device__ __forceinline__ void add(RowSums<WIDTH>& acc, const Whole& whole, int) const {
#pragma unroll
    for (int n = 0; n < COLUMNS / 8; ++n) {
      const float2 scale = token_scales[n * 4];
      acc[2 * n][0] = fmaf(scale.x, whole[n][0], acc[2 * n][0]), acc[2 * n][1] = fmaf(scale.x, whole[n][2], acc[2 * n][1]);
      acc[2 * n + 1][0] = fmaf(scale.y, whole[n][1], acc[2 * n + 1][0]), acc[2 * n + 1][1] = fmaf(scale.y, whole[n][3], acc[2 * n + 1][1]);
    }
  }
};

#endif
