//! Work in small pieces, each for whoever is free, with memory that outlives a piece.

use rayon::prelude::*;
use std::sync::{Mutex, PoisonError};

/// Calls `work` for every `piece` bytes of `out`, with the index of the piece and something that `make` made, of which
/// there are as many as pieces at the same time. Stops at an error.
///
/// Rayon would hand out some runs of pieces and make new memory for each; whoever is done first waits for the
/// last run, of a matrix of SmolLM2 up to a quarter.
pub(super) fn for_each_piece<T: Send, E: Send>(
    out: &mut [u8],
    piece: usize,
    make: impl Fn() -> T + Sync,
    work: impl Fn(&mut T, usize, &mut [u8]) -> Result<(), E> + Sync,
) -> Result<(), E> {
    let idle = Mutex::new(Vec::new());
    let idle = || idle.lock().unwrap_or_else(PoisonError::into_inner);
    out.par_chunks_mut(piece).with_max_len(1).enumerate().try_for_each(|(i, out)| {
        let taken = idle().pop();
        let mut scratch = taken.unwrap_or_else(&make);
        work(&mut scratch, i, out)?;
        idle().push(scratch);
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    #[test]
    fn every_piece_once_and_memory_for_each_thread() {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
        let made = AtomicUsize::new(0);
        let mut out = vec![0; 7 * 100 + 3];
        let result = pool.install(|| {
            for_each_piece(
                &mut out,
                7,
                || made.fetch_add(1, Relaxed),
                |_, i, out| {
                    out.iter_mut().for_each(|byte| *byte += 1 + i as u8);
                    Ok::<(), ()>(())
                },
            )
        });
        assert_eq!(result, Ok(()));
        assert!(out.iter().enumerate().all(|(k, &byte)| byte == 1 + (k / 7) as u8));
        assert!((1..=3).contains(&made.load(Relaxed)));
    }

    #[test]
    fn an_error_comes_back() {
        let result = for_each_piece(&mut [0; 64], 1, || (), |(), i, _| if i == 40 { Err(i) } else { Ok(()) });
        assert_eq!(result, Err(40));
    }
}
