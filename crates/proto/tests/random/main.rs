//! What holds for any sequence of messages, acknowledgements and lost connections, tried on random
//! ones.

#[cfg(test)]
mod incoming;
#[cfg(test)]
mod outgoing;
#[cfg(test)]
mod pair;
