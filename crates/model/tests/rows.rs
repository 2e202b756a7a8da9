//! What rows promise each other, and what chunks of one row promise.

#![allow(clippy::unwrap_used)] // a test fails by panicking

mod common;

use std::fs;

use common::{Session, project, relative};
use karst_checkpoint::Checkpoint;
use karst_contract::Coded;
use karst_model::ModelError;
use karst_model::cpu::{Logits, Model, Options, Row};

fn demo() -> Model {
    let checkpoint = Checkpoint::open(&project("models/demo")).unwrap();
    Model::load(&checkpoint, &Options::default(), &|_| {}).unwrap()
}

/// Ordinary ids that follow no pattern.
fn prompt(count: usize, seed: usize) -> Vec<u32> {
    (0..count).map(|i| ((i * i * 31 + i * 17 + seed * 101) % 1200) as u32).collect()
}

#[test]
fn a_row_gets_the_same_bits_alone_and_among_others() {
    let mut model = demo();
    let prompts: Vec<Vec<u32>> = [40, 3, 77, 1, 130].iter().zip(0..).map(|(&n, seed)| prompt(n, seed)).collect();
    let blocks = |row: u32| (row * 10..row * 10 + 10).collect::<Vec<u32>>();
    let tables: Vec<Vec<u32>> = (0..5).map(blocks).collect();
    let row = |i: usize, past: usize, ids: std::ops::Range<usize>| Row {
        blocks: &tables[i],
        past,
        ids: &prompts[i][ids],
        features: &[],
        logits: Logits::All,
    };
    // Row 0 decodes, row 1 decodes, row 2 begins, row 3 begins with one id, row 4 goes on with a chunk.
    model.forward(&[row(0, 0, 0..39)]).unwrap();
    model.forward(&[row(1, 0, 0..2)]).unwrap();
    model.forward(&[row(4, 0, 0..100)]).unwrap();
    let rows = [row(0, 39, 39..40), row(1, 2, 2..3), row(2, 0, 0..77), row(3, 0, 0..1), row(4, 100, 100..130)];
    let together = model.forward(&rows).unwrap();
    let alone: Vec<Vec<f32>> = rows.iter().flat_map(|row| model.forward(&[*row]).unwrap()).collect();
    assert_eq!(together.len(), 1 + 1 + 77 + 1 + 30);
    assert!(together == alone, "a neighbour changed a row");
}

#[test]
fn any_chunking_of_a_prompt_gives_the_same_logits() {
    let ids = prompt(300, 5);
    let mut model = demo();
    let whole = Session::on(0, 300).append(&mut model, &ids, &[], Logits::All);
    for sizes in [vec![1, 299], vec![16, 16, 200, 68], vec![299, 1], vec![130, 127, 43], vec![1; 300]] {
        let mut session = Session::on(50, 300);
        let mut logits = Vec::new();
        for size in sizes {
            let chunk = &ids[session.past..session.past + size];
            logits.extend(session.append(&mut model, chunk, &[], Logits::All));
        }
        let worst = whole.iter().zip(&logits).map(|(a, b)| relative(b, a)).fold(0.0, f64::max);
        assert!(logits.len() == 300 && worst < 1e-4, "{worst}");
    }
}

#[test]
fn features_cut_by_a_chunk_border_stand_where_they_stood() {
    let mut model = demo();
    let (hidden, ids) = (model.hidden(), prompt(100, 7));
    let features: Vec<f32> = (0..64 * hidden).map(|i| ((i * 7919) % 997) as f32 / 500.0 - 1.0).collect();
    let whole = Session::on(0, 100).append(&mut model, &ids, &[(10, &features)], Logits::Last);
    let mut session = Session::on(20, 100);
    session.append(&mut model, &ids[..30], &[(10, &features[..20 * hidden])], Logits::None);
    let cut = session.append(&mut model, &ids[30..], &[(0, &features[20 * hidden..])], Logits::Last);
    assert!(relative(&cut[0], &whole[0]) < 1e-4);
    let without = Session::on(40, 100).append(&mut model, &ids, &[], Logits::Last);
    assert!(relative(&without[0], &whole[0]) > 1e-2, "features matter");
}

#[test]
fn r5_logits_that_are_not_finite_name_their_row_and_spare_the_others() {
    let mut model = demo();
    let (hidden, ids) = (model.hidden(), prompt(20, 1));
    let mut features = vec![0.5; hidden];
    features[3] = f32::NAN;
    let bad = [(5, features.as_slice())];
    let row = |blocks, features| Row { blocks, past: 0, ids: &ids, features, logits: Logits::Last };
    let rows = [row(&[0, 1], &[]), row(&[2, 3], &bad)];
    let error = model.forward(&rows).unwrap_err();
    assert!(matches!(error, ModelError::NonFinite { row: 1 }), "{error}");
    assert_eq!(error.code().name(), "non_finite");
    let again = model.forward(&rows[..1]).unwrap();
    assert_eq!(again, demo().forward(&rows[..1]).unwrap());
}

#[test]
fn a_row_that_does_not_fit_is_refused_before_anything_is_written() {
    let mut model = demo();
    let ids = prompt(20, 1);
    let good = Row { blocks: &[0, 1], past: 0, ids: &ids, features: &[], logits: Logits::Last };
    let logits = model.forward(&[good]).unwrap();
    let other = prompt(20, 2);
    let short = Row { blocks: &[2], ids: &other, ..good };
    let error = model.forward(&[Row { ids: &other, ..good }, short]).unwrap_err();
    assert!(matches!(error, ModelError::BlocksMissing { row: 1, tokens: 20, room: 16 }), "{error}");
    let next = Row { past: 19, ids: &ids[19..], ..good };
    assert!(relative(&model.forward(&[next]).unwrap()[0], &logits[0]) < 1e-4, "the cache holds what it held");
    assert!(model.forward(&[]).unwrap().is_empty());
}

#[test]
fn memory_counts_the_weights_and_the_cache() {
    let checkpoint = Checkpoint::open(&project("models/demo")).unwrap();
    let options = Options { kv_tokens: 100, block: 16, ..Options::default() };
    let model = Model::load(&checkpoint, &options, &|_| {}).unwrap();
    let memory = model.memory();
    // 6 layers, keys and values, 7 blocks of 16 tokens, 2 heads of 128 numbers in 4 bytes.
    assert_eq!(memory.kv, 6 * 2 * 7 * 16 * 2 * 128 * 4);
    assert_eq!(model.blocks(), 7);
    assert!((5_000_000..40_000_000).contains(&memory.weights()), "{memory:?}");
    let error = Model::load(&checkpoint, &Options { kv_tokens: 0, ..options }, &|_| {}).err();
    assert!(matches!(error, Some(ModelError::CacheSize { .. })));
}

#[test]
fn progress_grows_to_its_end() {
    let checkpoint = Checkpoint::open(&project("models/demo")).unwrap();
    let steps = std::cell::RefCell::new(Vec::new());
    Model::load(&checkpoint, &Options::default(), &|step| steps.borrow_mut().push(step)).unwrap();
    let steps = steps.into_inner();
    assert!(steps.len() > 20 && steps.is_sorted_by_key(|step| step.done));
    assert!(steps.iter().all(|step| step.total == steps[0].total && step.done <= step.total));
    assert_eq!(steps.last().unwrap().done, steps[0].total);
}

#[test]
fn w10_a_norm_that_is_not_a_number_is_refused_by_name_and_index() {
    let folder = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(project("models/demo")).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
    }
    let path = folder.path().join("model.safetensors");
    let mut bytes = fs::read(&path).unwrap();
    let data = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: serde_json::Value = serde_json::from_slice(&bytes[8..data]).unwrap();
    let name = "llm.model.layers.3.post_attention_layernorm.weight";
    let at = data + header[name]["data_offsets"][0].as_u64().unwrap() as usize + 2 * 17;
    bytes[at..at + 2].copy_from_slice(&0x7e00u16.to_le_bytes());
    fs::write(&path, bytes).unwrap();
    let checkpoint = Checkpoint::open(folder.path()).unwrap();
    let error = Model::load(&checkpoint, &Options::default(), &|_| {}).err().unwrap();
    assert_eq!(error.to_string(), format!("tensor {name} holds NaN at index 17"));
}
