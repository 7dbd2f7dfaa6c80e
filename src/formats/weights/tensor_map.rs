//! The user's map from parameters to tensors.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use tch::Tensor;

use super::channels_last::ChannelsLast;
use super::matching::{Candidate, Candidates};
use super::{WeightsError, in_file};
use crate::error::Result;
use crate::network::SpikingSequential;
use crate::network::shape::show;

/// A map from parameters to the tensors of a file, as read by `--map`.
///
/// Tensors that it does not name are matched without it; the bias of a module whose weight it names is matched with the
/// weight.
///
/// ```
/// use tch_spiking::weights::TensorMap;
///
/// let map = TensorMap::from_toml(r#"
///     prefix = "ema."                  # only tensors whose names begin so
///     ignore = ["ema.auxiliary."]      # and of these not those
///     [map]
///     "conv1.weight" = "ema.stem.weight"
///     "conv2.weight" = { from = "ema.kernel", permute = [3, 2, 0, 1] }
///     "linear1.weight" = { from = "ema.dense", channels_last = true }   # [in, out], features in the order H, W, C
/// "#)?;
/// assert_eq!(map.map.len(), 3);
/// # Ok::<(), tch_spiking::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TensorMap {
    /// If set, only tensors whose names have this prefix are considered.
    pub prefix: Option<String>,
    /// Tensors whose names have one of these prefixes are ignored.
    pub ignore: Vec<String>,
    /// From the name of a parameter (`conv1.weight`) to its tensor.
    pub map: BTreeMap<String, Source>,
}

/// A tensor of the file, and its layout there.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(from = "NameOrTable")]
pub struct Source {
    /// Name of the tensor.
    pub from: String,
    /// Permutation of its dimensions.
    pub permute: Option<Vec<i64>>,
    /// Whether it has the layout of Keras and NengoDL: `[kh, kw, in, out]`, `[in, out]`, `[H, W, C]`, with features
    /// behind a flattened image in the order `H, W, C`.
    pub channels_last: bool,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a name, or { from = \"name\", permute = [1, 0] }")]
enum NameOrTable {
    Name(String),
    Table(SourceTable),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SourceTable {
    from: String,
    permute: Option<Vec<i64>>,
    #[serde(default)]
    channels_last: bool,
}

impl From<NameOrTable> for Source {
    fn from(value: NameOrTable) -> Self {
        match value {
            NameOrTable::Name(from) => Self { from, permute: None, channels_last: false },
            NameOrTable::Table(SourceTable { from, permute, channels_last }) => Self { from, permute, channels_last },
        }
    }
}

impl TensorMap {
    /// Reads a map from TOML.
    ///
    /// # Errors
    /// Returns an error with the position in the text.
    pub fn from_toml(text: &str) -> Result<Self> {
        Ok(Self::parse(text)?)
    }

    /// Reads a map from a file.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read or is not a map.
    pub fn from_file(path: &Path) -> Result<Self> {
        let text = crate::text_file::read_text(path)?;
        Self::parse(&text).map_err(|error| in_file("read", path, error))
    }

    fn parse(text: &str) -> Result<Self, WeightsError> {
        toml::from_str(text).map_err(|error| WeightsError::Map(error.to_string().trim_end().to_string()))
    }

    /// Removes the tensors that the map names from `candidates`; returns parameter, tensor's name, and tensor in the
    /// parameter's layout.
    pub(super) fn apply(
        &self,
        network: &SpikingSequential,
        candidates: &mut Candidates,
    ) -> Result<Vec<(String, String, Tensor)>, WeightsError> {
        let mut taken = Vec::new();
        for (parameter, source) in &self.map {
            let fail = |cause| Err(WeightsError::Map(format!("{parameter} = {}: {cause}", source.from)));
            let Some((index, leaf, expected)) = find(network, parameter) else {
                let known = network.named_parameters().into_iter().map(|(name, _)| name).collect();
                return fail(format!("the network has no such parameter{}", nearest(parameter, known)));
            };
            let Some(found) = candidates.remove(&source.from) else {
                let known = candidates.tensors.iter().map(|tensor| tensor.full.clone()).collect();
                return fail(format!("no tensor of this name is left in the file{}", nearest(&source.from, known)));
            };
            let mut tensor = found.tensor;
            if let Some(order) = &source.permute {
                let mut sorted = order.clone();
                sorted.sort_unstable();
                if !sorted.into_iter().eq(0..tensor.dim() as i64) {
                    let size = show(&tensor.size());
                    return fail(format!("permute = {order:?}: expected each dimension of {size} once, from 0"));
                }
                tensor = tensor.f_permute(order)?;
            }
            if source.channels_last {
                let layout = ChannelsLast::of(network, index, leaf, &expected)?;
                if tensor.size() != layout.shape {
                    let (there, size) = (show(&layout.shape), show(&tensor.size()));
                    return fail(format!("channels last: expected {there}, found {size}"));
                }
                tensor = layout.read(&tensor)?;
            }
            if tensor.size() != expected {
                return fail(format!("expected {}, found {}", show(&expected), show(&tensor.size())));
            }
            taken.push((parameter.clone(), found.full, tensor));
        }
        self.take_siblings(network, candidates, &mut taken);
        Ok(taken)
    }

    /// Removes the other tensors of the modules that the map names, for the other parameters of the same layers.
    fn take_siblings(
        &self,
        network: &SpikingSequential,
        candidates: &mut Candidates,
        taken: &mut Vec<(String, String, Tensor)>,
    ) {
        for (name, parameter) in network.named_parameters() {
            let Some((layer, leaf)) = name.rsplit_once('.').filter(|_| !self.map.contains_key(&name)) else { continue };
            let of_layer =
                |(known, ..): &&(String, String, Tensor)| known.rsplit_once('.').is_some_and(|it| it.0 == layer);
            let Some(module) = taken.iter().find(of_layer).and_then(|(_, full, _)| full.rsplit_once('.')) else {
                continue;
            };
            let sibling = format!("{}.{leaf}", module.0);
            let fits = |known: &&Candidate| known.full == sibling && known.tensor.size() == parameter.size();
            if candidates.tensors.iter().any(|known| fits(&known))
                && let Some(found) = candidates.remove(&sibling)
            {
                taken.push((name, found.full, found.tensor));
            }
        }
    }
}

/// Returns the layer, the last name and the shape of a parameter.
fn find<'a>(network: &'a SpikingSequential, parameter: &str) -> Option<(usize, &'a str, Vec<i64>)> {
    let (layer, leaf) = parameter.rsplit_once('.')?;
    let index = network.layers().iter().position(|known| known.name() == layer)?;
    let known = network.layers()[index].named_parameters();
    known.into_iter().find(|(name, _)| *name == leaf).map(|(name, tensor)| (index, name, tensor.size()))
}

/// Returns `; did you mean conv1.weight?`, or all names if none is similar.
fn nearest(name: &str, known: Vec<String>) -> String {
    let distance = |other: &String| strsim::damerau_levenshtein(name, other);
    match known.iter().min_by_key(|other| distance(other)) {
        Some(nearest) if distance(nearest) <= name.len().max(3) / 2 => format!("; did you mean {nearest}?"),
        _ => format!("; there are {}", known.join(", ")),
    }
}
