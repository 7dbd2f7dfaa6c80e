//! The provenance of a network, as stored in the metadata of its file.

use std::collections::BTreeMap;

use super::{WeightsError, checksum};
use crate::network::{NetworkSpec, SpikingSequential};

/// The value of `format`.
const FORMAT: &str = "tch-spiking";
/// The value of `format_version`.
const VERSION: u32 = 1;
/// The default of the `created_by` fact.
const CREATED_BY: &str = concat!("tch-spiking ", env!("CARGO_PKG_VERSION"));
/// Keys that facts cannot have.
const RESERVED: [&str; 8] = ["format", "format_version", "spec", "no_spec", "seed", "dt", "dataset", checksum::KEY];

/// The provenance of a network: seed, dataset and further facts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Provenance {
    /// The seed that the network was built with. It determines gains and initial voltages, which are not parameters.
    /// Saved files always contain the network's own seed.
    pub seed: u64,
    /// The dataset that it was trained on: `mnist`.
    pub dataset: Option<String>,
    /// Further facts by name: `epochs`, `rate_accuracy`, `created_by` (added if missing) ..
    pub facts: BTreeMap<String, String>,
}

impl Provenance {
    /// Returns the metadata of a file that contains `network`.
    pub(super) fn to_metadata(&self, network: &SpikingSequential) -> Result<BTreeMap<String, String>, WeightsError> {
        if let Some(key) = self.facts.keys().find(|key| RESERVED.contains(&key.as_str())) {
            let cause = "this key is the file format's own; give the fact another name".to_string();
            return Err(WeightsError::Metadata { key: key.clone(), cause });
        }
        let mut metadata = self.facts.clone();
        metadata.entry("created_by".to_string()).or_insert_with(|| CREATED_BY.to_string());
        let mut put = |key: &str, value: String| metadata.insert(key.to_string(), value);
        put("format", FORMAT.to_string());
        put("format_version", VERSION.to_string());
        put("seed", network.seed().to_string());
        put("dt", network.spec().dt.to_string());
        if let Some(dataset) = &self.dataset {
            put("dataset", dataset.clone());
        }
        // A layer that is Rust code cannot be specified; the weights can be saved all the same.
        match toml::to_string(network.spec()) {
            Ok(spec) => put("spec", spec),
            Err(error) => put("no_spec", error.to_string()),
        };
        Ok(metadata)
    }

    /// Parses `metadata`; for other programs' files, all of it becomes facts.
    pub(super) fn from_metadata(metadata: &BTreeMap<String, String>) -> Result<Self, WeightsError> {
        if !is_ours(metadata)? {
            return Ok(Self { facts: metadata.clone(), ..Self::default() });
        }
        let facts = metadata.iter().filter(|(key, _)| !RESERVED.contains(&key.as_str()));
        Ok(Self {
            seed: number(metadata, "seed")?,
            dataset: metadata.get("dataset").cloned(),
            facts: facts.map(|(key, value)| (key.clone(), value.clone())).collect(),
        })
    }
}

/// Returns the specification in `metadata`, if there is one.
pub(super) fn specification(metadata: &BTreeMap<String, String>) -> Result<Option<NetworkSpec>, WeightsError> {
    match metadata.get("spec") {
        Some(spec) if is_ours(metadata)? => {
            let fail =
                |error: toml::de::Error| WeightsError::Metadata { key: "spec".to_string(), cause: error.to_string() };
            toml::from_str(spec).map(Some).map_err(fail)
        }
        _ => Ok(None),
    }
}

/// Returns the reason why there is no specification, if the file gives one.
pub(super) fn why_no_specification(metadata: &BTreeMap<String, String>) -> Option<String> {
    metadata.get("no_spec").cloned()
}

/// Returns whether the file says that this library wrote it, in any version.
pub(super) fn is_marked(metadata: &BTreeMap<String, String>) -> bool {
    metadata.get("format").is_some_and(|format| format == FORMAT)
}

/// Returns whether this library wrote the file; an error if a later version did.
fn is_ours(metadata: &BTreeMap<String, String>) -> Result<bool, WeightsError> {
    if !is_marked(metadata) {
        return Ok(false);
    }
    match number(metadata, "format_version")? {
        version if version <= u64::from(VERSION) => Ok(true),
        version => Err(WeightsError::Version { found: version.to_string(), known: VERSION }),
    }
}

fn number(metadata: &BTreeMap<String, String>, key: &str) -> Result<u64, WeightsError> {
    let fail = |cause| WeightsError::Metadata { key: key.to_string(), cause };
    let value = metadata.get(key).ok_or_else(|| fail("missing, expected a whole number".to_string()))?;
    value.parse().map_err(|_| fail(format!("expected a whole number, found {value:?}")))
}
