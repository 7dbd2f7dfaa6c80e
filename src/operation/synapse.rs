//! Synaptic filters over time.

use tch::{Device, Kind, TchError, Tensor};
use tch_spiking_core::synapse::{Coefficients, Synapse};

use super::Layout;
use crate::kernels::{self, Recursion, TensorNumber, TimeConstant};
use crate::native::autograd;
use tch_spiking_core::kernels::Number;

/// Filters `input` (`[T, ..]`) over time and returns `[T, ..]`; differentiable with respect to input and state.
///
/// The filter starts from `state` (one `[..]` tensor per state variable; zeros at the start), which is advanced: the
/// new tensors are attached to the graph, so a sequence can be cut into pieces, or run step by step.
///
/// # Errors
/// Returns an error if there are no steps, or number, shape, dtype or device of the state tensors do not match the
/// input.
///
/// ```
/// use tch::{Device, Kind, Tensor};
/// use tch_spiking::{Synapse, operation};
///
/// let step = Tensor::ones([3], (Kind::Double, Device::Cpu));
/// let mut state = [Tensor::zeros([], (Kind::Double, Device::Cpu))];
/// let filtered = operation::filter(Synapse::Lowpass { tau: 0.1 }, &step, 0.001, &mut state)?;
/// assert!((filtered.double_value(&[2]) - 0.0295545).abs() < 1e-6);
/// # Ok::<(), tch::TchError>(())
/// ```
pub fn filter(synapse: Synapse, input: &Tensor, dt: f64, state: &mut [Tensor]) -> Result<Tensor, TchError> {
    Filter { synapse, log_tau: None, dt }.run(input, state)
}

/// Filters like [`filter`] with a time constant that is learned: `tau = exp(log_tau)` seconds, with `log_tau` of one
/// element, in place of the synapse's own; differentiable with respect to `log_tau` too.
///
/// The logarithm keeps the time constant positive, and a step of the optimiser changes it by a fraction of itself.
///
/// # Errors
/// As for [`filter`], and if `log_tau` has more than one element.
pub fn filter_learned(
    synapse: Synapse,
    log_tau: &Tensor,
    input: &Tensor,
    dt: f64,
    state: &mut [Tensor],
) -> Result<Tensor, TchError> {
    if log_tau.numel() != 1 {
        return Err(TchError::Shape(format!("a learned time constant of {:?}: expected one element", log_tau.size())));
    }
    let tau = log_tau.detach().f_to_kind(Kind::Double)?.f_reshape([1])?.f_double_value(&[0])?.exp();
    Filter { synapse: synapse.with_tau(tau), log_tau: Some(log_tau), dt }.run(input, state)
}

/// A filter with its current time constant.
#[derive(Clone, Copy)]
struct Filter<'a> {
    synapse: Synapse,
    /// The logarithm of the time constant, if it is learned.
    log_tau: Option<&'a Tensor>,
    dt: f64,
}

impl Filter<'_> {
    fn run(self, input: &Tensor, state: &mut [Tensor]) -> Result<Tensor, TchError> {
        self.check(input, state)?;
        match (input.device(), input.kind(), self.synapse.state_len()) {
            (Device::Cpu, Kind::Float, 1) => self.fused::<f32, 1>(input, state),
            (Device::Cpu, Kind::Float, 2) => self.fused::<f32, 2>(input, state),
            (Device::Cpu, Kind::Double, 1) => self.fused::<f64, 1>(input, state),
            (Device::Cpu, Kind::Double, 2) => self.fused::<f64, 2>(input, state),
            _ => self.with_tensors(input, state),
        }
    }

    fn check(self, input: &Tensor, state: &[Tensor]) -> Result<(), TchError> {
        let size = input.size();
        let fits = |state: &Tensor| {
            state.size() == size[1..] && state.kind() == input.kind() && state.device() == input.device()
        };
        let steps = size.first().copied().unwrap_or(0);
        if steps > 0 && state.len() == self.synapse.state_len() && state.iter().all(fits) {
            return Ok(());
        }
        let found: Vec<_> = state.iter().map(|state| (state.kind(), state.size())).collect();
        Err(TchError::Shape(format!(
            "a synapse with {} state tensors over one or more steps of [T, ..] got {} state tensors {found:?} and an input \
             of {:?} {size:?}",
            self.synapse.state_len(),
            state.len(),
            input.kind()
        )))
    }

    /// Filters in one pass over the memory, as one autograd node.
    fn fused<R: Number + TensorNumber, const V: usize>(
        self,
        input: &Tensor,
        state: &mut [Tensor],
    ) -> Result<Tensor, TchError> {
        let layout = Layout::of(input, if input.dim() < 4 { 0 } else { 3 });
        let recursion = Recursion::<R, V>::new(&self.synapse.coefficients(self.dt));
        let without_gradient = tch::no_grad_guard();
        let flat = |tensor: &Tensor| layout.in_memory_order(&tensor.detach());
        let values = flat(input)?;
        let start: [Tensor; V] = all(|variable| flat(&state[variable]))?;
        let mut output = values.f_empty_like()?;
        let mut advanced: [Tensor; V] = all(|variable| start[variable].f_detach_copy())?;
        let slices = all_mut(&mut advanced)?;
        kernels::filter_forward(&recursion, kernels::elements(&values)?, slices, kernels::elements_mut(&mut output)?);
        let output = layout.in_shape_order(&output)?;
        let advanced: [Tensor; V] = all(|variable| layout.in_shape_order(&advanced[variable]))?;
        drop(without_gradient);

        let inputs: Vec<&Tensor> = [input].into_iter().chain(&*state).chain(self.log_tau).collect();
        let outputs: Vec<&Tensor> = [&output].into_iter().chain(&advanced).collect();
        let size = (output.size(), output.kind());
        let learned = self.log_tau.map(|log_tau| Learned { of: log_tau.detach(), values, start });
        let (synapse, dt) = (self.synapse, self.dt);
        autograd::attach(synapse.type_name(), &inputs, &outputs, move |gradients| {
            let given = |index: usize, shape: &[i64]| match &gradients[index] {
                // Written over: a copy, unless nobody else holds it.
                Some(gradient) => owned(layout, gradient),
                None => layout.in_memory_order(&Tensor::f_zeros(shape, (size.1, Device::Cpu))?),
            };
            let mut to_input = given(0, &size.0)?;
            let mut to_state: [Tensor; V] = all(|variable| given(variable + 1, &size.0[1..]))?;
            let constant = match &learned {
                Some(learned) => Some(learned.constant(synapse, dt)?),
                None => None,
            };
            let (gradient, slices) = (kernels::elements_mut(&mut to_input)?, all_mut(&mut to_state)?);
            let to_tau = kernels::filter_backward::<R, V>(&recursion, gradient, slices, constant);
            let mut all_gradients = vec![Some(layout.in_shape_order(&to_input)?)];
            for gradient in &to_state {
                all_gradients.push(Some(layout.in_shape_order(gradient)?));
            }
            if let Some(learned) = &learned {
                all_gradients.push(Some(learned.of.f_full_like(to_tau * synapse.tau())?));
            }
            Ok(all_gradients)
        })?;
        state.iter_mut().zip(advanced).for_each(|(state, advanced)| *state = advanced);
        Ok(output)
    }

    /// Filters step by step in tensor operations, which libtorch differentiates.
    fn with_tensors(self, input: &Tensor, state: &mut [Tensor]) -> Result<Tensor, TchError> {
        let (transition, drive) = self.factors(input)?;
        let mut outputs = Vec::new();
        // Unbound once: the backward pass of indexing a single step is as large as the whole input.
        for now in input.f_unbind(0)? {
            let next = (0..state.len()).map(|row| {
                let terms = state.iter().zip(&transition[row]).map(|(state, factor)| factor.times(state));
                let moved = terms.reduce(|sum, term| sum?.f_add(&term?)).unwrap_or_else(|| now.f_zeros_like())?;
                moved.f_add(&drive[row].times(&now)?)
            });
            let next = next.collect::<Result<Vec<_>, TchError>>()?;
            state.iter_mut().zip(next).for_each(|(state, next)| *state = next);
            outputs.extend(state.last().map(Tensor::shallow_clone));
        }
        Tensor::f_stack(&outputs, 0)
    }

    fn factors(self, like: &Tensor) -> Result<([[Factor; 2]; 2], [Factor; 2]), TchError> {
        let Some(log_tau) = self.log_tau else {
            let Coefficients { transition, input } = self.synapse.coefficients(self.dt);
            return Ok((transition.map(|row| row.map(Factor::Number)), input.map(Factor::Number)));
        };
        let tau = log_tau.f_reshape([] as [i64; 0])?.f_to_kind(Kind::Double)?.f_exp()?;
        let h = tau.f_reciprocal()?.f_mul_scalar(self.dt)?;
        let e = h.f_neg()?.f_exp()?;
        let factor = |tensor: Tensor| tensor.f_to_kind(like.kind()).map(Factor::Tensor);
        let none = || Factor::Number(0.0);
        Ok(match self.synapse {
            Synapse::Lowpass { .. } => {
                ([[factor(e)?, none()], [none(), none()]], [factor(h.f_neg()?.f_expm1()?.f_neg()?)?, none()])
            }
            Synapse::Alpha { .. } => {
                let product = e.f_mul(&h)?.f_div(&tau)?;
                let last = e.f_mul(&h.f_add_scalar(1.0)?)?;
                let first = e.f_mul(&h.f_neg()?.f_add_scalar(1.0)?)?;
                let to_last = last.f_neg()?.f_add_scalar(1.0)?;
                (
                    [[factor(first)?, factor(product.f_neg()?)?], [factor(e.f_mul_scalar(self.dt)?)?, factor(last)?]],
                    [factor(product)?, factor(to_last)?],
                )
            }
        })
    }
}

/// What backward needs for a learned time constant, in memory order.
struct Learned<const V: usize> {
    of: Tensor,
    values: Tensor,
    start: [Tensor; V],
}

impl<const V: usize> Learned<V> {
    fn constant<R: Number + TensorNumber>(
        &self,
        synapse: Synapse,
        dt: f64,
    ) -> Result<TimeConstant<'_, R, V>, TchError> {
        let slope = Recursion::new(&synapse.slope(dt));
        let start = all(|variable| kernels::elements(&self.start[variable]))?;
        Ok(TimeConstant { slope, input: kernels::elements(&self.values)?, start })
    }
}

/// A coefficient: a number, or a tensor that depends on what is learned.
enum Factor {
    Number(f64),
    Tensor(Tensor),
}

impl Factor {
    fn times(&self, tensor: &Tensor) -> Result<Tensor, TchError> {
        match self {
            Self::Number(number) => tensor.f_mul_scalar(*number),
            Self::Tensor(factor) => tensor.f_mul(factor),
        }
    }
}

/// Returns `gradient` in memory order, in memory that nobody else holds.
fn owned(layout: Layout, gradient: &Tensor) -> Result<Tensor, TchError> {
    // Checked first: a view counts as a reference to the memory.
    let disposable = autograd::is_disposable(gradient);
    let flat = layout.in_memory_order(gradient)?;
    match flat.data_ptr() == gradient.data_ptr() && !disposable {
        true => flat.f_detach_copy(),
        false => Ok(flat),
    }
}

/// Collects one value per state variable.
fn all<T, const V: usize>(value: impl FnMut(usize) -> Result<T, TchError>) -> Result<[T; V], TchError> {
    let values = (0..V).map(value).collect::<Result<Vec<T>, TchError>>()?;
    values.try_into().map_err(|_| TchError::Shape(format!("expected {V} state variables")))
}

/// Borrows the elements of all state variables.
fn all_mut<R: TensorNumber, const V: usize>(tensors: &mut [Tensor; V]) -> Result<[&mut [R]; V], TchError> {
    let mut tensors = tensors.iter_mut();
    all(|_| match tensors.next() {
        Some(tensor) => kernels::elements_mut(tensor),
        None => Err(TchError::Shape("a state variable is missing".to_string())),
    })
}

#[cfg(test)]
#[path = "synapse_tests.rs"]
mod tests;
