//! docs/FORMAT.md against the crate: every constant it gives, and a decoder made of nothing but the document.
//!
//! A fenced block that opens with "```text NAME" is read by its name.

mod support;

use std::collections::HashMap;
use support::random::Random;
use tenpak_gguf::types::trellis::code::{self, Code};
use tenpak_gguf::types::trellis::layout::*;
use tenpak_gguf::types::trellis::search::viterbi;
use tenpak_gguf::types::trellis::{rotation, scale};
use tenpak_gguf::types::{self, REGISTRY, Role, TensorType};

/// The codes, by the families of types that use them.
const CODES: [(&str, Code); 6] = [
    ("t2", code::T2),
    ("t25", code::T25),
    ("t3", code::T3),
    ("t35", code::T35),
    ("t4", code::T4),
    ("t5", code::T5),
];

/// Bytes of a block before its planes.
const HEADER: usize = 2;

/// The named blocks of the document.
struct Document(HashMap<&'static str, String>);

impl Document {
    fn read() -> Document {
        let mut blocks = HashMap::new();
        let mut lines = include_str!("../docs/FORMAT.md").lines();
        while let Some(line) = lines.next() {
            if let Some(name) = line.strip_prefix("```text ") {
                let body: Vec<_> = lines.by_ref().take_while(|line| *line != "```").collect();
                assert!(blocks.insert(name, body.join("\n")).is_none(), "two blocks `{name}`");
            }
        }
        Document(blocks)
    }

    fn block(&self, name: &str) -> &str {
        self.0.get(name).unwrap_or_else(|| panic!("docs/FORMAT.md has no block `{name}`"))
    }

    /// The words of every line of a block.
    fn rows(&self, name: &str) -> Vec<Vec<&str>> {
        self.block(name).lines().map(|line| line.split_whitespace().collect()).collect()
    }

    fn numbers(&self, name: &str) -> Vec<i32> {
        self.block(name).split_whitespace().map(|w| w.parse().unwrap()).collect()
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        self.block(name).split_whitespace().map(hex).collect()
    }

    /// The code of a type, which types of all block lengths share.
    fn code(&self, name: &str) -> DocumentCode {
        let family = name.split('_').next().unwrap();
        let rows = self.rows(&format!("code {family}"));
        let field = |name: &str| {
            let row = rows.iter().find(|row| row[0] == name);
            row.unwrap_or_else(|| panic!("code {family} has no `{name}`"))[1..].to_vec()
        };
        let number = |name: &str| field(name)[0].parse().unwrap();
        let values = |name: &str| field(name).iter().map(|v| v.parse().unwrap()).collect();
        DocumentCode {
            bits: field("bits").iter().map(|bits| bits.parse().unwrap()).collect(),
            window: number("window"),
            period: number("period"),
            columns: field("columns").into_iter().map(hex).collect(),
            v0: values("v0"),
            v1: values("v1"),
        }
    }

    /// STEPS, LANES, and for every plane its first byte, bits per lane, and (step, bit) of its bits.
    fn planes(&self, name: &str) -> (usize, usize, Vec<DocumentPlane>) {
        let rows = self.rows(&format!("planes {name}"));
        let ["steps", steps, "lanes", lanes] = rows[0][..] else { panic!("planes {name}: first line") };
        let planes = rows[1..].iter().map(|row| DocumentPlane {
            at: row[0].parse().unwrap(),
            width: row[1].parse().unwrap(),
            bits: row[2..]
                .iter()
                .map(|bit| bit.split_once('.').unwrap())
                .map(|(step, bit)| (step.parse().unwrap(), bit.parse().unwrap()))
                .collect(),
        });
        (steps.parse().unwrap(), lanes.parse().unwrap(), planes.collect())
    }

    fn sign(&self, i: usize) -> f32 {
        let row = &self.rows("signs")[i / 64];
        assert_eq!(row[0], (i / 64 * 64).to_string());
        if u64::from_str_radix(row[1], 16).unwrap() >> (i % 64) & 1 == 1 { -1.0 } else { 1.0 }
    }
}

fn hex(word: &str) -> u8 {
    assert_eq!(word.len(), 2);
    u8::from_str_radix(word, 16).unwrap()
}

struct DocumentCode {
    bits: Vec<u32>,
    window: u32,
    period: u32,
    columns: Vec<u8>,
    v0: Vec<u8>,
    v1: Vec<u8>,
}

struct DocumentPlane {
    at: usize,
    width: usize,
    bits: Vec<(usize, usize)>,
}

/// A block decoded by sections 3 to 7 of the document.
struct Decoded {
    symbols: Vec<u32>,
    windows: Vec<u32>,
    hashes: Vec<u8>,
    r: Vec<i32>,
    /// `sign * y`
    signed: Vec<i32>,
    weights: Vec<f32>,
}

fn decode(doc: &Document, name: &str, block: &[u8]) -> Decoded {
    let (steps, lanes, planes) = doc.planes(name);
    let n = steps * lanes;
    let code = doc.code(name);

    let mut symbols = vec![0; n];
    for plane in &planes {
        for lane in 0..lanes {
            for (bit, &(step, symbol_bit)) in plane.bits.iter().enumerate() {
                let (byte, first) = match (plane.width, lanes) {
                    (4, 32) => (lane % 16, lane / 16 * 4),
                    (2, _) => (lane % 4, lane / 4 * 2),
                    (width, _) => (lane * width / 8, lane * width % 8),
                };
                let value = block[plane.at + byte] >> (first + bit) & 1;
                symbols[steps * lane + step] |= (value as u32) << symbol_bit;
            }
        }
    }

    let mut window = block[1] as u32;
    let (mut windows, mut hashes, mut r) = (vec![], vec![], vec![]);
    for (i, s) in symbols.iter().enumerate() {
        window = (window << code.bits[i % 2] | s) % (1 << code.window);
        let set = (0..code.columns.len()).filter(|b| window >> b & 1 == 1);
        let hash = set.fold(0, |h, b| h ^ code.columns[b]);
        windows.push(window);
        hashes.push(hash);
        let sum = code.v0[hash as usize & 15] + code.v1[hash as usize >> 4];
        r.push(sum as i32 - doc.numbers("zero")[0]);
    }

    let (e, m) = (block[0] >> 3, block[0] & 7);
    let d = if block[0] == 0 { 0.0 } else { (1.0 + m as f32 / 8.0) * 2f32.powi(e as i32 - 26) };
    let unit = d / (n as f32).sqrt();
    let signs: Vec<f32> = (0..n).map(|i| doc.sign(i)).collect();
    let h = |i: usize, j: usize| if (i & j).count_ones().is_multiple_of(2) { 1 } else { -1 };
    let y: Vec<i32> = (0..n).map(|i| (0..n).map(|j| h(i, j) * r[j]).sum()).collect();
    Decoded {
        signed: y.iter().zip(&signs).map(|(&y, &sign)| y * sign as i32).collect(),
        weights: y.iter().zip(&signs).map(|(&y, sign)| y as f32 * (sign * unit)).collect(),
        symbols,
        windows,
        hashes,
        r,
    }
}

fn dequantize(t: &TensorType, block: &[u8]) -> Vec<f32> {
    let mut out = vec![0.0; t.block_len];
    (t.kernels().unwrap().dequantize)(block, &mut out);
    out
}

/// The trellis types.
fn weights() -> impl Iterator<Item = &'static TensorType> {
    REGISTRY.iter().copied().filter(|t| t.kernels().is_some() && t.name.starts_with('t'))
}

#[test]
fn types_are_the_registry() {
    let rows: Vec<Vec<String>> = REGISTRY
        .iter()
        .map(|t| {
            let activation = match &t.role {
                Role::Weight { activation, .. } => activation.name,
                Role::Activation { .. } => "-",
            };
            let numbers = [t.id as usize, t.block_len, t.block_bytes].map(|n| n.to_string());
            [&[t.name.to_owned()][..], &numbers, &[activation.to_owned()]].concat()
        })
        .collect();
    assert_eq!(Document::read().rows("types"), rows);
}

#[test]
fn bits_per_weight_are_those_of_the_blocks() {
    let text = include_str!("../docs/FORMAT.md");
    for t in weights() {
        let family = t.name.split('_').next().unwrap();
        let k = [&family[1..2], if family.len() > 2 { ".5" } else { "" }].concat();
        let row = format!("| `{}` | {k} | {} | {} |", t.name, t.bpw(), t.block_len);
        assert!(text.contains(&row), "no line {row}");
    }
}

#[test]
fn codes_are_the_constants() {
    let doc = Document::read();
    assert_eq!(doc.numbers("zero"), [code::ZERO_POINT]);
    for (name, code) in CODES {
        let ours = doc.code(name);
        assert_eq!(ours.bits, code.bits, "{name}");
        assert_eq!((ours.window, ours.period), (code.window, code.period), "{name}");
        assert_eq!(ours.columns, code.columns()[..code.window as usize], "{name}");
        assert_eq!((ours.v0, ours.v1), (code.v0.to_vec(), code.v1.to_vec()), "{name}");
        let sigma = doc.rows("sigma").into_iter().find(|row| row[0] == name).unwrap();
        assert_eq!(sigma[1].parse::<f32>(), Ok(code.sigma), "{name}");
    }
}

#[test]
fn codes_keep_the_document_s_rules() {
    let doc = Document::read();
    for code in weights().map(|t| doc.code(t.name)) {
        let period = code.period as usize;
        for b in period..code.columns.len() {
            assert_eq!(code.columns[b], code.columns[b - period] << 1, "column {b}");
        }
        let mut span = vec![0u8];
        for c in &code.columns {
            if !span.contains(c) {
                span.extend(span.clone().iter().map(|v| v ^ c));
            }
        }
        assert_eq!(span.len(), code::HASHES);
        let top = code.v0.iter().max().unwrap() + code.v1.iter().max().unwrap();
        assert!(top <= 127, "sums reach {top}");
    }
}

#[test]
fn planes_are_the_layout() {
    fn check<T: Trellis>(doc: &Document, name: &str) {
        let (steps, lanes, planes) = doc.planes(name);
        assert_eq!((steps, lanes), (T::STEPS, T::LANES), "{name}");
        assert_eq!(planes.len(), T::PLANES.len(), "{name}");
        for (ours, plane) in planes.iter().zip(T::PLANES) {
            assert_eq!((ours.at, ours.width), (HEADER + plane.offset, plane.width), "{name}");
            for (bit, &(step, symbol_bit)) in ours.bits.iter().enumerate() {
                assert_eq!(plane.source(bit), Some((step as u8, symbol_bit as u8)), "{name} bit {bit}");
            }
        }
    }
    let doc = Document::read();
    check::<BlockT2>(&doc, "t2");
    check::<BlockT3>(&doc, "t3");
    check::<BlockT4>(&doc, "t4");
    check::<BlockT2_64>(&doc, "t2_64");
    check::<BlockT3_64>(&doc, "t3_64");
    check::<BlockT4_64>(&doc, "t4_64");
    check::<BlockT25>(&doc, "t25");
    check::<BlockT35>(&doc, "t35");
    check::<BlockT25_64>(&doc, "t25_64");
    check::<BlockT35_64>(&doc, "t35_64");
    check::<BlockT5>(&doc, "t5");
    check::<BlockT5_64>(&doc, "t5_64");
}

#[test]
fn scales_and_signs_are_the_constants() {
    let doc = Document::read();
    for row in doc.rows("scale") {
        assert_eq!(row[1].parse::<f32>(), Ok(scale::decode(row[0].parse().unwrap())), "code {}", row[0]);
    }
    for i in 0..256 {
        assert_eq!(doc.sign(i), rotation::PATTERN[i], "sign {i}");
    }
}

#[test]
fn any_block_decodes_as_the_document_says() {
    let doc = Document::read();
    let mut rng = Random(1);
    for t in weights() {
        // Every scale code would take long; 0, both ends and some between.
        for d in [Some(0), Some(1), Some(255), None, None, None] {
            let mut block: Vec<u8> = (0..t.block_bytes).map(|_| rng.next() as u8).collect();
            block[0] = d.unwrap_or(block[0]);
            let expected = decode(&doc, t.name, &block).weights;
            let bits = |v: Vec<f32>| v.into_iter().map(f32::to_bits).collect::<Vec<_>>();
            assert_eq!(bits(dequantize(t, &block)), bits(expected), "{} {block:02x?}", t.name);
        }
    }
}

#[test]
fn worked_block_is_right() {
    let doc = Document::read();
    let block = doc.bytes("worked block");
    let ours = decode(&doc, "t3_64", &block);
    let code = doc.code("t3");
    let symbols: Vec<String> = (0..8)
        .map(|i| {
            let h = ours.hashes[i] as usize;
            let (s, w, r) = (ours.symbols[i], ours.windows[i], ours.r[i]);
            let (v0, v1) = (code.v0[h & 15], code.v1[h >> 4]);
            format!("{i:2}  {s}  {w:04x}  {h:02x}  {v0:2} + {v1:2} - 64 = {r:3}")
        })
        .collect();
    assert_eq!(doc.block("worked symbols"), symbols.join("\n"));
    assert_eq!(doc.numbers("worked r"), ours.r);
    assert_eq!(doc.numbers("worked y"), ours.signed);

    let weights = dequantize(&types::trellis::T3_64, &block);
    assert_eq!(weights, ours.weights);
    let first: Vec<f32> = doc.rows("worked weights").iter().map(|row| row[0].parse().unwrap()).collect();
    assert_eq!(first, weights[..8]);
}

#[test]
fn worked_activations_and_dot_are_right() {
    let doc = Document::read();
    let rows = doc.rows("worked activation");
    assert_eq!((rows[0][0], rows[1][0], rows[2][0]), ("d", "sum", "qs"));
    let d = u32::from_str_radix(rows[0][1], 16).unwrap();
    let sum: i32 = rows[1][1].parse().unwrap();
    let qs: Vec<i8> =
        rows[2..].concat().into_iter().filter(|w| *w != "qs").map(|w| w.parse().unwrap()).collect();

    let Role::Activation { quantize } = types::trellis::A8_64.role else {
        panic!("a8_64 is an activation type")
    };
    let x: Vec<f32> = (0..64).map(|i| (i % 7 - 3) as f32).collect();
    // As u32, for the alignment of activation blocks.
    let mut block = vec![0u32; types::trellis::A8_64.block_bytes / 4];
    let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut block);
    quantize(&x, bytes);
    let fields = (&bytes[..4], &bytes[4..8], bytemuck::cast_slice::<u8, i8>(&bytes[8..]));
    assert_eq!(fields, (&d.to_ne_bytes()[..], &sum.to_ne_bytes()[..], &qs[..]));

    let rows = doc.rows("worked dot");
    let weights = doc.bytes("worked block");
    let (steps, lanes, _) = doc.planes("t3_64");
    let place = |i: usize| lanes * (i % steps) + i / steps;
    let r = decode(&doc, "t3_64", &weights).r;
    let integer: i32 = r.iter().enumerate().map(|(i, r)| r * qs[place(i)] as i32).sum();
    assert_eq!(rows[0], ["integer", &integer.to_string()]);
    let mut dot = 0.0;
    (types::trellis::T3_64.kernels().unwrap().dot_rows)(&weights, bytes, std::slice::from_mut(&mut dot));
    assert_eq!(rows[1], ["dot", &format!("{:08x}", dot.to_bits())]);
    assert_eq!(dot, scale::decode(weights[0]) * f32::from_bits(d) * integer as f32);
}

#[test]
fn errors_are_as_stated() {
    /// The table comes from 131072 samples; these are a quarter of that, whose mean has a standard
    /// deviation of at most 0.8 % of itself: three of those, and half of the last digit.
    const TOLERANCE: f64 = 0.03;
    /// Of T5's error, a sixteenth is that of twenty samples beyond its largest value, 3.4 deviations: the mean has a
    /// standard deviation of 4 % of itself.
    const TOLERANCE_T5: f64 = 0.12;
    const SAMPLES: usize = 32768;

    fn error(code: &Code, n: usize) -> f64 {
        let mut search = viterbi::for_code(code);
        let mut rng = Random(2);
        let mut symbols = vec![0; n];
        let mut sum = 0.0;
        for _ in 0..SAMPLES / n {
            let targets: Vec<f32> = (0..n).map(|_| rng.normal() * code.sigma).collect();
            sum += search.run(&targets, &mut symbols).error as f64;
        }
        sum / SAMPLES as f64 / (code.sigma as f64).powi(2)
    }

    let doc = Document::read();
    let rows = doc.rows("error");
    assert_eq!(rows.len(), weights().count());
    for t in weights() {
        let row = rows.iter().find(|row| row[0] == t.name).unwrap();
        let stated: f64 = row[1].parse().unwrap();
        let family = t.name.split('_').next().unwrap();
        let (_, code) = CODES.iter().find(|(name, _)| *name == family).unwrap();
        let measured = error(code, t.block_len);
        let tolerance = if family == "t5" { TOLERANCE_T5 } else { TOLERANCE };
        assert!((measured / stated - 1.0).abs() < tolerance, "{}: {measured} instead of {stated}", t.name);
    }
}
