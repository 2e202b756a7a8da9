//! The README's tables say what the code says.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;

use karst_contract::Code;
use karst_contract::options::TABLE;
use karst_contract::options::{Kind, Row};

fn readme() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md")).unwrap()
}

fn takes(row: &Row) -> String {
    match row.kind {
        Kind::Bool => "true, false".to_owned(),
        Kind::Integer { min, max } => format!("{min} to {max}"),
        Kind::Number { min, max } => format!("{min} to {max}"),
        Kind::Strings => "a string or a list".to_owned(),
    }
}

#[test]
fn the_options_table_is_the_codes() {
    let readme = readme();
    for row in TABLE {
        let line = format!("| `{}` | {} | {} | {} |", row.name, takes(row), row.default, row.doc);
        assert!(readme.contains(&line), "README.md lacks this line:\n{line}");
    }
}

#[test]
fn the_errors_table_is_the_codes() {
    let readme = readme();
    for code in Code::ALL {
        let line = format!("| `{}` | {} | {} |", code.name(), code.exit_code(), code.summary().trim());
        assert!(readme.contains(&line), "README.md lacks this line:\n{line}");
    }
}

/// A guarantee names the test that holds it; the test must exist.
#[test]
fn every_test_that_the_readme_names_exists() {
    let readme = readme();
    let mut sources = String::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    for folder in ["crates", "tests", "__test__"] {
        collect(&root.join(folder), &mut sources);
    }
    let section = readme.split("## Guarantees").nth(1).expect("README.md has a section 'Guarantees'");
    let section = section.split("\n## ").next().unwrap();
    let names: Vec<_> = section.split('`').skip(1).step_by(2).filter(|name| is_test_name(name)).collect();
    assert!(names.len() >= 12, "too few tests are named: {names:?}");
    for name in names {
        let known = sources.contains(&format!("fn {name}(")) || sources.contains(&format!("'{name}'"));
        assert!(known, "README.md names the test {name}, which does not exist");
    }
}

fn is_test_name(name: &str) -> bool {
    name.matches('_').count() >= 2 && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

fn collect(folder: &Path, sources: &mut String) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.unwrap().path();
        let name = path.to_string_lossy().into_owned();
        if path.is_dir() {
            collect(&path, sources);
        } else if name.ends_with(".rs") || name.ends_with(".ts") {
            sources.push_str(&fs::read_to_string(&path).unwrap());
        }
    }
}
