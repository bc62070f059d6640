//! Models of which another process has the weights and computes: ggml-rpc-server on this machine.

use super::fixtures::*;
use super::place::{Place, Started, THREADS, free_port, script};
use super::programs::{PATIENCE, completes, prompted};
use super::quantized_folder::{self, Method};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tenpak_gguf::gguf::File;

/// Chunks of 512 tokens that perplexities are of.
const CHUNKS: usize = 2;

/// By how much the perplexity of a model whose matrices two servers share may differ from that of one process: F32 sums are in
/// another order, which turns some activations of 8 bits (0.2 % seen, 0.5 % with Q4_K_M and .001 % with floats). Rows that are
/// cut at a wrong place make noise of the text.
const TENSOR_SPLIT_LIMIT: f64 = 0.01;

/// A block in each trellis type: SmolLM2 has rows of 576 weights, which take blocks of 64, and of 1536, which take blocks of 256.
const RECIPE: &str = r#"
about = "A block in each trellis type"

[[rule]]
why = "attention and `ffn_down` have both sizes of blocks, and the search takes long"
names = ["token_embd.weight", "blk.*.ffn_{gate,up}.weight"]
types = ["f16"]

[[rule]]
why = "the first block"
blocks = [0]
types = ["t2"]

[[rule]]
why = "the second block"
blocks = [1]
types = ["t3"]

[[rule]]
why = "the third block"
blocks = [2]
types = ["t4"]

[[rule]]
why = "the fourth block"
blocks = [3]
types = ["t25"]

[[rule]]
why = "the fifth block"
blocks = [4]
types = ["t35"]

[[rule]]
why = "the sixth block"
blocks = [5]
types = ["t5"]
"#;
const TRELLIS_TYPES: [&str; 12] =
    ["t2", "t2_64", "t3", "t3_64", "t4", "t4_64", "t25", "t25_64", "t35", "t35_64", "t5", "t5_64"];

/// A server that computes for others, until it is dropped.
struct Server {
    program: Started,
    /// HOST:PORT, as llama.cpp's programs are told.
    endpoint: String,
}

impl Server {
    /// Starts a server on this machine, with further environment variables, and waits until it listens.
    fn start(place: &Place, name: &str, environment: &[(&str, &Path)]) -> Server {
        let port = free_port();
        let mut command = llama("ggml-rpc-server");
        command.args(["-H", "127.0.0.1", "-p", &port.to_string(), "-t", &THREADS.to_string()]);
        // It then tells what it is asked to do.
        command.env("GGML_RPC_DEBUG", "1").envs(environment.iter().copied());
        let mut program = place.start(name, &mut command);
        let start = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            program.so_far();
            assert!(start.elapsed() < PATIENCE, "{name} does not listen: see {}", place.log(name).display());
            std::thread::sleep(Duration::from_millis(50));
        }
        Server { program, endpoint: format!("127.0.0.1:{port}") }
    }

    /// Asserts that the server runs and has computed.
    #[track_caller]
    fn has_computed(&mut self) {
        let told = self.program.so_far();
        for request in ["[set_tensor]", "[graph_compute]"] {
            assert!(told.contains(request), "{} was sent no {request}", self.endpoint);
        }
    }
}

/// A short model with a tensor of every trellis type.
fn every_trellis_type(place: &Place) -> PathBuf {
    let (folder, recipe, out) =
        (place.path("checkpoint"), place.path("recipe.toml"), place.path("trellis.gguf"));
    quantized_folder::make(&MODEL, None, 6, &folder).expect("a checkpoint");
    std::fs::write(&recipe, RECIPE).expect("a recipe");
    place.run(
        "convert",
        &mut tenpak(["convert", arg(&folder), "-o", arg(&out), "--no-calibration", "--recipe", arg(&recipe)]),
    );
    out
}

/// Asserts that a model has tensors of all these types.
#[track_caller]
fn has_types(model: &Path, types: &[&str]) {
    let file = File::open(model).expect("a model");
    for name in types {
        assert!(
            file.tensors().iter().any(|t| t.kind.name() == *name),
            "{} has no tensor of {name}",
            model.display()
        );
    }
}

/// Keeps the weights of one process as a server has them: repacked matrices (ggml's AMX kernels, CPU_REPACK) have other sums.
const AS_A_SERVER: &str = "--no-repack";

/// Asserts that a model whose weights a server has continues the prompt as it does in one process, and predicts a text as well.
fn is_computed_by_a_server(place: &Place, model: &Path) {
    let alone = completes(place, "alone", model, &[AS_A_SERVER], &[]);
    let expected = place.perplexity("alone-perplexity", &evaluation_with(CHUNKS, [AS_A_SERVER]), model);

    let mut server = Server::start(place, "server", &[]);
    let options = ["--rpc", &server.endpoint.clone(), "-ngl", "99"];
    assert_eq!(completes(place, "rpc", model, &options, &[]), alone);
    let found = place.perplexity("rpc-perplexity", &evaluation_with(CHUNKS, options), model);
    server.has_computed();
    assert_same_perplexity(&found, &expected, "computed by a server");
}

#[test]
fn a_server_computes_every_trellis_type() {
    let place = Place::new();
    let model = every_trellis_type(&place);
    has_types(&model, &TRELLIS_TYPES);
    is_computed_by_a_server(&place, &model);
}

#[test]
fn a_server_computes_g4_128() {
    let model = short(&kept(Method::Gptq), FEW_BLOCKS);
    has_types(&model, &["g4_128"]);
    is_computed_by_a_server(&Place::new(), &model);
}

#[test]
fn a_server_computes_nf4_64() {
    let model = short(&kept(Method::Nf4), FEW_BLOCKS);
    has_types(&model, &["nf4_64"]);
    is_computed_by_a_server(&Place::new(), &model);
}

#[test]
fn a_server_computes_experts() {
    let model = experts_in("t2");
    has_types(&model, &["t2", "t2_64"]);
    is_computed_by_a_server(&Place::new(), &model);
}

/// By layers each server has whole blocks; by tensors, a part of the rows or of the columns of every matrix.
#[test]
fn two_servers_share_a_model() {
    let (place, model) = (Place::new(), out());
    let expected = place.perplexity("alone", &evaluation_with(CHUNKS, [AS_A_SERVER]), &model);
    for (mode, limit) in [("layer", 0.0), ("tensor", TENSOR_SPLIT_LIMIT)] {
        let mut servers =
            ["first", "second"].map(|name| Server::start(&place, &format!("{mode}-{name}"), &[]));
        let endpoints = servers.each_ref().map(|server| server.endpoint.as_str()).join(",");
        let options = ["--rpc", &endpoints, "-ngl", "99", "--split-mode", mode];
        let found = place.perplexity(mode, &evaluation_with(CHUNKS, options), &model);
        servers.iter_mut().for_each(Server::has_computed);
        note(format!("perplexity by {mode}s {}, in one process {}", found.estimate, expected.estimate));
        assert!(
            relative_difference(&found, &expected) <= limit,
            "{found:?} by {mode}s, {expected:?} in one process"
        );
    }
}

/// The unpatched libraries are put before ours in the server's process.
#[test]
fn a_stock_server_refuses_the_types_and_keeps_running() {
    let place = Place::new();
    let model = short(&kept(Method::Nf4), FEW_BLOCKS);
    let stock = script("build_stock_ggml.sh", &[], &[]);
    let mut server = Server::start(&place, "server", &[("LD_LIBRARY_PATH", &stock)]);
    let mut command = prompted("llama-completion", &model);
    command.args(["-no-cnv", "--rpc", &server.endpoint, "-ngl", "99"]);
    let printed = place.aborts("rpc", &mut command);
    let told = server.program.so_far();
    let refused = told.lines().find(|line| line.contains("invalid tensor type received: 5"));
    note(refused.unwrap_or_else(|| panic!("no clear error in {}", place.log("server").display())));
    let crashed = printed
        .lines()
        .find(|line| line.contains("Remote RPC server crashed or returned malformed response"));
    note(crashed.unwrap_or_else(|| panic!("no error in {}", place.log("rpc").display())));
}
