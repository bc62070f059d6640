//! llama-completion: what a model writes after a prompt, the most likely token each time.

use super::find::file_name;
use super::run::{Error, Finished, last_lines, passed_on};
use std::fs::File;
use std::path::Path;
use std::process::Command;

/// What the program prints after a text that the model ended.
const END: &str = " [end of text]";

/// What a model writes after a prompt, at most so many tokens. `folder` gets the prompt, the text and what the program says.
pub fn greedy(
    programs: &Path,
    model: &Path,
    prompt: &str,
    tokens: u64,
    threads: usize,
    folder: &Path,
) -> Result<String, Error> {
    let [given, written, log] = ["prompt", "text", "log"].map(|name| folder.join(name));
    let of = |path: &Path| {
        let log = path.to_owned();
        move |source| Error::Log { log, source }
    };
    std::fs::write(&given, prompt).map_err(of(&given))?;
    let mut command = Command::new(programs.join(file_name("llama-completion")));
    command.arg("-m").arg(model).arg("-f").arg(&given);
    command.args(["-n", &tokens.to_string(), "-t", &threads.to_string(), "--temp", "0", "--seed", "1"]);
    command.args(["-no-cnv", "--no-warmup", "--no-display-prompt", "--no-escape", "--color", "off"]);
    command.stdout(File::create(&written).map_err(of(&written))?);
    command.stderr(File::create(&log).map_err(of(&log))?);
    let Finished { status, .. } = passed_on(&mut command)?;
    if !status.success() {
        let text = std::fs::read(&log).map_err(of(&log))?;
        let (program, tail) = (command.get_program().into(), last_lines(&String::from_utf8_lossy(&text)));
        return Err(Error::Failed { program, status, log, tail });
    }
    let text = std::fs::read(&written).map_err(of(&written))?;
    let text = String::from_utf8_lossy(&text);
    let text = text.trim_end_matches('\n');
    Ok(text.strip_suffix(END).unwrap_or(text).to_owned())
}
