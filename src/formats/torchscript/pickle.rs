//! Writes the part of Python's pickle format, protocol 2, that module objects use.

/// A pickle being written.
pub(super) struct Pickle(Vec<u8>);

impl Pickle {
    pub fn new() -> Self {
        Self(vec![0x80, 2])
    }

    /// Returns the complete pickle.
    pub fn finish(mut self) -> Vec<u8> {
        self.0.push(b'.');
        self.0
    }

    /// Writes an object of the class `__torch__.{class}` with the attributes that `attributes` writes, each a
    /// [`text`](Self::text) and a value.
    pub fn object(&mut self, class: &str, attributes: impl FnOnce(&mut Self)) {
        self.global("__torch__", class);
        // No arguments, a new object, an empty dictionary.
        self.0.extend(b")\x81}");
        self.0.push(b'(');
        attributes(self);
        // Adds the pairs to the dictionary, and the dictionary to the object.
        self.0.extend(b"ub");
    }

    /// Writes a tensor with its own storage, whose data is in the archive's entry `data/{entry}`. `storage` is
    /// PyTorch's name of its type: `FloatStorage`.
    pub fn tensor(&mut self, storage: &str, entry: usize, sizes: &[i64], strides: &[i64]) {
        self.global("torch._utils", "_rebuild_tensor_v2");
        self.tuple(|pickle| {
            pickle.tuple(|pickle| {
                pickle.text("storage");
                pickle.global("torch", storage);
                pickle.text(&entry.to_string());
                pickle.text("cpu");
                pickle.int(sizes.iter().product());
            });
            pickle.0.push(b'Q');
            pickle.int(0);
            pickle.ints(sizes);
            pickle.ints(strides);
            pickle.bool(false);
            pickle.global("collections", "OrderedDict");
            pickle.0.extend(b")R");
        });
        self.0.push(b'R');
    }

    pub fn text(&mut self, text: &str) {
        self.0.push(b'X');
        self.0.extend((text.len() as u32).to_le_bytes());
        self.0.extend(text.as_bytes());
    }

    pub fn int(&mut self, value: i64) {
        // A long integer of eight bytes.
        self.0.extend([0x8a, 8]);
        self.0.extend(value.to_le_bytes());
    }

    pub fn float(&mut self, value: f64) {
        self.0.push(b'G');
        self.0.extend(value.to_be_bytes());
    }

    pub fn bool(&mut self, value: bool) {
        self.0.push(if value { 0x88 } else { 0x89 });
    }

    pub fn none(&mut self) {
        self.0.push(b'N');
    }

    pub fn empty_tuple(&mut self) {
        self.0.push(b')');
    }

    fn ints(&mut self, values: &[i64]) {
        self.tuple(|pickle| values.iter().for_each(|&value| pickle.int(value)));
    }

    fn tuple(&mut self, items: impl FnOnce(&mut Self)) {
        self.0.push(b'(');
        items(self);
        self.0.push(b't');
    }

    fn global(&mut self, module: &str, name: &str) {
        self.0.extend(format!("c{module}\n{name}\n").as_bytes());
    }
}
