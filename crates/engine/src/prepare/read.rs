//! Decoding and cutting the pictures of a draft, each by whichever thread is free.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use karst_contract::Failure;
use karst_media::{Budget, Held};
use karst_vision_input::{Settings, Size, View, views};

use super::visuals::Planned;
use super::{Draft, RequestError};
use crate::outbox::Control;
use crate::plan::RequestId;
use crate::worker::Command;
use crate::workshop::guarded;

/// Views that share Q rows: one of a still, one of each frame of a group.
#[derive(Debug)]
pub(crate) struct ViewPack {
    pub(crate) views: Vec<View>,
    /// Temporal ids of frames.
    pub(crate) times: Option<Vec<u32>>,
}

impl ViewPack {
    /// Bytes of the views' samples.
    pub(crate) fn bytes(&self) -> u64 {
        self.views.iter().map(|view| view.patches().len() as u64).sum()
    }
}

/// The second stage of a request: its pictures, read in any order. Whoever reads the last one reports.
pub(crate) struct Reading {
    request: RequestId,
    draft: Arc<Draft>,
    control: Arc<Control>,
    budget: Budget,
    commands: Sender<Command>,
    started: Instant,
    /// Pictures that somebody has begun with.
    taken: AtomicUsize,
    cut: Mutex<Cut>,
}

/// What has been read so far.
struct Cut {
    /// The views of each picture.
    views: Vec<Vec<View>>,
    done: usize,
    /// The first picture in the conversation's order that failed.
    failure: Option<(usize, Failure)>,
}

impl Reading {
    pub(crate) fn new(
        request: RequestId,
        draft: Arc<Draft>,
        control: Arc<Control>,
        budget: Budget,
        commands: Sender<Command>,
    ) -> Self {
        let cut = Cut { views: vec![Vec::new(); draft.visuals.pictures.len()], done: 0, failure: None };
        let (started, taken) = (Instant::now(), AtomicUsize::new(0));
        Self { request, draft, control, budget, commands, started, taken, cut: Mutex::new(cut) }
    }

    /// A picture that nobody has begun with, and whether there are more of them.
    pub(crate) fn take(&self) -> Option<(usize, bool)> {
        let count = self.draft.visuals.pictures.len();
        let index = self.taken.fetch_add(1, Ordering::SeqCst);
        (index < count).then_some((index, index + 1 < count))
    }

    /// Reads one picture, unless nobody wants it any more.
    pub(crate) fn read(&self, index: usize) {
        let views = guarded(|| self.views(index));
        let mut cut = self.cut.lock().unwrap_or_else(PoisonError::into_inner);
        cut.done += 1;
        match views {
            Ok(views) => cut.views[index] = views,
            // Pictures are taken in order, so that every one before this is read, too: the least index is always found.
            Err(failure) if cut.failure.as_ref().is_none_or(|(first, _)| index < *first) => {
                cut.failure = Some((index, failure));
            }
            Err(_) => {}
        }
        if cut.done == self.draft.visuals.pictures.len() {
            self.report(&mut cut);
        }
    }

    fn views(&self, index: usize) -> Result<Vec<View>, Failure> {
        let failed = self.cut.lock().unwrap_or_else(PoisonError::into_inner).failure.is_some();
        let read = if failed || self.control.cancelled.load(Ordering::SeqCst) {
            Err(RequestError::Cancelled)
        } else {
            read(index + 1, &self.draft.visuals.pictures[index], &self.draft.front.settings, &self.budget)
        };
        read.map_err(|error| Failure::from(&error))
    }

    fn report(&self, cut: &mut Cut) {
        let packs = match cut.failure.take() {
            Some((_, failure)) => Err(failure),
            None => Ok(self.draft.packs(&cut.views)),
        };
        cut.views.clear();
        // An engine that has ended has told the request so.
        drop(self.commands.send(Command::Read(self.request, packs, self.started.elapsed())));
    }
}

impl Draft {
    fn packs(&self, views: &[Vec<View>]) -> Vec<ViewPack> {
        let packs = self.visuals.packs.iter().map(|pack| ViewPack {
            views: pack.pictures.clone().map(|picture| views[picture][pack.view].clone()).collect(),
            times: pack.times.clone(),
        });
        packs.collect()
    }
}

fn read(number: usize, planned: &Planned, settings: &Settings, budget: &Budget) -> Result<Vec<View>, RequestError> {
    let Held { frame, permit } = karst_media::decode_within(&planned.picture, budget)
        .map_err(|source| RequestError::Picture { number, source })?;
    let decoded = Size { width: frame.width(), height: frame.height() };
    if decoded != planned.size {
        return Err(RequestError::Changed { number, measured: planned.size, decoded });
    }
    let views = views(&frame, &planned.slicing, settings);
    drop((frame, permit));
    Ok(views)
}
