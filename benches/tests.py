#!/usr/bin/env python3
"""What can be wrong in a benchmark without anybody noticing: the arithmetic, and the reading of what tools print."""

import unittest
import xml.etree.ElementTree as ElementTree

import budgets
import count
import load
import machine
import measure
import publish
import svg
import whereabouts
from tables import Table
from works import Setting

WRK = """Running 1s test @ http://127.0.0.1:1/
  1 threads and 32 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.12ms  402.11us   9.00ms   90.01%
    Req/Sec    28.31k     1.16k   30.00k    70.00%
  Latency Distribution
     50%  981.00us
     75%    1.30ms
     90%    1.62ms
     99%    2.21ms
  28190 requests in 1.00s, 5.62MB read
  Socket errors: connect 0, read 1, write 0, timeout 2
  Non-2xx or 3xx responses: 4
Requests/sec:  28163.25
Transfer/sec:      5.61MB
"""


def servers(**costs):
    return {label: {"rounds": [{"cpu_us": cost} for cost in row], "memory_kib": row[0]} for label, row in costs.items()}


class Reading(unittest.TestCase):
    def test_wrk(self):
        seen = load.parsed(WRK)
        self.assertEqual((seen["requests"], seen["failed"], seen["per_second"]), (28190, 7, 28163.25))
        self.assertEqual((seen["p50_us"], seen["p99_us"]), (981, 2210))

    def test_strace(self):
        rule = "--------- ----------------"
        summary = f"    calls syscall\n{rule}\n       12 accept4\n        3 close\n{rule}\n       15 total\n"
        self.assertEqual(machine.parsed_summary(summary), {"accept4": 12, "close": 3})

    def test_perf(self):
        rows = ["[kernel.kallsyms]", "_rusgi.cpython-311-x86_64-linux-gnu.so", "libc.so.6", "python3.11", "[vdso]"]
        report = "# Overhead  Shared Object\n" + "".join(f"    20.00%  {row}   \n" for row in rows)
        seen = whereabouts.shares(report)
        self.assertEqual(seen, {"kernel": 0.2, "server": 0.2, "Python": 0.2, "libraries": 0.4})

    def test_setting(self):
        self.assertEqual(Setting.parse("2x8"), Setting(2, 8))
        self.assertEqual(str(Setting(1, 16, preload=True)), "1x16")


class Arithmetic(unittest.TestCase):
    def test_a_ratio_is_taken_within_a_round(self):
        # what slows a whole round down is in both
        found = measure.cpu_ratio(servers(wheel=[9, 18, 8], uwsgi=[10, 20, 10]), "wheel", "uwsgi")
        self.assertEqual(found, 0.9)

    def test_what_was_not_measured_has_no_ratio(self):
        self.assertIsNone(measure.cpu_ratio(servers(wheel=[9]), "wheel", "uwsgi"))

    def test_the_median_of_the_rounds(self):
        self.assertEqual(measure.summary([{"p99_us": value} for value in (3, 100, 5)]), {"p99_us": 5})


class Budgets(unittest.TestCase):
    hello = {"work": "hello", "setting": "1x1", "servers": servers(wheel=[90], uwsgi=[100], floor=[75])}

    def verdict(self, title, results):
        (budget,) = (budget for budget in budgets.BUDGETS if budget.title == title)
        return budget.verdict(results, "wheel")

    def test_between_required_and_stretch(self):
        self.assertEqual(self.verdict("CPU per request, hello, 1x1, to uWSGI", {"works": [self.hello]}), (0.9, "met"))

    def test_above_what_is_required(self):
        seen = self.verdict("CPU per request, hello, 1x1, to the floor", {"works": [self.hello]})
        self.assertEqual(seen, (1.2, "missed"))

    def test_below_the_stretch(self):
        seen = self.verdict("memory, hello, 1 worker, to uWSGI with master", {"works": [self.hello]})
        self.assertEqual(seen, (0.9, "met, stretch too"))

    def test_a_part_that_was_left_out(self):
        for budget in budgets.BUDGETS:
            self.assertEqual(budget.verdict({}, "wheel"), (None, "not measured"))

    def test_one_failed_request_is_too_many(self):
        seen = self.verdict("failed requests over all reloads", {"reloads": {"failed": 1}})
        self.assertEqual(seen, (1, "missed"))


class Writing(unittest.TestCase):
    def test_a_packet_is_what_nginx_sends(self):
        self.assertEqual(count.packet({"A": "bc"}), b"\x00\x07\x00\x00\x01\x00A\x02\x00bc")

    def test_tables(self):
        table = Table("title", ["", "µs"], [["one", "1.0"], ["eleven", "11.0"]])
        self.assertEqual(table.as_text(), "title\n            µs\n  one      1.0\n  eleven  11.0")
        self.assertEqual(table.as_markdown(), "|  | µs |\n| --- | --: |\n| one | 1.0 |\n| eleven | 11.0 |")

    def test_a_block_is_replaced_and_nothing_else(self):
        page = "before\n<!-- figures: a -->\nold\n<!-- end -->\nafter\n"
        self.assertEqual(publish.filled(page, {"a": "new"}), page.replace("old", "new"))

    def test_the_pages_have_every_block_and_no_other(self):
        pages = "".join(page.read_text() for page in publish.PAGES)
        self.assertEqual({found[2] for found in publish.BLOCK.finditer(pages)}, set(publish.BLOCKS))

    def test_charts_are_xml(self):
        names = {"wheel": "rusgi & co"}
        for drawing in (
            svg.bars("a < b", {"one": {"wheel": 0.5}, "two": {"wheel": 9}}, names, top=2),
            svg.lines("plain", ["1x1", "1x8"], {"wheel": [10, 12]}, names),
            svg.lines("logarithmic", [1, 1024], {"wheel": [0.2, 300]}, names, is_log=True),
        ):
            self.assertEqual(ElementTree.fromstring(drawing).tag, "{http://www.w3.org/2000/svg}svg")


if __name__ == "__main__":
    unittest.main()
