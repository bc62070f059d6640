//! ggml's own tests over our types, and the collector's parts.

use super::fixtures::llama;
use super::place::{Place, ROOT};
use std::path::Path;
use std::process::Command;
use tenpak_gguf::types::{REGISTRY, Role};

/// Names of the types of weights.
fn weight_types() -> Vec<&'static str> {
    let weights = REGISTRY.iter().filter(|t| matches!(t.role, Role::Weight { .. }));
    let names: Vec<_> = weights.map(|t| t.name).collect();
    assert!(!names.is_empty());
    names
}

#[test]
fn test_quantize_fns() {
    let printed = Place::new().run("test-quantize-fns", llama("test-quantize-fns").arg("-v"));
    for name in weight_types() {
        let of_type = printed.lines().filter(|line| line.split_whitespace().next() == Some(name));
        let fine = of_type
            .filter(|line| line.split_once(':').is_some_and(|(_, rest)| rest.trim_start().starts_with("ok")));
        assert_eq!(fine.count(), 3, "three tests of {name} should be fine:\n{printed}");
    }
}

/// test-backend-ops of an operation on a backend, for some types: every case whose arguments go on with `rest`, a regular
/// expression, is fine, and each type has one.
#[track_caller]
pub fn backend_ops(program: &mut Command, backend: &str, operation: &str, types: &[&str], rest: &str) {
    let key = if operation == "GET_ROWS" { "type" } else { "type_a" };
    let filter = format!("{key}=({}),{rest}", types.join("|"));
    let arguments = ["test", "-b", backend, "-o", operation, "-p", &filter];
    let printed = Place::new().run("test-backend-ops", program.args(arguments));
    for name in types {
        let case = format!("{operation}({key}={name},");
        let (mut fine, mut cases) = (0, 0);
        for line in printed.lines().filter(|line| line.contains(&case)) {
            cases += 1;
            fine += usize::from(line.contains("OK"));
        }
        assert!(cases > 0 && fine == cases, "{fine} of {cases} cases of {name} are fine:\n{printed}");
    }
}

fn on_the_processor(operation: &str) {
    backend_ops(&mut llama("test-backend-ops"), "CPU", operation, &weight_types(), "");
}

#[test]
fn test_backend_ops_mul_mat() {
    on_the_processor("MUL_MAT");
}

/// Products by the tiles of AMX-BF16 where the processor has them, else by AVX512-BF16 (AMD), AVX-512 or AVX2.
#[test]
fn test_backend_ops_mul_mat_of_floats() {
    backend_ops(&mut llama("test-backend-ops"), "CPU", "MUL_MAT", &["f32", "bf16", "f16"], "type_b=f32,");
}

#[test]
fn test_backend_ops_mul_mat_id() {
    on_the_processor("MUL_MAT_ID");
}

#[test]
fn test_backend_ops_get_rows() {
    on_the_processor("GET_ROWS");
}

#[test]
fn test_tenpak_gram() {
    Place::new().run("test-tenpak-gram", &mut llama("test-tenpak-gram"));
}

#[test]
fn test_tenpak_means() {
    Place::new().run("test-tenpak-means", &mut llama("test-tenpak-means"));
}

#[test]
fn test_tenpak_output() {
    Place::new().run("test-tenpak-output", &mut llama("test-tenpak-output"));
}

#[test]
fn test_tenpak_writer() {
    Place::new().run("test-tenpak-writer", &mut llama("test-tenpak-writer"));
}

/// What the compiler makes of ggml's AMX code, whatever the processor here.
#[test]
fn amx_tiles_are_configured() {
    let printed =
        Place::new().run("amx", &mut Command::new(Path::new(ROOT).join("scripts/check_amx_build.sh")));
    super::fixtures::note(printed.trim());
}
