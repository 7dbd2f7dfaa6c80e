//! Accuracy at few timesteps: a network trained as rates, and the same after two more epochs through time.
//!
//! Trained as rates, a network needs tens of timesteps until its spikes give the rates that it learned with. Trained through
//! time, with a surrogate for the derivative of the spike, it learns with the spikes of its first few steps.
//!
//! `cargo run --release --example 08_surrogate [folder]` prints accuracies and writes a figure.

mod common;

use std::sync::atomic::AtomicBool;

use tch::Device;
use tch::nn::VarStore;
use tch_spiking::data::{self, digits};
use tch_spiking::evaluate::spiking;
use tch_spiking::network::{Builder, Conv2d, Network, NeuronSpec};
use tch_spiking::neuron::Lif;
use tch_spiking::report::{Chart, Series, chart};
use tch_spiking::surrogate::Surrogate;
use tch_spiking::train::{Method, OptimizerConfig, Trainer, TrainingConfig};

/// The timesteps of training through time, of 1 ms each.
const STEPS: i64 = 6;

fn main() -> anyhow::Result<()> {
    let (images, epochs) = if common::quick() { (1000, 1) } else { (8000, 4) };
    let neurons = || NeuronSpec::new(Lif { amplitude: 0.01, ..Lif::default() }).tuned(100.0, 0.0);
    let network = Builder::new([1, 28, 28]) // raw pixels, 0 to 255
        .layer(Conv2d::new(12, 5).stride(2))
        .layer(neurons())
        .layer(Conv2d::new(24, 3).stride(2))
        .layer(neurons())
        .flatten()
        .linear(10)
        .lowpass(0.1)
        .build(&VarStore::new(Device::Cpu).root(), 0)?;

    let network = train(network, Method::Rate, epochs, images)?;
    let mut series = vec![curve(&network, "trained as rates")?];
    let surrogate = Surrogate::Atan { alpha: 2.0 };
    let through_time = Method::Surrogate { steps: Some(STEPS), surrogate, truncate: None };
    let network = train(network, through_time, 2, images)?;
    series.push(curve(&network, &format!("and 2 epochs through {STEPS} steps"))?);

    let (title, x_label, y_label) = ("Digits after few timesteps".into(), "timestep".into(), "accuracy (%)".into());
    common::save(&chart(&Chart { title, x_label, y_label, series, ..Chart::default() }), "surrogate")
}

/// Trains a network on the built-in digits.
fn train(network: Network, method: Method, epochs: u64, images: usize) -> tch_spiking::Result<Network> {
    let samples = data::samples(&digits::generate(0, digits::Split::Train, images), &network)?;
    let optimizer = OptimizerConfig::adam();
    let config = TrainingConfig { method, epochs, batch_size: 50, optimizer, ..TrainingConfig::default() };
    let mut trainer = Trainer::new(network, config, 0, samples)?;
    trainer.run(&mut (), &AtomicBool::new(false))?;
    Ok(trainer.into_network())
}

/// The accuracy of spikes after each timestep.
fn curve(network: &Network, name: &str) -> tch_spiking::Result<Series> {
    let test = data::samples(&digits::generate(0, digits::Split::Test, 1000), network)?;
    let evaluation = spiking(network, &test, 30, 64 << 20, &mut |_| {})?;
    let by_step = evaluation.accuracy_by_step.iter().map(|accuracy| 100.0 * accuracy);
    let at = |step: i64| 100.0 * evaluation.accuracy_by_step[step as usize - 1];
    println!("{name}: {:.1} % after {STEPS} steps, {:.1} % after 30", at(STEPS), at(30));
    Ok(Series::line(name, (1..).map(f64::from).zip(by_step)))
}
