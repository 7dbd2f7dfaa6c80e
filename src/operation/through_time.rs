//! Spikes over time with surrogate gradients, for tensors.

use tch::{TchError, Tensor};

use tch_spiking_core::neuron::{Neuron, NeuronError};
use tch_spiking_core::surrogate::Surrogate;

use super::spike::{check, noise_of};
use super::{DriveNoise, Spikes, SpikingDrive, evaluate, spike};
use crate::error::Result;
use crate::native::autograd;

/// Runs `drive.steps` timesteps of spiking neurons, differentiable through time.
///
/// The forward pass is [`spike`](spike()). The backward pass is that of the model's step, from the last timestep to the first, with
/// `surrogate` as the derivative of the spike and nothing through what the model detaches (for LIF the reset, the refractory time and the
/// time of the crossing). It computes the states again instead of remembering them, so that a layer costs no memory beside
/// its input and its output.
///
/// Differentiable with respect to input, gain, bias, the learned parameters and `state`, whose tensors are replaced by those
/// after the last step, attached to the graph: one call of `T` steps gives the gradients of `T` calls of one.
///
/// With `truncate = k`, no gradient flows from the steps `0, k, 2k, ..` of this call to the state before them.
///
/// # Shapes
/// As for [`spike`](spike()); with a constant input the gradient is the sum over the timesteps.
///
/// # Errors
/// Returns an error if the surrogate or `truncate` is not valid, or shapes, dtypes or devices differ.
pub fn through_time(
    model: impl Into<Neuron>,
    drive: &SpikingDrive,
    state: &mut [Tensor],
    surrogate: &Surrogate,
    truncate: Option<i64>,
) -> Result<Spikes> {
    let model = &model.into();
    surrogate.validate()?;
    if let Some(steps) = truncate {
        let cause = format!("truncate = {steps} is not valid: expected 1 timestep or more");
        check_that(model, steps >= 1, cause)?;
    }
    let record = vec![false; state.len()];
    check(model, drive, state, &record)?;
    let course = Course::new(model, drive, state, *surrogate, truncate);
    let mut after = course.state.iter().map(Tensor::shallow_clone).collect::<Vec<_>>();
    let spikes = spike(model, &course.drive(), &mut after, &record)?;
    let inputs: Vec<&Tensor> =
        [drive.input, drive.gain, drive.bias].into_iter().chain(drive.learned).chain(&*state).collect();
    let outputs: Vec<&Tensor> = std::iter::once(&spikes.output).chain(&after).collect();
    let wanted: Vec<bool> = inputs.iter().map(|input| input.requires_grad()).collect();
    autograd::attach(model.name(), &inputs, &outputs, move |gradients| {
        let _without_gradient = tch::no_grad_guard();
        course.backward(gradients, &wanted)
    })?;
    state.iter_mut().zip(after).for_each(|(state, after)| *state = after);
    Ok(spikes)
}

fn check_that(model: &Neuron, valid: bool, cause: String) -> Result<(), NeuronError> {
    match valid {
        true => Ok(()),
        false => Err(NeuronError::Input { neuron: model.name(), cause }),
    }
}

/// What the backward pass needs to run a layer's steps again; all tensors detached.
struct Course {
    model: Neuron,
    surrogate: Surrogate,
    truncate: Option<i64>,
    steps: i64,
    dt: f64,
    noise: Option<DriveNoise>,
    input: Tensor,
    gain: Tensor,
    bias: Tensor,
    learned: Vec<Tensor>,
    /// Before the first step.
    state: Vec<Tensor>,
}

impl Course {
    fn new(
        model: &Neuron,
        drive: &SpikingDrive,
        state: &[Tensor],
        surrogate: Surrogate,
        truncate: Option<i64>,
    ) -> Self {
        Self {
            model: model.clone(),
            surrogate,
            truncate,
            steps: drive.steps,
            dt: drive.dt,
            noise: drive.noise,
            input: drive.input.detach(),
            gain: drive.gain.detach(),
            bias: drive.bias.detach(),
            learned: drive.learned.iter().map(Tensor::detach).collect(),
            state: state.iter().map(Tensor::detach).collect(),
        }
    }

    fn drive(&self) -> SpikingDrive<'_> {
        SpikingDrive {
            learned: &self.learned,
            noise: self.noise,
            ..SpikingDrive::new(&self.input, &self.gain, &self.bias, self.steps, self.dt)
        }
    }

    /// Whether the state before this step gets no gradient from it.
    fn cuts(&self, step: i64) -> bool {
        self.truncate.is_some_and(|every| step % every == 0)
    }

    /// Computes the gradients of input, gain, bias, learned parameters and state from those of the output and the last state.
    fn backward(&self, gradients: &[Option<Tensor>], wanted: &[bool]) -> Result<Vec<Option<Tensor>>, TchError> {
        self.with_tensors(gradients, wanted)
    }

    /// Runs the model's recorded step backwards with tensor operations, on any device.
    fn with_tensors(&self, gradients: &[Option<Tensor>], wanted: &[bool]) -> Result<Vec<Option<Tensor>>, TchError> {
        let formula = self.model.step_formula(self.dt);
        let reverse = formula.vjp(&self.surrogate);
        let varying = self.input.dim() == self.bias.dim() + 2;
        let currents = self.input.f_mul(&self.gain)?.f_add(&self.bias)?;
        let uniform = noise_of(&self.model, &self.drive())?;
        let zero = currents.f_zeros_like()?;
        let zero = if varying { zero.f_get(0)? } else { zero };
        let mut inputs: Vec<Vec<Tensor>> = Vec::new();
        let mut now: Vec<Tensor> = self.state.iter().map(Tensor::shallow_clone).collect();
        for step in 0..self.steps {
            let current = if varying { currents.f_get(step)? } else { currents.shallow_clone() };
            let noise = uniform.as_ref().map(|uniform| uniform.f_get(step)).transpose()?;
            let learned = self.learned.iter().map(Tensor::shallow_clone);
            inputs.push(std::iter::once(current).chain(learned).chain(noise).chain(now).collect());
            now = evaluate(&formula, &inputs[step as usize].iter().collect::<Vec<_>>())?.split_off(1);
        }
        let given = |gradient: &Option<Tensor>| gradient.as_ref().map_or(zero.shallow_clone(), Tensor::shallow_clone);
        let mut to_state: Vec<Tensor> = gradients[1..].iter().map(given).collect();
        let mut to_learned: Vec<Tensor> = self.learned.iter().map(|_| zero.shallow_clone()).collect();
        let mut to_currents = Vec::new();
        for step in (0..self.steps).rev() {
            let to_output = match &gradients[0] {
                Some(gradient) => gradient.f_get(step)?,
                None => zero.shallow_clone(),
            };
            let all: Vec<&Tensor> = inputs[step as usize].iter().chain([&to_output]).chain(&to_state).collect();
            let mut results = evaluate(&reverse, &all)?;
            let before = results.split_off(results.len() - to_state.len());
            to_state = if self.cuts(step) { to_state.iter().map(|_| zero.shallow_clone()).collect() } else { before };
            for (sum, gradient) in to_learned.iter_mut().zip(&results[1..]) {
                *sum = sum.f_add(gradient)?;
            }
            to_currents.push(results.swap_remove(0));
        }
        to_currents.reverse();
        let to_currents = Tensor::f_stack(&to_currents, 0)?;
        let kind = to_currents.kind();
        let over_all = |tensor: &Tensor| tensor.f_sum_dim_intlist(&[0_i64, 1][..], false, kind);
        let to_input = to_currents.f_mul(&self.gain)?;
        let to_input = if varying { to_input } else { to_input.f_sum_dim_intlist(0, false, kind)? };
        let to_gain = wanted[1].then(|| over_all(&to_currents.f_mul(&self.input)?)).transpose()?;
        let mut all = vec![Some(to_input), to_gain, Some(over_all(&to_currents)?)];
        for (gradient, parameter) in to_learned.iter().zip(&self.learned) {
            all.push(Some(summed_to(gradient, &parameter.size())?));
        }
        all.extend(to_state.into_iter().map(Some));
        Ok(all)
    }
}

/// Sums the gradient of every neuron of every sample, `[B, S]`, to the shape of a parameter, `[1]` or `S`.
fn summed_to(gradient: &Tensor, shape: &[i64]) -> Result<Tensor, TchError> {
    match shape.iter().product::<i64>() {
        1 => gradient.f_sum(gradient.kind())?.f_reshape(shape),
        _ => gradient.f_sum_dim_intlist(0, false, gradient.kind()),
    }
}
