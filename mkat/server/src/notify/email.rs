//! E-mail as a channel: one message over SMTP with STARTTLS, TLS or neither. Must not know which alerts are worth a mail.

use std::sync::Arc;

use lettre::message::header::ContentType;
use lettre::message::{Mailbox, Mailboxes};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::transport::smtp::{self, AsyncSmtpTransport};
use lettre::{AsyncTransport, Tokio1Executor};

use super::config::{Defaults, Field, Fields, Reader, plain, secret};
use super::{Message, Outcome, SEND_TIMEOUT, Sender, format};

pub const FIELDS: &[Field] = &[
    plain("to"),
    plain("from"),
    plain("host"),
    plain("port"),
    plain("tls"),
    plain("username"),
    secret("password"),
    plain("caCertificate"),
    plain("subjectPrefix"),
];

const MAX_RECIPIENTS: usize = 50;
const MAX_TEXT_BYTES: usize = 64 << 10;

#[derive(Clone)]
pub struct Email {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    to: Arc<[Mailbox]>,
    subject_prefix: String,
}

impl std::fmt::Debug for Email {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Email({} recipients)", self.to.len())
    }
}

impl Email {
    /// Fields that the channel leaves out come from the process's SMTP settings. A channel that names its own host
    /// takes nothing from there: the process's password is not for a stranger's server.
    pub fn parse(mut fields: Fields, defaults: &Defaults) -> Result<Self, Vec<String>> {
        if !fields.contains_key("host") {
            for (name, value) in &defaults.smtp {
                fields.entry(name.clone()).or_insert_with(|| value.clone());
            }
        }
        let mut reader = Reader::new(fields);
        let to = recipients(&mut reader);
        let from = reader.required("from");
        let from = from.parse::<Mailbox>().map_err(|_| {
            if !from.is_empty() {
                reader.problem("from must be a mail address");
            }
        });
        let subject_prefix = reader.text("subjectPrefix").unwrap_or_else(|| "[mkat]".to_owned());
        let transport = transport(&mut reader);
        let parts = from.ok().zip(transport);
        reader.finish(parts.map(|(from, transport)| Email { transport, from, to: to.into(), subject_prefix }))
    }

    pub fn target(&self) -> String {
        let mut addresses: Vec<String> = self.to.iter().map(|to| to.email.to_string().to_lowercase()).collect();
        addresses.sort_unstable();
        addresses.dedup();
        format!("email:{}", addresses.join(","))
    }

    pub async fn send(&self, sender: &Sender, message: Message<'_>) -> Outcome {
        let (subject, text, id) = match message {
            Message::Test => ("Test message".to_owned(), format::TEST_TEXT.to_owned(), None),
            // The same for every attempt, so that mail servers can drop a repeat.
            Message::Alerts(notices) => (
                format::subject(notices),
                format::plain_text(notices, MAX_TEXT_BYTES),
                notices.first().map(|first| format!("<{}.{}@mkat>", first.delivery_id, first.alert_id)),
            ),
        };
        let mail = lettre::Message::builder()
            .from(self.from.clone())
            .mailbox(lettre::message::header::To::from(self.to.iter().cloned().collect::<Mailboxes>()))
            .subject(format!("{} {subject}", self.subject_prefix))
            .message_id(id)
            .header(ContentType::TEXT_PLAIN)
            .body(format!("{text}\n\n-- \n{}\n", sender.instance));
        let mail = match mail {
            Ok(mail) => mail,
            Err(error) => return Outcome::refused(error.to_string()),
        };
        match self.transport.send(mail).await {
            Ok(_) => Outcome::delivered(),
            Err(error) => outcome(&error),
        }
    }
}

fn recipients(reader: &mut Reader) -> Vec<Mailbox> {
    let list = reader.list("to");
    if list.is_empty() {
        reader.problem("to is required");
    }
    if list.len() > MAX_RECIPIENTS {
        reader.problem(format!("to must not be more than {MAX_RECIPIENTS} addresses"));
        return Vec::new();
    }
    let mut mailboxes = Vec::new();
    for text in list {
        match text.parse::<Mailbox>() {
            Ok(mailbox) => mailboxes.push(mailbox),
            Err(_) => reader.problem(format!("to: {} is no mail address", super::config::shorten(&text, 60))),
        }
    }
    mailboxes
}

fn transport(reader: &mut Reader) -> Option<AsyncSmtpTransport<Tokio1Executor>> {
    let host = reader.required("host");
    let mode = reader.text("tls").unwrap_or_else(|| "starttls".to_owned());
    let (tls, default_port) = match mode.as_str() {
        "none" => (Some(Tls::None), 25),
        "starttls" => (tls_parameters(reader, &host).map(Tls::Required), 587),
        "tls" => (tls_parameters(reader, &host).map(Tls::Wrapper), 465),
        _ => {
            reader.problem("tls must be starttls, tls or none");
            (None, 0)
        }
    };
    let port = reader.integer("port", 1..=65535).and_then(|port| u16::try_from(port).ok()).unwrap_or(default_port);
    let username = reader.text("username");
    let password = reader.text("password");
    if host.is_empty() {
        return None;
    }
    let mut builder =
        AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(host).port(port).tls(tls?).timeout(Some(SEND_TIMEOUT));
    match (username, password) {
        (Some(username), Some(password)) => builder = builder.credentials(Credentials::new(username, password)),
        (None, None) => {}
        _ => reader.problem("username and password belong together"),
    }
    Some(builder.build())
}

/// Trusts the public authorities, and the certificate that the channel brings.
fn tls_parameters(reader: &mut Reader, host: &str) -> Option<TlsParameters> {
    let mut builder = TlsParameters::builder(host.to_owned());
    if let Some(pem) = reader.lines("caCertificate") {
        // Text without any certificate would count as an empty list of them.
        match Certificate::from_pem(pem.as_bytes()) {
            Ok(certificate) if pem.contains("BEGIN CERTIFICATE") => builder = builder.add_root_certificate(certificate),
            _ => reader.problem("caCertificate must be a certificate in PEM form"),
        }
    }
    match builder.build_rustls() {
        Ok(parameters) => Some(parameters),
        Err(_) => {
            reader.problem("caCertificate cannot be used");
            None
        }
    }
}

fn outcome(error: &smtp::Error) -> Outcome {
    let reason = super::config::shorten(&error.to_string(), 300);
    match error.status().map(u16::from) {
        // Log-in refused, or no such mailbox.
        Some(530 | 534 | 535 | 538 | 550 | 551 | 553) => Outcome::permanent(reason),
        Some(500..=599) => Outcome::refused(reason),
        Some(_) => Outcome::retry(reason),
        None => {
            let began = !error.is_tls() && !error.is_client() && !reason.starts_with("Connection error");
            Outcome::Retry { after: None, reason, maybe_arrived: began }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Channel;
    use super::*;
    use crate::domain::ChannelType;

    fn parse_with(text: &str, defaults: &Defaults) -> Result<Email, Vec<String>> {
        match Channel::parse(ChannelType::Email, text, defaults)? {
            Channel::Email(channel) => Ok(channel),
            _ => unreachable!(),
        }
    }

    fn parse(text: &str) -> Result<Email, Vec<String>> {
        parse_with(text, &Defaults::default())
    }

    #[test]
    fn a_complete_configuration_is_taken() {
        let text = r#"{"to":["Ann <ann@example.com>","Bob@example.com"],"from":"mkat@example.com","host":"mail.example.com",
            "port":2525,"tls":"none","username":"u","password":"p"}"#;
        assert_eq!(parse(text).unwrap().target(), "email:ann@example.com,bob@example.com");
        assert!(parse(r#"{"to":"a@x.org, b@x.org","from":"m@x.org","host":"h"}"#).is_ok());
    }

    #[test]
    fn a_configuration_that_cannot_work_is_refused() {
        for text in [
            r#"{}"#,
            r#"{"to":"a@x.org","from":"m@x.org"}"#,
            r#"{"to":"nobody","from":"m@x.org","host":"h"}"#,
            r#"{"to":"a@x.org","from":"m","host":"h"}"#,
            r#"{"to":"a@x.org","from":"m@x.org","host":"h","tls":"maybe"}"#,
            r#"{"to":"a@x.org","from":"m@x.org","host":"h","port":0}"#,
            r#"{"to":"a@x.org","from":"m@x.org","host":"h","username":"u"}"#,
            r#"{"to":"a@x.org","from":"m@x.org","host":"h","caCertificate":"nonsense"}"#,
            r#"{"to":"a@x.org","from":"m@x.org\nBcc: b@x.org","host":"h"}"#,
        ] {
            assert!(!parse(text).unwrap_err().is_empty(), "{text}");
        }
    }

    #[test]
    fn the_process_settings_fill_in_only_for_their_own_host() {
        let smtp = serde_json::json!({"host":"relay","from":"m@x.org","username":"u","password":"p","tls":"none"});
        let defaults = Defaults { smtp: smtp.as_object().unwrap().clone(), ..Defaults::default() };
        assert!(parse_with(r#"{"to":"a@x.org"}"#, &defaults).is_ok());
        assert!(parse_with(r#"{"to":"a@x.org","host":"other"}"#, &defaults).is_err());
    }
}
