//! Runs a real SMTP server (aiosmtpd) on the loopback. Where Python or the package cannot be had, tests skip, loudly.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, OnceLock};

use super::Folder;

pub struct SmtpServer {
    child: Child,
    pub port: u16,
    folder: Arc<Folder>,
    /// PEM, with TLS.
    pub certificate: Option<String>,
}

impl SmtpServer {
    /// `mode`: plain, starttls or tls. None when it cannot run here.
    pub fn start(mode: &str) -> Option<Self> {
        let Some(python) = python() else {
            eprintln!("SKIP e-mail: no Python with aiosmtpd can be had");
            return None;
        };
        let folder = Folder::new();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/support/smtp_server.py");
        let mut command = Command::new(python);
        command.arg(script).arg(folder.path()).arg(mode).stdout(Stdio::piped());
        let mut certificate = None;
        if mode != "plain" {
            let (file, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
            make_certificate(&file, &key);
            certificate = Some(std::fs::read_to_string(&file).unwrap());
            command.arg(file).arg(key);
        }
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port = line.trim().rsplit(' ').next().and_then(|port| port.parse().ok());
        Some(SmtpServer { child, port: port.expect("the server listens"), folder, certificate })
    }

    /// Mails so far, whole.
    pub fn mails(&self) -> Vec<String> {
        let files = std::fs::read_dir(self.folder.path()).unwrap().map(|file| file.unwrap().path());
        let mut files: Vec<PathBuf> = files.filter(|path| path.extension().is_some_and(|end| end == "eml")).collect();
        files.sort_by_key(|path| std::fs::metadata(path).unwrap().modified().unwrap());
        files
            .iter()
            .map(|path| std::fs::read_to_string(path).unwrap().replace("=\r\n", "").replace("\r\n", "\n"))
            .collect()
    }
}

impl Drop for SmtpServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A Python that has aiosmtpd: the system's, or an environment of our own that is made once.
fn python() -> Option<&'static Path> {
    static PYTHON: OnceLock<Option<PathBuf>> = OnceLock::new();
    PYTHON.get_or_init(find_python).as_deref()
}

fn find_python() -> Option<PathBuf> {
    let environment = Path::new(env!("CARGO_TARGET_TMPDIR")).join("smtp-python");
    let own = environment.join("bin/python");
    for python in [Path::new("python3"), &own] {
        if works(Command::new(python).args(["-c", "import aiosmtpd"])) {
            return Some(python.to_owned());
        }
    }
    let made = works(Command::new("python3").args(["-m", "venv"]).arg(&environment))
        && works(Command::new(&own).args(["-m", "pip", "install", "--quiet", "aiosmtpd==1.4.6"]));
    made.then_some(own)
}

fn works(command: &mut Command) -> bool {
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

fn make_certificate(file: &Path, key: &Path) {
    let mut command = Command::new("openssl");
    command.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]);
    command.args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]);
    command.args(["-addext", "basicConstraints=critical,CA:FALSE", "-out"]).arg(file).arg("-keyout").arg(key);
    assert!(works(&mut command), "openssl makes a certificate");
}
