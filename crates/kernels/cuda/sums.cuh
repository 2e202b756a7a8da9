// The sums of row blocks over all slots: consumers put them into shared memory, reducers add them up.
#pragma once
#include "ring.cuh"
#include "tile.cuh"

constexpr int reducers(int width) { return width < 8 ? 1 : 2; }

// WIDTH tokens for which a cluster of CLUSTER blocks has room. A block has SLOTS of the sixteen slots; its sixteen consumers
// share them, and the tokens. It finishes SHARE tokens.
template <int KIND, int WIDTH, int CLUSTER> struct Room {
  static constexpr bool ALONE = WIDTH == 1;
  static constexpr int SLOTS = CONSUMERS / CLUSTER, SHARE = WIDTH / CLUSTER;
  // Tokens a matrix instruction takes, those of a lane's sums, and instructions side by side.
  static constexpr int COLUMNS = COLUMN_TOKENS<KIND>, PAIR = ALONE ? 1 : COLUMNS / 4, N = (SHARE + COLUMNS - 1) / COLUMNS;
  static constexpr int BUFFERS = 2;                     // row blocks whose sums wait for the reducers
  static constexpr int PARTIAL = WIDTH * 16 * SLOTS;    // numbers of a row block
  static constexpr int REDUCERS = reducers(WIDTH);
  static constexpr int OUT = ALONE ? 1 : SHARE * 16 / 32 / REDUCERS;   // outputs of a row block a lane of a reducer
  // Row blocks whose halves of sums wait for a reducer: a block of the cluster may be two ahead of another and half done with a third.
  static constexpr int GIVEN = CLUSTER > 1 ? 4 : 0;
  static constexpr int BARRIERS = 2 * BUFFERS + GIVEN * REDUCERS;
  static constexpr int BYTES = (BUFFERS * PARTIAL + GIVEN * SHARE * 16) * 4;
};

// The sixteen sums of an output are those of four quads of slots: ((s0 + s1) + s2) + s3 is a quad's, (q0 + q1) + (q2 + q3) all. So
// four blocks may have a quad each, or two blocks two of them, and who takes slot after slot keeps no more than a quad's sum.
//
// The sums of a row block stand as [token][row][slot of a quad][quad]. Quads may be exchanged by flipping bits of their numbers, the
// result stays the same to the bit; with flipped numbers of slots no access meets a bank twice.
template <int KIND, int WIDTH, int CLUSTER> struct Sums {
  using R = Room<KIND, WIDTH, CLUSTER>;
  float* partials;
  u64 *full, *empty;
  u32 done = 0;   // row blocks so far

  // Barriers and room for a row block's sums, by one thread.
  __device__ __forceinline__ void init() {
    for (int i = 0; i < R::BUFFERS; ++i) barrier_init(&full[i], CONSUMERS), barrier_init(&empty[i], R::REDUCERS);
    for (int i = 0; i < R::GIVEN * R::REDUCERS; ++i) barrier_init(&given_full()[i], 1);
  }

  __device__ __forceinline__ float* buffer() const { return partials + done % R::BUFFERS * R::PARTIAL; }
  static constexpr int QUADS = R::SLOTS / 4;
  // A slot's place among a row's, and the bits of it to flip: the row's are of the slot in its quad, the token's of the lower two.
  __device__ __forceinline__ static int place(int slot) { return slot % 4 * QUADS | slot / 4; }
  __device__ __forceinline__ static int flip(int row) { return (CLUSTER == 1 ? row >> 1 & 3 : row >> 2 & 1) * 4; }

  // A consumer's sums, for tokens from `first` on.
  __device__ __forceinline__ void put(const float (&acc)[R::N][2][R::PAIR], int slot, int first, int lane) {
    const u32 b = done % R::BUFFERS;
    if (done >= R::BUFFERS) barrier_wait(&empty[b], (done / R::BUFFERS & 1) ^ 1);
    const int row = lane >> 2, t = lane & 3;
    float* to = buffer() + row * R::SLOTS + (place(slot) ^ (flip(row) | t));
#pragma unroll
    for (int n = 0; n < R::N; ++n)
#pragma unroll
      for (int i = 0; i < R::PAIR; ++i) {
        const int token = first + n * R::COLUMNS + t * R::PAIR + i, at = token * 16 * R::SLOTS;
        if (!R::ALONE || !t) to[at] = acc[n][0][i], to[at + 8 * R::SLOTS] = acc[n][1][i];
      }
    __syncwarp();
    if (!lane) barrier_arrive(&full[b]);
    ++done;
  }

  // The sum of two quads that stand beside each other, `flips` those of the place.
  __device__ __forceinline__ static float two_quads(const float* from, int flips) {
    float2 sum = *(const float2*)(from + flips);
#pragma unroll
    for (int slot = 1; slot < 4; ++slot) {
      const float2 v = *(const float2*)(from + (slot * QUADS ^ flips));
      sum.x += v.x, sum.y += v.y;
    }
    return sum.x + sum.y;
  }
  // The sum of a lane's row and a token over the slots of the block.
  __device__ __forceinline__ float sum_of(int token, int row) const {
    const float* from = buffer() + (token * 16 + row) * R::SLOTS;
    if constexpr (CLUSTER > 1) return two_quads(from, flip(row) | (token / R::PAIR & 2));
    float4 sum = *(const float4*)(from + flip(row));
#pragma unroll
    for (int slot = 1; slot < 4; ++slot) {
      const float4 v = *(const float4*)(from + (slot * 4 ^ flip(row)));
      sum.x += v.x, sum.y += v.y, sum.z += v.z, sum.w += v.w;
    }
    return (sum.x + sum.y) + (sum.z + sum.w);
  }

  // The sums of the next row block for a lane's row and tokens from `first` on. In a cluster they are halves, and the other block is
  // given its halves.
  __device__ __forceinline__ void take(float (&sum)[R::OUT], int first, int reducer, int lane) {
    const u32 b = done % R::BUFFERS;
    barrier_wait(&full[b], done / R::BUFFERS & 1);
    const int row = lane & 15, half = lane >> 4;
    if constexpr (R::ALONE) {
      sum[0] = two_quads(buffer() + row * R::SLOTS + half * 2, flip(row));
      sum[0] += __shfl_xor_sync(~0u, sum[0], 16);
    } else {
#pragma unroll
      for (int i = 0; i < R::OUT; ++i) sum[i] = sum_of(first + 2 * i + half, row);
    }
#if __CUDA_ARCH__ >= 900
    if constexpr (CLUSTER > 1) {
#pragma unroll
      for (int i = 0; i < R::OUT; ++i) give(sum_of((first ^ R::SHARE) + 2 * i + half, row), i, reducer, lane);
    }
#endif
    __syncwarp();
    if (!lane) barrier_arrive(&empty[b]);
    ++done;
  }

  // Of a cluster: halves of sums that the other block gives, [row block][reducer][output][lane].
  u32 finished = 0;
  __device__ __forceinline__ float* given(u32 block, int reducer) const {
    return partials + R::BUFFERS * R::PARTIAL + (block % R::GIVEN * R::REDUCERS + reducer) * R::OUT * 32;
  }
  __device__ __forceinline__ u64* given_full() const { return empty + R::BUFFERS; }

#if __CUDA_ARCH__ >= 900
  __device__ __forceinline__ void give(float half, int i, int reducer, int lane) const {
    asm volatile(
        "{\n.reg .b32 to, full;\nmapa.shared::cluster.u32 to, %0, %3;\nmapa.shared::cluster.u32 full, %1, %3;\n"
        "st.async.shared::cluster.mbarrier::complete_tx::bytes.f32 [to], %2, [full];\n}" ::"r"(shared_address(given(done, reducer) + i * 32 + lane)),
        "r"(shared_address(given_full() + done % R::GIVEN * R::REDUCERS + reducer)), "f"(half), "r"(cluster_rank() ^ 1) : "memory");
  }
  // The other half of the sums of the row block that is the next to be finished.
  __device__ __forceinline__ void finish(float (&sum)[R::OUT], int reducer, int lane) {
    u64* full = given_full() + finished % R::GIVEN * R::REDUCERS + reducer;
    if (!lane) barrier_expect(full, R::OUT * 32 * 4);
    barrier_wait(full, finished / R::GIVEN & 1);
    const float* halves = given(finished, reducer) + lane;
#pragma unroll
    for (int i = 0; i < R::OUT; ++i) sum[i] += halves[i * 32];
    __syncwarp();
    ++finished;
  }
#endif
};
