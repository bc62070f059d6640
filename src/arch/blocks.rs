//! Models whose blocks are not alike: what each of their blocks is, and which of them have a tensor.

use super::config::Config;
use super::error::Error;

/// What a block is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Block {
    /// Experts are in place of one feed-forward network.
    pub has_experts: bool,
    /// A convolution or a state is in place of attention.
    pub is_recurrent: bool,
    /// Its attention looks back to a window alone.
    pub has_window: bool,
    /// Whose keys and values its attention is to.
    pub attends_to: AttendsTo,
    /// What it predicts.
    pub predicts: Predicts,
}

impl Block {
    /// A block of a model whose blocks are alike.
    pub const PLAIN: Block = Block {
        has_experts: false,
        is_recurrent: false,
        has_window: false,
        attends_to: AttendsTo::Own,
        predicts: Predicts::Next,
    };
}

/// Whose keys and values the attention of a block is to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AttendsTo {
    /// Keys and values of its own.
    #[default]
    Own,
    /// Keys of its own, which are its values too.
    OwnKeysAlone,
    /// Those of a block before it.
    Borrowed,
}

/// What a block predicts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Predicts {
    /// The next token, together with all blocks before.
    #[default]
    Next,
    /// A token after that: llama.cpp loads such a block behind the others where a file has one.
    Further,
    /// A token after that, and llama.cpp has no place for it.
    LeftOut,
}

/// Which blocks have a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blocks {
    /// All.
    All,
    /// Those with one feed-forward network.
    Dense,
    /// Those with experts.
    Experts,
    /// Those with attention.
    Attention,
    /// Those with a convolution or a state in place of attention.
    Recurrent,
    /// Those with keys of their own.
    OwnKeys,
    /// Those with keys and values of their own.
    OwnValues,
    /// Those that attend to keys and values of a block before.
    Borrowing,
    /// Those that predict a token after the next one.
    Further,
}

impl Blocks {
    /// Whether a block is one of these.
    pub fn include(self, block: Block) -> bool {
        match self {
            Blocks::All => true,
            Blocks::Dense => !block.has_experts,
            Blocks::Experts => block.has_experts,
            Blocks::Attention => !block.is_recurrent,
            Blocks::Recurrent => block.is_recurrent,
            Blocks::OwnKeys => block.attends_to != AttendsTo::Borrowed,
            Blocks::OwnValues => block.attends_to == AttendsTo::Own,
            Blocks::Borrowing => block.attends_to == AttendsTo::Borrowed,
            Blocks::Further => block.predicts == Predicts::Further,
        }
    }

    /// What a block is that is one of these.
    pub fn words(self) -> &'static str {
        match self {
            Blocks::All => "any",
            Blocks::Dense => "one without experts",
            Blocks::Experts => "one with experts",
            Blocks::Attention => "one with attention",
            Blocks::Recurrent => "one without attention",
            Blocks::OwnKeys => "one with keys of its own",
            Blocks::OwnValues => "one with values of its own",
            Blocks::Borrowing => "one that attends to keys of a block before",
            Blocks::Further => "one that predicts a token after the next",
        }
    }
}

/// The blocks of a model whose blocks are alike.
pub fn alike(config: &Config) -> Result<Vec<Block>, Error> {
    Ok(vec![Block::default(); config.shape()?.blocks as usize])
}

/// The blocks of a model whose first ones, as many as a value of config.json says, have no experts; those after all
/// others, as many as `num_nextn_predict_layers` says, predict further tokens.
pub fn dense_first(config: &Config, first: &str, further: Predicts) -> Result<Vec<Block>, Error> {
    let (blocks, dense) = (config.shape()?.blocks, config.integer(&[first])?.unwrap_or(0));
    let more = config.integer(FURTHER_BLOCKS)?.unwrap_or(0);
    let block = |number: u64| Block {
        has_experts: number >= dense,
        predicts: if number < blocks { Predicts::Next } else { further },
        ..Block::default()
    };
    Ok((0..blocks + more).map(block).collect())
}

/// Names of the number of blocks that predict further tokens.
pub const FURTHER_BLOCKS: &[&str] = &["num_nextn_predict_layers", "num_mtp_layers"];
