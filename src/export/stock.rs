//! The same file with the ids that an unpatched llama.cpp reads which has libggml-tenpak.so; docs/stock-builds.md.

use super::error::{Error, unsupported};
use super::rows::check_adapter;
use crate::gguf::{File, GgmlType, Tensor, TensorHeader, Writer};
use crate::names::Role;
use crate::types;
use std::path::Path;

/// Ids of types that ggml once had and has no more, and which of ours have them. ggml-patches/stock/tenpak-backend.c has the same.
const STOCK_IDS: [(&str, u32); 6] = [("t2", 4), ("t25", 5), ("t3", 31), ("t35", 33), ("t4", 36), ("t5", 37)];

/// Writes the file with other ids of its types; nothing else differs.
pub fn to_stock_ids(
    file: &File,
    path: &Path,
    replaces: bool,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<u64, Error> {
    check_adapter(file)?;
    let header = |t: &Tensor| {
        let kind = stock_kind(t.kind, Role::of(&t.name) == Role::Embeddings)
            .map_err(|problem| unsupported(file, format!("tensor `{}` {problem}", t.name)))?;
        Ok(TensorHeader {
            name: t.name.clone(),
            shape: t.shape.clone(),
            kind,
            bytes: file.data(t)?.len() as u64,
        })
    };
    let headers = file.tensors().iter().map(header).collect::<Result<Vec<_>, Error>>()?;
    if headers.iter().zip(file.tensors()).all(|(new, old)| new.kind == old.kind) {
        return Err(unsupported(file, "no tensor is in a type of ours: any llama.cpp reads it as it is"));
    }
    let writer = Writer::create(path, file.keys(), headers)?;
    let mut writer = if replaces { writer } else { writer.keep_existing() };
    for t in file.tensors() {
        writer.write(file.data(t)?)?;
        progress(t.elements());
    }
    file.check_unchanged()?;
    Ok(writer.finish()?)
}

/// The type under its other id. The error says why it has none, and what helps.
fn stock_kind(kind: GgmlType, takes_rows: bool) -> Result<GgmlType, String> {
    let Some(ours) = types::by_id(kind.0) else { return Ok(kind) };
    let name = ours.name;
    if takes_rows {
        return Err(format!(
            "is {name}: an unpatched llama.cpp takes rows from its own types alone; convert with --recipe stock"
        ));
    }
    let id = STOCK_IDS.iter().find(|(stock, _)| *stock == name).map(|&(_, id)| GgmlType(id));
    id.ok_or_else(|| {
        let known: Vec<&str> = STOCK_IDS.iter().map(|(stock, _)| *stock).collect();
        format!(
            "is {name}: an unpatched llama.cpp has ids to spare for {} alone; convert with --recipe stock",
            known.join(", ")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The backend fills the entries that files have.
    #[test]
    fn ids_are_those_of_the_backend() {
        let source = include_str!("../../ggml-patches/stock/tenpak-backend.c");
        let mut defined: Vec<(String, u32)> = source
            .lines()
            .filter_map(|line| line.strip_prefix("#define STOCK_ID_")?.split_once(' '))
            .map(|(name, id)| (name.to_lowercase(), id.parse().expect("an id")))
            .collect();
        // Of activations there are none in files.
        defined.retain(|(name, _)| name != "a8");
        assert_eq!(defined, STOCK_IDS.map(|(name, id)| (name.to_owned(), id)));
    }

    #[test]
    fn types_without_an_id_are_refused_by_name() {
        let id = |name: &str| GgmlType(types::by_name(name).unwrap().id);
        assert_eq!(stock_kind(id("t3"), false), Ok(GgmlType(31)));
        assert_eq!(stock_kind(GgmlType::F16, true), Ok(GgmlType::F16));
        assert!(stock_kind(id("t3"), true).unwrap_err().contains("--recipe stock"));
        assert!(stock_kind(id("t3_64"), false).unwrap_err().contains("is t3_64"));
    }
}
