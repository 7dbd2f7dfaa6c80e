//! The accuracy of a converted network over time.

use serde::Serialize;
use tch::{Kind, Tensor};

use super::verdict::verdict;
use crate::engine::{Activity, Engine, Observer, Pass, Probe, Recording, Simulation, Visit, forward};
use crate::error::Result;
use crate::evaluate::{Labelled, LayerActivity, SpikingOptions, rate_accuracy, spiking_with};
use crate::network::{LayerKind, SpikingSequential};

/// Options of a report.
#[derive(Clone, Copy, Debug)]
pub struct ReportOptions {
    /// The number of timesteps to report.
    pub steps: i64,
    /// The memory budget (bytes), see [`Simulation::memory`].
    pub memory: usize,
    /// The engine that computes the spikes.
    pub engine: Engine,
    /// The number of images for the comparison of rates and spikes per neuron.
    pub correlation_images: i64,
}

impl Default for ReportOptions {
    fn default() -> Self {
        let Simulation { memory, engine, .. } = Simulation::default();
        Self { steps: 60, memory, engine, correlation_images: 50 }
    }
}

/// A comparison of a converted network with its source, and of its spikes with its rates.
#[derive(Clone, Debug, Serialize)]
pub struct ConversionReport {
    /// The number of images.
    pub images: i64,
    /// The largest difference between an output of the source and of the converted network as rates.
    pub largest_difference: f64,
    /// The largest output of the source, for comparison.
    pub largest_output: f64,
    /// The source's accuracy.
    pub source_accuracy: f64,
    /// The converted network's accuracy as rates.
    pub rate_accuracy: f64,
    /// Its accuracy as spikes after each timestep.
    pub accuracy_by_step: Vec<f64>,
    /// The default number of timesteps of an inference.
    pub steps: i64,
    /// The length of a timestep (s).
    pub dt: f64,
    /// The activity of each layer of neurons.
    pub layers: Vec<LayerReport>,
    /// What limits the accuracy, and how to improve it, in one sentence.
    pub verdict: String,
}

/// The activity of a layer of neurons, and its deviation from the rates.
#[derive(Clone, Debug, Serialize)]
pub struct LayerReport {
    /// Firing rates and fractions of silent and saturated neurons.
    #[serde(flatten)]
    pub activity: LayerActivity,
    /// The mean number of spikes per neuron in the default number of timesteps.
    pub spikes_seen: f64,
    /// The correlation of the rates counted from spikes with the rates themselves, over neurons and images; none where
    /// one of them does not vary.
    pub correlation: Option<f64>,
    /// The maximum rate of its model (Hz); `None` if unbounded.
    pub most: Option<f64>,
}

impl ConversionReport {
    /// Compares `converted` with its `source` on `data`. `progress` receives the number of completed images.
    ///
    /// # Errors
    /// If the images do not match the networks, or `options.steps` is below 1.
    pub fn new(
        source: &SpikingSequential,
        converted: &SpikingSequential,
        data: &Labelled,
        options: ReportOptions,
        progress: &mut dyn FnMut(i64),
    ) -> Result<Self> {
        let _without_gradient = tch::no_grad_guard();
        let (largest_difference, largest_output) = largest_difference(source, converted, data)?;
        let ReportOptions { steps, memory, engine, correlation_images } = options;
        let spikes = SpikingOptions { steps, memory, engine, ..SpikingOptions::default() };
        let evaluation = spiking_with(converted, data, spikes, progress)?;
        let correlations = correlations(converted, &data.first(correlation_images), options)?;
        let (usual_steps, dt) = (converted.spec().steps, converted.spec().dt);
        let layers = evaluation.layers.into_iter().zip(correlations).map(|(activity, correlation)| {
            let spikes_seen = activity.mean_rate * usual_steps as f64 * dt;
            let most = converted.layer(&activity.name).and_then(|layer| match layer.kind() {
                LayerKind::Neuron(neurons) => {
                    neurons.model.rate().map(|rate| rate.max_rate()).filter(|rate| rate.is_finite())
                }
                _ => None,
            });
            LayerReport { activity, spikes_seen, correlation, most }
        });
        let mut report = Self {
            images: data.len(),
            largest_difference,
            largest_output,
            source_accuracy: rate_accuracy(source, data)?,
            rate_accuracy: rate_accuracy(converted, data)?,
            accuracy_by_step: evaluation.accuracy_by_step,
            steps: usual_steps,
            dt,
            layers: layers.collect(),
            verdict: String::new(),
        };
        let filtered = converted.layers().iter().any(|layer| matches!(layer.kind(), LayerKind::Synapse(_)));
        report.verdict = verdict(&report, filtered);
        Ok(report)
    }

    /// The accuracy as spikes after `step` timesteps, or after the last one if there are fewer.
    pub fn accuracy_at(&self, step: i64) -> f64 {
        let index = usize::try_from(step - 1).unwrap_or(0).min(self.accuracy_by_step.len().saturating_sub(1));
        self.accuracy_by_step.get(index).copied().unwrap_or(f64::NAN)
    }
}

/// The largest absolute difference of outputs as rates, and the largest output of the source.
fn largest_difference(
    source: &SpikingSequential,
    converted: &SpikingSequential,
    data: &Labelled,
) -> Result<(f64, f64)> {
    let largest = |tensor: &Tensor| -> Result<f64> { Ok(tensor.f_abs()?.f_max()?.f_double_value(&[])?) };
    let (mut difference, mut output) = (0.0_f64, 0.0_f64);
    for batch in data.batches(250, source.kind()) {
        let (images, _) = batch?;
        let expected = source.forward_rates(&images)?;
        difference = difference.max(largest(&converted.forward_rates(&images)?.f_sub(&expected)?)?);
        output = output.max(largest(&expected)?);
    }
    Ok((difference, output))
}

/// The correlation of counted with computed rates, for every layer of neurons.
fn correlations(network: &SpikingSequential, data: &Labelled, options: ReportOptions) -> Result<Vec<Option<f64>>> {
    let images = data.images.f_to_kind(network.kind())?;
    let probes: Vec<Probe> = network
        .layers()
        .iter()
        .filter(|layer| layer.spiking_neurons() > 0)
        .map(|layer| Probe::spike_count(layer.name()))
        .collect();
    let ReportOptions { steps, memory, engine, .. } = options;
    let simulation = Simulation::new(steps).probes(&probes).memory(memory).engine(engine);
    let images = Activity::Constant(images);
    let recording = simulation.run(network, &images)?;
    let mut correlations = Correlations { recording, found: Vec::new() };
    forward(network, &images, None, &mut Pass { observer: Some(&mut correlations), ..Pass::rates() })?;
    Ok(correlations.found)
}

/// Compares the rates of a pass with the spikes counted before.
#[derive(Debug)]
struct Correlations {
    recording: Recording,
    found: Vec<Option<f64>>,
}

impl Observer for Correlations {
    fn after(&mut self, visit: &mut Visit) -> Result<()> {
        if let Some(counts) = self.recording.get(&Probe::spike_count(visit.layer.name())) {
            self.found.push(correlation(visit.output.tensor(), counts)?);
        }
        Ok(())
    }
}

/// The Pearson correlation; `None` without variance.
fn correlation(a: &Tensor, b: &Tensor) -> Result<Option<f64>> {
    let centred = |tensor: &Tensor| -> Result<Tensor> {
        let tensor = tensor.f_to_kind(Kind::Double)?;
        Ok(tensor.f_sub(&tensor.f_mean(Kind::Double)?)?)
    };
    let (a, b) = (centred(a)?, centred(b)?);
    let product = |a: &Tensor, b: &Tensor| -> Result<f64> { Ok(a.f_mul(b)?.f_sum(Kind::Double)?.f_double_value(&[])?) };
    let correlation = product(&a, &b)? / (product(&a, &a)? * product(&b, &b)?).sqrt();
    Ok(Some(correlation).filter(|correlation| correlation.is_finite()))
}
