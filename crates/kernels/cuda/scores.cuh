// Rows of logits as the sampler sees them: settings, penalty, mask, and scores as whole numbers of the same order.
#pragma once
#include "common.cuh"

// Tokens of a group, which share a word of every bit set; groups of a run, which a warp reads at once.
constexpr u32 GROUP = 32, GROUPS = 16, RUN = GROUP * GROUPS;

// No token, no mask.
constexpr u32 NONE = ~0u;

// The key of a group that has a number that is not finite; no finite score has one as great. The least of them is above zero,
// which is the key of what cannot be drawn.
constexpr u32 FAULT = ~0u;

constexpr u32 MOST_RIVALS = 20;

struct SampleRow {
  double chance;      // in [0, 1)
  u32 slot;
  u32 flags;
  u32 mask;           // which mask, or NONE
  u32 top_k;          // 0: no limit
  float temperature;  // 0: the likeliest
  float top_p, min_p, penalty;
  int rivals;         // likeliest tokens whose log-probabilities are told; negative: no log-probabilities
  u32 pad;
};

// Flags of a row: there is one; its request has drawn nothing yet.
constexpr u32 ACTIVE = 1, FIRST = 2;

struct SampleResult {
  u32 id;             // NONE: nothing was drawn
  u32 faults;         // numbers that are not finite
  u32 fault_id;       // the first of them
  float fault;
  float logprob;      // of the token
  u32 rivals;
  u32 rival_ids[MOST_RIVALS];
  float rival_logprobs[MOST_RIVALS];
};

struct SampleParams {
  u64 logits;      // f32 [M, V]
  u64 rows;        // SampleRow [M]
  u64 results;     // SampleResult [M]
  u64 latest;      // u32 [slots]: the token drawn last
  u64 generated;   // u32 [slots, words]: bits of all tokens drawn
  u64 masks;       // u32 [masks, words]: bits of the tokens that may be drawn
  u64 keys;        // u32 [M, runs * 16]: the greatest key of each group
  u64 sums;        // f64 [M, runs]: weights of each run, the greatest of which is 1
  u64 raw_keys;    // as `keys` and `sums`, of the logits themselves
  u64 raw_sums;
  u32 vocabulary, runs, slots, masks_len;
};

// A number's place in the order of all numbers (IEEE 754's total order).
__device__ __forceinline__ u32 ordered(float v) {
  const u32 bits = __float_as_uint(v);
  return bits ^ ((u32)((int)bits >> 31) | 0x80000000u);
}
__device__ __forceinline__ float number(u32 key) { return __uint_as_float(key & 0x80000000u ? key ^ 0x80000000u : ~key); }

// 1 / n! for n from 12 down to 2. In constant memory they need no registers.
__constant__ double EXPONENTIAL[11] = {
  2.08767569878681e-09, 2.505210838544172e-08, 2.755731922398589e-07, 2.7557319223985893e-06, 2.48015873015873e-05,
  0.0001984126984126984, 0.001388888888888889, 0.008333333333333333, 0.041666666666666664, 0.16666666666666666, 0.5};

// exp(x) for x of at most 0, to the last bits of an f64; what is below the least normal number is 0.
__device__ __forceinline__ double exponential(double x) {
  if (!(x > -708.0)) return 0;
  // The power of two nearest to it is the lower half of a number so great that it has no fraction.
  constexpr double GREAT = 6755399441055744.0;
  const double shifted = fma(x, 1.4426950408889634, GREAT), power = shifted - GREAT;
  const double rest = fma(power, -2.3190468138462996e-17, fma(power, -0.6931471805599453, x));
  double sum = EXPONENTIAL[0];
#pragma unroll
  for (int n = 1; n < 11; ++n) sum = fma(sum, rest, EXPONENTIAL[n]);
  sum = fma(fma(sum, rest, 1.0), rest, 1.0);
  return __hiloint2double(__double2hiint(sum) + (int)((u32)__double2loint(shifted) << 20), __double2loint(sum));
}

// exp((v - greatest) / temperature).
__device__ __forceinline__ double weight(float v, float greatest, double coolness) {
  return exponential(((double)v - (double)greatest) * coolness);
}

// One row. The penalty's and the mask's words are one for each group.
struct Scores {
  const float* logits;
  const u32 *generated, *allowed;   // null: no penalty, no mask
  float penalty;
  u32 vocabulary;

  __device__ __forceinline__ bool has(u32 id) const { return id < vocabulary; }

  // A finite logit's key, 0 if the token cannot be drawn. Zeros of both signs are one score.
  __device__ __forceinline__ u32 key(float logit, u32 id, bool is_first) const {
    if (allowed && !(allowed[id / GROUP] >> id % GROUP & 1)) return 0;
    float score = logit;
    if (generated && !is_first && generated[id / GROUP] >> id % GROUP & 1) {
      score = score < 0.f ? score * penalty : score / penalty;
      score = fminf(fmaxf(score, -3.402823466e38f), 3.402823466e38f);
    }
    return ordered(score == 0.f ? 0.f : score);
  }

  __device__ __forceinline__ u32 key_of(u32 id) const { return has(id) ? key(logits[id], id, false) : 0; }
};

__device__ __forceinline__ Scores scores_of(const SampleParams& p, const SampleRow& row, u32 index) {
  const u32 words = (p.vocabulary + GROUP - 1) / GROUP;
  const u32* generated = row.penalty != 1.f ? (const u32*)p.generated + (u64)row.slot * words : nullptr;
  const u32* allowed = row.mask != NONE ? (const u32*)p.masks + (u64)row.mask * words : nullptr;
  return {(const float*)p.logits + (u64)index * p.vocabulary, generated, allowed, row.penalty, p.vocabulary};
}

// Whether a row's slot and mask are there.
__device__ __forceinline__ bool is_sound(const SampleParams& p, const SampleRow& row) {
  return row.slot < p.slots && (row.mask == NONE || row.mask < p.masks_len);
}
__device__ __forceinline__ bool is_greedy(const SampleRow& row) { return row.temperature == 0.f || row.top_k == 1; }
__device__ __forceinline__ bool is_unlimited(const SampleParams& p, const SampleRow& row) { return row.top_k == 0 || row.top_k >= p.vocabulary; }
