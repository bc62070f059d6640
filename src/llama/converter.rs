//! llama.cpp's converter of Hugging Face folders, a Python program: where it is, running it, and what it says when it stops.

use super::find::{NotFound, Wanted};
use super::python;
use crate::interrupt;
use std::collections::VecDeque;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

/// The converter.
pub const CONVERTER: Wanted = Wanted {
    name: "convert_hf_to_gguf.py",
    is_script: true,
    option: "--converter",
    variable: "TENPAK_CONVERTER",
};

/// The Python packages that it needs, as pip reads them.
pub const REQUIREMENTS: &str = include_str!("../../ggml-patches/converter-requirements.txt");

/// The file of [`REQUIREMENTS`], beside the converter.
const REQUIREMENTS_FILE: &str = "converter-requirements.txt";

/// Where it lies in a release.
const IN_RELEASE: &str = "share/tenpak-gguf/llama.cpp";

/// What runs it in Python.
const RUN: &str = include_str!("run_converter.py");

/// Printed lines that are kept for errors.
const KEPT_LINES: usize = 100;

/// Lines that an error shows.
const SHOWN_LINES: usize = 4;

/// The converter, ready to run.
#[derive(Clone, Debug)]
pub struct Converter {
    /// The script.
    pub script: PathBuf,
    /// The Python that runs it: a path, or a name to be looked up in the search path.
    pub python: PathBuf,
    /// Where errors tell people to make a Python with what it needs.
    pub environment: PathBuf,
}

/// What is to be converted.
#[derive(Clone, Copy, Debug)]
pub struct Order<'a> {
    /// The folder.
    pub folder: &'a Path,
    /// The GGUF file to write.
    pub output: &'a Path,
    /// The converter's name of the float type.
    pub float: &'a str,
    /// The name of the model, if not that of the folder.
    pub name: Option<&'a str>,
    /// llama.cpp's name of the pre-tokenizer, if the converter is not to look for it.
    pub pre_tokenizer: Option<&'a str>,
}

/// Why nothing was converted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no converter.
    #[error(
        "{}: {class} is a class that llama.cpp's converter has to convert, and {reason}",
        folder.join("config.json").display()
    )]
    NotFound {
        /// The folder.
        folder: PathBuf,
        /// The class of the folder.
        class: String,
        /// Where the converter is not.
        reason: Box<NotFound>,
    },
    /// Python does not start.
    #[error(
        "{}: cannot be started: {source}; install Python 3.11 or later, or name one with {} or ${}",
        python.display(), python::OPTION, python::VARIABLE
    )]
    Start {
        /// The Python.
        python: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A package of Python is not there.
    #[error("{} lacks the package `{package}`, which llama.cpp's converter needs; paste this, and try again:\n{line}", python.display())]
    Package {
        /// The Python.
        python: PathBuf,
        /// The package.
        package: String,
        /// A line for a shell that makes a Python that has all packages.
        line: String,
    },
    /// The converter stopped.
    #[error("{}: llama.cpp's converter ({}) stopped ({status}): {said}", folder.display(), script.display())]
    Stopped {
        /// The folder.
        folder: PathBuf,
        /// The converter.
        script: PathBuf,
        /// How it ended.
        status: ExitStatus,
        /// What it said last.
        said: String,
    },
    /// The converter ended well and wrote nothing.
    #[error("{}: llama.cpp's converter ended well and did not write it; see whether it is one: --converter", .0.display())]
    NoOutput(PathBuf),
}

/// The folders beside a program of llama.cpp in which the converter may lie: that of a release, and the tree of which the program
/// was built.
pub fn folders_of(program: &Path) -> Vec<PathBuf> {
    // RELEASE/bin/PROGRAM
    let release = program.ancestors().nth(2).map(|folder| folder.join(IN_RELEASE));
    // TREE/build/bin/PROGRAM
    let tree = program.ancestors().nth(3).map(Path::to_owned);
    release.into_iter().chain(tree).collect()
}

impl Converter {
    /// Looks for it: as given, of the environment, beside this program, in `more` folders, in the search path. Python is
    /// the given one, that of the environment, or the system's.
    pub fn find(
        script: Option<&Path>,
        python: Option<&Path>,
        more: &[PathBuf],
        environment: PathBuf,
    ) -> Result<Converter, NotFound> {
        let script = CONVERTER.find(script, more)?;
        Ok(Converter { script: absolute(&script), python: python::find(python), environment })
    }

    /// The files of its program.
    pub fn sources(&self) -> Vec<PathBuf> {
        let tree = self.script.parent().unwrap_or(Path::new("."));
        let mut sources = vec![self.script.clone()];
        for folder in ["conversion", "gguf-py/gguf"] {
            let entries = std::fs::read_dir(tree.join(folder)).into_iter().flatten().flatten();
            sources
                .extend(entries.map(|e| e.path()).filter(|path| path.extension().is_some_and(|e| e == "py")));
        }
        sources.sort();
        sources
    }

    /// Converts a folder. `progress` hears how much of the file is written, from 0 to 1.
    pub fn run(&self, order: &Order, progress: &mut dyn FnMut(f64)) -> Result<(), Error> {
        let mut kept = VecDeque::new();
        let status = self.start(order, &mut |line| match written(line) {
            Some(share) => progress(share),
            None => {
                if kept.len() == KEPT_LINES {
                    kept.pop_front();
                }
                kept.push_back(line.to_owned());
            }
        });
        let status = status.map_err(|source| Error::Start { python: self.python.clone(), source })?;
        match status.success() {
            true if order.output.exists() => Ok(()),
            true => Err(Error::NoOutput(order.output.to_owned())),
            false => Err(self.error(order, status, &kept.into_iter().collect::<Vec<_>>())),
        }
    }

    /// Starts it, passes on every line that it prints, and waits for its end.
    fn start(&self, order: &Order, line: &mut dyn FnMut(&str)) -> io::Result<ExitStatus> {
        let (reader, writer) = io::pipe()?;
        let mut command = Command::new(&self.python);
        command.args(["-c", RUN]).arg(&self.script).arg(order.output);
        command.arg(order.pre_tokenizer.unwrap_or_default());
        command.arg(absolute(order.folder)).arg("--outfile").arg(order.output);
        command.args(["--outtype", order.float]);
        if let Some(name) = order.name {
            command.args(["--model-name", name]);
        }
        // Nothing is fetched, and no module is written beside a script that may be a release's.
        for variable in ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "PYTHONDONTWRITEBYTECODE", "PYTHONUTF8"] {
            command.env(variable, "1");
        }
        command.stdin(Stdio::piped()).stdout(writer.try_clone()?).stderr(writer);
        let (mut child, _watched) = interrupt::spawn(&mut command)?;
        // The other ends of the pipe are the child's, or its end would not be seen; standard input stays open until then.
        drop(command);
        let _open = child.stdin.take();
        let read = read_lines(reader, line);
        let status = child.wait()?;
        read.map(|()| status)
    }

    /// What stopped it.
    fn error(&self, order: &Order, status: ExitStatus, lines: &[String]) -> Error {
        let package = lines.iter().rev().find_map(|line| {
            let name = line.strip_prefix("ModuleNotFoundError: No module named '")?;
            name.split(['\'', '.']).next().map(str::to_owned)
        });
        if let Some(package) = package {
            let line = line_to_paste(Some(&self.script), &self.python, &self.environment);
            return Error::Package { python: self.python.clone(), package, line };
        }
        Error::Stopped {
            folder: order.folder.to_owned(),
            script: self.script.clone(),
            status,
            said: meaning(lines),
        }
    }
}

/// A line for a shell that makes a Python in `folder` that has all packages, and names it to this program. They are those of the
/// file beside the converter, if it is there.
pub fn line_to_paste(script: Option<&Path>, python: &Path, folder: &Path) -> String {
    let beside = script.map(|script| script.with_file_name(REQUIREMENTS_FILE)).filter(|path| path.is_file());
    let packages = match beside {
        Some(path) => format!("-r {}", quoted(&path)),
        None => packages().collect::<Vec<_>>().join(" "),
    };
    let (bin, variable) = if cfg!(windows) { ("Scripts", "set") } else { ("bin", "export") };
    let program = |name: &str| quoted(&folder.join(bin).join(name));
    format!(
        "{} -m venv {} && {} install {packages} && {variable} {}={}",
        quoted(python),
        quoted(folder),
        program("pip"),
        python::VARIABLE,
        program("python")
    )
}

/// The packages of [`REQUIREMENTS`], with their versions.
pub fn packages() -> impl Iterator<Item = &'static str> {
    REQUIREMENTS.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
}

/// A path without `.` and the like, so that a program that runs elsewhere finds it, and knows the name of a folder.
fn absolute(path: &Path) -> PathBuf {
    let has_parent = path.components().any(|part| part == std::path::Component::ParentDir);
    let whole = if has_parent { path.canonicalize() } else { std::path::absolute(path) };
    whole.unwrap_or_else(|_| path.to_owned())
}

/// A path as a word of a shell.
fn quoted(path: &Path) -> String {
    let text = path.to_string_lossy();
    let is_plain = |c: char| c.is_alphanumeric() || "/\\._-+:".contains(c);
    if text.chars().all(is_plain) { text.into_owned() } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

/// Lines, which progress bars end with a carriage return alone.
fn read_lines(reader: impl Read, line: &mut dyn FnMut(&str)) -> io::Result<()> {
    let mut bytes = Vec::new();
    for byte in BufReader::new(reader).bytes() {
        match byte? {
            b'\n' | b'\r' => {
                line(&String::from_utf8_lossy(&bytes));
                bytes.clear();
            }
            byte => bytes.push(byte),
        }
    }
    line(&String::from_utf8_lossy(&bytes));
    Ok(())
}

/// How much of the file is written, by a line of the progress bar: `Writing:  45%|████▌     | 1.21G/2.69G [00:10<00:12]`.
fn written(line: &str) -> Option<f64> {
    let percent = line.strip_prefix("Writing:")?.split_once('%')?.0.trim();
    percent.parse::<f64>().ok().map(|percent| percent / 100.0)
}

/// What a converter that stopped has said of the reason: the last exception of Python without the places where it happened, or
/// else its errors and warnings.
fn meaning(lines: &[String]) -> String {
    const NOISE: [&str; 2] = ["INFO:", "Traceback "];
    let last = lines.iter().rposition(|line| line.starts_with("Traceback ")).unwrap_or(0);
    let said = lines[last..].iter().filter_map(|line| {
        let logged = ["ERROR:", "WARNING:"].iter().find_map(|level| line.strip_prefix(level));
        // `ERROR:hf-to-gguf:`, and then what is said.
        let said = logged.and_then(|line| Some(line.split_once(':')?.1)).unwrap_or(line);
        let is_noise = said.starts_with([' ', '\t']) || NOISE.iter().any(|noise| said.starts_with(noise));
        let has_words = said.contains(char::is_alphanumeric);
        (has_words && !is_noise).then(|| said.trim().to_owned())
    });
    let said: Vec<String> = said.collect();
    let says = |words: &str| said.iter().any(|line| line.contains(words));
    if says("trust_remote_code") {
        return "a part of this checkpoint, such as its tokenizer, is Python code in its folder, and code of checkpoints is \
                never run here; look for a version of it in transformers' own form"
            .into();
    }
    let hint = match says("pre-tokenizer was not recognized") {
        true => "\nllama.cpp's name of the pre-tokenizer can be given: --tokenizer-pre NAME",
        false => "",
    };
    match &said[said.len().saturating_sub(SHOWN_LINES)..] {
        [] => format!("it said nothing{hint}"),
        last => format!("{}{hint}", last.join("\n")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meaning_of(printed: &str) -> String {
        meaning(&printed.lines().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn the_last_exception_counts() {
        let printed = "INFO:hf-to-gguf:Loading model: tiny\nWARNING:hf-to-gguf:Failed to load model config\n\
            Traceback (most recent call last):\n  File \"a.py\", line 1, in f\n    g()\nKeyError: 'a'\n\n\
            During handling of the above exception, another exception occurred:\n\n\
            Traceback (most recent call last):\n  File \"b.py\", line 2, in h\nValueError: no 'rope_theta'\nin config.json\n";
        assert_eq!(meaning_of(printed), "ValueError: no 'rope_theta'\nin config.json");
    }

    #[test]
    fn errors_that_are_logged_count_where_there_is_no_exception() {
        let printed = "INFO:hf-to-gguf:Loading model: tiny\nERROR:hf-to-gguf:Model FooForCausalLM is not supported\n****\n";
        assert_eq!(meaning_of(printed), "Model FooForCausalLM is not supported");
        assert_eq!(meaning_of("INFO:hf-to-gguf:Loading\n"), "it said nothing");
    }

    #[test]
    fn remedies_that_are_known() {
        let printed = "Traceback (most recent call last):\nNotImplementedError: BPE pre-tokenizer was not recognized - update get_vocab_base_pre()";
        assert!(meaning_of(printed).ends_with("--tokenizer-pre NAME"));
        let printed = "ValueError: ...\nPlease pass the argument `trust_remote_code=True` to allow custom code to be run.";
        assert!(meaning_of(printed).contains("never run here"));
    }

    #[test]
    fn progress_is_that_of_the_bar() {
        assert_eq!(written("Writing:  45%|████▌     | 1.21G/2.69G [00:10<00:12, 118Mbyte/s]"), Some(0.45));
        assert_eq!(written("Writing: 0.00byte [00:00, ?byte/s]"), None);
        assert_eq!(written("INFO:hf-to-gguf:Writing the following files:"), None);
        let mut lines = Vec::new();
        read_lines(&b"one\rtwo\r\nthree"[..], &mut |line| lines.push(line.to_owned())).unwrap();
        assert_eq!(lines, ["one", "two", "", "three"]);
    }

    #[test]
    fn every_package_has_its_version() {
        assert!(packages().count() > 5 && packages().all(|package| package.contains("==")));
    }

    #[test]
    fn words_of_a_shell() {
        assert_eq!(quoted(Path::new("/a/b-1.txt")), "/a/b-1.txt");
        assert_eq!(quoted(Path::new("/a b/c'd")), r"'/a b/c'\''d'");
    }
}
