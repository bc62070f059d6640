//! `eval` with programs that are scripts: they print what llama.cpp's printed once, and write down what they were asked.
//! `tests/llama/eval.rs` runs llama.cpp.
#![cfg(unix)]

use crate::support::{assert_says, files_in, tiny_gguf};
use serde_json::Value as Json;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;
use tenpak_gguf::gguf::{GgmlType, Value};
use tenpak_gguf::job::CALIBRATION_KEY;

/// What llama-perplexity printed: KLD 0.054284 ± 0.003852, perplexity 10.653781 over 9.986361, three chunks.
const DIVERGENCE: &str = include_str!("../golden/llama/divergence.log");

/// Writes predictions, or prints `divergence` or scores; appends what it was asked to `asked`.
const PERPLEXITY: &str = r#"echo "$*" >>asked
logits= what=
while [ $# -gt 0 ]; do
    case $1 in
        --kl-divergence-base) logits=$2 ;;
        --kl-divergence) what=divergence ;;
        --hellaswag) printf 'task\tacc_norm\t95%% confidence interval\n1\t100.0%%\t[1%%, 100%%]\n2\t50.0%%\t[9%%, 90%%]\n'; exit ;;
        --multiple-choice) printf 'task\tacc_norm\n4\t25.0\n'; exit ;;
    esac
    shift
done
case $what in
    divergence) [ -e "$logits" ] && cat divergence ;;
    *) echo predictions >"$logits"; if [ -e broken ]; then echo "no memory is left"; exit 7; fi ;;
esac"#;

const BENCH: &str = r#"echo "bench $*" >>asked
echo '[{"n_prompt": 512, "n_gen": 0, "avg_ts": 123.4, "stddev_ts": 1}, {"n_prompt": 0, "n_gen": 64, "avg_ts": 12.3, "stddev_ts": 0}]'"#;

const COLLECTOR: &str = r#"echo "collector $*" >>asked
echo "words of its own" >"$4""#;

/// Writes another text for each model.
const COMPLETION: &str = r#"echo "completion $*" >>asked
printf 'text </script> of %s [end of text]\n\n' "$2""#;

struct Place {
    folder: TempDir,
}

struct Done {
    code: i32,
    out: String,
    err: String,
}

impl Place {
    /// `base.gguf`, `small.gguf`, `other.gguf`, two texts and the programs.
    fn new() -> Place {
        let place = Place { folder: tempfile::tempdir().expect("a folder") };
        for (name, kind) in [("base", GgmlType::F16), ("small", GgmlType(515)), ("other", GgmlType(8))] {
            let tensors = [
                tiny_gguf::tensor("token_embd.weight", &[64, 4], GgmlType::F16),
                tiny_gguf::tensor("blk.0.ffn_down.weight", &[64, 4], kind),
            ];
            tiny_gguf::write(&place.path(&format!("{name}.gguf")), &[], &tensors);
        }
        std::fs::write(place.path("wiki.txt"), "words").expect("a file");
        std::fs::write(place.path("code.txt"), "let x").expect("a file");
        std::fs::write(place.path("divergence"), DIVERGENCE).expect("a file");
        place.program("llama-perplexity", PERPLEXITY);
        place.program("llama-bench", BENCH);
        place.program("llama-completion", COMPLETION);
        place.program("llama-tenpak-calibrate", COLLECTOR);
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn program(&self, name: &str, script: &str) {
        let path = self.path("bin").join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("a file");
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).expect("permissions");
    }

    /// Runs `eval` in the folder.
    fn eval(&self, args: &[&str]) -> Done {
        self.eval_in(self.folder.path(), args)
    }

    fn eval_in(&self, folder: &Path, args: &[&str]) -> Done {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tenpak-gguf"));
        command.current_dir(folder).env_remove("TENPAK_COLLECTOR").env("PATH", "/usr/bin:/bin");
        command.arg("eval").args(args).arg("--collector").arg(self.path("bin"));
        command.arg("--cache").arg(self.path("cache"));
        let output = command.output().expect("it starts");
        Done {
            code: output.status.code().expect("it ends by itself"),
            out: String::from_utf8(output.stdout).expect("text"),
            err: String::from_utf8(output.stderr).expect("text"),
        }
    }

    /// What `eval small.gguf --against base.gguf -f wiki.txt` with more options prints.
    #[track_caller]
    fn small(&self, more: &[&str]) -> Done {
        let done = self.eval(&[&["small.gguf", "--against", "base.gguf", "-f", "wiki.txt"], more].concat());
        assert!(!done.err.contains("panicked"), "{}", done.err);
        done
    }

    /// What the programs were asked since this was last called.
    fn asked(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.path("asked")).unwrap_or_default();
        let _ = std::fs::remove_file(self.path("asked"));
        text.lines().map(str::to_owned).collect()
    }
}

impl Done {
    #[track_caller]
    fn succeeds(self) -> String {
        assert_eq!(self.code, 0, "{}{}", self.out, self.err);
        self.out
    }

    #[track_caller]
    fn fails(self, words: &[&str]) -> Done {
        assert_eq!(self.code, 1, "{}{}", self.out, self.err);
        assert_says(&self.err, words);
        assert!(self.err.contains("error: "), "{}", self.err);
        self
    }
}

#[test]
fn files_and_texts_make_tables() {
    let place = Place::new();
    let args =
        ["small.gguf", "other.gguf", "--against", "base.gguf", "-f", "wiki.txt", "-f", "code=code.txt"];
    let out = place.eval(&args).succeeds();
    let rows = |first: &str| {
        let rows = out.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
        rows.filter(|row| row.starts_with(first)).collect::<Vec<_>>()
    };
    let figures = "KLD median 99 % 99.9 % perplexity change same first choice";
    assert_eq!(rows("file text"), [format!("file text positions {figures}")]);
    let of = "0.0543 ± 0.0039 0.0295 0.4488 1.4402 10.654 ± 1.112 +6.68 ± 1.47 % 89.41 ± 1.11 %";
    assert_eq!(rows("small.gguf wiki.txt"), [format!("small.gguf wiki.txt 765 {of}")]);
    assert_eq!(rows("other.gguf code"), [format!("other.gguf code 765 {of}")]);
    // Twice as many positions have an error that is smaller by the root of two, and no common percentiles.
    let all = "0.0543 ± 0.0027 - - - 10.654 ± 0.787 +6.68 ± 1.04 % 89.41 ± 0.79 %";
    assert_eq!(rows("small.gguf all"), [format!("small.gguf all 1530 {all}")]);
    let bits = GgmlType(515).bytes(256).expect("whole blocks") as f64 * 8.0 / 256.0;
    assert!(rows("small.gguf")[0].ends_with(&format!(" {bits:.3}")), "{out}");
    let asked = place.asked();
    assert_eq!(asked.len(), 6, "{asked:?}");
    assert!(
        asked[0].starts_with("-m base.gguf -t ") && asked[0].contains(" -f wiki.txt -c 512 --chunks 16 ")
    );
    assert!(asked[5].contains("-m other.gguf") && asked[5].ends_with("--kl-divergence"), "{asked:?}");
}

#[test]
fn predictions_of_the_base_are_kept_by_content() {
    let place = Place::new();
    let passes_of_base = || place.asked().iter().filter(|line| line.starts_with("-m base")).count();
    place.small(&[]).succeeds();
    assert_eq!(passes_of_base(), 1);
    // Another name or time makes no difference.
    std::fs::copy(place.path("base.gguf"), place.path("again.gguf")).unwrap();
    let done = place.eval(&["other.gguf", "--against", "again.gguf", "-f", "wiki.txt"]);
    assert_says(&done.err, &["predictions of the base, from the cache"]);
    done.succeeds();
    assert_eq!(place.asked().len(), 1);
    type Change = fn(&Place);
    let others: [(&[&str], Change); 4] = [
        (&["--chunks", "4"], |_| {}),
        (&[], |place| std::fs::write(place.path("wiki.txt"), "other words").unwrap()),
        (&[], |place| place.program("llama-perplexity", &format!("# another\n{PERPLEXITY}"))),
        (&[], |place| std::fs::copy(place.path("other.gguf"), place.path("base.gguf")).map(drop).unwrap()),
    ];
    for (options, change) in others {
        change(&place);
        place.small(options).succeeds();
        assert_eq!(passes_of_base(), 1, "{options:?}");
    }
    let cached = files_in(&place.path("cache"));
    assert!(cached.len() == 5 && cached.iter().all(|name| name.ends_with(".logits")), "{cached:?}");
}

#[test]
fn a_failed_pass_leaves_nothing_in_the_cache() {
    let place = Place::new();
    std::fs::write(place.path("broken"), "").unwrap();
    place.small(&[]).fails(&["base.gguf on wiki.txt: ", "llama-perplexity failed", "no memory is left"]);
    assert!(files_in(&place.path("cache")).is_empty());
    std::fs::remove_file(place.path("broken")).unwrap();
    place.small(&[]).succeeds();
}

#[test]
fn limits_decide_how_it_ends() {
    let place = Place::new();
    place.small(&["--max-kld", "0.06", "--max-ppl-increase", "7%"]).succeeds();
    let done = place.small(&["--max-kld", "0.05"]).fails(&["small.gguf: 0.0543 is above --max-kld 0.05"]);
    assert!(done.out.contains("0.0543"), "{}", done.out);
    place
        .small(&["--max-ppl-increase", "6.5"])
        .fails(&["small.gguf: 6.6834 is above --max-ppl-increase 6.5"]);
    let nan = DIVERGENCE.replace("Mean    KLD:   0.054284", "Mean    KLD:        nan");
    std::fs::write(place.path("divergence"), nan).unwrap();
    place.small(&["--max-kld", "9"]).fails(&["divergence"]);
}

#[test]
fn formats_for_programs_and_pages() {
    let place = Place::new();
    let json: Json = serde_json::from_str(&place.small(&["--json", "--speed"]).succeeds()).expect("JSON");
    let figures = &json["models"][0]["domains"][0];
    assert_eq!((&figures["kld"]["value"], &figures["kld_999"]), (&0.054284.into(), &1.44019.into()));
    assert_eq!(json["models"][0]["speed"]["prompt"]["value"], 123.4);
    assert!(json["base"]["files"][0]["sha256"].as_str().is_some_and(|digest| digest.len() == 64));

    std::fs::rename(place.path("wiki.txt"), place.path("a,\"b|c")).unwrap();
    let args = ["small.gguf", "--against", "base.gguf", "-f", "a,\"b|c"];
    let csv = place.eval(&[&args[..], &["--csv", "--speed"]].concat()).succeeds();
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!(lines.len(), 2);
    let row = lines[1].replace("\"a,\"\"b|c\"", "text");
    let (names, cells): (Vec<_>, Vec<_>) = (lines[0].split(',').collect(), row.split(',').collect());
    assert_eq!(names.len(), cells.len(), "{csv}");
    let cell = |name: &str| cells[names.iter().position(|n| *n == name).expect("a column")];
    assert_eq!((cell("text"), cell("kld"), cell("same_top_percent_error")), ("text", "0.054284", "1.113"));
    assert_eq!((cell("base_perplexity"), cell("generation_tokens_per_second")), ("9.986361", "12.3"));

    let markdown = place.eval(&[&args[..], &["--markdown"]].concat()).succeeds();
    let table: Vec<&str> = markdown.lines().filter(|line| line.starts_with("| ")).collect();
    // Header, rule, base and file; header, rule and one text.
    assert_eq!(table.len(), 7, "{markdown}");
    assert!(table[6].contains("| a,\"b\\|c | 765 | 0.0543 ± 0.0039 |"), "{markdown}");
}

#[test]
fn tasks_and_speed_are_columns() {
    let place = Place::new();
    std::fs::write(place.path("swag.txt"), "a\n0\nb\nc\nd\ne").unwrap();
    std::fs::write(place.path("arc.bin"), "tasks").unwrap();
    let options = [
        "--tasks",
        "hellaswag=swag.txt",
        "--tasks",
        "multiple-choice=arc.bin",
        "--task-count",
        "0",
        "--speed",
    ];
    let out = place.small(&options).succeeds();
    assert_says(&out, &["hellaswag (swag.txt)", "50.0 ± 50.0 % of 2", "25.0 ± 25.0 % of 4", "123.4 ± 1.0"]);
    let asked = place.asked();
    assert!(asked.iter().any(|line| line.contains("-f swag.txt --hellaswag --hellaswag-tasks 2147483647")));
    assert!(
        asked.iter().any(|line| line.contains("-bf arc.bin --multiple-choice --multiple-choice-tasks 0"))
    );
    assert!(asked.iter().any(|line| line.starts_with("bench -m small.gguf")));
}

/// The JSON of a page, and the page without it.
fn data_of(page: &str) -> (Json, String) {
    let start = "<script type=\"application/json\" id=\"data\">";
    let (before, rest) = page.split_once(start).expect("data");
    let (json, after) = rest.split_once("</script>").expect("an end");
    (serde_json::from_str(json).unwrap_or_else(|e| panic!("{e}")), [before, after].concat())
}

#[test]
fn a_page_has_all_that_its_scripts_read() {
    let place = Place::new();
    let args =
        ["other.gguf", "small.gguf", "--against", "base.gguf", "-f", "wiki.txt", "--report", "report.html"];
    place.eval(&[&args[..], &["--prompt", "Once <b>", "--text-tokens", "8"]].concat()).succeeds();
    let page = std::fs::read_to_string(place.path("report.html")).unwrap();
    let (data, rest) = data_of(&page);
    assert_eq!(data["receipt"]["models"][1]["domains"][0]["kld"]["value"], 0.054284);
    for (file, name, kind) in [(0, "other.gguf", "q8_0"), (1, "small.gguf", "t2_64")] {
        let file = &data["files"][file];
        assert_eq!(file["name"], name);
        let tensors = file["tensors"].as_array().expect("tensors");
        let down = tensors.iter().find(|t| t["name"] == "blk.0.ffn_down.weight").expect("the matrix");
        let found = [&down["type"], &down["kind"], &down["block"], &down["weights"], &down["matrix"]];
        assert_eq!(
            found.map(Json::to_string),
            [&format!("\"{kind}\"")[..], "\"mlp.down\"", "0", "256", "true"]
        );
        assert!(down["bits"].as_f64().is_some_and(|bits| bits > 2.0 && bits < 9.0), "{down}");
    }
    let embeddings = &data["files"][0]["tensors"][0];
    // Random bits are weights that are no numbers among others, or nothing changed.
    assert!(embeddings["error"].is_null() || embeddings["error"] == 0.0, "{embeddings}");
    let sample = &data["samples"][0];
    let texts = sample["texts"].as_array().expect("texts");
    let texts: Vec<String> = texts.iter().map(|text| format!("{}: {}", text["name"], text["text"])).collect();
    let expected =
        ["base", "other", "small"].map(|name| format!("\"{name}.gguf\": \"text </script> of {name}.gguf\""));
    assert_eq!((&sample["prompt"], texts), (&"Once <b>".into(), expected.to_vec()));
    let asked = place.asked();
    let completions: Vec<&String> = asked.iter().filter(|line| line.starts_with("completion ")).collect();
    assert!(
        completions.len() == 3 && completions[0].contains("-n 8 ") && completions[0].contains("--temp 0")
    );

    // Everything that scripts ask for by its name is there, and nothing is loaded.
    let script = include_str!("../../src/report/page.js");
    for (i, _) in script.match_indices(" at(\"") {
        let id = script[i + 5..].split('"').next().expect("a part");
        assert!(rest.contains(&format!("id=\"{id}\"")), "{id}");
    }
    assert!(
        rest.contains("default-src 'none'")
            && !rest.contains("<link rel=\"stylesheet")
            && !rest.contains("src=\"")
    );
    assert!(rest.contains("observablehq/plot v0.6.17") && rest.contains("https://d3js.org v7.9.2"));
    place.eval(&args).fails(&["report.html", "exists already", "--force"]);
    std::fs::remove_file(place.path("bin/llama-completion")).unwrap();
    let again = [&args[..], &["--force"]].concat();
    place.eval(&again).fails(&["it writes no text", "llama-completion", "--text-tokens 0"]);
    place.eval(&[&again[..], &["--text-tokens", "0"]].concat()).succeeds();
    assert_eq!(
        data_of(&std::fs::read_to_string(place.path("report.html")).unwrap()).0["samples"],
        Json::Array(vec![])
    );
}

/// The text that conversions are judged on.
#[test]
fn without_a_text_the_base_writes_one() {
    let place = Place::new();
    let args = ["small.gguf", "--against", "base.gguf"];
    let done = place.eval(&args);
    assert_says(&done.err, &["text that the base writes: ", "-7680-2.txt"]);
    assert_says(done.succeeds(), &["small.gguf  self", "0.0543"]);
    let asked = place.asked();
    assert!(asked[0].starts_with("collector -m base.gguf --write-text ") && asked[0].contains("--seed 2"));
    assert!(
        asked[1].contains("--chunks 8 --parse-special") && asked[2].contains("--parse-special"),
        "{asked:?}"
    );
    assert_says(
        &place.eval(&args).err,
        &["text that the base writes, from the cache", "predictions of the base, from"],
    );
    assert_eq!(place.asked().len(), 1);
}

/// Texts that are judged apart make the receipt of one run over all of them.
#[test]
fn receipts_of_texts_that_were_judged_apart_are_one() {
    let place = Place::new();
    let of = |texts: &[&str], receipt: &str| {
        let texts: Vec<&str> = texts.iter().flat_map(|text| ["-f", text]).collect();
        let args = [&["small.gguf", "--against", "base.gguf", "--receipt", receipt], &texts[..]].concat();
        place.eval(&args).succeeds();
    };
    let read = |name: &str| -> Json {
        serde_json::from_str(&std::fs::read_to_string(place.path(name)).unwrap()).unwrap()
    };
    of(&["wiki.txt", "code.txt"], "whole.json");
    of(&["wiki.txt"], "wiki.json");
    of(&["code.txt"], "code.json");
    let shown = place.eval(&["--merge", "wiki.json", "code.json", "--receipt", "all.json"]).succeeds();
    assert_says(shown, &["small.gguf  wiki.txt", "code.txt", "all"]);
    assert_eq!(read("all.json"), read("whole.json"));
    place.eval(&["--check", "all.json"]).succeeds();

    let merge = |second: &str| place.eval(&["--merge", "wiki.json", second]);
    merge("whole.json").fails(&["whole.json", "has the text `wiki.txt` as well as", "wiki.json"]);
    let mut other = read("code.json");
    other["base"]["files"][0]["sha256"] = "ab".into();
    std::fs::write(place.path("other.json"), other.to_string()).unwrap();
    merge("other.json").fails(&["other.json", "has another base than", "no parts of one evaluation"]);
    let mut other = read("code.json");
    other["models"][0]["model"]["files"][0]["bytes"] = 1.into();
    std::fs::write(place.path("other.json"), other.to_string()).unwrap();
    merge("other.json").fails(&["has other files than"]);
    let mut other = read("code.json");
    other["program"]["sha256"] = "ab".into();
    std::fs::write(place.path("other.json"), other.to_string()).unwrap();
    merge("other.json").fails(&["has another llama-perplexity than"]);
    let done = place.eval(&["small.gguf", "--merge", "wiki.json"]);
    assert!(done.code == 2 && done.err.contains("cannot be used with"), "{}", done.err);
}

#[test]
fn a_receipt_is_checked_elsewhere() {
    let place = Place::new();
    std::fs::write(place.path("gram.gguf"), "sums").unwrap();
    let options = ["-f", "code.txt", "--receipt", "receipt.json", "--calibration", "gram.gguf"];
    place.small(&options).succeeds();
    place.small(&options).fails(&["receipt.json", "exists already"]);
    let receipt = std::fs::read_to_string(place.path("receipt.json")).unwrap();
    assert!(!receipt.contains(place.folder.path().to_str().unwrap()), "folders are nobody's business");
    let json: Json = serde_json::from_str(&receipt).unwrap();
    assert!(json["models"][0]["calibration_sha256"].as_str().is_some_and(|digest| digest.len() == 64));

    // In another folder some files are beside the receipt, and one has another name.
    let elsewhere = place.path("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    for name in ["receipt.json", "small.gguf", "wiki.txt", "code.txt"] {
        std::fs::copy(place.path(name), elsewhere.join(name)).unwrap();
    }
    std::fs::copy(place.path("base.gguf"), place.path("renamed.gguf")).unwrap();
    std::fs::copy(place.path("divergence"), elsewhere.join("divergence")).unwrap();
    let check = |more: &[&str]| {
        let args = [&["--check", "elsewhere/receipt.json"], more].concat();
        place.eval(&args)
    };
    std::fs::rename(place.path("base.gguf"), place.path("gone")).unwrap();
    check(&[]).fails(&["base.gguf, sha256 ", " is not there", "--against"]);
    let done = check(&["--against", "renamed.gguf"]);
    assert_says(&done.err, &["the figures are those of the receipt"]);
    done.succeeds();

    // A little noise passes, other figures do not.
    let noise = DIVERGENCE.replace("0.054284", "0.054301");
    std::fs::write(place.path("divergence"), noise).unwrap();
    check(&["--against", "renamed.gguf"]).succeeds();
    std::fs::write(place.path("divergence"), DIVERGENCE.replace("0.054284", "0.044284")).unwrap();
    check(&["--against", "renamed.gguf"])
        .fails(&["small.gguf, wiki.txt, KLD: 0.054284 in the receipt, 0.044284 now"]);

    // Nor does a file with one other bit.
    let mut bytes = std::fs::read(elsewhere.join("small.gguf")).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(elsewhere.join("small.gguf"), &bytes).unwrap();
    std::fs::write(place.path("small.gguf"), &bytes).unwrap();
    check(&["--against", "renamed.gguf"])
        .fails(&["small.gguf, sha256 ", "elsewhere/small.gguf has other bytes"]);
}

/// What a file says of its calibration the receipt says too; another one cannot be given.
#[test]
fn receipts_name_the_calibration_of_each_file() {
    let place = Place::new();
    let sha256 = "ab".repeat(32);
    let keys = [(CALIBRATION_KEY.to_owned(), Value::String(sha256.clone()))];
    let tensors = [tiny_gguf::tensor("blk.0.ffn_down.weight", &[64, 4], GgmlType(515))];
    tiny_gguf::write(&place.path("small.gguf"), &keys, &tensors);
    let json: Json = serde_json::from_str(&place.small(&["--json"]).succeeds()).unwrap();
    assert_eq!(json["models"][0]["calibration_sha256"], sha256);
    std::fs::write(place.path("gram.gguf"), "sums").unwrap();
    place.small(&["--calibration", "gram.gguf"]).fails(&["small.gguf", "another one", &sha256]);
}

#[test]
fn receipts_that_are_none() {
    let place = Place::new();
    for (text, words) in [
        ("", "not a receipt"),
        ("{}", "no version"),
        ("{\"receipt\": 99}", "version 99, this program reads 1"),
        ("{\"receipt\": 1}", "missing field"),
    ] {
        std::fs::write(place.path("bad.json"), text).unwrap();
        place.eval(&["--check", "bad.json"]).fails(&["bad.json: not a receipt", words]);
    }
    place.eval(&["--check", "none.json"]).fails(&["none.json", "No such file"]);
}

#[test]
fn what_is_missing_is_found_before_anything_runs() {
    let place = Place::new();
    place.small(&["-f", "none.txt"]).fails(&["none.txt", "No such file"]);
    place.small(&["-f", "./wiki.txt"]).fails(&["wiki.txt: two texts have this name", "NAME=FILE"]);
    place
        .eval(&["none.gguf", "--against", "base.gguf", "-f", "wiki.txt"])
        .fails(&["none.gguf", "No such file"]);
    place.small(&["--tasks", "hellaswag=none"]).fails(&["none", "No such file"]);
    std::fs::remove_file(place.path("bin/llama-perplexity")).unwrap();
    place.small(&[]).fails(&["bin/llama-perplexity", "scripts/build_llama.sh"]);
    assert!(place.asked().is_empty());
    for args in
        [&["small.gguf"][..], &["--against", "base.gguf"], &["a", "--against", "b", "--tasks", "arc=x"]]
    {
        assert_eq!(place.eval(args).code, 2, "{args:?}");
    }
}

#[test]
fn help_teaches_by_examples() {
    let place = Place::new();
    let out = place.eval(&["--help"]).succeeds();
    assert_says(
        out,
        &["Examples:", "--against", "--max-kld", "--check", "--receipt", "--tasks", "--markdown"],
    );
}
