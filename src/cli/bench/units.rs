//! Times and sizes as people write them on a command line, and back.

use std::time::Duration;

/// `300ms`, `10s`, `1.5m`; a bare number is seconds.
pub fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = split(text);
    let scale = match unit {
        "ms" => 1e-3,
        "" | "s" => 1.0,
        "m" | "min" => 60.0,
        _ => return Err(format!("'{unit}' is none of ms, s, m")),
    };
    let number: f64 = number.parse().map_err(|_| format!("'{number}' is not a number"))?;
    Duration::try_from_secs_f64(number * scale).map_err(|error| error.to_string())
}

/// `65536`, `64KiB`, `512MiB`, `2GiB`.
pub fn size(text: &str) -> Result<usize, String> {
    let (number, unit) = split(text);
    let scale: usize = match unit {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(format!("'{unit}' is none of B, KiB, MiB, GiB")),
    };
    let number: usize = number.parse().map_err(|_| format!("'{number}' is not a whole number"))?;
    number.checked_mul(scale).ok_or_else(|| "too large".to_owned())
}

/// As [`size`], of what goes into one request.
pub fn message_size(text: &str) -> Result<usize, String> {
    match size(text)? {
        bytes if bytes <= MESSAGE_BYTES_MAX => Ok(bytes),
        _ => Err(format!("more than {}", size_text(MESSAGE_BYTES_MAX))),
    }
}

/// In the largest unit that leaves no fraction.
pub fn size_text(bytes: usize) -> String {
    match bytes {
        0 => "0 B".to_owned(),
        _ if bytes.is_multiple_of(1 << 30) => format!("{} GiB", bytes >> 30),
        _ if bytes.is_multiple_of(1 << 20) => format!("{} MiB", bytes >> 20),
        _ if bytes.is_multiple_of(1 << 10) => format!("{} KiB", bytes >> 10),
        _ => format!("{bytes} B"),
    }
}

fn split(text: &str) -> (&str, &str) {
    let end = text.find(|character: char| !character.is_ascii_digit() && character != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    (number, unit.trim())
}

const MESSAGE_BYTES_MAX: usize = 256 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read() {
        assert_eq!(duration("300ms"), Ok(Duration::from_millis(300)));
        assert_eq!(duration("0.5s"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("10"), Ok(Duration::from_secs(10)));
        assert_eq!(duration("2m"), Ok(Duration::from_secs(120)));
        for wrong in ["", "s", "1h", "-1s", "1..5s", "99999999999999999999999s"] {
            duration(wrong).unwrap_err();
        }
    }

    #[test]
    fn sizes_are_read_and_shown() {
        for (text, bytes) in [("512 MiB", 512 << 20), ("64 KiB", 65536), ("100 B", 100), ("3 GiB", 3 << 30)] {
            assert_eq!(size(text), Ok(bytes));
            assert_eq!(size_text(bytes), text);
        }
        assert_eq!(size("65536"), Ok(65536));
        message_size("257MiB").unwrap_err();
        for wrong in ["", "1.5KiB", "1kb", "99999999999GiB"] {
            size(wrong).unwrap_err();
        }
    }
}
