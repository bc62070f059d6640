//! docs/guide/: commands that need llama.cpp's programs are run, with what stands before them on their page.

use super::fixtures::*;
use super::place::Place;
use super::support::guide::{Runner, blocks, pages, run};

#[test]
fn commands_that_need_llama_cpp() {
    // The model is the same on all pages, so that the second finds in the cache what the first has measured.
    let place = Place::new();
    for (page, text) in pages() {
        let needs_llama = blocks(&page, &text).iter().any(|block| block.runner == Runner::Llama);
        if needs_llama {
            let start = std::time::Instant::now();
            run(&page, &text, Some(&LLAMA), Some(&place.path("cache")));
            note(format!("{page}: {:.1} s", start.elapsed().as_secs_f64()));
        }
    }
}
