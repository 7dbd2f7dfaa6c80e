//! Data-parallel training: gradient synchronisation between processes.

use std::fmt::Debug;

use tch::Tensor;

use crate::error::Result;

/// Synchronises gradients between the processes of a training run.
///
/// All processes start with the same weights and take their share of the same batches: with `n` rows in a batch,
/// process `rank` takes rows `n * rank / size` up to `n * (rank + 1) / size`. After the backward pass,
/// [`reduce`](Self::reduce) makes every gradient the mean over the processes, which is the gradient of the whole batch;
/// all then take the same step.
pub trait GradientSync: Debug + Send {
    /// Replaces each of `gradients`, in place, by its mean over all processes. Called once for every step, with the
    /// gradients in the same order in all processes.
    ///
    /// # Errors
    /// If another process cannot be reached. The error stops the training.
    fn reduce(&mut self, gradients: &[Tensor]) -> Result<()>;

    /// The index of this process, from 0.
    fn rank(&self) -> i64;

    /// The number of processes.
    fn size(&self) -> i64;
}

/// Training in one process: its gradients are those of the whole batch.
#[derive(Clone, Copy, Debug, Default)]
pub struct OneProcess;

impl GradientSync for OneProcess {
    fn reduce(&mut self, _gradients: &[Tensor]) -> Result<()> {
        Ok(())
    }
    fn rank(&self) -> i64 {
        0
    }
    fn size(&self) -> i64 {
        1
    }
}
