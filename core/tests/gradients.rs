//! Gradients of neuron models: forward mode, reverse mode and differences, each against the others.

mod frozen;

use std::array::from_fn;

use frozen::{Frozen, evaluate};
use tch_spiking_core::neuron::{
    AdaptiveLif, BaseRate, Dual, Fire, Formula, Heaviside, Izhikevich, Leaky, LeakyIntegrator, LeakyRectifiedLinear,
    Learned, Lif, Neuron, NeuronModel, PoissonSpiking, RateModel, Real, RectifiedLinear, RegularSpiking, Reset,
    ResetTime, Smooth, StateArray, StepInput, StochasticSpiking, Synaptic,
};
use tch_spiking_core::surrogate::Surrogate;

const DT: f64 = 0.001;
const STEPS: usize = 12;

const SURROGATES: [Surrogate; 9] = [
    Surrogate::Atan { alpha: 2.0 },
    Surrogate::FastSigmoid { slope: 25.0 },
    Surrogate::FastSigmoid { slope: 1.0 },
    Surrogate::Sigmoid { slope: 4.0 },
    Surrogate::Triangle { width: 1.0 },
    Surrogate::Rectangle { width: 1.0 },
    Surrogate::Gaussian { sigma: 0.4 },
    Surrogate::Gaussian { sigma: 2.0 },
    Surrogate::StraightThrough,
];

fn lifs() -> Vec<Lif> {
    vec![
        Lif::default(),
        Lif { tau_rc: 0.005, tau_ref: 0.0035, amplitude: 0.01, min_voltage: -0.3, smoothing: 0.1 },
        Lif { tau_rc: 0.1, tau_ref: 0.0, min_voltage: f64::NEG_INFINITY, ..Lif::default() },
        Lif { tau_rc: 0.0004, tau_ref: 0.0003, ..Lif::default() },
    ]
}

const RESETS: [Reset; 3] = [Reset::Subtract, Reset::Zero, Reset::None];
const RESET_TIMES: [ResetTime; 3] = [ResetTime::SameStep, ResetTime::NextStep, ResetTime::SameStepCorrected];
const RATES: [BaseRate; 4] = [BaseRate::Relu, BaseRate::LeakyRelu, BaseRate::Sigmoid, BaseRate::Tanh];

/// What is done with each model.
trait Visit {
    /// `range` is that of the currents.
    fn visit<M: NeuronModel>(&mut self, model: &M, range: (f64, f64));
}

/// Every model, with every reset.
fn every_model(visitor: &mut impl Visit) {
    for lif in lifs() {
        // Currents for which voltages lie around the threshold, where surrogates are wide enough to matter.
        visitor.visit(&lif, if lif.tau_rc < DT { (-0.5, 2.5) } else { (-2.0, 30.0) });
    }
    visitor.visit(&AdaptiveLif { tau_n: 0.01, inc_n: 0.02, ..AdaptiveLif::default() }, (-2.0, 30.0));
    for (reset, reset_time, through) in RESETS
        .into_iter()
        .flat_map(|reset| RESET_TIMES.map(|time| (reset, time)))
        .flat_map(|(r, t)| [(r, t, false), (r, t, true)])
    {
        // Multiplied with an unbounded `1 - G`, larger voltages grow without bound.
        let range = if reset == Reset::Zero { (0.0, 0.6) } else { (-1.0, 2.0) };
        let (reset_voltage, resting_voltage, scale_input) = (0.1, -0.2, reset_time == ResetTime::NextStep);
        let fire_at_threshold = through;
        let range = if scale_input { (3.0 * range.0, 3.0 * range.1) } else { range };
        visitor.visit(
            &Leaky {
                reset,
                reset_time,
                through,
                reset_voltage,
                resting_voltage,
                scale_input,
                fire_at_threshold,
                ..Leaky::default()
            },
            range,
        );
        visitor.visit(
            &Synaptic {
                reset,
                reset_time,
                through,
                reset_voltage,
                scale_input,
                membrane_first: scale_input,
                ..Synaptic::default()
            },
            (range.0 / 2.0, range.1 / 2.0),
        );
    }
    visitor.visit(&LeakyIntegrator { scale_input: true, amplitude: 2.0, ..LeakyIntegrator::default() }, (-1.0, 2.0));
    visitor.visit(&Izhikevich::default(), (-5.0, 20.0));
    for amplitude in [1.0, 0.01] {
        visitor.visit(&RectifiedLinear { amplitude }, (-500.0, 3000.0));
        visitor.visit(&LeakyRectifiedLinear { negative_slope: 0.3, amplitude }, (-3000.0, 3000.0));
    }
    for rate in RATES {
        let range = if matches!(rate, BaseRate::Relu | BaseRate::LeakyRelu) { (-3000.0, 3000.0) } else { (-3.0, 3.0) };
        let tau_ref = 0.0005;
        visitor.visit(&RegularSpiking { rate, tau_ref, ..RegularSpiking::default() }, range);
        visitor.visit(&StochasticSpiking { rate, tau_ref, ..StochasticSpiking::default() }, range);
        visitor.visit(&PoissonSpiking { rate, tau_ref, ..PoissonSpiking::default() }, range);
    }
}

/// Numbers uniform in `[low, high)`, the same in every run (SplitMix64).
struct Uniform(u64);

impl Uniform {
    fn next(&mut self, low: f64, high: f64) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        low + (high - low) * ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// Within `tolerance` of `scale`, which is the size of what was added up.
fn assert_near(got: f64, expected: f64, scale: f64, tolerance: f64, what: impl FnOnce() -> String) {
    assert!((got - expected).abs() <= tolerance * scale, "{}: {got:e}, expected {expected:e}", what());
}

/// A value of a parameter that training can change.
fn learned_value(parameter: &Learned, random: &mut Uniform) -> f64 {
    let (low, high) = parameter.range;
    if low.is_finite() && high.is_finite() { random.next(low.max(0.5), high) } else { random.next(0.7, 1.3) }
}

/// A value of a state variable.
fn state_value(model: &str, variable: &str, random: &mut Uniform) -> f64 {
    match (model, variable) {
        ("izhikevich", "voltage") => random.next(-80.0, 40.0),
        ("izhikevich", _) => random.next(-20.0, 0.0),
        (_, "refractory_time") => random.next(-0.002, 0.003),
        _ => random.next(-0.5, 1.5),
    }
}

/// Inputs of one step as the recorded formula takes them: current, learned parameters, random number, state variables.
fn step_inputs<M: NeuronModel>(random: &mut Uniform, range: (f64, f64)) -> Vec<f64> {
    let mut inputs = vec![random.next(range.0, range.1)];
    inputs.extend(M::LEARNED.iter().map(|parameter| learned_value(parameter, random)));
    inputs.extend(M::NOISY.then(|| random.next(0.0, 1.0)));
    inputs.extend(M::STATE.iter().map(|variable| state_value(M::NAME, variable.name, random)));
    inputs
}

/// One step in numbers of any kind: output and state variables.
fn step<M: NeuronModel, R: Real, F: Fire<R>>(model: &M, inputs: &[R], fire: &F) -> Vec<R> {
    let (learned, noise) = (M::LEARNED.len(), usize::from(M::NOISY));
    let input = StepInput {
        current: inputs[0],
        learned: M::Learned::<R>::from_fn(|i| inputs[1 + i]),
        uniform: if M::NOISY { inputs[1 + learned] } else { R::constant(0.0) },
        dt: DT,
    };
    let mut state = M::State::<R>::from_fn(|i| inputs[1 + learned + noise + i]);
    let output = model.step(input, &mut state, fire);
    std::iter::once(output).chain(state.as_ref().iter().copied()).collect()
}

/// The largest number of inputs of a step.
const MOST_INPUTS: usize = 6;

/// Forward and reverse mode over one step.
struct ModesAgree<'a>(&'a mut Uniform);

impl Visit for ModesAgree<'_> {
    fn visit<M: NeuronModel>(&mut self, model: &M, range: (f64, f64)) {
        let random = &mut *self.0;
        let formula = Neuron::new(model.clone()).step_formula(DT);
        assert!(formula.inputs() <= MOST_INPUTS, "{model:?}");
        for surrogate in SURROGATES {
            let reverse = formula.vjp(&surrogate);
            for _ in 0..100 {
                let inputs = step_inputs::<M>(random, range);
                let duals: Vec<Dual<f64, MOST_INPUTS>> =
                    inputs.iter().enumerate().map(|(i, &x)| Dual::variable(x, i)).collect();
                let forward = step(model, &duals, &surrogate);
                let values: Vec<f64> = forward.iter().map(|dual| dual.value).collect();
                assert_eq!(values, step(model, &inputs, &Heaviside), "{model:?}: values at {inputs:?}");
                assert_eq!(values, formula.at(&inputs), "{model:?}: formula at {inputs:?}");

                let cotangents: Vec<f64> = forward.iter().map(|_| random.next(-1.0, 1.0)).collect();
                let gradient = reverse.at(&[inputs.clone(), cotangents.clone()].concat());
                assert_eq!(gradient.len(), inputs.len());
                let terms = |i: usize| {
                    forward.iter().zip(&cotangents).map(move |(dual, cotangent)| dual.partials[i] * cotangent)
                };
                let size = |i: usize| terms(i).map(f64::abs).sum::<f64>();
                // A partial derivative may itself be the small difference of large terms.
                let largest = (0..inputs.len()).map(size).fold(0.0, f64::max);
                for (i, &got) in gradient.iter().enumerate() {
                    // Below the smallest normal number there are fewer digits.
                    let (expected, scale) = (terms(i).sum::<f64>(), size(i).max(1e-3 * largest).max(1e-290));
                    assert_near(got, expected, scale, 1e-12, || format!("{model:?}, {surrogate:?}, {i} at {inputs:?}"));
                }
            }
        }
    }
}

#[test]
fn forward_and_reverse_mode_agree_over_a_step() {
    every_model(&mut ModesAgree(&mut Uniform(1)));
}

#[test]
fn lif_gradients_are_those_of_the_membrane_alone() {
    let random = &mut Uniform(2);
    let mut spikes = 0;
    for lif in lifs() {
        for _ in 0..2000 {
            let inputs = step_inputs::<Lif>(random, (-2.0, 30.0));
            let duals: [Dual<f64, 3>; 3] = from_fn(|i| Dual::variable(inputs[i], i));
            let surrogate = Surrogate::Atan { alpha: 2.0 };
            let [output, voltage, refractory] = step(&lif, &duals, &surrogate)[..] else {
                panic!("two state variables")
            };
            let active = (DT - inputs[2]).clamp(0.0, DT);
            let integrated = inputs[1] + (inputs[0] - inputs[1]) * -(-active / lif.tau_rc).exp_m1();
            let membrane = [-(-active / lif.tau_rc).exp_m1(), (-active / lif.tau_rc).exp(), 0.0];
            let through_fire = surrogate.derivative(integrated - 1.0) * lif.amplitude / DT;
            let keeps = output.value == 0.0 && integrated > lif.min_voltage;
            spikes += usize::from(output.value > 0.0);
            for (i, &slope) in membrane.iter().enumerate() {
                let kept = if keeps { slope } else { 0.0 };
                assert_near(voltage.partials[i], kept, 1.0, 1e-15, || format!("{lif:?}: voltage by {i} at {inputs:?}"));
                let fired = slope * through_fire;
                assert_near(output.partials[i], fired, through_fire, 1e-12, || format!("{lif:?}: output by {i}"));
            }
            assert_eq!(refractory.partials, [0.0; 3]);
        }
    }
    assert!(spikes > 500, "{spikes} spikes");
}

/// The largest number of variables of a run: a current a step, learned parameters, the first state variable.
const MOST_VARIABLES: usize = STEPS + 4;

/// A run of [`STEPS`] steps and the weights of what it is judged by.
struct Course<'a, M> {
    model: &'a M,
    formula: &'a Formula,
    fire: Smooth,
    output_weights: [f64; STEPS],
    voltage_weights: [f64; STEPS],
    uniforms: [f64; STEPS],
    /// The state at the start; its first variable is varied.
    start: Vec<f64>,
}

impl<M: NeuronModel> Course<'_, M> {
    /// The inputs of step `t`.
    fn inputs<R: Real>(&self, t: usize, variables: &[R], state: &[R]) -> Vec<R> {
        let learned = &variables[STEPS..STEPS + M::LEARNED.len()];
        let noise = M::NOISY.then(|| R::constant(self.uniforms[t]));
        [&variables[t..=t], learned, noise.as_slice(), state].concat()
    }

    fn start<R: Real>(&self, variables: &[R]) -> Vec<R> {
        let mut state: Vec<R> = self.start.iter().map(|&value| R::constant(value)).collect();
        state[0] = variables[STEPS + M::LEARNED.len()];
        state
    }

    /// `sum(W output) + sum(U first state variable)`; returns the states before each step too.
    fn loss<R: Real>(&self, variables: &[R]) -> (R, Vec<Vec<R>>)
    where
        Smooth: Fire<R>,
    {
        let (mut state, mut loss, mut states) = (self.start(variables), R::constant(0.0), Vec::new());
        for t in 0..STEPS {
            states.push(state.clone());
            let result = step(self.model, &self.inputs(t, variables, &state), &self.fire);
            state = result[1..].to_vec();
            loss = loss
                + R::constant(self.output_weights[t]) * result[0]
                + R::constant(self.voltage_weights[t]) * state[0];
        }
        (loss, states)
    }

    /// The same, with what gradients take for constants as in another run.
    fn frozen_loss(&self, variables: &[f64], frozen: &mut [Frozen]) -> f64 {
        let (mut state, mut loss) = (self.start(variables), 0.0);
        for (t, frozen) in frozen.iter_mut().enumerate() {
            let result = evaluate(self.formula, &self.inputs(t, variables, &state), self.fire, frozen);
            state = result[1..].to_vec();
            loss += self.output_weights[t] * result[0] + self.voltage_weights[t] * state[0];
        }
        loss
    }

    /// The gradient by reverse mode, a step at a time from the last to the first.
    fn reverse(&self, reverse: &Formula, variables: &[f64], states: &[Vec<f64>]) -> Vec<f64> {
        let (learned, noise) = (M::LEARNED.len(), usize::from(M::NOISY));
        let mut gradient = vec![0.0; variables.len()];
        let mut to_state = vec![0.0; M::STATE.len()];
        for t in (0..STEPS).rev() {
            to_state[0] += self.voltage_weights[t];
            let inputs = self.inputs(t, variables, &states[t]);
            let cotangents = [&[self.output_weights[t]], &to_state[..]].concat();
            let back = reverse.at_with(&[inputs, cotangents].concat(), &self.fire);
            gradient[t] = back[0];
            (0..learned).for_each(|i| gradient[STEPS + i] += back[1 + i]);
            to_state = back[1 + learned + noise..].to_vec();
        }
        gradient[STEPS + learned] = to_state[0];
        gradient
    }
}

/// Analytic gradients through time against differences.
///
/// What the differences freeze is what gradients take for a constant: what is detached, and which branch is selected.
struct ThroughTime<'a>(&'a mut Uniform);

impl Visit for ThroughTime<'_> {
    fn visit<M: NeuronModel>(&mut self, model: &M, range: (f64, f64)) {
        let random = &mut *self.0;
        let formula = Neuron::new(model.clone()).step_formula(DT);
        let count = STEPS + M::LEARNED.len() + 1;
        let mut crossings = 0;
        for surrogate in SURROGATES {
            let reverse = formula.vjp(&surrogate);
            for _ in 0..5 {
                let weights = |random: &mut Uniform| from_fn(|_| random.next(-1.0, 1.0));
                let course = Course {
                    model,
                    formula: &formula,
                    fire: Smooth(surrogate),
                    output_weights: weights(random).map(|w: f64| w * DT / model.amplitude()),
                    voltage_weights: weights(random),
                    uniforms: from_fn(|_| random.next(0.0, 1.0)),
                    start: M::STATE.iter().map(|variable| start_value(M::NAME, variable.name)).collect(),
                };
                let mut variables: Vec<f64> = (0..STEPS).map(|_| random.next(range.0, range.1)).collect();
                variables.extend(M::LEARNED.iter().map(|parameter| learned_value(parameter, random)));
                variables.push(course.start[0] + random.next(0.0, 1.0));
                let (value, states) = course.loss(&variables);
                let duals: Vec<Dual<f64, MOST_VARIABLES>> =
                    variables.iter().enumerate().map(|(i, &x)| Dual::variable(x, i)).collect();
                let (forward, _) = course.loss(&duals);
                assert_eq!(forward.value, value);
                let backward = course.reverse(&reverse, &variables, &states);
                let mut frozen: Vec<Frozen> = (0..STEPS).map(|_| Frozen::default()).collect();
                let again = course.frozen_loss(&variables, &mut frozen);
                assert_near(again, value, value.abs().max(1.0), 1e-12, || format!("{model:?}: the frozen run"));
                crossings += frozen.iter().map(|frozen| frozen.fired).sum::<usize>();
                let scale = forward.partials.iter().fold(0.0, |largest: f64, partial| largest.max(partial.abs()));

                for i in 0..count {
                    // Of the fourth order.
                    let width = 1e-5 * variables[i].abs().max(1.0);
                    let mut moved = |by: f64| {
                        let mut moved = variables.clone();
                        moved[i] += by * width;
                        course.frozen_loss(&moved, &mut frozen)
                    };
                    let difference = (8.0 * (moved(1.0) - moved(-1.0)) - (moved(2.0) - moved(-2.0))) / (12.0 * width);
                    let what = || format!("{model:?}, {surrogate:?}: variable {i} of {variables:?}");
                    assert_near(forward.partials[i], difference, scale, 1e-6, what);
                    assert_near(backward[i], forward.partials[i], scale, 1e-12, what);
                }
            }
        }
        let spikes = !matches!(M::NAME, "leaky_integrator" | "izhikevich");
        assert!(crossings > 20 || !spikes || formula.counts(), "{model:?}: {crossings} spikes");
    }
}

/// Where a state variable starts in a run; to the first, up to 1 is added.
fn start_value(model: &str, variable: &str) -> f64 {
    match (model, variable) {
        ("izhikevich", "voltage") => -60.0,
        ("izhikevich", _) => -13.0,
        _ => 0.0,
    }
}

/// Whether a formula counts spikes rather than fires once.
trait Counts {
    fn counts(&self) -> bool;
}

impl Counts for Formula {
    fn counts(&self) -> bool {
        self.operations().iter().any(|operation| matches!(operation, tch_spiking_core::neuron::Operation::Count(_)))
    }
}

#[test]
fn gradients_through_time_are_differences_of_the_smooth_run() {
    // The seed is one for which no run comes within the width of the differences of a kink of a surrogate.
    every_model(&mut ThroughTime(&mut Uniform(5)));
}

#[test]
fn derivatives_are_differences_of_the_antiderivative() {
    for surrogate in SURROGATES {
        let kinks = match surrogate {
            Surrogate::Rectangle { width } => vec![width / 2.0],
            _ => vec![],
        };
        for i in -3000..=3000 {
            // Never on a kink of G, and of g neither.
            let (x, width) = (f64::from(i) * 1e-3 + 0.31e-3, 1e-5);
            assert!(kinks.iter().all(|kink| (x.abs() - kink).abs() > 2.0 * width));
            let g = |by: f64| surrogate.antiderivative(x + by * width);
            let difference = (8.0 * (g(1.0) - g(-1.0)) - (g(2.0) - g(-2.0))) / (12.0 * width);
            let scale = surrogate.derivative(0.0_f64).max(1.0);
            assert_near(surrogate.derivative(x), difference, scale, 1e-9, || format!("{surrogate:?} at {x}"));
        }
        let centre =
            if matches!(surrogate, Surrogate::FastSigmoid { .. } | Surrogate::StraightThrough) { 0.0 } else { 0.5 };
        assert_eq!(surrogate.antiderivative(0.0), centre);
    }
}

#[test]
fn the_gradient_of_the_rate_is_its_derivative() {
    for lif in lifs() {
        let formula = Neuron::new(lif.clone()).rate().unwrap().formula();
        let reverse = formula.vjp(&Surrogate::default());
        // At the threshold of the hard rate and below it, the branch that is not selected has no finite derivative.
        for current in [-3.0, 0.0, 0.9, 1.0, 1.01, 1.5, 4.0, 100.0] {
            // There, the soft rate is written with a maximum and an absolute value whose kinks cancel.
            if lif.smoothing > 0.0 && current == 1.0 {
                continue;
            }
            let expected = lif.rate(current).derivative;
            let dual = lif.rate(Dual::<f64, 1>::variable(current, 0)).value.partials[0];
            let gradient = reverse.at(&[current, 1.0, 0.0])[0];
            assert_near(dual, expected, expected, 1e-9, || format!("{lif:?}: forward at {current}"));
            assert_near(gradient, expected, expected, 1e-9, || format!("{lif:?}: reverse at {current}"));
        }
    }
}

#[test]
fn gradients_stay_numbers_where_a_branch_not_taken_does_not() {
    let formula = Formula::record(1, |x| {
        let zero = Real::constant(0.0);
        vec![Real::select(x[0].greater(zero), (x[0].ln_1p() / x[0]).exp(), zero)]
    });
    let reverse = formula.vjp(&Surrogate::default());
    assert_eq!(reverse.at(&[0.0, 1.0]), [0.0]);
    assert_eq!(reverse.at(&[-1.0, 1.0]), [0.0]);
    assert!(reverse.at(&[1.0, f64::NAN])[0].is_nan());

    for current in [1.0, f64::MAX, f64::INFINITY, f64::NEG_INFINITY] {
        for voltage in [0.0, 1.0, 1.5] {
            let inputs = [Dual::<f64, 2>::variable(current, 0), Dual::variable(voltage, 1), Dual::from(0.0)];
            for surrogate in SURROGATES {
                let result = step(&Lif::default(), &inputs, &surrogate);
                let finite = result.iter().all(|dual| dual.partials.iter().all(|x| x.is_finite()));
                assert!(finite || current.is_infinite(), "{surrogate:?} at {current}, {voltage}: {result:?}");
                let reverse = Neuron::new(Lif::default()).step_formula(DT).vjp(&surrogate);
                let gradient = reverse.at(&[current, voltage, 0.0, 1.0, 1.0, 1.0]);
                assert!(gradient.iter().all(|x| x.is_finite()), "{surrogate:?} at {current}, {voltage}: {gradient:?}");
            }
        }
    }
}

#[test]
fn functions_without_a_derivative_have_the_usual_one() {
    let formula = Formula::record(2, |x| {
        vec![x[0].abs(), x[0].floor(), x[0].max(x[1]), x[0].min(x[1]), x[0].detach() * x[1], x[0].ln_1p_recip()]
    });
    let reverse = formula.vjp(&Surrogate::default());
    for inputs in [[0.0, 1.0], [-1.5, 2.0], [2.5, -3.0], [0.5, 0.5]] {
        let x: [Dual<f64, 2>; 2] = from_fn(|i| Dual::variable(inputs[i], i));
        let forward = formula.at_with(&x, &Surrogate::default());
        for (output, dual) in forward.iter().enumerate().take(5) {
            let cotangents: [f64; 6] = from_fn(|i| f64::from(u8::from(i == output)));
            let gradient = reverse.at(&[&inputs[..], &cotangents].concat());
            if output != 4 && inputs[0] != 0.0 {
                assert_eq!(gradient, dual.partials, "output {output} at {inputs:?}");
            }
        }
        assert_eq!(forward[0].partials, [if inputs[0] == 0.0 { 0.0 } else { inputs[0].signum() }, 0.0]);
        assert_eq!(forward[1].partials, [0.0; 2]);
        assert_eq!(forward[4].partials, [0.0, inputs[0]]);
    }
}
