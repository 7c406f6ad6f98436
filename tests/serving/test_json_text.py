import json
import math

import pytest

from serving.errors import ServingError
from serving.json_text import parse, parse_exactly, pretty

# Words and offsets as recorded from TensorFlow Serving (RapidJSON 1.1.0).
REFUSED = {
    b"": "The document is empty",
    b"{": "Missing a name for object member. at offset: 1",
    b'{"a": [1.0, 2.0,]}': "Invalid value. at offset: 16",
    b'{"a": [01]}': "Missing a comma or ']' after an array element. at offset: 8",
    b'{"a": [1] /* one */}': (
        "Missing a comma or '}' after an object member. at offset: 10"
    ),
    b'{"a" [1]}': "Missing a colon after a name of object member. at offset: 5",
    b'{"a": [5.]}': "Miss fraction part in number. at offset: 9",
    b'{"a": [1e400]}': "Number too big to be stored in double. at offset: 7",
    b'{"a": "\\ud800"}': "The surrogate pair in string is invalid. at offset: 7",
    b'{"a": "b': "Missing a closing quotation mark in string. at offset: 8",
    b'{"a": "\x01"}': "Invalid escape character in string. at offset: 7",
}


@pytest.mark.parametrize("body", REFUSED)
def test_refuses_with_the_words_and_offset_of_rapidjson(body):
    with pytest.raises(ServingError) as caught:
        parse(body)
    assert caught.value.message == f"JSON Parse error: {REFUSED[body]}"


def test_the_exact_parser_agrees_with_python():
    document = {
        "numbers": [0, -1, 1.5, -2e-3, 1e308, 2**63, -(2**63), 2**64 - 1],
        "words": [True, False, None, "", 'q"\\/\b\f\n\r\t', "é€😀\u2028\x7f"],
        "nested": [[], {}, [[1], {"a": {"b": [2]}}]],
    }
    for is_ascii in (True, False):
        text = json.dumps(document, ensure_ascii=is_ascii, indent=1).encode()
        assert parse_exactly(text) == document
        assert parse(text) == document


def test_reads_what_python_does_not():
    assert parse(b"[Inf, -Inf, Infinity]") == [math.inf, -math.inf, math.inf]
    assert parse(b'{"a": 1, "a": 2} xyz') == {"a": 1}
    assert parse(b"\xef\xbb\xbf [1]") == [1]
    assert parse(b'["\xff"]')[0].encode(errors="surrogateescape") == b"\xff"


def test_nests_deeper_than_the_stack():
    depth = 100_000
    value = parse(b"[" * depth + b"]" * depth)
    for _ in range(depth - 1):
        (value,) = value
    assert value == []


def test_prints_numbers_as_rapidjson_does():
    values = [100.0, 1e21, 1e20, 1.5e-7, 0.001, -2.5, 3, -0.0]
    want = "[100.0, 1e21, 100000000000000000000.0, 1.5e-7, 0.001, -2.5, 3, -0.0]"
    assert pretty(values) == want


def test_prints_objects_over_lines_and_lists_in_one():
    want = '{\n    "a": [{\n            "b": 1\n        }, 2]\n}'
    assert pretty({"a": [{"b": 1}, 2]}) == want
