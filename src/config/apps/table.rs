//! The tables `[[app]]` of `stentor.toml`.

use std::path::PathBuf;

use stentor_shards::{App, Secret, check_app_name};
use toml::de::{DeTable, DeValue};

use super::{APP_KEYS, AppKey, Declared, check_secret, webhook};
use crate::config::file::{Fault, Value, Word, text_of};
use crate::config::{Layered, hint, secret};

/// The keys that are read apart from the others.
pub(super) const NAMES: [&str; 5] = ["id", "key", "secret", "secret-file", "webhook"];

/// Takes all apps, in the order of the file.
pub(in crate::config) fn lay_apps(
    list: &[Value<'_>],
    place: &dyn Fn(usize) -> String,
    layered: &mut Layered,
) -> Result<(), Fault> {
    for entry in list {
        let at = entry.span().start;
        let DeValue::Table(table) = entry.get_ref() else {
            return Err((at, "an app is a table: write [[app]] above its keys".into()));
        };
        let (mut app, secret_file) = app(at, table)?;
        let webhooks = find(table, "webhook").map(webhook::read).transpose();
        let webhooks = webhooks.map_err(|(at, why)| (at, format!("app {:?}: {why}", app.id)))?;
        let webhooks = webhooks.unwrap_or_default();
        app.news = webhook::news_of(&webhooks);
        if app.news.counts && !app.subscription_count {
            let why = "a webhook is told subscription_count, which the app does not count: set \
                       subscription_count = true";
            return Err((at, format!("app {:?}: {why}", app.id)));
        }
        let known = &mut layered.settings.apps.declared;
        for other in known.iter() {
            let twice = [
                ("id", app.id == other.app.id),
                ("key", app.key == other.app.key),
                ("namespace", app.namespace == other.app.namespace),
            ];
            if let Some((name, _)) = twice.iter().find(|(_, is_same)| *is_same) {
                let why = format!(
                    "app {:?} has the {name} of app {:?} at {}",
                    app.id, other.app.id, other.place
                );
                return Err((at, why));
            }
        }
        known.push(Declared { app, secret_file, webhooks, place: place(at) });
    }
    Ok(())
}

/// Reads one app, which begins at byte `at`.
fn app(at: usize, table: &DeTable<'_>) -> Result<(App, Option<PathBuf>), Fault> {
    let mut seen: Vec<(String, usize)> = Vec::new();
    for (name, _) in table {
        let (wanted, here) = (name.get_ref().replace('_', "-"), name.span().start);
        if let Some((_, other)) = seen.iter().find(|(known, _)| *known == wanted) {
            // The names come in the order of the alphabet.
            return Err((here.max(*other), format!("app: {wanted} is set twice")));
        }
        seen.push((wanted, here));
    }
    let id = named(at, table, "id")?;
    let key = named(at, table, "key")?;
    let of_app = |(at, why)| (at, format!("app {id:?}: {why}"));
    let (secret, secret_file) = secret_of(at, table).map_err(of_app)?;
    let mut app = App { secret: Secret::new(&secret), ..App::new(&id, &key, "") };
    for (name, value) in table {
        let wanted = name.get_ref().replace('_', "-");
        if !NAMES.contains(&wanted.as_str()) {
            set(&mut app, name, value).map_err(of_app)?;
        }
    }
    Ok((app, secret_file))
}

/// Finds a value by its name with dashes.
fn find<'a, 'b>(table: &'a DeTable<'b>, wanted: &str) -> Option<&'a Value<'b>> {
    let is_wanted = |name: &Word<'_>| name.get_ref().replace('_', "-") == wanted;
    table.iter().find(|(name, _)| is_wanted(name)).map(|(_, value)| value)
}

/// Reads the id or the key, which may look like a number.
fn named(at: usize, table: &DeTable<'_>, name: &str) -> Result<String, Fault> {
    let example = if name == "id" { "id = \"1\"" } else { "key = \"app-key\"" };
    let Some(value) = find(table, name) else {
        return Err((at, format!("an app needs {name}, such as {example}")));
    };
    let at = value.span().start;
    let text = match value.get_ref() {
        DeValue::String(_) | DeValue::Integer(_) => text_of(value.get_ref()),
        _ => Err("not a text".into()),
    };
    let checked = text.and_then(|text| match check_app_name(&text) {
        Ok(()) => Ok(text),
        Err(fault) => Err(fault.to_string()),
    });
    checked.map_err(|why| (at, format!("app: {name}: {why}")))
}

/// Reads the secret, from its file if it has one. No error quotes it.
fn secret_of(at: usize, table: &DeTable<'_>) -> Result<(String, Option<PathBuf>), Fault> {
    match (find(table, "secret"), find(table, "secret-file")) {
        (None, None) => Err((at, "it needs secret or secret_file".into())),
        (Some(_), Some(file)) => {
            let why = "secret and secret_file are both set: leave one out";
            Err((file.span().start, why.into()))
        }
        (Some(secret), None) => {
            let at = secret.span().start;
            let DeValue::String(text) = secret.get_ref() else {
                return Err((at, "secret is not a text".into()));
            };
            check_secret(text).map_err(|why| (at, why))?;
            Ok((text.to_string(), None))
        }
        (None, Some(file)) => {
            let at = file.span().start;
            let named = |why| (at, format!("secret-file: {why}"));
            let DeValue::String(path) = file.get_ref() else {
                return Err((at, "secret-file is not a text".into()));
            };
            let path = PathBuf::from(path.as_ref());
            let text = secret::text_in(&path).map_err(named)?;
            check_secret(&text).map_err(named)?;
            Ok((text, Some(path)))
        }
    }
}

fn set(app: &mut App, name: &Word<'_>, value: &Value<'_>) -> Result<(), Fault> {
    let wanted = name.get_ref().replace('_', "-");
    let Some(key) = APP_KEYS.iter().find(|key| key.name == wanted) else {
        let near = nearest(&wanted).map(|name| name.replace('-', "_")).unwrap_or_default();
        let why = format!("unknown key {:?}{}", name.get_ref(), hint(&near));
        return Err((name.span().start, why));
    };
    let at = value.span().start;
    let text = text_of(value.get_ref()).map_err(|why| (at, format!("{}: {why}", key.name)))?;
    (key.set)(app, text.trim()).map_err(|why| (at, format!("{}: {why}", key.name)))
}

fn nearest(wanted: &str) -> Option<&'static str> {
    let names = APP_KEYS.iter().map(|key: &AppKey| key.name).chain(NAMES);
    let like = |name: &str| strsim::jaro_winkler(name, wanted);
    names.max_by(|a, b| like(a).total_cmp(&like(b))).filter(|name| like(name) > 0.8)
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
