//! The whole method on the built-in digits: train with rates, run with spikes.
//!
//! `cargo run --release --example 04_train_digits`

mod common;

use tch::nn::{self, OptimizerConfig};
use tch::{Device, Kind, Tensor};
use tch_spiking::data::digits::{self, Split};
use tch_spiking::network::{Builder, Conv2d, NeuronSpec};
use tch_spiking::neuron::Lif;

const BATCH: i64 = 100;

fn main() -> anyhow::Result<()> {
    let quick = common::quick();
    let (train_images, test_images, epochs) = if quick { (2000, 500, 2) } else { (8000, 1000, 3) };
    let (train, train_labels) = tensors(Split::Train, train_images)?;
    let (test, test_labels) = tensors(Split::Test, test_images)?;

    // Amplitude 0.01: the output of a neuron at 100 Hz is 1. At x = 0 neurons are silent, at x = 1 they fire at 100 Hz.
    let neurons = || NeuronSpec::new(Lif { amplitude: 0.01, ..Lif::default() }).tuned(100.0, 0.0);
    let vs = nn::VarStore::new(Device::Cpu);
    let net = Builder::new([1, 28, 28])
        .layer(Conv2d::new(12, 5).stride(2))
        .layer(neurons())
        .layer(Conv2d::new(24, 3).stride(2))
        .layer(neurons())
        .flatten()
        .linear(10)
        .lowpass(0.1) // smooths the spikes' output over 0.1 s; passes rates through
        .build(&vs.root(), 0)?;

    tch::manual_seed(0); // for shuffling; the network has its own seed
    // Any optimiser and loss of tch: to them the network is a differentiable function.
    let mut optimiser = nn::Adam::default().build(&vs, 2e-3)?;
    for epoch in 1..=epochs {
        let order = Tensor::f_randperm(train_images, (Kind::Int64, Device::Cpu))?;
        let mut sum = 0.0;
        for batch in order.f_split(BATCH, 0)? {
            let logits = net.forward_training(&train.f_index_select(0, &batch)?, 0)?;
            let loss = logits.cross_entropy_for_logits(&train_labels.f_index_select(0, &batch)?);
            optimiser.backward_step(&loss);
            sum += loss.double_value(&[]) * batch.size()[0] as f64;
        }
        println!("epoch {epoch}: loss {:.3}", sum / train_images as f64);
    }

    let accuracy = |output: &Tensor| 100.0 * output.accuracy_for_logits(&test_labels).double_value(&[]);
    let rates = tch::no_grad(|| net.forward_rates(&test))?;
    println!("test accuracy as rates: {:.1} %", accuracy(&rates));

    // The same weights with spiking neurons: 100 timesteps of 1 ms, from a fresh state.
    let recording = net.simulate(&test, 100, &[])?;
    for steps in [5, 10, 20, 30, 50, 100] {
        println!("test accuracy as spikes after {steps:3} ms: {:.1} %", accuracy(&recording.output.get(steps - 1)));
    }
    Ok(())
}

/// Returns pixels as `[n, 1, 28, 28]` between 0 (background) and 4, and labels `[n]`.
fn tensors(split: Split, count: i64) -> Result<(Tensor, Tensor), tch::TchError> {
    let images = digits::generate(0, split, count as usize);
    let shape = [count, 1, images.height as i64, images.width as i64];
    let pixels = Tensor::f_from_slice(&images.pixels)?.f_reshape(shape)?.f_to_kind(Kind::Float)?.f_div_scalar(64.0)?;
    Ok((pixels, Tensor::f_from_slice(&images.labels)?.f_to_kind(Kind::Int64)?))
}
