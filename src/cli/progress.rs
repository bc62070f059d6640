//! How far a job over weights is: a bar on a terminal, a line now and then in a log.

use super::forecast::duration;
use super::is_quiet;
use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// A log gets a line after so long at the soonest, so that short jobs leave none and long ones not too many.
const BETWEEN_LINES: Duration = Duration::from_secs(30);

/// How far a job is.
pub struct Progress {
    verb: String,
    unit: &'static str,
    all: u64,
    done: u64,
    /// Of those, what was there before the start, and says nothing about how long the rest takes.
    before: u64,
    start: Instant,
    shown: Instant,
    /// On a terminal.
    bar: Option<ProgressBar>,
}

impl Progress {
    /// Nothing is done yet of a job over so many weights.
    pub fn new(weights: u64, verb: &'static str) -> Progress {
        Progress::counting(weights, "weights", verb.to_owned())
    }

    /// Nothing is done yet of a job over so many of something else.
    pub fn counting(all: u64, unit: &'static str, verb: String) -> Progress {
        let bar = (is_terminal() && !is_quiet()).then(|| {
            let style = format!(
                "{{msg}} [{{wide_bar}}] {{percent:>3}}%  {{human_pos}} of {{human_len}} {unit}  {{per_sec}}  {{eta}} left"
            );
            let style = ProgressStyle::with_template(&style).expect("a fixed template");
            let bar = ProgressBar::new(all).with_style(style.progress_chars("=> "));
            bar.set_message(verb.clone());
            bar
        });
        let now = Instant::now();
        Progress { verb, unit, all, done: 0, before: 0, start: now, shown: now, bar }
    }

    /// There is no job.
    pub fn hidden() -> Progress {
        let now = Instant::now();
        Progress {
            verb: String::new(),
            unit: "",
            all: 0,
            done: 0,
            before: 0,
            start: now,
            shown: now,
            bar: None,
        }
    }

    /// So many more are done.
    pub fn inc(&mut self, more: u64) {
        self.reach(self.done + more);
    }

    /// So many more were done before the start.
    pub fn begin_at(&mut self, more: u64) {
        self.before += more;
        self.done += more;
        if let Some(bar) = &self.bar {
            bar.set_position(self.done);
            bar.reset_eta();
        }
    }

    /// So many are done in all.
    pub fn reach(&mut self, done: u64) {
        self.done = done;
        match &self.bar {
            Some(bar) => bar.set_position(done),
            // How long it takes is not known before something is done.
            None if done > self.before && self.shown.elapsed() >= BETWEEN_LINES => {
                say!("{}", self.line(self.start.elapsed()));
                self.shown = Instant::now();
            }
            None => {}
        }
    }

    /// Takes the bar away.
    pub fn finish(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }

    fn line(&self, elapsed: Duration) -> String {
        let share = self.done as f64 / self.all.max(1) as f64;
        let (now, rest) = (self.done - self.before, self.all.saturating_sub(self.done));
        let left = elapsed.as_secs_f64() * (rest as f64 / now.max(1) as f64);
        format!(
            "{}: {:.0} % of {} {}, {} left",
            self.verb,
            100.0 * share,
            self.all,
            self.unit,
            duration(left)
        )
    }
}

/// Whether standard error is a terminal on which a line can be written over.
fn is_terminal() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|name| name != "dumb")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_is_left() {
        let mut progress = Progress::new(1000, "converting");
        progress.inc(250);
        let line = progress.line(Duration::from_secs(10));
        assert_eq!(line, "converting: 25 % of 1000 weights, 30 s left");
        // Of a file that was half done, the other half decides.
        let mut resumed = Progress::new(1000, "converting");
        resumed.begin_at(500);
        resumed.inc(250);
        let line = resumed.line(Duration::from_secs(10));
        assert_eq!(line, "converting: 75 % of 1000 weights, 10 s left");
        progress.inc(800);
        assert!(progress.line(Duration::from_secs(10)).ends_with(" 0 s left"));
    }
}
