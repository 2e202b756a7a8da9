//! x
use karst_checkpoint::{random::{self, Spec}, *};
use karst_model::cpu::{Logits, Model, Options, Row};
fn main() {
    let gptq = |bits, group, symmetric, act_order, zeros| Some(Quantization { bits, group, symmetric, act_order, zeros });
    let mut deep = Spec::tiny(); deep.decoder.layers = 36; deep.vision.layers = 27;
    for (name, spec) in [
        ("tiny", Spec::tiny()),
        ("deep", deep.clone()),
        ("dense f32", Spec { quantization: None, dtype: Dtype::F32, ..Spec::tiny() }),
        ("deep int8 asym act", Spec { quantization: gptq(8, None, false, true, ZeroForm::V2), ..deep.clone() }),
        ("deep int4 asym act g32", Spec { quantization: gptq(4, Some(32), false, true, ZeroForm::V1), ..deep.clone() }),
    ] {
        let dir = tempfile::tempdir().unwrap();
        random::write(dir.path(), &spec, 3, &mut |_| {}).unwrap();
        let c = Checkpoint::open(dir.path()).unwrap();
        let mut m = Model::load(&c, &Options::default(), &|_| {}).unwrap();
        for prompt in [vec![1u32, 2, 3, 4, 5, 6, 7], vec![1, 2, 3, 4, 5, 6, 8], vec![9, 9, 2, 4, 7, 1, 7]] {
            let logits = m.forward(&[Row { blocks: &[0], past: 0, ids: &prompt, features: &[], logits: Logits::Last }]).unwrap();
            let l = &logits[0];
            let mean = l.iter().sum::<f32>() / l.len() as f32;
            let sd = (l.iter().map(|x| (x - mean).powi(2)).sum::<f32>() / l.len() as f32).sqrt();
            let mut s: Vec<_> = l.iter().copied().enumerate().collect(); s.sort_by(|a, b| b.1.total_cmp(&a.1));
            println!("{name}: mean {mean:.2} sd {sd:.2} top {:?} {:?}", s[0], s[1]);
        }
    }
}
