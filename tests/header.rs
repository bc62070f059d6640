//! The headers in git are the renderings of this crate, and the registry keeps ggml's rules.

use std::collections::HashSet;
use tenpak_gguf::gguf::GgmlType;
use tenpak_gguf::render;
use tenpak_gguf::types::{REGISTRY, Role, by_id, by_name};

#[test]
fn files_are_rendered_from_the_constants() {
    let files = [
        ("tenpak.h", "", render::header()),
        ("tenpak-tables.h", " tables", render::tables()),
        ("tenpak-tables.glsl", " shaders", render::shaders()),
    ];
    for (name, argument, rendered) in files {
        let path = format!("{}/ggml-patches/{name}", env!("CARGO_MANIFEST_DIR"));
        let in_git = std::fs::read_to_string(&path).expect("the file is there");
        assert!(
            in_git == rendered,
            "{path} is old: cargo run --example render_header{argument} > target/{name} && mv target/{name} ggml-patches/"
        );
    }
}

#[test]
fn header_has_a_row_for_every_type() {
    let header = render::header();
    for t in REGISTRY {
        let start = format!("X({}, {}, {}, ", t.name.to_uppercase(), t.name, t.id);
        let row = format!("{start}{}, {}", t.block_len, t.block_bytes);
        assert_eq!(header.matches(&row).count(), 1, "{row}");
        assert_eq!(header.matches(&start).count(), 1, "{start}");
    }
}

/// ggml's own ids are below 512, for long.
const FIRST_ID: u32 = 512;

#[test]
fn ids_are_ours_alone() {
    for t in REGISTRY {
        assert!(t.id >= FIRST_ID, "{} has id {}", t.name, t.id);
    }
    let ids: HashSet<_> = REGISTRY.iter().map(|t| t.id).collect();
    let names: HashSet<_> = REGISTRY.iter().map(|t| t.name).collect();
    assert_eq!((ids.len(), names.len()), (REGISTRY.len(), REGISTRY.len()));
}

/// Ids are in files that people have: a change here makes those files unreadable.
#[test]
fn ids_and_sizes_never_change() {
    let all: Vec<_> = REGISTRY.iter().map(|t| (t.name, t.id, t.block_len, t.block_bytes)).collect();
    let first = [
        ("t2", 512, 256, 66),
        ("t3", 513, 256, 98),
        ("t4", 514, 256, 130),
        ("t2_64", 515, 64, 18),
        ("t3_64", 516, 64, 26),
        ("t4_64", 517, 64, 34),
        ("a8", 518, 256, 264),
        ("a8_64", 519, 64, 72),
        ("g4_128", 520, 128, 67),
        ("nf4_64", 521, 64, 36),
        ("q8_64", 522, 64, 72),
        ("t25", 523, 256, 82),
        ("t35", 524, 256, 114),
        ("t25_64", 525, 64, 22),
        ("t35_64", 526, 64, 30),
        ("o4", 527, 256, 132),
        ("o4x2", 528, 256, 135),
        ("q8", 529, 256, 264),
        ("o3", 530, 256, 100),
        ("o3x2", 531, 256, 103),
        ("s34", 532, 256, 113),
        ("s24", 533, 256, 89),
        ("t5", 534, 256, 162),
        ("t5_64", 535, 64, 42),
    ];
    for t in first {
        assert!(all.contains(&t), "{t:?} is not in the registry as it was");
    }
}

#[test]
fn types_are_found_by_id_and_name() {
    for &t in REGISTRY {
        assert!(std::ptr::eq(by_id(t.id).expect("there"), t));
        assert!(std::ptr::eq(by_name(t.name).expect("there"), t));
        assert_eq!(GgmlType(t.id).name(), t.name);
        assert_eq!(GgmlType(t.id).bytes(3 * t.block_len as u64), Some(3 * t.block_bytes as u64));
        assert_eq!(t.row_bytes(t.block_len + 1), None);
    }
    assert!(by_id(0).is_none() && by_name("f32").is_none());
}

#[test]
fn blocks_of_weights_are_whole_blocks_of_activations() {
    for t in REGISTRY {
        if let Role::Weight { activation, .. } = t.role {
            assert!(t.block_len.is_multiple_of(activation.block_len), "{}", t.name);
            assert!(matches!(activation.role, Role::Activation { .. }));
        }
    }
}
