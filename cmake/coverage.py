"""coverage.py ROOT EXPORT.json [FILE...]: a line for each file of src/ from what llvm-cov exports:
lines, branches and MC/DC pairs, covered and in all. Fails if one is below its threshold: what
decides about bytes on disk and about JSON has every pair, any other file 95 % of its branches, or
what ELSEWHERE says. Conditions that are missing are listed for named FILEs, and for what fails.

A pair is one condition of a decision, shown to decide the outcome by itself; in a decision of one
condition that is both outcomes. A pair that cannot be had says why, in a comment on the line of the
condition or alone on the line before:

    mcdc: cannot be true: REASON     (or false) the condition never has that value
    mcdc: coupled: REASON            it never changes without another one

It is a failure if a condition had a value that its comment says it cannot have. The argument of
FX_CHECK, which is false only if the library is wrong, needs no comment.
"""

import collections
import json
import re
import sys

WHOLE = re.compile(r"src/(disk/(format|journal|superblock|checkpoint|segments|extents)\.c"
                   r"|engine/(recover|replay|rescue)\.c|store/json_\w+\.c)$")
BRANCHES_MIN = 95
# What is left of a file is taken on other machines only: percent, and which.
ELSEWHERE = {
    "src/base/hash.c": (85, "a processor without AES, or that does not say"),
    "src/base/mem.c": (86, "with a part of jemalloc, with neither mallctl nor malloc_trim"),
}
MARKER = re.compile(r"/\* mcdc: (cannot be (true|false)|coupled)(: \S[^*]*)?\s*(\*/)?")
DECISION_CONDITION, EXPANSION = 6, 1  # kinds of branches, of regions
ASSERT = "/base/assert.h"  # llvm sees the conditions of asserts there, though they are compiled away


class Condition:
    """Where it stands, how often it was true and false, and whether it was shown to decide."""

    def __init__(self):
        self.counts = [0, 0]
        self.alone = True
        self.decides = False

    def paired(self):
        return all(self.counts) if self.alone else self.decides


class Source:
    """A file's text, its markers by line, and its conditions by place."""

    def __init__(self, path):
        self.lines = open(path, encoding="utf-8").read().splitlines()
        self.conditions = collections.defaultdict(Condition)
        self.markers, self.bad_markers = {}, []
        for number, line in enumerate(self.lines, 1):
            match = MARKER.search(line)
            if not match:
                if "mcdc:" in line:
                    self.bad_markers.append((number, "not a marker"))
                continue
            if not match[3]:
                self.bad_markers.append((number, "no reason"))
            at = number
            if not line[:match.start()].strip():
                while "*/" not in self.lines[at - 1]:
                    at += 1
                at += 1
            self.markers[at] = (number, match[2] or "coupled")

    def text(self, place):
        line, column, end_line, end_column = place[:4]
        if line == end_line:
            return self.lines[line - 1][column - 1:end_column - 1]
        return self.lines[line - 1][column - 1:] + " ..."

    def checked(self, place):
        """Whether the condition is what an FX_CHECK says."""
        return self.text(place).lstrip("!").startswith("FX_CHECK")

    def excused(self, place, condition):
        number, says = self.markers.get(place[0], (0, ""))
        if self.checked(place) or says == "coupled":
            return True
        return says != "" and condition.counts[says == "false"] == 0

    def refuted(self):
        """Markers whose conditions all had the value that none can have."""
        for line, (number, says) in self.markers.items():
            here = [c for place, c in self.conditions.items() if place[0] == line]
            if not here:
                yield number, "no condition is there"
            elif says != "coupled" and all(c.counts[says == "false"] for c in here):
                yield number, f"it was {says}"


class Function:
    """The conditions of one instance of a function, each where its text begins: one that comes out
    of a macro is where the macro is used, and those of one that is compiled away are left out."""

    def __init__(self, function, sources, root):
        self.name, self.names = function["name"], function["filenames"]
        self.sources, self.root = sources, root
        self.uses = {inner: (file, tuple(place)) for *place, _, file, inner, kind
                     in function["regions"] if kind == EXPANSION}
        self.conditions = []  # (levels, counts, alone)
        for *place, true, false, file, _, kind in function["branches"]:
            levels = self.levels(file, tuple(place))
            if self.text(levels[-1]).startswith("FX_ASSERT"):
                continue
            self.conditions.append((levels, (true, false), kind != DECISION_CONDITION))

    def levels(self, file, place):
        """From the place itself to the one that is in no macro."""
        levels = [(file, place)]
        while file in self.uses:
            file, place = self.uses[file]
            levels.append((file, place))
        return levels

    def source(self, file):
        path = self.names[file]
        if not path.startswith(self.root + "/src/"):
            return None
        if path not in self.sources:
            self.sources[path] = Source(path)
        return self.sources[path]

    def text(self, level):
        source = self.source(level[0])
        return source.text(level[1]) if source else ""

    def condition(self, levels):
        """The condition itself; None if its text is not ours."""
        source = self.source(levels[-1][0])
        return source and source.conditions[levels[-1][1] + levels[0][1]]

    def decision(self, begin, end, count):
        """Its conditions in order; the record does not say in which file it is."""
        inside = collections.defaultdict(list)
        for levels, _, alone in self.conditions:
            for file, place in levels:
                if not alone and begin <= place[:2] and place[2:] <= end:
                    inside[file].append((place, levels))
        found = [sorted(places) for places in inside.values() if len(places) == count]
        if len(found) > 1:
            raise ValueError(f"{self.name}: whose is the decision at {begin}?")
        return [self.condition(levels) for _, levels in found[0]] if found else None


def read(root, export):
    """The sources by path, with the conditions of all instances of a function taken together."""
    sources = {}
    for exported in export["functions"]:
        if not exported["filenames"][0].startswith(root + "/src/"):
            continue  # a test's own, linked to what is looked at
        function = Function(exported, sources, root)
        for levels, counts, alone in function.conditions:
            condition = function.condition(levels)
            if condition is not None:
                condition.counts = [a + b for a, b in zip(condition.counts, counts)]
                condition.alone = alone
        for *place, _, _, decides in exported["mcdc_records"]:
            conditions = function.decision(tuple(place[:2]), tuple(place[2:]), len(decides))
            if conditions is None:
                if not any(name.endswith(ASSERT) for name in function.names):
                    raise ValueError(f"{function.name}: no decision is at {place}")
                continue
            for condition, decided in zip(conditions, decides):
                if condition is not None:
                    condition.decides |= decided
    return sources


def ratio(covered, total):
    return f"{covered}/{total}".rjust(11) + (f"{100 * covered / total:7.1f} %" if total else " " * 9)


def main():
    root, wanted = sys.argv[1], sys.argv[3:]
    export = json.load(open(sys.argv[2], encoding="utf-8"))["data"][0]
    sources = read(root, export)
    lines = {file["filename"]: file["summary"]["lines"] for file in export["files"]}
    failures, notes, sums, markers = [], [], [0] * 6, 0
    print(f"{'file':<28}{'lines':>20}{'branches':>20}{'MC/DC pairs':>20}  excused")
    for path in sorted(sources):
        source, name = sources[path], path[len(root) + 1:]
        places = sorted(source.conditions.items())
        missing = [(p, c) for p, c in places if not c.paired() and not source.excused(p, c)]
        excused = [p for p, c in places if not c.paired() and source.excused(p, c)]
        branches = [sum(n > 0 for _, c in places for n in c.counts), 2 * len(places)]
        unseen = sum(n == 0 for p, c in places for n in c.counts if not source.excused(p, c))
        pairs = [sum(c.paired() for _, c in places), len(places)]
        row = [lines[path]["covered"], lines[path]["count"], *branches, *pairs]
        sums = [a + b for a, b in zip(sums, row)]
        markers += len(source.markers)
        whole = WHOLE.search(path)
        reached = 100 - 100 * unseen / max(branches[1], 1)
        least = ELSEWHERE.get(name, (BRANCHES_MIN, ""))[0]
        low = bool(missing) if whole else reached < least
        print(f"{name:<28}" + "".join(ratio(*row[i:i + 2]) for i in (0, 2, 4)) +
              f"{len(excused):9}" + ("  BELOW" if low else ""))
        if low:
            failures.append(name)
        for number, why in source.bad_markers + list(source.refuted()):
            failures.append(name)
            notes.append(f"{name}:{number}: mcdc comment: {why}")
        if low or name in wanted:
            for place, c in missing:
                notes.append(f"{name}:{place[0]}: true {c.counts[0]}, false {c.counts[1]}: "
                             f"{source.text(place)}")
    print(f"{'all':<28}" + "".join(ratio(*sums[i:i + 2]) for i in (0, 2, 4)))
    print(f"{markers} exceptions are argued in the source")
    print("\n".join(notes))
    return 1 if failures else 0


sys.exit(main())
