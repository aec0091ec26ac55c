//! The crate as its users see it, against files that other programs made.

mod acl;
mod corpus;
mod dynsec_corpus;
mod passwords;
mod tokens;
