//! Formulas recorded once and evaluated with tensors on any device.

use std::cell::RefCell;
use std::ops::{Add, Div, Mul, Neg, Sub};

use tch::{TchError, Tensor};

use super::Real;

/// A step of a recorded formula; the numbers are positions of earlier steps.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Operation {
    Input(usize),
    Constant(f64),
    Add(usize, usize),
    Sub(usize, usize),
    Mul(usize, usize),
    Div(usize, usize),
    Max(usize, usize),
    Min(usize, usize),
    Greater(usize, usize),
    Select(usize, usize, usize),
    Exp(usize),
    ExpM1(usize),
    Ln1p(usize),
    Floor(usize),
    Abs(usize),
}

thread_local! {
    static TAPE: RefCell<Vec<Operation>> = const { RefCell::new(Vec::new()) };
}

/// A [`Real`] that records what is done to it.
#[derive(Clone, Copy, Debug)]
pub struct Traced(usize);

/// The answer of a comparison of [`Traced`] numbers.
#[derive(Clone, Copy, Debug)]
pub struct TracedMask(usize);

fn record(operation: Operation) -> usize {
    TAPE.with_borrow_mut(|tape| {
        tape.push(operation);
        tape.len() - 1
    })
}

/// A formula of several inputs and outputs, recorded.
#[derive(Debug)]
pub struct Formula {
    operations: Vec<Operation>,
    outputs: Vec<usize>,
}

impl Formula {
    /// Records `formula`, called once with `inputs` traced numbers.
    pub fn record(inputs: usize, formula: impl FnOnce(&[Traced]) -> Vec<Traced>) -> Self {
        let outer = TAPE.take();
        let inputs: Vec<_> = (0..inputs).map(|index| Traced(record(Operation::Input(index)))).collect();
        let outputs = formula(&inputs).into_iter().map(|traced| traced.0).collect();
        Self { operations: TAPE.replace(outer), outputs }
    }

    /// The steps in order; the numbers in them are positions of earlier ones.
    pub(crate) fn operations(&self) -> &[Operation] {
        &self.operations
    }

    /// The positions of the steps that are outputs.
    pub(crate) fn outputs(&self) -> &[usize] {
        &self.outputs
    }

    /// Evaluates with tensors that broadcast against each other; one tensor an output.
    ///
    /// # Errors
    /// When the shapes do not broadcast, or memory runs out.
    pub fn evaluate(&self, inputs: &[&Tensor]) -> Result<Vec<Tensor>, TchError> {
        let like = inputs[0];
        let mut values: Vec<Tensor> = Vec::with_capacity(self.operations.len());
        for operation in &self.operations {
            let value = match *operation {
                Operation::Input(index) => inputs[index].shallow_clone(),
                Operation::Constant(value) => Tensor::f_full([] as [i64; 0], value, (like.kind(), like.device()))?,
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
                Operation::Floor(a) => values[a].f_floor()?,
                Operation::Abs(a) => values[a].f_abs()?,
            };
            values.push(value);
        }
        // An output that no input reached is a plain number: it still gets the inputs' shape.
        self.outputs.iter().map(|&output| values[output].f_expand_as(&values[output].f_add(like)?)).collect()
    }
}

macro_rules! operator {
    ($operator:ident, $method:ident) => {
        impl $operator for Traced {
            type Output = Self;
            fn $method(self, other: Self) -> Self {
                Self(record(Operation::$operator(self.0, other.0)))
            }
        }
    };
}
operator!(Add, add);
operator!(Sub, sub);
operator!(Mul, mul);
operator!(Div, div);

impl Neg for Traced {
    type Output = Self;
    fn neg(self) -> Self {
        Self::constant(0.0) - self
    }
}

impl Real for Traced {
    type Mask = TracedMask;
    fn constant(value: f64) -> Self {
        Self(record(Operation::Constant(value)))
    }
    fn exp(self) -> Self {
        Self(record(Operation::Exp(self.0)))
    }
    fn exp_m1(self) -> Self {
        Self(record(Operation::ExpM1(self.0)))
    }
    fn ln_1p(self) -> Self {
        Self(record(Operation::Ln1p(self.0)))
    }
    fn floor(self) -> Self {
        Self(record(Operation::Floor(self.0)))
    }
    fn abs(self) -> Self {
        Self(record(Operation::Abs(self.0)))
    }
    fn max(self, other: Self) -> Self {
        Self(record(Operation::Max(self.0, other.0)))
    }
    fn min(self, other: Self) -> Self {
        Self(record(Operation::Min(self.0, other.0)))
    }
    fn greater(self, other: Self) -> TracedMask {
        TracedMask(record(Operation::Greater(self.0, other.0)))
    }
    fn select(mask: TracedMask, if_true: Self, if_false: Self) -> Self {
        Self(record(Operation::Select(mask.0, if_true.0, if_false.0)))
    }
}
