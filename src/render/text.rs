//! Lines that the renderings share.

use std::fmt::{Display, Write};

/// Numbers, with commas between them.
pub fn numbers<T: Display>(numbers: impl IntoIterator<Item = T>) -> String {
    numbers.into_iter().map(|n| n.to_string()).collect::<Vec<_>>().join(", ")
}

/// `#define NAME value`, with a remark if there is one.
pub fn define(h: &mut String, name: &str, value: impl Display, remark: &str) -> std::fmt::Result {
    match remark {
        "" => writeln!(h, "#define {name} {value}"),
        remark => writeln!(h, "{:<33} // {remark}", format!("#define {name} {value}")),
    }
}

/// A macro that applies X to every row.
pub fn list(h: &mut String, name: &str, rows: &[String]) -> std::fmt::Result {
    let rows: Vec<_> = rows.iter().map(|row| format!("    {row}")).collect();
    writeln!(h, "#define {name}(X) \\\n{}\n", rows.join(" \\\n"))
}
