//! The functions that tensor files use; of any other function, the machine keeps only the name.

use super::machine::{Machine, VALUE, damaged};
use super::{Id, Object, Storage, Value, View};
use crate::formats::weights::WeightsError;

impl Machine<'_> {
    fn value(&self, id: Id) -> &Value {
        self.values.get(id.0 as usize).unwrap_or(&Value::None)
    }

    fn tuple(&self, id: Id) -> &[Id] {
        match self.value(id) {
            Value::Tuple(items) | Value::List(items) => items,
            _ => &[],
        }
    }

    /// Returns the numbers of a tuple, if it is one.
    fn numbers(&self, id: Id) -> Option<Vec<i64>> {
        let number = |&id: &Id| if let Value::Int(number) = self.value(id) { Some(*number) } else { None };
        matches!(self.value(id), Value::Tuple(_) | Value::List(_))
            .then(|| self.tuple(id).iter().map(number).collect())?
    }

    pub(super) fn object(&mut self, class: &str, parts: Vec<Id>) -> Result<Value, WeightsError> {
        let class = self.add(Value::Global(class.into()))?;
        Ok(Value::Object(Box::new(Object { class, state: None, parts })))
    }

    /// Evaluates `function` with the tuple of its arguments.
    pub(super) fn reduce(&mut self) -> Result<(), WeightsError> {
        let [function, arguments] = self.pop_array()?;
        let name = if let Value::Global(name) = self.value(function) { &**name } else { "" };
        match (name, self.tuple(arguments)) {
            (
                "torch._utils._rebuild_tensor_v2" | "torch._utils._rebuild_tensor",
                &[storage, offset, shape, strides, ..],
            ) => {
                let Some(view) = self.view(storage, offset, shape, strides) else {
                    return Err(damaged("the description of a tensor is not valid"));
                };
                self.budget.take(16 * view.shape.len() as u64 + VALUE)?;
                self.push(Value::Tensor(Box::new(view)))
            }
            // Wrappers of a tensor: that it is trainable, or a type declared by TorchScript.
            (
                "torch._utils._rebuild_parameter"
                | "torch._utils._rebuild_parameter_with_state"
                | "torch.jit._pickle.build_tensorlist"
                | "torch.jit._pickle.restore_type_tag",
                &[inner, ..],
            ) => self.push_known(inner),
            ("collections.OrderedDict", &[items]) => {
                self.budget.take(16 * self.tuple(items).len() as u64)?;
                let pair = |&item: &Id| <[Id; 2]>::try_from(self.tuple(item)).ok().map(|[key, value]| (key, value));
                let items: Option<_> = self.tuple(items).iter().map(pair).collect();
                self.push(Value::Dict(items.ok_or_else(|| damaged("a key lacks its value"))?))
            }
            _ => {
                let made = self.call(function, vec![arguments])?;
                self.push(made)
            }
        }
    }

    /// Creates an instance of `class`.
    pub(super) fn call(&mut self, class: Id, parts: Vec<Id>) -> Result<Value, WeightsError> {
        self.budget.take(VALUE)?;
        Ok(match self.value(class) {
            Value::Global(name) if matches!(&**name, "collections.OrderedDict" | "collections.defaultdict") => {
                Value::Dict(Vec::new())
            }
            _ => Value::Object(Box::new(Object { class, state: None, parts })),
        })
    }

    fn view(&self, storage: Id, offset: Id, shape: Id, strides: Id) -> Option<View> {
        match (self.value(storage), self.value(offset)) {
            (&Value::Storage(storage), &Value::Int(offset)) => {
                Some(View { storage, offset, shape: self.numbers(shape)?, strides: self.numbers(strides)? })
            }
            _ => None,
        }
    }

    /// Resolves a reference outside of the pickle: `("storage", type, key, device, count)`, or the class of a whole
    /// module.
    pub(super) fn persistent(&mut self) -> Result<Value, WeightsError> {
        let id = self.pop()?;
        let &[tag, class, key, ref rest @ ..] = self.tuple(id) else {
            return Err(damaged("the description of a storage is not valid"));
        };
        match (self.value(tag), self.value(class), self.value(key), rest) {
            (Value::Text(tag), Value::Global(class), _, _) if **tag == *"module" => Ok(Value::Global(class.clone())),
            (Value::Text(tag), Value::Global(class), Value::Text(key), &[_, count, ref part @ ..])
                if **tag == *"storage" =>
            {
                let Value::Int(count) = *self.value(count) else {
                    return Err(damaged("a storage has no size"));
                };
                if part.iter().any(|&part| !matches!(self.value(part), Value::None)) {
                    return Err(damaged("a storage is part of another, as PyTorch before 0.4 wrote: save it anew"));
                }
                let count = u64::try_from(count).map_err(|_| damaged("a storage has no size"))?;
                let storage = Storage { key: key.clone(), class: class.clone(), count };
                self.storage(storage)
            }
            _ => Err(damaged("the description of a storage is not valid")),
        }
    }

    fn storage(&mut self, storage: Storage) -> Result<Value, WeightsError> {
        if let Some(&known) = self.by_key.get(&storage.key) {
            if self.storages[known] != storage {
                return Err(damaged(format!("storage {} is described in two ways", storage.key)));
            }
            return Ok(Value::Storage(known));
        }
        self.budget.take(VALUE + 3 * (storage.key.len() + storage.class.len()) as u64)?;
        let index = self.storages.len();
        self.by_key.insert(storage.key.clone(), index);
        self.storages.push(storage);
        Ok(Value::Storage(index))
    }
}
