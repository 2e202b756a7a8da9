//! Finds golden data by listing a folder: a table is known by the fields of its rows, a checkpoint by its two files.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// A JSON table and the folder it lies in.
pub struct Table {
    pub path: PathBuf,
    pub form: Form,
    pub rows: Value,
}

/// What a table holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Tokenizer,
    ChatTemplate,
    Slicing,
    Pixels,
    Buckets,
    SinCos,
    VideoSampling,
    Sampling,
}

/// Everything that a folder holds.
#[derive(Default)]
pub struct Golden {
    pub tables: Vec<Table>,
    /// Folders with a checkpoint and what the reference says to it.
    pub checkpoints: Vec<PathBuf>,
    /// Tokenizer files of folders that hold a configuration but no expectations: the published one.
    pub tokenizers: Vec<PathBuf>,
}

impl Golden {
    /// Lists `folder` and all below it.
    pub fn list(folder: &Path) -> Golden {
        let mut golden = Golden::default();
        golden.visit(folder);
        golden
    }

    fn visit(&mut self, folder: &Path) {
        let mut entries: Vec<PathBuf> = fs::read_dir(folder)
            .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
            .map(|entry| entry.expect("a folder entry").path())
            .collect();
        entries.sort();
        if folder.join("config.json").is_file() {
            return self.visit_model(folder);
        }
        for path in entries {
            if path.is_dir() {
                self.visit(&path);
            } else if path.extension().is_some_and(|extension| extension == "json") {
                self.visit_table(path);
            }
        }
    }

    fn visit_model(&mut self, folder: &Path) {
        if folder.join("expected.json").is_file() {
            self.checkpoints.push(folder.to_path_buf());
        } else if folder.join("tokenizer.json").is_file() {
            self.tokenizers.push(folder.join("tokenizer.json"));
        }
    }

    fn visit_table(&mut self, path: PathBuf) {
        let rows = json(&path);
        if let Some(form) = Form::of(&rows) {
            self.tables.push(Table { path, form, rows });
        }
    }
}

impl Form {
    fn of(table: &Value) -> Option<Form> {
        let row = table.get(0).unwrap_or(table);
        let has = |names: &[&str]| names.iter().all(|name| row.get(name).is_some());
        let forms = [
            (Form::Tokenizer, &["text", "ids", "decoded"][..]),
            (Form::ChatTemplate, &["messages", "prompt"]),
            (Form::Slicing, &["width", "height", "grid", "source_size"]),
            (Form::VideoSampling, &["frames", "fps", "choose_fps"]),
            (Form::Pixels, &["file", "slices", "sha256"]),
            (Form::Sampling, &["temperature", "top_k", "top_p"]),
            (Form::Buckets, &["num_patches_per_side", "buckets"]),
            (Form::SinCos, &["temporal_rows", "spatial_row_col"]),
        ];
        forms.into_iter().find(|(_, names)| has(names)).map(|(form, _)| form)
    }
}

/// A JSON file.
pub fn json(path: &Path) -> Value {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
