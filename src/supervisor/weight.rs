//! How much memory workers use, asked of the kernel now and then.

use std::{
    collections::BTreeSet,
    fs,
    time::{Duration, Instant},
};

use crate::{config::Recycling, supervisor::fleet::Event};

/// What finds workers that have grown too large.
#[derive(Debug)]
pub(super) struct Scales {
    /// More resident bytes, and the worker is replaced.
    soft: Option<u64>,
    /// More resident bytes, and it is killed.
    hard: Option<u64>,
    due_at: Instant,
    /// Who has been found too large for good, and may take a while to end.
    condemned: BTreeSet<i32>,
}

impl Scales {
    /// Scales that object to more than `limits` allow; `None` when those allow anything.
    pub(super) fn new(limits: Recycling, now: Instant) -> Option<Self> {
        let Recycling { max_rss: soft, max_rss_hard: hard, .. } = limits;
        let scales = Self { soft, hard, due_at: now, condemned: BTreeSet::new() };
        (soft.is_some() || hard.is_some()).then(|| Self { due_at: now + scales.period(), ..scales })
    }

    /// When to weigh next.
    pub(super) fn due_at(&self) -> Instant {
        self.due_at
    }

    /// Once a period, what is to be said of those `workers` that are too heavy.
    pub(super) fn weigh(&mut self, now: Instant, workers: impl FnOnce() -> Vec<(u32, i32)>) -> Vec<Event> {
        if now < self.due_at {
            return Vec::new();
        }
        self.due_at = now + self.period();
        let workers = workers();
        self.condemned.retain(|pid| workers.iter().any(|(_, living)| living == pid));
        workers.into_iter().filter_map(|(slot, pid)| self.judge(slot, pid, resident(pid)?)).collect()
    }

    fn judge(&mut self, slot: u32, pid: i32, bytes: u64) -> Option<Event> {
        let exceeded = |limit: Option<u64>| limit.filter(|most| bytes > *most);
        if let Some(most) = exceeded(self.hard) {
            let reason = reason(bytes, most, "--max-rss-hard");
            return self.condemned.insert(pid).then_some(Event::Oversized { slot, reason });
        }
        exceeded(self.soft).map(|most| Event::Worn { slot, reason: reason(bytes, most, "--max-rss") })
    }

    /// A request that runs away takes a gigabyte a second; a worker that leaks has time.
    fn period(&self) -> Duration {
        if self.hard.is_some() { Duration::from_millis(250) } else { Duration::from_secs(1) }
    }
}

fn reason(bytes: u64, most: u64, option: &str) -> String {
    format!("it uses {} MiB of memory, more than the {} MiB of {option}", bytes >> 20, most >> 20)
}

/// Resident bytes of a process: the second field of `/proc/PID/statm`, in pages (proc_pid_statm(5)).
fn resident(pid: i32) -> Option<u64> {
    let statm = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let pages: u64 = statm.split(' ').nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scales(soft: Option<u64>, hard: Option<u64>, now: Instant) -> Scales {
        let limits = Recycling { max_rss: soft, max_rss_hard: hard, ..Recycling::default() };
        Scales::new(limits, now).unwrap()
    }

    fn me() -> i32 {
        i32::try_from(std::process::id()).unwrap()
    }

    #[test]
    fn without_a_limit_nothing_is_weighed() {
        assert!(Scales::new(Recycling::default(), Instant::now()).is_none());
    }

    #[test]
    fn only_the_heavy_are_found_and_only_once_a_period() {
        let now = Instant::now();
        let mut scales = scales(Some(1), None, now);
        assert!(scales.weigh(now, || vec![(7, me())]).is_empty());
        let heavy = scales.weigh(scales.due_at(), || vec![(7, me()), (8, i32::MAX)]);
        let [Event::Worn { slot: 7, reason }] = &heavy[..] else { panic!("{heavy:?}") };
        assert!(reason.contains("--max-rss"), "{reason}");
    }

    #[test]
    fn those_within_the_limits_are_left_alone() {
        let now = Instant::now();
        let mut scales = scales(Some(u64::MAX), Some(u64::MAX), now);
        assert!(scales.weigh(scales.due_at(), || vec![(7, me())]).is_empty());
    }

    #[test]
    fn those_beyond_the_hard_limit_are_found_soon_and_once() {
        let now = Instant::now();
        let mut scales = scales(Some(1), Some(2), now);
        assert!(scales.due_at() <= now + Duration::from_millis(250));
        let heavy = scales.weigh(scales.due_at(), || vec![(7, me())]);
        let [Event::Oversized { slot: 7, reason }] = &heavy[..] else { panic!("{heavy:?}") };
        assert!(reason.contains("--max-rss-hard"), "{reason}");
        assert!(scales.weigh(scales.due_at(), || vec![(7, me())]).is_empty());
        // A process that has gone may have left its number to another.
        assert!(scales.weigh(scales.due_at(), Vec::new).is_empty());
        assert_eq!(scales.weigh(scales.due_at(), || vec![(8, me())]).len(), 1);
    }
}
