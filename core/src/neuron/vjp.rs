//! Derivatives, reverse mode: the formula of a formula's gradient.

use super::formula::{Operation, Replay};
use super::{Formula, Real, Recorded, Traced};
use crate::surrogate::Surrogate;

impl Formula {
    /// The vector-Jacobian product: from the inputs, followed by the gradient with respect to each output, to the gradient
    /// with respect to each input.
    ///
    /// The derivative of a spike is the surrogate's, that of a count is 1 (straight through), and nothing flows through
    /// [`Detach`](Operation::Detach). Elsewhere the conventions are those of [`Dual`](super::Dual). A branch that is not
    /// selected contributes nothing, even where its derivative is not finite.
    ///
    /// ```
    /// use tch_spiking_core::neuron::Formula;
    /// use tch_spiking_core::surrogate::Surrogate;
    ///
    /// let product = Formula::record(2, |x| vec![x[0] * x[1]]);
    /// let gradient = product.vjp(&Surrogate::default());
    /// assert_eq!(gradient.at(&[2.0, 3.0, 10.0]), [30.0, 20.0]);
    /// ```
    pub fn vjp(&self, surrogate: &Surrogate) -> Formula {
        let inputs = self.inputs();
        Formula::record(inputs + self.outputs().len(), |traced| {
            let (inputs, cotangents) = traced.split_at(inputs);
            let values = self.replay(inputs, &Recorded);
            let mut sweep = Sweep::new(self.operations());
            for (&output, &cotangent) in self.outputs().iter().zip(cotangents) {
                sweep.add(output, Gradient { value: cotangent, masked: false });
            }
            for position in (0..self.operations().len()).rev() {
                if let Some(gradient) = sweep.gradients[position] {
                    sweep.step(self.operations()[position], gradient, &values, surrogate);
                }
            }
            sweep.of_inputs(self.operations(), inputs.len())
        })
    }
}

/// The gradient with respect to a step of the formula.
#[derive(Clone, Copy)]
struct Gradient {
    value: Traced,
    /// Whether it is 0 where another branch was selected.
    masked: bool,
}

impl Gradient {
    /// The gradient through a function whose derivative makes `scaled` of this one's value; 0 stays 0, whatever the derivative.
    fn scaled(self, scaled: impl FnOnce(Traced) -> Traced) -> Self {
        let value = scaled(self.value);
        if !self.masked {
            return Self { value, ..self };
        }
        let flows = self.value.abs().greater(Traced::constant(0.0));
        Self { value: Traced::select(flows, value, self.value), ..self }
    }
}

/// The gradients known so far, from the last step of a formula to its first.
struct Sweep {
    gradients: Vec<Option<Gradient>>,
    /// Whether a gradient can reach an input from there.
    varies: Vec<bool>,
}

impl Sweep {
    fn new(operations: &[Operation]) -> Self {
        let mut varies: Vec<bool> = Vec::with_capacity(operations.len());
        for operation in operations {
            varies.push(match *operation {
                Operation::Input(_) => true,
                Operation::Constant(_) | Operation::Greater(..) | Operation::Floor(_) | Operation::Detach(_) => false,
                Operation::Add(a, b)
                | Operation::Sub(a, b)
                | Operation::Mul(a, b)
                | Operation::Div(a, b)
                | Operation::Max(a, b)
                | Operation::Min(a, b)
                | Operation::Select(_, a, b) => varies[a] || varies[b],
                Operation::Exp(a)
                | Operation::ExpM1(a)
                | Operation::Ln1p(a)
                | Operation::Abs(a)
                | Operation::Fire(a)
                | Operation::Count(a) => varies[a],
            });
        }
        Self { gradients: vec![None; operations.len()], varies }
    }

    fn add(&mut self, position: usize, gradient: Gradient) {
        if self.varies[position] {
            self.gradients[position] = Some(match self.gradients[position] {
                None => gradient,
                Some(sum) => Gradient { value: sum.value + gradient.value, masked: sum.masked && gradient.masked },
            });
        }
    }

    /// Adds what `gradient` computes, unless no input is reached from `position`.
    fn pass(&mut self, position: usize, gradient: impl FnOnce() -> Gradient) {
        if self.varies[position] {
            self.add(position, gradient());
        }
    }

    /// Passes the gradient of one step on to its operands.
    fn step(&mut self, operation: Operation, gradient: Gradient, values: &Replay<Traced>, surrogate: &Surrogate) {
        let v = &values.numbers;
        let (zero, one) = (|| Traced::constant(0.0), || Traced::constant(1.0));
        let only = |mask, value| Gradient { value: Traced::select(mask, value, zero()), masked: true };
        let except = |mask, value| Gradient { value: Traced::select(mask, zero(), value), masked: true };
        let g = gradient.value;
        match operation {
            Operation::Input(_)
            | Operation::Constant(_)
            | Operation::Greater(..)
            | Operation::Floor(_)
            | Operation::Detach(_) => {}
            Operation::Add(a, b) => {
                self.add(a, gradient);
                self.add(b, gradient);
            }
            Operation::Sub(a, b) => {
                self.add(a, gradient);
                self.pass(b, || Gradient { value: -g, ..gradient });
            }
            Operation::Mul(a, b) => {
                self.pass(a, || gradient.scaled(|g| g * v[b]));
                self.pass(b, || gradient.scaled(|g| g * v[a]));
            }
            Operation::Div(a, b) => {
                self.pass(a, || gradient.scaled(|g| g / v[b]));
                self.pass(b, || gradient.scaled(|g| -(g * (v[a] / v[b]) / v[b])));
            }
            Operation::Max(a, b) | Operation::Min(a, b) => {
                let first = match operation {
                    Operation::Max(..) => v[a].greater(v[b]),
                    _ => v[b].greater(v[a]),
                };
                self.pass(a, || only(first, g));
                self.pass(b, || except(first, g));
            }
            Operation::Select(mask, a, b) => {
                if let Some(mask) = values.masks[mask] {
                    self.pass(a, || only(mask, g));
                    self.pass(b, || except(mask, g));
                }
            }
            Operation::Exp(a) | Operation::ExpM1(a) => self.pass(a, || gradient.scaled(|g| g * v[a].exp())),
            Operation::Ln1p(a) => self.pass(a, || gradient.scaled(|g| g / (one() + v[a]))),
            Operation::Abs(a) => self.pass(a, || {
                let (above, below) = (v[a].greater(zero()), zero().greater(v[a]));
                Gradient { value: Traced::select(above, g, Traced::select(below, -g, zero())), masked: true }
            }),
            Operation::Fire(a) => self.pass(a, || gradient.scaled(|g| g * surrogate.derivative(v[a]))),
            Operation::Count(a) => self.add(a, gradient),
        }
    }

    /// The gradients with respect to the inputs, in their order.
    fn of_inputs(&self, operations: &[Operation], inputs: usize) -> Vec<Traced> {
        let mut gradients = vec![None; inputs];
        for (operation, gradient) in operations.iter().zip(&self.gradients) {
            if let Operation::Input(index) = *operation {
                gradients[index] = *gradient;
            }
        }
        gradients.into_iter().map(|gradient| gradient.map_or_else(|| Traced::constant(0.0), |g| g.value)).collect()
    }
}
