//! Pickles that describe tensors.
//!
//! A pickle is a program. This one runs on a machine that knows tensors and nothing else: of the names that it may
//! call ([`Callable`]) none does more than describe a tensor, and any other is refused.
//!
//! Reference: Python's `pickletools`, and torch's `torch/_utils.py`.

use super::dtype::Dtype;
use std::collections::HashMap;

/// Values of all kinds; a file with more is none of weights.
const MAX_VALUES: usize = 1 << 22;
/// Dimensions of a tensor.
const MAX_DIMS: usize = 8;

/// A stored run of elements.
#[derive(Clone, Debug)]
pub struct Storage<'a> {
    /// Name of the file that holds it.
    pub key: &'a str,
    /// Type of its elements, or the name of one that cannot be converted.
    pub dtype: Result<Dtype, String>,
    /// Bytes of an element.
    pub bytes: usize,
}

/// A view of a storage.
#[derive(Clone, Debug)]
pub struct Tensor<'a> {
    pub storage: Storage<'a>,
    /// Its first element in the storage.
    pub offset: u64,
    pub shape: Vec<u64>,
    pub strides: Vec<u64>,
}

/// What a pickle may call.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Callable {
    /// `collections.OrderedDict`
    OrderedDict,
    /// `torch._utils._rebuild_tensor_v2`
    RebuildTensor,
    /// `torch._utils._rebuild_parameter`
    RebuildParameter,
    /// `torch.FloatStorage` and the like, with the name of the elements and their bytes.
    Storage(&'static str, usize),
}

/// Storages by torch's names.
const STORAGES: &[(&str, usize)] = &[
    ("FloatStorage", 4),
    ("HalfStorage", 2),
    ("BFloat16Storage", 2),
    ("DoubleStorage", 8),
    ("LongStorage", 8),
    ("IntStorage", 4),
    ("ShortStorage", 2),
    ("CharStorage", 1),
    ("ByteStorage", 1),
    ("BoolStorage", 1),
];

impl Callable {
    fn of(module: &str, name: &str) -> Result<Callable, String> {
        let storage = STORAGES.iter().find(|(s, _)| module == "torch" && *s == name);
        match (module, name, storage) {
            ("collections", "OrderedDict", _) => Ok(Callable::OrderedDict),
            ("torch._utils", "_rebuild_tensor_v2", _) => Ok(Callable::RebuildTensor),
            ("torch._utils", "_rebuild_parameter", _) => Ok(Callable::RebuildParameter),
            (_, _, Some((name, bytes))) => Ok(Callable::Storage(name, *bytes)),
            _ => Err(format!(
                "the pickle asks for `{module}.{name}`, which is nothing that weights need: refused. Do not load such a \
                 file anywhere unless you trust where it came from; then save its weights as safetensors"
            )),
        }
    }
}

/// A value; tables and the like are kept in [`Pickle`], by number, so that no nesting of them has a depth.
#[derive(Clone, Copy, Debug)]
pub enum Value<'a> {
    /// What tensors are not made of.
    Other,
    Int(i64),
    Text(&'a str),
    Tuple(usize),
    List,
    Table(usize),
    Callable(Callable),
    Storage(usize),
    Tensor(usize),
    Mark,
}

/// A pickle and what it has made.
pub struct Pickle<'a> {
    /// The value of the whole.
    pub result: Value<'a>,
    /// Keys and values.
    pub tables: Vec<Vec<(Value<'a>, Value<'a>)>>,
    pub tensors: Vec<Tensor<'a>>,
    storages: Vec<Storage<'a>>,
    tuples: Vec<Vec<Value<'a>>>,
    bytes: &'a [u8],
    at: usize,
    stack: Vec<Value<'a>>,
    memo: HashMap<u32, Value<'a>>,
    /// Values that tables and tuples hold.
    held: usize,
}

impl<'a> Pickle<'a> {
    /// Runs a pickle to its end.
    pub fn run(bytes: &'a [u8]) -> Result<Pickle<'a>, String> {
        let mut pickle = Pickle {
            result: Value::Other,
            tables: Vec::new(),
            tensors: Vec::new(),
            storages: Vec::new(),
            tuples: Vec::new(),
            bytes,
            at: 0,
            stack: Vec::new(),
            memo: HashMap::new(),
            held: 0,
        };
        while !pickle.step()? {
            let made =
                pickle.tables.len() + pickle.tuples.len() + pickle.storages.len() + pickle.tensors.len();
            if pickle.stack.len() + pickle.memo.len() + pickle.held + made > MAX_VALUES {
                return Err("the pickle has more values than weights can need: refused".into());
            }
        }
        Ok(pickle)
    }

    /// Runs one instruction and says whether it was the last.
    fn step(&mut self) -> Result<bool, String> {
        let [code] = *self.take(1)? else { unreachable!("one byte") };
        match code {
            // PROTO, FRAME
            0x80 => drop(self.take(1)?),
            0x95 => drop(self.take(8)?),
            b'.' => {
                self.result = self.pop()?;
                return Ok(true);
            }
            b'(' => self.stack.push(Value::Mark),
            b'0' => drop(self.pop()?),
            b'1' => drop(self.pop_to_mark()?),
            // Constants.
            b'N' | 0x88 | 0x89 => self.stack.push(Value::Other),
            b'J' => {
                let n = i32::from_le_bytes(self.array()?);
                self.stack.push(Value::Int(n.into()));
            }
            b'K' => {
                let [n] = self.array()?;
                self.stack.push(Value::Int(n.into()));
            }
            b'M' => {
                let n = u16::from_le_bytes(self.array()?);
                self.stack.push(Value::Int(n.into()));
            }
            0x8a => self.long()?,
            b'G' => {
                self.take(8)?;
                self.stack.push(Value::Other);
            }
            b'X' => {
                let n = u32::from_le_bytes(self.array()?);
                self.text(n as usize)?;
            }
            0x8c => {
                let [n] = self.array()?;
                self.text(n.into())?;
            }
            // Tuples, lists, tables.
            b')' => self.tuple(Vec::new()),
            b't' => {
                let values = self.pop_to_mark()?;
                self.tuple(values);
            }
            0x85..=0x87 => {
                let n = (code - 0x84) as usize;
                let start = self.stack.len().checked_sub(n).ok_or_else(damaged)?;
                let values = self.stack.split_off(start);
                self.tuple(values);
            }
            b']' => self.stack.push(Value::List),
            b'a' => drop(self.pop()?),
            b'e' => drop(self.pop_to_mark()?),
            b'}' => self.table(),
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.entries()?.push((key, value));
                self.held += 1;
            }
            b'u' => {
                let values = self.pop_to_mark()?;
                self.entries()?.extend(values.chunks_exact(2).map(|pair| (pair[0], pair[1])));
                self.held += values.len();
            }
            // Memo.
            b'q' => {
                let [n] = self.array()?;
                self.remember(n.into())?;
            }
            b'r' => {
                let n = u32::from_le_bytes(self.array()?);
                self.remember(n)?;
            }
            0x94 => self.remember(self.memo.len() as u32)?,
            b'h' => {
                let [n] = self.array()?;
                self.recall(n.into())?;
            }
            b'j' => {
                let n = u32::from_le_bytes(self.array()?);
                self.recall(n)?;
            }
            // Names and calls.
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.stack.push(Value::Callable(Callable::of(module, name)?));
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let (Value::Text(name), Value::Text(module)) = (name, module) else { return Err(damaged()) };
                self.stack.push(Value::Callable(Callable::of(module, name)?));
            }
            b'Q' => self.persistent()?,
            b'R' => self.call()?,
            // State of a table: torch's notes on versions, of no use here.
            b'b' => {
                self.pop()?;
                self.entries()?;
            }
            other => {
                return Err(format!(
                    "the pickle has the instruction 0x{other:02x}, which weights do not need: refused. Save the model \
                     again as safetensors"
                ));
            }
        }
        Ok(false)
    }

    fn take(&mut self, n: usize) -> Result<&'a [u8], String> {
        let taken = self.bytes.get(self.at..).and_then(|rest| rest.get(..n)).ok_or_else(damaged)?;
        self.at += n;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        Ok(self.take(N)?.try_into().expect("as many as asked for"))
    }

    fn line(&mut self) -> Result<&'a str, String> {
        let rest = &self.bytes[self.at..];
        let n = rest.iter().position(|b| *b == b'\n').ok_or_else(damaged)?;
        self.at += n + 1;
        std::str::from_utf8(&rest[..n]).map_err(|_| damaged())
    }

    fn text(&mut self, n: usize) -> Result<(), String> {
        let text = std::str::from_utf8(self.take(n)?).map_err(|_| damaged())?;
        self.stack.push(Value::Text(text));
        Ok(())
    }

    /// An integer of up to eight bytes.
    fn long(&mut self) -> Result<(), String> {
        let [n] = self.array()?;
        let bytes = self.take(n.into())?;
        if bytes.len() > 8 {
            return Err(damaged());
        }
        let negative = bytes.last().is_some_and(|b| b & 0x80 != 0);
        let mut all = if negative { [0xff; 8] } else { [0; 8] };
        all[..bytes.len()].copy_from_slice(bytes);
        self.stack.push(Value::Int(i64::from_le_bytes(all)));
        Ok(())
    }

    fn pop(&mut self) -> Result<Value<'a>, String> {
        self.stack.pop().ok_or_else(damaged)
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Value<'a>>, String> {
        let mark = self.stack.iter().rposition(|v| matches!(v, Value::Mark)).ok_or_else(damaged)?;
        let values = self.stack.split_off(mark + 1);
        self.stack.pop();
        Ok(values)
    }

    fn tuple(&mut self, values: Vec<Value<'a>>) {
        self.stack.push(Value::Tuple(self.tuples.len()));
        self.held += values.len();
        self.tuples.push(values);
    }

    fn table(&mut self) {
        self.stack.push(Value::Table(self.tables.len()));
        self.tables.push(Vec::new());
    }

    /// The entries of the table on top of the stack.
    fn entries(&mut self) -> Result<&mut Vec<(Value<'a>, Value<'a>)>, String> {
        match self.stack.last() {
            Some(Value::Table(table)) => Ok(&mut self.tables[*table]),
            _ => Err(damaged()),
        }
    }

    fn remember(&mut self, n: u32) -> Result<(), String> {
        self.memo.insert(n, *self.stack.last().ok_or_else(damaged)?);
        Ok(())
    }

    fn recall(&mut self, n: u32) -> Result<(), String> {
        self.stack.push(*self.memo.get(&n).ok_or_else(damaged)?);
        Ok(())
    }

    /// `("storage", type, key, device, elements)`
    fn persistent(&mut self) -> Result<(), String> {
        let Value::Tuple(id) = self.pop()? else { return Err(damaged()) };
        let [Value::Text("storage"), Value::Callable(Callable::Storage(name, bytes)), Value::Text(key), ..] =
            &self.tuples[id][..]
        else {
            return Err(damaged());
        };
        let dtype = match *name {
            "DoubleStorage" => Ok(Dtype::F64),
            "FloatStorage" => Ok(Dtype::F32),
            "HalfStorage" => Ok(Dtype::F16),
            "BFloat16Storage" => Ok(Dtype::BF16),
            other => Err(other.trim_end_matches("Storage").to_owned()),
        };
        self.stack.push(Value::Storage(self.storages.len()));
        self.storages.push(Storage { key, dtype, bytes: *bytes });
        Ok(())
    }

    fn call(&mut self) -> Result<(), String> {
        let (arguments, callable) = (self.pop()?, self.pop()?);
        let (Value::Tuple(arguments), Value::Callable(callable)) = (arguments, callable) else {
            return Err(damaged());
        };
        match (callable, &self.tuples[arguments][..]) {
            (Callable::OrderedDict, []) => self.table(),
            (
                Callable::RebuildTensor,
                [Value::Storage(storage), Value::Int(offset), Value::Tuple(shape), Value::Tuple(strides), ..],
            ) => {
                let offset = u64::try_from(*offset).map_err(|_| damaged())?;
                let (shape, strides) = (extents(&self.tuples[*shape])?, extents(&self.tuples[*strides])?);
                if shape.len() != strides.len() {
                    return Err(damaged());
                }
                let storage = self.storages[*storage].clone();
                self.stack.push(Value::Tensor(self.tensors.len()));
                self.tensors.push(Tensor { storage, offset, shape, strides });
            }
            (Callable::RebuildParameter, [tensor @ Value::Tensor(_), ..]) => self.stack.push(*tensor),
            _ => return Err(damaged()),
        }
        Ok(())
    }
}

fn extents(values: &[Value]) -> Result<Vec<u64>, String> {
    let extent = |v: &Value| match v {
        Value::Int(n) => u64::try_from(*n).ok(),
        _ => None,
    };
    if values.len() > MAX_DIMS {
        return Err(damaged());
    }
    values.iter().map(extent).collect::<Option<Vec<u64>>>().ok_or_else(damaged)
}

fn damaged() -> String {
    "data.pkl in it is damaged or not one of weights: fetch it again".into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(pickle: &[u8], words: &[&str]) {
        let Err(e) = Pickle::run(pickle) else { panic!("this should have been an error") };
        for word in words {
            assert!(e.contains(word), "{e:?} does not say {word:?}");
        }
    }

    #[test]
    fn other_names_are_refused() {
        refused(b"\x80\x02cos\nsystem\nX\x04\0\0\0true\x85R.", &["`os.system`", "refused"]);
        refused(b"\x80\x04\x8c\x05posix\x8c\x06system\x93.", &["`posix.system`", "refused"]);
        refused(b"cbuiltins\neval\n.", &["`builtins.eval`"]);
        refused(b"ctorch\nload\n.", &["`torch.load`"]);
        refused(b"ctorch._utils\n_rebuild_tensor_v3\n.", &["`torch._utils._rebuild_tensor_v3`"]);
    }

    #[test]
    fn other_instructions_are_refused() {
        // INST, OBJ, NEWOBJ, EXT1.
        for (pickle, code) in
            [(&b"(ios\nsystem\n."[..], "0x69"), (b"(o.", "0x6f"), (b"\x81.", "0x81"), (b"\x82\x01.", "0x82")]
        {
            refused(pickle, &["instruction", code, "refused"]);
        }
        // BUILD of what is no table.
        refused(b"K\x01}b.", &["damaged"]);
    }

    #[test]
    fn calls_with_other_arguments_are_refused() {
        refused(b"ctorch._utils\n_rebuild_tensor_v2\n)R.", &["damaged"]);
        refused(b"ccollections\nOrderedDict\nK\x01\x85R.", &["damaged"]);
        refused(b"X\x07\0\0\0storage\x85Q.", &["damaged"]);
    }

    #[test]
    fn values_within_values_have_no_depth() {
        // A million tuples, each in the next.
        let deep = [&b")"[..], &vec![0x85; 1_000_000], b"."].concat();
        assert!(Pickle::run(&deep).is_ok());
        refused(&vec![b'N'; MAX_VALUES + 2], &["more values"]);
    }

    #[test]
    fn a_table_may_hold_itself() {
        let pickle = Pickle::run(b"}q\x00X\x01\0\0\0ah\x00s.").unwrap();
        assert_eq!(pickle.tables[0].len(), 1);
    }
}
