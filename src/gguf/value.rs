//! Values of keys.

/// The type of a value, with the number that files use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
#[allow(missing_docs)]
pub enum Kind {
    U8 = 0,
    I8 = 1,
    U16 = 2,
    I16 = 3,
    U32 = 4,
    I32 = 5,
    F32 = 6,
    Bool = 7,
    String = 8,
    Array = 9,
    U64 = 10,
    I64 = 11,
    F64 = 12,
}

impl Kind {
    const ALL: [Kind; 13] = [
        Kind::U8,
        Kind::I8,
        Kind::U16,
        Kind::I16,
        Kind::U32,
        Kind::I32,
        Kind::F32,
        Kind::Bool,
        Kind::String,
        Kind::Array,
        Kind::U64,
        Kind::I64,
        Kind::F64,
    ];

    /// The kind that a file's number means.
    pub fn from_u32(n: u32) -> Option<Kind> {
        Kind::ALL.get(n as usize).copied()
    }

    /// A number of the kind, as it stands in a file. Whoever has other values does not ask.
    pub(super) fn number(self, bytes: &[u8]) -> Value {
        fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
            bytes.try_into().expect("as long as the kind says")
        }
        match self {
            Kind::U8 => Value::U8(bytes[0]),
            Kind::I8 => Value::I8(bytes[0] as i8),
            Kind::U16 => Value::U16(u16::from_le_bytes(array(bytes))),
            Kind::I16 => Value::I16(i16::from_le_bytes(array(bytes))),
            Kind::U32 => Value::U32(u32::from_le_bytes(array(bytes))),
            Kind::I32 => Value::I32(i32::from_le_bytes(array(bytes))),
            Kind::F32 => Value::F32(f32::from_le_bytes(array(bytes))),
            Kind::Bool => Value::Bool(bytes[0] != 0),
            Kind::U64 => Value::U64(u64::from_le_bytes(array(bytes))),
            Kind::I64 => Value::I64(i64::from_le_bytes(array(bytes))),
            Kind::F64 => Value::F64(f64::from_le_bytes(array(bytes))),
            Kind::String | Kind::Array => unreachable!("no numbers"),
        }
    }

    /// Least bytes that a value of the kind takes in a file.
    pub(super) fn min_bytes(self) -> u64 {
        match self {
            Kind::U8 | Kind::I8 | Kind::Bool => 1,
            Kind::U16 | Kind::I16 => 2,
            Kind::U32 | Kind::I32 | Kind::F32 => 4,
            Kind::U64 | Kind::I64 | Kind::F64 | Kind::String => 8,
            Kind::Array => 12,
        }
    }
}

/// A value of a key.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Value {
    U8(u8),
    I8(i8),
    U16(u16),
    I16(i16),
    U32(u32),
    I32(i32),
    F32(f32),
    Bool(bool),
    String(String),
    /// A string that is not UTF-8, as some programs cut texts in the middle of a character.
    Bytes(Vec<u8>),
    /// Elements, all of the given kind.
    Array(Kind, Vec<Value>),
    /// Very many numbers of a kind, as they stand in a file.
    Numbers(Kind, Vec<u8>),
    U64(u64),
    I64(i64),
    F64(f64),
}

impl Value {
    /// The type of the value.
    pub fn kind(&self) -> Kind {
        match self {
            Value::U8(_) => Kind::U8,
            Value::I8(_) => Kind::I8,
            Value::U16(_) => Kind::U16,
            Value::I16(_) => Kind::I16,
            Value::U32(_) => Kind::U32,
            Value::I32(_) => Kind::I32,
            Value::F32(_) => Kind::F32,
            Value::Bool(_) => Kind::Bool,
            Value::String(_) | Value::Bytes(_) => Kind::String,
            Value::Array(..) | Value::Numbers(..) => Kind::Array,
            Value::U64(_) => Kind::U64,
            Value::I64(_) => Kind::I64,
            Value::F64(_) => Kind::F64,
        }
    }

    /// An array of strings.
    pub fn strings<S: Into<String>>(values: impl IntoIterator<Item = S>) -> Value {
        Value::Array(Kind::String, values.into_iter().map(|s| Value::String(s.into())).collect())
    }

    /// A non-negative integer of any width.
    pub fn as_u64(&self) -> Option<u64> {
        match *self {
            Value::U8(v) => Some(v.into()),
            Value::U16(v) => Some(v.into()),
            Value::U32(v) => Some(v.into()),
            Value::U64(v) => Some(v),
            Value::I8(v) => v.try_into().ok(),
            Value::I16(v) => v.try_into().ok(),
            Value::I32(v) => v.try_into().ok(),
            Value::I64(v) => v.try_into().ok(),
            _ => None,
        }
    }

    /// A float.
    pub fn as_f64(&self) -> Option<f64> {
        match *self {
            Value::F32(v) => Some(v.into()),
            Value::F64(v) => Some(v),
            _ => None,
        }
    }

    /// A string.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::String(s) => Some(s),
            _ => None,
        }
    }

    /// A truth value.
    pub fn as_bool(&self) -> Option<bool> {
        match *self {
            Value::Bool(b) => Some(b),
            _ => None,
        }
    }

    /// The elements of an array.
    pub fn as_array(&self) -> Option<&[Value]> {
        match self {
            Value::Array(_, values) => Some(values),
            _ => None,
        }
    }

    /// The numbers of [`Value::Numbers`]; none of other values.
    pub fn numbers(&self) -> impl Iterator<Item = Value> {
        let (kind, bytes) = match self {
            Value::Numbers(kind, bytes) => (*kind, &bytes[..]),
            _ => (Kind::U8, &[][..]),
        };
        bytes.chunks_exact(kind.min_bytes() as usize).map(move |bytes| kind.number(bytes))
    }

    /// The value as it stands in a file: its kind, then its bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = (self.kind() as u32).to_le_bytes().to_vec();
        self.write(&mut bytes);
        bytes
    }

    /// Appends the value as it stands in a file, without its kind.
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Value::U8(v) => out.extend(v.to_le_bytes()),
            Value::I8(v) => out.extend(v.to_le_bytes()),
            Value::U16(v) => out.extend(v.to_le_bytes()),
            Value::I16(v) => out.extend(v.to_le_bytes()),
            Value::U32(v) => out.extend(v.to_le_bytes()),
            Value::I32(v) => out.extend(v.to_le_bytes()),
            Value::F32(v) => out.extend(v.to_le_bytes()),
            Value::Bool(v) => out.push(*v as u8),
            Value::U64(v) => out.extend(v.to_le_bytes()),
            Value::I64(v) => out.extend(v.to_le_bytes()),
            Value::F64(v) => out.extend(v.to_le_bytes()),
            Value::String(s) => write_string(s.as_bytes(), out),
            Value::Bytes(bytes) => write_string(bytes, out),
            Value::Array(kind, values) => {
                out.extend((*kind as u32).to_le_bytes());
                out.extend((values.len() as u64).to_le_bytes());
                for v in values {
                    debug_assert_eq!(v.kind(), *kind);
                    v.write(out);
                }
            }
            Value::Numbers(kind, bytes) => {
                out.extend((*kind as u32).to_le_bytes());
                out.extend((bytes.len() as u64 / kind.min_bytes()).to_le_bytes());
                out.extend(bytes);
            }
        }
    }
}

pub(super) fn write_string(s: &[u8], out: &mut Vec<u8>) {
    out.extend((s.len() as u64).to_le_bytes());
    out.extend(s);
}

impl From<u32> for Value {
    fn from(v: u32) -> Self {
        Value::U32(v)
    }
}

impl From<f32> for Value {
    fn from(v: f32) -> Self {
        Value::F32(v)
    }
}

impl From<bool> for Value {
    fn from(v: bool) -> Self {
        Value::Bool(v)
    }
}

impl From<&str> for Value {
    fn from(v: &str) -> Self {
        Value::String(v.to_owned())
    }
}

impl From<String> for Value {
    fn from(v: String) -> Self {
        Value::String(v)
    }
}

/// Short, for tables: long strings and arrays are cut.
impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        const SHOWN: usize = 60;
        match self {
            Value::Bytes(bytes) => Value::String(String::from_utf8_lossy(bytes).into_owned()).fmt(f),
            Value::U8(v) => v.fmt(f),
            Value::I8(v) => v.fmt(f),
            Value::U16(v) => v.fmt(f),
            Value::I16(v) => v.fmt(f),
            Value::U32(v) => v.fmt(f),
            Value::I32(v) => v.fmt(f),
            Value::F32(v) => v.fmt(f),
            Value::Bool(v) => v.fmt(f),
            Value::U64(v) => v.fmt(f),
            Value::I64(v) => v.fmt(f),
            Value::F64(v) => v.fmt(f),
            Value::String(s) if s.chars().count() > SHOWN => {
                write!(f, "{:?}...", s.chars().take(SHOWN).collect::<String>())
            }
            Value::String(s) => write!(f, "{s:?}"),
            Value::Array(kind, values) => {
                write!(f, "[{}]{}", values.len(), format!("{kind:?}").to_lowercase())?;
                for v in values.iter().take(4) {
                    write!(f, " {v}")?;
                }
                if values.len() > 4 { write!(f, " ...") } else { Ok(()) }
            }
            Value::Numbers(kind, bytes) => {
                let count = bytes.len() as u64 / kind.min_bytes();
                write!(f, "[{count}]{} ...", format!("{kind:?}").to_lowercase())
            }
        }
    }
}
