//! NumPy's `.npy` format: a magic number, a header that is a Python dictionary, and the elements.
//!
//! Source: <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>.

use std::io::Read;

use tch::Kind;

use super::WeightsError;
use super::elements::damage;

const MAGIC: &[u8; 6] = b"\x93NUMPY";

/// Alignment of the elements in the file (bytes).
const ALIGNMENT: usize = 64;

/// The longest accepted header (bytes): NumPy's own limit.
const MAX_HEADER: usize = 10_000;

const DTYPES: [(&str, Kind); 9] = [
    ("<f8", Kind::Double),
    ("<f4", Kind::Float),
    ("<f2", Kind::Half),
    ("<i8", Kind::Int64),
    ("<i4", Kind::Int),
    ("<i2", Kind::Int16),
    ("|i1", Kind::Int8),
    ("|u1", Kind::Uint8),
    ("|b1", Kind::Bool),
];

/// The header of an array.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) kind: Kind,
    /// Whether the first index changes fastest.
    pub(super) fortran_order: bool,
    pub(super) shape: Vec<i64>,
}

impl Header {
    /// Reads the header of the array `name`.
    pub(super) fn read(name: &str, source: &mut dyn Read) -> Result<Self, WeightsError> {
        let fail = |cause: &str| WeightsError::Damaged(format!("{name} is not a NumPy array: {cause}"));
        let mut start = [0; 8];
        source.read_exact(&mut start).map_err(damage)?;
        let [magic @ .., major, _] = start;
        if magic != *MAGIC {
            return Err(fail("the magic number is missing"));
        }
        let length = match major {
            1 => usize::from(u16::from_le_bytes(exact(source)?)),
            2 | 3 => u32::from_le_bytes(exact(source)?) as usize,
            _ => return Err(fail(&format!("it is of format version {major}, expected 1 to 3"))),
        };
        if length > MAX_HEADER {
            return Err(fail(&format!("its header claims {length} bytes, expected at most {MAX_HEADER}")));
        }
        let mut text = vec![0; length];
        source.read_exact(&mut text).map_err(damage)?;
        let text = std::str::from_utf8(&text).map_err(|_| fail("its header is not valid UTF-8"))?;
        let fields = Parser(text).fields().ok_or_else(|| fail(&format!("its header is {:?}", text.trim_end())))?;
        let kind = DTYPES.iter().find(|(dtype, _)| *dtype == fields.dtype).map(|(_, kind)| *kind);
        let kind =
            kind.ok_or_else(|| WeightsError::Dtype { tensor: name.to_string(), dtype: explain(&fields.dtype) })?;
        Ok(Self { kind, fortran_order: fields.fortran_order, shape: fields.shape })
    }

    /// Returns the header bytes of an array in C order; `None` for a dtype that NumPy lacks.
    pub(super) fn write(kind: Kind, shape: &[i64]) -> Option<Vec<u8>> {
        let (dtype, _) = DTYPES.iter().find(|(_, known)| *known == kind)?;
        let shape = match shape {
            [size] => format!("({size},)"),
            sizes => format!("({})", sizes.iter().map(i64::to_string).collect::<Vec<_>>().join(", ")),
        };
        let mut text = format!("{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}");
        let before = MAGIC.len() + 4;
        let padding = (before + text.len() + 1).next_multiple_of(ALIGNMENT) - (before + text.len() + 1);
        text.extend(std::iter::repeat_n(' ', padding));
        text.push('\n');
        let length = u16::try_from(text.len()).ok()?;
        Some([MAGIC.as_slice(), &[1, 0], &length.to_le_bytes(), text.as_bytes()].concat())
    }
}

fn exact<const N: usize>(source: &mut dyn Read) -> Result<[u8; N], WeightsError> {
    let mut bytes = [0; N];
    source.read_exact(&mut bytes).map_err(damage)?;
    Ok(bytes)
}

/// Describes a dtype that cannot be read, with advice.
fn explain(dtype: &str) -> String {
    let reason = match dtype.as_bytes() {
        [b'>', ..] => " (big-endian: save array.astype(array.dtype.newbyteorder(\"<\")))",
        [b'|', b'O', ..] => " (Python objects, which are never read)",
        [b'<' | b'|', b'U' | b'S', ..] => " (text)",
        _ => "",
    };
    format!("{dtype}{reason}")
}

/// The fields of the header dictionary, unparsed.
struct Fields {
    dtype: String,
    fortran_order: bool,
    shape: Vec<i64>,
}

/// A parser over the rest of the header.
struct Parser<'a>(&'a str);

impl<'a> Parser<'a> {
    /// Parses `{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }`, in any order.
    fn fields(mut self) -> Option<Fields> {
        let (mut dtype, mut fortran_order, mut shape) = (None, None, None);
        self.expect("{")?;
        while self.expect("}").is_none() {
            let key = self.quoted()?;
            self.expect(":")?;
            let known = match key {
                "descr" => dtype.replace(self.dtype()?).is_none(),
                "fortran_order" => fortran_order.replace(self.boolean()?).is_none(),
                "shape" => shape.replace(self.tuple()?).is_none(),
                _ => false,
            };
            if !known || self.expect(",").is_none() && !self.0.starts_with('}') {
                return None;
            }
        }
        self.0.trim_start().is_empty().then_some(())?;
        Some(Fields { dtype: dtype?, fortran_order: fortran_order?, shape: shape? })
    }

    /// Skips `token` and the white space around it, if it comes next.
    fn expect(&mut self, token: &str) -> Option<()> {
        self.0 = self.0.trim_start().strip_prefix(token)?.trim_start();
        Some(())
    }

    fn quoted(&mut self) -> Option<&'a str> {
        let quote = self.0.chars().next().filter(|letter| matches!(letter, '\'' | '"'))?;
        let (text, rest) = self.0[1..].split_once(quote)?;
        self.0 = rest;
        Some(text)
    }

    /// Parses a dtype's name, or the fields of a structured dtype verbatim.
    fn dtype(&mut self) -> Option<String> {
        if !self.0.starts_with('[') {
            return self.quoted().map(str::to_string);
        }
        let (fields, rest) = self.0.split_once(']')?;
        self.0 = rest;
        Some(format!("{fields}]"))
    }

    fn boolean(&mut self) -> Option<bool> {
        self.expect("True").map(|()| true).or_else(|| self.expect("False").map(|()| false))
    }

    fn tuple(&mut self) -> Option<Vec<i64>> {
        let mut sizes = Vec::new();
        self.expect("(")?;
        while self.expect(")").is_none() {
            let digits = self.0.find(|letter: char| !letter.is_ascii_digit())?;
            let (number, rest) = self.0.split_at(digits);
            sizes.push(number.parse().ok()?);
            // Python 2 marked long integers.
            self.0 = rest.strip_prefix('L').unwrap_or(rest);
            if self.expect(",").is_none() && !self.0.starts_with(')') {
                return None;
            }
        }
        Some(sizes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Header, WeightsError> {
        let length = u16::try_from(text.len()).unwrap().to_le_bytes();
        Header::read("a", &mut [MAGIC.as_slice(), &[1, 0], &length, text.as_bytes()].concat().as_slice())
    }

    #[test]
    fn headers_are_understood_as_numpy_writes_them() {
        let header = parse("{'descr': '<f2', 'fortran_order': True, 'shape': (3, 4), }   \n").unwrap();
        assert_eq!(header, Header { kind: Kind::Half, fortran_order: true, shape: vec![3, 4] });
        assert_eq!(parse("{\"shape\":(7L,),'descr':'|b1','fortran_order':False}").unwrap().shape, [7]);
        assert_eq!(parse("{'descr': '<i8', 'fortran_order': False, 'shape': ()}").unwrap().shape, [0; 0]);
        for (kind, shape) in [(Kind::Float, vec![]), (Kind::Int8, vec![5]), (Kind::Bool, vec![2, 0, 3])] {
            let bytes = Header::write(kind, &shape).unwrap();
            assert_eq!(bytes.len() % ALIGNMENT, 0);
            let header = Header::read("a", &mut bytes.as_slice()).unwrap();
            assert_eq!(header, Header { kind, fortran_order: false, shape });
        }
        assert!(Header::write(Kind::BFloat16, &[1]).is_none());
    }

    #[test]
    fn other_headers_are_refused() {
        for text in [
            "",
            "{",
            "{'descr': '<f4'}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4)} + 1",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (3 4)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (-3,)}",
            "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,)}",
            "{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': ()}",
            "{'descr': '<f4', 'fortran_order': __import__('os'), 'shape': ()}",
        ] {
            assert!(matches!(parse(text), Err(WeightsError::Damaged(_))), "{text}");
        }
        for (dtype, reason) in
            [("'>f4'", "big-endian"), ("'|O'", "objects"), ("[('a', '<f4')]", "[("), ("'<c8'", "<c8")]
        {
            let error = parse(&format!("{{'descr': {dtype}, 'fortran_order': False, 'shape': ()}}")).unwrap_err();
            assert!(error.to_string().contains(reason), "{error}");
        }
    }
}
