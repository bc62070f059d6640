//! GGUF files that are damaged or made to do harm: each is refused, with words that name the trouble.

use crate::support;
use support::tiny_gguf::{Raw, bytes, file, open, ordinary, tensor};
use support::{assert_says, error};
use tenpak_gguf::gguf::{Error, File, GgmlType, Problem, Value};

/// The problem of a file of these bytes; its message names the file.
#[track_caller]
fn refused(bytes: &[u8]) -> Problem {
    let e: Error = error(open(bytes));
    assert_says(&e, &["model.gguf"]);
    e.problem
}

/// As [`refused`], a message with these words.
#[track_caller]
fn refused_saying(bytes: &[u8], words: &[&str]) {
    assert_says(refused(bytes), words);
}

#[test]
fn no_such_file() {
    let e = error(File::open(std::path::Path::new("/no/such/model.gguf")));
    assert_says(&e, &["/no/such/model.gguf"]);
    assert!(matches!(e.problem, Problem::Io(_)));
}

#[test]
fn a_folder() {
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(error(File::open(folder.path())).problem, Problem::Io(_)));
}

#[test]
fn empty_file() {
    assert!(matches!(refused(&[]), Problem::Magic(_)));
}

#[test]
fn bad_magic() {
    let mut bytes = ordinary();
    bytes[..4].copy_from_slice(b"GGML");
    refused_saying(&bytes, &["not a GGUF file", "47, 47, 4d, 4c"]);
}

#[test]
fn version_1() {
    let mut bytes = ordinary();
    bytes[4] = 1;
    refused_saying(&bytes, &["version 1", "convert the model again"]);
}

#[test]
fn version_of_the_future() {
    let mut bytes = ordinary();
    bytes[4] = 4;
    refused_saying(&bytes, &["version 4"]);
}

#[test]
fn big_endian() {
    let mut bytes = ordinary();
    bytes[4..8].reverse();
    refused_saying(&bytes, &["big-endian", "convert the model again"]);
}

/// The last tensor is of known size here, so every cut takes something away.
#[test]
fn truncated_at_every_byte() {
    let tensors = [tensor("a", &[64, 2], GgmlType(515)), tensor("b", &[16], GgmlType::F32)];
    let whole = bytes(&support::tiny_gguf::every_kind(), &tensors);
    let (_folder, path) = file(&[]);
    for len in 0..whole.len() {
        std::fs::write(&path, &whole[..len]).unwrap();
        let e = error(File::open(&path));
        if len >= 8 {
            let cut = matches!(
                e.problem,
                Problem::Truncated(_) | Problem::Absurd { .. } | Problem::TensorOutside { .. }
            );
            assert!(cut, "{len} bytes of {}: {e}", whole.len());
        }
    }
}

#[test]
fn absurd_number_of_tensors() {
    for n in [9, 1 << 40, u64::MAX] {
        refused_saying(&Raw::new(3, n, 0).data(64), &["number of tensors", &n.to_string()]);
    }
}

#[test]
fn absurd_number_of_keys() {
    for n in [9, 1 << 40, u64::MAX] {
        refused_saying(&Raw::new(3, 0, n).data(64), &["number of keys", &n.to_string()]);
    }
}

#[test]
fn string_longer_than_the_file() {
    for n in [1000, 1 << 40, u64::MAX] {
        refused_saying(&Raw::new(3, 0, 1).u64(n).data(64), &["a key is", &n.to_string()]);
        refused_saying(
            &Raw::new(3, 0, 1).string("k").u32(8).u64(n).data(64),
            &["a value is", &n.to_string()],
        );
        refused_saying(&Raw::new(3, 1, 0).u64(n).data(64), &["a tensor name is", &n.to_string()]);
    }
}

#[test]
fn key_that_is_not_utf8() {
    let mut bytes = Raw::new(3, 0, 1).string("key").u32(0).data(32);
    bytes[32] = 0xff;
    refused_saying(&bytes, &["a key is not UTF-8"]);
}

/// Some programs cut texts in the middle of a character.
#[test]
fn texts_that_are_not_utf8_are_kept_as_bytes() {
    let mut bytes =
        Raw::new(3, 0, 1).string("k").u32(9).u32(8).u64(2).string("cut?").string("whole").data(64);
    let at = bytes.windows(4).position(|w| w == b"cut?").expect("the text");
    bytes[at + 3] = 0xe6;
    let file = open(&bytes).unwrap_or_else(|e| panic!("{e}"));
    let value = file.key("k").expect("the key");
    let texts = value.as_array().expect("texts");
    assert_eq!(texts, [Value::Bytes(b"cut\xe6".to_vec()), Value::String("whole".into())]);
    assert!(bytes.windows(value.to_bytes().len()).any(|w| w == value.to_bytes()));
    assert_eq!(texts[0].to_string(), "\"cut\u{fffd}\"");
}

#[test]
fn value_of_an_unknown_kind() {
    refused_saying(&Raw::new(3, 0, 1).string("odd").u32(13).data(64), &["value type of `odd`", "13"]);
    let array = Raw::new(3, 0, 1).string("odd").u32(9).u32(99).u64(1).data(64);
    refused_saying(&array, &["value type of `odd`", "99"]);
}

#[test]
fn array_longer_than_the_file() {
    for (kind, n) in [(0, 1000), (8, 1000), (10, u64::MAX / 8 + 1), (9, u64::MAX)] {
        let bytes = Raw::new(3, 0, 1).string("k").u32(9).u32(kind).u64(n).data(64);
        refused_saying(&bytes, &["length of an array", &n.to_string()]);
    }
}

#[test]
fn nested_arrays_too_deep() {
    let deep = |depth: usize| {
        let raw = Raw::new(3, 0, 1).string("deep").u32(9);
        (1..depth).fold(raw, |raw, _| raw.u32(9).u64(1)).u32(0).u64(0).data(0)
    };
    assert!(open(&deep(4)).is_ok());
    refused_saying(&deep(5), &["depth of array `deep`", "5"]);
    refused_saying(&deep(100_000), &["depth of array `deep`"]);
}

#[test]
fn duplicate_key() {
    let two = [("k".to_string(), Value::U8(1)), ("k".to_string(), Value::U8(2))];
    refused_saying(&bytes(&two, &[]), &["key `k`", "twice"]);
}

#[test]
fn duplicate_tensor() {
    let two = [tensor("w", &[4], GgmlType::F32), tensor("w", &[8], GgmlType::F16)];
    refused_saying(&bytes(&[], &two), &["tensor `w`", "twice"]);
}

#[test]
fn alignment_that_is_no_power_of_two() {
    for n in [0u32, 3, 48] {
        let bytes = Raw::new(3, 0, 1).string("general.alignment").u32(4).u32(n).data(64);
        refused_saying(&bytes, &["general.alignment", &n.to_string(), "power of two"]);
    }
}

#[test]
fn alignment_that_is_no_integer() {
    let bytes = Raw::new(3, 0, 1).string("general.alignment").u32(8).string("32").data(64);
    refused_saying(&bytes, &["general.alignment"]);
}

#[test]
fn alignment_larger_than_the_file() {
    let aligned = |shift: u32| {
        Raw::new(3, 1, 1).string("general.alignment").u32(10).u64(1 << shift).tensor("w", &[4], 0, 0).data(64)
    };
    refused_saying(&aligned(16), &["`w`"]);
    for shift in [17, 31, 62, 63] {
        refused_saying(&aligned(shift), &["general.alignment is", "up to 65536"]);
    }
}

#[test]
fn offset_misaligned() {
    refused_saying(&Raw::new(3, 1, 0).tensor("w", &[4], 0, 16).data(64), &["offset of `w`", "16"]);
}

#[test]
fn data_outside() {
    let words = ["tensor `w`", "cut short"];
    refused_saying(&Raw::new(3, 1, 0).tensor("w", &[4], 0, 64).data(64), &words);
    refused_saying(&Raw::new(3, 1, 0).tensor("w", &[17], 0, 0).data(64), &words);
    assert!(open(&Raw::new(3, 1, 0).tensor("w", &[16], 0, 0).data(64)).is_ok());
}

#[test]
fn offset_that_overflows() {
    let offset = u64::MAX - 31;
    let bytes = Raw::new(3, 1, 0).tensor("w", &[4], 0, offset).data(64);
    refused_saying(&bytes, &["offset", &offset.to_string()]);
}

/// The end of a tensor of unknown type is the start of the next, wherever that says it is.
#[test]
fn offset_that_overflows_after_a_type_of_the_future() {
    let raw = Raw::new(3, 2, 0).tensor("future", &[4], 9999, 0).tensor("w", &[4], 0, u64::MAX - 31);
    refused(&raw.data(64));
}

#[test]
fn row_not_a_multiple_of_the_block() {
    let bytes = Raw::new(3, 1, 0).tensor("blk.3.w", &[96, 2], 516, 0).data(256);
    refused_saying(&bytes, &["tensor `blk.3.w`", "96", "t3_64", "64"]);
    // The whole is whole blocks, but a row is not.
    let bytes = Raw::new(3, 1, 0).tensor("w", &[32, 8], 513, 0).data(256);
    refused_saying(&bytes, &["tensor `w`", "32", "t3", "256"]);
}

#[test]
fn too_many_dimensions() {
    for dims in [5, u32::MAX] {
        let bytes = Raw::new(3, 1, 0).string("w").u32(dims).data(256);
        refused_saying(&bytes, &["dimensions of `w`", &dims.to_string()]);
    }
}

#[test]
fn extents_that_overflow() {
    for shape in [&[u64::MAX][..], &[1 << 32, 1 << 32], &[1 << 49], &[u64::MAX, u64::MAX, 0]] {
        for kind in [0, 513, 9999] {
            let shape = if kind == 513 { shape.iter().map(|n| n & !255).collect() } else { shape.to_vec() };
            refused_saying(&Raw::new(3, 1, 0).tensor("w", &shape, kind, 0).data(256), &["size of `w`"]);
        }
    }
}

/// Writes a header and makes the file as long as it claims, without taking room on the disk.
#[track_caller]
fn sparse_refused(header: Raw, words: &[&str]) {
    let (_folder, path) = file(&header.0);
    let opened = std::fs::OpenOptions::new().write(true).open(&path).expect("the file");
    opened.set_len(8 << 30).expect("a file system with holes");
    assert_says(error(File::open(&path)), words);
}

/// A few bytes on the disk may claim to be gigabytes: what is kept in memory is bounded by what a header may take.
#[test]
fn counts_that_only_a_sparse_file_has() {
    let most = (8u64 << 30) / 32;
    sparse_refused(Raw::new(3, most, 0), &["the number of tensors is", "cannot be"]);
    sparse_refused(Raw::new(3, 0, most), &["the number of keys is", "cannot be"]);
    let array = Raw::new(3, 0, 1).string("a").u32(9).u32(7).u64((8 << 30) - 1000);
    sparse_refused(array, &["the length of an array is", "cannot be"]);
    // As many as may be, all of them alike.
    sparse_refused(Raw::new(3, 0, 1 << 20), &["stands twice"]);
}

#[test]
fn alignment_of_more_than_a_page() {
    let aligned = |n| Raw::new(3, 0, 1).string("general.alignment").u32(4).u32(n).data(64);
    refused_saying(&aligned(1 << 17), &["general.alignment is 131072"]);
    assert!(open(&aligned(1 << 16)).is_ok());
}

/// A number in a value of its own takes 32 bytes.
#[test]
fn very_many_numbers_are_kept_as_bytes() {
    let count = (1u64 << 22) + 1;
    let bytes =
        Raw::new(3, 0, 2).string("few").u32(9).u32(0).u64(2).0.into_iter().chain([7, 8]).collect::<Vec<u8>>();
    let bytes = Raw(bytes).string("many").u32(9).u32(0).u64(count).data(count as usize);
    let file = open(&bytes).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(file.key("few").expect("a key").as_array().map(<[Value]>::len), Some(2));
    let many = file.key("many").expect("a key");
    assert_eq!(many.to_string(), format!("[{count}]u8 ..."));
    // The kind of the elements, how many, and the first of them.
    assert!(bytes[..200].windows(16).any(|w| w == &many.to_bytes()[4..20]));
    assert!(many.numbers().all(|number| number == Value::U8(7)));
    assert_eq!(many.numbers().count() as u64, count);
    assert_eq!(many.to_bytes().len() as u64, 4 + 4 + 8 + count);
}

/// The end of a tensor of unknown type is the begin of the next, which is looked for once in all of them.
#[test]
fn many_tensors_of_unknown_types() {
    let count = 100_000;
    let raw = (0..count).fold(Raw::new(3, count, 0), |raw, i| raw.tensor(&i.to_string(), &[1], 9999, 0));
    let start = std::time::Instant::now();
    assert_eq!(open(&raw.data(64)).unwrap_or_else(|e| panic!("{e}")).tensors().len(), count as usize);
    assert!(start.elapsed().as_secs() < 30, "time grows with the square");
}
