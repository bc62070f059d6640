//! The tokenizer of a folder as the tokenizers library has it: what a GGUF file's ids are compared with.

use super::added::Added;
use super::bpe;
use super::files::{Files, Problem};
use super::sources::Sources;
use tokenizers::Tokenizer;

/// The tokenizer of a folder, and where it and llama.cpp are known to differ.
pub struct Reference {
    /// The tokenizer of tokenizer.json or of older files in its words. `None` if there is tokenizer.model alone, which the
    /// library does not read.
    pub tokenizer: Option<Tokenizer>,
    /// Tokens that were added to the vocabulary, by id.
    pub marks: Vec<Mark>,
}

/// A token that was added to a vocabulary, such as those around the turns of a chat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Its text.
    pub text: String,
    /// Where llama.cpp finds the same ids around it.
    pub stands: Stands,
}

/// Where an added token can stand in a text without a known difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stands {
    /// Anywhere.
    Anywhere,
    /// Between signs that are neither letters nor spaces: the tokenizer takes spaces around it, or wants no letter there.
    AmongSigns,
}

/// Reads the tokenizer of a folder.
pub fn reference(files: &Files) -> Result<Reference, Problem> {
    let sources = Sources::read(files)?;
    let tokenizer = sources.json.is_some().then(|| bpe::load(&sources)).transpose()?;
    let added = match &tokenizer {
        Some(tokenizer) => bpe::added(tokenizer),
        None => listed(&sources),
    };
    let stands = |added: &Added| if added.takes_more { Stands::AmongSigns } else { Stands::Anywhere };
    let marks = added.iter().map(|added| Mark { text: added.text.clone(), stands: stands(added) });
    Ok(Reference { marks: marks.collect(), tokenizer })
}

/// The added tokens that tokenizer_config.json lists.
fn listed(sources: &Sources) -> Vec<Added> {
    sources.decoder().into_iter().filter_map(|(id, entry)| Added::new(id, entry)).collect()
}
