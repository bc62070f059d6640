//! Which files of a folder hold its weights, told by their names.

use std::collections::{BTreeMap, BTreeSet};

/// What makes the name of a file that of its index.
pub const INDEX: &str = ".index.json";
/// Names that transformers looks for, in this order.
const USUAL: [&str; 2] = ["model.safetensors", "pytorch_model.bin"];
/// Begins of names of files that hold no weights of a model, or weights in another format.
const OTHERS: [&str; 5] = ["consolidated", "adapter_", "optimizer", "scheduler", "training_args"];

/// Files that hold a model together.
#[derive(Debug, PartialEq, Eq)]
pub enum Choice {
    /// One file.
    Single(String),
    /// The files that an index names.
    Index(String),
    /// Shards without an index, and their numbers that are not there.
    Shards { files: Vec<String>, missing: Vec<String> },
}

/// The files to take, of all names in a folder; `None` if there are no weights.
pub fn choose(names: &[String]) -> Result<Option<Choice>, String> {
    let has = |name: &str| names.iter().any(|n| n == name);
    for usual in USUAL {
        let index = format!("{usual}{INDEX}");
        let (stem, kind) = usual.split_once('.').expect("a name with an extension");
        if has(usual) {
            return Ok(Some(Choice::Single(usual.into())));
        }
        if has(&index) {
            return Ok(Some(Choice::Index(index)));
        }
        let sets = sets(names, kind);
        if let Some(choice) = one_of(sets.iter().filter(|set| set.stem == stem).collect())? {
            return Ok(Some(choice));
        }
        let indexes: Vec<_> = names.iter().filter(|n| n.ends_with(&format!(".{kind}{INDEX}"))).collect();
        if let [index] = indexes[..] {
            return Ok(Some(Choice::Index(index.clone())));
        }
        // Pickles of other names are mostly what a training run left.
        if kind == "safetensors"
            && let Some(choice) = one_of(sets.iter().collect())?
        {
            return Ok(Some(choice));
        }
    }
    Ok(None)
}

/// All names of files with weights of a model in any format.
pub fn all(names: &[String]) -> Vec<&String> {
    let is_weights = |name: &str| {
        let is_usual = ["pytorch_model", "consolidated"].iter().any(|begin| name.starts_with(begin));
        let is_index = name.ends_with(INDEX);
        match name.strip_suffix(INDEX).unwrap_or(name).rsplit_once('.') {
            Some((_, "safetensors")) => !is_other(name) || name.starts_with("consolidated") || is_index,
            Some((_, "bin" | "pth" | "pt")) => is_usual,
            _ => false,
        }
    };
    names.iter().filter(|name| is_weights(name)).collect()
}

fn is_other(name: &str) -> bool {
    OTHERS.iter().any(|begin| name.starts_with(begin))
}

/// Files whose names differ by a number only.
struct Set {
    /// What is before the number.
    stem: String,
    files: Vec<String>,
    missing: Vec<String>,
    /// Whether there is a number.
    is_numbered: bool,
}

/// The sets of files with an extension.
fn sets(names: &[String], extension: &str) -> Vec<Set> {
    let mut found: BTreeMap<(String, Option<usize>), BTreeMap<usize, String>> = BTreeMap::new();
    let mut alone = Vec::new();
    for name in names.iter().filter(|name| !is_other(name)) {
        let Some(base) = name.strip_suffix(extension).and_then(|b| b.strip_suffix('.')) else { continue };
        match numbered(base) {
            Some((stem, number, count)) => {
                found.entry((stem.into(), count)).or_default().insert(number, name.clone());
            }
            None => alone.push(Set {
                stem: base.into(),
                files: vec![name.clone()],
                missing: Vec::new(),
                is_numbered: false,
            }),
        }
    }
    for ((stem, count), files) in found {
        // A number at the end of one name is that of a version.
        if count.is_none() && files.len() == 1 {
            let files = files.into_values().collect();
            alone.push(Set { stem, files, missing: Vec::new(), is_numbered: false });
            continue;
        }
        let first = files.keys().next().copied().unwrap_or_default().min(1);
        let last = count.map_or(files.keys().last().copied().unwrap_or_default(), |count| count + first - 1);
        let name_of = |number: usize| {
            let other = files.values().next().expect("one file or more");
            // A separator is between stem and number.
            let (front, rest) = other.split_at(stem.len() + 1);
            let width = rest.bytes().take_while(u8::is_ascii_digit).count();
            format!("{front}{number:0width$}{}", &rest[width..])
        };
        let missing = (first..=last).filter(|n| !files.contains_key(n)).map(name_of).collect();
        alone.push(Set { stem, files: files.values().cloned().collect(), missing, is_numbered: true });
    }
    alone
}

/// `model-00001-of-00003` as `model`, 1 and 3; `weights.00` as `weights` and 0.
fn numbered(base: &str) -> Option<(&str, usize, Option<usize>)> {
    let number_at_end = |text: &'_ str| -> Option<(usize, usize)> {
        let digits = text.bytes().rev().take_while(u8::is_ascii_digit).count();
        let at = text.len() - digits;
        let is_separate = text[..at].ends_with(['-', '_', '.']);
        Some((at, text[at..].parse().ok()?)).filter(|_| is_separate)
    };
    let (at, last) = number_at_end(base)?;
    for of in ["-of-", "_of_"] {
        if let Some(front) = base[..at].strip_suffix(of) {
            let (at, number) = number_at_end(front)?;
            return Some((&front[..at - 1], number, Some(last)));
        }
    }
    Some((&base[..at - 1], last, None))
}

/// The only set, if there is one; an error if there are more.
fn one_of(sets: Vec<&Set>) -> Result<Option<Choice>, String> {
    let stems: BTreeSet<&str> = sets.iter().map(|set| set.stem.as_str()).collect();
    match sets[..] {
        [] => Ok(None),
        [set] if set.is_numbered => {
            Ok(Some(Choice::Shards { files: set.files.clone(), missing: set.missing.clone() }))
        }
        [set] => Ok(Some(Choice::Single(set.files[0].clone()))),
        _ => Err(format!(
            "there are weights of {} models here, and nothing says which is meant: {}; leave those of one in the folder{}",
            sets.len(),
            sets.iter().map(|set| format!("`{}`", set.files[0])).collect::<Vec<_>>().join(", "),
            if stems.len() > 1 { ", or name one model.safetensors" } else { "" }
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(names: &[&str]) -> Result<Option<Choice>, String> {
        choose(&names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>())
    }

    fn single(name: &str) -> Result<Option<Choice>, String> {
        Ok(Some(Choice::Single(name.into())))
    }

    fn shards(files: &[&str], missing: &[&str]) -> Result<Option<Choice>, String> {
        let owned = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect();
        Ok(Some(Choice::Shards { files: owned(files), missing: owned(missing) }))
    }

    #[test]
    fn the_order_of_transformers() {
        let index = "model.safetensors.index.json";
        let (a, b) = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors");
        assert_eq!(chosen(&["model.safetensors", a, b, index]), single("model.safetensors"));
        assert_eq!(chosen(&[a, b, index, "pytorch_model.bin"]), Ok(Some(Choice::Index(index.into()))));
        assert_eq!(chosen(&["pytorch_model.bin", "optimizer.bin"]), single("pytorch_model.bin"));
        assert_eq!(chosen(&["config.json", "consolidated.safetensors", "training_args.bin"]), Ok(None));
    }

    #[test]
    fn shards_of_any_naming() {
        let of = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];
        assert_eq!(chosen(&of), shards(&of, &[]));
        assert_eq!(chosen(&of[1..]), shards(&of[1..], &of[..1]));
        let quantized =
            ["gptq_model-4bit-128g-1-of-2.safetensors", "gptq_model-4bit-128g-2-of-2.safetensors"];
        assert_eq!(chosen(&quantized), shards(&quantized, &[]));
        let mlx = ["weights.00.safetensors", "weights.01.safetensors"];
        assert_eq!(chosen(&mlx), shards(&mlx, &[]));
        let gap = ["model_1.safetensors", "model_3.safetensors"];
        assert_eq!(chosen(&gap), shards(&gap, &["model_2.safetensors"]));
        let pickles = ["pytorch_model-00001-of-00001.bin"];
        assert_eq!(chosen(&pickles), shards(&pickles, &[]));
    }

    #[test]
    fn other_names() {
        assert_eq!(chosen(&["llama-2.safetensors"]), single("llama-2.safetensors"));
        assert_eq!(chosen(&["gptq_model-4bit-128g.safetensors"]), single("gptq_model-4bit-128g.safetensors"));
        let index = "gptq_model.safetensors.index.json";
        assert_eq!(chosen(&["x.safetensors", "y.safetensors", index]), Ok(Some(Choice::Index(index.into()))));
    }

    #[test]
    fn more_than_one_model_is_refused() {
        let error = chosen(&["a.safetensors", "b.safetensors"]).unwrap_err();
        assert!(error.contains("`a.safetensors`, `b.safetensors`") && error.contains("name one"), "{error}");
        let error =
            chosen(&["model-00001-of-00001.safetensors", "model-00001-of-00002.safetensors"]).unwrap_err();
        assert!(error.contains("2 models") && !error.contains("name one"), "{error}");
    }
}
