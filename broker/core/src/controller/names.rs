//! What a topic may be called, and which names belong to the brokers themselves.

use super::error::InvalidName;

/// The longest name: what a file name holds, less the partition's number.
const NAME_LENGTH_MAX: usize = 249;

const INTERNAL: [&str; 3] = ["__consumer_offsets", "__transaction_state", "__share_group_state"];

/// Whether the topic of that name belongs to the brokers themselves.
pub fn is_internal(name: &str) -> bool {
    INTERNAL.contains(&name)
}

/// Whether no broker ever has a topic of that name.
pub(super) fn is_reserved(name: &str) -> bool {
    name == "__cluster_metadata"
}

/// Checks one name.
///
/// # Errors
/// [`InvalidName`] with what is wrong.
pub fn check_name(name: &str) -> Result<(), InvalidName> {
    if name.is_empty() {
        return Err(InvalidName::Empty);
    }
    if name == "." || name == ".." {
        return Err(InvalidName::Dots);
    }
    if name.len() > NAME_LENGTH_MAX {
        return Err(InvalidName::TooLong { length: name.chars().count() });
    }
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if !name.bytes().all(legal) {
        return Err(InvalidName::Characters { name: name.to_owned() });
    }
    Ok(())
}

/// Whether metrics could not tell the two names apart, in which `.` becomes `_`.
pub(super) fn collide(first: &str, second: &str) -> bool {
    let same = |a: u8, b: u8| a == b || (matches!(a, b'.' | b'_') && matches!(b, b'.' | b'_'));
    first.len() == second.len() && first.bytes().zip(second.bytes()).all(|(a, b)| same(a, b))
}

/// Whether the name could collide with another at all.
pub(super) fn can_collide(name: &str) -> bool {
    name.contains(['.', '_'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn legal_names_pass_and_others_say_what_is_wrong() {
        for name in ["a", "A-1_2.c", "__consumer_offsets", "...", &"x".repeat(249)] {
            assert_eq!(check_name(name), Ok(()), "{name}");
        }
        assert_eq!(check_name(""), Err(InvalidName::Empty));
        assert_eq!(check_name("."), Err(InvalidName::Dots));
        assert_eq!(check_name(".."), Err(InvalidName::Dots));
        assert_eq!(check_name(&"x".repeat(250)), Err(InvalidName::TooLong { length: 250 }));
        for name in ["a b", "a/b", "ä", "a\0", "a,b", "a:b"] {
            assert_eq!(check_name(name), Err(InvalidName::Characters { name: name.into() }));
        }
    }

    #[test]
    fn dots_and_underscores_collide() {
        assert!(collide("a.b", "a_b") && collide("a_b.c", "a.b_c") && collide("a.b", "a.b"));
        assert!(!collide("a.b", "a-b") && !collide("a.b", "a.bc"));
        assert!(can_collide("a.b") && !can_collide("a-b"));
    }
}
