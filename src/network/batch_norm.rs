//! Batch normalisation: with the statistics of the batch in training, with running ones else.

use tch::{Kind, TchError, Tensor};
use tch_spiking_core::spec::shape::show;
use tch_spiking_core::spec::{BatchNorm, NetworkError};

use crate::error::Result;

/// The tensors of a layer, `[C]` each.
#[derive(Debug)]
pub(crate) struct Normalization {
    pub weight: Option<Tensor>,
    pub bias: Option<Tensor>,
    pub running_mean: Tensor,
    pub running_var: Tensor,
}

impl Normalization {
    /// `input`, `[B, C, ..]`, by the running statistics.
    pub(super) fn apply(&self, spec: BatchNorm, input: &Tensor) -> Result<Tensor, TchError> {
        self.normalize(spec, input, false)
    }

    /// `input` by its own statistics, which move the running ones; `name` is the layer's.
    pub(crate) fn train(&self, spec: BatchNorm, input: &Tensor, name: &str) -> Result<Tensor> {
        let size = input.size();
        if size.iter().product::<i64>() == size[1] {
            return Err(NetworkError::Input {
                expected: format!(
                    "two or more values of a channel in training, since layer {name} normalises over the batch: choose a \
                     batch size that leaves no single image over"
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
