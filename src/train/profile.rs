//! Profiling of a training step: the time of each layer, forward and backward.

use std::time::Instant;

use serde::Serialize;
use tch::{Device, Kind, Tensor};

use super::order::Order;
use super::watch::Watch;
use super::{Optimizer, Trainer};
use crate::engine::{Activity, Observer, TrainingStep, Visit};
use crate::error::Result;
use crate::native::autograd;
use crate::network::{Layer, LayerKind, NetworkError, Origin};

/// Warm-up steps, in which libtorch chooses algorithms and allocates memory.
const WARM_UP: usize = 5;

/// The time of each part of a training step. All times are medians over steps (ms).
#[derive(Clone, Debug, Serialize)]
pub struct Profile {
    /// The number of samples per step.
    pub batch_size: i64,
    /// The number of measured steps.
    pub steps: usize,
    /// Time to provide a batch to the first layer.
    pub data: f64,
    /// The time of each layer, in order.
    pub layers: Vec<LayerTime>,
    /// Time of the objective, forward and backward.
    pub loss: f64,
    /// Time of the optimiser step.
    pub optimizer: f64,
    /// The sum of the times above.
    pub sum: f64,
    /// Time of a whole training step, without measurements inside.
    pub step: f64,
    /// The share of convolutions and linear layers in the sum.
    pub affine_share: f64,
}

/// The time of one layer (ms).
#[derive(Clone, Debug, Serialize)]
pub struct LayerTime {
    /// The layer's name.
    pub name: String,
    /// Whether it is a convolution or a linear layer.
    pub affine: bool,
    /// Forward time, from input to output.
    pub forward: f64,
    /// Backward time, from the gradient of the output to the gradients of input and parameters.
    pub backward: f64,
}

/// One measured step.
struct Times {
    data: f64,
    /// Forward and backward of each layer.
    layers: Vec<[f64; 2]>,
    loss: f64,
    optimizer: f64,
}

/// The inputs and output of a layer, detached from the autograd graph of the network.
#[derive(Debug)]
struct Piece {
    /// The layer that each input comes from, none for the network's own, and the input.
    inputs: Vec<(Option<usize>, Tensor)>,
    output: Tensor,
    /// How long it took (ms).
    forward: f64,
}

/// Times each layer of a pass, and cuts the graph at its inputs.
#[derive(Debug)]
struct Pieces {
    device: Device,
    since: Instant,
    cut: Vec<Piece>,
}

impl Observer for Pieces {
    fn before(&mut self, _index: usize, layer: &Layer, inputs: &mut [Activity]) -> Result<()> {
        for (input, edge) in inputs.iter_mut().zip(layer.inputs()) {
            if edge.from != Origin::Input {
                let tensor = input.tensor();
                *input = input.with(tensor.detach().set_requires_grad(tensor.requires_grad()));
            }
        }
        wait(self.device);
        self.since = Instant::now();
        Ok(())
    }

    fn after(&mut self, visit: &mut Visit) -> Result<()> {
        wait(self.device);
        let forward = self.since.elapsed().as_secs_f64() * 1e3;
        let from = visit.layer.inputs().iter().map(|edge| match edge.from {
            Origin::Node(index) => Some(index),
            Origin::Input => None,
        });
        let inputs = from.zip(visit.inputs.iter().map(|input| input.tensor().shallow_clone())).collect();
        self.cut.push(Piece { inputs, output: visit.output.tensor().shallow_clone(), forward });
        Ok(())
    }
}

impl Trainer {
    /// Measures `steps` training steps layer by layer. The training is not changed: the learning rate is 0, and the
    /// optimiser is a separate one.
    ///
    /// # Errors
    /// If the network has delayed connections, or memory runs out.
    pub fn profile(&self, steps: usize) -> Result<Profile> {
        let network = &self.network;
        if network.is_recurrent() {
            let cause = "it has delayed connections: its layers cannot be timed one by one".to_string();
            return Err(NetworkError::Specification(cause).into());
        }
        self.stage.config.precision.set_up();
        let mut optimizer = Optimizer::new(self.stage.config.optimizer, network.named_parameters())?;
        let order = self.order(0);
        let buffers = network.named_parameters().into_iter().filter(|(_, tensor)| !tensor.requires_grad());
        let buffers: Vec<(Tensor, Tensor)> = buffers.map(|(_, tensor)| (tensor.copy(), tensor)).collect();
        let mut times = Vec::new();
        let mut whole = Vec::new();
        for round in 0..WARM_UP + steps.max(1) {
            let index = round as u64 % order.batches();
            let one = self.profile_step(&order, index, &mut optimizer)?;
            let (_, seconds) = timed(network.device(), || self.whole_step(&order, index, &mut optimizer))?;
            if round >= WARM_UP {
                times.push(one);
                whole.push(seconds);
            }
        }
        optimizer.zero_grad();
        // The running statistics of batch normalisations have changed.
        for (saved, mut buffer) in buffers {
            buffer.f_copy_(&saved)?;
        }
        Ok(self.summarise(&times, whole))
    }

    fn whole_step(&self, order: &Order, index: u64, optimizer: &mut Optimizer) -> Result<()> {
        let batch = self.batch(order.rows(index))?;
        optimizer.zero_grad();
        let training = Some(TrainingStep { number: index });
        let mut watch = Watch::new(&self.network, self.objective.readout());
        let output = watch.run(self.method(), &self.network, &batch.input, training, 0)?;
        self.objective.loss(&output, &batch.target)?.f_backward()?;
        optimizer.step(0.0)
    }

    fn profile_step(&self, order: &Order, index: u64, optimizer: &mut Optimizer) -> Result<Times> {
        let (network, device) = (&self.network, self.network.device());
        let (batch, data) = timed(device, || self.batch(order.rows(index)))?;
        optimizer.zero_grad();
        let mut pieces = Pieces { device, since: Instant::now(), cut: Vec::new() };
        let training = Some(TrainingStep { number: index });
        let output = self.method().forward(network, &batch.input, training, 0, Some(&mut pieces))?.detached()?;
        let pieces = pieces.cut;
        let mut layers: Vec<[f64; 2]> = pieces.iter().map(|piece| [piece.forward, 0.0]).collect();
        let ((), loss) = timed(device, || Ok(self.objective.loss(&output, &batch.target)?.f_backward()?))?;
        // The gradient of each layer's output, summed over the layers that read it.
        let mut gradients: Vec<Option<Tensor>> = pieces.iter().map(|_| None).collect();
        if let (Some(last), Some(piece)) = (gradients.last_mut(), pieces.last()) {
            *last = Some(output.tensor().grad().f_to_kind(piece.output.kind())?);
        }
        for (position, Piece { inputs, output, .. }) in pieces.iter().enumerate().rev() {
            let Some(gradient) = gradients[position].take().filter(|_| output.requires_grad()) else { continue };
            let seed = seed(output, gradient)?;
            layers[position][1] = timed(device, || Ok(seed.f_backward()?))?.1;
            for (from, input) in inputs.iter().filter(|(_, input)| input.requires_grad()) {
                let Some(sum) = from.and_then(|from| gradients.get_mut(from)) else { continue };
                let gradient = input.grad();
                *sum = Some(match sum.take() {
                    Some(sum) => sum.f_add(&gradient)?,
                    None => gradient,
                });
            }
        }
        let ((), optimizer) = timed(device, || optimizer.step(0.0))?;
        Ok(Times { data, layers, loss, optimizer })
    }

    fn summarise(&self, times: &[Times], whole: Vec<f64>) -> Profile {
        let of = |pick: &dyn Fn(&Times) -> f64| median(times.iter().map(pick).collect());
        let layer = |(position, layer): (usize, &crate::network::Layer)| LayerTime {
            name: layer.name().to_string(),
            affine: matches!(layer.kind(), LayerKind::Conv2d(_) | LayerKind::Linear(_)),
            forward: of(&|times| times.layers[position][0]),
            backward: of(&|times| times.layers[position][1]),
        };
        let layers: Vec<LayerTime> = self.network.layers().iter().enumerate().map(layer).collect();
        let (data, loss, optimizer) = (of(&|times| times.data), of(&|times| times.loss), of(&|times| times.optimizer));
        let spent = |affine_only: bool| -> f64 {
            layers.iter().filter(|time| time.affine || !affine_only).map(|time| time.forward + time.backward).sum()
        };
        let sum = data + loss + optimizer + spent(false);
        Profile {
            batch_size: self.training.len().min(self.stage.config.batch_size as i64),
            steps: times.len(),
            affine_share: spent(true) / sum,
            data,
            layers,
            loss,
            optimizer,
            sum,
            step: median(whole),
        }
    }
}

/// A scalar whose backward pass moves `gradient` to `output` without keeping a reference, as in training.
fn seed(output: &Tensor, gradient: Tensor) -> Result<Tensor> {
    let number = Tensor::f_zeros([] as [i64; 0], (Kind::Float, output.device()))?;
    let mut gradient = Some(gradient);
    autograd::attach("Seed", &[output], &[&number], move |_| Ok(vec![gradient.take()]))?;
    Ok(number)
}

/// The result of `work` and its duration (ms), including pending work of the device.
fn timed<T>(device: Device, work: impl FnOnce() -> Result<T>) -> Result<(T, f64)> {
    wait(device);
    let start = Instant::now();
    let result = work()?;
    wait(device);
    Ok((result, start.elapsed().as_secs_f64() * 1e3))
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Waits for pending work of the device.
fn wait(device: Device) {
    if let Device::Cuda(index) = device {
        tch::Cuda::synchronize(index as i64);
    }
}
