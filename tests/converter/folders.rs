//! Folders as people have them: more than one saving of a model, unusual names, files of git-lfs, what peft and MLX leave,
//! JSON of Python's, templates.

use crate::support;
use serde_json::{Map, Value as Json, json};
use support::tiny_llama::{Folder, Stored, TinyLlama};
use tenpak_gguf::checkpoint::{Model, Options};
use tenpak_gguf::gguf::Value;

fn open(folder: &Folder) -> Model {
    Model::open(&folder.path, &Options::default()).unwrap_or_else(|e| panic!("{e}"))
}

#[track_caller]
fn refused(folder: &Folder, words: &[&str]) {
    let opened = Model::open(&folder.path, &Options::default());
    support::assert_says(support::error(opened), words);
}

fn text<'a>(model: &'a Model, key: &str) -> Option<&'a str> {
    model.key(key).and_then(Value::as_str)
}

/// A row of the embeddings, to tell weights apart.
fn row(model: &Model) -> Vec<f32> {
    let t = model.tensors.iter().find(|t| t.name == "token_embd.weight").expect("embeddings");
    let mut row = vec![0.0; t.columns()];
    model.read_rows(t, 3, &mut row).expect("a row");
    row
}

fn rename(folder: &Folder, from: &str, to: &str) {
    std::fs::rename(folder.path.join(from), folder.path.join(to)).expect("it was there");
}

/// Shards of a model saved before, beside the file that it was saved into later.
#[test]
fn the_whole_file_counts_and_a_stale_index_is_named() {
    let tiny = TinyLlama::of_one_block();
    let mut new = tiny.clone();
    let embeddings = new.tensors.get_mut("model.embed_tokens.weight").expect("embeddings");
    *embeddings = Stored::new(embeddings.dtype, &embeddings.shape, &vec![0.5; embeddings.values().len()]);
    let folder = tiny.write_sharded();
    let single = new.write();
    std::fs::copy(single.path.join("model.safetensors"), folder.path.join("model.safetensors")).unwrap();
    let model = open(&folder);
    assert_eq!(row(&model)[0], 0.5);
    support::assert_says(model.notes.join("; "), &["`model.safetensors`", "index.json", "not read"]);
    folder.remove("model.safetensors");
    assert_eq!(open(&folder).notes, [""; 0]);
}

#[test]
fn weights_of_two_models_are_refused() {
    let folder = TinyLlama::of_one_block().write_sharded();
    folder.remove("model.safetensors.index.json");
    assert_eq!(open(&folder).notes, [""; 0]);
    let first = folder.path.join("model-00001-of-00002.safetensors");
    std::fs::copy(&first, folder.path.join("model-00001-of-00001.safetensors")).unwrap();
    refused(&folder, &["2 models", "`model-00001-of-00001.safetensors`", "leave those of one"]);
}

#[test]
fn weights_of_other_names_are_found() {
    let folder = TinyLlama::of_one_block().write();
    let plain = row(&open(&folder));
    rename(&folder, "model.safetensors", "gptq_model-4bit-128g.safetensors");
    let model = open(&folder);
    support::assert_says(model.notes.join("; "), &["`gptq_model-4bit-128g.safetensors`"]);
    assert_eq!(row(&model), plain);
    let sharded = TinyLlama::of_one_block().write_sharded();
    sharded.remove("model.safetensors.index.json");
    for i in [1, 2] {
        rename(
            &sharded,
            &format!("model-0000{i}-of-00002.safetensors"),
            &format!("weights.0{}.safetensors", i - 1),
        );
    }
    assert_eq!(row(&open(&sharded)), plain);
    let consolidated = TinyLlama::of_one_block().write();
    std::fs::copy(
        consolidated.path.join("model.safetensors"),
        consolidated.path.join("consolidated.safetensors"),
    )
    .unwrap();
    support::assert_says(
        open(&consolidated).notes.join("; "),
        &["`model.safetensors`", "`consolidated.safetensors`"],
    );
}

#[test]
fn pointers_of_git_lfs_are_named() {
    let pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 4976698672\n";
    for name in ["model.safetensors", "tokenizer.json", "config.json"] {
        let folder = TinyLlama::of_one_block().write();
        std::fs::write(folder.path.join(name), pointer).unwrap();
        refused(&folder, &[name, "git lfs pull"]);
    }
    let folder = TinyLlama::of_one_block().write();
    let file = folder.beside("model.gguf");
    std::fs::write(&file, pointer).unwrap();
    support::assert_says(support::error(Model::open(&file, &Options::default())), &["git lfs pull"]);
}

#[test]
fn what_peft_had_wrapped_has_to_be_merged() {
    let mut tiny = TinyLlama::of_one_block();
    let q = tiny.tensors.remove("model.layers.0.self_attn.q_proj.weight").expect("a matrix");
    tiny.tensors.insert("model.layers.0.self_attn.q_proj.base_layer.weight".into(), q);
    refused(&tiny.write(), &["base_layer", "merge_and_unload"]);
    let mut tiny = TinyLlama::of_one_block();
    tiny.tensors = std::mem::take(&mut tiny.tensors)
        .into_iter()
        .map(|(name, t)| (format!("base_model.model.{name}"), t))
        .collect();
    refused(&tiny.write(), &["base_model.model.", "merge_and_unload"]);
}

#[test]
fn json_as_python_writes_it() {
    let mut tiny = TinyLlama::of_one_block();
    tiny.config["rms_norm_eps"] = json!(0.25);
    let folder = tiny.write();
    let config = std::fs::read_to_string(folder.path.join("config.json")).unwrap();
    let more = config.replacen('{', "{\"time_step_limit\": [0.0, Infinity], \"some_dropout\": NaN, ", 1);
    std::fs::write(folder.path.join("config.json"), &more).unwrap();
    open(&folder);
    let needed = config.replace("\"rms_norm_eps\":0.25", "\"rms_norm_eps\": Infinity");
    assert_ne!(needed, config);
    std::fs::write(folder.path.join("config.json"), needed).unwrap();
    refused(&folder, &["rms_norm_eps", "Infinity", "no number"]);
}

#[test]
fn a_config_without_a_class_has_a_type() {
    let mut tiny = TinyLlama::of_one_block();
    tiny.config["architectures"] = Json::Null;
    refused(&tiny.write(), &["`architectures`", "`model_type`"]);
    tiny.config["model_type"] = json!("llama");
    assert_eq!(text(&open(&tiny.write()), "general.architecture"), Some("llama"));
    tiny.config["model_type"] = json!("lama");
    refused(&tiny.write(), &["`architectures`", "lama", "LlamaForCausalLM"]);
}

#[test]
fn folders_of_a_cache_have_the_name_of_the_model() {
    let folder = TinyLlama::of_one_block().write();
    let snapshots = folder.beside("models--Some-Org--Tiny-Llama-Chat").join("snapshots");
    std::fs::create_dir_all(&snapshots).unwrap();
    let commit = snapshots.join("0123456789abcdef0123456789abcdef01234567");
    std::fs::rename(&folder.path, &commit).unwrap();
    let model = Model::open(&commit, &Options::default()).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(text(&model, "general.name"), Some("Tiny Llama Chat"));
    assert_eq!(text(&model, "general.organization"), Some("Some Org"));
    assert_eq!(text(&model, "general.finetune"), Some("Chat"));
}

#[test]
fn templates_with_the_precedence_of_transformers() {
    let mut tiny = TinyLlama::of_one_block();
    tiny.tokenizer_config["chat_template"] = Json::Null;
    let folder = tiny.write();
    let template = |folder: &Folder| text(&open(folder), "tokenizer.chat_template").map(str::to_owned);
    assert_eq!(template(&folder), None);
    folder.write_json("chat_template.json", &json!({"chat_template": "of the processor"}));
    assert_eq!(template(&folder).as_deref(), Some("of the processor"));
    tiny.tokenizer_config["chat_template"] = json!("of the config");
    folder.write_json("tokenizer_config.json", &tiny.tokenizer_config);
    assert_eq!(template(&folder).as_deref(), Some("of the config"));
    std::fs::write(folder.path.join("chat_template.jinja"), "of the file").unwrap();
    assert_eq!(template(&folder).as_deref(), Some("of the file"));
    let more = folder.path.join("additional_chat_templates");
    std::fs::create_dir(&more).unwrap();
    std::fs::write(more.join("tool-use.jinja"), "with tools").unwrap();
    let model = open(&folder);
    assert_eq!(text(&model, "tokenizer.chat_template"), Some("of the file"));
    assert_eq!(text(&model, "tokenizer.chat_template.tool_use"), Some("with tools"));
    assert_eq!(model.key("tokenizer.chat_templates"), Some(&Value::strings(["tool_use"])));
    folder.remove("chat_template.jinja");
    std::fs::remove_dir_all(more).unwrap();
    let named = json!([{"name": "default", "template": "one"}, {"name": "rag", "template": "two"}]);
    for said in [named, json!({"default": "one", "rag": "two"})] {
        tiny.tokenizer_config["chat_template"] = said;
        folder.write_json("tokenizer_config.json", &tiny.tokenizer_config);
        let model = open(&folder);
        assert_eq!(text(&model, "tokenizer.chat_template"), Some("one"));
        assert_eq!(text(&model, "tokenizer.chat_template.rag"), Some("two"));
    }
    folder.remove("tokenizer_config.json");
    std::fs::write(folder.path.join("chat_template.jinja"), "of the file").unwrap();
    assert_eq!(template(&folder).as_deref(), Some("of the file"));
}

/// A training run leaves them in tokenizer.json; texts of special tokens are not filled up or cut.
#[test]
fn padding_and_truncation_of_a_tokenizer_are_ignored() {
    let mut tiny = TinyLlama::of_one_block();
    let plain = open(&tiny.write());
    tiny.tokenizer["padding"] = json!({"strategy": {"Fixed": 8}, "direction": "Right", "pad_to_multiple_of": 8,
        "pad_id": 1, "pad_type_id": 0, "pad_token": "</s>"});
    tiny.tokenizer["truncation"] =
        json!({"direction": "Right", "max_length": 1, "strategy": "LongestFirst", "stride": 0});
    assert_eq!(open(&tiny.write()).keys, plain.keys);
}

/// Llama 3's folders have a table of tiktoken under the name of SentencePiece's file.
#[test]
fn tables_of_tiktoken_are_named() {
    let folder = TinyLlama::of_one_block().write();
    let plain = open(&folder).keys;
    std::fs::write(folder.path.join("tokenizer.model"), "IQ== 0\nIg== 1\nIw== 2\n").unwrap();
    assert_eq!(open(&folder).keys, plain);
    folder.remove("tokenizer.json");
    refused(&folder, &["tokenizer.model", "tiktoken", "tokenizer.json"]);
}

/// MLX's matrices: scale times code plus offset, of all bits.
#[test]
fn matrices_of_mlx() {
    const NAME: &str = "model.layers.0.mlp.gate_proj";
    for bits in [2usize, 3, 4, 5, 6, 8] {
        let mut tiny = TinyLlama::of_one_block();
        let shape = tiny.tensors[&format!("{NAME}.weight")].shape.clone();
        let ([rows, columns], group) = ([shape[0], shape[1]], 64);
        let codes: Vec<u64> = (0..rows * columns).map(|i| (i * 7 + i / 5) as u64 % (1 << bits)).collect();
        let mut bytes = vec![0u8; rows * columns * bits / 8];
        for (i, code) in codes.iter().enumerate() {
            for bit in (0..bits).filter(|bit| code >> bit & 1 == 1) {
                let at = i * bits + bit;
                bytes[at / 8] |= 1 << (at % 8);
            }
        }
        let groups = rows * columns / group;
        let scales: Vec<f32> = (0..groups).map(|g| (g % 9 + 1) as f32 / 64.0).collect();
        let biases: Vec<f32> = (0..groups).map(|g| (g % 5) as f32 / 4.0 - 0.625).collect();
        let packed = Stored { dtype: safetensors::Dtype::U32, shape: vec![rows, columns * bits / 32], bytes };
        let floats = |values: &[f32]| Stored::new(safetensors::Dtype::F16, &[rows, columns / group], values);
        tiny.tensors.insert(format!("{NAME}.weight"), packed);
        tiny.tensors.insert(format!("{NAME}.scales"), floats(&scales));
        tiny.tensors.insert(format!("{NAME}.biases"), floats(&biases));
        let settings = json!({"group_size": group, "bits": bits, "mode": "affine"});
        tiny.config["quantization"] = settings.clone();
        tiny.config["quantization_config"] = settings;
        let model = open(&tiny.write());
        let t = model.tensors.iter().find(|t| t.name == "blk.0.ffn_gate.weight").expect("a matrix");
        assert_eq!(model.quantization(t), Some(format!("MLX, {bits} bits, groups of 64")));
        assert_eq!(model.exact_type(t), None);
        let mut values = vec![0.0; rows * columns];
        model.read_rows(t, 0, &mut values).expect("rows");
        for (i, value) in values.iter().enumerate() {
            assert_eq!(*value, scales[i / group] * codes[i] as f32 + biases[i / group], "{bits} bits, {i}");
        }
    }
}

/// Groups of whole blocks whose offsets are whole zero points are kept as they are.
#[test]
fn matrices_of_mlx_with_zero_points_are_kept() {
    const NAME: &str = "model.layers.0.mlp.gate_proj";
    let mut tiny = TinyLlama::of_one_block();
    let shape = tiny.tensors[&format!("{NAME}.weight")].shape.clone();
    let (rows, groups) = (shape[0], shape[1] / 128);
    let bytes: Vec<u8> = (0..rows * shape[1] / 2).map(|i| (i * 37) as u8).collect();
    let floats =
        |value: f32| Stored::new(safetensors::Dtype::F16, &[rows, groups], &vec![value; rows * groups]);
    let packed = Stored { dtype: safetensors::Dtype::U32, shape: vec![rows, shape[1] / 8], bytes };
    tiny.tensors.insert(format!("{NAME}.weight"), packed);
    tiny.tensors.insert(format!("{NAME}.scales"), floats(0.03125));
    tiny.tensors.insert(format!("{NAME}.biases"), floats(-0.21875));
    tiny.config["quantization"] = json!({"group_size": 128, "bits": 4});
    let model = open(&tiny.write());
    let t = model.tensors.iter().find(|t| t.name == "blk.0.ffn_gate.weight").expect("a matrix");
    let kept = model.exact_type(t).expect("a type that holds it");
    let (mut values, mut blocks) =
        (vec![0.0; shape[1]], vec![0; kept.bytes(shape[1] as u64).unwrap() as usize]);
    model.read_rows(t, 5, &mut values).expect("a row");
    model.read_blocks(t, 5, &mut blocks).expect("a row");
    let mut decoded = vec![0.0; shape[1]];
    let ours = tenpak_gguf::types::by_id(kept.0).expect("one of ours");
    (ours.kernels().expect("kernels").dequantize)(&blocks, &mut decoded);
    assert_eq!(values, decoded);
    tiny.config["quantization"]["mode"] = json!("mxfp4");
    refused(&tiny.write(), &["mxfp4", "affine"]);
}

/// bitsandbytes' tensors say all that is needed.
#[test]
fn bitsandbytes_without_its_entry_in_the_config() {
    let case = support::quantized_case::Case::load("nf4-64-nested");
    let mut tiny = case.model();
    let with = open(&tiny.write());
    tiny.config.as_object_mut().expect("an object").remove("quantization_config");
    let without = open(&tiny.write());
    let kinds = |model: &Model| model.tensors.iter().map(|t| model.quantization(t)).collect::<Vec<_>>();
    assert_eq!(kinds(&with), kinds(&without));
    assert!(kinds(&without).iter().any(Option::is_some));
}

/// GGUF files that are no models.
#[test]
fn gguf_files_of_other_kinds_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = |keys: &[(&str, &str)]| {
        let path = folder.path().join("file.gguf");
        let string = |s: &str| [&(s.len() as u64).to_le_bytes()[..], s.as_bytes()].concat();
        let mut bytes = b"GGUF\x03\0\0\0".to_vec();
        bytes.extend(0u64.to_le_bytes());
        bytes.extend((keys.len() as u64).to_le_bytes());
        for (key, value) in keys {
            bytes.extend(string(key));
            bytes.extend(8u32.to_le_bytes());
            bytes.extend(string(value));
        }
        bytes.resize(bytes.len().next_multiple_of(32), 0);
        std::fs::write(&path, bytes).unwrap();
        path
    };
    for (keys, words) in [
        ([("general.type", "adapter"), ("general.architecture", "llama")], ["LoRA adapter", "--lora"]),
        ([("general.type", "imatrix"), ("general.name", "x")], ["importance matrix", "--calibration"]),
        ([("general.type", "mmproj"), ("general.architecture", "clip")], ["projector", "--mmproj"]),
        ([("general.type", "model"), ("general.architecture", "clip")], ["projector", "--mmproj"]),
    ] {
        let opened = Model::open(&file(&keys), &Options::default());
        support::assert_says(support::error(opened), &words);
    }
}

/// SentencePiece's pieces in a tokenizer.json: scores in the order of the merges, special tokens, spaces, bytes.
#[test]
fn merges_of_a_tokenizer_json_are_scores() {
    let model = open(&with_pieces(Json::Null, |_| ()).write());
    let array =
        |name: &str| model.key(&format!("tokenizer.ggml.{name}")).unwrap().as_array().unwrap().to_vec();
    let (tokens, scores, types) = (array("tokens"), array("scores"), array("token_type"));
    let id =
        |text: &str| tokens.iter().position(|t| t.as_str() == Some(text)).unwrap_or_else(|| panic!("{text}"));
    assert_eq!(text(&model, "tokenizer.ggml.model"), Some("llama"));
    assert_eq!(scores[id("ab")], Value::F32(0.0));
    assert_eq!(scores[id("▁ab")], Value::F32(-1.0));
    assert_eq!(types[id("<turn>")], Value::I32(3));
    assert_eq!(types[id("<0x0A>")], Value::I32(6));
    assert_eq!(types[id("▁ab")], Value::I32(1));
    assert_eq!(model.key("tokenizer.ggml.add_space_prefix"), Some(&Value::Bool(false)));
    let prepend = json!({"type": "Prepend", "prepend": "▁"});
    let model = open(&with_pieces(prepend, |_| ()).write());
    assert_eq!(model.key("tokenizer.ggml.add_space_prefix"), None);
}

#[test]
fn pieces_that_llama_cpp_would_cut_otherwise_are_refused() {
    let no_merge = |t: &mut Json| t["model"]["merges"] = json!([["a", "b"]]);
    refused(&with_pieces(Json::Null, no_merge).write(), &["tokenizer.json", "\"▁ab\"", "llama.cpp"]);
    let nfkc = with_pieces(json!({"type": "NFKC"}), |_| ());
    refused(&nfkc.write(), &["tokenizer.json", "normalizer", "NFKC"]);
    let no_byte = |t: &mut Json| {
        t["model"]["vocab"].as_object_mut().expect("a table").remove("<0xFF>");
    };
    refused(&with_pieces(Json::Null, no_byte).write(), &["tokenizer.json", "<0xFF>"]);
}

/// A model with such a vocabulary; `first` is what happens to text before spaces are replaced.
fn with_pieces(first: Json, change: impl Fn(&mut Json)) -> TinyLlama {
    let bytes = (0..=255u8).map(|b| format!("<0x{b:02X}>"));
    let pieces = ["<unk>", "<s>", "</s>", "<turn>", "▁", "a", "b", "ab", "▁ab"].map(str::to_owned);
    let vocab: Map<String, Json> =
        pieces.into_iter().chain(bytes).zip(0..).map(|(t, id)| (t, json!(id))).collect();
    let special = |id: usize, content: &str| {
        json!({"id": id, "content": content, "special": true, "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false})
    };
    let replace = json!({"type": "Replace", "pattern": {"String": " "}, "content": "▁"});
    let normalizers: Vec<Json> = [first, replace].into_iter().filter(|step| !step.is_null()).collect();
    let mut tiny = TinyLlama::of_one_block();
    let size = vocab.len();
    tiny.tokenizer = json!({
        "version": "1.0",
        "added_tokens": [special(0, "<unk>"), special(1, "<s>"), special(2, "</s>"), special(3, "<turn>")],
        "normalizer": {"type": "Sequence", "normalizers": normalizers},
        "model": {"type": "BPE", "byte_fallback": true, "fuse_unk": true, "unk_token": "<unk>", "vocab": vocab,
            "merges": [["a", "b"], ["▁", "ab"]]},
    });
    change(&mut tiny.tokenizer);
    tiny.config["vocab_size"] = json!(size);
    for name in ["model.embed_tokens.weight", "lm_head.weight"] {
        let hidden = tiny.tensors[name].shape[1];
        let zeros = Stored::new(safetensors::Dtype::BF16, &[size, hidden], &vec![0.0; size * hidden]);
        tiny.tensors.insert(name.into(), zeros);
    }
    tiny
}
