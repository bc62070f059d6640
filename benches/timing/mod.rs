//! Seconds of what takes microseconds.

use std::time::Instant;

/// Repeats a pass for a round of so many seconds, at least once. Returns the seconds of a pass.
pub fn round(seconds: f64, pass: &mut dyn FnMut()) -> f64 {
    let (start, mut passes) = (Instant::now(), 0);
    while passes == 0 || start.elapsed().as_secs_f64() < seconds {
        pass();
        passes += 1;
    }
    start.elapsed().as_secs_f64() / passes as f64
}
