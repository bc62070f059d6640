//! The recipe of a file, from the types of its tensors.

use crate::gguf::{File, GgmlType, UPSTREAM_TYPES};
use crate::names::is_matrix;
use crate::plan::Recipe;
use crate::types;
use std::collections::BTreeMap;

/// Rules with which a conversion of the same model chooses the types that the file has, or nothing where rules cannot say them.
pub fn of(file: &File) -> Option<String> {
    let mut names = BTreeMap::<GgmlType, Vec<&str>>::new();
    for t in file.tensors().iter().filter(|t| is_matrix(&t.name, &t.shape)) {
        names.entry(t.kind).or_default().push(&t.name);
    }
    let mut text = String::from("about = \"the types that the file has\"\n");
    for (kind, names) in names {
        // Patterns and strings have signs of their own.
        if names.iter().any(|name| name.contains(['*', '?', '[', ']', '{', '}', '\\', '"'])) {
            return None;
        }
        let names: Vec<String> = names.iter().map(|name| format!("    \"{name}\",\n")).collect();
        let (word, names) = (word(kind), names.concat());
        text += &format!("\n[[rule]]\nnames = [\n{names}]\ntypes = [\"{word}\"]\noptional = true\n");
    }
    text += "\n[[rule]]\nwhy = \"what the file does not have\"\ntypes = [\"keep\", \"stored\"]\noptional = true\n";
    Recipe::parse("the recipe of the file", &text, &[]).ok().map(|_| text)
}

/// A type as recipes write it. Blocks that no quantizer of ours makes were there before.
fn word(kind: GgmlType) -> String {
    let name = kind.name();
    let is_made = types::by_name(&name).is_some() || UPSTREAM_TYPES.iter().any(|t| t.kind == kind);
    match kind {
        GgmlType::F32 | GgmlType::F16 | GgmlType::BF16 => name,
        _ if is_made => name,
        _ => "keep".to_owned(),
    }
}
