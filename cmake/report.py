"""report.py FAILED-STEPS REPORT...: sums up what ctest wrote (.xml), with campaigns from elsewhere.

A CMocka program counts as its tests, any other as one. Shows the output of what failed, a line for
each test that was skipped with its reason, a table of the campaigns (tests/support/campaign.h), and
at the very end "N passed, N failed". A file .campaigns has rows for the table and nothing else: its
failures are among FAILED-STEPS.
"""

import os
import re
import sys
import xml.etree.ElementTree as tree

# A verdict, and not a message or a line of CMocka's own summary.
LINE = re.compile(r"^\[ +(OK|FAILED|SKIPPED|ERROR) +\] (?!--- |\d+ test\(s\))(.+)$")
CAMPAIGN = re.compile(
    r"^campaign ([^:]+): (\d+) cases, (\d+) faults, (\d+) failures, ([\d.]+) s$", re.M)
NOISE = re.compile(r"^\[ *(RUN|=+|PASSED|ERROR|OK|FAILED|SKIPPED|LINE) *\]|^\s*$")


def inner_results(output):
    """CMocka's results by test name, and the reasons of the skipped ones: the last line before."""
    results, reasons, last = {}, {}, ""
    for line in output.splitlines():
        match = LINE.match(line)
        if match:
            results[match[2]] = "FAILED" if match[1] == "ERROR" else match[1]
            if match[1] == "SKIPPED" and match[2] not in reasons:
                reasons[match[2]] = last
            last = ""
        elif line.startswith("[ RUN"):
            last = ""
        elif not NOISE.match(line):
            last = line.strip()
    return results, reasons


def of_interest(output, results):
    """The output without the tests that passed, and not more than somebody would read."""
    lines, hidden = [], False
    for line in output.splitlines():
        run = re.match(r"^\[ RUN +\] (.+)$", line)
        if run:
            hidden = results.get(run[1]) in ("OK", "SKIPPED")
        if not hidden and not line.startswith("[==="):
            lines.append(line)
        if LINE.match(line):
            hidden = False
    return lines if len(lines) <= 60 else lines[:40] + ["..."] + lines[-20:]


def campaigns(build, output):
    """The rows of a test's output, and how many of them had failures."""
    rows = [(match[1], build) + match.groups()[1:] for match in CAMPAIGN.finditer(output)]
    return rows, sum(row[4] != "0" for row in rows)


def by_number(row):
    """C2 before C10, and what has no number last."""
    number = re.match(r"C(\d+) ", row[0])
    return int(number[1]) if number else 99, row


def print_table(rows):
    head = ("campaign", "build", "cases", "faults", "failures", "seconds")
    widths = [max(len(row[i]) for row in [head] + rows) for i in range(len(head))]
    for row in [head] + sorted(rows, key=by_number):
        cells = [cell.ljust(width) if i < 2 else cell.rjust(width)
                 for i, (cell, width) in enumerate(zip(row, widths))]
        print("  ".join(cells).rstrip())


def main():
    failed, passed, skipped, table = int(sys.argv[1]), 0, [], []
    for path in sys.argv[2:]:
        if path.endswith(".campaigns"):
            with open(path, encoding="utf-8") as file:
                build = os.path.basename(path).removesuffix(".campaigns")
                table += campaigns(build, file.read())[0]
            continue
        build = os.path.basename(path).removesuffix(".xml")
        try:
            cases = tree.parse(path).getroot().findall("testcase")
        except tree.ParseError as error:
            print(f"{build}: unreadable report: {error}")
            cases = []
        if not cases:
            print(f"---- FAILED: {build}: no test ran ----")
            failed += 1
        for case in cases:
            name = f"{build} {case.get('name')}"
            output = case.findtext("system-out") or ""
            results, reasons = inner_results(output)
            verdicts = list(results.values())
            rows, bad_rows = campaigns(build, output)
            table += rows
            failed_here = max(verdicts.count("FAILED"), bad_rows)
            whole = case.get("status")
            if whole == "run" and not verdicts:
                passed += 1
            elif whole == "fail" and failed_here == 0:
                # A crash, a time-out, or a check after the last test.
                failed_here = 1
                output += f"\n{case.get('name')}: ended after {float(case.get('time')):.0f} s: "
                output += case.find("failure").get("message") or "no verdict"
            elif whole not in ("run", "fail"):
                skipped.append((name, "not run: " + (output.strip() or whole)))
            passed += verdicts.count("OK")
            failed += failed_here
            for test, reason in reasons.items():
                skipped.append((f"{name} {test}", reason or "no reason given"))
            if failed_here:
                print(f"---- FAILED: {name} ----")
                print("\n".join(of_interest(output, results)))
    for name, reason in skipped:
        print(f"skipped: {name}: {reason}")
    if table:
        print_table(table)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


sys.exit(main())
