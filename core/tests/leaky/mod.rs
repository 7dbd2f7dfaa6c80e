//! A leaky neuron in discrete time, for tests: every kind of reset, and a learned decay.

use serde::{Deserialize, Serialize};
use tch_spiking_core::neuron::{
    Fire, Initial, Learned, NeuronError, NeuronModel, Real, StateVariable, StepInput, WithoutRate,
};

/// What a spike does to the voltage.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Reset {
    None,
    /// Takes the threshold from it; a constant for gradients.
    Subtract,
    /// Sets it to 0; a constant for gradients.
    Zero,
    /// As `Subtract`, differentiated through the spike.
    SubtractThrough,
    /// As `Zero`, differentiated through the spike.
    ZeroThrough,
}

/// `v' = decay v + J`, a spike above the threshold, the reset in the same step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Leaky {
    pub threshold: f64,
    pub reset: Reset,
}

impl NeuronModel for Leaky {
    const NAME: &'static str = "test_leaky";
    const STATE: &'static [StateVariable] = &[StateVariable::new("voltage", Initial::Voltage)];
    const LEARNED: &'static [Learned] = &[Learned { name: "decay", default: 0.9, range: (0.5, 1.0) }];
    type State<R: Real> = [R; 1];
    type Learned<R: Real> = [R; 1];
    type Rates = WithoutRate;

    fn validate(&self) -> Result<(), NeuronError> {
        Ok(())
    }
    fn amplitude(&self) -> f64 {
        1.0
    }
    fn step<R: Real, F: Fire<R>>(&self, input: StepInput<R, [R; 1]>, state: &mut [R; 1], fire: &F) -> R {
        let (zero, one, threshold) = (R::constant(0.0), R::constant(1.0), R::constant(self.threshold));
        let voltage = input.learned[0] * state[0] + input.current;
        let distance = voltage - threshold;
        let (above, spike) = (distance.greater(zero), fire.once(distance));
        state[0] = match self.reset {
            Reset::None => voltage,
            Reset::Subtract => R::select(above, distance, voltage),
            Reset::Zero => R::select(above, zero, voltage),
            Reset::SubtractThrough => voltage - spike * threshold,
            Reset::ZeroThrough => voltage * (one - spike),
        };
        spike * R::constant(1.0 / input.dt)
    }
}
