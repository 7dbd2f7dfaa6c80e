//! Evaluates recorded formulas with tensor operations, on any device.

use tch::{TchError, Tensor};
use tch_spiking_core::neuron::{Formula, Operation};

/// Evaluates `formula` with tensors that broadcast against each other; returns one tensor per output, of their common
/// shape.
///
/// # Errors
/// Returns an error if the shapes do not broadcast, there are fewer inputs than the formula has, or memory runs out.
pub fn evaluate(formula: &Formula, inputs: &[&Tensor]) -> Result<Vec<Tensor>, TchError> {
    let needed = formula.operations().iter().filter(|operation| matches!(operation, Operation::Input(_))).count();
    let (Some(&like), true) = (inputs.first(), inputs.len() == needed) else {
        return Err(TchError::Shape(format!("the formula needs {needed} inputs, got {}", inputs.len())));
    };
    let number = |value: f64| Tensor::f_full([] as [i64; 0], value, (like.kind(), like.device()));
    let mut values: Vec<Tensor> = Vec::with_capacity(formula.operations().len());
    for operation in formula.operations() {
        let value = match *operation {
            Operation::Input(index) => inputs[index].shallow_clone(),
            Operation::Constant(value) => number(value)?,
            Operation::Add(a, b) => values[a].f_add(&values[b])?,
            Operation::Sub(a, b) => values[a].f_sub(&values[b])?,
            Operation::Mul(a, b) => values[a].f_mul(&values[b])?,
            Operation::Div(a, b) => values[a].f_div(&values[b])?,
            Operation::Max(a, b) => values[a].f_fmax(&values[b])?,
            Operation::Min(a, b) => values[a].f_fmin(&values[b])?,
            Operation::Greater(a, b) => values[a].f_gt_tensor(&values[b])?,
            Operation::Select(mask, a, b) => values[a].f_where_self(&values[mask], &values[b])?,
            Operation::Exp(a) => values[a].f_exp()?,
            Operation::ExpM1(a) => values[a].f_expm1()?,
            Operation::Ln1p(a) => values[a].f_log1p()?,
            Operation::Floor(a) | Operation::Count(a) => values[a].f_floor()?,
            Operation::Abs(a) => values[a].f_abs()?,
            Operation::Detach(a) => values[a].shallow_clone(),
            Operation::Fire(a) => values[a].f_gt(0.0)?.f_to_kind(like.kind())?,
        };
        values.push(value);
    }
    // An output that depends on no input is a plain number; it still gets the inputs' shape.
    formula.outputs().iter().map(|&output| values[output].f_expand_as(&values[output].f_add(like)?)).collect()
}
