//! Filters with wildcards, many of one shape.
//!
//! Looking for a topic in a trie is a walk whose every step waits for the one before; with a million
//! filters each step waits for memory as well. Where very many filters have their wildcards in the
//! same places there is a shorter way: the topic says what text a filter of that shape must have to
//! match it, and one look in a table finds it. The looks for several shapes do not wait for each
//! other.
//!
//! A few filters of a shape stay in the trie, since a look for each of many shapes would cost more
//! than the walk.

use hashbrown::HashTable;

use super::filter_table::FilterTable;
use super::hashing::Hashing;
use super::index::Leaf;

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
    /// How many filters of a shape are in the trie. A shape that has none does not stand here.
    in_trie: HashTable<(Shape, u32)>,
    /// In the order of shapes; none is empty.
    tables: Vec<ShapeTable<L>>,
}

/// The filters of one shape, but for those that came first.
struct ShapeTable<L> {
    shape: Shape,
    /// Levels before the end, or before `#`.
    levels: usize,
    /// Which of them are `+`, by their numbers.
    plus: u32,
    ends_with_hash: bool,
    filters: FilterTable<L>,
}

/// Where a filter with wildcards belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In the table for its shape.
    Table,
    /// In the trie if it is there already, else in the table.
    TableIfNew,
    Trie,
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

    /// Where a filter is, or where it is to be if it is new.
    pub(super) fn place(&self, filter: &str, hashing: &Hashing) -> Place {
        let Some(shape) = Shape::of(filter) else {
            return Place::Trie;
        };
        match self.table_at(shape) {
            Ok(at) => {
                let filters = &self.tables[at].filters;
                let hash = hashing.text(filter);
                match filters.find(filter.as_bytes(), hash) {
                    Some(_) => Place::Table,
                    None => Place::TableIfNew,
                }
            }
            Err(_) if self.tables.len() < TABLES_MAX => {
                let count = self
                    .in_trie
                    .find(hashing.shape(shape), |known| known.0 == shape)
                    .map_or(0, |known| known.1);
                if count >= TABLE_FROM {
                    Place::TableIfNew
                } else {
                    Place::Trie
                }
            }
            Err(_) => Place::Trie,
        }
    }

    /// The leaf of a filter in the table for its shape, which is an empty one if the filter is new there.
    ///
    /// `None` for a filter that has no shape.
    pub(super) fn leaf(&mut self, filter: &str, hashing: &Hashing) -> Option<&mut L> {
        let shape = Shape::of(filter)?;
        let at = self.table_at(shape).unwrap_or_else(|at| {
            self.tables.insert(at, ShapeTable::new(shape));
            at
        });
        Some(self.tables.get_mut(at)?.filters.leaf(filter, hashing))
    }

    /// Counts a filter that came to the trie, or has left it.
    pub(super) fn count_in_trie(&mut self, filter: &str, hashing: &Hashing, is_there: bool) {
        let Some(shape) = Shape::of(filter) else {
            return;
        };
        let mut known = self
            .in_trie
            .entry(
                hashing.shape(shape),
                |known| known.0 == shape,
                |known| hashing.shape(known.0),
            )
            .or_insert((shape, 0));
        let count = &mut known.get_mut().1;
        if is_there {
            *count += 1;
            return;
        }
        *count = count.saturating_sub(1);
        if *count == 0 {
            known.remove();
            super::split::shrink_table(&mut self.in_trie, |known| hashing.shape(known.0));
        }
    }

    /// Changes the leaf of a filter that is in its shape's table.
    ///
    /// `change` is given back if it is not there.
    pub(super) fn edit<R, C: FnOnce(&mut L) -> R>(
        &mut self,
        filter: &str,
        hashing: &Hashing,
        change: C,
    ) -> Result<R, C> {
        let Some(at) = Shape::of(filter).and_then(|shape| self.table_at(shape).ok()) else {
            return Err(change);
        };
        let filters = &mut self.tables[at].filters;
        let mut change = Some(change);
        let result = filters.edit(filter, hashing, |leaf| {
            change.take().map(|change| change(leaf))
        });
        if filters.is_empty() {
            self.tables.remove(at);
            self.tables.shrink_to_fit();
        }
        match (result.flatten(), change) {
            (Some(result), _) => Ok(result),
            (None, Some(change)) => Err(change),
            (None, None) => unreachable!("a change that was made has a result"),
        }
    }

    /// Shows `each` the leaves of all filters that match `topic` and are here, in the order of their
    /// shapes.
    pub(super) fn visit<'a>(
        &'a self,
        topic: &str,
        hashing: &Hashing,
        text: &mut Vec<u8>,
        each: &mut impl FnMut(Shape, &'a L),
    ) {
        let ends = LevelEnds::of(topic);
        for table in &self.tables {
            if !table.fits(topic, &ends) {
                continue;
            }
            table.write_filter(topic.as_bytes(), &ends, text);
            if let Some(leaf) = table.filters.find(text, hashing.bytes(text)) {
                each(table.shape, leaf);
            }
        }
    }

    /// The looks that [`Self::visit`] will take: hashes, with the number of the table for
    /// [`Self::touch`].
    pub(super) fn looks(
        &self,
        topic: &str,
        hashing: &Hashing,
        text: &mut Vec<u8>,
        each: &mut impl FnMut(usize, u64),
    ) {
        let ends = LevelEnds::of(topic);
        for (number, table) in self.tables.iter().enumerate() {
            if table.fits(topic, &ends) {
                table.write_filter(topic.as_bytes(), &ends, text);
                each(number, hashing.bytes(text));
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
        tables
            + self.tables.capacity() * size_of::<ShapeTable<L>>()
            + self.in_trie.allocation_size()
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

    /// Writes the text of the one filter of this shape that matches `topic`.
    fn write_filter(&self, topic: &[u8], ends: &LevelEnds, text: &mut Vec<u8>) {
        text.clear();
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
struct LevelEnds {
    ends: [u16; STEPS_MAX],
    /// Levels of the topic, at most [`STEPS_MAX`].
    count: usize,
}

impl LevelEnds {
    fn of(topic: &str) -> Self {
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
/// So many filters of a shape are in the trie before it has a table.
const TABLE_FROM: u32 = if cfg!(test) { 2 } else { 256 };
/// Each topic is looked for in every table whose shape it fits: there must not be many, however clients
/// choose their filters.
const TABLES_MAX: usize = if cfg!(test) { 4 } else { 16 };
