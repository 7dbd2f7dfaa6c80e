//! The rate as a custom operation with a custom gradient.

use half::bf16;
use tch::{Device, Kind, TchError, Tensor};

use super::dynamic::check_drive;
use super::{Layout, Neuron, NeuronModel};
use crate::error::Result;
use crate::kernels::{self, Drive, Stored, cuda};
use crate::native::autograd;

/// `rate(gain * input + bias)`, differentiable in `input` and `bias`: fused kernels on the CPU and, where they can be
/// compiled, on CUDA; the same formula in tensor operations elsewhere.
pub(super) fn rate<M: NeuronModel>(model: &M, input: &Tensor, gain: &Tensor, bias: &Tensor) -> Result<Tensor> {
    check_drive::<M>(input, gain, bias)?;
    Ok(match Kernels::of(model, input, bias) {
        Some(kernels) => fused(model, input, gain, bias, kernels)?,
        None => with_tensors(model, input, gain, bias)?,
    })
}

/// Makes `output`, computed from `input` and `bias` under `no_grad`, differentiable as if it were their rate.
///
/// `input` and `output` are `[.., S]`; `output` may have a first dimension more, over which the gradient is then summed.
pub(super) fn attach_rate_gradient<M: NeuronModel>(
    model: &M,
    input: &Tensor,
    gain: &Tensor,
    bias: &Tensor,
    output: &Tensor,
) -> Result<(), TchError> {
    let repeated = output.dim() > input.dim();
    let mut backward: Box<autograd::BackwardFn> = match Kernels::of(model, input, bias) {
        Some(kernels) => Box::new(Saved::new(model, input, gain, bias)?.backward(kernels)),
        None => {
            let (_, derivative) = value_and_derivative(model, input, gain, bias)?;
            Box::new(backward_with_tensors(derivative, gain.detach(), input, bias))
        }
    };
    autograd::attach(M::NAME, &[input, bias], &[output], move |gradients| match &gradients[0] {
        Some(gradient) if repeated => backward(&[Some(gradient.f_sum_dim_intlist(0, false, gradient.kind())?)]),
        _ => backward(gradients),
    })
}

/// From input, gain and bias to the output.
type Forward<M> = fn(&M, [&Tensor; 3], &mut Tensor) -> Result<(), TchError>;
/// From input, gain and bias, and the output's gradient, which becomes the input's, to the bias's.
type Backward<M> = fn(&M, [&Tensor; 3], &mut Tensor, &mut Tensor) -> Result<(), TchError>;

/// The kernels of a device, over tensors that are contiguous in memory order.
struct Kernels<M> {
    forward: Forward<M>,
    backward: Backward<M>,
}

impl<M: NeuronModel> Kernels<M> {
    fn of(model: &M, input: &Tensor, bias: &Tensor) -> Option<Self> {
        match (input.device(), input.kind(), bias.kind()) {
            (Device::Cpu, Kind::Float, Kind::Float) => Some(Self::on_cpu::<f32>()),
            (Device::Cpu, Kind::Double, Kind::Double) => Some(Self::on_cpu::<f64>()),
            (Device::Cpu, Kind::BFloat16, Kind::Float) => Some(Self::on_cpu::<bf16>()),
            (Device::Cuda(_), ..) if cuda::computes_rate(model, input, bias) => Some(Self::on_cuda()),
            _ => None,
        }
    }

    fn on_cpu<S: Stored>() -> Self {
        Self {
            forward: |model, tensors, output| {
                kernels::rate_forward(model, drive::<S>(tensors)?, kernels::elements_mut(output)?);
                Ok(())
            },
            backward: |model, tensors, gradient, to_bias| {
                let (gradient, to_bias) = (kernels::elements_mut(gradient)?, kernels::elements_mut(to_bias)?);
                kernels::rate_backward(model, drive::<S>(tensors)?, gradient, to_bias);
                Ok(())
            },
        }
    }

    fn on_cuda() -> Self {
        Self { forward: cuda::rate_forward, backward: cuda::rate_backward }
    }
}

fn drive<S: Stored>([input, gain, bias]: [&Tensor; 3]) -> Result<Drive<'_, S::Computed, S>, TchError> {
    Ok(Drive { input: kernels::elements(input)?, gain: kernels::elements(gain)?, bias: kernels::elements(bias)? })
}

/// What backward needs, in memory order.
struct Saved<M> {
    model: M,
    layout: Layout,
    input: Tensor,
    gain: Tensor,
    bias: Tensor,
}

impl<M: NeuronModel> Saved<M> {
    fn new(model: &M, input: &Tensor, gain: &Tensor, bias: &Tensor) -> Result<Self, TchError> {
        let layout = Layout::of(input, bias.dim());
        let _without_gradient = tch::no_grad_guard();
        let flat = |tensor: &Tensor| layout.in_memory_order(&tensor.detach());
        Ok(Self { model: model.clone(), layout, input: flat(input)?, gain: flat(gain)?, bias: flat(bias)? })
    }

    fn tensors(&self) -> [&Tensor; 3] {
        [&self.input, &self.gain, &self.bias]
    }

    /// From the gradient of the output to those of input and bias.
    fn backward(
        self,
        kernels: Kernels<M>,
    ) -> impl FnMut(&[Option<Tensor>]) -> Result<Vec<Option<Tensor>>, TchError> + Send {
        move |gradients| {
            let Some(gradient) = &gradients[0] else { return Ok(vec![None, None]) };
            // Asked first: a view counts as a user of the memory.
            let disposable = autograd::is_disposable(gradient);
            let mut flat_gradient = self.layout.in_memory_order(gradient)?;
            // If it was copied into memory order, the copy is ours; if not, somebody else may still want it as it is.
            if flat_gradient.data_ptr() == gradient.data_ptr() && !disposable {
                flat_gradient = flat_gradient.f_detach_copy()?;
            }
            let mut to_bias = self.bias.f_empty_like()?;
            (kernels.backward)(&self.model, self.tensors(), &mut flat_gradient, &mut to_bias)?;
            let [to_input, to_bias] = [&flat_gradient, &to_bias].map(|tensor| self.layout.in_shape_order(tensor));
            Ok(vec![Some(to_input?), Some(to_bias?)])
        }
    }
}

fn fused<M: NeuronModel>(
    model: &M,
    input: &Tensor,
    gain: &Tensor,
    bias: &Tensor,
    kernels: Kernels<M>,
) -> Result<Tensor, TchError> {
    let saved = Saved::new(model, input, gain, bias)?;
    let without_gradient = tch::no_grad_guard();
    let mut flat_output = saved.input.f_empty_like()?;
    (kernels.forward)(model, saved.tensors(), &mut flat_output)?;
    let output = saved.layout.in_shape_order(&flat_output)?;
    drop(without_gradient);
    autograd::attach(M::NAME, &[input, bias], &[&output], saved.backward(kernels))?;
    Ok(output)
}

fn with_tensors<M: NeuronModel>(model: &M, input: &Tensor, gain: &Tensor, bias: &Tensor) -> Result<Tensor, TchError> {
    let (output, derivative) = value_and_derivative(model, input, gain, bias)?;
    let backward = backward_with_tensors(derivative, gain.detach(), input, bias);
    autograd::attach(M::NAME, &[input, bias], &[&output], backward)?;
    Ok(output)
}

/// The rate in the input's kind, and its derivative in the bias's, which may be wider.
fn value_and_derivative<M: NeuronModel>(
    model: &M,
    input: &Tensor,
    gain: &Tensor,
    bias: &Tensor,
) -> Result<(Tensor, Tensor), TchError> {
    let formula = model.rate_formula();
    let _without_gradient = tch::no_grad_guard();
    let current = input.detach().f_to_kind(bias.kind())?.f_mul(&gain.detach())?.f_add(&bias.detach())?;
    let mut results = formula.evaluate(&[&current])?;
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
    use crate::neuron::{Lif, RectifiedLinear};

    fn value_and_gradients(output: &Tensor, of: [&Tensor; 2]) -> [Tensor; 3] {
        let weights = Tensor::arange(output.numel() as i64, (output.kind(), output.device())).reshape_as(output).sin();
        let gradients = Tensor::run_backward(&[(output * weights).sum(output.kind())], &of, false, false);
        [output.detach(), gradients[0].shallow_clone(), gradients[1].shallow_clone()]
    }

    fn compare<M: NeuronModel>(model: &M, kind: Kind, channels_last: bool) {
        let options = (kind, Device::Cpu);
        let mut input = Tensor::linspace(-3.0, 4.0, 2 * 3 * 5 * 7, options).reshape([2, 3, 5, 7]);
        if channels_last {
            input = input.movedim_int(-3, -1).contiguous().movedim_int(-1, -3);
        }
        let input = input.set_requires_grad(true);
        let computed = (if kind == Kind::BFloat16 { Kind::Float } else { kind }, Device::Cpu);
        let bias = Tensor::linspace(0.5, 1.5, 105, computed).reshape([3, 5, 7]).set_requires_grad(true);
        let gain = Tensor::linspace(0.8, 1.2, 105, computed).reshape([3, 5, 7]);
        let ours = rate(model, &input, &gain, &bias).unwrap();
        let theirs = with_tensors(model, &input, &gain, &bias).unwrap();
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
                compare(&Lif::default(), kind, channels_last);
                compare(&Lif { smoothing: 0.1, amplitude: 0.01, ..Lif::default() }, kind, channels_last);
                compare(&RectifiedLinear::default(), kind, channels_last);
            }
        }
    }

    #[test]
    fn a_gradient_that_somebody_wants_is_not_written_over() {
        let options = (Kind::Float, Device::Cpu);
        let input = Tensor::linspace(-3.0, 4.0, 12, options).reshape([2, 6]).set_requires_grad(true);
        let (gain, bias) = (Tensor::ones([6], options), Tensor::ones([6], options));
        let weights = Tensor::linspace(1.0, 2.0, 12, options).reshape([2, 6]);
        let rates = || rate(&Lif::default(), &input, &gain, &bias).unwrap();
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
