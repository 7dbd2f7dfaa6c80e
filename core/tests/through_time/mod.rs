//! A neuron through time and the gradients of a loss, in forward and in reverse mode.

use tch_spiking_core::neuron::{Dual, Fire, Formula, Heaviside, Neuron, NeuronModel, Real, StateArray, StepInput};
use tch_spiking_core::surrogate::Surrogate;

/// Within `tolerance` of `scale`, which is the size of what was added up.
pub fn assert_near(got: f64, expected: f64, scale: f64, tolerance: f64, what: impl FnOnce() -> String) {
    assert!((got - expected).abs() <= tolerance * scale, "{}: {got:e}, expected {expected:e}", what());
}

/// A model and the weights of the loss `sum(W output) + sum(U first state variable)`.
pub struct Course<'a, M> {
    model: &'a M,
    dt: f64,
    output_weights: Vec<f64>,
    state_weights: Vec<f64>,
}

/// Outputs, and states after each step.
pub struct Run<R> {
    pub outputs: Vec<R>,
    pub states: Vec<Vec<R>>,
}

/// The gradient of the loss.
pub struct Gradient {
    pub currents: Vec<f64>,
    pub learned: Vec<f64>,
}

impl<'a, M: NeuronModel> Course<'a, M> {
    pub fn new(model: &'a M, dt: f64, output_weights: Vec<f64>, state_weights: Vec<f64>) -> Self {
        Self { model, dt, output_weights, state_weights }
    }

    /// The neuron alone.
    pub fn run(&self, currents: &[f64], learned: &[f64], start: &[f64]) -> Run<f64> {
        self.run_with(currents, learned, start, &Heaviside)
    }

    fn run_with<R: Real, F: Fire<R>>(&self, currents: &[R], learned: &[R], start: &[R], fire: &F) -> Run<R> {
        let mut state = M::State::<R>::from_fn(|variable| start[variable]);
        let (mut outputs, mut states) = (Vec::new(), Vec::new());
        for &current in currents {
            let learned = M::Learned::<R>::from_fn(|index| learned[index]);
            let input = StepInput { current, learned, uniform: R::constant(0.0), dt: self.dt };
            outputs.push(self.model.step(input, &mut state, fire));
            states.push(state.as_ref().to_vec());
        }
        Run { outputs, states }
    }

    /// One run for each variable, with [`Dual`] numbers.
    pub fn forward_mode(&self, currents: &[f64], learned: &[f64], start: &[f64], surrogate: Surrogate) -> Gradient {
        let variables = currents.len() + learned.len();
        let mut gradient: Vec<f64> = (0..variables)
            .map(|variable| {
                let dual = |(at, &value): (usize, &f64)| {
                    if at == variable { Dual::<f64, 1>::variable(value, 0) } else { Dual::from(value) }
                };
                let all: Vec<_> = currents.iter().chain(learned).enumerate().map(dual).collect();
                let (currents, learned) = all.split_at(currents.len());
                let start: Vec<_> = start.iter().map(|&value| Dual::from(value)).collect();
                let run = self.run_with(currents, learned, &start, &surrogate);
                let outputs =
                    run.outputs.iter().zip(&self.output_weights).map(|(dual, weight)| dual.partials[0] * weight);
                let states =
                    run.states.iter().zip(&self.state_weights).map(|(state, weight)| state[0].partials[0] * weight);
                outputs.sum::<f64>() + states.sum::<f64>()
            })
            .collect();
        let learned = gradient.split_off(currents.len());
        Gradient { currents: gradient, learned }
    }

    /// A step at a time from the last to the first, with [`Formula::vjp`].
    pub fn reverse_mode(&self, currents: &[f64], learned: &[f64], start: &[f64], surrogate: Surrogate) -> Gradient {
        let back: Formula = Neuron::new(self.model.clone()).step_formula(self.dt).vjp(&surrogate);
        let run = self.run(currents, learned, start);
        let mut gradient = Gradient { currents: vec![0.0; currents.len()], learned: vec![0.0; learned.len()] };
        let mut to_state = vec![0.0; start.len()];
        for t in (0..currents.len()).rev() {
            to_state[0] += self.state_weights[t];
            let before = if t == 0 { start } else { &run.states[t - 1] };
            let cotangents = [&[self.output_weights[t]], &to_state[..]].concat();
            let to_inputs = back.at(&[&currents[t..=t], learned, before, &cotangents].concat());
            gradient.currents[t] = to_inputs[0];
            gradient.learned.iter_mut().zip(&to_inputs[1..]).for_each(|(sum, part)| *sum += part);
            to_state = to_inputs[1 + learned.len()..].to_vec();
        }
        gradient
    }
}
