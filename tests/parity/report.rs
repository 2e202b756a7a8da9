//! What ran and what did not agree.

use std::collections::BTreeMap;
use std::fmt::Display;

/// A kind of golden case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Tokenizer,
    ChatTemplate,
    Slicing,
    Pixels,
    Buckets,
    SinCos,
    VideoSampling,
    Sampling,
    Prompt,
    Tower,
    Resampler,
    Logits,
    Greedy,
}

impl Kind {
    pub const ALL: [Kind; 13] = [
        Kind::Tokenizer,
        Kind::ChatTemplate,
        Kind::Slicing,
        Kind::Pixels,
        Kind::Buckets,
        Kind::SinCos,
        Kind::VideoSampling,
        Kind::Sampling,
        Kind::Prompt,
        Kind::Tower,
        Kind::Resampler,
        Kind::Logits,
        Kind::Greedy,
    ];

    fn name(self) -> &'static str {
        match self {
            Kind::Tokenizer => "tokenizer texts",
            Kind::ChatTemplate => "chat template",
            Kind::Slicing => "slicing",
            Kind::Pixels => "pixels of views",
            Kind::Buckets => "position buckets",
            Kind::SinCos => "sin-cos rows",
            Kind::VideoSampling => "video sampling",
            Kind::Sampling => "sampling",
            Kind::Prompt => "prompt ids and bounds",
            Kind::Tower => "tower",
            Kind::Resampler => "resampler",
            Kind::Logits => "logits",
            Kind::Greedy => "greedy ids",
        }
    }
}

#[derive(Default)]
struct Tally {
    cases: usize,
    failed: usize,
    worst: Option<f64>,
    notes: Vec<String>,
}

/// Counts of each kind, with the worst error seen and what failed.
#[derive(Default)]
pub struct Report {
    tallies: BTreeMap<Kind, Tally>,
    failures: Vec<String>,
}

impl Report {
    /// Counts a case; `Err` says what did not agree.
    pub fn case(&mut self, kind: Kind, name: impl Display, outcome: Result<(), String>) {
        let tally = self.tallies.entry(kind).or_default();
        tally.cases += 1;
        if let Err(problem) = outcome {
            tally.failed += 1;
            self.failures.push(format!("{} {name}: {problem}", kind.name()));
        }
    }

    /// Counts a case that agrees when its relative error is within `bound`.
    pub fn error(&mut self, kind: Kind, name: impl Display, error: f64, bound: f64) {
        let worst = &mut self.tallies.entry(kind).or_default().worst;
        *worst = Some(worst.map_or(error, |worst| worst.max(error)));
        // Written so that a NaN fails.
        let outcome = if error <= bound { Ok(()) } else { Err(format!("error {error:.2e}, at most {bound:.0e}")) };
        self.case(kind, name, outcome);
    }

    /// Says something about a kind beside its count.
    pub fn note(&mut self, kind: Kind, note: impl Into<String>) {
        self.tallies.entry(kind).or_default().notes.push(note.into());
    }

    /// How many cases of a kind ran.
    pub fn count(&self, kind: Kind) -> usize {
        self.tallies.get(&kind).map_or(0, |tally| tally.cases)
    }

    /// Prints the table; true when every case agreed.
    pub fn print(&self) -> bool {
        println!("{:<24}{:>7}{:>8}   worst error", "kind", "cases", "failed");
        for kind in Kind::ALL {
            let none = Tally::default();
            let tally = self.tallies.get(&kind).unwrap_or(&none);
            let worst = tally.worst.map_or(String::new(), |worst| format!("{worst:.1e}"));
            println!("{:<24}{:>7}{:>8}   {worst}", kind.name(), tally.cases, tally.failed);
            for note in &tally.notes {
                println!("    {note}");
            }
        }
        for failure in self.failures.iter().take(40) {
            println!("FAILED {failure}");
        }
        let cases: usize = self.tallies.values().map(|tally| tally.cases).sum();
        println!("\n{} passed, {} failed", cases - self.failures.len(), self.failures.len());
        self.failures.is_empty()
    }
}
