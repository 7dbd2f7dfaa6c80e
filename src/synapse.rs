//! Synapses: filters that turn spikes back into smooth signals.
//!
//! Both are discretised by zero-order hold and have no delay beyond it: the value at a step includes that step's input.
//! (Nengo's filtered probes show the previous step's value.) In training, at a constant rate, a synapse passes its input
//! through, which is what it converges to.

use serde::{Deserialize, Serialize};
use tch::{TchError, Tensor};

/// Below this fraction of a timestep a time constant cannot be told from 0.
const PASS_THROUGH: f64 = 0.03;

/// A linear filter over time.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type", deny_unknown_fields)]
pub enum Synapse {
    /// First order, `H(s) = 1 / (tau s + 1)`: `y' = a y + (1 - a) u` with `a = exp(-dt / tau)`.
    Lowpass {
        /// Time constant (s); 0 passes the input through.
        tau: f64,
    },
    /// Second order, `H(s) = 1 / (tau s + 1)^2`.
    Alpha {
        /// Time constant (s); 0 passes the input through.
        tau: f64,
    },
}

/// `x' = A x + b u`, `y = x'[last]`, for up to two state variables.
pub(crate) struct Coefficients {
    pub(crate) transition: [[f64; 2]; 2],
    pub(crate) input: [f64; 2],
}

impl Synapse {
    /// The time constant (s).
    pub fn tau(self) -> f64 {
        match self {
            Self::Lowpass { tau } | Self::Alpha { tau } => tau,
        }
    }

    /// How many state tensors it has.
    pub fn state_len(self) -> usize {
        match self {
            Self::Lowpass { .. } => 1,
            Self::Alpha { .. } => 2,
        }
    }

    pub(crate) fn coefficients(self, dt: f64) -> Coefficients {
        let tau = self.tau();
        if tau <= PASS_THROUGH * dt {
            let last = self.state_len() - 1;
            return Coefficients { transition: [[0.0; 2]; 2], input: std::array::from_fn(|i| f64::from(i == last)) };
        }
        let h = dt / tau;
        let e = (-h).exp();
        match self {
            Self::Lowpass { .. } => Coefficients { transition: [[e, 0.0], [0.0, 0.0]], input: [-(-h).exp_m1(), 0.0] },
            Self::Alpha { .. } => Coefficients {
                transition: [[e * (1.0 - h), -e * h / tau], [e * dt, e * (1.0 + h)]],
                input: [e * h / tau, 1.0 - e * (1.0 + h)],
            },
        }
    }

    /// Filters `input` (`[T, ..]`, any shape after time) from `state` (one `[..]` tensor a state variable; zeros at the
    /// start), which is moved on. Returns `[T, ..]`.
    ///
    /// # Errors
    /// When the state's number or shape does not fit the input.
    ///
    /// ```
    /// use tch::{Device, Kind, Tensor};
    /// use tch_spiking::Synapse;
    ///
    /// let step = Tensor::ones([3], (Kind::Double, Device::Cpu));
    /// let mut state = [Tensor::zeros([], (Kind::Double, Device::Cpu))];
    /// let filtered = Synapse::Lowpass { tau: 0.1 }.filter(&step, 0.001, &mut state)?;
    /// assert!((filtered.double_value(&[2]) - 0.0295545).abs() < 1e-6);
    /// # Ok::<(), tch::TchError>(())
    /// ```
    pub fn filter(self, input: &Tensor, dt: f64, state: &mut [Tensor]) -> Result<Tensor, TchError> {
        if state.len() != self.state_len() || input.dim() == 0 {
            return Err(TchError::Shape(format!(
                "a synapse with {} state tensors over [T, ..] got {} state tensors and an input of {:?}",
                self.state_len(),
                state.len(),
                input.size()
            )));
        }
        let Coefficients { transition, input: drive } = self.coefficients(dt);
        let mut outputs = Vec::new();
        // Unbound at once: the backward of taking one step alone is as large as the whole input.
        for now in input.f_unbind(0)? {
            let next = match &*state {
                [x] => vec![x.f_mul_scalar(transition[0][0])?.f_add(&now.f_mul_scalar(drive[0])?)?],
                [x, y] => (0..2)
                    .map(|row| {
                        let [to_x, to_y] = transition[row];
                        let moved = x.f_mul_scalar(to_x)?.f_add(&y.f_mul_scalar(to_y)?)?;
                        moved.f_add(&now.f_mul_scalar(drive[row])?)
                    })
                    .collect::<Result<_, TchError>>()?,
                _ => vec![],
            };
            state.iter_mut().zip(next).for_each(|(state, next)| *state = next);
            outputs.extend(state.last().map(Tensor::shallow_clone));
        }
        Tensor::f_stack(&outputs, 0)
    }
}
