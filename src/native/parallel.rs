//! Runs work on libtorch's own threads, so that two thread pools do not compete for the cores.

use std::ffi::c_void;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};

// SAFETY: the signature is that of parallel.cpp, which build.rs compiles into this very library.
unsafe extern "C" {
    fn tch_spiking_parallel_for(
        count: i64,
        grain: i64,
        context: *mut c_void,
        body: extern "C" fn(*mut c_void, i64, i64),
    );
}

struct Context<'a> {
    body: &'a (dyn Fn(Range<usize>) + Sync),
    panicked: AtomicBool,
}

/// Calls `body` with ranges that cover `0..count`, each of at least `grain` items, on several threads at once.
///
/// # Panics
/// Panics if `body` panics; the panic is passed to this thread and does not unwind through libtorch.
pub(crate) fn parallel_for(count: usize, grain: usize, body: impl Fn(Range<usize>) + Sync) {
    let mut context = Context { body: &body, panicked: AtomicBool::new(false) };
    // SAFETY: the call returns only after all ranges are done, so the borrowed context outlives its use; `body` is
    // Sync.
    unsafe {
        tch_spiking_parallel_for(
            i64::try_from(count).unwrap_or(i64::MAX),
            i64::try_from(grain.max(1)).unwrap_or(i64::MAX),
            (&raw mut context).cast(),
            run_range,
        );
    }
    assert!(!context.panicked.load(Ordering::Relaxed), "a kernel panicked on a worker thread");
}

extern "C" fn run_range(context: *mut c_void, begin: i64, end: i64) {
    // SAFETY: `parallel_for` passed a live context, shared between threads and only read.
    let context = unsafe { &*context.cast::<Context>() };
    let range = begin as usize..end as usize;
    if catch_unwind(AssertUnwindSafe(|| (context.body)(range))).is_err() {
        context.panicked.store(true, Ordering::Relaxed);
    }
}
