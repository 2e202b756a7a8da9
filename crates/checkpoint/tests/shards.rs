//! Shards that are cut short, misplaced, or lead elsewhere. Each wrong folder was a right one before its one change.

#![cfg(unix)] // links, pipes and signals
#![allow(clippy::unwrap_used)] // a test fails by panicking

mod common;

use std::fs::{self, OpenOptions};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use common::{File, edit, open, refused, sharded, shards, small, written};
use karst_checkpoint::header::HeaderError;
use karst_checkpoint::random::Spec;
use karst_checkpoint::{Access, Checkpoint, CheckpointError, FolderError, ShardError};
use karst_contract::{Code, Coded};
use serde_json::{Value, json};
use tempfile::TempDir;

const INDEX: &str = "model.safetensors.index.json";

fn resize(path: &Path, length: u64) {
    OpenOptions::new().write(true).open(path).unwrap().set_len(length).unwrap();
}

#[test]
fn w6_every_shard_is_proven_before_any_is_used() {
    let folder = sharded();
    let paths = shards(&folder);
    assert!(paths.len() > 2);
    let checkpoint = open(&folder).unwrap();
    drop(checkpoint);
    for path in &paths {
        let whole = fs::read(path).unwrap();
        for length in [whole.len() - 1, whole.len() - 4096, 7, 0] {
            fs::write(path, &whole[..length]).unwrap();
            let error = refused(&folder);
            let CheckpointError::Header { shard, source } = &error else { panic!("{error:?}") };
            assert!(path.ends_with(shard), "{error}");
            assert!(matches!(source, HeaderError::PastEnd { .. } | HeaderError::TooShort { .. }), "{error}");
            assert_eq!(error.code(), Code::InvalidCheckpoint);
            assert!(error.hint().unwrap().contains("fetch it again"));
        }
        fs::write(path, [&whole[..], &[0]].concat()).unwrap();
        let error = refused(&folder);
        assert!(matches!(error, CheckpointError::Header { source: HeaderError::Trailing { bytes: 1 }, .. }), "{error}");
        fs::write(path, whole).unwrap();
        open(&folder).unwrap();
    }
}

#[test]
fn w6_a_hole_in_codes_scales_or_norms_is_found() {
    let folder = written(&Spec::tiny());
    let whole = fs::read(folder.path().join("model.safetensors")).unwrap();
    let layer = "llm.model.layers.0.mlp.up_proj";
    let hole = |tensor: &str, from: usize, bytes: usize| {
        common::change(&folder, |file| file.tensor(tensor)[from..from + bytes].fill(0));
        let checkpoint = open(&folder).unwrap();
        let error = checkpoint
            .linear(layer, 256, 512)
            .map(|_| ())
            .and_then(|()| checkpoint.norm("llm.model.layers.0.input_layernorm.weight", 256).map(|_| ()));
        fs::write(folder.path().join("model.safetensors"), &whole).unwrap();
        error.unwrap_err().to_string()
    };
    for (from, at) in [(8192, 8192), (8191, 8192), (8193, 10_240), (9000, 10_240), (61_440, 61_440)] {
        let error = hole(&format!("{layer}.qweight"), from, 4096);
        assert!(error.contains("up_proj.qweight") && error.contains(&format!("byte {at} ")), "{error}");
    }
    let error = hole(&format!("{layer}.scales"), 0, 2048);
    assert!(error.contains("up_proj.scales") && error.contains("nothing but zeros"), "{error}");
    let error = hole("llm.model.layers.0.input_layernorm.weight", 0, 512);
    assert!(error.contains("input_layernorm.weight") && error.contains("nothing but zeros"), "{error}");
    open(&folder).unwrap().linear(layer, 256, 512).unwrap();
}

#[test]
fn w6_a_copied_checkpoint_outlives_its_files() {
    let folder = written(&small());
    let checkpoint = Checkpoint::open_with(folder.path(), Access::Copied).unwrap();
    let name = "vpm.post_layernorm.weight"; // the last tensor of the file
    let before = checkpoint.tensor(name).unwrap().to_f32().unwrap();
    assert_eq!(open(&folder).unwrap().tensor(name).unwrap().to_f32().unwrap(), before);
    resize(&shards(&folder)[0], 8);
    checkpoint.release(name);
    assert_eq!(checkpoint.tensor(name).unwrap().to_f32().unwrap(), before);
}

/// What [`Access::Mapped`] says of a file that shrinks: the process ends. It never goes on with other numbers.
#[test]
fn w6_a_mapped_file_that_shrinks_ends_the_process() {
    use std::os::unix::process::ExitStatusExt;
    let folder = written(&small());
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--ignored", "--exact", "reads_a_file_that_shrinks"]).current_dir(folder.path());
    let output = child.output().unwrap();
    assert!(output.status.signal().is_some(), "{output:?}");
}

#[test]
#[ignore = "ends its process; run by the test above"]
fn reads_a_file_that_shrinks() {
    let checkpoint = Checkpoint::open(Path::new(".")).unwrap();
    resize(Path::new("model.safetensors"), 8);
    println!("{:?}", checkpoint.tensor("vpm.post_layernorm.weight").unwrap().to_f32());
}

/// Puts one name into the index where the first shard stood.
fn rename_first(folder: &TempDir, to: &str) {
    let first = shards(folder)[0].file_name().unwrap().to_str().unwrap().to_owned();
    edit(folder, INDEX, |index| {
        for shard in index["weight_map"].as_object_mut().unwrap().values_mut() {
            if *shard == json!(first) {
                *shard = json!(to);
            }
        }
    });
}

#[test]
fn w7_a_shard_must_be_a_bare_name() {
    let (folder, outside) = (sharded(), tempfile::tempdir().unwrap());
    let target = outside.path().join("x.safetensors");
    fs::copy(&shards(&folder)[0], &target).unwrap();
    fs::create_dir(folder.path().join("a")).unwrap();
    let index = fs::read(folder.path().join(INDEX)).unwrap();
    let names = [
        "../x.safetensors",
        "/etc/x.safetensors",
        "a/../x.safetensors",
        "./x.safetensors",
        "a/x.safetensors",
        "a\\x.safetensors",
        "C:x.safetensors",
        "C:\\x.safetensors",
        "x\0.safetensors",
        "x\n.safetensors",
        target.to_str().unwrap(),
        &format!("{}.safetensors", "x".repeat(300)),
    ];
    for name in names {
        rename_first(&folder, name);
        let error = refused(&folder);
        assert!(matches!(error, CheckpointError::Folder(FolderError::NotBare { .. })), "{name:?}: {error}");
        fs::write(folder.path().join(INDEX), &index).unwrap();
    }
    open(&folder).unwrap();
}

#[test]
fn w7_any_bare_name_will_do() {
    let folder = sharded();
    let (first, renamed) = (shards(&folder)[0].clone(), folder.path().join("é x.safetensors"));
    rename_first(&folder, "é x.safetensors");
    let error = refused(&folder);
    assert!(error.to_string().ends_with("has no file é x.safetensors"), "{error}");
    assert_eq!(error.code(), Code::ModelNotFound);
    fs::rename(first, renamed).unwrap();
    open(&folder).unwrap();
}

#[test]
fn w7_only_safetensors_files_are_shards() {
    for name in ["/etc/passwd", "pytorch_model.bin", "config.json", "", "..", "model.safetensors.pt"] {
        let folder = sharded();
        rename_first(&folder, name);
        let error = refused(&folder);
        assert!(matches!(error, CheckpointError::Shards(ShardError::NotSafetensors { .. })), "{name:?}: {error}");
    }
}

#[test]
fn w7_a_link_out_of_the_folder_is_refused() {
    let (folder, outside) = (sharded(), tempfile::tempdir().unwrap());
    let shard = shards(&folder)[0].clone();
    let moved = outside.path().join("moved.safetensors");
    fs::rename(&shard, &moved).unwrap();
    symlink(&moved, &shard).unwrap();
    let error = refused(&folder);
    assert!(matches!(error, CheckpointError::Folder(FolderError::Outside { .. })), "{error}");
    fs::remove_file(&shard).unwrap();
    symlink("/dev/zero", &shard).unwrap();
    assert!(matches!(refused(&folder), CheckpointError::Folder(FolderError::Outside { .. })));
    fs::remove_file(&shard).unwrap();
    // A link within the folder is a name like any other.
    fs::rename(&moved, folder.path().join("inside")).unwrap();
    symlink("inside", &shard).unwrap();
    open(&folder).unwrap();
}

#[test]
fn w7_links_of_a_hub_cache_are_followed_to_its_blobs_only() {
    let (hub, folder) = (tempfile::tempdir().unwrap(), sharded());
    let (snapshot, blobs) = (hub.path().join("models--x/snapshots/abc"), hub.path().join("models--x/blobs"));
    fs::create_dir_all(&snapshot).unwrap();
    fs::create_dir_all(&blobs).unwrap();
    for (i, entry) in fs::read_dir(folder.path()).unwrap().enumerate() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), blobs.join(i.to_string())).unwrap();
        symlink(format!("../../blobs/{i}"), snapshot.join(entry.file_name())).unwrap();
    }
    Checkpoint::open(&snapshot).unwrap();
    let link = snapshot.join("tokenizer.json");
    fs::remove_file(&link).unwrap();
    fs::write(hub.path().join("models--x/tokenizer"), "{}").unwrap();
    symlink("../../tokenizer", &link).unwrap();
    let error = Checkpoint::open(&snapshot).unwrap_err();
    assert!(matches!(error, CheckpointError::Folder(FolderError::Outside { .. })), "{error}");
}

#[test]
fn w7_folders_pipes_and_devices_are_no_shards() {
    let folder = sharded();
    let (shard, kept) = (shards(&folder)[0].clone(), folder.path().join("kept"));
    fs::rename(&shard, &kept).unwrap();
    fs::create_dir(&shard).unwrap();
    assert!(matches!(refused(&folder), CheckpointError::Folder(FolderError::NotRegular { .. })));
    fs::remove_dir(&shard).unwrap();
    // Opening a pipe waits for its writer, and there is none.
    assert!(Command::new("mkfifo").arg(&shard).status().unwrap().success());
    assert!(matches!(refused(&folder), CheckpointError::Folder(FolderError::NotRegular { .. })));
    fs::remove_file(&shard).unwrap();
    symlink("missing", &shard).unwrap();
    assert!(matches!(refused(&folder), CheckpointError::Folder(FolderError::FileMissing { .. })));
    fs::remove_file(&shard).unwrap();
    fs::rename(&kept, &shard).unwrap();
    open(&folder).unwrap();
}

#[test]
fn w7_the_folder_itself_must_exist_and_hold_a_model() {
    let error = Checkpoint::open(Path::new("/nowhere/at/all")).unwrap_err();
    assert_eq!((error.code(), error.to_string().as_str()), (Code::ModelNotFound, "there is no folder /nowhere/at/all"));
    let folder = written(&small());
    let error = Checkpoint::open(&folder.path().join("config.json")).unwrap_err();
    assert!(matches!(error, CheckpointError::Folder(FolderError::NotFolder { .. })), "{error}");
    for file in ["config.json", "tokenizer.json", "model.safetensors"] {
        let folder = written(&small());
        fs::remove_file(folder.path().join(file)).unwrap();
        let error = refused(&folder);
        assert!(error.to_string().contains(file) && error.hint().is_some(), "{error}");
        assert_eq!(error.code(), Code::ModelNotFound);
    }
    open(&folder).unwrap();
}

/// A folder of three shards, and the index as it is after `change` to the map.
fn reindexed(change: impl FnOnce(&mut serde_json::Map<String, Value>)) -> CheckpointError {
    let folder = sharded();
    open(&folder).unwrap();
    edit(&folder, INDEX, |index| change(index["weight_map"].as_object_mut().unwrap()));
    refused(&folder)
}

#[test]
fn w8_a_tensor_must_be_in_the_shard_named() {
    let error = reindexed(|map| {
        let other = map.values().find(|&shard| *shard != map["llm.lm_head.weight"]).unwrap().clone();
        map["llm.lm_head.weight"] = other;
    });
    assert!(matches!(error, CheckpointError::Shards(ShardError::WrongShard { .. })), "{error}");
    assert!(error.to_string().starts_with("tensor llm.lm_head.weight should be in model-0000"), "{error}");
}

#[test]
fn w8_a_tensor_must_be_in_some_shard() {
    let error = reindexed(|map| {
        map.insert("llm.more".into(), map["llm.lm_head.weight"].clone());
    });
    assert!(matches!(error, CheckpointError::Shards(ShardError::Absent { ref tensor, .. }) if tensor == "llm.more"));
}

#[test]
fn w8_tensors_left_over_are_named() {
    let error = reindexed(|map| {
        map.shift_remove("vpm.post_layernorm.bias");
        map.shift_remove("vpm.post_layernorm.weight");
    });
    let CheckpointError::Shards(ShardError::LeftOver { count: 2, .. }) = &error else { panic!("{error}") };
    assert!(error.to_string().ends_with("vpm.post_layernorm.bias, vpm.post_layernorm.weight"), "{error}");
}

#[test]
fn w8_a_tensor_in_two_shards_is_refused() {
    let folder = sharded();
    let paths = shards(&folder);
    let mut file = File::read(&paths[0]);
    let name = File::read(&paths[1]).header.keys().next().unwrap().clone();
    file.replace(&name, Some(("U8", &[1], vec![0])));
    file.write(&paths[0]);
    let error = refused(&folder);
    assert!(
        matches!(error, CheckpointError::Shards(ShardError::TwoShards { ref tensor, .. }) if *tensor == name),
        "{error}"
    );
}

#[test]
fn w8_an_index_of_another_form_is_refused() {
    let broken = |change: fn(&mut Value)| {
        let folder = sharded();
        edit(&folder, INDEX, change);
        refused(&folder)
    };
    let error = broken(|index| *index = json!({}));
    assert!(matches!(error, CheckpointError::Shards(ShardError::NoWeightMap)), "{error}");
    let error = broken(|index| index["weight_map"] = json!([1]));
    assert!(matches!(error, CheckpointError::Shards(ShardError::NoWeightMap)), "{error}");
    let error = broken(|index| index["weight_map"]["llm.lm_head.weight"] = json!(7));
    assert!(matches!(error, CheckpointError::Shards(ShardError::NotName { .. })), "{error}");
    let error = broken(|index| *index = json!([]));
    assert!(matches!(error, CheckpointError::Json { file: INDEX, .. }), "{error}");
    let error = broken(|index| {
        let many = (0..2000).map(|i| (format!("t{i}"), json!(format!("{i}.safetensors")))).collect();
        index["weight_map"] = Value::Object(many);
    });
    assert!(matches!(error, CheckpointError::Shards(ShardError::TooManyShards { found: 2000, .. })), "{error}");
    let folder = sharded();
    let text = fs::read_to_string(folder.path().join(INDEX)).unwrap();
    let twice = text.replacen("\"weight_map\":{", "\"weight_map\":{\"llm.lm_head.weight\":\"x.safetensors\",", 1);
    fs::write(folder.path().join(INDEX), twice).unwrap();
    let error = refused(&folder);
    assert!(error.to_string().contains("\"llm.lm_head.weight\" stands twice"), "{error}");
}

#[test]
fn w8_tensors_that_the_model_does_not_use_are_named() {
    let folder = written(&small());
    assert!(open(&folder).unwrap().unused().is_empty());
    common::change(&folder, |file| file.replace("llm.extra.scales", Some(("F16", &[1], vec![0; 2]))));
    assert_eq!(open(&folder).unwrap().unused(), ["llm.extra.scales"]);
}

#[test]
fn w8_a_tensor_that_the_model_needs_is_named() {
    for name in [
        "llm.model.norm.weight",
        "llm.lm_head.weight",
        "llm.model.layers.0.self_attn.q_norm.weight",
        "vpm.encoder.layers.0.mlp.fc1.bias",
        "resampler.query",
    ] {
        let folder = written(&small());
        common::change(&folder, |file| file.replace(name, None));
        let error = refused(&folder);
        assert!(matches!(error, CheckpointError::MissingTensor { .. }) && error.to_string().contains(name), "{error}");
    }
    let folder = written(&small());
    common::change(&folder, |file| file.replace("resampler.query", Some(("F16", &[4, 127], vec![0; 1016]))));
    let error = refused(&folder).to_string();
    assert_eq!(error, "tensor resampler.query has the shape [4, 127]; the configuration asks for [4, 128]");
}

#[test]
fn w16_mapped_and_copied_hold_the_same_and_released_pages_come_back() {
    let folder = sharded();
    let (mapped, copied) = (open(&folder).unwrap(), Checkpoint::open_with(folder.path(), Access::Copied).unwrap());
    assert_eq!(mapped.names().collect::<Vec<_>>(), copied.names().collect::<Vec<_>>());
    assert_eq!(mapped.bytes(), copied.bytes());
    for name in copied.names() {
        assert_eq!(mapped.tensor(name).unwrap(), copied.tensor(name).unwrap());
    }
    mapped.release("llm.model.layers.0"); // everything below
    mapped.release("vpm.post_layernorm.weight");
    mapped.release("no such tensor");
    for name in copied.names() {
        assert_eq!(mapped.tensor(name).unwrap().bytes, copied.tensor(name).unwrap().bytes);
    }
}

/// What is resident of the mapped file, by the kernel's own count.
#[cfg(target_os = "linux")]
#[test]
fn w16_released_pages_are_given_back() {
    let folder = written(&Spec {
        decoder: karst_checkpoint::DecoderConfig { vocabulary: 60_000, ..small().decoder },
        ..small()
    });
    let checkpoint = open(&folder).unwrap();
    let file = fs::canonicalize(folder.path().join("model.safetensors")).unwrap();
    let resident = || {
        let maps = fs::read_to_string("/proc/self/smaps").unwrap();
        let map = maps.split_once(file.to_str().unwrap()).unwrap().1;
        let line = map.lines().find_map(|line| line.strip_prefix("Rss:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap()
    };
    let name = "llm.model.embed_tokens.weight"; // 15 MB
    let sum: f32 = checkpoint.tensor(name).unwrap().to_f32().unwrap().iter().sum();
    let read = resident();
    checkpoint.release(name);
    assert!(read > 14_000 && resident() < read - 14_000, "{read} kB, then {} kB", resident());
    assert_eq!(checkpoint.tensor(name).unwrap().to_f32().unwrap().iter().sum::<f32>(), sum);
}
