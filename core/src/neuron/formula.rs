//! Recorded formulas: evaluated with numbers or with tensors on any device, differentiated, or printed as source code.

use std::cell::RefCell;
use std::ops::{Add, Div, Mul, Neg, Sub};

use super::{Fire, Heaviside, Real};

/// An operation of a recorded formula; operands are indices of earlier operations.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Operation {
    /// The input at this index.
    Input(usize),
    /// A constant.
    Constant(f64),
    /// `a + b`.
    Add(usize, usize),
    /// `a - b`.
    Sub(usize, usize),
    /// `a * b`.
    Mul(usize, usize),
    /// `a / b`.
    Div(usize, usize),
    /// The larger of `a` and `b`; `b` if `a` is not a number.
    Max(usize, usize),
    /// The smaller of `a` and `b`; `b` if `a` is not a number.
    Min(usize, usize),
    /// The mask `a > b`.
    Greater(usize, usize),
    /// The second operand where the mask (the first operand) is true, otherwise the third.
    Select(usize, usize, usize),
    /// `e^a`.
    Exp(usize),
    /// `e^a - 1`.
    ExpM1(usize),
    /// `ln(1 + a)`.
    Ln1p(usize),
    /// The largest integer not above `a`.
    Floor(usize),
    /// `abs(a)`.
    Abs(usize),
    /// The spike: 1 if `a` is above 0, otherwise 0. See [`Fire`](super::Fire).
    Fire(usize),
    /// The number of spikes: `floor(a)`.
    Count(usize),
    /// `a`, through which no gradient flows.
    Detach(usize),
}

thread_local! {
    static TAPE: RefCell<Vec<Operation>> = const { RefCell::new(Vec::new()) };
}

/// A [`Real`] that records the operations applied to it.
#[derive(Clone, Copy, Debug)]
pub struct Traced(usize);

/// The result of a comparison of [`Traced`] numbers.
#[derive(Clone, Copy, Debug)]
pub struct TracedMask(usize);

fn record(operation: Operation) -> usize {
    TAPE.with_borrow_mut(|tape| {
        tape.push(operation);
        tape.len() - 1
    })
}

/// A recorded formula with several inputs and outputs.
#[derive(Debug)]
pub struct Formula {
    operations: Vec<Operation>,
    outputs: Vec<usize>,
}

impl Formula {
    /// Records `formula`, which is called once with `inputs` traced numbers.
    pub fn record(inputs: usize, formula: impl FnOnce(&[Traced]) -> Vec<Traced>) -> Self {
        let outer = TAPE.take();
        let inputs: Vec<_> = (0..inputs).map(|index| Traced(record(Operation::Input(index)))).collect();
        let outputs = formula(&inputs).into_iter().map(|traced| traced.0).collect();
        Self { operations: TAPE.replace(outer), outputs }
    }

    /// Returns the operations in order; operands are indices of earlier operations.
    pub fn operations(&self) -> &[Operation] {
        &self.operations
    }

    /// Returns the indices of the operations that are outputs.
    pub fn outputs(&self) -> &[usize] {
        &self.outputs
    }

    /// The number of inputs.
    pub fn inputs(&self) -> usize {
        self.operations.iter().filter(|operation| matches!(operation, Operation::Input(_))).count()
    }

    /// The outputs at `inputs`, plain numbers; fewer of them than [`inputs`](Self::inputs) are a panic.
    ///
    /// ```
    /// use tch_spiking_core::neuron::{Formula, Real};
    ///
    /// let formula = Formula::record(2, |x| vec![x[0] * x[1], x[0].max(x[1])]);
    /// assert_eq!(formula.at(&[2.0, 3.0]), [6.0, 3.0]);
    /// ```
    pub fn at(&self, inputs: &[f64]) -> Vec<f64> {
        self.at_with(inputs, &Heaviside)
    }

    /// The outputs at `inputs`, numbers of any kind, with `fire` for the spikes; fewer of them than
    /// [`inputs`](Self::inputs) are a panic.
    pub fn at_with<R: Real, F: Fire<R>>(&self, inputs: &[R], fire: &F) -> Vec<R> {
        let values = self.replay(inputs, fire).numbers;
        self.outputs.iter().map(|&output| values[output]).collect()
    }

    /// What every step gives at `inputs`.
    pub(super) fn replay<R: Real, F: Fire<R>>(&self, inputs: &[R], fire: &F) -> Replay<R> {
        let absent = R::constant(0.0);
        let (mut v, mut masks) = (Vec::with_capacity(self.operations.len()), Vec::with_capacity(self.operations.len()));
        for operation in &self.operations {
            let mut mask = None;
            let number = match *operation {
                Operation::Input(index) => inputs[index],
                Operation::Constant(value) => R::constant(value),
                Operation::Add(a, b) => v[a] + v[b],
                Operation::Sub(a, b) => v[a] - v[b],
                Operation::Mul(a, b) => v[a] * v[b],
                Operation::Div(a, b) => v[a] / v[b],
                Operation::Max(a, b) => R::max(v[a], v[b]),
                Operation::Min(a, b) => R::min(v[a], v[b]),
                Operation::Greater(a, b) => {
                    mask = Some(R::greater(v[a], v[b]));
                    absent
                }
                Operation::Select(which, a, b) => match masks[which] {
                    Some(which) => R::select(which, v[a], v[b]),
                    None => v[b],
                },
                Operation::Exp(a) => R::exp(v[a]),
                Operation::ExpM1(a) => R::exp_m1(v[a]),
                Operation::Ln1p(a) => R::ln_1p(v[a]),
                Operation::Floor(a) => R::floor(v[a]),
                Operation::Abs(a) => R::abs(v[a]),
                Operation::Fire(a) => fire.once(v[a]),
                Operation::Count(a) => fire.count(v[a]),
                Operation::Detach(a) => R::detach(v[a]),
            };
            v.push(number);
            masks.push(mask);
        }
        Replay { numbers: v, masks }
    }
}

/// What the steps of a formula gave.
pub(super) struct Replay<R: Real> {
    /// The number of each step; 0 for a comparison.
    pub numbers: Vec<R>,
    /// The answer of each comparison.
    pub masks: Vec<Option<R::Mask>>,
}

impl Traced {
    /// Records an operation with this number as the only operand.
    pub(super) fn then(self, operation: impl FnOnce(usize) -> Operation) -> Self {
        Self(record(operation(self.0)))
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
    fn detach(self) -> Self {
        Self(record(Operation::Detach(self.0)))
    }
}
