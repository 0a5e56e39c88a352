"""The status screen shows whatever Redis holds."""

from hypothesis import given
from hypothesis import strategies as st

from pcapdj.console.status_lines import snapshot_lines

VALUES = st.one_of(
    st.text(max_size=20), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.none()
)
FIELDS = [
    *(
        "name",
        "state",
        "id",
        "dispatcher",
        "reason",
        "refused",
        "free_bytes",
        "needed_bytes",
        "path",
        "stale",
    ),
    *("since_s", "heartbeat_s", "heartbeat_age_s", "total_bytes", "done_bytes", "attempt", "restarts"),
    *("stream", "pid", "command", "logdir", "last_exit", "waiting_for"),
    *("jumps", "last_jump", "last_jump_name"),
    *("waiting", "written", "known", "skipped", "overlaps", "problem"),
]
HASHES = st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=8)
SNAPSHOTS = st.fixed_dictionaries(
    {},
    optional={
        "queued": VALUES,
        "gate": st.one_of(st.none(), HASHES),
        "consumer": st.one_of(st.none(), HASHES),
        "importer": st.one_of(st.none(), HASHES),
        "current": st.lists(HASHES, max_size=2),
        "dispatchers": st.lists(HASHES, max_size=2),
        "suspended": st.lists(VALUES, max_size=2),
    },
)


@given(snapshot=SNAPSHOTS, failures=st.lists(HASHES, max_size=2), now_s=st.floats(0, 1e10))
def test_any_snapshot_gives_printable_lines(
    snapshot: dict[str, object], failures: list[dict[str, object]], now_s: float
) -> None:
    """However partial or foreign the values, the screen is made of single, harmless lines."""
    lines = snapshot_lines(snapshot, failures, now_s)

    assert lines
    assert all(line.text.isprintable() for line in lines)
