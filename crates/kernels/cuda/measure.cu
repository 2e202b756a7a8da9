// What the device can do at best, measured beside what it does: reading memory, matrix instructions. And weights of no meaning.
#include "common.cuh"

struct ReadParams {
  u64 from;    // uint4 [count]
  u64 count;
  u64 result;  // u32
};

// Reads everything once. The sum is stored only if it is a number that no sum is expected to be, so that reads are not left out.
extern "C" __global__ void measure_read(const __grid_constant__ ReadParams p) {
  const uint4* from = (const uint4*)p.from;
  const u64 stride = (u64)gridDim.x * blockDim.x;
  u32 sum = 0;
  u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x;
  for (; i + 3 * stride < p.count; i += 4 * stride) {
    uint4 v[4];
#pragma unroll
    for (int j = 0; j < 4; ++j) v[j] = __ldcs(from + i + j * stride);
#pragma unroll
    for (int j = 0; j < 4; ++j) sum += v[j].x ^ v[j].y ^ v[j].z ^ v[j].w;
  }
  for (; i < p.count; i += stride) sum += __ldcs(from + i).x;
  if (sum == 0x12345678u) *(u32*)p.result = sum;
}

struct FillParams {
  u64 to;     // u32 [count]
  u64 count;
  u64 seed;
  u32 tile;   // bytes of a tile
  u32 codes;  // of these, bytes of codes; scales follow, which become numbers in [2^-9, 2^-8)
};

__device__ __forceinline__ u32 scrambled(u64 x) {
  x ^= x >> 31, x *= 0x7fb5d329728ea185ull, x ^= x >> 27, x *= 0x81dadef4bc2dd44dull, x ^= x >> 33;
  return (u32)x;
}

extern "C" __global__ void measure_fill(const __grid_constant__ FillParams p) {
  for (u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x; i < p.count; i += (u64)gridDim.x * blockDim.x) {
    const u32 bits = scrambled(i + p.seed);
    ((u32*)p.to)[i] = i * 4 % p.tile < p.codes ? bits : (bits & 0x03ff03ffu) | 0x18001800u;
  }
}

struct NumbersParams {
  u64 to;     // bf16x2 [count]
  u64 count;
  u64 seed;
};

extern "C" __global__ void measure_numbers(const __grid_constant__ NumbersParams p) {
  for (u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x; i < p.count; i += (u64)gridDim.x * blockDim.x)
    ((u32*)p.to)[i] = (scrambled(i + p.seed) & 0x807f807fu) | 0x3f003f00u;
}

struct MatrixParams {
  u64 result;  // u32
  u32 rounds;
  u32 pad;
};

// Eight independent products of a matrix instruction at a time, over and over, in every warp.
#define MATRIX(name, INSTRUCTION, REGISTER, TYPE)                                                                     \
  extern "C" __global__ void __launch_bounds__(512) name(const __grid_constant__ MatrixParams p) {                    \
    TYPE c[8][4] = {};                                                                                                \
    u32 a[4] = {threadIdx.x, threadIdx.x * 3, threadIdx.x * 5, threadIdx.x * 7}, b[2] = {threadIdx.x * 11, p.rounds};   \
    for (u32 i = 0; i < p.rounds; ++i)                                                                                \
      _Pragma("unroll") for (int j = 0; j < 8; ++j)                                                                   \
        asm volatile(INSTRUCTION " {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"                              \
                     : "+" REGISTER(c[j][0]), "+" REGISTER(c[j][1]), "+" REGISTER(c[j][2]), "+" REGISTER(c[j][3])     \
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));                             \
    float sum = 0;                                                                                                    \
    for (int j = 0; j < 8; ++j) sum += (float)c[j][0] + (float)c[j][1] + (float)c[j][2] + (float)c[j][3];             \
    if (sum == 123.456f) *(float*)p.result = sum;                                                                     \
  }

MATRIX(measure_matrix_u8s8, "mma.sync.aligned.m16n8k32.row.col.s32.u8.s8.s32", "r", int)
MATRIX(measure_matrix_f16, "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32", "f", float)
