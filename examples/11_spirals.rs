//! The library's trainer on custom data: three spirals in a plane, one class each.
//!
//! The training stops half way, is saved, and is resumed by a second trainer. The network is trained with
//! rates and evaluated with spikes.
//!
//! `cargo run --release --example 11_spirals [folder]` prints accuracies and writes a figure.

mod common;

use std::sync::atomic::AtomicBool;

use tch::{Device, Kind, Tensor, nn};
use tch_spiking::data::Labelled;
use tch_spiking::evaluate::{rate_accuracy, spiking};
use tch_spiking::network::{Builder, Distribution, NeuronSpec};
use tch_spiking::neuron::Lif;
use tch_spiking::report::{Chart, Series, chart};
use tch_spiking::train::{OptimizerConfig, Trainer, TrainingConfig};

const STEPS: i64 = 100;

fn main() -> anyhow::Result<()> {
    let epochs = if common::quick() { 10 } else { 30 };
    let folder = tempfile::tempdir()?;
    let checkpoint = folder.path().join("spirals.safetensors");
    let go_on = AtomicBool::new(false);

    let mut first = trainer(epochs / 2)?;
    first.run(&mut (), &go_on)?;
    first.save_checkpoint(&checkpoint)?;
    // Weights, optimiser state and position come from the file: results are bit-identical to an uninterrupted run.
    let mut second = trainer(epochs)?;
    second.load_checkpoint(&checkpoint)?;
    second.run(&mut (), &go_on)?;
    for metrics in second.position().history.iter().step_by(3) {
        let accuracy = 100.0 * metrics.validation_accuracy.unwrap_or(f64::NAN);
        println!("epoch {:3}: loss {:.4}, validation accuracy {accuracy:.1} %", metrics.epoch, metrics.loss);
    }

    let (network, test) = (second.network(), spirals(400, 0.4)?);
    println!("test accuracy as rates: {:.1} %", 100.0 * rate_accuracy(network, &test)?);
    let spikes = spiking(network, &test, STEPS, 16 << 20, &mut |_| {})?;
    for steps in [5, 10, 20, 50, STEPS] {
        println!("as spikes after {steps:3} ms: {:.1} %", 100.0 * spikes.accuracy_by_step[steps as usize - 1]);
    }

    // The network's prediction over the plane.
    let axis = Tensor::linspace(-1.1, 1.1, 55, (Kind::Float, Device::Cpu));
    let plane = Tensor::cartesian_prod(&[&axis, &axis]);
    let answers = network.simulate(&plane, STEPS, &[])?.last_output().argmax(-1, false);
    let mut series = vec![];
    for class in 0..3 {
        series.push(Series::dots(format!("class {class}"), points(&plane, &answers.eq(class))?));
    }
    series.push(Series::dots("test points", points(&test.images, &test.labels.ge(0))?));
    let title = format!("Three spirals: the answer of spikes after {STEPS} ms");
    let (x_label, y_label) = ("first input".into(), "second input".into());
    common::save(&chart(&Chart { title, x_label, y_label, series, ..Chart::default() }), "spirals")
}

fn trainer(epochs: u64) -> tch_spiking::Result<Trainer> {
    let any = |low, high| Distribution::Uniform { uniform: [low, high] };
    let lif = || NeuronSpec::new(Lif { amplitude: 0.005, smoothing: 0.02, ..Lif::default() });
    let network = Builder::new([2])
        .linear(64)
        .layer(lif().tuned(any(200.0, 400.0), any(-1.0, 0.5)))
        .lowpass(0.01) // so that the second layer sees rates rather than single spikes
        .linear(64)
        .layer(lif().tuned(any(200.0, 400.0), any(-1.0, 0.5)))
        .linear(3)
        .lowpass(0.05)
        .build(&nn::VarStore::new(Device::Cpu).root(), 0)?;
    let optimizer = OptimizerConfig::adam();
    let config = TrainingConfig { epochs, batch_size: 50, learning_rate: 0.01, optimizer, ..TrainingConfig::default() };
    Trainer::new(network, config, 0, spirals(500, 0.0)?)?.with_validation(spirals(200, 0.7)?)
}

/// Returns `count` points of each of three arms, `[3 count, 2]`, and their classes; different points for another
/// `phase`.
fn spirals(count: i64, phase: f64) -> Result<Labelled, tch::TchError> {
    let classes = Tensor::arange(3, (Kind::Int64, Device::Cpu)).f_repeat_interleave_self_int(count, 0, None)?;
    let along = (Tensor::arange(3 * count, (Kind::Float, Device::Cpu)).f_fmod(count as f64)? + phase) / count as f64;
    let wobble = (&along * 997.0).f_sin()? * 0.12;
    let angle = &along * 7.0 + &classes * (std::f64::consts::TAU / 3.0) + wobble;
    let radius = along * 0.9 + 0.1;
    let images = Tensor::f_stack(&[&radius * angle.f_cos()?, &radius * angle.f_sin()?], 1)?;
    Ok(Labelled { images: images.f_to_kind(Kind::Float)?, labels: classes })
}

/// Returns the points `[n, 2]` for which `chosen` `[n]` is true.
fn points(all: &Tensor, chosen: &Tensor) -> Result<Vec<(f64, f64)>, tch::TchError> {
    let column =
        |index| Vec::<f64>::try_from(all.f_select(1, index)?.f_masked_select(chosen)?.f_to_kind(Kind::Double)?);
    Ok(column(0)?.into_iter().zip(column(1)?).collect())
}
