//! Tokens that a model has no embeddings for. One rule for all kinds of vocabularies: added ones that nothing needs are left
//! out and named in a note, others are an error.

use super::tokens::KeyList;
use std::collections::HashMap;

/// Tokens whose ids are beyond the embeddings.
#[derive(Debug, Default)]
pub struct Beyond {
    tokens: Vec<(usize, String, bool)>,
    /// Places in the list, by id.
    places: HashMap<usize, usize>,
}

impl Beyond {
    /// Keeps a token in mind; whether it was added to its vocabulary.
    pub fn add(&mut self, id: usize, text: &str, is_added: bool) {
        match self.places.get(&id) {
            Some(place) => self.tokens[*place].2 |= is_added,
            None => {
                self.places.insert(id, self.tokens.len());
                self.tokens.push((id, text.to_owned(), is_added));
            }
        }
    }

    /// Applies the rule. `size` is the number of embeddings, `needed` says what needs a text, if anything does.
    pub fn settle(
        self,
        size: usize,
        needed: impl Fn(&str, &KeyList) -> Option<&'static str>,
        keys: &mut KeyList,
    ) -> Result<(), String> {
        for (id, text, is_added) in &self.tokens {
            let without = format!(
                "token {text:?} has id {id}, but vocab_size is {size}, so that the model has no embedding for it"
            );
            if !is_added {
                return Err(format!(
                    "{without}: take the tokenizer of this model, or give the model rows for all tokens \
                     (model.resize_token_embeddings(len(tokenizer)) of transformers)"
                ));
            }
            if let Some(what) = needed(text, keys) {
                return Err(format!(
                    "{without}, and {what} needs it: give the model a row for it \
                     (model.resize_token_embeddings(len(tokenizer)) of transformers), or remove it from the tokenizer's files"
                ));
            }
        }
        let texts: Vec<String> = self.tokens.iter().map(|(id, text, _)| format!("`{text}` ({id})")).collect();
        if !texts.is_empty() {
            keys.note(format!(
                "left out: added tokens that the model has no embeddings for (vocab_size is {size}): {}",
                texts.join(", ")
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settled(id: usize, is_added: bool, needed: Option<&'static str>) -> Result<Vec<String>, String> {
        let mut beyond = Beyond::default();
        beyond.add(id, "<pad>", is_added);
        let mut keys = KeyList::default();
        beyond.settle(32000, |_, _| needed, &mut keys).map(|()| keys.notes)
    }

    #[test]
    fn what_nothing_needs_is_left_out_with_a_note() {
        assert!(settled(32000, true, None).unwrap()[0].contains("`<pad>` (32000)"));
        assert!(
            settled(32000, true, Some("the chat template"))
                .unwrap_err()
                .contains("the chat template needs it")
        );
        assert!(settled(32000, false, None).unwrap_err().contains("resize_token_embeddings"));
    }
}
