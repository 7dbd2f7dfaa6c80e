//! The same kernels on CUDA, compiled when they are first used: no CUDA is needed to build.
//!
//! | file | does |
//! |---|---|
//! | `source.rs` | writes a model's formulas, recorded as they run, as CUDA source |
//! | `compile.rs` | compiles it with NVRTC |
//! | `module.rs` | kernels on a device, cached; launched on libtorch's current stream |
//! | `launch.rs` | grids and arguments |
//!
//! Where NVRTC cannot be had, neurons are computed with tensor operations: [`status`] says why.

mod compile;
mod launch;
mod module;
mod source;

#[cfg(test)]
mod host_tests;

use std::sync::Arc;

use tch::{Device, Kind, TchError, Tensor};

pub(crate) use launch::ScanTensors;

use crate::neuron::{Lif, NeuronModel};
use module::{Key, Module, cached};

/// Whether the kernels can be compiled for and loaded on a CUDA device (counted from 0) that libtorch uses.
///
/// # Errors
/// Why they cannot; tensor operations are used then.
pub fn status(device: usize) -> Result<(), String> {
    cached_rate(&Lif::default(), device, Kind::Float).map(|_| ())
}

/// Whether there are kernels for the rate of this model on these tensors' device.
pub(crate) fn computes_rate<M: NeuronModel>(model: &M, input: &Tensor, bias: &Tensor) -> bool {
    bias.kind() == launch::computed(input.kind()) && rate_module(model, input).is_ok()
}

/// Whether there is a kernel for the spikes of this model on this tensor's device.
pub(crate) fn computes_spikes<M: NeuronModel>(model: &M, dt: f64, input: &Tensor) -> bool {
    input.kind() != Kind::BFloat16 && scan_module(model, dt, input).is_ok()
}

/// As [`kernels::rate_forward`](super::rate_forward), over contiguous tensors: input, gain and bias to the output.
pub(crate) fn rate_forward<M: NeuronModel>(
    model: &M,
    drive: [&Tensor; 3],
    output: &mut Tensor,
) -> Result<(), TchError> {
    let module = rate_module(model, drive[0]).map_err(TchError::Torch)?;
    launch::rate_forward(&|launch| module.run(launch), drive, output)
}

/// As [`kernels::rate_backward`](super::rate_backward), over contiguous tensors.
pub(crate) fn rate_backward<M: NeuronModel>(
    model: &M,
    drive: [&Tensor; 3],
    gradient: &mut Tensor,
    bias_gradient: &mut Tensor,
) -> Result<(), TchError> {
    let module = rate_module(model, drive[0]).map_err(TchError::Torch)?;
    launch::rate_backward(&|launch| module.run(launch), drive, gradient, bias_gradient)
}

/// As [`kernels::scan`](super::scan), over contiguous tensors.
pub(crate) fn scan<M: NeuronModel>(model: &M, dt: f64, tensors: ScanTensors) -> Result<(), TchError> {
    let module = scan_module(model, dt, tensors.drive[0]).map_err(TchError::Torch)?;
    launch::scan(&|launch| module.run(launch), tensors)
}

fn rate_module<M: NeuronModel>(model: &M, input: &Tensor) -> Result<Arc<Module>, String> {
    cached_rate(model, index(input)?, input.kind())
}

fn cached_rate<M: NeuronModel>(model: &M, device: usize, kind: Kind) -> Result<Arc<Module>, String> {
    cached(&Key { model: model.clone(), dt: None, kind, device }, || source::rate(model, kind))
}

fn scan_module<M: NeuronModel>(model: &M, dt: f64, input: &Tensor) -> Result<Arc<Module>, String> {
    let (device, kind) = (index(input)?, input.kind());
    cached(&Key { model: model.clone(), dt: Some(dt), kind, device }, || source::scan(model, dt, kind))
}

fn index(tensor: &Tensor) -> Result<usize, String> {
    match tensor.device() {
        Device::Cuda(index) => Ok(index),
        other => Err(format!("a CUDA kernel cannot compute on {other:?}")),
    }
}
