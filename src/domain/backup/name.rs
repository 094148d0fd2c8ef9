//! Names that people give to backups.

/// Characters of a name, at most.
pub const NAME_CHARS_MAX: usize = 63;

/// Whether a name may be given: it stands in the repository, in arguments and in lists.
///
/// # Errors
/// A sentence that says what is wrong.
pub fn check_name(name: &str) -> Result<(), String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ' ');
    let Some(first) = name.chars().next() else {
        return Err("Give the backup a name.".into());
    };
    if name.chars().count() > NAME_CHARS_MAX {
        return Err(format!("A name has at most {NAME_CHARS_MAX} characters."));
    }
    if !first.is_ascii_alphanumeric() || !name.chars().all(is_plain) || name.ends_with(' ') {
        return Err("A name begins with a letter or digit and has letters, digits, spaces, dots, hyphens and underscores.".into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain() {
        for good in ["a", "before release 2.1", "A-b_c.d", &"x".repeat(63)] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for bad in ["", " a", "a ", "-x", "a=b", "ä", "a\nb", "a\"b", &"x".repeat(64)] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }
}
