//! Pictures and clips as JavaScript holds them: their bytes are copied once, when they are made, and shared by every request
//! that names them.

use std::path::PathBuf;
use std::sync::Arc;

use karst_contract::{Clip, Code, Failure, Frame, FrameError, Part, Picture, Source, limits};
use napi::Env;
use napi::bindgen_prelude::{ClassInstance, ObjectFinalize};
use napi_derive::napi;

use crate::entry::at_once;
use crate::options::{ClipOptions, NativeOption, PictureOptions};

/// A still or a clip.
#[napi(custom_finalize)]
pub struct NativePart {
    pub(crate) part: Part,
    /// Bytes held outside of JavaScript's memory, as the garbage collector was told.
    held: i64,
}

#[napi]
impl NativePart {
    /// A still in a file.
    #[napi(factory)]
    pub fn path(env: Env, path: String, options: Vec<NativeOption>) -> napi::Result<Self> {
        at_once(env, || Ok(Self::of(env, still(Source::Path(PathBuf::from(path)), &options)?, 0)))
    }

    /// A still in a data URL.
    #[napi(factory)]
    pub fn data_url(env: Env, url: String, options: Vec<NativeOption>) -> napi::Result<Self> {
        at_once(env, || {
            let held = url.len();
            Ok(Self::of(env, still(Source::DataUrl(url.into()), &options)?, held))
        })
    }

    /// An encoded still.
    #[napi(factory)]
    pub fn bytes(env: Env, bytes: &[u8], options: Vec<NativeOption>) -> napi::Result<Self> {
        at_once(env, || {
            encoded_length(bytes.len())?;
            Ok(Self::of(env, still(Source::Bytes(Arc::from(bytes)), &options)?, bytes.len()))
        })
    }

    /// A still's pixels.
    #[napi(factory)]
    pub fn pixels(env: Env, rgb: &[u8], width: f64, height: f64, options: Vec<NativeOption>) -> napi::Result<Self> {
        at_once(env, || {
            let frame = frame(rgb, width, height)?;
            Ok(Self::of(env, still(Source::Frame(frame), &options)?, rgb.len()))
        })
    }

    /// Frames of a clip, each a still.
    #[napi(factory)]
    pub fn clip(
        env: Env,
        frames: Vec<ClassInstance<'_, NativePart>>,
        options: Vec<NativeOption>,
    ) -> napi::Result<Self> {
        at_once(env, || {
            let frames = frames.iter().map(|frame| match &frame.part {
                Part::Picture(picture) => Ok(picture.clone()),
                _ => Err(Failure::new(Code::InvalidClip, "a frame of a clip is a picture")),
            });
            let frames = frames.collect::<Result<_, _>>()?;
            let ClipOptions { timing, packing, max_slices } = ClipOptions::of(&options)?;
            Ok(Self::of(env, Part::Clip(Clip { frames, timing, packing, max_slices }), 0))
        })
    }

    fn of(env: Env, part: Part, held: usize) -> Self {
        let held = i64::try_from(held).unwrap_or(i64::MAX);
        // Only a hint to the garbage collector: it works without.
        let told = env.adjust_external_memory(held).is_ok();
        Self { part, held: if told { held } else { 0 } }
    }
}

impl ObjectFinalize for NativePart {
    fn finalize(self, env: Env) -> napi::Result<()> {
        env.adjust_external_memory(-self.held).map(drop)
    }
}

fn still(source: Source, options: &[NativeOption]) -> Result<Part, Failure> {
    let PictureOptions { max_slices, alpha, orientation } = PictureOptions::of(options)?;
    Ok(Part::Picture(Picture { source, max_slices, orientation, alpha }))
}

/// Before the copy: bytes that no decoder would take are not worth one.
pub(crate) fn encoded_length(bytes: usize) -> Result<(), Failure> {
    if bytes as u64 <= limits::MAX_ENCODED_BYTES {
        return Ok(());
    }
    let message = format!("a picture of {bytes} bytes is too large: at most {}", limits::MAX_ENCODED_BYTES);
    Err(Failure::new(Code::PictureTooLarge, message))
}

fn frame(rgb: &[u8], width: f64, height: f64) -> Result<Frame, Failure> {
    let side = |name: &str, side: f64| {
        let whole = side.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&side);
        let message = || format!("'{name}' of a picture is a whole number of pixels, not {side}");
        if whole { Ok(side as u32) } else { Err(Failure::new(Code::InvalidPicture, message())) }
    };
    let (width, height) = (side("width", width)?, side("height", height)?);
    let checked = |error: FrameError| Failure::from(&error);
    Frame::check_sides(width, height).map_err(checked)?;
    let expected = 3 * u64::from(width) * u64::from(height);
    if rgb.len() as u64 != expected {
        let found = rgb.len() as u64;
        return Err(checked(FrameError::Length { width, height, expected, found }));
    }
    Frame::new(width, height, rgb).map_err(checked)
}
