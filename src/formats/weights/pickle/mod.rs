//! Reads Python's pickles as data: a small strict subset of the language, in which nothing is executed.
//!
//! A pickle is a program for a stack machine that may call any Python function. This machine knows the few functions
//! that tensor files use (`functions.rs`); of any other it keeps only the name ([`Value::Object`]), so that messages
//! can name the other content of a file.
//!
//! Existing crates do not fit: `pytorch-reader` 0.22 loses the order of a dictionary, which is the layer order, copies
//! shared values, and does not read TorchScript; `candle` depends on a whole framework.

mod collect;
mod functions;
mod machine;

use tch::Kind;

pub(super) use collect::{Collected, collect};
pub(super) use machine::run;

/// The index of a value in a [`Pickle`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Id(u32);

/// A Python value.
#[derive(Debug)]
pub(super) enum Value {
    None,
    Bool(bool),
    Int(i64),
    /// An integer of more than 64 bits: its little-endian bytes.
    Long(Box<[u8]>),
    Float(f64),
    Text(Box<str>),
    /// Bytes, whose content is not needed.
    Bytes,
    Tuple(Vec<Id>),
    List(Vec<Id>),
    /// Items in insertion order.
    Dict(Vec<(Id, Id)>),
    /// A class or function, as `module.name`.
    Global(Box<str>),
    /// Elements of tensors: an index of [`Pickle::storages`].
    Storage(usize),
    Tensor(Box<View>),
    /// An object that an unknown function would have created.
    Object(Box<Object>),
}

/// The known facts about an object that was not created.
#[derive(Debug)]
pub(super) struct Object {
    /// Its class, or the function that creates it.
    pub(super) class: Id,
    /// Its attributes, usually a dictionary.
    pub(super) state: Option<Id>,
    /// The other values that it would be created from.
    pub(super) parts: Vec<Id>,
}

/// A tensor as a view of a storage.
#[derive(Debug)]
pub(super) struct View {
    /// Its elements: an index of [`Pickle::storages`].
    pub(super) storage: usize,
    /// Index of the first element.
    pub(super) offset: i64,
    pub(super) shape: Vec<i64>,
    pub(super) strides: Vec<i64>,
}

/// A storage that a pickle refers to; its elements are elsewhere in the file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Storage {
    pub(super) key: Box<str>,
    /// Its type, such as `torch.FloatStorage`.
    pub(super) class: Box<str>,
    /// Number of elements.
    pub(super) count: u64,
}

/// The storage types whose elements libtorch supports.
const STORAGES: [(&str, Kind); 10] = [
    ("torch.DoubleStorage", Kind::Double),
    ("torch.FloatStorage", Kind::Float),
    ("torch.HalfStorage", Kind::Half),
    ("torch.BFloat16Storage", Kind::BFloat16),
    ("torch.LongStorage", Kind::Int64),
    ("torch.IntStorage", Kind::Int),
    ("torch.ShortStorage", Kind::Int16),
    ("torch.CharStorage", Kind::Int8),
    ("torch.ByteStorage", Kind::Uint8),
    ("torch.BoolStorage", Kind::Bool),
];

impl Storage {
    /// Returns the dtype of its elements, if it is supported.
    pub(super) fn kind(&self) -> Option<Kind> {
        STORAGES.iter().find(|(class, _)| *class == &*self.class).map(|(_, kind)| *kind)
    }
}

/// All values of a pickle. They refer to each other by [`Id`], so that shared and cyclic values are possible.
#[derive(Debug)]
pub(super) struct Pickle {
    values: Vec<Value>,
    pub(super) root: Id,
    /// Storages in the order of first reference.
    pub(super) storages: Vec<Storage>,
}

impl Pickle {
    /// Returns the value at `id`.
    pub(super) fn value(&self, id: Id) -> &Value {
        self.values.get(id.0 as usize).unwrap_or(&Value::None)
    }

    pub(super) fn root(&self) -> &Value {
        self.value(self.root)
    }

    /// Returns the string at `id`, if it is one.
    pub(super) fn text(&self, id: Id) -> Option<&str> {
        match self.value(id) {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Returns the class of `object`.
    pub(super) fn class(&self, object: &Object) -> &str {
        match self.value(object.class) {
            Value::Global(class) => class,
            // A method of another object, or something more complex.
            _ => "of unknown class",
        }
    }
}
