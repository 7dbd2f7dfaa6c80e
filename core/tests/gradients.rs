//! Gradients of neuron models: forward mode, reverse mode and differences, each against the others.

mod leaky;

use std::array::from_fn;
use std::cell::RefCell;

use leaky::{Leaky, Reset};
use tch_spiking_core::neuron::{
    Dual, Fire, Formula, Heaviside, Lif, Neuron, NeuronModel, RateModel, Real, RectifiedLinear, Smooth, StateArray,
    StepInput,
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

fn leakies() -> Vec<Leaky> {
    let resets = [Reset::None, Reset::Subtract, Reset::Zero, Reset::SubtractThrough, Reset::ZeroThrough];
    resets.into_iter().flat_map(|reset| [0.7, 1.3].map(|threshold| Leaky { threshold, reset })).collect()
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

/// Inputs of one step as the recorded formula takes them: current, learned parameters, state variables.
fn step_inputs<M: NeuronModel>(random: &mut Uniform, range: (f64, f64)) -> Vec<f64> {
    let mut inputs = vec![random.next(range.0, range.1)];
    inputs.extend(M::LEARNED.iter().map(|parameter| random.next(parameter.range.0, parameter.range.1)));
    inputs.extend(M::STATE.iter().map(|variable| match variable.name {
        "refractory_time" => random.next(-0.002, 0.003),
        _ => random.next(-0.5, 1.5),
    }));
    inputs
}

/// One step in numbers of any kind: output and state variables.
fn step<M: NeuronModel, R: Real, F: Fire<R>>(model: &M, inputs: &[R], fire: &F) -> Vec<R> {
    let learned = M::LEARNED.len();
    let input = StepInput {
        current: inputs[0],
        learned: M::Learned::<R>::from_fn(|i| inputs[1 + i]),
        uniform: R::constant(0.0),
        dt: DT,
    };
    let mut state = M::State::<R>::from_fn(|i| inputs[1 + learned + i]);
    let output = model.step(input, &mut state, fire);
    std::iter::once(output).chain(state.as_ref().iter().copied()).collect()
}

/// Forward and reverse mode over one step; `N` is at least the number of inputs.
fn modes_agree<M: NeuronModel, const N: usize>(model: &M, range: (f64, f64), random: &mut Uniform) {
    let formula = Neuron::new(model.clone()).step_formula(DT);
    for surrogate in SURROGATES {
        let reverse = formula.vjp(&surrogate);
        for _ in 0..300 {
            let inputs = step_inputs::<M>(random, range);
            let duals: Vec<Dual<f64, N>> = inputs.iter().enumerate().map(|(i, &x)| Dual::variable(x, i)).collect();
            let forward = step(model, &duals, &surrogate);
            let values: Vec<f64> = forward.iter().map(|dual| dual.value).collect();
            assert_eq!(values, step(model, &inputs, &Heaviside), "{model:?}: values at {inputs:?}");
            assert_eq!(values, formula.at(&inputs), "{model:?}: formula at {inputs:?}");

            let cotangents: Vec<f64> = forward.iter().map(|_| random.next(-1.0, 1.0)).collect();
            let gradient = reverse.at(&[inputs.clone(), cotangents.clone()].concat());
            assert_eq!(gradient.len(), inputs.len());
            for (i, &got) in gradient.iter().enumerate() {
                let terms = || forward.iter().zip(&cotangents).map(|(dual, cotangent)| dual.partials[i] * cotangent);
                // Below the smallest normal number there are fewer digits.
                let (expected, scale) = (terms().sum::<f64>(), terms().map(f64::abs).sum::<f64>().max(1e-290));
                assert_near(got, expected, scale, 1e-12, || format!("{model:?}, {surrogate:?}, {i} at {inputs:?}"));
            }
        }
    }
}

#[test]
fn forward_and_reverse_mode_agree_over_a_step() {
    let random = &mut Uniform(1);
    for lif in lifs() {
        modes_agree::<_, 3>(&lif, (-2.0, 30.0), random);
    }
    for amplitude in [1.0, 0.01] {
        modes_agree::<_, 2>(&RectifiedLinear { amplitude }, (-500.0, 3000.0), random);
    }
    for leaky in leakies() {
        modes_agree::<_, 3>(&leaky, (-1.0, 2.0), random);
    }
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

/// Spikes as another says, and keeps whether the threshold was crossed.
struct Watched<'a, F>(F, &'a RefCell<Vec<bool>>);

impl<R: Real<Mask = bool>, F: Fire<R>> Fire<R> for Watched<'_, F> {
    fn once(&self, distance: R) -> R {
        self.1.borrow_mut().push(distance.greater(R::constant(0.0)));
        self.0.once(distance)
    }
    fn count(&self, level: R) -> R {
        self.0.count(level)
    }
}

/// A run of [`STEPS`] steps and the weights of what it is judged by.
struct Course<'a, M> {
    model: &'a M,
    fire: Smooth,
    output_weights: [f64; STEPS],
    voltage_weights: [f64; STEPS],
}

/// What a run passed through: the state variables before each step, and at which steps the threshold was crossed.
#[derive(Default)]
struct Path<R> {
    states: Vec<Vec<R>>,
    crossed: Vec<bool>,
}

impl<M: NeuronModel> Course<'_, M> {
    /// `sum(W output) + sum(U voltage)` from the variables: a current a step, the learned parameters, the voltage at the start.
    /// Where `frozen` is given, the refractory time before each step is taken from there.
    fn loss<R: Real<Mask = bool>>(&self, variables: &[R], frozen: Option<&Path<f64>>) -> (R, Path<R>)
    where
        Smooth: Fire<R>,
    {
        let learned = &variables[STEPS..STEPS + M::LEARNED.len()];
        let mut state: Vec<R> = M::STATE.iter().map(|_| R::constant(0.0)).collect();
        state[0] = variables[STEPS + M::LEARNED.len()];
        let crossed = RefCell::default();
        let (mut loss, mut states) = (R::constant(0.0), Vec::new());
        for t in 0..STEPS {
            if let (Some(path), Some(place)) = (frozen, M::STATE.iter().position(|v| v.name == "refractory_time")) {
                state[place] = R::constant(path.states[t][place]);
            }
            states.push(state.clone());
            let inputs = [&variables[t..=t], learned, &state].concat();
            let result = step(self.model, &inputs, &Watched(self.fire, &crossed));
            state = result[1..].to_vec();
            loss = loss
                + R::constant(self.output_weights[t]) * result[0]
                + R::constant(self.voltage_weights[t]) * state[0];
        }
        (loss, Path { states, crossed: crossed.into_inner() })
    }

    /// The gradient by reverse mode, a step at a time from the last to the first.
    fn reverse(&self, formula: &Formula, variables: &[f64], path: &Path<f64>) -> Vec<f64> {
        let (learned, states) = (M::LEARNED.len(), M::STATE.len());
        let mut gradient = vec![0.0; variables.len()];
        let mut to_state = vec![0.0; states];
        for t in (0..STEPS).rev() {
            to_state[0] += self.voltage_weights[t];
            let inputs = [&variables[t..=t], &variables[STEPS..STEPS + learned], &path.states[t]].concat();
            let cotangents = [&[self.output_weights[t]], &to_state[..]].concat();
            let back = formula.at_with(&[inputs, cotangents].concat(), &self.fire);
            gradient[t] = back[0];
            (0..learned).for_each(|i| gradient[STEPS + i] += back[1 + i]);
            to_state = back[1 + learned..].to_vec();
        }
        gradient[STEPS + learned] = to_state[0];
        gradient
    }
}

/// Analytic gradients through time against differences; `N` is the number of variables. Returns the crossings of the threshold.
///
/// What the differences freeze is what the gradients take for a constant: the refractory times (and so the times of the
/// crossings) are those of the undisturbed run, and the steps in which the threshold is crossed, at which a reset by selection
/// happens, are checked to be the same ones in all runs.
fn through_time<M: NeuronModel, const N: usize>(model: &M, range: (f64, f64), random: &mut Uniform) -> usize {
    let formula = Neuron::new(model.clone()).step_formula(DT);
    let mut crossings = 0;
    for surrogate in SURROGATES {
        let reverse = formula.vjp(&surrogate);
        for _ in 0..10 {
            let weights = |random: &mut Uniform| from_fn(|_| random.next(-1.0, 1.0));
            let course = Course {
                model,
                fire: Smooth(surrogate),
                output_weights: weights(random).map(|w: f64| w * DT),
                voltage_weights: weights(random),
            };
            let mut variables: [f64; N] = from_fn(|_| random.next(range.0, range.1));
            for (i, parameter) in M::LEARNED.iter().enumerate() {
                variables[STEPS + i] = random.next(parameter.range.0, parameter.range.1);
            }
            variables[N - 1] = random.next(0.0, 1.0);
            let (value, path) = course.loss(&variables, None);
            let duals: [Dual<f64, N>; N] = from_fn(|i| Dual::variable(variables[i], i));
            let (forward, _) = course.loss(&duals, None);
            assert_eq!(forward.value, value);
            let backward = course.reverse(&reverse, &variables, &path);
            let scale = forward.partials.iter().fold(0.0, |largest: f64, partial| largest.max(partial.abs()));
            crossings += path.crossed.iter().filter(|&&crossed| crossed).count();

            for i in 0..N {
                // Of the fourth order.
                let width = 1e-5 * variables[i].abs().max(1.0);
                let moved = |by: f64| {
                    let mut moved = variables;
                    moved[i] += by * width;
                    let (value, its) = course.loss(&moved, Some(&path));
                    assert_eq!(its.crossed, path.crossed, "{model:?}: a spike moved; take another seed");
                    value
                };
                let difference = (8.0 * (moved(1.0) - moved(-1.0)) - (moved(2.0) - moved(-2.0))) / (12.0 * width);
                let what = || format!("{model:?}, {surrogate:?}: variable {i} of {variables:?}");
                assert_near(forward.partials[i], difference, scale, 1e-6, what);
                assert_near(backward[i], forward.partials[i], scale, 1e-12, what);
            }
        }
    }
    crossings
}

#[test]
fn gradients_through_time_are_differences_of_the_smooth_run() {
    // The seed is one for which no run comes within the width of the differences of a kink of a surrogate.
    let random = &mut Uniform(5);
    for lif in lifs() {
        // Currents for which voltages lie around the threshold, where surrogates are wide enough to matter.
        let range = if lif.tau_rc < DT { (-0.5, 2.5) } else { (-2.0, 30.0) };
        let crossings = through_time::<_, { STEPS + 1 }>(&lif, range, random);
        assert!(crossings > 50, "{lif:?}: {crossings} spikes");
    }
    through_time::<_, { STEPS + 1 }>(&RectifiedLinear::default(), (-500.0, 3000.0), random);
    for leaky in leakies() {
        // Multiplied with an unbounded `1 - G`, larger voltages grow without bound.
        let range = if leaky.reset == Reset::ZeroThrough { (0.0, 0.6) } else { (-1.0, 2.0) };
        let crossings = through_time::<_, { STEPS + 2 }>(&leaky, range, random);
        assert!(crossings > 50, "{leaky:?}: {crossings} spikes");
    }
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
