//! Calibration of firing rate scales from images.

use serde::Serialize;
use tch::{Kind, Tensor};

use super::ConvertError;
use crate::engine::{Activity, Observer, Pass, Visit, forward};
use crate::error::Result;
use crate::network::{Parameters, SpikingSequential};
use crate::neuron::Neuron;
use crate::operation;

/// The target firing rate of a calibration.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CalibrationTarget {
    /// The percentile of a layer's rates over neurons and images: 0 to 100, 100 for the highest.
    pub percentile: f64,
    /// The target rate at this percentile (Hz).
    pub rate: f64,
}

impl Default for CalibrationTarget {
    /// One neuron in a thousand above 200 Hz.
    fn default() -> Self {
        Self { percentile: 99.9, rate: 200.0 }
    }
}

/// The calibrated scale of a layer of neurons.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Calibration {
    /// The layer's name.
    pub layer: String,
    /// The percentile of its unscaled rates (Hz).
    pub unscaled_rate: f64,
    /// The scale; 1 for a layer that is silent at that percentile.
    pub scale: f64,
    /// The percentile of its scaled rates (Hz).
    pub rate: f64,
}

/// Computes the scales of all layers of neurons of the unscaled `network`.
pub(super) fn calibrate(
    network: &SpikingSequential,
    images: &Tensor,
    target: CalibrationTarget,
) -> Result<Vec<Calibration>> {
    let _without_gradient = tch::no_grad_guard();
    let fail = |cause: String| ConvertError::Calibration(cause).into();
    if !(0.0..=100.0).contains(&target.percentile) {
        return Err(fail(format!("percentile = {} is not valid: expected 0 to 100", target.percentile)));
    }
    if !(target.rate > 0.0 && target.rate.is_finite()) {
        return Err(fail(format!("target rate = {} is not valid: expected a rate above 0 Hz", target.rate)));
    }
    let mut calibrator = Calibrator { target, chosen: Vec::new() };
    let images = Activity::constant(images);
    forward(network, &images, None, &mut Pass { observer: Some(&mut calibrator), ..Pass::rates() })?;
    Ok(calibrator.chosen)
}

/// Chooses the scale of each layer from its currents in a pass, and outputs the rates of the scaled neurons.
#[derive(Debug)]
struct Calibrator {
    target: CalibrationTarget,
    chosen: Vec<Calibration>,
}

impl Observer for Calibrator {
    fn after(&mut self, visit: &mut Visit) -> Result<()> {
        let Parameters::Neurons(neurons) = &visit.layer.parameters else { return Ok(()) };
        let fail = |cause: String| ConvertError::Calibration(cause).into();
        let (name, model, input) = (visit.layer.name(), &neurons.model, visit.inputs[0].tensor());
        let current = input.f_mul(&neurons.gain_like(input)?)?.f_add(&neurons.resting_current()?)?;
        if current.f_isfinite()?.f_all()?.f_int64_value(&[])? == 0 {
            return Err(fail(format!("the input currents of {name} are not all finite")));
        }
        let highest = percentile(&current, self.target.percentile)?;
        let most = model.require_rate()?.max_rate();
        if most <= self.target.rate {
            let kind = model.name();
            return Err(fail(format!("{name} ({kind}) fires at most at {most} Hz: choose a target rate below that")));
        }
        let scale = scale_for(model, highest, self.target.rate).unwrap_or(1.0);
        let (unscaled_rate, rate) = (hertz(model, highest), hertz(model, scale * highest));
        self.chosen.push(Calibration { layer: name.to_string(), unscaled_rate, scale, rate });
        // The input of the next layer; it changes for neurons whose rate is not proportional to the current.
        let shape = current.get(0);
        let scaled = model.with_amplitude(model.amplitude() / scale)?;
        let output = operation::rate(&scaled, &current, &shape.f_full_like(scale)?, &shape.f_zeros_like()?)?;
        visit.output = Activity::Constant(output);
        Ok(())
    }
}

/// The firing rate at a constant current (Hz); 0 for a model without a rate.
fn hertz(model: &Neuron, current: f64) -> f64 {
    model.rate().map_or(0.0, |rate| rate.at(current).value / model.amplitude())
}

/// The factor of `current` at which the neuron fires at `target` Hz; `None` if it never does.
fn scale_for(model: &Neuron, current: f64, target: f64) -> Option<f64> {
    // Rates rise with the current, so the logarithm of the factor can be bisected.
    const WIDEST: f64 = 60.0;
    let rate = |log: f64| hertz(model, log.exp() * current);
    let (mut low, mut high) = (-WIDEST, WIDEST);
    if !(current > 0.0 && rate(low) < target && rate(high) >= target) {
        return None;
    }
    for _ in 0..100 {
        let middle = 0.5 * (low + high);
        if rate(middle) < target { low = middle } else { high = middle }
    }
    Some(high.exp())
}

/// The smallest value that `percent` of the values do not exceed.
fn percentile(values: &Tensor, percent: f64) -> Result<f64> {
    let flat = values.f_contiguous()?.f_view(-1)?;
    let count = flat.numel() as i64;
    let rank = ((percent / 100.0 * count as f64).ceil() as i64).clamp(1, count.max(1));
    Ok(flat.f_kthvalue(rank, 0, false)?.0.f_to_kind(Kind::Double)?.f_double_value(&[])?)
}
