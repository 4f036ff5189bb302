#!/usr/bin/env python3
"""Tables of what store_bench measured, the targets met or missed, and a chart.

usage: chart.py RESULTS.json [--svg FILE] [--library FILE] [--build-seconds N]

Everything is a median over the rounds, with the smallest and the largest beside it. A ratio is taken
in each round by itself, from figures of one moment; its median counts.
"""

import argparse
import json
import os
import statistics
import sys


class Results:
    def __init__(self, data):
        self.data = data
        self.rounds = {}
        self.groups = []
        self.engines = [name for name in data["engines"]]
        for item in data["figures"]:
            key = (item["group"], item["engine"], item["figure"])
            self.rounds[key] = item["rounds"]
            if item["group"] not in self.groups:
                self.groups.append(item["group"])
        seen = {engine for _, engine, _ in self.rounds}
        self.engines = [name for name in self.engines if name in seen]

    def get(self, where):
        """The rounds of "group engine figure", or None."""
        return self.rounds.get(tuple(where.split()))

    def combine(self, one, other, how):
        first, second = self.get(one), self.get(other)
        if not first or not second:
            return None
        return [how(a, b) for a, b in zip(first, second)]

    def ratio(self, one, other, factor=1):
        return self.combine(one, other, lambda a, b: factor * a / b if b else float("inf"))

    def difference(self, one, other):
        return self.combine(one, other, lambda a, b: a - b)


def number(value):
    if value == 0:
        return "0"
    if abs(value) >= 1000000:
        return f"{value / 1000000:.2f} M"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    if abs(value) >= 100:
        return f"{value:.0f}"
    if abs(value) >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}"


def spread(rounds):
    middle = number(statistics.median(rounds))
    if len(rounds) == 1 or min(rounds) == max(rounds):
        return middle
    return f"{middle} [{number(min(rounds))} .. {number(max(rounds))}]"


def targets(r, library, build_seconds):
    """(name, what, rounds or None, "<=" or ">=", limit)"""
    m, d = "memory", "disk"
    bare = "memory bare"
    yield "T1", "GET, loop / bare", r.ratio(f"{m} feox get_uniform_ns", f"{bare} get_uniform_ns"), "<=", 1.5
    yield "T1", "GET p50 / bare", r.ratio(f"{m} feox get_uniform_p50", f"{bare} get_uniform_p50"), "<=", 1.2
    yield "T1", "LMDB / GET", r.ratio(f"{m} lmdb get_uniform_ns", f"{m} feox get_uniform_ns"), ">=", 10
    for what, name in ("zipf", "get_zipf_ns"), ("missing", "get_missing_ns"), ("hot 10 K", "get_hot_ns"):
        yield "T2", f"GET {what} / bare", r.ratio(f"{m} feox {name}", f"{bare} {name}"), "<=", 1.5
    yield "T3", "get_many of 32 / bare's loop", r.ratio(f"{m} feox get_many_ns", f"{bare} get_uniform_ns"), "<=", 0.8
    yield "T4", "INSERT / bare", r.ratio(f"{m} feox insert_ns", f"{bare} insert_ns"), "<=", 3
    yield "T4", "LMDB / INSERT", r.ratio(f"{m} lmdb insert_ns", f"{m} feox insert_ns"), ">=", 7
    yield "T5", "UPDATE / bare", r.ratio(f"{m} feox update_ns", f"{bare} update_ns"), "<=", 2
    yield "T5", "DELETE / bare", r.ratio(f"{m} feox delete_ns", f"{bare} delete_ns"), "<=", 2
    yield "T5", "UPDATE, each of two threads / bare", r.ratio("threads feox update_2_threads_ns", f"{bare} update_ns", 2), "<=", 5
    yield "T6", "mixed 80/20 / bare", r.ratio(f"{m} feox mixed_ns", f"{bare} mixed_ns"), "<=", 2
    yield "T7", "scan of 100 / LMDB", r.ratio(f"{m} feox scan_100_ns", f"{m} lmdb scan_100_ns"), "<=", 0.5
    yield "T8", "resident bytes per key", r.get(f"{m} feox resident_bytes_per_key"), "<=", 170
    yield "T8", "the same after updates", r.get(f"{m} feox resident_bytes_per_key_updated"), "<=", 170
    yield "T9", "two threads: GET", r.get("threads feox get_uniform_scaling"), ">=", 1.9
    yield "T9", "two threads: GET of one key", r.get("threads feox get_one_key_scaling"), ">=", 1.9
    yield "T9", "two threads: UPDATE", r.get("threads feox update_scaling"), ">=", 1.7
    for what, name in ("GET", "get_uniform_ns"), ("INSERT", "insert_ns"):
        yield "T10", f"{what}, 10 M keys / 1 M", r.ratio(f"memory-10M feox {name}", f"{m} feox {name}"), "<=", 1.5
    yield "T11", "INSERT p99.9 growing to 10 M, ns", r.get("growth feox growing_insert_p999"), "<=", 1500
    yield "T11", "pauses over 2 ms more than bare's", r.difference("growth feox growing_insert_over_2ms", "growth bare growing_insert_over_2ms"), "<=", 0
    yield "T12", "INSERT with a file / memory", r.ratio(f"{d} feox insert_ns", f"{m} feox insert_ns"), "<=", 1.25
    yield "T13", "records/s until durable, 100 B", r.get(f"{d} feox durable_records_per_s"), ">=", 2e6
    yield "T13", "bytes/s until durable, 1000 B / device", r.ratio("disk-1000 feox durable_bytes_per_s", "disk-1000 feox raw_write_bytes_per_s"), ">=", 0.6
    yield "T14", "disk bytes per byte after load", r.get(f"{d} feox disk_bytes_per_byte"), "<=", 1.4
    yield "T14", "bytes written per byte, updates at 70 % fill", r.get("updates feox steady_written_per_byte"), "<=", 2.5
    yield "T15", "durable INSERT p50 / device", r.ratio("durable feox durable_p50", "durable feox raw_durable_p50"), "<=", 1.15
    yield "T15", "durable, 16 threads / one", r.ratio("durable feox durable_16_threads_per_s", "durable feox durable_1_thread_per_s"), ">=", 8
    for what, group, limit in ("1 M", "disk", 0.25), ("10 M", "reopen-10M", 1.5):
        yield "T16", f"reopen {what} keys: first get, s", r.get(f"{group} feox reopen_first_get_s"), "<=", limit
        yield "T16", f"reopen {what} keys: first scan, s", r.get(f"{group} feox reopen_first_scan_s"), "<=", limit
    yield "T17", "cold GET p50 / device", r.ratio(f"{d} feox cold_get_p50", f"{d} feox raw_read_p50"), "<=", 1.2
    yield "T17", "cold get_many of 32 / device", r.ratio(f"{d} feox cold_many_per_s", f"{d} feox raw_read_32_per_s"), ">=", 0.6
    yield "T18", "flush side, ns of processor per record", r.difference(f"{d} feox flush_side_cpu_ns", f"{m} feox load_background_cpu_ns"), "<=", 100
    yield "T19", "empty store: resident bytes", r.get("empty feox empty_resident_bytes"), "<=", 2e6
    yield "T19", "empty store: open + close, us", r.get("empty feox empty_open_close_us"), "<=", 1000
    yield "T20", "libfeox.so stripped, bytes", library, "<=", 300 * 1024
    yield "T20", "build from scratch, s", build_seconds, "<=", 60


def print_targets(r, library, build_seconds):
    met = missed = 0
    print("| | figure | target | measured | |\n|---|---|---|---|---|")
    for name, what, rounds, sense, limit in targets(r, library, build_seconds):
        if not rounds:
            verdict, measured = "not run", ""
        else:
            middle = statistics.median(rounds)
            good = middle <= limit if sense == "<=" else middle >= limit
            verdict, measured = ("met" if good else "**missed**"), spread(rounds)
            met, missed = met + good, missed + (not good)
        print(f"| {name} | {what} | {sense} {number(limit)} | {measured} | {verdict} |")
    print(f"\n{met} met, {missed} missed\n")


def print_group(r, group):
    engines = [e for e in r.engines if any(k[0] == group and k[1] == e for k in r.rounds)]
    names = []
    for where, _, figure in r.rounds:
        if where == group and figure not in names:
            names.append(figure)
    print(f"### {group}\n")
    print("| figure | " + " | ".join(engines) + " |")
    print("|---|" + "---|" * len(engines))
    for name in names:
        cells = []
        for engine in engines:
            rounds = r.rounds.get((group, engine, name))
            cells.append(spread(rounds) if rounds else "")
        print(f"| {name} | " + " | ".join(cells) + " |")
    print()


COLOURS = {
    "feox": "#d9480f", "bare": "#adb5bd", "lmdb": "#1c7ed6", "lmdb-batch": "#74c0fc",
    "rocksdb": "#2f9e44", "feoxdb": "#7048e8", "feoxdb-tuned": "#b197fc",
}

BARS = [
    ("GET", "memory", "get_uniform_ns"), ("GET zipf", "memory", "get_zipf_ns"),
    ("GET missing", "memory", "get_missing_ns"), ("INSERT", "memory", "insert_ns"),
    ("UPDATE", "memory", "update_ns"), ("DELETE", "memory", "delete_ns"),
    ("80/20", "memory", "mixed_ns"), ("scan of 100", "memory", "scan_100_ns"),
]


def text(x, y, what, anchor="start", extra=""):
    return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}"{extra}>{what}</text>'


def chart(r):
    """Operations a second, on a logarithmic scale: one row of bars for each operation."""
    engines = [e for e in r.engines if e != "lmdb-batch" and r.get(f"memory {e} get_uniform_ns")]
    rows = []
    for title, group, figure in BARS:
        bars = []
        for engine in engines:
            rounds = r.get(f"{group} {engine} {figure}")
            if rounds:
                bars.append((engine, 1e9 / statistics.median(rounds)))
        if bars:
            rows.append((title, bars))
    left, width, bar, gap, top = 110, 560, 13, 12, 46
    low, high = 1e3, 1e8
    scale = {10 ** e: left + width * (e - 3) / 5 for e in range(3, 9)}

    def at(value):
        import math
        return left + width * (math.log10(max(low, min(high, value))) - 3) / 5

    height = top + sum(len(b) * bar + gap for _, b in rows) + 28
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + width + 90}" height="{height}" '
           f'font-family="sans-serif" font-size="11">',
           f'<rect width="100%" height="100%" fill="#ffffff"/>']
    for i, engine in enumerate(engines):
        x = left + i * 105
        out.append(f'<rect x="{x}" y="12" width="10" height="10" fill="{COLOURS.get(engine, "#666")}"/>')
        out.append(text(x + 14, 21, engine))
    for value, x in scale.items():
        out.append(f'<line x1="{x:.0f}" y1="{top - 8}" x2="{x:.0f}" y2="{height - 26}" stroke="#dee2e6"/>')
        label = f"{value // 1000} K" if value < 10 ** 6 else f"{value // 10 ** 6} M"
        out.append(text(x, height - 12, label, "middle"))
    y = top
    for title, bars in rows:
        out.append(text(left - 8, y + len(bars) * bar / 2 + 4, title, "end", ' font-weight="bold"'))
        for engine, value in bars:
            out.append(f'<rect x="{left}" y="{y}" width="{at(value) - left:.1f}" height="{bar - 2}" '
                       f'fill="{COLOURS.get(engine, "#666")}"/>')
            out.append(text(at(value) + 4, y + bar - 3, number(value) + "/s"))
            y += bar
        y += gap
    out.append("</svg>")
    return "\n".join(out) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("results")
    parser.add_argument("--svg")
    parser.add_argument("--library", help="libfeox.so, stripped")
    parser.add_argument("--build-seconds", type=float)
    given = parser.parse_args()
    with open(given.results, encoding="utf-8") as file:
        r = Results(json.load(file))
    d = r.data
    rounds = max((len(v) for v in r.rounds.values()), default=0)
    print(f"libfeox {d['version']}, {d['processors']} x {d.get('processor', 'unknown')}, {d['system']}; "
          f"medians of {rounds} rounds [smallest .. largest]\n")
    library = [os.path.getsize(given.library)] if given.library else None
    seconds = [given.build_seconds] if given.build_seconds else None
    print_targets(r, library, seconds)
    for engine in r.engines:
        print(f"* {engine}: {d['engines'][engine]}")
    print("\nNames end in their unit: ns per operation, cpu_ns of it the calling thread's processor time,"
          "\np50 .. max nanoseconds of single operations, per_byte of key and value.\n")
    for group in r.groups:
        print_group(r, group)
    failed = [k for k in r.rounds if k[2] == "failed"]
    if given.svg:
        with open(given.svg, "w", encoding="utf-8") as file:
            file.write(chart(r))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
