//! The places for workers: who is in each, of which generation, and whether it is filled again.

use std::{collections::BTreeMap, time::Instant};

use crate::supervisor::life::WorkerLife;

/// All places, by number. A number is the lowest free one from 1, and comes back into use when its place has been given up.
#[derive(Debug, Default)]
pub(super) struct Roster {
    places: BTreeMap<u32, Place>,
}

/// A place for one worker of one generation.
///
/// ```text
///   wanted ── its worker asks for it, or is old or large ──▶ worn ── its replacement is ready ──┐
///     │ ▲                                                     │                                 ▼
///     │ └───────────────────── its worker dies ───────────────┘           drained ──▶ leaving ── ended ──▶ given up
///     └── fewer are wanted, its generation goes, its worker stops by itself ─────────────▲
/// ```
#[derive(Debug)]
pub(super) struct Place {
    /// The generation whose code is served here.
    pub(super) generation: u32,
    /// The worker.
    pub(super) life: WorkerLife,
    /// What becomes of the place.
    pub(super) role: Role,
    /// The place whose worker goes once this one is ready.
    pub(super) replaces: Option<u32>,
    /// Whether it is given up because fewer workers are wanted, which is no reason to cut a request.
    pub(super) is_surplus: bool,
}

/// What becomes of a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Filled again whenever its worker ends.
    Wanted,
    /// As wanted, until a replacement is ready.
    Worn,
    /// Given up as soon as its worker has ended.
    Leaving,
}

impl Place {
    /// Whether it counts among those the generation is to have.
    pub(super) fn is_kept(&self) -> bool {
        self.role != Role::Leaving
    }

    /// Whether its worker serves and is to go on doing so.
    pub(super) fn is_serving(&self) -> bool {
        self.is_kept() && self.life.is_ready()
    }
}

impl Roster {
    /// Opens a place for a worker of `generation` that is due now; returns its number.
    pub(super) fn open(&mut self, generation: u32, now: Instant) -> u32 {
        let slot = (1..).find(|slot| !self.places.contains_key(slot)).unwrap_or(u32::MAX);
        let life = WorkerLife::due(now);
        self.places.insert(slot, Place { generation, life, role: Role::Wanted, replaces: None, is_surplus: false });
        slot
    }

    /// Gives up every place that is to be left and whose worker has ended or was never asked for.
    pub(super) fn sweep(&mut self) {
        self.places.retain(|_, place| place.is_kept() || place.life.due_at().is_none());
    }

    /// The place of that number.
    pub(super) fn get(&self, slot: u32) -> Option<&Place> {
        self.places.get(&slot)
    }

    /// The place of that number, to be changed.
    pub(super) fn get_mut(&mut self, slot: u32) -> Option<&mut Place> {
        self.places.get_mut(&slot)
    }

    /// All places, lowest number first.
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = (u32, &Place)> {
        self.places.iter().map(|(slot, place)| (*slot, place))
    }

    /// All places, to be changed.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (u32, &mut Place)> {
        self.places.iter_mut().map(|(slot, place)| (*slot, place))
    }

    /// The places of one generation.
    pub(super) fn of(&self, generation: u32) -> impl DoubleEndedIterator<Item = (u32, &Place)> {
        self.iter().filter(move |(_, place)| place.generation == generation)
    }

    /// The slot whose worker is `pid`.
    pub(super) fn slot_of(&self, pid: i32) -> Option<u32> {
        self.iter().find(|(_, place)| place.life.pid() == Some(pid)).map(|(slot, _)| slot)
    }

    /// How many workers of `generation` serve and are to go on doing so.
    pub(super) fn serving(&self, generation: u32) -> usize {
        self.of(generation).filter(|(_, place)| place.is_serving()).count()
    }

    /// Whether any worker accepts connections.
    pub(super) fn has_ready(&self) -> bool {
        self.iter().any(|(_, place)| place.life.is_ready())
    }

    /// How many processes there are.
    pub(super) fn living(&self) -> usize {
        self.iter().filter(|(_, place)| place.life.pid().is_some()).count()
    }

    /// Whether there is no place at all.
    pub(super) fn is_empty(&self) -> bool {
        self.places.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_number_that_is_free_is_given_out() {
        let now = Instant::now();
        let mut roster = Roster::default();
        assert_eq!([1, 1, 2].map(|generation| roster.open(generation, now)), [1, 2, 3]);
        roster.get_mut(2).unwrap().role = Role::Leaving;
        roster.sweep();
        assert_eq!((roster.open(2, now), roster.open(2, now)), (2, 4));
        assert_eq!(roster.of(2).map(|(slot, _)| slot).collect::<Vec<_>>(), [2, 3, 4]);
    }

    #[test]
    fn a_place_is_not_given_up_while_a_worker_may_be_on_its_way() {
        let now = Instant::now();
        let mut roster = Roster::default();
        let slot = roster.open(1, now);
        let place = roster.get_mut(slot).unwrap();
        place.role = Role::Leaving;
        place.life.requested();
        roster.sweep();
        assert!(!roster.is_empty());
        let place = roster.get_mut(slot).unwrap();
        assert!(place.life.forked(7, now) && place.life.ended(now).is_some());
        roster.sweep();
        assert!(roster.is_empty());
    }
}
