//! Distributes work over threads of the standard library, where libtorch is not used.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Calls `task(worker, index)` for every index below `count`, with one thread per worker (the first on the calling
/// thread).
///
/// Indices are assigned dynamically, so that no worker waits for another.
///
/// # Panics
/// Panics if `task` panics.
pub fn share_out<W: Send>(workers: &mut [W], count: usize, task: impl Fn(&mut W, usize) + Sync) {
    let next = AtomicUsize::new(0);
    let work = |worker: &mut W| {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= count {
                break;
            }
            task(worker, index);
        }
    };
    let Some((first, others)) = workers.split_first_mut() else { return };
    if others.is_empty() || count < 2 {
        return work(first);
    }
    thread::scope(|scope| {
        for worker in others {
            scope.spawn(|| work(worker));
        }
        work(first);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_index_is_done_once() {
        for (workers, count) in [(1, 0), (1, 5), (3, 100), (8, 3)] {
            let mut done = vec![Vec::new(); workers];
            share_out(&mut done, count, |mine, index| mine.push(index));
            let mut all = done.concat();
            all.sort_unstable();
            assert_eq!(all, (0..count).collect::<Vec<_>>());
        }
    }
}
