//! Ids of texts: as files have them, and where two lists differ first.

use super::error::{Difference, Shown, VerifyError};
use crate::guarded::guarded;
use std::path::Path;
use tokenizers::Tokenizer;

/// Ids in a file, a line for each text.
pub(super) fn read(path: &Path, lines: usize) -> Result<Vec<Vec<u32>>, VerifyError> {
    let answer = |problem: String| VerifyError::Answer { path: path.to_owned(), problem };
    let text = std::fs::read_to_string(path).map_err(|e| answer(e.to_string()))?;
    let of = |line: &str| line.split_whitespace().map(str::parse).collect::<Result<Vec<u32>, _>>();
    let ids =
        text.lines().map(of).collect::<Result<Vec<_>, _>>().map_err(|e| answer(format!("no ids: {e}")))?;
    match ids.len() == lines {
        true => Ok(ids),
        false => Err(answer(format!("{} lines of ids for {lines} texts", ids.len()))),
    }
}

/// Ids of texts by the tokenizers library.
pub(super) fn encode(tokenizer: &Tokenizer, lines: &[String]) -> Result<Vec<Vec<u32>>, String> {
    let of = |line: &String| Ok(tokenizer.encode(line.as_str(), false)?.get_ids().to_vec());
    let all = guarded(|| lines.iter().map(of).collect::<Result<_, tokenizers::Error>>());
    all?.map_err(|e| e.to_string())
}

/// The first line and token that differ.
pub(super) fn first_difference(
    lines: &[String],
    ours: &[Vec<u32>],
    theirs: &[Vec<u32>],
    text_of: impl Fn(u32) -> Option<String>,
) -> Option<Difference> {
    let line = (0..lines.len()).find(|&i| ours[i] != theirs[i])?;
    let (a, b) = (&ours[line], &theirs[line]);
    let at = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    let shown = |ids: &[u32]| ids.get(at).map(|&id| Shown { id, text: text_of(id) });
    Some(Difference::Ids {
        line: line + 1,
        text: lines[line].clone(),
        token: at + 1,
        ours: shown(a),
        theirs: shown(b),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(ours: &[&[u32]], theirs: &[&[u32]]) -> Option<(usize, usize, Option<u32>, Option<u32>)> {
        let lines: Vec<String> = (0..ours.len()).map(|i| format!("line {i}")).collect();
        let lists = |of: &[&[u32]]| of.iter().map(|ids| ids.to_vec()).collect::<Vec<_>>();
        match first_difference(&lines, &lists(ours), &lists(theirs), |id| Some(id.to_string()))? {
            Difference::Ids { line, token, ours, theirs, text } => {
                assert_eq!(text, lines[line - 1]);
                Some((line, token, ours.map(|s| s.id), theirs.map(|s| s.id)))
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_first_difference_is_found() {
        assert_eq!(first(&[&[1, 2], &[3]], &[&[1, 2], &[3]]), None);
        assert_eq!(first(&[&[1, 2], &[3, 4]], &[&[1, 2], &[3, 5]]), Some((2, 2, Some(4), Some(5))));
        assert_eq!(first(&[&[1, 2]], &[&[1]]), Some((1, 2, Some(2), None)));
        assert_eq!(first(&[&[]], &[&[7]]), Some((1, 1, None, Some(7))));
    }

    #[test]
    fn files_of_ids() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ids");
        std::fs::write(&path, "1 2 3\n\n4\n").unwrap();
        assert_eq!(read(&path, 3).unwrap(), [vec![1, 2, 3], vec![], vec![4]]);
        assert!(read(&path, 2).unwrap_err().to_string().contains("3 lines of ids for 2 texts"));
        std::fs::write(&path, "1 x\n").unwrap();
        assert!(read(&path, 1).unwrap_err().to_string().contains("no ids"));
    }
}
