// Tokens out of logits, in the order of the processor's sampler: repetition penalty, temperature, top-k, top-p, min-p.
//
// The first kernel reads all logits and leaves the greatest score of every group of 32 tokens, and sums of weights where they are
// needed. The second has a block for each row, which looks into the groups that matter. Settings are read before the kernel before
// has ended: no kernel writes them, and the first of a step is not launched early.
#include "descend.cuh"
#include "few.cuh"

constexpr u32 SCAN_WARPS = 4;

__device__ __forceinline__ bool is_finite(float v) { return (__float_as_uint(v) & 0x7f800000u) != 0x7f800000u; }

// Keeps the greatest key of each group of a run, and if asked the sum of its weights.
__device__ __forceinline__ void keep(const u32 (&key)[GROUPS], bool sums, double coolness, u64 keys, u64 run_sums, u64 run, u32 lane) {
  u32 own = 0;
#pragma unroll
  for (u32 g = 0; g < GROUPS; ++g) {
    const u32 greatest = __reduce_max_sync(~0u, key[g]);
    if (lane == g) own = greatest;
  }
  if (lane < GROUPS) ((u32*)keys)[run * GROUPS + lane] = own;
  if (!sums) return;
  const u32 greatest = __reduce_max_sync(~0u, own);
  double sum = 0;
#pragma unroll
  for (u32 g = 0; g < GROUPS; ++g)
    if (key[g] && greatest != FAULT) sum += weight(number(key[g]), number(greatest), coolness);
#pragma unroll
  for (int o = 16; o; o >>= 1) sum += __shfl_xor_sync(~0u, sum, o);
  if (!lane) ((double*)run_sums)[run] = sum;
}

// A warp has a run of a row. What the row's slot drew before is forgotten here if its request is new.
extern "C" __global__ void __launch_bounds__(SCAN_WARPS * 32) sample_scan(const __grid_constant__ SampleParams p) {
  let_next_begin();
  const SampleRow row = ((const SampleRow*)p.rows)[blockIdx.y];
  wait_for_previous();
  const u32 run = blockIdx.x * SCAN_WARPS + threadIdx.x / 32, lane = threadIdx.x & 31;
  if (!(row.flags & ACTIVE) || !is_sound(p, row) || run >= p.runs) return;
  const Scores scores = scores_of(p, row, blockIdx.y);
  const bool is_first = row.flags & FIRST;
  float logit[GROUPS];
  u32 key[GROUPS], raw[GROUPS];
#pragma unroll
  for (u32 g = 0; g < GROUPS; ++g) {
    const u32 id = run * RUN + g * GROUP + lane;
    logit[g] = scores.has(id) ? scores.logits[id] : 0;
  }
#pragma unroll
  for (u32 g = 0; g < GROUPS; ++g) {
    const u32 id = run * RUN + g * GROUP + lane;
    key[g] = raw[g] = 0;
    if (scores.has(id)) key[g] = is_finite(logit[g]) ? scores.key(logit[g], id, is_first) : FAULT, raw[g] = ordered(logit[g]);
  }
  const u64 place = (u64)blockIdx.y * p.runs + run;
  keep(key, !is_greedy(row) && is_unlimited(p, row), 1 / (double)row.temperature, p.keys, p.sums, place, lane);
  if (row.rivals >= 0) keep(raw, true, 1, p.raw_keys, p.raw_sums, place, lane);
  const u32 words = (p.vocabulary + GROUP - 1) / GROUP, word = run * GROUPS + lane;
  __syncwarp();
  if (is_first && lane < GROUPS && word < words) ((u32*)p.generated)[(u64)row.slot * words + word] = 0;
}

// Takes a row's keys of groups; the greatest of this thread's groups.
__device__ __forceinline__ u32 take_keys(Room& room, u64 all_keys, u32 count) {
  const u32* keys = (const u32*)all_keys + (u64)blockIdx.x * count;
  u32 own = 0;
#pragma unroll
  for (u32 i = 0; i < MOST_GROUPS / THREADS; ++i) {
    const u32 group = threadIdx.x + i * THREADS;
    if (group < count) own = max(own, room.keys[group] = keys[group]);
  }
  __syncthreads();
  return own;
}

// The first group of this thread that has `key`.
__device__ __forceinline__ u32 group_of(const Room& room, u32 key, u32 count) {
  u32 group = threadIdx.x;
#pragma unroll 1
  while (group < count && room.keys[group] != key) group += THREADS;
  return group < count ? group : NONE;
}

// The first token of the greatest key.
__device__ __forceinline__ u32 likeliest(Row& row) {
  const u32 group = row.block.least(group_of(row.room, row.greatest, row.runs * GROUPS));
  const u32 id = group * GROUP + row.block.lane;
  return group * GROUP + __ffs(__ballot_sync(~0u, row.scores.key_of(id) == row.greatest)) - 1;
}

__device__ __forceinline__ u32 draw(Row& row, const SampleParams& p, u32 own_key) {
  const SampleRow& settings = row.settings;
  const bool is_limited = !is_unlimited(p, settings);
  const double* sums = (const double*)p.sums + (u64)blockIdx.x * p.runs;
  u64 own, running, whole = 0;
  u32 low = 0;
  const u32 threads = row.block.count(own_key != 0);
  if (is_limited) {
    if (settings.top_k <= FEW) low = settings.top_k <= threads ? threshold(row, own_key, settings.top_k) : 1;
  } else if (settings.top_p < 1.f) {
    whole = sum_of_runs(row, sums, own, running);
    low = threshold(row, own_key, min(FEW, threads));
  } else if (settings.min_p > 0.f) {
    low = row.lowest(row.least_weight());
  } else {
    whole = sum_of_runs(row, sums, own, running);
    const u64 target = row.target(whole);
    return row.pick(target, 1, row.greatest, [&](u32 key) { return row.mass(key); }, own, running);
  }
  const u32 id = low ? draw_of_few(row, low, is_limited, whole) : NONE;
  return id != NONE ? id : draw_of_many(row, is_limited);
}

// Says how many numbers are not finite, and which is the first.
__device__ __forceinline__ void tell_faults(Block& block, const Scores& scores, SampleResult& result) {
  u32 count = 0, first = NONE;
#pragma unroll 1
  for (u32 id = block.thread; id < scores.vocabulary; id += THREADS)
    if (!is_finite(scores.logits[id])) ++count, first = min(first, id);
  count = block.count(count), first = block.least(first);
  if (!block.thread) result.faults = count, result.fault_id = first, result.fault = scores.logits[first];
}

// Log-probabilities before penalty, temperature and cuts: of the drawn token and of the likeliest, which are taken one by one.
__device__ __forceinline__ void tell_logprobs(Block& block, Room& room, const SampleParams& p, const Scores& scores, u32 drawn, u32 rivals, SampleResult& result) {
  const u32 groups = p.runs * GROUPS, run = block.thread;
  u32 own = take_keys(room, p.raw_keys, groups), top = 0;
  const float greatest = number(block.greatest(own));
  if (run < p.runs)
#pragma unroll
    for (u32 g = 0; g < GROUPS; ++g) top = max(top, room.keys[run * GROUPS + g]);
  const double sum = block.sum(run < p.runs ? ((const double*)p.raw_sums)[(u64)blockIdx.x * p.runs + run] * weight(number(top), greatest, 1) : 0.0);
  const double all = (double)greatest + log(sum);
  if (!block.thread) result.logprob = (float)((double)scores.logits[drawn] - all), result.rivals = rivals;
  u64 last = ~0ull;   // key and id of the one before; what comes later in the order is less
#pragma unroll 1
  for (u32 rival = 0; rival < rivals; ++rival) {
    const u32 key = block.greatest(own), group = block.least(own == key ? group_of(room, key, groups) : NONE);
    if (!block.warp) {
      const u32 id = group * GROUP + block.lane;
      const u64 mine = scores.has(id) ? (u64)ordered(scores.logits[id]) << 32 | (u32)~id : 0;
      const u64 left = mine < last ? mine : 0;
      const u32 best = __reduce_max_sync(~0u, (u32)(left >> 32) == key ? (u32)left : 0);
      last = (u64)key << 32 | best;
      const u32 next = __reduce_max_sync(~0u, left < last ? (u32)(left >> 32) : 0);
      if (!block.lane) {
        room.keys[group] = next;
        result.rival_ids[rival] = ~best, result.rival_logprobs[rival] = (float)((double)number(key) - all);
      }
    }
    __syncthreads();
    if (group % THREADS == block.thread) {
      own = 0;
      for (u32 mine = block.thread; mine < groups; mine += THREADS) own = max(own, room.keys[mine]);
    }
  }
}

// A block has a row.
extern "C" __global__ void __launch_bounds__(THREADS, 1) sample_choose(const __grid_constant__ SampleParams p) {
  __shared__ Room room;
  let_next_begin();
  const SampleRow& given = ((const SampleRow*)p.rows)[blockIdx.x];
  const SampleRow& settings = room.settings;
  const Scores& scores = room.scores;
  const bool is_active = given.flags & ACTIVE;
  if (threadIdx.x < sizeof(SampleRow) / 4) ((u32*)&room.settings)[threadIdx.x] = ((const u32*)&given)[threadIdx.x];
  if (!threadIdx.x) room.scores = scores_of(p, given, blockIdx.x), room.coolness = 1 / (double)given.temperature;
  wait_for_previous();
  if (!is_active) return;
  const u32 own = take_keys(room, p.keys, p.runs * GROUPS);
  Block block(room.parts, room.list);
  SampleResult& result = ((SampleResult*)p.results)[blockIdx.x];
  if (!block.thread) result.id = NONE, result.faults = 0, result.rivals = 0;
  if (!is_sound(p, settings)) return;
  const u32 greatest = block.greatest(own);
  if (greatest == FAULT) return tell_faults(block, scores, result);
  if (!greatest) return;
  Row row{block, room, settings, scores, p.runs, greatest};
  const u32 id = is_greedy(settings) ? likeliest(row) : draw(row, p, own);
  if (!block.thread) {
    result.id = id;
    ((u32*)p.latest)[settings.slot] = id;
    ((u32*)p.generated)[(u64)settings.slot * ((p.vocabulary + GROUP - 1) / GROUP) + id / GROUP] |= 1u << id % GROUP;
  }
  if (settings.rivals >= 0) tell_logprobs(block, room, p, scores, id, min(min((u32)settings.rivals, MOST_RIVALS), p.vocabulary), result);
}
