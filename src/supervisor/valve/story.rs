//! What the operator reads of an overload, or of an outage: a line when it begins, now and then, and when it is over.

use std::time::{Duration, Instant};

use tracing::{error, info, warn};

use crate::supervisor::valve::judge::CALM;

/// What has been told, and what has been counted.
#[derive(Debug, Default)]
pub(super) struct Story {
    totals: Totals,
    episode: Option<Episode>,
    /// Connections that were turned away because we stop.
    pub(super) dismissed: u64,
}

/// Counts that only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    /// Connections that were answered with 503.
    pub(super) refused: u64,
    /// Connections whose peers had left before.
    pub(super) left: u64,
    /// Requests that have begun.
    pub(super) begun: u64,
}

/// How things stand.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scene<'a> {
    /// Now.
    pub(super) at: Instant,
    /// Why nobody serves, if that is so.
    pub(super) down: Option<&'a str>,
    /// Connections that waited a moment ago.
    pub(super) waiting: u64,
    /// How long a newcomer would have waited.
    pub(super) wait: Option<Duration>,
}

#[derive(Debug)]
struct Episode {
    is_down: bool,
    began_at: Instant,
    before: Totals,
    refused_at: Instant,
    told_at: Instant,
    told: Totals,
}

impl Story {
    /// Whether an overload or an outage goes on.
    pub(super) fn is_open(&self) -> bool {
        self.episode.is_some()
    }

    /// Whether an outage goes on.
    pub(super) fn is_down(&self) -> bool {
        self.episode.as_ref().is_some_and(|episode| episode.is_down)
    }

    /// Whatever goes on is over for us, and not worth a line.
    pub(super) fn end(&mut self) {
        self.episode = None;
    }

    /// Goes on to `totals`; tells what is news.
    pub(super) fn go_on(&mut self, totals: Totals, scene: Scene<'_>) {
        let has_refused = totals.refused > self.totals.refused;
        self.totals = totals;
        if let Some(episode) = &mut self.episode {
            if has_refused {
                episode.refused_at = scene.at;
            }
            if episode.is_over(scene) {
                episode.tell_end(totals, scene.at);
                self.episode = None;
            } else if scene.at.saturating_duration_since(episode.told_at) >= INTERVAL {
                episode.tell(totals, scene);
            }
        }
        if self.episode.is_none() && (has_refused || scene.down.is_some()) {
            tell_beginning(scene);
            self.episode = Some(Episode::new(totals, scene));
        }
    }
}

fn tell_beginning(Scene { down, waiting, wait, .. }: Scene<'_>) {
    match (down, wait) {
        (Some(cause), _) => error!("no worker serves ({cause}): requests are answered with 503 until one is ready"),
        (None, Some(wait)) => warn!(
            "overload: {waiting} connections wait, and a newcomer would for {wait:.1?}: those who have waited longest are \
             answered with 503 so that the others are served in time"
        ),
        (None, None) => warn!("overload: {waiting} connections wait and none is served: they are answered with 503"),
    }
}

impl Episode {
    fn new(totals: Totals, scene: Scene<'_>) -> Self {
        let at = scene.at;
        Self { is_down: scene.down.is_some(), began_at: at, before: totals, refused_at: at, told_at: at, told: totals }
    }

    fn is_over(&self, scene: Scene<'_>) -> bool {
        let is_calm = scene.at.saturating_duration_since(self.refused_at) >= CALM;
        if self.is_down { scene.down.is_none() } else { is_calm || scene.down.is_some() }
    }

    fn tell(&mut self, totals: Totals, Scene { at, down, waiting, .. }: Scene<'_>) {
        let lately = totals.since(self.told);
        let Totals { refused, begun, .. } = lately;
        match down {
            Some(cause) => {
                error!("still no worker serves ({cause}): {refused} requests answered with 503 since the last line")
            }
            None => warn!(
                "overload goes on: {refused} connections answered with 503 and {begun} requests served since the last line, \
                 {waiting} wait"
            ),
        }
        (self.told_at, self.told) = (at, totals);
    }

    fn tell_end(&self, totals: Totals, at: Instant) {
        let Totals { refused, left, begun } = totals.since(self.before);
        let lasted = at.saturating_duration_since(self.began_at);
        if self.is_down {
            info!("a worker is ready after {lasted:.1?} without; requests answered with 503 meanwhile: {refused}");
        } else {
            info!(
                "overload over after {lasted:.1?}: {refused} connections answered with 503, {left} had been left by their \
                 peers, {begun} requests served"
            );
        }
    }
}

impl Totals {
    fn since(self, before: Self) -> Self {
        Self { refused: self.refused - before.refused, left: self.left - before.left, begun: self.begun - before.begun }
    }
}

/// How often a line is worth while it lasts.
const INTERVAL: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    fn scene(at: Instant, down: Option<&str>) -> Scene<'_> {
        Scene { at, down, waiting: 7, wait: Some(Duration::from_secs(12)) }
    }

    fn refused(refused: u64) -> Totals {
        Totals { refused, left: 0, begun: 0 }
    }

    #[test]
    fn an_overload_is_over_when_nobody_was_refused_for_a_while() {
        let (now, mut story) = (Instant::now(), Story::default());
        story.go_on(refused(0), scene(now, None));
        assert!(!story.is_open());
        story.go_on(refused(3), scene(now, None));
        assert!(story.is_open() && !story.is_down());
        let later = now + CALM / 2;
        story.go_on(refused(4), scene(later, None));
        story.go_on(refused(4), scene(now + CALM, None));
        assert!(story.is_open());
        story.go_on(refused(4), scene(later + CALM, None));
        assert!(!story.is_open());
    }

    #[test]
    fn an_outage_lasts_until_somebody_is_ready() {
        let (now, mut story) = (Instant::now(), Story::default());
        story.go_on(refused(1), scene(now, None));
        let later = now + INTERVAL * 2;
        for at in [now, later] {
            story.go_on(refused(1), scene(at, Some("worker 1 died")));
            assert!(story.is_open() && story.is_down());
        }
        story.go_on(refused(9), scene(later, None));
        assert!(story.is_open() && !story.is_down());
        story.end();
        assert!(!story.is_open());
    }

    #[test]
    fn a_line_now_and_then_is_enough() {
        let (now, mut story) = (Instant::now(), Story::default());
        let told_at = |story: &Story| story.episode.as_ref().unwrap().told_at;
        for step in 0..25 {
            story.go_on(refused(step + 1), scene(now + INTERVAL / 10 * step as u32, None));
        }
        assert_eq!(told_at(&story), now + INTERVAL * 2);
    }
}
