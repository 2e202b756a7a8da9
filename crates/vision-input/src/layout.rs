//! What pictures become in the prompt, and which views share rows there.

use crate::slicing::Grid;

/// What one still, or one group of frames, becomes in the prompt: a block of Q rows for the overview and one for each cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// The number shown before it; counts all pictures of the conversation from 0, frames included.
    pub image_id: Option<u32>,
    /// How it was sliced.
    pub grid: Option<Grid>,
}

impl Layout {
    /// Blocks of Q rows.
    pub fn blocks(&self) -> usize {
        1 + self.grid.map_or(0, Grid::cells)
    }
}

/// The views that share one block of Q rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pack {
    /// Indices of the views: one for a still, F for a group of frames.
    pub views: Vec<usize>,
    /// The temporal ids of frames, one a view; none for a still.
    pub times: Option<Vec<u32>>,
}
