//! `doctor` with llama.cpp's programs.

use super::fixtures::*;
use super::place::{Place, script};
use serde_json::Value as Json;
use tenpak_gguf::llama::pin;

/// The part of this name that `doctor` finds.
fn part(place: &Place, log: &str, libraries: Option<&std::path::Path>, name: &str) -> Json {
    let mut doctor = tenpak(["doctor", "--json", "--collector", arg(&LLAMA)]);
    doctor.args(["--cache", arg(&place.path("cache"))]);
    doctor.envs(libraries.map(|folder| ("LD_LIBRARY_PATH", folder)));
    let printed = match libraries {
        None => place.run(log, &mut doctor),
        Some(_) => place.fails(log, &mut doctor),
    };
    let found: Json = serde_json::from_str(&printed).unwrap_or_else(|e| panic!("{e}: {printed}"));
    let parts = found["parts"].as_array().expect("a list");
    parts.iter().find(|part| part["name"] == name).expect("it is looked for").clone()
}

/// Those of the patched llama.cpp are of the version of the pin; with a stock ggml they are of no use.
#[test]
fn programs_have_our_types_or_not() {
    let place = Place::new();
    assert!(LLAMA.join(format!("libggml-base.so.{}", pin::GGML)).exists(), "another ggml than the pin's");
    let stock = script("build_stock_ggml.sh", &[], &[]);
    for name in ["llama-tenpak-calibrate", "llama-perplexity"] {
        let patched = part(&place, "patched", None, name);
        assert_eq!((&patched["works"], &patched["problem"]), (&true.into(), &Json::Null), "{patched}");
        let useless = part(&place, "stock", Some(&stock), name);
        let problem = useless["problem"].as_str().unwrap_or_default();
        assert!(useless["works"] == false && problem.contains("does not know"), "{useless}");
    }
}
