//! Recipes as they stand in TOML files; docs/recipes.md tells what the keys mean.

use serde::Deserialize;
use std::collections::BTreeMap;

/// A whole file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RecipeText {
    #[serde(default)]
    pub about: String,
    #[serde(default)]
    pub parameters: BTreeMap<String, String>,
    pub file_type: Option<String>,
    #[serde(default)]
    pub keep_tied_head: bool,
    pub activation_scaling: Option<f64>,
    #[serde(rename = "rule")]
    pub rules: Vec<RuleText>,
}

/// A `[[rule]]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RuleText {
    pub why: Option<String>,
    pub roles: Option<Vec<String>>,
    pub names: Option<Vec<String>>,
    pub blocks: Option<Vec<BlockText>>,
    pub quantizable: Option<bool>,
    pub left_precise: Option<bool>,
    pub quantized: Option<bool>,
    pub exact: Option<bool>,
    pub least_sensitive: Option<f64>,
    pub types: Vec<String>,
    pub group: Option<usize>,
    pub outliers: Option<usize>,
    pub low_rank: Option<usize>,
    #[serde(default)]
    pub optional: bool,
}

/// An element of `blocks`.
#[derive(Clone, Deserialize)]
#[serde(untagged, expecting = "expected the number of a block, such as 0 or -1, or a range such as \"8-15\"")]
pub(super) enum BlockText {
    Number(i64),
    Range(String),
}
