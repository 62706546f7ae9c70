//! The files of the TLS port: both or none, readable, and made for each other.

use std::path::{Path, PathBuf};

use super::parse::Reader;
use crate::certificate::{Certificate, read_chain, read_key};

/// Variables that name the certificate's file and its key's.
const FILES: [&str; 2] = ["TLS_CERT_FILE", "TLS_KEY_FILE"];

/// The two paths, and what is there when there is a port for it. Names all that is wrong.
pub(super) fn certificate(r: &mut Reader, port: u16) -> ([Option<PathBuf>; 2], Option<Certificate>) {
    let files = FILES.map(|name| r.text(name).map(PathBuf::from));
    for (name, file) in FILES.iter().zip(&files) {
        match (port, file) {
            (0, Some(_)) => r.warn(name, "ignored: TLS_PORT is not set"),
            (1.., None) => r.missing(name, "is required: TLS_PORT is set"),
            _ => {}
        }
    }
    let [cert, key] = files.each_ref().map(|file| file.as_deref().filter(|_| port != 0));
    let mut wrong = |name, path: &Path, problem: String| r.error(name, &path.display().to_string(), problem);
    let chain = cert.and_then(|path| read_chain(path).map_err(|problem| wrong(FILES[0], path, problem)).ok());
    let private =
        key.and_then(|path| Some((path, read_key(path).map_err(|problem| wrong(FILES[1], path, problem)).ok()?)));
    let certificate = chain.zip(private).and_then(|(chain, (path, key))| {
        Certificate::new(chain, key).map_err(|problem| wrong(FILES[1], path, problem)).ok()
    });
    (files, certificate)
}
