// What the kernels that make the inputs of several tokens share: a warp has one chunk of a slot of one token, and blockIdx.x counts
// the chunks of all slots.
#pragma once
#include "tile.cuh"

struct PrepareParams {
  u64 input;         // bf16 [T, K]
  u64 permutation;   // u32 [K] or 0
  u64 output;        // as the kernel of the product takes it
  u32 tokens, inputs;
  u32 tiles;         // of a slot along k
  u32 chunk;         // of these, tiles of a chunk
};

// Where the chunk begins.
struct ChunkPlace {
  u32 slot, tile;
  __device__ __forceinline__ explicit ChunkPlace(const PrepareParams& p) {
    const u32 chunks = p.tiles / p.chunk;
    slot = blockIdx.x / chunks, tile = blockIdx.x % chunks * p.chunk;
  }
};

// Eight inputs a lane of the chunk; zeros beyond it and beyond K.
template <int KIND> __device__ __forceinline__ uint4 chunk_inputs(const PrepareParams& p, u32 token, u32 lane) {
  const u32 span = p.chunk * Form<KIND>::K, k = blockIdx.x * span + lane * 8;
  if (lane * 8 >= span || k >= p.inputs) return {0, 0, 0, 0};
  return eight_inputs((const unsigned short*)p.input + (size_t)token * p.inputs, (const u32*)p.permutation, k);
}
