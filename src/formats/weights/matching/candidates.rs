//! The tensors of a file that may be parameters, without wrappers and training state of other programs.

use std::collections::{BTreeMap, BTreeSet};

use tch::Tensor;

use super::super::{TensorFile, TensorMap};

/// Names that wrappers give to the wrapped network: `DataParallel` and `torch.compile`.
const WRAPPERS: [&str; 2] = ["module", "_orig_mod"];
/// BatchNorm's counter of batches, which is not needed.
const BATCH_COUNT: &str = "num_batches_tracked";
/// Tensors of neurons in a TorchScript file of this library, other than their biases.
const OF_NEURONS: [&str; 2] = ["gain", "initial_voltage"];

/// Tensors that are not matched yet, in file order.
pub(in crate::formats::weights) struct Candidates {
    pub tensors: Vec<Candidate>,
    /// Notes about tensors that were left out, with reasons.
    pub notes: Vec<String>,
    /// Whether the order may be that of the layers; otherwise it is alphabetical.
    pub ordered: bool,
}

pub(in crate::formats::weights) struct Candidate {
    /// Full name in the file.
    pub full: String,
    pub tensor: Tensor,
}

impl Candidates {
    pub(super) fn new(file: TensorFile, map: Option<&TensorMap>) -> Self {
        let TensorFile { mut tensors, order, .. } = file;
        let ordered = !is_alphabetical(&order, &tensors);
        let all = order.into_iter().filter_map(|full| {
            let tensor = tensors.remove(&full)?;
            Some(Candidate { full, tensor })
        });
        let mut candidates = Self { tensors: all.collect(), notes: vec![], ordered };
        match map.and_then(|map| map.prefix.as_deref()) {
            Some(prefix) => candidates.leave_aside(|name| !name.starts_with(prefix), "outside the map's prefix"),
            None => candidates.leave_training_state(),
        }
        for ignored in map.iter().flat_map(|map| &map.ignore) {
            candidates.leave_aside(|name| name.starts_with(ignored), "ignored by the map");
        }
        let counts = |name: &str| name.rsplit('.').next() == Some(BATCH_COUNT);
        candidates.leave_aside(counts, "not needed");
        let biases: BTreeMap<String, Vec<i64>> =
            candidates.tensors.iter().map(|tensor| (tensor.full.clone(), tensor.tensor.size())).collect();
        let tuning = |name: &str| match name.rsplit_once('.') {
            Some((layer, leaf)) if OF_NEURONS.contains(&leaf) => {
                biases.get(&format!("{layer}.bias")).is_some_and(|shape| biases.get(name) == Some(shape))
            }
            _ => false,
        };
        candidates.leave_aside(tuning, "follow from the specification and the seed");
        candidates
    }

    /// Returns the tensors with the parameters' own names, if there is one for each: by their full names, or without
    /// their common prefix.
    pub(super) fn exactly<'a>(
        &self,
        names: impl Iterator<Item = &'a String> + Clone,
    ) -> Option<BTreeMap<String, Tensor>> {
        let plain = self.common_prefix();
        let spellings: [&dyn Fn(&Candidate) -> String; 2] =
            [&|tensor| tensor.full.clone(), &|tensor| without_wrappers(&tensor.full[plain..])];
        spellings.into_iter().find_map(|spelling| {
            let named: BTreeMap<_, _> =
                self.tensors.iter().map(|tensor| (spelling(tensor), tensor.tensor.shallow_clone())).collect();
            (named.len() == self.tensors.len() && names.clone().all(|name| named.contains_key(name))).then_some(named)
        })
    }

    /// Returns each tensor with its name without the common prefix.
    pub(super) fn named(&self) -> impl Iterator<Item = (String, &Candidate)> {
        let plain = self.common_prefix();
        self.tensors.iter().map(move |tensor| (without_wrappers(&tensor.full[plain..]), tensor))
    }

    /// Removes the tensor named `name`, with or without the common prefix.
    pub(in crate::formats::weights) fn remove(&mut self, name: &str) -> Option<Candidate> {
        let plain = self.common_prefix();
        let full = self.tensors.iter().position(|tensor| tensor.full == name);
        let place = full.or_else(|| self.tensors.iter().position(|tensor| &tensor.full[plain..] == name))?;
        Some(self.tensors.remove(place))
    }

    /// Leaves out training state stored beside the network, if anything else remains.
    fn leave_training_state(&mut self) {
        let of_training = |name: &str| {
            let first = name.split('.').next().unwrap_or_default().to_ascii_lowercase();
            let parts = ["optimizer", "optim", "scheduler", "scaler", "ema", "swa", "rng", "callback", "hyper"];
            name.contains('.') && parts.iter().any(|part| first.split('_').any(|word| word == *part))
        };
        if self.tensors.iter().any(|tensor| !of_training(&tensor.full)) {
            self.leave_aside(of_training, "training state");
        }
    }

    fn leave_aside(&mut self, condition: impl Fn(&str) -> bool, why: &str) {
        let (aside, rest): (Vec<_>, _) =
            std::mem::take(&mut self.tensors).into_iter().partition(|tensor| condition(&tensor.full));
        self.tensors = rest;
        match aside.as_slice() {
            [] => {}
            [one] => self.notes.push(format!("left aside ({why}): {}", one.full)),
            [first, ..] => {
                self.notes.push(format!("left aside ({why}): {} and {} more", first.full, aside.len() - 1));
            }
        }
    }

    /// Returns the length of the common prefix of all names, which ends with a dot.
    fn common_prefix(&self) -> usize {
        let Some(first) = self.tensors.first() else { return 0 };
        let dots = first.full.match_indices('.').map(|(place, _)| place + 1);
        let shared = |end: &usize| self.tensors.iter().all(|tensor| tensor.full.starts_with(&first.full[..*end]));
        dots.take_while(shared).last().unwrap_or(0)
    }
}

fn without_wrappers(name: &str) -> String {
    name.split('.').filter(|part| !WRAPPERS.contains(part)).collect::<Vec<_>>().join(".")
}

/// Returns whether the names are sorted among the tensors of each dtype, as in safetensors files from Python.
fn is_alphabetical(order: &[String], tensors: &BTreeMap<String, Tensor>) -> bool {
    let kinds: BTreeSet<_> = tensors.values().map(|tensor| tensor.kind() as i32).collect();
    let of_kind =
        |kind| order.iter().filter(move |name| tensors.get(*name).is_some_and(|tensor| tensor.kind() as i32 == kind));
    kinds.into_iter().all(|kind| of_kind(kind).is_sorted())
}
