// One tile of weights, 16 outputs of one k-slot, times the activations of a few tokens.
//
// Quantised weights meet activations in 16-bit fixed point, two signed bytes, with one scale for each token and 128 inputs:
// the sums of a tile are whole numbers and exact, so a token's result does not depend on what other tokens share the
// product. Each byte of a token is a column of the matrix instruction, so that eight columns hold four tokens.
#pragma once
#include "common.cuh"

enum Kind { INT4, INT8, F16, BF16 };

// Most inputs of a slot's chunk, and those for which a token has one scale.
constexpr int CHUNK = 256, SCALED = 128;

// K: inputs of a tile; BYTES: its size; TILES: most of a chunk; SUMS: sums of whole numbers that come with a token's inputs of a
// tile and undo the zero points, one for each 32 inputs (INT8); KEPT: groups of tokens whose inputs of a tile registers hold, of
// those of a chunk.
template <int KIND> struct Form;
template <> struct Form<INT4> { static constexpr int K = 128, BYTES = 1056, TILES = 2, SUMS = 0, KEPT = 4; };
template <> struct Form<INT8> { static constexpr int K = 128, BYTES = 2240, TILES = 2, SUMS = 4, KEPT = 3; };
template <> struct Form<F16> { static constexpr int K = 64, BYTES = 2048, TILES = 4, SUMS = 0, KEPT = 5; };
template <> struct Form<BF16> { static constexpr int K = 64, BYTES = 2048, TILES = 4, SUMS = 0, KEPT = 5; };

__device__ __forceinline__ void mma_s8(int (&c)[4], u32 a0, u32 a1, u32 a2, u32 a3, u32 b0, u32 b1) {
  asm(
      "mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
      : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}
__device__ __forceinline__ void mma_u8s8(int (&c)[4], u32 a0, u32 a1, u32 a2, u32 a3, u32 b0, u32 b1) {
  asm(
      "mma.sync.aligned.m16n8k32.row.col.s32.u8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
      : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
}
template <int KIND> __device__ __forceinline__ void mma_half(float (&c)[4], const uint4& a, u32 b0, u32 b1) {
  if constexpr (KIND == F16)
    asm(
        "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w), "r"(b0), "r"(b1));
  else
    asm(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w), "r"(b0), "r"(b1));
}

// Eight inputs of a token from `first` on.
__device__ __forceinline__ uint4 eight_inputs(const unsigned short* row, const u32* permutation, u32 first) {
  if (!permutation) return *(const uint4*)(row + first);
  const u32* order = permutation + first;
  uint4 values;
  u32* pairs = &values.x;
#pragma unroll
  for (int i = 0; i < 4; ++i) pairs[i] = row[order[2 * i]] | (u32)row[order[2 * i + 1]] << 16;
  return values;
}

// What numbers become in fixed point: whole numbers of 16 bits after multiplication by `inverse`, and what undoes it, sixteen times
// less where weights are sixteen times too large.
template <int KIND> struct Scale {
  float inverse, scale;
  __device__ __forceinline__ explicit Scale(float greatest)
      : inverse(__fdividef(32639.f, greatest)), scale(greatest * (KIND == INT4 ? 1.f / (32639.f * 16.f) : 1.f / 32639.f)) {}
  // A whole number: the bits of a float near 1.5 * 2^23 are one; 128 more make the low byte signed.
  __device__ __forceinline__ u32 operator()(float v) const { return __float_as_uint(fmaf(v, inverse, 12582912.f + 128.f)); }
};
constexpr u32 WHOLE_ZERO = 0x4b400080u, LOW_SIGNS = 0x80808080u;
// The high and the low bytes of four whole numbers.
struct Bytes {
  u32 high, low;
  __device__ __forceinline__ explicit Bytes(const u32 (&y)[4]) {
    const u32 a = __byte_perm(y[0], y[1], 0x5140), b = __byte_perm(y[2], y[3], 0x5140);
    high = __byte_perm(a, b, 0x7632), low = __byte_perm(a, b, 0x5410) ^ LOW_SIGNS;
  }
};
// So large is nothing less than this.
constexpr float LEAST = 1e-30f;

// Eight activations a lane in the form of the matrix instructions: two planes of bytes, or halves.
template <int KIND> struct Made {
  u32 high[2], low[2];   // halves: the first and the last four
  float scale;
  int sum;               // INT8: of whole numbers, over SUM_LANES lanes
};
// Lanes that have the 32 inputs of a sum.
constexpr int SUM_LANES = 4;

// A token's chunk of a slot as a warp holds it, eight bf16 values a lane, made into that form.
template <int KIND> __device__ __forceinline__ Made<KIND> make(const uint4& values) {
  Made<KIND> made;
  const u32 pairs[4] = {values.x, values.y, values.z, values.w};
  if constexpr (KIND == BF16) {
    made.high[0] = values.x, made.high[1] = values.y, made.low[0] = values.z, made.low[1] = values.w, made.scale = 1.f;
    return made;
  }
  u32 most = 0;
#pragma unroll
  for (int i = 0; i < 4; ++i) asm("max.bf16x2 %0, %0, %1;" : "+r"(most) : "r"(pairs[i] & 0x7fff7fffu));
  // Half of the lanes have what shares a scale.
  most = __reduce_max_sync(threadIdx.x & 16 ? 0xffff0000u : 0xffffu, max(most << 16, most & 0xffff0000u));
  const float greatest = fmaxf(__uint_as_float(most), LEAST);
  if constexpr (KIND == F16) {
    // Half precision reaches no further than 65504.
    const float inverse = __fdividef(1.f, greatest);
    u32 out[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const __half2 pair = __floats2half2_rn(bf16_low(pairs[i]) * inverse, bf16_high(pairs[i]) * inverse);
      out[i] = *(const u32*)&pair;
    }
    made.high[0] = out[0], made.high[1] = out[1], made.low[0] = out[2], made.low[1] = out[3], made.scale = greatest;
    return made;
  }
  const Scale<KIND> fixed(greatest);
  int sum = 0;
#pragma unroll
  for (int j = 0; j < 4; j += 2) {
    u32 y[4];
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      const u32 pair = pairs[j + e / 2];
      y[e] = fixed(e & 1 ? bf16_high(pair) : bf16_low(pair));
      sum += (int)(y[e] - WHOLE_ZERO);
    }
    const Bytes bytes(y);
    made.high[j / 2] = bytes.high, made.low[j / 2] = bytes.low;
  }
  if constexpr (KIND == INT8) {
#pragma unroll
    for (int o = 1; o < SUM_LANES; o <<= 1) sum += __shfl_xor_sync(~0u, sum, o);
    made.sum = sum;
  }
  made.scale = fixed.scale;
  return made;
}

// Eight numbers of four bits with a sign as bytes, sixteen times too large: the lower ones of each byte, or the upper ones.
__device__ __forceinline__ u32 lower(u32 numbers) { return numbers << 4 & 0xf0f0f0f0u; }
__device__ __forceinline__ u32 upper(u32 numbers) { return numbers & 0xf0f0f0f0u; }

// A tile in registers.
template <int KIND> struct Tile;
template <> struct Tile<INT4> {
  uint4 codes[2];
  u32 scales;
  __device__ __forceinline__ void load(const char* from, int lane) {
    codes[0] = *(const uint4*)(from + lane * 16);
    codes[1] = *(const uint4*)(from + 512 + lane * 16);
    scales = *(const u32*)(from + 1024 + (lane >> 2) * 4);
  }
};
template <> struct Tile<INT8> {
  uint4 codes[4];
  u32 scales[4], zeros[4];
  __device__ __forceinline__ void load(const char* from, int lane) {
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      codes[j] = *(const uint4*)(from + j * 512 + lane * 16);
      scales[j] = *(const u32*)(from + 2048 + j * 32 + (lane >> 2) * 4);
      zeros[j] = *(const unsigned short*)(from + 2176 + j * 16 + (lane >> 2) * 2);
    }
  }
};
struct HalfTile {
  uint4 values[4];
  __device__ __forceinline__ void load(const char* from, int lane) {
#pragma unroll
    for (int u = 0; u < 4; ++u) values[u] = *(const uint4*)(from + u * 512 + lane * 16);
  }
};
template <> struct Tile<F16> : HalfTile {};
template <> struct Tile<BF16> : HalfTile {};

// Tokens of columns 2t and 2t + 1 of the n-th eight columns, where t is the lane in its group of four. Quantised kinds have
// one token there, in two bytes; others have two.
template <int KIND> constexpr int COLUMN_TOKENS = KIND == INT4 || KIND == INT8 ? 4 : 8;

// acc[row half] += a quarter of a tile of bytes times a token's two bytes of 32 inputs.
__device__ __forceinline__ void add_bytes(float (&acc)[2], const Tile<INT8>& w, int quarter, u32 b0, u32 b1, float scale, int sum) {
  int c[4] = {0, 0, 0, 0};
  const uint4& a = w.codes[quarter];
  mma_u8s8(c, a.x, a.y, a.z, a.w, b0, b1);
  const float2 s = __half22float2(*(const __half2*)&w.scales[quarter]);
  acc[0] = fmaf(s.x * scale, (float)(c[0] * 256 + c[1] - (int)(w.zeros[quarter] & 255) * sum), acc[0]);
  acc[1] = fmaf(s.y * scale, (float)(c[2] * 256 + c[3] - (int)(w.zeros[quarter] >> 8) * sum), acc[1]);
}
