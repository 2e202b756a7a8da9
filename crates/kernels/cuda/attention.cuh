// What the kernels of attention share: a token's place in the cache, and norm and rotation of its queries and key.
#pragma once
#include "inputs.cuh"
#include "ring.cuh"

struct AttentionParams {
  u64 qkv;        // f32 [T][(N + 2 KV) * 128]: queries, keys, values
  u64 q_norm;     // f32 [128]
  u64 k_norm;     // f32 [128]
  u64 cos;        // f32 [positions][64]
  u64 sin;        // f32 [positions][64]
  u64 cache;      // bf16 [blocks][KV][2][block][128]: keys, then values
  u64 position;   // i32 [T]; -1: a place without a token, whose results are zero
  u64 table;      // u32 [T]: the token's row of blocks
  u64 blocks;     // u32 [rows][row_blocks]: where a request's positions lie, a block of the cache after the other
  u64 y;          // bf16 [T][N * 128]
  u64 left;       // the inputs of a product of four-bit weights, made of y; 0 if they are not wanted
  u64 width;      // tokens that there is room for then
  u64 partials;   // without clusters: f32 [T][KV][SPLITS][group][128]
  u64 stats;      // without clusters: f32x2 [T][KV][SPLITS][group]
  u64 arrived;    // without clusters: u32 [T][KV], zero between launches
  u32 kv_heads;
  u32 group;        // N / KV
  u32 block_log;    // log2 of the positions of a block
  u32 cache_blocks, rows, row_blocks;
  u32 positions;    // a position beyond is like no token
  float epsilon;
};

// Positions come in rounds, of which each warp has a tile.
constexpr int WIDTH = 128, TILE = 16, SPLITS = 16, WARPS = 4, THREADS = WARPS * 32, ROUND = WARPS * TILE;
// Numbers of a head's result that a split of a cluster adds up.
constexpr int SLICE = WIDTH / SPLITS;
// Scores of a tile and what keeps them apart, so that no access meets a bank twice.
constexpr int SCORES = TILE + 4;

// HEADS: room for so many heads of queries, 4 or 8.
template <int HEADS> struct Shared {
  uint4 queries[HEADS][WIDTH / 4 + 1];     // four numbers each: high parts of two, low parts, those of the other two
  __align__(16) u32 fresh[2][WIDTH / 2];   // the token's own key and value
  __align__(16) float scores[2][HEADS][WARPS * SCORES];   // of this round and the next
  __align__(16) float given[SPLITS][HEADS][SLICE];        // of every split
  float2 given_stats[SPLITS][HEADS];
  float maxima[WARPS][HEADS];
  u64 barrier;
  u32 is_last;
};

__device__ __forceinline__ float power(float v) {
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(v) : "f"(v));
  return v;
}
// Past L1, which may hold what memory had before.
template <class VALUE> __device__ __forceinline__ VALUE load_if(bool is_there, const VALUE* from) {
  VALUE v = {};
  if (is_there) v = __ldcg(from);
  return v;
}
__device__ __forceinline__ uint2 pack(const float4& x) { return {pack_bf16(x.x, x.y), pack_bf16(x.z, x.w)}; }
// A token's place in the cache, and what it and its parts are.
struct Context {
  const AttentionParams& p;
  int token, head, position;
  int chunk;    // positions of a split, whole rounds
  int splits;
  const u32* blocks;

  __device__ __forceinline__ Context(const AttentionParams& params, int own_token, int own_head) : p(params), token(own_token), head(own_head) {
    position = __ldcg((const int*)p.position + token);
    const u32 row = __ldcg((const u32*)p.table + token);
    if (position >= (int)p.positions || row >= p.rows) position = -1;
    blocks = (const u32*)p.blocks + (size_t)min(row, p.rows - 1) * p.row_blocks;
    chunk = max(ROUND, (length() + SPLITS * ROUND - 1) / (SPLITS * ROUND) * ROUND);
    splits = (length() + chunk - 1) / chunk;
  }
  __device__ __forceinline__ int length() const { return position + 1; }
  // What the table says of a position; nobody waits for it before it is used.
  __device__ __forceinline__ u32 entry(int at) const { return __ldcg(blocks + (at >> p.block_log)); }
  // The key at position `at`, whose entry of the table is given; its value is `value_step()` further.
  __device__ __forceinline__ char* key(u32 entry, int at) const {
    const u32 block = min(entry, p.cache_blocks - 1);
    const size_t row = (((size_t)block * p.kv_heads + head) * 2 << p.block_log) + (at & ((1 << p.block_log) - 1));
    return (char*)p.cache + row * (WIDTH * 2);
  }
  __device__ __forceinline__ size_t value_step() const { return (size_t)(WIDTH * 2) << p.block_log; }
  __device__ __forceinline__ const float* row() const { return (const float*)p.qkv + (size_t)token * (p.group + 2) * p.kv_heads * WIDTH; }
  // Part `i` of this head: its queries, then its key and its value.
  __device__ __forceinline__ const float* part(u32 i) const {
    const u32 heads = p.group * p.kv_heads;
    return row() + (i < p.group ? head * p.group + i : heads + (i - p.group) * p.kv_heads + head) * WIDTH;
  }
  __device__ __forceinline__ __nv_bfloat16* result(u32 i) const {
    return (__nv_bfloat16*)p.y + ((size_t)token * p.kv_heads * p.group + head * p.group + i) * WIDTH;
  }
  // A head is a tile of the next product's inputs.
  __device__ __forceinline__ char* left(u32 i) const { return (char*)p.left + (size_t)(head * p.group + i) * input_bytes(p.width); }
};

// Four numbers a lane of one head: cosines and sines, the weights of both norms.
struct Turn {
  float4 cos, sin, q_norm, k_norm;

  __device__ __forceinline__ Turn(const AttentionParams& p, int position, int lane) {
    cos = ((const float4*)p.cos)[(size_t)position * 16 + (lane & 15)];
    sin = ((const float4*)p.sin)[(size_t)position * 16 + (lane & 15)];
    q_norm = ((const float4*)p.q_norm)[lane], k_norm = ((const float4*)p.k_norm)[lane];
  }
  // Norm and rotation. Roundings are spelled out: every kernel must find the same key.
  __device__ __forceinline__ float4 operator()(float4 x, const float4& weight, float epsilon, int lane) const {
    const float squares = __fmaf_rn(x.x, x.x, __fmaf_rn(x.y, x.y, __fmaf_rn(x.z, x.z, __fmul_rn(x.w, x.w))));
    const float scale = rsqrtf(__fmaf_rn(warp_sum(squares), 1.f / WIDTH, epsilon));
    return {turned(x.x, scale, weight.x, cos.x, sin.x, lane), turned(x.y, scale, weight.y, cos.y, sin.y, lane),
            turned(x.z, scale, weight.z, cos.z, sin.z, lane), turned(x.w, scale, weight.w, cos.w, sin.w, lane)};
  }
  static __device__ __forceinline__ float turned(float x, float scale, float weight, float cos, float sin, int lane) {
    const float normed = __fmul_rn(__fmul_rn(x, scale), weight), other = __shfl_xor_sync(~0u, normed, 16);
    return __fmaf_rn(other, lane < 16 ? -sin : sin, __fmul_rn(normed, cos));
  }
};

// A part of the step's key or value head in bf16, four numbers a lane, into the cache.
__device__ __forceinline__ uint2 append(const Context& c, const Turn& turn, float4 x, bool is_value, int lane) {
  const uint2 bits = pack(is_value ? x : turn(x, turn.k_norm, c.p.epsilon, lane));
  ((uint2*)(c.key(c.entry(c.position), c.position) + is_value * c.value_step()))[lane] = bits;
  return bits;
}

// A query of head h in shared memory, times what makes of e a power of two; a head that there is not is zero.
template <int HEADS> __device__ __forceinline__ void store_query(Shared<HEADS>& s, int h, const float4& x, int lane) {
  constexpr float SCALE = 1.44269504f * 0.08838834764f;   // log2 e / sqrt 128
  const float4 q = {x.x * SCALE, x.y * SCALE, x.z * SCALE, x.w * SCALE};
  const uint2 high = pack(q), low = pack({q.x - bf16_low(high.x), q.y - bf16_high(high.x), q.z - bf16_low(high.y), q.w - bf16_high(high.y)});
  s.queries[h][lane] = {high.x, low.x, high.y, low.y};
}

// The group's queries in shared memory; where the split has the token's own position, its key and value there and in the cache.
template <int HEADS> __device__ __forceinline__ void take_inputs(const Context& c, const Turn& turn, bool has_own, Shared<HEADS>& s, int warp, int lane) {
  constexpr int EACH = (HEADS + 2 + WARPS - 1) / WARPS;
  float4 x[EACH];
#pragma unroll
  for (int i = 0; i < EACH; ++i) {
    const int slot = warp + i * WARPS, part = slot < HEADS ? slot : slot - HEADS + c.p.group;
    const bool is_there = slot < HEADS ? slot < c.p.group : slot < HEADS + 2 && has_own;
    x[i] = is_there ? __ldcg((const float4*)c.part(part) + lane) : float4{0, 0, 0, 0};
  }
#pragma unroll
  for (int i = 0; i < EACH; ++i) {
    const int slot = warp + i * WARPS;
    if (slot < HEADS) store_query(s, slot, turn(x[i], turn.q_norm, c.p.epsilon, lane), lane);
    else if (slot < HEADS + 2 && has_own) *(uint2*)&s.fresh[slot - HEADS][lane * 2] = append(c, turn, x[i], slot > HEADS, lane);
  }
}
