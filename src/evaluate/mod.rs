//! How good a network is: as rates, and as spikes at every timestep.

mod tally;

use std::time::Instant;

use serde::Serialize;
use tch::{Kind, Tensor};

use self::tally::Tally;
use tch_spiking_core::event::Until;
use tch_spiking_core::kernels::Number;

use crate::engine::{Activity, Engine, EventNetwork, Probe, Simulation, event};
use crate::error::Result;
use crate::kernels::{TensorNumber, elements};
use crate::network::{LayerKind, NeuronSpec, SpikingSequential};

/// Images and what they show.
#[derive(Debug)]
pub struct Labelled {
    /// `[N, C, H, W]`, of any kind; converted batch by batch.
    pub images: Tensor,
    /// `[N]`, `Int64`.
    pub labels: Tensor,
}

impl Labelled {
    /// How many.
    pub fn len(&self) -> i64 {
        self.labels.size().first().copied().unwrap_or(0)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The first `count`, or all if there are fewer.
    pub fn first(&self, count: i64) -> Self {
        let count = count.clamp(0, self.len());
        Self { images: self.images.narrow(0, 0, count), labels: self.labels.narrow(0, 0, count) }
    }

    /// Batches of up to `size` images in the network's kind, with their labels.
    pub(crate) fn batches(&self, size: i64, kind: Kind) -> impl Iterator<Item = Result<(Tensor, Tensor)>> {
        (0..self.len()).step_by(size.max(1) as usize).map(move |start| {
            let count = size.min(self.len() - start);
            let images = self.images.f_narrow(0, start, count)?.f_to_kind(kind)?;
            Ok((images, self.labels.f_narrow(0, start, count)?))
        })
    }
}

/// The share of images that the network, as rates, classifies right; `NaN` of no images.
///
/// # Errors
/// If the images are not what the network takes.
pub fn rate_accuracy(network: &SpikingSequential, data: &Labelled) -> Result<f64> {
    let _without_gradient = tch::no_grad_guard();
    let mut right = 0;
    for batch in data.batches(500, network.kind()) {
        let (images, labels) = batch?;
        let guess = network.forward_rates(&images)?.f_argmax(-1, false)?;
        right += guess.f_eq_tensor(&labels)?.f_sum(Kind::Int64)?.f_int64_value(&[])?;
    }
    Ok(right as f64 / data.len() as f64)
}

/// How to run images as spikes.
#[derive(Clone, Copy, Debug)]
pub struct SpikingOptions {
    /// How many timesteps.
    pub steps: i64,
    /// See [`Simulation::memory`].
    pub memory: usize,
    /// What computes it.
    pub engine: Engine,
    /// An image is answered as soon as the highest output leads the second by this much; the event engine stops there.
    pub confidence: Option<f64>,
}

impl Default for SpikingOptions {
    fn default() -> Self {
        let Simulation { steps, memory, engine, .. } = Simulation::default();
        Self { steps, memory, engine, confidence: None }
    }
}

/// What came of running images as spikes.
#[derive(Clone, Debug, Serialize)]
pub struct SpikingEvaluation {
    /// The share of images classified right from the output at each step. An image that stopped early keeps its answer.
    pub accuracy_by_step: Vec<f64>,
    /// Timesteps until the answer, on average.
    pub mean_steps: f64,
    /// What computed it: `dense` or `event`.
    pub engine: &'static str,
    /// What the neurons did.
    pub layers: Vec<LayerActivity>,
    /// Spikes of all neurons for one image, on average.
    pub spikes_per_image: f64,
    /// How long it took (s).
    pub seconds: f64,
}

impl SpikingEvaluation {
    /// The accuracy at the last step.
    pub fn accuracy(&self) -> f64 {
        self.accuracy_by_step.last().copied().unwrap_or(f64::NAN)
    }
}

/// What a layer of neurons did, over all images.
#[derive(Clone, Debug, Serialize)]
pub struct LayerActivity {
    /// The layer's name.
    pub name: String,
    /// How many neurons it has.
    pub neurons: i64,
    /// Mean firing rate (Hz).
    pub mean_rate: f64,
    /// The highest firing rate of any neuron for any image (Hz).
    pub max_rate: f64,
    /// The share of neurons that do not spike for an image, on average.
    pub silent_fraction: f64,
    /// The share of neurons that spike for no image at all.
    pub dead_fraction: f64,
    /// The share of neurons that spike for an image as often as they can (95 % of it), on average.
    pub saturated_fraction: f64,
    /// Spikes of the layer for one image, on average.
    pub spikes_per_image: f64,
}

/// Runs `data` through the spiking network for `steps` timesteps; `memory` (bytes) bounds what is simulated at a time.
/// `progress` is told how many images are done.
///
/// # Errors
/// If the images are not what the network takes, or `steps` is below 1.
pub fn spiking(
    network: &SpikingSequential,
    data: &Labelled,
    steps: i64,
    memory: usize,
    progress: &mut dyn FnMut(i64),
) -> Result<SpikingEvaluation> {
    spiking_with(network, data, SpikingOptions { steps, memory, ..SpikingOptions::default() }, progress)
}

/// The same with all options.
///
/// # Errors
/// As for [`spiking`], or if the event engine was asked for and cannot run the network.
pub fn spiking_with(
    network: &SpikingSequential,
    data: &Labelled,
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
    data: &Labelled,
    options: SpikingOptions,
    progress: &mut dyn FnMut(i64),
) -> Result<SpikingEvaluation> {
    let _without_gradient = tch::no_grad_guard();
    let start = Instant::now();
    let neurons: Vec<_> = network.layers().iter().enumerate().filter(|(_, layer)| layer.neurons() > 0).collect();
    let probes: Vec<Probe> = neurons.iter().map(|(_, layer)| Probe::spike_count(layer.name())).collect();
    let simulation =
        Simulation { steps: options.steps, probes: &probes, memory: options.memory, engine: options.engine };
    let dt = network.spec().dt;
    let watched: Vec<Watched> = neurons
        .iter()
        .filter_map(|&(index, layer)| match layer.kind() {
            LayerKind::Neuron(spec) => Some(Watched { index, most_rate: most_rate(spec).min(1.0 / dt) * dt }),
            _ => None,
        })
        .collect();
    let steps = usize::try_from(options.steps).unwrap_or(0);
    let outputs = network.output_shape().iter().product::<i64>().max(1) as usize;
    let mut tally = Tally::default();
    let mut event: Option<Option<EventNetwork<R>>> = None;
    let mut done = 0;
    for batch in data.batches(250, network.kind()) {
        let (images, labels) = batch?;
        let images = Activity::Constant(images);
        let labels = Vec::<i64>::try_from(labels)?;
        let event = match &event {
            Some(event) => event,
            None => event.insert(simulation.event(network, &images)?),
        };
        match event {
            Some(compiled) => {
                let until = Until { steps, margin: options.confidence, keep: &[] };
                let images = images.tensor().f_contiguous()?;
                let parts =
                    compiled.run_all(elements(&images)?, event::threads(), until, |tally: &mut Tally, done| {
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
                let recording = Simulation { engine: Engine::Dense, ..simulation }.run(network, &images)?;
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
    let images = data.len() as f64;
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

/// A layer of neurons, and how often a neuron of it can spike in a step.
struct Watched {
    index: usize,
    most_rate: f64,
}

/// The highest firing rate of a layer's neurons (Hz), before the timestep bounds it.
fn most_rate(spec: &NeuronSpec) -> f64 {
    spec.model.rate().map_or(f64::INFINITY, |rate| rate.max_rate())
}
