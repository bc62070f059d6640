//! llama.cpp's vocabularies (models/ggml-vocab-*.gguf of its tree) as checkpoints, through the converter: its tokenizer
//! makes the ids of the .out file of the texts in the .inp file, and the keys are those of the vocabulary.
//!
//! The checkpoints' own files cannot be had; `vocabulary` rebuilds them. Left out: bert-bge (WordPiece) and gemma-4 (another
//! architecture's tokenizer), which the converter does not read, and those without .inp.

use super::fixtures::*;
use super::place::Place;
use super::vocabulary;

fn is_the_same(name: &str, options: &[&str]) {
    let place = Place::new();
    let file = LLAMA.join(format!("../../models/ggml-vocab-{name}.gguf"));
    assert!(file.exists(), "{} is missing", file.display());
    let (folder, ours) = (place.path(name), place.path("ours.gguf"));
    vocabulary::rebuild(&file, &folder).expect("a checkpoint");
    place.run(
        "convert",
        tenpak(["convert", arg(&folder), "-o", arg(&ours), "--outtype", "f16"]).args(options),
    );
    let texts = |suffix: &str| std::fs::read(format!("{}{suffix}", file.display())).expect("texts and ids");
    for suffix in [".inp", ".out"] {
        std::fs::write(place.path(&format!("ours.gguf{suffix}")), texts(suffix)).expect("a copy");
    }
    let printed = place.run("test-tokenizer-0", llama("test-tokenizer-0").arg(&ours));
    assert!(
        printed.lines().any(|line| line == "Tests passed"),
        "test-tokenizer-0 tested nothing:\n{printed}"
    );
    let keys = vocabulary::compare(&file, &ours).expect("the same keys");
    let texts = texts(".out").iter().filter(|&&byte| byte == b'\n').count();
    note(format!("{texts} texts have the ids that they should; {keys} keys are the same"));
    assert!(texts > 0 && keys > 0);
}

macro_rules! vocabularies {
    ($($test:ident: $name:literal $options:expr;)*) => {
        $(
            #[test]
            fn $test() {
                is_the_same($name, &$options);
            }
        )*
    };
}

vocabularies! {
    command_r: "command-r" [];
    deepseek_coder: "deepseek-coder" [];
    deepseek_llm: "deepseek-llm" [];
    falcon: "falcon" [];
    gpt_2: "gpt-2" [];
    llama_bpe: "llama-bpe" [];
    llama_spm: "llama-spm" [];
    mpt: "mpt" [];
    phi_3: "phi-3" [];
    qwen2: "qwen2" [];
    // These are qwen2's tokens under another name; by them it would be qwen2.
    qwen35: "qwen35" ["--tokenizer-pre", "qwen35"];
    refact: "refact" [];
    starcoder: "starcoder" [];
}
