//! The formats and how their first bytes tell them apart.

use std::fmt;

/// A format that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// Baseline and progressive JPEG; grey, colour and CMYK.
    Jpeg,
    /// PNG; of an animated one, the picture that plain viewers show.
    Png,
    /// Lossy and lossless WebP; of an animated one, the first frame.
    WebP,
    /// GIF, its first frame.
    Gif,
    /// Windows bitmap.
    Bmp,
    /// TIFF, its first page.
    Tiff,
}

/// What the hints call the formats.
pub(crate) const KNOWN: &str = "JPEG, PNG, WebP, GIF (first frame), BMP and TIFF (first page)";

const SIGNATURES: [(&[u8], Format); 9] = [
    (b"\xff\xd8\xff", Format::Jpeg),
    (b"\x89PNG\r\n\x1a\n", Format::Png),
    (b"GIF87a", Format::Gif),
    (b"GIF89a", Format::Gif),
    (b"BM", Format::Bmp),
    (b"II*\0", Format::Tiff),
    (b"MM\0*", Format::Tiff),
    (b"II+\0", Format::Tiff),
    (b"MM\0+", Format::Tiff),
];

impl Format {
    /// The format whose signature opens `bytes`.
    pub(crate) fn of(bytes: &[u8]) -> Option<Self> {
        if bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP") {
            return Some(Self::WebP);
        }
        SIGNATURES.iter().find(|(signature, _)| bytes.starts_with(signature)).map(|&(_, format)| format)
    }

    /// The format's usual name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Jpeg => "JPEG",
            Self::Png => "PNG",
            Self::WebP => "WebP",
            Self::Gif => "GIF",
            Self::Bmp => "BMP",
            Self::Tiff => "TIFF",
        }
    }

    /// Most bytes a pixel that the decoder needs beside its output: coefficients of four components of a progressive JPEG,
    /// the canvas and planes of a WebP, indices and RGBA of a GIF's frame, samples of a TIFF before they are ordered.
    pub(crate) const fn working_bytes(self) -> u64 {
        match self {
            Self::Jpeg | Self::WebP | Self::Tiff => 8,
            Self::Gif => 5,
            Self::Png | Self::Bmp => 0,
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What bytes look like that are of none of the formats, as far as it helps to say so.
pub(crate) fn stranger(bytes: &[u8]) -> &'static str {
    let brand = if bytes.get(4..8) == Some(b"ftyp") { bytes.get(8..12) } else { None };
    match brand {
        Some(b"avif" | b"avis") => "they look like AVIF",
        Some(b"heic" | b"heix" | b"heim" | b"hevc" | b"mif1" | b"msf1") => "they look like HEIC",
        Some(_) => "they look like a video",
        None if bytes.starts_with(b"%PDF") => "they look like PDF",
        None if bytes.starts_with(b"\xff\x0a") => "they look like JPEG XL",
        None if bytes.starts_with(b"PK\x03\x04") => "they look like a ZIP archive",
        None if bytes.trim_ascii_start().starts_with(b"<") => "they look like SVG or HTML",
        None => "their beginning is unknown",
    }
}
