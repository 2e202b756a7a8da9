// Products with many tokens on Hopper, of four-bit weights and of halves: out[T, N] = x[T, K] W^T, to the bit what `product` computes for
// each token.
//
// Three warpgroups multiply, each 64 rows by all tokens. Weights go from shared memory to registers, where their codes become bytes;
// the tokens' two bytes of fixed point, or halves, stay in shared memory, where the matrix instructions take them. Both stream through
// a ring.
//
// Where outputs are many (gate and up, the head), a block has all of K for its rows. Elsewhere a team of four blocks shares rows, and each
// has a quarter of the slots: the blocks exchange their sums through the L2 cache, and each finishes a quarter of the tokens. A
// word that has not come yet is a NaN that no sum is, and whoever has read a word makes it that again.
#include "chunk.cuh"
#include "finish.cuh"

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

template <int KIND, int WIDTH, int AFTER> struct Wide : Finish<KIND, WIDTH, AFTER> {
  using S = Stream<KIND, WIDTH, AFTER>;
  using F = Finish<KIND, WIDTH, AFTER>;
  using S::TEAM, S::SLOTS, S::TILE, S::p, S::warp, S::lane, S::values, S::beside, S::weights, S::weights_full, S::values_full, S::place;
  using S::has_block, S::passes, S::give_back;
  using F::QUADS, F::SETS;
  using typename S::I;
  using typename F::Sum;
  using Rows = Turns<KIND, WIDTH>;
  using Whole = typename Rows::Whole;
  static constexpr int TURNS = Rows::TURNS, WHOLES = Rows::WHOLES;
  // Of a thread that multiplies; the others have what is left.
  static constexpr int REGISTERS = WIDTH == 64 ? 160 : 152;

  Place ahead;      // of what is taken; `place` is that of what is given back
  u32 slot, tile;   // of what is added

  __device__ __forceinline__ Wide(const ProductParams& params, char* shared) : F(params, shared) {}

  __device__ __forceinline__ void take_rows(Rows& rows) {
    const int stage = ahead.slot;
    barrier_wait(&weights_full[stage], ahead.parity);
    rows.load(weights + (stage * WARPS + warp) * TILE, values + stage * I::VALUES, beside + stage * I::BESIDE, lane);
    barrier_wait(&values_full[stage], ahead.parity);
    ahead.next(p.stages);
  }
  // acc += the warpgroup's rows times the tokens, of the tiles along k from NUMBER to 3. What comes next is under way meanwhile: the
  // next turn where registers hold the whole numbers of two, else the next tile on its way to registers.
  template <int NUMBER> __device__ __forceinline__ void add_tiles(Sum& sum, Sum& acc, Whole (&whole)[WHOLES], Rows& rows, Rows& after) {
    constexpr int FIRST = NUMBER * TURNS;
#pragma unroll
    for (int turn = 0; turn < TURNS; ++turn) {
      Whole& now = whole[(FIRST + turn) % WHOLES];
      Whole& next = whole[(FIRST + turn + 1) % WHOLES];
      if (WHOLES == 1) rows.begin(now, turn);
      if (turn == TURNS - 1 && NUMBER < 3) take_rows(after);
      if (WHOLES == 2 && turn < TURNS - 1) rows.begin(next, turn + 1);
      else if (WHOLES == 2 && NUMBER < 3) after.begin(next, 0);
      if (WHOLES == 2 && (turn < TURNS - 1 || NUMBER < 3)) wgmma_wait<1>();
      else wgmma_wait<0>();
      wgmma_done(now);
      rows.add(acc, now, turn);
    }
    give_back();
    end_tile(sum, acc);
    if constexpr (NUMBER < 3) add_tiles<NUMBER + 1>(sum, acc, whole, after, rows);
  }

  // The sum over the block's slots, in the order that sums.cuh explains.
  __device__ __forceinline__ void add_slots(Sum& sum) {
    // Zero and the first sum is that sum: none is a negative zero.
#pragma unroll
    for (int i = 0; i < SETS; ++i) sum[i][0] = sum[i][1] = 0.f;
    Sum acc = {};
    Whole whole[WHOLES];
    Rows rows, after;
    slot = tile = 0;
#pragma unroll 1
    for (u32 i = 0; i < SLOTS * p.tiles; i += 4) {
      take_rows(rows);
      if (WHOLES == 2) rows.begin(whole[0], 0);
      add_tiles<0>(sum, acc, whole, rows, after);
    }
    if constexpr (QUADS > 1) F::add(sum, 0);
  }
  __device__ __forceinline__ void end_tile(Sum& sum, Sum& acc) {
    if (++tile < p.tiles) return;
#pragma unroll
    for (int i = 0; i < SETS; ++i)
#pragma unroll
      for (int r = 0; r < 2; ++r) sum[i][r] += acc[i][r], acc[i][r] = 0.f;
    if (QUADS > 1 && slot % 4 == 3) end_quad(sum, slot / 4);
    ++slot, tile = 0;
  }
  // (q0 + q1) + (q2 + q3), all but the last sum.
  __device__ __forceinline__ void end_quad(Sum& sum, u32 quad) const {
    if (quad & 1) F::add(sum, quad / 2);
    if (quad == QUADS - 1) return;
    F::put(quad / 2, sum);
#pragma unroll
    for (int i = 0; i < SETS; ++i) sum[i][0] = sum[i][1] = 0.f;
  }

  __device__ __forceinline__ void skip_slots() {
    for (u32 i = 0; i < SLOTS * p.tiles; ++i) barrier_wait(&weights_full[place.slot], place.parity), give_back();
    ahead = place;
  }

  __device__ __forceinline__ void consume() {
    wait_for_previous();
    if (p.squares_in) F::make_factors();
#pragma unroll 1
    for (u32 pass = 0; pass < passes(); ++pass) {
      bool busy = false;
      for (int i = 0; i < 4; ++i) busy |= has_block(pass, warp / 4 * 4 + i);
      Sum sum;
      if (busy) add_slots(sum);
      else skip_slots();
      if constexpr (AFTER == GATED) F::give_gated(sum, pass);
      else if (has_block(pass, warp)) give(sum, pass);
    }
  }
  __device__ __forceinline__ void give(const Sum& sum, u32 pass) {
    if constexpr (TEAM == 1) F::give_plain(sum, pass);
    else F::finish_team(sum, pass);
  }

  __device__ __forceinline__ void run() {
    let_next_begin();
    if (warp < WARPS) {
      asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(REGISTERS));
      consume();
    } else {
      asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(512 - 3 * REGISTERS));
      if (warp < VALUES) S::produce_weights();
      else if (!lane) S::produce_values();
    }
  }
};

// What is made stands as [slot][tile] of Inputs; a block has the tokens from blockIdx.y * TOKENS on.
template <int KIND, int WIDTH> __device__ __forceinline__ void prepare_wide(const PrepareParams& p) {
  let_next_begin();
  wait_for_previous();
  const u32 lane = threadIdx.x & 31, token = blockIdx.y * TOKENS + threadIdx.x / 32;
  if (token >= p.tokens) return;
  const Made<KIND> made = make<KIND>(chunk_inputs<KIND>(p, token, lane));
  const u32 tile = lane * 8 / Form<KIND>::K, inside = lane * 8 % Form<KIND>::K;
  if (tile >= p.chunk) return;
  const ChunkPlace place(p);
  using I = Inputs<KIND, WIDTH>;
  char* to = (char*)p.output + (size_t)(place.slot * p.tiles + place.tile + tile) * I::BYTES;
  put_inputs(to, token, inside, made);
  if (inside == 0) *scale_of(to, I::VALUES, token) = made.scale;
}

#define WIDE(kind, KIND, width, AFTER, name)                                                                                   \
  extern "C" __global__ void __launch_bounds__(THREADS, 1) product_wide_##kind##_##name##_##width(const __grid_constant__ ProductParams p) { \
    extern __shared__ __align__(1024) char shared[];                                                                           \
    Wide<KIND, width, AFTER>(p, shared).run();                                                                                 \
  }
#define PREPARE(kind, KIND, width)                                                                                                          \
  extern "C" __global__ void __launch_bounds__(TOKENS * 32) prepare_wide_##kind##_##width(const __grid_constant__ PrepareParams p) { \
    prepare_wide<KIND, width>(p);                                                                                                           \
  }
#define WIDES(width)                \
  WIDE(int4, INT4, width, PLAIN, plain) \
  WIDE(int4, INT4, width, GATED, gated) \
  WIDE(int4, INT4, width, ADD, add)     \
  WIDE(f16, F16, width, PLAIN, plain)   \
  PREPARE(int4, INT4, width)            \
  PREPARE(f16, F16, width)

WIDES(32)
WIDES(64)

#endif
