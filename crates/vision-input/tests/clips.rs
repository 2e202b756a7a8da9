//! Frames in groups: ids and packing.

use karst_contract::Timing;
use karst_vision_input::clip::{ClipError, group};
use karst_vision_input::sampling::{Options, choose, is_tie, temporal_id};

fn times(count: usize) -> Timing {
    Timing::Times((0..count).map(|frame| frame as f64 * 0.5).collect())
}

#[test]
fn v8_groups_around_a_multiple_of_the_packing() {
    for packing in 1..=6u32 {
        for frames in 1..=2 * packing as usize + 1 {
            let groups = group(&times(frames), frames, Some(packing)).unwrap();
            assert_eq!(groups.iter().map(Vec::len).sum::<usize>(), frames);
            assert!(groups[..groups.len() - 1].iter().all(|group| group.len() == packing as usize));
            assert_eq!(groups.len(), frames.div_ceil(packing as usize));
        }
    }
}

#[test]
fn frames_are_packed_as_far_as_180_groups_need() {
    for (frames, groups) in [(1, 1), (180, 180), (181, 91), (360, 180), (361, 121), (540, 180), (1080, 180)] {
        assert_eq!(group(&times(frames), frames, None).unwrap().len(), groups, "{frames}");
    }
}

#[test]
fn a_moment_has_the_id_that_the_reference_gives_it() {
    assert_eq!(temporal_id(0.0), 0);
    assert_eq!(temporal_id(4.3), 42, "the reference cuts 43 * 0.1 / 0.1 off");
    assert_eq!(temporal_id(8.1), 80);
    assert_eq!(temporal_id(0.14), 1);
    assert_eq!(temporal_id(0.05), 0, "the lower of two");
    assert!(is_tie(0.05));
    assert!(!is_tie(0.06));
}

#[test]
fn even_frames_lie_in_the_middles_of_their_shares() {
    let ids = group(&Timing::Fps(5.0), 9, Some(3)).unwrap();
    assert_eq!(ids, [[1, 3, 5], [7, 9, 11], [13, 15, 17]]);
}

#[test]
fn given_ids_are_taken_as_they_are() {
    let groups = vec![vec![14, 11, 8], vec![4, 1]];
    assert_eq!(group(&Timing::TemporalIds(groups.clone()), 5, None).unwrap(), groups);
}

#[test]
fn what_does_not_fit_is_refused_with_the_numbers() {
    let ids = |groups: Vec<Vec<u32>>| Timing::TemporalIds(groups);
    let refused = |timing: Timing, frames, packing| group(&timing, frames, packing).unwrap_err();
    assert_eq!(refused(times(0), 0, None), ClipError::Empty);
    assert!(matches!(refused(times(1081), 1081, None), ClipError::TooMany { frames: 1081, .. }));
    assert!(matches!(refused(times(2), 3, None), ClipError::Count { frames: 3, times: 2, .. }));
    assert!(matches!(refused(times(2), 2, Some(0)), ClipError::Packing { packing: 0 }));
    assert!(matches!(refused(times(2), 2, Some(7)), ClipError::Packing { packing: 7 }));
    assert!(matches!(refused(ids(vec![vec![]]), 1, None), ClipError::Packing { packing: 0 }));
    assert!(matches!(refused(ids(vec![vec![0; 7]]), 7, None), ClipError::Packing { packing: 7 }));
    assert!(matches!(refused(ids(vec![vec![0, 1]]), 3, None), ClipError::Count { times: 2, .. }));
    assert!(matches!(refused(ids(vec![vec![72_000]]), 1, None), ClipError::TemporalId { id: 72_000, .. }));
    for seconds in [f64::NAN, f64::INFINITY, -0.1, 7_200.0] {
        assert!(matches!(refused(Timing::Times(vec![seconds]), 1, None), ClipError::Time { frame: 0, .. }));
    }
    assert!(matches!(refused(Timing::Times(vec![1.0, 0.5]), 2, None), ClipError::Time { frame: 1, .. }));
    for fps in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(matches!(refused(Timing::Fps(fps), 1, None), ClipError::Fps { .. }));
    }
}

#[test]
fn the_shortest_clip_gives_a_frame() {
    let options =
        Options { frames: 3, fps: 30.0, choose_fps: 3.0, max_frames: 180, max_packing: 3, force_packing: None };
    assert_eq!(choose(&options).frame_indices, [1]);
    assert_eq!(choose(&Options { frames: 1, ..options }).frame_indices, [0]);
    assert_eq!(choose(&Options { frames: 0, ..options }).frame_indices, [0usize; 0]);
}
