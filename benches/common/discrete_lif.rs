//! The discrete LIF neuron of the peers: `v' = decay v + scale J`, a spike of height 1 above the threshold 1, which sets the
//! voltage to 0 (a constant for gradients).

use serde::{Deserialize, Serialize};
use tch_spiking::neuron::{
    Fire, Initial, Neuron, NeuronError, NeuronModel, Real, StateVariable, StepInput, WithoutRate,
};

/// The model for steps of any length.
pub fn discrete_lif(decay: f64, scale: f64) -> Neuron {
    Neuron::new(DiscreteLif { decay, scale })
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct DiscreteLif {
    decay: f64,
    scale: f64,
}

impl NeuronModel for DiscreteLif {
    const NAME: &'static str = "discrete_lif";
    const STATE: &'static [StateVariable] = &[StateVariable::new("voltage", Initial::Value(0.0))];
    type State<R: Real> = [R; 1];
    type Learned<R: Real> = [R; 0];
    type Rates = WithoutRate;

    fn validate(&self) -> Result<(), NeuronError> {
        Ok(())
    }
    fn amplitude(&self) -> f64 {
        1.0
    }
    #[inline(always)]
    fn step<R: Real, F: Fire<R>>(&self, input: StepInput<R, [R; 0]>, state: &mut [R; 1], fire: &F) -> R {
        let voltage = R::constant(self.decay) * state[0] + R::constant(self.scale) * input.current;
        let distance = voltage - R::constant(1.0);
        state[0] = R::select(distance.greater(R::constant(0.0)), R::constant(0.0), voltage);
        fire.once(distance)
    }
}
