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

/// All of them.
pub const BUILT_IN: &[BuiltIn] = &[
    BuiltIn { name: "default", text: include_str!("recipes/default.toml") },
    BuiltIn { name: "all", text: include_str!("recipes/all.toml") },
    BuiltIn { name: "linear", text: include_str!("recipes/linear.toml") },
    BuiltIn { name: "keep", text: include_str!("recipes/keep.toml") },
    BuiltIn { name: "plain", text: include_str!("recipes/plain.toml") },
];

impl BuiltIn {
    /// The built-in recipe of this name.
    pub fn named(name: &str) -> Result<BuiltIn, Error> {
        let found = BUILT_IN.iter().copied().find(|b| b.name == name);
        found.ok_or_else(|| {
            let known: Vec<&str> = BUILT_IN.iter().map(|b| b.name).collect();
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
        for built_in in BUILT_IN {
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
