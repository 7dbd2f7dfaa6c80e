//! Numbers that begin at a line of the cache.
//!
//! A vector register is as long as a line: what is not aligned is read and written as two.

use std::ops::{Deref, DerefMut};

/// A line of the cache (bytes).
const LINE: usize = 64;

/// A slice of fixed length that begins at a line of the cache.
#[derive(Debug)]
pub(super) struct Aligned<R> {
    numbers: Vec<R>,
    start: usize,
    length: usize,
}

impl<R: Copy + Default> Aligned<R> {
    /// `length` numbers, all at their default.
    pub(super) fn new(length: usize) -> Self {
        // Of no numbers, none lie anywhere.
        let spare = if length == 0 { 0 } else { LINE / size_of::<R>().max(1) };
        let numbers = vec![R::default(); length + spare];
        // Only speed hangs on it, should the pointer not be one that can be aligned.
        let start = numbers.as_ptr().align_offset(LINE).min(spare);
        Self { numbers, start, length }
    }
}

impl<R: Copy + Default> Default for Aligned<R> {
    fn default() -> Self {
        Self::new(0)
    }
}

/// A copy begins at a line too, which a copy of the fields would not.
impl<R: Clone> Clone for Aligned<R> {
    fn clone(&self) -> Self {
        let spare = self.numbers.len() - self.length;
        let mut numbers: Vec<R> = Vec::with_capacity(self.numbers.len());
        let start = numbers.as_ptr().align_offset(LINE).min(spare);
        let filler = self.numbers.first().cloned();
        numbers.extend(filler.iter().cycle().take(start).cloned());
        numbers.extend_from_slice(self);
        numbers.extend(filler.iter().cycle().take(spare - start).cloned());
        Self { numbers, start, length: self.length }
    }
}

impl<R: Copy + Default> From<Vec<R>> for Aligned<R> {
    fn from(numbers: Vec<R>) -> Self {
        let mut aligned = Self::new(numbers.len());
        aligned.copy_from_slice(&numbers);
        aligned
    }
}

impl<R> Deref for Aligned<R> {
    type Target = [R];
    #[inline(always)]
    fn deref(&self) -> &[R] {
        &self.numbers[self.start..][..self.length]
    }
}

impl<R> DerefMut for Aligned<R> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut [R] {
        &mut self.numbers[self.start..][..self.length]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_begin_at_a_line_and_are_those_given() {
        for length in [0, 1, 15, 16, 1000] {
            let numbers: Vec<f32> = (0..length).map(|i| i as f32).collect();
            let aligned = Aligned::from(numbers.clone());
            for aligned in [aligned.clone(), aligned] {
                assert_eq!(&*aligned, &numbers[..]);
                assert!(length == 0 || aligned.as_ptr().addr().is_multiple_of(LINE));
            }
        }
    }
}
