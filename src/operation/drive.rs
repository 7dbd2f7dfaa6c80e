//! What drives a layer of neurons, checked.

use tch::{Kind, Tensor};
use tch_spiking_core::kernels::NoiseKey;
use tch_spiking_core::neuron::NeuronError;

/// What drives a layer of spiking neurons: `J = gain * input + bias`.
#[derive(Clone, Copy, Debug)]
pub struct SpikingDrive<'a> {
    /// `[B, S]` (constant over time) or `[T, B, S]`.
    pub input: &'a Tensor,
    /// `S`.
    pub gain: &'a Tensor,
    /// `S`.
    pub bias: &'a Tensor,
    /// How many timesteps, `T`.
    pub steps: i64,
    /// The length of a timestep (s).
    pub dt: f64,
    /// The model's learned parameters, `[1]` or `S` each.
    pub learned: &'a [Tensor],
    /// Where a noisy model's random numbers come from.
    pub noise: Option<DriveNoise>,
}

/// The random numbers of a batch of samples in one layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DriveNoise {
    /// The layer's key.
    pub key: NoiseKey,
    /// The number of the first sample of the batch.
    pub first_sample: u64,
    /// The number of the first timestep.
    pub first_step: u64,
}

impl<'a> SpikingDrive<'a> {
    /// The drive of a model without learned parameters and noise.
    pub fn new(input: &'a Tensor, gain: &'a Tensor, bias: &'a Tensor, steps: i64, dt: f64) -> Self {
        Self { input, gain, bias, steps, dt, learned: &[], noise: None }
    }
}

/// The result of running a layer of spiking neurons.
#[derive(Debug)]
pub struct Spikes {
    /// `[T, B, S]`: spikes times amplitude over dt.
    pub output: Tensor,
    /// `[B, S]`: the output's sum over the steps, where the kernel had it at hand (on the CPU).
    pub total: Option<Tensor>,
    /// `[T, B, S]` for every state variable that was to be recorded, its value after each step.
    pub recorded: Vec<Option<Tensor>>,
}

/// Checks that `gain` and `bias` have one shape, and that the tensors are of real numbers of one kind on one device.
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
