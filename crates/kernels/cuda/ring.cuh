// A ring of weight stages in shared memory. A stage holds one tile for each slot of the block. From Hopper on a producer warp fills
// it with bulk copies; before, every consumer copies its own tiles.
#pragma once
#include "common.cuh"

__device__ __forceinline__ u32 shared_address(const void* p) { return (u32)__cvta_generic_to_shared(p); }
__device__ __forceinline__ void barrier_init(u64* b, int arrivals) { asm volatile("mbarrier.init.shared.b64 [%0], %1;" ::"r"(shared_address(b)), "r"(arrivals)); }
__device__ __forceinline__ void barrier_arrive(u64* b) {
  asm volatile("{\n.reg .b64 t;\nmbarrier.arrive.shared.b64 t, [%0];\n}" ::"r"(shared_address(b)) : "memory");
}
__device__ __forceinline__ void barrier_wait(u64* b, u32 parity) {
#if __CUDA_ARCH__ >= 900
  asm volatile("{\n.reg .pred p;\nW:\nmbarrier.try_wait.parity.shared::cta.b64 p, [%0], %1;\n@p bra D;\nbra W;\nD:\n}" ::"r"(shared_address(b)), "r"(parity) : "memory");
#else
  asm volatile("{\n.reg .pred p;\nW:\nmbarrier.test_wait.parity.shared.b64 p, [%0], %1;\n@p bra D;\nbra W;\nD:\n}" ::"r"(shared_address(b)), "r"(parity) : "memory");
#endif
}

#if __CUDA_ARCH__ >= 900
__device__ __forceinline__ void barrier_expect(u64* b, u32 bytes) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(b)), "r"(bytes) : "memory");
}
__device__ __forceinline__ void bulk_copy(void* to, const void* from, u32 bytes, u64* b) {
  asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(shared_address(to)), "l"(from), "r"(bytes), "r"(shared_address(b)) : "memory");
}
__device__ __forceinline__ u32 cluster_rank() {
  u32 rank;
  asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  return rank;
}
// Every thread of the cluster arrives; what they did before is seen by those that wait.
__device__ __forceinline__ void cluster_arrive() { asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory"); }
__device__ __forceinline__ void cluster_wait() { asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory"); }
#endif

constexpr int CONSUMERS = 16;

// Where a warp is in the ring.
struct Place {
  int slot = 0;
  u32 parity = 0;
  __device__ __forceinline__ void next(int slots) {
    if (++slot == slots) slot = 0, parity ^= 1;
  }
};

// The stages of a block in the order of its work: as they stand, or BY_TILE, where all row blocks of a tile along k come before
// the next tile. STAGE: bytes from one to the next.
template <int STAGE, bool BY_TILE> struct Walk {
  const char* from;
  u32 row_blocks, chunk;   // of a part, tiles that stand together
  u32 part;                // stages of a part
  u32 blocks;              // row blocks of all parts, of two at most
  u32 block = 0, tile = 0, start = 0;

  __device__ __forceinline__ const char* next() {
    if constexpr (!BY_TILE) {
      const char* stage = from;
      from += STAGE;
      return stage;
    }
    const u32 second = block >= row_blocks, at = second * part + start + (block - second * row_blocks) * chunk;
    if (++block == blocks) {
      block = 0, ++start;
      if (++tile == chunk) tile = 0, start += (row_blocks - 1) * chunk;
    }
    return from + (size_t)at * STAGE;
  }
};

// SLOTS: tiles of a stage that are the block's.
template <int TILE, int SLOTS, bool BY_TILE> struct Ring {
  static constexpr int STAGE = SLOTS * TILE;
  using Stages = Walk<CONSUMERS * TILE, BY_TILE>;
  char* data;
  u64 *full, *empty;
  int slots;
  Place place;

  __device__ __forceinline__ void init() {
    for (int i = 0; i < slots; ++i) barrier_init(&full[i], 1), barrier_init(&empty[i], CONSUMERS);
  }

#if __CUDA_ARCH__ >= 900
  // The producer, one thread: `count` stages, at most `flight` of them under way.
  __device__ __forceinline__ void produce(Stages stages, int count, int flight) {
    Place landed;
    for (int i = 0; i < count; ++i) {
      if (i >= slots) barrier_wait(&empty[place.slot], place.parity ^ 1);
      if (i >= flight) barrier_wait(&full[landed.slot], landed.parity), landed.next(slots);
      barrier_expect(&full[place.slot], STAGE);
      bulk_copy(data + place.slot * STAGE, stages.next(), STAGE, &full[place.slot]);
      place.next(slots);
    }
  }
  __device__ __forceinline__ void begin(const Stages&, int, int, int) {}
  // The slot's tile of the next stage.
  __device__ __forceinline__ const char* tile(int slot) {
    barrier_wait(&full[place.slot], place.parity);
    return data + place.slot * STAGE + slot * TILE;
  }
  // Gives the stage back; the tile is in registers.
  __device__ __forceinline__ void give_back(int lane) {
    __syncwarp();
    if (!lane) barrier_arrive(&empty[place.slot]);
    place.next(slots);
  }
#else
  Stages stages;
  int left, lane;
  __device__ __forceinline__ void ask() {
    if (left > 0) {
      --left;
      char* to = data + place.slot * STAGE;
      const char* from = stages.next();
      for (int i = lane * 16; i < TILE; i += 512)
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(shared_address(to + i)), "l"(from + i) : "memory");
    }
    asm volatile("cp.async.commit_group;" ::: "memory");
  }
  __device__ __forceinline__ void begin(const Stages& all, int count, int slot, int own_lane) {
    data += slot * TILE, stages = all, stages.from += slot * TILE, left = count, lane = own_lane;
    for (int i = 0; i < slots; ++i) ask(), place.next(slots);
  }
  __device__ __forceinline__ const char* tile(int) {
    // All groups but the youngest slots - 1.
    switch (slots) {
      case 2: asm volatile("cp.async.wait_group 1;" ::: "memory"); break;
      case 3: asm volatile("cp.async.wait_group 2;" ::: "memory"); break;
      default: asm volatile("cp.async.wait_group 3;" ::: "memory"); break;
    }
    __syncwarp();
    return data + place.slot * STAGE;
  }
  __device__ __forceinline__ void give_back(int) {
    __syncwarp();
    ask();
    place.next(slots);
  }
#endif
};
