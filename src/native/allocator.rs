//! The allocator of the C library: memory that is reused from step to step.

// SAFETY: the signature is that of allocator.cpp, which build.rs compiles into this very library.
unsafe extern "C" {
    fn tch_spiking_keep_freed_memory() -> bool;
}

/// Makes the C library keep freed memory for the next allocation rather than give it back to the system. Call it once, at
/// the start of a program.
///
/// Tensors of some megabytes are otherwise mapped anew each time, and the page faults of a training step cost more than its
/// neurons do (measured in BENCHMARKS.md). The price is that memory which was once used stays with the process. libtorch
/// allocates through the same C library, so this serves its tensors; it is a setting of the whole process, which is why no
/// other function of this library makes it.
///
/// Returns whether it could be done: with glibc, yes.
pub fn keep_freed_memory() -> bool {
    // SAFETY: sets two options of the allocator, which is allowed at any time.
    unsafe { tch_spiking_keep_freed_memory() }
}
