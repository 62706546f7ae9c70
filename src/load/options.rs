//! The command line of the load tester. Only parsing; nothing is opened here.

pub(crate) const USAGE: &str = "\
usage: mics load --url <ws://host:port/ws> --tenantId <id> [options]
  --connections <n>          connections to open (1)
  --recipientUrl <u>         every second connection goes here and sends nothing, e.g. to another node
  --reconnectUrl <u>         lost connections are opened again here, after the SDK's usual pauses; not for chat modes
  --durationSeconds <s>      time of traffic; starts after the ramp (10)
  --warmupSeconds <s>        traffic before it that counts for no latency (0)
  --rampSeconds <s>          spread the connects over this time (0)
  --mode <m>                 connect-only | heartbeat | single-chat | group-chat (connect-only)
  --sendQpsPerConn <r>       messages per second and connection; 0 means 1 (0)
  --payloadBytes <n>         body size, at least 32 in sending modes (32)
  --userPrefix <p>           connection i is user prefix + (i+1) (u)
  --tokenPrefix <p>          token = prefix + user (valid:)
  --devicePrefix <p>         device = prefix + user (dev-)
  --groupId <id>             needed for group-chat
  --groupMembers <n>         the first n connections are members of the group; 0: those that receive anything (0)
  --heartbeatSeconds <s>     heartbeat interval, 0 for none (10)
  --caFile <path>            wss: trust the certificates of this PEM file, not the public authorities
  --sourceAddresses <n>      connect from 127.0.0.1 to 127.0.0.n in turn; 0: system's choice (0)
  --json                     print one JSON object at the end, progress on stderr
  --help                     this text
names are case-insensitive; exit code 0: all passed, 1: something failed, 2: wrong usage
each connection sends to the user of the next one, the last to the first";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    ConnectOnly,
    Heartbeat,
    SingleChat,
    GroupChat,
}

impl Mode {
    fn parse(text: &str) -> Option<Self> {
        match text.to_ascii_lowercase().as_str() {
            "connect-only" | "connectonly" | "connect" => Some(Self::ConnectOnly),
            "heartbeat" => Some(Self::Heartbeat),
            "single-chat" | "singlechat" | "single" => Some(Self::SingleChat),
            "group-chat" | "groupchat" | "group" => Some(Self::GroupChat),
            _ => None,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::ConnectOnly => "connect-only",
            Self::Heartbeat => "heartbeat",
            Self::SingleChat => "single-chat",
            Self::GroupChat => "group-chat",
        }
    }

    /// Chat messages are sent.
    pub fn sends(self) -> bool {
        matches!(self, Self::SingleChat | Self::GroupChat)
    }
}

/// One run, checked. Times in seconds.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Options {
    pub url: String,
    /// Empty: `url`.
    pub recipient_url: String,
    /// Empty: lost connections stay lost.
    pub reconnect_url: String,
    pub tenant_id: String,
    pub connections: usize,
    pub duration_seconds: f64,
    pub warmup_seconds: f64,
    pub ramp_seconds: f64,
    pub mode: Mode,
    /// Messages per second and sending connection, above zero.
    pub rate: f64,
    pub payload_bytes: usize,
    pub user_prefix: String,
    pub token_prefix: String,
    pub device_prefix: String,
    pub group_id: String,
    pub group_members: usize,
    pub heartbeat_seconds: f64,
    pub source_addresses: u8,
    /// Empty: the public authorities.
    pub ca_file: String,
    pub json: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            url: String::new(),
            recipient_url: String::new(),
            reconnect_url: String::new(),
            tenant_id: String::new(),
            connections: 1,
            duration_seconds: 10.0,
            warmup_seconds: 0.0,
            ramp_seconds: 0.0,
            mode: Mode::ConnectOnly,
            rate: 0.0,
            payload_bytes: 32,
            user_prefix: "u".into(),
            token_prefix: "valid:".into(),
            device_prefix: "dev-".into(),
            group_id: String::new(),
            group_members: 0,
            heartbeat_seconds: 10.0,
            source_addresses: 0,
            ca_file: String::new(),
            json: false,
        }
    }
}

impl Options {
    /// Where connection `index` goes.
    pub fn url(&self, index: usize) -> &str {
        if self.sends(index) { &self.url } else { &self.recipient_url }
    }

    /// In sending modes: connection `index` sends, and does not only receive.
    pub fn sends(&self, index: usize) -> bool {
        index.is_multiple_of(self.sender_step())
    }

    /// The name of connection `index`'s user.
    pub fn user(&self, index: usize) -> String {
        format!("{}{}", self.user_prefix, index + 1)
    }

    /// From one sending connection to the next one.
    pub fn sender_step(&self) -> usize {
        if self.recipient_url.is_empty() { 1 } else { 2 }
    }
}

pub(crate) enum Parsed {
    Run(Box<Options>),
    Help,
}

/// Reads `--name value` pairs. The error is one line for the user.
pub(crate) fn parse(args: &[String]) -> Result<Parsed, String> {
    let mut options = Options::default();
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        let name = arg.to_ascii_lowercase();
        match name.as_str() {
            "--help" | "--h" | "--?" | "-h" => return Ok(Parsed::Help),
            "--json" => options.json = true,
            _ => {
                let value = rest.next().ok_or_else(|| format!("{arg} needs a value, or is unknown"))?;
                set(&mut options, &name, value).map_err(|why| format!("{arg} {value}: {why}"))?;
            }
        }
    }
    check(&mut options)?;
    Ok(Parsed::Run(Box::new(options)))
}

fn set(o: &mut Options, name: &str, value: &str) -> Result<(), &'static str> {
    match name {
        "--url" => o.url = value.to_owned(),
        "--recipienturl" => o.recipient_url = value.to_owned(),
        "--reconnecturl" => o.reconnect_url = value.to_owned(),
        "--tenantid" => o.tenant_id = value.trim().to_owned(),
        "--connections" => o.connections = count(value, 1, 10_000_000)?,
        "--durationseconds" => o.duration_seconds = positive(value)?,
        "--warmupseconds" => o.warmup_seconds = not_negative(value)?,
        "--rampseconds" => o.ramp_seconds = not_negative(value)?,
        "--mode" => o.mode = Mode::parse(value).ok_or("unknown mode")?,
        "--sendqpsperconn" | "--sendqpsperconnection" => o.rate = not_negative(value)?,
        "--payloadbytes" => o.payload_bytes = count(value, 0, 1 << 30)?,
        "--userprefix" => o.user_prefix = value.to_owned(),
        "--tokenprefix" => o.token_prefix = value.to_owned(),
        "--deviceprefix" => o.device_prefix = value.to_owned(),
        "--groupid" => o.group_id = value.trim().to_owned(),
        "--groupmembers" => o.group_members = count(value, 0, 10_000_000)?,
        "--heartbeatseconds" => o.heartbeat_seconds = not_negative(value)?,
        "--cafile" => o.ca_file = value.to_owned(),
        "--sourceaddresses" => o.source_addresses = count(value, 0, 254)? as u8,
        _ => return Err("unknown option"),
    }
    Ok(())
}

fn count(value: &str, min: usize, max: usize) -> Result<usize, &'static str> {
    value.parse().ok().filter(|n| (min..=max).contains(n)).ok_or("not a whole number in range")
}

fn not_negative(value: &str) -> Result<f64, &'static str> {
    value.parse().ok().filter(|n| (0.0..=1e7).contains(n)).ok_or("need a number, zero or more")
}

fn positive(value: &str) -> Result<f64, &'static str> {
    not_negative(value).ok().filter(|n| *n > 0.0).ok_or("need a number above zero")
}

/// Only the shape: the client SDK reads the address itself.
fn is_ws_url(url: &str) -> bool {
    let host = url.strip_prefix("ws://").or_else(|| url.strip_prefix("wss://"));
    host.is_some_and(|rest| !rest.is_empty() && !rest.starts_with(['/', '?', ':']))
}

fn check(o: &mut Options) -> Result<(), String> {
    for (name, url) in [("--recipientUrl", &o.recipient_url), ("--reconnectUrl", &o.reconnect_url)] {
        if !url.is_empty() && !is_ws_url(url) {
            return Err(format!("{name} must be an absolute ws:// or wss:// address"));
        }
    }
    if !is_ws_url(&o.url) {
        return Err("--url must be an absolute ws:// or wss:// address".into());
    }
    if !o.recipient_url.is_empty() && !o.connections.is_multiple_of(2) {
        return Err("--recipientUrl needs an even number of connections".into());
    }
    if !o.reconnect_url.is_empty() && o.mode.sends() {
        return Err("--reconnectUrl is not for chat modes".into());
    }
    if o.tenant_id.is_empty() {
        return Err("--tenantId is required".into());
    }
    if o.mode == Mode::GroupChat && o.group_id.is_empty() {
        return Err("--groupId is required for group-chat".into());
    }
    if o.group_members > o.connections {
        return Err("--groupMembers cannot be above --connections".into());
    }
    if o.mode.sends() {
        o.payload_bytes = o.payload_bytes.max(super::payload::MIN_BYTES);
        if o.rate == 0.0 {
            o.rate = 1.0;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Options, String> {
        let args: Vec<String> =
            format!("--url ws://h:1/ws --tenantId t1 {text}").split_whitespace().map(String::from).collect();
        match parse(&args)? {
            Parsed::Run(options) => Ok(*options),
            Parsed::Help => Err("help".into()),
        }
    }

    #[test]
    fn defaults_and_aliases_are_those_of_the_contract() {
        let o = parsed("").unwrap();
        assert_eq!((o.connections, o.duration_seconds, o.mode), (1, 10.0, Mode::ConnectOnly));
        assert_eq!((o.token_prefix.as_str(), o.device_prefix.as_str(), o.payload_bytes), ("valid:", "dev-", 32));
        for name in ["single-chat", "singlechat", "SINGLE"] {
            let o = parsed(&format!("--MODE {name} --payloadbytes 3")).unwrap();
            assert_eq!((o.mode, o.rate, o.payload_bytes), (Mode::SingleChat, 1.0, 32));
        }
        assert_eq!(parsed("--sendQpsPerConnection 0.25").unwrap().rate, 0.25);
        assert_eq!(parsed("--groupId g --mode group").unwrap().mode, Mode::GroupChat);
    }

    #[test]
    fn with_a_recipient_url_every_second_connection_only_receives() {
        let o = parsed("--recipientUrl ws://h:2/ws --connections 4").unwrap();
        let roles: Vec<_> = (0..4).map(|i| (o.url(i), o.sends(i))).collect();
        assert_eq!(roles, [("ws://h:1/ws", true), ("ws://h:2/ws", false)].repeat(2));
        assert!((0..4).all(|i| parsed("").unwrap().sends(i)));
    }

    #[test]
    fn wrong_usage_is_refused() {
        for bad in [
            "--nope 1",
            "--connections 0",
            "--connections x",
            "--connections",
            "--durationSeconds 0",
            "--rampSeconds -1",
            "--mode x",
            "--mode group",
            "--sendQpsPerConn NaN",
            "--sourceAddresses 255",
            "--groupMembers 2",
            "--url http://h/ws",
            "--recipientUrl http://h/ws --connections 2",
            "--recipientUrl ws://h/ws --connections 3",
            "--reconnectUrl ws://h/ws --mode single",
            "--tenantId",
        ] {
            assert!(parsed(bad).is_err(), "{bad}");
        }
        assert!(matches!(parse(&["-h".into()]), Ok(Parsed::Help)));
        assert!(parse(&[]).is_err());
    }
}
