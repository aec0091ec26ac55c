//! Filters with wildcards, many of one shape.
//!
//! Looking for a topic in a trie is a walk whose every step waits for the one before; with a million
//! filters each step waits for memory as well. Where very many filters have their wildcards in the
//! same places there is a shorter way: the topic says what text a filter of that shape must have to
//! match it, and one look in a table finds it. The looks for several shapes do not wait for each
//! other.
//!
//! Where there are few filters of a shape they are in the trie: a look for each of many shapes would
//! cost more than the walk.

use hashbrown::HashTable;

use super::filter_table::FilterTable;
use super::hashing::Hashing;
use super::index::Leaf;
use super::looks::{Looks, Writer};
use super::split::shrink_table;

/// Where a filter has its wildcards, and how many levels.
///
/// Two bits for each level, the first level's at the top: what it is, and after the last, unless that is
/// `#`, that the filter ends. So shapes are ordered as Mosquitto delivers what several filters match:
/// at every level literal, then `+`, then `#`, and what ends after a `#` that could follow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Shape(u64);

/// What a level is, or the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Literal = 0,
    Plus = 1,
    Hash = 2,
    End = 3,
}

impl Shape {
    /// With what stands after the first `depth` levels. Beyond [`STEPS_MAX`] nothing is kept: such filters are
    /// in the trie only, which has an order of its own.
    #[inline]
    pub(super) const fn then(self, depth: usize, step: Step) -> Self {
        if depth >= STEPS_MAX {
            return self;
        }
        Self(self.0 | (step as u64) << (u64::BITS as usize - 2 - 2 * depth))
    }

    /// The shape of a filter, unless it has too many levels.
    fn of(filter: &str) -> Option<Self> {
        let mut shape = Self::default();
        let mut depth = 0;
        for level in filter.split('/') {
            if depth + 1 >= STEPS_MAX {
                return None;
            }
            match level {
                "#" => return Some(shape.then(depth, Step::Hash)),
                "+" => shape = shape.then(depth, Step::Plus),
                _ => {}
            }
            depth += 1;
        }
        Some(shape.then(depth, Step::End))
    }

    pub(super) const fn bits(self) -> u64 {
        self.0
    }

    fn step(self, depth: usize) -> Step {
        match self.0 >> (u64::BITS as usize - 2 - 2 * depth) & 3 {
            0 => Step::Literal,
            1 => Step::Plus,
            2 => Step::Hash,
            _ => Step::End,
        }
    }
}

/// The shapes of all filters with wildcards, and the filters of those that have many.
pub(super) struct Shapes<L> {
    /// Shapes whose filters are in the trie. One that has none does not stand here.
    in_trie: HashTable<Few>,
    /// In the order of shapes; none is empty.
    tables: Vec<ShapeTable<L>>,
}

/// A shape whose filters are in the trie.
struct Few {
    shape: Shape,
    count: u32,
    /// The filters, until they are too many for the trie. Where no table was free for them then, they stay.
    filters: Vec<Box<str>>,
}

/// All filters of one shape.
struct ShapeTable<L> {
    shape: Shape,
    /// Levels before the end, or before `#`.
    levels: usize,
    /// Which of them are `+`, by their numbers.
    plus: u32,
    ends_with_hash: bool,
    filters: FilterTable<L>,
}

impl<L: Leaf> Shapes<L> {
    pub(super) fn new() -> Self {
        Self {
            in_trie: HashTable::new(),
            tables: Vec::new(),
        }
    }

    /// Whether all filters with wildcards are in the trie.
    pub(super) fn is_empty(&self) -> bool {
        self.tables.is_empty()
    }

    /// The leaf of a filter, if there is a table for its shape; an empty one if the filter is new.
    pub(super) fn leaf(&mut self, filter: &str, hashing: &Hashing) -> Option<&mut L> {
        if self.tables.is_empty() {
            return None;
        }
        let at = self.table_at(Shape::of(filter)?).ok()?;
        Some(self.tables.get_mut(at)?.filters.leaf(filter, hashing))
    }

    /// Notes a filter that is new in the trie. What comes back is to be moved from there to tables.
    pub(super) fn note_in_trie(&mut self, filter: &str, hashing: &Hashing) -> Vec<Box<str>> {
        let Some(shape) = Shape::of(filter) else {
            return Vec::new();
        };
        let is_it = |few: &Few| few.shape == shape;
        let mut entry = self
            .in_trie
            .entry(hashing.shape(shape), is_it, |few| hashing.shape(few.shape))
            .or_insert_with(|| Few {
                shape,
                count: 0,
                filters: Vec::new(),
            });
        let few = entry.get_mut();
        if few.filters.len() == few.count as usize {
            few.filters.push(filter.into());
        }
        few.count += 1;
        if few.filters.len() < TABLE_FROM {
            return Vec::new();
        }
        let filters = std::mem::take(&mut few.filters);
        if self.tables.len() >= TABLES_MAX {
            return Vec::new();
        }
        entry.remove();
        if let Err(at) = self.table_at(shape) {
            self.tables.insert(at, ShapeTable::new(shape));
        }
        filters
    }

    /// Forgets a filter that was in the trie.
    pub(super) fn note_gone(&mut self, filter: &str, hashing: &Hashing) {
        let Some(shape) = Shape::of(filter) else {
            return;
        };
        let is_it = |few: &Few| few.shape == shape;
        let Ok(mut entry) = self.in_trie.find_entry(hashing.shape(shape), is_it) else {
            return;
        };
        let few = entry.get_mut();
        few.count -= 1;
        if let Some(at) = few.filters.iter().position(|known| **known == *filter) {
            few.filters.swap_remove(at);
        }
        if few.count == 0 {
            entry.remove();
            shrink_table(&mut self.in_trie, |few| hashing.shape(few.shape));
        }
    }

    /// Changes the leaf of a filter that is in its shape's table.
    ///
    /// `change` is given back if there is no table for it.
    pub(super) fn edit<R, C: FnOnce(&mut L) -> R>(
        &mut self,
        filter: &str,
        hashing: &Hashing,
        change: C,
    ) -> Result<Option<R>, C> {
        let Some(at) = Shape::of(filter).and_then(|shape| self.table_at(shape).ok()) else {
            return Err(change);
        };
        let filters = &mut self.tables[at].filters;
        let result = filters.edit(filter, hashing, change);
        if filters.is_empty() {
            self.tables.remove(at);
            self.tables.shrink_to_fit();
        }
        Ok(result)
    }

    /// Shows `each` the leaves of all filters that a topic matches and are here, in the order of their
    /// shapes. `looks` are what [`Self::looks`] took down for it.
    pub(super) fn visit<'a>(&'a self, looks: Looks<'_>, each: &mut impl FnMut(Shape, &'a L)) {
        for (look, text) in looks.iter() {
            let Some(table) = self.tables.get(look.table) else {
                continue;
            };
            if let Some(leaf) = table.filters.find(text, look.hash) {
                each(table.shape, leaf);
            }
        }
    }

    /// Takes down which filters would match `topic`.
    pub(super) fn looks(&self, topic: &str, ends: &LevelEnds, writer: &mut Writer<'_>) {
        for (number, table) in self.tables.iter().enumerate() {
            if table.fits(topic, ends) {
                writer.add(number, |text| {
                    table.write_filter(topic.as_bytes(), ends, text);
                });
            }
        }
    }

    /// See [`FilterTable::touch`].
    #[inline]
    pub(super) fn touch(&self, table: usize, hash: u64) -> u8 {
        let table = self.tables.get(table);
        table.map_or(0, |table| table.filters.touch(hash))
    }

    fn table_at(&self, shape: Shape) -> Result<usize, usize> {
        self.tables
            .binary_search_by_key(&shape, |table| table.shape)
    }

    /// Whether nothing is kept.
    #[cfg(test)]
    pub(super) fn is_bare(&self) -> bool {
        self.tables.is_empty() && self.in_trie.is_empty()
    }

    /// Bytes on the heap, without what the leaves own.
    #[cfg(test)]
    pub(super) fn allocated_bytes(&self) -> usize {
        let tables: usize = self
            .tables
            .iter()
            .map(|table| table.filters.allocated_bytes())
            .sum();
        let few: usize = self
            .in_trie
            .iter()
            .map(|few| few.filters.capacity() * size_of::<Box<str>>())
            .sum();
        tables
            + self.tables.capacity() * size_of::<ShapeTable<L>>()
            + self.in_trie.allocation_size()
            + few
    }
}

impl<L: Leaf> ShapeTable<L> {
    fn new(shape: Shape) -> Self {
        let mut table = Self {
            shape,
            levels: 0,
            plus: 0,
            ends_with_hash: false,
            filters: FilterTable::new(),
        };
        for depth in 0..STEPS_MAX {
            match shape.step(depth) {
                Step::Literal => {}
                Step::Plus => table.plus |= 1 << depth,
                Step::Hash => table.ends_with_hash = true,
                Step::End => {}
            }
            if matches!(shape.step(depth), Step::Hash | Step::End) {
                table.levels = depth;
                break;
            }
        }
        table
    }

    /// Whether a filter of this shape can match `topic`.
    #[inline]
    fn fits(&self, topic: &str, ends: &LevelEnds) -> bool {
        let fits = if self.ends_with_hash {
            self.levels <= ends.count
        } else {
            self.levels == ends.count
        };
        // A wildcard at the beginning does not reach topics that begin with `$`.
        // [MQTT5-4.7.2-1] [MQTT311-4.7.2-1]
        fits && !(self.shape.step(0) != Step::Literal && topic.starts_with('$'))
    }

    /// Appends the text of the one filter of this shape that matches `topic`.
    fn write_filter(&self, topic: &[u8], ends: &LevelEnds, text: &mut Vec<u8>) {
        let mut copied = 0;
        let mut plus = self.plus;
        while plus > 0 {
            let depth = plus.trailing_zeros() as usize;
            plus &= plus - 1;
            let (start, end) = ends.level(depth);
            text.extend_from_slice(topic.get(copied..start).unwrap_or_default());
            text.push(b'+');
            copied = end;
        }
        if let Some(last) = self.levels.checked_sub(1) {
            let (_, end) = ends.level(last);
            text.extend_from_slice(topic.get(copied..end).unwrap_or_default());
        }
        if self.ends_with_hash {
            text.extend_from_slice(if self.levels > 0 { b"/#" } else { b"#" });
        }
    }
}

/// Where the first levels of a topic end.
pub(super) struct LevelEnds {
    ends: [u16; STEPS_MAX],
    /// Levels of the topic, at most [`STEPS_MAX`].
    count: usize,
}

impl LevelEnds {
    pub(super) fn of(topic: &str) -> Self {
        let mut ends = [0; STEPS_MAX];
        let mut count = 0;
        for (at, byte) in topic.bytes().enumerate() {
            if byte != b'/' {
                continue;
            }
            if let Some(end) = ends.get_mut(count) {
                *end = at as u16;
                count += 1;
            } else {
                return Self { ends, count };
            }
        }
        if let Some(end) = ends.get_mut(count) {
            *end = topic.len() as u16;
            count += 1;
        }
        Self { ends, count }
    }

    /// The place of a level.
    fn level(&self, depth: usize) -> (usize, usize) {
        let end = |depth: usize| usize::from(self.ends.get(depth).copied().unwrap_or_default());
        let start = depth.checked_sub(1).map_or(0, |before| end(before) + 1);
        (start, end(depth))
    }
}

/// Levels that a shape describes, its end included.
const STEPS_MAX: usize = 32;
/// So many filters have a table for their shape.
const TABLE_FROM: usize = if cfg!(test) { 3 } else { 64 };
/// Each topic is looked for in every table whose shape it fits: there must not be many, however clients
/// choose their filters.
const TABLES_MAX: usize = if cfg!(test) { 4 } else { 16 };
