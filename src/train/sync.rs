//! Several processes that train one network.

use std::fmt::Debug;

use tch::Tensor;

use crate::error::Result;

/// How the processes of a training agree on gradients.
///
/// All start with the same weights and see the same batches, each its share of every batch: with `n` rows in a batch, the process
/// `rank` takes rows `n * rank / size` up to `n * (rank + 1) / size`. After the backward pass, [`reduce`](Self::reduce) makes every gradient
/// the mean over the processes, which is that of the whole batch; all then take the same step.
pub trait GradientSync: Debug + Send {
    /// Replaces each of `gradients`, in place, by its mean over all processes. Called once for every step, with the gradients
    /// in the same order in all processes.
    ///
    /// # Errors
    /// If another process cannot be reached; they end the training.
    fn reduce(&mut self, gradients: &[Tensor]) -> Result<()>;

    /// Which process this is, from 0.
    fn rank(&self) -> i64;

    /// How many processes there are.
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
