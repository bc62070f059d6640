//! The text that ids are compared on: lines in many scripts, code, numbers, spaces, and the model's own added tokens.

use crate::arch::tokenizer::{Mark, Reference, Stands};

/// Lines of text. All are in Unicode's form C: what tokenizers of some models make of others (NFC), llama.cpp does not.
const LINES: &str = include_str!("lines.json");

/// Words of a line that stand beside a mark, and letters at most.
const WORDS: usize = 4;
const LETTERS: usize = 40;

/// Lines with marks that the forward pass is compared on too.
const MARKED_AT_MOST: usize = 12;

/// Lines for a tokenizer.
pub(super) struct Text {
    /// The lines, those with marks behind the others.
    pub lines: Vec<String>,
    /// How many have no marks of purpose.
    unmarked: usize,
}

impl Text {
    /// The lines for a tokenizer: none on which it is known to differ from llama.cpp.
    pub fn new(reference: &Reference) -> Text {
        let all: Vec<String> = serde_json::from_str(LINES).expect("a tested constant");
        // SentencePiece's library, which stands in for a tokenizer that is not there, knows nothing of added tokens, and
        // puts a space before one.
        let stands_in = reference.tokenizer.is_none();
        let unknown: Vec<String> = match &reference.tokenizer {
            Some(_) => Vec::new(),
            None => reference.marks.iter().map(|mark| mark.text.replace('▁', " ")).collect(),
        };
        let fits = |line: &String| {
            !(unknown.iter().any(|mark| line.contains(mark.as_str())) || stands_in && line.starts_with(' '))
        };
        let mut lines: Vec<String> = all.into_iter().filter(fits).collect();
        let unmarked = lines.len();
        let begins: Vec<String> = lines.iter().map(|line| begin(line)).filter(|b| !b.is_empty()).collect();
        let marked = |(i, mark): (usize, &Mark)| {
            let at = |i: usize| &begins[i % begins.len()];
            with_mark(mark, i, at(i), at(i + begins.len() / 2))
        };
        lines.extend(reference.marks.iter().enumerate().map(marked));
        Text { lines, unmarked }
    }

    /// The lines without marks.
    pub fn unmarked(&self) -> &[String] {
        &self.lines[..self.unmarked]
    }

    /// Ids of some of the lines, `most` at most, for the forward pass; `ids` are those of all lines.
    pub fn sample(&self, ids: &[Vec<u32>], most: usize) -> Vec<u32> {
        let ids = &ids[..ids.len().min(self.unmarked + MARKED_AT_MOST)];
        let all: usize = ids.iter().map(Vec::len).sum();
        let step = all.div_ceil(most.max(1)).max(1);
        ids.iter().step_by(step).flatten().copied().take(most).collect()
    }
}

/// The first words of a line.
fn begin(line: &str) -> String {
    let words: Vec<&str> = line.split_whitespace().take(WORDS).collect();
    words.join(" ").chars().take(LETTERS).collect::<String>().trim_end().to_owned()
}

/// A line with an added token, as chats and other texts have it, in turn.
fn with_mark(mark: &Mark, i: usize, a: &str, b: &str) -> String {
    let m = &mark.text;
    match mark.stands {
        Stands::AmongSigns => format!("{a}.{m}({b})"),
        // Runs of spaces would become others beside spaces.
        Stands::Anywhere if m.trim_matches(['▁', ' ', '\n', '\t', '\r']).is_empty() => format!("{a}{m}{b}"),
        Stands::Anywhere => match i % 4 {
            0 => format!("{m}user\n{a}{m}\n{m}assistant\n"),
            1 => format!("{a} {m} {b}"),
            2 => format!("{m}{m}{a}"),
            _ => format!("{a}{m}{b}"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reference(marks: &[(&str, Stands)]) -> Reference {
        let marks = marks.iter().map(|(text, stands)| Mark { text: (*text).into(), stands: *stands });
        Reference { tokenizer: None, marks: marks.collect() }
    }

    #[test]
    fn lines_are_of_many_kinds() {
        let text = Text::new(&reference(&[]));
        assert!(text.lines.len() >= 40 && text.lines.len() == text.unmarked);
        let has = |letters: std::ops::RangeInclusive<char>| {
            text.lines.iter().any(|line| line.contains(|c| letters.contains(&c)))
        };
        let scripts = [
            ("Greek", 'α'..='ω'),
            ("Cyrillic", 'а'..='я'),
            ("Hebrew", 'א'..='ת'),
            ("Arabic", 'ا'..='ي'),
            ("Devanagari", 'अ'..='ह'),
            ("Han", '一'..='鿿'),
            ("Hangul", '가'..='힣'),
            ("emoji", '🌀'..='🙏'),
        ];
        scripts.into_iter().for_each(|(name, letters)| assert!(has(letters), "there is no {name}"));
        for part in ["\t\t", "\r\n", "\n\n\n", "     ", "def ", "1234567", "\u{200d}"] {
            assert!(text.lines.iter().any(|line| line.contains(part)), "{part:?} is nowhere");
        }
        assert!(text.lines.iter().all(|line| !line.contains('\0')), "texts end with zero bytes");
    }

    #[test]
    fn marks_stand_where_ids_are_the_same() {
        let marks = [
            ("<a>", Stands::Anywhere),
            ("<b>", Stands::Anywhere),
            ("<c>", Stands::AmongSigns),
            ("   ", Stands::Anywhere),
        ];
        let text = Text::new(&reference(&marks));
        let lines = &text.lines[text.unmarked..];
        assert!(lines[0].starts_with("<a>user\n") && lines[0].ends_with("<a>assistant\n"), "{lines:?}");
        assert!(lines[1].contains(" <b> "), "{lines:?}");
        assert!(lines[2].contains(".<c>("), "{lines:?}");
        let (before, after) = lines[3].split_once("   ").unwrap();
        assert!(!before.ends_with(' ') && !after.starts_with(' ') && !after.is_empty(), "{lines:?}");
    }

    #[test]
    fn samples_are_of_all_lines() {
        let text = Text { lines: Vec::new(), unmarked: 40 };
        let ids: Vec<Vec<u32>> = (0..100).map(|line| vec![line; 10]).collect();
        let sample = text.sample(&ids, 64);
        assert_eq!(sample.len(), 60);
        assert!(sample.contains(&0) && sample.iter().any(|&line| line > 36), "{sample:?}");
        assert!(sample.iter().all(|&line| line < 52), "{sample:?}");
        assert_eq!(text.sample(&ids[..2], 64).len(), 20);
    }
}
