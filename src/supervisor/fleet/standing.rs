//! Where the fleet stands, in the words of a service manager.

use crate::supervisor::{
    fleet::{Fleet, Phase, plan::counted},
    notify::{Stage, Standing},
};

impl Fleet {
    /// Where the fleet stands now.
    pub(crate) fn standing(&self) -> Standing {
        let stage = match self.phase {
            Phase::Running if !self.history.was_announced => Stage::Starting,
            Phase::Running if self.succession.is_settled() => Stage::Ready,
            Phase::Running => Stage::Reloading,
            Phase::Stopping { .. } | Phase::Over(_) => Stage::Stopping,
        };
        let text = match stage {
            Stage::Stopping => format!("stopping, {} left", counted(self.roster.living(), "worker")),
            _ => self.serving_text(),
        };
        Standing { stage, text }
    }

    fn serving_text(&self) -> String {
        let serving = self.succession.serving();
        let (ready, wanted) = (self.roster.serving(serving), self.plan.wanted());
        let text = format!("{ready} of {wanted} ready, application {}", self.plan.application);
        let text = match (self.outage.since(), self.succession.failure()) {
            (Some((_, "")), _) if self.is_down() => format!("down: no worker serves; {text}"),
            (Some((_, cause)), _) if self.is_down() => format!("down: no worker serves ({cause}); {text}"),
            (_, Some(_)) => format!("degraded: still serving generation {serving}; {text}"),
            _ => text,
        };
        match self.upgrade.describe() {
            Some(("starting", Some(pid), _)) => format!("upgrading: pid {pid} is starting; {text}"),
            Some(("failed", ..)) => format!("upgrade failed; {text}"),
            _ => text,
        }
    }
}
