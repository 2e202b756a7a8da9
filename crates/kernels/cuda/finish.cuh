// What becomes of the sums of a product with many tokens: the exchange between the blocks of a team, the norm's factor, SiLU, the
// residual, and what is left for the next product.
#pragma once
#include "turns.cuh"
#include "wide.cuh"

#ifdef __CUDA_ARCH_FEAT_SM90_ALL

__device__ __forceinline__ void barrier_of_threads(int id, int threads) { asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory"); }

template <int KIND, int WIDTH, int AFTER> struct Finish : Stream<KIND, WIDTH, AFTER> {
  using S = Stream<KIND, WIDTH, AFTER>;
  using S::TEAM, S::SLOTS, S::p, S::warp, S::lane, S::rank, S::first_part;
  using S::block_of;
  using typename S::I;
  static constexpr int QUADS = SLOTS / 4, SETS = WIDTH / 4;
  // Sets and tokens that a block finishes, and numbers of a thread then.
  static constexpr int OWN = SETS / TEAM, SHARE = WIDTH / TEAM, NUMBERS = 2 * OWN;
  using Sum = RowSums<WIDTH>;

  // Warps with rows where the next product's inputs are left: theirs are one tile.
  static constexpr int LEAVERS = SCALED / 16;
  // Barriers: of all that multiply, of pairs of warps, of warps that leave inputs.
  static constexpr int ALL = 1, FIRST_PAIR = 2, LEAVING = FIRST_PAIR + WARPS / 2;

  float *park, *factors;
  u32* maxima;   // ADD: [LEAVERS][SHARE]

  __device__ __forceinline__ Finish(const ProductParams& params, char* shared) : S(params, shared) {
    park = (float*)(S::empty + p.stages);
    factors = park + (QUADS > 1 ? 2 * WARPS * 32 * 2 * SETS : AFTER == ADD ? WARPS * 32 * NUMBERS : 0);
    maxima = (u32*)factors;
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

  // What a thread has: rows `row` and `row + 8` of a row block, of some tokens.
  __device__ __forceinline__ int row() const { return lane >> 2; }
  __device__ __forceinline__ u32 token(int set) const { return rank * SHARE + Turns<KIND, WIDTH>::token(set, lane); }
  __device__ __forceinline__ float factor(int set) const { return p.squares_in ? factors[Turns<KIND, WIDTH>::token(set, lane)] : 1.f; }
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
    u32 bits[OWN][2] = {};
#pragma unroll
    for (int q = 0; q < TEAM; ++q) {
      // Masks, not a choice, of which the compiler would make an index into memory.
      const u32 mask = q == rank ? ~0u : 0;
#pragma unroll
      for (int i = 0; i < OWN; ++i) {
        if (q != rank) send(box(pass, q, rank) + i * WARPS * 64, sum[q * OWN + i]);
#pragma unroll
        for (int r = 0; r < 2; ++r) bits[i][r] |= __float_as_uint(sum[q * OWN + i][r]) & mask;
      }
    }
    float own[OWN][2];
#pragma unroll
    for (int i = 0; i < OWN; ++i) own[i][0] = __uint_as_float(bits[i][0]), own[i][1] = __uint_as_float(bits[i][1]);
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
      if (!warp && !row()) *scale_of(tile, I::VALUES, token(i)) = fixed.scale;
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
};

#endif
