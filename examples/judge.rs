//! llama.cpp's judgement of models, and what programs take: for scripts, and as an example of the room `llama`.
//!
//! ```text
//! judge perplexity PROGRAMS TEXT CHUNKS MODEL LOG            prints the perplexity
//! judge logits PROGRAMS TEXT CHUNKS MODEL LOGITS LOG         writes what a model predicts
//! judge divergence PROGRAMS TEXT CHUNKS MODEL LOGITS LOG     prints perplexity, that of the other model, mean and median KLD
//! judge measured LOG COMMAND...                              prints seconds, CPU seconds and kilobytes at the peak
//! ```
//!
//! PROGRAMS is the folder of llama.cpp's programs; LOG gets what they print.

use std::path::Path;
use std::process::{Command, ExitCode};
use tenpak_gguf::llama::{Divergence, Evaluation, logged};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match judge(&arguments.iter().map(String::as_str).collect::<Vec<_>>()) {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn judge(arguments: &[&str]) -> Result<String, Box<dyn std::error::Error>> {
    if let ["measured", log, program, arguments @ ..] = arguments {
        let measures = logged(Command::new(program).args(arguments), Path::new(log))?.measures;
        let cpu_seconds = measures.cpu_seconds.ok_or("this system does not tell CPU time")?;
        let kilobytes = measures.peak_kilobytes.ok_or("this system does not tell the peak of memory")?;
        return Ok(format!("{:.2} {cpu_seconds:.2} {kilobytes}", measures.seconds));
    }
    let [what, programs, text, chunks, model, files @ ..] = arguments else {
        return Err("give perplexity, logits, divergence or measured, and what they need".into());
    };
    let evaluation = Evaluation {
        programs: programs.into(),
        text: text.into(),
        chunks: chunks.parse()?,
        threads: std::thread::available_parallelism()?.get(),
        options: Vec::new(),
        environment: Vec::new(),
        adapter: None,
    };
    let model = Path::new(model);
    match (*what, files) {
        ("perplexity", [log]) => Ok(evaluation.perplexity(model, Path::new(log))?.estimate.to_string()),
        ("logits", [logits, log]) => {
            evaluation.write_logits(model, Path::new(logits), Path::new(log))?;
            Ok((*logits).to_owned())
        }
        ("divergence", [logits, log]) => {
            let Divergence { perplexity, base_perplexity, mean, median, .. } =
                evaluation.divergence(model, Path::new(logits), Path::new(log))?;
            Ok(format!("{perplexity:.6} {base_perplexity:.6} {mean:.6} {median:.6}"))
        }
        _ => Err(format!("{what}: give other files").into()),
    }
}
