//! The names in a certificate and the time for which it is valid, from its DER (RFC 5280, 4.1).

const INTEGER: u8 = 0x02;
const UTC_TIME: u8 = 0x17;
pub(super) const GENERALIZED_TIME: u8 = 0x18;
pub(super) const SEQUENCE: u8 = 0x30;
pub(super) const OCTETS: u8 = 0x04;
const VERSION: u8 = 0xa0;

/// The first and the last second of a certificate, since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Dates {
    pub(crate) begin_s: i64,
    pub(crate) end_s: i64,
}

impl Dates {
    /// Says what is wrong with a certificate at a time.
    pub(crate) fn fault(self, now_s: i64) -> Option<String> {
        let days = |seconds: i64| seconds / 86_400;
        if now_s > self.end_s {
            Some(format!("it expired {} days ago", days(now_s - self.end_s)))
        } else if now_s < self.begin_s {
            Some(format!("it is not valid before {} days from now", days(self.begin_s - now_s) + 1))
        } else {
            None
        }
    }
}

/// The present second since 1970.
pub(crate) fn now_s() -> i64 {
    i64::try_from(stentor_shards::unix_ms() / 1000).unwrap_or(i64::MAX)
}

/// The parts of a certificate that are of use here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Parts<'a> {
    pub(super) dates: Dates,
    /// The names of the authority that has signed it, and of its owner, in DER.
    pub(super) issuer: &'a [u8],
    pub(super) subject: &'a [u8],
}

/// Reads a certificate.
pub(super) fn parts(certificate: &[u8]) -> Option<Parts<'_>> {
    let (SEQUENCE, certificate, _) = value(certificate)? else { return None };
    let (SEQUENCE, mut rest, _) = value(certificate)? else { return None };
    if let (VERSION, _, behind) = value(rest)? {
        rest = behind;
    }
    // The number, the algorithm of the signature and the issuer stand in front of the dates.
    let mut issuer = rest;
    for tag in [INTEGER, SEQUENCE, SEQUENCE] {
        let (found, inside, behind) = value(rest)?;
        if found != tag {
            return None;
        }
        (issuer, rest) = (inside, behind);
    }
    let (SEQUENCE, validity, rest) = value(rest)? else { return None };
    let (SEQUENCE, subject, _) = value(rest)? else { return None };
    let (begin_tag, begin, validity) = value(validity)?;
    let (end_tag, end, _) = value(validity)?;
    let dates = Dates { begin_s: time(begin_tag, begin)?, end_s: time(end_tag, end)? };
    Some(Parts { dates, issuer, subject })
}

/// Splits DER into the tag and the bytes of its first value, and what stands behind it.
pub(super) fn value(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, first], rest) = bytes.split_first_chunk::<2>()?;
    let (len, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
        let len = digits
            .iter()
            .try_fold(0_usize, |len, digit| Some(len.checked_mul(256)? + usize::from(*digit)))?;
        (len, rest)
    };
    let (value, behind) = rest.split_at_checked(len)?;
    Some((tag, value, behind))
}

/// Reads `YYMMDDHHMMSSZ` or `YYYYMMDDHHMMSSZ`.
pub(super) fn time(tag: u8, text: &[u8]) -> Option<i64> {
    let text = text.strip_suffix(b"Z").filter(|text| text.iter().all(u8::is_ascii_digit))?;
    let number = |digits: &[u8]| digits.iter().fold(0, |sum, d| sum * 10 + i64::from(d - b'0'));
    let (year, rest) = match tag {
        UTC_TIME => {
            let (year, rest) = text.split_at_checked(2)?;
            let year = number(year);
            (if year < 50 { 2000 + year } else { 1900 + year }, rest)
        }
        GENERALIZED_TIME => {
            let (year, rest) = text.split_at_checked(4)?;
            (number(year), rest)
        }
        _ => return None,
    };
    let parts: [u8; 10] = rest.try_into().ok()?;
    let [month, day, hour, minute, second] = [0, 2, 4, 6, 8].map(|at| number(&parts[at..at + 2]));
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    Some(((days(year, month, day) * 24 + hour) * 60 + minute) * 60 + second)
}

/// The days from 1970 to a date, by Howard Hinnant's `days_from_civil`.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year - era * 400;
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_a_time_are_read() {
        assert_eq!(time(UTC_TIME, b"700101000000Z"), Some(0));
        assert_eq!(time(UTC_TIME, b"000229123456Z"), Some(951_827_696));
        assert_eq!(time(UTC_TIME, b"491231235959Z"), Some(2_524_607_999));
        assert_eq!(time(GENERALIZED_TIME, b"20500101000000Z"), Some(2_524_608_000));
        assert_eq!(time(GENERALIZED_TIME, b"19691231235959Z"), Some(-1));
        for wrong in [&b"700101000000"[..], b"7001010000Z", b"701301000000Z", b"70010100000\xffZ"] {
            assert_eq!(time(UTC_TIME, wrong), None);
        }
    }

    #[test]
    fn the_dates_of_a_certificate_are_those_that_it_was_made_with() {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut wished = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        wished.not_before = rcgen::date_time_ymd(2024, 2, 29);
        wished.not_after = rcgen::date_time_ymd(2075, 1, 1);
        let made = wished.self_signed(&key).unwrap();
        let found = parts(made.der()).unwrap();
        assert_eq!(found.issuer, found.subject, "it has signed itself");
        let found = found.dates;
        assert_eq!(found, Dates { begin_s: 1_709_164_800, end_s: 3_313_526_400 });
        assert_eq!(found.fault(1_709_164_800), None);
        assert!(found.fault(1_709_164_799).unwrap().contains("not valid before 1 days"));
        assert!(found.fault(3_313_526_400 + 172_800).unwrap().contains("expired 2 days ago"));
        // Cut anywhere, it has no dates or the same ones.
        for len in 0..made.der().len() {
            assert!(parts(&made.der()[..len]).is_none_or(|cut| cut.dates == found));
        }
    }
}
