//! Instruction-set levels: what they are, whether this processor has them, and the one place that enters them.
//!
//! A level is a bundle of features that ship together, so that a kernel has one name to ask for. The table at
//! the end of this file is the only list of those features: detection and code generation both read it. Levels of
//! other architectures do not exist in a build. `TENPAK_ISA` (`scalar`; x86-64: `avx2`, `avxvnni`, `avx512`;
//! aarch64: `neon`, `dotprod`) can lower the level, never raise it.
//!
//! A computation that has a form for every level is an [`Operation`]; [`dispatch`] runs it at one of them:
//!
//! ```text
//! dispatch(isa, operation)              checks that the processor has the level
//!     enter_avx2(operation)             compiled with the features of the level
//!         operation.run(Avx2(()))       #[inline(always)], so compiled with them, too
//! ```
//!
//! A token such as [`Avx2`] can only be had inside `dispatch`, so that holding one proves that the processor has
//! the features of its level: a function that takes a token may call safely what needs those features.

use std::sync::OnceLock;

/// A computation at level `L`.
pub trait Operation<L> {
    /// Computes at the level that `level` proves. Implementations are `#[inline(always)]`: what is not inlined
    /// into [`dispatch`] is compiled without the features of the level.
    fn run(self, level: L);
}

/// The token of [`Isa::Scalar`], which every processor has.
#[derive(Clone, Copy, Debug)]
pub struct Scalar;

/// Defines [`Isa`], the tokens and [`dispatch`] for the levels of an architecture above scalar, lowest first.
/// `$has` is the macro that detects a feature.
macro_rules! levels {
    ($has:path; $($(#[$about:meta])* $level:ident, $name:literal, $enter:ident, [$($feature:tt),+];)*) => {
        /// What the kernels may use, lowest first.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Isa {
            /// Plain Rust; the definition of every result.
            Scalar,
            $($(#[$about])* $level,)*
        }

        impl Isa {
            /// Every level of this architecture, lowest first.
            pub const ALL: &[Isa] = &[Isa::Scalar, $(Isa::$level),*];

            /// The name that `TENPAK_ISA` takes.
            pub const fn name(self) -> &'static str {
                match self {
                    Isa::Scalar => "scalar",
                    $(Isa::$level => $name,)*
                }
            }

            /// Asks the processor for every feature of the level.
            fn detect(self) -> bool {
                use $has as has;
                match self {
                    Isa::Scalar => true,
                    $(Isa::$level => $(has!($feature))&&+,)*
                }
            }
        }

        $(
            /// The token of the level of this name: holding one proves that the processor has its features.
            #[derive(Clone, Copy, Debug)]
            pub struct $level(());

            /// Runs an operation, compiled with the features of the level.
            #[target_feature($(enable = $feature),+)]
            fn $enter<O: Operation<$level>>(operation: O) {
                operation.run($level(()));
            }
        )*

        /// An operation that has a form for every level of this architecture.
        pub trait AtEveryLevel: Operation<Scalar> $(+ Operation<$level>)* {}
        impl<O: Operation<Scalar> $(+ Operation<$level>)*> AtEveryLevel for O {}

        /// Runs an operation at a level.
        ///
        /// # Panics
        /// If this processor does not have the level.
        #[inline]
        pub fn dispatch<O: AtEveryLevel>(isa: Isa, operation: O) {
            assert!(isa.is_available(), "this processor does not have {}", isa.name());
            match isa {
                Isa::Scalar => operation.run(Scalar),
                // SAFETY: the level is available, so the processor has every feature of the list that
                // `enter` enables, which is the list that `detect` asks for.
                $(Isa::$level => unsafe { $enter(operation) },)*
            }
        }
    };
}

impl Isa {
    /// Whether this processor has every feature of the level.
    pub fn is_available(self) -> bool {
        static AVAILABLE: OnceLock<[bool; Isa::ALL.len()]> = OnceLock::new();
        AVAILABLE.get_or_init(|| std::array::from_fn(|level| Isa::ALL[level].detect()))[self as usize]
    }

    /// The level at which code without vectors of its own is compiled when `self` is wanted: the lowest above scalar,
    /// which every processor with a higher one has. One form of such code is enough to look after.
    pub fn compiled(self) -> Isa {
        self.min(*Isa::ALL.get(1).unwrap_or(&Isa::Scalar))
    }

    /// The levels of this processor, lowest first.
    pub fn available() -> impl Iterator<Item = Isa> {
        Isa::ALL.iter().copied().filter(|isa| isa.is_available())
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
            let named = Isa::ALL.iter().copied().find(|isa| isa.name() == name);
            if named.is_none() {
                let names = Isa::ALL.iter().map(|isa| isa.name()).collect::<Vec<_>>().join(", ");
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

#[cfg(target_arch = "x86_64")]
levels! {
    std::arch::is_x86_feature_detected;
    /// AVX2, FMA, BMI and POPCNT: Intel since Haswell, AMD since Zen.
    Avx2, "avx2", enter_avx2, ["avx2", "fma", "bmi1", "bmi2", "popcnt"];
    /// [`Isa::Avx2`] with AVX-VNNI and GFNI: Intel since Alder Lake, AMD since Zen 5.
    AvxVnni, "avxvnni", enter_avxvnni, ["avx2", "fma", "bmi1", "bmi2", "popcnt", "avxvnni", "gfni"];
    /// AVX-512 F, BW, VL, VBMI, VNNI and GFNI: Intel since Ice Lake, AMD since Zen 4.
    Avx512, "avx512", enter_avx512, [
        "avx2", "fma", "bmi1", "bmi2", "popcnt",
        "avx512f", "avx512bw", "avx512vl", "avx512vbmi", "avx512vnni", "gfni"
    ];
}

#[cfg(target_arch = "x86_64")]
impl From<AvxVnni> for Avx2 {
    /// The token of a lower level, whose features the higher one has.
    #[inline(always)]
    fn from(_: AvxVnni) -> Avx2 {
        Avx2(())
    }
}

#[cfg(target_arch = "x86_64")]
impl From<Avx512> for Avx2 {
    /// The token of a lower level, whose features the higher one has.
    #[inline(always)]
    fn from(_: Avx512) -> Avx2 {
        Avx2(())
    }
}

#[cfg(target_arch = "aarch64")]
levels! {
    std::arch::is_aarch64_feature_detected;
    /// NEON: every 64-bit ARM.
    Neon, "neon", enter_neon, ["neon"];
    /// [`Isa::Neon`] with dot products of bytes: Cortex-A55 and A76, Neoverse N1, Apple since A13 and M1.
    DotProd, "dotprod", enter_dotprod, ["neon", "dotprod"];
}

#[cfg(target_arch = "aarch64")]
impl From<DotProd> for Neon {
    /// The token of a lower level, whose features the higher one has.
    #[inline(always)]
    fn from(_: DotProd) -> Neon {
        Neon(())
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
levels! { std::debug_assert; }

#[cfg(test)]
mod tests {
    use super::*;

    /// Notes the level that it runs at.
    struct Note<'a>(&'a mut Option<Isa>);

    macro_rules! noted_at {
        ($($token:ident),*) => {$(
            impl Operation<$token> for Note<'_> {
                #[inline(always)]
                fn run(self, _: $token) {
                    *self.0 = Some(Isa::$token);
                }
            }
        )*};
    }
    noted_at!(Scalar);
    #[cfg(target_arch = "x86_64")]
    noted_at!(Avx2, AvxVnni, Avx512);
    #[cfg(target_arch = "aarch64")]
    noted_at!(Neon, DotProd);

    #[test]
    fn operations_run_at_the_level_asked_for() {
        for isa in Isa::available() {
            let mut level = None;
            dispatch(isa, Note(&mut level));
            assert_eq!(level, Some(isa));
        }
    }

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
