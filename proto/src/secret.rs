//! Text that must not show up in a log.

use std::fmt;

/// A token or PIN. Its `Debug` form hides it; [`Secret::expose`] is where it leaves.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, to be sent to where it is checked and nowhere else.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Secret(hidden)")
    }
}

/// User name and password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// User name.
    pub username: String,
    /// Password.
    pub password: Secret,
}

#[cfg(test)]
mod tests {
    use super::Secret;

    #[test]
    fn does_not_show() {
        assert_eq!(format!("{:?}", Some(Secret::new("1234"))), "Some(Secret(hidden))");
    }
}
