//! What a network does, by name: thin calls of [`forward`] and [`Simulation`].

use tch::{Tensor, nn};
use tch_spiking_core::event::EventNetwork;
use tch_spiking_core::kernels::Number;

use super::observers::FirstNonFinite;
use super::{Activity, Pass, Probe, Recording, Simulation, TrainingStep, event, forward};
use crate::error::Result;
use crate::network::{Layer, Network, State};

impl Network {
    /// Rates, with dropout, and batch normalisation by the statistics of the batch (which moves the running ones): what
    /// training differentiates. `[B, input]` to `[B, output]`. Dropout is drawn by the network's seed and the number of the `step`.
    ///
    /// Images of `BFloat16` make it mixed precision: what lies between the layers is `BFloat16`, and convolutions and linear
    /// layers compute in it; parameters, their gradients, the arithmetic of neurons and the output stay of the network's kind.
    ///
    /// # Errors
    /// If the input is not what the network takes.
    pub fn forward_training(&self, input: &Tensor, step: u64) -> Result<Tensor> {
        Ok(self.rates_activity(&Activity::constant(input), Some(step))?.into_tensor())
    }

    /// Rates of an input that may vary over time, differentiable: as in the training step of this number, or outside of training.
    ///
    /// At each timestep neurons have the rate of their current, without memory; synapses filter over time from zero, or pass a
    /// constant input through.
    ///
    /// # Errors
    /// If the input is not what the network takes.
    pub fn rates_activity(&self, input: &Activity, step: Option<u64>) -> Result<Activity> {
        let training = step.map(|number| TrainingStep { number });
        forward(self, input, None, &mut Pass { training, ..Pass::rates() })
    }

    /// Rates, without dropout, normalised by running statistics. `[B, input]` to `[B, output]`. Images may be of `BFloat16`, as in
    /// [`forward_training`](Self::forward_training).
    ///
    /// # Errors
    /// If the input is not what the network takes.
    pub fn forward_rates(&self, input: &Tensor) -> Result<Tensor> {
        Ok(self.rates_activity(&Activity::constant(input), None)?.into_tensor())
    }

    /// The first layer whose rates hold a NaN or an infinity for this input, if any.
    ///
    /// # Errors
    /// If the input is not what the network takes.
    pub fn first_non_finite_layer(&self, input: &Activity) -> Result<Option<&Layer>> {
        let _without_gradient = tch::no_grad_guard();
        let mut found = FirstNonFinite::default();
        forward(self, input, None, &mut Pass { observer: Some(&mut found), ..Pass::rates() })?;
        Ok(found.index.map(|index| &self.layers()[index]))
    }

    /// A copy of the network laid out for the event engine: single images on the CPU, without libtorch. `R` is the number
    /// type to compute in, `f32` or `f64`.
    ///
    /// # Errors
    /// If the network is not on the CPU or has a layer that this engine cannot run.
    pub fn compile<R: Number>(&self) -> Result<EventNetwork<R>> {
        event::compile(self)
    }

    /// One timestep with `input` `[B, input]`: returns the output `[B, output]` and advances `state` in place. For input that
    /// streams in.
    ///
    /// # Errors
    /// If input or state do not fit the network.
    pub fn step(&self, input: &Tensor, state: &mut State) -> Result<Tensor> {
        let _without_gradient = tch::no_grad_guard();
        let input = Activity::constant(input);
        let output = forward(self, &input, Some(state), &mut Pass::spikes(1))?;
        Ok(output.over_time(1)?.f_squeeze_dim(0)?)
    }

    /// `steps` timesteps with the constant `input` `[B, input]`, from a fresh state; the output over time and all that is
    /// probed are in the [`Recording`].
    ///
    /// # Errors
    /// If the input does not fit, `steps` is below 1, or a probe names something that is not there.
    pub fn simulate(&self, input: &Tensor, steps: i64, probes: &[Probe]) -> Result<Recording> {
        Simulation { steps, probes, ..Simulation::default() }.run(self, &Activity::constant(input))
    }

    /// The same with an input for every timestep, `[T, B, input]`.
    ///
    /// # Errors
    /// As for [`simulate`](Self::simulate).
    pub fn simulate_sequence(&self, input: &Tensor, probes: &[Probe]) -> Result<Recording> {
        let steps = input.size().first().copied().unwrap_or(0);
        Simulation { steps, probes, ..Simulation::default() }.run(self, &Activity::varying(input))
    }

    /// `steps` timesteps with `input`, from `state`, which is advanced in place.
    ///
    /// # Errors
    /// As for [`simulate`](Self::simulate), and if the state does not fit.
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

/// tch's own trait for what can be trained: rates, in a training step with dropout drawn by libtorch's generator.
///
/// Simulation is asked for by name. (The trait cannot return an error, so a wrong input is a panic, as in tch's own layers.)
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
