//! Batch normalisation: with batch statistics in training, otherwise with running statistics.

use tch::{Kind, TchError, Tensor};
use tch_spiking_core::spec::shape::show;
use tch_spiking_core::spec::{BatchNorm, NetworkError};

use crate::error::Result;

/// The tensors of a batch normalisation, `[C]` each.
#[derive(Debug)]
pub(crate) struct Normalization {
    pub weight: Option<Tensor>,
    pub bias: Option<Tensor>,
    pub running_mean: Tensor,
    pub running_var: Tensor,
}

impl Normalization {
    /// Normalises `input`, `[B, C, ..]`, by the running statistics.
    pub(super) fn apply(&self, spec: BatchNorm, input: &Tensor) -> Result<Tensor, TchError> {
        self.normalize(spec, input, false)
    }

    /// Normalises `input` by its own statistics and updates the running ones; `name` is the layer's, for messages.
    pub(crate) fn train(&self, spec: BatchNorm, input: &Tensor, name: &str) -> Result<Tensor> {
        let size = input.size();
        if size.iter().product::<i64>() == size[1] {
            return Err(NetworkError::Input {
                expected: format!(
                    "two or more values of a channel in training, since layer {name} normalises over the batch: choose a \
                     batch size that does not leave a single sample over"
                ),
                found: show(&size),
            }
            .into());
        }
        Ok(self.normalize(spec, input, true)?)
    }

    fn normalize(&self, spec: BatchNorm, input: &Tensor, training: bool) -> Result<Tensor, TchError> {
        let kind: Kind = self.running_mean.kind();
        let normalized = input.f_to_kind(kind)?.f_batch_norm(
            self.weight.as_ref(),
            self.bias.as_ref(),
            Some(&self.running_mean),
            Some(&self.running_var),
            training,
            spec.momentum,
            spec.eps,
            true,
        )?;
        normalized.f_to_kind(input.kind())
    }
}
