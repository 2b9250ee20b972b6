//! What can be asked of the admin socket, and what is answered.

use std::time::Instant;

use serde::Serialize;

use crate::{
    config::Range,
    supervisor::{
        admin::{
            Order, View,
            door::Rights,
            http::{Reply, Request},
        },
        fleet::{Fleet, Status},
        valve::LoadStatus,
    },
};

/// An answer, or when there will be one.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// At once.
    Now(Reply),
    /// When something has come to its end.
    After(Awaited),
}

/// What a visitor can wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Awaited {
    /// That this generation serves, or is discarded.
    Reload(u32),
    /// That this upgrade has succeeded, or failed.
    Upgrade(u32),
}

/// The answer to `request` of a visitor with these rights, and what is to be done because of it.
pub(super) fn answer(request: &Request, rights: Rights, view: View<'_>, now: Instant) -> (Answer, Option<Order>) {
    let View { fleet, load } = view;
    let Some((method, route)) = ROUTES.iter().find(|(_, route)| *route == request.path) else {
        return said(
            404,
            "there are /livez, /readyz, /status, and to POST to /reload, /upgrade, /stop, /scale?workers=N",
        );
    };
    if *method == "POST" && rights == Rights::Questions {
        return said(403, &format!("{route} is an order: give it by --admin-socket, this address takes none"));
    }
    let is_allowed = request.method == *method || (request.method == "HEAD" && *method == "GET");
    if !is_allowed {
        let allow = if *method == "GET" { "GET, HEAD" } else { method };
        let reply = Reply::text(405, format!("{route} takes {allow}"));
        return (Answer::Now(reply.allowing(allow)), None);
    }
    match *route {
        "/livez" => said(200, "alive"),
        "/readyz" if fleet.is_ready() => said(200, "ready"),
        "/readyz" => said(503, &format!("not ready: {}", fleet.state())),
        "/status" => (status(fleet.status(now), load), None),
        "/upgrade" => upgrade(request, fleet),
        "/stop" => {
            let words = if fleet.is_stopping() { "stopping at once" } else { "stopping" };
            (Answer::Now(Reply::text(202, words.to_owned())), Some(Order::Stop))
        }
        _ if fleet.is_stopping() => said(503, &fleet.farewell()),
        "/reload" => reload(request, fleet),
        _ => scale(request),
    }
}

/// What `/status` answers.
#[derive(Serialize)]
struct Whole<'a> {
    #[serde(flatten)]
    fleet: Status,
    #[serde(flatten)]
    load: &'a LoadStatus,
}

fn status(fleet: Status, load: &LoadStatus) -> Answer {
    Answer::Now(match serde_json::to_string(&Whole { fleet, load }) {
        Ok(status) => Reply::json(200, status),
        Err(error) => Reply::text(500, error.to_string()),
    })
}

fn reload(request: &Request, fleet: &Fleet) -> (Answer, Option<Order>) {
    let generation = fleet.next_generation();
    let answer = match request.parameter("wait") {
        Some(_) => Answer::After(Awaited::Reload(generation)),
        None => Answer::Now(Reply::json(202, format!("{{\"generation\":{generation}}}"))),
    };
    (answer, Some(Order::Reload))
}

fn upgrade(request: &Request, fleet: &Fleet) -> (Answer, Option<Order>) {
    if let Some(obstacle) = fleet.obstacle() {
        return said(409, &obstacle);
    }
    let attempt = fleet.next_attempt();
    let answer = match request.parameter("wait") {
        Some(_) => Answer::After(Awaited::Upgrade(attempt)),
        None => Answer::Now(Reply::json(202, format!("{{\"attempt\":{attempt}}}"))),
    };
    (answer, Some(Order::Upgrade))
}

fn scale(request: &Request) -> (Answer, Option<Order>) {
    let range = request.parameter("workers").map(str::parse::<Range>);
    match range {
        Some(Ok(range)) => {
            let Range { least, most } = range;
            let body = format!("{{\"least\":{least},\"most\":{most}}}");
            (Answer::Now(Reply::json(202, body)), Some(Order::Scale(range)))
        }
        Some(Err(error)) => said(400, &error.to_string()),
        None => said(400, "say how many: /scale?workers=N, or /scale?workers=MIN..MAX"),
    }
}

fn said(status: u16, text: &str) -> (Answer, Option<Order>) {
    (Answer::Now(Reply::text(status, text.to_owned())), None)
}

const ROUTES: [(&str, &str); 7] = [
    ("GET", "/livez"),
    ("GET", "/readyz"),
    ("GET", "/status"),
    ("POST", "/reload"),
    ("POST", "/upgrade"),
    ("POST", "/stop"),
    ("POST", "/scale"),
];
