// How the kernels for many tokens take the inputs of one tile: two columns of bytes a token, high and low, as the matrix instructions
// of a warpgroup want them, and beside them a scale each. Tile stands after tile.
#pragma once
#include "tile.cuh"

// Bytes of a tile's inputs with room for so many tokens: values, and all.
__host__ __device__ constexpr u32 value_bytes(u32 width) { return width * 256; }
__host__ __device__ constexpr u32 input_bytes(u32 width) { return value_bytes(width) + width * 4; }

// Where four bytes of a token's inputs from the k-th of the tile on stand. Sixteen neighbours of a tile's half are four of each half of
// two matrix instructions, and sixteen-byte pieces of a column are exchanged.
__device__ __forceinline__ u32 place_of(u32 token, u32 low, u32 k) {
  const u32 column = token * 2 + low, byte = k / 64 * 64 + k % 16 / 8 * 32 + k % 8 / 4 * 16 + k % 64 / 16 * 4;
  return column * 128 + (byte ^ (column & 7) << 4);
}
__device__ __forceinline__ float* scale_of(char* tile, u32 width, u32 token) { return (float*)(tile + value_bytes(width)) + token; }

// Four of a token's inputs, from the k-th of the tile on.
__device__ __forceinline__ void put_inputs(char* tile, u32 token, u32 k, const Bytes& bytes) {
  *(u32*)(tile + place_of(token, 0, k)) = bytes.high;
  *(u32*)(tile + place_of(token, 1, k)) = bytes.low;
}
