//! V8, quirks 6 to 10 and 27 of the reference: what stills and clips become.

use karst_contract::{Clip, Code, Part, Picture, Timing};
use karst_engine::Inspection;
use karst_engine::backend::sim::Options;
use karst_vision_input::Grid;

use crate::common::{World, ask, picture, still};

fn clip(frames: Vec<Picture>, groups: &[&[u32]]) -> Part {
    let timing = Timing::TemporalIds(groups.iter().map(|group| group.to_vec()).collect());
    Part::Clip(Clip { frames, timing, packing: None, max_slices: None })
}

fn frames(count: u8) -> Vec<Picture> {
    (0..count).map(|seed| still(60, 40, seed + 1)).collect()
}

fn inspect(visuals: Vec<Part>, change: impl FnOnce(&mut karst_contract::Options)) -> Inspection {
    let mut request = ask("What?", visuals, 5);
    change(&mut request.options);
    World::new(Options::default()).engine.inspect(&request).unwrap()
}

fn image_ids(inspection: &Inspection) -> Vec<Option<u32>> {
    inspection.parts.iter().flat_map(|part| part.groups.iter().map(|group| group.image_id)).collect()
}

#[test]
fn stills_are_numbered_unless_there_is_a_clip_or_the_caller_says_otherwise() {
    let stills = || vec![picture(30, 30, 1), picture(40, 30, 2)];
    let mixed = || vec![picture(30, 30, 1), clip(frames(2), &[&[0, 1]]), picture(40, 30, 2)];
    assert_eq!(image_ids(&inspect(stills(), |_| {})), [Some(0), Some(1)]);
    assert_eq!(image_ids(&inspect(stills(), |options| options.image_ids = Some(false))), [None, None]);
    assert_eq!(image_ids(&inspect(mixed(), |_| {})), [None, None, None]);
}

/// Quirk 27: a group is numbered by its first frame, and every frame counts.
#[test]
fn image_ids_jump_over_packed_frames() {
    let visuals = vec![picture(30, 30, 1), clip(frames(5), &[&[0, 1, 2], &[3, 4]]), picture(30, 30, 1)];
    let found = inspect(visuals, |options| options.image_ids = Some(true));
    assert_eq!(image_ids(&found), [Some(0), Some(1), Some(4), Some(6)]);
}

/// Quirk 7: each part has its own number of slices; frames have one view unless more are asked for.
#[test]
fn slices_are_chosen_for_each_part() {
    let mut own = still(900, 900, 1);
    own.max_slices = Some(2);
    let big = || (0..2).map(|seed| still(900, 900, seed)).collect::<Vec<_>>();
    let sliced = Part::Clip(Clip { max_slices: Some(4), ..clip_of(big()) });
    let found =
        inspect(vec![Part::Picture(own), picture(900, 900, 2), Part::Clip(clip_of(big())), sliced], |options| {
            options.max_slices = Some(4);
        });
    let grids: Vec<_> = found.parts.iter().map(|part| part.groups[0].grid).collect();
    let grid = |columns, rows| Some(Grid { columns, rows });
    assert!(grids[0] == grid(1, 2) || grids[0] == grid(2, 1), "{grids:?}");
    assert_eq!(grids[1..], [grid(2, 2), None, grid(2, 2)]);
    assert_eq!(found.parts[3].groups[0].tokens, 5 * 64, "slice k of both frames shares rows");
    assert_eq!(found.parts[3].groups[0].patches, 2 * (32 * 32 * 5));
    let tokens: usize = found.parts.iter().flat_map(|part| &part.groups).map(|group| group.tokens).sum();
    assert_eq!(found.image_tokens, tokens);
    assert_eq!(
        found.pixel_bytes,
        588 * found.parts.iter().flat_map(|part| &part.groups).map(|group| group.patches as u64).sum::<u64>()
    );
}

fn clip_of(frames: Vec<Picture>) -> Clip {
    Clip {
        timing: Timing::TemporalIds(vec![(0..frames.len() as u32).collect()]),
        frames,
        packing: None,
        max_slices: None,
    }
}

/// Quirk 8.
#[test]
fn frames_of_different_size_in_a_group_are_refused_with_their_sizes() {
    let world = World::new(Options::default());
    let mixed = || vec![still(60, 40, 1), still(61, 40, 2)];
    let (message, _) = world.ask(ask("What?", vec![clip(mixed(), &[&[0, 1]])], 5)).failed(Code::InvalidClip);
    let words = "frame 2 of a group has 61 x 40 pixels and another 60 x 40; frames that share rows must be of one size";
    assert_eq!(message, words);
    assert_eq!(world.ask(ask("What?", vec![clip(mixed(), &[&[0], &[1]])], 5)).finished().ids.len(), 5);
    world.is_as_new();
}

#[test]
fn v8_times_that_do_not_fit_the_frames_are_refused() {
    let world = World::new(Options::default());
    let refused = |part: Part| world.ask(ask("What?", vec![part], 5)).failed(Code::InvalidClip).0;
    refused(clip(frames(3), &[&[0, 1]]));
    refused(clip(frames(3), &[&[0, 1, 2], &[]]));
    refused(clip(frames(7), &[&[0, 1, 2, 3, 4, 5, 6]]));
    refused(clip(vec![], &[]));
    let mut own = frames(2);
    own[1].max_slices = Some(3);
    assert_eq!(refused(clip(own, &[&[0, 1]])), "frame 2 of a clip names its own number of slices");
    world.is_as_new();
}

/// Quirk 5 and 9: what a still or a group becomes is its own pixels and times, wherever else pictures are.
#[test]
fn features_go_to_their_own_places() {
    let world = World::new(Options::default());
    let first = |visuals: Vec<Part>| world.ask(ask("What?", visuals, 1)).finished().ids[0];
    let one = |seed| picture(60, 40, seed);
    let all = [
        first(vec![one(1), one(2)]),
        first(vec![one(2), one(1)]),
        first(vec![one(1), one(1)]),
        first(vec![clip(frames(2), &[&[0, 1]])]),
        first(vec![clip(frames(2), &[&[1, 0]])]),
        first(vec![clip(frames(2).into_iter().rev().collect(), &[&[0, 1]])]),
        first(vec![clip(frames(2), &[&[0], &[1]])]),
        first(vec![picture(40, 60, 1), one(2)]),
    ];
    let distinct: std::collections::HashSet<_> = all.iter().collect();
    assert_eq!(distinct.len(), all.len(), "{all:?}");
    world.is_as_new();
}

#[test]
fn a_picture_that_is_missing_or_damaged_fails_its_request_alone() {
    let world = World::new(Options::default());
    let mut missing = still(1, 1, 1);
    missing.source = karst_contract::Source::Path("/no/such/picture.png".into());
    let (message, _) =
        world.ask(ask("What?", vec![picture(9, 9, 1), Part::Picture(missing)], 5)).failed(Code::PictureNotFound);
    assert_eq!(message, "the picture '/no/such/picture.png' does not exist (picture 2 of the conversation)");
    let mut garbage = still(1, 1, 1);
    garbage.source = karst_contract::Source::Bytes(vec![7; 100].into());
    world.ask(ask("What?", vec![Part::Picture(garbage)], 5)).failed(Code::InvalidPicture);
    let thin = still(20_000, 1, 1);
    world.ask(ask("What?", vec![Part::Picture(thin)], 5)).failed(Code::PictureTooThin);
    world.is_as_new();
}
