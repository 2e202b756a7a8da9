//! Compares every stage with what the reference implementation says.
//!
//! The folder is the one that KARST_GOLDEN names, else `../shared/golden` beside the project, else the project's own copies
//! in `tests/golden`. Its tables and checkpoints are found by listing it. The table printed at the end says how many cases of
//! each kind ran; a folder that karst chose itself must hold every kind.

mod checkpoint;
mod conversation;
mod folder;
mod pixels;
mod report;
mod sampling;
mod tables;
mod tensors;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use folder::{Form, Golden, Table};
use report::{Kind, Report};

fn main() -> ExitCode {
    let (folder, chosen_by_user) = folder_to_read();
    println!("golden data: {}\n", folder.display());
    let golden = Golden::list(&folder);
    let mut report = Report::default();
    for table in &golden.tables {
        run_table(table, &golden, &mut report);
    }
    for folder in &golden.checkpoints {
        checkpoint::run(folder, &mut report);
    }
    let agreed = report.print();
    if agreed && complete(&report, chosen_by_user) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run_table(table: &Table, golden: &Golden, report: &mut Report) {
    match table.form {
        Form::Tokenizer => tables::tokenizer(table, &published_tokenizers(golden), report),
        Form::ChatTemplate => tables::chat_template(table, report),
        Form::Slicing => tables::slicing(table, report),
        Form::VideoSampling => tables::video_sampling(table, report),
        Form::Buckets => tables::buckets(table, report),
        Form::SinCos => tables::sin_cos(table, report),
        Form::Pixels => pixels::run(table, report),
        Form::Sampling => sampling::run(table, report),
    }
}

#[allow(clippy::disallowed_methods, reason = "the one setting of this program")]
fn folder_to_read() -> (PathBuf, bool) {
    if let Some(folder) = std::env::var_os("KARST_GOLDEN").filter(|folder| !folder.is_empty()) {
        return (from_the_callers_folder(PathBuf::from(folder)), true);
    }
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    let beside = own.join("../../shared/golden");
    (if beside.is_dir() { beside } else { own.join("golden") }, false)
}

/// Cargo runs this program in `tests/`, npm in the project's root: a relative path is meant from there or from here.
fn from_the_callers_folder(folder: PathBuf) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    if folder.is_relative() && !folder.is_dir() { root.join(folder) } else { folder }
}

/// The published tokenizer is not part of the project: it lies in the golden folder or beside the project, or nowhere.
fn published_tokenizers(golden: &Golden) -> Vec<PathBuf> {
    if !golden.tokenizers.is_empty() {
        return golden.tokenizers.clone();
    }
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/golden");
    if beside.is_dir() { Golden::list(&beside).tokenizers } else { Vec::new() }
}

/// A folder that nobody chose must hold every kind, or tests would pass for want of cases.
fn complete(report: &Report, chosen_by_user: bool) -> bool {
    let empty: Vec<Kind> = Kind::ALL.into_iter().filter(|&kind| report.count(kind) == 0).collect();
    if chosen_by_user {
        let any = empty.len() < Kind::ALL.len();
        if !any {
            println!("nothing was found in this folder");
        }
        return any;
    }
    let missing: Vec<_> = empty.into_iter().filter(|&kind| kind != Kind::Tokenizer).collect();
    if !missing.is_empty() {
        println!("the default folder lacks {missing:?}");
    }
    missing.is_empty()
}
