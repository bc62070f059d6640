//! GGUF files: what is written is what is read, and split, old and future files are read too.

use crate::support;
use proptest::prelude::*;
use std::path::Path;
use support::tiny_gguf::{bytes, every_kind, file, open, ordinary, tensor, write};
use support::{assert_says, error, files_in};
use tenpak_gguf::gguf::{Error, File, GgmlType, Kind, Problem, TensorHeader, Value, Writer};

#[test]
fn every_kind_of_value_comes_back() {
    let keys = every_kind();
    let file = open(&bytes(&keys, &[])).unwrap();
    assert_eq!(file.keys(), keys);
    assert_eq!((file.version(), file.alignment()), (3, 32));
    for (name, value) in &keys {
        assert_eq!(file.key(name), Some(value));
    }
    assert_eq!(file.key("test"), None);
}

#[test]
fn nan_and_infinity_keep_their_bits() {
    let odd = f32::from_bits(0x7fc0_1234);
    let keys = [("nan".into(), Value::F32(odd)), ("inf".into(), Value::F64(f64::NEG_INFINITY))];
    let file = open(&bytes(&keys, &[])).unwrap();
    assert!(matches!(file.key("nan"), Some(Value::F32(v)) if v.to_bits() == odd.to_bits()));
    assert_eq!(file.key("inf"), Some(&keys[1].1));
}

/// Tensors whose sizes are no multiple of any alignment.
fn odd_sizes() -> Vec<TensorHeader> {
    vec![
        tensor("a", &[3], GgmlType::F32),
        tensor("no elements", &[0, 7], GgmlType::F32),
        tensor("b", &[5, 7], GgmlType::F16),
        tensor("c", &[64, 3, 2, 1], GgmlType(515)),
        tensor("scalar", &[], GgmlType(24)),
        tensor("d", &[1, 1, 1, 9], GgmlType::BF16),
    ]
}

#[test]
fn tensors_come_back_at_every_alignment() {
    for alignment in (0..=12).map(|i| 1u32 << i) {
        let keys = [("general.alignment".to_string(), Value::U32(alignment))];
        let (_folder, path) = file(&[]);
        let data = write(&path, &keys, &odd_sizes());
        let file = File::open(&path).unwrap();
        assert_eq!(file.alignment(), alignment as u64);
        assert_eq!(file.bytes(), std::fs::metadata(&path).unwrap().len());
        assert_eq!(file.tensors().len(), odd_sizes().len());
        for ((t, header), data) in file.tensors().iter().zip(odd_sizes()).zip(data) {
            assert_eq!(
                (&t.name, &t.shape, t.kind, t.bytes()),
                (&header.name, &header.shape, header.kind, header.bytes)
            );
            assert_eq!(file.data(t).unwrap(), data, "{} at alignment {alignment}", t.name);
        }
    }
}

#[test]
fn pieces_of_any_size_make_the_same_file() {
    let (folder, whole) = file(&[]);
    let data = write(&whole, &[], &odd_sizes()).concat();
    for piece in [1, 2, 7, 31, 1000] {
        let path = folder.path().join("pieces.gguf");
        let mut writer = Writer::create(&path, &[], odd_sizes()).unwrap();
        data.chunks(piece).for_each(|p| writer.write(p).unwrap());
        writer.finish().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), std::fs::read(&whole).unwrap(), "pieces of {piece}");
    }
}

#[test]
fn a_type_of_the_future_is_data() {
    let file = open(&ordinary()).unwrap();
    let t = file.tensors().iter().find(|t| t.name == "future").unwrap();
    assert_eq!((t.kind.name(), t.kind.block_len(), t.bytes()), ("type 9999".into(), None, 96));
    assert_says(error(file.data(t)), &["model.gguf", "`future`", "9999"]);
}

#[test]
fn a_type_of_the_future_reaches_to_the_next_tensor() {
    let future =
        |name: &str| TensorHeader { name: name.into(), shape: vec![1], kind: GgmlType(600), bytes: 64 };
    let file = open(&bytes(&[], &[future("a"), tensor("b", &[8], GgmlType::F32), future("c")])).unwrap();
    let sizes: Vec<u64> = file.tensors().iter().map(|t| t.bytes()).collect();
    assert_eq!(sizes, [64, 32, 64]);
}

#[test]
fn version_2_is_read() {
    let mut bytes = ordinary();
    let now = open(&bytes).unwrap();
    bytes[4..8].copy_from_slice(&2u32.to_le_bytes());
    let old = open(&bytes).unwrap();
    assert_eq!(old.version(), 2);
    assert_eq!(old.keys(), now.keys());
    assert_eq!(old.tensors().len(), now.tensors().len());
}

#[test]
fn short_values_are_printed_whole_and_long_ones_cut() {
    assert_eq!(Value::from("a\"b").to_string(), "\"a\\\"b\"");
    assert_eq!(Value::strings(["a", "b"]).to_string(), "[2]string \"a\" \"b\"");
    assert!(Value::from("é".repeat(1000)).to_string().ends_with("..."));
    assert!(Value::Array(Kind::U8, vec![Value::U8(1); 1000]).to_string().len() < 40);
}

#[test]
fn a_writer_dropped_early_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    let mut writer = Writer::create(&path, &[], odd_sizes()).unwrap();
    writer.write(&[1; 20]).unwrap();
    assert!(!path.exists());
    drop(writer);
    assert_eq!(files_in(folder.path()), [""; 0]);
}

#[test]
fn a_writer_dropped_early_leaves_the_file_that_was_there() {
    let (folder, path) = file(b"precious");
    drop(Writer::create(&path, &[], odd_sizes()).unwrap());
    assert_eq!(std::fs::read(&path).unwrap(), b"precious");
    assert_eq!(files_in(folder.path()), ["model.gguf"]);
}

#[test]
fn too_few_bytes_are_an_error() {
    let (folder, path) = file(b"precious");
    let mut writer = Writer::create(&path, &[], vec![tensor("blk.0.x", &[4], GgmlType::F32)]).unwrap();
    writer.write(&[0; 15]).unwrap();
    assert_says(error(writer.finish()), &["model.gguf", "`blk.0.x`", "15", "16"]);
    assert_eq!(std::fs::read(&path).unwrap(), b"precious");
    assert_eq!(files_in(folder.path()), ["model.gguf"]);
}

#[test]
fn too_many_bytes_are_an_error() {
    let (_folder, path) = file(&[]);
    let mut writer = Writer::create(&path, &[], vec![tensor("blk.0.x", &[4], GgmlType::F32)]).unwrap();
    assert_says(error(writer.write(&[0; 17])), &["model.gguf", "past the last"]);
}

#[test]
fn a_folder_that_is_not_there_is_an_error() {
    let problem = error(Writer::create(Path::new("/no/such/folder/x.gguf"), &[], vec![]));
    assert_says(problem, &["/no/such/folder"]);
}

/// Writes parts of `names` each, with what `change` makes of their keys.
fn split(folder: &Path, names: &[&[&str]], change: impl Fn(usize, &mut Vec<(String, Value)>)) {
    let count = names.len();
    for (i, names) in names.iter().enumerate() {
        let tensors: Vec<_> = names.iter().map(|n| tensor(n, &[16], GgmlType::F32)).collect();
        let mut keys: Vec<(String, Value)> = vec![
            ("split.no".into(), Value::U16(i as u16)),
            ("split.count".into(), Value::U16(count as u16)),
            ("split.tensors.count".into(), Value::I32(3)),
        ];
        if i == 0 {
            keys.push(("general.name".into(), "split".into()));
        }
        change(i, &mut keys);
        write(&part(folder, i, count), &keys, &tensors);
    }
}

fn part(folder: &Path, i: usize, count: usize) -> std::path::PathBuf {
    folder.join(format!("m-{:05}-of-{count:05}.gguf", i + 1))
}

fn set(keys: &mut [(String, Value)], name: &str, value: Value) {
    keys.iter_mut().find(|(k, _)| k == name).unwrap().1 = value;
}

#[test]
fn split_files_are_one() {
    let folder = tempfile::tempdir().unwrap();
    split(folder.path(), &[&["a", "b"], &["c"]], |_, _| {});
    let file = File::open(&part(folder.path(), 0, 2)).unwrap();
    let names: Vec<_> = file.tensors().iter().map(|t| &t.name[..]).collect();
    assert_eq!(names, ["a", "b", "c"]);
    assert_eq!(file.keys(), [("general.name".to_string(), "split".into())]);
    let alone = std::fs::read(part(folder.path(), 1, 2)).unwrap();
    assert_eq!(file.data(&file.tensors()[2]).unwrap(), &alone[alone.len() - 64..]);
}

/// The error of opening part `i` of a split file.
fn split_error(names: &[&[&str]], i: usize, change: impl Fn(usize, &mut Vec<(String, Value)>)) -> Error {
    let folder = tempfile::tempdir().unwrap();
    split(folder.path(), names, change);
    error(File::open(&part(folder.path(), i, names.len())))
}

const PARTS: &[&[&str]] = &[&["a", "b"], &["c"]];

#[test]
fn not_the_first_part() {
    let e = split_error(PARTS, 1, |_, _| {});
    assert_says(e, &["m-00002-of-00002.gguf", "part 2", "m-00001-of-00002.gguf"]);
}

#[test]
fn absurd_part_number() {
    let e = split_error(PARTS, 0, |_, keys| set(keys, "split.no", Value::U64(u64::MAX)));
    assert_says(e, &["m-00001-of-00002.gguf"]);
}

#[test]
fn a_part_is_missing() {
    let folder = tempfile::tempdir().unwrap();
    split(folder.path(), PARTS, |_, _| {});
    std::fs::remove_file(part(folder.path(), 1, 2)).unwrap();
    assert_says(error(File::open(&part(folder.path(), 0, 2))), &["m-00002-of-00002.gguf"]);
}

#[test]
fn a_part_of_another_file() {
    let e = split_error(PARTS, 0, |i, keys| set(keys, "split.no", Value::U16(3 * i as u16)));
    assert_says(e, &["m-00002-of-00002.gguf", "not part 2 of 2"]);
}

#[test]
fn a_split_file_that_was_renamed() {
    let folder = tempfile::tempdir().unwrap();
    split(folder.path(), PARTS, |_, _| {});
    let path = folder.path().join("renamed.gguf");
    std::fs::rename(part(folder.path(), 0, 2), &path).unwrap();
    assert_says(error(File::open(&path)), &["renamed.gguf", "-NNNNN-of-00002.gguf", "rename"]);
}

#[test]
fn a_tensor_in_two_parts() {
    assert_says(split_error(&[&["a", "b"], &["b"]], 0, |_, _| {}), &["`b`", "twice"]);
}

#[test]
fn fewer_tensors_than_the_split_says() {
    assert_says(split_error(&[&["a"], &["b"]], 0, |_, _| {}), &["split.tensors.count is 3", "2 tensors"]);
}

#[test]
fn parts_that_say_other_numbers_than_the_first() {
    for key in ["split.count", "split.tensors.count"] {
        let e = split_error(PARTS, 0, |i, keys| {
            if i == 1 {
                set(keys, key, Value::U16(7));
            }
        });
        assert_says(e, &["00002-of-00002.gguf", &format!("says 7 of {key}, and the first part")]);
    }
}

#[test]
fn absurd_number_of_parts() {
    let e = split_error(PARTS, 0, |_, keys| set(keys, "split.count", Value::U64(u64::MAX)));
    assert!(matches!(e.problem, Problem::Split(_)), "{e}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..Default::default() })]

    /// Bytes changed, cut out, and put in.
    #[test]
    fn damaged_files_never_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        cut in prop::option::of((any::<prop::sample::Index>(), 1..40usize)),
        more in prop::option::of((any::<prop::sample::Index>(), prop::collection::vec(any::<u8>(), 1..40))),
    ) {
        let mut bytes = ordinary();
        // The header is what a reader can trip over.
        let header = bytes.len() - 1024;
        for (at, byte) in changes {
            bytes[at.index(header)] = byte;
        }
        if let Some((at, n)) = cut {
            let at = at.index(header);
            bytes.drain(at..at + n);
        }
        if let Some((at, more)) = more {
            let at = at.index(header);
            bytes.splice(at..at, more);
        }
        let (Ok(_) | Err(_)) = open(&bytes);
    }

    /// Numbers that overflow sums and products, wherever a number may stand.
    #[test]
    fn extreme_numbers_never_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), 0..7usize), 1..4),
    ) {
        let extreme: [u64; 7] = [0, 1, 1 << 32, 1 << 48, 1 << 63, u64::MAX - 31, u64::MAX];
        let mut bytes = ordinary();
        let header = bytes.len() - 1024;
        for (at, which) in changes {
            bytes[at.index(header)..][..8].copy_from_slice(&extreme[which].to_le_bytes());
        }
        let (Ok(_) | Err(_)) = open(&bytes);
    }
}
