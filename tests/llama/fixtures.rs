//! What several tests use: programs, and files that are made once, on first use, for the programs that made them.

use super::experts_model;
use super::place::{HOME, Lock, Place, ROOT, TARGET, THREADS, script};
use super::quantized_folder::{self, Method};
use super::short_model;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;
use tenpak_gguf::llama::{Evaluation, Measures, Perplexity};

/// The converter.
pub const TENPAK: &str = env!("CARGO_BIN_EXE_tenpak-gguf");

/// Tokens of the calibrations that are shared: four chunks of 512.
pub const CALIBRATION_TOKENS: &str = "2048";
pub const CALIBRATION_CHUNKS: &str = "4";

/// Threads of the conversion whose memory is measured: what each thread holds counts, so that the number of cores must not.
const MEASURED_THREADS: &str = "2";

/// Blocks of SmolLM2, and of its short form for programs that take long or are emulated.
const BLOCKS: usize = 30;
pub const FEW_BLOCKS: usize = 2;

/// Folder of the patched llama.cpp's programs. `LLAMA` in the environment gives one that is built already.
pub static LLAMA: LazyLock<PathBuf> = LazyLock::new(|| {
    std::env::var_os("LLAMA").map_or_else(|| script("build_llama.sh", &[], &[]), PathBuf::from)
});

/// Folder of ggml's libraries with kernels that check themselves. `CHECKED` in the environment gives one that is built already.
static CHECKED: LazyLock<PathBuf> = LazyLock::new(|| {
    let given = std::env::var_os("CHECKED").map(PathBuf::from);
    let folder = given.unwrap_or_else(|| script("build_ggml_variant.sh", &["checked"], &[]));
    let library = std::fs::read(folder.join("libggml-cpu.so")).expect("a library");
    let has_checks = memmem(&library, b"other bytes than scalar's");
    assert!(has_checks, "{}/libggml-cpu.so has no checks", folder.display());
    folder
});

/// Folder of SmolLM2-135M-Instruct as Hugging Face has it.
pub static MODEL: LazyLock<PathBuf> =
    LazyLock::new(|| script("fetch_model.sh", &[], &[("TENPAK", TENPAK.as_ref())]));

/// Hash of the converter. Another converter makes other files.
static TENPAK_KEY: LazyLock<String> =
    LazyLock::new(|| format!("{:x}", Sha256::digest(std::fs::read(TENPAK).expect("the converter"))));

/// Hash of the names, sizes and times of llama.cpp's programs and libraries.
static LLAMA_KEY: LazyLock<String> = LazyLock::new(|| {
    let entries = std::fs::read_dir(&*LLAMA).expect("a folder").map(|entry| {
        let entry = entry.expect("an entry");
        let about = entry.metadata().expect("a file");
        format!("{:?} {} {:?}", entry.file_name(), about.len(), about.modified().expect("a time"))
    });
    let mut entries: Vec<String> = entries.collect();
    entries.sort();
    format!("{:x}", Sha256::digest(entries.concat()))
});

fn memmem(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

/// The converter, to be given arguments.
pub fn tenpak<const N: usize>(arguments: [&str; N]) -> Command {
    let mut command = Command::new(TENPAK);
    command.args(arguments);
    command
}

/// A program of the patched llama.cpp, to be given arguments.
pub fn llama(program: &str) -> Command {
    Command::new(LLAMA.join(program))
}

/// The environment in which llama.cpp's programs have kernels that check themselves.
pub fn checked() -> (&'static str, &'static Path) {
    ("LD_LIBRARY_PATH", &CHECKED)
}

/// A text of those that are downloaded with the model. Models are judged on `wiki` and calibrated on `c4`.
pub fn text(name: &str) -> PathBuf {
    LazyLock::force(&MODEL);
    TARGET.join("models/text").join(format!("{name}.utf8"))
}

/// llama-perplexity over the text that models are judged on.
pub fn evaluation(chunks: usize) -> Evaluation {
    let (programs, text) = (LLAMA.clone(), text("wiki"));
    Evaluation {
        programs,
        text,
        chunks,
        threads: *THREADS,
        options: Vec::new(),
        environment: Vec::new(),
        adapter: None,
    }
}

/// The same with further options.
pub fn evaluation_with<const N: usize>(chunks: usize, options: [&str; N]) -> Evaluation {
    Evaluation { options: options.map(Into::into).into(), ..evaluation(chunks) }
}

/// The same with an environment variable.
pub fn evaluation_in(chunks: usize, environment: &[(&str, &Path)]) -> Evaluation {
    let environment = environment.iter().map(|(name, value)| (name.into(), (*value).into()));
    Evaluation { environment: environment.collect(), ..evaluation(chunks) }
}

/// By how much a perplexity of the same logits may be printed otherwise: by its last digit, for llama-perplexity adds the sums of its
/// threads in the order in which they end.
const LAST_DIGIT: f64 = 1.5e-4;

/// The largest of the relative differences of two perplexities after each chunk; those of the last digit are none.
#[track_caller]
pub fn relative_difference(a: &Perplexity, b: &Perplexity) -> f64 {
    assert_eq!(a.running.len(), b.running.len(), "chunks");
    a.running
        .iter()
        .zip(&b.running)
        .map(|(a, b)| ((a - b).abs() - LAST_DIGIT).max(0.0) / b)
        .fold(0.0, f64::max)
}

/// Asserts that two perplexities are those of the same logits.
#[track_caller]
pub fn assert_same_perplexity(found: &Perplexity, expected: &Perplexity, what: &str) {
    assert_eq!(relative_difference(found, expected), 0.0, "{what}: {found:?}, expected {expected:?}");
}

/// The file NAME of what `inputs` names: programs by their hashes, files by their paths, which have a hash in them. Made once.
/// Logs of the making lie beside it.
fn made(name: &str, inputs: &[&str], make: impl FnOnce(&Place, &Path)) -> PathBuf {
    let _making = Lock::exclusive(&format!("making-{name}"));
    let key = format!("{:x}", Sha256::digest(inputs.join("\n")));
    let fixtures = HOME.join("fixtures").join(name);
    let folder = fixtures.join(&key[..16]);
    if !folder.exists() {
        // Those of other inputs are of no use any more.
        _ = std::fs::remove_dir_all(&fixtures);
        let place = Place::kept(fixtures.join("part"));
        make(&place, &place.path(name));
        std::fs::rename(place.path(""), &folder).expect("the folder gets its name");
    }
    folder.join(name)
}

/// A path as an argument.
pub fn arg(path: &Path) -> &str {
    path.to_str().expect("the paths of this repository are UTF-8")
}

/// What a program printed while it made a shared file.
pub fn log_of(file: &Path, name: &str) -> String {
    std::fs::read_to_string(file.with_file_name(format!("{name}.log"))).expect("a log of text")
}

/// SmolLM2 in F16.
pub fn f16() -> PathBuf {
    made("f16.gguf", &[&TENPAK_KEY, arg(&MODEL)], |place, out| {
        place.run("convert", &mut tenpak(["convert", arg(&MODEL), "-o", arg(out), "--outtype", "f16"]));
    })
}

/// SmolLM2 in the types that are the default without a size, calibrated.
pub fn out() -> PathBuf {
    let (model, gram) = (f16(), gram());
    made("out.gguf", &[&TENPAK_KEY, arg(&gram)], |place, out| {
        let mut convert = tenpak(["convert", arg(&model), "-o", arg(out), "--recipe", "default"]);
        place.run("convert", convert.args(["--calibration", arg(&gram), "--effort", "fast"]));
    })
}

/// Blocks of [`uncalibrated`].
pub const SOME_BLOCKS: usize = 4;

/// The first blocks of SmolLM2 without calibration, in the same types, made while nothing else ran: the search for each weight
/// alone is the longest that there is.
pub fn uncalibrated() -> PathBuf {
    let model = short(&f16(), SOME_BLOCKS);
    made("uncalibrated.gguf", &[&TENPAK_KEY, arg(&model)], |place, out| {
        let mut convert = tenpak(["convert", arg(&model), "-o", arg(out), "--no-calibration"]);
        convert.args(["--threads", MEASURED_THREADS]);
        let (_, Measures { seconds, cpu_seconds, peak_kilobytes }) = place.measured("convert", &mut convert);
        let cpu_seconds = cpu_seconds.expect("the system tells CPU time");
        let peak_kilobytes = peak_kilobytes.expect("the system tells the peak of memory");
        std::fs::write(place.path("measures"), format!("{seconds} {cpu_seconds} {peak_kilobytes}"))
            .expect("a file");
    })
}

/// Seconds, CPU seconds and kilobytes at the peak of the conversion that made [`uncalibrated`].
pub fn measures_of_uncalibrated() -> (f64, f64, u64) {
    let text = std::fs::read_to_string(uncalibrated().with_file_name("measures")).expect("a file");
    let mut values = text.split(' ');
    let mut next = || values.next().expect("three values");
    let number = |text: &str| text.parse().expect("a number");
    (number(next()), number(next()), next().parse().expect("a number"))
}

/// [`out`] with its weights as floats.
pub fn exported() -> PathBuf {
    let model = out();
    made("exported.gguf", &[&TENPAK_KEY, arg(&model)], |place, out| {
        place.run("export", &mut tenpak(["export", arg(&model), "-o", arg(out)]));
    })
}

/// The collector over the calibration text, by the converter.
pub fn calibrate<const N: usize>(model: &Path, out: &Path, options: [&str; N]) -> Command {
    let text = text("c4");
    let mut command =
        tenpak(["calibrate", arg(model), "-f", arg(&text), "-o", arg(out), "--collector", arg(&LLAMA)]);
    if !options.contains(&"--threads") {
        command.args(["--threads", &THREADS.to_string()]);
    }
    // Not by the clock: the same sensitivities in every run.
    if !options.contains(&"--budget") {
        command.args(["--budget", "0"]);
    }
    command.args(options);
    command
}

/// llama-imatrix over as much of the calibration text. It keeps the weights as they are, as the collector does, so that both
/// compute the same.
pub fn imatrix(model: &Path, out: &Path, format: &str, chunks: &str) -> Command {
    let mut command = llama("llama-imatrix");
    command.arg("-m").arg(model).arg("-f").arg(text("c4")).arg("-o").arg(out);
    command.args(["--output-format", format, "-c", "512", "-b", "512", "--chunks", chunks, "--no-ppl"]);
    command.args(["--process-output", "--no-repack", "-t", &THREADS.to_string()]);
    command
}

/// Gram matrices of [`f16`].
pub fn gram() -> PathBuf {
    let model = f16();
    made("gram.gguf", &[&LLAMA_KEY, arg(&model)], |place, out| {
        place.run("calibrate", &mut calibrate(&model, out, ["--tokens", CALIBRATION_TOKENS]));
    })
}

/// A model with experts, of F16.
pub fn experts() -> PathBuf {
    let model = f16();
    made("experts.gguf", &[include_str!("experts_model.rs"), arg(&model)], |_, out| {
        experts_model::make(&model, out).expect("a model with experts");
    })
}

/// Gram matrices of [`experts`].
pub fn experts_gram() -> PathBuf {
    let model = experts();
    made("experts.gram.gguf", &[&LLAMA_KEY, arg(&model)], |place, out| {
        place.run("calibrate", &mut calibrate(&model, out, ["--tokens", CALIBRATION_TOKENS]));
    })
}

/// A conversion of [`experts`] to a type, calibrated.
pub fn convert_experts(calibration: &Path, kind: &str, out: &Path) -> Command {
    let mut command =
        tenpak(["convert", arg(&experts()), "-o", arg(out), "--type", kind, "--keep-embeddings"]);
    command.args(["--calibration", arg(calibration), "--effort", "fast"]);
    command
}

/// NAME.gguf of a model in T2, its embeddings as they are, calibrated; what the conversion printed, and the file.
pub fn in_t2(place: &Place, model: &Path, gram: &Path, name: &str, more: &[&str]) -> (String, PathBuf) {
    let out = place.path(&format!("{name}.gguf"));
    let mut command = tenpak(["convert", arg(model), "-o", arg(&out), "--calibration", arg(gram)]);
    command.args(["--type", "t2", "--keep-embeddings", "--effort", "fast"]).args(more);
    (place.run(name, &mut command), out)
}

/// [`experts`] in a type, calibrated, by one thread.
pub fn experts_in(kind: &str) -> PathBuf {
    let gram = experts_gram();
    made(&format!("experts-{kind}.gguf"), &[&TENPAK_KEY, arg(&gram)], |place, out| {
        place.run("convert", convert_experts(&gram, kind, out).args(["--threads", "1"]));
    })
}

/// [`experts_in`] with its weights as floats.
pub fn experts_exported(kind: &str) -> PathBuf {
    let model = experts_in(kind);
    made(&format!("experts-{kind}-exported.gguf"), &[&TENPAK_KEY, arg(&model)], |place, out| {
        place.run("export", &mut tenpak(["export", arg(&model), "-o", arg(out)]));
    })
}

/// [`f16`] by llama-quantize in one of its own types.
pub fn quantized(kind: &str) -> PathBuf {
    let model = f16();
    made(&format!("{kind}.gguf"), &[&LLAMA_KEY, arg(&model)], |place, out| {
        place
            .run("quantize", llama("llama-quantize").arg(&model).arg(out).args([kind, &THREADS.to_string()]));
    })
}

/// A program of this repository that shows the logits of models without a tokenizer.
pub fn logits_program() -> PathBuf {
    compiled("logits", include_str!("../support/logits.cpp"))
}

/// One that prints the ids that llama.cpp gives to texts.
pub fn tokenize_program() -> PathBuf {
    compiled("tokenize", include_str!("../support/tokenize.cpp"))
}

/// The program of tests/support/NAME.cpp, which is `source`, over llama.cpp's library.
pub fn compiled(name: &str, source: &str) -> PathBuf {
    made(name, &[&LLAMA_KEY, source], |place, out| {
        let (tree, folder) = (LLAMA.join("../.."), arg(&LLAMA));
        let mut compile = Command::new("c++");
        compile.args(["-O1", "-std=c++17"]).arg(Path::new(ROOT).join(format!("tests/support/{name}.cpp")));
        compile.arg("-I").arg(tree.join("include")).arg("-I").arg(tree.join("ggml/include"));
        compile.args([
            "-L",
            folder,
            "-lllama",
            "-lggml",
            "-lggml-base",
            &format!("-Wl,-rpath,{folder}"),
            "-o",
        ]);
        place.run("compile", compile.arg(out));
    })
}

/// Digests of the tensors of a file, a line each.
pub fn tensors(place: &Place, file: &Path) -> Vec<String> {
    digest(place, file).into_iter().filter(|line| line.starts_with("tensor ")).collect()
}

/// Digests of the keys and tensors of a file, a line each.
pub fn digest(place: &Place, file: &Path) -> Vec<String> {
    let name = file.file_name().expect("a file").to_string_lossy();
    let text = place.run(&format!("digest-{name}"), &mut tenpak(["inspect", arg(file), "--digest"]));
    text.lines().map(str::to_owned).collect()
}

/// Asserts that two lists of digests are the same, and shows the lines that differ.
#[track_caller]
pub fn assert_same_lines(found: &[String], expected: &[String]) {
    assert!(!expected.is_empty(), "there is nothing to compare with");
    let only =
        |a: &[String], b: &[String]| a.iter().filter(|line| !b.contains(line)).cloned().collect::<Vec<_>>();
    let (surplus, missing) = (only(found, expected), only(expected, found));
    assert!(
        found == expected,
        "these lines should not be there:\n{}\nthese are missing:\n{}",
        surplus.join("\n"),
        missing.join("\n")
    );
}

/// Asserts that two files have the same bytes.
#[track_caller]
pub fn assert_same_bytes(a: &Path, b: &Path) {
    assert_eq!(differences(a, b), 0, "bytes differ between {} and {}", a.display(), b.display());
}

/// How many bytes differ between two files of one length.
#[track_caller]
pub fn differences(a: &Path, b: &Path) -> usize {
    let map = |path: &Path| {
        let file = std::fs::File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        // SAFETY: no test writes a file again that it has made.
        unsafe { memmap2::Mmap::map(&file) }.expect("files can be mapped")
    };
    let (x, y) = (map(a), map(b));
    assert_eq!(x.len(), y.len(), "bytes of {} and of {}", a.display(), b.display());
    x.iter().zip(&y[..]).filter(|(x, y)| x != y).count()
}

/// A line for the output of a test that has passed.
pub fn note(text: impl std::fmt::Display) {
    println!("{}: {text}", std::thread::current().name().unwrap_or_default());
}

/// A checkpoint of SmolLM2 that a method quantized, converted.
pub fn kept(method: Method) -> PathBuf {
    let inputs = [include_str!("quantized_folder.rs"), &TENPAK_KEY, arg(&MODEL)];
    made(&format!("{}.gguf", method.name()), &inputs, |place, out| {
        let folder = place.path("checkpoint");
        quantized_folder::make(&MODEL, Some(method), BLOCKS, &folder).expect("a checkpoint");
        place.run("convert", &mut tenpak(["convert", arg(&folder), "-o", arg(out)]));
        std::fs::remove_dir_all(folder).expect("the checkpoint can go");
    })
}

/// The first blocks of a shared file.
pub fn short(model: &Path, blocks: usize) -> PathBuf {
    short_with(model, model, blocks)
}

/// The first blocks of a shared file, with embeddings and what else is in no block of another.
pub fn short_with(model: &Path, rest_of: &Path, blocks: usize) -> PathBuf {
    let name = format!("short-{blocks}-{}", model.file_name().expect("a file").to_string_lossy());
    made(&name, &[include_str!("short_model.rs"), arg(model), arg(rest_of)], |_, out| {
        short_model::make(model, rest_of, blocks as u64, out).expect("a short model");
    })
}
