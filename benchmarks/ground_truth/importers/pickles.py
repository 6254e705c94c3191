"""Reads pickles of plain data: nothing in the file can run, and what is not wanted does not stay in memory.

An official NAS-Bench-201 file is one pickle of gigabytes that needs some 28 GB as Python objects, and a pickle may name
any function to be called while it is read. So the format is interpreted here: numbers, texts and containers are built,
a few harmless names are replaced by functions of ours, every other name is refused, and a dict can be replaced by an
excerpt as soon as it is complete.
"""

from __future__ import annotations

import pickle
import struct
from collections.abc import Callable
from typing import Any, Protocol

from benchmarks.ground_truth.importers.names import DType, Ignored, Name, find

Fold = Callable[[dict[Any, Any]], dict[Any, Any] | None]
"""Given a complete dict, the items to put in place of its own, or None to keep them."""

_CHUNK = 1 << 20
_SLACK = 1 << 16  # bytes kept ahead of the next instruction, so that short operands need no check
_LONGEST = 1 << 30  # bytes; no operand in a benchmark is that long, a damaged length is
_CONTAINERS = (dict, list, set)
_SMALL = 16  # items; containers up to this size cost little to keep and are the ones that records may share
_RELEASED = object()

# Instructions, as numbers.
_BINFLOAT, _BININT1, _STOP = pickle.BINFLOAT[0], pickle.BININT1[0], pickle.STOP[0]
_TEXT, _SHORT_TEXT = pickle.BINUNICODE[0], pickle.SHORT_BINUNICODE[0]
_MEMOIZE, _PUT, _GET = pickle.MEMOIZE[0], pickle.LONG_BINPUT[0], pickle.LONG_BINGET[0]


class ByteStream(Protocol):
    """Anything that reads bytes."""

    def read(self, size: int, /) -> bytes:
        """At most ``size`` bytes; none at the end."""


class PickleReader:
    """Reads the pickles that follow one another in a stream.

    Args:
        stream: read front to back, once, a megabyte at a time.
    """

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream
        self._buffer = b""
        self._position = 0
        self._ended = False

    def load(self, fold: Fold = lambda _: None) -> Any:
        """The next object.

        Args:
            fold: called with each dict once its items are set (after every thousandth item of a long one). What it
                returns replaces the items, and the large containers that were built inside the dict are released.

        Raises:
            ValueError: the pickle is damaged, truncated, or asks for a name that no benchmark needs; in a few words.
        """
        self._fold = fold
        self._stack: list[Any] = []
        self._below: list[list[Any]] = []  # the stacks below the open marks
        self._memo: list[Any] = []
        self._young: list[int] = []  # memo places of the containers that may still be released
        try:
            self._run()
            return self._stack.pop()
        except (pickle.UnpicklingError, EOFError, OSError) as error:
            raise ValueError(_one_line(error)) from None
        except Exception as error:  # a malformed pickle can raise nearly anything
            if self._ended and isinstance(error, IndexError | struct.error):
                raise ValueError("it ends too early") from None
            raise ValueError(f"it is no well-formed pickle ({type(error).__name__}: {_one_line(error)})") from None
        finally:
            self._stack, self._below, self._memo = [], [], []

    def at_end(self) -> bool:
        """Whether nothing follows; reads on, so that the stream checks its own checksum."""
        self._fill(1)
        return self._position == len(self._buffer)

    def _run(self) -> None:
        """Interpret up to STOP. Frequent instructions stand inline: a file has hundreds of millions of them."""
        memo = self._memo
        texts: dict[bytes, str] = {}  # a benchmark repeats few texts millions of times
        float_at, uint_at = struct.Struct(">d").unpack_from, struct.Struct("<I").unpack_from
        stack, buffer, position, limit = self._stack, self._buffer, self._position, -1
        while True:
            if position > limit:
                self._position = position
                self._fill(_SLACK)
                buffer, position = self._buffer, self._position
                limit = len(buffer) - (0 if self._ended else _SLACK)
            code = buffer[position]
            position += 1
            if code == _BINFLOAT:
                stack.append(float_at(buffer, position)[0])
                position += 8
            elif code == _BININT1:
                stack.append(buffer[position])
                position += 1
            elif code == _SHORT_TEXT or (code == _TEXT and uint_at(buffer, position)[0] < _SLACK // 2):
                start = position + (1 if code == _SHORT_TEXT else 4)
                position = start + (buffer[position] if code == _SHORT_TEXT else uint_at(buffer, position)[0])
                raw = buffer[start:position]
                text = texts.get(raw)
                if text is None:
                    text = texts[raw] = raw.decode("utf-8", "surrogatepass")
                stack.append(text)
            elif code == _PUT and type(stack[-1]) is str and uint_at(buffer, position)[0] == len(memo):
                memo.append(stack[-1])
                position += 4
            elif code == _MEMOIZE and type(stack[-1]) is str:
                memo.append(stack[-1])
            elif code == _GET:
                stack.append(self._recall(uint_at(buffer, position)[0]))
                position += 4
            elif code == _STOP:
                self._position = position
                return
            else:
                self._position = position
                instruction = _RARE.get(code)
                if instruction is None:
                    raise pickle.UnpicklingError(f"it holds the instruction {code:#04x}, which official files do not")
                instruction(self)
                stack, buffer, position = self._stack, self._buffer, self._position
                limit = len(buffer) - (0 if self._ended else _SLACK)

    def _fill(self, size: int) -> None:
        """Have ``size`` bytes ahead, or all there are."""
        parts = [self._buffer[self._position :]]
        ahead = len(parts[0])
        while ahead < size and not self._ended:
            part = self._stream.read(max(_CHUNK, min(size - ahead, 64 * _CHUNK)))
            self._ended = not part
            ahead += len(part)
            parts.append(part)
        self._buffer, self._position = b"".join(parts), 0

    def _take(self, size: int) -> bytes:
        """The next ``size`` bytes."""
        if size > _LONGEST:
            raise pickle.UnpicklingError(f"it announces {size:,} bytes in one piece")
        if self._position + size > len(self._buffer):
            self._fill(size)
            if size > len(self._buffer):
                raise EOFError("it ends too early")
        self._position += size
        return self._buffer[self._position - size : self._position]

    def _number(self, width: int) -> int:
        return int.from_bytes(self._take(width), "little")

    def _line(self) -> str:
        end = self._buffer.index(b"\n", self._position)
        return self._take(end + 1 - self._position)[:-1].decode()

    def _push(self, value: Any) -> None:
        self._stack.append(value)

    def _mark(self) -> None:
        self._below.append(self._stack)
        self._stack = []

    def _items(self) -> list[Any]:
        """What stands above the last mark, which goes."""
        items, self._stack = self._stack, self._below.pop()
        return items

    def _remember(self, place: int) -> None:
        value = self._stack[-1]
        if place == len(self._memo):
            self._memo.append(value)
        else:
            self._memo[place] = value
        if type(value) in _CONTAINERS:
            self._young.append(place)

    def _recall(self, place: int) -> Any:
        value = self._memo[place]
        if value is _RELEASED:
            raise pickle.UnpicklingError("it uses a part of one training again in another, which official files do not")
        return value

    def _set_items(self, items: list[Any]) -> None:
        target = self._container(dict)
        target.update(zip(items[::2], items[1::2], strict=True))
        replacement = self._fold(target)
        if replacement is not None:
            target.clear()
            target.update(replacement)
            self._release_inside(target)

    def _release_inside(self, outer: dict[Any, Any]) -> None:
        young, memo = self._young, self._memo
        start = next((i for i in reversed(range(len(young))) if memo[young[i]] is outer), len(young))
        for place in young[start + 1 :]:
            if len(memo[place]) > _SMALL:
                memo[place] = _RELEASED
        del young[start + 1 :]

    def _set_item(self) -> None:
        value, key = self._stack.pop(), self._stack.pop()
        self._set_items([key, value])

    def _append(self) -> None:
        self._extend([self._stack.pop()])

    def _extend(self, items: list[Any]) -> None:
        self._container(list).extend(items)

    def _add(self, items: list[Any]) -> None:
        self._container(set).update(items)

    def _container(self, kind: type) -> Any:
        """The top of the stack, which must be of a kind: methods of anything else are not called."""
        if type(self._stack[-1]) is not kind:
            raise pickle.UnpicklingError(f"it fills a {type(self._stack[-1]).__name__} as if it were a {kind.__name__}")
        return self._stack[-1]

    def _tuple(self, size: int) -> None:
        self._stack[-size:] = [tuple(self._stack[-size:])]

    def _reduce(self) -> None:
        arguments, name = self._stack.pop(), self._stack.pop()
        if type(name) is not Name:
            raise pickle.UnpicklingError("it calls something that is not a name")
        self._push(name.make(*arguments))

    def _build(self) -> None:
        state, target = self._stack.pop(), self._stack[-1]
        if type(target) is DType:
            target.restore(state)
        elif type(target) is not Ignored:
            raise pickle.UnpicklingError(f"it sets the state of a {type(target).__name__}")

    def _stack_name(self) -> None:
        name, module = self._stack.pop(), self._stack.pop()
        self._push(find(module, name))

    def _persistent(self) -> None:
        # A tensor's storage, kept elsewhere in the file.
        self._stack[-1] = Ignored()


def _one_line(error: Exception) -> str:
    # The text may quote the file; what cannot be printed is escaped.
    return " ".join(str(error).split()).encode("ascii", "backslashreplace").decode()[:200]


def _signed(data: bytes) -> int:
    return int.from_bytes(data, "little", signed=True)


_RARE: dict[int, Callable[[PickleReader], Any]] = {
    code[0]: instruction
    for code, instruction in {
        pickle.PROTO: lambda r: r._take(1),
        pickle.FRAME: lambda r: r._take(8),
        pickle.MARK: PickleReader._mark,
        pickle.NONE: lambda r: r._push(None),
        pickle.NEWTRUE: lambda r: r._push(True),
        pickle.NEWFALSE: lambda r: r._push(False),
        pickle.BININT: lambda r: r._push(_signed(r._take(4))),
        pickle.BININT2: lambda r: r._push(r._number(2)),
        pickle.LONG1: lambda r: r._push(_signed(r._take(r._number(1)))),
        pickle.BINUNICODE: lambda r: r._push(r._take(r._number(4)).decode("utf-8", "surrogatepass")),
        pickle.BINUNICODE8: lambda r: r._push(r._take(r._number(8)).decode("utf-8", "surrogatepass")),
        pickle.SHORT_BINBYTES: lambda r: r._push(r._take(r._number(1))),
        pickle.BINBYTES: lambda r: r._push(r._take(r._number(4))),
        pickle.BINBYTES8: lambda r: r._push(r._take(r._number(8))),
        pickle.EMPTY_DICT: lambda r: r._push({}),
        pickle.EMPTY_LIST: lambda r: r._push([]),
        pickle.EMPTY_SET: lambda r: r._push(set()),
        pickle.EMPTY_TUPLE: lambda r: r._push(()),
        pickle.TUPLE: lambda r: r._push(tuple(r._items())),
        pickle.TUPLE1: lambda r: r._tuple(1),
        pickle.TUPLE2: lambda r: r._tuple(2),
        pickle.TUPLE3: lambda r: r._tuple(3),
        pickle.SETITEM: PickleReader._set_item,
        pickle.SETITEMS: lambda r: r._set_items(r._items()),
        pickle.APPEND: PickleReader._append,
        pickle.APPENDS: lambda r: r._extend(r._items()),
        pickle.ADDITEMS: lambda r: r._add(r._items()),
        pickle.BINPUT: lambda r: r._remember(r._number(1)),
        pickle.LONG_BINPUT: lambda r: r._remember(r._number(4)),
        pickle.MEMOIZE: lambda r: r._remember(len(r._memo)),
        pickle.BINGET: lambda r: r._push(r._recall(r._number(1))),
        pickle.GLOBAL: lambda r: r._push(find(r._line(), r._line())),
        pickle.STACK_GLOBAL: PickleReader._stack_name,
        pickle.REDUCE: PickleReader._reduce,
        pickle.BUILD: PickleReader._build,
        pickle.BINPERSID: PickleReader._persistent,
    }.items()
}
