//! The forward methods of a network: thin wrappers around [`forward`] and [`Simulation`].

use tch::{Tensor, nn};
use tch_spiking_core::event::EventNetwork;
use tch_spiking_core::kernels::Number;

use super::observers::FirstNonFinite;
use super::{Activity, Pass, Probe, Recording, Simulation, TrainingStep, event, forward};
use crate::error::Result;
use crate::network::{Layer, Network, State};

impl Network {
    /// Computes rates in training mode: with dropout and batch statistics (updating the running ones); differentiable.
    ///
    /// `[B, input]` to `[B, output]`. Dropout is drawn from the network's seed and the training `step`.
    ///
    /// An input of `BFloat16` selects mixed precision: activations between layers are `BFloat16`, and convolutions and
    /// linear layers compute in it; parameters, their gradients, the arithmetic of neurons and the output keep the
    /// network's dtype.
    ///
    /// # Errors
    /// Returns an error if the input is not what the network expects.
    pub fn forward_training(&self, input: &Tensor, step: u64) -> Result<Tensor> {
        Ok(self.rates_activity(&Activity::constant(input), Some(step))?.into_tensor())
    }

    /// Computes rates of an input that may vary over time, differentiably: in training `step`, or outside of training
    /// if `None`.
    ///
    /// At each timestep, neurons output the rate of their current, without memory; synapses filter over time from zero,
    /// or pass a constant input through.
    ///
    /// # Errors
    /// Returns an error if the input is not what the network expects.
    pub fn rates_activity(&self, input: &Activity, step: Option<u64>) -> Result<Activity> {
        let training = step.map(|number| TrainingStep { number });
        forward(self, input, None, &mut Pass { training, ..Pass::rates() })
    }

    /// Computes rates in inference mode: without dropout, with running statistics.
    ///
    /// `[B, input]` to `[B, output]`. The input may be `BFloat16`, as in
    /// [`forward_training`](Self::forward_training).
    ///
    /// # Errors
    /// Returns an error if the input is not what the network expects.
    pub fn forward_rates(&self, input: &Tensor) -> Result<Tensor> {
        Ok(self.rates_activity(&Activity::constant(input), None)?.into_tensor())
    }

    /// Returns the first layer whose rates contain a NaN or an infinity for this input, if any.
    ///
    /// # Errors
    /// Returns an error if the input is not what the network expects.
    pub fn first_non_finite_layer(&self, input: &Activity) -> Result<Option<&Layer>> {
        let _without_gradient = tch::no_grad_guard();
        let mut found = FirstNonFinite::default();
        forward(self, input, None, &mut Pass { observer: Some(&mut found), ..Pass::rates() })?;
        Ok(found.index.map(|index| &self.layers()[index]))
    }

    /// Compiles a copy of the network for the event engine: single samples on the CPU, without libtorch. `R` is the
    /// number type of the computation, `f32` or `f64`.
    ///
    /// # Errors
    /// Returns an error if the network is not on the CPU or has a layer that this engine does not support.
    pub fn compile<R: Number>(&self) -> Result<EventNetwork<R>> {
        event::compile(self)
    }

    /// Runs one timestep with `input` `[B, input]`: returns the output `[B, output]` and advances `state` in place. For
    /// streaming input.
    ///
    /// # Errors
    /// Returns an error if input or state do not match the network.
    pub fn step(&self, input: &Tensor, state: &mut State) -> Result<Tensor> {
        let _without_gradient = tch::no_grad_guard();
        let input = Activity::constant(input);
        let output = forward(self, &input, Some(state), &mut Pass::spikes(1))?;
        Ok(output.over_time(1)?.f_squeeze_dim(0)?)
    }

    /// Runs `steps` timesteps with the constant `input` `[B, input]` from a fresh state.
    ///
    /// The output over time and all probed quantities are in the [`Recording`].
    ///
    /// # Errors
    /// Returns an error if the input does not match, `steps` is below 1, or a probe names something that does not
    /// exist.
    pub fn simulate(&self, input: &Tensor, steps: i64, probes: &[Probe]) -> Result<Recording> {
        Simulation { steps, probes, ..Simulation::default() }.run(self, &Activity::constant(input))
    }

    /// Runs a simulation with an input per timestep, `[T, B, input]`.
    ///
    /// # Errors
    /// As for [`simulate`](Self::simulate).
    pub fn simulate_sequence(&self, input: &Tensor, probes: &[Probe]) -> Result<Recording> {
        let steps = input.size().first().copied().unwrap_or(0);
        Simulation { steps, probes, ..Simulation::default() }.run(self, &Activity::varying(input))
    }

    /// Runs `steps` timesteps with `input` and advances `state` in place.
    ///
    /// # Errors
    /// Returns an error as for [`simulate`](Self::simulate), and if the state does not match.
    pub fn simulate_from(
        &self,
        input: &Activity,
        steps: i64,
        state: &mut State,
        probes: &[Probe],
    ) -> Result<Recording> {
        let _without_gradient = tch::no_grad_guard();
        super::record(self, input, steps, state, probes)
    }
}

/// tch's trait for trainable modules: rates; in a training step, dropout is drawn from libtorch's generator.
///
/// Simulation must be requested by name. (The trait cannot return an error, so a wrong input panics, as in tch's own
/// layers.)
impl nn::ModuleT for Network {
    fn forward_t(&self, input: &Tensor, train: bool) -> Tensor {
        let output = match train {
            true => {
                let number = Tensor::randint(i64::MAX, [1], (tch::Kind::Int64, tch::Device::Cpu)).int64_value(&[0]);
                self.forward_training(input, number.unsigned_abs())
            }
            false => self.forward_rates(input),
        };
        output.unwrap_or_else(|error| panic!("{error}"))
    }
}
