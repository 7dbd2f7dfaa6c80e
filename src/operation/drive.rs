//! The inputs of a layer of neurons, with checks.

use tch::{Kind, Tensor};
use tch_spiking_core::kernels::NoiseKey;
use tch_spiking_core::neuron::NeuronError;

/// The inputs of a layer of spiking neurons: `J = gain * input + bias`.
#[derive(Clone, Copy, Debug)]
pub struct SpikingDrive<'a> {
    /// Input, `[B, S]` (constant over time) or `[T, B, S]`.
    pub input: &'a Tensor,
    /// Gain, `S`.
    pub gain: &'a Tensor,
    /// Bias, `S`.
    pub bias: &'a Tensor,
    /// Number of timesteps, `T`.
    pub steps: i64,
    /// Timestep (s).
    pub dt: f64,
    /// Learned parameters of the model, `[1]` or `S` each.
    pub learned: &'a [Tensor],
    /// Source of random numbers for noisy models.
    pub noise: Option<DriveNoise>,
}

/// The random numbers of a batch of samples in one layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DriveNoise {
    /// The layer's key.
    pub key: NoiseKey,
    /// Index of the first sample of the batch.
    pub first_sample: u64,
    /// Index of the first timestep.
    pub first_step: u64,
}

impl<'a> SpikingDrive<'a> {
    /// Creates the inputs of a model without learned parameters or noise.
    pub fn new(input: &'a Tensor, gain: &'a Tensor, bias: &'a Tensor, steps: i64, dt: f64) -> Self {
        Self { input, gain, bias, steps, dt, learned: &[], noise: None }
    }
}

/// The result of running a layer of spiking neurons.
#[derive(Debug)]
pub struct Spikes {
    /// Output, `[T, B, S]`: spikes times amplitude over dt.
    pub output: Tensor,
    /// Sum of the output over the steps, `[B, S]`, if the kernel computed it (on the CPU).
    pub total: Option<Tensor>,
    /// For every recorded state variable, its value after each step, `[T, B, S]`.
    pub recorded: Vec<Option<Tensor>>,
}

/// Checks that `gain` and `bias` have the same shape, and that the tensors are floating-point, of one dtype and on one
/// device.
pub(super) fn check_drive(
    neuron: &'static str,
    input: &Tensor,
    gain: &Tensor,
    bias: &Tensor,
) -> Result<(), NeuronError> {
    let fail = |cause| Err(NeuronError::Input { neuron, cause });
    let shape = bias.size();
    if gain.size() != shape {
        return fail(format!("gain has shape {:?}, bias {shape:?}: they must be equal", gain.size()));
    }
    if !input.size().ends_with(&shape) {
        return fail(format!("the input's shape {:?} does not end with that of the neurons, {shape:?}", input.size()));
    }
    if !matches!(input.kind(), Kind::Float | Kind::Double | Kind::Half | Kind::BFloat16) {
        return fail(format!("the input is {:?}: expected real numbers, such as Float", input.kind()));
    }
    for (name, tensor) in [("gain", gain), ("bias", bias)] {
        let mixed = matches!(input.kind(), Kind::Half | Kind::BFloat16) && tensor.kind() == Kind::Float;
        if !(tensor.kind() == input.kind() || mixed) || tensor.device() != input.device() {
            return fail(format!(
                "{name} is {:?} on {:?}, the input {:?} on {:?}: they must be equal",
                tensor.kind(),
                tensor.device(),
                input.kind(),
                input.device()
            ));
        }
    }
    Ok(())
}
