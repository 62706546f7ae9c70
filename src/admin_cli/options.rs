//! The command line of `mics admin`. Only parsing; nothing is asked here.

use serde_json::{Value, json};

pub const USAGE: &str = "\
usage: mics admin <command> [options]

  nodes                         the nodes of the cluster: state, age, connections
  tenants                       the tenants with their figures over all nodes
  tenant <tenant>               one tenant: limits in force, hooks, buffer, events, node by node
  presence <tenant> <user>      a user's devices, on all nodes
  kick <tenant> <user> [<device>]
                                close a user's connections (4410), or one device's
  publish <tenant> (--to <user> | --group <group>) (--text <text> | --base64 <body> | --stdin) [--id <message id>]
                                send a message as the tenant's system user; fails unless the ack is SENT
  drain [--wait]                have this node leave; --wait: until it has
  reload                        read the tenants' configuration again
  overview                      everything at a glance
  actors                        the node's actors: what waits in their mailboxes, refused messages, restarts

  --url <url>          the admin API (http://127.0.0.1:<ADMIN_PORT>)
  --token-file <file>  the admin token (else ADMIN_TOKEN)
  --limit <n>          tenants: so many on a page (100)
  --after <tenant>     tenants: begin behind this one
  --json               print the answer as it came
  --help               this text

ADMIN_PORT and ADMIN_TOKEN are read as by the gateway: from the environment, the file, or as --ADMIN_PORT=9090.
Exit code 0: done; 1: refused, not reached, or done only in part; 2: wrong usage.";

#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    Nodes,
    Tenants { limit: Option<String>, after: Option<String> },
    Tenant(String),
    Presence { tenant: String, user: String },
    Kick { tenant: String, user: String, device: Option<String> },
    Publish { tenant: String, body: Value, stdin: bool },
    Drain { wait: bool },
    Reload,
    Overview,
    Actors,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    pub command: Command,
    pub url: Option<String>,
    pub token_file: Option<String>,
    pub json: bool,
}

#[derive(Debug, PartialEq)]
pub enum Parsed {
    /// And settings of the environment (name, value) that the command line changes.
    Run(Options, Vec<(String, String)>),
    Help,
}

/// The words of a command line, sorted.
#[derive(Default)]
struct Words {
    plain: Vec<String>,
    /// Options with a value, by name.
    values: Vec<(&'static str, String)>,
    switches: Vec<&'static str>,
    overrides: Vec<(String, String)>,
}

const VALUES: &[&str] =
    &["--url", "--token-file", "--limit", "--after", "--to", "--group", "--text", "--base64", "--id"];
const SWITCHES: &[&str] = &["--json", "--wait", "--stdin", "--help"];

impl Words {
    fn sort(arguments: &[String]) -> Result<Words, String> {
        let mut words = Words::default();
        let mut arguments = arguments.iter();
        while let Some(word) = arguments.next() {
            let (name, inline) =
                word.split_once('=').map_or((word.as_str(), None), |(name, value)| (name, Some(value)));
            if word == "--" {
                words.plain.extend(arguments.by_ref().cloned());
            } else if !word.starts_with("--") {
                words.plain.push(word.clone());
            } else if let Some(known) = VALUES.iter().find(|known| **known == name) {
                let value = inline.map(str::to_owned).or_else(|| arguments.next().cloned());
                words.values.push((known, value.ok_or_else(|| format!("{name} needs a value"))?));
            } else if let Some(known) = SWITCHES.iter().find(|known| **known == word) {
                words.switches.push(known);
            } else {
                let variable = name[2..].starts_with(|c: char| c.is_ascii_uppercase());
                match inline.filter(|_| variable) {
                    Some(value) => words.overrides.push((name[2..].to_owned(), value.to_owned())),
                    None => return Err(format!("`{word}` is not known here")),
                }
            }
        }
        Ok(words)
    }

    fn take(&mut self, name: &str) -> Option<String> {
        let at = self.values.iter().position(|(known, _)| *known == name)?;
        Some(self.values.remove(at).1)
    }

    fn switch(&mut self, name: &str) -> bool {
        let before = self.switches.len();
        self.switches.retain(|known| *known != name);
        self.switches.len() < before
    }

    /// What nobody has taken.
    fn nothing_left(&self) -> Result<(), String> {
        let mut left = self.values.iter().map(|(name, _)| *name).chain(self.switches.iter().copied());
        left.next().map_or(Ok(()), |name| Err(format!("{name} does not belong to this command, or was given twice")))
    }
}

/// Reads the words after `mics admin`.
pub fn parse(arguments: &[String]) -> Result<Parsed, String> {
    let mut words = Words::sort(arguments)?;
    if words.switch("--help") || matches!(words.plain.first().map(String::as_str), None | Some("help")) {
        return Ok(Parsed::Help);
    }
    let (url, token_file, json) = (words.take("--url"), words.take("--token-file"), words.switch("--json"));
    let name = words.plain.remove(0);
    let command = command(&name, &mut words)?;
    if let Some(more) = words.plain.first() {
        return Err(format!("`{more}` is one word too many"));
    }
    words.nothing_left()?;
    Ok(Parsed::Run(Options { command, url, token_file, json }, words.overrides))
}

fn command(name: &str, words: &mut Words) -> Result<Command, String> {
    let mut next = |what: &str| match words.plain.is_empty() {
        true => Err(format!("{name} needs a {what}")),
        false => Ok(words.plain.remove(0)),
    };
    Ok(match name {
        "nodes" => Command::Nodes,
        "tenants" => Command::Tenants { limit: words.take("--limit"), after: words.take("--after") },
        "tenant" => Command::Tenant(next("tenant")?),
        "presence" => Command::Presence { tenant: next("tenant")?, user: next("user")? },
        "kick" => Command::Kick { tenant: next("tenant")?, user: next("user")?, device: next("device").ok() },
        "publish" => {
            let tenant = next("tenant")?;
            publish(tenant, words)?
        }
        "drain" => Command::Drain { wait: words.switch("--wait") },
        "reload" => Command::Reload,
        "overview" => Command::Overview,
        "actors" => Command::Actors,
        other => return Err(format!("`{other}` is no command of mics admin")),
    })
}

fn publish(tenant: String, words: &mut Words) -> Result<Command, String> {
    let mut body = match (words.take("--to"), words.take("--group")) {
        (Some(user), None) => json!({ "to_user": user }),
        (None, Some(group)) => json!({ "group": group }),
        _ => return Err("publish needs either --to or --group".to_owned()),
    };
    let stdin = words.switch("--stdin");
    match (words.take("--text"), words.take("--base64"), stdin) {
        (Some(text), None, false) => body["text"] = text.into(),
        (None, Some(base64), false) => body["body_base64"] = base64.into(),
        (None, None, true) => {}
        _ => return Err("publish needs one of --text, --base64 and --stdin".to_owned()),
    }
    if let Some(id) = words.take("--id") {
        body["msg_id"] = id.into();
    }
    Ok(Command::Publish { tenant, body, stdin })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Options, String> {
        let words: Vec<String> = line.split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect();
        match parse(&words)? {
            Parsed::Run(options, _) => Ok(options),
            Parsed::Help => Err("help".into()),
        }
    }

    #[test]
    fn commands_are_read_with_their_options() {
        let kick = |device: Option<&str>| Command::Kick {
            tenant: "t1".into(),
            user: "u1".into(),
            device: device.map(str::to_owned),
        };
        let publish =
            Command::Publish { tenant: "t1".into(), body: json!({ "to_user": "u", "text": "hi" }), stdin: false };
        let cases = [
            ("nodes", Command::Nodes),
            ("actors", Command::Actors),
            ("kick t1 u1", kick(None)),
            ("kick t1 u1 d1 --json", kick(Some("d1"))),
            ("publish t1 --to u --text hi", publish.clone()),
            ("publish --text=hi --to=u t1", publish),
            ("drain --wait", Command::Drain { wait: true }),
            ("tenants --limit 5 --after t0", Command::Tenants { limit: Some("5".into()), after: Some("t0".into()) }),
            ("tenant -- --odd", Command::Tenant("--odd".into())),
        ];
        for (line, command) in cases {
            assert_eq!(parsed(line).map(|options| options.command), Ok(command), "{line}");
        }
    }

    #[test]
    fn wrong_usage_is_refused() {
        let lines = [
            "",
            "frob",
            "kick t1",
            "presence t1",
            "tenant",
            "tenant a b",
            "nodes --wait",
            "publish t1 --to u",
            "publish t1 --to u --group g --text x",
            "publish t1 --to u --text x --stdin",
            "nodes --url",
            "nodes --json=1",
            "nodes --nonsense",
            "tenant t1 --limit 3",
            "nodes --url a --url b",
        ];
        for line in lines {
            assert!(parsed(line).is_err(), "{line}");
        }
    }

    #[test]
    fn variables_go_to_the_configuration() {
        let words = ["nodes".to_owned(), "--ADMIN_PORT=9090".to_owned()];
        let Ok(Parsed::Run(_, overrides)) = parse(&words) else { panic!("it is a command") };
        assert_eq!(overrides, [("ADMIN_PORT".to_owned(), "9090".to_owned())]);
    }
}
