// Products of packed weights with the activations of a step: out[T, N] = x[T, K] W^T, with what stands before and after them.
//
// A block owns some row blocks of 16 outputs. Sixteen consumer warps share the inputs; their sums are added in a fixed order by
// one or two warps, which also do what follows: the factor of RMSNorm, SiLU, the residual, and what the next product reads.
// Weights stream through a ring that is filled before the kernel waits for its input.
//
// One token: every consumer has a slot of its own, and every block turns the activations into fixed point by itself. More tokens:
// `prepare` does it once for all blocks, and consumers hold their inputs in registers. With many tokens these would be more than
// registers hold, and reading them would take as long as reading the weights: then two blocks, a cluster, do the work of both
// together. Each has half of the slots, its consumers half of the tokens each, and the blocks exchange halves of sums. On Hopper
// `wide` takes many tokens instead, where there are kernels for the weights and what follows.
#include "after.cuh"
#include "alone.cuh"
#include "params.cuh"
#include "prepare.cuh"
#include "sums.cuh"

// After the consumers comes the producer, then one or two reducers.
constexpr int PRODUCER = CONSUMERS, REDUCER = CONSUMERS + 1;
constexpr int threads(int width) { return (REDUCER + reducers(width)) * 32; }

template <int KIND, int WIDTH, int AFTER, int CLUSTER> struct Product {
  using F = Form<KIND>;
  using R = Room<KIND, WIDTH, CLUSTER>;
  using G = Group<KIND>;
  // Most row blocks of the parts of a product that adds to the residual: registers hold their sums.
  static constexpr int HELD = 2 * CLUSTER;
  static constexpr bool BY_TILE = AFTER == ADD && !R::ALONE;
  // Groups of a chunk that consumers keep in registers, and those that they keep in shared memory. BY_TILE all of the next tile's
  // come to shared memory meanwhile; before Hopper they come when they are needed.
  static constexpr int KEPT = F::TILES * R::N < F::KEPT ? F::TILES * R::N : F::KEPT;
#if __CUDA_ARCH__ >= 900
  static constexpr int STAGED = R::ALONE ? 0 : BY_TILE ? R::N : F::TILES * R::N - KEPT;
#else
  static constexpr int STAGED = R::ALONE || BY_TILE ? 0 : F::TILES * R::N - KEPT;
#endif
  // Bytes of a group there; what stands beside its values is in use while the next tile's comes.
  static constexpr int ROOM = G::BYTES + (BY_TILE ? G::BESIDE : 0);
  using Weights = Ring<F::BYTES, R::SLOTS, BY_TILE>;
  using Sum = float[R::N][2][R::PAIR];

  const ProductParams& p;
  Weights ring;
  char* inputs;
  Extra<KIND>* extras;
  Sums<KIND, WIDTH, CLUSTER> sums;
  float *factors, *held;
  const int warp, lane;
  u32 rank;             // of the block in its cluster
  u32 first_part;       // of the cluster
  int slot, share;      // a consumer's slot of those of the block, and its first token
  int reducer, first;   // a reducer's number, and its first token

  __device__ __forceinline__ Product(const ProductParams& params, char* shared) : p(params), warp(threadIdx.x / 32), lane(threadIdx.x & 31) {
    rank = CLUSTER > 1 ? blockIdx.x % CLUSTER : 0, first_part = blockIdx.x - rank;
    slot = warp % R::SLOTS, share = warp / R::SLOTS * R::SHARE;
    reducer = warp - REDUCER, first = rank * R::SHARE + reducer * R::OUT * 2;
    ring.data = shared, ring.slots = p.stages;
    inputs = shared + p.stages * ring.STAGE;
    const u32 rooms = R::ALONE ? CONSUMERS * (p.tiles / p.chunk) : 0;
    extras = (Extra<KIND>*)(inputs + (R::ALONE ? rooms * TOKEN : CONSUMERS * STAGED * ROOM));
    sums.partials = (float*)(extras + rooms);
    factors = (float*)((char*)sums.partials + R::BYTES);
    u64* barriers = (u64*)(factors + (R::SHARE + 1) / 2 * 2);
    ring.full = barriers, ring.empty = barriers + p.stages;
    sums.full = barriers + 2 * p.stages, sums.empty = sums.full + R::BUFFERS;
    held = (float*)(sums.full + R::BARRIERS);
    if (!threadIdx.x) {
      ring.init(), sums.init();
#if __CUDA_ARCH__ >= 900
      asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
#endif
    }
    __syncthreads();
#if __CUDA_ARCH__ >= 900
    if constexpr (CLUSTER > 1) cluster_arrive();
#endif
  }

  // Row blocks of the cluster's parts, the part that one of them is of, and its place there.
  __device__ __forceinline__ u32 row_blocks() const { return p.row_blocks * (CLUSTER > 1 ? min((u32)CLUSTER, p.parts - first_part) : 1); }
  __device__ __forceinline__ u32 part_of(u32 block) const { return first_part + (CLUSTER > 1 && block >= p.row_blocks); }
  __device__ __forceinline__ u32 place_of(u32 block) const { return CLUSTER > 1 && block >= p.row_blocks ? block - p.row_blocks : block; }

  __device__ __forceinline__ typename Weights::Stages stages() const {
    const u32 part = p.row_blocks * p.tiles;
    const size_t at = (size_t)first_part * part * CONSUMERS + rank * R::SLOTS;
    return {(const char*)p.weights + at * F::BYTES, p.row_blocks, p.chunk, part, row_blocks()};
  }
  __device__ __forceinline__ int stage_count() const { return row_blocks() * p.tiles; }

  __device__ __forceinline__ void produce() {
#if __CUDA_ARCH__ >= 900
    if (!lane) ring.produce(stages(), stage_count(), p.flight);
    __syncwarp();
#endif
  }

  __device__ __forceinline__ void consume() {
    ring.begin(stages(), stage_count(), slot, lane);
    wait_for_previous();
    if constexpr (R::ALONE) {
      make_inputs();
      if constexpr (AFTER == ADD) add_chunks_alone();
      else add_blocks_alone();
    } else if constexpr (BY_TILE) {
      add_tiles();
    } else {
      add_blocks();
    }
  }

  // One token: all inputs of this warp's slot.
  __device__ __forceinline__ void make_inputs() {
    const u32 chunks = p.tiles / p.chunk, span = p.chunk * F::K;
#pragma unroll 3
    for (u32 c = 0; c < chunks; ++c) {
      const u32 k = (warp * chunks + c) * span + lane * 8;
      uint4 values = {0, 0, 0, 0};
      if (lane * 8 < span && k < p.inputs) values = eight_inputs((const unsigned short*)p.input, (const u32*)p.permutation, k);
      store_inputs<KIND>(values, inputs + (c * CONSUMERS + warp) * TOKEN, extras + c * CONSUMERS + warp, lane);
    }
    __syncwarp();
  }

  __device__ __forceinline__ void take_tile(Tile<KIND>& tile) {
    tile.load(ring.tile(slot), lane);
    ring.give_back(lane);
  }
  __device__ __forceinline__ void add_tile_alone(Sum& acc, u32 chunk, int g) {
    Tile<KIND> tile;
    take_tile(tile);
    float sum[2] = {acc[0][0][0], acc[0][1][0]};
    multiply<KIND>(sum, tile, inputs + (chunk * CONSUMERS + warp) * TOKEN, extras[chunk * CONSUMERS + warp], g, lane);
    acc[0][0][0] = sum[0], acc[0][1][0] = sum[1];
  }

  // Row block after row block; the slot's inputs are one chunk.
  __device__ __forceinline__ void add_blocks_alone() {
#pragma unroll 1
    for (u32 b = 0; b < p.row_blocks; ++b) {
      Sum acc = {};
      for (u32 g = 0; g < p.chunk; ++g) add_tile_alone(acc, 0, g);
      sums.put(acc, slot, share, lane);
    }
  }
  // Chunk after chunk, all row blocks at once.
  __device__ __forceinline__ void add_chunks_alone() {
    Sum acc[HELD] = {};
#pragma unroll 1
    for (u32 chunk = 0; chunk < p.tiles / p.chunk; ++chunk)
#pragma unroll
      for (int b = 0; b < HELD; ++b)
        if (b < p.row_blocks)
          for (u32 g = 0; g < p.chunk; ++g) add_tile_alone(acc[b], chunk, g);
#pragma unroll
    for (int b = 0; b < HELD; ++b)
      if (b < p.row_blocks) sums.put(acc[b], slot, share, lane);
  }

  // Where the n-th group of this warp's tokens is, of the inputs of a tile. Beyond the last group the last one will do.
  __device__ __forceinline__ const char* group(u32 tile, int n) const {
    const u32 row = (tile * CONSUMERS + rank * R::SLOTS + slot) * p.all_groups;
    return (const char*)p.input + (size_t)(row + min((u32)(share / R::COLUMNS + n), p.groups - 1)) * G::BYTES;
  }
  // Room for a group in shared memory, and for what stands beside its values.
  __device__ __forceinline__ char* staged(int place) const { return inputs + (warp * STAGED + place) * ROOM; }
  __device__ __forceinline__ char* beside(int place, u32 tile) const { return staged(place) + G::VALUES + (BY_TILE ? tile % 2 * G::BESIDE : 0); }
  __device__ __forceinline__ void stage(int place, u32 tile, const char* from) const {
    copy<G::VALUES>(staged(place), from);
    copy<G::BESIDE>(beside(place, tile), from + G::VALUES);
  }
  template <int BYTES> __device__ __forceinline__ void copy(char* to, const char* from) const {
#pragma unroll
    for (int i = lane * 16; i < BYTES; i += 512)
      asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(shared_address(to + i)), "l"(from + i) : "memory");
  }
  __device__ __forceinline__ void wait_for_staged() const {
    asm volatile("cp.async.wait_all;" ::: "memory");
    __syncwarp();
  }

  // Row block after row block; the slot's inputs are one chunk, which stays where it is.
  __device__ __forceinline__ void add_blocks() {
    Columns<KIND> x[KEPT];
#pragma unroll
    for (int i = 0; i < F::TILES * R::N; ++i) {
      if (i / R::N >= p.chunk) break;
      const char* from = group(i / R::N, i % R::N);
      if (i < KEPT) x[i].template load_values<true>(from, lane), x[i].template load_beside<true>(from + G::VALUES, lane);
      else stage(i - KEPT, 0, from);
    }
    if constexpr (STAGED) wait_for_staged();
#pragma unroll 1
    for (u32 b = 0; b < row_blocks(); ++b) {
      Sum acc = {};
#pragma unroll
      for (int g = 0; g < F::TILES; ++g) {
        if (g >= p.chunk) break;
        Tile<KIND> tile;
        take_tile(tile);
        multiply(acc, tile, [&](int n) {
          const int i = g * R::N + n;
          Columns<KIND> columns;
          if (i < KEPT) columns = x[i];
          else columns.template load_values<false>(staged(i - KEPT), lane), columns.template load_beside<false>(beside(i - KEPT, 0), lane);
          return columns;
        });
      }
      sums.put(acc, slot, share, lane);
    }
  }

  // Tile after tile along k, all row blocks at once.
  __device__ __forceinline__ void add_tiles() {
    Sum acc[HELD] = {};
    Columns<KIND> x[R::N];
    if constexpr (STAGED) stage_tile(0);
#pragma unroll 1
    for (u32 t = 0; t < p.tiles; ++t) {
      take_inputs(x, t);
#pragma unroll
      for (int b = 0; b < HELD; ++b)
        if (b < row_blocks()) {
          Tile<KIND> tile;
          take_tile(tile);
          multiply(acc[b], tile, [&](int n) {
            Columns<KIND> columns = x[n];
            if constexpr (STAGED) columns.template load_beside<false>(beside(n, t), lane);
            return columns;
          });
        }
    }
#pragma unroll
    for (int b = 0; b < HELD; ++b)
      if (b < row_blocks()) sums.put(acc[b], slot, share, lane);
  }
  __device__ __forceinline__ void stage_tile(u32 tile) const {
#pragma unroll
    for (int n = 0; n < R::N; ++n) stage(n, tile, group(tile, n));
  }
  // A tile's inputs to registers, and the next one's on their way.
  __device__ __forceinline__ void take_inputs(Columns<KIND> (&x)[R::N], u32 tile) const {
    if constexpr (STAGED) {
      wait_for_staged();
#pragma unroll
      for (int n = 0; n < R::N; ++n) x[n].template load_values<false>(staged(n), lane);
      __syncwarp();
      if (tile + 1 < p.tiles) stage_tile(tile + 1);
    } else {
#pragma unroll
      for (int n = 0; n < R::N; ++n) {
        const char* from = group(tile, n);
        x[n].template load_values<true>(from, lane), x[n].template load_beside<true>(from + G::VALUES, lane);
      }
    }
  }

  // 1 / RMS of the inputs of this reducer's tokens.
  __device__ __forceinline__ void take_factors() {
    for (int t = reducer * R::OUT * 2; t < min(R::SHARE, (reducer + 1) * R::OUT * 2) && rank * R::SHARE + t < p.tokens; ++t) {
      const float factor = norm_factor(((const float4*)p.squares_in)[(rank * R::SHARE + t) * (PARTS / 4) + lane], p.inputs, p.epsilon);
      if (!lane) factors[t] = factor;
    }
    __syncwarp();
  }

  __device__ __forceinline__ int row() const { return lane & 15; }
  // The token of a lane's i-th output; with one token half of the lanes have none.
  __device__ __forceinline__ u32 token(int i) const { return first + 2 * i + (lane >> 4); }
  __device__ __forceinline__ float factor(int i) const { return p.squares_in && token(i) < p.tokens ? factors[token(i) - rank * R::SHARE] : 1.f; }
  __device__ __forceinline__ size_t at(int i, u32 outputs, u32 n) const { return (size_t)token(i) * outputs + n; }

  __device__ __forceinline__ void reduce() {
    wait_for_previous();
#if __CUDA_ARCH__ >= 900
    if constexpr (CLUSTER > 1) cluster_wait();
#endif
    if constexpr (AFTER == ADD) {
      add_residual();
    } else {
      if (p.squares_in) take_factors();
      give_blocks();
    }
  }

  __device__ __forceinline__ void give_blocks() {
    const u32 count = row_blocks();
    float sum[R::OUT];
    if constexpr (CLUSTER == 1) {
#pragma unroll 1
      for (u32 b = 0; b < count; ++b) {
        sums.take(sum, first, reducer, lane);
        give(sum, b);
      }
    } else {
#if __CUDA_ARCH__ >= 900
      // A row block is finished after the next one was taken: the other block's half is there by then.
      float last[R::OUT];
#pragma unroll 1
      for (u32 b = 0; b <= count; ++b) {
        if (b < count) sums.take(sum, first, reducer, lane);
        if (b) {
          sums.finish(last, reducer, lane);
          give(last, b - 1);
        }
#pragma unroll
        for (int i = 0; i < R::OUT; ++i) last[i] = sum[i];
      }
#endif
    }
  }

  __device__ __forceinline__ void give(const float (&sum)[R::OUT], u32 block) const {
    if constexpr (AFTER == GATED) return give_gated(sum, block);
    const u32 n = (first_part * p.row_blocks + block) * 16 + row();
#pragma unroll
    for (int i = 0; i < R::OUT; ++i)
      if (n < p.outputs && token(i) < p.tokens) ((float*)p.output)[at(i, p.outputs, n)] = sum[i] * factor(i);
  }

  // The first half of a part's row blocks are gates, which wait for what they gate.
  __device__ __forceinline__ void give_gated(const float (&sum)[R::OUT], u32 block) const {
    const u32 half = p.row_blocks / 2, outputs = p.outputs / 2, place = place_of(block);
    float* gates = held + ((place < half ? place : place - half) * R::REDUCERS + reducer) * R::OUT * 32 + lane;
    if (place < half) {
#pragma unroll
      for (int i = 0; i < R::OUT; ++i) gates[i * 32] = silu(sum[i] * factor(i));
      return;
    }
    const u32 n = (part_of(block) * half + place - half) * 16 + row();
#pragma unroll
    for (int i = 0; i < R::OUT; ++i)
      if (n < outputs && token(i) < p.tokens)
        ((__nv_bfloat16*)p.output)[at(i, outputs, n)] = __float2bfloat16(gates[i * 32] * (sum[i] * factor(i)));
  }

  __device__ __forceinline__ void add_residual() {
    const u32 count = row_blocks();
    float sum[HELD][R::OUT], residual[HELD][R::OUT], weight[HELD], squares[R::OUT] = {};
#pragma unroll
    for (int b = 0; b < HELD; ++b)
      if (b < count) take_residual(residual[b], weight[b], b);
#pragma unroll
    for (int b = 0; b < HELD; ++b) {
      if (b < count) sums.take(sum[b], first, reducer, lane);
      if (CLUSTER == 1 && b < count) give_residual(sum[b], residual[b], weight[b], squares, b);
    }
#if __CUDA_ARCH__ >= 900
    if constexpr (CLUSTER > 1) {
#pragma unroll
      for (int b = 0; b < HELD; ++b)
        if (b < count) {
          sums.finish(sum[b], reducer, lane);
          give_residual(sum[b], residual[b], weight[b], squares, b);
        }
    }
#endif
  }

  __device__ __forceinline__ void take_residual(float (&residual)[R::OUT], float& weight, int b) const {
    const u32 n = (first_part * p.row_blocks + b) * 16 + row();
    weight = n < p.outputs ? ((const float*)p.norm)[n] : 0.f;
#pragma unroll
    for (int i = 0; i < R::OUT; ++i)
      residual[i] = n < p.outputs && token(i) < p.tokens ? ((const float*)p.output)[at(i, p.outputs, n)] : 0.f;
  }

  __device__ __forceinline__ void give_residual(const float (&sum)[R::OUT], const float (&residual)[R::OUT], float weight, float (&squares)[R::OUT], int b) const {
    const u32 n = (first_part * p.row_blocks + b) * 16 + row();
#pragma unroll
    for (int i = 0; i < R::OUT; ++i) {
      if (n >= p.outputs || token(i) >= p.tokens) continue;
      const float value = residual[i] + sum[i];
      ((float*)p.output)[at(i, p.outputs, n)] = value;
      ((__nv_bfloat16*)p.normed)[at(i, p.outputs, n)] = __float2bfloat16(value * weight);
      squares[i] += value * value;
    }
    if (place_of(b) + 1 == p.row_blocks) give_squares(squares, part_of(b));
  }

  // The part's share of every token's sum of squares; shares that no part has are zero.
  __device__ __forceinline__ void give_squares(float (&squares)[R::OUT], u32 part) const {
#pragma unroll
    for (int i = 0; i < R::OUT; ++i) {
#pragma unroll
      for (int o = 8; o; o >>= 1) squares[i] += __shfl_xor_sync(~0u, squares[i], o);
      float* shares = (float*)p.squares_out + token(i) * PARTS;
      if (token(i) < p.tokens)
        for (u32 share = part + row() * p.parts; share < PARTS; share += 16 * p.parts) shares[share] = share == part ? squares[i] : 0.f;
      squares[i] = 0;
    }
  }

  __device__ __forceinline__ void run() {
    let_next_begin();
    if (warp < CONSUMERS) consume();
    else if (warp == PRODUCER) produce();
    else reduce();
#if __CUDA_ARCH__ >= 900
    // Reducers have waited for the other block before.
    if (CLUSTER > 1 && warp < REDUCER) __syncwarp(), cluster_wait();
#endif
  }
};

#define PRODUCT(name, KIND, WIDTH, AFTER, CLUSTER, BOUNDS)                       \
  extern "C" __global__ void BOUNDS name(const __grid_constant__ ProductParams p) { \
    extern __shared__ __align__(128) char shared[];                              \
    Product<KIND, WIDTH, AFTER, CLUSTER>(p, shared).run();                       \
  }

#define PRODUCTS(kind, KIND, width, CLUSTER, BOUNDS)                        \
  PRODUCT(product_##kind##_plain_##width, KIND, width, PLAIN, CLUSTER, BOUNDS) \
  PRODUCT(product_##kind##_gated_##width, KIND, width, GATED, CLUSTER, BOUNDS) \
  PRODUCT(product_##kind##_add_##width, KIND, width, ADD, CLUSTER, BOUNDS)

#define ONE __launch_bounds__(threads(1), 1)
#define MORE __launch_bounds__(threads(8), 1)
#define PAIR_OF_BLOCKS __launch_bounds__(threads(8), 1) __cluster_dims__(2, 1, 1)

PRODUCTS(int4, INT4, 1, 1, ONE)
PRODUCTS(int4, INT4, 4, 1, ONE)
PRODUCTS(int4, INT4, 8, 1, MORE)
PRODUCTS(int4, INT4, 16, 1, MORE)
PRODUCTS(int8, INT8, 1, 1, ONE)
PRODUCTS(int8, INT8, 4, 1, ONE)
PRODUCTS(int8, INT8, 8, 1, MORE)
PRODUCTS(f16, F16, 1, 1, ONE)
PRODUCTS(f16, F16, 8, 1, MORE)
PRODUCTS(f16, F16, 16, 1, MORE)
PRODUCTS(bf16, BF16, 1, 1, ONE)
PRODUCTS(bf16, BF16, 8, 1, MORE)
PRODUCTS(bf16, BF16, 16, 1, MORE)

#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900
PRODUCTS(int4, INT4, 32, 2, PAIR_OF_BLOCKS)
PRODUCTS(f16, F16, 32, 2, PAIR_OF_BLOCKS)
#endif
