//! Pairs layers with the modules of another program, by shape and order.

use std::collections::BTreeMap;

use tch::Tensor;

use super::super::{Misfit, WeightsError};
use super::candidates::Candidates;
use crate::network::{Layer, LayerKind, SpikingSequential};

/// The tensors found for parameters.
pub(super) struct Paired {
    /// Parameter, name in the file, tensor.
    pub pairs: Vec<(String, String, Tensor)>,
    /// Parameters that no other framework has and that are not in the file, such as biases of neurons.
    pub kept: Vec<String>,
}

/// The last names and shapes of the tensors of a layer or module, sorted.
type Signature = Vec<(String, Vec<i64>)>;

struct Target<'a> {
    layer: &'a Layer,
    signature: Signature,
}

/// Tensors whose names are equal up to the last dot.
struct Module {
    name: String,
    signature: Signature,
    /// Last name, name in the file, tensor.
    tensors: Vec<(String, String, Tensor)>,
}

/// Pairs the layers whose parameters are not in `done` with the modules of the file.
pub(super) fn pair(
    network: &SpikingSequential,
    done: &BTreeMap<String, Tensor>,
    candidates: &Candidates,
) -> Result<Paired, WeightsError> {
    let mut targets: Vec<Target> = network.layers().iter().filter_map(|layer| Target::new(layer, done)).collect();
    let modules = modules(candidates);
    let fitting = |target: &Target| modules.iter().any(|module| module.signature == target.signature);
    let (wanted, absent) = targets.into_iter().partition(|target| !target.is_optional() || fitting(target));
    targets = wanted;
    let chosen = match by_file_order(&targets, &modules) {
        Some(chosen) if candidates.ordered && chosen.is_sorted() => chosen,
        Some(in_file) => by_number(&targets, &modules, candidates.ordered.then_some(&in_file))?,
        None => return Err(WeightsError::Misfits(misfits(&targets, &modules))),
    };
    let pairs = targets.iter().zip(chosen).flat_map(|(target, index)| {
        let of_module = modules[index].tensors.iter();
        of_module.map(|(leaf, full, tensor)| {
            (format!("{}.{leaf}", target.layer.name()), full.clone(), tensor.shallow_clone())
        })
    });
    let leaves = absent.iter().flat_map(|target: &Target| target.signature.iter().map(move |leaf| (target, leaf)));
    let kept = leaves.map(|(target, (leaf, _))| format!("{}.{leaf}", target.layer.name())).collect();
    Ok(Paired { pairs: pairs.collect(), kept })
}

impl<'a> Target<'a> {
    fn new(layer: &'a Layer, done: &BTreeMap<String, Tensor>) -> Option<Self> {
        let left = layer.named_parameters().into_iter();
        let left = left.filter(|(leaf, _)| !done.contains_key(&format!("{}.{leaf}", layer.name())));
        let mut signature: Signature = left.map(|(leaf, tensor)| (leaf.to_string(), tensor.size())).collect();
        signature.sort();
        (!signature.is_empty()).then_some(Self { layer, signature })
    }

    /// Returns whether the layer may be missing from the file.
    fn is_optional(&self) -> bool {
        matches!(self.layer.kind(), LayerKind::Neuron(_) | LayerKind::Synapse(_) | LayerKind::Standardize(_))
    }
}

/// Groups the candidates into modules, in file order.
fn modules(candidates: &Candidates) -> Vec<Module> {
    let mut modules: Vec<Module> = Vec::new();
    for (name, candidate) in candidates.named() {
        let (module, leaf) = name.rsplit_once('.').unwrap_or(("", &name));
        let entry = (leaf.to_string(), candidate.full.clone(), candidate.tensor.shallow_clone());
        match modules.iter_mut().find(|known| known.name == module) {
            Some(known) => known.tensors.push(entry),
            None => modules.push(Module { name: module.to_string(), signature: vec![], tensors: vec![entry] }),
        }
    }
    for module in &mut modules {
        module.signature = module.tensors.iter().map(|(leaf, _, tensor)| (leaf.clone(), tensor.size())).collect();
        module.signature.sort();
    }
    modules
}

/// Returns the next module of the same signature for every layer; `None` if the numbers do not match.
fn by_file_order(targets: &[Target], modules: &[Module]) -> Option<Vec<usize>> {
    let mut free: Vec<bool> = vec![true; modules.len()];
    let mut next = |target: &Target| {
        let found = (0..modules.len()).find(|&index| free[index] && modules[index].signature == target.signature)?;
        free[found] = false;
        Some(found)
    };
    let chosen = targets.iter().map(&mut next).collect::<Option<Vec<_>>>()?;
    free.iter().all(|free| !free).then_some(chosen)
}

/// If the file order is not the layer order: pairs modules of one signature by their names, if these are the layers'
/// or differ in a number. `in_file` is the pairing by file order, if there is one: the two must not contradict.
fn by_number(targets: &[Target], modules: &[Module], in_file: Option<&Vec<usize>>) -> Result<Vec<usize>, WeightsError> {
    let mut chosen = vec![0; targets.len()];
    for target in targets {
        let places: Vec<usize> =
            (0..targets.len()).filter(|&place| targets[place].signature == target.signature).collect();
        let mut equals: Vec<usize> =
            (0..modules.len()).filter(|&index| modules[index].signature == target.signature).collect();
        let own_name =
            |&place: &usize| equals.iter().copied().find(|&index| modules[index].name == targets[place].layer.name());
        let order = match places.iter().map(own_name).collect::<Option<Vec<_>>>() {
            Some(by_name) => by_name,
            None => {
                equals.sort_by_key(|&index| natural(&modules[index].name));
                let names =
                    equals.windows(2).all(|pair| differ_in_number(&modules[pair[0]].name, &modules[pair[1]].name));
                let agrees =
                    in_file.is_none_or(|in_file| places.iter().map(|&place| in_file[place]).eq(equals.iter().copied()));
                if !names || !agrees {
                    return Err(ambiguous(&places, &equals, targets, modules));
                }
                equals
            }
        };
        places.into_iter().zip(order).for_each(|(place, index)| chosen[place] = index);
    }
    Ok(chosen)
}

fn ambiguous(places: &[usize], equals: &[usize], targets: &[Target], modules: &[Module]) -> WeightsError {
    let parameter = |place: &usize| format!("{}.{}", targets[*place].layer.name(), targets[*place].signature[0].0);
    let leaf = |index: &usize| {
        let tensors = &modules[*index].tensors;
        tensors.iter().min_by_key(|(leaf, ..)| leaf.clone()).map(|(_, full, _)| full.clone()).unwrap_or_default()
    };
    WeightsError::Ambiguous {
        parameters: places.iter().map(parameter).collect(),
        candidates: equals.iter().map(leaf).collect(),
    }
}

/// Lists all mismatches, comparing unmatched layers with unmatched modules in order.
fn misfits(targets: &[Target], modules: &[Module]) -> Vec<Misfit> {
    let mut free: Vec<&Module> = modules.iter().collect();
    let mut lonely: Vec<&Target> = Vec::new();
    for target in targets {
        match free.iter().position(|module| module.signature == target.signature) {
            Some(place) => drop(free.remove(place)),
            None => lonely.push(target),
        }
    }
    free.sort_by_key(|module| natural(&module.name));
    let leaves = |target: &Target| target.signature.iter().map(|(leaf, _)| leaf.clone()).collect::<Vec<_>>();
    let has_leaf = |module: &Module, wanted: &[String]| module.tensors.iter().any(|(leaf, ..)| wanted.contains(leaf));
    let mut found = Vec::new();
    for target in lonely {
        let wanted = leaves(target);
        let dimensions = |module: &Module| {
            let shape =
                |leaf: &str, all: &Signature| all.iter().find(|(name, _)| name == leaf).map(|(_, shape)| shape.len());
            wanted.iter().all(|leaf| {
                let sizes = (shape(leaf, &target.signature), shape(leaf, &module.signature));
                sizes.1.is_none() || sizes.0 == sizes.1
            })
        };
        let place = free.iter().position(|module| has_leaf(module, &wanted) && dimensions(module));
        let module = place.map(|place| free.remove(place));
        for (leaf, expected) in &target.signature {
            let name = format!("{}.{leaf}", target.layer.name());
            let tensor = module.and_then(|module| module.tensors.iter().find(|(known, ..)| known == leaf));
            match tensor {
                None => found.push(Misfit::Missing { name, expected: expected.clone() }),
                Some((_, full, tensor)) if tensor.size() != *expected => {
                    let name = format!("{name} = {full}");
                    found.push(Misfit::Shape { name, expected: expected.clone(), found: tensor.size() });
                }
                Some(_) => {}
            }
        }
        let surplus = module.into_iter().flat_map(|module| &module.tensors).filter(|(leaf, ..)| !wanted.contains(leaf));
        found.extend(surplus.map(|(_, full, tensor)| Misfit::Unexpected { name: full.clone(), found: tensor.size() }));
    }
    let surplus = free.into_iter().flat_map(|module| &module.tensors);
    found.extend(surplus.map(|(_, full, tensor)| Misfit::Unexpected { name: full.clone(), found: tensor.size() }));
    found
}

/// A part of a name: a number, or the text between numbers. Numbers sort by value: `conv2` before `conv10`.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Number(u64),
    Text(String),
}

fn natural(name: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut rest = name;
    while let Some(first) = rest.chars().next() {
        let digits = first.is_ascii_digit();
        let end = rest.find(|letter: char| letter.is_ascii_digit() != digits).unwrap_or(rest.len());
        let (part, tail) = rest.split_at(end);
        // A number too long to parse counts as text.
        parts.push(part.parse().map_or_else(|_| Part::Text(part.to_string()), Part::Number));
        rest = tail;
    }
    parts
}

/// Returns whether the first difference of two names is a number.
fn differ_in_number(a: &str, b: &str) -> bool {
    let (a, b) = (natural(a), natural(b));
    let difference = a.iter().zip(&b).find(|(a, b)| a != b);
    matches!(difference, Some((Part::Number(_), Part::Number(_))))
}
