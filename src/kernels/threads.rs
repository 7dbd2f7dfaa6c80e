//! Memory that several threads write, each its own part.

use std::ops::Range;

pub(super) use crate::native::parallel_for;

/// A pointer that threads may share; each writes only where no other does.
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

    /// The elements of `range`.
    ///
    /// # Safety
    /// The slice that this was made of must still be borrowed, and no two live ranges may overlap.
    #[inline(always)]
    #[allow(clippy::mut_from_ref)]
    pub(super) unsafe fn range_mut(&self, range: Range<usize>) -> &mut [T] {
        assert!(range.start <= range.end && range.end <= self.length);
        // SAFETY: in bounds (checked); not aliased (the caller's promise).
        unsafe { std::slice::from_raw_parts_mut(self.pointer.add(range.start), range.len()) }
    }
}
