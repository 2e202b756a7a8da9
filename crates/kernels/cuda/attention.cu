// Attention of the tokens of a step over the paged cache, with what stands before it: the norm and the rotation of queries and
// keys, and the new keys and values in the cache.
//
// A block of threads has one token, one key/value head and some splits of the context; the splits follow from the token's position
// alone and are added one after another, so that a token's result does not depend on what shares the step.
//
// With one token the sixteen splits of a head are a cluster: each adds up its own eight numbers of every head's result, which the
// others push into its shared memory. A block that has all splits adds them in registers. Else the last block to arrive does it all.
#include "rounds.cuh"

#if __CUDA_ARCH__ >= 900
__device__ __forceinline__ u32 address_in(u32 rank, const void* p) {
  u32 address;
  asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(address) : "r"(shared_address(p)), "r"(rank));
  return address;
}
constexpr int PUSHED = (SLICE + 2) * 4;   // bytes of a split and head that a split is given
#endif

// Four numbers of a result as they are stored.
struct Stored {
  uint2 bits;
  __device__ __forceinline__ explicit Stored(const float4& x) : bits(pack(x)) {}
  __device__ __forceinline__ float4 values() const { return {bf16_low(bits.x), bf16_high(bits.x), bf16_low(bits.y), bf16_high(bits.y)}; }
  __device__ __forceinline__ float most() const {
    const float4 v = values();
    return fmaxf(fmaxf(fabsf(v.x), fabsf(v.y)), fmaxf(fabsf(v.z), fabsf(v.w)));
  }
  // Into head h, from number `first` on.
  __device__ __forceinline__ void store(const Context& c, int h, int first) const { *(uint2*)(c.result(h) + first) = bits; }
  // Into the next product's inputs; the head's numbers are `greatest` at most.
  __device__ __forceinline__ void leave(const Context& c, int h, int first, float greatest) const {
    const Scale<INT4> fixed(fmaxf(greatest, LEAST));
    const float4 v = values();
    const u32 y[4] = {fixed(v.x), fixed(v.y), fixed(v.z), fixed(v.w)};
    const Bytes bytes(y);
    put_inputs(c.left(h), c.token, first, bytes.high, bytes.low);
    if (!first) *scale_of(c.left(h), value_bytes(c.p.width), c.token) = fixed.scale;
  }
};

// What a warp has of heads 2t and 2t + 1 at most.
template <int HEADS> __device__ __forceinline__ void share_maxima(Shared<HEADS>& s, const Stored (&results)[2], int warp, int g, int t) {
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    float most = results[i].most();
#pragma unroll
    for (int o = 4; o < 32; o <<= 1) most = fmaxf(most, __shfl_xor_sync(~0u, most, o));
    if (!g && 2 * t + i < HEADS) s.maxima[warp][2 * t + i] = most;
  }
  __syncthreads();
}
template <int HEADS> __device__ __forceinline__ float maximum(const Shared<HEADS>& s, int h) {
  return fmaxf(fmaxf(s.maxima[0][h], s.maxima[1][h]), fmaxf(s.maxima[2][h], s.maxima[3][h]));
}

// A block that has all splits.
template <int HEADS, bool DECODE> __device__ __forceinline__ void attend_alone(Rounds<HEADS, DECODE>& rounds) {
  const Context& c = rounds.c;
  const int warp = rounds.warp, g = rounds.g, t = rounds.t;
  float most = -INFINITY, sum = 0;
  float4 values[2] = {};
  rounds.run([&](const Part& part, int) {
    const Factors own(most, part.most);
    sum = add_part(sum, part.sum, own);
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      Factors w = own;
      w.before = __shfl_sync(~0u, own.before, 8 * t + 4 * i), w.part = __shfl_sync(~0u, own.part, 8 * t + 4 * i);
      values[i] = add_part(values[i], part.values[i], w);
    }
  });
#pragma unroll
  for (int i = 0; i < 2; ++i) values[i] = divided(values[i], __shfl_sync(~0u, sum, 8 * t + 4 * i));
  const Stored results[2] = {Stored(values[0]), Stored(values[1])};
  if (c.p.left) share_maxima(rounds.s, results, warp, g, t);
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const int h = 2 * t + i, first = warp * 32 + g * 4;
    if (h >= c.p.group) continue;
    results[i].store(c, h, first);
    if (c.p.left) results[i].leave(c, h, first, maximum(rounds.s, h));
  }
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
      cluster_arrive();
    }
#endif
  }
  // Waits until the other blocks of the cluster have begun, so that they can be given something.
  __device__ __forceinline__ void wait_for_blocks() const {
#if __CUDA_ARCH__ >= 900
    if constexpr (CLUSTER) cluster_wait();
#endif
  }
  __device__ __forceinline__ void give(const Part& part, int split) const {
#if __CUDA_ARCH__ >= 900
    if constexpr (CLUSTER) return push(part, split);
#endif
    const int g = lane >> 2, t = lane & 3;
#pragma unroll
    for (int i = 0; i < 2; ++i)
      if (2 * t + i < c.p.group) ((float4*)partials())[(split * c.p.group + 2 * t + i) * (WIDTH / 4) + warp * 8 + g] = part.values[i];
    if (!warp && !t && g < c.p.group) stats()[split * c.p.group + g] = {part.most, part.sum};
  }
  __device__ __forceinline__ void finish() const {
#if __CUDA_ARCH__ >= 900
    if constexpr (CLUSTER) return combine_slice();
#endif
    __threadfence();
    __syncthreads();
    u32* arrived = (u32*)c.p.arrived + place();
    if (!threadIdx.x) s.is_last = atomicAdd(arrived, 1) + 1 == min((int)gridDim.x, c.splits);
    __syncthreads();
    if (!s.is_last) return;
    __threadfence();
    if (!threadIdx.x) *arrived = 0;
    for (int h = warp; h < c.p.group; h += WARPS) combine(h);
  }
  // The whole of head h out of memory.
  __device__ __forceinline__ void combine(int h) const {
    const float4* values = (const float4*)partials() + h * (WIDTH / 4) + lane;
    const float2* parts = stats() + h;
    float most = -INFINITY, sum = 0;
    float4 value = {0, 0, 0, 0};
#pragma unroll 4
    for (int i = 0; i < c.splits; ++i) {
      const float2 stat = __ldcg(parts + i * c.p.group);
      const Factors w(most, stat.x);
      sum = add_part(sum, stat.y, w), value = add_part(value, __ldcg(values + i * c.p.group * (WIDTH / 4)), w);
    }
    const Stored result(divided(value, sum));
    result.store(c, h, lane * 4);
    if (c.p.left) result.leave(c, h, lane * 4, warp_max(result.most()));
  }
  __device__ __forceinline__ int place() const { return c.token * c.p.kv_heads + c.head; }
  __device__ __forceinline__ float* partials() const { return (float*)c.p.partials + (size_t)place() * SPLITS * c.p.group * WIDTH; }
  __device__ __forceinline__ float2* stats() const { return (float2*)c.p.stats + (size_t)place() * SPLITS * c.p.group; }

#if __CUDA_ARCH__ >= 900
  // Pushes a split's part to the splits of the cluster: to each its slice, and to all the stats.
  __device__ __forceinline__ void push(const Part& part, int split) const {
    const int g = lane >> 2, t = lane & 3, to = warp * 4 + g / 2;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const float4& v = part.values[i];
      const int h = 2 * t + i;
      if (h < c.p.group)
        asm volatile("st.async.shared::cluster.mbarrier::complete_tx::bytes.v4.f32 [%0], {%1,%2,%3,%4}, [%5];" ::
            "r"(address_in(to, &s.given[split][h][g % 2 * 4])), "f"(v.x), "f"(v.y), "f"(v.z), "f"(v.w), "r"(address_in(to, &s.barrier)) : "memory");
    }
    for (int h = warp; h < c.p.group; h += WARPS) {
      const float most = __shfl_sync(~0u, part.most, h * 4), sum = __shfl_sync(~0u, part.sum, h * 4);
      if (lane < SPLITS)
        asm volatile("st.async.shared::cluster.mbarrier::complete_tx::bytes.v2.f32 [%0], {%1,%2}, [%3];" ::
            "r"(address_in(lane, &s.given_stats[split][h])), "f"(most), "f"(sum), "r"(address_in(lane, &s.barrier)) : "memory");
    }
  }
  // The own slice of all heads, a number a thread.
  __device__ __forceinline__ void combine_slice() const {
    asm volatile("{\n.reg .pred p;\nW:\nmbarrier.try_wait.parity.acquire.cluster.shared::cta.b64 p, [%0], 0;\n@!p bra W;\n}" ::"r"(shared_address(&s.barrier)) : "memory");
    const int h = threadIdx.x / SLICE, number = threadIdx.x % SLICE;
    if (h >= c.p.group) return;
    float most = -INFINITY, sum = 0, value = 0;
#pragma unroll 4
    for (int i = 0; i < c.splits; ++i) {
      const float2 stat = s.given_stats[i][h];
      const Factors w(most, stat.x);
      sum = add_part(sum, stat.y, w), value = add_part(value, s.given[i][h][number], w);
    }
    c.result(h)[blockIdx.x * SLICE + number] = __float2bfloat16(__fdiv_rn(value, sum));
  }
#endif
};

// The results of a place without a token.
__device__ __forceinline__ void clear(const Context& c, int warp, int lane) {
  wait_for_previous();
  const Stored zeros(float4{0, 0, 0, 0});
  for (int h = blockIdx.x * WARPS + warp; h < c.p.group; h += gridDim.x * WARPS) {
    zeros.store(c, h, lane * 4);
    if (c.p.left) zeros.leave(c, h, lane * 4, 0);
  }
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
    Rounds<HEADS, DECODE> rounds(c, s, first, stride, warp, lane);
    if (DECODE) rounds.begin();
    const Turn turn(p, c.position, lane);
    wait_for_previous();
    if (!DECODE) rounds.begin();
    take_inputs(c, turn, DECODE && (c.splits - 1) % stride == first, s, warp, lane);
    __syncthreads();
    if (!CLUSTER && stride == 1) return attend_alone(rounds);
    exchange.wait_for_blocks();
    rounds.run([&](const Part& part, int split) { exchange.give(part, split); });
    exchange.finish();
  } else if (CLUSTER) {
    wait_for_previous();
    exchange.wait_for_blocks();
    exchange.finish();
  }
}

#define ATTEND(name, HEADS, DECODE, CLUSTER, BLOCKS)                                                                \
  extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) name(const __grid_constant__ AttentionParams p) { \
    attend<HEADS, DECODE, CLUSTER>(p);                                                                           \
  }

ATTEND(attention_decode_4, 4, true, false, 4)
ATTEND(attention_decode_8, 8, true, false, 4)
ATTEND(attention_general_4, 4, false, false, 4)
ATTEND(attention_general_8, 8, false, false, 4)
#if __CUDA_ARCH__ >= 900
ATTEND(__cluster_dims__(SPLITS, 1, 1) attention_cluster_decode_4, 4, true, true, 3)
ATTEND(__cluster_dims__(SPLITS, 1, 1) attention_cluster_decode_8, 8, true, true, 3)
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
