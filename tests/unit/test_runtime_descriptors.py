"""Descriptors that arrive over a socket belong to the process that receives them alone."""

import os
import socket
import subprocess
from collections import deque
from itertools import count

import pytest

from pcapdj.runtime.descriptors import receive_descriptors, send_descriptors


def test_no_program_inherits_a_received_descriptor() -> None:
    """Else whatever is started next keeps the reader of a pipe from the end of its input."""
    reading, writing = os.pipe()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        send_descriptors(theirs, b"+", [writing])
        os.close(writing)
        content, [received], is_cut = receive_descriptors(ours, 1, 1)

    shown = subprocess.run(["ls", "/proc/self/fd"], close_fds=False, capture_output=True, check=True).stdout

    assert (content, is_cut) == (b"+", False)
    assert b"%d" % received not in shown.split()
    os.close(received)
    os.close(reading)


def test_neither_direction_waits() -> None:
    """Also over a socket that blocks: the other end may be any program of this user."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        with pytest.raises(BlockingIOError):
            receive_descriptors(ours, 1, 1)
        with pytest.raises(BlockingIOError):
            deque((send_descriptors(ours, bytes(4096), []) for _ in count()), maxlen=0)


def test_more_than_fits_is_reported() -> None:
    """Of a message with too many bytes or descriptors only a part arrives."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        send_descriptors(theirs, b"++", [])
        assert receive_descriptors(ours, 1, 1).is_cut
        send_descriptors(theirs, b"+", [0, 1, 2, 0])
        received = receive_descriptors(ours, 1, 1)
        assert received.is_cut
    for each in received.descriptors:
        os.close(each)
