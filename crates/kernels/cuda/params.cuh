// What the kernels of a product are told; what one of them has no use for is 0.
#pragma once
#include "common.cuh"

struct ProductParams {
  u64 weights;       // packed stages of all parts
  u64 input;         // one token: bf16 [K]; more: what `prepare` or `prepare_wide` made of them
  u64 permutation;   // one token: u32 [K], which activation meets input k; 0 if in order
  u64 squares_in;    // f32 [T, 128]: parts of the sum of squares that the norm divides by; 0 without a norm
  u64 output;        // PLAIN f32 [T, N]; GATED bf16 [T, N / 2]; ADD f32 [T, N], the residual, added to
  u64 norm;          // ADD: f32 [N], weight of the norm that follows
  u64 normed;        // ADD: bf16 [T, N], the new residual times that weight
  u64 squares_out;   // ADD: f32 [T, 128], parts of its sum of squares
  u32 tokens, inputs, outputs;
  u32 groups;        // `product`, several tokens: groups of these, from this kernel's first one to the last that was prepared
  u32 all_groups;    // that were prepared together
  u32 parts;         // of the layout, each with stages of its own
  u32 row_blocks;    // of a part
  u32 tiles;         // of a slot along k
  u32 chunk;         // of these, tiles that stand together in the layout
  u32 stages;        // of the ring; a block of a cluster has halves of stages
  u32 flight;        // of these, under way at most
  float epsilon;
  u64 left;          // `wide`, ADD: the inputs of the next product, as `prepare_wide` makes them of `normed`; 0 if they are not wanted
  u64 mail;          // `wide`: [pass][block][team - 1] of a block's share of sums
};
