//! The keys that stand in a configuration: each is taken once, and those that are left over are
//! known at the end.

use std::collections::BTreeMap;

use serde_json::Value;

/// All values by their paths, such as `client.token.audience` or `channel.namespaces[0].name`.
#[derive(Debug, Default)]
pub(super) struct Found(BTreeMap<String, Value>);

impl Found {
    /// Lists the values of an object.
    pub(super) fn of(object: &Value) -> Self {
        let mut found = Self::default();
        found.list("", object);
        found
    }

    fn list(&mut self, path: &str, value: &Value) {
        match value {
            Value::Object(fields) if !fields.is_empty() => {
                for (name, value) in fields {
                    let path =
                        if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                    self.list(&path, value);
                }
            }
            Value::Array(items) if items.iter().any(Value::is_object) => {
                for (index, value) in items.iter().enumerate() {
                    self.list(&format!("{path}[{index}]"), value);
                }
            }
            value => {
                self.0.insert(path.to_owned(), value.clone());
            }
        }
    }

    /// Lists the values below a path.
    pub(super) fn put_below(&mut self, path: &str, value: &Value) {
        self.list(path, value);
    }

    /// Takes a value.
    pub(super) fn take(&mut self, path: &str) -> Option<Value> {
        self.0.remove(path)
    }

    /// Puts a value back that has no counterpart.
    pub(super) fn put_back(&mut self, path: &str, value: impl Into<Value>) {
        self.0.insert(path.to_owned(), value.into());
    }

    /// Takes a text; an empty one is none.
    pub(super) fn text(&mut self, path: &str) -> Option<String> {
        let text = match self.0.get(path)? {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            _ => return None,
        };
        self.0.remove(path);
        Some(text).filter(|text| !text.is_empty())
    }

    /// Takes a name or a secret, if its letters are those that were written: a number with a
    /// fraction or with many digits is another one once it is read.
    pub(super) fn name(&mut self, path: &str) -> Option<String> {
        let text = match self.0.remove(path)? {
            Value::String(text) => text,
            Value::Number(number) if !number.is_f64() => number.to_string(),
            _ => return None,
        };
        Some(text).filter(|text| !text.is_empty())
    }

    /// Takes a switch.
    pub(super) fn switch(&mut self, path: &str) -> bool {
        self.maybe_switch(path) == Some(true)
    }

    /// Takes a switch that may not be there.
    pub(super) fn maybe_switch(&mut self, path: &str) -> Option<bool> {
        let switch = match self.0.get(path)? {
            Value::Bool(switch) => *switch,
            Value::String(text) => text.parse().ok()?,
            Value::Number(number) if number.as_u64() == Some(1) => true,
            Value::Number(number) if number.as_u64() == Some(0) => false,
            _ => return None,
        };
        self.0.remove(path);
        Some(switch)
    }

    /// Looks at a switch, which somebody else takes.
    pub(super) fn is_on(&self, path: &str) -> bool {
        self.0.get(path).is_some_and(|value| value == true || value == "true")
    }

    /// Takes a number.
    pub(super) fn number(&mut self, path: &str) -> Option<i64> {
        let number = match self.0.get(path)? {
            Value::Number(number) => number.as_i64()?,
            Value::String(text) => text.parse().ok()?,
            _ => return None,
        };
        self.0.remove(path);
        Some(number)
    }

    /// Takes a list of texts.
    pub(super) fn texts(&mut self, path: &str) -> Vec<String> {
        let list = match self.0.get(path) {
            Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).collect::<Vec<_>>(),
            Some(Value::String(text)) => {
                text.split([',', ' ']).filter(|one| !one.is_empty()).collect()
            }
            _ => return Vec::new(),
        };
        let list = list.into_iter().map(str::to_owned).collect();
        self.0.remove(path);
        list
    }

    /// Takes all texts below a path, by their names.
    pub(super) fn texts_below(&mut self, path: &str) -> Vec<(String, String)> {
        let prefix = format!("{path}.");
        let below =
            self.0.extract_if(.., |key, value| key.starts_with(&prefix) && value.is_string());
        below
            .map(|(key, value)| {
                (key[prefix.len()..].to_owned(), value.as_str().unwrap_or_default().to_owned())
            })
            .collect()
    }

    /// Returns `true` if something stands below a path.
    pub(super) fn has_below(&self, path: &str) -> bool {
        self.0.keys().any(|key| {
            key.strip_prefix(path)
                .is_some_and(|rest| rest.starts_with(['.', '[']) || rest.is_empty())
        })
    }

    /// The keys that nobody has taken.
    pub(super) fn rest(self) -> impl Iterator<Item = String> {
        self.0.into_keys()
    }
}
