//! docs/guide/clusters.md: its commands run in a queue of Slurm's on this machine, and in GNU parallel.

use super::fixtures::*;
use super::place::Place;
use super::support::guide::{self, Runner, blocks, in_place};
use serde_json::Value as Json;
use std::path::Path;
use std::process::Command;

/// What the script ends with where Slurm cannot start.
const CANNOT: i32 = 77;

#[test]
fn a_model_from_folder_to_release() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("docs/guide/clusters.md")).expect("the page");
    let commands = blocks("clusters", &page).into_iter().filter(|block| block.runner == Runner::Cluster);
    let commands: Vec<String> = commands.map(|block| block.text).collect();
    let (place, model) = (Place::new(), guide::place(Some(&LLAMA)));
    let folder = model.parent.path();
    // A queue that does not go on is an error too.
    let mut command = Command::new("timeout");
    command.arg("600").arg(root.join("scripts/one_node_slurm.sh")).arg(place.path("slurm")).args([
        "bash",
        "-euo",
        "pipefail",
        "-c",
        &commands.join("\n"),
    ]);
    let done = in_place(&mut command, folder, Some(&LLAMA), None).output().expect("bash");
    let printed = [&done.stdout[..], &done.stderr].map(String::from_utf8_lossy).concat();
    if done.status.code() == Some(CANNOT) {
        note(format!("NOT TESTED HERE: docs/guide/clusters.md: {printed}"));
        return;
    }
    let logs = std::fs::read_dir(folder).expect("the folder").map(|entry| entry.expect("an entry").path());
    let logs = logs.filter(|path| path.extension().is_some_and(|e| e == "out"));
    let logs: String = logs.map(|path| std::fs::read_to_string(path).unwrap_or_default()).collect();
    assert!(done.status.success(), "{}: {printed}{logs}", done.status);
    let receipt = std::fs::read(folder.join("Model-GGUF/receipt.json")).expect("the release's receipt");
    let receipt: Json = serde_json::from_slice(&receipt).expect("JSON");
    let domains: Vec<&str> =
        receipt["domains"].as_array().expect("texts").iter().filter_map(|d| d["name"].as_str()).collect();
    assert_eq!(domains, ["wiki", "code"]);
    assert!(folder.join("Model-GGUF/SHA256SUMS").exists(), "{logs}");
    // Both ways make shards of the same sizes; that parts and shards are those of one run other tests show.
    for shard in ["00001", "00002"] {
        let bytes = |name: &str| {
            std::fs::read(folder.join(format!("{name}-{shard}-of-00002.gguf"))).expect("a shard")
        };
        assert_eq!(bytes("model").len(), bytes("both").len(), "{shard}");
    }
}
