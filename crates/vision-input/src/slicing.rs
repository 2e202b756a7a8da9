//! How a picture is cut: the grid and the sizes, in the reference's floating-point arithmetic.

use karst_contract::{Code, Coded, limits};

/// Sizes that the model was trained with, each at least 1; read from the checkpoint, which checks them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// A view has about this squared pixels.
    pub scale_resolution: u32,
    /// Side of a patch in pixels.
    pub patch_size: u32,
    /// Most slices of a picture that names none.
    pub max_slices: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self { scale_resolution: 448, patch_size: 14, max_slices: 9 }
    }
}

/// Sides in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Pixels in a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
}

/// Slices side by side and above each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grid {
    /// Slices in a row.
    pub columns: u32,
    /// Rows of slices.
    pub rows: u32,
}

impl Grid {
    /// All slices.
    pub fn cells(self) -> usize {
        self.columns as usize * self.rows as usize
    }
}

/// The sliced part of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slices {
    /// How many, and where.
    pub grid: Grid,
    /// The size that the whole picture is resized to before it is cut; the grid divides it.
    pub refined: Size,
}

/// What a picture is resized to and cut into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slicing {
    /// The size of the whole picture's view.
    pub overview: Size,
    /// Slices, if the picture is large.
    pub slices: Option<Slices>,
}

impl Slicing {
    /// Views: the overview and every slice.
    pub fn views(&self) -> usize {
        1 + self.slices.map_or(0, |slices| slices.grid.cells())
    }

    /// Sizes of the views, the overview first.
    pub fn sizes(&self) -> impl Iterator<Item = Size> {
        let slices = self.slices;
        let slice = slices.map(Slices::slice);
        let cells = slices.map_or(0, |slices| slices.grid.cells());
        std::iter::once(self.overview).chain(slice.into_iter().cycle().take(cells))
    }
}

impl Slices {
    /// The size of one slice.
    pub fn slice(self) -> Size {
        Size { width: self.refined.width / self.grid.columns, height: self.refined.height / self.grid.rows }
    }
}

/// Why a picture cannot be cut.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SlicingError {
    /// A side is zero.
    #[error("a picture of {width} x {height} pixels is empty")]
    Empty {
        /// Given width.
        width: u32,
        /// Given height.
        height: u32,
    },
    /// More slices are asked for than anyone may have.
    #[error("at most {asked} slices of a picture are asked for, the limit is {limit}")]
    TooManySlices {
        /// What was asked for.
        asked: u32,
        /// The limit.
        limit: u32,
    },
    /// A view would need too many patches.
    #[error(
        "a picture of {width} x {height} pixels (aspect {:.0}:1) needs a view of {patches} patches, at most {limit}",
        aspect(*width, *height)
    )]
    TooThin {
        /// Given width.
        width: u32,
        /// Given height.
        height: u32,
        /// Patches of its largest view.
        patches: u64,
        /// The limit.
        limit: u32,
    },
}

impl Coded for SlicingError {
    fn code(&self) -> Code {
        match self {
            Self::Empty { .. } => Code::InvalidPicture,
            Self::TooManySlices { .. } => Code::InvalidOption,
            Self::TooThin { .. } => Code::PictureTooThin,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Empty { .. } | Self::TooManySlices { .. } => None,
            Self::TooThin { .. } => {
                Some("cut the picture into parts; every picture up to 1000:1 is accepted".to_owned())
            }
        }
    }
}

fn aspect(width: u32, height: u32) -> f64 {
    f64::from(width.max(height)) / f64::from(width.min(height).max(1))
}

/// Decides how a picture of `size` is cut into at most `max_slices` slices and an overview.
///
/// # Errors
/// When a side is zero, a view would need more than [`limits::MAX_PATCHES`] patches, or more than [`limits::MAX_SLICES`] slices
/// are asked for.
pub fn plan(size: Size, max_slices: u32, settings: &Settings) -> Result<Slicing, SlicingError> {
    let Size { width, height } = size;
    if width == 0 || height == 0 {
        return Err(SlicingError::Empty { width, height });
    }
    if max_slices > limits::MAX_SLICES {
        return Err(SlicingError::TooManySlices { asked: max_slices, limit: limits::MAX_SLICES });
    }
    let slicing = rule(size, max_slices, settings);
    let patches = slicing.sizes().map(|view| patches(view, settings)).max().unwrap_or(0);
    if patches > u64::from(limits::MAX_PATCHES) {
        return Err(SlicingError::TooThin { width, height, patches, limit: limits::MAX_PATCHES });
    }
    Ok(slicing)
}

/// The reference's rule alone, whatever it costs; both sides must be at least 1.
pub fn rule(size: Size, max_slices: u32, settings: &Settings) -> Slicing {
    let sides = (f64::from(size.width), f64::from(size.height));
    let grid = best_grid(sides, max_slices, settings);
    let overview = fit(sides, settings, grid.is_none());
    let slices = grid.map(|grid| {
        let slice = fit(cell(sides, grid), settings, true);
        let refined =
            Size { width: slice.width.saturating_mul(grid.columns), height: slice.height.saturating_mul(grid.rows) };
        Slices { grid, refined }
    });
    Slicing { overview, slices }
}

fn patches(view: Size, settings: &Settings) -> u64 {
    u64::from(view.width / settings.patch_size) * u64::from(view.height / settings.patch_size)
}

/// The grid whose aspect is nearest to the picture's, among grids of about as many cells as the picture has views' worth of
/// pixels; the first of equals.
fn best_grid((width, height): (f64, f64), max_slices: u32, settings: &Settings) -> Option<Grid> {
    let resolution = f64::from(settings.scale_resolution);
    let ratio = width * height / (resolution * resolution);
    let multiple = ratio.ceil().min(f64::from(max_slices)) as u32;
    if multiple <= 1 {
        return None;
    }
    let wanted = (width / height).ln();
    let counts = [multiple - 1, multiple, multiple.saturating_add(1)]
        .into_iter()
        .filter(|&count| count != 1 && count <= max_slices);
    let mut best = (f64::INFINITY, Grid { columns: 1, rows: 1 });
    for grid in counts.flat_map(factorisations) {
        let error = (wanted - (f64::from(grid.columns) / f64::from(grid.rows)).ln()).abs();
        if error < best.0 {
            best = (error, grid);
        }
    }
    Some(best.1)
}

fn factorisations(cells: u32) -> impl Iterator<Item = Grid> {
    let divisors = (1..=cells).filter(move |columns| cells.is_multiple_of(*columns));
    divisors.map(move |columns| Grid { columns, rows: cells / columns })
}

/// A cell's sides when the picture's are first rounded to multiples of the grid.
fn cell((width, height): (f64, f64), grid: Grid) -> (f64, f64) {
    let part = |length: f64, parts: u32| f64::from(round_to(length, parts)) / f64::from(parts);
    (part(width, grid.columns), part(height, grid.rows))
}

/// Scales sides to the area of a view, keeping the aspect, and rounds them to whole patches. A small picture is left at its
/// size unless `upscale`.
fn fit((width, height): (f64, f64), settings: &Settings, upscale: bool) -> Size {
    let resolution = f64::from(settings.scale_resolution);
    let (mut width, mut height) = (width, height);
    if width * height > resolution * resolution || upscale {
        let aspect = width / height;
        height = (resolution / aspect.sqrt()).trunc();
        width = (height * aspect).trunc();
    }
    Size { width: round_to(width, settings.patch_size), height: round_to(height, settings.patch_size) }
}

/// The nearest multiple of `step`, at least one; halves go to the even multiple, as Python rounds.
fn round_to(length: f64, step: u32) -> u32 {
    let multiples = (length / f64::from(step)).round_ties_even() as u32;
    multiples.saturating_mul(step).max(step)
}
