//! Filters, and which of them match a topic.
//!
//! Filters without wildcards live in one hash table, keyed by the whole filter: one hash and one
//! probe, whatever the depth. Filters with wildcards live in a trie. Its nodes are numbered, and
//! the literal edges of all nodes are in one hash table, keyed by (node, level), so that a node
//! with a million children and a million nodes with one child cost the same.
//!
//! A topic visits a node of the trie at most once, and only nodes whose path matches its
//! beginning: the work follows its depth and what matches, not what is stored.

use smallvec::SmallVec;

use super::hashing::Hashing;
use super::slab::Slab;
use super::split::Split;

/// What is kept for a filter.
pub(super) trait Leaf: Default {
    /// Whether nothing is kept, and the filter can go.
    fn is_empty(&self) -> bool;
}

/// A leaf for each filter.
pub(super) struct Index<L> {
    exact: Split<Exact<L>>,
    nodes: Slab<Node<L>>,
    edges: Split<Edge>,
    root: Node<L>,
}

/// A filter without wildcards.
struct Exact<L> {
    /// The filter's bytes, which stand here up to 32: with a million filters a look elsewhere
    /// would cost half as much again as the whole look-up.
    filter: SmallVec<[u8; 32]>,
    leaf: L,
}

/// Where the filters stand that share a beginning, of which at least one has wildcards.
#[derive(Default)]
struct Node<L> {
    /// For the filter that ends here.
    end: L,
    /// For the filter that ends with `#` below this node.
    hash: L,
    /// The child along `+`, plus one; 0 for none.
    plus: u32,
    /// How many literal edges lead away.
    literals: u32,
}

/// A literal level that leads from one node to another.
struct Edge {
    parent: u32,
    child: u32,
    /// The level's bytes. Few are longer than 16, so that few need an allocation.
    level: SmallVec<[u8; 16]>,
}

/// What a look-up needs on its way; reused, so that it allocates nothing in the long run.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    levels: Vec<Level>,
    later: Vec<Later>,
}

/// One level of the topic: where it stands and its hash.
#[derive(Clone, Copy, Debug)]
struct Level {
    start: u32,
    end: u32,
    hash: u64,
}

/// A branch that comes after those found first.
#[derive(Clone, Copy, Debug)]
enum Later {
    /// The filter that ends with `#` below this node.
    Hash(u32),
    /// All that is at and below this node, which stands for so many levels of the topic.
    Node(u32, usize),
}

impl<L: Leaf> Index<L> {
    pub(super) fn new() -> Self {
        Self {
            exact: Split::new(),
            nodes: Slab::new(),
            edges: Split::new(),
            root: Node::default(),
        }
    }

    /// Changes the leaf of `filter`, which is an empty one if the filter is new.
    pub(super) fn add<R>(
        &mut self,
        filter: &str,
        hashing: &Hashing,
        change: impl FnOnce(&mut L) -> R,
    ) -> R {
        if has_wildcard(filter) {
            return change(self.wild_leaf(filter, hashing));
        }
        let hash = hashing.text(filter);
        let is_it = |exact: &Exact<L>| exact.filter.as_slice() == filter.as_bytes();
        let entry = self
            .exact
            .entry(hash, is_it, |exact| hashing.bytes(&exact.filter));
        let fresh = || Exact {
            filter: SmallVec::from_slice(filter.as_bytes()),
            leaf: L::default(),
        };
        change(&mut entry.or_insert_with(fresh).into_mut().leaf)
    }

    /// Changes the leaf of `filter`, if there is one, and forgets the filter if its leaf is empty
    /// then.
    pub(super) fn edit<R>(
        &mut self,
        filter: &str,
        hashing: &Hashing,
        change: impl FnOnce(&mut L) -> R,
    ) -> Option<R> {
        if has_wildcard(filter) {
            return self.edit_wild(filter, hashing, change);
        }
        let hash = hashing.text(filter);
        let mut entry = self
            .exact
            .find_entry(hash, |exact| exact.filter.as_slice() == filter.as_bytes())?;
        let result = change(&mut entry.get_mut().leaf);
        if entry.get().leaf.is_empty() {
            entry.remove();
            self.exact
                .give_back(hash, |exact| hashing.bytes(&exact.filter));
        }
        Some(result)
    }

    /// Shows `each` the leaves of all filters that match `topic`.
    ///
    /// The order is Mosquitto's, which clients with overlapping subscriptions see: at every level
    /// the literal branch first, inside it a deeper `#` before what ends there, then `+`, then
    /// `#`. `topic_hash` is [`Hashing::text`] of the topic.
    pub(super) fn visit<'a>(
        &'a self,
        topic: &str,
        topic_hash: u64,
        hashing: &Hashing,
        scratch: &mut Scratch,
        each: &mut impl FnMut(&'a L),
    ) {
        let exact = self.exact.find(topic_hash, |exact| {
            exact.filter.as_slice() == topic.as_bytes()
        });
        if self.root.is_bare() {
            if let Some(exact) = exact {
                each(&exact.leaf);
            }
            return;
        }
        scratch.levels.clear();
        scratch.later.clear();
        // The first descent follows the literal path to its end, where only a `#` comes before
        // the exact filter.
        self.descend(ROOT, 0, topic, hashing, scratch, each);
        if let Some(exact) = exact {
            each(&exact.leaf);
        }
        while let Some(later) = scratch.later.pop() {
            match later {
                Later::Hash(id) => {
                    if let Some(node) = self.node(id) {
                        each(&node.hash);
                    }
                }
                Later::Node(id, depth) => self.descend(id, depth, topic, hashing, scratch, each),
            }
        }
    }

    /// Follows the literal path from a node that stands for the first `depth` levels, and leaves
    /// the branches that it passes for later.
    fn descend<'a>(
        &'a self,
        mut id: u32,
        mut depth: usize,
        topic: &str,
        hashing: &Hashing,
        scratch: &mut Scratch,
        each: &mut impl FnMut(&'a L),
    ) {
        while let Some(node) = self.node(id) {
            let Some(level) = level_at(&mut scratch.levels, depth, topic, hashing) else {
                // `a/#` matches `a`, too.
                each(&node.hash);
                each(&node.end);
                return;
            };
            // A wildcard at the beginning does not reach topics that begin with `$`.
            // [MQTT5-4.7.2-1] [MQTT311-4.7.2-1]
            if depth > 0 || !topic.starts_with('$') {
                if !node.hash.is_empty() {
                    scratch.later.push(Later::Hash(id));
                }
                if let Some(plus) = node.plus() {
                    scratch.later.push(Later::Node(plus, depth + 1));
                }
            }
            if node.literals == 0 {
                return;
            }
            let text = topic
                .get(level.start as usize..level.end as usize)
                .unwrap_or_default();
            let Some(child) = self.child(id, text, hashing.edge(id, level.hash)) else {
                return;
            };
            id = child;
            depth += 1;
        }
    }

    fn node(&self, id: u32) -> Option<&Node<L>> {
        if id == ROOT {
            Some(&self.root)
        } else {
            self.nodes.get(id)
        }
    }

    fn node_mut(&mut self, id: u32) -> Option<&mut Node<L>> {
        if id == ROOT {
            Some(&mut self.root)
        } else {
            self.nodes.get_mut(id)
        }
    }

    fn child(&self, parent: u32, level: &str, edge_hash: u64) -> Option<u32> {
        Some(
            self.edges
                .find(edge_hash, |edge| edge.leads(parent, level))?
                .child,
        )
    }

    /// The node that `level` of a filter leads to.
    fn step(&self, parent: u32, level: &str, hashing: &Hashing) -> Option<u32> {
        match level {
            PLUS => self.node(parent)?.plus(),
            _ => self.child(parent, level, hashing.edge(parent, hashing.text(level))),
        }
    }

    /// The leaf of a filter with wildcards; makes what is missing on the way.
    fn wild_leaf(&mut self, filter: &str, hashing: &Hashing) -> &mut L {
        let (path, place) = split_hash(filter);
        let mut id = ROOT;
        for level in levels(path) {
            id = match self.step(id, level, hashing) {
                Some(child) => child,
                None => self.grow(id, level, hashing),
            };
        }
        // Every id on the path was looked up or made just now.
        let node = if id == ROOT {
            None
        } else {
            self.nodes.get_mut(id)
        };
        node.unwrap_or(&mut self.root).leaf_mut(place)
    }

    /// Makes a child of `parent` along `level` of a filter.
    fn grow(&mut self, parent: u32, level: &str, hashing: &Hashing) -> u32 {
        let child = self.nodes.insert(Node::default());
        if level == PLUS {
            if let Some(node) = self.node_mut(parent) {
                node.plus = child + 1;
            }
            return child;
        }
        if let Some(node) = self.node_mut(parent) {
            node.literals += 1;
        }
        let edge = Edge {
            parent,
            child,
            level: SmallVec::from_slice(level.as_bytes()),
        };
        let hash = hashing.edge(parent, hashing.text(level));
        self.edges.insert(hash, edge, |edge| edge.hash(hashing));
        child
    }

    fn edit_wild<R>(
        &mut self,
        filter: &str,
        hashing: &Hashing,
        change: impl FnOnce(&mut L) -> R,
    ) -> Option<R> {
        let (path, place) = split_hash(filter);
        let mut ids: SmallVec<[u32; 16]> = SmallVec::new();
        let mut id = ROOT;
        for level in levels(path) {
            ids.push(id);
            id = self.step(id, level, hashing)?;
        }
        let leaf = self.node_mut(id)?.leaf_mut(place);
        if leaf.is_empty() {
            return None;
        }
        let result = change(leaf);
        let parents = ids.into_iter().rev();
        for (parent, level) in parents.zip(levels(path).rev()) {
            if !self.node(id).is_some_and(Node::is_bare) {
                break;
            }
            self.prune(parent, level, id, hashing);
            id = parent;
        }
        Some(result)
    }

    /// Takes out the bare node `child` that `level` leads to from `parent`.
    fn prune(&mut self, parent: u32, level: &str, child: u32, hashing: &Hashing) {
        self.nodes.remove(child);
        if level == PLUS {
            if let Some(node) = self.node_mut(parent) {
                node.plus = 0;
            }
            return;
        }
        if let Some(node) = self.node_mut(parent) {
            node.literals -= 1;
        }
        let hash = hashing.edge(parent, hashing.text(level));
        self.edges.remove(
            hash,
            |edge| edge.leads(parent, level),
            |edge| edge.hash(hashing),
        );
    }

    /// Whether no filter, node or edge is left.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        let tables = self.exact.is_empty() && self.edges.is_empty();
        tables && self.nodes.is_empty() && self.root.is_bare()
    }

    /// Bytes on the heap, without what the leaves own.
    #[cfg(test)]
    pub(super) fn allocated_bytes(&self) -> usize {
        let tables = self.exact.allocated_bytes() + self.edges.allocated_bytes();
        tables + self.nodes.allocated_bytes()
    }
}

impl<L: Leaf> Node<L> {
    fn plus(&self) -> Option<u32> {
        self.plus.checked_sub(1)
    }

    fn leaf_mut(&mut self, place: Place) -> &mut L {
        match place {
            Place::End => &mut self.end,
            Place::Hash => &mut self.hash,
        }
    }

    fn is_bare(&self) -> bool {
        self.plus == 0 && self.literals == 0 && self.hash.is_empty() && self.end.is_empty()
    }
}

impl Edge {
    fn leads(&self, parent: u32, level: &str) -> bool {
        self.parent == parent && self.level.as_slice() == level.as_bytes()
    }

    fn hash(&self, hashing: &Hashing) -> u64 {
        hashing.edge(self.parent, hashing.bytes(&self.level))
    }
}

/// Where a filter's leaf is in the node that its path leads to.
#[derive(Clone, Copy)]
enum Place {
    End,
    Hash,
}

/// The path of a filter up to its `#`, or all of it.
fn split_hash(filter: &str) -> (Option<&str>, Place) {
    match filter.strip_suffix(HASH) {
        Some("") => (None, Place::Hash),
        Some(path) => (path.strip_suffix('/'), Place::Hash),
        None => (Some(filter), Place::End),
    }
}

/// The levels of a path; no path has none, an empty path has one, which is empty.
fn levels(path: Option<&str>) -> impl DoubleEndedIterator<Item = &str> {
    path.into_iter().flat_map(|path| path.split('/'))
}

/// The level of `topic` after the first `depth` ones, read at most once per topic.
fn level_at(
    levels: &mut Vec<Level>,
    depth: usize,
    topic: &str,
    hashing: &Hashing,
) -> Option<Level> {
    // Nodes are visited from the root downwards, so that only the next level can be missing.
    if let Some(&level) = levels.get(depth) {
        return Some(level);
    }
    let start = levels.last().map_or(0, |last| last.end as usize + 1);
    let rest = topic.get(start..)?;
    let text = rest.split('/').next().unwrap_or_default();
    let end = start + text.len();
    let level = Level {
        start: start as u32,
        end: end as u32,
        hash: hashing.text(text),
    };
    levels.push(level);
    Some(level)
}

fn has_wildcard(filter: &str) -> bool {
    filter.bytes().any(|byte| byte == b'+' || byte == b'#')
}

const ROOT: u32 = u32::MAX;
const PLUS: &str = "+";
const HASH: &str = "#";
