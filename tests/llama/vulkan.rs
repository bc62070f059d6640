//! Our types in ggml's Vulkan backend, on lavapipe: Mesa's device that is the processor.

use super::fixtures::*;
use super::ggml::backend_ops;
use super::place::script;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

/// Types that have shaders.
const TYPES: [&str; 6] = ["t2", "t3", "t4", "t2_64", "t3_64", "t4_64"];

/// Folder of ggml's libraries with the Vulkan backend. `VULKAN` in the environment gives one that is built already.
static VULKAN: LazyLock<PathBuf> = LazyLock::new(|| {
    let given = std::env::var_os("VULKAN").map(PathBuf::from);
    given.unwrap_or_else(|| script("build_ggml_variant.sh", &["vulkan"], &[]))
});

/// Where Vulkan's loader finds lavapipe.
static LAVAPIPE: LazyLock<PathBuf> = LazyLock::new(|| {
    let entries = std::fs::read_dir("/usr/share/vulkan/icd.d").expect("a Vulkan driver is installed");
    let mut drivers = entries.map(|entry| entry.expect("an entry").path());
    drivers.find(|path| arg(path).contains("/lvp_icd.")).expect("lavapipe is installed (mesa-vulkan-drivers)")
});

/// The environment in which test-backend-ops has lavapipe as device Vulkan0. Narrow vectors and no optimization make its
/// compiler, which takes more time than its programs here, twice as fast.
fn lavapipe() -> [(&'static str, &'static Path); 5] {
    [
        ("LD_LIBRARY_PATH", &*VULKAN),
        ("VK_ICD_FILENAMES", &*LAVAPIPE),
        ("GGML_VK_VISIBLE_DEVICES", Path::new("0")),
        ("LP_NATIVE_VECTOR_WIDTH", Path::new("128")),
        ("GALLIVM_PERF", Path::new("nopt")),
    ]
}

#[track_caller]
fn on_lavapipe(operation: &str, rest: &str) {
    backend_ops(llama("test-backend-ops").envs(lavapipe()), "Vulkan0", operation, &TYPES, rest);
}

/// One column and eight, of which each is a pipeline, and more columns, with several matrices too. Each number of columns
/// between is a pipeline too, of the same shader.
#[test]
fn test_backend_ops_mul_mat() {
    on_lavapipe("MUL_MAT", r"type_b=f32,m=(33|77|16),n=(1|7|8|600),k=(512|1536|4096),bs=.*,nr=.[12],1.,");
}

/// One token, and more than eight.
#[test]
fn test_backend_ops_mul_mat_id() {
    on_lavapipe("MUL_MAT_ID", "type_b=f32,n_mats=[24],n_used=2,b=[01],m=(33|77),");
}

#[test]
fn test_backend_ops_get_rows() {
    on_lavapipe("GET_ROWS", "");
}
