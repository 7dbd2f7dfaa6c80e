//! The content of a TorchScript file: a network's tensors, layer by layer, and its code.

use tch::Tensor;

use super::TorchScriptError;
use super::program::{self, Program};
use crate::error::Result;
use crate::network::{Layer, LayerKind, Parameters, SpikingSequential};

/// The class of the whole module.
pub(super) const CLASS: &str = "SpikingNetwork";

/// Names with a meaning in TorchScript, or used by other attributes of the module.
const RESERVED: [&str; 60] = [
    "False",
    "None",
    "True",
    "and",
    "annotate",
    "as",
    "assert",
    "async",
    "await",
    "break",
    "class",
    "continue",
    "def",
    "del",
    "elif",
    "else",
    "except",
    "finally",
    "for",
    "from",
    "global",
    "if",
    "import",
    "in",
    "is",
    "lambda",
    "nonlocal",
    "not",
    "or",
    "pass",
    "raise",
    "return",
    "try",
    "while",
    "with",
    "yield",
    "self",
    "ops",
    "torch",
    "inf",
    "nan",
    "training",
    "dt",
    "steps",
    "forward",
    "simulate",
    "checked",
    "NoneType",
    "Ellipsis",
    "infj",
    "nanj",
    "fork",
    "awaitable",
    "unchecked_cast",
    "uninitialized",
    "CONSTANTS",
    "prim",
    "aten",
    "print",
    "Tensor",
];

/// A network prepared for writing.
pub(super) struct Module {
    pub code: String,
    pub parts: Vec<Part>,
    pub dt: f64,
    pub steps: i64,
}

/// A layer with tensors: a submodule, whose class has the same name.
pub(super) struct Part {
    pub name: String,
    pub tensors: Vec<(String, Tensor)>,
}

impl Module {
    pub fn new(network: &SpikingSequential) -> Result<Self> {
        let names = identifiers(network.layers());
        let mut parts = Vec::new();
        for (layer, name) in network.layers().iter().zip(&names) {
            if let LayerKind::Custom(custom) = layer.kind() {
                let (layer, label) = (layer.name().to_string(), custom.type_name().to_string());
                return Err(TorchScriptError::Custom { layer, label }.into());
            }
            check(layer)?;
            let tensors = tensors(layer)?;
            if !tensors.is_empty() {
                parts.push(Part { name: name.clone(), tensors });
            }
        }
        let mut code = parts.iter().map(Part::declaration).collect::<String>();
        let layers: String = parts.iter().map(|Part { name, .. }| format!("  {name} : __torch__.{name}\n")).collect();
        code.push_str(&format!(
            "class {CLASS}(Module):
  __parameters__ = []
  __buffers__ = []
  training : bool
  _is_full_backward_hook : Optional[bool]
  dt : float
  steps : int
{layers}{}{}{}",
            program::checked(&network.spec().input),
            match network.layers().iter().find(|layer| has_no_rate(layer)) {
                Some(layer) => program::no_rates(layer.name()),
                None => Program::rates(network, &names).forward(),
            },
            Program::spikes(network, &names).simulate(),
        ));
        Ok(Self { code, parts, dt: network.spec().dt, steps: network.spec().steps })
    }
}

impl Part {
    fn declaration(&self) -> String {
        let names: String = self.tensors.iter().map(|(name, _)| format!("\"{name}\", ")).collect();
        let types: String = self.tensors.iter().map(|(name, _)| format!("  {name} : Tensor\n")).collect();
        format!(
            "class {}(Module):
  __parameters__ = []
  __buffers__ = [{names}]
  training : bool
  _is_full_backward_hook : Optional[bool]
{types}",
            self.name
        )
    }
}

/// Rejects layers that the printed program does not support.
fn check(layer: &Layer) -> Result<(), TorchScriptError> {
    let cause = match &layer.parameters {
        Parameters::Neurons(neurons) if neurons.model.is_noisy() => "its neurons are noisy, and the noise is keyed",
        _ if layer.inputs().iter().any(|edge| edge.delayed) => "it has a delayed input",
        _ => return Ok(()),
    };
    Err(TorchScriptError::Layer { layer: layer.name().to_string(), cause: cause.to_string() })
}

fn has_no_rate(layer: &Layer) -> bool {
    matches!(&layer.parameters, Parameters::Neurons(neurons) if neurons.model.rate().is_none())
}

/// Returns the tensors of a layer, in the dtype of its parameters.
fn tensors(layer: &Layer) -> Result<Vec<(String, Tensor)>> {
    let mut tensors: Vec<_> =
        layer.named_parameters().into_iter().map(|(name, tensor)| (name.to_string(), tensor.shallow_clone())).collect();
    if let Parameters::Neurons(neurons) = &layer.parameters {
        tensors.push(("gain".to_string(), neurons.gain_like(&neurons.bias)?));
        tensors.push(("initial_voltage".to_string(), neurons.initial_voltage.f_to_kind(neurons.bias.kind())?));
    }
    Ok(tensors)
}

/// Returns the layers' names as unique identifiers.
fn identifiers(layers: &[Layer]) -> Vec<String> {
    let mut taken = vec![CLASS.to_string()];
    for layer in layers {
        let mut name = layer.name().replace(|letter: char| !letter.is_ascii_alphanumeric(), "_");
        if name.starts_with(|first: char| !first.is_ascii_alphabetic()) {
            // A leading underscore would make it private.
            name.insert_str(0, "layer_");
        }
        while RESERVED.contains(&name.as_str()) || taken.contains(&name) {
            name.push('_');
        }
        taken.push(name);
    }
    taken.split_off(1)
}
