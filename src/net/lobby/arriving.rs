//! Connections whose request is not complete.

use std::{
    io,
    os::fd::{AsFd, OwnedFd},
    pin::pin,
    time::Duration,
};

use rusgi_proto::OwnedPacket;
use tokio::{io::unix::AsyncFd, time::timeout};
use tokio_stream::StreamExt as _;
use tokio_util::codec::FramedRead;

use crate::net::{
    inflow::{Head, Inflow},
    lobby::{
        House,
        codec::{NoPacket, PacketCodec},
        hold_back::HoldBack,
        leaving,
    },
    peer,
    pull::Pull,
    readiness::register,
    refusal::Refusal,
};

/// A body of which nothing comes for this long was announced and never sent, as nginx's `auth_request` does.
const ANNOUNCED_ONLY: Duration = Duration::from_secs(1);

/// What a worker that drains still grants to a request that is not complete.
const LAST_CALL: Duration = Duration::from_secs(1);

/// Waits for a packet, then for its body.
pub(super) async fn head(house: House, socket: OwnedFd) {
    match complete_head(&house, socket).await {
        Some((socket, inflow)) => body(house, socket, inflow).await,
        None => house.acceptor.settle(None),
    }
}

/// Waits for a body and returns the connection to the desks.
pub(super) async fn body(house: House, socket: OwnedFd, inflow: Inflow) {
    let settled = complete_body(&house, socket, inflow).await;
    house.acceptor.settle(settled);
}

/// The connection with its packet; `None` when it has been answered here, or has gone.
async fn complete_head(house: &House, socket: OwnedFd) -> Option<(OwnedFd, Inflow)> {
    let mut framed = FramedRead::new(HoldBack::new(socket).ok()?, PacketCodec::default());
    let within = house.limits.head_timeout;
    let packet = tokio::select! {
        packet = timeout(within, framed.next()) => Some(packet),
        () = closing(house) => None,
    };
    let seen = framed.decoder().seen(framed.read_buffer());
    let rest = framed.read_buffer().to_vec();
    let (socket, pending) = framed.into_inner().into_parts();
    let refusal = match packet {
        Some(Ok(Some(Ok(packet)))) => {
            let mut inflow = Inflow::begun(whole(&packet, &rest), pending);
            match inflow.parse(house.limits.max_body) {
                Ok(Head::Request) => return Some((socket, inflow)),
                Ok(Head::Ping | Head::Incomplete) => return pong(house, socket).await,
                Err(refusal) => refusal,
            }
        }
        Some(Ok(Some(Err(NoPacket::Refused(refusal))))) => refusal,
        // Connected and left, as health checks do: not worth a line.
        Some(Ok(Some(Err(NoPacket::Socket(_))) | None)) => return None,
        _ if seen == 0 => return None,
        None => Refusal::Stopping,
        Some(Err(_)) => Refusal::SlowHead { seen, within },
    };
    refuse(house, socket, &refusal).await;
    None
}

/// The connection with as much of its body as is buffered; `None` when it has been answered here, or has gone.
async fn complete_body(house: &House, socket: OwnedFd, mut inflow: Inflow) -> Option<(OwnedFd, Inflow)> {
    let socket = register(socket).ok()?;
    let limit = house.limits.body_buffer;
    while !inflow.is_full(limit) {
        let within = if inflow.body_seen() == 0 { ANNOUNCED_ONLY } else { house.limits.body_timeout };
        let more = tokio::select! {
            more = timeout(within, more_body(&socket, &mut inflow, limit)) => Some(more),
            () = closing(house) => None,
        };
        let refusal = match more {
            Some(Ok(Ok(Pull::Some(_) | Pull::Blocked))) => continue,
            Some(Ok(Ok(Pull::End) | Err(_))) => {
                tracing::debug!(peer = %peer::name(socket.get_ref()), "client closed the connection in the middle of its request body");
                return None;
            }
            Some(Err(_)) if inflow.body_seen() == 0 => break,
            Some(Err(_)) => Refusal::SlowBody { missing: inflow.body_unseen(), within },
            None => Refusal::Stopping,
        };
        refuse(house, socket.into_inner(), &refusal).await;
        return None;
    }
    Some((socket.into_inner(), inflow))
}

async fn more_body(socket: &AsyncFd<OwnedFd>, inflow: &mut Inflow, limit: usize) -> io::Result<Pull> {
    let mut guard = socket.readable().await?;
    let pulled = inflow.fill(socket.as_fd(), limit)?;
    if pulled == Pull::Blocked {
        guard.clear_ready();
    }
    Ok(pulled)
}

/// The packet's bytes and what came behind it, as they were sent.
fn whole(packet: &OwnedPacket, rest: &[u8]) -> Vec<u8> {
    let packet = packet.packet();
    [&packet.header.encode()[..], packet.vars.as_bytes(), rest].concat()
}

async fn pong<T>(house: &House, socket: OwnedFd) -> Option<T> {
    leaving::write(&house.limits, socket, vec![Vec::from(leaving::PONG).into()]).await;
    None
}

async fn refuse(house: &House, socket: OwnedFd, refusal: &Refusal) {
    leaving::log(&socket, refusal);
    leaving::write(&house.limits, socket, vec![refusal.page(false).into()]).await;
}

/// Completes a moment after the worker has begun to drain.
async fn closing(house: &House) {
    let mut closing = house.closing.clone();
    let begun = pin!(closing.wait_for(|closing| *closing)).await.is_ok();
    if !begun {
        std::future::pending::<()>().await;
    }
    tokio::time::sleep(LAST_CALL).await;
}
