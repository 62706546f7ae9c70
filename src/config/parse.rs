//! Reading variables of a table: which place a value comes from, clamps, and every mistake collected. It must not know what any variable
//! means.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use super::source::{ConfigError, ConfigErrors, Secret, Source, find};
use super::values::{level_word, parse_bool, scalar, shown, whole_number};
use super::vars::{Area, FILE_VAR, Kind, Var, normal};

/// Reads values of one table of variables and collects all mistakes and warnings.
pub(super) struct Reader<'a> {
    table: &'static [Var],
    env: &'a [(String, String)],
    file: Vec<(String, String)>,
    host_name: Option<String>,
    /// The maps of the tenants' own file, which then are the only ones.
    tenants: Option<Vec<(String, String)>>,
    pub errors: Vec<ConfigError>,
    pub warnings: Vec<String>,
}

impl<'a> Reader<'a> {
    /// Reads the file too. `known` are all tables: a name in the file that none of them has is a warning.
    pub fn new(source: &'a Source, table: &'static [Var], known: &[&'static [Var]]) -> Reader<'a> {
        let (env, host_name) = (&source.env[..], source.host_name());
        let (file, tenants, errors, warnings) = Default::default();
        let mut reader = Reader { table, env, file, host_name, tenants, errors, warnings };
        if let Some(text) = reader.file_text(source) {
            match text.parse::<toml::Table>() {
                Ok(toml) => super::file::flatten(toml, known, &mut reader.file, &mut reader.warnings),
                // Only the place and the kind of mistake: the parser's full text quotes the line, which may hold a secret.
                Err(error) => {
                    let line = line(&text, &error);
                    reader.error(FILE_VAR.0, "", format!("line {line} is not TOML: {}", error.message()));
                }
            }
        }
        reader
    }

    fn file_text(&mut self, source: &Source) -> Option<String> {
        if let Some(text) = &source.file_text {
            return Some(text.clone());
        }
        let path = find(self.env, FILE_VAR.0).filter(|path| !path.trim().is_empty())?;
        match std::fs::read_to_string(path.trim()) {
            Ok(text) => Some(text),
            Err(error) => {
                self.error(FILE_VAR.0, &path, format!("cannot be read: {error}"));
                None
            }
        }
    }

    /// Reads the file that `name` names, if it does: TOML, or JSON when it begins with `{`. From then on the maps of its
    /// chapter come from it alone.
    pub fn tenants_file(&mut self, name: &str) -> Option<PathBuf> {
        let path = PathBuf::from(self.text(name)?);
        let shown = path.display().to_string();
        let text = std::fs::read_to_string(&path).map_err(|error| format!("cannot be read: {error}"));
        let table = text.and_then(|text| tenants_table(&text));
        let mut pairs = Vec::new();
        match table {
            Ok(table) => super::file::flatten(table, &[self.table], &mut pairs, &mut Vec::new()),
            Err(problem) => self.error(name, &shown, problem),
        }
        let maps: Vec<&Var> = self.table.iter().filter(|v| v.area == Area::Tenants && is_map(v)).collect();
        for (found, _) in &pairs {
            if !maps.iter().any(|map| map.is_named(found)) {
                let known = maps.iter().map(|map| map.name).collect::<Vec<_>>().join(", ");
                self.error(name, &shown, format!("\"{}\" is not one of {known}", super::values::shown(found)));
            }
        }
        for map in maps {
            let given = |text: String| !text.trim().is_empty();
            let elsewhere =
                |pairs: &[(String, String)]| layer(pairs, map).is_some_and(given) || !entries(pairs, map).is_empty();
            if elsewhere(self.env) || elsewhere(&self.file) {
                self.warn(map.name, format_args!("ignored: {name} is set"));
            }
        }
        self.tenants = Some(pairs);
        Some(path)
    }

    pub fn error(&mut self, name: &str, value: &str, problem: impl Into<String>) {
        let secret = self.table.iter().any(|v| v.name == name && v.is_secret());
        let value_shown = match secret && !value.is_empty() {
            true => "***".to_owned(),
            false => shown(value),
        };
        self.errors.push(ConfigError { name: name.to_owned(), value_shown, problem: problem.into() });
    }

    pub fn warn(&mut self, name: &str, text: impl fmt::Display) {
        self.warnings.push(format!("{name}: {text}"));
    }

    /// A required variable is not set: there is no value to show.
    pub fn missing(&mut self, name: &str, problem: &str) {
        self.error(name, "", problem);
    }

    /// Everything was read: the result, or every mistake.
    pub fn finish<T>(self, config: T) -> Result<(T, Vec<String>), ConfigErrors> {
        if self.errors.is_empty() { Ok((config, self.warnings)) } else { Err(ConfigErrors(self.errors)) }
    }

    /// The file that was named.
    pub fn config_file(&self) -> Option<PathBuf> {
        find(self.env, FILE_VAR.0).map(|path| path.trim().to_owned()).filter(|path| !path.is_empty()).map(PathBuf::from)
    }

    /// The machine's host name, when known.
    pub fn host_name(&self) -> Option<String> {
        self.host_name.clone()
    }

    fn var(&self, name: &str) -> &'static Var {
        self.table.iter().find(|v| v.name == name).unwrap_or_else(|| panic!("{name} is not in the table of variables"))
    }

    /// What was set, trimmed: environment before file. Empty means "the default", and hides the file's value.
    fn set(&self, var: &Var) -> Option<String> {
        let lookup = |pairs: &[(String, String)]| {
            std::iter::once(&var.name)
                .chain(var.aliases)
                .find_map(|name| find(pairs, name))
                .map(|v| v.trim().to_owned())
        };
        lookup(self.env).or_else(|| lookup(&self.file)).filter(|value| !value.is_empty())
    }

    /// Text, or `None` when unset and without a default.
    pub fn text(&self, name: &str) -> Option<String> {
        let var = self.var(name);
        self.set(var).or_else(|| Some(var.default.to_owned()).filter(|d| !d.is_empty()))
    }

    /// Text that was set, without the default.
    pub fn explicit(&self, name: &str) -> Option<String> {
        self.set(self.var(name))
    }

    pub fn secret(&self, name: &str) -> Option<Secret> {
        self.text(name).map(Secret::new)
    }

    /// An integer after its clamp. After a mistake: the default, so that reading can go on.
    pub fn int(&mut self, name: &str) -> i64 {
        let default = self.var(name).default.parse().unwrap_or(0);
        self.opt_int(name).unwrap_or(default)
    }

    /// Like `int`, for variables without a default.
    pub fn opt_int(&mut self, name: &str) -> Option<i64> {
        let var = self.var(name);
        let text = self.set(var)?;
        let Some(value) = whole_number(&text) else {
            self.error(name, &text, "is not a whole number");
            return None;
        };
        let (kept, why) = match var.kind {
            Kind::Int { min, max } => (Some(value.clamp(min, max)), "out of range"),
            Kind::PositiveOrDefault if value <= 0 => (var.default.parse().ok(), "not positive"),
            Kind::OptionalPositive if value <= 0 => (None, "not positive"),
            Kind::OptionalNonNegative if value < 0 => (None, "negative"),
            Kind::Port if !(0..=65_535).contains(&value) => {
                self.error(name, &text, "is not a port (0 to 65535)");
                return None;
            }
            _ => (Some(value.min(i32::MAX.into())), "out of range"),
        };
        match kept {
            Some(kept) if kept != value => self.warn(name, format_args!("{value} is {why}; {kept} is used")),
            None => self.warn(name, format_args!("{value} is {why}; ignored")),
            _ => {}
        }
        kept
    }

    pub fn port(&mut self, name: &str) -> u16 {
        self.number(name)
    }

    pub fn size(&mut self, name: &str) -> usize {
        self.number(name)
    }

    /// An integer in the field's own type; the table's range lies within it.
    pub fn number<T: TryFrom<i64>>(&mut self, name: &str) -> T {
        T::try_from(self.int(name)).ok().unwrap_or_else(|| panic!("the range of {name} is wider than its field"))
    }

    /// Like `number`, for variables without a default.
    pub fn opt_number<T: TryFrom<i64>>(&mut self, name: &str) -> Option<T> {
        self.opt_int(name).and_then(|value| T::try_from(value).ok())
    }

    pub fn millis(&mut self, name: &str) -> Duration {
        Duration::from_millis(self.number(name))
    }

    pub fn seconds(&mut self, name: &str) -> Duration {
        Duration::from_secs(self.number(name))
    }

    /// Filter directives with .NET level names translated.
    pub fn level(&mut self, name: &str) -> String {
        let text = self.text(name).unwrap_or_default();
        let mut directives = Vec::new();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (target, word) =
                part.rsplit_once('=').map_or(("", part), |(target, word)| (target.trim(), word.trim()));
            let is_target = target.bytes().all(|b| b.is_ascii_alphanumeric() || b"_:.-".contains(&b));
            match level_word(word).filter(|_| is_target) {
                Some(level) if target.is_empty() => directives.push(level.to_owned()),
                Some(level) => directives.push(format!("{target}={level}")),
                None => self.error(name, part, "is not a level or target=level"),
            }
        }
        directives.join(",")
    }

    pub fn bool(&mut self, name: &str) -> bool {
        let default = self.var(name).default == "true";
        self.opt_bool(name).unwrap_or(default)
    }

    pub fn opt_bool(&mut self, name: &str) -> Option<bool> {
        let text = self.set(self.var(name))?;
        let value = parse_bool(&text);
        if value.is_none() {
            self.error(name, &text, "is not true or false");
        }
        value
    }

    /// The word that was chosen, as the table spells it.
    pub fn choice(&mut self, name: &str) -> &'static str {
        let var = self.var(name);
        let Kind::Choice { words, strict } = var.kind else { panic!("{name} is not a choice") };
        let Some(text) = self.set(var) else { return var.default };
        if let Some(word) = words.iter().find(|word| word.eq_ignore_ascii_case(&text)) {
            return word;
        }
        match strict {
            true => self.error(name, &text, format!("is not one of {}", words.join(", "))),
            false => {
                self.warn(name, format_args!("\"{text}\" is not one of {}; {} is used", words.join(", "), var.default))
            }
        }
        var.default
    }

    /// Comma separated parts, trimmed, without empty ones.
    pub fn list(&mut self, name: &str) -> Vec<String> {
        let text = self.text(name).unwrap_or_default();
        text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
    }

    /// The entries of a map. In one place (environment, file) the JSON form replaces `<section>__<key>` entries; between places, JSON in
    /// the environment replaces the file, while its single entries are laid over the file's map.
    pub fn map(&mut self, name: &str) -> BTreeMap<String, Value> {
        let var = self.var(name);
        if let Some(pairs) = self.tenants.clone().filter(|_| var.area == Area::Tenants) {
            return layer(&pairs, var).map_or_else(|| entries(&pairs, var), |text| self.json_object(var, &text));
        }
        let env = self.env;
        let mut map = match layer(env, var) {
            Some(text) => self.json_object(var, &text),
            None => {
                let file = std::mem::take(&mut self.file);
                let mut map =
                    layer(&file, var).map_or_else(|| entries(&file, var), |text| self.json_object(var, &text));
                self.file = file;
                map.extend(entries(env, var));
                map
            }
        };
        if map.is_empty() && self.set(var).is_none() && !var.default.is_empty() {
            map = self.json_object(var, var.default);
        }
        map
    }

    /// `<name>_<PART>_<PART>` as `part.part` -> value; environment before file, empty values left out.
    pub fn properties(&self, name: &str) -> BTreeMap<String, Secret> {
        let prefix = normal(self.var(name).name) + "_";
        let mut found = BTreeMap::new();
        for (name, value) in self.file.iter().chain(self.env) {
            let name = normal(name);
            let Some(rest) = name.strip_prefix(&prefix).filter(|rest| !rest.is_empty()) else { continue };
            found.insert(rest.to_ascii_lowercase().replace('_', "."), Secret::new(value.trim()));
        }
        found.retain(|_, value| !value.expose().is_empty());
        found
    }

    fn json_object(&mut self, var: &Var, text: &str) -> BTreeMap<String, Value> {
        if text.trim().is_empty() {
            return BTreeMap::new();
        }
        match serde_json::from_str(text) {
            Ok(Value::Object(object)) => return object.into_iter().collect(),
            Ok(_) => self.error(var.name, text, "is not a JSON object"),
            // A syntax error of serde_json names a place and what was expected, never the text itself.
            Err(error) => self.error(var.name, text, format!("is not JSON: {error}")),
        }
        BTreeMap::new()
    }

    /// The value of one map entry as a type, or an error that names the key (and never the value of a secret).
    pub fn entry<T>(
        &mut self,
        name: &str,
        key: &str,
        value: &Value,
        what: &str,
        read: impl Fn(&Value) -> Option<T>,
    ) -> Option<T> {
        let result = read(value);
        if result.is_none() {
            let text =
                if value.is_null() { "null".to_owned() } else { scalar(value).unwrap_or_else(|| value.to_string()) };
            self.error(name, &text, format!("the value of \"{}\" is not {what}", shown(key)));
        }
        result
    }
}

fn is_map(var: &Var) -> bool {
    matches!(var.kind, Kind::Map { .. })
}

/// Error: what is wrong with it, without its text, which holds secrets.
fn tenants_table(text: &str) -> Result<toml::Table, String> {
    if text.trim_start().starts_with('{') {
        return serde_json::from_str(text).map_err(|error| format!("is not JSON: {error}"));
    }
    text.parse()
        .map_err(|error: toml::de::Error| format!("line {} is not TOML: {}", line(text, &error), error.message()))
}

fn line(text: &str, error: &toml::de::Error) -> usize {
    error.span().map_or(1, |span| text[..span.start.min(text.len())].matches('\n').count() + 1)
}

fn layer(pairs: &[(String, String)], var: &Var) -> Option<String> {
    std::iter::once(&var.name).chain(var.aliases).find_map(|name| find(pairs, name))
}

/// `<name or alias>__<key>` pairs; the key keeps its case.
fn entries(pairs: &[(String, String)], var: &Var) -> BTreeMap<String, Value> {
    let prefixes: Vec<String> = std::iter::once(&var.name).chain(var.aliases).map(|name| normal(name) + "__").collect();
    let entry = |(name, value): &(String, String)| {
        // `:` counts as `__`, so both are written one way before the key is cut off.
        let name = name.replace(':', "__");
        let key = prefixes
            .iter()
            .find_map(|p| name.get(..p.len()).filter(|s| s.eq_ignore_ascii_case(p)).map(|_| &name[p.len()..]))?;
        Some((key.to_owned(), Value::String(value.clone())))
    };
    pairs.iter().filter_map(entry).collect()
}
