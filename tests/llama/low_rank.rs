//! Corrections of low rank in llama.cpp: the adapter is applied, and where it would not be, there is none.

use super::fixtures::*;
use super::place::{Place, THREADS};
use serde_json::Value as Json;
use std::path::Path;
use tenpak_gguf::plan::CORRECTED;

/// Blocks of the model, tokens to calibrate on, chunks to judge on.
const BLOCKS: usize = 4;
const TOKENS: &str = "4096";
const CHUNKS: usize = 4;

/// The divergence of T2 with corrections of rank 32 over that without.
const MAX_KLD_RATIO: f64 = 0.9;

/// Of figures that are printed with six digits, from runs of the same programs.
const ROUNDING: f64 = 1e-5;

#[test]
fn files_with_their_adapter_cost_less() {
    let place = Place::new();
    let model = short(&f16(), BLOCKS);
    let gram = place.path("gram.gguf");
    place.run("calibrate", &mut calibrate(&model, &gram, ["--tokens", TOKENS]));
    let convert = |name: &str, more: &[&str]| in_t2(&place, &model, &gram, name, more);
    let (printed, plain) = convert("plain", &[]);
    assert!(!printed.contains("--lora"), "{printed}");
    let (printed, corrected) = convert("corrected", &["--low-rank", "32"]);
    let adapter = place.path("corrected.lora.gguf");
    assert!(
        printed.contains(&format!("{}: corrections of {} matrices", adapter.display(), 7 * BLOCKS)),
        "{printed}"
    );

    let (evaluation, logits) = (evaluation(CHUNKS), place.path("logits"));
    place.write_logits("logits", &evaluation, &model, &logits);
    let of_plain = place.divergence("of_plain", &evaluation, &plain, &logits).mean;
    let alone = place.divergence("alone", &evaluation, &corrected, &logits).mean;
    let with_adapter = evaluation.with_adapter(Some(&adapter));
    let of_corrected = place.divergence("of_corrected", &with_adapter, &corrected, &logits).mean;
    note(format!("mean KLD {of_plain}, with corrections {of_corrected}, without their adapter {alone}"));
    assert!(of_corrected < MAX_KLD_RATIO * of_plain);
    assert!(alone > of_plain, "what was taken out of the matrices is in the adapter");

    // `eval` takes both files as one.
    let wiki = format!("wiki={}", text("wiki").display());
    let eval = |more: &[&str]| {
        let mut command = tenpak(["eval", arg(&corrected), "--against", arg(&model), "-f", &wiki]);
        command.args(["--chunks", &CHUNKS.to_string(), "--threads", &THREADS.to_string()]);
        command.args(["--collector", arg(&LLAMA), "--cache", arg(&place.path("cache"))]).args(more);
        command
    };
    let receipt = place.path("receipt.json");
    place.run("eval", &mut eval(&["--receipt", arg(&receipt)]));
    let receipt: Json = serde_json::from_str(&std::fs::read_to_string(receipt).unwrap()).expect("JSON");
    let judged = &receipt["models"][0];
    let found = judged["all"]["kld"]["value"].as_f64().expect("a divergence");
    assert!((found / of_corrected - 1.0).abs() < ROUNDING, "{found}, {of_corrected} by hand");
    let bytes = |path: &Path| std::fs::metadata(path).unwrap().len();
    assert_eq!(judged["model"]["bytes"].as_u64(), Some(bytes(&corrected) + bytes(&adapter)));
    assert_eq!(judged["model"]["files"][1]["name"], "corrected.lora.gguf");
    let refusal = place.fails("speed", &mut eval(&["--speed"]));
    assert!(refusal.contains("llama-bench takes no adapter"), "{refusal}");
    std::fs::rename(&adapter, place.path("elsewhere.gguf")).unwrap();
    let refusal = place.fails("without", &mut eval(&[]));
    assert!(refusal.contains("`corrected.lora.gguf`") && refusal.contains("not beside it"), "{refusal}");
}

/// `build_lora_mm` adds adapters, `ggml_mul_mat` does not.
#[test]
fn graphs_of_corrected_architectures_multiply_with_adapters_only() {
    let tree = LLAMA
        .ancestors()
        .find(|folder| folder.join("src/models/llama.cpp").exists())
        .expect("llama.cpp's sources");
    for architecture in CORRECTED {
        let file = match *architecture {
            "glm4moe" => "glm4-moe",
            "gpt-oss" => "openai-moe",
            other => other,
        };
        let path = tree.join(format!("src/models/{file}.cpp"));
        let source = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        assert!(!source.contains("ggml_mul_mat("), "{}: takes no adapters everywhere", path.display());
    }
}
