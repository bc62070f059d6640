//! What the fuzzer found, as tests by name.

use crate::readers::{TIMES_OF_CARDS, read_model};
use crate::support::tiny_gguf;
use crate::support::tiny_llama::TinyLlama;
use crate::watched::watched;
use tenpak_gguf::gguf::GgmlType;

/// The parser of YAML keeps every event, so that a card of lists takes 300 bytes of memory for each byte. Round 27 found that nothing
/// limited them.
#[test]
fn cards_of_nothing_but_lists() {
    let folder = TinyLlama::of_one_block().narrow().write();
    // Of longer ones the parser reads no more at a time than of so many bytes.
    const MOST: usize = 256 << 10;
    for list in ["- []\n", "- - - - - - - -\n", "a: {}\n"] {
        for bytes in [20 << 10, 200 << 10, 4 << 20] {
            let card = format!("---\ntags:\n{}---\n", list.repeat(bytes / list.len()));
            std::fs::write(folder.path.join("README.md"), &card).expect("a file");
            let bytes = card.len().min(MOST);
            watched(bytes, TIMES_OF_CARDS, || read_model(&folder.path))
                .expect("a card is no reason to refuse a model");
        }
    }
}

/// A matrix of integers is copied as it is; whoever wants its weights gets an error (round 29).
#[test]
fn integers_are_no_weights() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("model.gguf");
    let keys = [("general.architecture".to_owned(), "llama".into())];
    const I32: GgmlType = GgmlType(26);
    tiny_gguf::write(&path, &keys, &[tiny_gguf::tensor("blk.0.ffn_up.weight", &[256, 4], I32)]);
    let said = read_model(&path).expect_err("they are no weights");
    assert!(said.contains("`blk.0.ffn_up.weight` has numbers in i32"), "{said}");
}
