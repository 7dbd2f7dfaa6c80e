//! Libtorch's threads, and memory that several threads write in disjoint parts.

use std::ops::Range;

use tch_spiking_core::threads::{Threads, share_out};

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

/// libtorch's own threads: work on others would compete with them for the cores, since they keep waiting actively for a
/// while after every operation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LibtorchThreads;

impl Threads for LibtorchThreads {
    fn count(&self) -> usize {
        usize::try_from(tch::get_num_threads()).unwrap_or(1).max(1)
    }

    fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        parallel_for(tasks, 1, |numbers| numbers.for_each(task));
    }
}

/// Like [`share_out`] on libtorch's threads, for a task that only reads what it borrows, including tensors.
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
    share_out(&LibtorchThreads, workers, count, |worker, index| {
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
            share_out(&LibtorchThreads, &mut done, count, |mine, index| mine.push(index));
            let mut all = done.concat();
            all.sort_unstable();
            assert_eq!(all, (0..count).collect::<Vec<_>>());
        }
    }
}
