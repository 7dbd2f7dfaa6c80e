//! Neurons through time against the numbers of snnTorch, SpikingJelly and Norse: spikes, membranes, and gradients by both
//! derivations.

mod through_time;

use std::collections::BTreeMap;

use serde_json::Value;
use tch_spiking_core::neuron::{
    Heaviside, Integration, Izhikevich, Leaky, NeuronModel, Reset, ResetTime, StepInput, Synaptic,
};
use tch_spiking_core::surrogate::Surrogate;
use through_time::{Course, assert_near};

const STEPS: usize = 15;
/// Samples times neurons.
const NEURONS: usize = 12;

fn golden(name: &str) -> BTreeMap<String, Value> {
    let path = format!("{}/../tests/golden/through_time/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// The numbers of nested lists in order.
fn numbers(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(items) => items.iter().flat_map(numbers).collect(),
        other => vec![other.as_f64().unwrap_or_else(|| panic!("{other}"))],
    }
}

/// How exact the gradients of a library are.
#[derive(Clone, Copy)]
struct Precision {
    /// Whether the gradient that comes into a spike is rounded to `f32`, as the spikes are there.
    rounds_incoming: bool,
    relative: f64,
    /// The same of the threshold's gradient.
    threshold: f64,
}

/// Full double precision.
const DOUBLE: Precision = Precision { rounds_incoming: false, relative: 1e-9, threshold: 1e-9 };

/// Checks a case. `learned_gradients` names, of each learned parameter of the model, the peer's gradient, with the factor that
/// makes it of ours.
fn check<M: NeuronModel>(
    name: &str,
    case: &Value,
    model: &M,
    surrogate: Surrogate,
    learned_gradients: &[(usize, &str, f64)],
    precision: Precision,
) {
    let dt = 0.001;
    let of = |key: &str| numbers(&case[key]);
    let column =
        |values: &[f64], neuron: usize| -> Vec<f64> { (0..STEPS).map(|t| values[t * NEURONS + neuron]).collect() };
    let learned = model.learned_values(dt).as_ref().to_vec();
    let (spikes, membrane) = (of("spikes"), of("membrane"));
    for (suffix, on_membrane) in [("", true), ("_spikes_only", false)] {
        let expected = of(&format!("grad_input{suffix}"));
        let mut to_learned = vec![0.0; learned.len()];
        let mut sizes = vec![0.0; learned.len()];
        for neuron in 0..NEURONS {
            let mut output_weights = column(&of("weight_on_spikes"), neuron);
            if precision.rounds_incoming {
                output_weights.iter_mut().for_each(|weight| *weight = f64::from(*weight as f32));
            }
            let mut state_weights = column(&of("weight_on_membrane"), neuron);
            if !on_membrane {
                state_weights.fill(0.0);
            }
            let course = Course::new(model, dt, output_weights, state_weights);
            let start = vec![0.0; M::STATE.len()];
            let currents = column(&of("input"), neuron);
            let run = course.run(&currents, &learned, &start);
            assert_eq!(run.outputs, column(&spikes, neuron), "{name}: spikes of {neuron}");
            for (ours, theirs) in run.states.iter().map(|state| state[0]).zip(column(&membrane, neuron)) {
                assert!((ours - theirs).abs() <= 1e-12, "{name}: membrane of {neuron}: {ours}, expected {theirs}");
            }
            let forward = course.forward_mode(&currents, &learned, &start, surrogate);
            let reverse = course.reverse_mode(&currents, &learned, &start, surrogate);
            let scale = column(&expected, neuron).iter().fold(0.0, |most: f64, x| most.max(x.abs()));
            for (mode, gradient) in [("forward", &forward), ("reverse", &reverse)] {
                for (t, (&ours, theirs)) in gradient.currents.iter().zip(column(&expected, neuron)).enumerate() {
                    let what = || format!("{name}{suffix}: {mode} mode, input {t} of neuron {neuron}");
                    assert_near(ours, theirs, scale, precision.relative, what);
                }
            }
            for (i, (&forward, &reverse)) in forward.learned.iter().zip(&reverse.learned).enumerate() {
                let size = forward.abs().max(1e-3);
                assert_near(reverse, forward, size, 1e-10, || format!("{name}: modes, learned parameter {i}"));
                to_learned[i] += reverse;
                sizes[i] += size;
            }
        }
        for &(parameter, key, factor) in learned_gradients {
            let theirs = case[&format!("grad_{key}{suffix}")].as_f64().unwrap();
            // The sum over neurons may be much smaller than its terms.
            let scale = theirs.abs().max(sizes[parameter] * factor.abs() / 10.0);
            let relative = if key == "threshold" { precision.threshold } else { precision.relative };
            assert_near(to_learned[parameter] * factor, theirs, scale, relative, || format!("{name}{suffix}: {key}"));
        }
    }
}

fn text<'a>(case: &'a Value, key: &str) -> &'a str {
    case["parameters"][key].as_str().unwrap()
}

fn number(case: &Value, key: &str) -> f64 {
    case["parameters"][key].as_f64().unwrap()
}

fn flag(case: &Value, key: &str) -> bool {
    case["parameters"][key].as_bool().unwrap()
}

fn reset(case: &Value) -> Reset {
    match text(case, "reset") {
        "subtract" => Reset::Subtract,
        "zero" => Reset::Zero,
        _ => Reset::None,
    }
}

fn surrogate(case: &Value) -> Surrogate {
    match text(case, "surrogate") {
        "fast_sigmoid" => Surrogate::FastSigmoid { slope: number(case, "slope") },
        "atan" => Surrogate::Atan { alpha: number(case, "slope") },
        "ATan" => Surrogate::Atan { alpha: number(case, "alpha") },
        "Sigmoid" => Surrogate::Sigmoid { slope: number(case, "alpha") },
        // The file says `alpha` 25; the numbers, as those of the surrogate alone, are of a slope of 1.
        "super" => Surrogate::FastSigmoid { slope: 1.0 },
        other => panic!("{other}"),
    }
}

/// snnTorch's spikes are `f32`, and so are the gradients that come into them. Where only the loss reads the spikes, its weights
/// are rounded likewise here; where the reset reads them too (without delay), the sum is rounded there, and cannot be here. A spike
/// times the threshold, what a reset subtracts, is `f32` too, and so is its part of the threshold's gradient.
#[test]
fn snntorch() {
    let cases = golden("snntorch_neurons");
    for (name, case) in &cases {
        let rounded = Precision { rounds_incoming: true, ..DOUBLE };
        if name.starts_with("synaptic") {
            let synaptic = Synaptic {
                decay: Some(number(case, "beta")),
                current_decay: Some(number(case, "alpha")),
                threshold: number(case, "threshold"),
                reset: reset(case),
                reset_time: ResetTime::NextStep,
                ..Synaptic::default()
            };
            check(name, case, &synaptic, surrogate(case), &[(0, "beta", 1.0), (1, "alpha", 1.0)], rounded);
            continue;
        }
        let delayed = flag(case, "reset_delay");
        let leaky = Leaky {
            decay: Some(number(case, "beta")),
            threshold: number(case, "threshold"),
            reset: reset(case),
            reset_time: if delayed { ResetTime::NextStep } else { ResetTime::SameStepCorrected },
            through: !delayed,
            ..Leaky::default()
        };
        let precision = match (delayed, leaky.reset) {
            (false, _) => Precision { relative: 1e-6, threshold: 1e-6, ..rounded },
            (true, Reset::Subtract) => Precision { threshold: 1e-7, ..rounded },
            (true, Reset::Zero | Reset::None) => rounded,
        };
        check(name, case, &leaky, surrogate(case), &[(0, "beta", 1.0), (1, "threshold", 1.0)], precision);
    }
    assert_eq!(cases.len(), 20);
}

#[test]
fn spikingjelly() {
    let cases = golden("spikingjelly_neurons");
    for (name, case) in &cases {
        let parameters = &case["parameters"];
        let tau = parameters["tau"].as_f64().or(parameters["init_tau"].as_f64());
        let hard = parameters["v_reset"].as_f64();
        let leaky = Leaky {
            decay: Some(tau.map_or(1.0, |tau| 1.0 - 1.0 / tau)),
            scale_input: parameters["decay_input"].as_bool().unwrap_or(false),
            threshold: number(case, "v_threshold"),
            reset: if hard.is_some() { Reset::Zero } else { Reset::Subtract },
            reset_voltage: hard.unwrap_or(0.0),
            resting_voltage: hard.unwrap_or(0.0),
            through: !flag(case, "detach_reset"),
            fire_at_threshold: true,
            ..Leaky::default()
        };
        // decay = sigmoid(-w).
        let decay = leaky.learned_values(0.001)[0];
        let of_w = [(0, "w", -decay * (1.0 - decay))];
        let learned = if name.starts_with("plif") { &of_w[..] } else { &[] };
        check(name, case, &leaky, surrogate(case), learned, DOUBLE);
    }
    assert_eq!(cases.len(), 22);
}

#[test]
fn norse() {
    let cases = golden("norse_neurons");
    let boxed = &cases["lif_box"];
    let leaky = Leaky {
        tau: Some(number(boxed, "tau_mem")),
        integration: Integration::Euler,
        scale_input: true,
        threshold: number(boxed, "v_th"),
        reset: Reset::Zero,
        // In the file's version the reset is differentiated.
        through: true,
        ..Leaky::default()
    };
    check("lif_box", boxed, &leaky, surrogate(boxed), &[], DOUBLE);
    let forward = &cases["lif_feed_forward"];
    let synaptic = Synaptic {
        tau: Some(number(forward, "tau_mem")),
        tau_syn: Some(number(forward, "tau_syn")),
        integration: Integration::Euler,
        scale_input: true,
        threshold: number(forward, "v_th"),
        reset: Reset::Zero,
        through: true,
        ..Synaptic::default()
    };
    check("lif_feed_forward", forward, &synaptic, surrogate(forward), &[], DOUBLE);
    assert_eq!(cases.len(), 2);
}

#[test]
fn izhikevich() {
    for (name, case) in golden("izhikevich") {
        let parameter = |key| number(&case, key);
        let (a, b, c, d) = (parameter("a"), parameter("b"), parameter("c"), parameter("d"));
        let model = Izhikevich { a, b, c, d, ..Izhikevich::default() };
        let of = |key: &str| numbers(&case[key]);
        let (currents, spikes, voltages, recoveries) = (of("input"), of("spikes"), of("v"), of("u"));
        let mut states = [[-65.0, -13.0]; 4];
        let mut count = 0.0;
        for (at, &current) in currents.iter().enumerate() {
            let state = &mut states[at % 4];
            let output = model.step(StepInput::new(current, 0.001), state, &Heaviside);
            assert_eq!(output, spikes[at], "{name}: spike {at}");
            assert!((state[0] - voltages[at]).abs() <= 1e-9, "{name}: v at {at}: {}", state[0]);
            assert!((state[1] - recoveries[at]).abs() <= 1e-9, "{name}: u at {at}: {}", state[1]);
            count += output;
        }
        assert!(count > 20.0, "{name}: {count} spikes");
    }
}

/// A voltage that equals the threshold fires only where it should, and gradients flow through it.
#[test]
fn a_voltage_at_the_threshold_fires_if_asked() {
    for fire_at_threshold in [false, true] {
        let leaky = Leaky { decay: Some(1.0), fire_at_threshold, ..Leaky::default() };
        let input = StepInput { current: 1.0, learned: leaky.learned_values(0.001), uniform: 0.0, dt: 0.001 };
        let spike = leaky.step(input, &mut [0.0_f64], &Heaviside);
        assert_eq!(spike, f64::from(u8::from(fire_at_threshold)));
        let single = StepInput { current: 1.0_f32, learned: input.learned.map(|x| x as f32), uniform: 0.0, dt: 0.001 };
        assert_eq!(f64::from(leaky.step(single, &mut [0.0_f32], &Heaviside)), spike);
        let course = Course::new(&leaky, 0.001, vec![1.0], vec![0.0]);
        let gradient = course.reverse_mode(&[1.0], &input.learned, &[0.0], Surrogate::Atan { alpha: 2.0 });
        assert_eq!(gradient.currents, [1.0]);
    }
}
