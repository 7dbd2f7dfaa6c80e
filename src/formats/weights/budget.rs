//! How much memory reading a file may take.

use super::WeightsError;

/// What reading takes beside what is in the file: pieces of 4 MiB, names, what libtorch keeps for each tensor.
const BASE: u64 = 40 << 20;

/// The memory that the reader of one file may still take: twice the file's size and 40 MiB in all.
///
/// A file may claim any size, or unpack to a thousand times its own. All that is allocated by what a file says is
/// accounted for here, before it is allocated.
#[derive(Debug)]
pub(super) struct Budget {
    left: u64,
    allowed: u64,
}

impl Budget {
    /// For a file of `length` bytes.
    pub(super) fn new(length: u64) -> Self {
        let allowed = length.saturating_mul(2).saturating_add(BASE);
        Self { left: allowed, allowed }
    }

    /// Accounts for `bytes` about to be allocated.
    pub(super) fn take(&mut self, bytes: u64) -> Result<(), WeightsError> {
        let left = self.left.checked_sub(bytes).ok_or(WeightsError::Memory { allowed: self.allowed })?;
        self.left = left;
        Ok(())
    }
}
