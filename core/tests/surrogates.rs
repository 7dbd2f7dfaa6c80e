//! Surrogates against the numbers of snnTorch, SpikingJelly and Norse.

use serde_json::Value;
use tch_spiking_core::neuron::{Fire, Heaviside};
use tch_spiking_core::surrogate::Surrogate;

fn numbers(value: &Value) -> Vec<f64> {
    let number = |value: &Value| value.as_f64().or(value.as_bool().map(f64::from)).unwrap();
    value.as_array().unwrap().iter().map(number).collect()
}

#[test]
fn spikes_and_derivatives_are_those_of_the_peers() {
    let path = format!("{}/../tests/golden/through_time/surrogates.json", env!("CARGO_MANIFEST_DIR"));
    let golden: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let distances = numbers(&golden["x"]);
    // SpikingJelly fires at the threshold too.
    let cases = [
        ("snntorch_atan_2", Surrogate::Atan { alpha: 2.0 }, false),
        ("snntorch_fast_sigmoid_25", Surrogate::FastSigmoid { slope: 25.0 }, false),
        ("snntorch_sigmoid_25", Surrogate::Sigmoid { slope: 25.0 }, false),
        ("snntorch_straight_through", Surrogate::StraightThrough, false),
        ("spikingjelly_ATan", Surrogate::Atan { alpha: 2.0 }, true),
        ("spikingjelly_Sigmoid", Surrogate::Sigmoid { slope: 4.0 }, true),
        ("spikingjelly_PiecewiseQuadratic", Surrogate::Triangle { width: 1.0 }, true),
        ("spikingjelly_SuperSpike", Surrogate::FastSigmoid { slope: 1.0 }, true),
        ("spikingjelly_Rect", Surrogate::Rectangle { width: 1.0 }, true),
        // The file calls it 25; the numbers are those of a slope of 1.
        ("norse_super_25", Surrogate::FastSigmoid { slope: 1.0 }, false),
    ];
    for (name, surrogate, at_threshold) in cases {
        let case = &golden[name];
        let expected = numbers(&case["spike"]).into_iter().zip(numbers(&case["derivative"]));
        for (&x, (spike, derivative)) in distances.iter().zip(expected) {
            if x != 0.0 || !at_threshold {
                assert_eq!(Heaviside.once(x), spike, "{name}: spike at {x}");
            }
            let ours = surrogate.derivative(x);
            assert!((ours - derivative).abs() <= 1e-12, "{name}: at {x} {ours}, expected {derivative}");
        }
    }
}
