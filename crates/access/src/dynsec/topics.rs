//! Which rule of a list is the first that fits a topic, found without trying them all.
//!
//! The topics of the rules are a tree of levels. A topic name or topic filter is walked through it once,
//! and the smallest position among all rules that fit is the answer.

use std::collections::BTreeMap;

use crate::Client;

/// No node, or no rule.
const NONE: u32 = u32::MAX;
/// Mosquitto takes no topic with more levels.
const LEVELS_MAX: usize = 201;

/// The topics of rules of one type, in their order.
#[derive(Clone, Debug)]
pub(super) struct Topics {
    nodes: Vec<Node>,
    /// Rules whose topic is no topic filter, with what they begin with. They deny.
    broken: Vec<(u32, Box<str>)>,
}

#[derive(Clone, Debug)]
struct Node {
    literals: BTreeMap<Box<str>, u32>,
    /// The child for `+`, `%c` and `%u`.
    any: u32,
    client_id: u32,
    user_name: u32,
    /// The first rule that ends here.
    here: u32,
    /// The first rule that goes on with `#`.
    below: u32,
    /// The first rule of this node and all below.
    least: u32,
}

impl Node {
    const fn new(least: u32) -> Self {
        Self {
            literals: BTreeMap::new(),
            any: NONE,
            client_id: NONE,
            user_name: NONE,
            here: NONE,
            below: NONE,
            least,
        }
    }
}

/// Whether `topic` can be the topic of a rule.
pub(super) fn is_rule_topic(topic: &str) -> bool {
    midge_codec::topic::is_filter(topic) && midge_codec::topic::levels(topic) <= LEVELS_MAX
}

impl Topics {
    /// The tree of `topics`; a rule is known by its position among them.
    pub(super) fn new<'a>(topics: impl Iterator<Item = &'a str>) -> Self {
        let mut new = Self {
            nodes: vec![Node::new(NONE)],
            broken: Vec::new(),
        };
        for (position, topic) in (0..NONE).zip(topics) {
            if is_rule_topic(topic) {
                new.add(position, topic);
            } else {
                new.broken.push((position, broken_start(topic).into()));
            }
        }
        new
    }

    fn add(&mut self, position: u32, topic: &str) {
        let mut at = 0;
        for level in topic.split('/') {
            let next = u32::try_from(self.nodes.len()).unwrap_or(NONE);
            let Some(node) = self.node(at) else { return };
            node.least = node.least.min(position);
            if level == "#" {
                node.below = node.below.min(position);
                return;
            }
            let child = match level {
                "+" => &mut node.any,
                "%c" => &mut node.client_id,
                "%u" => &mut node.user_name,
                _ => node.literals.entry(level.into()).or_insert(NONE),
            };
            if *child == NONE {
                *child = next;
                at = next;
                self.nodes.push(Node::new(position));
            } else {
                at = *child;
            }
        }
        if let Some(node) = self.node(at) {
            node.least = node.least.min(position);
            node.here = node.here.min(position);
        }
    }

    fn node(&mut self, at: u32) -> Option<&mut Node> {
        self.nodes.get_mut(at as usize)
    }

    /// The first rule that fits `topic`, which is a topic name, or a topic filter all of whose topics the
    /// rule must cover. Whether the rule's topic is broken comes with it.
    pub(super) fn first(&self, topic: &str, client: Client<'_>) -> Option<(usize, bool)> {
        let mut best = NONE;
        self.walk(0, Some(topic), topic.starts_with('$'), client, &mut best);
        let broken = self
            .broken
            .iter()
            .find(|(_, start)| topic.starts_with(&**start));
        match broken {
            Some((position, _)) if *position < best => Some((*position as usize, true)),
            _ if best == NONE => None,
            _ => Some((best as usize, false)),
        }
    }

    fn walk(&self, at: u32, rest: Option<&str>, dollar: bool, client: Client<'_>, best: &mut u32) {
        let Some(node) = self.nodes.get(at as usize) else {
            return;
        };
        if node.least >= *best {
            return;
        }
        // Only a level that is written out fits one with `$` at the beginning of a topic.
        if !dollar {
            *best = node.below.min(*best);
        }
        let Some(rest) = rest else {
            *best = node.here.min(*best);
            return;
        };
        let (level, rest) = match rest.split_once('/') {
            Some((level, rest)) => (level, Some(rest)),
            None => (rest, None),
        };
        if let Some(&child) = node.literals.get(level) {
            self.walk(child, rest, false, client, best);
        }
        if dollar {
            return;
        }
        if level != "#" {
            self.walk(node.any, rest, false, client, best);
        }
        if is_value(client.id, level) {
            self.walk(node.client_id, rest, false, client, best);
        }
        if client.user_name.is_some_and(|name| is_value(name, level)) {
            self.walk(node.user_name, rest, false, client, best);
        }
    }
}

/// Whether a level is what `%c` or `%u` stands for. A client cannot get a wildcard by its name.
fn is_value(value: &str, level: &str) -> bool {
    value == level && !matches!(value, "" | "+" | "#")
}

/// The part of a topic that is no topic filter up to where it is none: `foo` of `foo#`, nothing of `a/#/b`.
fn broken_start(topic: &str) -> &str {
    let hash_inside = topic
        .find('#')
        .is_some_and(|position| position + 1 < topic.len());
    if hash_inside {
        return "";
    }
    topic.split(['+', '#']).next().unwrap_or_default()
}

#[cfg(test)]
mod tests;
