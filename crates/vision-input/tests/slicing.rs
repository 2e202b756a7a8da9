//! What a picture is cut into, for any picture.

use karst_contract::limits::{MAX_PATCHES, MAX_SLICES};
use karst_contract::{Code, Coded};
use karst_vision_input::{Grid, Settings, Size, Slicing, SlicingError, plan, rule};
use proptest::prelude::*;

fn cut(width: u32, height: u32, most: u32) -> Result<Slicing, SlicingError> {
    plan(Size { width, height }, most, &Settings::default())
}

fn patches(slicing: &Slicing) -> Vec<u32> {
    slicing.sizes().map(|view| view.width / 14 * (view.height / 14)).collect()
}

#[test]
fn the_published_examples_are_cut_as_the_reference_cuts_them() {
    let grid = |width, height| cut(width, height, 9).unwrap().slices.map(|s| (s.grid.columns, s.grid.rows));
    assert_eq!(grid(448, 448), None);
    assert_eq!(grid(449, 448), Some((2, 1)));
    assert_eq!(grid(1280, 800), Some((3, 2)));
    assert_eq!(grid(1344, 1344), Some((3, 3)));
    assert_eq!(grid(1170, 2532), Some((2, 4)));
    assert_eq!(grid(1654, 2339), Some((3, 3)));
    assert_eq!(grid(2480, 3508), Some((2, 4)));
}

#[test]
fn i3_empty_pictures_are_refused() {
    for (width, height) in [(0, 1), (1, 0), (0, 0)] {
        assert_eq!(cut(width, height, 9), Err(SlicingError::Empty { width, height }));
    }
}

#[test]
fn i4_thin_pictures_are_refused_with_their_aspect() {
    let error = cut(1, 100_000, 9).unwrap_err();
    assert!(matches!(error, SlicingError::TooThin { patches: 10_119, .. }), "{error}");
    assert!(error.to_string().contains("aspect 100000:1"), "{error}");
    assert!(cut(1, 10_000_000, 9).is_err());
    assert!(cut(65_535, 1, 9).is_err());
}

#[test]
fn every_picture_up_to_a_thousand_to_one_is_accepted() {
    for long in (1..=60_000u32).step_by(7) {
        for short in [long.div_ceil(1000), long / 600 + 1, long / 37 + 1, long] {
            for most in [1, 9] {
                assert!(cut(short, long, most).is_ok(), "{short} x {long}: {:?}", cut(short, long, most));
                assert!(cut(long, short, most).is_ok(), "{long} x {short}");
            }
        }
    }
}

#[test]
fn i4_the_thinnest_pictures_end_at_the_limit_or_in_one_patch() {
    // The limit itself: 2 x 683 patches.
    let widest = (1..=1000).flat_map(|aspect| (1..=9).map(move |short| cut(short, short * aspect, 1).unwrap()));
    assert_eq!(widest.map(|slicing| patches(&slicing)[0]).max(), Some(MAX_PATCHES));
    assert!(
        matches!(cut(1, 200_000, 9), Err(SlicingError::TooThin { patches: 14_311, .. })),
        "{:?}",
        cut(1, 200_000, 9)
    );
    assert!(
        matches!(cut(200_000, 1, 9), Err(SlicingError::TooThin { patches: 14_286, .. })),
        "{:?}",
        cut(200_000, 1, 9)
    );
    // Beyond 448 squared to 1 the reference's height becomes 0 and it gives one patch; no frame can be so wide.
    assert_eq!(cut(200_705, 1, 1).map(|slicing| patches(&slicing)), Ok(vec![1]));
}

#[test]
fn more_slices_than_the_limit_are_refused() {
    let error = cut(5000, 5000, MAX_SLICES + 1).unwrap_err();
    assert_eq!(error, SlicingError::TooManySlices { asked: 37, limit: 36 });
    assert_eq!(error.code(), Code::InvalidOption);
    assert!(cut(5000, 5000, MAX_SLICES).unwrap().views() <= 37);
}

/// How far a grid's aspect is from a picture's.
fn distance(width: u32, height: u32, grid: Grid) -> f64 {
    (f64::from(width) / f64::from(height)).ln() - (f64::from(grid.columns) / f64::from(grid.rows)).ln()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn i5_a_turned_picture_has_the_turned_grid_but_for_ties(width in 1u32..9000, height in 1u32..9000, most in 1u32..=36) {
        let grid = |width, height| rule(Size { width, height }, most, &Settings::default()).slices.map(|slices| slices.grid);
        let (grid, turned) = (grid(width, height), grid(height, width));
        prop_assert_eq!(grid.is_some(), turned.is_some());
        if let (Some(grid), Some(turned)) = (grid, turned) {
            let back = Grid { columns: turned.rows, rows: turned.columns };
            let apart = distance(width, height, grid).abs() - distance(width, height, back).abs();
            prop_assert!(grid == back || apart.abs() < 1e-12, "{:?}, turned {:?}", grid, turned);
        }
    }

    #[test]
    fn a_plan_is_within_the_limit_or_an_error(width: u32, height: u32, most in 0u32..=36) {
        if let Ok(slicing) = cut(width, height, most) {
            prop_assert!(patches(&slicing).into_iter().all(|patches| (1..=MAX_PATCHES).contains(&patches)));
            prop_assert_eq!(slicing.views(), slicing.sizes().count());
        }
    }

    #[test]
    fn small_pictures_of_any_shape_are_planned(width in 1u32..3000, height in 1u32..3000, most in 1u32..20) {
        let slicing = rule(Size { width, height }, most, &Settings::default());
        prop_assert!(slicing.views() <= most as usize + 1);
        for view in slicing.sizes() {
            prop_assert_eq!((view.width % 14, view.height % 14), (0, 0));
        }
    }

    #[test]
    fn i5_a_turned_small_picture_has_about_the_turned_overview(width in 32u32..448, height in 32u32..448) {
        // The reference derives the width from the height cut to whole pixels, so it lacks up to an aspect's worth of pixels, here 14.
        let (a, b) = (cut(width, height, 9).unwrap(), cut(height, width, 9).unwrap());
        prop_assert!(a.overview.width.abs_diff(b.overview.height) <= 28, "{:?} {:?}", a, b);
        prop_assert!(a.overview.height.abs_diff(b.overview.width) <= 28, "{:?} {:?}", a, b);
    }
}
