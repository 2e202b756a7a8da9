// The first kernel of a step, which looks tokens up, and the one before the head, which takes the rows that a token is drawn for.
#include "common.cuh"

// Parts of a sum of squares, as products read them.
constexpr u32 PARTS = 128;

// Ids that stand for the token drawn last for the request, and for a row that is given.
constexpr u32 DRAWN = ~0u, GIVEN = ~0u - 1;

struct EmbedParams {
  u64 table;      // f16 or bf16 [V, H]
  u64 position;   // i32 [T]; a place of the step with a negative one is unused
  u64 ids;        // u32 [T]
  u64 slots;      // u32 [T]: the slot of each token's request
  u64 given;      // f32 [T, H]: rows that stand for tokens
  u64 latest;     // u32 [slots]: the token drawn last
  u64 norm;       // f32 [H], weight of the norm that follows
  u64 residual;   // f32 [T, H]
  u64 normed;     // bf16 [T, H], the residual times that weight
  u64 squares;    // f32 [T, 128], parts of its sum of squares
  u32 hidden, vocabulary, slot_count;
  u32 is_bf16;
};

struct GatherParams {
  u64 pick;          // u32 [M], which row; one that is not below T leaves its place as it is
  u64 normed_in;     // bf16 [T, H]
  u64 squares_in;    // f32 [T, 128]
  u64 normed_out;    // bf16 [M, H]
  u64 squares_out;   // f32 [M, 128]
  u32 tokens, hidden;
};

// A token's row: numbers, or words of the table. A token that has neither is not a number, so that its request fails and no
// other token is taken for it.
struct Source {
  const float* given;
  const unsigned short* words;
  bool is_bf16;

  __device__ __forceinline__ Source(const EmbedParams& p, u32 token) : given(nullptr), words(nullptr), is_bf16(p.is_bf16) {
    const u32 slot = ((const u32*)p.slots)[token];
    u32 id = ((const u32*)p.ids)[token];
    if (id == GIVEN) given = (const float*)p.given + (u64)token * p.hidden;
    if (id == DRAWN && slot < p.slot_count) id = ((const u32*)p.latest)[slot];
    if (id < p.vocabulary) words = (const unsigned short*)p.table + (u64)id * p.hidden;
  }

  __device__ __forceinline__ float at(u32 column) const {
    if (given) return given[column];
    if (!words) return __int_as_float(0x7fc00000);
    const unsigned short word = words[column];
    return is_bf16 ? __uint_as_float((u32)word << 16) : __half2float(__ushort_as_half(word));
  }
};

// A warp has one part of a token's columns.
extern "C" __global__ void __launch_bounds__(256) embed(const __grid_constant__ EmbedParams p) {
  let_next_begin();
  wait_for_previous();
  const u32 token = blockIdx.y, part = blockIdx.x * 8 + threadIdx.x / 32, lane = threadIdx.x & 31;
  if (((const int*)p.position)[token] < 0) return;
  const Source source(p, token);
  const u32 width = (p.hidden + PARTS - 1) / PARTS, first = part * width;
  const u32 end = first + width < p.hidden ? first + width : p.hidden;
  const u64 row = (u64)token * p.hidden;
  float squares = 0;
  for (u32 column = first + lane; column < end; column += 32) {
    const float value = source.at(column);
    ((float*)p.residual)[row + column] = value;
    ((__nv_bfloat16*)p.normed)[row + column] = __float2bfloat16(value * ((const float*)p.norm)[column]);
    squares += value * value;
  }
  squares = warp_sum(squares);
  if (!lane) ((float*)p.squares)[token * PARTS + part] = squares;
}

// Copies a row and its squares, 16 bytes a thread.
extern "C" __global__ void __launch_bounds__(256) gather(const __grid_constant__ GatherParams p) {
  let_next_begin();
  wait_for_previous();
  const u32 to = blockIdx.y, from = ((const u32*)p.pick)[to], i = blockIdx.x * 256 + threadIdx.x;
  if (from >= p.tokens) return;
  const u32 words = p.hidden / 8, squares = PARTS / 4;
  if (i < words) ((uint4*)p.normed_out)[(u64)to * words + i] = ((const uint4*)p.normed_in)[(u64)from * words + i];
  else if (i < words + squares) ((uint4*)p.squares_out)[to * squares + i - words] = ((const uint4*)p.squares_in)[from * squares + i - words];
}
