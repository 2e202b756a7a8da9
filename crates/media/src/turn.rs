//! Turns pixels as the orientation of a file says.

use image::metadata::Orientation;

/// Side of the squares in which pixels are moved. Where sides change places, neighbours of a row come from far apart;
/// square by square, their cache lines and pages serve often before they leave. Half the time for 12 megapixels.
const TILE: usize = 32;

/// Whether width and height change places.
pub(crate) const fn swaps_sides(orientation: Orientation) -> bool {
    use Orientation::{Rotate90, Rotate90FlipH, Rotate270, Rotate270FlipH};
    matches!(orientation, Rotate90 | Rotate270 | Rotate90FlipH | Rotate270FlipH)
}

/// Writes the pixels `from` of `width` columns upright into `to`.
///
/// Every orientation is a walk through the source: where the first pixel comes from, and how far on the next pixel of a
/// row and the next row lie.
pub(crate) fn turn(from: &[u8], width: usize, orientation: Orientation, to: &mut [u8]) {
    let pixels = from.as_chunks::<3>().0;
    let height = pixels.len() / width;
    let (w, last) = (width as isize, pixels.len() as isize - 1);
    let bottom_left = last - (w - 1);
    let (start, pixel, row) = match orientation {
        Orientation::NoTransforms => (0, 1, w),
        Orientation::FlipHorizontal => (w - 1, -1, w),
        Orientation::Rotate180 => (last, -1, -w),
        Orientation::FlipVertical => (bottom_left, 1, -w),
        Orientation::Rotate90FlipH => (0, w, 1),
        Orientation::Rotate90 => (bottom_left, -w, 1),
        Orientation::Rotate270FlipH => (last, -w, -1),
        Orientation::Rotate270 => (w - 1, w, -1),
    };
    let columns = if swaps_sides(orientation) { height } else { width };
    for (band, lines) in to.as_chunks_mut::<3>().0.chunks_mut(TILE * columns).enumerate() {
        let first = start + (band * TILE) as isize * row;
        for left in (0..columns).step_by(TILE) {
            let first = first + left as isize * pixel;
            for (y, line) in lines.chunks_exact_mut(columns).enumerate() {
                let first = first + y as isize * row;
                for (x, rgb) in line[left..].iter_mut().take(TILE).enumerate() {
                    *rgb = pixels[(first + x as isize * pixel) as usize];
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{DynamicImage, RgbImage};

    #[test]
    fn i7_every_orientation_turns_as_the_image_library_does() {
        for (width, height) in [(3_u32, 2_u32), (2, 5), (1, 4), (4, 1), (1, 1), (2, 40), (70, 33), (33, 64)] {
            let pixels: Vec<u8> = (0..3 * width * height).map(|i| i as u8).collect();
            for exif in 1..=8 {
                let orientation = Orientation::from_exif(exif).unwrap();
                let mut expected = DynamicImage::from(RgbImage::from_raw(width, height, pixels.clone()).unwrap());
                expected.apply_orientation(orientation);
                let mut turned = vec![0; pixels.len()];
                turn(&pixels, width as usize, orientation, &mut turned);
                assert_eq!(turned, expected.as_bytes(), "{width} x {height}, orientation {exif}");
                assert_eq!(swaps_sides(orientation), exif >= 5);
            }
        }
    }
}
