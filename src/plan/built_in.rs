//! The recipes of this program: files of the same form as those of users.

use super::candidates::Family;
use super::error::Error;
use super::rules::Recipe;
use crate::checkpoint::{Dtype, Model};
use std::path::Path;

/// A recipe of this program.
#[derive(Clone, Copy, Debug)]
pub struct BuiltIn {
    /// Its name.
    pub name: &'static str,
    /// Its file, to be read, changed, and given back.
    pub text: &'static str,
}

/// The usual ones.
pub const BUILT_IN: &[BuiltIn] = &[
    BuiltIn { name: "default", text: include_str!("recipes/default.toml") },
    BuiltIn { name: "all", text: include_str!("recipes/all.toml") },
    BuiltIn { name: "linear", text: include_str!("recipes/linear.toml") },
    BuiltIn { name: "keep", text: include_str!("recipes/keep.toml") },
    BuiltIn { name: "stock", text: include_str!("recipes/stock.toml") },
    BuiltIn { name: "plain", text: include_str!("recipes/plain.toml") },
];

/// Those of TenPak's experiments, under the names that they have there; docs/recipes-of-tenpak.md says how near they are.
pub const OF_TENPAK: &[BuiltIn] = &[
    BuiltIn { name: "v10", text: include_str!("recipes/tenpak/v10.toml") },
    BuiltIn { name: "v11", text: include_str!("recipes/tenpak/v11.toml") },
    BuiltIn { name: "v12", text: include_str!("recipes/tenpak/v12.toml") },
    BuiltIn { name: "v13", text: include_str!("recipes/tenpak/v13.toml") },
    BuiltIn { name: "v14", text: include_str!("recipes/tenpak/v14.toml") },
    BuiltIn { name: "v16", text: include_str!("recipes/tenpak/v16.toml") },
    BuiltIn { name: "v17", text: include_str!("recipes/tenpak/v17.toml") },
    BuiltIn { name: "v19", text: include_str!("recipes/tenpak/v19.toml") },
    BuiltIn { name: "v20", text: include_str!("recipes/tenpak/v20.toml") },
    BuiltIn { name: "v21", text: include_str!("recipes/tenpak/v21.toml") },
    BuiltIn { name: "v22", text: include_str!("recipes/tenpak/v22.toml") },
    BuiltIn { name: "v23", text: include_str!("recipes/tenpak/v23.toml") },
    BuiltIn { name: "v24", text: include_str!("recipes/tenpak/v24.toml") },
    BuiltIn { name: "v25", text: include_str!("recipes/tenpak/v25.toml") },
    BuiltIn { name: "v32", text: include_str!("recipes/tenpak/v32.toml") },
    BuiltIn { name: "v40", text: include_str!("recipes/tenpak/v40.toml") },
    BuiltIn { name: "v60", text: include_str!("recipes/tenpak/v60.toml") },
    BuiltIn { name: "int4-g8", text: include_str!("recipes/tenpak/int4-g8.toml") },
    BuiltIn { name: "int4-g16", text: include_str!("recipes/tenpak/int4-g16.toml") },
    BuiltIn { name: "int4-g32", text: include_str!("recipes/tenpak/int4-g32.toml") },
    BuiltIn { name: "int4-opt", text: include_str!("recipes/tenpak/int4-opt.toml") },
    BuiltIn { name: "int3-g32", text: include_str!("recipes/tenpak/int3-g32.toml") },
    BuiltIn { name: "nf3", text: include_str!("recipes/tenpak/nf3.toml") },
    BuiltIn { name: "nf4", text: include_str!("recipes/tenpak/nf4.toml") },
    BuiltIn { name: "pq-residual", text: include_str!("recipes/tenpak/pq-residual.toml") },
    BuiltIn { name: "aqlm-lite", text: include_str!("recipes/tenpak/aqlm-lite.toml") },
    BuiltIn { name: "tenpak-x", text: include_str!("recipes/tenpak/tenpak-x.toml") },
];

impl BuiltIn {
    /// The built-in recipe of this name.
    pub fn named(name: &str) -> Result<BuiltIn, Error> {
        let all = || BUILT_IN.iter().chain(OF_TENPAK);
        all().copied().find(|b| b.name == name).ok_or_else(|| {
            let known: Vec<&str> = all().map(|b| b.name).collect();
            Error::NotBuiltIn { name: name.to_owned(), known: known.join(", ") }
        })
    }

    /// The recipe, with other values for some of its parameters.
    pub fn recipe(&self, values: &[(&str, &str)]) -> Result<Recipe, Error> {
        Recipe::parse(&format!("built-in recipe `{}`", self.name), self.text, values)
    }
}

impl Default for Recipe {
    /// T4 for attention, embeddings and output head, T3 for other matrices.
    fn default() -> Recipe {
        known("default", &[])
    }
}

impl Recipe {
    /// The built-in recipe of a name, or that of a file.
    pub fn named_or_read(name_or_path: &Path) -> Result<Recipe, Error> {
        match name_or_path.to_str().map(BuiltIn::named) {
            Some(Ok(built_in)) => built_in.recipe(&[]),
            _ => Recipe::read(name_or_path),
        }
    }

    /// One family for every matrix.
    pub fn all(family: Family) -> Recipe {
        known("all", &[("type", family.name())])
    }

    /// One family for every matrix but embeddings and output head, which stay as they are.
    pub fn linear(family: Family) -> Recipe {
        known("linear", &[("type", family.name())])
    }

    /// Floats stay as they are, and so does what is quantized already, where a type holds it without loss. Where none
    /// does, it is quantized anew, as by default.
    pub fn keep() -> Recipe {
        known("keep", &[])
    }

    /// What is quantized already stays as it is, where a type holds it without loss; all other matrices become one
    /// family.
    pub fn keep_and_quantize(family: Family) -> Recipe {
        known("keep", &["floats", "sensitive", "others"].map(|name| (name, family.name())))
    }

    /// A plain file in a float type, the same as that of llama.cpp's converter.
    pub fn plain(dtype: Dtype) -> Recipe {
        known("plain", &[("float", &dtype.written().ggml().name())])
    }

    /// The recipe for a model of which nothing is said: folders whose weights are quantized keep them.
    pub fn suited_to(model: &Model) -> Recipe {
        // Of a quantized GGUF file there might be nothing else left to do.
        if model.is_quantized() && model.path.is_dir() { Recipe::keep() } else { Recipe::default() }
    }
}

/// A built-in recipe with values that it takes.
fn known(name: &str, values: &[(&str, &str)]) -> Recipe {
    let recipe = BuiltIn::named(name).and_then(|b| b.recipe(values));
    recipe.unwrap_or_else(|e| unreachable!("{e}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_are_whole_and_say_what_they_make() {
        for built_in in BUILT_IN.iter().chain(OF_TENPAK) {
            let recipe = built_in.recipe(&[]).unwrap_or_else(|e| panic!("{e}"));
            assert!(!recipe.about().is_empty() && built_in.text.ends_with('\n'), "{}", built_in.name);
        }
    }

    /// Every value that the functions here can be called with.
    #[test]
    fn all_take_their_values() {
        for family in Family::all() {
            let recipes = [Recipe::all(family), Recipe::linear(family), Recipe::keep_and_quantize(family)];
            assert!(recipes.iter().all(|recipe| recipe.file_type().is_none()));
        }
        for dtype in [Dtype::F32, Dtype::F16, Dtype::BF16, Dtype::F64] {
            let plain = Recipe::plain(dtype);
            assert_eq!((plain.file_type(), plain.keep_tied_head()), (Some(dtype.written()), true));
        }
    }
}
