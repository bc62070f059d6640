//! A Gram file against llama-imatrix's file for the same chunks of text: the diagonals must agree.

use std::error::Error;
use std::path::Path;
use tenpak_gguf::calibration::{Calibration, Statistics};
use tenpak_gguf::gguf::File;

/// Largest relative difference of a mean of squares. Both programs add squares of the same F32 values in F32, in other
/// orders: one after the other, n of them may be off by n * 2^-24 relative to the sum; 4096 is more than is compared.
const TOLERANCE: f32 = 4096.0 / (1 << 24) as f32;

/// Compares the diagonals of all weights of a model.
pub fn compare(model: &Path, gram: &Path, imatrix: &Path) -> Result<(), Box<dyn Error>> {
    let model = File::open(model)?;
    let gram = Calibration::open(gram)?;
    let imatrix = Calibration::open(imatrix)?;
    println!("{}\n{}", gram.describe(), imatrix.describe());
    let (mut weights, mut worst) = (0, 0.0f32);
    for t in model.tensors() {
        let columns = t.columns() as usize;
        let experts = t.shape.get(2).map_or(1, |&n| n as usize);
        // llama-imatrix has no name for the head of tied embeddings.
        if t.name == "token_embd.weight" && imatrix.input_of(&t.name).is_none() {
            continue;
        }
        if gram.input_of(&t.name).is_some() != imatrix.input_of(&t.name).is_some() {
            return Err(format!("`{}` is in one of the files only", t.name).into());
        }
        for expert in 0..experts {
            let Some(Statistics::Gram { n, values, tokens }) = gram.load(&t.name, expert, columns)? else {
                continue;
            };
            let Some(Statistics::Diagonal { values: squares, tokens: counted }) =
                imatrix.load(&t.name, expert, columns)?
            else {
                return Err(format!("`{}`: the second file is no importance matrix", t.name).into());
            };
            if tokens != counted {
                return Err(format!("`{}`, expert {expert}: {tokens} tokens and {counted}", t.name).into());
            }
            let diagonal = (0..n).map(|i| values[i * n + i]);
            for (i, (a, b)) in diagonal.zip(&squares).enumerate() {
                let difference = (a - b).abs() / b.max(f32::MIN_POSITIVE);
                worst = worst.max(difference);
                if difference > TOLERANCE {
                    return Err(format!("`{}`, expert {expert}, column {i}: {a} and {b}", t.name).into());
                }
            }
        }
        weights += usize::from(gram.input_of(&t.name).is_some());
    }
    if weights == 0 {
        return Err("no weight of the model is in the files".into());
    }
    println!("{weights} weights agree; largest relative difference {worst:.1e}");
    Ok(())
}
