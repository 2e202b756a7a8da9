// A ring of weight stages in shared memory. A stage holds one tile for each of the sixteen consumers, and each consumer reads
// only its own. From Hopper on a producer warp fills it with bulk copies, and the blocks of a cluster fetch a part of every stage
// each, for all of them; before, every consumer copies its own tiles.
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
// Arrives at the same barrier of another block of the cluster.
__device__ __forceinline__ void barrier_arrive_at(u64* b, u32 rank) {
  asm volatile("{\n.reg .b32 r;\nmapa.shared::cluster.u32 r, %0, %1;\nmbarrier.arrive.release.cluster.shared::cluster.b64 _, [r];\n}" ::"r"(shared_address(b)), "r"(rank) : "memory");
}
__device__ __forceinline__ void bulk_copy(void* to, const void* from, u32 bytes, u64* b) {
  asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::"r"(shared_address(to)), "l"(from), "r"(bytes), "r"(shared_address(b)) : "memory");
}
// To the same place of every block in `mask`, and their barriers.
__device__ __forceinline__ void bulk_copy_to(void* to, const void* from, u32 bytes, u64* b, unsigned short mask) {
  asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster [%0], [%1], %2, [%3], %4;" ::"r"(shared_address(to)), "l"(from), "r"(bytes), "r"(shared_address(b)), "h"(mask) : "memory");
}
__device__ __forceinline__ u32 cluster_rank() {
  u32 rank;
  asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  return rank;
}
__device__ __forceinline__ void cluster_sync() {
  asm volatile("barrier.cluster.arrive.release.aligned;\nbarrier.cluster.wait.acquire.aligned;" ::: "memory");
}
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

template <int TILE, int CLUSTER> struct Ring {
  static constexpr int STAGE = CONSUMERS * TILE;
  char* data;
  u64 *full, *empty;
  int slots;
  Place place;

  __device__ __forceinline__ void init() {
    for (int i = 0; i < slots; ++i) barrier_init(&full[i], 1), barrier_init(&empty[i], CONSUMERS * CLUSTER);
  }

#if __CUDA_ARCH__ >= 900
  Place landed;
  int asked = 0;

  // The producer, one thread: `count` stages from `from` on, at most `flight` of them under way.
  __device__ __forceinline__ void produce(const char* from, int count, int flight) {
    for (int i = 0; i < count; ++i, ++asked) {
      if (asked >= slots) barrier_wait(&empty[place.slot], place.parity ^ 1);
      if (asked >= flight) barrier_wait(&full[landed.slot], landed.parity), landed.next(slots);
      barrier_expect(&full[place.slot], STAGE);
      char* to = data + place.slot * STAGE;
      const char* stage = from + (size_t)i * STAGE;
      if constexpr (CLUSTER == 1) {
        bulk_copy(to, stage, STAGE, &full[place.slot]);
      } else {
        constexpr u32 PART = STAGE / CLUSTER;
        const u32 part = cluster_rank() * PART;
        bulk_copy_to(to + part, stage + part, PART, &full[place.slot], (1 << CLUSTER) - 1);
      }
      place.next(slots);
    }
  }
  __device__ __forceinline__ void begin(const char*, int, int, int) {}
  // The warp's tile of the next stage.
  __device__ __forceinline__ const char* tile(int warp) {
    barrier_wait(&full[place.slot], place.parity);
    return data + place.slot * STAGE + warp * TILE;
  }
  // Gives the stage back; the tile is in registers.
  __device__ __forceinline__ void give_back(int lane) {
    __syncwarp();
    if constexpr (CLUSTER == 1) {
      if (!lane) barrier_arrive(&empty[place.slot]);
    } else {
      if (lane < CLUSTER) barrier_arrive_at(&empty[place.slot], lane);
    }
    place.next(slots);
  }
#else
  const char* from;   // the warp's tile of the next stage to ask for
  int left, lane;
  __device__ __forceinline__ void ask() {
    if (left > 0) {
      --left;
      char* to = data + place.slot * STAGE;
      for (int i = lane * 16; i < TILE; i += 512)
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(shared_address(to + i)), "l"(from + i) : "memory");
      from += STAGE;
    }
    asm volatile("cp.async.commit_group;" ::: "memory");
  }
  __device__ __forceinline__ void begin(const char* weights, int count, int warp, int own_lane) {
    data += warp * TILE, from = weights + warp * TILE, left = count, lane = own_lane;
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
