//! Keeps requests under way: one thread, one epoll, a connection per request.

use std::{
    io,
    time::{Duration, Instant},
};

use rustix::{
    event::epoll::{self, CreateFlags, Event, EventData, EventFlags},
    fd::OwnedFd,
    time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime},
};

use crate::cli::bench::{
    Plan,
    exchange::{Exchange, Failure},
    tally::Tally,
};

/// How often it is looked what is due, unless the rate asks for more.
const TICK: Duration = Duration::from_millis(1);

/// The shortest time between two looks.
const SHORTEST_TICK: Duration = Duration::from_micros(50);

/// The timer's place among the connections.
const TIMER: u64 = u64::MAX;

/// Carries out `plan`.
///
/// # Errors
/// When the system refuses a descriptor or memory.
pub(super) fn drive(plan: &Plan) -> io::Result<Tally> {
    let mut driver = Driver::new(plan)?;
    while driver.begin_due()? {
        driver.wait()?;
    }
    let began = driver.began;
    let mut tally = driver.tally;
    tally.elapsed = began.elapsed();
    Ok(tally)
}

struct Driver<'a> {
    plan: &'a Plan,
    epoll: OwnedFd,
    timer: OwnedFd,
    began: Instant,
    /// Requests so far.
    count: u64,
    slots: Vec<Option<Exchange>>,
    /// Slots without a request.
    idle: Vec<usize>,
    /// Slots whose last request failed at once: they wait for the next tick, so that failing does not become all there is.
    resting: Vec<usize>,
    buffer: Vec<u8>,
    tally: Tally,
}

impl<'a> Driver<'a> {
    fn new(plan: &'a Plan) -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?;
        let tick = plan.pace.moment(1).map_or(TICK, |moment| moment.clamp(SHORTEST_TICK, TICK));
        let tick = tick.try_into().map_err(io::Error::other)?;
        timerfd_settime(&timer, TimerfdTimerFlags::empty(), &Itimerspec { it_interval: tick, it_value: tick })?;
        epoll::add(&epoll, &timer, EventData::new_u64(TIMER), EventFlags::IN)?;
        Ok(Self {
            plan,
            epoll,
            timer,
            began: Instant::now(),
            count: 0,
            slots: (0..plan.connections).map(|_| None).collect(),
            idle: (0..plan.connections).rev().collect(),
            resting: Vec::new(),
            buffer: vec![0; 64 * 1024],
            tally: Tally::new().map_err(io::Error::other)?,
        })
    }

    /// Begins what is due; false once everything has come to its end.
    fn begin_due(&mut self) -> io::Result<bool> {
        let elapsed = self.began.elapsed();
        let due = self.plan.pace.due(elapsed);
        let is_late = self.plan.timeout.is_some_and(|timeout| elapsed > self.plan.pace.duration + timeout);
        if is_late && self.count < due {
            self.tally.fail(Failure::NeverSent, due - self.count);
            self.count = due;
        }
        while self.count < due
            && let Some(slot) = self.idle.pop()
        {
            self.begin(slot)?;
        }
        let is_over = self.count >= due && (elapsed >= self.plan.pace.duration || due == self.plan.pace.most);
        Ok(!is_over || self.idle.len() + self.resting.len() < self.slots.len())
    }

    fn begin(&mut self, slot: usize) -> io::Result<()> {
        let due = self.plan.pace.moment(self.count).map_or_else(Instant::now, |moment| self.began + moment);
        self.count += 1;
        match Exchange::begin(&self.plan.request, due)? {
            Ok(exchange) => {
                let room = if exchange.is_sent(&self.plan.request) { EventFlags::empty() } else { EventFlags::OUT };
                epoll::add(&self.epoll, &exchange, EventData::new_u64(slot as u64), EventFlags::IN | room)?;
                if let Some(place) = self.slots.get_mut(slot) {
                    *place = Some(exchange);
                }
            }
            Err(failure) => {
                self.tally.fail(failure, 1);
                self.resting.push(slot);
            }
        }
        Ok(())
    }

    fn wait(&mut self) -> io::Result<()> {
        let mut events = [Event { flags: EventFlags::empty(), data: EventData::new_u64(0) }; 256];
        let (ready, _) = match epoll::wait(&self.epoll, &mut events[..], None) {
            Ok(count) => events.split_at(count),
            Err(rustix::io::Errno::INTR) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        for event in ready {
            match event.data.u64() {
                TIMER => self.tick(),
                slot => self.advance(slot as usize, event.flags)?,
            }
        }
        Ok(())
    }

    fn tick(&mut self) {
        // EAGAIN: read already.
        let _ = rustix::io::read(&self.timer, &mut [0; 8]);
        self.idle.append(&mut self.resting);
        let Some(timeout) = self.plan.timeout else {
            return;
        };
        for (slot, place) in self.slots.iter_mut().enumerate() {
            if let Some(exchange) = place.take_if(|exchange| exchange.due.elapsed() > timeout) {
                self.tally.bytes += exchange.received;
                self.tally.fail(Failure::TimedOut, 1);
                self.idle.push(slot);
            }
        }
    }

    fn advance(&mut self, slot: usize, flags: EventFlags) -> io::Result<()> {
        // One that has timed out in the same round is no longer there.
        let Some(place) = self.slots.get_mut(slot) else { return Ok(()) };
        let Some(exchange) = place else { return Ok(()) };
        let request = &self.plan.request;
        let outcome = match exchange.advance(request, &mut self.buffer) {
            Ok(None) if flags.contains(EventFlags::OUT) && exchange.is_sent(request) => {
                epoll::modify(&self.epoll, &*exchange, EventData::new_u64(slot as u64), EventFlags::IN)?;
                return Ok(());
            }
            Ok(None) => return Ok(()),
            Ok(Some(status)) => Ok(status),
            Err(failure) => Err(failure),
        };
        self.tally.bytes += exchange.received;
        self.tally.count(outcome, exchange.due.elapsed());
        *place = None;
        if outcome.is_ok() {
            self.idle.push(slot)
        } else {
            self.resting.push(slot)
        }
        Ok(())
    }
}
