//! Memory that several threads write in disjoint parts.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

pub(super) use crate::native::parallel_for;

/// A pointer shared by threads that write disjoint ranges.
#[derive(Clone, Copy)]
pub(super) struct SharedMut<T> {
    pointer: *mut T,
    length: usize,
}

// SAFETY: `range_mut`'s contract keeps the threads' writes apart.
unsafe impl<T: Send> Sync for SharedMut<T> {}
// SAFETY: as above; the pointer itself is plain data.
unsafe impl<T: Send> Send for SharedMut<T> {}

impl<T> SharedMut<T> {
    pub(super) fn new(slice: &mut [T]) -> Self {
        Self { pointer: slice.as_mut_ptr(), length: slice.len() }
    }

    /// Borrows the elements of `range`.
    ///
    /// # Safety
    /// The underlying slice must still be borrowed, and no two live ranges may overlap.
    #[inline(always)]
    #[allow(clippy::mut_from_ref)]
    pub(super) unsafe fn range_mut(&self, range: Range<usize>) -> &mut [T] {
        assert!(range.start <= range.end && range.end <= self.length);
        // SAFETY: in bounds (checked); not aliased (guaranteed by the caller).
        unsafe { std::slice::from_raw_parts_mut(self.pointer.add(range.start), range.len()) }
    }
}

/// Calls `task(worker, index)` for every index below `count`, with one libtorch thread per worker. Indices are assigned
/// dynamically, so that no worker waits for another.
fn share_out<W: Send>(workers: &mut [W], count: usize, task: impl Fn(&mut W, usize) + Sync) {
    let next = AtomicUsize::new(0);
    let shared = SharedMut::new(workers);
    parallel_for(workers.len(), 1, |range| {
        for worker in range {
            // SAFETY: `parallel_for` hands out every index once.
            let worker = unsafe { shared.range_mut(worker..worker + 1) };
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                if index >= count {
                    break;
                }
                worker.iter_mut().for_each(|worker| task(worker, index));
            }
        }
    });
}

/// Like [`share_out`], for a task that only reads what it borrows, including tensors.
pub(crate) fn share_out_reading<T, W: Send>(
    workers: &mut [W],
    count: usize,
    shared: &T,
    task: impl Fn(&T, &mut W, usize) + Sync,
) {
    struct Reading<'a, T>(&'a T);
    // SAFETY: libtorch's tensors may be read from several threads at once (its own data loaders and `parallel_for` do);
    // tch only lacks the marker. `T` is shared by reference, and nothing in this crate writes to a tensor through one
    // but the optimiser and the loading of weights, which cannot run meanwhile: they need this thread, which waits
    // here.
    unsafe impl<T> Sync for Reading<'_, T> {}
    let reading = Reading(shared);
    let reading = &reading;
    share_out(workers, count, |worker, index| {
        let Reading(shared) = reading;
        task(shared, worker, index);
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
