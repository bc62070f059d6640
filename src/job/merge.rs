//! Adds up calibrations that were made of parts of one text, on several machines.

use super::{Error, check_output};
use crate::calibration::{self, Calibration, Problem};
use crate::gguf::{self, File, GgmlType, TensorHeader, Value, Writer};
use std::path::{Path, PathBuf};

/// Calibrations of the parts of a text, to be one.
#[derive(Clone, Debug)]
pub struct Merge {
    /// A file of every part, in any order.
    pub parts: Vec<PathBuf>,
    /// The file that is written.
    pub output: PathBuf,
    /// Write over an existing file.
    pub overwrite: bool,
}

/// Why parts are no whole.
#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    /// Not a part.
    #[error("{}: is no part of a calibration: `tenpak-gguf calibrate --part 1/8` makes the first of 8", .0.display())]
    NoPart(PathBuf),
    /// Parts that do not belong together.
    #[error("{}: {what} is not that of {}; parts are made by the same command but for --part and -o", path.display(), first.display())]
    Differs {
        /// The part.
        path: PathBuf,
        /// Another part.
        first: PathBuf,
        /// What differs.
        what: String,
    },
    /// A part that is missing or given twice.
    #[error("part {number} of {of} is {how}")]
    Count {
        /// The part, counted from 1.
        number: usize,
        /// How many there are.
        of: usize,
        /// How it is there.
        how: &'static str,
    },
}

/// Keys that differ between parts.
const TEXT_NAME: &str = "gram.text.name";
const TOKENS: &str = "gram.tokens";

/// A part.
struct Part {
    path: PathBuf,
    file: File,
    /// The name of the text, and which part of how many it is.
    text: String,
    number: usize,
    of: usize,
    tokens: u64,
}

impl Merge {
    /// Writes the whole, and opens it.
    pub fn run(&self) -> Result<Calibration, Error> {
        check_output(&self.output, &self.parts, self.overwrite)?;
        let mut parts = self.parts.iter().map(|path| Part::open(path)).collect::<Result<Vec<_>, _>>()?;
        parts.sort_by_key(|part| part.number);
        check(&parts)?;
        let first = &parts[0];
        let tokens: u64 = parts.iter().map(|part| part.tokens).sum();
        let keys = first.file.keys().iter().map(|(key, value)| {
            let value = match &key[..] {
                TEXT_NAME => first.text.clone().into(),
                TOKENS => Value::U64(tokens),
                _ => value.clone(),
            };
            (key.clone(), value)
        });
        let headers = first.file.tensors().iter().map(|t| TensorHeader {
            name: t.name.clone(),
            shape: t.shape.clone(),
            kind: t.kind,
            bytes: t.bytes(),
        });
        let writer = Writer::create(&self.output, &keys.collect::<Vec<_>>(), headers.collect())?;
        let mut writer = if self.overwrite { writer } else { writer.keep_existing() };
        for (i, t) in first.file.tensors().iter().enumerate() {
            let how = How::of(&t.name);
            /// Values that are added up at a time.
            const AT_ONCE: usize = 1 << 20;
            let data: Vec<&[u8]> =
                parts.iter().map(|part| part.file.data(&part.file.tensors()[i])).collect::<Result<_, _>>()?;
            let mut at = 0;
            while at < data[0].len() {
                let end = data[0].len().min(at + 4 * AT_ONCE);
                let sums = how.together(&parts, &data, at..end, tokens);
                writer.write(&sums.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>())?;
                at = end;
            }
        }
        parts.iter().try_for_each(|part| part.file.check_unchanged())?;
        writer.finish()?;
        Ok(Calibration::open(&self.output)?)
    }
}

/// How the values of a tensor make that of the whole.
#[derive(Clone, Copy)]
enum How {
    /// Sums over tokens.
    Sum,
    /// Means over tokens.
    Mean,
    /// Standard errors of means over tokens.
    ErrorOfMean,
}

impl How {
    fn of(name: &str) -> How {
        match name {
            "sensitivity.error" => How::ErrorOfMean,
            name if name.starts_with("sensitivity.") => How::Mean,
            _ => How::Sum,
        }
    }

    fn together(
        self,
        parts: &[Part],
        data: &[&[u8]],
        bytes: std::ops::Range<usize>,
        tokens: u64,
    ) -> Vec<f32> {
        let mut sums = vec![0.0f64; bytes.len() / 4];
        for (part, data) in parts.iter().zip(data) {
            let share = part.tokens as f64 / tokens as f64;
            for (sum, bytes) in sums.iter_mut().zip(data[bytes.clone()].chunks_exact(4)) {
                let value = f64::from(f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]));
                *sum += match self {
                    How::Sum => value,
                    How::Mean => share * value,
                    How::ErrorOfMean => (share * value).powi(2),
                };
            }
        }
        let last = |sum: f64| if matches!(self, How::ErrorOfMean) { sum.sqrt() as f32 } else { sum as f32 };
        sums.into_iter().map(last).collect()
    }
}

impl Part {
    fn open(path: &Path) -> Result<Part, Error> {
        // What a calibration may not be is said as of any other.
        Calibration::open(path)?;
        let file = File::open(path)?;
        if let Some(name) = unfinished(&file)? {
            return Err(calibration::Error::Content {
                path: path.to_owned(),
                problem: Problem::Unfinished(name),
            }
            .into());
        }
        let name = file.key(TEXT_NAME).and_then(Value::as_str).unwrap_or_default();
        let found = name.rsplit_once(", part ").and_then(|(text, numbers)| {
            let (number, of) = numbers.split_once(" of ")?;
            Some((text.to_owned(), number.parse().ok()?, of.parse().ok()?))
        });
        let (text, number, of) = found.ok_or_else(|| MergeError::NoPart(path.to_owned()))?;
        let tokens = file.key(TOKENS).and_then(Value::as_u64).unwrap_or(0);
        Ok(Part { path: path.to_owned(), text, number, of, tokens, file })
    }
}

/// A tensor that the collector did not come to: its values, or those of its counts, begin with -1.
fn unfinished(file: &File) -> Result<Option<String>, gguf::Error> {
    for t in file.tensors() {
        let is_marked = t.name.ends_with(".counts") || t.name.starts_with("sensitivity.");
        let is_open = |bytes: &[u8]| bytes == (-1.0f32).to_le_bytes();
        if is_marked && file.data(t)?.chunks_exact(4).any(is_open) {
            return Ok(Some(t.name.clone()));
        }
    }
    Ok(None)
}

/// Refuses parts that are not those of one calibration.
fn check(parts: &[Part]) -> Result<(), MergeError> {
    let first = &parts[0];
    for part in &parts[1..] {
        let differs =
            |what: String| MergeError::Differs { path: part.path.clone(), first: first.path.clone(), what };
        if (&part.text, part.of) != (&first.text, first.of) {
            return Err(differs("the text or the number of parts".into()));
        }
        let keys = |part: &Part| {
            part.file
                .keys()
                .iter()
                .filter(|(key, _)| key != TEXT_NAME && key != TOKENS)
                .cloned()
                .collect::<Vec<_>>()
        };
        let (ours, theirs) = (keys(part), keys(first));
        if let Some((key, _)) = ours.iter().zip(&theirs).find(|(a, b)| a != b).map(|(a, _)| a) {
            return Err(differs(format!("`{key}`")));
        }
        let tensors = |part: &Part| {
            part.file.tensors().iter().map(|t| (t.name.clone(), t.shape.clone(), t.kind)).collect::<Vec<_>>()
        };
        if ours.len() != theirs.len() || tensors(part) != tensors(first) {
            return Err(differs("what was measured".into()));
        }
    }
    if let Some(t) = first.file.tensors().iter().find(|t| t.kind != GgmlType::F32) {
        let what = format!("the type of `{}`, {}, is no sum; it", t.name, t.kind.name());
        return Err(MergeError::Differs { path: first.path.clone(), first: first.path.clone(), what });
    }
    for number in 1..=first.of {
        let how = match parts.iter().filter(|part| part.number == number).count() {
            0 => "missing",
            1 => continue,
            _ => "there more than once",
        };
        return Err(MergeError::Count { number, of: first.of, how });
    }
    Ok(())
}
