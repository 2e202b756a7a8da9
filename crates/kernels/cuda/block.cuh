// What the 512 threads of a block find out together. Every thread of the block takes part in every call and has the result.
#pragma once
#include "common.cuh"

constexpr u32 THREADS = 512, WARPS = THREADS / 32;

// The inclusive running sum over a warp.
__device__ __forceinline__ u64 warp_scan(u64 v, u32 lane) {
#pragma unroll
  for (u32 o = 1; o < 32; o <<= 1) {
    const u64 before = __shfl_up_sync(~0u, v, o);
    if (lane >= o) v += before;
  }
  return v;
}

struct Block {
  u64 (*parts)[WARPS];   // [2], in turn, so that one barrier a call is enough
  u64* exchange;         // [THREADS]
  u32 thread, warp, lane, turn;

  __device__ __forceinline__ Block(u64 (*shared)[WARPS], u64* room) : parts(shared), exchange(room), thread(threadIdx.x), warp(threadIdx.x / 32), lane(threadIdx.x & 31), turn(0) {}

  // The value of warp i to lane i of all warps, `beyond` to lanes that no warp stands for.
  template <class T> __device__ __forceinline__ T shared(T v, T beyond) {
    turn ^= 1;
    T* values = (T*)parts[turn];
    if (!lane) values[warp] = v;
    __syncthreads();
    return lane < WARPS ? values[lane] : beyond;
  }

  template <class T> __device__ __forceinline__ T sum(T v) {
#pragma unroll
    for (int o = 16; o; o >>= 1) v += __shfl_xor_sync(~0u, v, o);
    v = shared(v, (T)0);
#pragma unroll
    for (int o = 16; o; o >>= 1) v += __shfl_xor_sync(~0u, v, o);
    return v;
  }
  __device__ __forceinline__ u32 count(u32 v) { return __reduce_add_sync(~0u, shared(__reduce_add_sync(~0u, v), 0u)); }
  __device__ __forceinline__ u32 greatest(u32 v) { return __reduce_max_sync(~0u, shared(__reduce_max_sync(~0u, v), 0u)); }
  __device__ __forceinline__ u32 least(u32 v) { return __reduce_min_sync(~0u, shared(__reduce_min_sync(~0u, v), ~0u)); }

  // The inclusive running sum in the order of the threads, and the whole.
  __device__ __forceinline__ u64 scan(u64 v, u64& whole) {
    // Most warps have nothing where few tokens are looked at, and shuffles are scarce.
    if (__any_sync(~0u, v != 0)) v = warp_scan(v, lane);
    const u64 sums = warp_scan(shared(__shfl_sync(~0u, v, 31), (u64)0), lane);
    whole = __shfl_sync(~0u, sums, 31);
    const u64 before = __shfl_sync(~0u, sums, warp ? warp - 1 : 0);
    return warp ? v + before : v;
  }

  // Descending, the first `size` threads (a power of two, at least 32); the others hold zeros.
  __device__ __forceinline__ u64 sort(u64 v, u32 size) {
#pragma unroll 1
    for (u32 k = 2; k <= size; k <<= 1)
#pragma unroll 1
      for (u32 j = k >> 1; j; j >>= 1) {
        u64 other = v;
        if (j >= 32) {
          __syncthreads();
          exchange[thread] = v;
          __syncthreads();
          other = exchange[thread ^ j];
        } else if (thread < size) {
          other = __shfl_xor_sync(~0u, v, j);
        }
        const bool takes_greater = !(thread & k) == !(thread & j);
        if ((v < other) == takes_greater) v = other;
      }
    return v;
  }
};
