//! Collects the tensors in a pickle by name.

use std::collections::{BTreeMap, HashSet};

use super::{Id, Object, Pickle, Value, View};
use crate::formats::weights::budget::Budget;
use crate::formats::weights::elements::TENSOR;
use crate::formats::weights::{Format, WeightsError};

/// The deepest accepted nesting of containers.
const MAX_DEPTH: usize = 100;
/// The longest accepted name (bytes).
const MAX_NAME: usize = 4096;
/// The longest value kept as metadata, and of all of them together (bytes).
const MAX_FACT: usize = 1024;
const MAX_FACTS: usize = 64 << 10;
/// The prefix of user classes in TorchScript.
const SCRIPTED: &str = "__torch__.";
/// The name of a tensor that is a whole file.
const ALONE: &str = "tensor";

/// The content of a pickle.
#[derive(Debug, Default)]
pub(in crate::formats::weights) struct Collected<'a> {
    /// Tensors in file order.
    pub(in crate::formats::weights) tensors: Vec<(String, &'a View)>,
    /// Numbers and strings beside them, such as `epoch`.
    pub(in crate::formats::weights) facts: BTreeMap<String, String>,
}

/// Collects the tensors of `pickle`, named by the keys that lead to them, joined with dots: `model.conv.weight`.
///
/// Traverses dictionaries, lists, and TorchScript modules. Anything else is ignored if it contains no tensors.
///
/// # Errors
/// Returns [`WeightsError::NotTensors`] for an object of another class that contains tensors, or in place of them.
pub(in crate::formats::weights) fn collect<'a>(
    pickle: &'a Pickle,
    format: Format,
    budget: &mut Budget,
) -> Result<Collected<'a>, WeightsError> {
    // Values may be shared, but the traversal must be finite.
    let steps = 4 * pickle.values.len() + 1000;
    let scripted = format == Format::TorchScript;
    let mut walk = Walk {
        pickle,
        budget,
        scripted,
        name: String::new(),
        steps,
        size: 0,
        empty: HashSet::new(),
        found: Collected::default(),
    };
    match pickle.root() {
        Value::Tensor(_) => walk.inside(ALONE, pickle.root, 0)?,
        Value::Dict(_) | Value::List(_) | Value::Tuple(_) | Value::Object(_) => walk.visit(pickle.root, 0)?,
        other => return Err(walk.refused(type_name(other).to_string())),
    }
    let names: HashSet<_> = walk.found.tensors.iter().map(|(name, _)| name.as_str()).collect();
    if names.len() < walk.found.tensors.len() {
        let mut seen = HashSet::new();
        let twice = walk.found.tensors.iter().find(|(name, _)| !seen.insert(name.as_str()));
        return Err(WeightsError::Duplicate { name: twice.map(|(name, _)| name.clone()).unwrap_or_default() });
    }
    Ok(walk.found)
}

struct Walk<'a, 'b> {
    pickle: &'a Pickle,
    budget: &'b mut Budget,
    scripted: bool,
    /// Name of the current value.
    name: String,
    steps: usize,
    /// Size of all facts.
    size: usize,
    /// Values that are known to contain no tensors.
    empty: HashSet<Id>,
    found: Collected<'a>,
}

impl<'a> Walk<'a, '_> {
    fn visit(&mut self, id: Id, depth: usize) -> Result<(), WeightsError> {
        self.steps =
            self.steps.checked_sub(1).filter(|_| depth <= MAX_DEPTH).ok_or_else(|| {
                WeightsError::Damaged(format!("its values are nested without end at {:?}", self.name))
            })?;
        let pickle = self.pickle;
        match pickle.value(id) {
            Value::Tensor(view) => {
                self.budget.take(TENSOR + 3 * self.name.len() as u64)?;
                self.found.tensors.push((self.name.clone(), view));
                Ok(())
            }
            Value::Dict(items) => self.items(items, depth),
            Value::List(items) | Value::Tuple(items) => {
                // Long lists of plain numbers (a history of losses) are not worth a name each.
                let worth = |&&id: &&Id| !is_plain(pickle.value(id));
                if items.iter().any(|id| worth(&id)) {
                    let items = items.iter().enumerate();
                    items.filter(|(_, id)| worth(id)).try_for_each(|(i, &id)| self.inside(&i.to_string(), id, depth))
                } else {
                    Ok(())
                }
            }
            Value::Object(object) => self.object(id, object, depth),
            Value::Storage(_) => Err(self.refused("torch storage".to_string())),
            plain => self.fact(plain),
        }
    }

    fn items(&mut self, items: &[(Id, Id)], depth: usize) -> Result<(), WeightsError> {
        for &(key, value) in items {
            match self.pickle.value(key) {
                Value::Text(key) => self.inside(key, value, depth)?,
                Value::Int(key) => self.inside(&key.to_string(), value, depth)?,
                _ if self.has_tensors(value)? => {
                    return Err(self.refused("a dictionary with keys other than strings".to_string()));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Visits the entry `key` of the current value.
    fn inside(&mut self, key: &str, value: Id, depth: usize) -> Result<(), WeightsError> {
        let outer = self.name.len();
        if outer + key.len() > MAX_NAME {
            return Err(WeightsError::Damaged(format!("it has names of more than {MAX_NAME} bytes")));
        }
        if outer > 0 {
            self.name.push('.');
        }
        self.name.push_str(key);
        self.visit(value, depth + 1)?;
        self.name.truncate(outer);
        Ok(())
    }

    fn object(&mut self, id: Id, object: &'a Object, depth: usize) -> Result<(), WeightsError> {
        let class = self.pickle.class(object);
        if self.scripted
            && class.starts_with(SCRIPTED)
            && let Some(Value::Dict(attributes)) = object.state.map(|state| self.pickle.value(state))
        {
            return self.items(attributes, depth);
        }
        if depth == 0 || self.has_tensors(id)? {
            return Err(self.refused(class.to_string()));
        }
        self.keep(format!("an object of class {class}"));
        Ok(())
    }

    fn fact(&mut self, value: &Value) -> Result<(), WeightsError> {
        match value {
            // The many attributes of a TorchScript module are not worth reporting.
            _ if self.scripted => {}
            Value::Bool(value) => self.keep(value.to_string()),
            Value::Int(value) => self.keep(value.to_string()),
            Value::Float(value) => self.keep(value.to_string()),
            Value::Text(value) => self.keep(value.to_string()),
            _ => {}
        }
        Ok(())
    }

    fn keep(&mut self, fact: String) {
        let size = self.size + self.name.len() + fact.len();
        if fact.len() <= MAX_FACT && size <= MAX_FACTS {
            self.size = size;
            self.found.facts.insert(self.name.clone(), fact);
        }
    }

    /// Returns whether there are tensors anywhere in the value at `id`.
    fn has_tensors(&mut self, id: Id) -> Result<bool, WeightsError> {
        let mut waiting = vec![id];
        while let Some(id) = waiting.pop() {
            if self.empty.contains(&id) {
                continue;
            }
            self.budget.take(32)?;
            match self.pickle.value(id) {
                Value::Tensor(_) | Value::Storage(_) => return Ok(true),
                Value::Tuple(items) | Value::List(items) => waiting.extend(items),
                Value::Dict(items) => items.iter().for_each(|&(key, value)| waiting.extend([key, value])),
                Value::Object(object) => waiting.extend(object.parts.iter().chain(&object.state)),
                _ => {}
            }
            self.empty.insert(id);
        }
        Ok(false)
    }

    fn refused(&self, class: String) -> WeightsError {
        WeightsError::NotTensors { name: self.name.clone(), class }
    }
}

fn is_plain(value: &Value) -> bool {
    matches!(value, Value::None | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Text(_))
}

fn type_name(value: &Value) -> &str {
    match value {
        Value::None => "None",
        Value::Bool(_) => "bool",
        Value::Int(_) | Value::Long(_) => "int",
        Value::Float(_) => "float",
        Value::Text(_) => "str",
        Value::Bytes => "bytes",
        Value::Tuple(_) => "tuple",
        Value::List(_) => "list",
        Value::Dict(_) => "dict",
        Value::Global(name) => name,
        Value::Storage(_) => "torch storage",
        Value::Tensor(_) => "torch.Tensor",
        Value::Object(_) => "object",
    }
}
