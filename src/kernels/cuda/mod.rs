//! The kernels on CUDA, compiled at first use: building does not need CUDA.
//!
//! | file | does |
//! |---|---|
//! | `source.rs` | prints recorded formulas as CUDA source, and the kernels of a model's rate |
//! | `scan_source.rs` | the spiking kernels: all timesteps, and their gradients |
//! | `compile.rs` | compiles it with NVRTC |
//! | `module.rs` | kernels on a device, cached; launched on libtorch's current stream |
//! | `launch.rs`, `scan_launch.rs` | grids and arguments |
//!
//! If NVRTC is not available, neurons are computed with tensor operations; [`status`] gives the reason.

mod compile;
mod launch;
mod module;
mod scan_launch;
mod scan_source;
mod source;

#[cfg(test)]
mod host;
#[cfg(test)]
mod host_tests;
#[cfg(test)]
mod scan_tests;

use std::sync::Arc;

use tch::{Device, Kind, TchError, Tensor};

pub(crate) use scan_launch::{BackwardTensors, ScanTensors};

use module::{Kernels, Key, Module, cached};
use tch_spiking_core::neuron::{Lif, Neuron};
use tch_spiking_core::surrogate::Surrogate;

/// Checks whether the kernels can be compiled for and loaded on a CUDA device (counted from 0) used by libtorch.
///
/// # Errors
/// Returns the reason if not; tensor operations are used then.
pub fn status(device: usize) -> Result<(), String> {
    cached_rate(&Lif::default().into(), device, Kind::Float).map(|_| ())
}

/// Returns whether there are rate kernels for this model on these tensors' device.
pub(crate) fn computes_rate(model: &Neuron, input: &Tensor, bias: &Tensor) -> bool {
    bias.kind() == launch::computed(input.kind()) && rate_module(model, input).is_ok()
}

/// Returns whether there is a spiking kernel for this model on these tensors' device.
pub(crate) fn computes_spikes(model: &Neuron, dt: f64, input: &Tensor, bias: &Tensor) -> bool {
    bias.kind() == launch::computed(input.kind()) && scan_module(model, dt, input).is_ok()
}

/// Returns whether there is a kernel for the gradients of this model over time on these tensors' device.
pub(crate) fn computes_gradients(
    model: &Neuron,
    dt: f64,
    surrogate: &Surrogate,
    input: &Tensor,
    bias: &Tensor,
) -> bool {
    bias.kind() == launch::computed(input.kind()) && backward_module(model, dt, surrogate, input).is_ok()
}

/// Runs [`kernels::rate_forward`](super::rate_forward) on contiguous tensors: input, gain and bias to output.
pub(crate) fn rate_forward(model: &Neuron, drive: [&Tensor; 3], output: &mut Tensor) -> Result<(), TchError> {
    let module = rate_module(model, drive[0]).map_err(TchError::Torch)?;
    launch::rate_forward(&|launch| module.run(launch), drive, output)
}

/// Runs [`kernels::rate_backward`](super::rate_backward) on contiguous tensors.
pub(crate) fn rate_backward(
    model: &Neuron,
    drive: [&Tensor; 3],
    gradient: &mut Tensor,
    bias_gradient: &mut Tensor,
) -> Result<(), TchError> {
    let module = rate_module(model, drive[0]).map_err(TchError::Torch)?;
    launch::rate_backward(&|launch| module.run(launch), drive, gradient, bias_gradient)
}

/// Runs [`kernels::scan`](super::scan) on contiguous tensors.
pub(crate) fn scan(model: &Neuron, dt: f64, tensors: ScanTensors) -> Result<(), TchError> {
    let module = scan_module(model, dt, tensors.drive[0]).map_err(TchError::Torch)?;
    scan_launch::scan(&|launch| module.run(launch), model, tensors)
}

/// Computes the gradients of [`scan`] on contiguous tensors, with `surrogate` as the derivative of the spike.
pub(crate) fn scan_backward(
    model: &Neuron,
    dt: f64,
    surrogate: &Surrogate,
    tensors: BackwardTensors,
) -> Result<(), TchError> {
    let module = backward_module(model, dt, surrogate, tensors.drive[0]).map_err(TchError::Torch)?;
    scan_launch::scan_backward(&|launch| module.run(launch), model, tensors)
}

fn rate_module(model: &Neuron, input: &Tensor) -> Result<Arc<Module>, String> {
    cached_rate(model, index(input)?, input.kind())
}

fn cached_rate(model: &Neuron, device: usize, kind: Kind) -> Result<Arc<Module>, String> {
    let key = Key { model: model.clone(), kernels: Kernels::Rate, kind, device };
    cached(&key, || source::rate(model, kind))
}

fn scan_module(model: &Neuron, dt: f64, input: &Tensor) -> Result<Arc<Module>, String> {
    let (device, kind) = (index(input)?, input.kind());
    let key = Key { model: model.clone(), kernels: Kernels::Scan { dt }, kind, device };
    cached(&key, || scan_source::scan(model, dt, kind))
}

fn backward_module(model: &Neuron, dt: f64, surrogate: &Surrogate, input: &Tensor) -> Result<Arc<Module>, String> {
    let (device, kind) = (index(input)?, input.kind());
    let kernels = Kernels::ScanBackward { dt, surrogate: *surrogate };
    let key = Key { model: model.clone(), kernels, kind, device };
    cached(&key, || scan_source::scan_backward(model, dt, surrogate, kind))
}

fn index(tensor: &Tensor) -> Result<usize, String> {
    match tensor.device() {
        Device::Cuda(index) => Ok(index),
        other => Err(format!("a CUDA kernel cannot compute on {other:?}")),
    }
}

/// The kernels' source on the host, for tests of what calls them.
#[cfg(test)]
pub(crate) mod on_host {
    pub(crate) use super::host::{Host, mixed};
    pub(crate) use super::scan_tests::Sample;
}
