//! The C library's allocator.

// SAFETY: the signature is that of allocator.cpp, which build.rs compiles into this very library.
unsafe extern "C" {
    fn tch_spiking_keep_freed_memory() -> bool;
}

/// Makes the C library keep freed memory for later allocations instead of returning it to the system. Call it once, at
/// the start of a program.
///
/// Otherwise, tensors of some megabytes are mapped anew each time, and the page faults of a training step cost more
/// time than its neurons (measured in BENCHMARKS.md). The cost is that the process keeps memory that it once used.
/// libtorch allocates through the same C library, so its tensors benefit. The setting affects the whole process;
/// therefore no other function of this library changes it.
///
/// Returns whether the setting was applied, which is the case with glibc.
pub fn keep_freed_memory() -> bool {
    // SAFETY: sets two options of the allocator, which is allowed at any time.
    unsafe { tch_spiking_keep_freed_memory() }
}
