//! libtorch's number of threads.

use super::DeviceError;

/// The largest number of threads accepted by [`set_threads`].
pub const MAX_THREADS: usize = 1024;

/// Sets the number of CPU threads that libtorch uses for one operation.
///
/// # Errors
/// Returns [`DeviceError::Threads`] unless `count` is from 1 to [`MAX_THREADS`].
pub fn set_threads(count: usize) -> Result<(), DeviceError> {
    match i32::try_from(count) {
        Ok(threads) if (1..=MAX_THREADS).contains(&count) => {
            tch::set_num_threads(threads);
            Ok(())
        }
        _ => Err(DeviceError::Threads(count)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thread_counts_are_checked() {
        for count in [0, MAX_THREADS + 1, usize::MAX] {
            assert_eq!(set_threads(count), Err(DeviceError::Threads(count)));
        }
        // Only the count that is already set: other tests compute in this process.
        let threads = tch::get_num_threads();
        set_threads(threads as usize).unwrap();
        assert_eq!(tch::get_num_threads(), threads);
    }
}
