//! Ids, places and sizes against what the reference implementation gave for whole conversations.

#![allow(clippy::unwrap_used)] // a test fails by panicking

mod common;

use std::fs;
use std::path::Path;

use karst_prompt::{Content, Conversation, PACK_ROWS, Prompt, Role, Thinking, Tokenizer, Turn, build};
use karst_vision_input::{Grid, Layout, Settings, Size, plan};
use serde_json::Value;

/// A conversation as the reference takes it: pictures by name, groups of frames by temporal ids.
struct Reference<'a> {
    folder: &'a Path,
    numbered: bool,
    max_slices: u32,
    /// Sizes of the groups to come; a still is a group of one.
    groups: Vec<usize>,
    pictures: u32,
    /// Rows and columns of patches of every view.
    targets: Vec<(u32, u32)>,
}

/// The sides in a PNG's header.
fn png_size(path: &Path) -> Size {
    let bytes = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert!(bytes.starts_with(b"\x89PNG"), "{}", path.display());
    let side = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
    Size { width: side(16), height: side(20) }
}

impl<'a> Reference<'a> {
    fn new(folder: &'a Path, options: &Value) -> Self {
        let groups = options["temporal_ids"].as_array().into_iter().flatten();
        let mut groups: Vec<_> = groups.map(|group| group.as_array().unwrap().len()).collect();
        groups.reverse();
        let numbered = options["use_image_id"].as_bool().unwrap_or(true);
        let max_slices = options["max_slice_nums"].as_u64().map_or(9, |most| u32::try_from(most).unwrap());
        Self { folder, numbered, max_slices, groups, pictures: 0, targets: Vec::new() }
    }

    /// One layout for the next group, whose first frame is `names[0]`; and how many of the names it takes.
    fn group(&mut self, names: &[&str]) -> (Layout, usize) {
        let frames = self.groups.pop().unwrap_or(1);
        let mut layouts = names[..frames].iter().map(|name| self.picture(name)).collect::<Vec<_>>();
        (layouts.swap_remove(0), frames)
    }

    fn picture(&mut self, name: &str) -> Layout {
        let slicing = plan(png_size(&self.folder.join(name)), self.max_slices, &Settings::default()).unwrap();
        self.targets.extend(slicing.sizes().map(|size| (size.height / 14, size.width / 14)));
        let image_id = self.numbered.then_some(self.pictures);
        self.pictures += 1;
        Layout { image_id, grid: slicing.slices.map(|slices| slices.grid) }
    }

    fn content(&mut self, content: &Value) -> Vec<Content> {
        let Value::Array(parts) = content else { return vec![Content::Text(content.as_str().unwrap().to_owned())] };
        let mut said: Vec<Content> = Vec::new();
        let names: Vec<_> = parts.iter().map_while(|part| part["image"].as_str()).collect();
        let mut names = &names[..];
        while !names.is_empty() {
            let (layout, taken) = self.group(names);
            names = &names[taken..];
            // Groups may be one clip or several: the prompt is the same.
            match said.last_mut() {
                Some(Content::Visual(layouts)) if self.pictures.is_multiple_of(2) => layouts.push(layout),
                _ => said.push(Content::Visual(vec![layout])),
            }
        }
        said.extend(parts.iter().filter_map(|part| part["text"].as_str()).map(|text| Content::Text(text.to_owned())));
        said
    }

    fn turn(&mut self, message: &Value) -> Turn {
        let role = match message["role"].as_str().unwrap() {
            "system" => Role::System,
            "assistant" => Role::Assistant,
            _ => Role::User,
        };
        Turn::new(role, self.content(&message["content"]))
    }
}

fn run(tokenizer: &Tokenizer, folder: &Path, case: &Value) -> (Prompt, Vec<(u32, u32)>) {
    let options = &case["options"];
    let mut reference = Reference::new(folder, options);
    let system = options["system_prompt"].as_str().map(|text| Turn::text(Role::System, text));
    let messages = case["messages"].as_array().unwrap().iter().map(|message| reference.turn(message));
    let turns = system.into_iter().chain(messages).collect();
    let thinking = if options["enable_thinking"] == true { Thinking::Deep } else { Thinking::Fast };
    (build(tokenizer, &Conversation::new(turns, thinking)).unwrap(), reference.targets)
}

fn numbers<T: serde::de::DeserializeOwned>(value: &Value) -> T {
    serde_json::from_value(value.clone()).unwrap()
}

#[test]
fn ids_and_spans_of_every_tiny_checkpoint_are_the_references() {
    let folders = common::tiny_checkpoints();
    assert_eq!(folders.len(), 7);
    for folder in folders {
        let tokenizer = common::tokenizer(&folder);
        let expected = common::json(&folder.join("expected.json"));
        let runs = expected.as_object().unwrap();
        assert_eq!(runs.len(), 9);
        for (name, case) in runs {
            let (prompt, targets) = run(&tokenizer, &folder, case);
            let at = format!("{} {name}", folder.display());
            assert_eq!(prompt.ids, numbers::<Vec<u32>>(&case["input_ids"]), "{at}");
            let bounds: Vec<_> = prompt.spans.iter().map(|span| (span.start, span.start + PACK_ROWS)).collect();
            assert_eq!(bounds, numbers::<Vec<(usize, usize)>>(&case["image_bound"]), "{at}");
            assert!(prompt.spans.iter().enumerate().all(|(index, span)| span.pack == index), "{at}");
            assert_eq!(targets, numbers::<Vec<(u32, u32)>>(&case["tgt_sizes"]), "{at}");
        }
    }
}

#[test]
fn ids_of_every_demo_sample_are_the_references() {
    let folder = common::root().join("models/samples");
    let samples = common::json(&folder.join("samples.json"));
    let samples = samples.as_array().unwrap();
    assert_eq!(samples.len(), 27);
    for sample in samples {
        let (prompt, targets) = run(&common::demo(), &folder, sample);
        assert_eq!(prompt.ids, numbers::<Vec<u32>>(&sample["prompt_ids"]), "{}", sample["id"]);
        assert_eq!(targets, numbers::<Vec<(u32, u32)>>(&sample["grids"]), "{}", sample["id"]);
    }
}

#[test]
fn every_golden_placeholder_is_placed_token_by_token() {
    let golden = common::golden("slicing.json");
    let tokenizer = common::demo();
    let cases = golden.as_array().unwrap();
    assert!(cases.len() >= 488);
    for case in cases {
        let grid = numbers::<Option<(u32, u32)>>(&case["grid"]).map(|(columns, rows)| Grid { columns, rows });
        for (key, image_id) in [("placeholder", None), ("placeholder_with_id", Some(3))] {
            let picture = Content::Visual(vec![Layout { image_id, grid }]);
            let turn = Turn::new(Role::User, vec![picture]);
            let prompt = build(&tokenizer, &Conversation::new(vec![turn], Thinking::Unspecified)).unwrap();
            let place = case[key].as_str().unwrap().replace("<unk>*64", &"<unk>".repeat(64));
            let whole = format!("<|im_start|>user\n{place}<|im_end|>\n<|im_start|>assistant\n");
            assert_eq!(prompt.ids, tokenizer.encode_with_control(&whole), "{case}");
        }
    }
}
