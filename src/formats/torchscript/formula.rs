//! Prints a neuron's recorded formulas as TorchScript.

use crate::neuron::{Formula, Operation};

/// Prints statements, one per operation, that compute the first `outputs` outputs of `formula` from the variables
/// `inputs`; returns them with the names of the outputs. `prefix` begins the names of new variables; `constant` returns
/// the name of a one-element tensor.
///
/// The operations are those of [`Formula::evaluate`]: whatever the device, the module computes what it does.
pub(super) fn statements(
    formula: &Formula,
    inputs: &[String],
    outputs: usize,
    prefix: &str,
    mut constant: impl FnMut(f64) -> String,
) -> (Vec<String>, Vec<String>) {
    let wanted = &formula.outputs()[..outputs];
    let needed = needed(formula.operations(), wanted);
    let mut statements = Vec::new();
    let mut names: Vec<String> = Vec::new();
    // Whether an operation's result has the shape of the inputs, or is a single number.
    let mut broad: Vec<bool> = Vec::new();
    for (position, operation) in formula.operations().iter().enumerate() {
        let (function, operands) = call(*operation);
        broad.push(matches!(operation, Operation::Input(_)) || operands.iter().any(|&operand| broad[operand]));
        names.push(match *operation {
            _ if !needed[position] => String::new(),
            Operation::Input(index) => inputs[index].clone(),
            Operation::Constant(value) => constant(value),
            Operation::Detach(a) => names[a].clone(),
            Operation::Fire(distance) => {
                let (name, zero) = (format!("{prefix}{position}"), constant(0.0));
                let distance = &names[distance];
                statements.push(format!("{name} = torch.type_as(torch.gt({distance}, {zero}), {distance})"));
                name
            }
            _ => {
                let name = format!("{prefix}{position}");
                let operands: Vec<_> = operands.iter().map(|&operand| names[operand].as_str()).collect();
                statements.push(format!("{name} = torch.{function}({})", operands.join(", ")));
                name
            }
        });
    }
    let output = |&position: &usize| match broad[position] {
        true => names[position].clone(),
        false => format!("torch.expand_as({}, {})", names[position], inputs[0]),
    };
    (statements, wanted.iter().map(output).collect())
}

/// Marks the operations that the outputs depend on.
fn needed(operations: &[Operation], outputs: &[usize]) -> Vec<bool> {
    let mut needed = vec![false; operations.len()];
    outputs.iter().for_each(|&output| needed[output] = true);
    for position in (0..operations.len()).rev() {
        if needed[position] {
            call(operations[position]).1.into_iter().for_each(|operand| needed[operand] = true);
        }
    }
    needed
}

/// Returns the function of an operation and the indices of its operands; neither for inputs and constants.
fn call(operation: Operation) -> (&'static str, Vec<usize>) {
    match operation {
        Operation::Input(_) | Operation::Constant(_) => ("", vec![]),
        Operation::Add(a, b) => ("add", vec![a, b]),
        Operation::Sub(a, b) => ("sub", vec![a, b]),
        Operation::Mul(a, b) => ("mul", vec![a, b]),
        Operation::Div(a, b) => ("div", vec![a, b]),
        // If one operand is NaN, the result is the other, as in all kernels.
        Operation::Max(a, b) => ("fmax", vec![a, b]),
        Operation::Min(a, b) => ("fmin", vec![a, b]),
        Operation::Greater(a, b) => ("gt", vec![a, b]),
        Operation::Select(mask, a, b) => ("where", vec![mask, a, b]),
        Operation::Exp(a) => ("exp", vec![a]),
        Operation::ExpM1(a) => ("expm1", vec![a]),
        Operation::Ln1p(a) => ("log1p", vec![a]),
        Operation::Floor(a) | Operation::Count(a) => ("floor", vec![a]),
        Operation::Fire(a) => ("gt", vec![a]),
        Operation::Abs(a) => ("abs", vec![a]),
        Operation::Detach(a) => ("detach", vec![a]),
    }
}
