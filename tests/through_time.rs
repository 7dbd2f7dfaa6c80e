//! Gradients through time of layers of neurons, against libtorch's own and against differences.

use tch::{Device, Kind, Tensor};
use tch_spiking::neuron::{Lif, Neuron};
use tch_spiking::operation::{self, SpikingDrive};
use tch_spiking::surrogate::Surrogate;

const STEPS: i64 = 40;
const BATCH: i64 = 3;
const NEURONS: i64 = 70;
const DT: f64 = 0.001;

/// A smooth function whose derivative is a surrogate.
type Smooth = fn(&Tensor) -> Tensor;

/// Numbers spread over `[low, high]` in an order without pattern.
fn mixed(low: f64, high: f64, shape: &[i64]) -> Tensor {
    let count: i64 = shape.iter().product();
    let fractions = (Tensor::arange(count, (Kind::Double, Device::Cpu)) * 0.618_033_988_749_895).frac();
    (fractions * (high - low) + low).reshape(shape)
}

/// The variables of a layer of LIF neurons: input, gain, bias, voltage and refractory time.
struct Layer {
    input: Tensor,
    gain: Tensor,
    bias: Tensor,
    state: [Tensor; 2],
}

impl Layer {
    fn new(constant: bool, kind: Kind) -> Self {
        let shape: &[i64] = if constant { &[BATCH, NEURONS] } else { &[STEPS, BATCH, NEURONS] };
        let variable = |low, high, shape: &[i64]| mixed(low, high, shape).to_kind(kind).set_requires_grad(true);
        Self {
            input: variable(-1.0, 12.0, shape),
            gain: variable(0.5, 2.0, &[NEURONS]),
            bias: variable(0.0, 1.0, &[NEURONS]),
            state: [variable(0.0, 1.0, &[BATCH, NEURONS]), variable(0.0, 0.0015, &[BATCH, NEURONS])],
        }
    }

    fn variables(&self) -> Vec<&Tensor> {
        [&self.input, &self.gain, &self.bias].into_iter().chain(&self.state).collect()
    }

    /// `T` calls of `each` steps.
    fn ours(&self, model: &Neuron, surrogate: &Surrogate, truncate: Option<i64>, each: i64) -> [Tensor; 2] {
        let mut state = self.state.each_ref().map(Tensor::shallow_clone);
        let mut outputs = Vec::new();
        for start in (0..STEPS).step_by(each as usize) {
            let varying = self.input.dim() == 3;
            let input = if varying { self.input.narrow(0, start, each) } else { self.input.shallow_clone() };
            let drive = SpikingDrive::new(&input, &self.gain, &self.bias, each, DT);
            outputs.push(operation::through_time(model, &drive, &mut state, surrogate, truncate).unwrap().output);
        }
        [Tensor::cat(&outputs, 0), state[0].shallow_clone()]
    }

    /// The exact LIF in libtorch's operations, differentiated by libtorch: the forward value of the spike is the step, its
    /// gradient that of `smooth`.
    fn theirs(&self, lif: &Lif, smooth: impl Fn(&Tensor) -> Tensor, truncate: Option<i64>) -> [Tensor; 2] {
        let [mut voltage, mut refractory] = self.state.each_ref().map(Tensor::shallow_clone);
        let mut outputs = Vec::new();
        for t in 0..STEPS {
            if truncate.is_some_and(|every| t % every == 0) {
                (voltage, refractory) = (voltage.detach(), refractory.detach());
            }
            let input = if self.input.dim() == 3 { self.input.get(t) } else { self.input.shallow_clone() };
            let current = input * &self.gain + &self.bias;
            let active = (DT - refractory.detach()).clamp(0.0, DT);
            let integrated = &voltage - (&current - &voltage) * (&active / -lif.tau_rc).expm1();
            let distance = &integrated - 1.0;
            let spikes = distance.gt(0.0);
            let step = spikes.to_kind(distance.kind());
            let soft = smooth(&distance);
            outputs.push((&step - soft.detach() + soft) * (lif.amplitude / DT));
            let crossing = ((-&integrated + 1.0) / (&current - 1.0)).log1p() * -lif.tau_rc;
            let since = crossing.fmin(&active).clamp_min(0.0);
            refractory = (-since + lif.tau_ref).where_self(&spikes, &(&refractory - DT)).detach();
            voltage = integrated.clamp_min(lif.min_voltage).where_self(&spikes.logical_not(), &integrated.zeros_like());
        }
        [Tensor::stack(&outputs, 0), voltage]
    }
}

/// The gradients of a weighted sum of output and last voltage.
fn gradients([output, voltage]: &[Tensor; 2], of: &[&Tensor]) -> Vec<Tensor> {
    let weights = |like: &Tensor| mixed(-1.0, 1.0, &like.size()).to_kind(like.kind());
    let kind = output.kind();
    let loss = (output * weights(output) * DT).sum(kind) + (voltage * weights(voltage)).sum(kind);
    Tensor::run_backward(&[loss], of, false, false)
}

fn assert_close(ours: &Tensor, theirs: &Tensor, tolerance: f64, what: &str) {
    let (ours, theirs) = (ours.to_kind(Kind::Double), theirs.to_kind(Kind::Double));
    let error = ((&ours - &theirs).abs().max() / theirs.abs().max().clamp_min(1e-300)).double_value(&[]);
    assert!(error <= tolerance, "{what}: {error}");
}

const NAMES: [&str; 5] = ["input", "gain", "bias", "voltage", "refractory time"];

#[test]
fn gradients_are_those_of_libtorch() {
    let (sigmoid, triangle) = (Surrogate::Sigmoid { slope: 4.0 }, Surrogate::Triangle { width: 1.0 });
    for lif in [Lif::default(), Lif { min_voltage: -1.0, tau_ref: 0.0015, amplitude: 0.01, ..Lif::default() }] {
        for constant in [false, true] {
            for truncate in [None, Some(7)] {
                let layer = Layer::new(constant, Kind::Double);
                // A cut at the first step leaves nothing for the voltage at the start.
                let of = &layer.variables()[..if truncate.is_some() { 3 } else { 4 }];
                let smooth: [(Surrogate, Smooth); 2] = [
                    (sigmoid, |x| (x * 4.0).sigmoid()),
                    // Its antiderivative.
                    (triangle, |x| (x - x * x.abs() * 0.5).where_self(&x.abs().lt(1.0), &(x.sign() * 0.5))),
                ];
                for (surrogate, smooth) in smooth {
                    let what = format!("{lif:?} {surrogate:?} constant: {constant}, truncate: {truncate:?}");
                    let model = Neuron::new(lif.clone());
                    let (ours, theirs) =
                        (layer.ours(&model, &surrogate, truncate, STEPS), layer.theirs(&lif, smooth, truncate));
                    assert!(ours[0].equal(&theirs[0]), "{what}: spikes");
                    assert!(ours[0].count_nonzero(None).int64_value(&[]) > 500, "{what}: few spikes");
                    let pairs = gradients(&ours, of).into_iter().zip(gradients(&theirs, of));
                    for ((ours, theirs), name) in pairs.zip(NAMES) {
                        assert_close(&ours, &theirs, 1e-10, &format!("{what}: {name}"));
                    }
                }
            }
        }
    }
}
