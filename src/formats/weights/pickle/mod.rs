//! Python's pickles, read as data: a small strict part of the language, in which nothing is ever executed.
//!
//! A pickle is a program for a stack machine that may call any Python function. This machine knows the handful of functions
//! that files of tensors are made of (`functions.rs`); of any other it keeps only the name ([`Value::Object`]), so that a file
//! can say what else it holds.
//!
//! There are crates for this. `pytorch-reader` 0.22 forgets the order of a dictionary, which is that of the layers, copies
//! what is referred to twice, and does not read TorchScript; `candle` brings a whole framework with it.

mod collect;
mod functions;
mod machine;

use tch::Kind;

pub(super) use collect::{Collected, collect};
pub(super) use machine::run;

/// Where a value is in a [`Pickle`].
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
    /// Bytes, of which nothing is needed.
    Bytes,
    Tuple(Vec<Id>),
    List(Vec<Id>),
    /// In the order in which the items were put in.
    Dict(Vec<(Id, Id)>),
    /// A class or function, as `module.name`.
    Global(Box<str>),
    /// Elements of tensors: an index of [`Pickle::storages`].
    Storage(usize),
    Tensor(Box<View>),
    /// Something that a function other than the known ones would have made.
    Object(Box<Object>),
}

/// What is known of an object that was not made.
#[derive(Debug)]
pub(super) struct Object {
    /// Its class, or the function that makes it.
    pub(super) class: Id,
    /// Its attributes, mostly a dictionary.
    pub(super) state: Option<Id>,
    /// All else that it would be made of.
    pub(super) parts: Vec<Id>,
}

/// A tensor as a part of a storage.
#[derive(Debug)]
pub(super) struct View {
    /// Its elements: an index of [`Pickle::storages`].
    pub(super) storage: usize,
    /// The first of them.
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
    /// How many elements it has.
    pub(super) count: u64,
}

/// The types of storages whose elements libtorch can compute with here.
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
    /// What its elements are, if they can be computed with.
    pub(super) fn kind(&self) -> Option<Kind> {
        STORAGES.iter().find(|(class, _)| *class == &*self.class).map(|(_, kind)| *kind)
    }
}

/// All values of a pickle. They refer to each other by [`Id`], so that shared and even cyclic ones are no trouble.
#[derive(Debug)]
pub(super) struct Pickle {
    values: Vec<Value>,
    pub(super) root: Id,
    /// In the order in which they are first referred to.
    pub(super) storages: Vec<Storage>,
}

impl Pickle {
    /// The value at `id`.
    pub(super) fn value(&self, id: Id) -> &Value {
        self.values.get(id.0 as usize).unwrap_or(&Value::None)
    }

    pub(super) fn root(&self) -> &Value {
        self.value(self.root)
    }

    /// The text at `id`, if it is one.
    pub(super) fn text(&self, id: Id) -> Option<&str> {
        match self.value(id) {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// What `object` is an instance of.
    pub(super) fn class(&self, object: &Object) -> &str {
        match self.value(object.class) {
            Value::Global(class) => class,
            // A method of another object, or worse.
            _ => "of unknown class",
        }
    }
}
