//! Paths, bytes, data URLs and pixels.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use karst_contract::{Code, Coded, Source, limits};
use karst_media::{Cause, DataUrlError, decode, measure};

use crate::{assert_refused, from_bytes, make, picture, read, refused_picture};

fn url(text: &str) -> karst_contract::Picture {
    picture(Source::DataUrl(text.into()))
}

fn path(path: &Path) -> karst_contract::Picture {
    picture(Source::Path(path.into()))
}

#[test]
fn a_picture_is_the_same_from_every_source() {
    let folder = tempfile::tempdir().unwrap();
    let frame = make::gradient(20, 10);
    for (format, bytes) in make::one_of_each(&frame) {
        let file = folder.path().join(format);
        fs::write(&file, &bytes).unwrap();
        let expected = read(&bytes).unwrap();
        let data = format!("data:image/{};base64,{}", format.to_lowercase(), STANDARD.encode(&bytes));
        for source in [path(&file), url(&data), picture(Source::Frame(expected.clone()))] {
            assert_eq!(decode(&source).unwrap(), expected, "{format}");
            assert_eq!(measure(&source).unwrap(), (20, 10), "{format}");
        }
    }
}

#[test]
fn i9_the_content_decides_whatever_the_name_or_type_says() {
    let folder = tempfile::tempdir().unwrap();
    let frame = make::gradient(4, 4);
    let file = folder.path().join("photo.jpg");
    fs::write(&file, make::png(&frame)).unwrap();
    assert_eq!(decode(&path(&file)).unwrap(), frame);
    let data = format!("data:image/webp;base64,{}", STANDARD.encode(make::png(&frame)));
    assert_eq!(decode(&url(&data)).unwrap(), frame);
}

#[test]
fn a_path_must_lead_to_a_regular_file() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing.png");
    let error = refused_picture(&path(&missing));
    assert_eq!(error.code(), Code::PictureNotFound);
    assert_eq!(error.to_string(), format!("the picture '{}' does not exist", missing.display()));
    let error = refused_picture(&path(folder.path()));
    assert!(matches!(error.cause, Cause::NotAFile { kind: "a folder" }), "{error}");
    let below_a_file = folder.path().join("file");
    fs::write(&below_a_file, "x").unwrap();
    let error = refused_picture(&path(&below_a_file.join("deeper.png")));
    assert_eq!(error.code(), Code::PictureNotFound, "{error}");
}

#[test]
#[cfg(unix)]
fn a_device_or_pipe_is_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe.png");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let link = folder.path().join("link.png");
    std::os::unix::fs::symlink("/dev/zero", &link).unwrap();
    let start = Instant::now();
    for source in [pipe.as_path(), link.as_path(), Path::new("/dev/zero")] {
        let error = refused_picture(&path(source));
        assert!(matches!(error.cause, Cause::NotAFile { .. }), "{error}");
        assert!(error.to_string().contains(&source.display().to_string()));
    }
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn what_is_empty_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("empty.png");
    File::create(&file).unwrap();
    for source in [path(&file), from_bytes(&[])] {
        assert!(matches!(refused_picture(&source).cause, Cause::NoBytes));
    }
}

#[test]
fn too_many_bytes_are_refused_with_their_number() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("long.png");
    // A sparse file: its length is all there is.
    File::create(&file).unwrap().set_len(1 << 40).unwrap();
    let error = refused_picture(&path(&file));
    assert_eq!(error.code(), Code::PictureTooLarge);
    assert!(error.to_string().ends_with("has 1099511627776 bytes, at most 20971520 are read"), "{error}");

    let mut bytes = make::png(&make::gradient(2, 2));
    bytes.resize(limits::MAX_ENCODED_BYTES as usize, 0);
    assert!(read(&bytes).is_ok(), "exactly the limit is allowed");
    bytes.push(0);
    assert_refused(&bytes, Code::PictureTooLarge, |cause| matches!(cause, Cause::TooManyBytes { .. }));
}

#[test]
#[cfg(target_os = "linux")]
fn a_file_that_hides_its_length_is_bounded_all_the_same() {
    // Regular, readable, and of length 0 by its metadata.
    let error = refused_picture(&path(Path::new("/proc/self/status")));
    assert!(matches!(error.cause, Cause::UnknownFormat { .. }), "{error}");
}

#[test]
fn s8_a_data_url_has_one_form_only() {
    let data = STANDARD.encode(make::png(&make::gradient(2, 2)));
    let good = format!("data:image/png;base64,{data}");
    assert!(decode(&url(&good)).is_ok());
    let cases = [
        (format!(" {good}"), DataUrlError::Scheme),
        (good.replace("data:", "DATA:"), DataUrlError::Scheme),
        (data.clone(), DataUrlError::Scheme),
        (String::new(), DataUrlError::Scheme),
        (good.replace(',', ""), DataUrlError::Comma),
        (format!("data:image/{};base64,{data}", "x".repeat(200)), DataUrlError::Comma),
        (good.replace(";base64", ""), DataUrlError::Marker),
        (good.replace(";base64", ";Base64"), DataUrlError::Marker),
        (good.replace(";base64,", ";base64 ,"), DataUrlError::Marker),
        (good.replace("image/png", ""), DataUrlError::Type(String::new())),
        (good.replace("image/png", "text/plain"), DataUrlError::Type("text/plain".into())),
        (good.replace("image/png", "image/"), DataUrlError::Type("image/".into())),
        (good.replace("image/png", "image/p ng"), DataUrlError::Type("image/p ng".into())),
        (good.replace("image/png", "image/png;x=1"), DataUrlError::Type("image/png;x=1".into())),
        (good.replace("image/png", "image/\u{1b}\né"), DataUrlError::Type("image/\\u{1b}\\né".into())),
        ("data:image/png;base64,".into(), DataUrlError::NoData),
    ];
    for (text, expected) in cases {
        let error = refused_picture(&url(&text));
        assert_eq!(error.code(), Code::InvalidDataUrl);
        assert!(error.hint().is_some());
        assert!(matches!(&error.cause, Cause::DataUrl(found) if *found == expected), "{text:.60}: {error}");
    }
}

#[test]
fn s8_a_data_urls_data_are_base64_without_blanks() {
    let data = STANDARD.encode(make::png(&make::gradient(3, 2)));
    assert!(data.ends_with('='), "the case needs padding: {data}");
    let wrapped = data.as_bytes().chunks(76).map(|line| str::from_utf8(line).unwrap()).collect::<Vec<_>>().join("\n");
    for bad in [
        wrapped,
        format!("{data}\n"),
        format!(" {data}"),
        data.trim_end_matches('=').to_owned(),
        format!("{data}===="),
        format!("{}!{}", &data[..8], &data[9..]),
        data.replace(['+', '/'], "_"),
        "é".repeat(8),
        "%89PNG".to_owned(),
    ] {
        let error = refused_picture(&url(&format!("data:image/png;base64,{bad}")));
        assert!(matches!(error.cause, Cause::DataUrl(DataUrlError::Base64(_))), "{bad:.40}: {error}");
    }
}

#[test]
fn s8_a_long_data_url_is_refused_before_it_is_decoded() {
    let longest = (limits::MAX_ENCODED_BYTES as usize).div_ceil(3) * 4;
    let bytes = |length: usize| format!("data:image/png;base64,{}", "A".repeat(length));
    let error = refused_picture(&url(&bytes(longest)));
    assert_eq!(error.code(), Code::PictureTooLarge, "one byte more than allowed: {error}");
    // Not even base64, but that is never found out.
    let long = url(&format!("{}!", bytes(8 * longest)));
    let start = Instant::now();
    let error = decode(&long).unwrap_err();
    assert!(start.elapsed() < Duration::from_millis(100));
    assert!(matches!(error.cause, Cause::TooManyBytes { .. }), "{error}");
    let error = refused_picture(&url(&bytes(longest - 4)));
    assert!(matches!(error.cause, Cause::UnknownFormat { .. }), "as many as allowed are decoded: {error}");
}

#[test]
fn what_is_no_picture_is_refused_with_the_list_of_formats() {
    for (bytes, guess) in [
        (&b"%PDF-1.7\n"[..], "they look like PDF"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "they look like HEIC"),
        (b"\0\0\0\x1cftypavif", "they look like AVIF"),
        (b"\0\0\0\x20ftypisom", "they look like a video"),
        (b"<svg xmlns=\"http://www.w3.org/2000/svg\"/>", "they look like SVG or HTML"),
        (b"PK\x03\x04", "they look like a ZIP archive"),
        (b"hello", "their beginning is unknown"),
        (b"\x89PN", "their beginning is unknown"),
        (b"RIFF\0\0\0\0WAVE", "their beginning is unknown"),
    ] {
        let error = refused_picture(&from_bytes(bytes));
        assert!(matches!(error.cause, Cause::UnknownFormat { guess: found, .. } if found == guess), "{error}");
        assert_eq!(error.code(), Code::InvalidPicture);
        assert_eq!(
            error.hint().unwrap(),
            "the formats are JPEG, PNG, WebP, GIF (first frame), BMP and TIFF (first page)"
        );
    }
}
