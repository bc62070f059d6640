//! Adds up calibrations: those of the parts of one text, made on several machines, or those of several texts.

use super::{Error, check_output};
use crate::calibration::{self, Calibration, Problem};
use crate::gguf::{self, File, GgmlType, TensorHeader, Value, Writer};
use std::path::{Path, PathBuf};

/// Calibrations of the parts of a text, or of several texts, to be one.
#[derive(Clone, Debug)]
pub struct Merge {
    /// A file of every part or of every text, in any order.
    pub parts: Vec<PathBuf>,
    /// The file that is written.
    pub output: PathBuf,
    /// Write over an existing file.
    pub overwrite: bool,
}

/// Why calibrations do not make one.
#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    /// A whole calibration alone, or with parts of one.
    #[error(
        "{}: is a whole calibration: it can be added to those of other texts, and not to parts; `tenpak-gguf calibrate --part 1/8` makes \
         the first of 8", .0.display()
    )]
    Whole(PathBuf),
    /// A text that would count twice.
    #[error("{}: has a text of {} too, which would count twice", path.display(), first.display())]
    SameText {
        /// The calibration.
        path: PathBuf,
        /// Another of the same text.
        first: PathBuf,
    },
    /// Parts that do not belong together.
    #[error(
        "{}: {what} is not that of {}; what is added up is made by the same command but for -o and --part or the text",
        path.display(), first.display()
    )]
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

const TEXT_NAME: &str = "gram.text.name";
const TEXT_SHA256: &str = "gram.text.sha256";
const TOKENS: &str = "gram.tokens";

/// Between the names and the SHA-256s of several texts.
const AND: &str = " + ";

/// Keys that differ between what is added up.
const DIFFERING: [&str; 3] = [TEXT_NAME, TEXT_SHA256, TOKENS];

/// What is added up.
struct Part {
    path: PathBuf,
    file: File,
    text: Text,
    /// Which part of how many it is, if it is not of the whole text.
    share: Option<(usize, usize)>,
    tokens: u64,
}

/// The text of a calibration.
#[derive(Clone, PartialEq)]
struct Text {
    name: String,
    sha256: String,
}

impl Merge {
    /// Writes the whole, and opens it.
    pub fn run(&self) -> Result<Calibration, Error> {
        check_output(&self.output, &self.parts, self.overwrite)?;
        let mut parts = self.parts.iter().map(|path| Part::open(path)).collect::<Result<Vec<_>, _>>()?;
        parts.sort_by_key(|part| part.share);
        check(&parts)?;
        let first = &parts[0];
        let text = Text::of_all(&parts);
        let tokens: u64 = parts.iter().map(|part| part.tokens).sum();
        let keys = first.file.keys().iter().map(|(key, value)| {
            let value = match &key[..] {
                TEXT_NAME => text.name.clone().into(),
                TEXT_SHA256 => text.sha256.clone().into(),
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
        let key = |key| file.key(key).and_then(Value::as_str).unwrap_or_default();
        let name = key(TEXT_NAME);
        let found = name.rsplit_once(", part ").and_then(|(text, numbers)| {
            let (number, of) = numbers.split_once(" of ")?;
            Some((text, (number.parse().ok()?, of.parse().ok()?)))
        });
        let (name, share) = found.map_or((name, None), |(text, share)| (text, Some(share)));
        let text = Text { name: name.to_owned(), sha256: key(TEXT_SHA256).to_owned() };
        let tokens = file.key(TOKENS).and_then(Value::as_u64).unwrap_or(0);
        Ok(Part { path: path.to_owned(), text, share, tokens, file })
    }
}

impl Text {
    /// The text that the parts are of; of several texts, all names and all SHA-256s.
    fn of_all(parts: &[Part]) -> Text {
        let first = &parts[0];
        if first.share.is_some() {
            return first.text.clone();
        }
        let joined =
            |of: fn(&Text) -> &str| parts.iter().map(|part| of(&part.text)).collect::<Vec<_>>().join(AND);
        Text { name: joined(|text| &text.name), sha256: joined(|text| &text.sha256) }
    }

    /// Whether a text is in both.
    fn overlaps(&self, other: &Text) -> bool {
        self.sha256.split(AND).any(|sha256| other.sha256.split(AND).any(|other| other == sha256))
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

/// Refuses calibrations that cannot be added up.
fn check(parts: &[Part]) -> Result<(), MergeError> {
    let first = &parts[0];
    let share = parts.iter().find_map(|part| part.share);
    if let Some(whole) = parts.iter().find(|part| part.share.is_none())
        && (share.is_some() || parts.len() == 1)
    {
        return Err(MergeError::Whole(whole.path.clone()));
    }
    for part in &parts[1..] {
        check_same(part, first)?;
    }
    if let Some(t) = first.file.tensors().iter().find(|t| t.kind != GgmlType::F32) {
        let what = format!("the type of `{}`, {}, is no sum; it", t.name, t.kind.name());
        return Err(MergeError::Differs { path: first.path.clone(), first: first.path.clone(), what });
    }
    match share {
        Some((_, of)) => check_numbers(parts, of),
        None => check_texts(parts),
    }
}

/// Refuses a calibration of another model, or with other keys or tensors.
fn check_same(part: &Part, first: &Part) -> Result<(), MergeError> {
    let differs =
        |what: String| MergeError::Differs { path: part.path.clone(), first: first.path.clone(), what };
    let keys = |part: &Part| {
        let keys = part.file.keys().iter().filter(|(key, _)| !DIFFERING.contains(&&key[..]));
        keys.cloned().collect::<Vec<_>>()
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
    Ok(())
}

/// Refuses a text that is there twice.
fn check_texts(parts: &[Part]) -> Result<(), MergeError> {
    for (i, part) in parts.iter().enumerate() {
        if let Some(first) = parts[..i].iter().find(|first| first.text.overlaps(&part.text)) {
            return Err(MergeError::SameText { path: part.path.clone(), first: first.path.clone() });
        }
    }
    Ok(())
}

/// Refuses what is not every part of one text, once.
fn check_numbers(parts: &[Part], of: usize) -> Result<(), MergeError> {
    let first = &parts[0];
    let is_other = |part: &&Part| part.text != first.text || part.share.is_some_and(|share| share.1 != of);
    if let Some(part) = parts.iter().find(is_other) {
        let what = "the text or the number of parts".into();
        return Err(MergeError::Differs { path: part.path.clone(), first: first.path.clone(), what });
    }
    for number in 1..=of {
        let how = match parts.iter().filter(|part| part.share == Some((number, of))).count() {
            0 => "missing",
            1 => continue,
            _ => "there more than once",
        };
        return Err(MergeError::Count { number, of, how });
    }
    Ok(())
}
