//! Readers: what is damaged or made to do harm is refused in words, and never costs much more than its bytes.

use crate::edits::Edits;
use crate::support::plan;
use crate::support::reference_case::Case;
use crate::support::tiny_calibration;
use crate::support::tiny_gguf;
use crate::support::tiny_llama::{Folder, TinyLlama};
use crate::support::torch_file;
use crate::watched::{Inputs, watched};
use std::fmt::Display;
use std::path::{Path, PathBuf};
use tenpak_gguf::calibration::Calibration;
use tenpak_gguf::checkpoint::{Model, Options};
use tenpak_gguf::gguf::{self, File};
use tenpak_gguf::job::{self, Receipt};
use tenpak_gguf::plan::{BuiltIn, Recipe};

/// What a fuzzer chooses: one of the seeds, and how it is changed.
type Input = (u8, Edits);

/// Bytes of memory for each byte that is read.
const TIMES: usize = 64;

/// The same of a card: the parser of YAML keeps every event, and two bytes may be two of them. `checkpoint::model_card` limits their
/// number.
pub const TIMES_OF_CARDS: usize = 512;

/// Gives a target what the fuzzer makes. What a panic leaves behind is of no use to anyone: the program ends.
fn check(target: impl Fn(&Input)) {
    struct Target<F>(F);
    impl<F> std::panic::RefUnwindSafe for Target<F> {}
    impl<F: Fn(&Input)> Target<F> {
        fn call(&self, input: &Input) {
            (self.0)(input);
        }
    }
    let target = Target(target);
    let inputs = Inputs::default();
    bolero::check!().with_type::<Input>().for_each(|input| {
        inputs.count();
        target.call(input);
    });
}

/// Gives a reader one file after the other: each of `seeds`, changed, as `path`.
fn reads<T, E: Display>(path: &Path, seeds: &[Vec<u8>], times: usize, read: impl Fn() -> Result<T, E>) {
    for seed in seeds {
        std::fs::write(path, seed).expect("a file");
        if let Err(e) = read() {
            panic!("{}: a seed is refused: {e}", path.display());
        }
    }
    check(|(which, edits)| {
        let file = edits.of(&seeds[*which as usize % seeds.len()]);
        std::fs::write(path, &file).expect("a file");
        if let Err(e) = watched(file.len(), times, &read) {
            assert!(!e.to_string().is_empty(), "an error says nothing");
        }
    });
}

/// A checkpoint, with some of the values of every tensor.
pub fn read_model(path: &Path) -> Result<(), String> {
    let model = Model::open(path, &Options::default()).map_err(|e| e.to_string())?;
    for t in model.tensors.iter() {
        let mut row = vec![0.0; t.columns().min(1 << 16)];
        if row.len() == t.columns() {
            model.read_rows(t, 0, &mut row).map_err(|e| e.to_string())?;
        }
    }
    Ok(())
}

/// Files of a folder, of which one is given to the fuzzer.
fn reads_of_folder(folder: &Folder, name: &str) {
    let path = folder.path.join(name);
    let seeds = [std::fs::read(&path).expect("a seed")];
    reads(&path, &seeds, TIMES, || read_model(&folder.path));
}

/// Folders of some architectures, one after the other: the file of that name of each.
fn cases(name: &str) -> Vec<(Folder, Vec<u8>)> {
    let all = [
        "deepseek_v3",
        "falcon-7b",
        "gemma3-4b-it",
        "gpt2",
        "gpt_oss",
        "phi3-128k",
        "qwen2_moe",
        "tiny-llama-1.1M-chat-v1.0",
    ];
    let known: Vec<Case> = Case::all().into_iter().filter(|case| all.contains(&&case.name[..])).collect();
    assert_eq!(known.len(), all.len());
    let with_file = known.iter().map(Case::write).filter(|folder| folder.path.join(name).exists());
    let found: Vec<_> = with_file
        .map(|folder| {
            let seed = std::fs::read(folder.path.join(name)).expect("a file");
            (folder, seed)
        })
        .collect();
    assert!(!found.is_empty(), "no {name} is there");
    found
}

/// As [`reads_of_folder`], of several architectures.
fn reads_of_cases(name: &str) {
    let cases = cases(name);
    check(|(which, edits)| {
        let (folder, seed) = &cases[*which as usize % cases.len()];
        let file = edits.of(seed);
        std::fs::write(folder.path.join(name), &file).expect("a file");
        let entries = std::fs::read_dir(&folder.path).expect("a folder");
        let all: u64 = entries.map(|e| e.and_then(|e| e.metadata()).map_or(0, |m| m.len())).sum();
        drop(watched(all as usize, TIMES, || read_model(&folder.path)));
    });
}

fn place(name: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join(name);
    (folder, path)
}

fn written(write: impl FnOnce(&Path)) -> Vec<u8> {
    let (_folder, path) = place("seed");
    write(&path);
    std::fs::read(path).expect("a seed")
}

#[test]
fn gguf() {
    let (_folder, path) = place("model.gguf");
    let keys = tiny_gguf::bytes(&tiny_gguf::every_kind(), &[]);
    reads(&path, &[tiny_gguf::ordinary(), keys], TIMES, || {
        let file = File::open(&path)?;
        // The size of a type of the future is not known.
        file.tensors().iter().for_each(|t| drop(file.data(t)));
        Ok::<_, gguf::Error>(())
    });
}

#[test]
fn gguf_model() {
    let folder = TinyLlama::of_one_block().narrow().write();
    let model = Model::open(&folder.path, &Options::default()).expect("a model");
    let path = folder.beside("model.gguf");
    job::write(&model, &plan(&model, Recipe::default()), None, &path, &|_| {}).expect("a file");
    let seed = std::fs::read(&path).expect("a seed");
    reads(&path, &[seed], TIMES, || read_model(&path));
}

#[test]
fn gguf_of_random_bytes() {
    let (_folder, path) = place("model.gguf");
    let inputs = Inputs::default();
    bolero::check!().for_each(|bytes: &[u8]| {
        inputs.count();
        std::fs::write(&path, [b"GGUF\x03\0\0\0", bytes].concat()).expect("a file");
        drop(watched(bytes.len() + 8, TIMES, || File::open(&path)));
    });
}

#[test]
fn safetensors() {
    reads_of_folder(&TinyLlama::of_one_block().narrow().write(), "model.safetensors");
}

#[test]
fn index() {
    reads_of_folder(&TinyLlama::of_one_block().narrow().write_sharded(), "model.safetensors.index.json");
}

#[test]
fn config() {
    reads_of_cases("config.json");
}

#[test]
fn tokenizer() {
    reads_of_cases("tokenizer.json");
}

#[test]
fn tokenizer_config() {
    reads_of_cases("tokenizer_config.json");
}

#[test]
fn sentencepiece() {
    reads_of_cases("tokenizer.model");
}

#[test]
fn pickle() {
    let tiny = TinyLlama::of_one_block().narrow();
    let folder = tiny.write();
    folder.remove("model.safetensors");
    torch_file::write(&folder.path.join("pytorch_model.bin"), &tiny.tensors);
    reads_of_folder(&folder, "pytorch_model.bin");
}

/// What is within the zip file, whose check sums refuse most changes from outside.
#[test]
fn pickle_within() {
    let tiny = TinyLlama::of_one_block().narrow();
    let folder = tiny.write();
    folder.remove("model.safetensors");
    let path = folder.path.join("pytorch_model.bin");
    let seed = torch_file::pickle(&tiny.tensors);
    check(|(_, edits)| {
        torch_file::write_with(&path, &edits.of(&seed), &tiny.tensors);
        let all = std::fs::metadata(&path).expect("a file").len();
        drop(watched(all as usize, TIMES, || read_model(&folder.path)));
    });
}

#[test]
fn card() {
    let folder = TinyLlama::of_one_block().narrow().write();
    let card = "---\nlicense: apache-2.0\nlanguage: [en, de]\nbase_model:\n- a/b\ntags:\n  - x: &a 1\n  - y: *a\n---\n# A model\n";
    let path = folder.path.join("README.md");
    std::fs::write(&path, card).expect("a file");
    reads(&path, &[card.into()], TIMES_OF_CARDS, || read_model(&folder.path));
}

#[test]
fn calibration() {
    let (_folder, path) = place("model.gram.gguf");
    let weights = tiny_calibration::weights();
    let seed = written(|path| tiny_calibration::gram().write(path));
    reads(&path, &[seed], TIMES, || {
        let calibration = Calibration::open(&path)?;
        for (weight, columns, _) in &weights {
            calibration.load(weight, 0, *columns)?;
        }
        calibration.sensitivities().map(drop).and(calibration.token_shares().map(drop))
    });
}

#[test]
fn imatrix() {
    let (_folder, path) = place("imatrix");
    let weights = tiny_calibration::weights();
    let seeds =
        [written(|path| tiny_calibration::imatrix_gguf().write(path)), tiny_calibration::imatrix_dat(4)];
    reads(&path, &seeds, TIMES, || {
        let calibration = Calibration::open(&path)?;
        weights.iter().try_for_each(|(weight, columns, _)| calibration.load(weight, 0, *columns).map(drop))
    });
}

#[test]
fn recipe() {
    let (_folder, path) = place("recipe.toml");
    let built_in = ["default", "all", "keep", "plain"].map(|name| BuiltIn::named(name).expect("a recipe"));
    let mut seeds: Vec<Vec<u8>> = built_in.iter().map(|recipe| recipe.text.into()).collect();
    let own = "[[rule]]\nroles = [\"mlp.down\"]\nnames = [\"blk.*.{a,b}[0-9]?\"]\nblocks = [0, -1, \"8-15\"]\nwhy = \"so\"\n\
               types = [\"t4\", \"f16\"]\nlow_rank = 8\noptional = true\n";
    seeds.push(own.into());
    reads(&path, &seeds, TIMES, || Recipe::read(&path));
}

#[test]
fn receipt() {
    let (_folder, path) = place("receipt.json");
    reads(&path, &[include_bytes!("seeds/receipt.json").to_vec()], TIMES, || Receipt::read(&path));
}
