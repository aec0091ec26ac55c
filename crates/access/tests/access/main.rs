//! The crate as its users see it, against files that other programs made.

mod tokens;
