// Makes the inputs of several tokens, once for all blocks of a product.
#pragma once
#include "group.cuh"
#include "ring.cuh"

struct PrepareParams {
  u64 input;         // bf16 [T, K]
  u64 permutation;   // u32 [K] or 0
  u64 output;        // [tile][slot][groups] of Group
  u32 tokens, inputs, tiles, chunk;
};

// A warp makes one chunk of a slot of one token: the slot's chunk is blockIdx.x, the token blockIdx.y.
template <int KIND> __device__ __forceinline__ void prepare(const PrepareParams& p) {
  using G = Group<KIND>;
  let_next_begin();
  wait_for_previous();
  const u32 lane = threadIdx.x, token = blockIdx.y, chunks = p.tiles / p.chunk, span = p.chunk * Form<KIND>::K;
  const u32 slot = blockIdx.x / chunks, chunk = blockIdx.x % chunks, k = blockIdx.x * span + lane * 8;
  uint4 values = {0, 0, 0, 0};
  if (lane * 8 < span && k < p.inputs) values = eight_inputs((const unsigned short*)p.input + (size_t)token * p.inputs, (const u32*)p.permutation, k);
  const u32 groups = (p.tokens + G::TOKENS - 1) / G::TOKENS, row = (chunk * p.chunk * CONSUMERS + slot) * groups;
  char* to = (char*)p.output + (size_t)(row + token / G::TOKENS) * G::BYTES;
  store_inputs<KIND>(values, to, (size_t)CONSUMERS * groups * G::BYTES, token, p.chunk, lane);
}
extern "C" __global__ void __launch_bounds__(32) prepare_int4(const __grid_constant__ PrepareParams p) { prepare<INT4>(p); }
extern "C" __global__ void __launch_bounds__(32) prepare_int8(const __grid_constant__ PrepareParams p) { prepare<INT8>(p); }
extern "C" __global__ void __launch_bounds__(32) prepare_f16(const __grid_constant__ PrepareParams p) { prepare<F16>(p); }
extern "C" __global__ void __launch_bounds__(32) prepare_bf16(const __grid_constant__ PrepareParams p) { prepare<BF16>(p); }
