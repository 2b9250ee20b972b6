//! What the machine, or the container, lets this process use.

use std::{
    fs,
    num::NonZeroUsize,
    path::{Path, PathBuf},
};

/// The CPUs this process may use: the least that the scheduler's affinity and every cgroup above it allow, at least 1.
pub fn cpus() -> usize {
    let affinity = rustix::thread::sched_getaffinity(None).map_or(1, |set| set.count() as usize);
    let quota = quota(Path::new("/"));
    affinity.min(quota.map_or(usize::MAX, NonZeroUsize::get)).max(1)
}

/// The kernel's limit on listen queues, `net.core.somaxconn`; its default where it cannot be read.
pub fn somaxconn() -> i32 {
    let text = fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap_or_default();
    text.trim().parse().unwrap_or(4096)
}

/// The memory limit of the process's cgroups in bytes, if one of them has any.
pub fn memory() -> Option<u64> {
    memory_limit(Path::new("/"))
}

fn memory_limit(root: &Path) -> Option<u64> {
    limit(
        root,
        "memory",
        |group| read_bytes(&group.join("memory.max")),
        |group| read_bytes(&group.join("memory.limit_in_bytes")),
    )
}

/// The CPU bandwidth limit of the process's cgroups, rounded up to whole CPUs.
fn quota(root: &Path) -> Option<NonZeroUsize> {
    limit(root, "cpu", read_v2, read_v1)
}

/// The least that any cgroup of the process allows; `root` is where `/proc` and `/sys` are.
fn limit<T: Ord>(root: &Path, controller: &str, v2: Read<T>, v1: Read<T>) -> Option<T> {
    let memberships = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    memberships.lines().filter_map(|line| membership_limit(root, line, controller, (v2, v1))).min()
}

/// What one group says, in one version of the interface.
type Read<T> = fn(&Path) -> Option<T>;

/// One line of `/proc/self/cgroup`: `hierarchy:controllers:path`, with no controllers in version 2.
fn membership_limit<T: Ord>(root: &Path, line: &str, controller: &str, (v2, v1): (Read<T>, Read<T>)) -> Option<T> {
    let mut parts = line.splitn(3, ':').skip(1);
    let (controllers, path) = (parts.next()?, parts.next()?);
    let mount = root.join("sys/fs/cgroup");
    if controllers.is_empty() {
        return tightest(&mount, path, v2);
    }
    let is_ours = controllers.split(',').any(|name| name == controller);
    let mounts = [controllers, controller].map(|name| mount.join(name));
    is_ours.then(|| mounts.iter().find_map(|mount| tightest(mount, path, v1))).flatten()
}

/// Every ancestor may set a limit of its own; inside a container only the mount's root may be visible.
fn tightest<T: Ord>(mount: &Path, path: &str, read: Read<T>) -> Option<T> {
    let leaf: PathBuf = mount.join(path.trim_start_matches('/'));
    leaf.ancestors().take_while(|group| group.starts_with(mount)).filter_map(read).min()
}

/// A number of bytes; `max`, or in version 1 a number beyond all memory, is no limit.
fn read_bytes(file: &Path) -> Option<u64> {
    let bytes = fs::read_to_string(file).ok()?.trim().parse().ok()?;
    (bytes < 1 << 60).then_some(bytes)
}

/// `cpu.max` holds `QUOTA PERIOD`, both in microseconds, or `max PERIOD`.
fn read_v2(group: &Path) -> Option<NonZeroUsize> {
    let text = fs::read_to_string(group.join("cpu.max")).ok()?;
    let (quota, period) = text.trim().split_once(' ')?;
    whole_cpus(quota, period)
}

/// A quota of -1 means none.
fn read_v1(group: &Path) -> Option<NonZeroUsize> {
    let quota = fs::read_to_string(group.join("cpu.cfs_quota_us")).ok()?;
    let period = fs::read_to_string(group.join("cpu.cfs_period_us")).ok()?;
    whole_cpus(quota.trim(), period.trim())
}

fn whole_cpus(quota: &str, period: &str) -> Option<NonZeroUsize> {
    let (quota, period): (usize, NonZeroUsize) = (quota.parse().ok()?, period.parse().ok()?);
    NonZeroUsize::new(quota.div_ceil(period.get()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A made-up root directory, removed when it is dropped.
    struct Root(PathBuf);

    impl Root {
        fn new(name: &str, files: &[(&str, &str)]) -> Self {
            let root = Self(std::env::temp_dir().join(format!("rusgi-machine-{}-{name}", std::process::id())));
            for (path, text) in files {
                let path = root.0.join(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            }
            root
        }

        fn quota(&self) -> Option<usize> {
            quota(&self.0).map(NonZeroUsize::get)
        }
    }

    impl Drop for Root {
        fn drop(&mut self) {
            let _gone = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn no_limit_anywhere_is_no_quota() {
        assert_eq!(Root::new("none", &[]).quota(), None);
        let files = [("proc/self/cgroup", "0::/a\n"), ("sys/fs/cgroup/a/cpu.max", "max 100000\n")];
        assert_eq!(Root::new("max", &files).quota(), None);
    }

    #[test]
    fn a_part_of_a_cpu_counts_as_a_whole_one() {
        let of = |name: &str, text: &str| {
            Root::new(name, &[("proc/self/cgroup", "0::/a/b\n"), ("sys/fs/cgroup/a/b/cpu.max", text)]).quota()
        };
        assert_eq!(of("one-and-a-half", "150000 100000\n"), Some(2));
        assert_eq!(of("half", "50000 100000\n"), Some(1));
        assert_eq!(of("four", "400000 100000\n"), Some(4));
        assert_eq!(of("garbage", "many\n"), None);
    }

    #[test]
    fn the_tightest_of_the_ancestors_counts() {
        let files = [
            ("proc/self/cgroup", "0::/a/b\n"),
            ("sys/fs/cgroup/a/cpu.max", "200000 100000\n"),
            ("sys/fs/cgroup/a/b/cpu.max", "800000 100000\n"),
        ];
        assert_eq!(Root::new("ancestors", &files).quota(), Some(2));
    }

    #[test]
    fn a_container_that_sees_only_its_own_root_reads_that() {
        let files = [("proc/self/cgroup", "0::/docker/abc\n"), ("sys/fs/cgroup/cpu.max", "300000 100000\n")];
        assert_eq!(Root::new("container", &files).quota(), Some(3));
    }

    #[test]
    fn version_1_keeps_quota_and_period_apart() {
        let of = |name: &str, quota: &str| {
            let files = [
                ("proc/self/cgroup", "12:memory:/m\n4:cpu,cpuacct:/a\n1:name=systemd:/s\n"),
                ("sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us", quota),
                ("sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us", "100000\n"),
            ];
            Root::new(name, &files).quota()
        };
        assert_eq!(of("v1", "250000\n"), Some(3));
        assert_eq!(of("v1-none", "-1\n"), None);
    }

    #[test]
    fn the_memory_limit_is_the_tightest_in_bytes() {
        let files = [
            ("proc/self/cgroup", "0::/a/b\n"),
            ("sys/fs/cgroup/a/memory.max", "536870912\n"),
            ("sys/fs/cgroup/a/b/memory.max", "max\n"),
        ];
        assert_eq!(memory_limit(&Root::new("memory", &files).0), Some(512 << 20));
        let of = |name: &str, bytes: &str| {
            let files = [
                ("proc/self/cgroup", "12:memory:/m\n4:cpu,cpuacct:/a\n"),
                ("sys/fs/cgroup/memory/m/memory.limit_in_bytes", bytes),
            ];
            memory_limit(&Root::new(name, &files).0)
        };
        assert_eq!(of("memory-v1", "1048576\n"), Some(1 << 20));
        assert_eq!(of("memory-v1-none", "9223372036854771712\n"), None);
    }

    #[test]
    fn this_process_may_use_at_least_one() {
        assert!(cpus() >= 1);
    }
}
