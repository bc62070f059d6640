//! What a verification finds, and why there is none.

use std::fmt::{self, Display, Formatter};
use std::path::PathBuf;
use std::process::ExitStatus;

/// Why a model was not verified.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The source is a GGUF file.
    #[error(
        "--verify: {} is a GGUF file, and there is no folder to compare it with; give the folder that it was made of",
        .0.display()
    )]
    NoFolder(PathBuf),
    /// The file would compute something else than the folder.
    #[error("verification failed, and nothing was written: {0}")]
    Differs(Box<Difference>),
    /// A program of llama.cpp failed on the plain file.
    #[error("verification failed, and nothing was written: {} ended with {status}\n{tail}", program.display())]
    Program {
        /// The program.
        program: PathBuf,
        /// How it ended.
        status: ExitStatus,
        /// The last lines that it printed.
        tail: String,
    },
    /// There is nothing that can be compared here.
    #[error("nothing could be verified: the ids, {ids}; the forward pass, {forward}")]
    Nothing {
        /// Why no ids were compared.
        ids: String,
        /// Why nothing else was.
        forward: String,
    },
    /// A file of the verification cannot be read as what it should be.
    #[error("{}: {problem}", path.display())]
    Answer {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
}

/// A token as it is shown: its id, and its text where that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// The id.
    pub id: u32,
    /// The text.
    pub text: Option<String>,
}

/// What differs first between llama.cpp with the file and the folder.
#[derive(Clone, Debug, PartialEq)]
pub enum Difference {
    /// The ids of a line.
    Ids {
        /// Number of the line, from 1.
        line: usize,
        /// The line.
        text: String,
        /// Number of the first token that differs, from 1.
        token: usize,
        /// What llama.cpp has there; `None` if its ids end before.
        ours: Option<Shown>,
        /// What the folder's tokenizer has there.
        theirs: Option<Shown>,
    },
    /// What goes into the first block.
    Embeddings(Distance),
    /// What comes out of a block.
    Block {
        /// The block, from 0.
        block: u64,
        /// How far it is off.
        distance: Distance,
        /// The largest relative distance of the blocks before.
        before: f64,
    },
    /// The logits, where all before them agree.
    Logits {
        /// How far they are off.
        distance: Distance,
        /// Whether blocks were compared.
        after_blocks: bool,
    },
}

/// How far two tables of rows are from each other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Distance {
    /// The token that is farthest off, from 1.
    pub token: usize,
    /// Its id.
    pub id: u32,
    /// The distance of the two rows, relative to the length of that of the folder.
    pub relative: f64,
    /// Tokens that are farther off than rounding explains.
    pub tokens: usize,
    /// Tokens of all.
    pub of: usize,
}

impl Display for Distance {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        let Distance { token, id, relative, tokens, of } = self;
        write!(
            f,
            "off for {tokens} of {of} tokens, most by {} for token {token} (id {id})",
            percent(*relative)
        )
    }
}

impl Display for Difference {
    fn fmt(&self, f: &mut Formatter) -> fmt::Result {
        match self {
            Difference::Ids { line, text, token, ours, theirs } => write!(
                f,
                "ids differ first in line {line}, token {token}: llama.cpp has {}, the folder's tokenizer {}, in {text:?}; the \
                 vocabulary, its pre-tokenizer or its added tokens are others",
                shown(ours),
                shown(theirs)
            ),
            Difference::Embeddings(distance) => write!(
                f,
                "the embeddings differ first: what goes into the first block is {distance}; the embeddings, their scale, or \
                 positions that are added to them are others"
            ),
            Difference::Block { block, distance, before } => write!(
                f,
                "block {block} differs first (blk.{block} in the file, the first is 0): what comes out of it is {distance}, and \
                 what comes before it by {} at most; weights of the block, or what config.json says of attention, rotary \
                 embeddings, norms, activations or experts, are others",
                percent(*before)
            ),
            Difference::Logits { distance, after_blocks } => {
                let all = if *after_blocks { ", and all blocks agree" } else { "" };
                write!(
                    f,
                    "the logits differ first: they are {distance}{all}; the last norm, the output head, or a scale or cap of \
                     logits is another"
                )
            }
        }
    }
}

fn shown(token: &Option<Shown>) -> String {
    match token {
        None => "none".into(),
        Some(Shown { id, text: None }) => id.to_string(),
        Some(Shown { id, text: Some(text) }) => format!("{id} ({text:?})"),
    }
}

/// A share in percent, with two digits that count.
pub fn percent(share: f64) -> String {
    let percent = 100.0 * share;
    if percent >= 10.0 {
        format!("{percent:.0} %")
    } else if percent >= 0.1 {
        format!("{percent:.2} %")
    } else {
        format!("{percent:.1e} %")
    }
}
