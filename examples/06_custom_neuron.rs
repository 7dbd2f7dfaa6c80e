//! A custom neuron model: a sigmoid firing rate, trained with its derivative and run with spikes.
//!
//! `cargo run --release --example 06_custom_neuron`

use serde::{Deserialize, Serialize};
use tch::nn::{self, OptimizerConfig};
use tch::{Device, Tensor};
use tch_spiking::neuron::{
    self, Fire, Initial, NeuronError, NeuronModel, Rate, RateModel, Real, StateVariable, StepInput, WithRate,
};
use tch_spiking::{Network, NetworkSpec};

/// Fires at `highest_rate / (1 + e^-J)` Hz: never quite silent, never faster than `highest_rate` (Hz).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)] // a misspelt parameter is an error
struct Sigmoid {
    highest_rate: f64,
}

impl NeuronModel for Sigmoid {
    const NAME: &'static str = "sigmoid";
    const STATE: &'static [StateVariable] = &[StateVariable::new("voltage", Initial::Voltage)];
    type State<R: Real> = [R; 1];
    type Learned<R: Real> = [R; 0]; // training changes none of its parameters
    type Rates = WithRate;

    fn validate(&self) -> Result<(), NeuronError> {
        let valid = (1.0..=1e6).contains(&self.highest_rate);
        NeuronError::require(Self::NAME, "highest_rate", self.highest_rate, valid, "1 to 1e6 Hz")
    }
    // A spike integrates to 1 / highest_rate, so that the output lies between 0 and 1.
    fn amplitude(&self) -> f64 {
        1.0 / self.highest_rate
    }

    // Inference: integrate the rate, spike at every whole number that the voltage passes. Written once over `Real`, it
    // becomes a fused kernel and a tensor operation.
    #[inline(always)]
    fn step<R: Real, F: Fire<R>>(&self, input: StepInput<R, [R; 0]>, state: &mut [R; 1], fire: &F) -> R {
        let voltage = state[0] + self.rate(input.current).value * R::constant(self.highest_rate * input.dt);
        let spikes = fire.count(voltage);
        state[0] = voltage - spikes;
        spikes * R::constant(self.amplitude() / input.dt)
    }
}

impl RateModel for Sigmoid {
    fn max_rate(&self) -> f64 {
        self.highest_rate
    }

    // Training: the output and its slope.
    #[inline(always)]
    fn rate<R: Real>(&self, current: R) -> Rate<R> {
        let one = R::constant(1.0);
        let value = one / (one + (-current).exp());
        Rate { value, derivative: value * (one - value) }
    }

    // For specifications with a `max_rate` (at x = 1); the intercept has no effect, since the neuron is never silent.
    fn gain_bias(&self, max_rate: f64, _intercept: f64) -> Result<(f64, f64), NeuronError> {
        let odds = max_rate / (self.highest_rate - max_rate);
        let valid = odds > 0.0 && odds.is_finite();
        NeuronError::require(Self::NAME, "max_rate", max_rate, valid, "above 0 Hz and below highest_rate")?;
        Ok((odds.ln(), 0.0))
    }
}

/// The model under its name, with its parameters; what is about the layer (gain, bias, max_rate, ..) may stand beside
/// them.
const NETWORK: &str = r#"
    input = [2]
    layers = [
        { type = "linear", out_features = 16 },
        { type = "sigmoid", highest_rate = 200.0 },
        { type = "linear", out_features = 1 },
        { type = "lowpass", tau = 0.05 },
    ]
"#;

fn main() -> anyhow::Result<()> {
    // From now on specifications, experiment files and weights files know the name.
    neuron::register_neuron::<Sigmoid>()?;
    let spec: NetworkSpec = toml::from_str(NETWORK)?;
    let vs = nn::VarStore::new(Device::Cpu);
    let net = Network::new(&vs.root(), &spec, 0)?;
    let input = Tensor::from_slice2(&[[-1.0_f32, -1.0], [-1.0, 1.0], [1.0, -1.0], [1.0, 1.0]]);
    let xor = Tensor::from_slice2(&[[0.0_f32], [1.0], [1.0], [0.0]]);
    let mut optimiser = nn::Adam::default().build(&vs, 0.02)?;
    for step in 0..1000 {
        optimiser.backward_step(&net.forward_training(&input, step)?.mse_loss(&xor, tch::Reduction::Mean));
    }
    let rates = tch::no_grad(|| net.forward_rates(&input))?;
    let spikes = net.simulate(&input, 500, &[])?.last_output();
    println!("inputs      exclusive or   as rates   as spikes");
    for row in 0..4 {
        let [x, y] = [0, 1].map(|column| input.double_value(&[row, column]));
        let [wanted, rate, spike] = [&xor, &rates, &spikes].map(|tensor| tensor.double_value(&[row, 0]));
        println!("{x:4} {y:4} {wanted:12} {rate:13.2} {spike:11.2}");
    }
    Ok(())
}
