// A block's way through the cache, in rounds of 64 positions: keys against queries, then probabilities against values.
//
// A warp finds the scores of its tile of the round for all heads. When the warps have exchanged them, each takes all positions of
// the round for 32 of the 128 numbers of the results: what a block has found of a split is in its registers, and nothing of it need
// be added up over the warps. All warps find the same maxima and sums.
//
// Keys and values meet the queries of all heads of the group in the matrix instruction, as they come from memory; queries and
// probabilities are there as two bf16 numbers each, high and low part, so that only keys and values are rounded to bf16.
#pragma once
#include "attention.cuh"

__device__ __forceinline__ void mma_bf16(float (&c)[4], const uint4& a, u32 b0, u32 b1) {
  asm(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w), "r"(b0), "r"(b1));
}

// What a block has of the heads: with lane t of group g, numbers 4g to 4g + 3 of the warp's 32, of heads 2t and 2t + 1; and of head g
// (with room for four only: g % 4) the greatest score and the sum of the probabilities.
struct Part {
  float4 values[2];
  float most, sum;
};
// What a part and all before it are to be multiplied by, for the greatest score of both.
struct Factors {
  float before, part;
  __device__ __forceinline__ Factors(float& most, float part_most) {
    const float greatest = fmaxf(most, part_most);
    before = power(most - greatest), part = power(part_most - greatest), most = greatest;
  }
};
// Splits are added one after another, in the same roundings whoever does it.
__device__ __forceinline__ float add_part(float sum, float part, const Factors& w) { return __fmaf_rn(part, w.part, __fmul_rn(sum, w.before)); }
__device__ __forceinline__ float4 add_part(const float4& sum, const float4& part, const Factors& w) {
  return {add_part(sum.x, part.x, w), add_part(sum.y, part.y, w), add_part(sum.z, part.z, w), add_part(sum.w, part.w, w)};
}
__device__ __forceinline__ float4 divided(const float4& x, float by) { return {__fdiv_rn(x.x, by), __fdiv_rn(x.y, by), __fdiv_rn(x.z, by), __fdiv_rn(x.w, by)}; }

// A round of the splits that a block has: every `stride`-th from its own one on.
struct Cursor {
  int start, end;   // of the round, of the split
  __device__ __forceinline__ Cursor(const Context& c, int split) : start(split * c.chunk), end(start + c.chunk) {}
  __device__ __forceinline__ void advance(const Context& c, int stride) {
    start += ROUND;
    if (start >= end) start += (stride - 1) * c.chunk, end += stride * c.chunk;
  }
};

// DECODE: the token's own key and value are not in the cache.
template <int HEADS, bool DECODE> struct Rounds {
  const Context& c;
  Shared<HEADS>& s;
  const int stride, warp, lane, g, t;
  Cursor now, next, far;     // the round whose scores are wanted, the one that is loaded then, and the last whose blocks are known
  u32 next_entry, far_entry; // of the table, for tile t of a round
  const char* next_values;
  u32 turn = 0;
  uint4 keys[2][4];     // positions g and g + 8 of the warp's tile; eight numbers each, from t * 8 + 32 j on
  uint2 values[4][4];   // positions 4 i + j of tile t; four numbers each, from g * 4 of the warp's on
  float acc[2][4];      // numbers 4 g + 2 j and 4 g + 2 j + 1 of both heads
  float most, sum;

  __device__ __forceinline__ Rounds(const Context& context, Shared<HEADS>& shared, int first, int own_stride, int own_warp, int own_lane)
      : c(context), s(shared), stride(own_stride), warp(own_warp), lane(own_lane), g(own_lane >> 2), t(own_lane & 3), now(context, first), next(now), far(now) {}
  // Positions from here on are not in the cache, or not before this kernel has written them.
  __device__ __forceinline__ int known() const { return DECODE ? c.position : c.length(); }
  __device__ __forceinline__ bool is_whole(const Cursor& of) const { return of.start + ROUND <= known(); }
  __device__ __forceinline__ u32 entry(const Cursor& of) const {
    const int at = of.start + t * TILE;
    return at < c.length() ? c.entry(at) : 0;
  }
  // The warp's tile of keys.
  __device__ __forceinline__ const char* own_keys(const Cursor& of, u32 entry) const { return c.key(__shfl_sync(~0u, entry, warp), of.start + warp * TILE); }

  __device__ __forceinline__ void load_keys() {
    const char* at = own_keys(next, next_entry) + g * (WIDTH * 2) + t * 16;
    next_values = c.key(next_entry, next.start + t * TILE) + c.value_step() + warp * 64 + g * 8;
    const int left = known() - next.start - warp * TILE - g;
    const auto load = [&](const auto& get) {
#pragma unroll
      for (int i = 0; i < 2; ++i)
#pragma unroll
        for (int j = 0; j < 4; ++j) keys[i][j] = get(8 * i, (const uint4*)(at + 8 * i * (WIDTH * 2) + j * 64));
    };
    if (is_whole(next)) load([](int, const uint4* from) { return __ldcg(from); });
    else load([&](int row, const uint4* from) { return load_if(row < left, from); });
  }
  // What is not there is zero: its probability is, and nothing that memory holds may come of the product.
  __device__ __forceinline__ void load_values() {
    const int left = known() - next.start - t * TILE;
    const auto load = [&](const auto& get) {
#pragma unroll
      for (int i = 0; i < 4; ++i)
#pragma unroll
        for (int j = 0; j < 4; ++j) values[i][j] = get(4 * i + j, (const uint2*)(next_values + (4 * i + j) * (WIDTH * 2)));
    };
    if (is_whole(next)) load([](int, const uint2* from) { return __ldcg(from); });
    else load([&](int row, const uint2* from) { return load_if(row < left, from); });
  }
  // Has the warp's tile of keys and that of values fetched into L2.
  __device__ __forceinline__ void prefetch(const Cursor& of, u32 entry) const {
#if __CUDA_ARCH__ >= 900
    const char* at = own_keys(of, entry);
    if (lane < 2 && of.start + warp * TILE < c.length())
      asm volatile("cp.async.bulk.prefetch.L2.global [%0], %1;" ::"l"(at + lane * c.value_step()), "n"(TILE * WIDTH * 2) : "memory");
#endif
  }
  __device__ __forceinline__ void look_ahead() {
    prefetch(far, far_entry);
    next.advance(c, stride), next_entry = far_entry;
    far.advance(c, stride), far_entry = entry(far);
  }
  // Loads the first round.
  __device__ __forceinline__ void begin() {
    next_entry = entry(next);
    far.advance(c, stride);
    far_entry = entry(far);
    load_keys(), load_values();
    look_ahead();
  }

  // Sets the token's own key and value into their tile.
  __device__ __forceinline__ void take_fresh() {
    const uint4* key = (const uint4*)s.fresh[0];
    const uint2 value = ((const uint2*)s.fresh[1])[warp * 8 + g];
    const int row = c.position - now.start - warp * TILE - g, own = c.position - now.start - t * TILE;
#pragma unroll
    for (int i = 0; i < 2; ++i)
#pragma unroll
      for (int j = 0; j < 4; ++j)
        if (row == 8 * i) keys[i][j] = key[t + 4 * j];
#pragma unroll
    for (int i = 0; i < 4; ++i)
#pragma unroll
      for (int j = 0; j < 4; ++j)
        if (own == 4 * i + j) values[i][j] = value;
  }
  // The scores of the warp's tile, for all warps: a lane has positions 2t, 2t + 1, 2t + 8 and 2t + 9.
  __device__ __forceinline__ void put_scores() {
    float found[2][2][4] = {};
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const uint4* q = &s.queries[g % HEADS][(t + 4 * j) * 2];
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        mma_bf16(found[i][0], q[0], keys[i][j].x, keys[i][j].y);
        mma_bf16(found[i][1], q[1], keys[i][j].z, keys[i][j].w);
      }
    }
    const int first = now.start + warp * TILE + 2 * t;
    float2 scores[2];
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const auto score = [&](int own) {
        const float sum = (found[i][0][own] + found[i][1][own]) + (found[i][0][own + 2] + found[i][1][own + 2]);
        return first + 8 * i + own < c.length() ? sum : -INFINITY;
      };
      scores[i] = {score(0), score(1)};
    }
    // With room for four heads only, two groups of lanes have the scores of each: they store halves of them.
    float2* to = (float2*)&s.scores[turn][g % HEADS][warp * SCORES + 2 * t];
    if (HEADS == 8) to[0] = scores[0], to[4] = scores[1];
    else to[g / 4 * 4] = g < 4 ? scores[0] : scores[1];
  }
  // The probabilities of head g at the positions of tile t.
  __device__ __forceinline__ void take_probabilities(float4 (&p)[4]) {
    const float4* scores = (const float4*)&s.scores[turn][g % HEADS][t * SCORES];
    float greatest = most;
#pragma unroll
    for (int i = 0; i < 4; ++i) p[i] = scores[i], greatest = fmaxf(greatest, fmaxf(fmaxf(p[i].x, p[i].y), fmaxf(p[i].z, p[i].w)));
    greatest = fmaxf(greatest, __shfl_xor_sync(~0u, greatest, 1)), greatest = fmaxf(greatest, __shfl_xor_sync(~0u, greatest, 2));
    const float shrink = power(most - greatest);
    most = greatest;
    float sums[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      p[i] = {power(p[i].x - greatest), power(p[i].y - greatest), power(p[i].z - greatest), power(p[i].w - greatest)};
      sums[i] = (p[i].x + p[i].y) + (p[i].z + p[i].w);
    }
    sum = __fmaf_rn(sum, shrink, (sums[0] + sums[1]) + (sums[2] + sums[3]));
    const float first = __shfl_sync(~0u, shrink, 8 * t), second = __shfl_sync(~0u, shrink, 8 * t + 4);
#pragma unroll
    for (int j = 0; j < 2; ++j) acc[j][0] *= first, acc[j][1] *= second, acc[j][2] *= first, acc[j][3] *= second;
  }
  // With room for four heads only, the other columns of the matrix instruction have the low parts of the probabilities.
  __device__ __forceinline__ void add_values() {
    float4 p[4];
    take_probabilities(p);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const uint2 high = pack(p[i]), low = pack({p[i].x - bf16_low(high.x), p[i].y - bf16_high(high.x), p[i].z - bf16_low(high.y), p[i].w - bf16_high(high.y)});
      const uint2 first = HEADS == 8 || g < 4 ? high : low;
#pragma unroll
      for (int j = 0; j < 2; ++j) {
        const auto pair = [&](int k, u32 order) { return __byte_perm(j ? values[i][k].y : values[i][k].x, j ? values[i][k + 1].y : values[i][k + 1].x, order); };
        const uint4 a = {pair(0, 0x5410), pair(0, 0x7632), pair(2, 0x5410), pair(2, 0x7632)};
        mma_bf16(acc[j], a, first.x, first.y);
        if (HEADS == 8) mma_bf16(acc[j], a, low.x, low.y);
      }
    }
  }
  __device__ __forceinline__ void begin_split() {
    most = -INFINITY, sum = 0;
#pragma unroll
    for (int j = 0; j < 2; ++j) acc[j][0] = acc[j][1] = acc[j][2] = acc[j][3] = 0;
  }
  // All splits of the block; `give(part, split)` takes what was found of each.
  template <class GIVE> __device__ __forceinline__ void run(const GIVE& give) {
    int split = now.start / c.chunk, end = now.end;
    begin_split();
#pragma unroll 1
    while (now.start < c.length() && (!DECODE || is_whole(now))) {
      put_scores();
      const bool more = next.start < c.length();
      now = next;
      if (more) load_keys();
      __syncthreads();
      add_values();
      if (more) load_values(), look_ahead();
      turn ^= 1;
      if (now.end != end || now.start >= c.length()) give(part(), split), split += stride, end = now.end, begin_split();
    }
    // The last round of all has the token's own key and value.
    if (DECODE && now.start < c.length()) {
      take_fresh(), put_scores();
      __syncthreads();
      add_values();
      give(part(), split);
    }
  }
  __device__ __forceinline__ Part part() {
    sum += __shfl_xor_sync(~0u, sum, 1), sum += __shfl_xor_sync(~0u, sum, 2);
    if constexpr (HEADS == 4) {
#pragma unroll
      for (int j = 0; j < 2; ++j)
#pragma unroll
        for (int i = 0; i < 4; ++i) acc[j][i] += __shfl_xor_sync(~0u, acc[j][i], 2);
    }
    return {{{acc[0][0], acc[0][2], acc[1][0], acc[1][2]}, {acc[0][1], acc[0][3], acc[1][1], acc[1][3]}}, most, sum};
  }
};
