//! Labels of foreign alerts: which service they mean and how bad they are.

use super::{Severity, token};
use std::collections::BTreeMap;

pub type Labels = BTreeMap<String, String>;

/// Longest name of a service, in characters.
const NAME_MAX: usize = 100;

/// Fills `{{label}}` in a template. A missing label is `none`; a blank result is the alert's name.
pub fn render(template: &str, labels: &Labels) -> String {
    let mut text = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        text.push_str(before);
        let Some((name, after)) = after.split_once("}}") else { break };
        text.push_str(labels.get(name.trim()).map_or("none", String::as_str));
        rest = after;
    }
    text.push_str(rest);
    let name: String = text.chars().filter(|c| !c.is_control()).take(NAME_MAX).collect();
    let name = name.trim();
    if name.is_empty() { alert_name(labels).chars().take(NAME_MAX).collect() } else { name.to_owned() }
}

/// Says what is wrong with a template.
pub fn check_template(template: &str) -> Result<(), &'static str> {
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        if before.contains("}}") {
            return Err("has }} without {{");
        }
        let Some((name, after)) = after.split_once("}}") else { return Err("has {{ without }}") };
        let name = name.trim();
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            return Err("needs the name of a label between {{ and }}");
        }
        rest = after;
    }
    if rest.contains("}}") { Err("has }} without {{") } else { Ok(()) }
}

pub fn alert_name(labels: &Labels) -> &str {
    labels.get("alertname").map_or("alert", String::as_str)
}

/// By the label `severity`, in the words that are usual; Medium if it is absent or unknown.
pub fn severity(labels: &Labels) -> Severity {
    match labels.get("severity").map(|text| text.to_ascii_lowercase()).as_deref() {
        Some("critical" | "page" | "emergency" | "disaster" | "fatal") => Severity::Critical,
        Some("high" | "error" | "major") => Severity::High,
        Some("info" | "information" | "low" | "none" | "debug") => Severity::Low,
        _ => Severity::Medium,
    }
}

/// Stands in for a fingerprint that the sender did not give.
pub fn fingerprint(labels: &Labels) -> String {
    let mut text = String::new();
    for (name, value) in labels {
        text.push_str(name);
        text.push('\u{1}');
        text.push_str(value);
        text.push('\u{2}');
    }
    token::hex(&token::sha256(&text)[..8])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    #[test]
    fn templates_are_filled_with_labels() {
        let known = labels(&[("alertname", "HookSlow"), ("tenant", "t1"), ("empty", "")]);
        let table = [
            ("gateway/{{tenant}}", "gateway/t1"),
            ("{{ alertname }} of {{tenant}}", "HookSlow of t1"),
            ("{{job}}", "none"),
            ("{{empty}}", "HookSlow"),
            ("fixed", "fixed"),
            ("  ", "HookSlow"),
        ];
        for (template, expected) in table {
            assert_eq!(render(template, &known), expected, "{template}");
        }
        assert_eq!(render("{{alertname}}", &Labels::new()), "none");
    }

    #[test]
    fn wrong_templates_are_named() {
        for good in ["", "x", "{{a}}", "a/{{ b_1 }}/{{c}}"] {
            assert!(check_template(good).is_ok(), "{good}");
        }
        for bad in ["{{", "}}", "{{}}", "{{a b}}", "{{a}} }}", "}} {{a}}", "{{a-b}}"] {
            assert!(check_template(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn severities_have_usual_words() {
        let of = |text: &str| severity(&labels(&[("severity", text)]));
        assert_eq!((of("critical"), of("PAGE"), of("error")), (Severity::Critical, Severity::Critical, Severity::High));
        assert_eq!((of("warning"), of("info"), of("?")), (Severity::Medium, Severity::Low, Severity::Medium));
        assert_eq!(severity(&Labels::new()), Severity::Medium);
    }

    proptest! {
        #[test]
        fn a_name_is_never_blank_and_never_too_long(template in ".{0,300}", value in ".{0,300}") {
            let name = render(&template, &labels(&[("a", &value)]));
            prop_assert!(!name.trim().is_empty() && name.chars().count() <= NAME_MAX);
        }
    }
}
