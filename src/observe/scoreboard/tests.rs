//! What the rows say, to whom, and when.

use super::*;

/// Far beyond what any test takes.
const LONG: Option<Duration> = Some(Duration::from_secs(3600));

fn vars(pairs: &[(&str, &str)]) -> Vec<u8> {
    let string = |text: &str| [&u16::try_from(text.len()).unwrap().to_le_bytes(), text.as_bytes()].concat();
    pairs.iter().flat_map(|(key, value)| [string(key), string(value)].concat()).collect()
}

fn row(allowance: Option<Duration>) -> Row {
    Scoreboard::new(1, 1).unwrap().claim(7, allowance).unwrap().remove(0)
}

#[test]
fn a_worker_that_has_ended_leaves_its_unfinished_requests_and_its_rows() {
    let board = Scoreboard::new(1, 2).unwrap();
    let rows = board.claim(7, LONG).unwrap();
    assert!(board.claim(8, LONG).is_none());
    rows[1].begin(&vars(&[("QUERY_STRING", "q=1"), ("REQUEST_METHOD", "POST"), ("REQUEST_URI", "/a\n?q=1")]));
    let unfinished = board.release(7);
    assert_eq!(unfinished.len(), 1);
    assert_eq!((unfinished[0].method.as_str(), unfinished[0].path.as_str()), ("POST", "/a\\n"));
    assert!(board.release(7).is_empty());
    let rows = board.claim(8, LONG).unwrap();
    assert!(rows.iter().all(|row| row.turn().is_none()));
    assert!(board.release(8).is_empty());
}

#[test]
fn the_tally_counts_desks_and_what_they_have_begun_ever() {
    let board = Scoreboard::new(3, 2).unwrap();
    assert_eq!(board.tally(), Tally::default());
    let rows = board.claim(7, LONG).unwrap();
    rows[0].begin(b"");
    let _ = rows[0].end();
    rows[1].begin(b"");
    assert_eq!(board.tally(), Tally { desks: 2, busy: 1, begun: 2, left: 0, gil_wait: 0 });
    let _ = board.release(7);
    assert_eq!(board.tally(), Tally { desks: 0, busy: 0, begun: 2, left: 0, gil_wait: 0 });
    let rows = board.claim(8, LONG).unwrap();
    rows[1].begin(b"");
    rows[0].pass_over();
    assert_eq!(board.tally(), Tally { desks: 2, busy: 1, begun: 3, left: 1, gil_wait: 0 });
}

#[test]
fn all_desks_know_that_the_queue_is_stale() {
    let board = Scoreboard::new(2, 1).unwrap();
    let rows = [7, 8].map(|pid| board.claim(pid, LONG).unwrap().remove(0));
    assert!(!rows.iter().any(Row::is_stale));
    board.set_stale(true);
    assert!(rows.iter().all(Row::is_stale));
    board.set_stale(false);
    assert!(!rows.iter().any(Row::is_stale));
}

#[test]
fn busy_desks_are_counted_by_their_worker() {
    let board = Scoreboard::new(3, 2).unwrap();
    let busy = |board: &Scoreboard| board.busy().collect::<Vec<_>>();
    assert_eq!(busy(&board), []);
    let (first, second) = (board.claim(7, LONG).unwrap(), board.claim(8, LONG).unwrap());
    first.iter().chain(&second[..1]).for_each(|row| row.begin(b""));
    let _ = first[0].end();
    assert_eq!(busy(&board), [(7, 1), (8, 1)]);
    let _ = board.release(7);
    assert_eq!(busy(&board), [(8, 1)]);
}

#[test]
fn an_unfinished_request_without_a_uri_is_named_by_its_path() {
    let board = Scoreboard::new(1, 1).unwrap();
    let rows = board.claim(7, None).unwrap();
    rows[0].begin(b"\x09\0PATH_INFO\x02\0/p");
    assert_eq!(board.release(7)[0].path, "/p");
}

#[test]
fn a_worker_that_has_nothing_to_do_leaves_nothing_unfinished() {
    let board = Scoreboard::new(1, 1).unwrap();
    let row = board.claim(7, LONG).unwrap().remove(0);
    row.begin(&vars(&[("REQUEST_METHOD", "GET")]));
    assert!(!row.end());
    assert!(board.release(7).is_empty());
}

#[test]
fn a_long_packet_is_kept_as_far_as_it_fits() {
    let board = Scoreboard::new(1, 1).unwrap();
    let row = board.claim(7, LONG).unwrap().remove(0);
    let long = format!("/{}", "x".repeat(1000));
    row.begin(&vars(&[("REQUEST_METHOD", "GET"), ("REQUEST_URI", &long)]));
    let path = board.release(7).remove(0).path;
    assert!(path.len() > 200 && long.starts_with(&path), "{path}");
}

#[test]
fn a_block_cut_anywhere_is_read_as_far_as_it_goes() {
    let whole = vars(&[("A", "1"), ("REQUEST_METHOD", "GET")]);
    for end in 0..whole.len() {
        let found = value(&whole[..end], b"REQUEST_METHOD").unwrap_or_default();
        assert!(b"GET".starts_with(found));
    }
    assert_eq!(value(&whole, b"REQUEST_METHOD"), Some(&b"GET"[..]));
}

#[test]
fn every_request_has_a_serial_of_its_own() {
    let row = row(LONG);
    assert_eq!(row.turn(), None);
    row.begin(b"");
    let first = row.turn().unwrap().serial;
    assert!(row.is_at(first));
    assert!(!row.end());
    assert!(!row.is_at(first) && row.turn().is_none());
    row.begin(b"");
    let second = row.turn().unwrap().serial;
    // A request that a panic ended has no end.
    row.begin(b"");
    let third = row.turn().unwrap().serial;
    assert!(first < second && second < third);
}

#[test]
fn an_interrupt_meets_the_request_it_is_meant_for_only() {
    let row = row(LONG);
    row.begin(b"");
    let serial = row.turn().unwrap().serial;
    row.interrupt(serial);
    assert!(row.end());
    row.begin(b"");
    assert!(!row.take_interrupt());
    row.interrupt(serial);
    assert!(!row.take_interrupt() && !row.end());
    row.begin(b"");
    row.interrupt(row.turn().unwrap().serial);
    assert!(row.take_interrupt());
    assert!(!row.take_interrupt());
}

#[test]
fn time_can_be_given_and_taken() {
    let row = row(LONG);
    assert!(!row.allow(LONG));
    row.begin(b"");
    let left = |row: &Row| row.turn().unwrap().left;
    assert!(left(&row) > Some(Duration::from_secs(3000)) && left(&row) <= LONG);
    assert!(row.allow(Some(Duration::ZERO)));
    assert_eq!(left(&row), Some(Duration::ZERO));
    assert!(row.allow(None));
    assert_eq!(left(&row), None);
    let _ = row.end();
    row.begin(b"");
    assert!(left(&row) > Some(Duration::from_secs(3000)));
}

#[test]
fn without_an_allowance_there_is_no_limit() {
    let row = row(None);
    row.begin(b"");
    assert_eq!(row.turn().unwrap().left, None);
}
