//! Changes of valid files, by which most of a file stays valid.

use bolero::TypeGenerator;

/// Texts that stand where a value was: of JSON, TOML, YAML.
const TEXTS: [&str; 32] = [
    "null",
    "true",
    "false",
    "0",
    "-1",
    "1",
    "255",
    "65537",
    "4294967296",
    "18446744073709551615",
    "18446744073709551616",
    "-9223372036854775808",
    "1e308",
    "1e999",
    "-0.0",
    "NaN",
    "Infinity",
    "\"\"",
    "\"a\"",
    "\"\\u0000\"",
    "\"\\ud800\"",
    "\"../../x\"",
    "\"/etc/passwd\"",
    "\"*\"",
    "\"silu\"",
    "\"F32\"",
    "[]",
    "{}",
    "[[[[[[[[]]]]]]]]",
    "[0, 18446744073709551615]",
    "{\"a\": {\"a\": {\"a\": 1}}}",
    "\"\\u2581\\u2581\\u2581\\u2581\\u2581\\u2581\\u2581\\u2581\"",
];

/// Numbers that counts, lengths and offsets become.
const NUMBERS: [u64; 16] = [
    0,
    1,
    2,
    7,
    8,
    31,
    32,
    0x7f,
    0xff,
    0xffff,
    0x7fff_ffff,
    0xffff_ffff,
    0x1_0000_0000,
    0x7fff_ffff_ffff_ffff,
    0xffff_ffff_ffff_fff8,
    u64::MAX,
];

/// One change. A place is taken modulo the length of the file.
#[derive(Clone, Debug, TypeGenerator)]
pub enum Edit {
    /// Another byte.
    Byte { at: u32, value: u8 },
    /// A number of 4 or 8 bytes, lowest first, of those that break sums.
    Number { at: u32, which: u8, long: bool },
    /// The value of a number of 8 bytes, a little changed.
    Sum { at: u32, more: i8 },
    /// The scalar of a text that follows becomes another value.
    Value { at: u32, which: u8 },
    /// Some bytes are not there.
    Remove { at: u32, len: u8 },
    /// Some bytes stand in another place too.
    Copy { from: u32, to: u32, len: u8 },
    /// Some bytes come again and again.
    Repeat { at: u32, len: u8, times: u8 },
    /// The file ends.
    Cut { at: u32 },
}

impl Edit {
    /// Makes the change.
    pub fn apply(&self, file: &mut Vec<u8>) {
        if file.is_empty() {
            return;
        }
        let all = file.len();
        let place = |at: u32| at as usize % all;
        let span = |at: u32, len: u8| place(at)..(place(at) + len as usize).min(all);
        match *self {
            Edit::Byte { at, value } => file[place(at)] = value,
            Edit::Number { at, which, long } => {
                let value = NUMBERS[which as usize % NUMBERS.len()].to_le_bytes();
                let to = &mut file[span(at, if long { 8 } else { 4 })];
                to.copy_from_slice(&value[..to.len()]);
            }
            Edit::Sum { at, more } => {
                let to = &mut file[span(at, 8)];
                let mut value = [0; 8];
                value[..to.len()].copy_from_slice(to);
                let value = u64::from_le_bytes(value).wrapping_add_signed(more.into()).to_le_bytes();
                to.copy_from_slice(&value[..to.len()]);
            }
            Edit::Value { at, which } => {
                let is_before = |b: &u8| b":[,=".contains(b);
                let Some(from) = file[place(at)..].iter().position(is_before) else { return };
                let from = place(at) + from + 1;
                let to = file[from..].iter().position(|b| b",]}\n".contains(b)).map_or(all, |n| from + n);
                file.splice(from..to, TEXTS[which as usize % TEXTS.len()].bytes());
            }
            Edit::Remove { at, len } => drop(file.drain(span(at, len))),
            Edit::Copy { from, to, len } => {
                let bytes = file[span(from, len)].to_vec();
                let to = place(to);
                file.splice(to..to, bytes);
            }
            Edit::Repeat { at, len, times } => {
                let span = span(at, len);
                let bytes = file[span.clone()].repeat(times as usize);
                file.splice(span.end..span.end, bytes);
            }
            Edit::Cut { at } => file.truncate(place(at)),
        }
    }
}

/// So many changes of a file, at most: each one more makes it likelier that the first check refuses it.
const MOST_EDITS: usize = 6;

/// How a file is changed.
#[derive(Clone, Debug, TypeGenerator)]
pub struct Edits {
    count: u8,
    all: [Edit; MOST_EDITS],
}

impl Edits {
    /// A file with these changes, one to [`MOST_EDITS`].
    pub fn of(&self, file: &[u8]) -> Vec<u8> {
        let mut file = file.to_vec();
        self.all[..=self.count as usize % MOST_EDITS].iter().for_each(|edit| edit.apply(&mut file));
        file
    }
}

#[test]
fn edits_are_what_they_are_called() {
    let json = br#"{"a": 1, "b": [2, 3]}"#;
    let with = |edit: Edit| {
        let mut file = json.to_vec();
        edit.apply(&mut file);
        String::from_utf8(file).unwrap()
    };
    assert_eq!(with(Edit::Value { at: 0, which: 4 }), r#"{"a":-1, "b": [2, 3]}"#);
    assert_eq!(with(Edit::Cut { at: 3 }), r#"{"a"#.to_owned());
    assert_eq!(with(Edit::Remove { at: 1, len: 8 }), r#"{"b": [2, 3]}"#);
    assert_eq!(with(Edit::Repeat { at: 6, len: 1, times: 3 }), r#"{"a": 1111, "b": [2, 3]}"#);
    assert_eq!(with(Edit::Copy { from: 15, to: 15, len: 3 }), r#"{"a": 1, "b": [2, 2, 3]}"#);
    let mut number = 5u64.to_le_bytes().to_vec();
    Edit::Sum { at: 0, more: -1 }.apply(&mut number);
    assert_eq!(number, 4u64.to_le_bytes());
    Edit::Number { at: 0, which: 15, long: false }.apply(&mut number);
    assert_eq!(number, 0xffff_ffffu64.to_le_bytes());
}
