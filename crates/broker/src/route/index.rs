//! Filters, and which of them match a topic.
//!
//! Filters without wildcards live in one hash table, keyed by the whole filter: one hash and one
//! probe, whatever the depth. Filters with wildcards live in a trie, or in a table for their shape
//! once there are many of it. The trie's nodes are numbered, and the literal edges of all nodes are in
//! one hash table, keyed by (node, level), so that a node with a million children and a million nodes
//! with one child cost the same.
//!
//! A topic visits a node of the trie at most once, and only nodes whose path matches its
//! beginning: the work follows its depth and what matches, not what is stored.

use smallvec::SmallVec;

use super::filter_table::FilterTable;
use super::hashing::Hashing;
use super::looks::{Looks, Writer};
use super::shapes::{LevelEnds, Shape, Shapes, Step};
use super::slab::Slab;
use super::split::Split;

/// What is kept for a filter.
pub(super) trait Leaf: Default {
    /// Whether nothing is kept, and the filter can go.
    fn is_empty(&self) -> bool;
}

/// A leaf for each filter.
pub(super) struct Index<L> {
    exact: FilterTable<L>,
    shapes: Shapes<L>,
    nodes: Slab<Node<L>>,
    edges: Split<Edge>,
    root: Node<L>,
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
    /// The filter that ends with `#` below this node, and its shape.
    Hash(u32, Shape),
    /// All that is at and below this node, which stands for so many levels of the topic, and the
    /// beginning of its shape.
    Node(u32, usize, Shape),
}

impl Scratch {
    fn clear(&mut self) {
        self.levels.clear();
        self.later.clear();
    }
}

impl<L: Leaf> Index<L> {
    pub(super) fn new() -> Self {
        Self {
            exact: FilterTable::new(),
            shapes: Shapes::new(),
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
        if !has_wildcard(filter) {
            return change(self.exact.leaf(filter, hashing));
        }
        if let Some(leaf) = self.shapes.leaf(filter, hashing) {
            return change(leaf);
        }
        let leaf = self.wild_leaf(filter, hashing);
        let is_new = leaf.is_empty();
        let result = change(leaf);
        if is_new {
            for filter in self.shapes.note_in_trie(filter, hashing) {
                self.move_to_table(&filter, hashing);
            }
        }
        result
    }

    fn move_to_table(&mut self, filter: &str, hashing: &Hashing) {
        let moved = self.edit_trie(filter, hashing, std::mem::take);
        if let (Some(moved), Some(leaf)) = (moved, self.shapes.leaf(filter, hashing)) {
            *leaf = moved;
        }
    }

    /// Changes the leaf of `filter`, if there is one, and forgets the filter if its leaf is empty
    /// then.
    pub(super) fn edit<R>(
        &mut self,
        filter: &str,
        hashing: &Hashing,
        change: impl FnOnce(&mut L) -> R,
    ) -> Option<R> {
        if !has_wildcard(filter) {
            return self.exact.edit(filter, hashing, change);
        }
        match self.shapes.edit(filter, hashing, change) {
            Ok(result) => result,
            Err(change) => {
                let mut is_gone = false;
                let result = self.edit_trie(filter, hashing, |leaf| {
                    let result = change(leaf);
                    is_gone = leaf.is_empty();
                    result
                });
                if is_gone {
                    self.shapes.note_gone(filter, hashing);
                }
                result
            }
        }
    }

    /// Shows `each` the leaves of all filters that match `topic`.
    ///
    /// The order is Mosquitto's, which clients with overlapping subscriptions see: at every level
    /// the literal branch first, inside it a deeper `#` before what ends there, then `+`, then
    /// `#`. `topic_hash` is [`Hashing::text`] of the topic. With [`Self::has_shapes`] this is not all:
    /// there [`Self::visit_looks`] is to be called.
    pub(super) fn visit<'a>(
        &'a self,
        topic: &str,
        topic_hash: u64,
        hashing: &Hashing,
        scratch: &mut Scratch,
        each: &mut impl FnMut(&'a L),
    ) {
        let exact = self.exact.find(topic.as_bytes(), topic_hash);
        if self.root.is_bare() {
            if let Some(leaf) = exact {
                each(leaf);
            }
            return;
        }
        scratch.clear();
        let mut each = |_, leaf| each(leaf);
        // The first descent follows the literal path to its end, where only a `#` comes before
        // the exact filter.
        self.descend(
            ROOT,
            0,
            Shape::default(),
            topic,
            hashing,
            scratch,
            &mut each,
        );
        if let Some(leaf) = exact {
            each(Shape::default(), leaf);
        }
        self.visit_later(topic, hashing, scratch, &mut each);
    }

    /// Whether there are tables for shapes, and a visit is to be told what to look for there.
    pub(super) fn has_shapes(&self) -> bool {
        !self.shapes.is_empty()
    }

    /// Takes down what [`Self::visit_looks`] of `topic` has to look for.
    pub(super) fn looks(&self, topic: &str, ends: &LevelEnds, writer: &mut Writer<'_>) {
        self.shapes.looks(topic, ends, writer);
    }

    /// Reads what a look for this topic without wildcards will read, so that it is in a cache then. What
    /// comes out means nothing.
    pub(super) fn touch_exact(&self, topic_hash: u64) -> u8 {
        if self.exact.is_empty() {
            return 0;
        }
        self.exact.touch(topic_hash)
    }

    /// The same for filters with wildcards.
    pub(super) fn touch(&self, looks: Looks<'_>) -> u8 {
        let read = looks
            .iter()
            .map(|(look, _)| self.shapes.touch(look.table, look.hash));
        read.fold(0, |all, read| all ^ read)
    }

    /// [`Self::visit`] with what to look for in tables for shapes; what is found there and in the trie is
    /// put in order.
    pub(super) fn visit_looks<'a>(
        &'a self,
        topic: &str,
        topic_hash: u64,
        looks: Looks<'_>,
        hashing: &Hashing,
        scratch: &mut Scratch,
        each: &mut impl FnMut(&'a L),
    ) {
        let mut found: SmallVec<[(Shape, &'a L); 16]> = SmallVec::new();
        let mut keep = |shape, leaf| found.push((shape, leaf));
        self.shapes.visit(looks, &mut keep);
        let has_trie = !self.root.is_bare();
        if has_trie {
            scratch.clear();
            self.descend(
                ROOT,
                0,
                Shape::default(),
                topic,
                hashing,
                scratch,
                &mut keep,
            );
        }
        // Here as in `visit`.
        if let Some(leaf) = self.exact.find(topic.as_bytes(), topic_hash) {
            let depth = topic.bytes().filter(|&byte| byte == b'/').count() + 1;
            keep(Shape::default().then(depth, Step::End), leaf);
        }
        if has_trie {
            self.visit_later(topic, hashing, scratch, &mut keep);
        }
        // Stable: filters that are too deep to differ are in no table, and were found in order.
        found.sort_by_key(|&(shape, _)| shape);
        for (_, leaf) in found {
            each(leaf);
        }
    }

    /// Visits the branches that were left for later.
    fn visit_later<'a>(
        &'a self,
        topic: &str,
        hashing: &Hashing,
        scratch: &mut Scratch,
        each: &mut impl FnMut(Shape, &'a L),
    ) {
        while let Some(later) = scratch.later.pop() {
            match later {
                Later::Hash(id, shape) => {
                    if let Some(node) = self.node(id) {
                        each(shape, &node.hash);
                    }
                }
                Later::Node(id, depth, shape) => {
                    self.descend(id, depth, shape, topic, hashing, scratch, each);
                }
            }
        }
    }

    /// Follows the literal path from a node that stands for the first `depth` levels, and leaves
    /// the branches that it passes for later.
    #[expect(clippy::too_many_arguments, reason = "one walk in two functions")]
    fn descend<'a>(
        &'a self,
        mut id: u32,
        mut depth: usize,
        shape: Shape,
        topic: &str,
        hashing: &Hashing,
        scratch: &mut Scratch,
        each: &mut impl FnMut(Shape, &'a L),
    ) {
        while let Some(node) = self.node(id) {
            let Some(level) = level_at(&mut scratch.levels, depth, topic, hashing) else {
                // `a/#` matches `a`, too.
                each(shape.then(depth, Step::Hash), &node.hash);
                each(shape.then(depth, Step::End), &node.end);
                return;
            };
            // A wildcard at the beginning does not reach topics that begin with `$`.
            // [MQTT5-4.7.2-1] [MQTT311-4.7.2-1]
            if depth > 0 || !topic.starts_with('$') {
                if !node.hash.is_empty() {
                    let shape = shape.then(depth, Step::Hash);
                    scratch.later.push(Later::Hash(id, shape));
                }
                if let Some(plus) = node.plus() {
                    let shape = shape.then(depth, Step::Plus);
                    scratch.later.push(Later::Node(plus, depth + 1, shape));
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
        let (path, end) = split_hash(filter);
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
        node.unwrap_or(&mut self.root).leaf_mut(end)
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

    fn edit_trie<R>(
        &mut self,
        filter: &str,
        hashing: &Hashing,
        change: impl FnOnce(&mut L) -> R,
    ) -> Option<R> {
        let (path, end) = split_hash(filter);
        let mut ids: SmallVec<[u32; 16]> = SmallVec::new();
        let mut id = ROOT;
        for level in levels(path) {
            ids.push(id);
            id = self.step(id, level, hashing)?;
        }
        let leaf = self.node_mut(id)?.leaf_mut(end);
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
        let tables = self.exact.is_empty() && self.shapes.is_bare() && self.edges.is_empty();
        tables && self.nodes.is_empty() && self.root.is_bare()
    }

    /// Bytes on the heap, without what the leaves own.
    #[cfg(test)]
    pub(super) fn allocated_bytes(&self) -> usize {
        let tables = self.exact.allocated_bytes() + self.shapes.allocated_bytes();
        tables + self.edges.allocated_bytes() + self.nodes.allocated_bytes()
    }
}

impl<L: Leaf> Node<L> {
    fn plus(&self) -> Option<u32> {
        self.plus.checked_sub(1)
    }

    fn leaf_mut(&mut self, end: End) -> &mut L {
        match end {
            End::Here => &mut self.end,
            End::Hash => &mut self.hash,
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
enum End {
    Here,
    Hash,
}

/// The path of a filter up to its `#`, or all of it.
fn split_hash(filter: &str) -> (Option<&str>, End) {
    match filter.strip_suffix(HASH) {
        Some("") => (None, End::Hash),
        Some(path) => (path.strip_suffix('/'), End::Hash),
        None => (Some(filter), End::Here),
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
