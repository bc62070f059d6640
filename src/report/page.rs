//! The page: a template with style, data and scripts in their places.

/// The places of the template, in their order.
const PLACES: [(&str, Option<&str>); 7] = [
    ("@TITLE@", None),
    ("@STYLE@", Some(include_str!("page.css"))),
    ("@TITLE@", None),
    ("@DATA@", None),
    ("@D3@", Some(include_str!("vendor/d3.min.js"))),
    ("@PLOT@", Some(include_str!("vendor/plot.umd.min.js"))),
    ("@SCRIPT@", Some(include_str!("page.js"))),
];

/// The page of a title and of data in JSON. Texts of others cannot end the elements that they are in.
pub fn of(title: &str, json: &str) -> String {
    let title = title.replace('&', "&amp;").replace('<', "&lt;");
    let json = json.replace('<', "\\u003c");
    let mut page = String::new();
    let mut rest = include_str!("page.html");
    for (place, content) in PLACES {
        let (before, after) = rest.split_once(place).expect("the template has all places");
        page += before;
        page += content.unwrap_or(if place == "@DATA@" { &json } else { &title });
        rest = after;
    }
    page + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_others_stay_texts() {
        let page = of("a<b>&", r#"{"text": "</script><script>alert(1)</script> @D3@"}"#);
        assert!(page.contains("<title>a&lt;b>&amp;</title>"));
        assert!(page.contains(r#"{"text": "\u003c/script>\u003cscript>alert(1)\u003c/script> @D3@"}"#));
        assert!(!page.contains("@SCRIPT@") && page.ends_with("</html>\n"));
    }

    /// What is between the tags of scripts has no end of one, so that the elements are those of the template.
    #[test]
    fn the_page_has_its_elements_only() {
        let page = of("", "{}");
        assert_eq!(page.matches("</script").count(), include_str!("page.html").matches("</script").count());
        assert_eq!(page.matches("</style").count(), 1);
        // Nothing is loaded: no address outside of comments, names of XML and licences.
        for word in ["src=", "@import", "url(\"http", "fetch(", "XMLHttpRequest"] {
            let ours =
                [include_str!("page.html"), include_str!("page.css"), include_str!("page.js")].concat();
            assert!(!ours.contains(word), "{word}");
        }
    }
}
