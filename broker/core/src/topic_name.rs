//! What a topic may be called, and which names belong to the brokers themselves.

/// The longest name: what a file name holds, less the partition's number.
const NAME_LENGTH_MAX: usize = 249;

const INTERNAL: [&str; 3] = ["__consumer_offsets", "__transaction_state", "__share_group_state"];

/// What is wrong with a topic's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidName {
    /// It has no characters.
    #[error("the topic name is empty")]
    Empty,
    /// A directory of that name could not exist.
    #[error("the topic name cannot be \".\" or \"..\"")]
    Dots,
    /// It would not fit into a file name.
    #[error("the topic name has {length} characters; at most 249 are allowed")]
    TooLong {
        /// How many it has.
        length: usize,
    },
    /// It holds other characters than ASCII letters, digits, `.`, `_` and `-`.
    #[error("the topic name {name:?} holds other characters than ASCII letters, digits, '.', '_' and '-'")]
    Characters {
        /// The name.
        name: String,
    },
    /// Metrics could not tell it from another topic, because `.` and `_` look the same there.
    #[error("topic '{name}' collides with existing topic: {other}")]
    Collision {
        /// The new name.
        name: String,
        /// The topic that exists.
        other: String,
    },
}

/// Whether the topic of that name belongs to the brokers themselves.
pub fn is_internal(name: &str) -> bool {
    INTERNAL.contains(&name)
}

/// Whether no broker ever has a topic of that name.
pub(crate) fn is_reserved(name: &str) -> bool {
    name == "__cluster_metadata"
}

/// Checks one name.
///
/// # Errors
/// [`InvalidName`] with what is wrong.
pub fn check(name: &str) -> Result<(), InvalidName> {
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
pub(crate) fn collide(first: &str, second: &str) -> bool {
    let same = |a: u8, b: u8| a == b || (matches!(a, b'.' | b'_') && matches!(b, b'.' | b'_'));
    first.len() == second.len() && first.bytes().zip(second.bytes()).all(|(a, b)| same(a, b))
}

/// Whether the name could collide with another at all.
pub(crate) fn can_collide(name: &str) -> bool {
    name.contains(['.', '_'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn legal_names_pass_and_others_say_what_is_wrong() {
        for name in ["a", "A-1_2.c", "__consumer_offsets", "...", &"x".repeat(249)] {
            assert_eq!(check(name), Ok(()), "{name}");
        }
        assert_eq!(check(""), Err(InvalidName::Empty));
        assert_eq!(check("."), Err(InvalidName::Dots));
        assert_eq!(check(".."), Err(InvalidName::Dots));
        assert_eq!(check(&"x".repeat(250)), Err(InvalidName::TooLong { length: 250 }));
        for name in ["a b", "a/b", "ä", "a\0", "a,b", "a:b"] {
            assert_eq!(check(name), Err(InvalidName::Characters { name: name.into() }));
        }
    }

    #[test]
    fn dots_and_underscores_collide() {
        assert!(collide("a.b", "a_b") && collide("a_b.c", "a.b_c") && collide("a.b", "a.b"));
        assert!(!collide("a.b", "a-b") && !collide("a.b", "a.bc"));
        assert!(can_collide("a.b") && !can_collide("a-b"));
    }
}
