//! Names of files as the hub has them: `Model-T3-10x.gguf`.

use crate::gguf::{File, GgmlType};
use std::collections::BTreeMap;

/// The type that most weights of a file have.
pub fn main_type(file: &File) -> Option<GgmlType> {
    let mut weights = BTreeMap::<GgmlType, u64>::new();
    for t in file.tensors() {
        *weights.entry(t.kind).or_default() += t.elements();
    }
    weights.into_iter().max_by_key(|(_, weights)| *weights).map(|(kind, _)| kind)
}

/// What a type is called in the name of a file. Types that differ in nothing but the length of a block have one name.
pub fn type_label(kind: GgmlType) -> String {
    let name = kind.name();
    let is_ours = crate::types::by_name(&name).is_some();
    let family = if is_ours { name.split('_').next().unwrap_or(&name) } else { &name };
    family.to_uppercase()
}

/// `T3-10x`: the type that most weights have, and how many times smaller than FP32 the released file is.
pub fn label(file: &File, times_smaller: f64) -> String {
    let kind = main_type(file).map_or_else(|| "EMPTY".to_owned(), type_label);
    format!("{kind}-{}x", times(times_smaller))
}

/// A whole number from ten on, with one digit more below.
fn times(times: f64) -> String {
    let tenths = (10.0 * times).round() / 10.0;
    if tenths >= 10.0 || tenths.fract() == 0.0 { format!("{times:.0}") } else { format!("{tenths:.1}") }
}

/// A name without what file systems and addresses do not take.
pub fn file_name(name: &str) -> String {
    let kept = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' };
    let name: String = name.chars().map(kept).collect();
    let name = name.trim_matches(['.', '-']);
    if name.is_empty() { "model".to_owned() } else { name.to_owned() }
}

/// Whether a name is one of the hub: `ORGANIZATION/NAME`.
pub fn is_hub_name(name: &str) -> bool {
    let is_part = |part: &str| !part.is_empty() && part == file_name(part) && part.len() <= 96;
    name.split_once('/').is_some_and(|(organization, name)| is_part(organization) && is_part(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors_are_short() {
        let shown = [10.45, 10.0, 9.97, 9.94, 7.88, 8.02, 1.0].map(times);
        assert_eq!(shown, ["10", "10", "10", "9.9", "7.9", "8", "1"]);
    }

    #[test]
    fn names_are_those_that_everything_takes() {
        assert_eq!(file_name("Smol LM/2 é"), "Smol-LM-2");
        assert_eq!((&file_name("../..")[..], &file_name("")[..]), ("model", "model"));
        assert_eq!(type_label(GgmlType(515)), "T2");
        assert_eq!(type_label(GgmlType(520)), "G4");
        assert_eq!(type_label(GgmlType(12)), "Q4_K");
        for (name, is) in [
            ("org/Model-1.5B", true),
            ("Model", false),
            ("org/", false),
            ("a/b/c", false),
            ("../x", false),
            ("o/a b", false),
        ] {
            assert_eq!(is_hub_name(name), is, "{name}");
        }
    }
}
