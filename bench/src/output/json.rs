//! Runs as JSON: written whole, and read back only if they are what they seem.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::hist;
use crate::run::{Run, SCHEMA_VERSION};

/// The most that is read: an hour's series is a few MB.
const FILE_BYTES_MAX: u64 = 1 << 28;

/// The members that are read first, because another version may lack the rest.
#[derive(Clone, Copy, Deserialize)]
struct Head {
    schema_version: u64,
}

/// One object, indented.
pub(crate) fn write(run: &Run) -> String {
    serde_json::to_string_pretty(run).expect("a run has only text for keys") + "\n"
}

/// An array of them, in the order in which they were made.
pub(crate) fn write_all(runs: &[Run]) -> String {
    serde_json::to_string_pretty(runs).expect("a run has only text for keys") + "\n"
}

/// Reads the output of [`write()`] or [`write_all()`]. The error is one line.
pub(crate) fn parse(text: &str) -> Result<Vec<Run>, String> {
    let not = |error: serde_json::Error| format!("not a run: {error}");
    let several = text.trim_start().starts_with('[');
    let heads: Vec<Head> = if several {
        serde_json::from_str(text).map_err(not)?
    } else {
        vec![serde_json::from_str(text).map_err(not)?]
    };
    let version = u64::from(SCHEMA_VERSION);
    if let Some(Head { schema_version }) = heads.iter().find(|head| head.schema_version != version)
    {
        return Err(format!("schema_version {schema_version}, this tool reads {version}"));
    }
    let runs: Vec<Run> = if several {
        serde_json::from_str(text).map_err(not)?
    } else {
        vec![serde_json::from_str(text).map_err(not)?]
    };
    runs.iter().try_for_each(check)?;
    Ok(runs)
}

/// The runs of a file. The error is one line.
pub(crate) fn read(path: &Path) -> Result<Vec<Run>, String> {
    let named = |error: String| format!("{}: {error}", path.display());
    let bytes = std::fs::metadata(path).map_err(|error| named(error.to_string()))?.len();
    if bytes > FILE_BYTES_MAX {
        return Err(named(format!("{bytes} bytes, at most {FILE_BYTES_MAX} are read")));
    }
    let text = std::fs::read_to_string(path).map_err(|error| named(error.to_string()))?;
    parse(&text).map_err(named)
}

/// Runs from files, which are called as their files where they have no label. The error is one
/// line.
pub(crate) fn read_all(paths: &[PathBuf]) -> Result<Vec<Run>, String> {
    let mut runs = Vec::new();
    for path in paths {
        let alike = paths.iter().filter(|other| other.file_stem() == path.file_stem()).count();
        // Two files must not pass for runs of one label.
        let whole = path.with_extension("");
        let stem = if alike == 1 { path.file_stem() } else { Some(whole.as_os_str()) };
        let stem = stem.unwrap_or_default().to_string_lossy().into_owned();
        for mut run in read(path)? {
            if run.label.is_empty() {
                run.label.clone_from(&stem);
            }
            runs.push(run);
        }
    }
    Ok(runs)
}

/// Every histogram must be one, so that nothing made of the run fails half way.
fn check(run: &Run) -> Result<(), String> {
    for (name, latency) in &run.latencies {
        let histogram =
            hist::decode(&latency.histogram).map_err(|error| format!("{name}: {error}"))?;
        if histogram.len() != latency.count {
            let (kept, count) = (histogram.len(), latency.count);
            return Err(format!("{name}: a count of {count}, a histogram of {kept}"));
        }
    }
    for second in &run.series {
        hist::decode(&second.histogram)
            .map_err(|error| format!("second {}: {error}", second.at_s))?;
    }
    let steps = run.search.iter().flat_map(|search| &search.steps);
    steps.flat_map(|step| &step.runs).chain(run.limit.as_deref()).try_for_each(check)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;
    use crate::output::sample;

    #[test]
    fn what_is_written_is_read_back() {
        let run = sample::run();
        assert_eq!(parse(&write(&run)).unwrap()[0], run);
        let runs = [run, sample::bare("raw", 7)];
        assert_eq!(parse(&write_all(&runs)).unwrap(), runs);
    }

    #[test]
    fn runs_without_a_label_are_called_as_their_files() {
        let dir = std::env::temp_dir().join(format!("stentor-bench-json-{}", std::process::id()));
        let put = |name: &str, label| {
            let path = dir.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, write(&sample::bare(label, 1000))).unwrap();
            path
        };
        let paths = [put("before.json", ""), put("a/run.json", ""), put("b/run.json", "")];
        let runs = read_all(&[&paths[..], &[put("c.json", "mine")]].concat()).unwrap();
        let labels: Vec<&str> = runs.iter().map(|run| run.label.as_str()).collect();
        let whole = |name: &str| dir.join(name).to_string_lossy().into_owned();
        assert_eq!(labels, ["before", &whole("a/run"), &whole("b/run"), "mine"]);
        std::fs::remove_dir_all(&dir).unwrap();
        assert!(read_all(&paths).unwrap_err().contains("before.json: No such file"));
    }

    #[test]
    fn other_files_get_one_clear_line() {
        let text = write(&sample::run());
        let histogram = sample::run().latencies["delivery"].histogram.clone();
        for (text, told) in [
            (String::new(), "not a run: EOF"),
            ("[1, 2]".to_owned(), "not a run: "),
            (format!("[{text}, {{\"schema_version\": 8}}]"), "schema_version 8, this tool reads 1"),
            ("{\"schema_version\": 1}".to_owned(), "not a run: missing field `command`"),
            (
                text.replacen("\"schema_version\": 1", "\"schema_version\": 7", 1),
                "schema_version 7, this tool reads 1",
            ),
            (text.replacen("\"clients\": 10000", "\"clients\": -1", 1), "not a run: invalid value"),
            (text.replacen(&histogram, "HISTF", 1), "delivery: not a histogram"),
            (text.replacen("\"count\": 900", "\"count\": 901", 1), "delivery: a count of 901"),
        ] {
            let error = parse(&text).unwrap_err();
            assert!(error.contains(told) && !error.contains('\n'), "{told}: {error}");
        }
    }

    #[test]
    fn what_is_nested_is_held_to_the_same() {
        let nested: [fn(&mut Run) -> &mut Run; 2] = [
            |run| run.limit.as_mut().unwrap(),
            |run| &mut run.search.as_mut().unwrap().steps[1].runs[0],
        ];
        for nested in nested {
            let mut run = sample::run();
            nested(&mut run).latencies.get_mut("delivery").unwrap().count += 1;
            assert!(parse(&write(&run)).unwrap_err().contains("delivery: a count of 901"));
        }
    }

    /// Holds `value` against `schema`, whose `properties` must be the very fields of an object.
    fn differences(root: &Value, schema: &Value, value: &Value, at: &str, out: &mut Vec<String>) {
        if let Some(name) = schema["$ref"].as_str() {
            let schema = root.pointer(name.trim_start_matches('#')).unwrap();
            return differences(root, schema, value, at, out);
        }
        if let Some(any) = schema["anyOf"].as_array() {
            let some = any.iter().find(|schema| value.is_null() == (schema["type"] == "null"));
            return differences(root, some.unwrap(), value, at, out);
        }
        let is = match value {
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
            Value::Number(number) if number.is_u64() || number.is_i64() => "integer",
            Value::Number(_) => "number",
        };
        let wanted = &schema["type"];
        let fits = |wanted: &Value| wanted == is || (is == "integer" && wanted == "number");
        if !(fits(wanted) || wanted.as_array().is_some_and(|any| any.iter().any(fits))) {
            out.push(format!("{at} is {is}, not {wanted}"));
        }
        if schema["description"].as_str().is_none_or(str::is_empty) {
            out.push(format!("{at} is not described"));
        }
        if let Some(fields) = schema["properties"].as_object() {
            let known: BTreeSet<_> = fields.keys().collect();
            let found: BTreeSet<_> = value.as_object().unwrap().keys().collect();
            let required: BTreeSet<_> =
                schema["required"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
            out.extend(found.difference(&known).map(|name| format!("{at}.{name} is unknown")));
            let missing = known.difference(&found).map(|name| name.as_str());
            out.extend(
                missing
                    .filter(|name| required.contains(name))
                    .map(|name| format!("{at}.{name} is missing")),
            );
            if let Some(name) = required.iter().find(|name| !fields.contains_key(**name)) {
                out.push(format!("{at}.{name} is required but not known"));
            }
            assert_eq!(schema["additionalProperties"], false, "{at}");
        }
        for (key, value) in value.as_object().into_iter().flatten() {
            let schema = schema["properties"].get(key).unwrap_or(&schema["additionalProperties"]);
            if schema.is_object() {
                differences(root, schema, value, &format!("{at}.{key}"), out);
            }
        }
        for (index, value) in value.as_array().into_iter().flatten().enumerate() {
            differences(root, &schema["items"], value, &format!("{at}[{index}]"), out);
        }
    }

    fn schema_differences(run: &Value) -> Vec<String> {
        let schema: Value = serde_json::from_str(include_str!("../../run.schema.json")).unwrap();
        let mut out = Vec::new();
        differences(&schema, &schema, run, "run", &mut out);
        out
    }

    #[test]
    fn the_schema_is_that_of_a_run_field_by_field() {
        let mut run = serde_json::to_value(sample::run()).unwrap();
        assert_eq!(schema_differences(&run), [""; 0]);
        let bare = serde_json::to_value(Run { server: None, ..sample::bare("", 1) }).unwrap();
        assert_eq!(schema_differences(&bare), [""; 0]);
        run["totals"]["lost"] = "none".into();
        run["host"].as_object_mut().unwrap().remove("cores");
        run["series"][1]["more"] = 1.into();
        assert_eq!(
            schema_differences(&run),
            [
                "run.host.cores is missing",
                "run.series[1].more is unknown",
                "run.totals.lost is string, not \"integer\"",
            ]
        );
    }
}
