//! What the client tools ask, and whom, as typed.

use std::{
    fs,
    io::{self, Read},
};

use crate::{cli::outgoing::Outgoing, config::Address};

/// One request and where it goes.
#[derive(Debug, clap::Args)]
pub(super) struct Asked {
    /// Where a uwsgi server listens: unix:PATH, /absolute/path, HOST:PORT or :PORT
    address: String,
    /// Path and query, as in a URL
    #[arg(default_value = "/")]
    path: String,
    /// The method [default: GET, or POST with a body]
    #[arg(short = 'X', long)]
    request: Option<String>,
    /// A request header; `Name:` leaves out one that is sent by default
    #[arg(short = 'H', long, value_name = "NAME: VALUE")]
    header: Vec<String>,
    /// The body: text, @FILE, or - for standard input
    #[arg(short, long)]
    data: Option<String>,
    /// A var instead of the one that nginx would send, or beside those; NAME without = leaves one out
    #[arg(long, value_name = "NAME=VALUE")]
    var: Vec<String>,
}

/// A request as it goes over the wire.
#[derive(Debug)]
pub(super) struct Request {
    /// Who is asked.
    pub(super) address: Address,
    /// What is asked.
    pub(super) outgoing: Outgoing,
    /// The same as bytes: packet and body.
    pub(super) bytes: Vec<u8>,
}

impl Asked {
    /// The request that is meant.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub(super) fn request(&self) -> Result<Request, String> {
        let address = self.address.parse().map_err(|error| format!("{error}"))?;
        let body = self.data.as_deref().map(body).transpose()?;
        let default = if body.is_some() { "POST" } else { "GET" };
        let outgoing = Outgoing {
            method: self.request.as_deref().unwrap_or(default).to_owned(),
            target: self.path.clone(),
            headers: headers(&self.header, body.as_deref())?,
            vars: self.var.iter().map(|var| var_of(var)).collect(),
            body_len: body.as_ref().map(Vec::len),
        };
        let packet = outgoing.packet().map_err(|error| error.to_string())?;
        Ok(Request { address, outgoing, bytes: [packet, body.unwrap_or_default()].concat() })
    }
}

fn body(data: &str) -> Result<Vec<u8>, String> {
    let mut input = Vec::new();
    let read = match data.strip_prefix('@') {
        Some("-") => io::stdin().read_to_end(&mut input),
        Some(path) => return fs::read(path).map_err(|error| format!("--data: {path}: {error}: name a file to send")),
        None if data == "-" => io::stdin().read_to_end(&mut input),
        None => return Ok(data.as_bytes().to_vec()),
    };
    read.map(|_| input).map_err(|error| format!("--data: standard input cannot be read: {error}"))
}

/// Those that curl sends unasked, then those that were asked for.
fn headers(given: &[String], body: Option<&[u8]>) -> Result<Vec<(String, String)>, String> {
    let mut wanted = Vec::with_capacity(given.len());
    for text in given {
        let wrong = || format!("--header: `{text}` has no colon: write 'Name: value'");
        let (name, value) = text.split_once(':').ok_or_else(wrong)?;
        wanted.push((name.trim().to_owned(), value.trim().to_owned()));
    }
    let length = body.map(|body| body.len().to_string());
    let kind = body.map(|_| "application/x-www-form-urlencoded".to_owned());
    let by_default = [
        ("Host", Some("localhost".to_owned())),
        ("User-Agent", Some(concat!("rusgi/", env!("CARGO_PKG_VERSION")).to_owned())),
        ("Accept", Some("*/*".to_owned())),
        ("Content-Length", length),
        ("Content-Type", kind),
    ];
    let is_given = |name: &str| wanted.iter().any(|(other, _)| other.eq_ignore_ascii_case(name));
    let unasked = by_default.into_iter().filter(|(name, _)| !is_given(name));
    let mut headers: Vec<_> = unasked.filter_map(|(name, value)| Some((name.to_owned(), value?))).collect();
    headers.extend(wanted.into_iter().filter(|(_, value)| !value.is_empty()));
    Ok(headers)
}

fn var_of(text: &str) -> (String, Option<String>) {
    match text.split_once('=') {
        Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
        None => (text.to_owned(), None),
    }
}
