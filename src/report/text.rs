//! How wide text is, and numbers as people write them.

/// Advance widths of DejaVu Sans for ASCII 32 to 126, in hundredths of the type size.
const ADVANCES: [u8; 95] = [
    32, 40, 46, 84, 64, 95, 78, 27, 39, 39, 50, 84, 32, 36, 32, 34, 64, 64, 64, 64, 64, 64, 64, 64, 64, 64, 34, 34, 84,
    84, 84, 53, 100, 68, 69, 70, 77, 63, 58, 77, 75, 29, 29, 66, 56, 86, 75, 79, 60, 79, 69, 63, 61, 73, 68, 99, 69,
    61, 69, 39, 34, 39, 84, 50, 50, 61, 63, 55, 63, 62, 35, 63, 63, 28, 28, 58, 28, 97, 63, 61, 63, 63, 41, 52, 39, 63,
    59, 82, 59, 59, 52, 64, 34, 64, 84,
];
/// The same for DejaVu Sans Bold.
const BOLD_ADVANCES: [u8; 95] = [
    35, 46, 52, 84, 70, 100, 87, 31, 46, 46, 52, 84, 38, 42, 38, 37, 70, 70, 70, 70, 70, 70, 70, 70, 70, 70, 40, 40,
    84, 84, 84, 58, 100, 77, 76, 73, 83, 68, 68, 82, 84, 37, 37, 77, 64, 100, 84, 85, 73, 85, 77, 72, 68, 81, 77, 110,
    77, 72, 73, 46, 37, 46, 84, 50, 50, 67, 72, 59, 72, 68, 44, 72, 71, 34, 34, 67, 34, 104, 71, 69, 72, 72, 49, 60,
    48, 71, 65, 92, 65, 65, 58, 71, 37, 71, 84,
];
/// For every other character; as wide as the wide ones, so that room is found rather than lost.
const OTHER_ADVANCE: u8 = 100;

/// Estimated width of `text` in pixels at type size `size`.
pub(super) fn width(text: &str, size: f64, bold: bool) -> f64 {
    let advances = if bold { &BOLD_ADVANCES } else { &ADVANCES };
    let advance = |character: char| {
        let index = (character as usize).wrapping_sub(' ' as usize);
        f64::from(advances.get(index).copied().unwrap_or(OTHER_ADVANCE))
    };
    text.chars().map(advance).sum::<f64>() / 100.0 * size
}

/// `text`, shortened with an ellipsis if it would be wider than `room` pixels.
pub(super) fn fit(text: &str, size: f64, bold: bool, room: f64) -> String {
    if width(text, size, bold) <= room {
        return text.to_owned();
    }
    let mut kept = String::new();
    let mut used = width("…", size, bold);
    for character in text.chars() {
        used += width(character.encode_utf8(&mut [0; 4]), size, bold);
        if used > room {
            break;
        }
        kept.push(character);
    }
    kept.truncate(kept.trim_end().len());
    kept.push('…');
    kept
}

/// `text` as XML character data or attribute value: markup escaped, characters XML forbids replaced.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\t' | '\n' | '\r' => escaped.push(' '),
            '\0'..=' ' if character != ' ' => escaped.push('\u{fffd}'),
            '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            _ => escaped.push(character),
        }
    }
    escaped
}

/// `21632` as `21,632`.
pub(super) fn thousands(count: usize) -> String {
    group_thousands(&count.to_string())
}

/// Puts a comma after every third digit, counted from the decimal point, of a plain decimal number.
pub(super) fn group_thousands(number: &str) -> String {
    let (sign, digits) = number.strip_prefix('-').map_or(("", number), |digits| ("−", digits));
    let (whole, fraction) = digits.split_once('.').map_or((digits, None), |(whole, fraction)| (whole, Some(fraction)));
    let mut grouped = String::from(sign);
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    if let Some(fraction) = fraction {
        grouped.push('.');
        grouped.push_str(fraction);
    }
    grouped
}

/// `10` raised to `exponent`, typeset: `10⁻³`.
pub(super) fn power_of_ten(exponent: i32) -> String {
    let superscript = |character| match character {
        '-' => '⁻',
        '0' => '⁰',
        '1' => '¹',
        '2' => '²',
        '3' => '³',
        '4' => '⁴',
        '5' => '⁵',
        '6' => '⁶',
        '7' => '⁷',
        '8' => '⁸',
        _ => '⁹',
    };
    "10".chars().chain(exponent.to_string().chars().map(superscript)).collect()
}

/// A coordinate or length with at most two decimals, as short as possible.
pub(super) fn coordinate(value: f64) -> String {
    if !value.is_finite() {
        return "0".to_owned();
    }
    let text = format!("{value:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fitted_text_keeps_within_its_room() {
        for room in [20.0, 55.5, 100.0] {
            let fitted = fit("a layer with a very long name indeed", 12.0, true, room);
            assert!(fitted.ends_with('…') && width(&fitted, 12.0, true) <= room, "{fitted} in {room}");
        }
        assert_eq!(fit("conv1", 12.0, false, 100.0), "conv1");
        assert_eq!(fit("", 12.0, false, 0.0), "");
    }

    #[test]
    fn numbers_read_as_people_write_them() {
        assert_eq!(thousands(21_632), "21,632");
        assert_eq!(thousands(999), "999");
        assert_eq!(group_thousands("-1234567.25"), "−1,234,567.25");
        assert_eq!(power_of_ten(-12), "10⁻¹²");
        assert_eq!([12.0, 0.126, -0.001, f64::NAN].map(coordinate), ["12", "0.13", "0", "0"]);
    }

    #[test]
    fn markup_and_forbidden_characters_are_escaped() {
        assert_eq!(escape("a<b & \"c\">'\u{1}\n"), "a&lt;b &amp; &quot;c&quot;&gt;&#39;\u{fffd} ");
    }
}
