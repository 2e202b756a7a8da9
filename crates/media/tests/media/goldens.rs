//! The project's golden pictures.

use std::path::Path;

use karst_contract::Source;
use karst_media::{decode, measure};

use crate::picture;

#[test]
fn every_golden_picture_decodes_as_the_image_library_reads_it() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/pixels");
    let mut count = 0;
    for entry in folder.read_dir().unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "png") {
            continue;
        }
        let source = picture(Source::Path(path.clone()));
        let frame = decode(&source).unwrap();
        let plain = image::open(&path).unwrap().into_rgb8();
        assert_eq!((frame.width(), frame.height()), plain.dimensions());
        assert_eq!(frame.rgb(), plain.as_raw().as_slice(), "{}", path.display());
        assert_eq!(measure(&source).unwrap(), plain.dimensions());
        count += 1;
    }
    assert!(count >= 8, "{count}");
}
