//! TLS of this process: certificates and keys are read, checked, put in force and read again.

mod by_name;
mod check;
mod dates;
pub(crate) mod dev_cert;
mod keeper;
mod marks;
mod ocsp;
mod pair;
mod trust;

pub(crate) use check::faults;
pub(crate) use keeper::{Certificates, Counts, Expiry};
pub(crate) use trust::{Trust, client_config};
