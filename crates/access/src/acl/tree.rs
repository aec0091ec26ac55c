//! Filters by their levels, so that a thousand rules are not compared one by one.

use std::collections::BTreeMap;

use super::pattern::{Pattern, Wildcards, has_placeholder};
use super::{Access, ClientRules, Rule};

/// The filters of a section and the rules that have them.
#[derive(Default)]
pub(super) struct Tree {
    /// The first is the root; every other one is the child of one node.
    nodes: Vec<Node>,
}

#[derive(Default)]
struct Node {
    levels: BTreeMap<Box<str>, usize>,
    /// The node behind `+`.
    plus: Option<usize>,
    /// Rules whose filter ends here.
    here: Vec<u32>,
    /// Rules whose filter goes on with `#`.
    rest: Vec<u32>,
    /// Rules whose filter goes on with a level that has something to replace.
    patterns: Vec<(Pattern, u32)>,
}

/// Whether `%c` and `%u` in a filter are replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Placeholders {
    Replaced,
    Text,
}

impl Tree {
    /// Adds the rule `index` of `rules` with its filter.
    pub(super) fn insert(
        &mut self,
        filter: &str,
        placeholders: Placeholders,
        index: u32,
        rules: &[Rule],
    ) {
        let mut at = 0;
        self.node(at);
        let mut left = Some(filter);
        while let Some(rest) = left {
            let (level, following) = match rest.split_once('/') {
                Some((level, following)) => (level, Some(following)),
                None => (rest, None),
            };
            let next = self.nodes.len();
            let node = self.node(at);
            if level == "#" {
                return add(&mut node.rest, index, rules);
            }
            if placeholders == Placeholders::Replaced && has_placeholder(level) {
                return node
                    .patterns
                    .push((Pattern::new(rest, Wildcards::Match), index));
            }
            at = if level == "+" {
                *node.plus.get_or_insert(next)
            } else if let Some(child) = node.levels.get(level) {
                *child
            } else {
                node.levels.insert(level.into(), next);
                next
            };
            self.node(at);
            left = following;
        }
        add(&mut self.node(at).here, index, rules);
    }

    /// The node `at`, which is made if it is the next one.
    fn node(&mut self, at: usize) -> &mut Node {
        if at == self.nodes.len() {
            self.nodes.push(Node::default());
        }
        match self.nodes.get_mut(at) {
            Some(node) => node,
            None => unreachable!("nodes are made in order"),
        }
    }

    /// Adds the rules that meet `topic` to `found`.
    pub(super) fn find(&self, topic: &str, client: &ClientRules, found: &mut Found<'_>) {
        let Some(root) = self.nodes.first() else {
            return;
        };
        if topic.starts_with('$') {
            // Only a filter that begins with `$` itself meets it, so no wildcard and no name.
            let (level, following) = cut(topic);
            if let Some(child) = root.levels.get(level) {
                self.walk(*child, following, client, found);
            }
        } else {
            self.walk(0, Some(topic), client, found);
        }
    }

    /// Goes through the subtree at `at`. It is as deep as the longest filter, and each node is come to on one
    /// way only.
    fn walk(&self, at: usize, left: Option<&str>, client: &ClientRules, found: &mut Found<'_>) {
        let Some(node) = self.nodes.get(at) else {
            return;
        };
        found.add(&node.rest);
        let Some(left) = left else {
            return found.add(&node.here);
        };
        for (pattern, rule) in &node.patterns {
            if found.wants(*rule) && pattern.matches(left, client) {
                found.add(&[*rule]);
            }
        }
        let (level, following) = cut(left);
        if let Some(child) = node.levels.get(level) {
            self.walk(*child, following, client, found);
        }
        if let Some(child) = node.plus {
            self.walk(child, following, client, found);
        }
    }
}

/// The first level, and what follows its slash.
fn cut(topic: &str) -> (&str, Option<&str>) {
    match topic.split_once('/') {
        Some((level, following)) => (level, Some(following)),
        None => (topic, None),
    }
}

/// Adds a rule, unless one before it says as much: so a list stays short however often a line is repeated.
fn add(list: &mut Vec<u32>, index: u32, rules: &[Rule]) {
    let rule = |index: u32| rules.get(usize::try_from(index).ok()?);
    let Some(new) = rule(index) else {
        return;
    };
    let says_as_much = |old: &Rule| old.allows == new.allows && old.access.covers(new.access);
    if !list.iter().filter_map(|old| rule(*old)).any(says_as_much) {
        list.push(index);
    }
}

/// The first rules of a file that meet a topic.
pub(super) struct Found<'a> {
    rules: &'a [Rule],
    access: Access,
    deny: Option<u32>,
    allow: Option<u32>,
}

impl<'a> Found<'a> {
    pub(super) const fn new(rules: &'a [Rule], access: Access) -> Self {
        Self {
            rules,
            access,
            deny: None,
            allow: None,
        }
    }

    /// The rule that decides.
    pub(super) fn first(&self) -> Option<u32> {
        self.deny.or(self.allow)
    }

    fn add(&mut self, list: &[u32]) {
        for index in list {
            if let Some(place) = self.place(*index)
                && place.is_none_or(|before| *index < before)
            {
                *place = Some(*index);
            }
        }
    }

    /// Whether the rule would change what is found.
    fn wants(&mut self, index: u32) -> bool {
        self.place(index)
            .is_some_and(|place| place.is_none_or(|before| index < before))
    }

    /// Where the rule belongs, if it is about this access.
    fn place(&mut self, index: u32) -> Option<&mut Option<u32>> {
        let rule = self.rules.get(usize::try_from(index).ok()?)?;
        if !rule.access.covers(self.access) {
            return None;
        }
        Some(if rule.allows {
            &mut self.allow
        } else {
            &mut self.deny
        })
    }
}
