//! Batch normalisation: with the statistics of the batch in training, with running ones else.

use serde::{Deserialize, Serialize};
use tch::nn::Path;
use tch::{Kind, TchError, Tensor};

use super::NetworkError;
use super::shape::show;
use crate::error::Result;

/// Normalisation of each channel of `[C, H, W]`, or each feature: `weight (x - mean) / sqrt(var + eps) + bias` (Ioffe &
/// Szegedy 2015), with PyTorch's names, defaults and running statistics.
///
/// In training mean and variance are those of the batch, and the running ones move towards them by `momentum` (with the
/// variance divided by one value fewer); otherwise they are the running ones, which are saved with the parameters as
/// `running_mean` and `running_var`. In mixed precision all of it stays `f32`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BatchNorm {
    /// Added to the variance, 0 or more.
    pub eps: f64,
    /// By how much of the way the running statistics move in a training step, 0 to 1.
    pub momentum: f64,
    /// Whether each channel has a trained weight and bias.
    pub affine: bool,
}

impl Default for BatchNorm {
    fn default() -> Self {
        Self { eps: 1e-5, momentum: 0.1, affine: true }
    }
}

impl BatchNorm {
    /// The shape behind a layer that gets `input`: the same.
    pub(super) fn output_shape(self, input: &[i64]) -> Result<Vec<i64>, String> {
        if !(self.eps >= 0.0 && self.eps.is_finite()) {
            return Err(format!("eps = {} is not valid: expected 0 or a small number above", self.eps));
        }
        if !(0.0..=1.0).contains(&self.momentum) {
            return Err(format!("momentum = {} is not valid: expected a number from 0 to 1", self.momentum));
        }
        match input.len() {
            1 | 3 => Ok(input.to_vec()),
            _ => Err(format!("expected channels x height x width, or features, got {}", show(input))),
        }
    }

    /// The names of its tensors, each of one number a channel.
    pub(crate) fn names(self) -> &'static [&'static str] {
        if self.affine { &["weight", "bias", RUNNING[0], RUNNING[1]] } else { &RUNNING }
    }
}

const RUNNING: [&str; 2] = ["running_mean", "running_var"];

/// The tensors of a layer, `[C]` each.
#[derive(Debug)]
pub(crate) struct Normalization {
    pub weight: Option<Tensor>,
    pub bias: Option<Tensor>,
    pub running_mean: Tensor,
    pub running_var: Tensor,
}

impl Normalization {
    /// Weights and variances of 1, biases and means of 0, under `path`.
    pub(super) fn new(spec: BatchNorm, channels: i64, path: &Path) -> Result<Self, TchError> {
        let options = (path.kind(), path.device());
        let ones = || Tensor::f_ones([channels], options);
        let zeros = || Tensor::f_zeros([channels], options);
        let (weight, bias) = match spec.affine {
            true => (Some(path.add("weight", ones()?, true)), Some(path.add("bias", zeros()?, true))),
            false => (None, None),
        };
        let [mean, var] = RUNNING;
        let running_mean = path.add(mean, zeros()?, false);
        Ok(Self { weight, bias, running_mean, running_var: path.add(var, ones()?, false) })
    }

    pub(super) fn named(&self) -> Vec<(&'static str, &Tensor)> {
        let [mean, var] = RUNNING;
        let affine = [("weight", &self.weight), ("bias", &self.bias)];
        let affine = affine.into_iter().filter_map(|(name, tensor)| Some((name, tensor.as_ref()?)));
        affine.chain([(mean, &self.running_mean), (var, &self.running_var)]).collect()
    }

    /// `input`, `[B, C, ..]`, by the running statistics.
    pub(super) fn apply(&self, spec: BatchNorm, input: &Tensor) -> Result<Tensor, TchError> {
        self.normalize(spec, input, false)
    }

    /// `input` by its own statistics, which move the running ones; `name` is the layer's.
    pub(super) fn train(&self, spec: BatchNorm, input: &Tensor, name: &str) -> Result<Tensor> {
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
