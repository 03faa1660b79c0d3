//! The variables `STENTOR_*`: settings, variables of other programs, and mistyped names.

use std::ffi::{OsStr, OsString};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::ffi::OsStrExt;

use super::{Invalid, Layered, Source, hint, keys, variable};

const PREFIX: &str = "STENTOR_";

/// Lays the variables over the settings.
pub(super) fn lay(
    variables: impl Iterator<Item = (OsString, OsString)>,
    layered: &mut Layered,
) -> Result<(), Invalid> {
    let ours = |(name, _): &(OsString, OsString)| name.as_bytes().starts_with(PREFIX.as_bytes());
    let mut ours: Vec<_> = variables.filter(ours).collect();
    // The first mistake is told, so it should be the same one each time.
    ours.sort();
    for (name, value) in &ours {
        take(name, value, layered)?;
    }
    Ok(())
}

fn take(name: &OsStr, value: &OsStr, layered: &mut Layered) -> Result<(), Invalid> {
    let Some(full) = name.to_str() else {
        let shown = name.to_string_lossy().escape_debug().to_string();
        return Err(Invalid(format!("the name of the variable {shown} is not valid UTF-8")));
    };
    let short = full.strip_prefix(PREFIX).unwrap_or_default();
    // The first is the command line's, the others are the load tool's.
    if short == "CONFIG" || short.starts_with("BENCH_") {
        return Ok(());
    }
    let wanted = short.to_ascii_lowercase().replace('_', "-");
    let text = value.to_str();
    // Compose files and shells write an unset variable as an empty one.
    if text.is_some_and(|text| text.trim().is_empty()) {
        return Ok(());
    }
    if let Some(key) = keys::find(&wanted) {
        let text = text.ok_or_else(|| Invalid(format!("{full}: the value is not valid UTF-8")))?;
        return layered
            .set(key, text, Source::Environment)
            .map_err(|why| Invalid(format!("{full}: {why}")));
    }
    if is_of_a_service(short, text.unwrap_or_default()) {
        return Ok(());
    }
    if let Some(key) = keys::mistyped(&wanted) {
        let near = hint(&variable(key.name));
        return Err(Invalid(format!("unknown variable {full}{near}")));
    }
    let near = keys::nearest(&wanted).map(|near| variable(near.name)).unwrap_or_default();
    layered.warnings.push(format!("{full} is no setting and is passed over{}", hint(&near)));
    Ok(())
}

/// Returns `true` for the variables that Kubernetes sets in every pod beside a Service whose name
/// begins with `stentor`: their names together with their values, as either alone could be meant
/// for this program.
fn is_of_a_service(short: &str, value: &str) -> bool {
    let words: Vec<&str> = short.split('_').collect();
    let is_number = |text: &str| text.parse::<u16>().is_ok();
    let is_address = value.parse::<IpAddr>().is_ok();
    let places = || (0..words.len()).map(|at| &words[at..]);
    places().any(|words| match words {
        ["SERVICE", "HOST"] => is_address,
        // The name of a port may follow, which may be any words.
        ["SERVICE", "PORT", ..] => is_number(value),
        ["PORT"] => is_url(value),
        ["PORT", number, "TCP" | "UDP" | "SCTP", rest @ ..] if is_number(number) => match rest {
            [] => is_url(value),
            ["PROTO"] => matches!(value, "tcp" | "udp" | "sctp"),
            ["PORT"] => value == *number,
            ["ADDR"] => is_address,
            _ => false,
        },
        _ => false,
    })
}

/// Returns `true` for `tcp://10.96.0.12:9001`.
fn is_url(value: &str) -> bool {
    let kinds = ["tcp://", "udp://", "sctp://"];
    let address = kinds.iter().find_map(|kind| value.strip_prefix(kind));
    address.is_some_and(|address| address.parse::<SocketAddr>().is_ok())
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use super::*;

    fn load(variables: &[(&str, &[u8])]) -> Result<Layered, String> {
        let os = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
        let variables = variables.iter().map(|(name, value)| (os(name.as_bytes()), os(value)));
        let mut layered = Layered::default();
        lay(variables, &mut layered).map_err(|invalid| invalid.to_string())?;
        Ok(layered)
    }

    #[test]
    fn variables_of_services_are_passed_over_in_silence() {
        let address = b"10.96.0.12".as_slice();
        let url = b"tcp://10.96.0.12:9001".as_slice();
        let layered = load(&[
            ("STENTOR_SERVICE_HOST", address),
            ("STENTOR_SERVICE_PORT", b"9001"),
            ("STENTOR_SERVICE_PORT_WS", b"9001"),
            ("STENTOR_PORT", url),
            ("STENTOR_PORT_9001_TCP", url),
            ("STENTOR_PORT_9001_TCP_PROTO", b"tcp"),
            ("STENTOR_PORT_9001_TCP_PORT", b"9001"),
            ("STENTOR_PORT_9001_TCP_ADDR", address),
            ("STENTOR_ADMIN_SERVICE_HOST", address),
            ("STENTOR_ADMIN_SERVICE_PORT", b"9002"),
            ("STENTOR_ADMIN_SERVICE_PORT_HTTP_METRICS", b"9002"),
            ("STENTOR_ADMIN_PORT", b"udp://10.96.0.13:9002"),
            ("STENTOR_ADMIN_PORT_9002_UDP_ADDR", address),
            ("STENTOR_SHARDS_OF_EUROPE_PORT_9_SCTP", b"sctp://10.96.0.13:9"),
            ("STENTOR_PORT_9001_TCP_ADDR", b"fd00::12"),
            ("STENTOR_SIX_PORT", b"tcp://[fd00::12]:9001"),
        ])
        .unwrap();
        assert!(layered.warnings.is_empty(), "{:?}", layered.warnings);
        assert!(layered.sources.is_empty());
    }

    /// Either the name or the value alone is no reason to pass a variable over in silence.
    #[test]
    fn what_only_resembles_variables_of_services_is_told() {
        for (name, value) in [
            ("SERVICE_HOST", "10.96.0"),
            ("SERVICE_HOST_NAME", "10.96.0.12"),
            ("SERVICE_PORT", "tcp"),
            ("SERVICE_PORT_WS", "ws"),
            ("WEB_PORT", "9001"),
            ("WEB_PORT", "tcp://web"),
            ("PORT_9001_TCP_PORT", "9002"),
            ("PORT_9001_TCP_PROTO", "quic"),
            ("PORT_99999_TCP", "tcp://10.96.0.12:9001"),
            ("PORT_9001_TCP_NAME", "x"),
            ("NAME", "/web/stentor"),
            ("MY_ENV_PATH", "/bin"),
        ] {
            let layered = load(&[(&format!("STENTOR_{name}"), value.as_bytes())]).unwrap();
            assert_eq!(layered.warnings.len(), 1, "{name}: {:?}", layered.warnings);
        }
    }

    #[test]
    fn mistyped_names_are_errors_and_other_names_are_warnings() {
        for (name, key) in [
            ("PING_INTERVALL", "PING_INTERVAL"),
            ("PINGINTERVAL", "PING_INTERVAL"),
            ("CLIENTS_MAX", "MAX_CLIENTS"),
            ("LISTEN_ADDR", "LISTEN"),
            ("ADMIN_PORT", "ADMIN"),
            ("API_KEYS", "API_KEY"),
            ("LOGLEVEL", "LOG_LEVEL"),
            ("SHARD", "SHARDS"),
        ] {
            let error = load(&[(&format!("STENTOR_{name}"), b"5")]).unwrap_err();
            let wanted = format!("unknown variable STENTOR_{name}; did you mean STENTOR_{key}?");
            assert_eq!(error, wanted);
        }
        for name in [
            "VERSION",
            "IMAGE",
            "TAG",
            "HOME",
            "HOST",
            "UID",
            "USER",
            "COMMIT",
            "REPLICAS",
            "URL",
            "DATA_DIR",
            "NAMESPACE",
            "REVISION",
            "IMAGE_TAG",
            "PORT",
            "BUILD_DATE",
            "REGION",
        ] {
            let layered = load(&[(&format!("STENTOR_{name}"), b"5")]).unwrap();
            assert_eq!(layered.warnings.len(), 1, "{name}: {:?}", layered.warnings);
        }
    }

    #[test]
    fn empty_variables_are_unset_and_invalid_utf8_is_an_error() {
        let empty = [("STENTOR_SHARDS", b"".as_slice()), ("STENTOR_API_KEY", b" ")];
        let layered = load(&empty).unwrap();
        assert!(layered.sources.is_empty() && layered.settings.api_key.is_none());
        let error = load(&[("STENTOR_API_KEY", b"s\xffcret")]).unwrap_err();
        assert_eq!(error, "STENTOR_API_KEY: the value is not valid UTF-8");
        let name = OsString::from_vec(b"STENTOR_API\xff".to_vec());
        let error = lay(std::iter::once((name, "x".into())), &mut Layered::default());
        assert!(error.unwrap_err().to_string().contains("is not valid UTF-8"));
    }

    #[test]
    fn words_of_a_choice_are_read_in_any_case() {
        let layered = load(&[
            ("STENTOR_LOG_LEVEL", b"INFO"),
            ("STENTOR_SLOW_CLIENTS", b"Drop"),
            ("STENTOR_ADMIN", b"OFF"),
        ])
        .unwrap();
        assert_eq!(layered.settings.log_level, "info");
        assert!(layered.settings.admin.is_none());
    }
}
