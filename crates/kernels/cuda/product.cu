// Products of packed weights with the activations of a step: out[T, N] = x[T, K] W^T, with what stands before and after them.
//
// A block owns some row blocks of 16 outputs. Sixteen consumer warps share the inputs, each a k-slot of its own; their sums are
// added in a fixed order by one warp, which also does what follows: the factor of RMSNorm, SiLU, the residual, and what the next
// product reads. Weights stream through a ring that is filled before the kernel waits for its input.
//
// One token: every block turns the activations into fixed point by itself. More tokens: `prepare` does it once for all blocks.
// Beyond sixteen, the blocks of a cluster share the weights and have tokens of their own.
#include "ring.cuh"
#include "tile.cuh"

struct ProductParams {
  u64 weights;       // packed stages of all parts
  u64 input;         // one token: bf16 [K]; more: what `prepare` made, [chunk][slot][stride][TOKEN bytes]
  u64 extras;        // more tokens: [chunk][slot][stride] of Extra
  u64 permutation;   // one token: u32 [K], which activation meets input k; 0 if in order
  u64 squares_in;    // f32 [T, 128]: parts of the sum of squares that the norm divides by; 0 without a norm
  u64 output;        // PLAIN f32 [T, N]; GATED bf16 [T, N / 2]; ADD f32 [T, N], the residual, added to
  u64 norm;          // ADD: f32 [N], weight of the norm that follows
  u64 normed;        // ADD: bf16 [T, N], the new residual times that weight
  u64 squares_out;   // ADD: f32 [T, 128], parts of its sum of squares
  u32 tokens, inputs, outputs;
  u32 stride;        // tokens that were prepared together
  u32 parts;         // of the layout, each with stages of its own
  u32 row_blocks;    // of a part
  u32 tiles;         // of a slot along k
  u32 chunk;         // of these, tiles whose inputs follow one another
  u32 slots;         // of the ring
  u32 flight;        // stages under way at most
  float epsilon;
  u32 pad;
};

struct PrepareParams {
  u64 input;         // bf16 [T, K]
  u64 permutation;   // u32 [K] or 0
  u64 output;        // [chunk][slot][T][TOKEN bytes]
  u64 extras;        // [chunk][slot][T] of Extra
  u32 tokens, inputs, tiles, chunk;
};

enum After { PLAIN, GATED, ADD };

// After the consumers comes the producer, then one or two reducers.
constexpr int PRODUCER = CONSUMERS, REDUCER = CONSUMERS + 1;
constexpr int reducers(int width) { return width < 8 ? 1 : 2; }
constexpr int threads(int width) { return (REDUCER + reducers(width)) * 32; }

// Parts of a sum of squares.
constexpr int PARTS = 128;

template <int KIND, int WIDTH> struct Room {
  static constexpr bool ALONE = WIDTH == 1;
  static constexpr int BUFFERS = 2;   // row blocks whose sums wait for the reducer
  // Most row blocks of a part that adds to the residual: registers hold their sums.
  static constexpr int HELD = 2;
  static constexpr int PARTIAL = CONSUMERS * WIDTH * 16;   // numbers of a row block
  static constexpr int PARTIALS = BUFFERS * PARTIAL * 4;
  // Tokens a matrix instruction takes, those of a lane's sums, and instructions side by side.
  static constexpr int COLUMNS = COLUMN_TOKENS<KIND>, PAIR = COLUMNS / 4, N = (WIDTH + COLUMNS - 1) / COLUMNS;
  static constexpr int REDUCERS = reducers(WIDTH);
  static constexpr int OUT = WIDTH == 1 ? 1 : WIDTH * 16 / 32 / REDUCERS;   // outputs of a row block a lane of a reducer
};

// The sums of one row block, [token][row][warp], where the reducers find them. The sixteen sums of an output are added as a tree,
// ((0 + 1) + (2 + 3)) + ..., so that the sum stays the same to the bit when places are exchanged by flipping bits of their
// numbers: that is how no access meets a bank twice.
template <int KIND, int WIDTH> struct Sums {
  using R = Room<KIND, WIDTH>;
  float* partials;
  u64 *full, *empty;
  u32 done = 0;   // row blocks so far

  __device__ __forceinline__ float* buffer() const { return partials + done % R::BUFFERS * R::PARTIAL; }
  __device__ __forceinline__ static int flip(int row) { return row >> 1 & 3; }

  __device__ __forceinline__ void put(const float (&acc)[R::N][2][2], int warp, int lane) {
    const u32 b = done % R::BUFFERS;
    if (done >= R::BUFFERS) barrier_wait(&empty[b], (done / R::BUFFERS & 1) ^ 1);
    const int row = lane >> 2;
    float* to = buffer() + row * 16;
#pragma unroll
    for (int n = 0; n < R::N; ++n)
#pragma unroll
      for (int i = 0; i < R::PAIR; ++i) {
        const int token = n * R::COLUMNS + (lane & 3) * R::PAIR + i, at = token * 256 + (warp ^ (flip(row) * 4 | token & 3));
        if (token < WIDTH) to[at] = acc[n][0][i], to[at + 128] = acc[n][1][i];
      }
    __syncwarp();
    if (!lane) barrier_arrive(&full[b]);
    ++done;
  }

  __device__ __forceinline__ static float four(const float* from, int quad) {
    const float4 v = *(const float4*)(from + quad * 4);
    return (v.x + v.y) + (v.z + v.w);
  }

  // The sums of a row block over all slots, for a lane's row and tokens from `first` on.
  __device__ __forceinline__ void take(float (&sum)[R::OUT], int first, int lane) {
    const u32 b = done % R::BUFFERS;
    barrier_wait(&full[b], done / R::BUFFERS & 1);
    const int row = lane & 15, half = lane >> 4, f = flip(row);
    const float* from = buffer() + row * 16;
    if constexpr (WIDTH == 1) {
      const int q = half * 2 ^ f;
      sum[0] = four(from, q) + four(from, q ^ 1);
      sum[0] += __shfl_xor_sync(~0u, sum[0], 16);
    } else {
#pragma unroll
      for (int i = 0; i < R::OUT; ++i) {
        const float* outputs = from + (first + 2 * i + half) * 256;
        sum[i] = (four(outputs, f) + four(outputs, f ^ 1)) + (four(outputs, f ^ 2) + four(outputs, f ^ 3));
      }
    }
    __syncwarp();
    if (!lane) barrier_arrive(&empty[b]);
    ++done;
  }
};

__device__ __forceinline__ float silu(float v) { return v / (1.f + __expf(-v)); }

// Eight inputs of a token from `first` on.
__device__ __forceinline__ uint4 eight_inputs(const unsigned short* row, const u32* permutation, u32 first) {
  if (!permutation) return *(const uint4*)(row + first);
  const u32* order = permutation + first;
  uint4 values;
  u32* pairs = &values.x;
#pragma unroll
  for (int i = 0; i < 4; ++i) pairs[i] = row[order[2 * i]] | (u32)row[order[2 * i + 1]] << 16;
  return values;
}

template <int KIND, int WIDTH, int AFTER, int CLUSTER> struct Product {
  using F = Form<KIND>;
  using R = Room<KIND, WIDTH>;
  const ProductParams& p;
  Ring<F::BYTES, CLUSTER> ring;
  char* inputs;
  Extra<KIND>* extras;
  Sums<KIND, WIDTH> sums;
  float *factors, *held;
  const int warp, lane;
  u32 first, tokens;   // of this block
  const int reducer_first;   // token of this block that a reducer begins with

  __device__ __forceinline__ Product(const ProductParams& params, char* shared) : p(params), warp(threadIdx.x / 32), lane(threadIdx.x & 31), reducer_first((warp - REDUCER) * R::OUT * 2) {
    first = 0, tokens = p.tokens;
#if __CUDA_ARCH__ >= 900
    if constexpr (CLUSTER > 1) {
      first = cluster_rank() * WIDTH;
      tokens = p.tokens > first ? min(p.tokens - first, (u32)WIDTH) : 0;
    }
#endif
    ring.data = shared, ring.slots = p.slots;
    inputs = shared + p.slots * ring.STAGE;
    const u32 rooms = CONSUMERS * WIDTH * (R::ALONE ? p.tiles / p.chunk : 1);
    extras = (Extra<KIND>*)(inputs + rooms * TOKEN);
    sums.partials = (float*)(extras + rooms);
    factors = (float*)((char*)sums.partials + R::PARTIALS);
    u64* barriers = (u64*)(factors + (WIDTH + 1) / 2 * 2);
    ring.full = barriers, ring.empty = barriers + p.slots;
    sums.full = barriers + 2 * p.slots, sums.empty = sums.full + R::BUFFERS;
    held = (float*)(sums.empty + R::BUFFERS);
    if (!threadIdx.x) {
      ring.init();
      for (int i = 0; i < R::BUFFERS; ++i) barrier_init(&sums.full[i], CONSUMERS), barrier_init(&sums.empty[i], R::REDUCERS);
#if __CUDA_ARCH__ >= 900
      asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
#endif
    }
    sync();
  }

  __device__ __forceinline__ void sync() const {
#if __CUDA_ARCH__ >= 900
    if constexpr (CLUSTER > 1) return cluster_sync();
#endif
    __syncthreads();
  }

  // The parts of the layout that this block, or its cluster, works through.
  __device__ __forceinline__ u32 first_part() const { return blockIdx.x / CLUSTER; }
  __device__ __forceinline__ u32 part_step() const { return gridDim.x / CLUSTER; }

  __device__ __forceinline__ int stages() const { return p.row_blocks * p.tiles; }
  __device__ __forceinline__ const char* weights(u32 part) const { return (const char*)p.weights + (size_t)part * stages() * ring.STAGE; }

  // One token: all inputs of this warp's slot.
  __device__ __forceinline__ void make_inputs() {
    const u32 chunks = p.tiles / p.chunk, span = p.chunk * F::K;
#pragma unroll 3
    for (u32 c = 0; c < chunks; ++c) {
      const u32 k = (warp * chunks + c) * span + lane * 8;
      uint4 values = {0, 0, 0, 0};
      if (lane * 8 < span && k < p.inputs) values = eight_inputs((const unsigned short*)p.input, (const u32*)p.permutation, k);
      store_inputs<KIND>(values, inputs_of(c), extras_of(c), 0, lane);
    }
    __syncwarp();
  }

  // More tokens: the inputs of one chunk of this warp's slot, which were made before.
  __device__ __forceinline__ void fetch_inputs(u32 chunk) {
    const size_t row = (size_t)(chunk * CONSUMERS + warp) * p.stride + first;
    const char* from = (const char*)p.input + row * TOKEN + lane * 16;
    const u32 to = shared_address(inputs_of(0)) + lane * 16;
    __syncwarp();
    for (u32 t = 0; t < tokens; ++t) asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to + t * TOKEN), "l"(from + t * TOKEN) : "memory");
    const u32* words = (const u32*)((const Extra<KIND>*)p.extras + row);
    u32* extra = (u32*)extras_of(0);
    for (u32 i = lane; i < tokens * (sizeof(Extra<KIND>) / 4); i += 32) extra[i] = words[i];
    asm volatile("cp.async.wait_all;" ::: "memory");
    __syncwarp();
  }

  __device__ __forceinline__ char* inputs_of(u32 chunk) const { return inputs + ((R::ALONE ? chunk * CONSUMERS : 0) + warp) * WIDTH * TOKEN; }
  __device__ __forceinline__ Extra<KIND>* extras_of(u32 chunk) const { return extras + ((R::ALONE ? chunk * CONSUMERS : 0) + warp) * WIDTH; }

  __device__ __forceinline__ void add_tile(float (&acc)[R::N][2][2], u32 chunk, int g) {
    Tile<KIND> tile;
    tile.load(ring.tile(warp), lane);
    ring.give_back(lane);
    const int last = R::ALONE ? 0 : max((int)tokens - 1, 0);
    multiply<KIND, R::N>(acc, tile, inputs_of(chunk), extras_of(chunk), g, last, lane);
  }

  __device__ __forceinline__ void consume() {
    ring.begin(weights(first_part()), stages(), warp, lane);
    wait_for_previous();
    if constexpr (R::ALONE) make_inputs();
    else if (AFTER != ADD) fetch_inputs(0);
    for (u32 part = first_part(); part < p.parts; part += part_step()) {
      if constexpr (AFTER == ADD) add_chunks();
      else add_blocks();
    }
  }

  // Row block after row block; the slot's inputs are one chunk.
  __device__ __forceinline__ void add_blocks() {
#pragma unroll 1
    for (u32 b = 0; b < p.row_blocks; ++b) {
      float acc[R::N][2][2] = {};
      for (u32 g = 0; g < p.chunk; ++g) add_tile(acc, 0, g);
      sums.put(acc, warp, lane);
    }
  }

  // Chunk after chunk, all row blocks at once.
  __device__ __forceinline__ void add_chunks() {
    float acc[R::HELD][R::N][2][2] = {};
#pragma unroll 1
    for (u32 chunk = 0; chunk < p.tiles / p.chunk; ++chunk) {
      if constexpr (!R::ALONE) fetch_inputs(chunk);
#pragma unroll
      for (int b = 0; b < R::HELD; ++b)
        if (b < p.row_blocks)
          for (u32 g = 0; g < p.chunk; ++g) add_tile(acc[b], chunk, g);
    }
#pragma unroll
    for (int b = 0; b < R::HELD; ++b)
      if (b < p.row_blocks) sums.put(acc[b], warp, lane);
  }

  // 1 / RMS of every token's inputs.
  __device__ __forceinline__ void take_factors() {
    const u32 own = (warp - REDUCER) * WIDTH / R::REDUCERS;
    for (u32 t = own; t < min(tokens, own + WIDTH / R::REDUCERS); ++t) {
      const float4 v = ((const float4*)p.squares_in)[(first + t) * (PARTS / 4) + lane];
      const float sum = warp_sum((v.x + v.y) + (v.z + v.w));
      if (!lane) factors[t] = rsqrtf(sum / p.inputs + p.epsilon);
    }
    __syncwarp();
  }

  __device__ __forceinline__ int row() const { return lane & 15; }
  // The token of a lane's i-th output; with one token half of the lanes have none.
  __device__ __forceinline__ u32 token(int i) const { return reducer_first + 2 * i + (lane >> 4); }
  __device__ __forceinline__ float factor(int i) const { return p.squares_in && token(i) < tokens ? factors[token(i)] : 1.f; }
  __device__ __forceinline__ size_t at(int i, u32 outputs, u32 n) const { return (size_t)(first + token(i)) * outputs + n; }

  __device__ __forceinline__ void reduce() {
    wait_for_previous();
    if (AFTER != ADD && p.squares_in) take_factors();
    for (u32 part = first_part(); part < p.parts; part += part_step()) {
      if constexpr (AFTER == ADD) {
        add_residual(part);
      } else {
#pragma unroll 1
        for (u32 b = 0; b < p.row_blocks; ++b) {
          float sum[R::OUT];
          sums.take(sum, reducer_first, lane);
          if constexpr (AFTER == GATED) give_gated(sum, part, b);
          else give(sum, part, b);
        }
      }
    }
  }

  __device__ __forceinline__ void give(const float (&sum)[R::OUT], u32 part, u32 block) const {
    const u32 n = (part * p.row_blocks + block) * 16 + row();
#pragma unroll
    for (int i = 0; i < R::OUT; ++i)
      if (n < p.outputs && token(i) < tokens) ((float*)p.output)[at(i, p.outputs, n)] = sum[i] * factor(i);
  }

  // The first half of the row blocks are gates, which wait for what they gate.
  __device__ __forceinline__ void give_gated(const float (&sum)[R::OUT], u32 part, u32 block) const {
    const u32 half = p.row_blocks / 2, outputs = p.outputs / 2;
    float* gates = held + ((block % half) * R::REDUCERS + warp - REDUCER) * R::OUT * 32 + lane;
    if (block < half) {
#pragma unroll
      for (int i = 0; i < R::OUT; ++i) gates[i * 32] = silu(sum[i] * factor(i));
      return;
    }
    const u32 n = (part * half + block - half) * 16 + row();
#pragma unroll
    for (int i = 0; i < R::OUT; ++i)
      if (n < outputs && token(i) < tokens)
        ((__nv_bfloat16*)p.output)[at(i, outputs, n)] = __float2bfloat16(gates[i * 32] * (sum[i] * factor(i)));
  }

  __device__ __forceinline__ void add_residual(u32 part) {
    float residual[R::HELD][R::OUT], weight[R::HELD], squares[R::OUT] = {};
#pragma unroll
    for (int b = 0; b < R::HELD; ++b)
      if (b < p.row_blocks) take_residual(residual[b], weight[b], part, b);
#pragma unroll
    for (int b = 0; b < R::HELD; ++b)
      if (b < p.row_blocks) {
        float sum[R::OUT];
        sums.take(sum, reducer_first, lane);
        give_residual(sum, residual[b], weight[b], squares, part, b);
      }
    give_squares(squares, part);
  }

  __device__ __forceinline__ void take_residual(float (&residual)[R::OUT], float& weight, u32 part, int b) const {
    const u32 n = (part * p.row_blocks + b) * 16 + row();
    weight = n < p.outputs ? ((const float*)p.norm)[n] : 0.f;
#pragma unroll
    for (int i = 0; i < R::OUT; ++i)
      residual[i] = n < p.outputs && token(i) < tokens ? ((const float*)p.output)[at(i, p.outputs, n)] : 0.f;
  }

  __device__ __forceinline__ void give_residual(const float (&sum)[R::OUT], const float (&residual)[R::OUT], float weight, float (&squares)[R::OUT], u32 part, int b) const {
    const u32 n = (part * p.row_blocks + b) * 16 + row();
#pragma unroll
    for (int i = 0; i < R::OUT; ++i) {
      if (n >= p.outputs || token(i) >= tokens) continue;
      const float value = residual[i] + sum[i];
      ((float*)p.output)[at(i, p.outputs, n)] = value;
      ((__nv_bfloat16*)p.normed)[at(i, p.outputs, n)] = __float2bfloat16(value * weight);
      squares[i] += value * value;
    }
  }

  // The part's share of every token's sum of squares; shares that no part has are zero.
  __device__ __forceinline__ void give_squares(float (&squares)[R::OUT], u32 part) const {
#pragma unroll
    for (int i = 0; i < R::OUT; ++i) {
#pragma unroll
      for (int o = 8; o; o >>= 1) squares[i] += __shfl_xor_sync(~0u, squares[i], o);
      if (token(i) >= tokens) continue;
      float* shares = (float*)p.squares_out + (first + token(i)) * PARTS;
      for (u32 share = part + row() * p.parts; share < PARTS; share += 16 * p.parts) shares[share] = share == part ? squares[i] : 0.f;
    }
  }

  __device__ __forceinline__ void produce() {
#if __CUDA_ARCH__ >= 900
    if (lane) return;
    for (u32 part = first_part(); part < p.parts; part += part_step()) ring.produce(weights(part), stages(), p.flight);
#endif
  }

  __device__ __forceinline__ void run() {
    let_next_begin();
    if (warp < CONSUMERS) consume();
    else if (warp == PRODUCER) produce();
    else reduce();
#if __CUDA_ARCH__ >= 900
    // Other blocks of the cluster may still write here.
    if constexpr (CLUSTER > 1) __syncwarp(), cluster_sync();
#endif
  }
};

#define PRODUCT(name, KIND, WIDTH, AFTER, CLUSTER, BOUNDS)                       \
  extern "C" __global__ void BOUNDS name(const __grid_constant__ ProductParams p) { \
    extern __shared__ __align__(128) char shared[];                              \
    Product<KIND, WIDTH, AFTER, CLUSTER>(p, shared).run();                       \
  }

#define PRODUCTS(kind, KIND, width, WIDTH, CLUSTER, BOUNDS)                \
  PRODUCT(product_##kind##_plain_##width, KIND, WIDTH, PLAIN, CLUSTER, BOUNDS) \
  PRODUCT(product_##kind##_gated_##width, KIND, WIDTH, GATED, CLUSTER, BOUNDS) \
  PRODUCT(product_##kind##_add_##width, KIND, WIDTH, ADD, CLUSTER, BOUNDS)

#define ONE __launch_bounds__(threads(1), 1)
#define FEW __launch_bounds__(threads(4), 1)
#define MORE __launch_bounds__(threads(8), 1)
#define PAIR_OF_BLOCKS __launch_bounds__(threads(16), 1) __cluster_dims__(2, 1, 1)
#define FOUR_BLOCKS __launch_bounds__(threads(16), 1) __cluster_dims__(4, 1, 1)

PRODUCTS(int4, INT4, 1, 1, 1, ONE)
PRODUCTS(int4, INT4, 4, 4, 1, FEW)
PRODUCTS(int4, INT4, 8, 8, 1, MORE)
PRODUCTS(int4, INT4, 16, 16, 1, MORE)
PRODUCTS(int8, INT8, 1, 1, 1, ONE)
PRODUCTS(int8, INT8, 4, 4, 1, FEW)
PRODUCTS(int8, INT8, 8, 8, 1, MORE)
PRODUCTS(f16, F16, 1, 1, 1, ONE)
PRODUCTS(f16, F16, 8, 8, 1, MORE)
PRODUCTS(f16, F16, 16, 16, 1, MORE)
PRODUCTS(bf16, BF16, 1, 1, 1, ONE)
PRODUCTS(bf16, BF16, 8, 8, 1, MORE)
PRODUCTS(bf16, BF16, 16, 16, 1, MORE)

#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900
PRODUCTS(int4, INT4, 32, 16, 2, PAIR_OF_BLOCKS)
PRODUCTS(int4, INT4, 64, 16, 4, FOUR_BLOCKS)
PRODUCTS(f16, F16, 32, 16, 2, PAIR_OF_BLOCKS)
PRODUCTS(f16, F16, 64, 16, 4, FOUR_BLOCKS)
#endif

// A warp makes one chunk of a slot of one token: the slot's chunk is blockIdx.x, the token blockIdx.y.
template <int KIND> __device__ __forceinline__ void prepare(const PrepareParams& p) {
  let_next_begin();
  wait_for_previous();
  const u32 lane = threadIdx.x, token = blockIdx.y, chunks = p.tiles / p.chunk, span = p.chunk * Form<KIND>::K;
  const u32 slot = blockIdx.x / chunks, chunk = blockIdx.x % chunks, k = blockIdx.x * span + lane * 8;
  uint4 values = {0, 0, 0, 0};
  if (lane * 8 < span && k < p.inputs) values = eight_inputs((const unsigned short*)p.input + (size_t)token * p.inputs, (const u32*)p.permutation, k);
  const size_t row = (size_t)(chunk * CONSUMERS + slot) * p.tokens + token;
  // Where a value stands depends on the token's place among those of a block, sixteen at most.
  store_inputs<KIND>(values, (char*)p.output + row * TOKEN, (Extra<KIND>*)p.extras + row, token & 15, lane);
}
extern "C" __global__ void __launch_bounds__(32) prepare_int4(const __grid_constant__ PrepareParams p) { prepare<INT4>(p); }
extern "C" __global__ void __launch_bounds__(32) prepare_int8(const __grid_constant__ PrepareParams p) { prepare<INT8>(p); }
extern "C" __global__ void __launch_bounds__(32) prepare_f16(const __grid_constant__ PrepareParams p) { prepare<F16>(p); }
extern "C" __global__ void __launch_bounds__(32) prepare_bf16(const __grid_constant__ PrepareParams p) { prepare<BF16>(p); }
