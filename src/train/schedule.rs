//! Learning rate schedules.

use serde::{Deserialize, Serialize};

use super::TrainError;

/// A schedule: the factor of the learning rate over time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Schedule {
    /// Constant factor 1.
    #[default]
    Constant,
    /// Cosine decay from 1 to `last` over all epochs.
    Cosine {
        /// The final factor.
        #[serde(default)]
        last: f64,
    },
    /// Step decay: multiplied by `factor` after every `every` epochs.
    Step {
        /// The number of epochs between changes.
        every: u64,
        /// The factor of each change.
        factor: f64,
    },
    /// One cycle, Smith & Topin (2018): a half cosine from `first` up to 1 over the part `rise` of all epochs, and another
    /// down to `last` (PyTorch's `OneCycleLR`, with the learning rate as its highest).
    OneCycle {
        /// The part of the epochs in which it rises, between 0 and 1.
        #[serde(default = "rise")]
        rise: f64,
        /// The factor at the start.
        #[serde(default = "first_of_cycle")]
        first: f64,
        /// The factor at the end.
        #[serde(default = "last_of_cycle")]
        last: f64,
    },
    /// Cosine decay from 1 to `last` that starts again, Loshchilov & Hutter (2017): after `every` epochs, then after
    /// `every grow` more, `every grow^2` more, ..
    Restarts {
        /// The number of epochs of the first decay.
        every: u64,
        /// The factor by which each decay is longer than the one before it.
        #[serde(default = "one")]
        grow: f64,
        /// The factor at the end of a decay.
        #[serde(default)]
        last: f64,
    },
}

fn rise() -> f64 {
    0.3
}
fn first_of_cycle() -> f64 {
    0.04
}
fn last_of_cycle() -> f64 {
    4e-6
}
fn one() -> f64 {
    1.0
}

/// From 1 to 0 in half a period of the cosine, as `progress` goes from 0 to 1.
fn half_cosine(progress: f64) -> f64 {
    (1.0 + (std::f64::consts::PI * progress.clamp(0.0, 1.0)).cos()) / 2.0
}

impl Schedule {
    /// The factor after `epochs` of `total` epochs (fractions count).
    ///
    /// ```
    /// use tch_spiking::train::Schedule;
    ///
    /// assert!((Schedule::Cosine { last: 0.0 }.factor(5.0, 10.0) - 0.5).abs() < 1e-12);
    /// assert_eq!(Schedule::Step { every: 3, factor: 0.1 }.factor(5.9, 10.0), 0.1);
    /// ```
    pub fn factor(self, epochs: f64, total: f64) -> f64 {
        match self {
            Self::Constant => 1.0,
            Self::Cosine { last } => last + (1.0 - last) * half_cosine(epochs / total),
            Self::Step { every, factor } => factor.powf((epochs / every.max(1) as f64).floor()),
            Self::OneCycle { rise, first, last } => {
                let progress = epochs / total;
                match progress < rise {
                    true => 1.0 + (first - 1.0) * half_cosine(progress / rise),
                    false => last + (1.0 - last) * half_cosine((progress - rise) / (1.0 - rise)),
                }
            }
            Self::Restarts { every, grow, last } => {
                let (mut since, mut length) = (epochs, every.max(1) as f64);
                while since >= length {
                    since -= length;
                    length *= grow.max(1.0);
                }
                last + (1.0 - last) * half_cosine(since / length)
            }
        }
    }

    /// # Errors
    /// If a parameter is not valid; the error names it.
    pub fn validate(self) -> Result<(), TrainError> {
        let fail = |name, value, expected| Err(TrainError::config("training.schedule", name, value, expected));
        match self {
            Self::Cosine { last } if !(0.0..=1.0).contains(&last) => fail("last", last, "a number from 0 to 1"),
            Self::OneCycle { rise, .. } if !(rise > 0.0 && rise < 1.0) => {
                fail("rise", rise, "a number between 0 and 1")
            }
            Self::OneCycle { first, .. } if !(0.0..=1.0).contains(&first) => {
                fail("first", first, "a number from 0 to 1")
            }
            Self::OneCycle { last, .. } | Self::Restarts { last, .. } if !(0.0..=1.0).contains(&last) => {
                fail("last", last, "a number from 0 to 1")
            }
            Self::Restarts { grow, .. } if !(grow >= 1.0 && grow.is_finite()) => {
                fail("grow", grow, "a number of 1 or more")
            }
            Self::Step { every: 0, .. } | Self::Restarts { every: 0, .. } => fail("every", 0.0, "1 epoch or more"),
            Self::Step { factor, .. } if !(factor > 0.0 && factor.is_finite()) => {
                fail("factor", factor, "a number above 0")
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cycles_and_restarts_are_those_of_pytorch() {
        let restarts = Schedule::Restarts { every: 2, grow: 2.0, last: 0.1 };
        for (epochs, expected) in [
            (0.0, 1.0),
            (0.5, 0.8681980515339464),
            (1.9, 0.10554024673218806),
            (2.0, 1.0),
            (3.0, 0.8681980515339464),
            (5.5, 0.13425421036992097),
            (6.0, 1.0),
            (10.0, 0.55),
        ] {
            assert!((restarts.factor(epochs, 100.0) - expected).abs() < 1e-12, "{epochs}");
        }
        let cycle = Schedule::OneCycle { rise: 0.3, first: 0.04, last: 4e-6 };
        for (epochs, expected) in [(0.0, 0.04), (15.0, 0.52), (30.0, 1.0), (65.0, 0.500002), (100.0, 4e-6)] {
            assert!((cycle.factor(epochs, 100.0) - expected).abs() < 1e-12, "{epochs}");
        }
    }

    #[test]
    fn parameters_are_checked_by_name() {
        for (text, expected) in [
            ("type = 'one_cycle'\nrise = 1.0", "rise = 1"),
            ("type = 'one_cycle'\nlast = -1.0", "last = -1"),
            ("type = 'restarts'\nevery = 0", "every = 0"),
            ("type = 'restarts'\nevery = 2\ngrow = 0.5", "grow = 0.5"),
        ] {
            let error = toml::from_str::<Schedule>(text).unwrap().validate().unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
