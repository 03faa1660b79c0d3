//! The claims of a token, with their bounds. Only the claims of a token whose signature is right
//! are read.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::value::RawValue;
use stentor_shards::proof::{Cap, Grant, PATTERNS_MAX, Pattern, Right, Rights};

use crate::fault::Fault;
use crate::token::object_in;

/// The most channels that a token may subscribe its client to.
const CHANNELS_MAX: usize = 128;

/// The most bytes of the claims `info` and `meta`.
const INFO_BYTES_MAX: usize = 4096;

/// The most bytes of a token's id.
const ID_BYTES_MAX: usize = 128;

/// The largest number that JSON carries exactly everywhere.
const TIME_MAX: f64 = 9_007_199_254_740_992.0;

/// The claims as they stand in the token. Others are of no interest.
#[derive(Deserialize)]
pub(crate) struct Claims<'a> {
    #[serde(default, borrow)]
    sub: Option<&'a RawValue>,
    #[serde(default)]
    exp: Option<f64>,
    #[serde(default)]
    nbf: Option<f64>,
    #[serde(default)]
    iat: Option<f64>,
    #[serde(default, borrow)]
    jti: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    aud: Option<&'a RawValue>,
    #[serde(default, borrow)]
    iss: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    info: Option<&'a RawValue>,
    #[serde(default, borrow)]
    b64info: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    meta: Option<&'a RawValue>,
    #[serde(default, borrow)]
    channels: Option<Vec<Cow<'a, str>>>,
    #[serde(default, borrow)]
    subs: Option<BTreeMap<Cow<'a, str>, &'a RawValue>>,
    #[serde(default, borrow)]
    data: Option<&'a RawValue>,
    #[serde(default, borrow)]
    b64data: Option<Cow<'a, str>>,
    #[serde(default, borrow, rename = "override")]
    changes: Option<&'a RawValue>,
    #[serde(default, borrow)]
    caps: Option<Vec<RawCap<'a>>>,
    #[serde(default)]
    expire_at: Option<f64>,
    #[serde(default, borrow)]
    pub(crate) channel: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    pub(crate) client: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct RawCap<'a> {
    #[serde(borrow)]
    channels: Vec<Cow<'a, str>>,
    #[serde(borrow)]
    allow: Vec<Cow<'a, str>>,
    #[serde(default, borrow, rename = "match")]
    matching: Option<Cow<'a, str>>,
}

/// The statements of a connection's token about one channel.
#[derive(Deserialize)]
struct RawSub<'a> {
    #[serde(default, borrow)]
    info: Option<&'a RawValue>,
    #[serde(default, borrow)]
    b64info: Option<Cow<'a, str>>,
    #[serde(default, borrow)]
    data: Option<&'a RawValue>,
    #[serde(default, borrow)]
    b64data: Option<Cow<'a, str>>,
    #[serde(default, borrow, rename = "override")]
    changes: Option<&'a RawValue>,
}

/// The wishes for a subscription that differ from the rules of its channel. Others than this one
/// cannot be granted here, and are left out.
#[derive(Deserialize)]
struct Changes {
    #[serde(default)]
    force_push_join_leave: Option<Switch>,
}

#[derive(Deserialize)]
struct Switch {
    #[serde(default)]
    value: bool,
}

impl<'a> Claims<'a> {
    pub(crate) fn read(bytes: &'a [u8]) -> Result<Self, Fault> {
        let why = "the claims are not a JSON object, or one is not of its type";
        object_in(bytes).ok_or(Fault::Malformed(why))
    }

    /// Checks the times at the Unix time `now_s`. Returns the time from which the connection is
    /// over.
    pub(crate) fn check_times(&self, now_s: u64, leeway_s: u64) -> Result<Option<u64>, Fault> {
        let over = seconds(self.exp, "exp is not a time")?.map(|exp| exp.saturating_add(leeway_s));
        if let Some(over) = over.filter(|over| *over <= now_s) {
            return Err(Fault::Expired((now_s - over).saturating_add(leeway_s)));
        }
        let begin = seconds(self.nbf, "nbf is not a time")?.unwrap_or(0);
        if let Some(left) = begin.checked_sub(now_s.saturating_add(leeway_s)).filter(|s| *s > 0) {
            return Err(Fault::TooEarly(left));
        }
        // Such a claim says how long the connection lasts, beside how long the token is good for
        // making one; zero is for ever.
        match self.expire_at()? {
            None => Ok(over),
            Some(0) => Ok(None),
            Some(end) => Ok(Some(end.saturating_add(leeway_s))),
        }
    }

    /// The claim that says how long the connection lasts; zero is for ever.
    pub(crate) fn expire_at(&self) -> Result<Option<u64>, Fault> {
        seconds(self.expire_at, "expire_at is not a time")
    }

    pub(crate) fn issued(&self) -> Result<Option<u64>, Fault> {
        seconds(self.iat, "iat is not a time")
    }

    pub(crate) fn check_audience(&self, wanted: &str) -> Result<(), Fault> {
        let text = self.aud.map_or("null", RawValue::get);
        let one = serde_json::from_str::<String>(text).is_ok_and(|aud| aud == wanted);
        let many = || serde_json::from_str::<Vec<String>>(text);
        if one || many().is_ok_and(|list| list.iter().any(|aud| aud == wanted)) {
            Ok(())
        } else {
            Err(Fault::Audience)
        }
    }

    pub(crate) fn check_issuer(&self, wanted: &str) -> Result<(), Fault> {
        if self.iss.as_deref() == Some(wanted) { Ok(()) } else { Err(Fault::Issuer) }
    }

    /// The user in `sub`. The empty name is an anonymous client's.
    pub(crate) fn user(&self) -> Result<Option<Arc<str>>, Fault> {
        self.sub.map_or(Ok(None), |sub| user_in(sub, "sub is not a text"))
    }

    pub(crate) fn id(&self) -> Result<Option<Arc<str>>, Fault> {
        let Some(id) = self.jti.as_deref().filter(|id| !id.is_empty()) else { return Ok(None) };
        if id.len() > ID_BYTES_MAX {
            return Err(Fault::Claim("jti is longer than 128 bytes"));
        }
        Ok(Some(id.into()))
    }

    pub(crate) fn info(&self) -> Result<Option<Arc<str>>, Fault> {
        json(self.info, self.b64info.as_deref(), "info")
    }

    /// The statements of a subscription token about the subscription.
    pub(crate) fn grant(&self) -> Result<Grant, Fault> {
        Ok(Grant {
            info: self.info()?,
            data: json(self.data, self.b64data.as_deref(), "data")?,
            watches: read_override(self.changes)?,
        })
    }

    /// The statements about channels to subscribe to, where there are any.
    pub(crate) fn grants(&self) -> Result<Vec<(Arc<str>, Grant)>, Fault> {
        let mut grants = Vec::new();
        for (name, options) in self.subs.iter().flatten().filter(|(_, raw)| raw.get() != "null") {
            let why = "subs has an entry that is no object, or has a field of a wrong type";
            let options: RawSub<'_> =
                object_in(options.get().as_bytes()).ok_or(Fault::Claim(why))?;
            let grant = Grant {
                info: json(options.info, options.b64info.as_deref(), "info")?,
                data: json(options.data, options.b64data.as_deref(), "data")?,
                watches: read_override(options.changes)?,
            };
            if grant != Grant::default() {
                grants.push((name.as_ref().into(), grant));
            }
        }
        Ok(grants)
    }

    pub(crate) fn meta(&self) -> Result<Option<Arc<str>>, Fault> {
        self.meta.map(|meta| bounded(meta, "meta is longer than 4096 bytes")).transpose()
    }

    /// The channels to subscribe to, each once.
    pub(crate) fn channels(&self) -> Result<Vec<Arc<str>>, Fault> {
        let listed = self.channels.iter().flatten().map(AsRef::as_ref);
        let mut names: Vec<&str> =
            listed.chain(self.subs.iter().flat_map(BTreeMap::keys).map(AsRef::as_ref)).collect();
        names.sort_unstable();
        names.dedup();
        if names.len() > CHANNELS_MAX {
            return Err(Fault::Claim("channels and subs name more than 128 channels"));
        }
        Ok(names.into_iter().map(Arc::from).collect())
    }

    pub(crate) fn caps(&self) -> Result<Vec<Cap>, Fault> {
        let Some(caps) = &self.caps else { return Ok(Vec::new()) };
        if caps.iter().map(|cap| cap.channels.len()).sum::<usize>() > PATTERNS_MAX
            || caps.len() > PATTERNS_MAX
        {
            return Err(Fault::Claim("caps name more than 256 channels"));
        }
        caps.iter().map(RawCap::checked).collect()
    }
}

impl RawCap<'_> {
    fn checked(&self) -> Result<Cap, Fault> {
        if self.matching.as_deref().is_some_and(|word| !matches!(word, "" | "wildcard")) {
            return Err(Fault::Claim("caps match by something else than names and wildcards"));
        }
        let mut rights = Rights::default();
        for word in &self.allow {
            rights.add(Right::read(word).ok_or(Fault::Claim("caps allow an unknown right"))?);
        }
        let pattern = "caps name a channel that is empty, too long, or has a star in its middle";
        let read = |name: &Cow<'_, str>| Pattern::read(name).ok_or(Fault::Claim(pattern));
        let channels = self.channels.iter().map(read).collect::<Result<_, _>>()?;
        Ok(Cap { channels, rights })
    }
}

/// The user in a claim of another name than `sub`.
pub(crate) fn user_by(name: &str, bytes: &[u8]) -> Result<Option<Arc<str>>, Fault> {
    let all: BTreeMap<Cow<'_, str>, &RawValue> =
        serde_json::from_slice(bytes).map_err(|_| Fault::Malformed("the claims are not JSON"))?;
    match all.get(name) {
        Some(user) => user_in(user, "the claim that holds the user is not a text"),
        None => Err(Fault::Claim("that holds the user is not there")),
    }
}

fn user_in(value: &RawValue, why: &'static str) -> Result<Option<Arc<str>>, Fault> {
    let user: Option<Cow<'_, str>> =
        serde_json::from_str(value.get()).map_err(|_| Fault::Claim(why))?;
    Ok(user.filter(|user| !user.is_empty()).map(|user| user.as_ref().into()))
}

/// Returns a claim that is JSON, or JSON in base64, with its bound.
fn json(
    value: Option<&RawValue>,
    base64: Option<&str>,
    name: &'static str,
) -> Result<Option<Arc<str>>, Fault> {
    let too_long = match name {
        "info" => "info is longer than 4096 bytes",
        _ => "data is longer than 4096 bytes",
    };
    let Some(base64) = base64.filter(|text| !text.is_empty()) else {
        let value = value.filter(|value| value.get() != "null");
        return value.map(|value| bounded(value, too_long)).transpose();
    };
    let why = match name {
        "info" => Fault::Claim("b64info is not JSON in base64"),
        _ => Fault::Claim("b64data is not JSON in base64"),
    };
    let bytes = STANDARD.decode(base64.as_bytes()).map_err(|_| why.clone())?;
    let text: &RawValue = serde_json::from_slice(&bytes).map_err(|_| why)?;
    bounded(text, too_long).map(Some)
}

/// Reads the `override` of a subscription. Returns `true` if the client is to hear of joins and
/// leaves.
///
/// # Errors
/// It is no object, or has a field of a wrong type.
pub fn read_override(changes: Option<&RawValue>) -> Result<bool, Fault> {
    let Some(changes) = changes.filter(|changes| changes.get() != "null") else { return Ok(false) };
    let why = Fault::Claim("override is not an object of switches");
    let changes: Changes = object_in(changes.get().as_bytes()).ok_or(why)?;
    Ok(changes.force_push_join_leave.is_some_and(|switch| switch.value))
}

fn bounded(value: &RawValue, why: &'static str) -> Result<Arc<str>, Fault> {
    let text = value.get();
    if text.len() > INFO_BYTES_MAX { Err(Fault::Claim(why)) } else { Ok(text.into()) }
}

fn seconds(time: Option<f64>, why: &'static str) -> Result<Option<u64>, Fault> {
    match time {
        None => Ok(None),
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the bounds were checked, and a part of a second is of no account"
        )]
        Some(time) if (0.0..=TIME_MAX).contains(&time) => Ok(Some(time as u64)),
        Some(_) => Err(Fault::Claim(why)),
    }
}
