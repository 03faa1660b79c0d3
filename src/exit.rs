//! The exit codes, as sysexits.h numbers those above 64.

/// The run could not start or go on.
pub(crate) const RUN: u8 = 1;
/// The command line makes no sense.
pub(crate) const USAGE: u8 = 2;
/// Another process has taken over from this one, which has drained.
pub(crate) const RELIEVED: u8 = 3;
/// Another process has just taken over, and does not yield yet.
pub(crate) const HELD: u8 = 4;
/// A fault of this program.
pub(crate) const INTERNAL: u8 = 70;
/// The configuration is not valid, or this host cannot carry it.
pub(crate) const CONFIG: u8 = 78;

/// The exit code for an address that cannot be listened on, and the cure where one is known.
pub(crate) fn of_listen(error: &std::io::Error) -> (u8, &'static str) {
    if error.kind() == std::io::ErrorKind::PermissionDenied {
        let cure = "; a port below net.ipv4.ip_unprivileged_port_start (1024) needs \
                    CAP_NET_BIND_SERVICE: AmbientCapabilities= in a unit, or setcap";
        // The same user may not have it the next time either.
        (CONFIG, cure)
    } else {
        (RUN, "")
    }
}

/// The most characters of a complaint: what it quotes may be of any length.
const COMPLAINT_CHARS_MAX: usize = 1000;

/// A complaint as one line that does nothing to a terminal: it may quote paths and variables, in
/// which anything can stand.
pub(crate) fn harmless_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len().min(COMPLAINT_CHARS_MAX));
    for (count, c) in text.chars().enumerate() {
        if count == COMPLAINT_CHARS_MAX {
            line.push('…');
            break;
        }
        if c.is_control() { line.extend(c.escape_debug()) } else { line.push(c) }
    }
    line
}
