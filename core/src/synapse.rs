//! Synapses: filters that turn spikes into smooth signals.
//!
//! Both are discretised by zero-order hold and have no delay beyond it: the value at a step includes that step's input.
//! (Nengo's filtered probes show the previous step's value.) In rate-based training with a constant input, a synapse
//! passes its input through, which is the value that the filter converges to.

use serde::{Deserialize, Serialize};

/// A time constant below this fraction of a timestep is treated as 0.
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

/// A discretised filter: `x' = A x + b u`, `y = x'[last]`, with up to two state variables.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Coefficients {
    /// The transition matrix `A`, by rows.
    pub transition: [[f64; 2]; 2],
    /// The input vector `b`.
    pub input: [f64; 2],
}

impl Synapse {
    /// Returns the type's name in configurations.
    pub fn type_name(self) -> &'static str {
        match self {
            Self::Lowpass { .. } => "lowpass",
            Self::Alpha { .. } => "alpha",
        }
    }

    /// Returns the time constant (s).
    pub fn tau(self) -> f64 {
        match self {
            Self::Lowpass { tau } | Self::Alpha { tau } => tau,
        }
    }

    /// Returns the same filter with another time constant (s).
    #[must_use]
    pub fn with_tau(self, tau: f64) -> Self {
        match self {
            Self::Lowpass { .. } => Self::Lowpass { tau },
            Self::Alpha { .. } => Self::Alpha { tau },
        }
    }

    /// Returns the number of state variables.
    pub fn state_len(self) -> usize {
        match self {
            Self::Lowpass { .. } => 1,
            Self::Alpha { .. } => 2,
        }
    }

    /// Discretises the filter by zero-order hold with timestep `dt` (s).
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

    /// Returns the derivative of the [coefficients](Self::coefficients) with respect to the time constant (1/s).
    pub fn slope(self, dt: f64) -> Coefficients {
        let tau = self.tau();
        if tau <= PASS_THROUGH * dt {
            return Coefficients { transition: [[0.0; 2]; 2], input: [0.0; 2] };
        }
        let h = dt / tau;
        let e = (-h).exp();
        let of_e = e * h / tau;
        match self {
            Self::Lowpass { .. } => Coefficients { transition: [[of_e, 0.0], [0.0, 0.0]], input: [-of_e, 0.0] },
            Self::Alpha { .. } => {
                let of_product = (of_e - 2.0 * e / tau) * h / tau;
                let last = of_e * (1.0 + h) - e * h / tau;
                Coefficients {
                    transition: [[of_e * (1.0 - h) + e * h / tau, -of_product], [of_e * dt, last]],
                    input: [of_product, -last],
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slope_is_that_of_the_coefficients() {
        let dt = 0.001;
        for synapse in [Synapse::Lowpass { tau: 0.005 }, Synapse::Alpha { tau: 0.003 }, Synapse::Alpha { tau: 0.1 }] {
            let step = synapse.tau() * 1e-5;
            let at = |tau: f64| {
                let Coefficients { transition: [first, second], input } = synapse.with_tau(tau).coefficients(dt);
                [first, second, input].concat()
            };
            let Coefficients { transition: [first, second], input } = synapse.slope(dt);
            let (above, below) = (at(synapse.tau() + step), at(synapse.tau() - step));
            for (slope, (above, below)) in [first, second, input].concat().iter().zip(above.iter().zip(&below)) {
                let difference = (above - below) / (2.0 * step);
                assert!((slope - difference).abs() <= 1e-7 * slope.abs() + 1e-9, "{synapse:?}: {slope} {difference}");
            }
        }
    }
}
