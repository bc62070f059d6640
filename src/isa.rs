//! Instruction-set levels, detected once.
//!
//! A level is a bundle of features that ship together, so that a kernel has one name to ask for. Levels of
//! other architectures do not exist in a build. `TENPAK_ISA` (`scalar`; x86-64: `avx2`, `avxvnni`, `avx512`;
//! aarch64: `neon`, `dotprod`) can lower the level, never raise it.

use std::sync::OnceLock;

/// What the kernels may use, lowest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Isa {
    /// Plain Rust; the definition of every result.
    Scalar,
    /// AVX2, FMA and BMI: Intel since Haswell, AMD since Zen.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// [`Isa::Avx2`] with AVX-VNNI and GFNI: Intel since Alder Lake, AMD since Zen 5.
    #[cfg(target_arch = "x86_64")]
    AvxVnni,
    /// AVX-512 F, BW, VL, VBMI, VNNI and GFNI: Intel since Ice Lake, AMD since Zen 4.
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// NEON: every 64-bit ARM.
    #[cfg(target_arch = "aarch64")]
    Neon,
    /// [`Isa::Neon`] with dot products of bytes: Cortex-A55 and A76, Neoverse N1, Apple since A13 and M1.
    #[cfg(target_arch = "aarch64")]
    DotProd,
}

impl Isa {
    /// Every level of this architecture, lowest first.
    #[cfg(target_arch = "x86_64")]
    pub const ALL: [Isa; 4] = [Isa::Scalar, Isa::Avx2, Isa::AvxVnni, Isa::Avx512];
    /// Every level of this architecture, lowest first.
    #[cfg(target_arch = "aarch64")]
    pub const ALL: [Isa; 3] = [Isa::Scalar, Isa::Neon, Isa::DotProd];
    /// Every level of this architecture, lowest first.
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    pub const ALL: [Isa; 1] = [Isa::Scalar];

    /// The name that `TENPAK_ISA` takes.
    pub fn name(self) -> &'static str {
        match self {
            Isa::Scalar => "scalar",
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Isa::AvxVnni => "avxvnni",
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => "avx512",
            #[cfg(target_arch = "aarch64")]
            Isa::Neon => "neon",
            #[cfg(target_arch = "aarch64")]
            Isa::DotProd => "dotprod",
        }
    }

    /// Whether this processor has every feature of the level.
    pub fn is_available(self) -> bool {
        static AVAILABLE: OnceLock<[bool; Isa::ALL.len()]> = OnceLock::new();
        AVAILABLE.get_or_init(|| Isa::ALL.map(Isa::detect))[self as usize]
    }

    #[cfg(target_arch = "x86_64")]
    fn detect(self) -> bool {
        use std::arch::is_x86_feature_detected as has;
        match self {
            Isa::Scalar => true,
            Isa::Avx2 => has!("avx2") && has!("fma") && has!("bmi1") && has!("bmi2"),
            Isa::AvxVnni => Isa::Avx2.detect() && has!("avxvnni") && has!("gfni"),
            Isa::Avx512 => {
                Isa::Avx2.detect()
                    && has!("avx512f")
                    && has!("avx512bw")
                    && has!("avx512vl")
                    && has!("avx512vbmi")
                    && has!("avx512vnni")
                    && has!("gfni")
            }
        }
    }

    #[cfg(target_arch = "aarch64")]
    fn detect(self) -> bool {
        use std::arch::is_aarch64_feature_detected as has;
        match self {
            Isa::Scalar => true,
            Isa::Neon => has!("neon"),
            Isa::DotProd => Isa::Neon.detect() && has!("dotprod"),
        }
    }

    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    fn detect(self) -> bool {
        self == Isa::Scalar
    }

    /// The levels of this processor, lowest first.
    pub fn available() -> impl Iterator<Item = Isa> {
        Isa::ALL.into_iter().filter(|isa| isa.is_available())
    }

    /// The level that kernels run at: the highest available, lowered by `TENPAK_ISA`.
    pub fn current() -> Isa {
        static CURRENT: OnceLock<Isa> = OnceLock::new();
        *CURRENT.get_or_init(|| choose(std::env::var("TENPAK_ISA").ok().as_deref()))
    }
}

/// The highest available level not above the one that `limit` names.
fn choose(limit: Option<&str>) -> Isa {
    let limit = match limit {
        None | Some("") => None,
        Some(name) => {
            let named = Isa::ALL.into_iter().find(|isa| isa.name() == name);
            if named.is_none() {
                let names = Isa::ALL.map(Isa::name).join(", ");
                eprintln!("tenpak: TENPAK_ISA={name} is not one of {names}; ignored");
            }
            named
        }
    };
    Isa::available()
        .filter(|&isa| limit.is_none_or(|limit| isa <= limit))
        .max()
        .expect("scalar is always available")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limit_only_lowers() {
        let highest = choose(None);
        assert_eq!(choose(Some("scalar")), Isa::Scalar);
        assert_eq!(choose(Some(Isa::ALL[Isa::ALL.len() - 1].name())), highest);
        assert_eq!(choose(Some("no such level")), highest);
        for isa in Isa::available() {
            assert_eq!(choose(Some(isa.name())), isa);
        }
    }
}
