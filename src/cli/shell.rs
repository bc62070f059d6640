//! `tenpak-gguf completions` and `tenpak-gguf man`: what shells and `man` know of the commands.

use anyhow::Context;
use clap::Command;
use clap_complete::Shell;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};
use std::io::Write;
use std::path::PathBuf;
use tenpak_gguf::job;

/// Print what completes commands and options in a shell
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  tenpak-gguf completions bash > ~/.local/share/bash-completion/completions/tenpak-gguf
  tenpak-gguf completions zsh > ~/.zfunc/_tenpak-gguf      with `fpath+=~/.zfunc` before `compinit` in ~/.zshrc
  tenpak-gguf completions fish > ~/.config/fish/completions/tenpak-gguf.fish
  source <(tenpak-gguf completions bash)                   for this shell alone")]
pub struct CompletionArgs {
    /// The shell
    shell: Shell,
}

/// Write man pages, one for each command
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  tenpak-gguf man ~/.local/share/man/man1
  man tenpak-gguf-convert

Pages of another version that have the same names are written over.")]
pub struct ManArgs {
    /// Folder, which is made if it is not there
    folder: PathBuf,
}

pub fn completions(args: CompletionArgs, mut command: Command) -> anyhow::Result<()> {
    let mut script = Vec::new();
    let name = command.get_name().to_owned();
    clap_complete::generate(args.shell, &mut command, &name, &mut script);
    let mut script = String::from_utf8(script)?;
    if args.shell == Shell::Bash {
        // clap_complete 4.6.11 writes the hyphen of a program's name in two ways, of which one finds no command.
        script = script.replace(&name.replace('-', "__subcmd__"), &name.replace('-', "__"));
    }
    std::io::stdout().write_all(script.as_bytes())?;
    Ok(())
}

pub fn man(args: ManArgs, command: Command) -> anyhow::Result<()> {
    let mut command = command.disable_help_subcommand(true);
    command.build();
    let mut pages = Vec::new();
    add_pages(&command, &mut pages)?;
    let folder = &args.folder;
    std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    for (name, page) in &pages {
        job::save(&folder.join(name), page)?;
    }
    report!("{}: {} pages", folder.display(), pages.len());
    Ok(())
}

/// Names and texts of the pages of a command and of those below it.
fn add_pages(command: &Command, pages: &mut Vec<(String, Vec<u8>)>) -> anyhow::Result<()> {
    let man = Man::new(command.clone());
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if command.get_subcommands().any(|below| !below.is_hide_set()) {
        man.render_subcommands_section(&mut page)?;
    }
    if let Some(text) = command.get_after_help() {
        after_help(&text.to_string()).to_writer(&mut page)?;
    }
    pages.push((man.get_filename(), page));
    command
        .get_subcommands()
        .filter(|below| !below.is_hide_set())
        .try_for_each(|below| add_pages(below, pages))
}

/// What follows the options: lists of lines under a word and a colon, which are shown as they are, and paragraphs.
fn after_help(text: &str) -> Roff {
    let mut page = Roff::new();
    let mut has_notes = false;
    for block in text.split("\n\n") {
        match block.split_once(":\n") {
            Some((title, lines)) if lines.lines().all(|line| line.starts_with("  ")) => {
                page.control("SH", [title.to_uppercase().as_str()]).control("nf", []);
                lines
                    .lines()
                    .for_each(|line| _ = page.text([roman(line.strip_prefix("  ").unwrap_or(line))]));
                page.control("fi", []);
            }
            _ => {
                if !has_notes {
                    page.control("SH", ["NOTES"]);
                    has_notes = true;
                }
                page.control("PP", []);
                block.lines().for_each(|line| _ = page.text([roman(line)]));
            }
        }
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_keep_their_lines_and_paragraphs_do_not() {
        let page =
            after_help("Examples:\n  one -x      first\n  two\n\nA paragraph\nof two lines.").to_roff();
        let lines: Vec<&str> = page.lines().collect();
        let at =
            |wanted: &str| lines.iter().position(|line| *line == wanted).unwrap_or_else(|| panic!("{page}"));
        assert!(at(".nf") < at("one \\-x      first") && at("two") < at(".fi") && at(".fi") < at(".PP"));
        assert!(at(".SH EXAMPLES") < at(".SH NOTES"));
    }
}
