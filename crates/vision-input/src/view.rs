//! One view of a picture, cut into patches.

use std::fmt;
use std::sync::{Arc, LazyLock};

use karst_contract::Frame;
use rayon::prelude::*;

use crate::resize::bicubic;
use crate::slicing::{Settings, Size, Slices, Slicing};

/// A picture, or a slice of one, as the tower takes it: P = rows x columns patches of 8-bit samples.
#[derive(Clone, PartialEq, Eq)]
pub struct View {
    /// Rows of patches.
    pub rows: u32,
    /// Patches in a row.
    pub columns: u32,
    patches: Arc<[u8]>,
}

impl View {
    /// The samples, `[P, 3, patch, patch]`: patches row by row, in each the channels, in each the rows.
    pub fn patches(&self) -> &[u8] {
        &self.patches
    }

    /// P.
    pub fn count(&self) -> usize {
        self.rows as usize * self.columns as usize
    }
}

impl fmt::Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "View({} x {} patches)", self.columns, self.rows)
    }
}

/// What the model sees for each sample: `(x / 255 - 0.5) / 0.5`, in the reference's order of single-precision operations.
pub fn normalised() -> &'static [f32; 256] {
    static TABLE: LazyLock<[f32; 256]> = LazyLock::new(|| std::array::from_fn(|x| (x as f32 / 255.0 - 0.5) / 0.5));
    &TABLE
}

/// Cuts a picture: the overview first, then the slices row by row. Work is spread over all threads.
pub fn views(frame: &Frame, slicing: &Slicing, settings: &Settings) -> Vec<View> {
    let (overview, slices) = rayon::join(
        || whole(frame, slicing.overview, settings),
        || slicing.slices.map_or_else(Vec::new, |slices| sliced(frame, slices, settings)),
    );
    std::iter::once(overview).chain(slices).collect()
}

fn whole(frame: &Frame, size: Size, settings: &Settings) -> View {
    let rgb = bicubic(frame, size);
    cut(&rgb, size.width as usize, (0, 0), size, settings)
}

fn sliced(frame: &Frame, slices: Slices, settings: &Settings) -> Vec<View> {
    let (rgb, size) = (bicubic(frame, slices.refined), slices.slice());
    let width = slices.refined.width as usize;
    let cell = |index: usize| {
        let (row, column) = (index as u32 / slices.grid.columns, index as u32 % slices.grid.columns);
        let corner = ((row * size.height) as usize, (column * size.width) as usize);
        cut(&rgb, width, corner, size, settings)
    };
    (0..slices.grid.cells()).into_par_iter().map(cell).collect()
}

/// Cuts the part of `size` at `corner` (row, column) out of pixels of the given width.
fn cut(rgb: &[u8], width: usize, corner: (usize, usize), size: Size, settings: &Settings) -> View {
    let side = settings.patch_size as usize;
    let (rows, columns) = (size.height / settings.patch_size, size.width / settings.patch_size);
    let mut patches = vec![0; (rows * columns) as usize * 3 * side * side];
    for (index, patch) in patches.chunks_exact_mut(3 * side * side).enumerate() {
        let top = corner.0 + index / columns as usize * side;
        let left = corner.1 + index % columns as usize * side;
        for y in 0..side {
            let pixels = &rgb[((top + y) * width + left) * 3..][..side * 3];
            for (x, pixel) in pixels.chunks_exact(3).enumerate() {
                for (channel, &sample) in pixel.iter().enumerate() {
                    patch[(channel * side + y) * side + x] = sample;
                }
            }
        }
    }
    View { rows, columns, patches: patches.into() }
}
