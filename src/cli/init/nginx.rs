//! A server block for nginx.

use std::{net::SocketAddr, time::Duration};

use crate::{
    cli::init::{Site, with_line},
    config::{Address, quantity::seconds_up},
};

/// The project's own configuration for a Unix socket or for TCP, with this site's address, limits and times.
pub(super) fn server(site: &Site) -> String {
    let upstream = upstream(site.address());
    let template = if matches!(site.address(), Address::Unix(_)) { UNIX } else { TCP };
    let words = site.words.join(" ");
    let text = with_line(template, "server unix:", &format!("server {upstream} max_fails=0;"));
    let text = with_line(&text, "server 127.", &format!("server {upstream} max_fails=0;"));
    let name = name(site);
    let text = with_line(&text, "upstream ", &format!("upstream {name} {{"));
    let text = with_line(&text, "uwsgi_pass ", &format!("uwsgi_pass {name};"));
    let text = with_line(&text, "uwsgi_read_timeout", &format!("uwsgi_read_timeout {};", patience(site)));
    let text = match site.config.limits.max_body {
        Some(bytes) => with_line(&text, "client_max_body_size", &format!("client_max_body_size {bytes};")),
        None => text,
    };
    format!(
        "# nginx in front of: rusgi serve {words}\n# Change server_name; then `nginx -t` and `nginx -s reload`.\n#\n{text}"
    )
}

/// The address as nginx writes it.
pub(super) fn upstream(address: &Address) -> String {
    match address {
        Address::Unix(path) => format!("unix:{}", path.display()),
        Address::Tcp(address) => reachable(*address).to_string(),
    }
}

/// A name for the upstream that another site's has not: the module's.
fn name(site: &Site) -> String {
    let target = site.config.app.target.to_string();
    let stem = target.split(':').next().unwrap_or_default().trim_end_matches(".py").trim_end_matches(".wsgi");
    let name = stem.rsplit('/').next().unwrap_or_default();
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect()
}

/// An address to connect to, where every address is listened on.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(if address.is_ipv4() {
            std::net::Ipv4Addr::LOCALHOST.into()
        } else {
            std::net::Ipv6Addr::LOCALHOST.into()
        });
    }
    address
}

/// Longer than rusgi takes to answer a request that does not end, so that the log of rusgi says why.
pub(super) fn patience(site: &Site) -> String {
    let workers = &site.config.workers;
    match workers.request_timeout {
        Some(timeout) => format!("{}s", seconds_up(timeout + workers.timeout_grace + MARGIN)),
        None => "1h".to_owned(),
    }
}

const MARGIN: Duration = Duration::from_secs(5);
const UNIX: &str = include_str!("../../../nginx/unix-socket.conf");
const TCP: &str = include_str!("../../../nginx/tcp.conf");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::init::tests::site;

    #[test]
    fn every_line_that_is_changed_is_in_the_template() {
        for (template, starts) in [(UNIX, "server unix:"), (TCP, "server 127.")] {
            for start in [starts, "upstream ", "uwsgi_pass ", "uwsgi_read_timeout", "client_max_body_size"] {
                let lines = template.lines().filter(|line| line.trim_start().starts_with(start));
                assert_eq!(lines.count(), 1, "{start}");
            }
        }
    }

    #[test]
    fn nginx_waits_longer_than_rusgi() {
        let text = server(&site("app --socket /run/a/a.sock --request-timeout 100 --timeout-grace 1500ms"));
        assert!(text.contains("uwsgi_read_timeout 107s;"), "{text}");
        assert!(text.contains("server unix:/run/a/a.sock max_fails=0;"), "{text}");
        assert!(server(&site("app --request-timeout 0")).contains("uwsgi_read_timeout 1h;"));
    }

    #[test]
    fn what_listens_everywhere_is_reached_on_the_loopback() {
        assert!(server(&site("app --socket 0.0.0.0:3031")).contains("server 127.0.0.1:3031 max_fails=0;"));
        assert!(server(&site("app --socket [::]:3031")).contains("server [::1]:3031 max_fails=0;"));
    }

    #[test]
    fn two_sites_have_upstreams_of_their_own() {
        for (target, name) in [("shop.wsgi:app", "shop"), ("shop", "shop"), ("/srv/a-b/site.py", "site")] {
            let text = server(&site(target));
            assert!(text.contains(&format!("upstream {name} {{")), "{text}");
            assert!(text.contains(&format!("uwsgi_pass {name};")), "{text}");
        }
    }

    #[test]
    fn uploads_are_limited_in_one_place() {
        let text = server(&site("app --max-body 5m"));
        assert!(text.contains("client_max_body_size 5242880;"), "{text}");
    }
}
