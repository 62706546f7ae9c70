//! Where values come from, secrets, and how mistakes are told. Nothing but `Source::from_env` may touch the process environment.

use std::fmt;

use super::vars::normal;

/// A value that is never printed: `Debug` and `Display` give `***`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Secret(text.into())
    }

    /// The secret itself; not for logs, metrics or errors.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// One mistake. `value_shown` is `***` for secrets and empty when there is no value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    pub name: String,
    pub value_shown: String,
    pub problem: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.value_shown.is_empty() {
            write!(f, "{}: {}", self.name, self.problem)
        } else {
            write!(f, "{}={}: {}", self.name, self.value_shown, self.problem)
        }
    }
}

/// Every mistake found, never empty. `Display` gives one line each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

/// Where values come from: the environment, and the file that `MICS_CONFIG_FILE` names in it.
///
/// A list of pairs and not a look-up function: names are compared case-insensitively and `Tenants__AuthMap__<tenant>` must be found.
#[derive(Default, Clone)]
pub struct Source {
    pub(super) env: Vec<(String, String)>,
    pub(super) file_text: Option<String>,
    host_name: Option<String>,
}

impl Source {
    /// The process environment and the machine's host name.
    pub fn from_env() -> Source {
        // Names or values that are not Unicode cannot be ours.
        let env =
            std::env::vars_os().filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?))).collect();
        let host_name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
        Source { env, file_text: None, host_name }
    }

    /// As if these pairs were the environment.
    pub fn from_pairs<K: Into<String>, V: Into<String>>(pairs: impl IntoIterator<Item = (K, V)>) -> Source {
        let env = pairs.into_iter().map(|(k, v)| (k.into(), v.into())).collect();
        Source { env, file_text: None, host_name: None }
    }

    /// Sets values that win over the environment (`--NAME=value` of a command line). Use the spelling that the
    /// environment uses when a variable has several.
    pub fn with_overrides<K: Into<String>, V: Into<String>>(
        mut self,
        pairs: impl IntoIterator<Item = (K, V)>,
    ) -> Source {
        for (name, value) in pairs {
            let name = name.into();
            self.env.retain(|(other, _)| !same_name(other, &name));
            self.env.push((name, value.into()));
        }
        self
    }

    /// Sets values that apply where the environment says nothing.
    pub fn with_defaults<K: Into<String>, V: Into<String>>(
        mut self,
        pairs: impl IntoIterator<Item = (K, V)>,
    ) -> Source {
        for (name, value) in pairs {
            let name = name.into();
            if find(&self.env, &name).is_none() {
                self.env.push((name, value.into()));
            }
        }
        self
    }

    /// Uses this TOML text instead of the file that `MICS_CONFIG_FILE` names.
    pub fn with_file_text(mut self, text: impl Into<String>) -> Source {
        self.file_text = Some(text.into());
        self
    }

    /// Sets the machine's host name, the default of `NODE_ID`.
    pub fn with_host_name(mut self, name: impl Into<String>) -> Source {
        self.host_name = Some(name.into());
        self
    }

    pub(super) fn host_name(&self) -> Option<String> {
        let known = self.host_name.clone().or_else(|| find(&self.env, "HOSTNAME"));
        known.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty())
    }
}

fn same_name(a: &str, b: &str) -> bool {
    a == b || normal(a) == normal(b)
}

/// The exact spelling first, then any other spelling of the same name.
pub(super) fn find(pairs: &[(String, String)], name: &str) -> Option<String> {
    let exact = pairs.iter().find(|(k, _)| k == name);
    exact.or_else(|| pairs.iter().find(|(k, _)| same_name(k, name))).map(|(_, v)| v.clone())
}
