//! What a subject may be called. Whoever signs in can be named again: to be found, granted something, and cut off.

/// Whether a subject may be called this: not blank, and every character there to be seen. How long it may be is another
/// matter.
#[must_use]
pub fn is_subject_name(text: &str) -> bool {
    !text.trim().is_empty() && is_visible(text)
}

/// Whether every character is there to be seen. Two names that differ only in others would look the same, and one that
/// begins with such a character like none that is reserved.
#[must_use]
pub fn is_visible(text: &str) -> bool {
    !text.chars().any(|c| c.is_control() || is_format(c))
}

/// Unicode's category Cf, the separators of lines and paragraphs (Zl, Zp), and the fillers that nothing is drawn for. Not
/// the selectors of a variation, which belong to what stands before them.
const fn is_format(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{2800}' | '\u{3164}'
        | '\u{ffa0}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{890}'..='\u{891}' | '\u{8e2}'
        | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2064}'
        | '\u{2066}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{110bd}' | '\u{110cd}'
        | '\u{13430}'..='\u{1343f}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0001}'
        | '\u{e0020}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_could_read_or_type_again_is_no_name() {
        for name in [
            "ada",
            "idp|ada lovelace",
            " ada",
            "\u{e9}lise",
            "\u{5f20}\u{4f1f}",
            "\u{2764}\u{fe0f}",
            "0",
        ] {
            assert!(is_subject_name(name), "{name:?}");
        }
        for none in [
            "",
            " ",
            "\t",
            "\u{2003}",
            "\u{a0}",
            "\u{3000} ",
            "a\nb",
            "a\u{0}",
            "\u{200b}",
            "ada\u{200b}",
            "\u{202e}ada",
            "a\u{ad}da",
            "\u{feff}ada",
            "ada\u{e0041}",
            "\u{7f}",
            "\u{85}",
            "ada\u{2028}",
            "\u{3164}ada",
            "\u{2800}",
            "a\u{34f}da",
        ] {
            assert!(!is_subject_name(none), "{none:?}");
        }
    }
}
