//! Distributes work over threads: those of the standard library, or those of a host that has its own.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

/// The threads that work is distributed over.
///
/// A number stands for that many threads of the standard library (one on WebAssembly, where threads cannot be spawned). A
/// program with a thread pool implements the trait for it, so that the two do not compete for the cores.
///
/// ```
/// use std::sync::atomic::{AtomicUsize, Ordering};
/// use tch_spiking_core::threads::Threads;
///
/// let sum = AtomicUsize::new(0);
/// 3_usize.run(4, &|number| {
///     sum.fetch_add(number, Ordering::Relaxed);
/// });
/// assert_eq!(sum.into_inner(), 1 + 2 + 3);
/// ```
pub trait Threads: Sync {
    /// Number of tasks that can run at the same time.
    fn count(&self) -> usize;

    /// Calls `task` once with each number below `tasks`, as many at the same time as there are threads, and returns when all have
    /// returned.
    ///
    /// # Panics
    /// Panics if `task` panics.
    fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync));
}

impl Threads for usize {
    fn count(&self) -> usize {
        if cfg!(target_family = "wasm") { 1 } else { (*self).max(1) }
    }

    fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        let next = AtomicUsize::new(0);
        let work = || {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= tasks {
                    break;
                }
                task(number);
            }
        };
        let threads = self.count().min(tasks);
        if threads < 2 {
            return work();
        }
        thread::scope(|scope| {
            for _ in 1..threads {
                scope.spawn(work);
            }
            work();
        });
    }
}

/// Calls `task(worker, index)` for every index below `count`, with one task of `threads` per worker.
///
/// Indices are assigned dynamically, so that no worker waits for another.
///
/// # Panics
/// Panics if `task` panics.
pub fn share_out<W: Send>(
    threads: &impl Threads,
    workers: &mut [W],
    count: usize,
    task: impl Fn(&mut W, usize) + Sync,
) {
    let next = AtomicUsize::new(0);
    let workers: Vec<Mutex<&mut W>> = workers.iter_mut().take(count).map(Mutex::new).collect();
    threads.run(workers.len(), &|number| {
        // Never contended: every number is handed out once.
        let mut worker = workers[number].lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= count {
                break;
            }
            task(&mut worker, index);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_index_is_done_once() {
        for threads in [0, 1, 2, 5] {
            for (workers, count) in [(1, 0), (1, 5), (3, 100), (8, 3)] {
                let mut done = vec![Vec::new(); workers];
                share_out(&threads, &mut done, count, |mine, index| mine.push(index));
                let mut all = done.concat();
                all.sort_unstable();
                assert_eq!(all, (0..count).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn a_panic_of_a_task_is_one_of_the_caller() {
        for threads in [1, 3] {
            let task = || share_out(&threads, &mut [(); 3], 20, |(), index| assert!(index != 13, "thirteen"));
            assert!(std::panic::catch_unwind(task).is_err());
        }
    }
}
