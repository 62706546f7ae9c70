//! The command line of `mics dlq`. Only parsing; nothing is opened here.

pub const USAGE: &str = "\
usage: mics dlq list [--tenant <id>]... [options]
       mics dlq replay --tenant <id>... [options]

list shows the dead letters of one tenant or of all; replay sends them to the event topic again, each once.

  --tenant <id>      may be given several times
  --type <type>      only events of this type, e.g. SINGLE_CHAT_MSG or SingleChatMsg; may be given several times
  --from <time>      only events since then: 2026-01-31T09:00:00Z, Unix milliseconds, or an age such as 90m, 12h, 7d
  --to <time>        only events before then
  --json             print one JSON object
  --records <n>      list: also show the first n letters of each tenant, decoded, without their bodies (0)
  --dry-run          replay: say what would be sent and send nothing
  --again            replay: also what was replayed before
  --help             this text

Brokers and their settings are those of the gateway: KAFKA__BOOTSTRAP_SERVERS and KAFKA_PROP_..., from the environment, the
file, or as --KAFKA__BOOTSTRAP_SERVERS=host:port. Exit code 0: done, 1: something failed, 2: wrong usage.";

/// Types of events by number, as the wire names them.
pub const TYPES: [&str; 5] =
    ["CONNECT_ONLINE", "CONNECT_OFFLINE", "SINGLE_CHAT_MSG", "GROUP_CHAT_MSG", "OFFLINE_MESSAGE"];

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Numbers of event types; empty = all.
    pub types: Vec<i32>,
    /// Unix ms of the event, included.
    pub from: Option<i64>,
    /// Unix ms of the event, not included.
    pub to: Option<i64>,
}

impl Filter {
    pub fn is_empty(&self) -> bool {
        *self == Filter::default()
    }

    pub fn takes(&self, kind: i32, at_ms: i64) -> bool {
        (self.types.is_empty() || self.types.contains(&kind))
            && self.from.is_none_or(|from| at_ms >= from)
            && self.to.is_none_or(|to| at_ms < to)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Task {
    List { records: usize },
    Replay { dry_run: bool, again: bool },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    pub task: Task,
    /// Never empty for a replay.
    pub tenants: Vec<String>,
    pub filter: Filter,
    pub json: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Parsed {
    /// And settings of the environment (name, value) that the command line changes.
    Run(Options, Vec<(String, String)>),
    Help,
}

/// Reads the words after `mics dlq`. `now_ms` is what ages count from.
pub fn parse(arguments: &[String], now_ms: i64) -> Result<Parsed, String> {
    let mut words = arguments.iter().map(String::as_str);
    let is_list = match words.next() {
        Some("list") => true,
        Some("replay") => false,
        None | Some("help" | "--help" | "-h") => return Ok(Parsed::Help),
        Some(other) => return Err(format!("`{other}` is neither list nor replay")),
    };
    let (mut dry_run, mut again, mut records, mut overrides) = (false, false, 0, Vec::new());
    let mut options =
        Options { task: Task::List { records: 0 }, tenants: vec![], filter: Filter::default(), json: false };
    while let Some(word) = words.next() {
        let (name, inline) = word.split_once('=').map_or((word, None), |(name, value)| (name, Some(value)));
        let mut value = || inline.or_else(|| words.next()).ok_or_else(|| format!("{name} needs a value"));
        match name {
            "--help" | "-h" => return Ok(Parsed::Help),
            "--json" => options.json = true,
            "--dry-run" if !is_list => dry_run = true,
            "--again" if !is_list => again = true,
            "--records" if is_list => {
                records = value()?.parse().map_err(|_| "--records needs a number".to_owned())?;
            }
            "--tenant" => options.tenants.push(value()?.to_owned()),
            "--type" => options.filter.types.push(event_type(value()?)?),
            "--from" => options.filter.from = Some(time(value()?, now_ms)?),
            "--to" => options.filter.to = Some(time(value()?, now_ms)?),
            _ => match (name.strip_prefix("--"), inline) {
                (Some(variable), Some(value)) if variable.starts_with(|c: char| c.is_ascii_uppercase()) => {
                    overrides.push((variable.to_owned(), value.to_owned()));
                }
                _ => return Err(format!("`{word}` is not known here")),
            },
        }
    }
    if !is_list && options.tenants.is_empty() {
        return Err("replay needs --tenant".to_owned());
    }
    options.task = if is_list { Task::List { records } } else { Task::Replay { dry_run, again } };
    Ok(Parsed::Run(options, overrides))
}

fn event_type(text: &str) -> Result<i32, String> {
    let plain = |text: &str| text.replace('_', "").to_ascii_lowercase();
    let found = TYPES.iter().position(|name| plain(name) == plain(text));
    let number = found.and_then(|at| i32::try_from(at).ok()).or_else(|| text.parse().ok());
    number.ok_or_else(|| format!("--type: `{text}` is not one of {}", TYPES.join(", ")))
}

/// Unix ms.
fn time(text: &str, now_ms: i64) -> Result<i64, String> {
    let age = || {
        let unit = match text.chars().last()? {
            's' => 1_000,
            'm' => 60_000,
            'h' => 3_600_000,
            'd' => 86_400_000,
            _ => return None,
        };
        let number: u32 = text[..text.len() - 1].parse().ok()?;
        Some(now_ms - i64::from(number) * unit)
    };
    let found = text.parse().ok().or_else(age).or_else(|| date(text));
    found.ok_or_else(|| format!("`{text}` is no time: 2026-01-31T09:00:00Z, Unix milliseconds, or an age such as 12h"))
}

/// `2026-01-31`, `2026-01-31T09:00:00Z` or with fractions of a second; UTC only.
fn date(text: &str) -> Option<i64> {
    let (day, clock) = text.split_once('T').unwrap_or((text, "00:00:00Z"));
    let mut parts = day.split('-').map(|part| part.parse::<i64>().ok());
    let (year, month, day) = (parts.next()??, parts.next()??, parts.next()??);
    let mut parts = clock.strip_suffix('Z')?.split(':');
    let (hour, minute) = (parts.next()?.parse::<i64>().ok()?, parts.next()?.parse::<i64>().ok()?);
    let second = parts.next()?.parse::<f64>().ok()?;
    let valid = (1970..10_000).contains(&year)
        && (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && (0..24).contains(&hour)
        && (0..60).contains(&minute)
        && (0. ..61.).contains(&second);
    // Day number of a civil date (Howard Hinnant's algorithm).
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year / 400, year % 400);
    let day_of_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    let days = era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468;
    valid.then_some(((days * 24 + hour) * 60 + minute) * 60_000 + (second * 1_000.).round() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Parsed, String> {
        super::parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>(), 1_000_000_000_000)
    }

    fn options(line: &str) -> Options {
        match parse(line) {
            Ok(Parsed::Run(options, _)) => options,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn every_option_is_read() {
        let list = options("list --records 3 --json --tenant a --tenant=b");
        assert_eq!((list.task, list.json), (Task::List { records: 3 }, true));
        assert_eq!(list.tenants, ["a", "b"]);
        let replay = options("replay --tenant t --dry-run --again --type SINGLE_CHAT_MSG --type offlinemessage --to=5");
        assert_eq!(replay.task, Task::Replay { dry_run: true, again: true });
        assert_eq!(replay.filter, Filter { types: vec![2, 4], from: None, to: Some(5) });
        let Ok(Parsed::Run(_, overrides)) = parse("list --KAFKA__BOOTSTRAP_SERVERS=h:1") else { panic!() };
        assert_eq!(overrides, [("KAFKA__BOOTSTRAP_SERVERS".to_owned(), "h:1".to_owned())]);
        assert_eq!(parse(""), Ok(Parsed::Help));
    }

    #[test]
    fn mistakes_are_named() {
        for (line, named) in [
            ("show", "show"),
            ("replay", "--tenant"),
            ("list --dry-run", "--dry-run"),
            ("replay --tenant", "--tenant"),
            ("list --type chat", "chat"),
            ("list --from yesterday", "yesterday"),
            ("list --records many", "--records"),
            ("list extra", "extra"),
        ] {
            assert!(parse(line).unwrap_err().contains(named), "{line}");
        }
    }

    #[test]
    fn times_are_dates_numbers_and_ages() {
        let now = 1_000_000_000_000;
        for (text, ms) in [
            ("1770000000000", 1_770_000_000_000),
            ("90m", now - 5_400_000),
            ("7d", now - 604_800_000),
            ("1970-01-01", 0),
            ("2026-02-02T02:40:00Z", 1_770_000_000_000),
            ("2000-02-29T23:59:59.5Z", 951_868_799_500),
        ] {
            assert_eq!(time(text, now), Ok(ms), "{text}");
        }
        for text in ["", "h", "2026-13-01", "2026-01-01T00:00:00", "2026-01-01T25:00:00Z", "1y"] {
            assert!(time(text, now).is_err(), "{text}");
        }
    }

    #[test]
    fn a_range_includes_its_start_only() {
        let filter = Filter { types: vec![2], from: Some(10), to: Some(20) };
        let taken = [(2, 10), (2, 19), (2, 9), (2, 20), (1, 15)].map(|(kind, at)| filter.takes(kind, at));
        assert_eq!(taken, [true, true, false, false, false]);
        assert!(Filter::default().takes(100, 0));
    }
}
