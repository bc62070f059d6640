//! The tokenizer of a folder as the tokenizers library has it: what a GGUF file's ids are compared with.

use super::added::Added;
use super::files::{Files, Problem};
use super::sources::Sources;
use super::spaces::{Prefix, Spaces};
use super::{bpe, byte_fallback};
use tokenizers::Tokenizer;

/// The tokenizer of a folder, and where it and llama.cpp are known to differ.
pub struct Reference {
    /// The tokenizer of tokenizer.json or of older files in its words. `None` if there is tokenizer.model alone, which the
    /// library does not read.
    pub tokenizer: Option<Tokenizer>,
    /// Tokens that were added to the vocabulary, by id.
    pub marks: Vec<Mark>,
    /// Whether ids are the same for text that begins with a space, at the begin of a text and after a mark.
    pub before_space: bool,
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
    /// At the end of a text: llama.cpp puts a space before what follows, and the tokenizer does not.
    AtTheEnd,
}

/// Reads the tokenizer of a folder.
pub fn reference(files: &Files) -> Result<Reference, Problem> {
    let sources = Sources::read(files)?;
    let tokenizer = sources.json.is_some().then(|| bpe::load(&sources)).transpose()?;
    let prefix = sources.json.as_ref().filter(|json| byte_fallback::is_one(json));
    let prefix = prefix.and_then(|json| Spaces::of(json).ok()).map(|spaces| spaces.prefix);
    let added = match &tokenizer {
        Some(tokenizer) => bpe::added(tokenizer),
        None => listed(&sources),
    };
    let stands = |added: &Added| match prefix {
        Some(Prefix::First) => Stands::AtTheEnd,
        _ if added.takes_more => Stands::AmongSigns,
        _ => Stands::Anywhere,
    };
    let marks = added.iter().map(|added| Mark { text: added.text.clone(), stands: stands(added) });
    Ok(Reference {
        marks: marks.collect(),
        before_space: !matches!(prefix, Some(Prefix::First | Prefix::UnlessThere)),
        tokenizer,
    })
}

/// The added tokens that tokenizer_config.json lists.
fn listed(sources: &Sources) -> Vec<Added> {
    sources.decoder().into_iter().filter_map(|(id, entry)| Added::new(id, entry)).collect()
}
