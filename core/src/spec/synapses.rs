//! Settings of synaptic filters.

use serde::{Deserialize, Serialize};

use crate::synapse::Synapse;

/// Settings of [`LayerKind::Synapse`](super::LayerKind::Synapse): `{ type = "lowpass", tau = 0.1, learn = true }`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SynapseSpec {
    /// The filter, with its time constant, or the one to start from if it is learned.
    pub synapse: Synapse,
    /// Whether the time constant is learned: one for the layer, as the parameter [`LOG_TAU`](Self::LOG_TAU), its natural
    /// logarithm (of seconds), which keeps it positive.
    pub learn: bool,
}

/// A synapse as a table.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    tau: f64,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    learn: bool,
}

impl SynapseSpec {
    /// The name of the learned parameter.
    pub const LOG_TAU: &'static str = "log_tau";

    /// Creates a filter whose time constant stays as it is.
    pub fn new(synapse: Synapse) -> Self {
        Self { synapse, learn: false }
    }

    /// Makes the time constant a learned parameter.
    #[must_use]
    pub fn learned(self) -> Self {
        Self { learn: true, ..self }
    }

    /// Returns the filter with the time constant that was learned, if it is; `log_tau` is the parameter's value.
    pub fn with_log_tau(self, log_tau: f64) -> Synapse {
        if self.learn { self.synapse.with_tau(log_tau.exp()) } else { self.synapse }
    }

    /// Validates the time constant.
    pub(super) fn validate(self) -> Result<(), String> {
        let tau = self.synapse.tau();
        if !(0.0..=1e30).contains(&tau) {
            return Err(format!("tau = {tau} is not valid: expected a time of 0 s or more, up to 1e30 s"));
        }
        if self.learn && tau == 0.0 {
            return Err("tau = 0 cannot be learned, since its logarithm is: start from a time above 0 s".to_string());
        }
        Ok(())
    }

    pub(super) fn from_table(name: &str, table: toml::Table) -> Result<Self, toml::de::Error> {
        let Table { tau, learn } = table.try_into()?;
        let synapse = if name == "alpha" { Synapse::Alpha { tau } } else { Synapse::Lowpass { tau } };
        Ok(Self { synapse, learn })
    }

    pub(super) fn to_table(self) -> Result<toml::Table, toml::ser::Error> {
        toml::Table::try_from(Table { tau: self.synapse.tau(), learn: self.learn })
    }
}

impl From<Synapse> for SynapseSpec {
    fn from(synapse: Synapse) -> Self {
        Self::new(synapse)
    }
}
