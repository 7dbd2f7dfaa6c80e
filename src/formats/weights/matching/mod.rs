//! Matches the tensors of a file with the parameters of a network.
//!
//! In this order: by a [`TensorMap`]; by position, for NengoDL's arrays; by equal names; and by order and shape, for a
//! file with another program's names. Nothing is guessed: an ambiguity is an error.

mod candidates;
mod modules;
mod report;

use std::collections::BTreeMap;

use tch::Tensor;

use super::assign::check;
use super::{TensorFile, TensorMap, WeightsError, nengodl};
use crate::network::SpikingSequential;
pub(super) use candidates::{Candidate, Candidates};
use modules::Paired;
pub use report::{Match, Matching};

/// Finds a tensor for every parameter of `network`, in the parameter's layout; nothing is copied.
///
/// Biases of neurons that are not in the file keep the network's values: other frameworks do not have one per neuron.
pub(super) fn fit(
    network: &SpikingSequential,
    file: TensorFile,
    map: Option<&TensorMap>,
) -> Result<(BTreeMap<String, Tensor>, Matching), WeightsError> {
    let mut fit = Fit { network, tensors: BTreeMap::new(), matching: Matching::default() };
    if map.is_none() && nengodl::is_positional(&file) {
        for (parameter, source, tensor) in nengodl::read(network, &file, &mut fit.matching.notes)? {
            fit.take(parameter, source, tensor, true);
        }
        return Ok(fit.done());
    }
    let mut candidates = Candidates::new(file, map);
    if let Some(map) = map {
        for (parameter, source, tensor) in map.apply(network, &mut candidates)? {
            fit.take(parameter, source, tensor, true);
        }
    }
    let left: Vec<_> =
        network.named_parameters().into_iter().filter(|(name, _)| !fit.tensors.contains_key(name)).collect();
    if let Some(exact) = candidates.exactly(left.iter().map(|(name, _)| name)) {
        check(left.iter().map(|(name, parameter)| (name.as_str(), parameter.size())), &exact)?;
        for (name, tensor) in exact {
            fit.take(name.clone(), name, tensor, false);
        }
    } else {
        let Paired { pairs, kept } = modules::pair(network, &fit.tensors, &candidates)?;
        for (parameter, source, tensor) in pairs {
            fit.take(parameter, source, tensor, true);
        }
        for (name, parameter) in left.into_iter().filter(|(name, _)| kept.contains(name)) {
            fit.tensors.insert(name.clone(), parameter);
            fit.matching.kept.push(name);
        }
    }
    fit.matching.notes.append(&mut candidates.notes);
    Ok(fit.done())
}

struct Fit<'a> {
    network: &'a SpikingSequential,
    tensors: BTreeMap<String, Tensor>,
    matching: Matching,
}

impl Fit<'_> {
    fn take(&mut self, parameter: String, source: String, tensor: Tensor, named: bool) {
        let (found, kind) = (tensor.kind(), self.network.kind());
        self.matching.matches.push(Match {
            parameter: parameter.clone(),
            tensor: source,
            shape: tensor.size(),
            converted: (found != kind).then_some((found, kind)),
        });
        self.matching.by_name &= !named;
        self.tensors.insert(parameter, tensor);
    }

    /// Returns the matches in network order.
    fn done(mut self) -> (BTreeMap<String, Tensor>, Matching) {
        let order: Vec<_> = self.network.named_parameters().into_iter().map(|(name, _)| name).collect();
        self.matching.matches.sort_by_key(|matched| order.iter().position(|name| *name == matched.parameter));
        (self.tensors, self.matching)
    }
}
