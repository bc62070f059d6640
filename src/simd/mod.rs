//! Vectors of each architecture: what the decoders of more than one type need.

#[cfg(target_arch = "aarch64")]
pub mod neon;
#[cfg(target_arch = "x86_64")]
pub mod x86;
