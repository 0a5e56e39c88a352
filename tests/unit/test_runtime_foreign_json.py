"""JSON of other programs: bounded in size and depth, and one error for everything that is not valid."""

import json
import time
from contextlib import suppress

import pytest
from support.rows import each_row
from support.waiting import scaled

from pcapdj.runtime.foreign_json import MOST_BYTES, MOST_LEVELS, MOST_VALUES, decode_json, decode_object


def nested(levels: int, kind: str) -> str:
    """Return a value of so many lists or objects inside one another."""
    return "[" * levels + "]" * levels if kind == "lists" else '{"a":' * levels + "1" + "}" * levels


@each_row("kind", ["lists", "objects"])
@each_row("levels", [MOST_LEVELS + 1, 900, 3000, 100_000])
def test_what_is_too_deep_is_not_valid(levels: int, kind: str) -> None:
    """Also what Python decodes: to encode it again may be too deep."""
    with pytest.raises(ValueError, match=r"levels|values"):
        decode_json(nested(levels, kind))


@pytest.mark.parametrize("kind", ["lists", "objects"])
def test_as_deep_as_allowed_is_valid(kind: str) -> None:
    """Ours have a few levels."""
    text = nested(MOST_LEVELS - 1, kind)

    assert decode_json(text) == json.loads(text)


@each_row(
    "text",
    [
        *(None, "", b"", "{", b"\xff", "nothing", "9" * 5000, '"' + "a" * MOST_BYTES + '"'),
        *("NaN", "[-Infinity]", "1e999", "[1" + "0" * 310 + "]"),
    ],
    ids=[
        *("absent", "empty text", "empty", "cut", "no text", "no JSON", "a long number", "a long text"),
        *("NaN", "infinity", "beyond a float", "a whole number beyond a float"),
    ],
)
def test_what_is_no_json_is_not_valid(text: str | bytes | None) -> None:
    """The caller has one error to catch."""
    with pytest.raises(ValueError):  # noqa: PT011 - any message
        decode_json(text)


@each_row("text", ['"\\ud800"', '{"\\uDFFF": 1}', '["a", "\ud800"]', b'"\xed\xa0\x80"'])
@each_row("encoding", ["", "utf-16-le"])
def test_half_a_surrogate_pair_is_not_valid(text: str | bytes, encoding: str) -> None:
    """It cannot be encoded again, so whoever shows, logs or opens it would fail."""
    wide = text.encode(encoding, "surrogatepass") if encoding and isinstance(text, str) else text
    with pytest.raises(ValueError):  # noqa: PT011 - any message
        decode_json(wide)


def test_other_texts_that_are_not_ascii_are_valid() -> None:
    """A whole pair, and a byte of a file name that is not UTF-8."""
    for text in ("\U0001f600", "ä", "\udcff", "\x00"):
        assert decode_json(json.dumps(text)) == decode_json(json.dumps(text, ensure_ascii=False)) == text


@pytest.mark.parametrize("value", ["[]", "{}", "0", '{"a":[]}', "[[]]"])
def test_what_has_too_many_values_is_not_valid(value: str) -> None:
    """Two bytes are sixty in memory."""
    text = f"[{','.join([value] * (MOST_VALUES + 1))}]"

    with pytest.raises(ValueError, match="more than 32768 values"):
        decode_json(text)
    with pytest.raises(ValueError, match="more than 32768 values"):
        decode_json(text.encode())
    assert len(decode_json(f"[{','.join(['0'] * (MOST_VALUES - 1))}]")) == MOST_VALUES - 1


@pytest.mark.parametrize("text", ["," * 100_000, "[{" * 100_000, '\\",' * 100_000])
def test_what_stands_inside_of_a_text_is_no_value(text: str) -> None:
    """An alert has the payload of its packet as a text."""
    assert decode_json(json.dumps({"payload": text})) == {"payload": text}


@pytest.mark.parametrize("unit", ['\\"', '"', "\\", '","', '"\\', "[", '{"', '\\\n"'])
@pytest.mark.parametrize("first", ["", '"', "["])
def test_a_text_costs_no_more_than_its_length(first: str, unit: str) -> None:
    """Also one that ends inside of quotes: a line of a megabyte could take half an hour."""
    text = "," * (MOST_VALUES + 1) + first + unit * ((MOST_BYTES - MOST_VALUES - 2) // len(unit))
    began_s = time.process_time()

    with suppress(ValueError):
        decode_json(text)

    assert time.process_time() - began_s < scaled(2)


def test_a_caller_sets_another_size() -> None:
    """A file with a million results is longer than a value in Redis."""
    text = '"' + "a" * MOST_BYTES + '"'

    assert len(decode_json(text, most_bytes=2 * MOST_BYTES)) == MOST_BYTES


@each_row("text", ["[]", "1", "null", '"a"'])
def test_an_object_is_what_most_callers_need(text: str) -> None:
    """Everything else is not valid for them."""
    assert decode_object('{"a": [1]}') == {"a": [1]}
    with pytest.raises(ValueError, match="not an object"):
        decode_object(text)
