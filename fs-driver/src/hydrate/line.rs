//! Blobs in the order in which they are to come, each of them once.

use std::collections::VecDeque;

use cairn_protocol::object::ObjectId;

use crate::ids::{Ids, Place};
use crate::limits::BACKGROUND_MAX;

/// What may stand in the order, with what left its turn there, before it is made anew.
const TURNS_MAX: usize = 2 * BACKGROUND_MAX;

/// The line. A blob takes some 45 bytes.
///
/// Who moves or leaves is not taken out of the order: its turn there is no longer its own.
#[derive(Default)]
pub struct Line {
    ids: Ids,
    /// The turn of each id; 0 of those that stand in no line.
    turns: Vec<u32>,
    /// The first one has its own turn, if there is any.
    order: VecDeque<(Place, u32)>,
    last_turn: u32,
    len: usize,
}

impl Line {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is nothing to bring.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Puts blobs at the end; those that are here already keep their place. What is too much is left out.
    pub fn append(&mut self, ids: impl Iterator<Item = ObjectId>) {
        for id in ids {
            if self.len >= BACKGROUND_MAX {
                return;
            }
            if let Some((place, turn)) = self.turn_of(&id, false) {
                self.order.push_back((place, turn));
            }
        }
    }

    /// Puts blobs at the front, in their own order; those that are here already move there. Too much falls off the end.
    pub fn prepend(&mut self, ids: impl DoubleEndedIterator<Item = ObjectId>) {
        for id in ids.rev() {
            if let Some((place, turn)) = self.turn_of(&id, true) {
                self.order.push_front((place, turn));
            }
        }
        while self.len > BACKGROUND_MAX {
            let Some((place, turn)) = self.order.pop_back() else { return };
            if let Some(own) = self.turns.get_mut(place as usize).filter(|own| **own == turn) {
                *own = 0;
                self.len -= 1;
            }
        }
    }

    /// Gives an id a new turn; `None` where it has one and is not to move.
    fn turn_of(&mut self, id: &ObjectId, moves: bool) -> Option<(Place, u32)> {
        if self.order.len() >= TURNS_MAX || self.ids.len() >= TURNS_MAX || self.last_turn == u32::MAX {
            self.make_anew();
        }
        let (place, is_new) = self.ids.insert(id)?;
        if is_new {
            self.turns.push(0);
        }
        let own = self.turns.get_mut(place as usize)?;
        if *own != 0 && !moves {
            return None;
        }
        self.len += usize::from(*own == 0);
        self.last_turn += 1;
        *own = self.last_turn;
        Some((place, self.last_turn))
    }

    /// Forgets those that left.
    fn make_anew(&mut self) {
        let old = std::mem::take(self);
        let alive = old.order.iter().filter(|(place, turn)| old.turns.get(*place as usize) == Some(turn));
        self.append(alive.filter_map(|(place, _)| old.ids.get(*place)));
    }

    /// The first one, which stays.
    pub fn first(&self) -> Option<ObjectId> {
        self.order.front().and_then(|(place, _)| self.ids.get(*place))
    }

    /// Takes one out.
    pub fn remove(&mut self, id: &ObjectId) {
        let place = self.ids.find(id);
        let own = place.and_then(|place| self.turns.get_mut(place as usize));
        let Some(own) = own.filter(|own| **own != 0) else { return };
        *own = 0;
        self.len -= 1;
        if self.len == 0 {
            return self.clear();
        }
        while let Some((place, turn)) = self.order.front()
            && self.turns.get(*place as usize) != Some(turn)
        {
            self.order.pop_front();
        }
    }

    /// Takes all out.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use super::*;
    use cairn_protocol::object::HashAlgo;

    fn id(nth: u32) -> ObjectId {
        let mut raw = [9; 20];
        raw[..4].copy_from_slice(&nth.to_be_bytes());
        ObjectId::from_bytes(HashAlgo::Sha1, &raw).unwrap()
    }

    fn drained(line: &mut Line) -> Vec<u32> {
        let mut all = Vec::new();
        while let Some(first) = line.first() {
            line.remove(&first);
            all.push(u32::from_be_bytes(first.as_bytes()[..4].try_into().unwrap()));
        }
        all
    }

    #[test]
    fn a_blob_stands_in_the_line_once_however_often_it_is_put_there() {
        let mut line = Line::default();
        line.append((1..=6).map(id));
        line.append((4..=8).map(id));
        for _ in 0..100 {
            line.prepend((5..=7).map(id));
        }
        assert_eq!(line.len(), 8);
        line.remove(&id(6));
        line.remove(&id(6));
        assert_eq!(drained(&mut line), [5, 7, 1, 2, 3, 4, 8]);
        assert_eq!((line.len(), line.is_empty()), (0, true));
        line.append([id(4)].into_iter());
        assert_eq!(drained(&mut line), [4], "one that left may come again");
    }

    #[test]
    fn those_that_moved_or_left_take_no_room_for_long() {
        let mut line = Line::default();
        let last = BACKGROUND_MAX as u32 - 1;
        line.append((0..=last).map(id));
        line.append([id(last + 1)].into_iter());
        assert_eq!(line.len(), BACKGROUND_MAX, "one too many is left out");
        line.prepend((last + 1..last + 3).map(id));
        assert_eq!((line.len(), line.first()), (BACKGROUND_MAX, Some(id(last + 1))));
        (0..10).for_each(|nth| line.remove(&id(nth)));
        for _ in 0..12 {
            line.prepend((100_000..200_000).map(id));
        }
        assert!(line.order.len() <= TURNS_MAX && line.ids.len() <= TURNS_MAX);
        assert_eq!(line.len(), BACKGROUND_MAX - 10);
        let rest = (10..100_000).chain(200_000..last - 1);
        let want: Vec<u32> = (100_000..200_000).chain([last + 1, last + 2]).chain(rest).collect();
        assert!(drained(&mut line) == want);
    }
}
