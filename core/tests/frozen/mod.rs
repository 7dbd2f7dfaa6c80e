//! Evaluates recorded formulas with what gradients take for constants kept as in an earlier evaluation.

use tch_spiking_core::neuron::{Fire, Formula, Operation, Smooth};

/// What gradients take for constants: what is detached or rounded down, and which branch is selected. Filled by the first
/// evaluation, used by those after it.
#[derive(Debug, Default)]
pub struct Frozen {
    /// By the place in the formula; of a comparison, 1 or 0.
    constants: Vec<f64>,
    /// How often a distance to the threshold was above 0 in the first evaluation.
    pub fired: usize,
}

/// The outputs of `formula` at `inputs`.
pub fn evaluate(formula: &Formula, inputs: &[f64], fire: Smooth, frozen: &mut Frozen) -> Vec<f64> {
    let first = frozen.constants.is_empty();
    let mut v: Vec<f64> = Vec::new();
    for (place, operation) in formula.operations().iter().enumerate() {
        let constant = |now: f64| if first { now } else { frozen.constants[place] };
        v.push(match *operation {
            Operation::Input(index) => inputs[index],
            Operation::Constant(value) => value,
            Operation::Add(a, b) => v[a] + v[b],
            Operation::Sub(a, b) => v[a] - v[b],
            Operation::Mul(a, b) => v[a] * v[b],
            Operation::Div(a, b) => v[a] / v[b],
            Operation::Max(a, b) => {
                if v[a] > v[b] {
                    v[a]
                } else {
                    v[b]
                }
            }
            Operation::Min(a, b) => {
                if v[a] < v[b] {
                    v[a]
                } else {
                    v[b]
                }
            }
            Operation::Greater(a, b) => constant(f64::from(u8::from(v[a] > v[b]))),
            Operation::Select(mask, a, b) => {
                if v[mask] == 1.0 {
                    v[a]
                } else {
                    v[b]
                }
            }
            Operation::Exp(a) => v[a].exp(),
            Operation::ExpM1(a) => v[a].exp_m1(),
            Operation::Ln1p(a) => v[a].ln_1p(),
            Operation::Floor(a) => constant(v[a].floor()),
            Operation::Abs(a) => v[a].abs(),
            Operation::Fire(a) => {
                frozen.fired += usize::from(first && v[a] > 0.0);
                fire.once(v[a])
            }
            Operation::Count(a) => fire.count(v[a]),
            Operation::Detach(a) => constant(v[a]),
        });
    }
    if first {
        frozen.constants.clone_from(&v);
    }
    formula.outputs().iter().map(|&output| v[output]).collect()
}
