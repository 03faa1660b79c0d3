//! Switches and lists as people write them; times, sizes and counts are those of `stentor-units`.

pub(crate) fn read_switch(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Ok(true),
        "false" | "no" | "off" | "0" => Ok(false),
        _ => Err(format!("{text:?} is neither true nor false")),
    }
}

/// Returns the items of a list with commas, but for empty ones.
pub(crate) fn items(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty())
}

/// Returns those of the known names that a list has, in the order in which they are known.
pub(crate) fn names_of<const N: usize>(
    known: [&'static str; N],
    text: &str,
) -> Result<Vec<&'static str>, String> {
    if let Some(unknown) = items(text).find(|name| !known.contains(name)) {
        return Err(format!("{unknown:?} is none of {}", known.join(" ")));
    }
    Ok(known.into_iter().filter(|name| items(text).any(|item| item == *name)).collect())
}

/// Returns a text that is set; an empty one unsets it.
pub(crate) fn unless_empty(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

/// `0,2-5`.
pub(crate) fn read_cores(text: &str) -> Result<Vec<usize>, String> {
    let mut cores = Vec::new();
    for part in items(text) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let wrong = || format!("{part:?} is not a core or a range such as 0 or 2-5");
        let first: usize = first.trim().parse().map_err(|_| wrong())?;
        let last: usize = last.trim().parse().map_err(|_| wrong())?;
        if last < first || last > 4096 {
            return Err(wrong());
        }
        cores.extend(first..=last);
    }
    Ok(cores)
}

pub(crate) fn show_cores(cores: &[usize]) -> String {
    cores.iter().map(usize::to_string).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores() {
        assert_eq!(read_cores("0,2-4"), Ok(vec![0, 2, 3, 4]));
        assert!(read_cores("4-2").is_err());
        assert!(read_cores("a").is_err());
        assert!(read_cores("0-99999999").is_err());
    }
}
