//! The memory limit of reading a file.

use super::WeightsError;

/// Memory used in addition to the file's content: 4 MiB chunks, names, libtorch's data per tensor.
const BASE: u64 = 40 << 20;

/// The memory that the reader of one file may still allocate: in total, twice the file's size and 40 MiB.
///
/// A file may claim any size, or decompress to a thousand times its own. Every allocation whose size comes from the
/// file is counted here before it is made.
#[derive(Debug)]
pub(super) struct Budget {
    left: u64,
    allowed: u64,
}

impl Budget {
    /// Creates the budget for a file of `length` bytes.
    pub(super) fn new(length: u64) -> Self {
        let allowed = length.saturating_mul(2).saturating_add(BASE);
        Self { left: allowed, allowed }
    }

    /// Counts `bytes` that are about to be allocated.
    pub(super) fn take(&mut self, bytes: u64) -> Result<(), WeightsError> {
        let left = self.left.checked_sub(bytes).ok_or(WeightsError::Memory { allowed: self.allowed })?;
        self.left = left;
        Ok(())
    }
}
