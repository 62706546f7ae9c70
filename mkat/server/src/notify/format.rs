//! The words of a message: one formatter for every channel. Must not know who is told or how it is sent.

use super::Notice;
use super::config::shorten;
use crate::domain::{AlertType, Severity};

/// Most alerts in one message.
pub const GROUP_LIMIT: usize = 20;
/// Most alerts in one Telegram message: the more there are, the shorter the lines.
pub const TELEGRAM_GROUP_LIMIT: usize = 50;

/// The Bot API takes 4,096 UTF-16 units after the markup was read; the rest is room for everything around the message.
const TELEGRAM_MESSAGE_UNITS: usize = 3400;
/// For all lines of a group; and what a line needs besides name and message.
const TELEGRAM_LINES_UNITS: usize = 3900;
const TELEGRAM_LINE_FRAME: usize = 8;
const GROUPED_MESSAGE_UNITS: usize = 110;
const GROUPED_NAME_UNITS: usize = 60;

pub const TEST_TEXT: &str = "Test message: mkat can reach you through this channel.";
const REPEATED: &str = "Possibly repeated: an earlier attempt may have arrived.";

/// Text in the Bot API's HTML mode.
pub fn telegram_html(notices: &[Notice]) -> String {
    match notices {
        [notice] => single_html(notice),
        _ => group_html(notices),
    }
}

fn single_html(notice: &Notice) -> String {
    let repeated = if notice.possibly_repeated { format!("\n<i>{REPEATED}</i>") } else { String::new() };
    format!(
        "{} <b>{}</b>: {}\n\n{} {}\n{}\n\n<i>{}</i>{repeated}",
        symbol(notice.kind),
        state_word(notice.kind),
        escape_html(&cut_utf16(&notice.service_name, 400)),
        severity_symbol(notice.severity),
        severity_word(notice.severity),
        escape_html(&cut_utf16(&notice.message, TELEGRAM_MESSAGE_UNITS)),
        notice.created_at.for_people(),
    )
}

fn group_html(notices: &[Notice]) -> String {
    let mut text = format!("<b>{}</b>\n", headline(notices));
    let line = TELEGRAM_LINES_UNITS / notices.len().max(1) - TELEGRAM_LINE_FRAME;
    for notice in notices {
        let name = cut_utf16(&notice.service_name, GROUPED_NAME_UNITS);
        let room = line.saturating_sub(name.encode_utf16().count()).min(GROUPED_MESSAGE_UNITS);
        // Messages begin with the service's name, which the line says already.
        let message = notice.message.strip_prefix(&notice.service_name).unwrap_or(&notice.message);
        text.push_str(&format!(
            "\n{} <b>{}</b> {} {}",
            symbol(notice.kind),
            escape_html(&name),
            severity_symbol(notice.severity),
            escape_html(&cut_utf16(&one_line(message), room)),
        ));
    }
    if let Some(last) = notices.last() {
        text.push_str(&format!("\n\n<i>{}</i>", last.created_at.for_people()));
    }
    if notices.iter().any(|notice| notice.possibly_repeated) {
        text.push_str(&format!("\n<i>{REPEATED}</i>"));
    }
    text
}

/// Text without any markup, at most `max_bytes` long.
pub fn plain_text(notices: &[Notice], max_bytes: usize) -> String {
    let mut text = match notices {
        [notice] => format!(
            "{} {}: {}\n\n{} {}\n{}\n\n{}",
            symbol(notice.kind),
            state_word(notice.kind),
            notice.service_name,
            severity_symbol(notice.severity),
            severity_word(notice.severity),
            notice.message,
            notice.created_at.for_people(),
        ),
        _ => {
            let lines = notices.iter().map(|notice| {
                let words = one_line(&shorten(&notice.message, GROUPED_MESSAGE_UNITS));
                let name = shorten(&notice.service_name, GROUPED_NAME_UNITS);
                format!("\n{} {}: {name} - {words}", symbol(notice.kind), state_word(notice.kind))
            });
            std::iter::once(format!("{}\n", headline(notices))).chain(lines).collect()
        }
    };
    let note =
        if notices.iter().any(|notice| notice.possibly_repeated) { format!("\n{REPEATED}") } else { String::new() };
    cut_bytes(&mut text, max_bytes.saturating_sub(note.len()));
    text + &note
}

/// One line for a mail's subject.
pub fn subject(notices: &[Notice]) -> String {
    let text = match notices {
        [notice] => format!("{}: {}", state_word(notice.kind), notice.service_name),
        _ => headline(notices),
    };
    one_line(&shorten(&text, 150))
}

fn headline(notices: &[Notice]) -> String {
    let recovered = notices.iter().filter(|notice| notice.is_recovery()).count();
    match (notices.len() - recovered, recovered) {
        (down, 0) => format!("{down} services DOWN"),
        (0, recovered) => format!("{recovered} services RECOVERED"),
        (down, recovered) => format!("{down} DOWN, {recovered} RECOVERED"),
    }
}

pub fn state_word(kind: AlertType) -> &'static str {
    if kind == AlertType::Recovery { "RECOVERED" } else { "DOWN" }
}

fn symbol(kind: AlertType) -> &'static str {
    match kind {
        AlertType::Failure => "\u{26a0}\u{fe0f}",
        AlertType::MissedHeartbeat => "\u{1f494}",
        AlertType::Recovery => "\u{2705}",
        AlertType::FailedHealthCheck => "\u{2139}\u{fe0f}",
    }
}

fn severity_symbol(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "\u{1f534}",
        Severity::High => "\u{1f7e0}",
        Severity::Medium => "\u{1f7e1}",
        Severity::Low => "\u{1f7e2}",
    }
}

pub fn severity_word(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "CRITICAL",
        Severity::High => "HIGH",
        Severity::Medium => "MEDIUM",
        Severity::Low => "LOW",
    }
}

/// The characters that mean something in the Bot API's HTML mode.
pub fn escape_html(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// At most `limit` UTF-16 units, the last an ellipsis when something was cut.
fn cut_utf16(text: &str, limit: usize) -> String {
    if text.encode_utf16().count() <= limit {
        return text.to_owned();
    }
    let mut units = 1;
    let kept = text.chars().take_while(|c| {
        units += c.len_utf16();
        units <= limit
    });
    kept.chain(std::iter::once('\u{2026}')).collect()
}

fn cut_bytes(text: &mut String, limit: usize) {
    const ELLIPSIS: &str = "\u{2026}";
    if text.len() > limit {
        text.truncate(text.floor_char_boundary(limit.saturating_sub(ELLIPSIS.len())));
        text.push_str(ELLIPSIS);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::domain::Timestamp;

    pub fn notice(kind: AlertType, name: &str, message: &str) -> Notice {
        Notice {
            delivery_id: 7,
            alert_id: "0190f3a4-0000-7000-8000-000000000001".into(),
            service_id: "0190f3a4-0000-7000-8000-000000000002".into(),
            service_name: name.into(),
            kind,
            severity: Severity::Critical,
            message: message.into(),
            created_at: Timestamp::from_micros(1_700_000_000_000_000),
            possibly_repeated: false,
        }
    }

    /// What the Bot API counts: the text with tags taken out and entities read.
    fn units(html: &str) -> usize {
        let mut inside = false;
        let text: String = html
            .chars()
            .filter(|c| {
                match c {
                    '<' => inside = true,
                    '>' => {
                        inside = false;
                        return false;
                    }
                    _ => {}
                }
                !inside
            })
            .collect();
        let text = text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
        text.encode_utf16().count()
    }

    #[test]
    fn one_alert_has_the_layout_people_know() {
        let text = telegram_html(&[notice(AlertType::Failure, "api <eu>", "disk & memory\nfull")]);
        let expected = "\u{26a0}\u{fe0f} <b>DOWN</b>: api &lt;eu&gt;\n\n\u{1f534} CRITICAL\ndisk &amp; memory\nfull\n\n\
                        <i>2023-11-14 22:13:20 UTC</i>";
        assert_eq!(text, expected);
    }

    #[test]
    fn a_recovery_says_so_and_a_repeat_is_marked() {
        let mut one = notice(AlertType::Recovery, "api", "back");
        assert!(telegram_html(std::slice::from_ref(&one)).starts_with("\u{2705} <b>RECOVERED</b>: api\n"));
        one.possibly_repeated = true;
        assert!(telegram_html(std::slice::from_ref(&one)).contains(REPEATED));
        assert!(plain_text(std::slice::from_ref(&one), 40).ends_with(REPEATED));
    }

    #[test]
    fn no_message_is_longer_than_the_bot_api_takes() {
        let long = notice(AlertType::Failure, &"\u{1f600}<".repeat(200), &"\u{1f600}&".repeat(2000));
        assert!(units(&telegram_html(std::slice::from_ref(&long))) <= 4096);
        let group = vec![long; TELEGRAM_GROUP_LIMIT];
        let text = telegram_html(&group);
        assert!(units(&text) <= 4096, "{}", units(&text));
    }

    #[test]
    fn a_group_names_every_service_and_counts_both_kinds() {
        let group = [
            notice(AlertType::Failure, "one", "a"),
            notice(AlertType::MissedHeartbeat, "two", "b\nc"),
            notice(AlertType::Recovery, "three", "d"),
        ];
        let text = telegram_html(&group);
        assert!(text.starts_with("<b>2 DOWN, 1 RECOVERED</b>\n"), "{text}");
        assert!(["<b>one</b>", "<b>two</b>", "<b>three</b>", "b c"].iter().all(|part| text.contains(part)), "{text}");
        assert_eq!(subject(&group), "2 DOWN, 1 RECOVERED");
    }

    #[test]
    fn plain_text_is_cut_at_a_character() {
        let text = plain_text(&[notice(AlertType::Failure, "n", &"\u{4e2d}".repeat(3000))], 2048);
        assert!(text.len() <= 2048 && text.ends_with('\u{2026}'));
    }

    #[test]
    fn a_subject_is_one_short_line() {
        let text = subject(&[notice(AlertType::Failure, "a\r\nBcc: x@example.com", "m")]);
        assert_eq!(text, "DOWN: a Bcc: x@example.com");
    }
}
