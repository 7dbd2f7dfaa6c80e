//! The stack machine of a pickle.
//!
//! Source of the operations: `Lib/pickletools.py` of Python 3. Those of protocols 0 and 1, which no version of PyTorch
//! writes by itself, are left out.

use std::collections::HashMap;
use std::io::{self, BufRead, Read};

use super::{Id, Pickle, Storage, Value};
use crate::formats::weights::WeightsError;
use crate::formats::weights::budget::Budget;
use crate::formats::weights::elements::damage;

/// Memory of a value with everything that refers to it, with vectors growing by doubling (bytes).
pub(super) const VALUE: u64 = 128;

/// The longest string that is kept (bytes). Longer ones are the content of NumPy arrays, among others.
const MAX_TEXT: u64 = 64 << 10;

/// The longest accepted name of a module or class (bytes).
const MAX_NAME: u64 = 1024;

/// Reads one pickle from `source`, up to its end.
///
/// # Errors
/// Returns [`WeightsError::Damaged`] if it is not a pickle, or for an unknown operation.
pub(in crate::formats::weights) fn run(source: &mut dyn BufRead, budget: &mut Budget) -> Result<Pickle, WeightsError> {
    let mut machine = Machine {
        source,
        budget,
        values: Vec::new(),
        storages: Vec::new(),
        by_key: HashMap::new(),
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
    };
    while machine.step()? {}
    let root = machine.pop()?;
    Ok(Pickle { values: machine.values, root, storages: machine.storages })
}

pub(super) struct Machine<'a> {
    source: &'a mut dyn BufRead,
    pub(super) budget: &'a mut Budget,
    pub(super) values: Vec<Value>,
    pub(super) storages: Vec<Storage>,
    pub(super) by_key: HashMap<Box<str>, usize>,
    stack: Vec<Id>,
    /// Height of the stack at each open mark.
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
}

pub(super) fn damaged(cause: impl Into<String>) -> WeightsError {
    WeightsError::Damaged(format!("in its pickle, {}", cause.into()))
}

impl Machine<'_> {
    /// Executes one operation; returns `false` at the end.
    fn step(&mut self) -> Result<bool, WeightsError> {
        let [operation] = self.bytes()?;
        let value = match operation {
            b'.' => return Ok(false),
            // Protocol and frame: nothing to do.
            0x80 => return self.bytes::<1>().map(|_| true),
            0x95 => return self.bytes::<8>().map(|_| true),
            b'(' => {
                self.budget.take(VALUE)?;
                self.marks.push(self.stack.len());
                return Ok(true);
            }
            b'N' => Value::None,
            0x88 => Value::Bool(true),
            0x89 => Value::Bool(false),
            b'J' => Value::Int(i64::from(i32::from_le_bytes(self.bytes()?))),
            b'K' => Value::Int(i64::from(u8::from_le_bytes(self.bytes()?))),
            b'M' => Value::Int(i64::from(u16::from_le_bytes(self.bytes()?))),
            0x8a => self.long::<1>()?,
            0x8b => self.long::<4>()?,
            b'G' => Value::Float(f64::from_be_bytes(self.bytes()?)),
            b'X' => self.text::<4>()?,
            0x8c => self.text::<1>()?,
            0x8d => self.text::<8>()?,
            // A string, in Python 2.
            b'T' => self.text::<4>()?,
            b'U' => self.text::<1>()?,
            b'B' => self.skipped::<4>()?,
            b'C' => self.skipped::<1>()?,
            0x8e | 0x96 => self.skipped::<8>()?,
            b')' => Value::Tuple(Vec::new()),
            b't' => Value::Tuple(self.pop_to_mark()?),
            0x85 => Value::Tuple(self.pop_array::<1>()?.to_vec()),
            0x86 => Value::Tuple(self.pop_array::<2>()?.to_vec()),
            0x87 => Value::Tuple(self.pop_array::<3>()?.to_vec()),
            b']' => Value::List(Vec::new()),
            b'l' => Value::List(self.pop_to_mark()?),
            b'}' => Value::Dict(Vec::new()),
            b'd' => Value::Dict(pairs(&self.pop_to_mark()?)?),
            0x8f => self.object("builtins.set", Vec::new())?,
            0x91 => {
                let items = self.pop_to_mark()?;
                self.object("builtins.frozenset", items)?
            }
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                Value::Global(format!("{module}.{name}").into())
            }
            0x93 => self.stack_global()?,
            b'Q' => self.persistent()?,
            b'R' => return self.reduce().map(|()| true),
            0x81 => {
                let [class, arguments] = self.pop_array()?;
                self.call(class, vec![arguments])?
            }
            0x92 => {
                let [class, arguments, named] = self.pop_array()?;
                self.call(class, vec![arguments, named])?
            }
            _ => return self.rearrange(operation).map(|()| true),
        };
        self.push(value).map(|()| true)
    }

    /// Executes an operation on existing values.
    fn rearrange(&mut self, operation: u8) -> Result<(), WeightsError> {
        match operation {
            b'0' => self.pop().map(drop),
            b'1' => self.pop_to_mark().map(drop),
            b'2' => self.top().and_then(|top| self.push_known(top)),
            b'a' => self.pop().and_then(|item| self.extend(vec![item])),
            b'e' | 0x90 => self.pop_to_mark().and_then(|items| self.extend(items)),
            b's' => self.pop_array::<2>().and_then(|item| self.insert(&item)),
            b'u' => self.pop_to_mark().and_then(|items| self.insert(&items)),
            b'b' => self.build(),
            b'q' => self.bytes::<1>().and_then(|[place]| self.memorise(u32::from(place))),
            b'r' => self.bytes().and_then(|place| self.memorise(u32::from_le_bytes(place))),
            // The next free place; a file with 2^32 of them would exceed memory.
            0x94 => self.memorise(self.memo.len() as u32),
            b'h' => self.bytes::<1>().and_then(|[place]| self.recall(u32::from(place))),
            b'j' => self.bytes().and_then(|place| self.recall(u32::from_le_bytes(place))),
            _ => Err(damaged(format!("operation 0x{operation:02x} is not one that PyTorch writes"))),
        }
    }

    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], WeightsError> {
        let mut bytes = [0; N];
        self.source.read_exact(&mut bytes).map_err(damage)?;
        Ok(bytes)
    }

    /// Reads a length of `N` bytes and that number of bytes; `None` if it is longer than any name.
    fn counted<const N: usize>(&mut self) -> Result<Option<Vec<u8>>, WeightsError> {
        let mut length = [0; 8];
        length[..N].copy_from_slice(&self.bytes::<N>()?);
        let length = u64::from_le_bytes(length);
        let content = &mut self.source.take(length);
        let mut bytes = Vec::new();
        let found = if length > MAX_TEXT {
            io::copy(content, &mut io::sink())
        } else {
            self.budget.take(2 * length)?;
            content.read_to_end(&mut bytes).map(|found| found as u64)
        };
        match found.map_err(damage)? {
            found if found < length => Err(damaged("a string is cut off")),
            _ => Ok((length <= MAX_TEXT).then_some(bytes)),
        }
    }

    fn text<const N: usize>(&mut self) -> Result<Value, WeightsError> {
        let text = self.counted::<N>()?.and_then(|bytes| String::from_utf8(bytes).ok());
        Ok(text.map_or(Value::Bytes, |text| Value::Text(text.into())))
    }

    fn skipped<const N: usize>(&mut self) -> Result<Value, WeightsError> {
        self.counted::<N>().map(|_| Value::Bytes)
    }

    /// Reads an integer in two's complement.
    fn long<const N: usize>(&mut self) -> Result<Value, WeightsError> {
        let bytes = self.counted::<N>()?.ok_or_else(|| damaged("an integer is too long"))?;
        if bytes.len() > 8 {
            return Ok(Value::Long(bytes.into()));
        }
        let negative = bytes.last().is_some_and(|last| last & 0x80 != 0);
        let mut extended = [if negative { 0xff } else { 0 }; 8];
        extended[..bytes.len()].copy_from_slice(&bytes);
        Ok(Value::Int(i64::from_le_bytes(extended)))
    }

    fn line(&mut self) -> Result<String, WeightsError> {
        let mut line = Vec::new();
        self.budget.take(MAX_NAME)?;
        self.source.take(MAX_NAME).read_until(b'\n', &mut line).map_err(damage)?;
        match (line.pop(), String::from_utf8(line)) {
            (Some(b'\n'), Ok(line)) => Ok(line),
            _ => Err(damaged("the name of a class is cut off")),
        }
    }

    fn stack_global(&mut self) -> Result<Value, WeightsError> {
        let parts = self.pop_array::<2>()?;
        match parts.map(|part| &self.values[part.0 as usize]) {
            [Value::Text(module), Value::Text(name)] if (module.len() + name.len()) as u64 <= MAX_NAME => {
                self.budget.take(MAX_NAME)?;
                Ok(Value::Global(format!("{module}.{name}").into()))
            }
            _ => Err(damaged("a class has no name")),
        }
    }

    pub(super) fn push(&mut self, value: Value) -> Result<(), WeightsError> {
        let id = self.add(value)?;
        self.push_known(id)
    }

    pub(super) fn add(&mut self, value: Value) -> Result<Id, WeightsError> {
        let elements = match &value {
            Value::Tuple(items) | Value::List(items) => items.len(),
            Value::Dict(items) => 2 * items.len(),
            _ => 0,
        };
        self.budget.take(VALUE + 8 * elements as u64)?;
        let id = u32::try_from(self.values.len()).map_err(|_| damaged("there are too many values"))?;
        self.values.push(value);
        Ok(Id(id))
    }

    pub(super) fn push_known(&mut self, id: Id) -> Result<(), WeightsError> {
        self.budget.take(16)?;
        self.stack.push(id);
        Ok(())
    }

    /// Returns the height of the stack at the innermost mark, which only [`Self::pop_to_mark`] goes below.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn top(&self) -> Result<Id, WeightsError> {
        let above = self.stack.get(self.floor()..).unwrap_or_default();
        above.last().copied().ok_or_else(|| damaged("an operation lacks a value"))
    }

    pub(super) fn pop(&mut self) -> Result<Id, WeightsError> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    /// Pops the topmost values, in the order in which they were pushed.
    pub(super) fn pop_array<const N: usize>(&mut self) -> Result<[Id; N], WeightsError> {
        let mut values = [Id(0); N];
        for value in values.iter_mut().rev() {
            *value = self.pop()?;
        }
        Ok(values)
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Id>, WeightsError> {
        let mark = self.marks.pop().filter(|&mark| mark <= self.stack.len());
        mark.map(|mark| self.stack.split_off(mark)).ok_or_else(|| damaged("an operation lacks its mark"))
    }

    fn memorise(&mut self, place: u32) -> Result<(), WeightsError> {
        let top = self.top()?;
        self.budget.take(64)?;
        self.memo.insert(place, top);
        Ok(())
    }

    fn recall(&mut self, place: u32) -> Result<(), WeightsError> {
        let id = self.memo.get(&place).copied();
        self.push_known(id.ok_or_else(|| damaged(format!("value {place} is referred to but not there")))?)
    }

    fn top_mut(&mut self) -> Result<&mut Value, WeightsError> {
        let top = self.top()?;
        self.values.get_mut(top.0 as usize).ok_or_else(|| damaged("an operation lacks a value"))
    }

    /// Appends to the list on top of the stack.
    fn extend(&mut self, items: Vec<Id>) -> Result<(), WeightsError> {
        self.budget.take(12 * items.len() as u64)?;
        match self.top_mut()? {
            Value::List(list) => list.extend(items),
            // Sets, queues ..
            Value::Object(object) => object.parts.extend(items),
            _ => return Err(damaged("an item is appended to something that is not a list")),
        }
        Ok(())
    }

    /// Inserts keys and values into the dictionary on top of the stack.
    fn insert(&mut self, items: &[Id]) -> Result<(), WeightsError> {
        self.budget.take(12 * items.len() as u64)?;
        match self.top_mut()? {
            Value::Dict(dict) => dict.extend(pairs(items)?),
            Value::Object(object) => object.parts.extend(items),
            _ => return Err(damaged("an item is inserted into something that is not a dictionary")),
        }
        Ok(())
    }

    /// Sets attributes of the value on top of the stack.
    fn build(&mut self) -> Result<(), WeightsError> {
        let attributes = self.pop()?;
        if let Value::Object(object) = self.top_mut()? {
            object.parts.extend(object.state.replace(attributes));
        }
        // Attributes of a dictionary (`_metadata` of a `state_dict`) or of a tensor are not weights.
        Ok(())
    }
}

fn pairs(items: &[Id]) -> Result<Vec<(Id, Id)>, WeightsError> {
    match items.as_chunks() {
        (pairs, []) => Ok(pairs.iter().map(|&[key, value]| (key, value)).collect()),
        _ => Err(damaged("a key lacks its value")),
    }
}
