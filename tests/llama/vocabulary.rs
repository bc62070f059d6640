//! Vocabularies of llama.cpp as checkpoints, to test what becomes of their tokenizers.
//!
//! The folder has a llama or phi3 model without blocks. Its tokenizer.json has the tokens and merges of the file, and
//! what pre_tokenizers.json says: how the authors of the model cut text, by the name of the vocabulary. Or it has a
//! tokenizer.model, with added tokens beside it.

use anyhow::{Context, bail, ensure};
use prost::Message;
use serde_json::{Map, Value as Json, json};
use std::collections::HashMap;
use std::io::Write;
use std::path::Path;
use tenpak_gguf::gguf::{File, Value};

/// Token types of GGUF.
const NORMAL: i32 = 1;
const CONTROL: i32 = 3;
const USER_DEFINED: i32 = 4;
const UNUSED: i32 = 5;
/// Score of tokens that were added to a SentencePiece model.
const ADDED_SCORE: f32 = -1000.0;
/// Columns of the embeddings.
const WIDTH: usize = 8;
/// Special tokens as GGUF and as the files of a folder call them.
const SPECIAL: [(&str, &str); 4] = [("bos", "bos"), ("eos", "eos"), ("unknown", "unk"), ("padding", "pad")];

/// `sentencepiece.ModelProto`, as far as it is needed.
#[derive(Clone, PartialEq, Message)]
struct Model {
    #[prost(message, repeated, tag = "1")]
    pieces: Vec<Piece>,
}

#[derive(Clone, PartialEq, Message)]
struct Piece {
    #[prost(string, tag = "1")]
    text: String,
    #[prost(float, tag = "2")]
    score: f32,
    #[prost(int32, tag = "3")]
    kind: i32,
}

/// A token of a vocabulary.
struct Token {
    text: String,
    kind: i32,
    score: f32,
}

impl Token {
    fn is_added(&self) -> bool {
        [CONTROL, USER_DEFINED].contains(&self.kind)
    }
}

/// Elements of an array; none if the key is not there.
fn array<'a>(file: &'a File, name: &str) -> &'a [Value] {
    file.key(&format!("tokenizer.ggml.{name}")).and_then(Value::as_array).unwrap_or_default()
}

fn tokens(file: &File) -> Vec<Token> {
    let (types, scores) = (array(file, "token_type"), array(file, "scores"));
    let is_bpe = file.key("tokenizer.ggml.model").and_then(Value::as_str) == Some("gpt2");
    let token = |(id, text): (usize, &Value)| {
        let text = text.as_str().unwrap_or_default().to_owned();
        let kind = match types.get(id) {
            // Older files have these as user-defined: ids without a token and, of BPE, what looks special.
            Some(Value::I32(USER_DEFINED)) if text == format!("[PAD{id}]") => UNUSED,
            Some(Value::I32(USER_DEFINED)) if is_bpe && text.starts_with('<') && text.ends_with('>') => {
                CONTROL
            }
            Some(Value::I32(kind)) => *kind,
            _ => NORMAL,
        };
        let score = scores.get(id).and_then(Value::as_f64).unwrap_or_default() as f32;
        Token { text, kind, score }
    };
    array(file, "tokens").iter().enumerate().map(token).collect()
}

/// Makes a Hugging Face folder with the tokenizer of a vocabulary.
pub fn rebuild(path: &Path, folder: &Path) -> anyhow::Result<()> {
    let file = File::open(path)?;
    let tokens = tokens(&file);
    ensure!(!tokens.is_empty(), "{}: no tokens", path.display());
    std::fs::create_dir_all(folder)?;
    let name = path.file_stem().and_then(|n| n.to_str()?.strip_prefix("ggml-vocab-")).unwrap_or_default();
    let is_phi3 = file.key("general.architecture").and_then(Value::as_str) == Some("phi3");
    let mut config = json!({
        "architectures": [if is_phi3 { "Phi3ForCausalLM" } else { "LlamaForCausalLM" }],
        "vocab_size": tokens.len(), "hidden_size": WIDTH, "intermediate_size": WIDTH, "num_hidden_layers": 0,
        "num_attention_heads": 1, "num_key_value_heads": 1, "max_position_embeddings": 64, "rms_norm_eps": 1e-5,
        "original_max_position_embeddings": 64, "tie_word_embeddings": true,
    });
    let mut tokenizer_config = json!({});
    for (gguf, hf) in SPECIAL {
        let id = file.key(&format!("tokenizer.ggml.{gguf}_token_id")).and_then(Value::as_u64);
        if let Some((id, token)) = id.and_then(|id| Some((id, tokens.get(id as usize)?))) {
            config[format!("{hf}_token_id")] = json!(id);
            tokenizer_config[format!("{hf}_token")] = json!(token.text);
        }
        let add = file.key(&format!("tokenizer.ggml.add_{gguf}_token")).and_then(Value::as_bool);
        if let Some(add) = add {
            tokenizer_config[format!("add_{hf}_token")] = json!(add);
        }
    }
    write_templates(&file, &mut tokenizer_config);
    match file.key("tokenizer.ggml.model").and_then(Value::as_str) {
        Some("gpt2") => write_json(folder, "tokenizer.json", &bpe(&file, name, &tokens, &tokenizer_config)?)?,
        Some("llama") => {
            let added = added_tokens(&tokens, |t| t.score == ADDED_SCORE);
            let by_id = added.into_iter().map(|token| (token["id"].to_string(), token));
            tokenizer_config["added_tokens_decoder"] = Json::Object(by_id.collect());
            std::fs::write(folder.join("tokenizer.model"), sentencepiece(&tokens))?;
        }
        other => bail!("{}: vocabularies of {other:?} are not rebuilt", path.display()),
    }
    write_json(folder, "config.json", &config)?;
    write_json(folder, "tokenizer_config.json", &tokenizer_config)?;
    write_tensors(folder, tokens.len())
}

fn write_json(folder: &Path, name: &str, json: &Json) -> anyhow::Result<()> {
    std::fs::write(folder.join(name), json.to_string()).with_context(|| name.to_owned())
}

fn write_templates(file: &File, tokenizer_config: &mut Json) {
    let template =
        |name: &str| Some(file.key(&format!("tokenizer.chat_template{name}"))?.as_str()?.to_owned());
    let more = file.key("tokenizer.chat_templates").and_then(Value::as_array).unwrap_or_default();
    let named = more.iter().filter_map(Value::as_str).filter_map(|n| Some((n, template(&format!(".{n}"))?)));
    let named: Vec<Json> = named.map(|(name, text)| json!({"name": name, "template": text})).collect();
    match (template(""), named.is_empty()) {
        (Some(text), true) => tokenizer_config["chat_template"] = json!(text),
        (Some(text), false) => {
            let default = json!({"name": "default", "template": text});
            tokenizer_config["chat_template"] = Json::Array([vec![default], named].concat());
        }
        (None, _) => {}
    }
}

fn added_tokens(tokens: &[Token], is_added: impl Fn(&Token) -> bool) -> Vec<Json> {
    let added = tokens.iter().enumerate().filter(|(_, t)| t.is_added() && is_added(t));
    added.map(|(id, t)| added_token(id, t)).collect()
}

fn added_token(id: usize, t: &Token) -> Json {
    json!({"id": id, "content": t.text, "single_word": false, "lstrip": false, "rstrip": false,
        "normalized": t.kind == USER_DEFINED, "special": t.kind == CONTROL})
}

fn sentencepiece(tokens: &[Token]) -> Vec<u8> {
    // Tokens behind the pieces are added ones.
    let pieces =
        tokens.iter().rposition(|t| t.score != ADDED_SCORE && t.kind != UNUSED).map_or(0, |last| last + 1);
    let piece = |t: &Token| Piece { text: t.text.clone(), score: t.score, kind: t.kind };
    Model { pieces: tokens[..pieces].iter().map(piece).collect() }.encode_to_vec()
}

/// Has tokenizer.json say what tokenizer.model and tokenizer_config.json of a folder say, as transformers would, and takes
/// them away. Without a scheme of Metaspace, spaces are put before text as version 4 has it.
pub fn pieces_as_json(folder: &Path, scheme: Option<&str>) -> anyhow::Result<()> {
    let model = Model::decode(&std::fs::read(folder.join("tokenizer.model"))?[..])?;
    let config: Json = serde_json::from_slice(&std::fs::read(folder.join("tokenizer_config.json"))?)?;
    let ids: HashMap<&str, usize> = model.pieces.iter().map(|p| &p.text[..]).zip(0..).collect();
    let mut merges = Vec::new();
    for piece in &model.pieces {
        let splits = piece.text.char_indices().skip(1).map(|(at, _)| piece.text.split_at(at));
        let mut splits: Vec<_> = splits.filter(|(a, b)| ids.contains_key(a) && ids.contains_key(b)).collect();
        splits.sort_by_key(|(a, b)| (ids[a], ids[b]));
        merges.extend(splits.into_iter().map(|(a, b)| (piece.score, a, b)));
    }
    let chars = |text: &str| text.chars().count();
    let rank = |(score, a, b): &(f32, &str, &str)| (-score, -(chars(a) as i64), -(chars(b) as i64));
    merges.sort_by(|x, y| rank(x).partial_cmp(&rank(y)).expect("numbers"));
    let merges: Vec<_> = merges.iter().map(|(_, a, b)| [a, b]).collect();
    let of_model = |id: usize, p: &Piece| {
        let token = Token { text: p.text.clone(), kind: p.kind, score: p.score };
        token.is_added().then(|| added_token(id, &token))
    };
    let of_model = model.pieces.iter().enumerate().filter_map(|(id, p)| of_model(id, p));
    let listed = config["added_tokens_decoder"].as_object().into_iter().flatten();
    let mut added: Vec<Json> = of_model.chain(listed.map(|(_, token)| token.clone())).collect();
    added.sort_by_key(|token| token["id"].as_u64());
    added.dedup_by_key(|token| token["id"].as_u64());
    // As in real files: tokens are found in the text as it is, so that what follows one gets a space of its own.
    added.iter_mut().for_each(|token| token["normalized"] = json!(false));
    let (normalizer, pre_tokenizer) = match scheme {
        None => {
            let steps = json!([{"type": "Prepend", "prepend": "▁"},
                {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]);
            (json!({"type": "Sequence", "normalizers": steps}), Json::Null)
        }
        Some(scheme) => {
            let step =
                json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": false});
            (Json::Null, step)
        }
    };
    let tokenizer = json!({
        "version": "1.0", "added_tokens": added, "normalizer": normalizer, "pre_tokenizer": pre_tokenizer,
        "model": {"type": "BPE", "byte_fallback": true, "fuse_unk": true, "vocab": ids, "merges": merges},
    });
    write_json(folder, "tokenizer.json", &tokenizer)?;
    for name in ["tokenizer.model", "tokenizer_config.json"] {
        std::fs::remove_file(folder.join(name))?;
    }
    Ok(())
}

fn bpe(file: &File, name: &str, tokens: &[Token], tokenizer_config: &Json) -> anyhow::Result<Json> {
    let known: Json = serde_json::from_str(include_str!("pre_tokenizers.json"))?;
    let cuts = known.get(name).with_context(|| format!("pre_tokenizers.json has no {name}"))?;
    let vocab: Map<String, Json> = tokens
        .iter()
        .enumerate()
        .filter(|(_, t)| t.kind != UNUSED)
        .map(|(id, t)| (t.text.clone(), json!(id)))
        .collect();
    let merges: Vec<&str> = array(file, "merges").iter().filter_map(Value::as_str).collect();
    let begin = &tokenizer_config["bos_token"];
    let bos = begin.as_str().unwrap_or_default();
    let template = json!({
        "type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": bos, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {bos: {"id": bos, "ids": [vocab.get(bos)], "tokens": [bos]}},
    });
    Ok(json!({
        "version": "1.0", "added_tokens": added_tokens(tokens, |_| true),
        "normalizer": if cuts["nfc"] == true { json!({"type": "NFC"}) } else { Json::Null },
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": cuts["pretokenizers"]},
        "post_processor": if cuts["bos_template"] == true { template } else { Json::Null },
        "decoder": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
        "model": {"type": "BPE", "ignore_merges": cuts["ignore_merges"] == true, "vocab": vocab, "merges": merges},
    }))
}

/// Embeddings and a norm, all zero.
fn write_tensors(folder: &Path, rows: usize) -> anyhow::Result<()> {
    let (embeddings, norm) = (rows * WIDTH * 2, WIDTH * 2);
    let header = json!({
        "model.embed_tokens.weight": {"dtype": "F16", "shape": [rows, WIDTH], "data_offsets": [0, embeddings]},
        "model.norm.weight": {"dtype": "F16", "shape": [WIDTH], "data_offsets": [embeddings, embeddings + norm]},
    });
    let header = header.to_string();
    let mut out = std::fs::File::create(folder.join("model.safetensors"))?;
    out.write_all(&(header.len() as u64).to_le_bytes())?;
    out.write_all(header.as_bytes())?;
    out.set_len((8 + header.len() + embeddings + norm) as u64)?;
    Ok(())
}

/// Whether a file says what a vocabulary says about its tokenizer; the number of keys that were compared.
pub fn compare(vocabulary: &Path, ours: &Path) -> anyhow::Result<usize> {
    let (expected, found) = (File::open(vocabulary)?, File::open(ours)?);
    let mut compared = 0;
    for (key, value) in expected.keys().iter().filter(|(key, _)| key.starts_with("tokenizer.")) {
        let same = match &key[..] {
            // Of two names for the same ids llama.cpp's converter writes the later one.
            "tokenizer.ggml.pre" if value.as_str() == Some("mpt") => {
                found.key(key).and_then(Value::as_str) == Some("olmo")
            }
            "tokenizer.ggml.token_type" => {
                let kinds = |file| tokens(file).iter().map(|t| t.kind).collect::<Vec<_>>();
                kinds(&expected) == kinds(&found)
            }
            // In no order.
            "tokenizer.chat_templates" => {
                let names = |v: &Value| {
                    let mut names: Vec<String> = v.as_array()?.iter().map(Value::to_string).collect();
                    names.sort();
                    Some(names)
                };
                found.key(key).and_then(names) == names(value)
            }
            _ => found.key(key).is_some_and(|v| v.to_bytes() == value.to_bytes()),
        };
        let shown = found.key(key).map_or_else(|| "nothing".into(), Value::to_string);
        ensure!(same, "{}: {key} is {shown}, not {value}", ours.display());
        compared += 1;
    }
    Ok(compared)
}
