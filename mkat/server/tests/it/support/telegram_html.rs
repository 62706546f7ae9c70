//! Telegram's HTML: reads markup as strictly as the Bot API's page on formatting says.

const TAGS: [&str; 14] =
    ["b", "strong", "i", "em", "u", "ins", "s", "strike", "del", "code", "pre", "a", "blockquote", "tg-spoiler"];
const ENTITIES: [(&str, char); 4] = [("&lt;", '<'), ("&gt;", '>'), ("&amp;", '&'), ("&quot;", '"')];

/// The text without markup, or the complaint of the Bot API.
pub fn read(html: &str) -> Result<String, String> {
    let mut text = String::new();
    let mut open: Vec<&str> = Vec::new();
    let mut rest = html;
    while let Some(c) = rest.chars().next() {
        let offset = html.len() - rest.len();
        match c {
            '<' => {
                let end = rest.find('>').ok_or_else(|| format!("Unclosed start tag at byte offset {offset}"))?;
                tag(&rest[1..end], offset, &mut open)?;
                rest = &rest[end + 1..];
            }
            '&' => {
                let entity = ENTITIES.iter().find(|(name, _)| rest.starts_with(name));
                let (name, c) = entity.ok_or_else(|| format!("Unescaped ampersand at byte offset {offset}"))?;
                text.push(*c);
                rest = &rest[name.len()..];
            }
            '>' => return Err(format!("Unescaped bracket at byte offset {offset}")),
            _ => {
                text.push(c);
                rest = &rest[c.len_utf8()..];
            }
        }
    }
    match open.pop() {
        Some(name) => Err(format!("Can't find end tag corresponding to start tag \"{name}\"")),
        None => Ok(text),
    }
}

fn tag<'a>(inside: &'a str, offset: usize, open: &mut Vec<&'a str>) -> Result<(), String> {
    if let Some(name) = inside.strip_prefix('/') {
        return match open.pop() {
            Some(expected) if expected == name => Ok(()),
            Some(expected) => Err(format!(
                "Unmatched end tag at byte offset {offset}, expected \"</{expected}>\", found \"</{name}>\""
            )),
            None => Err(format!("Unexpected end tag at byte offset {offset}")),
        };
    }
    let name = inside.split_whitespace().next().unwrap_or_default();
    if !TAGS.contains(&name) {
        return Err(format!("Unsupported start tag \"{name}\" at byte offset {offset}"));
    }
    open.push(name);
    Ok(())
}

#[test]
fn markup_is_read_as_strictly_as_by_telegram() {
    assert_eq!(read("a <b>b</b> &lt;c&gt; &amp;").unwrap(), "a b <c> &");
    for bad in ["<", "a < b", "a > b", "a & b", "<b>x", "<b>x</i>", "</b>", "<script>x</script>", "<b><i>x</b></i>"] {
        assert!(read(bad).is_err(), "{bad}");
    }
}
