//! Shared by the integration tests.

#![allow(dead_code)] // Every test binary uses a part.

use proptest::test_runner::Config;
use serde_json::Value;
use tch::{Device, Kind, Tensor};
use tch_spiking::neuron::Neuron;
use tch_spiking::operation::{self, SpikingDrive};

/// Both kinds that the fused kernels know.
pub const KINDS: [Kind; 2] = [Kind::Float, Kind::Double];

/// A file of `tests/golden`.
pub fn golden(name: &str) -> Value {
    let path = format!("{}/tests/golden/{name}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// All numbers of a nested list, as a tensor of its shape.
pub fn tensor(value: &Value, kind: Kind) -> Tensor {
    fn collect(value: &Value, depth: usize, shape: &mut Vec<i64>, numbers: &mut Vec<f64>) {
        let Some(list) = value.as_array() else {
            return numbers.push(value.as_f64().unwrap());
        };
        if shape.len() == depth {
            shape.push(list.len() as i64);
        }
        list.iter().for_each(|value| collect(value, depth + 1, shape, numbers));
    }
    let (mut shape, mut numbers) = (vec![], vec![]);
    collect(value, 0, &mut shape, &mut numbers);
    Tensor::from_slice(&numbers).reshape(&shape).to_kind(kind)
}

/// The elements in the order of the shape.
pub fn numbers(tensor: &Tensor) -> Vec<f64> {
    Vec::try_from(tensor.detach().to_kind(Kind::Double).contiguous().view(-1)).unwrap()
}

/// The exact bits of the elements (`f32` widened, which loses nothing), so that also -0 and NaN compare.
pub fn bits(tensor: &Tensor) -> Vec<u64> {
    numbers(tensor).into_iter().map(f64::to_bits).collect()
}

/// The largest absolute difference.
pub fn distance(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.size(), b.size());
    numbers(a).into_iter().zip(numbers(b)).map(|(a, b)| if a == b { 0.0 } else { (a - b).abs() }).fold(0.0, f64::max)
}

/// `steps` timesteps recorded in full.
pub struct Simulation {
    pub output: Tensor,
    /// For each state variable its value after every step.
    pub history: Vec<Tensor>,
    /// For each state variable its value at the end.
    pub state: Vec<Tensor>,
}

/// Runs `neuron` with gain 1 and bias 0, so that `current` (`[B, S]` or `[T, B, S]`) is what it integrates, from the start
/// voltage `[B, S]`, the other state variables at 0.
pub fn simulate(
    neuron: impl Into<Neuron>,
    current: &Tensor,
    steps: i64,
    dt: f64,
    start_voltage: &Tensor,
) -> Simulation {
    let neuron = &neuron.into();
    let one_image = start_voltage.get(0);
    let (gain, bias) = (one_image.ones_like(), one_image.zeros_like());
    let drive = SpikingDrive::new(current, &gain, &bias, steps, dt);
    let mut state: Vec<_> = neuron.state().iter().map(|_| start_voltage.zeros_like()).collect();
    state[0] = start_voltage.copy();
    let spikes = operation::spike(neuron, &drive, &mut state, &vec![true; neuron.state().len()]).unwrap();
    Simulation { output: spikes.output, history: spikes.recorded.into_iter().flatten().collect(), state }
}

/// The rate at `current` (gain 1, bias 0) and its derivative, through autograd.
pub fn rate_and_derivative(neuron: impl Into<Neuron>, current: &Tensor) -> (Tensor, Tensor) {
    let neuron = &neuron.into();
    let input = current.detach().copy().unsqueeze(0).set_requires_grad(true);
    let rate = operation::rate(neuron, &input, &current.ones_like(), &current.zeros_like()).unwrap();
    rate.sum(rate.kind()).backward();
    (rate.detach().squeeze_dim(0), input.grad().squeeze_dim(0))
}

/// Numbers spread evenly over `low..high`, in an order that mixes them.
pub fn mixed(low: f64, high: f64, shape: &[i64], kind: Kind) -> Tensor {
    let count: i64 = shape.iter().product();
    let golden_ratio = 0.618_033_988_749_894_9;
    let fractions = (Tensor::arange(count, (Kind::Double, Device::Cpu)) * golden_ratio).frac();
    (fractions * (high - low) + low).reshape(shape).to_kind(kind)
}

/// `cases` random cases; nothing is written beside the sources.
pub fn cases(cases: u32) -> Config {
    Config { cases, failure_persistence: None, ..Config::default() }
}
