//! The random order of training samples, batch by batch.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

/// The order of the samples in one epoch.
#[derive(Debug)]
pub(super) struct Order {
    rows: Vec<i64>,
    batch: usize,
}

impl Order {
    /// The order for `seed` and this epoch, in batches of `batch` samples.
    pub(super) fn new(samples: i64, batch: usize, seed: u64, epoch: u64) -> Self {
        let mut rows: Vec<i64> = (0..samples).collect();
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        // The streams below 2^32 belong to the network.
        rng.set_stream((1 << 32) | epoch);
        rows.shuffle(&mut rng);
        Self { rows, batch }
    }

    /// The number of batches; the last may be smaller.
    pub(super) fn batches(&self) -> u64 {
        self.rows.len().div_ceil(self.batch) as u64
    }

    /// The number of samples.
    pub(super) fn samples(&self) -> u64 {
        self.rows.len() as u64
    }

    /// The number of samples before batch `index`.
    pub(super) fn before(&self, index: u64) -> u64 {
        index * self.batch as u64
    }

    /// The sample indices of batch `index`.
    pub(super) fn rows(&self, index: u64) -> &[i64] {
        self.rows.chunks(self.batch).nth(index as usize).unwrap_or(&[])
    }

    /// The size of the smallest batch.
    pub(super) fn smallest(samples: i64, batch: usize) -> i64 {
        let batch = i64::try_from(batch).unwrap_or(i64::MAX).max(1);
        match samples % batch {
            0 => batch,
            rest => rest,
        }
    }
}

/// The rows of a batch for process `rank` of `size`.
pub(super) fn share(rows: &[i64], rank: i64, size: i64) -> &[i64] {
    rows.get(share_start(rows, rank, size)..share_start(rows, rank + 1, size)).unwrap_or(&[])
}

/// The position of that share's first row in the batch.
pub(super) fn share_start(rows: &[i64], rank: i64, size: i64) -> usize {
    (rows.len() as i64 * rank / size.max(1)) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sample_comes_once_an_epoch_in_another_order() {
        let order = |epoch| Order::new(103, 10, 7, epoch);
        let all =
            |order: &Order| -> Vec<i64> { (0..order.batches()).flat_map(|index| order.rows(index).to_vec()).collect() };
        let (first, second) = (all(&order(0)), all(&order(1)));
        assert_ne!(first, second);
        let mut sorted = first.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..103).collect::<Vec<_>>());
        assert_eq!(first, all(&order(0)));
        assert_eq!((order(0).batches(), order(0).rows(10).len(), order(0).rows(11).len()), (11, 3, 0));
        assert_eq!((Order::smallest(103, 10), Order::smallest(100, 10), Order::smallest(4, 10)), (3, 10, 4));
    }

    #[test]
    fn shares_make_the_batch() {
        let rows: Vec<i64> = (0..10).collect();
        for size in 1..=10 {
            let shares: Vec<&[i64]> = (0..size).map(|rank| share(&rows, rank, size)).collect();
            assert_eq!(shares.concat(), rows);
            assert!(shares.iter().all(|share| !share.is_empty()));
        }
        assert!(share(&rows, 3, 3).is_empty());
    }
}
