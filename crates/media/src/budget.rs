//! Room for decoded pixels: as many bytes as allowed are in flight, later pictures wait their turn.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// A number of bytes that pictures share. Clones share the same room.
///
/// Whoever comes first is served first, so a large picture is not kept waiting by a stream of small ones.
#[derive(Debug, Clone)]
pub struct Budget {
    shared: Arc<Shared>,
}

/// Room for some bytes; it is given back when this is dropped.
#[derive(Debug)]
#[must_use = "the room is given back when the permit is dropped"]
pub struct Permit {
    shared: Arc<Shared>,
    bytes: u64,
}

#[derive(Debug)]
struct Shared {
    limit: u64,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    free: u64,
    /// Who waits, oldest first.
    queue: VecDeque<u64>,
    next_ticket: u64,
}

impl Budget {
    /// A budget of `limit` bytes, such as [`karst_contract::limits::MAX_DECODED_BYTES`].
    pub fn new(limit: u64) -> Self {
        let state = State { free: limit, queue: VecDeque::new(), next_ticket: 0 };
        Self { shared: Arc::new(Shared { limit, state: Mutex::new(state), changed: Condvar::new() }) }
    }

    /// Waits for room for `bytes`. What exceeds the whole budget takes all of it, that is, waits until nothing else is in
    /// flight.
    pub fn acquire(&self, bytes: u64) -> Permit {
        let bytes = bytes.min(self.shared.limit);
        let mut state = self.shared.lock();
        let ticket = state.next_ticket;
        state.next_ticket += 1;
        state.queue.push_back(ticket);
        while state.queue.front() != Some(&ticket) || state.free < bytes {
            state = self.shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.queue.pop_front();
        state.free -= bytes;
        drop(state);
        self.shared.changed.notify_all();
        self.permit(bytes)
    }

    /// Room for `bytes` if there is any now and nobody waits.
    pub fn try_acquire(&self, bytes: u64) -> Option<Permit> {
        let bytes = bytes.min(self.shared.limit);
        let mut state = self.shared.lock();
        if !state.queue.is_empty() || state.free < bytes {
            return None;
        }
        state.free -= bytes;
        Some(self.permit(bytes))
    }

    /// Bytes that are free now.
    pub fn free(&self) -> u64 {
        self.shared.lock().free
    }

    fn permit(&self, bytes: u64) -> Permit {
        Permit { shared: Arc::clone(&self.shared), bytes }
    }
}

impl Permit {
    /// How many bytes there is room for.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Gives back all but `bytes`.
    pub fn shrink(&mut self, bytes: u64) {
        let surplus = self.bytes.saturating_sub(bytes);
        self.bytes -= surplus;
        self.shared.give_back(surplus);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.shared.give_back(self.bytes);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn give_back(&self, bytes: u64) {
        self.lock().free += bytes;
        self.changed.notify_all();
    }
}
