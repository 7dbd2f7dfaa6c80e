//! The rate as a tensor operation with a custom gradient.

use half::bf16;
use tch::{Device, Kind, TchError, Tensor};

use tch_spiking_core::kernels::Drive;
use tch_spiking_core::neuron::{Neuron, RateNeuron};

use super::drive::check_drive;
use super::{Layout, evaluate};
use crate::error::Result;
use crate::kernels::{self, TensorNumber, cuda};
use crate::native::autograd;

/// Computes `rate(gain * input + bias)`, differentiable with respect to `input` and `bias`; used in training.
///
/// Runs fused kernels on the CPU and, if they can be compiled, on CUDA; the same formula in tensor operations
/// elsewhere.
///
/// # Shapes
/// - `input`: `[.., S]`, with `S` the layer's shape, such as `[B, C, H, W]`; `gain`, `bias`: `S`, of the input's dtype,
///   or `Float` if that is `BFloat16` or `Half`: the computation is in `Float`, rounded once.
/// - returns the shape, dtype and memory layout of `input`.
///
/// # Errors
/// Returns an error if the model has no rate, or shapes, dtypes or devices differ.
pub fn rate(neuron: impl Into<Neuron>, input: &Tensor, gain: &Tensor, bias: &Tensor) -> Result<Tensor> {
    let neuron = &neuron.into();
    neuron.validate()?;
    neuron.require_rate()?;
    check_drive(neuron.name(), input, gain, bias)?;
    Ok(match Kernels::of(neuron, input, bias) {
        Some(kernels) => fused(neuron, input, gain, bias, kernels)?,
        None => with_tensors(neuron, input, gain, bias)?,
    })
}

/// Attaches the rate's gradient to `output`, which was computed from `input` and `bias` under `no_grad`.
///
/// `input` and `output` are `[.., S]`; `output` may have an additional first dimension, over which the gradient is
/// summed.
pub(super) fn attach_rate_gradient(
    neuron: &Neuron,
    input: &Tensor,
    gain: &Tensor,
    bias: &Tensor,
    output: &Tensor,
) -> Result<(), TchError> {
    let repeated = output.dim() > input.dim();
    let mut backward: Box<autograd::BackwardFn> = match Kernels::of(neuron, input, bias) {
        Some(kernels) => Box::new(Saved::new(neuron, input, gain, bias)?.backward(kernels)),
        None => {
            let (_, derivative) = value_and_derivative(neuron, input, gain, bias)?;
            Box::new(backward_with_tensors(derivative, gain.detach(), input, bias))
        }
    };
    autograd::attach(neuron.name(), &[input, bias], &[output], move |gradients| match &gradients[0] {
        Some(gradient) if repeated => backward(&[Some(gradient.f_sum_dim_intlist(0, false, gradient.kind())?)]),
        _ => backward(gradients),
    })
}

/// Computes the output from input, gain and bias.
type Forward = fn(&Neuron, [&Tensor; 3], &mut Tensor) -> Result<(), TchError>;
/// Computes the bias's gradient from input, gain, bias and the output's gradient, which is replaced by the input's.
type Backward = fn(&Neuron, [&Tensor; 3], &mut Tensor, &mut Tensor) -> Result<(), TchError>;

/// The kernels of a device, on tensors that are contiguous in memory order.
struct Kernels {
    forward: Forward,
    backward: Backward,
}

impl Kernels {
    fn of(neuron: &Neuron, input: &Tensor, bias: &Tensor) -> Option<Self> {
        match (input.device(), input.kind(), bias.kind()) {
            (Device::Cpu, Kind::Float, Kind::Float) => Some(Self::on_cpu::<f32>()),
            (Device::Cpu, Kind::Double, Kind::Double) => Some(Self::on_cpu::<f64>()),
            (Device::Cpu, Kind::BFloat16, Kind::Float) => Some(Self::on_cpu::<bf16>()),
            (Device::Cuda(_), ..) if cuda::computes_rate(neuron, input, bias) => Some(Self::on_cuda()),
            _ => None,
        }
    }

    fn on_cpu<S: TensorNumber>() -> Self
    where
        S::Computed: TensorNumber,
    {
        Self {
            forward: |neuron, tensors, output| {
                let output = kernels::elements_mut(output)?;
                kernels::rate_forward(rate_of(neuron)?, drive::<S>(tensors)?, output);
                Ok(())
            },
            backward: |neuron, tensors, gradient, to_bias| {
                let (gradient, to_bias) = (kernels::elements_mut(gradient)?, kernels::elements_mut(to_bias)?);
                kernels::rate_backward(rate_of(neuron)?, drive::<S>(tensors)?, gradient, to_bias);
                Ok(())
            },
        }
    }

    fn on_cuda() -> Self {
        Self { forward: cuda::rate_forward, backward: cuda::rate_backward }
    }
}

/// Returns the rate of a model for which [`rate`] has checked that it has one.
fn rate_of(neuron: &Neuron) -> Result<&dyn RateNeuron, TchError> {
    neuron.require_rate().map_err(|error| TchError::Torch(error.to_string()))
}

fn drive<S: TensorNumber>([input, gain, bias]: [&Tensor; 3]) -> Result<Drive<'_, S::Computed, S>, TchError>
where
    S::Computed: TensorNumber,
{
    Ok(Drive { input: kernels::elements(input)?, gain: kernels::elements(gain)?, bias: kernels::elements(bias)? })
}

/// The tensors that backward needs, in memory order.
struct Saved {
    neuron: Neuron,
    layout: Layout,
    input: Tensor,
    gain: Tensor,
    bias: Tensor,
}

impl Saved {
    fn new(neuron: &Neuron, input: &Tensor, gain: &Tensor, bias: &Tensor) -> Result<Self, TchError> {
        let layout = Layout::of(input, bias.dim());
        let _without_gradient = tch::no_grad_guard();
        let flat = |tensor: &Tensor| layout.in_memory_order(&tensor.detach());
        Ok(Self { neuron: neuron.clone(), layout, input: flat(input)?, gain: flat(gain)?, bias: flat(bias)? })
    }

    fn tensors(&self) -> [&Tensor; 3] {
        [&self.input, &self.gain, &self.bias]
    }

    /// Computes the gradients of input and bias from the gradient of the output.
    fn backward(
        self,
        kernels: Kernels,
    ) -> impl FnMut(&[Option<Tensor>]) -> Result<Vec<Option<Tensor>>, TchError> + Send {
        move |gradients| {
            let Some(gradient) = &gradients[0] else { return Ok(vec![None, None]) };
            // Checked first: a view counts as a reference to the memory.
            let disposable = autograd::is_disposable(gradient);
            let mut flat_gradient = self.layout.in_memory_order(gradient)?;
            // A copy into memory order can be overwritten; otherwise the gradient may still be in use elsewhere.
            if flat_gradient.data_ptr() == gradient.data_ptr() && !disposable {
                flat_gradient = flat_gradient.f_detach_copy()?;
            }
            let mut to_bias = self.bias.f_empty_like()?;
            (kernels.backward)(&self.neuron, self.tensors(), &mut flat_gradient, &mut to_bias)?;
            let [to_input, to_bias] = [&flat_gradient, &to_bias].map(|tensor| self.layout.in_shape_order(tensor));
            Ok(vec![Some(to_input?), Some(to_bias?)])
        }
    }
}

fn fused(neuron: &Neuron, input: &Tensor, gain: &Tensor, bias: &Tensor, kernels: Kernels) -> Result<Tensor, TchError> {
    let saved = Saved::new(neuron, input, gain, bias)?;
    let without_gradient = tch::no_grad_guard();
    let mut flat_output = saved.input.f_empty_like()?;
    (kernels.forward)(neuron, saved.tensors(), &mut flat_output)?;
    let output = saved.layout.in_shape_order(&flat_output)?;
    drop(without_gradient);
    autograd::attach(neuron.name(), &[input, bias], &[&output], saved.backward(kernels))?;
    Ok(output)
}

fn with_tensors(neuron: &Neuron, input: &Tensor, gain: &Tensor, bias: &Tensor) -> Result<Tensor, TchError> {
    let (output, derivative) = value_and_derivative(neuron, input, gain, bias)?;
    let backward = backward_with_tensors(derivative, gain.detach(), input, bias);
    autograd::attach(neuron.name(), &[input, bias], &[&output], backward)?;
    Ok(output)
}

/// Computes the rate in the input's dtype, and its derivative in the bias's, which may be wider.
fn value_and_derivative(
    neuron: &Neuron,
    input: &Tensor,
    gain: &Tensor,
    bias: &Tensor,
) -> Result<(Tensor, Tensor), TchError> {
    let formula = rate_of(neuron)?.formula();
    let _without_gradient = tch::no_grad_guard();
    let current = input.detach().f_to_kind(bias.kind())?.f_mul(&gain.detach())?.f_add(&bias.detach())?;
    let mut results = evaluate(&formula, &[&current])?;
    let (derivative, value) = (results.remove(1), results.remove(0));
    Ok((value.f_to_kind(input.kind())?, derivative))
}

fn backward_with_tensors(
    derivative: Tensor,
    gain: Tensor,
    input: &Tensor,
    bias: &Tensor,
) -> impl FnMut(&[Option<Tensor>]) -> Result<Vec<Option<Tensor>>, TchError> + Send + use<> {
    let (kind, computed) = (input.kind(), bias.kind());
    let leading: Vec<i64> = (0..(input.dim() - bias.dim()) as i64).collect();
    move |gradients| {
        let Some(gradient) = &gradients[0] else { return Ok(vec![None, None]) };
        let to_current = gradient.f_to_kind(computed)?.f_mul(&derivative)?;
        let to_bias = match leading.as_slice() {
            [] => to_current.shallow_clone(),
            leading => to_current.f_sum_dim_intlist(leading, false, computed)?,
        };
        Ok(vec![Some(to_current.f_mul(&gain)?.f_to_kind(kind)?), Some(to_bias)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch_spiking_core::neuron::{Lif, RectifiedLinear};

    fn value_and_gradients(output: &Tensor, of: [&Tensor; 2]) -> [Tensor; 3] {
        let weights = Tensor::arange(output.numel() as i64, (output.kind(), output.device())).reshape_as(output).sin();
        let gradients = Tensor::run_backward(&[(output * weights).sum(output.kind())], &of, false, false);
        [output.detach(), gradients[0].shallow_clone(), gradients[1].shallow_clone()]
    }

    fn compare(neuron: impl Into<Neuron>, kind: Kind, channels_last: bool) {
        let neuron = &neuron.into();
        let options = (kind, Device::Cpu);
        let mut input = Tensor::linspace(-3.0, 4.0, 2 * 3 * 5 * 7, options).reshape([2, 3, 5, 7]);
        if channels_last {
            input = input.movedim_int(-3, -1).contiguous().movedim_int(-1, -3);
        }
        let input = input.set_requires_grad(true);
        let computed = (if kind == Kind::BFloat16 { Kind::Float } else { kind }, Device::Cpu);
        let bias = Tensor::linspace(0.5, 1.5, 105, computed).reshape([3, 5, 7]).set_requires_grad(true);
        let gain = Tensor::linspace(0.8, 1.2, 105, computed).reshape([3, 5, 7]);
        let ours = rate(neuron, &input, &gain, &bias).unwrap();
        let theirs = with_tensors(neuron, &input, &gain, &bias).unwrap();
        assert_eq!((ours.stride(), ours.kind()), (input.stride(), kind));
        let tolerance = match kind {
            Kind::Double => 1e-11,
            Kind::Float => 2e-4,
            // Bits fewer by 16, both ways of computing rounded once.
            _ => 1e-2,
        };
        let all =
            value_and_gradients(&ours, [&input, &bias]).into_iter().zip(value_and_gradients(&theirs, [&input, &bias]));
        for (ours, theirs) in all {
            assert!(ours.allclose(&theirs, tolerance, 1e-6, false), "{ours} {theirs}");
        }
    }

    #[test]
    fn kernels_and_tensor_operations_agree() {
        for kind in [Kind::Float, Kind::Double, Kind::BFloat16] {
            for channels_last in [false, true] {
                compare(Lif::default(), kind, channels_last);
                compare(Lif { smoothing: 0.1, amplitude: 0.01, ..Lif::default() }, kind, channels_last);
                compare(RectifiedLinear::default(), kind, channels_last);
            }
        }
    }

    #[test]
    fn a_gradient_that_somebody_wants_is_not_written_over() {
        let options = (Kind::Float, Device::Cpu);
        let input = Tensor::linspace(-3.0, 4.0, 12, options).reshape([2, 6]).set_requires_grad(true);
        let (gain, bias) = (Tensor::ones([6], options), Tensor::ones([6], options));
        let weights = Tensor::linspace(1.0, 2.0, 12, options).reshape([2, 6]);
        let rates = || rate(Lif::default(), &input, &gain, &bias).unwrap();
        let output = rates();
        let loss = (&output * &weights).sum(Kind::Float);
        let gradients = Tensor::run_backward(&[loss], &[&output, &input], false, false);
        assert_eq!(gradients[0], weights);
        let alone = Tensor::run_backward(&[(rates() * &weights).sum(Kind::Float)], &[&input], false, false);
        assert_eq!(gradients[1], alone[0]);
        // The same tensor is the gradient of both terms.
        let [first, second] = [rates(), rates()];
        let both = ((first + second) * &weights).sum(Kind::Float);
        assert_eq!(Tensor::run_backward(&[both], &[&input], false, false)[0], &alone[0] * 2.0);
    }
}
