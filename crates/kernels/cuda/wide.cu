// Products of four-bit weights with many tokens on Hopper: out[T, N] = x[T, K] W^T, to the bit what `product` computes for each token.
//
// Three warpgroups multiply, each 64 rows by all tokens. Weights go from shared memory to registers, where their codes become bytes;
// the tokens' two bytes of fixed point stay in shared memory, where the matrix instructions take them. Both stream through a ring.
//
// Where outputs are many (gate and up), a block has all of K for its rows. Elsewhere a team of four blocks shares rows, and each
// has a quarter of the slots: the blocks exchange their sums through the L2 cache, and each finishes a quarter of the tokens. A
// word that has not come yet is a NaN that no sum is, and whoever has read a word makes it that again.
#include "chunk.cuh"
#include "wide.cuh"

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

__device__ __forceinline__ void barrier_of_threads(int id, int threads) { asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory"); }

template <int WIDTH, int AFTER> struct Wide : Stream<WIDTH, AFTER> {
  using S = Stream<WIDTH, AFTER>;
  using S::TEAM, S::SLOTS, S::TILE, S::p, S::warp, S::lane, S::values, S::beside, S::weights, S::weights_full, S::values_full, S::rank, S::first_part, S::place;
  using S::has_block, S::block_of, S::passes, S::give_back;
  using typename S::I;
  static constexpr int QUADS = SLOTS / 4;
  // Columns of one instruction, instructions one after another for all, and sets of four tokens, one of which a lane of four has.
  static constexpr int COLUMNS = WIDTH == 64 ? 64 : 2 * WIDTH, TURNS = 2 * WIDTH / COLUMNS, SETS = WIDTH / 4;
  // Of instructions, whole numbers in registers.
  static constexpr int WHOLES = WIDTH == 64 ? 1 : 2;
  // Sets and tokens that a block finishes, and numbers of a thread then.
  static constexpr int OWN = SETS / TEAM, SHARE = WIDTH / TEAM, NUMBERS = 2 * OWN;
  // Of a thread that multiplies; the others have what is left.
  static constexpr int REGISTERS = WIDTH == 64 ? 160 : 152;
  using Sum = float[SETS][2];

  // Warps with rows where the next product's inputs are left: theirs are one tile.
  static constexpr int LEAVERS = SCALED / 16;
  // Barriers: of all that multiply, of pairs of warps, of warps that leave inputs.
  static constexpr int ALL = 1, FIRST_PAIR = 2, LEAVING = FIRST_PAIR + WARPS / 2;

  float *park, *factors;
  u32* maxima;      // ADD: [LEAVERS][SHARE]
  Place ahead;      // of what is taken; `place` is that of what is given back
  u32 slot, tile;   // of what is added

  __device__ __forceinline__ Wide(const ProductParams& params, char* shared) : S(params, shared) {
    park = (float*)(S::empty + p.stages);
    factors = park + (AFTER == GATED ? 2 * WARPS * 32 * 2 * SETS : AFTER == ADD ? WARPS * 32 * NUMBERS : 0);
    maxima = (u32*)factors;
  }

  // A tile of a warp's rows: codes as bytes, scales, and the stage that has the inputs.
  struct Rows {
    u32 codes[4][4];
    float2 scales;
    Columns columns;
    const float* token_scales;
  };
  // Whole numbers of the columns of one instruction.
  using Whole = int[COLUMNS / 8][4];

  __device__ __forceinline__ void take_rows(Rows& rows) {
    const int stage = ahead.slot;
    barrier_wait(&weights_full[stage], ahead.parity);
    Tile<INT4> tile;
    tile.load(weights + (stage * WARPS + warp) * TILE, lane);
    const u32 codes[8] = {tile.codes[0].x, tile.codes[0].y, tile.codes[0].z, tile.codes[0].w, tile.codes[1].x, tile.codes[1].y, tile.codes[1].z, tile.codes[1].w};
#pragma unroll
    for (int i = 0; i < 8; ++i) rows.codes[i / 4 * 2][i % 4] = lower(codes[i]), rows.codes[i / 4 * 2 + 1][i % 4] = upper(codes[i]);
    rows.scales = __half22float2(*(const __half2*)&tile.scales);
    rows.columns = Columns(values + stage * I::VALUES);
    rows.token_scales = (const float*)(beside + stage * I::BESIDE) + (lane & 3);
    barrier_wait(&values_full[stage], ahead.parity);
    ahead.next(p.stages);
  }
  __device__ __forceinline__ void begin_turn(Whole& whole, const Rows& rows, int turn) const {
    wgmma_begin();
#pragma unroll
    for (int k = 0; k < 4; ++k) wgmma_s8(whole, rows.codes[k], rows.columns.from(turn * COLUMNS * 128 + k * 32), k > 0);
    wgmma_commit();
  }
  __device__ __forceinline__ void add_turn(Sum& acc, const Whole& whole, const Rows& rows, int turn) const {
#pragma unroll
    for (int n = 0; n < COLUMNS / 8; ++n) {
      const int set = turn * (COLUMNS / 8) + n;
      const float scale = rows.token_scales[set * 4];
      acc[set][0] = fmaf(rows.scales.x * scale, (float)(whole[n][0] * 256 + whole[n][1]), acc[set][0]);
      acc[set][1] = fmaf(rows.scales.y * scale, (float)(whole[n][2] * 256 + whole[n][3]), acc[set][1]);
    }
  }
  // acc += the warpgroup's rows times the tokens, of the tiles along k from NUMBER to 3. What comes next is under way meanwhile: the
  // next turn where registers hold the whole numbers of two, else the next tile on its way to registers.
  template <int NUMBER> __device__ __forceinline__ void add_tiles(Sum& sum, Sum& acc, Whole (&whole)[WHOLES], Rows& rows, Rows& after) {
    constexpr int FIRST = NUMBER * TURNS;
#pragma unroll
    for (int turn = 0; turn < TURNS; ++turn) {
      Whole& now = whole[(FIRST + turn) % WHOLES];
      Whole& next = whole[(FIRST + turn + 1) % WHOLES];
      if (WHOLES == 1) begin_turn(now, rows, turn);
      if (turn == TURNS - 1 && NUMBER < 3) take_rows(after);
      if (WHOLES == 2 && turn < TURNS - 1) begin_turn(next, rows, turn + 1);
      else if (WHOLES == 2 && NUMBER < 3) begin_turn(next, after, 0);
      if (WHOLES == 2 && (turn < TURNS - 1 || NUMBER < 3)) wgmma_wait<1>();
      else wgmma_wait<0>();
      wgmma_done(now);
      add_turn(acc, now, rows, turn);
    }
    give_back();
    end_tile(sum, acc);
    if constexpr (NUMBER < 3) add_tiles<NUMBER + 1>(sum, acc, whole, after, rows);
  }

  // The sum over the block's slots, in the order that `Sums` explains.
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
      if (WHOLES == 2) begin_turn(whole[0], rows, 0);
      add_tiles<0>(sum, acc, whole, rows, after);
    }
    if constexpr (QUADS > 1) add(sum, 0);
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
    if (quad & 1) add(sum, quad / 2);
    if (quad == QUADS - 1) return;
    put(quad / 2, sum);
#pragma unroll
    for (int i = 0; i < SETS; ++i) sum[i][0] = sum[i][1] = 0.f;
  }

  // A thread's place for sums that wait for others, or that another thread needs.
  __device__ __forceinline__ float2* parked(int which, int thread) const { return (float2*)park + which * SETS * WARPS * 32 + thread; }
  __device__ __forceinline__ void put(int which, const Sum& sum) const {
#pragma unroll
    for (int i = 0; i < SETS; ++i) parked(which, threadIdx.x)[i * WARPS * 32] = {sum[i][0], sum[i][1]};
  }
  __device__ __forceinline__ void add(Sum& sum, int which) const {
#pragma unroll
    for (int i = 0; i < SETS; ++i) {
      const float2 other = parked(which, threadIdx.x)[i * WARPS * 32];
      sum[i][0] += other.x, sum[i][1] += other.y;
    }
  }

  __device__ __forceinline__ void skip_slots() {
    for (u32 i = 0; i < SLOTS * p.tiles; ++i) barrier_wait(&weights_full[place.slot], place.parity), give_back();
    ahead = place;
  }

  __device__ __forceinline__ void consume() {
    wait_for_previous();
    if (p.squares_in) make_factors();
#pragma unroll 1
    for (u32 pass = 0; pass < passes(); ++pass) {
      bool busy = false;
      for (int i = 0; i < 4; ++i) busy |= has_block(pass, warp / 4 * 4 + i);
      Sum sum;
      if (busy) add_slots(sum);
      else skip_slots();
      if constexpr (AFTER == GATED) give_gated(sum, pass);
      else if (has_block(pass, warp)) finish_team(sum, pass);
    }
  }

  // What a thread has: rows `row` and `row + 8` of a row block, one token of each set.
  __device__ __forceinline__ int row() const { return lane >> 2; }
  __device__ __forceinline__ u32 token(int set) const { return rank * SHARE + set * 4 + (lane & 3); }
  __device__ __forceinline__ float factor(int set) const { return p.squares_in ? factors[set * 4 + (lane & 3)] : 1.f; }
  __device__ __forceinline__ void make_factors() const {
    constexpr int EACH = (SHARE + WARPS - 1) / WARPS;
    float4 parts[EACH];
#pragma unroll
    for (int i = 0; i < EACH; ++i) parts[i] = ((const float4*)p.squares_in)[min(rank * SHARE + i * WARPS + warp, p.tokens - 1) * (PARTS / 4) + lane];
#pragma unroll
    for (int i = 0; i < EACH; ++i) {
      const float factor = norm_factor(parts[i], p.inputs, p.epsilon);
      if (!lane && i * WARPS + warp < SHARE) factors[i * WARPS + warp] = factor;
    }
    barrier_of_threads(ALL, WARPS * 32);
  }

  // The warps of gates give them to those of what is gated.
  __device__ __forceinline__ void give_gated(const Sum& sum, u32 pass) {
    const u32 block = block_of(pass, warp), half = p.row_blocks / 2, outputs = p.outputs / 2;
    if (warp < WARPS / 2 && block < p.row_blocks) {
#pragma unroll
      for (int i = 0; i < SETS; ++i) {
        const float f = factor(i);
        parked(0, threadIdx.x)[i * WARPS * 32] = {silu(sum[i][0] * f), silu(sum[i][1] * f)};
      }
    }
    barrier_of_threads(ALL, WARPS * 32);
    if (warp >= WARPS / 2 && block < p.row_blocks) {
      const u32 n = (first_part * half + block - half) * 16 + row();
      __nv_bfloat16* out = (__nv_bfloat16*)p.output + n;
#pragma unroll
      for (int i = 0; i < SETS; ++i) {
        const float2 gate = parked(0, threadIdx.x - WARPS / 2 * 32)[i * WARPS * 32];
        const float f = factor(i);
        if (token(i) >= p.tokens) continue;
        __nv_bfloat16* to = out + (size_t)token(i) * outputs;
        if (n < outputs) to[0] = __float2bfloat16(gate.x * (sum[i][0] * f));
        if (n + 8 < outputs) to[8] = __float2bfloat16(gate.y * (sum[i][1] * f));
      }
    }
    barrier_of_threads(ALL, WARPS * 32);
  }

  // A thread's letter box at a block of the team, for what the `from`-th of the others sends.
  __device__ __forceinline__ float* box(u32 pass, u32 of, u32 from) const {
    const size_t block = (size_t)pass * gridDim.x + first_part + of;
    return (float*)p.mail + (block * (TEAM - 1) + (of ^ from) - 1) * WARPS * 32 * NUMBERS + threadIdx.x * 2;
  }
  __device__ __forceinline__ void send(float* to, const float (&pair)[2]) const {
    asm volatile("st.relaxed.gpu.global.v2.f32 [%0], {%1, %2};" ::"l"(to), "f"(pair[0]), "f"(pair[1]) : "memory");
  }
  __device__ __forceinline__ bool receive(float (&pair)[2], const float* from) const {
    asm volatile("ld.relaxed.gpu.global.v2.f32 {%0, %1}, [%2];" : "=f"(pair[0]), "=f"(pair[1]) : "l"(from) : "memory");
    return __float_as_uint(pair[0]) != NOTHING && __float_as_uint(pair[1]) != NOTHING;
  }

  __device__ __forceinline__ void finish_team(const Sum& sum, u32 pass) {
    float own[OWN][2] = {};
#pragma unroll
    for (int q = 0; q < TEAM; ++q)
#pragma unroll
      for (int i = 0; i < OWN; ++i) {
        if (q != rank) send(box(pass, q, rank) + i * WARPS * 64, sum[q * OWN + i]);
#pragma unroll
        for (int r = 0; r < 2; ++r) own[i][r] = q == rank ? sum[q * OWN + i][r] : own[i][r];
      }
    float residual[OWN][2], weight[2];
    if constexpr (AFTER == ADD) take_residual(residual, weight, pass);
    float others[TEAM][OWN][2];
#pragma unroll
    for (int from = 1; from < TEAM; ++from) receive_all(others[from], box(pass, rank, rank ^ from));
#pragma unroll
    for (int i = 0; i < OWN; ++i)
#pragma unroll
      for (int r = 0; r < 2; ++r) own[i][r] = (own[i][r] + others[1][i][r]) + (others[2][i][r] + others[3][i][r]);
    if constexpr (AFTER == ADD) give_residual(own, residual, weight, pass);
    else give_plain(own, pass);
  }
  __device__ __forceinline__ void receive_all(float (&letter)[OWN][2], float* from) const {
    bool whole;
    do {
      whole = true;
#pragma unroll
      for (int i = 0; i < OWN; ++i) whole &= receive(letter[i], from + i * WARPS * 64);
    } while (!__all_sync(~0u, whole));
#pragma unroll
    for (int i = 0; i < OWN; ++i) *(uint2*)(from + i * WARPS * 64) = {NOTHING, NOTHING};
  }

  __device__ __forceinline__ u32 first_output(u32 pass) const { return (first_part * p.row_blocks + block_of(pass, warp)) * 16 + row(); }

  __device__ __forceinline__ void give_plain(const float (&sum)[OWN][2], u32 pass) const {
    const u32 n = first_output(pass);
#pragma unroll
    for (int i = 0; i < OWN; ++i) {
      if (token(i) >= p.tokens) continue;
      float* to = (float*)p.output + (size_t)token(i) * p.outputs + n;
      const float f = factor(i);
      if (n < p.outputs) to[0] = sum[i][0] * f;
      if (n + 8 < p.outputs) to[8] = sum[i][1] * f;
    }
  }

  __device__ __forceinline__ void take_residual(float (&residual)[OWN][2], float (&weight)[2], u32 pass) const {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const u32 n = first_output(pass) + r * 8;
      weight[r] = n < p.outputs ? ((const float*)p.norm)[n] : 0.f;
#pragma unroll
      for (int i = 0; i < OWN; ++i)
        residual[i][r] = n < p.outputs && token(i) < p.tokens ? ((const float*)p.output)[(size_t)token(i) * p.outputs + n] : 0.f;
    }
  }

  __device__ __forceinline__ void give_residual(const float (&sum)[OWN][2], const float (&residual)[OWN][2], const float (&weight)[2], u32 pass) {
    float values[OWN][2] = {}, normed[OWN][2] = {};
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const u32 n = first_output(pass) + r * 8;
#pragma unroll
      for (int i = 0; i < OWN; ++i) {
        if (n >= p.outputs || token(i) >= p.tokens) continue;
        const float value = residual[i][r] + sum[i][r];
        const __nv_bfloat16 times = __float2bfloat16(value * weight[r]);
        const size_t at = (size_t)token(i) * p.outputs + n;
        ((float*)p.output)[at] = value;
        ((__nv_bfloat16*)p.normed)[at] = times;
        values[i][r] = value, normed[i][r] = __bfloat162float(times);
      }
    }
    if (p.left) leave(normed);
    give_squares(values, block_of(pass, warp));
  }

  // The team's outputs are a tile of the next product's inputs.
  __device__ __forceinline__ void leave(const float (&values)[OWN][2]) const {
#pragma unroll
    for (int i = 0; i < OWN; ++i) {
      u32 most = __float_as_uint(fmaxf(fabsf(values[i][0]), fabsf(values[i][1])));
#pragma unroll
      for (int o = 4; o < 32; o <<= 1) most = max(most, __shfl_xor_sync(~0u, most, o));
      if (lane < 4) maxima[warp * SHARE + i * 4 + lane] = most;
    }
    barrier_of_threads(LEAVING, LEAVERS * 32);
    char* tile = (char*)p.left + (size_t)(blockIdx.x / TEAM) * I::BYTES;
    // Of bytes that four rows have, a lane has one of four words of the tile then: high or low bytes, of the first rows or the second.
    const u32 place = row() % 4, inside = warp * 16 + place / 2 * 8 + row() / 4 * 4;
#pragma unroll
    for (int i = 0; i < OWN; ++i) {
      u32 most = 0;
#pragma unroll
      for (int w = 0; w < LEAVERS; ++w) most = max(most, maxima[w * SHARE + i * 4 + lane % 4]);
      const Scale<INT4> fixed(fmaxf(__uint_as_float(most), LEAST));
      const u32 bytes = __byte_perm(fixed(values[i][0]), fixed(values[i][1]), 0x4501) ^ (LOW_SIGNS & 0xff00ff00u);
      const u32 word = transposed(bytes);
      if (token(i) >= p.tokens) continue;
      *(u32*)(tile + place_of(token(i), place % 2, inside)) = word;
      if (!warp && !row()) *scale_of(tile, WIDTH, token(i)) = fixed.scale;
    }
  }
  // Byte `place` of each of four rows, in their order.
  __device__ __forceinline__ u32 transposed(u32 bytes) const {
    const u32 first = __shfl_xor_sync(~0u, bytes, 4), pairs = row() & 1 ? __byte_perm(bytes, first, 0x3715) : __byte_perm(bytes, first, 0x6240);
    const u32 second = __shfl_xor_sync(~0u, pairs, 8);
    return row() & 2 ? __byte_perm(pairs, second, 0x3276) : __byte_perm(pairs, second, 0x5410);
  }

  // Squares of a part's row blocks one after another, then of its rows as a tree. Of two row blocks the second one's warp has both.
  __device__ __forceinline__ void give_squares(float (&values)[OWN][2], u32 block) {
    const u32 at = block % p.row_blocks, part = first_part + block / p.row_blocks;
    float squares[OWN][2] = {};
    if (at) {
      barrier_of_threads(FIRST_PAIR + warp / 2, 64);
#pragma unroll
      for (int i = 0; i < OWN; ++i)
#pragma unroll
        for (int r = 0; r < 2; ++r) squares[i][r] = park[((warp - 1) * NUMBERS + i * 2 + r) * 32 + lane];
    }
#pragma unroll
    for (int i = 0; i < OWN; ++i)
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        squares[i][r] = fmaf(values[i][r], values[i][r], squares[i][r]);
        if (at + 1 < p.row_blocks) park[(warp * NUMBERS + i * 2 + r) * 32 + lane] = squares[i][r];
      }
    if (at + 1 < p.row_blocks) return barrier_of_threads(FIRST_PAIR + warp / 2, 64);
#pragma unroll
    for (int i = 0; i < OWN; ++i) {
      float sum = squares[i][0] + squares[i][1];
#pragma unroll
      for (int o = 16; o >= 4; o >>= 1) sum += __shfl_xor_sync(~0u, sum, o);
      float* shares = (float*)p.squares_out + token(i) * PARTS;
      if (token(i) < p.tokens)
        for (u32 share = part + row() * p.parts; share < PARTS; share += 8 * p.parts) shares[share] = share == part ? sum : 0.f;
    }
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
template <int WIDTH> __device__ __forceinline__ void prepare_wide(const PrepareParams& p) {
  let_next_begin();
  wait_for_previous();
  const u32 lane = threadIdx.x & 31, token = blockIdx.y * TOKENS + threadIdx.x / 32;
  if (token >= p.tokens) return;
  const Made<INT4> made = make<INT4>(chunk_inputs<INT4>(p, token, lane));
  const u32 tile = lane * 8 / Form<INT4>::K, inside = lane * 8 % Form<INT4>::K;
  if (tile >= p.chunk) return;
  const ChunkPlace place(p);
  char* to = (char*)p.output + (size_t)(place.slot * p.tiles + place.tile + tile) * Inputs<WIDTH>::BYTES;
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    *(u32*)(to + place_of(token, 0, inside + i * 4)) = made.high[i];
    *(u32*)(to + place_of(token, 1, inside + i * 4)) = made.low[i];
  }
  if (inside == 0) *scale_of(to, WIDTH, token) = made.scale;
}

#define WIDE(width, AFTER, name)                                                                                          \
  extern "C" __global__ void __launch_bounds__(THREADS, 1) product_wide_##name##_##width(const __grid_constant__ ProductParams p) { \
    extern __shared__ __align__(1024) char shared[];                                                                      \
    Wide<width, AFTER>(p, shared).run();                                                                                  \
  }
#define WIDES(width)                                                                                                  \
  WIDE(width, PLAIN, plain)                                                                                           \
  WIDE(width, GATED, gated)                                                                                           \
  WIDE(width, ADD, add)                                                                                               \
  extern "C" __global__ void __launch_bounds__(TOKENS * 32) prepare_wide_##width(const __grid_constant__ PrepareParams p) { prepare_wide<width>(p); }

WIDES(32)
WIDES(64)

#endif
