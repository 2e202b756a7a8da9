// Drawing where any number of tokens can be drawn: the order of the likeliest is descended without being made.
//
// Tokens of one key measure the same. The key at which a sum over the order passes a target is found by cutting the range of keys
// in eight, again and again; which of the tokens of this key it is follows from what is left of the target.
#pragma once
#include "row.cuh"

// Groups that a warp reads at once; registers are short.
constexpr u32 AT_ONCE = 8;

struct Found {
  u32 key;
  u64 before;   // the sum over greater keys
};

// The key at which the sum over keys from the greatest down to `low` passes `target`, which is below the whole sum.
template <class M> __device__ __forceinline__ Found descend(Row& row, u32 low, u64 target, M of) {
  u32 high = row.greatest;
  u64 before = 0;
#pragma unroll 1
  while (low < high) {
    const u32 bits = 32 - __clz(high - low), shift = bits > 3 ? bits - 3 : 0;
    u64 sums[8] = {};
#pragma unroll 1
    for (u32 part_run = row.block.warp; part_run < row.runs * (GROUPS / AT_ONCE); part_run += WARPS) {
      u32 key[AT_ONCE];
      row.load(key, part_run * AT_ONCE, low);
#pragma unroll
      for (u32 g = 0; g < AT_ONCE; ++g)
        if (key[g] >= low && key[g] <= high) {
          const u64 measured = of(key[g]);
          const u32 part = (high - key[g]) >> shift;
#pragma unroll
          for (u32 i = 0; i < 8; ++i) sums[i] += i == part ? measured : 0;
        }
    }
    u32 passed = 0;
    bool is_found = false;
#pragma unroll
    for (u32 i = 0; i < 8; ++i) {
      const u64 sum = row.block.sum(sums[i]);
      is_found = is_found || before + sum > target;
      if (!is_found) before += sum, ++passed;
    }
    high -= passed << shift;
    if (high - low >> shift) low = high - (1u << shift) + 1;
  }
  return {high, before};
}

__device__ __forceinline__ u32 draw_of_many(Row& row, bool is_limited) {
  const SampleRow& settings = row.settings;
  const auto one = [](u32) { return (u64)1; };
  const auto mass = [&](u32 key) { return row.mass(key); };
  u64 own, running;
  u32 low = row.lowest(NOTHING);
  if (is_limited && settings.top_k < row.measure(1, row.greatest, one, own, running)) low = max(low, descend(row, 1, settings.top_k - 1, one).key);
  const u32 least = settings.min_p > 0.f ? row.lowest(row.least_weight()) : 0;
  if (settings.top_p >= 1.f) {
    low = max(low, least);
    const u64 target = row.target(row.measure(low, row.greatest, mass, own, running));
    return row.pick(target, low, row.greatest, mass, own, running);
  }
  // First the last token that is kept, then, among those up to it, the one that is drawn.
  u64 target = row.share(row.measure(low, row.greatest, mass, own, running)) - 1;
  Found found;
#pragma unroll 1
  for (u32 descents = 0;; ++descents) {
    found = descend(row, low, target, mass);
    if (descents) break;
    const u64 each = row.mass(found.key), kept = found.before + ((target - found.before) / each + 1) * each;
    low = max(found.key, least);
    target = row.target(least > found.key ? row.measure(low, row.greatest, mass, own, running) : kept);
  }
  row.measure(found.key, found.key, one, own, running);
  return row.pick((target - found.before) / row.mass(found.key), found.key, found.key, one, own, running);
}
