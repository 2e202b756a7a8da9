//! Any form of samples -> RGB of 8 bits.

use image::ColorType;
use karst_contract::Alpha;

/// The more significant byte of a 16-bit sample in memory.
const HIGH: usize = if cfg!(target_endian = "little") { 1 } else { 0 };

/// Whether samples of this form can become RGB: all but floating-point ones, whose range nobody states.
pub(crate) const fn is_known(form: ColorType) -> bool {
    use ColorType::{L8, L16, La8, La16, Rgb8, Rgb16, Rgba8, Rgba16};
    matches!(form, L8 | La8 | Rgb8 | Rgba8 | L16 | La16 | Rgb16 | Rgba16)
}

/// Writes `samples` of a known form as RGB.
///
/// Grey is repeated, 16 bits keep their high byte, transparent pixels are laid over a colour or lose their alpha.
pub(crate) fn to_rgb(samples: &[u8], form: ColorType, alpha: Alpha, rgb: &mut [u8]) {
    let flat = |colour, opacity| flatten(colour, opacity, alpha);
    match form {
        ColorType::L8 => each(samples, rgb, |[l]| [l; 3]),
        ColorType::La8 => each(samples, rgb, |[l, a]| flat([l; 3], a)),
        ColorType::Rgba8 => each(samples, rgb, |[r, g, b, a]| flat([r, g, b], a)),
        ColorType::L16 => each(samples, rgb, |l: [u8; 2]| [l[HIGH]; 3]),
        ColorType::La16 => each(samples, rgb, |p: [u8; 4]| flat([p[HIGH]; 3], p[2 + HIGH])),
        ColorType::Rgb16 => each(samples, rgb, |p: [u8; 6]| [p[HIGH], p[2 + HIGH], p[4 + HIGH]]),
        ColorType::Rgba16 => {
            each(samples, rgb, |p: [u8; 8]| flat([p[HIGH], p[2 + HIGH], p[4 + HIGH]], p[6 + HIGH]));
        }
        _ => rgb.copy_from_slice(samples),
    }
}

fn each<const N: usize>(samples: &[u8], rgb: &mut [u8], pixel: impl Fn([u8; N]) -> [u8; 3]) {
    for (to, from) in rgb.as_chunks_mut::<3>().0.iter_mut().zip(samples.as_chunks::<N>().0) {
        *to = pixel(*from);
    }
}

#[inline]
fn flatten(colour: [u8; 3], opacity: u8, alpha: Alpha) -> [u8; 3] {
    match alpha {
        Alpha::Drop => colour,
        Alpha::Over(under) => std::array::from_fn(|i| over(colour[i], under[i], opacity)),
    }
}

/// `(colour * opacity + under * (255 - opacity)) / 255` to the nearest integer; 255 is odd, so there are no ties.
#[inline]
fn over(colour: u8, under: u8, opacity: u8) -> u8 {
    let sum = u32::from(colour) * u32::from(opacity) + u32::from(under) * u32::from(255 - opacity);
    ((sum + 127) / 255) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn i7_alpha_is_laid_over_a_colour_to_the_nearest_integer() {
        for colour in 0..=255 {
            for under in [0, 1, 100, 254, 255] {
                for opacity in 0..=255 {
                    let exact =
                        (f64::from(colour) * f64::from(opacity) + f64::from(under) * f64::from(255 - opacity)) / 255.0;
                    assert_eq!(f64::from(over(colour, under, opacity)), exact.round(), "{colour} {under} {opacity}");
                }
            }
        }
    }

    #[test]
    fn i7_sixteen_bits_keep_their_high_byte() {
        let samples: Vec<u8> = [0x0102_u16, 0xfeff, 0x7f80].iter().flat_map(|v| v.to_ne_bytes()).collect();
        let mut rgb = [0; 3];
        to_rgb(&samples, ColorType::Rgb16, Alpha::Drop, &mut rgb);
        assert_eq!(rgb, [0x01, 0xfe, 0x7f]);
    }
}
