// Matrix instructions of a warpgroup (Hopper): 64 rows in the registers of its four warps times columns in shared memory.
#pragma once
#include "ring.cuh"

// Columns of 128 bytes each in shared memory, eight of them in 1024 bytes, whose sixteen-byte pieces are exchanged as `in_column` does.
struct Columns {
  u32 address;
  Columns() = default;
  __device__ __forceinline__ explicit Columns(const void* data) : address(__shfl_sync(~0u, shared_address(data) >> 4 | 1 << 16, 0)) {}
  // Their 32 bytes from a byte on, as a descriptor.
  __device__ __forceinline__ u64 from(u32 byte) const {
    constexpr u64 STEP = 1024 >> 4, SWIZZLE_128 = 1;
    return (STEP << 32 | SWIZZLE_128 << 62) + (address + (byte >> 4));
  }
};

// Registers that matrix instructions are to use are theirs from here on.
__device__ __forceinline__ void wgmma_begin() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ __forceinline__ void wgmma_commit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
// Until no more than the last GROUPS are under way.
template <int GROUPS> __device__ __forceinline__ void wgmma_wait() { asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(GROUPS) : "memory"); }

#define FOUR(R, c, n) "+" R(c[n][0]), "+" R(c[n][1]), "+" R(c[n][2]), "+" R(c[n][3])

// For sums of a type, whose registers are R: c (+)= a * columns, without `add` what c held is lost; and until `wgmma_done` nobody reads c.
#define WGMMA(TYPE, R, INPUTS, TYPES, SIGNS)                                                                       \
  template <int N> __device__ __forceinline__ void wgmma_done(TYPE (&c)[N][4]) {                                   \
    _Pragma("unroll") for (int n = 0; n < N; ++n) asm volatile("" : FOUR(R, c, n)::"memory");                      \
  }                                                                                                                \
  __device__ __forceinline__ void wgmma(TYPE (&c)[4][4], const u32* a, u64 columns, bool add) {                    \
    asm volatile(                                                                                                  \
        "{\n.reg .pred add;\nsetp.ne.b32 add, %21, 0;\n"                                                           \
        "wgmma.mma_async.sync.aligned.m64n32k" INPUTS "." TYPES " "                                                \
        "{%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15}, {%16,%17,%18,%19}, %20, add" SIGNS ";\n}"        \
        : FOUR(R, c, 0), FOUR(R, c, 1), FOUR(R, c, 2), FOUR(R, c, 3)                                               \
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(columns), "r"((int)add));                                \
  }                                                                                                                \
  __device__ __forceinline__ void wgmma(TYPE (&c)[8][4], const u32* a, u64 columns, bool add) {                    \
    asm volatile(                                                                                                  \
        "{\n.reg .pred add;\nsetp.ne.b32 add, %37, 0;\n"                                                           \
        "wgmma.mma_async.sync.aligned.m64n64k" INPUTS "." TYPES " "                                                \
        "{%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15,%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31}, " \
        "{%32,%33,%34,%35}, %36, add" SIGNS ";\n}"                                                                 \
        : FOUR(R, c, 0), FOUR(R, c, 1), FOUR(R, c, 2), FOUR(R, c, 3), FOUR(R, c, 4), FOUR(R, c, 5), FOUR(R, c, 6), FOUR(R, c, 7) \
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(columns), "r"((int)add));                                \
  }

WGMMA(int, "r", "32", "s32.s8.s8", "")
WGMMA(float, "f", "16", "f32.f16.f16", ", 1, 1, 0")
#undef WGMMA
#undef FOUR
