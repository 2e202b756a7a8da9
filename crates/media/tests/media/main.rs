//! Promises of the crate, kept on pictures made on the spot. Rows of the incident list are named in the tests' names.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail by panicking, as the tests do")]

mod animated;
mod bombs;
mod budget;
mod colours;
mod goldens;
mod make;
mod orientation;
mod sides;
mod sources;
mod whole;

use karst_contract::{Alpha, Code, Coded, Frame, Orientation, Picture, Source};
use karst_media::{Cause, PictureError, decode, measure};

fn picture(source: Source) -> Picture {
    Picture { source, max_slices: None, orientation: Orientation::Exif, alpha: Alpha::default() }
}

fn from_bytes(bytes: &[u8]) -> Picture {
    picture(Source::Bytes(bytes.into()))
}

/// Decodes and holds the measured sides against the frame's.
fn read(bytes: &[u8]) -> Result<Frame, PictureError> {
    let frame = decode(&from_bytes(bytes))?;
    assert_eq!(measure(&from_bytes(bytes)).unwrap(), (frame.width(), frame.height()));
    Ok(frame)
}

/// The error of a picture that must be refused. Afterwards a good one still decodes, and the text says which picture it
/// was and ends in words of ours.
fn refused(bytes: &[u8]) -> PictureError {
    refused_picture(&from_bytes(bytes))
}

fn refused_picture(bad: &Picture) -> PictureError {
    let error = decode(bad).expect_err("the picture must be refused");
    let text = error.to_string();
    assert!(text.starts_with("the picture"), "{text}");
    assert!(text.len() < 400, "{text}");
    assert!(!text.chars().any(char::is_control), "{text:?}");
    assert_eq!(read(&make::png(&make::gradient(3, 2))).unwrap(), make::gradient(3, 2));
    error
}

fn assert_refused(bytes: &[u8], code: Code, cause: fn(&Cause) -> bool) {
    let error = refused(bytes);
    assert_eq!(error.code(), code, "{error}");
    assert!(cause(&error.cause), "{error:?}");
}
