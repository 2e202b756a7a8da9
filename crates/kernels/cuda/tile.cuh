// One tile of weights, 16 outputs of one k-slot, times the activations of a few tokens.
//
// Quantised weights meet activations in 16-bit fixed point, two signed bytes, with one scale for each token and chunk of a slot:
// the sums of a tile are whole numbers and exact, so a token's result does not depend on what other tokens share the
// product. Each byte of a token is a column of the matrix instruction, so that eight columns hold four tokens.
#pragma once
#include "common.cuh"

enum Kind { INT4, INT8, F16, BF16 };

// Values of a slot that are in shared memory at once.
constexpr int CHUNK = 256;

// K: inputs of a tile; BYTES: its size; SUMS: sums of whole numbers that come with a token's chunk and undo the zero points, one
// for each 128 inputs (INT4, times 128) or 32 inputs (INT8).
template <int KIND> struct Form;
template <> struct Form<INT4> { static constexpr int K = 128, BYTES = 1056, SUMS = 2; };
template <> struct Form<INT8> { static constexpr int K = 128, BYTES = 2240, SUMS = 8; };
template <> struct Form<F16> { static constexpr int K = 64, BYTES = 2048, SUMS = 1; };
template <> struct Form<BF16> { static constexpr int K = 64, BYTES = 2048, SUMS = 1; };

// Bytes of a token's chunk in shared memory: two planes of bytes, or one of pairs.
constexpr int TOKEN = 2 * CHUNK, PLANE = CHUNK;

// What comes with the activations of a token's chunk.
template <int KIND> struct Extra {
  float scale;
  int sums[Form<KIND>::SUMS];
};

// Where a byte of a plane stands, so that the lanes of one access meet no bank twice.
template <int KIND> __device__ __forceinline__ int swizzled(int byte, int token, int plane) {
  if constexpr (KIND == INT4) return byte ^ plane * 64;
  else if constexpr (KIND == INT8) return byte ^ (plane + (token & 1) * 2) * 32;
  else return byte ^ (token & 3) * 32;
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

// A token's chunk of a slot as a warp holds it, eight bf16 values a lane, into shared memory.
template <int KIND> __device__ __forceinline__ void store_inputs(const uint4& values, char* to, Extra<KIND>* extra, int token, int lane) {
  const u32 pairs[4] = {values.x, values.y, values.z, values.w};
  if constexpr (KIND == BF16) {
    *(uint4*)(to + swizzled<KIND>(lane * 16, token, 0)) = values;
    if (!lane) extra->scale = 1.f;
    return;
  }
  u32 most = 0;
#pragma unroll
  for (int i = 0; i < 4; ++i) asm("max.bf16x2 %0, %0, %1;" : "+r"(most) : "r"(pairs[i] & 0x7fff7fffu));
  most = __reduce_max_sync(~0u, max(most << 16, most & 0xffff0000u));
  const float greatest = fmaxf(__uint_as_float(most), 1e-30f);
  if constexpr (KIND == F16) {
    // Half precision reaches no further than 65504.
    const float inverse = __fdividef(1.f, greatest);
    uint4 half;
    u32* out = &half.x;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const __half2 pair = __floats2half2_rn(bf16_low(pairs[i]) * inverse, bf16_high(pairs[i]) * inverse);
      out[i] = *(const u32*)&pair;
    }
    *(uint4*)(to + swizzled<KIND>(lane * 16, token, 0)) = half;
    if (!lane) extra->scale = greatest;
    return;
  }
  // The bits of a float near 1.5 * 2^23 are a whole number; 128 more make the low byte signed.
  const float inverse = __fdividef(32639.f, greatest);
  int sum = 0;
  u32 high[2], low[2];
#pragma unroll
  for (int j = 0; j < 4; j += 2) {
    u32 y[4];
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      const u32 pair = pairs[j + e / 2];
      y[e] = __float_as_uint(fmaf(e & 1 ? bf16_high(pair) : bf16_low(pair), inverse, 12582912.f + 128.f));
      sum += (int)(y[e] - 0x4b400080u);
    }
    const u32 a = __byte_perm(y[0], y[1], 0x5140), b = __byte_perm(y[2], y[3], 0x5140);
    high[j / 2] = __byte_perm(a, b, 0x7632);
    low[j / 2] = __byte_perm(a, b, 0x5410) ^ 0x80808080u;
  }
  *(uint2*)(to + swizzled<KIND>(lane * 8, token, 0)) = {high[0], high[1]};
  *(uint2*)(to + PLANE + swizzled<KIND>(lane * 8, token, 1)) = {low[0], low[1]};
  constexpr int SPAN = KIND == INT4 ? 16 : 4;   // lanes of a sum
#pragma unroll
  for (int o = 1; o < SPAN; o <<= 1) sum += __shfl_xor_sync(~0u, sum, o);
  if (lane % SPAN == 0) extra->sums[lane / SPAN] = KIND == INT4 ? sum * 128 : sum;
  if (!lane) extra->scale = greatest * (KIND == INT4 ? 1.f / (32639.f * 16.f) : 1.f / 32639.f);
}

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

// acc[n][row half][token of the pair] += tile * inputs. `g` is the tile's place in the chunk; tokens beyond `last` repeat it.
template <int KIND, int N>
__device__ __forceinline__ void multiply(float (&acc)[N][2][2], const Tile<KIND>& w, const char* inputs, const Extra<KIND>* extra, int g, int last, int lane) {
  const int t = lane & 3;
#pragma unroll
  for (int n = 0; n < N; ++n) {
    if constexpr (KIND == INT4) {
      const int token = min(n * 4 + (lane >> 3), last), plane = lane >> 2 & 1;
      const char* x = inputs + token * TOKEN + plane * PLANE + g * 128;
      const uint4 x0 = *(const uint4*)(x + swizzled<KIND>(t * 16, token, plane)), x1 = *(const uint4*)(x + swizzled<KIND>(64 + t * 16, token, plane));
      const Extra<KIND>& e = extra[min(n * 4 + t, last)];
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
      acc[n][0][0] = fmaf(s.x * e.scale, (float)((c[0] * 16 + d[0]) * 256 + c[1] * 16 + d[1]), acc[n][0][0]);
      acc[n][1][0] = fmaf(s.y * e.scale, (float)((c[2] * 16 + d[2]) * 256 + c[3] * 16 + d[3]), acc[n][1][0]);
    } else if constexpr (KIND == INT8) {
      const int token = min(n * 4 + (lane >> 3), last), plane = lane >> 2 & 1;
      const char* x = inputs + token * TOKEN + plane * PLANE + g * 128;
      const Extra<KIND>& e = extra[min(n * 4 + t, last)];
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        const uint2 b = *(const uint2*)(x + swizzled<KIND>(j * 32 + t * 8, token, plane));
        int c[4] = {0, 0, 0, 0};
        mma_u8s8(c, w.codes[j].x, w.codes[j].y, w.codes[j].z, w.codes[j].w, b.x, b.y);
        const float2 s = __half22float2(*(const __half2*)&w.scales[j]);
        const int sum = e.sums[g * 4 + j];
        acc[n][0][0] = fmaf(s.x * e.scale, (float)(c[0] * 256 + c[1] - (int)(w.zeros[j] & 255) * sum), acc[n][0][0]);
        acc[n][1][0] = fmaf(s.y * e.scale, (float)(c[2] * 256 + c[3] - (int)(w.zeros[j] >> 8) * sum), acc[n][1][0]);
      }
    } else {
      const int token = min(n * 8 + (lane >> 2), last);
      const char* x = inputs + token * TOKEN + g * 128;
      float c[4] = {0, 0, 0, 0};
#pragma unroll
      for (int u = 0; u < 4; ++u) {
        const uint2 b = *(const uint2*)(x + swizzled<KIND>(u * 32 + t * 8, token, 0));
        mma_half<KIND>(c, w.values[u], b.x, b.y);
      }
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const float scale = extra[min(n * 8 + t * 2 + i, last)].scale;
        acc[n][0][i] = fmaf(scale, c[i], acc[n][0][i]);
        acc[n][1][i] = fmaf(scale, c[2 + i], acc[n][1][i]);
      }
    }
  }
}
