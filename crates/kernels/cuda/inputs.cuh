// How the kernels for many tokens take the inputs of one tile: columns of 128 bytes as the matrix instructions of a warpgroup want them,
// and beside them a scale a token. A token has two columns of bytes, high and low, or one of halves. Tile stands after tile.
#pragma once
#include "tile.cuh"

// Bytes of a tile's inputs with room for so many tokens, for weights of four bits: values, and all.
__host__ __device__ constexpr u32 value_bytes(u32 width) { return width * 256; }
__host__ __device__ constexpr u32 input_bytes(u32 width) { return value_bytes(width) + width * 4; }
template <int KIND, int WIDTH> struct Inputs {
  static constexpr int VALUES = KIND == INT4 ? value_bytes(WIDTH) : WIDTH * 128, BESIDE = WIDTH * 4, BYTES = VALUES + BESIDE;
};

// Where four bytes of a token's inputs from the k-th of the tile on stand. Sixteen neighbours of a tile's half are four of each half of
// two matrix instructions, and sixteen-byte pieces of a column are exchanged.
__device__ __forceinline__ u32 in_column(u32 column, u32 byte) { return column * 128 + (byte ^ (column & 7) << 4); }
__device__ __forceinline__ u32 place_of(u32 token, u32 low, u32 k) {
  return in_column(token * 2 + low, k / 64 * 64 + k % 16 / 8 * 32 + k % 8 / 4 * 16 + k % 64 / 16 * 4);
}
// A token's scale; the tile has so many bytes of values.
__device__ __forceinline__ float* scale_of(char* tile, u32 values, u32 token) { return (float*)(tile + values) + token; }

// The high and low bytes of four of a token's inputs, from the k-th of the tile on.
__device__ __forceinline__ void put_inputs(char* tile, u32 token, u32 k, u32 high, u32 low) {
  *(u32*)(tile + place_of(token, 0, k)) = high;
  *(u32*)(tile + place_of(token, 1, k)) = low;
}
// Eight inputs.
__device__ __forceinline__ void put_inputs(char* tile, u32 token, u32 k, const Made<INT4>& made) {
#pragma unroll
  for (int i = 0; i < 2; ++i) put_inputs(tile, token, k + i * 4, made.high[i], made.low[i]);
}
// Of four neighbours a lane of the matrix instruction has two in each half of sixteen.
__device__ __forceinline__ void put_inputs(char* tile, u32 token, u32 k, const Made<F16>& made) {
  const u32 byte = k / 16 * 32 + k % 16 / 8 * 8;
  *(uint2*)(tile + in_column(token, byte)) = {made.high[0], made.low[0]};
  *(uint2*)(tile + in_column(token, byte + 16)) = {made.high[1], made.low[1]};
}
