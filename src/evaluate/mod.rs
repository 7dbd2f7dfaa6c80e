//! Evaluation of a network: accuracy as rates, and as spikes at every timestep.

mod loss;
mod tally;

use std::time::Instant;

use serde::Serialize;
use tch::{Kind, Tensor};

use self::tally::Tally;
use tch_spiking_core::event::RunOptions;
use tch_spiking_core::kernels::Number;

use crate::data::{Batch, DataError, Samples, Target, batches};
use crate::engine::{Engine, EventNetwork, Probe, Simulation, event};
use crate::error::Result;
use crate::kernels::{LibtorchThreads, TensorNumber, elements};
use crate::network::{LayerKind, NeuronSpec, SpikingSequential};

pub use self::loss::spiking_loss;
pub use crate::data::Labelled;

/// Computes the accuracy of the network as rates (0 to 1); `NaN` without samples. Over time, the answer is that of the
/// last timestep.
///
/// # Errors
/// If the samples do not match the network, or have no classes.
pub fn rate_accuracy(network: &SpikingSequential, data: &dyn Samples) -> Result<f64> {
    let _without_gradient = tch::no_grad_guard();
    let mut right = 0;
    for batch in batches(data, data.len(), 500, network) {
        let batch = batch?;
        let guess = network.rates_activity(&batch.input, None)?.last()?.f_argmax(-1, false)?;
        right += guess.f_eq_tensor(classes(&batch)?)?.f_sum(Kind::Int64)?.f_int64_value(&[])?;
    }
    Ok(right as f64 / data.len() as f64)
}

/// The classes of a batch.
fn classes(batch: &Batch) -> Result<&Tensor> {
    match &batch.target {
        Target::Classes(classes) => Ok(classes),
        Target::Values(_) | Target::Sequence(_) => {
            Err(DataError::Misfit("accuracy needs classes as targets, but the samples have values".to_string()).into())
        }
    }
}

/// Options of an evaluation as spikes.
#[derive(Clone, Copy, Debug)]
pub struct SpikingOptions {
    /// The number of timesteps; samples over time have their own number, equal for all.
    pub steps: i64,
    /// The memory budget (bytes), see [`Simulation::memory`].
    pub memory: usize,
    /// The engine.
    pub engine: Engine,
    /// The margin of the highest output over the second at which an image counts as answered; the event engine stops
    /// there.
    pub confidence: Option<f64>,
    /// The number of samples to run, from the first; all if not given.
    pub samples: Option<i64>,
}

impl Default for SpikingOptions {
    fn default() -> Self {
        let Simulation { steps, memory, engine, .. } = Simulation::default();
        Self { steps, memory, engine, confidence: None, samples: None }
    }
}

/// The result of an evaluation as spikes.
#[derive(Clone, Debug, Serialize)]
pub struct SpikingEvaluation {
    /// The accuracy from the output at each step (0 to 1). An image that stopped early keeps its answer.
    pub accuracy_by_step: Vec<f64>,
    /// The mean number of timesteps until the answer.
    pub mean_steps: f64,
    /// The engine that was used: `dense` or `event`.
    pub engine: &'static str,
    /// The activity of each layer of neurons.
    pub layers: Vec<LayerActivity>,
    /// The mean number of spikes of all neurons per image.
    pub spikes_per_image: f64,
    /// Duration (s).
    pub seconds: f64,
}

impl SpikingEvaluation {
    /// The accuracy at the last step.
    pub fn accuracy(&self) -> f64 {
        self.accuracy_by_step.last().copied().unwrap_or(f64::NAN)
    }
}

/// The activity of a layer of neurons, over all images.
#[derive(Clone, Debug, Serialize)]
pub struct LayerActivity {
    /// The layer's name.
    pub name: String,
    /// The number of neurons.
    pub neurons: i64,
    /// Mean firing rate (Hz).
    pub mean_rate: f64,
    /// The highest firing rate of any neuron for any image (Hz).
    pub max_rate: f64,
    /// The mean fraction of neurons that do not spike for an image.
    pub silent_fraction: f64,
    /// The fraction of neurons that do not spike for any image.
    pub dead_fraction: f64,
    /// The mean fraction of neurons that reach at least 95 % of the maximum spike count for an image.
    pub saturated_fraction: f64,
    /// The mean number of spikes of the layer per image.
    pub spikes_per_image: f64,
}

/// Evaluates `data` as spikes for `steps` timesteps; `memory` (bytes) limits how much is simulated at a time.
/// `progress` receives the number of completed images.
///
/// # Errors
/// If the images do not match the network, or `steps` is below 1.
pub fn spiking(
    network: &SpikingSequential,
    data: &dyn Samples,
    steps: i64,
    memory: usize,
    progress: &mut dyn FnMut(i64),
) -> Result<SpikingEvaluation> {
    spiking_with(network, data, SpikingOptions { steps, memory, ..SpikingOptions::default() }, progress)
}

/// Evaluates `data` as spikes, with all options.
///
/// # Errors
/// As for [`spiking`], or if the event engine was requested and cannot run the network.
pub fn spiking_with(
    network: &SpikingSequential,
    data: &dyn Samples,
    options: SpikingOptions,
    progress: &mut dyn FnMut(i64),
) -> Result<SpikingEvaluation> {
    match network.kind() {
        Kind::Double => evaluate::<f64>(network, data, options, progress),
        _ => evaluate::<f32>(network, data, options, progress),
    }
}

fn evaluate<R: Number + TensorNumber + tch::kind::Element>(
    network: &SpikingSequential,
    data: &dyn Samples,
    options: SpikingOptions,
    progress: &mut dyn FnMut(i64),
) -> Result<SpikingEvaluation> {
    let _without_gradient = tch::no_grad_guard();
    let start = Instant::now();
    let neurons: Vec<_> =
        network.layers().iter().enumerate().filter(|(_, layer)| layer.spiking_neurons() > 0).collect();
    let probes: Vec<Probe> = neurons.iter().map(|(_, layer)| Probe::spike_count(layer.name())).collect();
    let simulation = Simulation::new(options.steps).probes(&probes).memory(options.memory).engine(options.engine);
    let dt = network.spec().dt;
    let watched: Vec<Watched> = neurons
        .iter()
        .filter_map(|&(index, layer)| match layer.kind() {
            LayerKind::Neuron(spec) => Some(Watched { index, most_rate: most_rate(spec).min(1.0 / dt) * dt }),
            _ => None,
        })
        .collect();
    let outputs = network.output_shape().iter().product::<i64>().max(1) as usize;
    let mut tally = Tally::default();
    let mut event: Option<Option<EventNetwork<R>>> = None;
    let count = options.samples.unwrap_or(i64::MAX).clamp(0, data.len());
    let mut done = 0;
    for batch in batches(data, count, 250, network) {
        let batch = batch?;
        let labels = Vec::<i64>::try_from(classes(&batch)?)?;
        let input = &batch.input;
        let steps = input.steps().unwrap_or(options.steps);
        let simulation = Simulation { steps, first_sample: done as u64, ..simulation };
        let steps = usize::try_from(simulation.steps).unwrap_or(0);
        let event = match &event {
            Some(event) => event,
            None => event.insert(simulation.event(network, input)?),
        };
        match event {
            Some(compiled) => {
                let first_sample = simulation.first_sample;
                let how = RunOptions { margin: options.confidence, first_sample, ..RunOptions::new(steps) };
                let input = event::contiguous(network, input)?;
                let parts =
                    compiled.run_all(event::signal(&input)?, &LibtorchThreads, how, |tally: &mut Tally, done| {
                        let simulated = done.output.len() / outputs;
                        tally.judge(&done.output, outputs, labels[done.index], steps, options.confidence);
                        tally.simulated += simulated;
                        for (number, layer) in watched.iter().enumerate() {
                            let most = layer.most_rate * simulated as f64;
                            tally.layer(number).add(done.stored_counts(layer.index), most);
                        }
                    })?;
                parts.into_iter().for_each(|part| tally.merge(part));
            }
            None => {
                let recording = Simulation { engine: Engine::Dense, ..simulation }.run(network, input)?;
                let output = recording.output.f_transpose(0, 1)?.f_contiguous()?;
                for (output, &label) in elements::<R>(&output)?.chunks_exact(steps * outputs).zip(&labels) {
                    tally.judge(output, outputs, label, steps, options.confidence);
                    tally.simulated += steps;
                }
                for (number, (layer, probe)) in watched.iter().zip(&probes).enumerate() {
                    let Some(counts) = recording.get(probe) else { continue };
                    let counts = counts.f_contiguous()?;
                    for counts in elements::<R>(&counts)?.chunks_exact(counts.numel() / labels.len()) {
                        tally.layer(number).add(std::iter::once(counts), layer.most_rate * steps as f64);
                    }
                }
            }
        }
        done += labels.len() as i64;
        progress(done);
    }
    let images = count as f64;
    let duration = tally.simulated as f64 / images * dt;
    let layers: Vec<LayerActivity> = neurons
        .iter()
        .zip(std::mem::take(&mut tally.layers))
        .map(|(&(_, layer), tally)| {
            let pairs = images * layer.neurons() as f64;
            let ever = tally.ever.iter().filter(|&&ever| ever).count();
            LayerActivity {
                name: layer.name().to_string(),
                neurons: layer.neurons(),
                mean_rate: tally.spikes / pairs / duration,
                max_rate: tally.highest / duration,
                silent_fraction: tally.silent as f64 / pairs,
                dead_fraction: 1.0 - ever as f64 / layer.neurons() as f64,
                saturated_fraction: tally.saturated as f64 / pairs,
                spikes_per_image: tally.spikes / images,
            }
        })
        .collect();
    Ok(SpikingEvaluation {
        accuracy_by_step: tally.right.iter().map(|&right| right as f64 / images).collect(),
        mean_steps: tally.answered as f64 / images,
        engine: if event.flatten().is_some() { "event" } else { "dense" },
        spikes_per_image: layers.iter().map(|layer| layer.spikes_per_image).sum(),
        layers,
        seconds: start.elapsed().as_secs_f64(),
    })
}

/// A layer of neurons, and the maximum number of spikes of a neuron per step.
struct Watched {
    index: usize,
    most_rate: f64,
}

/// The highest firing rate of a layer's neurons (Hz), before the timestep bounds it.
fn most_rate(spec: &NeuronSpec) -> f64 {
    spec.model.rate().map_or(f64::INFINITY, |rate| rate.max_rate())
}
