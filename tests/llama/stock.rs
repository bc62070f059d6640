//! An unpatched ggml runs files of `export --stock-ids` with the backend of ours, and nothing else does.

use super::fixtures::*;
use super::place::{Place, ROOT, script};
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;
use tenpak_gguf::gguf::File;

#[test]
fn an_unpatched_ggml_multiplies_with_the_backend_only() {
    let place = Place::new();
    let (converted, exported) = (place.path("model.gguf"), place.path("stock.gguf"));
    // `down` alone has rows that 256 divides: a type for each block of the model.
    let rules = ["t2", "t25", "t3", "t35", "t4", "t5"].iter().enumerate().map(|(block, kind)| {
        format!("[[rule]]\nnames = ['blk.{block}.ffn_down.weight']\ntypes = ['{kind}_256']\n")
    });
    let rules = rules.collect::<String>() + "[[rule]]\ntypes = ['q8_0', 'stored']\n";
    std::fs::write(place.path("types.toml"), rules).unwrap();
    let model = short(&f16(), 6);
    let mut convert = tenpak(["convert", arg(&model), "-o", arg(&converted), "--no-calibration"]);
    place.run("convert", convert.arg("--recipe").arg(place.path("types.toml")));
    place.run("export", &mut tenpak(["export", arg(&converted), "-o", arg(&exported), "--stock-ids"]));
    assert_eq!(std::fs::metadata(&converted).unwrap().len(), std::fs::metadata(&exported).unwrap().len());

    script("build_backend.sh", &[], &[]);
    script("build_stock_ggml.sh", &[], &[("STOCK_TARGETS", OsStr::new("modules"))]);
    let mut check = Command::new(Path::new(ROOT).join("scripts/check_stock_backend.sh"));
    let printed = place.run("check", check.arg(&exported).env("LLAMA_QUICK", "1"));
    // Errors are of the activations, which have eight bits.
    let kinds: BTreeSet<&str> = printed.lines().filter_map(|line| line.split(' ').nth(1)).collect();
    for kind in ["t2", "t25", "t3", "t35", "t4", "t5", "q8_0"] {
        assert!(kinds.contains(kind), "no product with {kind} in:\n{printed}");
    }
}

/// The recipe for it fits: of a model whose rows 256 does not divide most is Q8_0.
#[test]
fn the_recipe_makes_what_can_be_exported() {
    let place = Place::new();
    let (other, stock, exported) =
        (place.path("other.gguf"), place.path("stock.gguf"), place.path("out.gguf"));
    let model = short(&f16(), 2);
    // Blocks of 64.
    let rules = "[[rule]]\nnames = ['blk.0.attn_k.weight']\ntypes = ['t2']\n[[rule]]\ntypes = ['stored']\n";
    std::fs::write(place.path("other.toml"), rules).unwrap();
    for (recipe, out) in [(arg(&place.path("other.toml")), &other), ("stock", &stock)] {
        let mut convert = tenpak(["convert", arg(&model), "-o", arg(out), "--no-calibration"]);
        place.run("convert", convert.args(["--recipe", recipe]));
    }
    let refusal =
        place.fails("other", &mut tenpak(["export", arg(&other), "-o", arg(&exported), "--stock-ids"]));
    assert!(refusal.contains("other.gguf: tensor `blk.0.attn_k.weight` is t2_64: "), "{refusal}");
    assert!(refusal.contains("--recipe stock"), "{refusal}");
    assert!(!exported.exists());
    place.run("export", &mut tenpak(["export", arg(&stock), "-o", arg(&exported), "--stock-ids"]));
    let kinds = |file: &File| file.tensors().iter().map(|t| t.kind.0).collect::<BTreeSet<u32>>();
    let file = File::open(&stock).unwrap();
    assert!(kinds(&file).iter().any(|id| *id >= 512) && kinds(&file).len() > 2, "{:?}", kinds(&file));
    assert!(kinds(&File::open(&exported).unwrap()).iter().all(|id| *id < 512));
}
