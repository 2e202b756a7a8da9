// Drawing where few tokens can be drawn: they are gathered and sorted.
//
// Every thread has some groups. If as many threads as tokens are wanted have a key of at least t, then at least so many tokens
// have; so that t is found among 512 numbers, and few more tokens than wanted are gathered.
#pragma once
#include "row.cuh"

// Tokens that are looked for without a limit on their number, and the greatest limit that is met in this way.
constexpr u32 FEW = 256;

// Groups that a warp reads at once.
constexpr u32 READS = 8;

// A key that `wanted` of the threads' keys reach, and not many more.
__device__ __forceinline__ u32 threshold(Row& row, u32 own, u32 wanted) {
  Block& block = row.block;
  u32 low = block.least(own ? own : ~0u), high = row.greatest;
#pragma unroll 1
  while (low < high) {
    const u32 step = (high - low) / 4 + 1;
    u32 reached[3];
#pragma unroll
    for (u32 i = 0; i < 3; ++i) reached[i] = __popc(__ballot_sync(~0u, own >= low + (i + 1) * step));
    const u64 counts = block.shared((u64)(reached[0] | reached[1] << 16) << 32 | reached[2], (u64)0);
    const u32 two = __reduce_add_sync(~0u, (u32)(counts >> 32));
    reached[0] = two & 0xffff, reached[1] = two >> 16, reached[2] = __reduce_add_sync(~0u, (u32)counts);
    u32 steps = 0, count = 0;
#pragma unroll
    for (u32 i = 0; i < 3; ++i)
      if (reached[i] >= wanted) steps = i + 1, count = reached[i];
    low += steps * step;
    if (steps < 3 && low + step - 1 < high) high = low + step - 1;
    if (steps && count <= wanted + wanted / 8) break;
  }
  return low;
}

// The tokens with keys of at least `low`, in no order, as key and id; how many there are, even if not all of them are listed.
__device__ __forceinline__ u32 gather(Row& row, u32 low) {
  Block& block = row.block;
  Room& room = row.room;
  if (!block.thread) room.group_count = room.candidate_count = 0;
  __syncthreads();
#pragma unroll 1
  for (u32 group = block.thread; group < row.runs * GROUPS; group += THREADS)
    if (room.keys[group] >= low) {
      const u32 at = atomicAdd(&room.group_count, 1u);
      if (at < MOST_CANDIDATES) room.groups[at] = group;
    }
  __syncthreads();
  const u32 groups = room.group_count;
  if (groups > MOST_CANDIDATES) return groups;
#pragma unroll 1
  for (u32 first = block.warp; first < groups; first += READS * WARPS) {
    u32 key[READS], id[READS];
#pragma unroll
    for (u32 i = 0; i < READS; ++i) {
      const u32 at = first + WARPS * i;
      id[i] = at < groups ? room.groups[at] * GROUP + block.lane : NONE;
      key[i] = row.scores.key_of(id[i]);
    }
#pragma unroll
    for (u32 i = 0; i < READS; ++i)
      if (key[i] >= low) {
        const u32 at = atomicAdd(&room.candidate_count, 1u);
        if (at < MOST_CANDIDATES) room.list[at] = (u64)key[i] << 32 | (u32)~id[i];
      }
  }
  __syncthreads();
  return room.candidate_count;
}

// Draws among the tokens with keys of at least `low`, which are all that can be drawn or more. Without a limit on their number
// `whole` is the sum over all tokens. NONE if these are too many, or their share too small.
__device__ __forceinline__ u32 draw_of_few(Row& row, u32 low, bool is_limited, u64 whole) {
  Block& block = row.block;
  const SampleRow& settings = row.settings;
  const u32 count = gather(row, low);
  if (count > MOST_CANDIDATES) return NONE;
  const u32 size = count > 32 ? 2u << (31 - __clz(count - 1)) : 32;
  u64 own = block.sort(block.thread < count ? row.room.list[block.thread] : 0, size);
  if (is_limited && settings.top_k < count) {
    const u32 least = row.tell(block.thread == settings.top_k - 1, (u32)(own >> 32));
    if ((u32)(own >> 32) < least) own = 0;
  }
  double weight = own ? row.weight_of((u32)(own >> 32)) : 0;
  u64 mass = __double2ull_rn(weight * WHOLE), sum;
  const bool by_id = settings.top_p >= 1.f;
  if (!by_id) {
    const u64 running = block.scan(mass, sum), share = row.share(is_limited ? sum : whole);
    if (sum < share) return NONE;
    if (running - mass >= share) own = 0, mass = 0;
  }
  if (weight < row.least_weight()) own = 0, mass = 0;
  if (by_id) {
    own = block.sort(own << 32 | own >> 32, size);
    own = own << 32 | own >> 32;
    mass = own ? row.mass((u32)(own >> 32)) : 0;
  }
  const u64 running = block.scan(mass, sum), target = row.target(sum);
  return row.tell(mass && running > target && running - mass <= target, ~(u32)own);
}

// The sum over all tokens, of this thread's run and of all up to it, out of the sums that were made where the runs were read.
__device__ __forceinline__ u64 sum_of_runs(Row& row, const double* sums, u64& own, u64& running) {
  const u32 run = row.block.thread;
  u32 greatest = 0;
  if (run < row.runs)
#pragma unroll
    for (u32 g = 0; g < GROUPS; ++g) greatest = max(greatest, row.room.keys[run * GROUPS + g]);
  own = greatest ? __double2ull_rn(sums[run] * row.weight_of(greatest) * WHOLE) : 0;
  u64 whole;
  running = row.block.scan(own, whole);
  return whole;
}
