// Weights of a checkpoint into the tiles that the products stream, at load. What lies where: src/layout.rs and src/kind.rs.
//
// A block writes a stage, 16 outputs of all slots, a warp the tile of its slot. Each lane gathers the 16 bytes that one lane of
// the product will load, so that writes are whole lines; reads of neighbouring outputs are whole sectors.
//
// These kernels do not let the next one begin early: products read weights before they wait for the kernel before them.
#include "common.cuh"

// The place of a source among the blocks of 16 outputs of a layout.
struct Target {
  u64 tiles;        // all tiles of the layout
  u32 first, every, shift;  // block b of the source: block (first + b) % every + shift of CTA (first + b) / every
  u32 blocks;       // of a CTA
  u32 groups;       // tiles of a slot
  u32 chunk;        // of these, tiles that follow one another
};

struct QuantisedParams {
  Target target;
  u64 codes;        // u32 [K * bits / 32, N]
  u64 scales;       // f16 [groups, N]
  u64 zeros;        // u8 [groups, N]; 0 where the middle is zero
  u64 permutation;  // u32 [K]: which input stands at column k; 0 if in order
  u32 inputs, outputs, group, bits;
};

enum Float { F16, BF16, F32 };

struct DenseParams {
  Target target;
  u64 numbers;      // [rows, K]
  u32 inputs, rows;
  u32 from, to;     // formats
};

struct ConvertParams {
  u64 from, to;
  u64 count;
  u32 from_format, to_format;
};

// The tile of this warp: block blockIdx.x of the source, tile blockIdx.y of the warp's slot.
__device__ __forceinline__ char* tile_of(const Target& t, u32 slot, u32 bytes) {
  const u32 block = t.first + blockIdx.x, g = blockIdx.y;
  const u64 stage = (u64)(block / t.every) * t.blocks * t.groups + ((g / t.chunk) * t.blocks + block % t.every + t.shift) * t.chunk + g % t.chunk;
  return (char*)t.tiles + (stage * 16 + slot) * bytes;
}

// Four codes of 4 bits as four bytes.
__device__ __forceinline__ u32 spread(u32 codes) {
  codes = (codes | codes << 8) & 0x00ff00ffu;
  return (codes | codes << 4) & 0x0f0f0f0fu;
}

// The codes of columns k..k+4 as bytes, k a multiple of four; `padding` beyond the matrix.
__device__ __forceinline__ u32 four_codes(const QuantisedParams& p, u32 output, u32 k, u32 padding) {
  if (output >= p.outputs || k >= p.inputs) return padding;
  const u32* codes = (const u32*)p.codes + output;
  if (!p.permutation) {
    if (p.bits == 8) return __ldg(codes + (u64)(k / 4) * p.outputs);
    return spread(__ldg(codes + (u64)(k / 8) * p.outputs) >> k % 8 * 4 & 0xffff);
  }
  const u32 shift = p.bits == 8 ? 2 : 3, mask = (1 << p.bits) - 1;
  u32 four = 0;
#pragma unroll
  for (u32 i = 0; i < 4; ++i) {
    const u32 input = min(__ldg((const u32*)p.permutation + k + i), p.inputs - 1);
    const u32 word = __ldg(codes + (u64)(input >> shift) * p.outputs);
    four |= (word >> (input & ((1 << shift) - 1)) * p.bits & mask) << i * 8;
  }
  return four;
}

// The scale of an output for the columns from k on, as bits.
__device__ __forceinline__ u32 scale_of(const QuantisedParams& p, u32 output, u32 k) {
  if (output >= p.outputs || k >= p.inputs) return 0;
  return __ldg((const unsigned short*)p.scales + (u64)(k / p.group) * p.outputs + output);
}

__device__ __forceinline__ u32 zero_of(const QuantisedParams& p, u32 output, u32 k) {
  if (output >= p.outputs || k >= p.inputs) return 0;
  if (!p.zeros) return 1u << (p.bits - 1);
  return __ldg((const unsigned char*)p.zeros + (u64)(k / p.group) * p.outputs + output);
}

extern "C" __global__ void __launch_bounds__(512) repack_int4(const __grid_constant__ QuantisedParams p) {
  wait_for_previous();
  const u32 slot = threadIdx.x / 32, lane = threadIdx.x % 32;
  char* tile = tile_of(p.target, slot, 1056);
  const u32 row = blockIdx.x * 16 + lane / 4, k0 = (slot * p.target.groups + blockIdx.y) * 128;
#pragma unroll
  for (u32 part = 0; part < 2; ++part) {
    const u32 k = k0 + part * 64 + lane % 4 * 16;
    u32 words[4];
#pragma unroll
    for (u32 w = 0; w < 4; ++w) {
      const u32 output = row + w % 2 * 8, from = k + w / 2 * 4;
      // Less the middle, as numbers of four bits with a sign.
      words[w] = (four_codes(p, output, from, 0x08080808) | four_codes(p, output, from + 8, 0x08080808) << 4) ^ 0x88888888u;
    }
    *(uint4*)(tile + part * 512 + lane * 16) = {words[0], words[1], words[2], words[3]};
  }
  if (lane % 4 == 0) *(u32*)(tile + 1024 + lane) = scale_of(p, row, k0) | scale_of(p, row + 8, k0) << 16;
}

extern "C" __global__ void __launch_bounds__(512) repack_int8(const __grid_constant__ QuantisedParams p) {
  wait_for_previous();
  const u32 slot = threadIdx.x / 32, lane = threadIdx.x % 32;
  char* tile = tile_of(p.target, slot, 2240);
  const u32 row = blockIdx.x * 16 + lane / 4, k0 = (slot * p.target.groups + blockIdx.y) * 128;
#pragma unroll
  for (u32 part = 0; part < 4; ++part) {
    const u32 share = k0 + part * 32, k = share + lane % 4 * 8;
    u32 zeros[2], words[4];
#pragma unroll
    for (u32 half = 0; half < 2; ++half) zeros[half] = zero_of(p, row + half * 8, share);
#pragma unroll
    for (u32 w = 0; w < 4; ++w) words[w] = four_codes(p, row + w % 2 * 8, k + w / 2 * 4, zeros[w % 2] * 0x01010101u);
    *(uint4*)(tile + part * 512 + lane * 16) = {words[0], words[1], words[2], words[3]};
    if (lane % 4 == 0) {
      *(u32*)(tile + 2048 + part * 32 + lane) = scale_of(p, row, share) | scale_of(p, row + 8, share) << 16;
      *(unsigned short*)(tile + 2176 + part * 16 + lane / 2) = (unsigned short)(zeros[0] | zeros[1] << 8);
    }
  }
}

// Number `at` in another format, as bits; rounded to nearest, ties to even.
__device__ __forceinline__ u32 half_bits(u64 numbers, u64 at, u32 from, u32 to) {
  if (from == to) return __ldg((const unsigned short*)numbers + at);
  float number;
  if (from == F32) number = __ldg((const float*)numbers + at);
  else if (from == F16) number = __half2float(__ushort_as_half(__ldg((const unsigned short*)numbers + at)));
  else number = __uint_as_float((u32)__ldg((const unsigned short*)numbers + at) << 16);
  return to == F16 ? __half_as_ushort(__float2half_rn(number)) : __bfloat16_as_ushort(__float2bfloat16_rn(number));
}

extern "C" __global__ void __launch_bounds__(512) repack_dense(const __grid_constant__ DenseParams p) {
  wait_for_previous();
  const u32 slot = threadIdx.x / 32, lane = threadIdx.x % 32;
  char* tile = tile_of(p.target, slot, 2048);
  const u32 row = blockIdx.x * 16 + lane / 4, k0 = (slot * p.target.groups + blockIdx.y) * 64;
#pragma unroll
  for (u32 part = 0; part < 4; ++part) {
    u32 words[4];
#pragma unroll
    for (u32 w = 0; w < 4; ++w) {
      const u32 output = row + w % 2 * 8, k = k0 + part * 16 + lane % 4 * 4 + w / 2 * 2;
      const u64 at = (u64)output * p.inputs + k;
      const bool low = output < p.rows && k < p.inputs, high = output < p.rows && k + 1 < p.inputs;
      words[w] = low ? half_bits(p.numbers, at, p.from, p.to) : 0;
      if (high) words[w] |= half_bits(p.numbers, at + 1, p.from, p.to) << 16;
    }
    *(uint4*)(tile + part * 512 + lane * 16) = {words[0], words[1], words[2], words[3]};
  }
}

extern "C" __global__ void __launch_bounds__(256) convert(const __grid_constant__ ConvertParams p) {
  wait_for_previous();
  const u64 step = (u64)gridDim.x * blockDim.x;
  for (u64 at = (u64)blockIdx.x * blockDim.x + threadIdx.x; at < p.count; at += step)
    ((unsigned short*)p.to)[at] = (unsigned short)half_bits(p.from, at, p.from_format, p.to_format);
}
