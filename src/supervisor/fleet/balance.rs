//! As many workers as are wanted: places opened and given up, worn workers replaced, whatever is due started.

use std::{cmp::Reverse, time::Instant};

use tracing::{debug, error, info};

use crate::{
    config::Range,
    supervisor::{
        fleet::{
            Action, Fleet, Phase, Scale,
            roster::{Place, Role},
        },
        generation::Generation,
    },
};

impl Fleet {
    pub(super) fn scale(&mut self, scale: Scale) {
        if self.phase == Phase::Running && self.plan.scale(scale) {
            self.history.was_scaled = true;
            info!("scaling to {}", self.plan.wanted());
            self.scaling.forget();
        }
    }

    /// How many workers are wanted now, and how many there may be where an operator has changed that.
    pub(in crate::supervisor) fn strength(&self) -> (usize, Option<Range>) {
        (self.plan.workers, self.history.was_scaled.then_some(self.plan.range))
    }

    /// Goes on with the strength of a predecessor.
    pub(in crate::supervisor) fn inherit(&mut self, (workers, range): (usize, Option<Range>), now: Instant) {
        range.into_iter().for_each(|range| self.scale(Scale::To(range)));
        self.plan.workers = self.plan.range.nearest(workers);
        self.settle(now);
    }

    /// The worker goes as soon as a replacement is ready.
    pub(super) fn worn(&mut self, slot: u32, reason: &str) {
        if let Some(place) = self.roster.get_mut(slot).filter(|place| place.is_serving() && place.role == Role::Wanted)
        {
            place.role = Role::Worn;
            let pid = place.life.pid().unwrap_or_default();
            info!("worker {slot} (pid {pid}) is to be replaced: {reason}");
        }
    }

    /// The worker goes at once; its replacement comes when it has gone.
    pub(super) fn oversized(&mut self, slot: u32, reason: &str) {
        let place = self.roster.get_mut(slot);
        let Some((place, pid)) = place.and_then(|place| place.life.pid().map(|pid| (place, pid))) else {
            return;
        };
        place.life.condemned(reason);
        error!("worker {slot} (pid {pid}) is killed, with what it is serving: {reason}");
        self.actions.push_back(Action::Kill { pid });
    }

    /// When the next worker is worn by its age.
    pub(super) fn next_wear(&self) -> Option<Instant> {
        let serving = self.roster.of(self.succession.serving());
        let wanted = serving.filter(|(_, place)| place.role == Role::Wanted);
        wanted.filter_map(|(_, place)| self.worn_at(place)).min()
    }

    fn worn_at(&self, place: &Place) -> Option<Instant> {
        let lifetime = self.plan.recycling.lifetime(place.life.pid()?)?;
        place.life.ready_since()?.checked_add(lifetime)
    }

    pub(super) fn balance(&mut self, now: Instant) {
        let serving = self.succession.serving();
        self.notice_age(serving, now);
        self.relieve(serving, now);
        let spare = usize::from(self.replacement().is_some());
        self.adjust(serving, self.plan.workers + spare, now);
        if let Some(candidate) = self.succession.candidate() {
            return self.adjust(candidate, self.plan.workers, now);
        }
        if spare == 0 {
            self.replace_one(serving, now);
        }
    }

    fn notice_age(&mut self, serving: u32, now: Instant) {
        let is_old = |place: &Place| self.worn_at(place).is_some_and(|at| at <= now);
        let old: Vec<_> = self.roster.of(serving).filter(|(_, place)| is_old(place)).map(|(slot, _)| slot).collect();
        old.into_iter().for_each(|slot| self.worn(slot, "it has served for --max-lifetime"));
    }

    /// The place that is to take over from a worn one, and that one.
    fn replacement(&self) -> Option<(u32, u32)> {
        self.roster.iter().find_map(|(slot, place)| Some((slot, place.replaces?)))
    }

    /// Lets the worn worker go whose replacement is ready.
    fn relieve(&mut self, serving: u32, now: Instant) {
        let Some((slot, old)) = self.replacement() else {
            return;
        };
        let is_worn = self.roster.get(old).is_some_and(|place| place.role == Role::Worn && place.generation == serving);
        let is_ready = self.roster.get(slot).is_some_and(Place::is_serving);
        if is_ready || !is_worn {
            self.each(slot, |place| place.replaces = None);
        }
        if is_ready && is_worn {
            self.dismiss(old, now);
        }
    }

    /// Opens or gives up places until `generation` has as many as are `wanted`.
    fn adjust(&mut self, generation: u32, wanted: usize, now: Instant) {
        let kept = self.roster.of(generation).filter(|(_, place)| place.is_kept()).count();
        for _ in kept..wanted {
            self.roster.open(generation, now);
        }
        for _ in wanted..kept {
            let kept = self.roster.of(generation).filter(|(_, place)| place.is_kept());
            // Of those that serve, the one with the fewest requests.
            let least =
                kept.max_by_key(|(slot, place)| (dispensability(place), Reverse(self.scaling.busy_in(*slot)), *slot));
            if let Some(slot) = least.map(|(slot, _)| slot) {
                self.each(slot, |place| place.is_surplus = true);
                self.dismiss(slot, now);
            }
        }
    }

    /// Opens a place for the replacement of a worn worker: one at a time, so that they do not all load at once.
    fn replace_one(&mut self, serving: u32, now: Instant) {
        let mut serving_places = self.roster.of(serving);
        let Some((old, _)) = serving_places.find(|(_, place)| place.role == Role::Worn && place.is_serving()) else {
            return;
        };
        drop(serving_places);
        let slot = self.roster.open(serving, now);
        debug!("worker {slot} is to replace worker {old}");
        self.each(slot, |place| place.replaces = Some(old));
    }

    /// When something is to be started next.
    pub(super) fn next_start(&self) -> Option<Instant> {
        let current = |number: u32| self.succession.is_current(number);
        let forkservers = self.generations.iter().filter(|(number, _)| current(**number));
        let workers = self.roster.iter().filter(|(_, place)| self.can_fork(place.generation));
        let workers = workers.filter_map(|(_, place)| place.life.due_at());
        forkservers.filter_map(|(_, one)| one.due_at()).chain(workers).min()
    }

    fn can_fork(&self, generation: u32) -> bool {
        self.succession.is_current(generation) && self.generations.get(&generation).is_some_and(Generation::is_serving)
    }

    pub(super) fn start_due(&mut self, now: Instant) {
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        for (number, one) in &mut self.generations {
            if self.succession.is_current(*number) && is_due(one.due_at()) {
                one.requested();
                self.actions.push_back(Action::StartForkserver { generation: *number });
            }
        }
        let due =
            self.roster.iter().filter(|(_, place)| is_due(place.life.due_at()) && self.can_fork(place.generation));
        let due: Vec<_> = due.map(|(slot, place)| (slot, place.generation)).collect();
        for (slot, generation) in due {
            self.each(slot, |place| place.life.requested());
            self.actions.push_back(Action::Fork { generation, slot });
        }
    }
}

/// The more, the less its worker is missed; among equals the newest is.
fn dispensability(place: &Place) -> u8 {
    match place.role {
        _ if place.life.pid().is_none() => 3,
        _ if !place.life.is_ready() => 2,
        Role::Worn => 1,
        Role::Wanted | Role::Leaving => 0,
    }
}
