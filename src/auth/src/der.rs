//! The little of DER that public keys are wrapped in.

/// One value of DER and the bytes behind it, if it has the tag `tag` and a length in its shortest
/// form.
pub(crate) fn take(tag: u8, bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&found, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (len, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81 | 0x82 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first & 0x0f))?;
            let len = digits.iter().fold(0, |len, digit| len << 8 | usize::from(*digit));
            if len < 0x80 || (digits.len() == 2 && len < 0x100) {
                return None;
            }
            (len, rest)
        }
        _ => return None,
    };
    if found == tag { rest.split_at_checked(len) } else { None }
}

pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const BIT_STRING: u8 = 0x03;
pub(crate) const OID: u8 = 0x06;
pub(crate) const SEQUENCE: u8 = 0x30;

/// A public key as `SubjectPublicKeyInfo` has it.
pub(crate) struct PublicKey<'a> {
    pub(crate) algorithm: &'a [u8],
    /// The part behind the algorithm, such as the curve.
    pub(crate) parameters: &'a [u8],
    pub(crate) key: &'a [u8],
}

/// Reads a `SubjectPublicKeyInfo`.
pub(crate) fn public_key(bytes: &[u8]) -> Option<PublicKey<'_>> {
    let (info, rest) = take(SEQUENCE, bytes)?;
    if !rest.is_empty() {
        return None;
    }
    let (kind, key) = take(SEQUENCE, info)?;
    let (algorithm, parameters) = take(OID, kind)?;
    let (key, rest) = take(BIT_STRING, key)?;
    // The first byte counts the unused bits.
    let (0, key) = key.split_first().map(|(unused, key)| (*unused, key))? else { return None };
    rest.is_empty().then_some(PublicKey { algorithm, parameters, key })
}

/// Reads an `RSAPublicKey`: modulus and exponent, without leading zeros.
pub(crate) fn rsa_public_key(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (pair, rest) = take(SEQUENCE, bytes)?;
    if !rest.is_empty() {
        return None;
    }
    let (modulus, pair) = take(INTEGER, pair)?;
    let (exponent, rest) = take(INTEGER, pair)?;
    rest.is_empty().then_some((without_zeros(modulus), without_zeros(exponent)))
}

/// Returns a number without the zeros before its first digit.
pub(crate) fn without_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|digit| **digit == 0).count();
    &number[zeros..]
}
