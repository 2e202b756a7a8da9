//! Embeds the kernels' images, if they were compiled: `images/NAME.ARCHITECTURE.{cubin,ptx}`.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

#[allow(clippy::disallowed_methods, reason = "cargo has no other way to name the folder")]
fn main() -> io::Result<()> {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = package.join("images");
    // A path that is not there counts as changed each time, and everything would be built anew.
    let watched = if folder.is_dir() { &folder } else { package };
    println!("cargo::rerun-if-changed={}", watched.display());
    let mut rows = String::new();
    for path in images(&folder)? {
        let file = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        let Some((name, architecture)) = file.split_once('.') else { continue };
        println!("cargo::rerun-if-changed={}", path.display());
        rows += &format!("    ({name:?}, {architecture:?}, include_bytes!({path:?})),\n");
    }
    let table = format!("&[\n{rows}]\n");
    fs::write(Path::new(&env::var("OUT_DIR").map_err(io::Error::other)?).join("images.rs"), table)
}

fn images(folder: &Path) -> io::Result<Vec<PathBuf>> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let paths = fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>()?;
    let is_image = |path: &PathBuf| path.extension().is_some_and(|kind| kind == "cubin" || kind == "ptx");
    let mut paths: Vec<_> = paths.into_iter().filter(is_image).collect();
    paths.sort();
    Ok(paths)
}
