//! Streams that are cut anywhere give the same bytes.
