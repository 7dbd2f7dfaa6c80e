//! How good a network is: as rates, and as spikes at every timestep.

use std::time::Instant;

use serde::Serialize;
use tch::{Kind, Tensor};

use crate::engine::{Input, Probe, Simulation};
use crate::error::Result;
use crate::network::{LayerKind, SpikingSequential};

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
    fn batches(&self, size: i64, kind: Kind) -> impl Iterator<Item = Result<(Tensor, Tensor)>> {
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

/// What came of running images as spikes.
#[derive(Clone, Debug, Serialize)]
pub struct SpikingEvaluation {
    /// The share of images classified right from the output at each step.
    pub accuracy_by_step: Vec<f64>,
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

/// Sums over the images seen so far.
struct Tally {
    spikes: f64,
    highest: f64,
    silent: f64,
    saturated: f64,
    ever: Option<Tensor>,
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
    let _without_gradient = tch::no_grad_guard();
    let start = Instant::now();
    let neurons: Vec<_> = network.layers().iter().filter(|layer| layer.neurons() > 0).collect();
    let probes: Vec<Probe> = neurons.iter().map(|layer| Probe::spike_count(layer.name())).collect();
    let simulation = Simulation { steps, probes: &probes, memory };
    let duration = steps as f64 * network.spec().dt;
    let mut right = Tensor::zeros([steps.max(0)], (Kind::Double, tch::Device::Cpu));
    let mut tallies: Vec<Tally> =
        neurons.iter().map(|_| Tally { spikes: 0.0, highest: 0.0, silent: 0.0, saturated: 0.0, ever: None }).collect();
    let mut done = 0;
    for batch in data.batches(250, network.kind()) {
        let (images, labels) = batch?;
        let recording = simulation.run(network, Input::Constant(&images))?;
        let guesses = recording.output.f_argmax(-1, false)?.f_eq_tensor(&labels)?;
        right += guesses.f_sum_dim_intlist(1, false, Kind::Double)?.to_device(tch::Device::Cpu);
        for ((layer, probe), tally) in neurons.iter().zip(&probes).zip(&mut tallies) {
            let LayerKind::Neuron(spec) = layer.kind() else { continue };
            let Some(counts) = recording.get(probe) else { continue };
            let most = spec.model.max_rate().min(1.0 / network.spec().dt) * duration;
            tally.add(counts, most)?;
        }
        done += images.size()[0];
        progress(done);
    }
    let images = data.len() as f64;
    let layers: Vec<LayerActivity> = neurons
        .iter()
        .zip(tallies)
        .map(|(layer, tally)| {
            let pairs = images * layer.neurons() as f64;
            let ever = tally.ever.map_or(0.0, |ever| ever.sum(Kind::Double).double_value(&[]));
            LayerActivity {
                name: layer.name().to_string(),
                neurons: layer.neurons(),
                mean_rate: tally.spikes / pairs / duration,
                max_rate: tally.highest / duration,
                silent_fraction: tally.silent / pairs,
                dead_fraction: 1.0 - ever / layer.neurons() as f64,
                saturated_fraction: tally.saturated / pairs,
                spikes_per_image: tally.spikes / images,
            }
        })
        .collect();
    Ok(SpikingEvaluation {
        accuracy_by_step: Vec::<f64>::try_from(right / images)?,
        spikes_per_image: layers.iter().map(|layer| layer.spikes_per_image).sum(),
        layers,
        seconds: start.elapsed().as_secs_f64(),
    })
}

impl Tally {
    /// Adds `counts` `[B, S]`, of neurons that can spike at most `most` times (infinite for those without a bound).
    fn add(&mut self, counts: &Tensor, most: f64) -> Result<()> {
        let number = |tensor: Tensor| tensor.f_sum(Kind::Double)?.f_double_value(&[]);
        self.spikes += number(counts.shallow_clone())?;
        self.highest = self.highest.max(counts.f_max()?.f_double_value(&[])?);
        self.silent += number(counts.f_eq(0.0)?)?;
        self.saturated += number(counts.f_ge(0.95 * most)?)?;
        let spiked = counts.f_gt(0.0)?.f_any_dim(0, false)?;
        self.ever = Some(match self.ever.take() {
            Some(ever) => ever.f_logical_or(&spiked)?,
            None => spiked,
        });
        Ok(())
    }
}
