//! Segments become ids, and places of features are noted as they are placed.

use std::mem;

use karst_vision_input::{Grid, Layout};

use crate::check;
use crate::control::ControlToken;
use crate::conversation::Conversation;
use crate::error::PromptError;
use crate::segment::Segment;
use crate::template::render;
use crate::tokenizer::Tokenizer;

/// Q: rows of features that a pack of views has in the prompt.
pub const PACK_ROWS: usize = 64;

/// Token ids with the places of features among them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Prompt {
    /// T ids; where features go, that of `<unk>`.
    pub ids: Vec<u32>,
    /// In the order of their places.
    pub spans: Vec<Span>,
}

/// Where the [`PACK_ROWS`] rows of one pack go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Index of the first row's id.
    pub start: usize,
    /// Packs are counted in the order of their places, those of one layout overview first, then row by row.
    pub pack: usize,
}

/// Makes the prompt of a conversation.
///
/// # Errors
/// When turns are missing or in an order that the model does not know, or the texts are too long to be tokenised.
pub fn build(tokenizer: &Tokenizer, conversation: &Conversation) -> Result<Prompt, PromptError> {
    check::turns(conversation)?;
    let segments = render(conversation);
    check::text(&segments)?;
    let mut assembly = Assembly { tokenizer, prompt: Prompt::default(), run: String::new() };
    for segment in &segments {
        assembly.place(segment);
    }
    assembly.end_run();
    Ok(assembly.prompt)
}

struct Assembly<'a> {
    tokenizer: &'a Tokenizer,
    prompt: Prompt,
    /// Text since the last control token. It is tokenised as one, like in the reference: pieces of ours and theirs may
    /// share a token across their seam, such as the line break after "user" and one that begins the text.
    run: String,
}

impl Assembly<'_> {
    fn place(&mut self, segment: &Segment) {
        match segment {
            Segment::Control(token) => self.control(*token),
            Segment::Scaffold(text) => self.run.push_str(text),
            Segment::Text(text) => self.run.push_str(text),
            Segment::Visual(layouts) => self.layouts(layouts),
        }
    }

    fn end_run(&mut self) {
        let run = mem::take(&mut self.run);
        if !run.is_empty() {
            self.prompt.ids.append(&mut self.tokenizer.encode_text(&run));
        }
    }

    fn control(&mut self, token: ControlToken) {
        self.end_run();
        self.prompt.ids.push(self.tokenizer.control().id(token));
    }

    fn layouts(&mut self, layouts: &[Layout]) {
        for (index, layout) in layouts.iter().enumerate() {
            if index > 0 {
                self.run.push('\n');
            }
            self.layout(layout);
        }
    }

    fn layout(&mut self, layout: &Layout) {
        if let Some(number) = layout.image_id {
            self.control(ControlToken::ImageId);
            self.run.push_str(&number.to_string());
            self.control(ControlToken::ImageIdEnd);
        }
        self.pack(ControlToken::Image, ControlToken::ImageEnd);
        if let Some(grid) = layout.grid {
            self.slices(grid);
        }
    }

    fn slices(&mut self, grid: Grid) {
        for row in 0..grid.rows {
            if row > 0 {
                self.run.push('\n');
            }
            for _ in 0..grid.columns {
                self.pack(ControlToken::Slice, ControlToken::SliceEnd);
            }
        }
    }

    fn pack(&mut self, open: ControlToken, close: ControlToken) {
        self.control(open);
        let Prompt { ids, spans } = &mut self.prompt;
        spans.push(Span { start: ids.len(), pack: spans.len() });
        ids.resize(ids.len() + PACK_ROWS, self.tokenizer.control().unk);
        self.control(close);
    }
}
