//! What nginx is told about the sockets that rusgi listens on.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    ffi::OsString,
    path::Path,
    process::Command,
    time::Duration,
};

use crate::{
    cli::doctor::{
        Finding,
        nginx_config::{Directive, parse},
    },
    config::{Address, Config, quantity::seconds_up},
};

/// Reads the configuration that nginx would use, or the one that begins in `file`.
///
/// # Errors
/// What keeps it from being read.
pub(super) fn read(file: Option<&Path>) -> Result<Vec<Directive>, Finding> {
    let mut command = Command::new("nginx");
    command.arg("-T").env("PATH", path_with_sbin());
    if let Some(file) = file {
        let directory = file.parent().unwrap_or_else(|| Path::new("/"));
        command.arg("-p").arg(directory).arg("-c").arg(file).args(["-e", "/dev/null"]);
    }
    let output = command.output().map_err(|error| {
        Finding::warning(format!("nginx: {error}: its configuration was not looked at"), "run this where nginx is")
    })?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        let why = said.lines().find(|line| line.contains("[emerg]")).unwrap_or("nginx -T fails").to_owned();
        return Err(match () {
            () if why.contains("Permission denied") => Finding::warning(why, "run this as root"),
            () => Finding::problem(why, "correct the file, then: nginx -t"),
        });
    }
    Ok(parse(&String::from_utf8_lossy(&output.stdout)))
}

/// Who nginx's workers run as, where the configuration says so.
pub(super) fn user(tree: &[Directive]) -> Option<String> {
    tree.iter().find(|directive| directive.name == "user").map(|directive| directive.first().to_owned())
}

/// Looks at every place that passes requests to one of rusgi's addresses.
pub(super) fn check(tree: &[Directive], config: &Config) -> Vec<Finding> {
    let http: Vec<_> = tree.iter().filter(|directive| directive.name == "http").collect();
    let upstreams = http.iter().flat_map(|http| &http.block).filter(|directive| directive.name == "upstream");
    let upstreams = upstreams.map(|upstream| (upstream.first(), servers(upstream))).collect();
    let mut places = Vec::new();
    for http in http {
        walk(&http.block, &Inherited::default().with(&http.block), &mut places);
    }
    let ours: Vec<_> = places.iter().filter(|place| place.leads_to(&config.listen.addresses, &upstreams)).collect();
    if ours.is_empty() {
        return vec![nowhere(&places, config)];
    }
    ours.into_iter().flat_map(|place| place.check(config)).collect()
}

/// No `uwsgi_pass` names what rusgi listens on.
fn nowhere(places: &[Place], config: &Config) -> Finding {
    let passes: BTreeSet<_> = places.iter().map(|place| place.pass.as_str()).collect();
    let passes = passes.into_iter().collect::<Vec<_>>().join(", ");
    let wanted = config.listen.addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let has =
        if passes.is_empty() { "there is no uwsgi_pass".to_owned() } else { format!("uwsgi_pass names {passes}") };
    let first = wanted.split(", ").next().unwrap_or_default().to_owned();
    Finding::problem(
        format!("nginx: nothing is passed to {wanted}: {has}"),
        format!("in the site's location: include uwsgi_params; uwsgi_pass {first};"),
    )
}

fn servers(upstream: &Directive) -> Vec<String> {
    upstream
        .block
        .iter()
        .filter(|directive| directive.name == "server")
        .map(|server| server.first().to_owned())
        .collect()
}

/// What a block takes over from the one around it.
#[derive(Clone, Debug, Default)]
struct Inherited {
    values: BTreeMap<String, String>,
    params: BTreeSet<String>,
}

impl Inherited {
    /// The same with what `block` sets itself; one `uwsgi_param` of its own hides all that were inherited.
    fn with(&self, block: &[Directive]) -> Self {
        let mut values = self.values.clone();
        values.extend(
            block
                .iter()
                .filter(|directive| WATCHED.contains(&directive.name.as_str()))
                .map(|directive| (directive.name.clone(), directive.first().to_owned())),
        );
        let own: BTreeSet<_> = block
            .iter()
            .filter(|directive| directive.name == "uwsgi_param")
            .map(|directive| directive.first().to_owned())
            .collect();
        Self { values, params: if own.is_empty() { self.params.clone() } else { own } }
    }
}

/// A location with `uwsgi_pass`.
#[derive(Debug)]
struct Place {
    name: String,
    pass: String,
    inherited: Inherited,
}

fn walk(block: &[Directive], inherited: &Inherited, places: &mut Vec<Place>) {
    for directive in block.iter().filter(|directive| !directive.block.is_empty()) {
        let inner = inherited.with(&directive.block);
        let name = [std::slice::from_ref(&directive.name), directive.arguments.as_slice()].concat().join(" ");
        let passes = directive.block.iter().filter(|inner| inner.name == "uwsgi_pass");
        places.extend(passes.map(|pass| Place {
            name: name.clone(),
            pass: pass.first().to_owned(),
            inherited: inner.clone(),
        }));
        walk(&directive.block, &inner, places);
    }
}

impl Place {
    fn leads_to(&self, addresses: &[Address], upstreams: &BTreeMap<&str, Vec<String>>) -> bool {
        let pass = self.pass.trim_start_matches("uwsgi://");
        let direct = [pass.to_owned()];
        let targets = upstreams.get(pass).map_or(direct.as_slice(), Vec::as_slice);
        targets.iter().any(|target| addresses.iter().any(|address| is_same(target, address)))
    }

    fn check(&self, config: &Config) -> Vec<Finding> {
        let found: Vec<_> =
            [self.params(), self.patience(config), self.head(), self.body(config)].into_iter().flatten().collect();
        if found.is_empty() {
            vec![Finding::fine(format!("nginx, {}: passes to {}", self.name, self.pass))]
        } else {
            found
        }
    }

    fn params(&self) -> Option<Finding> {
        let missing: Vec<_> = NEEDED.into_iter().filter(|name| !self.inherited.params.contains(*name)).collect();
        (!missing.is_empty()).then(|| {
            Finding::problem(
                format!("nginx, {}: {} not sent", self.name, missing.join(", ")),
                "beside uwsgi_pass: include uwsgi_params;    (a uwsgi_param of a location hides those around it)",
            )
        })
    }

    fn patience(&self, config: &Config) -> Option<Finding> {
        let ours = config.workers.request_timeout? + config.workers.timeout_grace;
        let text = self.value("uwsgi_read_timeout", "60s");
        let theirs = parse_time(text)?;
        (theirs <= ours).then(|| {
            Finding::warning(
                format!(
                    "nginx, {}: uwsgi_read_timeout {text} ends before --request-timeout and --timeout-grace ({} s) have",
                    self.name,
                    seconds_up(ours)
                ),
                format!("uwsgi_read_timeout {}s;    so that rusgi's log says what hung", seconds_up(ours) + 5),
            )
        })
    }

    /// A response head that does not fit in is a 502.
    fn head(&self) -> Option<Finding> {
        (!self.inherited.values.contains_key("uwsgi_buffer_size")).then(|| {
            Finding::warning(
                format!("nginx, {}: a response head of more than one page (4k) becomes 502", self.name),
                "uwsgi_buffer_size 16k; uwsgi_buffers 16 16k;",
            )
        })
    }

    fn body(&self, config: &Config) -> Option<Finding> {
        let ours = config.limits.max_body?;
        let text = self.value("client_max_body_size", "1m");
        let theirs = parse_size(text)?;
        (theirs != 0 && theirs < ours).then(|| {
            Finding::warning(
                format!(
                    "nginx, {}: client_max_body_size {text} refuses uploads that --max-body ({ours}) would take",
                    self.name
                ),
                format!("client_max_body_size {ours};"),
            )
        })
    }

    fn value<'a>(&'a self, name: &str, default: &'a str) -> &'a str {
        self.inherited.values.get(name).map_or(default, String::as_str)
    }
}

/// Whether nginx's spelling of an address means ours; `unix:PATH:` may end with a colon.
fn is_same(target: &str, address: &Address) -> bool {
    match address {
        Address::Unix(path) => {
            target.strip_prefix("unix:").is_some_and(|rest| Path::new(rest.trim_end_matches(':')) == path)
        }
        Address::Tcp(ours) => {
            let target = target.replace("localhost", "127.0.0.1");
            target.parse::<std::net::SocketAddr>().is_ok_and(|theirs| {
                theirs.port() == ours.port() && (theirs.ip() == ours.ip() || ours.ip().is_unspecified())
            })
        }
    }
}

/// nginx's times: numbers with units, one after the other; seconds without.
fn parse_time(text: &str) -> Option<Duration> {
    let mut total = 0u64;
    let mut rest = text.trim();
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let number: u64 = rest[..digits].parse().ok()?;
        let letters = rest[digits..].find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len() - digits);
        let milliseconds = match &rest[digits..digits + letters] {
            "ms" => 1,
            "" | "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return None,
        };
        total = total.checked_add(number.checked_mul(milliseconds)?)?;
        rest = rest[digits + letters..].trim_start();
    }
    Some(Duration::from_millis(total))
}

/// nginx's sizes: bytes, or with k, m or g behind.
fn parse_size(text: &str) -> Option<u64> {
    crate::config::quantity::parse_size(text).ok().map(|bytes| bytes as u64)
}

/// Debian keeps nginx where ordinary users do not look.
fn path_with_sbin() -> OsString {
    let mut path = env::var_os("PATH").unwrap_or_default();
    path.push(":/usr/sbin:/usr/local/sbin");
    path
}

const WATCHED: [&str; 3] = ["uwsgi_read_timeout", "uwsgi_buffer_size", "client_max_body_size"];
/// What an environ cannot do without (PEP 3333, "environ Variables").
const NEEDED: [&str; 4] = ["REQUEST_METHOD", "REQUEST_URI", "PATH_INFO", "QUERY_STRING"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_are_read_as_nginx_does() {
        for (text, seconds) in
            [("60", 60.0), ("60s", 60.0), ("1m", 60.0), ("1h 30m", 5400.0), ("1m30s", 90.0), ("500ms", 0.5)]
        {
            assert_eq!(parse_time(text).map(|time| time.as_secs_f64()), Some(seconds), "{text}");
        }
        assert_eq!((parse_time("soon"), parse_time("5x")), (None, None));
        assert_eq!(parse_size("1m"), Some(1 << 20));
    }

    #[test]
    fn an_address_has_several_spellings() {
        let tcp = |text: &str| text.parse::<Address>().unwrap();
        assert!(is_same("localhost:3031", &tcp("127.0.0.1:3031")) && is_same("10.0.0.5:3031", &tcp("0.0.0.0:3031")));
        assert!(!is_same("127.0.0.1:3032", &tcp("127.0.0.1:3031")));
        assert!(
            is_same("unix:/run/a.sock", &tcp("unix:/run/a.sock")) && is_same("unix:/run/a.sock:", &tcp("/run/a.sock"))
        );
    }

    #[test]
    fn a_param_of_its_own_hides_all_that_a_location_would_inherit() {
        let tree = parse(
            "# configuration file /n:\nhttp { uwsgi_param REQUEST_METHOD a; uwsgi_read_timeout 5s; server { location / { uwsgi_pass x; } \
             location /b { uwsgi_param B b; uwsgi_pass x; } } }\n",
        );
        let mut places = Vec::new();
        walk(&tree[0].block, &Inherited::default().with(&tree[0].block), &mut places);
        let has = |place: &Place| place.inherited.params.contains("REQUEST_METHOD");
        assert_eq!(places.iter().map(has).collect::<Vec<_>>(), [true, false]);
        assert_eq!(places[1].value("uwsgi_read_timeout", "60s"), "5s");
    }
}
