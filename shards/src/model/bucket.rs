//! A token bucket: how much a client may still do this second.

/// Refills at `rate` a second up to one second's worth.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bucket {
    /// Thousandths of a token, so that slow rates refill smoothly.
    left: u64,
    filled_ms: u32,
}

impl Bucket {
    /// A full bucket.
    pub(crate) fn full(rate: u32, now_ms: u32) -> Self {
        Self { left: u64::from(rate) * 1000, filled_ms: now_ms }
    }

    /// Returns `true` if a bucket that holds `depth` and gets `rate` back a second is full: a new
    /// one would be the same.
    pub(crate) fn is_full(&self, depth: u32, rate: u32, now_ms: u32) -> bool {
        let passed = crate::clock::since_ms(now_ms, self.filled_ms);
        self.left + u64::from(passed) * u64::from(rate) >= u64::from(depth) * 1000
    }

    /// Takes one token of a bucket that holds `depth` and gets one back a second.
    pub(crate) fn take_slowly(&mut self, depth: u32, now_ms: u32) -> bool {
        let passed = crate::clock::since_ms(now_ms, self.filled_ms);
        self.left = (self.left + u64::from(passed)).min(u64::from(depth) * 1000);
        self.filled_ms = now_ms;
        let enough = self.left >= 1000;
        if enough {
            self.left -= 1000;
        }
        enough
    }

    /// Takes `tokens` if they are there. A price above a full bucket is met by a full one, or it
    /// could never be paid.
    pub(crate) fn take(&mut self, tokens: u64, rate: u32, now_ms: u32) -> bool {
        let full = u64::from(rate) * 1000;
        let passed = crate::clock::since_ms(now_ms, self.filled_ms);
        self.left = (self.left + u64::from(passed) * u64::from(rate)).min(full);
        self.filled_ms = now_ms;
        let price = (tokens * 1000).min(full);
        let enough = self.left >= price;
        if enough {
            self.left -= price;
        }
        enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_refills_in_one_second_and_no_further() {
        let mut bucket = Bucket::full(10, 0);
        assert!((0..10).all(|_| bucket.take(1, 10, 0)));
        assert!(!bucket.take(1, 10, 0));
        assert!(!bucket.take(1, 10, 99));
        assert!(bucket.take(1, 10, 100));
        assert!((0..10).all(|_| bucket.take(1, 10, 60_000)));
        assert!(!bucket.take(1, 10, 60_000));
    }

    #[test]
    fn a_bucket_is_full_when_a_new_one_would_be_the_same() {
        let mut bucket = Bucket::full(10, 0);
        assert!(bucket.is_full(10, 10, 0));
        assert!((0..2).all(|_| bucket.take_slowly(10, 0)));
        assert!(!bucket.is_full(10, 1, 1_999) && bucket.is_full(10, 1, 2_000));
        assert!(!bucket.is_full(10, 10, 199) && bucket.is_full(10, 10, 200));
    }

    #[test]
    fn a_price_above_the_rate_can_be_paid_by_a_full_bucket() {
        let mut bucket = Bucket::full(10, 0);
        assert!(bucket.take(1_000_000, 10, 0));
        assert!(!bucket.take(1, 10, 50));
    }
}
