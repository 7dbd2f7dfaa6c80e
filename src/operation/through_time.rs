//! Spikes over time with surrogate gradients, for tensors.

use half::bf16;
use tch::{Device, Kind, TchError, Tensor};

use tch_spiking_core::kernels::Drive;
use tch_spiking_core::neuron::{Neuron, NeuronError};
use tch_spiking_core::surrogate::Surrogate;

use super::fused_gradients::fused_gradients;
use super::spike::{check, noise_of};
use super::{DriveNoise, Spikes, SpikingDrive, evaluate, spike};
use crate::error::Result;
use crate::kernels::cuda::{self, BackwardTensors};
use crate::kernels::{self, ScanBackward, TensorNumber};
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
        let Self { model, dt, surrogate, input, bias, .. } = self;
        let fused = |kernel: &dyn Fn(BackwardTensors) -> Result<(), TchError>| {
            fused_gradients(model, &self.drive(), self.truncate, &self.state, gradients, wanted[1], kernel)
        };
        match (input.device(), input.kind(), bias.kind()) {
            (Device::Cpu, Kind::Float, Kind::Float) => fused(&|tensors| self.on_cpu::<f32>(tensors)),
            (Device::Cpu, Kind::Double, Kind::Double) => fused(&|tensors| self.on_cpu::<f64>(tensors)),
            (Device::Cpu, Kind::BFloat16, Kind::Float) => fused(&|tensors| self.on_cpu::<bf16>(tensors)),
            (Device::Cuda(_), ..) if cuda::computes_gradients(model, *dt, surrogate, input, bias) => {
                fused(&|tensors| cuda::scan_backward(model, *dt, surrogate, tensors))
            }
            _ => self.with_tensors(gradients, wanted),
        }
    }

    /// Runs the kernel of the processor.
    fn on_cpu<S: TensorNumber>(&self, tensors: BackwardTensors) -> Result<(), TchError>
    where
        S::Computed: TensorNumber,
    {
        let BackwardTensors { drive: [input, gain, bias], learned, noise, steps, truncate, state, .. } = tensors;
        let BackwardTensors { gradient, to_input, to_state, to_gain, to_bias, to_learned, .. } = tensors;
        let scan = ScanBackward {
            drive: Drive {
                input: kernels::elements::<S>(input)?,
                gain: kernels::elements(gain)?,
                bias: kernels::elements(bias)?,
            },
            steps: steps as usize,
            dt: self.dt,
            learned: learned.iter().map(kernels::elements).collect::<Result<_, _>>()?,
            noise,
            state: state.iter().map(kernels::elements).collect::<Result<_, _>>()?,
            surrogate: &self.surrogate,
            truncate: truncate.map(|every| every as usize),
            gradient: kernels::elements_mut(gradient)?,
            input_gradient: to_input.map(kernels::elements_mut).transpose()?,
            state_gradient: to_state.iter_mut().map(kernels::elements_mut).collect::<Result<_, _>>()?,
            gain_gradient: to_gain.map(kernels::elements_mut).transpose()?,
            bias_gradient: kernels::elements_mut(to_bias)?,
            learned_gradient: to_learned.iter_mut().map(kernels::elements_mut).collect::<Result<_, _>>()?,
        };
        kernels::scan_backward(&self.model, scan);
        Ok(())
    }

    /// Runs the model's recorded step backwards with tensor operations, on any device.
    fn with_tensors(&self, gradients: &[Option<Tensor>], wanted: &[bool]) -> Result<Vec<Option<Tensor>>, TchError> {
        let formula = self.model.step_formula(self.dt);
        let reverse = formula.vjp(&self.surrogate);
        let varying = self.input.dim() == self.bias.dim() + 2;
        let currents = self.input.f_to_kind(self.bias.kind())?.f_mul(&self.gain)?.f_add(&self.bias)?;
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
                Some(gradient) => gradient.f_get(step)?.f_to_kind(self.bias.kind())?,
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
        let to_input = if varying {
            to_input.f_to_kind(self.input.kind())?
        } else {
            to_input.f_sum_dim_intlist(0, false, self.input.kind())?
        };
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

#[cfg(test)]
mod tests {
    use super::*;
    use tch_spiking_core::neuron::{Lif, RectifiedLinear};

    /// Numbers spread over `[low, high]` in an order without pattern.
    fn mixed(low: f64, high: f64, shape: &[i64], kind: Kind) -> Tensor {
        let fractions = (Tensor::arange(shape.iter().product::<i64>(), (Kind::Double, Device::Cpu)) * 0.618_034).frac();
        (fractions * (high - low) + low).reshape(shape).to_kind(kind)
    }

    fn compare(model: impl Into<Neuron>, constant: bool, kind: Kind, channels_last: bool) {
        const STEPS: i64 = 70;
        let model = model.into();
        let computed = if kind == Kind::BFloat16 { Kind::Float } else { kind };
        let shape: &[i64] = if constant { &[2, 3, 5, 7] } else { &[STEPS, 2, 3, 5, 7] };
        let mut input = mixed(-2.0, 9.0, shape, kind);
        if channels_last {
            input = input.movedim_int(-3, -1).contiguous().movedim_int(-1, -3);
        }
        let neurons = |low, high| mixed(low, high, &[3, 5, 7], computed);
        let samples = |low, high| mixed(low, high, &[2, 3, 5, 7], computed);
        let (gain, bias) = (neurons(0.5, 2.0), neurons(0.0, 1.5));
        let learned: Vec<Tensor> = model.learned().iter().map(|_| neurons(0.5, 0.9)).collect();
        let state: Vec<Tensor> =
            (0..model.state().len()).map(|v| samples(0.0, if v == 0 { 1.0 } else { 0.001 })).collect();
        let drive = SpikingDrive { learned: &learned, ..SpikingDrive::new(&input, &gain, &bias, STEPS, 0.001) };
        for truncate in [None, Some(9)] {
            let course = Course::new(&model, &drive, &state, Surrogate::default(), truncate);
            let output = mixed(-1e-3, 1e-3, &[STEPS, 2, 3, 5, 7], kind);
            let given: Vec<_> =
                std::iter::once(output).chain(state.iter().map(|_| samples(-1.0, 1.0))).map(Some).collect();
            let wanted = vec![true; 3 + learned.len() + state.len()];
            let ours = course.backward(&given, &wanted).unwrap();
            let theirs = course.with_tensors(&given, &wanted).unwrap();
            let tolerance = match kind {
                Kind::Double => 1e-12,
                Kind::Float => 1e-4,
                _ => 2e-2,
            };
            for (index, (ours, theirs)) in ours.iter().flatten().zip(theirs.iter().flatten()).enumerate() {
                assert_eq!((ours.size(), ours.kind()), (theirs.size(), theirs.kind()));
                let (ours, theirs) = (ours.to_kind(Kind::Double), theirs.to_kind(Kind::Double));
                let error = ((&ours - &theirs).abs().max() / theirs.abs().max().clamp_min(1e-12)).double_value(&[]);
                assert!(error <= tolerance, "{model:?} {kind:?} constant: {constant}, gradient {index}: {error}");
            }
        }
    }

    #[test]
    fn kernels_and_tensor_operations_agree() {
        for constant in [true, false] {
            for (kind, channels_last) in
                [(Kind::Double, false), (Kind::Double, true), (Kind::Float, true), (Kind::BFloat16, true)]
            {
                compare(Lif::default(), constant, kind, channels_last);
                compare(RectifiedLinear { amplitude: 0.5 }, constant, kind, channels_last);
            }
        }
    }

    #[test]
    fn a_step_at_a_time_gives_the_gradients_of_all_at_once() {
        let options = (Kind::Double, Device::Cpu);
        let input = mixed(-2.0, 9.0, &[50, 4, 33], Kind::Double).set_requires_grad(true);
        let bias = mixed(0.0, 1.0, &[33], Kind::Double).set_requires_grad(true);
        let gain = Tensor::ones([33], options);
        let run = |each: i64| {
            let mut state = [Tensor::zeros([4, 33], options), Tensor::zeros([4, 33], options)];
            let parts = (0..50).step_by(each as usize).map(|start| {
                let part = input.narrow(0, start, each);
                let drive = SpikingDrive::new(&part, &gain, &bias, each, 0.001);
                through_time(Lif::default(), &drive, &mut state, &Surrogate::default(), None).unwrap().output
            });
            let output = Tensor::cat(&parts.collect::<Vec<_>>(), 0);
            let loss =
                (&output * mixed(-1.0, 1.0, &[50, 4, 33], Kind::Double)).sum(Kind::Double) + state[0].sum(Kind::Double);
            (output.detach(), Tensor::run_backward(&[loss], &[&input, &bias], false, false))
        };
        let ((all, whole), (each, steps)) = (run(50), run(1));
        assert!(all.equal(&each) && whole[0].abs().max().double_value(&[]) > 0.0);
        assert!(whole[0].equal(&steps[0]), "the input's gradient differs");
        assert!(whole[1].allclose(&steps[1], 1e-12, 0.0, false));
    }

    #[test]
    fn wrong_requests_are_named() {
        let options = (Kind::Float, Device::Cpu);
        let (input, ones) = (Tensor::ones([2, 3], options), Tensor::ones([3], options));
        let drive = SpikingDrive::new(&input, &ones, &ones, 4, 0.001);
        let mut state = [Tensor::zeros([2, 3], options), Tensor::zeros([2, 3], options)];
        let mut run = |surrogate, truncate| {
            through_time(Lif::default(), &drive, &mut state, &surrogate, truncate).unwrap_err().to_string()
        };
        assert!(run(Surrogate::default(), Some(0)).contains("truncate = 0"));
        assert!(run(Surrogate::Atan { alpha: f64::NAN }, None).contains("alpha"));
    }
}
