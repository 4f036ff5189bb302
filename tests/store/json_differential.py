"""json_differential.py LIBFEOX [--count N] | LIBFEOX --suite: JSON in the library against Python.

Documents, patches and merge patches from a seed go through feox_json_patch and feox_json_merge, and
through an oracle that is RFC 6902 and RFC 7396 word by word over what Python's json module reads.
Status, structure, order of members and the text of every number have to be the same. Numbers are
compared by `test` and by the oracle as integers with a power of ten, and by decimal where it
can hold them. Then come bombs: texts made to take time or memory.

--suite: the texts of JSONTestSuite, looked for in $FEOX_JSON_TEST_SUITE and next to the tree, are
accepted or refused as their names say. FEOX_SEED repeats a run; FEOX_LONG=1 is ten times as long.
Exit status 77: skipped, with the reason.
"""

import ctypes
import decimal
import json
import os
import random
import re
import resource
import signal
import sys
import time

OK, NOT_JSON, BAD_PATCH, TOO_LARGE, NO_MEMORY = 0, -13, -14, -10, -2
DEPTH_MAX = 128  # of a document; a patch may have two levels more
OPERATIONS_MAX = 10000
HANG_SECONDS = 60


# ---- The library ---------------------------------------------------------------------------------


class Library:
    def __init__(self, path):
        self.lib = ctypes.CDLL(path)
        self.lib.feox_status_name.restype = ctypes.c_char_p
        self.lib.feox_last_error.restype = ctypes.c_char_p
        self.store = ctypes.c_void_p()
        assert self.lib.feox_open(None, None, ctypes.byref(self.store)) == OK
        self.room = ctypes.create_string_buffer(1 << 16)

    def close(self):
        assert self.lib.feox_close(self.store) == OK

    def get(self):
        size = ctypes.c_size_t()
        status = self.lib.feox_get_into(self.store, b"k", ctypes.c_size_t(1), self.room,
                                        ctypes.c_size_t(len(self.room)), ctypes.byref(size))
        if status == 6:
            self.room = ctypes.create_string_buffer(size.value)
            return self.get()
        assert status == OK, status
        return self.room.raw[: size.value]

    def edit(self, call, document, patch):
        """(status, the value afterwards)"""
        status = self.lib.feox_insert(self.store, b"k", ctypes.c_size_t(1), document,
                                      ctypes.c_size_t(len(document)))
        assert status == OK, status
        status = call(self.store, b"k", ctypes.c_size_t(1), patch, ctypes.c_size_t(len(patch)))
        return status, self.get()

    def patch(self, document, patch):
        return self.edit(self.lib.feox_json_patch, document, patch)

    def merge(self, document, patch):
        return self.edit(self.lib.feox_json_merge, document, patch)


# ---- What a text means ---------------------------------------------------------------------------


class Number:
    """A number: its text, and its value as (digits, power of ten), a form that is unique."""

    __slots__ = ("text", "value")

    def __init__(self, text):
        self.text = text
        mantissa, _, power = text.lower().partition("e")
        whole, _, fraction = mantissa.partition(".")
        negative = whole.startswith("-")
        digits = (whole.lstrip("-") + fraction).lstrip("0")
        exponent = (int(power) if power else 0) - len(fraction)
        short = digits.rstrip("0")
        self.value = (negative, short, exponent + len(digits) - len(short)) if short else 0

    def same(self, other):
        equal = self.value == other.value
        a, b = as_decimal(self.text), as_decimal(other.text)
        assert a is None or b is None or (a == b) == equal, (self.text, other.text)
        return equal


def as_decimal(text):
    """Exact, or None where decimal cannot hold it."""
    exponent = re.search(r"[eE]([-+]?\d+)", text)
    return decimal.Decimal(text) if not exponent or abs(int(exponent[1])) < 10**16 else None


class Object:
    """Members in order; two may have one name."""

    __slots__ = ("pairs",)

    def __init__(self, pairs):
        self.pairs = [list(pair) for pair in pairs]

    def ambiguous(self):
        return len({name for name, _ in self.pairs}) != len(self.pairs)

    def find(self, name):
        for i, pair in enumerate(self.pairs):
            if pair[0] == name:
                return i
        return None


class NotJson(Exception):
    pass


class BadPatch(Exception):
    pass


def no_constant(text):
    raise ValueError(text)


READER = json.JSONDecoder(object_pairs_hook=Object, parse_int=Number, parse_float=Number,
                          parse_constant=no_constant)


def text_depth(text):
    """Levels of arrays and objects in a text that may be anything."""
    depth = most = 0
    for bracket in re.sub(r'"(?:[^"\\]|\\.)*"', "", text, flags=re.S):
        if bracket in "[{":
            depth += 1
            most = max(most, depth)
        elif bracket in "]}":
            depth -= 1
    return most


def read(data, depth_max):
    try:
        text = data.decode("utf-8")
        if text_depth(text) > depth_max:
            raise NotJson
        return READER.decode(text)  # space around it included
    except (ValueError, RecursionError):
        raise NotJson from None


def depth_of(value):
    if isinstance(value, Object):
        return 1 + max((depth_of(v) for _, v in value.pairs), default=0)
    if isinstance(value, list):
        return 1 + max((depth_of(v) for v in value), default=0)
    return 0


def copy_of(value):
    if isinstance(value, Object):
        return Object((name, copy_of(v)) for name, v in value.pairs)
    if isinstance(value, list):
        return [copy_of(v) for v in value]
    return value


def plain(value):
    """For comparing results: structure, order and the text of numbers."""
    if isinstance(value, Object):
        return ("object", [(name, plain(v)) for name, v in value.pairs])
    if isinstance(value, list):
        return [plain(v) for v in value]
    if isinstance(value, Number):
        return ("number", value.text)
    return value


def equal(a, b):
    """As `test` compares."""
    if isinstance(a, Object):
        if a.ambiguous() or (isinstance(b, Object) and b.ambiguous()):
            raise BadPatch
        if not isinstance(b, Object) or len(a.pairs) != len(b.pairs):
            return False
        for name, value in a.pairs:
            place = b.find(name)
            if place is None or not equal(value, b.pairs[place][1]):
                return False
        return True
    if isinstance(a, list):
        return isinstance(b, list) and len(a) == len(b) and all(equal(x, y) for x, y in zip(a, b))
    if isinstance(a, Number):
        return isinstance(b, Number) and a.same(b)
    return type(a) is type(b) and a == b


# ---- RFC 6902 ------------------------------------------------------------------------------------


def pointer(text):
    if not isinstance(text, str) or (text and text[0] != "/") or re.search("~(?![01])", text):
        raise BadPatch
    return [t.replace("~1", "/").replace("~0", "~") for t in text.split("/")[1:]]


def place_in(container, token, for_add):
    """Where the token is in the container, None if it is not there; or where it would be added."""
    if isinstance(container, Object):
        if container.ambiguous():
            raise BadPatch
        return container.find(token)
    if not isinstance(container, list):
        raise BadPatch
    if token == "-":
        return len(container) if for_add else None
    if not re.fullmatch("0|[1-9][0-9]*", token) or int(token) > len(container):
        raise BadPatch
    return int(token) if for_add or int(token) < len(container) else None


def child(container, place):
    return container.pairs[place][1] if isinstance(container, Object) else container[place]


class Document:
    def __init__(self, root):
        self.root = root

    def get(self, path):
        value = self.root
        for token in path:
            place = place_in(value, token, False)
            if place is None:
                raise BadPatch
            value = child(value, place)
        return value

    def add(self, path, value):
        if not path:
            self.root = value
            return
        container = self.get(path[:-1])
        place = place_in(container, path[-1], True)
        if isinstance(container, list):
            container.insert(place, value)
        elif place is None:
            container.pairs.append([path[-1], value])
        else:
            container.pairs[place][1] = value

    def replace(self, path, value):
        self.get(path)
        if not path:
            self.root = value
            return
        container = self.get(path[:-1])
        place = place_in(container, path[-1], False)
        if isinstance(container, list):
            container[place] = value
        else:
            container.pairs[place][1] = value

    def remove(self, path):
        if not path:
            raise BadPatch
        value = self.get(path)
        container = self.get(path[:-1])
        place = place_in(container, path[-1], False)
        del (container if isinstance(container, list) else container.pairs)[place]
        return value


def member(operation, name):
    place = operation.find(name)
    if place is None:
        raise BadPatch
    return operation.pairs[place][1]


def apply_one(document, operation):
    if not isinstance(operation, Object) or operation.ambiguous():
        raise BadPatch
    kind = member(operation, "op")
    path = pointer(member(operation, "path"))
    if kind in ("add", "replace", "test"):
        value = member(operation, "value")
        if kind == "add":
            document.add(path, copy_of(value))
        elif kind == "replace":
            document.replace(path, copy_of(value))
        elif not equal(document.get(path), value):
            raise BadPatch
    elif kind == "remove":
        document.remove(path)
    elif kind in ("move", "copy"):
        start = pointer(member(operation, "from"))
        if kind == "copy":
            document.add(path, copy_of(document.get(start)))
        elif start == path:
            document.get(start)
        elif path[: len(start)] == start:
            raise BadPatch
        else:
            document.add(path, document.remove(start))
    else:
        raise BadPatch
    if depth_of(document.root) > DEPTH_MAX:
        raise BadPatch


def expect_patch(document, patch):
    """(status, value)"""
    try:
        result = Document(read(document, DEPTH_MAX))
        operations = read(patch, DEPTH_MAX + 2)
        if not isinstance(operations, list) or len(operations) > OPERATIONS_MAX:
            raise BadPatch
        for operation in operations:
            apply_one(result, operation)
        return OK, result.root
    except NotJson:
        return NOT_JSON, None
    except BadPatch:
        return BAD_PATCH, None


# ---- RFC 7396 ------------------------------------------------------------------------------------


def merge(target, patch):
    if not isinstance(patch, Object):
        return patch
    if patch.ambiguous() or (isinstance(target, Object) and target.ambiguous()):
        raise BadPatch
    result = target if isinstance(target, Object) else Object([])
    for name, value in patch.pairs:
        place = result.find(name)
        if value is None:
            if place is not None:
                del result.pairs[place]
        elif place is not None:
            result.pairs[place][1] = merge(result.pairs[place][1], value)
        else:
            result.pairs.append([name, merge(None, value)])
    return result


def expect_merge(document, patch):
    try:
        return OK, merge(read(document, DEPTH_MAX), read(patch, DEPTH_MAX))
    except NotJson:
        return NOT_JSON, None
    except BadPatch:
        return BAD_PATCH, None


# ---- Random texts --------------------------------------------------------------------------------

NAMES = ["a", "b", "c", "", "0", "1", "-", "01"]
NAMES += ["x/y", "~", "~1", "é", "😀", "\ud800", "\0", '"']
SPACES = ["", "", "", "", " ", "\n", "\t ", "\r\n"]


class Maker:
    def __init__(self, seed):
        self.random = random.Random(seed)

    def pick(self, things):
        return things[int(self.random.random() * len(things))]

    def below(self, limit):
        return int(self.random.random() * limit)

    def space(self):
        return self.pick(SPACES)

    def digits(self):
        return "".join(self.pick("0123456789") for _ in range(self.pick((1, 1, 2, 3, 8, 20, 60))))

    def number(self):
        text = "-" if self.below(4) == 0 else ""
        text += str(int(self.digits())) if self.below(5) else "0"
        if self.below(3) == 0:
            text += "." + self.digits()
        if self.below(4) == 0:
            text += self.pick("eE") + self.pick(("", "+", "-"))
            text += self.pick(("0", "1", "00", "5", "17", "308", "999999999", self.digits()))
        return text

    def respell_number(self, text):
        """The same value, written another way."""
        n = Number(text)
        if n.value == 0:
            return self.pick(("0", "-0", "0.0", "0e7", "-0.00E-99999999999999999999"))
        negative, digits, power = n.value
        zeros = self.below(4)
        digits, power = digits + "0" * zeros, power - zeros
        point = self.below(len(digits)) if self.below(2) else 0
        power += point
        if point:
            digits = digits[:-point] + "." + digits[-point:]
        elif 0 <= power < 30 and self.below(2):
            digits, power = digits + "0" * power, 0
        if power:
            digits += self.pick("eE") + ("+" if power > 0 and self.below(2) else "") + str(power)
        return ("-" if negative else "") + digits

    def string(self, meaning=None):
        if meaning is None:
            meaning = self.pick(NAMES) + self.pick(("", "", "z", "\u2028", "\x1f\x7f", "\\n"))
        out = []
        for c in meaning:
            code = ord(c)
            if c in '"\\' and self.below(2):
                out.append("\\" + c)
            elif code < 0x20 or c in '"\\' or 0xD800 <= code < 0xE000 or self.below(6) == 0:
                units = c.encode("utf-16-be", "surrogatepass").hex()
                if self.below(2):
                    units = units.upper()
                out.extend("\\u" + units[i : i + 4] for i in range(0, len(units), 4))
            else:
                out.append(c)
        return '"' + "".join(out) + '"'

    def value(self, depth=0):
        kind = self.below(10)
        if depth < 4 and kind < 3:
            names = [self.pick(NAMES) for _ in range(self.below(5))]
            if self.below(12):
                names = list(dict.fromkeys(names))
            return self.object([(name, self.value(depth + 1)) for name in names])
        if depth < 4 and kind < 5:
            items = (self.space() + self.value(depth + 1) + self.space()
                     for _ in range(self.below(5)))
            return "[" + ",".join(items) + self.space() + "]" if self.below(9) else "[ ]"
        if kind < 8:
            return self.number()
        return self.string() if kind == 8 else self.pick(("true", "false", "null"))

    def object(self, members):
        parts = (self.space() + self.string(name) + self.space() + ":" + self.space() + value
                 + self.space() for name, value in members)
        return "{" + ",".join(parts) + "}"

    def document(self):
        if self.below(400) == 0:
            depth = DEPTH_MAX - 2 + self.below(5)
            return "[" * depth + "]" * depth
        kind = self.value(0) if self.below(8) == 0 else None
        while kind is None or (kind[0] not in "{[" and self.below(8)):
            kind = self.value(0)
        return self.space() + kind + self.space()

    def write(self, value):
        """A parsed value as another text of the same meaning."""
        if isinstance(value, Object):
            pairs = value.pairs if self.below(2) else self.random.sample(value.pairs,
                                                                         len(value.pairs))
            return self.object([(name, self.write(v)) for name, v in pairs])
        if isinstance(value, list):
            return "[" + ",".join(self.space() + self.write(v) for v in value) + "]"
        if isinstance(value, Number):
            return self.respell_number(value.text)
        return self.string(value) if isinstance(value, str) else json.dumps(value)

    def path(self, root):
        """Mostly one that is there, or nearly."""
        path = ""
        value = root
        while isinstance(value, (Object, list)) and self.below(5):
            size = len(value.pairs if isinstance(value, Object) else value)
            if size == 0 or self.below(6) == 0:
                last = self.pick(NAMES + ["-", "0", str(size), str(size + 1)])
                return path + "/" + last.replace("~", "~0").replace("/", "~1")
            place = self.below(size)
            name = value.pairs[place][0] if isinstance(value, Object) else str(place)
            path += "/" + name.replace("~", "~0").replace("/", "~1")
            value = child(value, place)
        if self.below(60) == 0:
            path += self.pick(("~", "/~2", "x", "/00", "/-1", "/99999999999999999999"))
        return path

    def operation(self, document):
        kind = self.pick(("add", "add", "replace", "remove", "test", "test", "move", "copy"))
        path = self.path(document.root)
        members = [("op", self.string(kind)), ("path", self.string(path))]
        if kind in ("move", "copy"):
            members.append(("from", self.string(self.path(document.root))))
        elif kind == "test":
            try:
                value = self.write(document.get(pointer(path)))
            except BadPatch:
                value = self.value(2)
            members.append(("value", value if self.below(8) else self.value(3)))
        elif kind != "remove":
            members.append(("value", self.value(2)))
        if self.below(40) == 0:
            members.append(self.pick(members))
        if self.below(40) == 0:
            del members[self.below(len(members))]
        if self.below(10) == 0:
            members.append(("comment", self.value(3)))
        self.random.shuffle(members)
        return self.object(members)

    def patch(self, text):
        """Each operation fits what the ones before it made of the document, most of the time."""
        try:
            document = Document(read(text.encode(), DEPTH_MAX))
        except NotJson:
            return "[]"
        operations = []
        for _ in range(self.pick((1, 1, 2, 3, 5))):
            operation = self.operation(document)
            operations.append(self.space() + operation + self.space())
            try:
                apply_one(document, READER.decode(operation))
            except BadPatch:
                if self.below(3):
                    operations.pop()
        return self.space() + "[" + ",".join(operations) + "]" + self.space()

    def merge_patch(self, value, depth=0):
        if depth > 4 or not isinstance(value, Object) or self.below(8) == 0:
            return self.value(2)
        members = []
        for name, old in value.pairs:
            kind = self.below(4)
            if kind == 0:
                members.append((name, "null"))
            elif kind == 1:
                members.append((name, self.merge_patch(old, depth + 1)))
        members += [(self.pick(NAMES), self.value(2)) for _ in range(self.below(3))]
        members = list(dict(members).items()) if self.below(20) else members
        return self.object(members)

    def damage(self, data):
        """A few bytes wrong: is it JSON still?"""
        for _ in range(1 + self.below(3)):
            at = self.below(len(data) + 1)
            what = self.pick((b"", b'"', b"\\", b",", b"0", b"e", b"\0", b"\x80", b"\xed\xa0\x80",
                              b"[", b"}", b"NaN", b"-", b".", b"\xef\xbb\xbf", b"\x0b", b"\\u12G4"))
            data = data[:at] + what + data[at + self.below(3) :]
        return data


# ---- Comparing -----------------------------------------------------------------------------------


def compare(library, call, document, patch, wanted):
    status, result = call(document, patch)
    status_wanted, value = wanted
    try:
        assert status == status_wanted, (status, status_wanted, library.lib.feox_last_error())
        if status != OK:
            assert result == document, "a failed call has changed the value"
        else:
            assert plain(read(result, DEPTH_MAX)) == plain(value), result
    except (AssertionError, NotJson):
        print("document:", document)
        print("patch:   ", patch)
        raise
    return status


def print_campaign(name, cases, faults, begin):
    """As tests/support/campaign.h does; who comes here has had no failures."""
    seconds = time.monotonic() - begin
    print(f"campaign C10 {name}: {cases} cases, {faults} faults, 0 failures, {seconds:.1f} s")


def run_random(library, seed, count):
    """How many there were of each status, and how many were damaged."""
    tally, damaged = {}, 0
    for i in range(count):
        make = Maker(seed * 1000003 + i)
        text = make.document()
        document = text.encode()
        merging = i % 4 == 3
        if merging:
            try:
                value = read(document, DEPTH_MAX)
            except NotJson:
                value = None
            patch = (make.space() + make.merge_patch(value)).encode()
        else:
            patch = make.patch(text).encode()
        if i % 5 == 4:
            document, patch = ((make.damage(document), patch) if i % 10 == 4
                               else (document, make.damage(patch)))
            damaged += 1
        try:
            if merging:
                status = compare(library, library.merge, document, patch,
                                 expect_merge(document, patch))
            else:
                status = compare(library, library.patch, document, patch,
                                 expect_patch(document, patch))
        except (AssertionError, NotJson):
            print(f"number {i} of FEOX_SEED={seed}")
            raise
        tally[status] = tally.get(status, 0) + 1
    return tally, damaged


# ---- Bombs ---------------------------------------------------------------------------------------


def bombs():
    """(name, merge, document, patch, the statuses that are right)"""
    deep = b"[" * 1000000
    digits = b"9" * 1000000
    copies = b",".join(b'{"op":"copy","from":"","path":"/c%d"}' % i for i in range(64))
    many = b"{" + b",".join(b'"%d":0' % i for i in range(200000)) + b"}"
    nulls = b"{" + b",".join(b'"%d":null' % i for i in range(200000)) + b"}"
    add = b'{"op":"add","path":"/-","value":1}'
    equal_numbers = b'[{"op":"test","path":"/0","value":%s}]'
    power = b"1e999999999"
    yield "depth", False, deep, b"[]", [NOT_JSON]
    yield "depth of objects", False, b'{"a":' * 1000000, b"[]", [NOT_JSON]
    yield "depth of the patch", False, b"[]", deep, [NOT_JSON]
    yield "depth of the merge patch", True, b"{}", deep, [NOT_JSON]
    yield "equal powers", False, b"[%s]" % power, equal_numbers % b"10e999999998", [OK]
    yield "other powers", False, b"[%s]" % power, equal_numbers % b"1e-999999999", [BAD_PATCH]
    yield "a million digits", False, b"[%s]" % digits, equal_numbers % (digits + b".0"), [OK]
    yield "a million digits of power", False, b"[1e%s]" % digits, equal_numbers % (
        b"10e" + digits[:-1] + b"8"), [OK]
    yield "a power of zeros", False, b"[1%s]" % (b"0" * 1000000), equal_numbers % b"1e1000000", [OK]
    yield "copies of copies", False, b"{}", b"[%s]" % copies, [TOO_LARGE, BAD_PATCH]
    yield "array copies", False, b"[[0]]", b"[%s]" % b",".join(
        [b'{"op":"copy","from":"","path":"/0"}'] * 10000), [TOO_LARGE, BAD_PATCH]
    yield "many operations", False, b"[]", b"[%s]" % b",".join([add] * OPERATIONS_MAX), [OK]
    yield "too many", False, b"[]", b"[%s]" % b",".join([add] * (OPERATIONS_MAX + 1)), [BAD_PATCH]
    yield "many members", False, many, b'[{"op":"remove","path":"/77"}]', [OK]
    yield "many removed", True, many, nulls, [OK]
    yield "many added", True, b"{}", many, [OK]
    yield "one name", False, b"{" + b'"a":0,' * 200000 + b'"a":1}', (
        b'[{"op":"remove","path":"/a"}]'), [BAD_PATCH]
    yield "a long string", False, b'["' + b"\\u0041" * 1000000 + b'"]', (
        b'[{"op":"test","path":"/0","value":"%s"}]' % (b"A" * 1000000)), [OK]
    yield "a long path", False, b"{}", (
        b'[{"op":"add","path":"%s","value":0}]' % (b"/a" * 1000000)), [BAD_PATCH]
    yield "a long name", False, b"{}", (
        b'[{"op":"add","path":"/%s","value":0}]' % (b"~1" * 1000000)), [OK]
    yield "backslashes", False, b'["' + b"\\\\" * 500000 + b'"]', (
        b'[{"op":"remove","path":"/0"}]'), [OK]
    yield "space", False, b" " * 1000000 + b"[]" + b"\n" * 1000000, b"[%s]" % add, [OK]


def run_bombs(library):
    count = slowest = 0
    for name, merging, document, patch, wanted in bombs():
        signal.alarm(HANG_SECONDS)
        begin = time.monotonic()
        status, result = (library.merge if merging else library.patch)(document, patch)
        slowest = max(slowest, time.monotonic() - begin)
        signal.alarm(0)
        assert status in wanted, (name, status, library.lib.feox_last_error())
        assert status == OK or result == document, name
        count += 1
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    assert peak < 1024, f"{peak} MiB"
    return count, slowest, peak


# ---- JSONTestSuite -------------------------------------------------------------------------------


def run_suite(library):
    here = os.path.dirname(os.path.abspath(__file__))
    places = [os.environ.get("FEOX_JSON_TEST_SUITE", ""),
              os.path.join(here, "../../../shared/data/JSONTestSuite")]
    folders = [os.path.join(p, "test_parsing") for p in places if p] + [p for p in places if p]
    folder = next((f for f in folders if os.path.isdir(f)), None)
    if folder is None:
        print("JSONTestSuite is not here; FEOX_JSON_TEST_SUITE can name its directory")
        return 77
    counts = {"y": 0, "n": 0, "i": 0}
    begin = time.monotonic()
    for name in sorted(os.listdir(folder)):
        kind = name[0]
        if not name.endswith(".json") or kind not in counts:
            continue
        with open(os.path.join(folder, name), "rb") as file:
            status, _ = library.patch(file.read(), b"[]")
        right = {"y": [OK], "n": [NOT_JSON], "i": [OK, NOT_JSON]}[kind]
        assert status in right, (name, status)
        counts[kind] += 1
    assert counts["y"] > 0 and counts["n"] > 0, folder
    print("JSONTestSuite: {y} accepted, {n} refused, {i} either".format(**counts))
    print_campaign("JSONTestSuite", sum(counts.values()), 0, begin)
    return 0


def main():
    library = Library(sys.argv[1])
    decimal.getcontext().prec = 100
    if "--suite" in sys.argv:
        return run_suite(library)
    seed = int(os.environ.get("FEOX_SEED") or time.time_ns() // 1000 % 10**9)
    count = int(sys.argv[sys.argv.index("--count") + 1]) if "--count" in sys.argv else 20000
    count *= 10 if os.environ.get("FEOX_LONG") else 1
    print(f"json_differential: FEOX_SEED={seed}", flush=True)
    begin = time.monotonic()
    tally, damaged = run_random(library, seed, count)
    names = ", ".join(f"{n} {library.lib.feox_status_name(s).decode()}"
                      for s, n in sorted(tally.items(), reverse=True))
    print(f"random: {names}")
    assert tally[OK] > count / 4 and tally[NOT_JSON] > count / 20 and tally[BAD_PATCH] > count / 20
    print_campaign("documents, against Python", count, damaged, begin)
    begin = time.monotonic()
    exploded, slowest, peak = run_bombs(library)
    print(f"bombs: slowest {slowest:.1f} s, {peak} MiB at most")
    print_campaign("bombs", exploded, 0, begin)
    library.close()
    return 0


sys.exit(main())
