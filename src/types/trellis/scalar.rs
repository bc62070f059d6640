//! The definition: plain loops in the order of docs/FORMAT.md. Every other kernel gives these bits.

use super::a8::Activation;
use super::code::{ZERO_POINT, hash};
use super::layout::{Block, MAX_LEN, Trellis};
use super::{rotation, scale};
use crate::products::Definition;

/// Reconstructions of a block in element order, plus [`ZERO_POINT`]: 0..=127.
pub fn reconstruct<T: Trellis>(block: &T) -> [u8; MAX_LEN] {
    let columns = const { T::CODE.columns() };
    let mut symbols = [0; MAX_LEN];
    block.unpack(&mut symbols[..T::LEN]);
    let mut window = block.history() as u32;
    let mut r = [0; MAX_LEN];
    for (i, (r, &s)) in r[..T::LEN].iter_mut().zip(&symbols).enumerate() {
        window = T::CODE.next_window(window, i, s);
        *r = (T::CODE.value(hash(&columns, window)) as i32 + ZERO_POINT) as u8;
    }
    r
}

impl<const PLANES: usize> Definition for Block<PLANES>
where
    Self: Trellis,
{
    const WEIGHTS: usize = Self::LEN;
    type Activations = <Self as Trellis>::Activation;

    fn dots(w: &[Self], columns: &[&[Self::Activations]], out: &mut [f32]) {
        dots(w, columns, out);
    }

    fn dequantize(w: &[Self], out: &mut [f32]) {
        dequantize(w, out);
    }
}

/// For each column: the sum over blocks of `(d_w * d_a) * integer`, in f32 and in order, where
/// `integer = sum of (r - 64) * q` is exact.
fn dots<T: Trellis>(w: &[T], columns: &[&[T::Activation]], out: &mut [f32]) {
    out.fill(0.0);
    for (b, w) in w.iter().enumerate() {
        let r = reconstruct(w);
        // In lane order, as the quants.
        let mut lanes = [0i8; MAX_LEN];
        for (i, &r) in r[..T::LEN].iter().enumerate() {
            lanes[T::LANES * (i % T::STEPS) + i / T::STEPS] = (r as i32 - ZERO_POINT) as i8;
        }
        for (a, out) in columns.iter().zip(&mut *out) {
            let pairs = lanes.iter().zip(a[b].qs());
            let integer: i32 = pairs.map(|(&r, &q)| r as i32 * q as i32).sum();
            *out += (scale::decode(w.d()) * a[b].d()) * integer as f32;
        }
    }
}

/// Weights of the blocks: `d` times the inverse rotation of the reconstructions.
pub fn dequantize<T: Trellis>(w: &[T], out: &mut [f32]) {
    for (w, out) in w.iter().zip(out.chunks_exact_mut(T::LEN)) {
        let r = reconstruct(w).map(|r| r as i16 - ZERO_POINT as i16);
        let d = scale::decode(w.d());
        if T::LEN == 64 {
            rotation::unrotate::<64>(std::array::from_fn(|i| r[i]), d, out);
        } else {
            rotation::unrotate::<256>(r, d, out);
        }
    }
}

/// Activation blocks of a row.
#[inline(always)]
pub fn quantize_activations<T: Trellis>(x: &[f32], out: &mut [T::Activation]) {
    for (x, out) in x.chunks_exact(T::LEN).zip(out) {
        *out = T::Activation::quantize(x, T::STEPS);
    }
}
