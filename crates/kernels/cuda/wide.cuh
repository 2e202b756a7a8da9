// What products with many tokens share: which rows and slots a block has, and the ring through which its weights and inputs come.
#pragma once
#include "after.cuh"
#include "inputs.cuh"
#include "params.cuh"
#include "wgmma.cuh"

// Warps that multiply, the first of those that ask for weights, and the one that asks for inputs.
constexpr int WARPS = 12, WEIGHTS = WARPS, VALUES = WARPS + 3, THREADS = 512;
constexpr int TOKENS = 8;        // that a block prepares
constexpr int MOST_FLIGHT = 5;   // as instructions name the number, there is one for each
// A letter box holds this until a sum is sent: a NaN of other bits than arithmetic makes, so that no sum is it.
constexpr u32 NOTHING = 0xffffffff;

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

template <int KIND, int WIDTH, int AFTER> struct Stream {
  // Blocks that share rows, and a block's slots.
  static constexpr int TEAM = AFTER == GATED || KIND == F16 ? 1 : 4, SLOTS = CONSUMERS / TEAM;
  static constexpr int TILE = Form<KIND>::BYTES;
  using I = Inputs<KIND, WIDTH>;

  const ProductParams& p;
  const int warp, lane;
  char *values, *beside, *weights;
  u64 *weights_full, *values_full, *empty;
  u32 rank, first_part;   // of the block in its team, and of the team
  Place place;

  __device__ __forceinline__ Stream(const ProductParams& params, char* shared) : p(params), warp(__shfl_sync(~0u, threadIdx.x / 32, 0)), lane(threadIdx.x & 31) {
    rank = blockIdx.x % TEAM, first_part = blockIdx.x - rank;
    values = shared, beside = values + p.stages * I::VALUES, weights = beside + p.stages * I::BESIDE;
    weights_full = (u64*)(weights + p.stages * WARPS * TILE), values_full = weights_full + p.stages, empty = values_full + p.stages;
    if (!threadIdx.x) {
      for (int i = 0; i < p.stages; ++i) barrier_init(&weights_full[i], 3 * 32), barrier_init(&values_full[i], 1), barrier_init(&empty[i], WARPS);
      asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
    }
    __syncthreads();
  }

  // Row blocks of the team's parts.
  __device__ __forceinline__ u32 row_blocks() const { return p.row_blocks * min((u32)TEAM, p.parts - first_part); }
  // Gates and what they gate have as many warps each.
  __device__ __forceinline__ u32 passes() const {
    return AFTER == GATED ? (p.row_blocks / 2 + WARPS / 2 - 1) / (WARPS / 2) : (p.row_blocks * TEAM + WARPS - 1) / WARPS;
  }
  // The row block of a warp among the team's; beyond them it has none.
  __device__ __forceinline__ u32 block_of(u32 pass, u32 warp) const {
    if (AFTER != GATED) return pass * WARPS + warp;
    const u32 half = p.row_blocks / 2, at = pass * (WARPS / 2) + warp % (WARPS / 2);
    return at < half ? at + warp / (WARPS / 2) * half : p.row_blocks;
  }
  __device__ __forceinline__ bool has_block(u32 pass, u32 warp) const { return block_of(pass, warp) < row_blocks(); }

  // Weights of all warps and inputs, step after step: [pass][slot][tile].
  struct Steps {
    u32 pass = 0, slot = 0, tile = 0;
  };
  __device__ __forceinline__ void next(Steps& at) const {
    if (++at.tile == p.tiles) {
      at.tile = 0;
      if (++at.slot == SLOTS) at.slot = 0, ++at.pass;
    }
  }
  // Where the first tile of a row block is, and bytes from there to a step's.
  __device__ __forceinline__ const char* first_tile(u32 block) const {
    const u32 part = first_part + block / p.row_blocks, at = part * p.row_blocks * p.tiles + block % p.row_blocks * p.chunk;
    return (const char*)p.weights + ((size_t)at * CONSUMERS + rank * SLOTS) * TILE;
  }
  __device__ __forceinline__ u32 offset(const Steps& at) const {
    return ((at.tile / p.chunk * p.row_blocks * p.chunk + at.tile % p.chunk) * CONSUMERS + at.slot) * TILE;
  }
  __device__ __forceinline__ void ask_values(const Steps& at, int stage) const {
    const char* from = (const char*)p.input + (size_t)((rank * SLOTS + at.slot) * p.tiles + at.tile) * I::BYTES;
    barrier_expect(&values_full[stage], I::BYTES);
    bulk_copy(values + stage * I::VALUES, from, I::VALUES, &values_full[stage]);
    bulk_copy(beside + stage * I::BESIDE, from + I::VALUES, I::BESIDE, &values_full[stage]);
  }

  __device__ __forceinline__ u32 step_count() const { return passes() * SLOTS * p.tiles; }
  __device__ __forceinline__ void wait_for_room(u32 step) const {
    if (step >= p.stages) barrier_wait(&empty[place.slot], place.parity ^ 1);
  }
  // Weights are asked for before the inputs are there, by one warp for each warpgroup that multiplies. Bulk copies would be of a
  // tile each, and too many.
  __device__ __forceinline__ void produce_weights() {
    const int first = (warp - WEIGHTS) * 4;
    constexpr int PIECES = TILE / 16, REST = PIECES % 32;
    const char* from[4];
    const char* rest;
    Steps at;
    for (u32 i = 0; i < step_count(); ++i, next(at)) {
      if (!at.slot && !at.tile) {
#pragma unroll
        for (int j = 0; j < 4; ++j) from[j] = has_block(at.pass, first + j) ? first_tile(block_of(at.pass, first + j)) + lane * 16 : nullptr;
        if constexpr (REST > 0) rest = lane < 4 * REST && has_block(at.pass, first + lane / REST) ? first_tile(block_of(at.pass, first + lane / REST)) + (PIECES - REST + lane % REST) * 16 : nullptr;
      }
      wait_for_room(i);
      char* to = weights + (place.slot * WARPS + first) * TILE;
      const u32 step = offset(at);
#pragma unroll
      for (int j = 0; j < 4; ++j)
#pragma unroll
        for (int piece = 0; from[j] && piece + 32 <= PIECES; piece += 32) copy(to + j * TILE + (piece + lane) * 16, from[j] + piece * 16 + step);
      if constexpr (REST > 0)
        if (rest) copy(to + lane / REST * TILE + (PIECES - REST + lane % REST) * 16, rest + step);
      asm volatile("cp.async.mbarrier.arrive.noinc.shared.b64 [%0];" ::"r"(shared_address(&weights_full[place.slot])) : "memory");
      limit_flight();
      place.next(p.stages);
    }
  }
  __device__ __forceinline__ static void copy(char* to, const char* from) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(shared_address(to)), "l"(from) : "memory");
  }
  __device__ __forceinline__ void limit_flight() const {
    asm volatile("cp.async.commit_group;" ::: "memory");
    switch (p.flight) {
      case 1: asm volatile("cp.async.wait_group 0;" ::: "memory"); break;
      case 2: asm volatile("cp.async.wait_group 1;" ::: "memory"); break;
      case 3: asm volatile("cp.async.wait_group 2;" ::: "memory"); break;
      case 4: asm volatile("cp.async.wait_group 3;" ::: "memory"); break;
      default: asm volatile("cp.async.wait_group %0;" ::"n"(MOST_FLIGHT - 1) : "memory"); break;
    }
  }
  __device__ __forceinline__ void produce_values() {
    wait_for_previous();
    Steps at;
    for (u32 i = 0; i < step_count(); ++i, next(at)) {
      wait_for_room(i);
      ask_values(at, place.slot);
      place.next(p.stages);
    }
  }

  __device__ __forceinline__ void give_back() {
    __syncwarp();
    if (!lane) barrier_arrive(&empty[place.slot]);
    place.next(p.stages);
  }
};
#endif
