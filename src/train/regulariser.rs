//! Regularisers of the neurons' activity.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};
use tch::{TchError, Tensor};

use super::TrainError;
use crate::error::Result;
use crate::network::{LayerKind, Parameters, SpikingSequential};

/// A penalty on the activity of layers of neurons, added to the loss: an entry of `[[training.regularisers]]`.
///
/// ```toml
/// [[training.regularisers]]
/// layer = "lif1"            # or a list of names, or "all"
/// type = "l2"
/// target = [5.0, 100.0]     # Hz: a number, or a range outside of which it counts; 0 if not given
/// weight = 1e-6
/// ```
///
/// With `r` a neuron's rate for a sample, in Hz (the mean over the timesteps), and `d` its distance to the target, the
/// penalty of a layer is `weight mean d^2` for `l2` and `weight mean abs(d)` for `l1`, over neurons and samples. With
/// `percentile = p`, each neuron's `r` is the p-th percentile over the batch (interpolated), so that neurons need reach
/// the target for some samples only. (Of processes that share a batch, each takes the percentile of its own share.)
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Regulariser {
    /// The layers of neurons.
    pub layer: Layers,
    /// The norm.
    #[serde(rename = "type")]
    pub norm: Norm,
    /// The factor of the penalty in the loss.
    pub weight: f64,
    /// The target rate (Hz).
    #[serde(default)]
    pub target: TargetRate,
    /// The percentile over the batch, 0 to 100, if it is to be taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percentile: Option<f64>,
}

/// The layers that a [`Regulariser`] applies to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected the name of a layer of neurons, a list of names, or \"all\"")]
pub enum Layers {
    /// The layer of this name, or all layers of neurons: `"all"`.
    One(String),
    /// The layers of these names.
    Several(Vec<String>),
}

/// The norm of a [`Regulariser`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Norm {
    /// The mean of absolute distances.
    L1,
    /// The mean of squared distances.
    L2,
}

/// The target of a [`Regulariser`] (Hz).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected a rate in Hz, or a range [lowest, highest]")]
pub enum TargetRate {
    /// This rate.
    Rate(f64),
    /// Any rate from the first to the second.
    Range([f64; 2]),
}

impl Default for TargetRate {
    fn default() -> Self {
        Self::Rate(0.0)
    }
}

impl Regulariser {
    /// # Errors
    /// If a value is not valid; the error names it.
    pub fn validate(&self) -> Result<(), TrainError> {
        let fail = |key, value, expected| Err(TrainError::config("training.regularisers", key, value, expected));
        if !(self.weight >= 0.0 && self.weight.is_finite()) {
            return fail("weight", self.weight, "a number of 0 or more");
        }
        match (self.target, self.percentile) {
            (_, Some(percentile)) if !(0.0..=100.0).contains(&percentile) => {
                fail("percentile", percentile, "a number from 0 to 100")
            }
            (TargetRate::Rate(rate), _) if !rate.is_finite() => fail("target", rate, "a finite number"),
            (TargetRate::Range([low, high]), _) if low.partial_cmp(&high).is_none_or(Ordering::is_gt) => {
                fail("target", low, "a range whose first rate is not above its second")
            }
            _ => Ok(()),
        }
    }

    /// The penalty of the rates `[B, S]` (Hz), without the weight: a scalar tensor, differentiable.
    ///
    /// # Errors
    /// If memory runs out.
    pub fn penalty(&self, rates: &Tensor) -> Result<Tensor, TchError> {
        let rates = match self.percentile {
            Some(percentile) => percentile_of(rates, percentile)?,
            None => rates.shallow_clone(),
        };
        let distance = match self.target {
            TargetRate::Rate(target) => rates.f_sub_scalar(target)?,
            // At most one of the two is above 0.
            TargetRate::Range([low, high]) => {
                let below = rates.f_neg()?.f_add_scalar(low)?.f_relu()?;
                below.f_add(&rates.f_sub_scalar(high)?.f_relu()?)?
            }
        };
        let size = match self.norm {
            Norm::L1 => distance.f_abs()?,
            Norm::L2 => distance.f_square()?,
        };
        size.f_mean(size.kind())
    }

    /// The indices of the layers it applies to.
    fn layers_in(&self, network: &SpikingSequential) -> Result<Vec<usize>, TrainError> {
        let neurons = || network.layers().iter().enumerate().filter(|(_, layer)| is_neurons(layer.kind()));
        let find = |name: &String| {
            let found = neurons().find(|(_, layer)| layer.name() == name).map(|(index, _)| index);
            found.ok_or_else(|| {
                let known: Vec<String> = neurons().map(|(_, layer)| format!("`{}`", layer.name())).collect();
                TrainError::Regulariser(format!(
                    "unknown layer of neurons `{name}`, expected one of {}, or `all`",
                    known.join(", ")
                ))
            })
        };
        match &self.layer {
            Layers::One(name) if name == "all" => Ok(neurons().map(|(index, _)| index).collect()),
            Layers::One(name) => Ok(vec![find(name)?]),
            Layers::Several(names) => names.iter().map(find).collect(),
        }
    }
}

fn is_neurons(kind: &LayerKind) -> bool {
    matches!(kind, LayerKind::Neuron(_))
}

/// The `percentile` of each column of `[B, ..]`, interpolated between the two samples next to it.
fn percentile_of(values: &Tensor, percentile: f64) -> Result<Tensor, TchError> {
    let last = values.size().first().copied().unwrap_or(1) - 1;
    let place = percentile / 100.0 * last as f64;
    let (below, part) = (place.floor(), place.fract());
    let at = |index: f64| Ok::<_, TchError>(values.f_kthvalue(index as i64 + 1, 0, false)?.0);
    let lower = at(below)?;
    match part > 0.0 {
        true => lower.f_mul_scalar(1.0 - part)?.f_add(&at(below + 1.0)?.f_mul_scalar(part)?),
        false => Ok(lower),
    }
}

/// Regularisers with the layers of a network that they apply to.
#[derive(Debug, Default)]
pub(super) struct Regularisers {
    each: Vec<(Regulariser, Vec<usize>)>,
}

impl Regularisers {
    /// `regularisers` for `network`.
    pub(super) fn new(regularisers: &[Regulariser], network: &SpikingSequential) -> Result<Self, TrainError> {
        let each = regularisers.iter().map(|one| Ok((one.clone(), one.layers_in(network)?)));
        Ok(Self { each: each.collect::<Result<_, TrainError>>()? })
    }

    /// The layers whose activity is needed.
    pub(super) fn layers(&self) -> Vec<usize> {
        self.each.iter().flat_map(|(_, layers)| layers).copied().collect()
    }

    /// Adds the penalties to `loss`, given the outputs of layers by their index.
    pub(super) fn add_to(
        &self,
        loss: Tensor,
        network: &SpikingSequential,
        outputs: &[(usize, crate::engine::Activity)],
    ) -> Result<Tensor> {
        let mut loss = loss;
        for (regulariser, layers) in &self.each {
            for (index, output) in outputs.iter().filter(|(index, _)| layers.contains(index)) {
                let Parameters::Neurons(neurons) = &network.layers()[*index].parameters else { continue };
                let rates = match output.steps() {
                    Some(_) => output.tensor().f_mean_dim(0, false, output.kind())?,
                    None => output.tensor().shallow_clone(),
                };
                // The output of a neuron is its rate times its amplitude.
                let rates = rates.f_to_kind(network.kind())?.f_div_scalar(neurons.model.amplitude())?;
                loss = loss.f_add(&regulariser.penalty(&rates)?.f_mul_scalar(regulariser.weight)?)?;
            }
        }
        Ok(loss)
    }
}
