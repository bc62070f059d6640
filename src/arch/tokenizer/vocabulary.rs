//! Kinds of tokenizers, and which of them architectures come with.

/// Where the tokens of an architecture come from.
#[derive(Clone, Copy, Debug)]
pub struct Vocabulary {
    /// Kinds of tokenizers, tried in order.
    pub kinds: &'static [Kind],
    /// Whether SentencePiece puts a space before a text, where that is not the tokenizer's to say.
    pub space_prefix: SpacePrefix,
    /// The end of a turn, where no file says another one.
    pub end_of_turn: Option<u32>,
    /// Added tokens are what the files say, whatever their text looks like, and tokenizer.json has a say too.
    pub literal: bool,
    /// The class of transformers that reads its tokenizer.model, which export writes.
    pub class: &'static str,
}

/// A kind of tokenizer, with the file that shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// tokenizer.model
    SentencePiece,
    /// tokenizer.json with SentencePiece's pieces.
    ByteFallback,
    /// tokenizer.json with byte-level BPE.
    Bpe,
}

/// Whether a space is put before a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpacePrefix {
    /// Nothing says so.
    Unsaid,
    /// tokenizer_config.json may say.
    FromConfig,
    /// None with SentencePiece.
    No,
}

impl Vocabulary {
    /// Byte-level BPE alone.
    pub const BPE: Vocabulary = Vocabulary {
        kinds: &[Kind::Bpe],
        space_prefix: SpacePrefix::Unsaid,
        end_of_turn: None,
        literal: false,
        class: "LlamaTokenizer",
    };
    /// SentencePiece if there is a tokenizer.model.
    pub const SENTENCEPIECE_OR_BPE: Vocabulary =
        Vocabulary { kinds: &[Kind::SentencePiece, Kind::Bpe], ..Vocabulary::BPE };
    /// Everything that llama's children have come with.
    pub const LLAMA: Vocabulary = Vocabulary {
        kinds: &[Kind::SentencePiece, Kind::ByteFallback, Kind::Bpe],
        space_prefix: SpacePrefix::FromConfig,
        ..Vocabulary::BPE
    };
    /// SentencePiece without a space before a text.
    pub const GEMMA: Vocabulary = Vocabulary {
        kinds: &[Kind::SentencePiece],
        space_prefix: SpacePrefix::No,
        class: "GemmaTokenizer",
        ..Vocabulary::BPE
    };
    /// The same, or BPE.
    pub const GEMMA3: Vocabulary =
        Vocabulary { kinds: &[Kind::SentencePiece, Kind::Bpe], ..Vocabulary::GEMMA };
    /// SentencePiece with many added tokens; BPE in Phi 4.
    pub const PHI3: Vocabulary = Vocabulary { literal: true, ..Vocabulary::SENTENCEPIECE_OR_BPE };

    /// The same with an end of a turn.
    pub const fn with_end_of_turn(self, id: u32) -> Vocabulary {
        Vocabulary { end_of_turn: Some(id), ..self }
    }
}
