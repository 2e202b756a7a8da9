//! Memory in units of a cache line, so that no vector of weights straddles two.

/// Output columns of a tile: four registers of 512 bits, so that one row's products keep four sums in flight.
pub(super) const TILE: usize = 64;

/// Lines that hold one `f32` for each column of a tile.
pub(super) const LINES: usize = TILE * size_of::<f32>() / size_of::<Line>();

/// 64 bytes at a multiple of 64.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Line(pub(super) [u32; 16]);

impl Line {
    pub(super) const ZERO: Line = Line([0; 16]);
}

/// The `index`th `P` of `lines`. No `P` lies in two lines.
#[inline(always)]
pub(super) fn part<P: bytemuck::Pod>(lines: &[Line], index: usize) -> &P {
    let parts = size_of::<Line>() / size_of::<P>();
    &bytemuck::cast_slice(&lines[index / parts].0)[index % parts]
}

/// As [`part`], to be written.
#[inline(always)]
pub(super) fn part_mut<P: bytemuck::Pod>(lines: &mut [Line], index: usize) -> &mut P {
    let parts = size_of::<Line>() / size_of::<P>();
    &mut bytemuck::cast_slice_mut(&mut lines[index / parts].0)[index % parts]
}
