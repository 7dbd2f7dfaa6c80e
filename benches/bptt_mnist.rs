//! The reference topology (convolutions 32, 64 / 2, 128 / 2, linear 10) trained through time on MNIST: images constant over
//! the timesteps, cross-entropy of the mean output. What `scripts/peers/bptt_mnist.py` measures of other packages.
//!
//! `cargo bench --bench bptt_mnist -- [--steps 8] [--batch 100] [--images 4000] [--epochs 1] [--test 1000] [--threads 2]`
//! prints a line of JSON: images per second of the last epoch (but its first five batches), peak memory (MiB) above what the
//! process held before training, accuracy. The images are MNIST's where it is found (`TCH_SPIKING_DATA`).

use std::time::Instant;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde_json::json;
use tch::nn::VarStore;
use tch::{Device, Kind, Reduction, Tensor};
use tch_spiking::data::{self, DataConfig, DatasetName, Images};
use tch_spiking::engine::{self, Activity, Mode, Pass, TrainingStep};
use tch_spiking::network::{Builder, Conv2d, InitialVoltage, NeuronSpec};
use tch_spiking::neuron::{Leaky, Reset};
use tch_spiking::surrogate::Surrogate;
use tch_spiking::train::{Optimizer, OptimizerConfig};
use tch_spiking::{Network, Result};

#[path = "common/memory.rs"]
mod memory;

use memory::Memory;

const DT: f64 = 0.001;
/// PyTorch's initial weights are too small for anything to spike.
const WEIGHTS: f64 = 6.0;
/// Batches of an epoch that are not counted.
const WARM_UP: usize = 5;

fn main() -> Result<()> {
    tch_spiking::kernels::keep_freed_memory();
    let option = |name: &str, default: usize| {
        let mut arguments = std::env::args().skip_while(|argument| argument != name);
        arguments.nth(1).and_then(|value| value.parse().ok()).unwrap_or(default)
    };
    let (steps, batch, threads) = (option("--steps", 8), option("--batch", 100), option("--threads", 2));
    tch::set_num_threads(threads as i32);
    tch::manual_seed(0);
    let config = DataConfig {
        dataset: DatasetName::Mnist,
        train_images: Some(option("--images", 4000)),
        test_images: Some(option("--test", 1000)),
        validation_images: 0,
        path: None,
    };
    let data = data::load(&config, 0, &mut |text| eprintln!("{text}"))?;
    let ((images, labels), test) = (tensors(&data.train)?, tensors(&data.test)?);
    drop(data);

    let vs = VarStore::new(Device::Cpu);
    let network = network(&vs)?;
    let adam = OptimizerConfig::Adam { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.0 };
    let mut optimizer = Optimizer::new(adam, network.named_parameters())?;
    let memory = Memory::watch();
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let (mut seconds, mut counted, mut last, mut number) = (f64::NAN, 0, f64::NAN, 0);
    for _ in 0..option("--epochs", 1) {
        let mut order: Vec<i64> = (0..images.size()[0]).collect();
        order.shuffle(&mut rng);
        let mut start = Instant::now();
        counted = 0;
        for (index, rows) in order.chunks_exact(batch).enumerate() {
            if index == WARM_UP {
                (start, counted) = (Instant::now(), 0);
            }
            let rows = Tensor::f_from_slice(rows)?;
            let training = Some(TrainingStep { number });
            let output = forward(&network, &images.f_index_select(0, &rows)?, steps as i64, training)?;
            let labels = labels.f_index_select(0, &rows)?;
            let loss = output.f_cross_entropy_loss(&labels, None::<Tensor>, Reduction::Mean, -100, 0.0)?;
            optimizer.zero_grad();
            loss.f_backward()?;
            optimizer.step(1e-3)?;
            last = loss.double_value(&[]);
            (number, counted) = (number + 1, counted + batch);
        }
        seconds = start.elapsed().as_secs_f64();
    }
    let peak = memory.peak_mib();
    let right = tch::no_grad(|| -> Result<f64> {
        let mut right = 0.0;
        for (images, labels) in test.0.f_split(200, 0)?.iter().zip(test.1.f_split(200, 0)?) {
            let answers = forward(&network, images, steps as i64, None)?.f_argmax(1, false)?;
            right += answers.f_eq_tensor(&labels)?.f_sum(Kind::Double)?.double_value(&[]);
        }
        Ok(right)
    })?;
    let rate = counted as f64 / seconds;
    let result = json!({
        "peer": "tch-spiking", "steps": steps, "batch": batch, "threads": threads, "images_per_second": rate,
        "seconds_60000": 60_000.0 / rate, "peak_mib": peak, "accuracy": right / test.1.size()[0].max(1) as f64, "loss": last,
    });
    println!("{result}");
    Ok(())
}

/// Images from 0 to 1, `[B, 1, 28, 28]`, and their labels.
fn tensors(images: &Images) -> Result<(Tensor, Tensor)> {
    let shape = [images.len() as i64, 1, images.height as i64, images.width as i64];
    let pixels = Tensor::f_from_slice(&images.pixels)?.f_reshape(shape)?.f_to_kind(Kind::Float)? / 255.0;
    Ok((pixels, Tensor::f_from_slice(&images.labels)?.f_to_kind(Kind::Int64)?))
}

/// The topology, with the weights of PyTorch's initialisation, those of the convolutions larger.
fn network(vs: &VarStore) -> Result<Network> {
    let leaky = Leaky { decay: Some(0.5), scale_input: true, reset: Reset::Zero, amplitude: DT, ..Leaky::default() };
    let neurons = || NeuronSpec { trainable_bias: false, ..NeuronSpec::new(leaky.clone()) };
    let network = Builder::new([1, 28, 28])
        .layer(Conv2d::new(32, 3))
        .layer(neurons())
        .layer(Conv2d::new(64, 3).stride(2))
        .layer(neurons())
        .layer(Conv2d::new(128, 3).stride(2))
        .layer(neurons())
        .flatten()
        .linear(10)
        .dt(DT)
        .initial_voltage(InitialVoltage::Zero)
        .build(&vs.root(), 0)?;
    let _without_gradient = tch::no_grad_guard();
    for layer in network.layers() {
        let parameters = layer.named_parameters();
        let find =
            |name: &str| parameters.iter().find(|(own, _)| *own == name).map(|(_, tensor)| tensor.shallow_clone());
        let (Some(mut weight), Some(mut bias)) = (find("weight"), find("bias")) else { continue };
        let bound = (weight.numel() as f64 / weight.size()[0] as f64).sqrt().recip();
        let _ = weight.f_uniform_(-bound, bound)?;
        let _ = bias.f_uniform_(-bound, bound)?;
        if weight.dim() == 4 {
            let _ = weight.f_mul_scalar_(WEIGHTS)?;
        }
    }
    Ok(network)
}

/// The mean output over the timesteps, `[B, 10]`.
fn forward(network: &Network, images: &Tensor, steps: i64, training: Option<TrainingStep>) -> Result<Tensor> {
    let mut state = network.zero_state(images.size()[0])?;
    let mode = Mode::Surrogate { surrogate: Surrogate::Atan { alpha: 2.0 }, truncate: None };
    let mut pass = Pass { mode, steps, training, observer: None };
    let output = engine::forward(network, &Activity::constant(images), Some(&mut state), &mut pass)?;
    Ok(output.tensor().f_mean_dim(0_i64, false, Kind::Float)?)
}
