//! Recipes: ordered rules, of which the first that matches a tensor decides about it.

use super::adapter::{CORRECTED, MAX_RANK, takes_correction};
use super::candidates::{Candidate, Candidates, Target, weight_types};
use super::choice::{Choice, list, makers};
use super::error::{Error, Problem};
use super::least_sensitive::{self, Knowledge};
use super::syntax::{BlockText, RecipeText, RuleText};
use crate::checkpoint::{Dtype, Model, SourceTensor};
use crate::names::{self, Role};
use crate::types::TensorType;
use crate::types::feedback::Making;
use globset::{Glob, GlobMatcher};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// What to make of the tensors of any model. docs/recipes.md is the format of its files.
#[derive(Clone, Debug)]
pub struct Recipe {
    /// File or name, as errors say it.
    label: String,
    about: String,
    rules: Vec<Rule>,
    file_type: Option<Dtype>,
    keep_tied_head: bool,
    activation_scaling: Option<f64>,
}

#[derive(Clone, Debug)]
struct Rule {
    /// The words of the recipe, or nothing.
    why: Arc<str>,
    roles: Option<Vec<String>>,
    names: Option<Vec<GlobMatcher>>,
    blocks: Option<Vec<Blocks>>,
    quantizable: Option<bool>,
    left_precise: Option<bool>,
    quantized: Option<bool>,
    exact: Option<bool>,
    /// The share of the blocks that it is for.
    least_sensitive: Option<f64>,
    types: Vec<Choice>,
    making: Making,
    /// Rank of the corrections of what becomes blocks of ours, if the recipe says it.
    rank: Option<usize>,
    optional: bool,
}

/// Blocks of a model by their numbers; negative ones count from the end.
#[derive(Clone, Copy, Debug)]
struct Blocks {
    first: i64,
    last: i64,
}

/// What decided about a tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Why {
    /// The rule, counted from 1; `None` if there was nothing to decide.
    pub rule: Option<usize>,
    /// The reason in words, or nothing if the rule has none.
    pub words: Arc<str>,
    /// The length of the shortest block of the types that the rule prefers, if the rows of the tensor are no multiple of
    /// it.
    pub unfit: Option<usize>,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self.rule {
            Some(number) if self.words.is_empty() => write!(f, "rule {number}"),
            Some(number) => write!(f, "rule {number}: {}", self.words),
            None => f.write_str(&self.words),
        }
    }
}

/// What conditions ask about a tensor.
struct Facts<'a> {
    tensor: &'a SourceTensor,
    role: Role,
    block: Option<u64>,
    quantizable: bool,
    quantized: bool,
    exact: bool,
}

impl Recipe {
    /// Reads a recipe's file.
    pub fn read(path: &Path) -> Result<Recipe, Error> {
        let text = std::fs::read_to_string(path);
        let text = text.map_err(|source| Error::Read { path: path.to_owned(), source })?;
        Recipe::parse(&path.display().to_string(), &text, &[])
    }

    /// Makes a recipe of the text of a file, which errors call `label`. `values` replace those of parameters that the
    /// recipe declares.
    pub fn parse(label: &str, text: &str, values: &[(&str, &str)]) -> Result<Recipe, Error> {
        let parsed: RecipeText = toml::from_str(text).map_err(|e| {
            let before = e.span().map_or("", |span| &text[..span.start]);
            let (recipe, line) = (label.to_owned(), before.matches('\n').count() + 1);
            Error::Syntax { recipe, line, problem: e.message().to_owned() }
        })?;
        let of_recipe = |problem| Error::Recipe { recipe: label.to_owned(), problem: Box::new(problem) };
        let mut parameters = parsed.parameters;
        for (name, value) in values {
            let known = list(parameters.keys());
            let undeclared = || of_recipe(Problem::Parameter { found: (*name).to_owned(), known });
            *parameters.get_mut(*name).ok_or_else(undeclared)? = (*value).to_owned();
        }
        let used = |parameter: &String| {
            let words = parsed.rules.iter().flat_map(|rule| &rule.types).chain(&parsed.file_type);
            words.into_iter().any(|word| word.strip_prefix('$') == Some(parameter))
        };
        if let Some(unused) = parameters.keys().find(|parameter| !used(parameter)) {
            return Err(of_recipe(Problem::Unused(unused.clone())));
        }
        let file_type = parsed.file_type.map(|word| match Choice::parse(&word, &parameters)? {
            Choice::Float(dtype) => Ok(dtype),
            _ => Err(Problem::FileType(word)),
        });
        let is_power = |power: &f64| *power > 0.0 && *power <= 1.0;
        if let Some(power) = parsed.activation_scaling.filter(|power| !is_power(power)) {
            return Err(of_recipe(Problem::Scaling(power)));
        }
        let rules = parsed.rules.into_iter().enumerate().map(|(i, rule)| {
            let why = rule.why.clone().unwrap_or_default();
            let rule = Rule::parse(rule, &parameters);
            rule.map_err(|problem| Error::Rule {
                recipe: label.to_owned(),
                number: i + 1,
                why,
                problem: Box::new(problem),
            })
        });
        Ok(Recipe {
            label: label.to_owned(),
            about: parsed.about,
            rules: rules.collect::<Result<_, _>>()?,
            file_type: file_type.transpose().map_err(of_recipe)?,
            keep_tied_head: parsed.keep_tied_head,
            activation_scaling: parsed.activation_scaling,
        })
    }

    /// What it makes, in a line.
    pub fn about(&self) -> &str {
        &self.about
    }

    /// The float type for which llama.cpp has a number of whole files, if files of this recipe say it.
    pub fn file_type(&self) -> Option<Dtype> {
        self.file_type
    }

    /// The power of the inputs' sizes that columns of matrices are scaled by, with the norms before them, if the recipe says one.
    pub fn activation_scaling(&self) -> Option<f64> {
        self.activation_scaling
    }

    /// Whether it has to be known how much depends on each matrix.
    pub fn needs_sensitivities(&self) -> bool {
        self.rules.iter().any(|rule| rule.least_sensitive.is_some())
    }

    /// The same recipe with corrections of a rank, where it does not say one itself.
    pub fn with_low_rank(mut self, rank: usize) -> Recipe {
        for rule in &mut self.rules {
            rule.rank = rule.rank.or(Some(rank));
        }
        self
    }

    /// See [`crate::checkpoint::Options::keep_tied_head`].
    pub fn keep_tied_head(&self) -> bool {
        self.keep_tied_head
    }

    /// The type of every tensor of a model, in order, with the reason.
    pub(super) fn choose(&self, model: &Model, knowledge: Knowledge) -> Result<Vec<(Candidate, Why)>, Error> {
        let mut chosen = Vec::new();
        let mut open = Vec::new();
        for (i, t) in model.tensors.iter().enumerate() {
            match Candidates::of(model, t) {
                Candidates::One(candidate, why) => {
                    chosen.push(Some((candidate, Why { rule: None, words: why.into(), unfit: None })));
                }
                Candidates::Any(candidates) => {
                    chosen.push(None);
                    open.push((i, Facts::of(model, t, &candidates), candidates));
                }
            }
        }
        let blocks = model.block_count();
        let architecture = model.key("general.architecture").and_then(|v| v.as_str()).unwrap_or_default();
        let matrices: Vec<&Facts> = open.iter().map(|(_, facts, _)| facts).collect();
        for (i, rule) in self.rules.iter().enumerate().filter(|(_, rule)| !rule.optional) {
            rule.check(&matrices, blocks).map_err(|problem| self.problem(i, problem))?;
        }
        let mut least = Vec::new();
        for (i, rule) in self.rules.iter().enumerate() {
            let found = rule.least_sensitive_blocks(&matrices, blocks, knowledge);
            least.push(found.map_err(|problem| self.problem(i, problem))?);
        }
        let mut decides = vec![false; self.rules.len()];
        for (at, facts, candidates) in open {
            let t = facts.tensor;
            let is_least = |least: &BTreeSet<u64>| facts.block.is_some_and(|block| least.contains(&block));
            let matches = |(rule, least): (&Rule, &Option<_>)| {
                rule.matches(&facts, blocks) && least.as_ref().is_none_or(is_least)
            };
            let decisive = self.rules.iter().zip(&least).position(matches);
            let i = decisive.ok_or_else(|| Error::Recipe {
                recipe: self.label.clone(),
                problem: Box::new(Problem::NoRule { tensor: t.name.clone(), role: facts.role.name() }),
            })?;
            decides[i] = true;
            let rule = &self.rules[i];
            let (mut candidate, unfit) = rule.choose(&facts, &candidates).map_err(|p| self.problem(i, p))?;
            if matches!(candidate.target, Target::Blocks(_)) && takes_correction(t) {
                candidate.rank = rule.rank.unwrap_or(0).min(t.rows()).min(t.columns());
            }
            if matches!(candidate.target, Target::Blocks(kind) if makers(kind).is_some()) {
                candidate.making = rule.making;
            }
            if candidate.rank > 0 && !CORRECTED.contains(&architecture) {
                let problem = Problem::NotCorrected { architecture: architecture.to_owned() };
                return Err(self.problem(i, problem));
            }
            let why = Why { rule: Some(i + 1), words: self.rules[i].why.clone(), unfit };
            chosen[at] = Some((candidate, why));
        }
        let idle = self.rules.iter().zip(decides).position(|(rule, decides)| !decides && !rule.optional);
        match idle {
            Some(i) => Err(self.problem(i, Problem::Shadowed)),
            None => Ok(chosen.into_iter().flatten().collect()),
        }
    }

    /// What is wrong with rule `i`, counted from 0.
    fn problem(&self, i: usize, problem: Problem) -> Error {
        let (recipe, why) = (self.label.clone(), self.rules[i].why.to_string());
        Error::Rule { recipe, number: i + 1, why, problem: Box::new(problem) }
    }
}

impl<'a> Facts<'a> {
    fn of(model: &Model, t: &'a SourceTensor, candidates: &[Candidate]) -> Facts<'a> {
        Facts {
            tensor: t,
            role: Role::of(&t.name),
            block: names::block(&t.name),
            quantizable: model.is_quantizable(t),
            quantized: model.quantization(t).is_some(),
            exact: candidates.iter().any(|c| matches!(c.target, Target::Kept(_))),
        }
    }
}

impl Rule {
    fn parse(text: RuleText, parameters: &BTreeMap<String, String>) -> Result<Rule, Problem> {
        if text.types.is_empty() {
            return Err(Problem::NoTypes);
        }
        if let Some(found) = text.low_rank.filter(|rank| *rank > MAX_RANK) {
            return Err(Problem::Rank { found, most: MAX_RANK });
        }
        for found in text.roles.iter().flatten() {
            if !Role::NAMES.iter().any(|(_, role)| role.is_called(found)) {
                let known = list(role_words());
                return Err(Problem::Role { found: found.clone(), known });
            }
        }
        let glob = |name: &String| Ok(Glob::new(name).map_err(Problem::Pattern)?.compile_matcher());
        let names = text.names.map(|names| names.iter().map(glob).collect());
        let blocks = text.blocks.map(|blocks| blocks.iter().map(Blocks::parse).collect());
        let types = text.types.iter().map(|word| Choice::parse(word, parameters));
        let types = types.collect::<Result<Vec<_>, _>>()?;
        let making = Making { group: text.group, outliers: text.outliers };
        check_making(making, &types)?;
        let is_share = |share: &f64| *share > 0.0 && *share < 1.0;
        if let Some(found) = text.least_sensitive.filter(|share| !is_share(share)) {
            return Err(Problem::Share(found));
        }
        Ok(Rule {
            why: text.why.unwrap_or_default().into(),
            roles: text.roles,
            names: names.transpose()?,
            blocks: blocks.transpose()?,
            quantizable: text.quantizable,
            left_precise: text.left_precise,
            quantized: text.quantized,
            exact: text.exact,
            least_sensitive: text.least_sensitive,
            types,
            making,
            rank: text.low_rank,
            optional: text.optional,
        })
    }

    /// The blocks that matter least of those with matrices for which all other conditions hold, if there is such a condition.
    fn least_sensitive_blocks(
        &self,
        matrices: &[&Facts],
        blocks: u64,
        knowledge: Knowledge,
    ) -> Result<Option<BTreeSet<u64>>, Problem> {
        let Some(share) = self.least_sensitive else { return Ok(None) };
        let matching = matrices.iter().filter(|m| self.matches(m, blocks));
        let of_blocks = matching.filter_map(|m| Some((m.block?, &m.tensor.name[..])));
        least_sensitive::blocks(share, of_blocks, knowledge).map(Some)
    }

    /// Whether all conditions hold for a tensor of a model with so many blocks, but for that on sensitivities.
    fn matches(&self, facts: &Facts, blocks: u64) -> bool {
        fn holds<T>(condition: &Option<T>, test: impl Fn(&T) -> bool) -> bool {
            condition.as_ref().is_none_or(test)
        }
        let in_blocks = |b: &Blocks| facts.block.is_some_and(|n| b.numbers(blocks).contains(&(n as i64)));
        holds(&self.roles, |roles| roles.iter().any(|name| facts.role.is_called(name)))
            && holds(&self.names, |names| names.iter().any(|name| name.is_match(&facts.tensor.name)))
            && holds(&self.blocks, |all| all.iter().any(in_blocks))
            && holds(&self.quantizable, |wanted| *wanted == facts.quantizable)
            && holds(&self.left_precise, |wanted| *wanted == facts.tensor.left_precise)
            && holds(&self.quantized, |wanted| *wanted == facts.quantized)
            && holds(&self.exact, |wanted| *wanted == facts.exact)
    }

    /// Refuses conditions that can only be a mistake, for the matrices of a model.
    fn check(&self, matrices: &[&Facts], blocks: u64) -> Result<(), Problem> {
        let unknown = |b: &&Blocks| {
            let numbers = b.numbers(blocks);
            *numbers.start() < 0 || numbers.is_empty() || *numbers.end() >= blocks as i64
        };
        if let Some(found) = self.blocks.iter().flatten().find(unknown) {
            return Err(Problem::NoBlock { found: found.to_string(), blocks });
        }
        let misses = |name: &&GlobMatcher| !matrices.iter().any(|m| name.is_match(&m.tensor.name));
        if let Some(pattern) = self.names.iter().flatten().find(misses) {
            let example = matrices.iter().find(|m| m.block.is_some()).or(matrices.first());
            let example = example.map_or("blk.0.ffn_up.weight", |m| &m.tensor.name[..]).to_owned();
            return Err(Problem::NoMatch { pattern: pattern.glob().to_string(), example });
        }
        match matrices.iter().any(|m| self.matches(m, blocks)) {
            true => Ok(()),
            false => Err(Problem::MatchesNothing),
        }
    }

    /// The first of the types that can hold a tensor, and [`Why::unfit`].
    fn choose(&self, facts: &Facts, candidates: &[Candidate]) -> Result<(Candidate, Option<usize>), Problem> {
        let t = facts.tensor;
        let find = |wanted: &dyn Fn(Target) -> bool| candidates.iter().find(|c| wanted(c.target)).copied();
        let float = |dtype| find(&|target| matches!(target, Target::Plain(d) if d == dtype));
        let blocks =
            |kind: &TensorType| find(&|target| matches!(target, Target::Blocks(b) if b.id == kind.id));
        let mut unfit = None;
        for choice in &self.types {
            let found = match choice {
                Choice::Keep => find(&|target| matches!(target, Target::Kept(_))),
                Choice::Stored => float(t.dtype.written()),
                Choice::Float(dtype) => float(*dtype),
                Choice::Family(family) => family.types().into_iter().find_map(blocks),
                Choice::Type(kind) => blocks(kind),
                Choice::Upstream(kind) => {
                    find(&|target| matches!(target, Target::Upstream(u) if u.kind == kind.kind))
                }
            };
            if let Some(found) = found {
                return Ok((found, unfit));
            }
            let least = choice.least_columns().filter(|_| facts.quantizable);
            unfit = unfit.into_iter().chain(least).min();
        }
        let reason = match unfit {
            Some(least) => format!("its rows of {} are not a multiple of {least}", t.columns()),
            None if !facts.quantizable => "llama.cpp has it in floats only".to_owned(),
            None => "it is not in blocks already".to_owned(),
        };
        let types = list(self.types.iter().map(|choice| choice.word()));
        Err(Problem::NoFit { types, tensor: t.name.clone(), reason })
    }
}

/// Refuses a making that none of the types has use for.
fn check_making(making: Making, types: &[Choice]) -> Result<(), Problem> {
    if let Some(found) = making.group.filter(|n| *n == 0 || !n.is_multiple_of(BLOCK) || *n > MAX_GROUP) {
        return Err(Problem::Group { found, block: BLOCK, most: MAX_GROUP });
    }
    let slots = types.iter().filter_map(Choice::makers).map(|makers| makers.slots).max();
    let key = if making.group.is_some() { "group" } else { "outliers" };
    match (slots, making.outliers) {
        (None, _) if !making.is_free() => {
            let known = weight_types().filter(|t| makers(t).is_some()).map(|t| t.name);
            Err(Problem::NoMaking { key, known: list(known) })
        }
        (Some(slots), Some(found)) if found > slots => Err(Problem::Outliers { found, slots }),
        _ => Ok(()),
    }
}

/// Weights of the blocks that share scales, and the most that share one.
const BLOCK: usize = crate::types::direct::layout::LEN;
const MAX_GROUP: usize = 65536;

impl Blocks {
    fn parse(text: &BlockText) -> Result<Blocks, Problem> {
        let blocks = match text {
            BlockText::Number(n) => Some(Blocks { first: *n, last: *n }),
            BlockText::Range(range) => range.split_once('-').and_then(|(first, last)| {
                let number = |text: &str| text.trim().parse::<u32>().ok().map(i64::from);
                Some(Blocks { first: number(first)?, last: number(last)? })
            }),
        };
        let whole = blocks.filter(|b| b.first <= b.last);
        whole.ok_or_else(|| match text {
            BlockText::Number(n) => Problem::BlockRange(n.to_string()),
            BlockText::Range(range) => Problem::BlockRange(range.clone()),
        })
    }

    /// The numbers in a model of so many blocks.
    fn numbers(&self, blocks: u64) -> std::ops::RangeInclusive<i64> {
        let from_start = |n: i64| if n < 0 { n + blocks as i64 } else { n };
        from_start(self.first)..=from_start(self.last)
    }
}

impl fmt::Display for Blocks {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self.first == self.last {
            true => write!(f, "{}", self.first),
            false => write!(f, "{}-{}", self.first, self.last),
        }
    }
}

/// The names of roles, each after the name that stands for it and its like.
fn role_words() -> Vec<&'static str> {
    let mut words = Vec::new();
    for (name, _) in Role::NAMES {
        let all = name.split_once('.').map(|(all, _)| all);
        if let Some(all) = all.filter(|all| !words.contains(all)) {
            words.push(all);
        }
        words.push(name);
    }
    words
}
