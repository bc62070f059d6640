//! The parts of a model's name on a hub: `org/Mixtral-8x7B-Instruct-v0.1`.

/// What a name says.
#[derive(Debug, Default, PartialEq)]
pub struct ModelName {
    /// The name without its organization.
    pub full: Option<String>,
    pub organization: Option<String>,
    pub base: Option<String>,
    pub finetune: Option<String>,
    pub version: Option<String>,
    pub size: Option<String>,
}

/// What a part of a name is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Base,
    Size,
    Finetune,
    Version,
    Type,
}

struct Part {
    text: String,
    kinds: Vec<Kind>,
}

impl ModelName {
    /// Takes a name apart; a size that is far from the model's own number of weights is none.
    pub fn parse(name: &str, weights: u64) -> ModelName {
        if name.contains(' ') {
            return ModelName { full: Some(name.into()), ..ModelName::default() };
        }
        let (organization, full) = match name.split_once('/') {
            Some((organization, full)) => (Some(organization), full),
            None => (None, name),
        };
        let organization = organization.filter(|o| !o.starts_with('.')).map(str::to_owned);
        let pieces = full.split('-').filter(|p| !p.is_empty()).enumerate();
        let mut parts: Vec<Part> = pieces.map(|(i, p)| part(p, i == 0, weights)).collect();
        // Words for sizes count only without numbers for them.
        let has = |p: &Part, digits: bool| {
            let mut chars = p.text.chars();
            p.kinds.contains(&Kind::Size)
                && if digits { chars.any(|c| c.is_ascii_digit()) } else { chars.all(char::is_alphabetic) }
        };
        if parts.iter().any(|p| has(p, true)) {
            for p in parts.iter_mut().filter(|p| has(p, false)) {
                p.kinds.retain(|k| *k != Kind::Size);
            }
        }
        let mut at_start = true;
        for p in &mut parts {
            let begins = p.kinds.is_empty() && p.text.starts_with(char::is_alphabetic);
            if at_start && (begins || p.kinds.contains(&Kind::Version)) {
                p.kinds.push(Kind::Base);
            } else {
                at_start = false;
                if p.kinds.is_empty() {
                    p.kinds.push(Kind::Finetune);
                }
            }
        }
        for p in parts.iter_mut().rev() {
            if !p.kinds.contains(&Kind::Base) || p.kinds.len() == 1 {
                break;
            }
            p.kinds.retain(|k| *k != Kind::Base);
        }
        let join = |wanted: &dyn Fn(&Part) -> bool| {
            let texts: Vec<&str> = parts.iter().filter(|p| wanted(p)).map(|p| p.text.as_str()).collect();
            (!texts.is_empty()).then(|| texts.join("-"))
        };
        let is = |p: &Part, kind| p.kinds.contains(&kind);
        let mut sizes: Vec<&str> = Vec::new();
        for p in parts.iter().filter(|p| is(p, Kind::Size)) {
            if !sizes.contains(&p.text.as_str()) {
                sizes.push(&p.text);
            }
        }
        let size = (!sizes.is_empty()).then(|| sizes.join("-"));
        let finetune = join(&|p| is(p, Kind::Finetune));
        let version = join(&|p| is(p, Kind::Version) && !is(p, Kind::Base));
        let base = join(&|p| is(p, Kind::Base));
        // A name of one kind of part says nothing.
        let base = base.filter(|_| size.is_some() || finetune.is_some() || version.is_some());
        ModelName { full: Some(full.into()), organization, base, finetune, version, size }
    }
}

fn part(text: &str, first: bool, weights: u64) -> Part {
    let lower = text.to_lowercase();
    let kind = |kind, text: String| Part { text, kinds: vec![kind] };
    if is_version(&lower) {
        return kind(Kind::Version, text.into());
    }
    if is_type(&lower) {
        return kind(Kind::Type, text.to_uppercase());
    }
    if !first && is_size(&lower) {
        let text = normal_size(text);
        return match is_far(&text, weights) {
            // Likely a length of context.
            true => {
                let (number, unit) = text.split_at(text.len() - 1);
                kind(Kind::Finetune, format!("{number}{}", unit.to_lowercase()))
            }
            false => kind(Kind::Size, text),
        };
    }
    if !first && ["chat", "instruct", "vision", "lora"].contains(&lower.as_str()) {
        return kind(Kind::Finetune, text.into());
    }
    Part { text: text.into(), kinds: Vec::new() }
}

/// `1`, `v0.1`, `iter2`
fn is_version(s: &str) -> bool {
    let s = s.strip_prefix("iter").or_else(|| s.strip_prefix('v')).unwrap_or(s);
    s.split('.').all(is_digits)
}

fn is_digits(s: &str) -> bool {
    !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit())
}

/// `q4_k_m`, `iq2_xs`, `bf16`, `fp32`
fn is_type(s: &str) -> bool {
    let float = s.strip_prefix('b').unwrap_or(s).strip_prefix('f').map(|s| s.strip_prefix('p').unwrap_or(s));
    if float.is_some_and(|bits| bits == "16" || bits == "32") {
        return true;
    }
    let quantized = s.strip_prefix('i').unwrap_or(s).strip_prefix('q');
    quantized.is_some_and(|rest| {
        let mut pieces = rest.split('_');
        let bits = pieces.next().unwrap_or_default();
        // As the rule has it: after the number, an underscore and one character, any number of times.
        bits.len() == 1 && is_digits(bits) && pieces.all(|p| p.chars().count() == 1)
    })
}

/// `7b`, `8x22b`, `1.5b`, `1_6b`, `7b1`, `a3b`, and words
fn is_size(s: &str) -> bool {
    if ["small", "mini", "medium", "large", "xl", "xxl"].contains(&s) {
        return true;
    }
    let counted = s.split_once('x').filter(|(n, _)| is_digits(n)).map(|(_, rest)| rest);
    let s = s.strip_prefix('a').or(counted).unwrap_or(s);
    let Some(unit) = s.find(['k', 'm', 'b', 't']) else { return false };
    let (number, rest) = (&s[..unit], &s[unit + 1..]);
    let (whole, fraction) = number.split_once(['.', '_']).unwrap_or((number, "0"));
    is_digits(whole) && is_digits(fraction) && (rest.is_empty() || (rest.len() == 1 && is_digits(rest)))
}

/// `1_6b` as `1.6B`, `7b1` as `7.1B`
fn normal_size(text: &str) -> String {
    let mut text = text.replace('_', ".");
    let bytes = text.as_bytes();
    if let [.., unit, digit] = *bytes
        && digit.is_ascii_digit()
    {
        text = format!("{}.{}{}", &text[..text.len() - 2], digit as char, unit as char);
    }
    let bytes = text.as_bytes();
    if let [.., before, unit @ (b'k' | b'm' | b'b' | b't')] = *bytes
        && before.is_ascii_digit()
    {
        text = format!("{}{}", &text[..text.len() - 1], unit.to_ascii_uppercase() as char);
    }
    text
}

/// Whether a size is not within a factor of eight of the model's own.
fn is_far(text: &str, weights: u64) -> bool {
    let (number, unit) = text.split_at(text.len() - 1);
    let (Ok(number), Some(power)) = (number.parse::<f64>(), "KMBT".find(unit)) else { return false };
    let size = number * 1000f64.powi(power as i32 + 1);
    weights != 0 && (size - weights as f64).abs() > (7 * weights / 8) as f64
}

/// A name with capitals, but for versions and what has capitals already.
pub fn title(name: &str) -> String {
    let word = |w: &str| {
        let lower = w.chars().any(char::is_lowercase) && !w.chars().any(char::is_uppercase);
        let version = w.starts_with(|c: char| c.is_ascii_digit())
            || w.strip_prefix('v').is_some_and(|v| v.split('.').all(is_digits));
        if lower && !version { capitals(w) } else { w.to_owned() }
    };
    name.trim().replace('-', " ").split_whitespace().map(word).collect::<Vec<_>>().join(" ")
}

/// A capital after everything that is no letter.
fn capitals(word: &str) -> String {
    let mut out = String::new();
    let mut after_letter = false;
    for c in word.chars() {
        match after_letter {
            true => out.push(c),
            false => out.extend(c.to_uppercase()),
        }
        after_letter = c.is_alphabetic();
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_apart() {
        let parsed = ModelName::parse("mistralai/Mixtral-8x7B-Instruct-v0.1", 46_700_000_000);
        let some = |s: &str| Some(s.to_owned());
        assert_eq!(parsed.full, some("Mixtral-8x7B-Instruct-v0.1"));
        assert_eq!(parsed.organization, some("mistralai"));
        assert_eq!((parsed.base, parsed.size), (some("Mixtral"), some("8x7B")));
        assert_eq!((parsed.finetune, parsed.version), (some("Instruct"), some("v0.1")));
        let parsed = ModelName::parse("Phi-3-mini-128k-instruct", 3_800_000_000);
        assert_eq!((parsed.base, parsed.size), (some("Phi-3"), some("mini")));
        assert_eq!(parsed.finetune, some("128k-instruct"));
    }

    #[test]
    fn titles() {
        assert_eq!(title("tiny-llama-1.1b-chat-v1.0"), "Tiny Llama 1.1b Chat v1.0");
        assert_eq!(title("SmolLM2-135M-Instruct"), "SmolLM2 135M Instruct");
    }
}
