//! Synaptic filters over time.

use tch::{TchError, Tensor};
use tch_spiking_core::synapse::{Coefficients, Synapse};

/// Filters `input` (`[T, ..]`) over time, differentiably, and returns `[T, ..]`.
///
/// The filter starts from `state` (one `[..]` tensor per state variable; zeros at the start), which is advanced in
/// place.
///
/// # Errors
/// Returns an error if the number or shape of the state tensors does not match the input.
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
    if state.len() != synapse.state_len() || input.dim() == 0 {
        return Err(TchError::Shape(format!(
            "a synapse with {} state tensors over [T, ..] got {} state tensors and an input of {:?}",
            synapse.state_len(),
            state.len(),
            input.size()
        )));
    }
    let Coefficients { transition, input: drive } = synapse.coefficients(dt);
    let mut outputs = Vec::new();
    // Unbound once: the backward pass of indexing a single step is as large as the whole input.
    for now in input.f_unbind(0)? {
        let next = match &*state {
            [x] => vec![x.f_mul_scalar(transition[0][0])?.f_add(&now.f_mul_scalar(drive[0])?)?],
            [x, y] => (0..2)
                .map(|row| {
                    let [to_x, to_y] = transition[row];
                    let moved = x.f_mul_scalar(to_x)?.f_add(&y.f_mul_scalar(to_y)?)?;
                    moved.f_add(&now.f_mul_scalar(drive[row])?)
                })
                .collect::<Result<_, TchError>>()?,
            _ => vec![],
        };
        state.iter_mut().zip(next).for_each(|(state, next)| *state = next);
        outputs.extend(state.last().map(Tensor::shallow_clone));
    }
    Tensor::f_stack(&outputs, 0)
}
