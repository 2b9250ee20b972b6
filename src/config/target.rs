//! Which WSGI callable to serve: `MODULE[:CALLABLE[()]]`, or a `.py` or `.wsgi` file in place of the module.

use std::{
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

use thiserror::Error;

/// Where the WSGI callable is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A name in an importable module.
    Module {
        /// The module's dotted name.
        module: String,
        /// What to take from it.
        callable: Callable,
    },
    /// A name in a source file, which need not be importable.
    File {
        /// The file, as it was given or made absolute.
        path: PathBuf,
        /// What to take from it.
        callable: Callable,
    },
}

/// A name in the loaded module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Callable {
    /// The name; dots lead through attributes.
    pub name: String,
    /// Whether the name is a factory, called without arguments, whose result is the application.
    pub factory: bool,
}

/// Why a text is not a target.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TargetError {
    /// Nothing in front of the colon.
    #[error("no module is named: write MODULE:CALLABLE, as in app:application")]
    NoModule,
    /// The module's name cannot be imported.
    #[error("`{0}` is not a module name: write it as in an import statement, or the path of a .py or .wsgi file")]
    Module(String),
    /// The callable's name is no name.
    #[error("`{0}` is not the name of a callable: write NAME, or NAME() for a factory without arguments")]
    Callable(String),
}

/// What a WSGI callable is called when nobody says otherwise, as in uWSGI and `mod_wsgi`.
pub const DEFAULT_CALLABLE: &str = "application";

impl Target {
    /// The same target seen from `directory`: a file's path made absolute, and `site.wsgi` a file where there is one.
    #[must_use]
    pub fn found_in(self, directory: &Path) -> Self {
        match self {
            Self::File { path, callable } => Self::File { path: directory.join(path), callable },
            Self::Module { module, callable } if module.ends_with(".wsgi") && directory.join(&module).is_file() => {
                Self::File { path: directory.join(module), callable }
            }
            module @ Self::Module { .. } => module,
        }
    }

    /// The callable's part of the target.
    pub fn callable(&self) -> &Callable {
        match self {
            Self::Module { callable, .. } | Self::File { callable, .. } => callable,
        }
    }
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        let (place, callable) = match text.rsplit_once(':') {
            Some((place, callable)) => (place, callable.parse()?),
            None => (text, Callable { name: DEFAULT_CALLABLE.to_owned(), factory: false }),
        };
        if place.is_empty() {
            return Err(TargetError::NoModule);
        }
        if is_source_file(place) {
            return Ok(Self::File { path: PathBuf::from(place), callable });
        }
        if !is_dotted_name(place) {
            return Err(TargetError::Module(place.to_owned()));
        }
        Ok(Self::Module { module: place.to_owned(), callable })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Module { module, callable } => write!(f, "{module}:{callable}"),
            Self::File { path, callable } => write!(f, "{}:{callable}", path.display()),
        }
    }
}

impl FromStr for Callable {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        let (name, factory) = match text.strip_suffix("()") {
            Some(name) => (name, true),
            None => (text, false),
        };
        if !is_dotted_name(name) {
            return Err(TargetError::Callable(text.to_owned()));
        }
        Ok(Self { name: name.to_owned(), factory })
    }
}

impl fmt::Display for Callable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        f.write_str(if self.factory { "()" } else { "" })
    }
}

/// A path with one of the two endings is a file; but `site.wsgi` is what Django calls a module.
fn is_source_file(place: &str) -> bool {
    let named = |stem: &str| !stem.is_empty() && !stem.ends_with('/');
    place.strip_suffix(".py").is_some_and(named)
        || place.strip_suffix(".wsgi").is_some_and(named) && !is_dotted_name(place)
}

/// Python identifiers may be of any script; a first digit is what a misspelled one has most often.
fn is_dotted_name(name: &str) -> bool {
    name.split('.').all(|part| {
        part.chars().all(|c| c == '_' || c.is_alphanumeric()) && part.chars().next().is_some_and(|c| !c.is_numeric())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Target, TargetError> {
        text.parse()
    }

    fn callable(name: &str, factory: bool) -> Callable {
        Callable { name: name.to_owned(), factory }
    }

    #[test]
    fn a_module_alone_means_its_application() {
        let expected = Target::Module { module: "app".to_owned(), callable: callable("application", false) };
        assert_eq!(parse("app"), Ok(expected));
    }

    #[test]
    fn a_module_with_a_callable_a_dotted_one_or_a_factory() {
        let of = |callable| Ok(Target::Module { module: "my.app".to_owned(), callable });
        assert_eq!(parse("my.app:app"), of(callable("app", false)));
        assert_eq!(parse("my.app:site.wsgi"), of(callable("site.wsgi", false)));
        assert_eq!(parse("my.app:create_app()"), of(callable("create_app", true)));
    }

    #[test]
    fn a_path_that_ends_as_source_does_is_a_file() {
        let of = |path: &str, callable| Ok(Target::File { path: PathBuf::from(path), callable });
        assert_eq!(parse("app.py"), of("app.py", callable("application", false)));
        assert_eq!(parse("/srv/x/site.wsgi:app"), of("/srv/x/site.wsgi", callable("app", false)));
        assert_eq!(parse("./a-b.py:make()"), of("./a-b.py", callable("make", true)));
    }

    #[test]
    fn a_dotted_name_that_ends_in_wsgi_is_a_file_only_where_there_is_one() {
        let directory = std::env::temp_dir().join(format!("rusgi-target-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join("here.wsgi"), "").unwrap();
        let found = |text| parse(text).unwrap().found_in(&directory);
        assert!(matches!(found("here.wsgi"), Target::File { path, .. } if path == directory.join("here.wsgi")));
        assert!(matches!(found("site.wsgi:app"), Target::Module { module, .. } if module == "site.wsgi"));
        assert!(matches!(found("app.py"), Target::File { path, .. } if path == directory.join("app.py")));
        std::fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn a_target_is_displayed_as_it_is_written() {
        for text in ["app:application", "a.b:c.d()", "/srv/site.wsgi:app"] {
            assert_eq!(parse(text).map(|target| target.to_string()).as_deref(), Ok(text));
        }
    }

    #[test]
    fn what_is_no_target_is_refused_by_its_faulty_part() {
        assert_eq!(parse(""), Err(TargetError::NoModule));
        assert_eq!(parse(":app"), Err(TargetError::NoModule));
        assert_eq!(parse("app:"), Err(TargetError::Callable(String::new())));
        assert_eq!(parse("app:make(1)"), Err(TargetError::Callable("make(1)".to_owned())));
        assert_eq!(parse("app:a..b"), Err(TargetError::Callable("a..b".to_owned())));
        assert_eq!(parse("my app"), Err(TargetError::Module("my app".to_owned())));
        assert_eq!(parse("2app"), Err(TargetError::Module("2app".to_owned())));
        assert_eq!(parse("dir/app"), Err(TargetError::Module("dir/app".to_owned())));
        assert_eq!(parse(".py"), Err(TargetError::Module(".py".to_owned())));
    }
}
