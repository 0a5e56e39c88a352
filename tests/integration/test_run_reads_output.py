"""`pcapdj run` while it reads what the analyzer extracted: millions of objects take minutes."""

import json
import os
import signal
from pathlib import Path

import pytest
from support.captures import classic
from support.forkserver import PIPE, clean_environment, run, start
from support.roles_rig import numbered

from pcapdj.runtime.errors import ExitCode

OBJECT = {
    "event_type": "fileinfo",
    "fileinfo": {"filename": "/x", "state": "CLOSED", "stored": True, "size": 7, "sha256": "0" * 64},
}


@pytest.mark.long
def test_a_stop_signal_ends_the_reading_and_the_record_says_so(tmp_path: Path) -> None:
    """What was fed stays; the rest of the output is named, and --resume reads it again."""
    capture, output, logdir = tmp_path / "1.pcap", tmp_path / "events", tmp_path / "out"
    capture.write_bytes(classic(numbered(1, 20)))
    output.write_text((json.dumps(OBJECT) + "\n") * 400_000)
    script = f'cat "$1" > /dev/null; cp {output} eve.json'
    words = ["--logdir", str(logdir), str(capture), "--", "sh", "-c", script, "x", "{pipe}"]

    for resume in ((), ("--resume",)):  # what is read again may be too much again
        screen, errors = stopped_while_it_reads("run", *resume, *words)

        assert "OBJECTS   the analyzer's output was not read to its end: stopped by the user" in screen
        assert f"To see all results, repeat the command with --logdir {logdir} --resume." in errors
        assert json.loads((logdir / "pcapdj.json").read_text())["complete"] is False

    output.write_text(json.dumps(OBJECT) + "\n")
    output.replace(logdir / "latest" / "eve.json")
    done = run("pcapdj", "run", "--resume", *words, env=clean_environment())

    assert done.returncode == ExitCode.OK
    assert "0 fed, 1 fed before" in done.stdout
    assert json.loads((logdir / "pcapdj.json").read_text())["complete"] is True


def stopped_while_it_reads(*words: str) -> tuple[str, str]:
    """Stop a run once it shows that it reads the analyzer's output; return what it printed."""
    with start("pcapdj", *words, stdout=PIPE, stderr=PIPE, env=clean_environment()) as process:
        assert process.stderr is not None
        shown = b""
        while b"MiB of the analyzer's output to look at ..\n" not in shown:
            more = os.read(process.stderr.fileno(), 4096)
            assert more, shown.decode()
            shown += more
        process.send_signal(signal.SIGTERM)
        screen, errors = process.communicate()
    assert process.returncode == ExitCode.INTERRUPTED
    return screen.decode(), errors.decode()
