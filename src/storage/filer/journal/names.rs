//! Names of the journal's objects.

/// What a name below the journal's folder says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Name {
    /// One flush, or a fence; whoever creates it decides what has that number.
    Single(u64),
    /// Several that were merged.
    Merged { first: u64, last: u64 },
    /// Records of a single that were too many for its own object.
    Body(u64),
}

pub(super) fn single(sequence: u64) -> String {
    format!("{sequence:020}")
}

pub(super) fn merged(first: u64, last: u64, epoch: u64) -> String {
    format!("{first:020}-{last:020}-{epoch:020}")
}

/// Each attempt has its own: one that is late must not touch what another has stored.
pub(super) fn body(sequence: u64, epoch: u64, attempt: u32) -> String {
    format!("{sequence:020}.{epoch:020}.{attempt:04}")
}

/// None for files of others.
pub(super) fn parse(name: &str) -> Option<Name> {
    let number = |text: &str| {
        (text.len() == 20 && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse::<u64>().ok())?
    };
    if let Some(sequence) = number(name) {
        return Some(Name::Single(sequence));
    }
    if let Some((sequence, rest)) = name.split_once('.') {
        let (epoch, attempt) = rest.split_once('.')?;
        let is_ours = number(epoch).is_some() && attempt.parse::<u32>().is_ok();
        return number(sequence).filter(|_| is_ours).map(Name::Body);
    }
    let mut parts = name.split('-');
    let (first, last, epoch) = (number(parts.next()?)?, number(parts.next()?)?, number(parts.next()?));
    (epoch.is_some() && parts.next().is_none() && first <= last).then_some(Name::Merged { first, last })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back_and_those_of_others_do_not() {
        assert_eq!(parse(&single(7)), Some(Name::Single(7)));
        assert_eq!(parse(&merged(1, 9, 3)), Some(Name::Merged { first: 1, last: 9 }));
        assert_eq!(parse(&body(7, 3, 1)), Some(Name::Body(7)));
        for other in ["", "notes.txt", "7", "00000000000000000007-x", "00000000000000000007.bak", "-", &merged(9, 1, 3)]
        {
            assert_eq!(parse(other), None, "{other}");
        }
    }
}
