//! Neurons behind one interface, over tensors: what layers hold.

use std::any::Any;
use std::fmt::Debug;
use std::sync::Arc;

use tch::{Kind, Tensor};

use super::{Formula, NeuronError, NeuronModel, Rate, StateArray, Traced, rate_operation, spiking_operation};
use crate::error::Result;
use crate::kernels::{self, NeuronBlock};

/// Any [`NeuronModel`], over whole layers of tensors. Every model implements it; nothing else needs to.
pub trait Neuron: Any + Debug + Send + Sync {
    /// The model's name: `lif`.
    fn name(&self) -> &'static str;
    /// The names of its state variables.
    fn state_names(&self) -> &'static [&'static str];
    /// Its parameters by name.
    fn parameters(&self) -> toml::Table;
    /// See [`NeuronModel::validate`].
    ///
    /// # Errors
    /// Naming the parameter.
    fn validate(&self) -> Result<(), NeuronError>;
    /// See [`NeuronModel::amplitude`].
    fn amplitude(&self) -> f64;
    /// The same model with this amplitude.
    ///
    /// # Errors
    /// If the model has no parameter called `amplitude`, or the amplitude is not valid.
    fn with_amplitude(&self, amplitude: f64) -> Result<Arc<dyn Neuron>, NeuronError>;
    /// See [`NeuronModel::max_rate`] (Hz).
    fn max_rate(&self) -> f64;
    /// See [`NeuronModel::gain_bias`].
    ///
    /// # Errors
    /// When no gain and bias do that.
    fn gain_bias(&self, max_rate: f64, intercept: f64) -> Result<(f64, f64), NeuronError>;
    /// See [`NeuronModel::rate`].
    fn rate_at(&self, current: f64) -> Rate<f64>;
    /// [`NeuronModel::rate`] recorded: from the current to the output and its derivative.
    fn rate_formula(&self) -> Formula;
    /// [`NeuronModel::step`] of `dt` seconds recorded: from the current and the state variables to the output and the state
    /// variables.
    fn step_formula(&self, dt: f64) -> Formula;

    /// The training face: `rate(gain * input + bias)`, differentiable with respect to `input` and `bias`.
    ///
    /// # Shapes
    /// - `input`: `[.., S]`, with `S` the layer's shape, such as `[B, C, H, W]`; `gain`, `bias`: `S`, of the input's kind,
    ///   or `Float` where that is `BFloat16` or `Half`: all is then computed in `Float` and rounded once.
    /// - returns the shape, kind and memory layout of `input`.
    ///
    /// # Errors
    /// When shapes, kinds or devices differ.
    fn rate(&self, input: &Tensor, gain: &Tensor, bias: &Tensor) -> Result<Tensor>;

    /// The inference face: `steps` timesteps of `dt` seconds of the spiking neuron, from `state`, which is moved on.
    ///
    /// # Shapes
    /// - `input`: `[B, S]`, constant over time, or `[T, B, S]` with `T = steps`; `gain`, `bias`: `S`.
    /// - `state`: a `[B, S]` tensor for each of [`state_names`](Self::state_names).
    /// - returns output (spikes times amplitude over dt) `[T, B, S]`.
    ///
    /// # Errors
    /// When shapes, kinds or devices differ.
    fn spike(&self, drive: &SpikingDrive, state: &mut [Tensor], record: &[bool]) -> Result<Spikes>;

    /// Spiking-aware training, as KerasSpiking does it: forward the spikes of [`spike`](Self::spike), backward the gradient of
    /// the rate at every timestep, `d output[t] / d input[t] = rate'(J[t]) * gain`, as if the neuron had no memory. What a
    /// network sees in training are then the spikes that it will see in inference. No gradient flows into `state`.
    ///
    /// # Shapes
    /// As for [`spike`](Self::spike); with a constant input the gradient is the sum over the timesteps.
    ///
    /// # Errors
    /// When shapes, kinds or devices differ.
    fn spike_aware(&self, drive: &SpikingDrive, state: &mut [Tensor]) -> Result<Spikes>;

    /// The inference face on plain memory in single precision; lengths that do not fit are a panic.
    fn advance_f32(&self, block: NeuronBlock<f32>);
    /// The inference face on plain memory in double precision; lengths that do not fit are a panic.
    fn advance_f64(&self, block: NeuronBlock<f64>);
}

/// What drives a layer of spiking neurons.
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
}

/// What a layer of spiking neurons did.
#[derive(Debug)]
pub struct Spikes {
    /// `[T, B, S]`: spikes times amplitude over dt.
    pub output: Tensor,
    /// `[B, S]`: the output's sum over the steps, where the kernel had it at hand (on the CPU).
    pub total: Option<Tensor>,
    /// `[T, B, S]` for every state variable that was to be recorded, its value after each step.
    pub recorded: Vec<Option<Tensor>>,
}

impl<M: NeuronModel> Neuron for M {
    fn name(&self) -> &'static str {
        M::NAME
    }
    fn state_names(&self) -> &'static [&'static str] {
        M::STATE
    }
    fn parameters(&self) -> toml::Table {
        // A model is a struct of numbers; one that is not has no parameters to show.
        toml::Table::try_from(self).unwrap_or_default()
    }
    fn validate(&self) -> Result<(), NeuronError> {
        NeuronModel::validate(self)
    }
    fn amplitude(&self) -> f64 {
        NeuronModel::amplitude(self)
    }
    fn with_amplitude(&self, amplitude: f64) -> Result<Arc<dyn Neuron>, NeuronError> {
        let fail = |cause: String| NeuronError::Specification { neuron: M::NAME.to_string(), cause };
        let mut parameters = Neuron::parameters(self);
        if parameters.insert("amplitude".to_string(), amplitude.into()).is_none() {
            return Err(fail("it has no parameter called `amplitude`, so its spikes cannot be scaled".to_string()));
        }
        let model: M = parameters.try_into().map_err(|error: toml::de::Error| fail(error.message().to_string()))?;
        NeuronModel::validate(&model)?;
        Ok(Arc::new(model))
    }
    fn max_rate(&self) -> f64 {
        NeuronModel::max_rate(self)
    }
    fn gain_bias(&self, max_rate: f64, intercept: f64) -> Result<(f64, f64), NeuronError> {
        NeuronModel::gain_bias(self, max_rate, intercept)
    }
    fn rate_at(&self, current: f64) -> Rate<f64> {
        NeuronModel::rate(self, current)
    }
    fn rate_formula(&self) -> Formula {
        Formula::record(1, |current| {
            let rate = NeuronModel::rate(self, current[0]);
            vec![rate.value, rate.derivative]
        })
    }
    fn step_formula(&self, dt: f64) -> Formula {
        Formula::record(1 + M::STATE.len(), |inputs| {
            let mut state = M::State::<Traced>::from_fn(|variable| inputs[1 + variable]);
            let output = self.step(inputs[0], &mut state, dt);
            std::iter::once(output).chain(state.as_ref().iter().copied()).collect()
        })
    }
    fn rate(&self, input: &Tensor, gain: &Tensor, bias: &Tensor) -> Result<Tensor> {
        NeuronModel::validate(self)?;
        rate_operation::rate(self, input, gain, bias)
    }
    fn spike(&self, drive: &SpikingDrive, state: &mut [Tensor], record: &[bool]) -> Result<Spikes> {
        NeuronModel::validate(self)?;
        spiking_operation::spike(self, drive, state, record)
    }
    fn spike_aware(&self, drive: &SpikingDrive, state: &mut [Tensor]) -> Result<Spikes> {
        NeuronModel::validate(self)?;
        spiking_operation::spike_aware(self, drive, state)
    }
    fn advance_f32(&self, block: NeuronBlock<f32>) {
        kernels::advance(self, block);
    }
    fn advance_f64(&self, block: NeuronBlock<f64>) {
        kernels::advance(self, block);
    }
}

/// Checks that `gain` and `bias` have one shape, and that the tensors are of real numbers of one kind on one device.
pub(super) fn check_drive<M: NeuronModel>(input: &Tensor, gain: &Tensor, bias: &Tensor) -> Result<(), NeuronError> {
    let fail = |cause| Err(NeuronError::Input { neuron: M::NAME, cause });
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
