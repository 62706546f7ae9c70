//! The address a client dials: base URL plus identity. The result holds the token and must not be logged.

use crate::error::MicsError;
use url::Url;

/// Puts `tenantId`, `token` and `deviceId` into the query of `base`; other parameters stay.
/// `InvalidUrl` when `base` is not an absolute `ws`/`wss` URL with a host.
pub(crate) fn build(base: &str, tenant_id: &str, token: &str, device_id: &str) -> Result<Url, MicsError> {
    let mut url = Url::parse(base).map_err(|e| MicsError::InvalidUrl(e.to_string()))?;
    if !matches!(url.scheme(), "ws" | "wss") || url.host().is_none() {
        return Err(MicsError::InvalidUrl("need ws://host or wss://host".into()));
    }
    let ours = [("tenantId", tenant_id), ("token", token), ("deviceId", device_id)];
    let kept: Vec<(String, String)> = url
        .query_pairs()
        .filter(|(name, _)| !ours.iter().any(|(our, _)| name.eq_ignore_ascii_case(our)))
        .map(|(name, value)| (name.into_owned(), value.into_owned()))
        .collect();
    url.query_pairs_mut().clear().extend_pairs(kept).extend_pairs(ours);
    // Form encoding writes a space as `+`; `%20` means the same to every server.
    let query = url.query().unwrap_or_default().replace('+', "%20");
    url.set_query(Some(&query));
    url.set_fragment(None);
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identity_is_encoded_and_replaces_what_was_there() {
        let url = build("ws://h:8080/ws?a=1&TOKEN=old&deviceId=x", "t1", "valid:u1", "my dev+&=").unwrap();
        assert_eq!(url.as_str(), "ws://h:8080/ws?a=1&tenantId=t1&token=valid%3Au1&deviceId=my%20dev%2B%26%3D");
    }

    #[test]
    fn only_websocket_addresses_are_taken() {
        for bad in ["", "localhost:8080/ws", "http://h/ws", "/ws"] {
            assert!(build(bad, "t", "k", "d").is_err(), "{bad}");
        }
    }
}
