//! How many bytes of pictures may be held at once, between their decoding and their encoding.

/// A budget in bytes. What exceeds it alone may still have it alone.
#[derive(Debug)]
pub(crate) struct Pixels {
    used: u64,
    limit: u64,
}

impl Pixels {
    pub(crate) fn new(limit: u64) -> Self {
        Self { used: 0, limit }
    }

    /// Takes `bytes`, if they are there.
    pub(crate) fn take(&mut self, bytes: u64) -> bool {
        let fits = self.used == 0 || self.used.saturating_add(bytes) <= self.limit;
        if fits {
            self.used = self.used.saturating_add(bytes);
        }
        fits
    }

    pub(crate) fn give(&mut self, bytes: u64) {
        self.used = self.used.saturating_sub(bytes);
    }

    pub(crate) fn used(&self) -> u64 {
        self.used
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn i11_pictures_beyond_the_budget_wait_and_a_large_one_is_not_locked_out() {
        let mut pixels = Pixels::new(100);
        assert!(pixels.take(60));
        assert!(!pixels.take(50));
        assert!(pixels.take(40));
        pixels.give(60);
        pixels.give(40);
        assert!(pixels.take(500), "alone");
        assert!(!pixels.take(1));
        pixels.give(500);
        assert_eq!(pixels.used(), 0);
    }
}
