//! Whether this is a container, where root is not the machine's root and being it is customary.

use std::{env, ffi::OsString, fs, path::Path};

/// What tells that this process is in a container; `None` on a machine of its own.
pub fn container() -> Option<String> {
    mark(Path::new("/"), |name| env::var_os(name))
}

/// Looks for marks below `root` and in the environment.
fn mark(root: &Path, variable: impl Fn(&str) -> Option<OsString>) -> Option<String> {
    let file = FILES.into_iter().find(|file| root.join(file).exists()).map(|file| format!("/{file} exists"));
    let set = |name: &&str| variable(name).is_some_and(|value| !value.is_empty());
    let variable = || VARIABLES.into_iter().find(set).map(|name| format!("{name} is set"));
    file.or_else(variable).or_else(|| cgroup(root)).or_else(|| namespace(root))
}

/// Version 1 of cgroups shows the container's name from inside, version 2 mostly does not.
fn cgroup(root: &Path) -> Option<String> {
    let text = fs::read_to_string(root.join("proc/self/cgroup")).ok()?;
    let engine = ENGINES.into_iter().find(|engine| text.contains(engine))?;
    Some(format!("the cgroup's path holds {engine}"))
}

/// The machine's own process namespace has a number fixed in the kernel.
fn namespace(root: &Path) -> Option<String> {
    let link = fs::read_link(root.join("proc/self/ns/pid")).ok()?;
    (link != Path::new(FIRST_NAMESPACE)).then(|| "the process namespace is not the machine's".to_owned())
}

const FILES: [&str; 2] = [".dockerenv", "run/.containerenv"];
const VARIABLES: [&str; 2] = ["container", "KUBERNETES_SERVICE_HOST"];
const ENGINES: [&str; 4] = ["/docker", "/kubepods", "/lxc/", "/containerd"];
/// `PROC_PID_INIT_INO`.
const FIRST_NAMESPACE: &str = "pid:[4026531836]";

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::symlink, path::PathBuf};

    use super::*;

    /// A made-up root directory, removed when it is dropped.
    struct Root(PathBuf);

    impl Root {
        fn new(name: &str, cgroup: &str, namespace: &str) -> Self {
            let root = Self(env::temp_dir().join(format!("rusgi-container-{}-{name}", std::process::id())));
            fs::create_dir_all(root.0.join("proc/self/ns")).unwrap();
            fs::create_dir_all(root.0.join("run")).unwrap();
            fs::write(root.0.join("proc/self/cgroup"), cgroup).unwrap();
            symlink(namespace, root.0.join("proc/self/ns/pid")).unwrap();
            root
        }

        fn mark(&self) -> Option<String> {
            mark(&self.0, |_| None)
        }
    }

    impl Drop for Root {
        fn drop(&mut self) {
            let _gone = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_machine_has_no_mark() {
        assert_eq!(Root::new("machine", "0::/system.slice/app.service\n", FIRST_NAMESPACE).mark(), None);
    }

    #[test]
    fn each_mark_is_enough() {
        for file in FILES {
            let root = Root::new(&file.replace('/', "-"), "", FIRST_NAMESPACE);
            fs::write(root.0.join(file), "").unwrap();
            assert_eq!(root.mark(), Some(format!("/{file} exists")));
        }
        let root = Root::new("cgroup", "4:memory:/docker/abc\n", FIRST_NAMESPACE);
        assert_eq!(root.mark().as_deref(), Some("the cgroup's path holds /docker"));
        let root = Root::new("namespace", "0::/\n", "pid:[4026532500]");
        assert_eq!(root.mark().as_deref(), Some("the process namespace is not the machine's"));
    }

    #[test]
    fn a_variable_counts_when_it_says_something() {
        let root = Root::new("variable", "0::/\n", FIRST_NAMESPACE);
        let with = |value: &str| mark(&root.0, |name| (name == "container").then(|| value.into()));
        assert_eq!(with("podman").as_deref(), Some("container is set"));
        assert_eq!(with(""), None);
    }
}
