//! The list of all tensor types.

use super::TensorType;

/// Calls `$then!` with the list. A line is a role, a name and a place: what the type is for, what the names of its
/// C functions are made of, and the folder and the static that define it.
macro_rules! for_each_type {
    ($then:ident) => {
        $then! {
            weight t2 trellis::T2;
            weight t3 trellis::T3;
            weight t4 trellis::T4;
            weight t2_64 trellis::T2_64;
            weight t3_64 trellis::T3_64;
            weight t4_64 trellis::T4_64;
            activation a8 trellis::A8;
            activation a8_64 trellis::A8_64;
            weight g4_128 codes4::G4_128;
            weight nf4_64 codes4::NF4_64;
            activation q8_64 codes4::Q8_64;
            weight t25 trellis::T25;
            weight t35 trellis::T35;
            weight t25_64 trellis::T25_64;
            weight t35_64 trellis::T35_64;
            weight o4 direct::O4;
            weight o4x2 direct::O4X2;
            activation q8 direct::Q8;
            weight o3 direct::O3;
            weight o3x2 direct::O3X2;
            weight s34 direct::S34;
            weight s24 direct::S24;
            weight t5 trellis::T5;
            weight t5_64 trellis::T5_64;
        }
    };
}
pub(crate) use for_each_type;

macro_rules! registry {
    ($($role:ident $name:ident $folder:ident::$type:ident;)*) => {
        /// Every type, in the order of the ids.
        pub static REGISTRY: &[&TensorType] = &[$(&super::$folder::$type),*];

        /// What the lines of the list say of the types.
        #[cfg(test)]
        const LINES: &[(&str, &str)] = &[$((stringify!($role), stringify!($name))),*];
    };
}
for_each_type!(registry);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Role;

    #[test]
    fn lines_say_what_the_types_are() {
        for (t, &line) in REGISTRY.iter().zip(LINES) {
            let role = match t.role {
                Role::Weight { .. } => "weight",
                Role::Activation { .. } => "activation",
            };
            assert_eq!(line, (role, t.name));
        }
    }

    #[test]
    fn ids_rise() {
        assert!(REGISTRY.is_sorted_by(|a, b| a.id < b.id));
    }
}
