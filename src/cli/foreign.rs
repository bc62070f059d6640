//! Foreign folders, in words.

use super::human_bytes;
use tenpak_gguf::job::Prepared;

/// What is made of a foreign folder first, where, and how much room that takes.
pub fn sentence(prepared: &Prepared) -> String {
    let Prepared { foreign, converter, dtype, cached, place, bytes, free } = prepared;
    let class = &foreign.class;
    if prepared.is_there() {
        let path = cached.as_deref().unwrap_or(place);
        return format!("{class}, as llama.cpp's converter wrote it, from the cache: {}", path.display());
    }
    let room = match free {
        Some(free) => format!("of {} that are free", human_bytes(*free)),
        None => "of room".into(),
    };
    let end = if cached.is_some() { "kept there" } else { "deleted at the end" };
    format!(
        "{class} has no table here: llama.cpp's converter ({}) writes the model as {} into {}, about {} {room}, {end}",
        converter.script.display(),
        dtype.ggml().name(),
        place.display(),
        human_bytes(*bytes)
    )
}
