//! How much memory workers use, asked of the kernel now and then.

use std::{
    fs,
    time::{Duration, Instant},
};

/// What finds workers that have grown too large.
#[derive(Debug)]
pub(super) struct Scales {
    most: u64,
    due_at: Instant,
}

impl Scales {
    /// Scales that object to more than `most` resident bytes.
    pub(super) fn new(most: u64, now: Instant) -> Self {
        Self { most, due_at: now + PERIOD }
    }

    /// When to weigh next.
    pub(super) fn due_at(&self) -> Instant {
        self.due_at
    }

    /// Once a period, the slots of those `workers` that are too heavy, each with the reason.
    pub(super) fn weigh(&mut self, now: Instant, workers: impl FnOnce() -> Vec<(u32, i32)>) -> Vec<(u32, String)> {
        if now < self.due_at {
            return Vec::new();
        }
        self.due_at = now + PERIOD;
        let weights = workers().into_iter().filter_map(|(slot, pid)| Some((slot, resident(pid)?)));
        weights.filter(|(_, bytes)| *bytes > self.most).map(|(slot, bytes)| (slot, reason(bytes, self.most))).collect()
    }
}

fn reason(bytes: u64, most: u64) -> String {
    format!("it uses {} MiB of memory, more than the {} MiB of --max-rss", bytes >> 20, most >> 20)
}

/// Resident bytes of a process: the second field of `/proc/PID/statm`, in pages (proc_pid_statm(5)).
fn resident(pid: i32) -> Option<u64> {
    let statm = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let pages: u64 = statm.split(' ').nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

const PERIOD: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_heavy_are_found_and_only_once_a_period() {
        let now = Instant::now();
        let me = i32::try_from(std::process::id()).unwrap();
        let mut scales = Scales::new(1, now);
        assert!(scales.weigh(now, || vec![(7, me)]).is_empty());
        let heavy = scales.weigh(scales.due_at(), || vec![(7, me), (8, i32::MAX)]);
        assert_eq!(heavy.iter().map(|(slot, _)| *slot).collect::<Vec<_>>(), [7]);
        assert!(heavy[0].1.contains("--max-rss"), "{heavy:?}");
        let mut scales = Scales::new(u64::MAX, now);
        assert!(scales.weigh(scales.due_at(), || vec![(7, me)]).is_empty());
    }
}
