// Attention of the tokens of a step over the paged cache, with what stands before it: the norm and the rotation of queries and
// keys, and the new keys and values in the cache.
//
// A block of threads has one token, one key/value head and one split of the context; the splits follow from the token's
// position alone, so that a token's result does not depend on what shares the step. Its warps take tiles of 16 positions in turn.
// Keys and values meet the queries of all heads of the group in the matrix instruction, as they come from memory; queries and
// probabilities are there as two bf16 numbers each, high and low part, so that only keys and values are rounded to bf16.
//
// The sixteen splits of a head are a cluster: each adds up its own eight numbers of every head's result, which the others
// push into its shared memory. Before Hopper the last split to arrive does it all, in the same order.
#include "attention.cuh"

// Tiles of a warp that are on their way to L2, beside the one that is on its way to registers.
constexpr int AHEAD = 2;

__device__ __forceinline__ void mma_bf16(float (&c)[4], const uint4& a, u32 b0, u32 b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a.x), "r"(a.y), "r"(a.z), "r"(a.w), "r"(b0), "r"(b1));
}
// Has memory fetched into L2.
__device__ __forceinline__ void prefetch(const void* from, u32 bytes) {
#if __CUDA_ARCH__ >= 900
  asm volatile("cp.async.bulk.prefetch.L2.global [%0], %1;" ::"l"(from), "r"(bytes) : "memory");
#endif
}
__device__ __forceinline__ u32 word(const uint4& v, int i) { return i == 0 ? v.x : i == 1 ? v.y : i == 2 ? v.z : v.w; }

#if __CUDA_ARCH__ >= 900
__device__ __forceinline__ u32 address_in(u32 rank, const void* p) {
  u32 address;
  asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(address) : "r"(shared_address(p)), "r"(rank));
  return address;
}
#endif

// A warp's place in the splits that its block has: every `stride`-th from its own one on, and in these every WARPS-th tile. Only the
// very last split may be shorter than the others.
struct Cursor {
  int start, end, split, stride, warp;

  __device__ __forceinline__ Cursor(const Context& c, int first, int own_stride, int own_warp) : split(first), stride(own_stride), warp(own_warp) { enter(c); }
  __device__ __forceinline__ void enter(const Context& c) {
    start = split * c.chunk + warp * TILE;
    end = min((split + 1) * c.chunk, c.length());
  }
  __device__ __forceinline__ bool is_there(const Context& c) const { return start < end; }
  __device__ __forceinline__ void advance(const Context& c) {
    start += WARPS * TILE;
    if (start < end) return;
    split += stride, enter(c);
  }
};

// A warp's tiles. A lane is lane t of group g: it has the scores of head g and the sums of heads 2t and 2t + 1. With
// room for four heads only, the other columns of the sums are for the low parts of the probabilities.
template <int HEADS, bool DECODE> struct Tiles {
  const Context& c;
  const int lane, g, t;
  Cursor now, next, far;      // the tile whose scores are wanted, the one that is loaded then, and the last whose block is known
  u32 far_block;
  const uint4* queue[AHEAD];  // tiles from the next one on, which are on their way to L2
  uint4 keys[2][4];     // positions g and g + 8; eight numbers each, from t * 8 + 32 j on
  uint4 values[2][4];   // positions 2t, 2t + 1, 2t + 8, 2t + 9; eight numbers each, from g * 8 + 64 i on
  float most, sum;
  float acc[8][4];      // number e of value chunk g, both heads; of chunk g + 8

  __device__ __forceinline__ Tiles(const Context& context, int split, int stride, int warp, int own_lane)
      : c(context), lane(own_lane), g(own_lane >> 2), t(own_lane & 3), now(context, split, stride, warp), next(now), far(now) {}
  // Positions from here on are not in the cache, or not before this kernel has written them.
  __device__ __forceinline__ int known() const { return DECODE ? c.position : c.length(); }
  __device__ __forceinline__ u32 block() const { return far.is_there(c) ? c.block_of(far.start) : 0; }

  // The next tile moves up the queue, and one more is fetched.
  __device__ __forceinline__ void fetch() {
#pragma unroll
    for (int i = 0; i + 1 < AHEAD; ++i) queue[i] = queue[i + 1];
    const uint4* key = c.key(far_block, far.start);
    queue[AHEAD - 1] = key;
    if (far.is_there(c) && !lane) prefetch(key, TILE * WIDTH * 2), prefetch(key + c.value_step(), TILE * WIDTH * 2);
    far.advance(c), far_block = block();
  }
  __device__ __forceinline__ void load_keys(const uint4* at) {
#pragma unroll
    for (int i = 0; i < 2; ++i)
#pragma unroll
      for (int j = 0; j < 4; ++j) keys[i][j] = load_if(next.start + g + 8 * i < known(), at + (g + 8 * i) * (WIDTH / 8) + t + 4 * j);
  }
  // What is not there is zero: its probability is, and nothing that memory holds may come of the product.
  __device__ __forceinline__ void load_values(const uint4* at) {
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const int own = 2 * t + (j & 1) + 8 * (j >> 1);
#pragma unroll
      for (int i = 0; i < 2; ++i) values[i][j] = load_if(next.start + own < known(), at + c.value_step() + own * (WIDTH / 8) + g + 8 * i);
    }
  }
  // Sets the token's own key and value into its tile.
  __device__ __forceinline__ void take_fresh(const u32 (&fresh)[2][WIDTH / 2]) {
    const uint4 *key = (const uint4*)fresh[0], *value = (const uint4*)fresh[1];
    const int own = c.position - now.start;
#pragma unroll
    for (int i = 0; i < 2; ++i)
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        if (own == g + 8 * i) keys[i][j] = key[t + 4 * j];
        if (own == 2 * t + (j & 1) + 8 * (j >> 1)) values[i][j] = value[g + 8 * i];
      }
  }
  // Scores of positions 2t, 2t + 1, 2t + 8 and 2t + 9.
  __device__ __forceinline__ float4 scores(const Shared<HEADS>& shared) const {
    float s[2][2][4] = {};
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const uint4* q = &shared.queries[g % HEADS][(t + 4 * j) * 2];
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        mma_bf16(s[i][0], q[0], keys[i][j].x, keys[i][j].y);
        mma_bf16(s[i][1], q[1], keys[i][j].z, keys[i][j].w);
      }
    }
    const auto score = [&](int i, int own) {
      const float sum = (s[i][0][own] + s[i][1][own]) + (s[i][0][own + 2] + s[i][1][own + 2]);
      return now.start + 2 * t + 8 * i + own < c.length() ? sum : -INFINITY;
    };
    return {score(0, 0), score(0, 1), score(1, 0), score(1, 1)};
  }
  // The probabilities of these scores.
  __device__ __forceinline__ float4 probabilities(const float4& s) {
    float greatest = fmaxf(fmaxf(s.x, s.y), fmaxf(s.z, s.w));
    greatest = fmaxf(greatest, __shfl_xor_sync(~0u, greatest, 1)), greatest = fmaxf(greatest, __shfl_xor_sync(~0u, greatest, 2));
    greatest = fmaxf(greatest, most);
    const float shrink = power(most - greatest);
    const float4 p = {power(s.x - greatest), power(s.y - greatest), power(s.z - greatest), power(s.w - greatest)};
    most = greatest, sum = __fmaf_rn(sum, shrink, (p.x + p.y) + (p.z + p.w));
    const float first = __shfl_sync(~0u, shrink, 8 * t), second = __shfl_sync(~0u, shrink, 8 * t + 4);
#pragma unroll
    for (int e = 0; e < 8; ++e) acc[e][0] *= first, acc[e][1] *= second, acc[e][2] *= first, acc[e][3] *= second;
    return p;
  }
  __device__ __forceinline__ void add_values(const float4& p) {
    const uint2 high = pack(p), low = pack({p.x - bf16_low(high.x), p.y - bf16_high(high.x), p.z - bf16_low(high.y), p.w - bf16_high(high.y)});
    const uint2 first = HEADS == 8 || g < 4 ? high : low;
#pragma unroll
    for (int e = 0; e < 8; ++e) {
      const u32 order = e & 1 ? 0x7632 : 0x5410;
      const auto pair = [&](int i, int j) { return __byte_perm(word(values[i][j], e / 2), word(values[i][j + 1], e / 2), order); };
      const uint4 a = {pair(0, 0), pair(1, 0), pair(0, 2), pair(1, 2)};
      mma_bf16(acc[e], a, first.x, first.y);
      if (HEADS == 8) mma_bf16(acc[e], a, low.x, low.y);
    }
  }
  // Loads the first tile, and has the next ones fetched.
  __device__ __forceinline__ void begin() {
    u32 blocks[AHEAD + 1];
    int starts[AHEAD + 1];
    bool is_far[AHEAD + 1];
#pragma unroll
    for (int i = 0; i <= AHEAD; ++i) blocks[i] = block(), starts[i] = far.start, is_far[i] = far.is_there(c), far.advance(c);
    far_block = block();
    if (!now.is_there(c)) return;
    const uint4* first = c.key(blocks[0], starts[0]);
    load_keys(first), load_values(first);
#pragma unroll
    for (int i = 0; i < AHEAD; ++i) {
      queue[i] = c.key(blocks[i + 1], starts[i + 1]);
      if (is_far[i + 1] && !lane) prefetch(queue[i], TILE * WIDTH * 2), prefetch(queue[i] + c.value_step(), TILE * WIDTH * 2);
    }
    next.advance(c);
  }
  // The tiles of a split.
  __device__ __forceinline__ void run(const Shared<HEADS>& s, int split) {
    most = -INFINITY, sum = 0;
#pragma unroll
    for (int e = 0; e < 8; ++e) acc[e][0] = acc[e][1] = acc[e][2] = acc[e][3] = 0;
#pragma unroll 1
    while (now.split == split && now.is_there(c)) {
      if (DECODE && now.start + TILE > c.position) take_fresh(s.fresh);
      const float4 found = scores(s);
      const uint4* at = queue[0];
      const bool more = next.is_there(c);
      if (more) load_keys(at);
      add_values(probabilities(found));
      if (more) load_values(at), fetch();
      now = next, next.advance(c);
    }
  }
  __device__ __forceinline__ void give(Shared<HEADS>& s, int warp) {
    sum += __shfl_xor_sync(~0u, sum, 1), sum += __shfl_xor_sync(~0u, sum, 2);
    if (!t && g < HEADS) s.stats[warp][g] = {most, sum};
    if constexpr (HEADS == 4) {
#pragma unroll
      for (int e = 0; e < 8; ++e)
#pragma unroll
        for (int i = 0; i < 4; ++i) acc[e][i] += __shfl_xor_sync(~0u, acc[e][i], 2);
    }
    if (2 * t >= HEADS) return;
#pragma unroll
    for (int h = 0; h < 2; ++h)
#pragma unroll
      for (int e = 0; e < 8; e += 4) {
        float4* to = (float4*)&s.sums[warp][2 * t + h][g * 8 + e];
        to[0] = {acc[e][h], acc[e + 1][h], acc[e + 2][h], acc[e + 3][h]};
        to[16] = {acc[e][h + 2], acc[e + 1][h + 2], acc[e + 2][h + 2], acc[e + 3][h + 2]};
      }
  }
};

// What a split has for one head: four numbers a lane, and what they are to be divided by.
struct Part {
  float4 value;
  float2 stat;   // greatest score and sum of the probabilities
};

template <int HEADS> __device__ __forceinline__ Part merge_warps(const Shared<HEADS>& s, int h, int lane) {
  Part part = {{0, 0, 0, 0}, {-INFINITY, 0}};
#pragma unroll
  for (int w = 0; w < WARPS; ++w) part.stat.x = fmaxf(part.stat.x, s.stats[w][h].x);
#pragma unroll
  for (int w = 0; w < WARPS; ++w) {
    const float2 stat = s.stats[w][h];
    const float weight = power(stat.x - part.stat.x);
    part.stat.y = __fmaf_rn(stat.y, weight, part.stat.y);
    add(part.value, *(const float4*)&s.sums[w][h][lane * 4], weight);
  }
  return part;
}

#if __CUDA_ARCH__ >= 900
// Pushes a split's part of head h to the splits of the cluster: to each its slice, and to all the stat.
template <int HEADS> __device__ __forceinline__ void push(Shared<HEADS>& s, const Part& part, int split, int h, int lane) {
  const float4& v = part.value;
  asm volatile("st.async.shared::cluster.mbarrier::complete_tx::bytes.v4.f32 [%0], {%1,%2,%3,%4}, [%5];" ::
      "r"(address_in(lane / 2, &s.given[split][h][lane % 2 * 4])), "f"(v.x), "f"(v.y), "f"(v.z), "f"(v.w), "r"(address_in(lane / 2, &s.barrier)) : "memory");
  if (lane < SPLITS)
    asm volatile("st.async.shared::cluster.mbarrier::complete_tx::bytes.v2.f32 [%0], {%1,%2}, [%3];" ::
        "r"(address_in(lane, &s.given_stats[split][h])), "f"(part.stat.x), "f"(part.stat.y), "r"(address_in(lane, &s.barrier)) : "memory");
}
constexpr int PUSHED = (SLICE + 2) * 4;   // bytes of a split and head that a split is given

// The own slice of head h: the sums of four splits a quarter of the warp, then those of the quarters.
template <int HEADS> __device__ __forceinline__ void combine_slice(const Context& c, const Shared<HEADS>& s, int h, int lane) {
  const int number = lane % SLICE, first = lane / SLICE * 4, splits = c.splits;
  float2 stats[4];
  float values[4], most = -INFINITY, sum = 0, value = 0;
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const bool is_there = first + i < splits;
    stats[i] = is_there ? s.given_stats[first + i][h] : float2{-INFINITY, 0};
    values[i] = is_there ? s.given[first + i][h][number] : 0;
    most = fmaxf(most, stats[i].x);
  }
  most = fmaxf(most, __shfl_xor_sync(~0u, most, 8)), most = fmaxf(most, __shfl_xor_sync(~0u, most, 16));
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const float weight = power(stats[i].x - most);
    sum = __fmaf_rn(stats[i].y, weight, sum), value = __fmaf_rn(values[i], weight, value);
  }
#pragma unroll
  for (int o = 8; o < 32; o <<= 1) sum += __shfl_xor_sync(~0u, sum, o), value += __shfl_xor_sync(~0u, value, o);
  if (lane < SLICE) c.result(h)[blockIdx.x * SLICE + number] = __float2bfloat16(__fdiv_rn(value, sum));
}
#endif

// The whole of head h out of memory, in the same order.
__device__ __forceinline__ void combine_all(const Context& c, const float* partials, const float2* stats, int h, int lane) {
  const int splits = c.splits, group = c.p.group;
  const float2 stat = lane < splits ? __ldcg(stats + lane * group + h) : float2{-INFINITY, 0};
  float4 values[SPLITS], value[4];
#pragma unroll
  for (int i = 0; i < SPLITS; ++i)
    values[i] = i < splits ? __ldcg((const float4*)partials + (i * group + h) * (WIDTH / 4) + lane) : float4{0, 0, 0, 0};
  const float weight = power(stat.x - warp_max(stat.x));
  float sum[4];
#pragma unroll
  for (int q = 0; q < 4; ++q) {
    sum[q] = 0, value[q] = {0, 0, 0, 0};
#pragma unroll
    for (int i = 4 * q; i < 4 * q + 4; ++i) {
      const float w = __shfl_sync(~0u, weight, i);
      sum[q] = __fmaf_rn(__shfl_sync(~0u, stat.y, i), w, sum[q]);
      add(value[q], values[i], w);
    }
  }
  const float all = (sum[0] + sum[1]) + (sum[2] + sum[3]);
  const auto part = [&](float float4::*x) { return __fdiv_rn((value[0].*x + value[1].*x) + (value[2].*x + value[3].*x), all); };
  ((uint2*)c.result(h))[lane] = pack({part(&float4::x), part(&float4::y), part(&float4::z), part(&float4::w)});
}

template <int HEADS, bool CLUSTER> struct Exchange {
  const Context& c;
  Shared<HEADS>& s;
  const int warp, lane;

  __device__ __forceinline__ void begin() const {
#if __CUDA_ARCH__ >= 900
    if constexpr (CLUSTER) {
      if (!threadIdx.x) {
        barrier_init(&s.barrier, 1);
        asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
        barrier_expect(&s.barrier, c.splits * c.p.group * PUSHED);
      }
      asm volatile("barrier.cluster.arrive.release.aligned;" ::: "memory");
    }
#endif
  }
  // Gives what the warps have found in a split.
  __device__ __forceinline__ void give(int split) const {
    for (int h = warp; h < c.p.group; h += WARPS) {
      const Part part = merge_warps(s, h, lane);
#if __CUDA_ARCH__ >= 900
      if constexpr (CLUSTER) {
        push(s, part, split, h, lane);
        continue;
      }
#endif
      ((float4*)partials())[(split * c.p.group + h) * (WIDTH / 4) + lane] = part.value;
      if (!lane) stats()[split * c.p.group + h] = part.stat;
    }
  }
  __device__ __forceinline__ void finish() const {
#if __CUDA_ARCH__ >= 900
    if constexpr (CLUSTER) {
      wait_for_parts();
      for (int h = warp; h < c.p.group; h += WARPS) combine_slice(c, s, h, lane);
      return;
    }
#endif
    const int blocks = min((int)gridDim.x, c.splits);
    if (blocks == 1) return combine();
    __threadfence();
    __syncthreads();
    u32* arrived = (u32*)c.p.arrived + place();
    if (!threadIdx.x) s.is_last = atomicAdd(arrived, 1) + 1 == blocks;
    __syncthreads();
    if (!s.is_last) return;
    __threadfence();
    if (!threadIdx.x) *arrived = 0;
    combine();
  }
  __device__ __forceinline__ void combine() const {
    for (int h = warp; h < c.p.group; h += WARPS) combine_all(c, partials(), stats(), h, lane);
  }
  // Waits until the other blocks of the cluster have begun, so that they can be given something.
  __device__ __forceinline__ void wait_for_blocks() const {
#if __CUDA_ARCH__ >= 900
    if constexpr (CLUSTER) asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
#endif
  }
#if __CUDA_ARCH__ >= 900
  __device__ __forceinline__ void wait_for_parts() const {
    asm volatile("{\n.reg .pred p;\nW:\nmbarrier.try_wait.parity.acquire.cluster.shared::cta.b64 p, [%0], 0;\n@!p bra W;\n}" ::"r"(shared_address(&s.barrier)) : "memory");
  }
#endif
  __device__ __forceinline__ int place() const { return c.token * c.p.kv_heads + c.head; }
  __device__ __forceinline__ float* partials() const { return (float*)c.p.partials + (size_t)place() * SPLITS * c.p.group * WIDTH; }
  __device__ __forceinline__ float2* stats() const { return (float2*)c.p.stats + (size_t)place() * SPLITS * c.p.group; }
};

// The results of a place without a token.
__device__ __forceinline__ void clear(const Context& c, int warp, int lane) {
  wait_for_previous();
  for (int h = blockIdx.x * WARPS + warp; h < c.p.group; h += gridDim.x * WARPS) ((uint2*)c.result(h))[lane] = {0, 0};
}

// DECODE: no other token of the step belongs to the request, so that all but the token's own key and value is in the cache
// before the kernel begins. Otherwise `attention_append` has put them all there.
template <int HEADS, bool DECODE, bool CLUSTER> __device__ __forceinline__ void attend(const AttentionParams& p) {
  __shared__ Shared<HEADS> s;
  const int first = blockIdx.x, stride = CLUSTER ? SPLITS : gridDim.x, warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  let_next_begin();
  const Context c(p, blockIdx.z, blockIdx.y);
  if (c.position < 0) return clear(c, warp, lane);
  const Exchange<HEADS, CLUSTER> exchange = {c, s, warp, lane};
  exchange.begin();
  if (first < c.splits) {
    Tiles<HEADS, DECODE> tiles(c, first, stride, warp, lane);
    const Turn turn(p, c.position, lane);
    if (DECODE) tiles.begin();
    wait_for_previous();
    if (!DECODE) tiles.begin();
    take_inputs(c, turn, DECODE && (c.splits - 1) % stride == first, s, warp, lane);
    __syncthreads();
    exchange.wait_for_blocks();
    for (int split = first; split < c.splits; split += stride) {
      tiles.run(s, split), tiles.give(s, warp);
      __syncthreads();
      exchange.give(split);
      if (!CLUSTER) __syncthreads();
    }
    exchange.finish();
  } else if (CLUSTER) {
    wait_for_previous();
    exchange.wait_for_blocks();
    exchange.finish();
  }
}

#define ATTEND(name, HEADS, DECODE, CLUSTER, BLOCKS)                                                             \
  extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) name(const __grid_constant__ AttentionParams p) { \
    attend<HEADS, DECODE, CLUSTER>(p);                                                                           \
  }

ATTEND(attention_decode_4, 4, true, false, 12 / WARPS)
ATTEND(attention_decode_8, 8, true, false, 12 / WARPS)
ATTEND(attention_general_4, 4, false, false, 12 / WARPS)
ATTEND(attention_general_8, 8, false, false, 12 / WARPS)
#if __CUDA_ARCH__ >= 900
ATTEND(__cluster_dims__(SPLITS, 1, 1) attention_cluster_decode_4, 4, true, true, 12 / WARPS)
ATTEND(__cluster_dims__(SPLITS, 1, 1) attention_cluster_decode_8, 8, true, true, 12 / WARPS)
#endif

// Keys and values of all tokens of the step into the cache: one warp a key, one a value.
extern "C" __global__ void __launch_bounds__(THREADS) attention_append(const __grid_constant__ AttentionParams p) {
  const int part = threadIdx.x / 32, lane = threadIdx.x % 32;
  let_next_begin();
  const Context c(p, blockIdx.z, blockIdx.y);
  const Turn turn(p, max(c.position, 0), lane);
  wait_for_previous();
  if (part < 2 && c.position >= 0) append(c, turn, __ldcg((const float4*)c.part(p.group + part) + lane), part, lane);
}
