//! Stages of several inputs: what they give is added up, block by block.

use super::activity::Activity;
use super::gather::gather;
use super::plan::{Stage, Stretch};
use super::watch::{Watched, keep_rows};
use crate::kernels::Number;
use crate::simd::Kernel;

/// A block of channels at a position.
#[derive(Clone, Copy, Debug)]
pub(super) struct Block {
    pub position: usize,
    /// Which block of channels of the position.
    pub number: usize,
    pub time: Stretch,
}

/// Adds all inputs but the first, whose rows are in `sum`.
pub(super) struct AddOthers<'a, R, const W: usize> {
    pub stage: &'a Stage<R>,
    pub before: &'a [Activity<R>],
    pub at: Block,
    /// How many rows the first input has: one if it is constant.
    pub first: usize,
    pub sum: &'a mut [[R; W]],
    /// Room for the rows of an input.
    pub rows: &'a mut [[R; W]],
    pub watched: &'a mut [Watched<R>],
}

impl<R: Number, const W: usize> Kernel for AddOthers<'_, R, W> {
    #[inline(always)]
    fn run(self) {
        let Self { stage, before, at, first, sum, rows, watched } = self;
        let mut count = first;
        for (index, input) in stage.inputs.iter().enumerate().skip(1) {
            let source = before[input.from].source(input.flow, input.shape, at.time);
            let rows = gather::<R, W>(&input.operation, source, at.position, at.number, rows);
            if !watched.is_empty() {
                keep_rows(watched, stage.output, at, index..index + 1, rows);
            }
            if rows.len() > count {
                // So far the sum is the same at every step.
                let same = sum[0];
                sum[..rows.len()].fill(same);
                count = rows.len();
            }
            let add = |sum: &mut [R; W], row: &[R; W]| {
                for lane in 0..W {
                    sum[lane] = sum[lane] + row[lane];
                }
            };
            match rows {
                [row] => sum[..count].iter_mut().for_each(|sum| add(sum, row)),
                rows => sum.iter_mut().zip(rows).for_each(|(sum, row)| add(sum, row)),
            }
            if !watched.is_empty() {
                keep_rows(watched, stage.output, at, 0..index + 1, &sum[..count]);
            }
        }
    }
}
