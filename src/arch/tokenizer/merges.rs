//! Merges of BPE as scores of pieces, for llama.cpp's tokenizer of SentencePiece vocabularies.
//!
//! That tokenizer joins, of all neighbours whose joined text is a piece, those whose piece has the highest score, the
//! leftmost first; BPE joins those whose merge comes first. Where both ends of a piece are borders between symbols,
//! what BPE has made of its text so far is what it makes of the text alone. The two symbols before the last merge are
//! therefore the same wherever the piece is made, and the rank of that merge, less than zero, is its score. A piece that BPE
//! never makes has to be one that the other tokenizer never makes either: alone, BPE must leave three symbols or more.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};

/// A vocabulary with its merges.
pub struct Merges<'a> {
    /// Texts and ids.
    vocabulary: &'a HashMap<String, u32>,
    /// The rank of the merge of a pair of ids, and the id that it gives.
    ranks: HashMap<(u32, u32), (u32, u32)>,
}

/// What BPE makes of the text of a piece alone.
#[derive(Debug, PartialEq, Eq)]
pub enum Made {
    /// The piece; with the rank of the last merge, if it is longer than a character.
    Piece(Option<u32>),
    /// Two symbols that it does not join.
    Two(String, String),
    /// More symbols.
    More,
}

impl<'a> Merges<'a> {
    /// The merges in their order.
    pub fn new(
        vocabulary: &'a HashMap<String, u32>,
        merges: &[(String, String)],
    ) -> Result<Merges<'a>, String> {
        let mut ranks = HashMap::new();
        for (rank, (left, right)) in merges.iter().enumerate() {
            let id = |text: &str| {
                let id = vocabulary.get(text).copied();
                id.ok_or_else(|| {
                    format!("merge {rank} is of {left:?} and {right:?}, but {text:?} is no token")
                })
            };
            let joined = id(&format!("{left}{right}"))?;
            ranks.insert((id(left)?, id(right)?), (rank as u32, joined));
        }
        Ok(Merges { vocabulary, ranks })
    }

    /// What BPE makes of a text alone.
    pub fn made_of(&self, text: &str) -> Made {
        // A character that is no token is a symbol that nothing is merged with.
        let mut symbols: Vec<(&str, Option<u32>)> = text
            .char_indices()
            .map(|(at, c)| &text[at..at + c.len_utf8()])
            .map(|c| (c, self.vocabulary.get(c).copied()))
            .collect();
        // Symbols that are left begin where they did and end where the next begins; what is merged into its left neighbour is
        // not there any more. All merges that are possible wait in their order, also those whose symbols have changed since.
        let count = symbols.len();
        let (mut before, mut after): (Vec<_>, Vec<_>) =
            (0..count).map(|i| (i.wrapping_sub(1), i + 1)).unzip();
        let merge = |left: Option<u32>, right: Option<u32>| {
            let pair = (left?, right?);
            self.ranks.get(&pair).map(|&(rank, id)| (rank, id, pair))
        };
        let mut waiting = BinaryHeap::new();
        for (i, pair) in symbols.windows(2).enumerate() {
            waiting.extend(merge(pair[0].1, pair[1].1).map(|(rank, id, pair)| Reverse((rank, i, id, pair))));
        }
        let mut last = None;
        while let Some(Reverse((rank, i, id, pair))) = waiting.pop() {
            let next = after[i];
            let is_there = next < count && !symbols[i].0.is_empty();
            if !is_there || (symbols[i].1, symbols[next].1) != (Some(pair.0), Some(pair.1)) {
                continue;
            }
            let start = symbols[i].0.as_ptr() as usize - text.as_ptr() as usize;
            let len = symbols[i].0.len() + symbols[next].0.len();
            symbols[i] = (&text[start..start + len], Some(id));
            symbols[next] = ("", None);
            after[i] = after[next];
            if after[i] < count {
                before[after[i]] = i;
                let right = merge(Some(id), symbols[after[i]].1);
                waiting.extend(right.map(|(rank, id, pair)| Reverse((rank, i, id, pair))));
            }
            if let Some(&(_, left)) = symbols.get(before[i]) {
                let left = merge(left, Some(id));
                waiting.extend(left.map(|(rank, id, pair)| Reverse((rank, before[i], id, pair))));
            }
            last = Some(rank);
        }
        symbols.retain(|(text, _)| !text.is_empty());
        match symbols[..] {
            [] | [_] => Made::Piece(last),
            [(a, _), (b, _)] => Made::Two(a.into(), b.into()),
            _ => Made::More,
        }
    }

    /// Scores of texts, by id. `is_cut_before` says which texts are found before anything is merged, and never merged
    /// therefore.
    pub fn scores(
        &self,
        texts: &[String],
        is_cut_before: impl Fn(usize) -> bool,
    ) -> Result<Vec<f32>, String> {
        let never = -(self.ranks.len() as f32) - 1.0;
        let score = |(id, text): (usize, &String)| match self.made_of(text) {
            // Up to 2^24 an f32 is every integer.
            Made::Piece(Some(rank)) => Ok(-(rank as f32)),
            Made::Two(a, b) if !is_cut_before(id) => Err(format!(
                "no merge makes token {id}, {text:?}, but llama.cpp would make it of {a:?} and {b:?}: its tokenizer knows \
                 no merges, and this one cannot be written as scores"
            )),
            _ => Ok(never),
        };
        texts.iter().enumerate().map(score).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vocabulary(texts: &[&str]) -> HashMap<String, u32> {
        texts.iter().zip(0..).map(|(text, id)| ((*text).to_owned(), id)).collect()
    }

    fn pairs(merges: &[(&str, &str)]) -> Vec<(String, String)> {
        merges.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
    }

    /// Of all merges that make a piece, the score is the rank of the one that is used.
    #[test]
    fn scores_are_ranks_of_the_merges_that_are_used() {
        let texts = ["a", "b", "c", "ab", "bc", "abc", "<x>"];
        let vocabulary = vocabulary(&texts);
        let merges = pairs(&[("a", "bc"), ("a", "b"), ("b", "c"), ("ab", "c")]);
        let merges = Merges::new(&vocabulary, &merges).unwrap();
        // ("a", "bc") is first, but `ab` is made before `bc`.
        assert_eq!(merges.made_of("abc"), Made::Piece(Some(3)));
        assert_eq!(merges.made_of("<x>"), Made::More);
        let texts = texts.map(str::to_owned);
        assert_eq!(merges.scores(&texts, |_| false).unwrap(), [-5.0, -5.0, -5.0, -1.0, -2.0, -3.0, -5.0]);
    }

    #[test]
    fn equal_merges_begin_at_the_left() {
        let vocabulary = vocabulary(&["a", "aa", "aaa"]);
        let merges = pairs(&[("a", "a"), ("aa", "a")]);
        let merges = Merges::new(&vocabulary, &merges).unwrap();
        assert_eq!(merges.made_of("aaa"), Made::Piece(Some(1)));
        assert_eq!(merges.made_of("aaaa"), Made::Two("aa".into(), "aa".into()));
    }

    /// A token may be as long as a file.
    #[test]
    fn the_time_of_long_texts_does_not_grow_with_the_square() {
        let vocabulary = vocabulary(&["a", "aa", "aaaa"]);
        let merges = pairs(&[("a", "a"), ("aa", "aa")]);
        let merges = Merges::new(&vocabulary, &merges).unwrap();
        assert_eq!(merges.made_of(&"a".repeat(1 << 20)), Made::More);
        assert_eq!(merges.made_of("aaaaaa"), Made::Two("aaaa".into(), "aa".into()));
    }

    #[test]
    fn pieces_that_only_llama_cpp_would_make_are_refused() {
        let vocabulary = vocabulary(&["a", "b", "ab", "c", "abc", "x模"]);
        let merges = pairs(&[("a", "b")]);
        let merges = Merges::new(&vocabulary, &merges).unwrap();
        assert_eq!(merges.made_of("abc"), Made::Two("ab".into(), "c".into()));
        assert_eq!(merges.made_of("x模"), Made::Two("x".into(), "模".into()));
        let texts = ["abc".to_owned()];
        let error = merges.scores(&texts, |_| false).unwrap_err();
        assert!(error.contains("token 0, \"abc\"") && error.contains("\"ab\" and \"c\""), "{error}");
        assert!(merges.scores(&texts, |_| true).is_ok());
    }

    #[test]
    fn merges_of_no_tokens_are_refused() {
        let vocabulary = vocabulary(&["a", "b"]);
        let error = Merges::new(&vocabulary, &pairs(&[("a", "b")])).err().unwrap();
        assert!(error.contains("\"ab\" is no token"), "{error}");
    }
}
