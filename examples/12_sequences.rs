//! Regression on sequences: a network learns to reproduce a signal with a delay of 40 ms.
//!
//! Rates have no memory; the network's memory is its readout, an alpha synapse, which delays slow signals by twice its
//! time constant. Training differentiates through the filter: the loss compares output and delayed signal at every
//! timestep.
//!
//! `cargo run --release --example 12_sequences [folder]` prints errors and writes a figure.

mod common;

use std::sync::atomic::AtomicBool;

use tch::{Device, Kind, Tensor, nn};
use tch_spiking::data::{Batch, Samples, Target};
use tch_spiking::engine::Activity;
use tch_spiking::evaluate::{SpikingOptions, spiking_loss};
use tch_spiking::network::{Builder, Distribution, NeuronSpec};
use tch_spiking::neuron::Lif;
use tch_spiking::report::{Chart, Series, chart};
use tch_spiking::train::{MeanSquaredError, OptimizerConfig, Trainer, TrainingConfig, score_rates};
use tch_spiking::{Result, Synapse};

const STEPS: i64 = 400; // of 1 ms
const DELAY: i64 = 40;

/// Signals of up to 2.5 Hz that start from zero.
#[derive(Debug)]
struct Delayed(Tensor); // [T, N, 1]

impl Delayed {
    fn new(count: i64, phase: f64) -> Self {
        let count_to = |end: i64| Tensor::arange(end, (Kind::Double, Device::Cpu));
        let (time, number) = (count_to(STEPS).view([-1, 1]) * 0.001, count_to(count) + phase);
        let wave = |hertz: f64, shift: f64| (&time * (hertz * std::f64::consts::TAU) + &number * shift).sin();
        let rise = (&time * 20.0).tanh().square();
        let signals = (wave(1.0, 0.7) + wave(1.7, 1.9) + wave(2.5, 3.1)) * 0.4 * rise;
        Self(signals.unsqueeze(-1))
    }
}

impl Samples for Delayed {
    fn len(&self) -> i64 {
        self.0.size()[1]
    }
    fn batch(&self, rows: &[i64], to: Device, kind: Kind) -> Result<Batch> {
        let input = self.0.f_index_select(1, &Tensor::from_slice(rows))?.f_to_kind(kind)?.f_to_device(to)?;
        let silence = input.f_narrow(0, 0, DELAY)?.f_zeros_like()?;
        let later = Tensor::f_cat(&[silence, input.f_narrow(0, 0, STEPS - DELAY)?], 0)?;
        Ok(Batch { input: Activity::Varying(input), target: Target::Sequence(later) })
    }
}

fn main() -> anyhow::Result<()> {
    let epochs = if common::quick() { 4 } else { 20 };
    let (folder, test) = (tempfile::tempdir()?, Delayed::new(32, 0.5));
    let checkpoint = folder.path().join("sequences.safetensors");

    // In two parts: the second resumes from the checkpoint of the first.
    for epochs in [epochs / 2, epochs] {
        let mut trainer = trainer(epochs)?;
        if checkpoint.exists() {
            trainer.load_checkpoint(&checkpoint)?;
        }
        trainer.run(&mut (), &AtomicBool::new(false))?;
        trainer.save_checkpoint(&checkpoint)?;
        let losses: Vec<f64> = trainer.position().history.iter().map(|metrics| metrics.loss).collect();
        println!("mean square error of each epoch: {losses:.4?}");
    }
    let network = tch_spiking::weights::load_network(&checkpoint, Device::Cpu)?.network;
    let rates = score_rates(&network, &test, &MeanSquaredError)?.loss;
    let spikes = spiking_loss(&network, &test, &MeanSquaredError, SpikingOptions::default())?;
    println!("root mean square error: {:.3} as rates, {:.3} as spikes", rates.sqrt(), spikes.sqrt());

    let Batch { input, target } = test.batch(&[0], Device::Cpu, network.kind())?;
    let as_rates = tch::no_grad(|| network.rates_activity(&input, None))?;
    let as_spikes = network.simulate_sequence(input.tensor(), &[])?.output;
    let line = |name, values: &Tensor| -> Result<Series, tch::TchError> {
        let values = Vec::<f64>::try_from(values.f_flatten(0, -1)?.f_to_kind(Kind::Double)?)?;
        Ok(Series::line(name, (1..).map(f64::from).zip(values)))
    };
    let wanted = [line("signal", input.tensor())?, line("40 ms later", target.tensor())?];
    let learned = [line("rates", as_rates.tensor())?, line("spikes", &as_spikes)?];
    let series = wanted.into_iter().chain(learned).collect();
    let (title, x_label, y_label) = ("A signal, 40 ms later".into(), "time (ms)".into(), "value".into());
    common::save(&chart(&Chart { title, x_label, y_label, series, ..Chart::default() }), "sequences")
}

fn trainer(epochs: u64) -> Result<Trainer> {
    let neurons = NeuronSpec::new(Lif { amplitude: 0.01, smoothing: 0.02, ..Lif::default() });
    let intercepts = Distribution::Uniform { uniform: [-0.5, 0.5] };
    let network = Builder::new([1])
        .linear(300)
        .layer(neurons.tuned(150.0, intercepts))
        .linear(1)
        .layer(Synapse::Alpha { tau: 0.02 })
        .build(&nn::VarStore::new(Device::Cpu).root(), 0)?;
    let (batch_size, learning_rate, optimizer) = (16, 0.003, OptimizerConfig::adam());
    let config = TrainingConfig { epochs, batch_size, learning_rate, optimizer, ..TrainingConfig::default() };
    Ok(Trainer::new(network, config, 0, Delayed::new(64, 0.0))?.with_objective(MeanSquaredError))
}
