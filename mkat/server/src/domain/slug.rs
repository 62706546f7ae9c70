//! Names in URLs.

/// Lower-case letters, digits, `_` and single hyphens between them: "Nightly backup (db)" is `nightly-backup-db`.
pub fn slug(name: &str) -> String {
    let mut slug = String::new();
    for c in name.chars().flat_map(char::to_lowercase) {
        if c.is_ascii_alphanumeric() || c == '_' {
            slug.push(c);
        } else if (c.is_whitespace() || c == '-') && !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
    }
    slug.trim_end_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use super::slug;

    #[test]
    fn names_become_slugs() {
        for (name, expected) in [
            ("Nightly backup (db)", "nightly-backup-db"),
            ("gateway/node-1", "gatewaynode-1"),
            ("  A -- b_c ", "a-b_c"),
            ("日报", ""),
        ] {
            assert_eq!(slug(name), expected);
        }
    }
}
