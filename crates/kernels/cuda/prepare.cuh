// Makes the inputs of several tokens, once for all blocks of a product.
#pragma once
#include "chunk.cuh"
#include "group.cuh"
#include "ring.cuh"

// What is made stands as [tile][slot][groups] of Group; the token is blockIdx.y.
template <int KIND> __device__ __forceinline__ void prepare(const PrepareParams& p) {
  using G = Group<KIND>;
  let_next_begin();
  wait_for_previous();
  const u32 lane = threadIdx.x, token = blockIdx.y;
  const uint4 values = chunk_inputs<KIND>(p, token, lane);
  const ChunkPlace place(p);
  const u32 groups = (p.tokens + G::TOKENS - 1) / G::TOKENS, row = (place.tile * CONSUMERS + place.slot) * groups;
  char* to = (char*)p.output + (size_t)(row + token / G::TOKENS) * G::BYTES;
  store_inputs<KIND>(values, to, (size_t)CONSUMERS * groups * G::BYTES, token, p.chunk, lane);
}
extern "C" __global__ void __launch_bounds__(32) prepare_int4(const __grid_constant__ PrepareParams p) { prepare<INT4>(p); }
extern "C" __global__ void __launch_bounds__(32) prepare_int8(const __grid_constant__ PrepareParams p) { prepare<INT8>(p); }
extern "C" __global__ void __launch_bounds__(32) prepare_f16(const __grid_constant__ PrepareParams p) { prepare<F16>(p); }
extern "C" __global__ void __launch_bounds__(32) prepare_bf16(const __grid_constant__ PrepareParams p) { prepare<BF16>(p); }
