//! Options that commands share: how large a file is to be, and where statistics come from.

use super::is_quiet;
use super::python::PythonArgs;
use anyhow::anyhow;
use clap::ValueEnum;
use std::path::{Path, PathBuf};
use tenpak_gguf::job::{Cache, ForeignOptions, LowRank, Measure, Place, Size, Statistics};
use tenpak_gguf::plan::MAX_RANK;
use tenpak_gguf::quantize::Effort;

/// How large files are, if nothing else is asked for.
pub const DEFAULT_SIZE: Size = Size::Times(10.0);

/// The name of a text that the model writes.
const SELF: &str = "self";

/// How large a file is to be.
#[derive(clap::Args)]
pub struct SizeArgs {
    /// So many times smaller than FP32, by the mix of types that costs least: 10x, 14x [default: 10x]
    #[arg(long, value_name = "TIMES", value_parser = times, group = "sized")]
    target: Option<f64>,
    /// So many bits per weight, the whole file counted
    #[arg(long, value_name = "BITS", value_parser = bits, group = "sized")]
    bpw: Option<f64>,
    /// So many bytes (K, M and G are powers of 1000)
    #[arg(long, value_name = "BYTES", value_parser = bytes, group = "sized")]
    size: Option<u64>,
}

/// Where the statistics of a model's inputs come from, and how long the search with them takes.
#[derive(clap::Args)]
pub struct StatisticsArgs {
    /// Statistics of the model's inputs: a file of `tenpak-gguf calibrate`, or an imatrix of llama.cpp
    #[arg(long, value_name = "FILE", conflicts_with = "outtype")]
    calibration: Option<PathBuf>,
    /// Measure those statistics first, on this text; `self` lets the model write it [default: self]
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["calibration", "outtype"])]
    calibration_text: Option<PathBuf>,
    /// Quantize every weight by itself: quick, and far worse
    #[arg(long, conflicts_with_all = ["calibration", "calibration_text", "sized"])]
    no_calibration: bool,
    /// Tokens of the text that is calibrated on [default: 32768; with --effort fast 8192, with best 131072]
    #[arg(long, value_name = "N", conflicts_with_all = ["calibration", "no_calibration"])]
    calibration_tokens: Option<u64>,
    /// Minutes at most to find out how much depends on each weight [default: half of what the other
    /// statistics take]
    #[arg(long, value_name = "MINUTES", conflicts_with_all = ["calibration", "no_calibration"])]
    budget: Option<u64>,
    /// Folder of what is made on the way [default: $TENPAK_CACHE, or tenpak-gguf in the folder of your caches]
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
    /// llama-tenpak-calibrate and llama-perplexity, or their folder
    #[arg(long, value_name = "PATH")]
    collector: Option<PathBuf>,
    /// Corrections of low rank for llama.cpp's --lora, in a file beside the model that counts with its size: a rank, or `auto`
    /// for those that are worth their bytes
    #[arg(long, value_name = "RANK", value_parser = low_rank, conflicts_with_all = ["no_calibration", "outtype"])]
    low_rank: Option<LowRank>,
    /// How long the calibrated search takes
    #[arg(long, value_name = "EFFORT", default_value = "normal")]
    effort: EffortName,
}

/// What converts folders whose class there is no table for.
#[derive(clap::Args)]
pub struct ConverterArgs {
    /// llama.cpp's convert_hf_to_gguf.py, or its folder, for classes that this program has no table for [default:
    /// $TENPAK_CONVERTER, beside this program, in the tree of the collector]
    #[arg(long, value_name = "PATH")]
    converter: Option<PathBuf>,
}

impl ConverterArgs {
    /// The same for a job, with the place of what the converter writes.
    pub fn options(&self, python: &PythonArgs, statistics: &StatisticsArgs, place: Place) -> ForeignOptions {
        ForeignOptions {
            converter: self.converter.clone(),
            python: python.python.clone(),
            collector: statistics.collector(),
            place,
        }
    }
}

#[derive(Clone, Copy, ValueEnum)]
enum EffortName {
    Fast,
    Normal,
    Best,
}

impl From<EffortName> for Effort {
    fn from(name: EffortName) -> Effort {
        match name {
            EffortName::Fast => Effort::Fast,
            EffortName::Normal => Effort::Normal,
            EffortName::Best => Effort::Best,
        }
    }
}

impl SizeArgs {
    /// What was asked for, if anything was.
    pub fn size(&self) -> Option<Size> {
        let times = self.target.map(Size::Times);
        times.or(self.bpw.map(Size::BitsPerWeight)).or(self.size.map(Size::Bytes))
    }
}

impl StatisticsArgs {
    /// Where the statistics come from. `only_if_asked`: nothing is measured unless a text is given.
    pub fn statistics(&self, only_if_asked: bool) -> anyhow::Result<Statistics> {
        if let Some(file) = &self.calibration {
            return Ok(Statistics::File(file.clone()));
        }
        if self.no_calibration || only_if_asked && self.calibration_text.is_none() {
            return Ok(Statistics::None);
        }
        let cache = self.cache()?;
        let text = self.calibration_text.clone().filter(|text| text != Path::new(SELF));
        let (tokens, budget) = (self.calibration_tokens, self.budget);
        let (collector, quiet) = (self.collector.clone(), is_quiet());
        Ok(Statistics::Measured(Measure { text, tokens, budget, collector, cache, quiet }))
    }

    /// The programs of llama.cpp's, or their folder, as given.
    pub fn collector(&self) -> Option<PathBuf> {
        self.collector.clone()
    }

    /// Where what is made on the way stays.
    pub fn cache(&self) -> anyhow::Result<Cache> {
        let cache = self.cache.clone().map(Cache::new).or_else(Cache::of_user);
        cache.ok_or_else(|| anyhow!("there is no folder for caches; give --cache DIR"))
    }

    /// Corrections of low rank.
    pub fn low_rank(&self) -> Option<LowRank> {
        self.low_rank
    }

    /// How long to search.
    pub fn effort(&self) -> Effort {
        self.effort.into()
    }
}

/// `14x`, or `14`.
fn times(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('x').unwrap_or(text).parse::<f64>().ok();
    number
        .filter(|n| (1.0..=32.0).contains(n))
        .ok_or_else(|| "not a factor such as 10x, from 1x to 32x".into())
}

/// `auto`, or `32`.
fn low_rank(text: &str) -> Result<LowRank, String> {
    let rank = || text.parse().ok().filter(|rank| (1..=MAX_RANK).contains(rank)).map(LowRank::Rank);
    let found = if text == "auto" { Some(LowRank::Auto) } else { rank() };
    found.ok_or_else(|| format!("not `auto` or a rank from 1 to {MAX_RANK}"))
}

/// Bits of a weight.
fn bits(text: &str) -> Result<f64, String> {
    let number = text.parse::<f64>().ok();
    number.filter(|n| (1.0..=32.0).contains(n)).ok_or_else(|| "not a number of bits such as 2.5".into())
}

/// `4G`, `2.8GB` and the like.
pub fn bytes(text: &str) -> Result<u64, String> {
    let number = text.strip_suffix('B').unwrap_or(text);
    let unit = ["K", "M", "G"].iter().position(|unit| number.ends_with(unit));
    let (number, factor) = match unit {
        Some(power) => (&number[..number.len() - 1], 1000u64.pow(power as u32 + 1)),
        None => (number, 1),
    };
    // Whole numbers stay exact; fractions are of units.
    let exact = number.parse::<u64>().ok().and_then(|n| n.checked_mul(factor));
    let rounded = || number.parse::<f64>().ok().filter(|_| factor > 1).map(|n| (n * factor as f64) as u64);
    let bytes = exact.or_else(rounded).filter(|n| *n > 0 && *n < u64::MAX);
    bytes.ok_or_else(|| "not a number of bytes such as 4G, 2.8GB or 1000000".into())
}
