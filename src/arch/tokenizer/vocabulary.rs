//! What llama.cpp does otherwise with the vocabularies of some architectures.

/// What an architecture says of its vocabulary.
#[derive(Clone, Copy, Debug)]
pub struct Vocabulary {
    /// Whether SentencePiece puts a space before a text, where that is not the tokenizer's to say.
    pub space_prefix: SpacePrefix,
    /// The end of a turn, where no file says another one.
    pub end_of_turn: Option<u32>,
    /// Added tokens are what the files say, whatever their text looks like, and tokenizer.json has a say too.
    pub literal: bool,
    /// Tokens that have a place of their own whatever the files say of special tokens: the name of the key, and the text.
    pub placed: &'static [(&'static str, &'static str)],
    /// The class of transformers that reads its tokenizer.model, which export writes.
    pub class: &'static str,
    /// Whether llama.cpp merges SentencePiece's pieces by the merges of tokenizer.json, not by scores.
    pub merged: bool,
    /// Whether llama.cpp keeps tokens from being chosen that generation_config.json says.
    pub suppresses: bool,
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
    /// Nothing.
    pub const PLAIN: Vocabulary = Vocabulary {
        space_prefix: SpacePrefix::Unsaid,
        end_of_turn: None,
        literal: false,
        placed: &[],
        class: "LlamaTokenizer",
        merged: false,
        suppresses: false,
    };
    /// That of llama's children.
    pub const LLAMA: Vocabulary = Vocabulary { space_prefix: SpacePrefix::FromConfig, ..Vocabulary::PLAIN };
    /// SentencePiece without a space before a text.
    pub const GEMMA: Vocabulary =
        Vocabulary { space_prefix: SpacePrefix::No, class: "GemmaTokenizer", ..Vocabulary::PLAIN };
    /// The same, merged as tokenizer.json says.
    pub const GEMMA4: Vocabulary = Vocabulary { merged: true, ..Vocabulary::GEMMA };
    /// SentencePiece with many added tokens.
    pub const PHI3: Vocabulary = Vocabulary { literal: true, ..Vocabulary::PLAIN };

    /// Byte-level BPE whose marks of roles end a turn.
    pub const GLM: Vocabulary = Vocabulary {
        placed: &[
            ("ggml.bos_token_id", "[gMASK]"),
            ("ggml.eot_token_id", "<|user|>"),
            ("ggml.unknown_token_id", "<|endoftext|>"),
            ("ggml.eom_token_id", "<|observation|>"),
        ],
        ..Vocabulary::PLAIN
    };

    /// The same with tokens that are never chosen.
    pub const fn with_suppressed_tokens(self) -> Vocabulary {
        Vocabulary { suppresses: true, ..self }
    }

    /// The same with an end of a turn.
    pub const fn with_end_of_turn(self, id: u32) -> Vocabulary {
        Vocabulary { end_of_turn: Some(id), ..self }
    }
}
