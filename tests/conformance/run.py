#!/usr/bin/env python3
"""Runs the tests that docs/conformance.md names against rusgi, uWSGI and gunicorn, and writes the table's columns.

usage: run.py VENV   where uWSGI and gunicorn are installed; exits 1 when rusgi fails one
"""

import os
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).absolute().parent.parent.parent
TABLE = ROOT / "docs/conformance.md"
ROW = re.compile(r"^(\| .* \| `(\w+::\w+)` \|) [^|]* \| [^|]* \|$", re.MULTILINE)
OUTCOME = re.compile(r"^test (\S+) \.\.\. (ok|FAILED)$", re.MULTILINE)


def main(venv):
    table = TABLE.read_text()
    tests = [row[2] for row in ROW.finditer(table)]
    if not tests:
        sys.exit(f"{TABLE}: names no test")
    rusgi = outcomes(tests, {})
    others = [outcomes(tests, peer(venv / "bin" / name)) for name in ("uwsgi", "gunicorn")]
    TABLE.write_text(ROW.sub(lambda row: " ".join([row[1], *(f"{seen[row[2]]} |" for seen in others)]), table))
    show(tests, [rusgi, *others])
    return 0 if all(rusgi[test] == "yes" for test in tests) else 1


def peer(program):
    if not program.exists():
        sys.exit(f"{program}: missing; `make conformance` installs it")
    return {"RUSGI_BIN": str(ROOT / "tests/conformance/serve.py"), "RUSGI_DOOR": "embedded", "PEER": str(program)}


def outcomes(tests, settings):
    """What each test said: yes or no."""
    command = ["cargo", "test", "--locked", "--test", "it", "--", "--exact", *tests]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, **settings}, capture_output=True, text=True)
    seen = {name: "yes" if outcome == "ok" else "no" for name, outcome in OUTCOME.findall(done.stdout)}
    missing = set(tests) - set(seen)
    if missing:
        sys.exit(f"{done.stdout}\n{done.stderr}\nnot run: {', '.join(sorted(missing))}")
    return seen


def show(tests, columns):
    width = max(map(len, tests))
    print(f"{'':{width}}  rusgi  uWSGI  gunicorn")
    for test in tests:
        print(f"{test:{width}}  {columns[0][test]:5}  {columns[1][test]:5}  {columns[2][test]}")
    sums = [sum(column[test] == "yes" for test in tests) for column in columns]
    print(f"{f'of {len(tests)}':{width}}  {sums[0]:<5}  {sums[1]:<5}  {sums[2]}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    # not resolved: through the link, bin/python would be the interpreter outside the environment
    sys.exit(main(pathlib.Path(sys.argv[1]).absolute()))
