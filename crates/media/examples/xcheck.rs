//! temporary
use karst_contract::*;
fn main() {
    let folder = std::path::PathBuf::from(std::env::args().nth(1).unwrap());
    let mut names: Vec<_> = folder.read_dir().unwrap().map(|e| e.unwrap().path()).collect();
    names.sort();
    for path in names {
        let reference = path.with_file_name(format!("{}.rgb", path.file_name().unwrap().to_str().unwrap()));
        let Ok(reference) = std::fs::read(&reference) else { continue };
        let p = Picture { source: Source::Path(path.clone()), max_slices: None, orientation: Orientation::Ignore, alpha: Alpha::Drop };
        let start = std::time::Instant::now();
        match karst_media::decode(&p) {
            Ok(f) => {
                let took = start.elapsed();
                let n = f.rgb().len();
                let diffs: Vec<u8> = f.rgb().iter().zip(&reference).map(|(a, b)| a.abs_diff(*b)).collect();
                let max = diffs.iter().max().unwrap();
                let mean = diffs.iter().map(|&d| d as f64).sum::<f64>() / n as f64;
                println!("{:24} {}x{} same length {} max {max} mean {mean:.4} {took:?}", path.file_name().unwrap().to_str().unwrap(), f.width(), f.height(), n == reference.len());
            }
            Err(e) => println!("{:24} ERROR {e}", path.file_name().unwrap().to_str().unwrap()),
        }
    }
}
