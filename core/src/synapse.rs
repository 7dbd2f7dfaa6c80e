//! Synapses: filters that turn spikes back into smooth signals.
//!
//! Both are discretised by zero-order hold and have no delay beyond it: the value at a step includes that step's input.
//! (Nengo's filtered probes show the previous step's value.) In training, at a constant rate, a synapse passes its input
//! through, which is what it converges to.

use serde::{Deserialize, Serialize};

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
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Coefficients {
    /// `A`, row by row.
    pub transition: [[f64; 2]; 2],
    /// `b`.
    pub input: [f64; 2],
}

impl Synapse {
    /// The type as configurations name it.
    pub fn type_name(self) -> &'static str {
        match self {
            Self::Lowpass { .. } => "lowpass",
            Self::Alpha { .. } => "alpha",
        }
    }

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

    /// The filter discretised by zero-order hold for timesteps of `dt` (s).
    pub fn coefficients(self, dt: f64) -> Coefficients {
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
}
