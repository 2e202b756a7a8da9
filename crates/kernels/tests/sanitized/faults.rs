//! Faults that compute-sanitizer must find, or what it does not find elsewhere would prove nothing.

use bytemuck::{Pod, Zeroable};
use karst_kernels::{Buffer, Launch};

use crate::world;

const PTX: &str = "
.version 7.8
.target sm_80
.address_size 64

// Writes one number beyond the end of what it is given.
.visible .entry beyond(.param .align 8 .b8 p[16]) {
  .reg .u64 %a, %n;
  .reg .u32 %v;
  ld.param.u64 %a, [p];
  ld.param.u64 %n, [p+8];
  mad.lo.u64 %a, %n, 4, %a;
  cvta.to.global.u64 %a, %a;
  mov.u32 %v, 7;
  st.global.u32 [%a], %v;
  ret;
}

// Every thread reads what a thread of another warp writes, and waits for nobody.
.visible .entry race(.param .align 8 .b8 p[16]) {
  .reg .u64 %a, %o;
  .reg .u32 %t, %s, %b, %v;
  .shared .align 4 .b8 words[256];
  ld.param.u64 %a, [p];
  cvta.to.global.u64 %a, %a;
  mov.u32 %t, %tid.x;
  mov.u32 %b, words;
  mad.lo.u32 %s, %t, 4, %b;
  st.shared.u32 [%s], %t;
  xor.b32 %s, %t, 32;
  mad.lo.u32 %s, %s, 4, %b;
  ld.shared.u32 %v, [%s];
  mul.wide.u32 %o, %t, 4;
  add.u64 %a, %a, %o;
  st.global.u32 [%a], %v;
  ret;
}
";

#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
struct Params {
    to: u64,
    count: u64,
}

fn run(name: &str) {
    let world = world();
    let module = world.device.module(PTX.as_bytes()).unwrap();
    let function = module.function(name, 0).unwrap();
    let numbers: Buffer<u32> = world.device.zeroed(64).unwrap();
    let params = Params { to: numbers.address(), count: numbers.len() as u64 };
    let threads = if name == "race" { 64 } else { 1 };
    // SAFETY: none: the sanitizer is to find out.
    unsafe { world.stream.launch(&function, &Launch::of(1, threads), &params).unwrap() };
    drop(world.stream.synchronize());
}

#[test]
#[ignore = "a fault for memcheck to find"]
fn planted_write_beyond_a_buffer() {
    run("beyond");
}

#[test]
#[ignore = "a fault for racecheck to find"]
fn planted_race_in_shared_memory() {
    run("race");
}
