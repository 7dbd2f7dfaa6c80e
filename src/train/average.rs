//! An exponential moving average of the weights.

use std::collections::BTreeMap;

use tch::{TchError, Tensor};

use super::TrainError;
use crate::error::Result;

/// The name of an averaged tensor in a checkpoint: `{parameter}.average`.
const SUFFIX: &str = ".average";

/// The exponential moving average of the trained parameters: `a = d a + (1 - d) p` after every step, with
/// `d = min(decay, (1 + n) / (10 + n))` after `n` steps, so that the start is soon forgotten (Tensorflow's
/// `ExponentialMovingAverage`). Running statistics of batch normalisations are not averaged: they are averages already.
#[derive(Debug)]
pub(super) struct Average {
    decay: f64,
    updates: u64,
    /// Handles of the parameters, and their averages; none before the first step.
    averaged: Vec<(String, Tensor, Option<Tensor>)>,
}

impl Average {
    /// An average of those of `parameters` that require a gradient.
    pub(super) fn new(decay: f64, parameters: Vec<(String, Tensor)>) -> Self {
        let trained = parameters.into_iter().filter(|(_, tensor)| tensor.requires_grad());
        Self { decay, updates: 0, averaged: trained.map(|(name, tensor)| (name, tensor, None)).collect() }
    }

    /// Takes in the parameters after a step.
    pub(super) fn update(&mut self) -> Result<(), TchError> {
        let _without_gradient = tch::no_grad_guard();
        self.updates += 1;
        let updates = self.updates as f64;
        let decay = self.decay.min((1.0 + updates) / (10.0 + updates));
        for (_, parameter, average) in &mut self.averaged {
            match average {
                Some(average) => {
                    let _ = average.f_lerp_(&parameter.detach(), 1.0 - decay)?;
                }
                None => *average = Some(parameter.f_detach_copy()?),
            }
        }
        Ok(())
    }

    /// Gives the parameters the values of their averages; returns their own.
    pub(super) fn put_in(&self) -> Result<Vec<Tensor>, TchError> {
        let _without_gradient = tch::no_grad_guard();
        let trained = self.averaged.iter().map(|(_, parameter, _)| parameter.f_detach_copy());
        let trained = trained.collect::<Result<Vec<_>, _>>()?;
        for (_, parameter, average) in &self.averaged {
            if let Some(average) = average {
                parameter.shallow_clone().f_copy_(average)?;
            }
        }
        Ok(trained)
    }

    /// Gives the parameters the values that [`put_in`](Self::put_in) returned.
    pub(super) fn put_back(&self, trained: &[Tensor]) -> Result<(), TchError> {
        let _without_gradient = tch::no_grad_guard();
        self.averaged
            .iter()
            .zip(trained)
            .try_for_each(|((_, parameter, _), own)| parameter.shallow_clone().f_copy_(own))
    }

    /// The averages by name, and the number of updates.
    pub(super) fn state(&self) -> (Vec<(String, Tensor)>, u64) {
        let named = self
            .averaged
            .iter()
            .filter_map(|(name, _, average)| Some((format!("{name}{SUFFIX}"), average.as_ref()?.shallow_clone())));
        (named.collect(), self.updates)
    }

    /// The same at a saved state.
    pub(super) fn at(mut self, state: &BTreeMap<String, Tensor>, updates: u64) -> Result<Self> {
        if updates == 0 {
            return Ok(self);
        }
        for (name, parameter, average) in &mut self.averaged {
            let name = format!("{name}{SUFFIX}");
            match state.get(&name) {
                Some(saved) if saved.size() == parameter.size() => {
                    let saved = saved.f_to_device(parameter.device())?.f_to_kind(parameter.kind())?;
                    *average = Some(saved.f_detach_copy()?);
                }
                saved => {
                    let found = saved.map_or("nothing".to_string(), |saved| format!("{:?}", saved.size()));
                    let expected = format!("{:?}", parameter.size());
                    return Err(TrainError::OptimizerState { name, expected, found }.into());
                }
            }
        }
        self.updates = updates;
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_average_follows_its_formula_and_changes_places_with_the_weights() {
        let mut parameter = Tensor::from_slice(&[1.0, -2.0]).set_requires_grad(true);
        let mut average = Average::new(0.3, vec![("p".to_string(), parameter.shallow_clone())]);
        let mut expected = vec![0.0, 0.0];
        for step in 1..=4 {
            let _ = tch::no_grad(|| parameter.f_mul_scalar_(1.5).unwrap());
            average.update().unwrap();
            let decay = if step == 1 { 0.0 } else { f64::min(0.3, (1.0 + f64::from(step)) / (10.0 + f64::from(step))) };
            let values = Vec::<f64>::try_from(parameter.detach()).unwrap();
            expected = expected.iter().zip(values).map(|(a, p)| decay * a + (1.0 - decay) * p).collect();
        }
        let trained = Vec::<f64>::try_from(parameter.detach()).unwrap();
        let own = average.put_in().unwrap();
        let averaged = Vec::<f64>::try_from(parameter.detach()).unwrap();
        assert!(averaged.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-12), "{averaged:?} {expected:?}");
        average.put_back(&own).unwrap();
        assert_eq!(Vec::<f64>::try_from(parameter.detach()).unwrap(), trained);
    }
}
