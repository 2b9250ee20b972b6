//! nginx's configuration as `nginx -T` prints it: directives with their arguments and blocks, includes followed.

use std::{collections::BTreeMap, iter::Peekable, str::Chars};

/// One directive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Directive {
    /// Its name.
    pub(super) name: String,
    /// What stands behind the name.
    pub(super) arguments: Vec<String>,
    /// What stands between its braces; empty for one without.
    pub(super) block: Vec<Self>,
}

impl Directive {
    /// The first argument, or nothing.
    pub(super) fn first(&self) -> &str {
        self.arguments.first().map_or("", String::as_str)
    }
}

/// Reads the dump of `nginx -T`: files one after the other, the main one first, each below a line with its name.
pub(super) fn parse(dump: &str) -> Vec<Directive> {
    let mut files = BTreeMap::new();
    let mut main = None;
    for part in dump.split(HEADING).skip(1) {
        let Some((name, text)) = part.split_once(":\n") else { continue };
        main.get_or_insert(name);
        files.insert(name, text);
    }
    main.map_or_else(Vec::new, |main| File { files: &files, main }.directives(main, MOST_INCLUDES))
}

/// Files by name, and the main one, to whose directory includes are relative.
struct File<'a> {
    files: &'a BTreeMap<&'a str, &'a str>,
    main: &'a str,
}

impl File<'_> {
    fn directives(&self, name: &str, depth: usize) -> Vec<Directive> {
        let text = self.files.get(name).copied().unwrap_or_default();
        self.block(&mut Words { characters: text.chars().peekable() }, depth)
    }

    /// Everything up to the end of the block or of the file.
    fn block(&self, words: &mut Words<'_>, depth: usize) -> Vec<Directive> {
        let mut directives = Vec::new();
        let mut open = Vec::new();
        while let Some(word) = words.next() {
            match word {
                Word::Text(text) => open.push(text),
                Word::Close => break,
                end => {
                    let block = if end == Word::Open && depth > 0 { self.block(words, depth - 1) } else { Vec::new() };
                    let mut parts = std::mem::take(&mut open).into_iter();
                    let name = parts.next().unwrap_or_default();
                    directives.extend(self.included(Directive { name, arguments: parts.collect(), block }, depth));
                }
            }
        }
        directives
    }

    /// What is included, in place of the directive that says so.
    fn included(&self, directive: Directive, depth: usize) -> Vec<Directive> {
        if directive.name != "include" || depth == 0 {
            return vec![directive];
        }
        let pattern = directive.first();
        let directory = self.main.rsplit_once('/').map_or("", |(directory, _)| directory);
        let pattern = if pattern.starts_with('/') { pattern.to_owned() } else { format!("{directory}/{pattern}") };
        let names = self.files.keys().filter(|name| matches(&pattern, name));
        names.flat_map(|name| self.directives(name, depth - 1)).collect()
    }
}

/// Whether a file's name is one of a pattern in which `*` stands for any part of a name.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((start, rest)) => {
            let Some(tail) = name.strip_prefix(start) else { return false };
            let within = tail.find('/').unwrap_or(tail.len());
            (0..=within).filter(|at| tail.is_char_boundary(*at)).any(|at| matches(rest, &tail[at..]))
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Word {
    Text(String),
    End,
    Open,
    Close,
}

struct Words<'a> {
    characters: Peekable<Chars<'a>>,
}

impl Iterator for Words<'_> {
    type Item = Word;

    fn next(&mut self) -> Option<Word> {
        loop {
            let first = self.characters.next()?;
            return Some(match first {
                ';' => Word::End,
                '{' => Word::Open,
                '}' => Word::Close,
                '#' => {
                    self.characters.by_ref().take_while(|c| *c != '\n').for_each(drop);
                    continue;
                }
                '"' | '\'' => Word::Text(self.quoted(first)),
                blank if blank.is_whitespace() => continue,
                other => Word::Text(self.plain(other)),
            });
        }
    }
}

impl Words<'_> {
    fn quoted(&mut self, quote: char) -> String {
        let mut text = String::new();
        while let Some(next) = self.characters.next() {
            match next {
                '\\' => text.extend(self.characters.next()),
                end if end == quote => break,
                other => text.push(other),
            }
        }
        text
    }

    fn plain(&mut self, first: char) -> String {
        let mut text = String::from(first);
        // A variable may be written ${name}.
        let mut is_named = false;
        while let Some(next) = self.characters.peek().copied() {
            let is_brace = next == '{' && text.ends_with('$');
            if next.is_whitespace() || next == ';' || (next == '{' && !is_brace) || (next == '}' && !is_named) {
                break;
            }
            is_named = is_brace || (is_named && next != '}');
            text.push(next);
            self.characters.next();
        }
        text
    }
}

const HEADING: &str = "# configuration file ";
const MOST_INCLUDES: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn includes_are_followed_and_comments_are_not() {
        let dump = "# configuration file /etc/nginx/nginx.conf:\nuser www-data; # user root;\nhttp { include sites/*.conf; a \"b c\" 'd\\'e'; }\n\
            # configuration file /etc/nginx/sites/x.conf:\nserver {\n  listen 80;\n  location / { include uwsgi_params; }\n}\n\
            # configuration file /etc/nginx/uwsgi_params:\nuwsgi_param A $b;\n";
        let tree = parse(dump);
        assert_eq!((tree[0].name.as_str(), tree[0].first()), ("user", "www-data"));
        let http = &tree[1].block;
        assert_eq!(http[0].name, "server");
        assert_eq!(http[0].block[1].block[0].arguments, ["A", "$b"]);
        assert_eq!(http[1].arguments, ["b c", "d'e"]);
    }

    #[test]
    fn a_pattern_stays_within_its_directory() {
        assert!(matches("/a/*.conf", "/a/b.conf") && matches("/a/b", "/a/b"));
        assert!(!matches("/a/*.conf", "/a/b/c.conf") && !matches("/a/*.conf", "/a/b.con"));
    }

    #[test]
    fn variables_in_braces_are_text() {
        let tree = parse("# configuration file /n:\nset $a ${b}c; if ($x) { return 1; }\n");
        assert_eq!(tree[0].arguments, ["$a", "${b}c"]);
        assert_eq!((tree[1].name.as_str(), tree[1].block[0].first()), ("if", "1"));
    }

    #[test]
    fn whatever_is_read_comes_to_an_end() {
        for text in ["", "{{{{", "}}}", "a {", "\"", "include nginx.conf;", "${", "a \\"] {
            parse(&format!("# configuration file /nginx.conf:\n{text}"));
        }
    }
}
