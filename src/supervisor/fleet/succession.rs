//! Which generation serves, which one is on trial, and what became of those before.

use std::time::Instant;

/// The succession of generations.
///
/// ```text
///              begin                    all ready
///   settled ──────────▶ a candidate is ──────────▶ settled, the candidate serves
///      ▲                   on trial
///      └──── its failure is remembered ◀── discarded
/// ```
///
/// A reload that is asked for during a trial follows it, once, however often it is asked for.
#[derive(Debug)]
pub(super) struct Succession {
    serving: u32,
    candidate: Option<Candidate>,
    last: u32,
    is_asked_for: bool,
    failure: Option<Failure>,
}

/// A generation that has yet to prove itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Candidate {
    generation: u32,
    deadline: Instant,
}

/// Why the latest generation does not serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// The generation that was discarded.
    pub(crate) generation: u32,
    /// What an operator is to read: the traceback, or how it ended.
    pub(crate) report: String,
}

/// What has become of a reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome<'a> {
    /// It has not begun, or goes on.
    Pending,
    /// Its generation serves, or did.
    Served,
    /// Its generation was discarded.
    Failed(&'a Failure),
}

impl Succession {
    /// The first generation serves; there is nobody else.
    pub(super) fn new() -> Self {
        Self { serving: 1, candidate: None, last: 1, is_asked_for: false, failure: None }
    }

    /// The generation that serves.
    pub(super) fn serving(&self) -> u32 {
        self.serving
    }

    /// The generation on trial.
    pub(super) fn candidate(&self) -> Option<u32> {
        self.candidate.map(|candidate| candidate.generation)
    }

    /// When the trial is over, whatever happens.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.candidate.map(|candidate| candidate.deadline)
    }

    /// Whether no reload goes on, and none is asked for.
    pub(super) fn is_settled(&self) -> bool {
        self.candidate.is_none() && !self.is_asked_for
    }

    /// Whether a reload waits to begin.
    pub(super) fn is_due(&self) -> bool {
        self.candidate.is_none() && self.is_asked_for
    }

    /// Why the generation that serves is not the latest one.
    pub(super) fn failure(&self) -> Option<&Failure> {
        self.failure.as_ref()
    }

    /// Whether workers of `generation` are wanted.
    pub(super) fn is_current(&self, generation: u32) -> bool {
        self.serving == generation || self.candidate() == Some(generation)
    }

    /// The generation that a reload asked for now will make.
    pub(super) fn next(&self) -> u32 {
        self.last + 1
    }

    /// A reload is asked for.
    pub(super) fn ask(&mut self) {
        self.is_asked_for = true;
    }

    /// The reload begins, and has until `deadline`; returns its generation.
    pub(super) fn begin(&mut self, deadline: Instant) -> u32 {
        self.last += 1;
        self.is_asked_for = false;
        self.candidate = Some(Candidate { generation: self.last, deadline });
        self.last
    }

    /// The candidate has proved itself; returns the generation it takes over from.
    pub(super) fn promote(&mut self) -> Option<u32> {
        let candidate = self.candidate.take()?;
        self.failure = None;
        Some(std::mem::replace(&mut self.serving, candidate.generation))
    }

    /// The candidate is discarded; returns its generation.
    pub(super) fn discard(&mut self, report: String) -> Option<u32> {
        let Candidate { generation, .. } = self.candidate.take()?;
        self.failure = Some(Failure { generation, report });
        Some(generation)
    }

    /// What has become of the reload that was to make `generation`.
    pub(super) fn outcome(&self, generation: u32) -> Outcome<'_> {
        match &self.failure {
            Some(failure) if failure.generation >= generation => Outcome::Failed(failure),
            _ if self.serving >= generation => Outcome::Served,
            _ => Outcome::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_candidate_that_proves_itself_serves() {
        let now = Instant::now();
        let mut succession = Succession::new();
        assert!(succession.is_settled());
        assert_eq!(succession.next(), 2);
        succession.ask();
        assert!(succession.is_due());
        assert_eq!(succession.begin(now), 2);
        assert_eq!((succession.candidate(), succession.deadline()), (Some(2), Some(now)));
        assert_eq!(succession.outcome(2), Outcome::Pending);
        assert_eq!(succession.promote(), Some(1));
        assert_eq!((succession.serving(), succession.outcome(2)), (2, Outcome::Served));
        assert!(succession.is_settled() && !succession.is_current(1));
    }

    #[test]
    fn a_discarded_candidate_is_remembered_until_one_serves() {
        let now = Instant::now();
        let mut succession = Succession::new();
        succession.ask();
        succession.begin(now);
        assert_eq!(succession.discard("why".to_owned()), Some(2));
        let failure = Failure { generation: 2, report: "why".to_owned() };
        assert_eq!((succession.serving(), succession.outcome(2)), (1, Outcome::Failed(&failure)));
        assert_eq!(succession.next(), 3);
        succession.ask();
        succession.begin(now);
        assert_eq!(succession.outcome(3), Outcome::Pending);
        succession.promote();
        assert_eq!((succession.serving(), succession.failure(), succession.outcome(3)), (3, None, Outcome::Served));
    }

    #[test]
    fn asking_during_a_trial_makes_one_more() {
        let now = Instant::now();
        let mut succession = Succession::new();
        succession.ask();
        succession.begin(now);
        succession.ask();
        succession.ask();
        assert_eq!(succession.next(), 3);
        assert!(!succession.is_due());
        succession.promote();
        assert!(succession.is_due());
        succession.begin(now);
        assert!(!succession.is_due());
    }

    #[test]
    fn nobody_on_trial_can_be_promoted_or_discarded() {
        let mut succession = Succession::new();
        assert_eq!((succession.promote(), succession.discard(String::new())), (None, None));
        assert_eq!(succession.failure(), None);
    }
}
