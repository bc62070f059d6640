//! Classes that there is no table for: what llama.cpp's converter makes of three checkpoints goes on to files that llama.cpp
//! loads and computes. `foreign/NAME.gguf.gz` is what the converter wrote (`scripts/reference_foreign.py`), and a script gives
//! it out in the converter's place, since PyTorch takes gigabytes. Where `TENPAK_PYTHON` names a Python that has it, the
//! converter itself is run too.

use super::fixtures::*;
use super::place::{Place, ROOT, THREADS};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use tenpak_gguf::gguf::File;
use tenpak_gguf::names;

/// What stands in for the converter: it writes what the real one wrote of that class.
const RECORDED: &str = r#"
import gzip, pathlib, sys
output = sys.argv[sys.argv.index("--outfile") + 1]
recorded = gzip.open(pathlib.Path(__file__).with_name("recorded.gguf.gz")).read()
for percent in range(0, 101, 25):
    print(f"Writing: {percent}%|", end="\r", file=sys.stderr)
pathlib.Path(output).write_bytes(recorded)
"#;

const IDS: &str = "3 7 19 22 5 11 30 8 14 2 25 17 6 28 9 21";

/// Of the largest logit: kernels round activations to 8 bits, and two blocks of random weights do not average that out.
const MAX_DIFFERENCE: f64 = 0.05;

/// A checkpoint that the converter was run on.
struct Case {
    name: &'static str,
    class: &'static str,
    /// The pre-tokenizer's name, which a vocabulary of a test does not show.
    pre: &'static str,
    /// Some matrices that graphs multiply with, and other matrices.
    multiplied: &'static [&'static str],
    others: &'static [&'static str],
}

const HYBRID: Case = Case {
    name: "falcon-h1",
    class: "FalconH1ForCausalLM",
    pre: "falcon3",
    multiplied: &[
        "blk.0.ssm_in.weight",
        "blk.1.ssm_out.weight",
        "blk.0.attn_q.weight",
        "blk.1.ffn_down.weight",
    ],
    others: &["blk.0.ssm_conv1d.weight", "blk.0.ssm_a", "blk.1.ssm_d"],
};

const EXPERTS: Case = Case {
    name: "ernie4.5-moe",
    class: "Ernie4_5_MoeForCausalLM",
    pre: "",
    multiplied: &["blk.1.ffn_down_exps.weight", "blk.1.ffn_gate_shexp.weight", "blk.0.ffn_up.weight"],
    others: &["blk.1.ffn_gate_inp.weight"],
};

const VISION: Case = Case {
    name: "qwen2.5-vl",
    class: "Qwen2_5_VLForConditionalGeneration",
    pre: "qwen2",
    multiplied: &["blk.0.attn_q.weight", "blk.1.ffn_up.weight", "output.weight"],
    others: &[],
};

impl Case {
    /// A folder of the class, and beside it what stands in for the converter. The weights are not looked at.
    fn folder(&self, place: &Place) -> PathBuf {
        let folder = place.path(self.name);
        std::fs::create_dir(&folder).expect("a folder");
        std::fs::write(folder.join("config.json"), json!({"architectures": [self.class]}).to_string())
            .expect("a file");
        let header =
            json!({"model.embed_tokens.weight": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}})
                .to_string();
        let bytes = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &[0; 4]].concat();
        std::fs::write(folder.join("model.safetensors"), bytes).expect("a file");
        let recorded = Path::new(ROOT).join(format!("tests/llama/foreign/{}.gguf.gz", self.name));
        std::fs::copy(recorded, place.path("recorded.gguf.gz")).expect("a copy");
        std::fs::write(place.path("convert_hf_to_gguf.py"), RECORDED).expect("a file");
        folder
    }

    /// What the converter wrote.
    fn recorded(&self, place: &Place) -> PathBuf {
        let (script, output) = (place.path("convert_hf_to_gguf.py"), place.path("recorded.gguf"));
        place.run("unpack", Command::new("python3").arg(script).arg("--outfile").arg(&output));
        output
    }
}

/// The converter of this program with what stands in for that of llama.cpp.
fn convert(place: &Place, folder: &Path, output: &Path) -> Command {
    let mut command = tenpak(["convert", arg(folder), "-o", arg(output), "--python", "python3"]);
    command.arg("--converter").arg(place.path("")).args(["--threads", &THREADS.to_string()]);
    command
}

/// The most likely token and its logit after every token.
fn logits(place: &Place, name: &str, model: &Path) -> Vec<(u32, f64)> {
    let text = place.run(name, Command::new(logits_program()).arg(model).args(IDS.split(' ')));
    let pairs = text.lines().filter_map(|line| line.split_once(' '));
    pairs.filter_map(|(token, logit)| Some((token.parse().ok()?, logit.parse().ok()?))).collect()
}

/// The plain file is the converter's; a calibrated one loads, computes what its weights as floats do, and has every matrix
/// that graphs multiply with in blocks, and no other.
fn goes_on(case: &Case) {
    let place = Place::new();
    let folder = case.folder(&place);
    let recorded = case.recorded(&place);
    let plain = place.path("plain.gguf");
    place.run("convert-plain", convert(&place, &folder, &plain).args(["--outtype", "bf16"]));
    assert_same_lines(&digest(&place, &plain), &digest(&place, &recorded));

    let (text, cache, out) = (place.path("text"), place.path("cache"), place.path("out.gguf"));
    let words = (0..400).map(|n| format!("number {n} of the words of a text, and {} more\n", n * n % 91));
    std::fs::write(&text, words.collect::<String>()).expect("a file");
    let mut calibrated = convert(&place, &folder, &out);
    calibrated.args([
        "--type",
        "t3",
        "--calibration-text",
        arg(&text),
        "--calibration-tokens",
        "1024",
        "--budget",
        "0",
    ]);
    calibrated.args(["--cache", arg(&cache), "--collector", arg(&LLAMA)]);
    let said = place.run("convert", &mut calibrated);
    assert!(said.contains(case.class) && said.contains("calibration: "), "{said}");
    let kind = |file: &File, name: &str| {
        file.tensors()
            .iter()
            .find(|t| t.name == name)
            .unwrap_or_else(|| panic!("there is no {name}"))
            .kind
            .name()
    };
    let (before, after) = (File::open(&recorded).expect("a file"), File::open(&out).expect("a file"));
    for name in case.multiplied {
        assert!(kind(&after, name).starts_with('t'), "{name} is {}", kind(&after, name));
    }
    for name in case.others {
        assert_eq!(kind(&after, name), kind(&before, name), "{name}");
    }

    let floats = place.path("floats.gguf");
    place.run("dequantize", &mut tenpak(["convert", arg(&out), "-o", arg(&floats), "--outtype", "f32"]));
    let (ours, theirs) = (logits(&place, "ours", &out), logits(&place, "floats", &floats));
    assert_eq!((ours.len(), theirs.len()), (16, 16));
    let largest = theirs.iter().map(|(_, logit)| logit.abs()).fold(0.0, f64::max);
    let differences = ours.iter().zip(&theirs).map(|(a, b)| (a.1 - b.1).abs() / largest);
    let difference = differences.fold(0.0, f64::max);
    let weights = case.multiplied.len();
    note(format!(
        "logits within {:.2} % of the largest, {largest:.3}; {weights} matrices looked at",
        100.0 * difference
    ));
    assert!(difference < MAX_DIFFERENCE, "logits differ by {difference} of the largest");
}

#[test]
fn a_hybrid_of_state_space_and_attention() {
    goes_on(&HYBRID);
}

#[test]
fn experts() {
    goes_on(&EXPERTS);
}

#[test]
fn a_language_model_beside_a_tower_for_images() {
    goes_on(&VISION);
}

/// `names::is_multiplied` against the operations of llama.cpp's own table.
#[test]
fn what_is_multiplied_is_what_llama_cpp_says() {
    let source =
        std::fs::read_to_string(LLAMA.join("../../src/llama-arch.cpp")).expect("the tree of llama.cpp");
    let entries = |line: &str| -> Option<(String, String)> {
        let (tensor, rest) = line
            .trim()
            .strip_prefix("{ LLM_TENSOR_")
            .or(line.trim().strip_prefix("{LLM_TENSOR_"))?
            .split_once(',')?;
        Some((tensor.trim().to_owned(), rest.trim().to_owned()))
    };
    let mut compared = 0;
    let lines: Vec<(String, String)> = source.lines().filter_map(entries).collect();
    let operation_of = |tensor: &str| {
        let rest = lines
            .iter()
            .find_map(|(name, rest)| (name == tensor && rest.starts_with('{')).then_some(rest))?;
        Some(rest.split_once("GGML_OP_")?.1.split('}').next()?.to_owned())
    };
    for (tensor, rest) in lines.iter().filter(|(_, rest)| rest.starts_with('"')) {
        let Some(name) = rest.split('"').nth(1) else { continue };
        let Some(operation) = operation_of(tensor) else { continue };
        let is_looked_up =
            ["token_embd", "per_layer_token_embd", "blk.%d.nextn.embed_tokens"].contains(&name);
        let expected = operation.starts_with("MUL_MAT") || is_looked_up;
        let weight = format!("{}.weight", name.replacen("%d", "0", 1).replace("%d", "1"));
        assert_eq!(names::is_multiplied(&weight), expected, "{weight}, {operation}");
        compared += 1;
    }
    note(format!("{compared} names"));
    assert!(compared > 200, "{compared} names");
}

/// Stands in for transformers: runs code of a checkpoint where transformers would.
const TRANSFORMERS: &str = r#"
class AutoTokenizer:
    @classmethod
    def from_pretrained(cls, folder, trust_remote_code=None):
        if trust_remote_code:
            exec(open(folder + "/tokenization.py").read())
class AutoConfig(AutoTokenizer):
    pass
"#;
const DYNAMIC: &str = r#"
def get_class_in_module(name, path):
    exec(open(path).read())
def get_class_from_dynamic_module(name, path):
    return get_class_in_module(name, path)
"#;
const TRUSTING: &str = r#"
import json, sys
from transformers import AutoTokenizer
from transformers.dynamic_module_utils import get_class_from_dynamic_module
AutoTokenizer.from_pretrained(sys.argv[1], trust_remote_code=True)
get_class_from_dynamic_module("Tokenizer", sys.argv[1] + "/tokenization.py")
"#;

#[test]
fn code_of_a_checkpoint_is_never_run() {
    let place = Place::new();
    let folder = HYBRID.folder(&place);
    let write = |path: PathBuf, text: &str| {
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(path, text).expect("a file");
    };
    write(place.path("convert_hf_to_gguf.py"), TRUSTING);
    write(place.path("packages/transformers/__init__.py"), TRANSFORMERS);
    write(place.path("packages/transformers/dynamic_module_utils.py"), DYNAMIC);
    let marks = format!("open({:?}, 'w')", place.path("mark"));
    // What the converter may be asked to run, and what Python would take for a module of its own.
    for name in ["tokenization.py", "json.py", "os.py", "runpy.py"] {
        write(folder.join(name), &marks);
    }
    let output = place.path("out.gguf");
    let mut command = convert(&place, &folder, &output);
    command.arg("--no-calibration").current_dir(&folder).env("PYTHONPATH", place.path("packages"));
    let done = command.output().expect("it starts");
    let said = String::from_utf8_lossy(&done.stderr);
    assert!(!done.status.success() && said.contains("code of checkpoints is never run"), "{said}");
    assert!(!place.path("mark").exists(), "code of the checkpoint was run");
    // Without the wrapper it would have been.
    let mut bare = Command::new("python3");
    bare.arg(place.path("convert_hf_to_gguf.py")).arg(&folder).env("PYTHONPATH", place.path("packages"));
    place.run("bare", &mut bare);
    assert!(place.path("mark").exists());
}

#[test]
fn a_killed_conversion_leaves_nothing() {
    let place = Place::new();
    let folder = HYBRID.folder(&place);
    let script = "import sys, time\nopen(sys.argv[sys.argv.index('--outfile') + 1], 'w').write('half')\n\
                  print('INFO:begun', file=sys.stderr)\ntime.sleep(600)\n";
    std::fs::write(place.path("convert_hf_to_gguf.py"), script).expect("a file");
    std::fs::create_dir(place.path("out")).expect("a folder");
    let mut command = convert(&place, &folder, &place.path("out/out.gguf"));
    command.arg("--no-calibration").stdin(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().expect("it starts");
    let files = || -> Vec<u64> {
        let entries = std::fs::read_dir(place.path("out")).expect("a folder").flatten();
        entries.filter_map(|entry| Some(entry.metadata().ok()?.len())).collect()
    };
    let wait_for = |what: &str, is_so: &dyn Fn() -> bool| {
        let start = Instant::now();
        while !is_so() {
            assert!(start.elapsed() < Duration::from_secs(120), "{what}");
            std::thread::sleep(Duration::from_millis(50));
        }
    };
    wait_for("the converter writes", &|| files().iter().any(|bytes| *bytes > 0));
    child.kill().expect("it runs");
    child.wait().expect("it ends");
    wait_for("the file goes", &|| files().is_empty());
}

/// The real converter on the checkpoints of which the recorded files are.
#[test]
fn the_converter_itself() {
    let Some(python) = std::env::var_os("TENPAK_PYTHON").map(PathBuf::from) else {
        note("NOT TESTED HERE: TENPAK_PYTHON names no Python with ggml-patches/converter-requirements.txt");
        return;
    };
    let place = Place::new();
    let mut make = Command::new(&python);
    let script = Path::new(ROOT).join("scripts/reference_foreign.py");
    place.run("folders", make.arg(script).arg("folders").arg(place.path("folders")));
    for case in [HYBRID, EXPERTS, VISION] {
        let (folder, out) =
            (place.path("folders").join(case.name), place.path(&format!("{}.gguf", case.name)));
        let mut command = tenpak(["convert", arg(&folder), "-o", arg(&out), "--outtype", "bf16"]);
        command.arg("--converter").arg(LLAMA.join("../..")).arg("--python").arg(&python);
        if !case.pre.is_empty() {
            command.args(["--tokenizer-pre", case.pre]);
        }
        place.run(&format!("convert-{}", case.name), &mut command);
        std::fs::remove_dir_all(place.path(case.name)).ok();
        case.folder(&place);
        assert_same_lines(&digest(&place, &out), &digest(&place, &case.recorded(&place)));
    }
}
