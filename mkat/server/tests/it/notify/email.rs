//! E-mail through a real SMTP server.

use super::*;
use crate::support::smtp::SmtpServer;

async fn mails(server: &SmtpServer, count: usize) -> Vec<String> {
    wait_for(&format!("{count} mails"), || async {
        let mails = server.mails();
        (mails.len() >= count).then_some(mails)
    })
    .await
}

async fn failed(mkat: &Mkat, name: &str, configuration: Value) -> (Watched, String) {
    let (contact, channel) = contact(mkat, name, 1, configuration).await;
    let service = watched(mkat, name).await;
    assign(mkat, &service, &[&contact]).await;
    service.fail(mkat).await;
    (service, channel)
}

#[tokio::test]
async fn a_mail_reaches_all_recipients_with_the_processs_settings() {
    let Some(server) = SmtpServer::start("plain") else { return };
    let port = server.port.to_string();
    let settings = [
        ("MKAT_SMTP_HOST", "localhost"),
        ("MKAT_SMTP_PORT", port.as_str()),
        ("MKAT_SMTP_TLS", "none"),
        ("MKAT_SMTP_FROM", "mkat <mkat@example.com>"),
    ];
    let mkat = Mkat::start_with(Folder::new(), &settings).await;
    let (service, _) =
        failed(&mkat, "Zahlung \u{fc}ber api", json!({"to": ["ann@example.com", "bob@example.com"]})).await;
    let mail = mails(&server, 1).await[0].clone();
    assert!(mail.contains("X-Envelope-To: ann@example.com,bob@example.com\n"), "{mail}");
    assert!(mail.contains("Message-ID: <") && mail.contains("From: mkat <mkat@example.com>"), "{mail}");
    let rows = settled(&mkat, &service.alerts(&mkat).await[0], &["sent"]).await;
    assert_eq!(rows[0]["channelType"], 1);
    service.recover(&mkat).await;
    let mails = mails(&server, 2).await;
    assert_eq!(mails.len(), 2);
    let ids: Vec<_> =
        mails.iter().map(|mail| mail.lines().find(|line| line.starts_with("Message-ID")).unwrap()).collect();
    assert_ne!(ids[0], ids[1]);
}

#[tokio::test]
async fn tls_and_sign_in_are_used_and_an_unknown_certificate_is_not() {
    for mode in ["starttls", "tls"] {
        let Some(server) = SmtpServer::start(mode) else { return };
        let mkat = Mkat::start().await;
        let mut configuration = json!({"to": "ann@example.com", "from": "mkat@example.com", "host": "localhost",
            "port": server.port, "tls": mode, "username": "watch", "password": "secret"});
        let (service, channel) = failed(&mkat, "api", configuration.clone()).await;
        let alert = service.alerts(&mkat).await[0].clone();
        let row = wait_for("a noted failure", || async {
            deliveries(&mkat, &alert).await.into_iter().find(|row| !row["lastError"].is_null())
        })
        .await;
        assert!(server.mails().is_empty(), "{row}");
        configuration["caCertificate"] = server.certificate.clone().into();
        configuration["password"] = "********".into();
        let (status, body) = mkat
            .put(&format!("/api/v1/channels/{channel}"), &json!({"configuration": configuration.to_string()}))
            .await;
        assert_eq!(status, 200, "{body}");
        let mail = mails(&server, 1).await[0].clone();
        assert!(mail.contains("X-Tls: True"), "{mail}");
        settled(&mkat, &alert, &["sent"]).await;

        configuration["password"] = "wrong".into();
        mkat.put(&format!("/api/v1/channels/{channel}"), &json!({"configuration": configuration.to_string()})).await;
        service.recover(&mkat).await;
        let alerts = service.alerts(&mkat).await;
        settled(&mkat, &alerts[1], &["dead"]).await;
        let state = channel_state(&mkat, &channel).await;
        assert!(state["disabledReason"].as_str().unwrap().contains("535"), "{state}");
    }
}

#[tokio::test]
async fn a_refused_mailbox_closes_the_channel_and_a_busy_or_absent_server_does_not() {
    let Some(server) = SmtpServer::start("plain") else { return };
    let mkat = Mkat::start().await;
    let to = |address: &str, port: u16| json!({"to": address, "from": "mkat@example.com", "host": "localhost", "port": port, "tls": "none"});
    let (service, channel) = failed(&mkat, "refused", to("refused@example.com", server.port)).await;
    settled(&mkat, &service.alerts(&mkat).await[0], &["dead"]).await;
    assert!(channel_state(&mkat, &channel).await["disabledReason"].as_str().unwrap().contains("550"));
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    for (name, configuration) in
        [("busy", to("busy@example.com", server.port)), ("absent", to("a@example.com", unused))]
    {
        let (service, channel) = failed(&mkat, name, configuration).await;
        let alert = service.alerts(&mkat).await[0].clone();
        let row = wait_for("a noted failure", || async {
            deliveries(&mkat, &alert).await.into_iter().find(|row| !row["lastError"].is_null())
        })
        .await;
        assert_eq!((&row["status"], &row["possiblyRepeated"]), (&"pending".into(), &false.into()), "{name}: {row}");
        assert_eq!(channel_state(&mkat, &channel).await["isEnabled"], true);
    }
}
