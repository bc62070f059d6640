//! Conversions of some blocks only, of the first blocks of SmolLM2: what the whole file costs lies within what they say of it.

use super::fixtures::*;
use super::place::{Place, THREADS};
use serde_json::Value as Json;

/// Blocks of the model, tokens to calibrate on, chunks to judge on.
const BLOCKS: usize = 6;
const TOKENS: &str = "1024";
const CHUNKS: &str = "3";

#[test]
fn the_whole_costs_what_samples_say() {
    let place = Place::new();
    let model = short(&f16(), BLOCKS);
    let gram = place.path("gram.gguf");
    place.run("calibrate", &mut calibrate(&model, &gram, ["--tokens", TOKENS]));
    let convert = |name: &str, more: &[&str]| in_t2(&place, &model, &gram, name, more);
    let (_, whole) = convert("whole", &[]);
    let samples = [("first", "first:2"), ("every", "every:2"), ("spread", "2")].map(|(name, way)| {
        let (printed, out) = convert(name, &["--sample-layers", way]);
        assert!(printed.contains("sample: blocks "), "{printed}");
        out
    });
    let mut command =
        tenpak(["eval", "--collector", arg(&LLAMA), "--cache", arg(&place.path("cache")), "--json"]);
    command.args(["--threads", &THREADS.to_string(), "--against", arg(&model), "--chunks", CHUNKS]);
    command.args(["-f", arg(&text("wiki")), arg(&whole)]).args(&samples);
    let printed = place.run("eval", &mut command);
    let json = printed.find("{\n").map(|at| &printed[at..]).expect("a receipt");
    let receipt = serde_json::Deserializer::from_str(json).into_iter::<Json>().next();
    let receipt = receipt.expect("a receipt").expect("JSON");
    let models = receipt["models"].as_array().expect("models");
    let number = |value: &Json| value.as_f64().expect("a number");
    let truth = number(&models[0]["all"]["kld"]["value"]);
    assert!(models[0].get("whole").is_none(), "{printed}");
    for (judged, way) in models[1..].iter().zip(["first:2", "every:2", "2"]) {
        let said = &judged["whole"];
        let [low, value, high] = ["low", "value", "high"].map(|end| number(&said["kld"][end]));
        note(format!("{way}: KLD {value:.4} ({low:.4} to {high:.4}), found {truth:.4}"));
        assert!(low <= truth && truth <= high, "{said} and {truth}");
        assert!(number(&judged["all"]["kld"]["value"]) < truth, "part of the errors cost as much as all");
        // So short a model knows nothing: its perplexity goes anywhere, and only the order of the ends is looked at.
        assert!(number(&said["perplexity_change"]["low"]) <= number(&said["perplexity_change"]["high"]));
        assert_eq!(said["bytes"].as_u64(), models[0]["model"]["bytes"].as_u64());
    }
}
