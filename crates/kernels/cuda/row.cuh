// A row that a token is drawn from, in the hands of one block.
//
// Shares of the probability are whole numbers: the weight of the likeliest token is 2^45, and what is far below a half is nothing.
// Such sums do not depend on the order in which they are made, and none of 2^18 tokens overflows.
#pragma once
#include "block.cuh"
#include "scores.cuh"

constexpr u32 MOST_RUNS = THREADS, MOST_GROUPS = MOST_RUNS * GROUPS, MOST_CANDIDATES = THREADS;

constexpr double WHOLE = 35184372088832.0, NOTHING = 0.5 / WHOLE;

// What registers have no room for lies here too.
struct Room {
  SampleRow settings;
  Scores scores;
  double coolness;                   // 1 / temperature
  u32 keys[MOST_GROUPS];             // the greatest of each group
  u64 list[MOST_CANDIDATES];         // candidates, or sums of runs
  u64 parts[2][WARPS];
  unsigned short groups[MOST_CANDIDATES];   // those that have candidates
  u32 group_count, candidate_count;
  u32 value;                         // what one thread tells all
  u64 before;
};

struct Row {
  Block& block;
  Room& room;
  const SampleRow& settings;
  const Scores& scores;
  const u32 runs, greatest;

  __device__ __forceinline__ double weight_of(u32 key) const { return weight(number(key), number(greatest), room.coolness); }
  __device__ __forceinline__ u64 mass(u32 key) const { return __double2ull_rn(weight_of(key) * WHOLE); }

  // The sum at which the draw's chance falls.
  __device__ __forceinline__ u64 target(u64 sum) const {
    const u64 at = (u64)(settings.chance * (double)sum);
    return at < sum ? at : sum - 1;
  }

  // The sum that the kept tokens reach.
  __device__ __forceinline__ u64 share(u64 sum) const {
    const u64 least = (u64)ceil((double)settings.top_p * (double)sum);
    return least > sum ? sum : least ? least : 1;
  }

  __device__ __forceinline__ double least_weight() const { return (double)fminf(settings.min_p, 1.f); }

  // One thread's value to all.
  __device__ __forceinline__ u32 tell(bool is_mine, u32 value) {
    if (is_mine) room.value = value;
    __syncthreads();
    value = room.value;
    __syncthreads();
    return value;
  }

  // The lowest key whose weight reaches `bound`, at most 1. Every warp finds it by itself.
  __device__ __forceinline__ u32 lowest(double bound) const {
    u32 low = 1, high = greatest;
#pragma unroll 1
    while (low < high) {
      const u32 step = (high - low) / 32 + 1, room_left = high - low;
      const u32 ahead = step * block.lane, probe = low + (ahead < room_left ? ahead : room_left);
      const u32 reached = __ballot_sync(~0u, weight_of(probe) >= bound);
      const u32 first = reached ? __ffs(reached) - 1 : 32;
      const u32 below = __shfl_sync(~0u, probe, first ? first - 1 : 0);
      if (first < 32) high = __shfl_sync(~0u, probe, first & 31);
      if (first) low = below + 1;
    }
    return high;
  }

  // This lane's keys of some groups; 0 for groups that are all below `low`.
  template <u32 N> __device__ __forceinline__ void load(u32 (&key)[N], u32 first, u32 low) const {
#pragma unroll
    for (u32 g = 0; g < N; ++g) key[g] = room.keys[first + g] >= low ? scores.key_of((first + g) * GROUP + block.lane) : 0;
  }

  // Sums over runs of what keys from `low` to `high` measure: of this thread's run, of all up to it, of all.
  template <class M> __device__ __forceinline__ u64 measure(u32 low, u32 high, M of, u64& own, u64& running) {
#pragma unroll 1
    for (u32 run = block.warp; run < runs; run += WARPS) {
      u32 key[GROUPS];
      load(key, run * GROUPS, low);
      u64 sum = 0;
#pragma unroll
      for (u32 g = 0; g < GROUPS; ++g)
        if (key[g] >= low && key[g] <= high) sum += of(key[g]);
#pragma unroll
      for (int o = 16; o; o >>= 1) sum += __shfl_xor_sync(~0u, sum, o);
      if (!block.lane) room.list[run] = sum;
    }
    __syncthreads();
    own = block.thread < runs ? room.list[block.thread] : 0;
    u64 whole;
    running = block.scan(own, whole);
    return whole;
  }

  // The first token in the order of ids at which the running sum passes `target`; `own` and `running` are sums over runs.
  template <class M> __device__ __forceinline__ u32 pick(u64 target, u32 low, u32 high, M of, u64 own, u64 running) {
    if (own && running > target && running - own <= target) room.before = running - own, room.value = block.thread;
    __syncthreads();
    u32 id = NONE;
    if (!block.warp) id = walk(room.value, target - room.before, low, high, of);
    __syncthreads();
    return tell(!block.thread, id);
  }

  // As `pick` within one run, by one warp. Where the run's sum was rounded, its last token stands for what is beyond.
  template <class M> __device__ __forceinline__ u32 walk(u32 run, u64 target, u32 low, u32 high, M of) const {
    u32 key[GROUPS], id = NONE, last = NONE;
    load(key, run * GROUPS, low);
    u64 before = 0;
#pragma unroll
    for (u32 g = 0; g < GROUPS; ++g) {
      const u64 own = key[g] >= low && key[g] <= high ? of(key[g]) : 0;
      const u64 running = before + warp_scan(own, block.lane);
      const u32 passed = __ballot_sync(~0u, running > target), some = __ballot_sync(~0u, own != 0);
      const u32 first = (run * GROUPS + g) * GROUP;
      if (id == NONE && passed) id = first + __ffs(passed) - 1;
      if (some) last = first + 31 - __clz(some);
      before = __shfl_sync(~0u, running, 31);
    }
    return id != NONE ? id : last;
  }
};
