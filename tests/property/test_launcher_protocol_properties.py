"""The launcher's protocol decodes or refuses any bytes and any JSON."""

import json
from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st

from pcapdj.launcher_protocol import (
    KEYS,
    BadMessage,
    LauncherRequest,
    RequestType,
    decode_reply,
    decode_request,
    encode_request,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
FIELD = st.sampled_from(["word", "stream", "key", "note", "ok", "error", "entries", "pid"])
KNOWN = st.sampled_from([*RequestType, *KEYS]) | JSON


@given(st.binary(max_size=200), st.integers(0, 5))
def test_any_bytes_are_a_message_or_a_bad_one(message: bytes, descriptors: int) -> None:
    """There is one kind of error for all of them."""
    with suppress(BadMessage):
        decode_request(message, descriptors)
    with suppress(BadMessage):
        decode_reply(message)


@given(st.dictionaries(FIELD, KNOWN), st.integers(0, 2))
def test_any_object_with_our_fields_is_a_message_or_a_bad_one(
    fields: dict[str, object], descriptors: int
) -> None:
    """Right names with wrong values are refused; a decoded request is well-formed."""
    message = json.dumps(fields).encode()
    with suppress(BadMessage):
        request = decode_request(message, descriptors)
        assert descriptors == (request.type is RequestType.PUT)
        assert request.key in (*KEYS, "")
    with suppress(BadMessage):
        decode_reply(message)


@given(st.sampled_from(KEYS), st.text(min_size=1, max_size=64), st.dictionaries(st.text(), JSON, max_size=4))
def test_a_note_is_decoded_as_it_was_encoded(key: str, stream: str, note: dict[str, object]) -> None:
    """Also file names of any bytes, which are text with surrogates."""
    request = LauncherRequest(RequestType.PUT, stream, key, note)

    assert decode_request(encode_request(request), 1) == request
