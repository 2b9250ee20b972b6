#!/usr/bin/env python3
"""Writes what is linked into rusgi as a CycloneDX bill of materials: .ci/sbom.py FILE

It tells the same for the same Cargo.lock: there is no date in it. Wheels carry one of maturin's own making (PEP 770).
"""

import json
import pathlib
import re
import subprocess
import sys
import uuid

LINUX = "x86_64-unknown-linux-gnu"
# a package of Cargo.lock that comes from a registry
LOCKED = r'name = "(.+)"\nversion = "(.+)"\nsource = ".+"\nchecksum = "(.+)"'


def main(path):
    lock = pathlib.Path("Cargo.lock").read_text()
    metadata = cargo_metadata()
    packages = {package["id"]: package for package in metadata["packages"]}
    linked = linked_into("rusgi", packages, metadata["resolve"]["nodes"])
    root = next(key for key in linked if packages[key]["name"] == "rusgi")
    sums = {(name, version): checksum for name, version, checksum in re.findall(LOCKED, lock)}
    bill = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": uuid.uuid5(uuid.NAMESPACE_URL, lock).urn,
        "version": 1,
        "metadata": {"component": {"type": "application", **component(packages[root], sums)}},
        "components": [{"type": "library", **component(packages[key], sums)} for key in linked if key != root],
        "dependencies": [
            {"ref": purl(packages[key]), "dependsOn": sorted(purl(packages[other]) for other in linked[key])} for key in linked
        ],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(bill, indent=1) + "\n")
    print(f"{path}: rusgi and {len(linked) - 1} crates")


def cargo_metadata():
    command = ["cargo", "metadata", "--format-version=1", "--locked", "--filter-platform", LINUX]
    return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)


def linked_into(name, packages, nodes):
    """Every package that `name` needs when it runs, each with those that it needs itself."""
    needed = {
        node["id"]: [
            dep["pkg"] for dep in node["deps"] if any(kind["kind"] is None for kind in dep["dep_kinds"]) and not is_macro(packages[dep["pkg"]])
        ]
        for node in nodes
    }
    found = {}
    open_ = [key for key, package in packages.items() if package["name"] == name]
    while open_:
        key = open_.pop()
        if key not in found:
            found[key] = needed[key]
            open_.extend(needed[key])
    return dict(sorted(found.items(), key=lambda item: purl(packages[item[0]])))


def is_macro(package):
    """Whether it runs in the compiler and leaves nothing of itself."""
    return any("proc-macro" in target["kind"] for target in package["targets"])


def component(package, sums):
    told = {"bom-ref": purl(package), "name": package["name"], "version": package["version"], "purl": purl(package)}
    if package["license"]:
        # as crates once wrote it
        told["licenses"] = [{"expression": package["license"].replace("/", " OR ")}]
    if checksum := sums.get((package["name"], package["version"])):
        told["hashes"] = [{"alg": "SHA-256", "content": checksum}]
    return told


def purl(package):
    return f"pkg:cargo/{package['name']}@{package['version']}"


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
