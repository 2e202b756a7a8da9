use karst_checkpoint::*;
use std::time::Instant;
fn rss() -> String {
    std::fs::read_to_string("/proc/self/status")
        .unwrap()
        .lines()
        .filter(|l| l.starts_with("VmRSS") || l.starts_with("VmHWM"))
        .collect::<Vec<_>>()
        .join(" ")
}
fn main() {
    let t = Instant::now();
    let folder = std::env::args().nth(1).unwrap();
    let c = Checkpoint::open(folder.as_ref()).unwrap();
    println!("open {:?} {} tensors {}", t.elapsed(), c.names().count(), rss());
    let d = c.config().decoder.clone();
    let t = Instant::now();
    let mut sum = 0u64;
    for layer in 0..d.layers {
        for (m, k, n) in [
            ("self_attn.q_proj", d.hidden, d.heads * d.head_dim),
            ("self_attn.k_proj", d.hidden, d.kv_heads * d.head_dim),
            ("self_attn.v_proj", d.hidden, d.kv_heads * d.head_dim),
            ("self_attn.o_proj", d.heads * d.head_dim, d.hidden),
            ("mlp.gate_proj", d.hidden, d.intermediate),
            ("mlp.up_proj", d.hidden, d.intermediate),
            ("mlp.down_proj", d.intermediate, d.hidden),
        ] {
            let name = format!("llm.model.layers.{layer}.{m}");
            if let Linear::Gptq(g) = c.linear(&name, k, n).unwrap() {
                sum += g.qweight.iter().map(|&w| w as u64).sum::<u64>();
            }
            c.release(&name);
        }
    }
    println!("linears {:?} {sum} {}", t.elapsed(), rss());
}
