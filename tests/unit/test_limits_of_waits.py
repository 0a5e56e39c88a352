"""How long processes wait, and how much of a list a person gets: short enough for what is promised of it.

A wait that is longer breaks a promise that no test with processes can measure on a busy machine; one that is
not above zero keeps a processor busy.
"""

from importlib import import_module

from support.rows import each_row

# module, name, least, most, and why
WAITS = [
    ("feed.analyzer_link", "_RETRY_S", 0.05, 0.5, "a launcher that starts is noticed within half a second"),
    ("feed.authorization", "_REANNOUNCE_S", 29.5, 30, "a controller that died has lost the request"),
    ("feed.authorization", "_POLL_S", 0.05, 0.25, "the original's controller sends no message"),
    ("feed.batches", "_RETRY_S", 0.1, 1, "work goes on within a second once there is memory"),
    ("feed.interrupts", "CHECK_S", 0.05, 0.25, "a stop signal ends every wait within a second"),
    ("feed.known_captures", "_SLOW_S", 1.5, 2.5, "a comparison of some GB takes seconds, others no time"),
    ("feed.launcher_client", "_REPLY_LIMIT_S", 1.5, 2.5, "a launcher that was swapped out is not lost"),
    ("feed.launcher_client", "_POLL_S", 0.05, 0.25, "a stop signal ends every wait within a second"),
    ("feed.launcher_client", "_SLOW_START_S", 0.5, 1, "what is waited for is shown within a second or two"),
    ("feed.manual_link", "_POLL_S", 0.05, 0.25, "a reader that opens the pipe is noticed at once"),
    ("feed.output_space", "_POLL_S", 0.05, 0.5, "a stream ends within half a second once there is room"),
    ("feed.pipe", "_SHORTEST_POLL_S", 0.0001, 0.001, "a drained pipe is noticed within milliseconds"),
    ("feed.pipe", "_LONGEST_POLL_S", 0.001, 0.02, "a drained pipe is noticed within milliseconds"),
    ("feed.pipe", "_WAIT_LIMIT_S", 0.05, 0.25, "a suspension is noticed within half a second"),
    ("feed.pipe", "_LONGEST_PAUSE_MS", 16, 16, "a quick analyzer empties a pipe of 1 MiB in more than that"),
    ("feed.pipe", "_CHECK_S", 0.05, 0.25, "a launcher that stops waits a second for its dispatcher"),
    ("feed.pipe", "_ASK_S", 0.5, 1, "an analyzer that has died is noticed within two seconds"),
    ("feed.poison", "_POLL_S", 0.1, 0.5, "an operator's skip ends the hold within a second"),
    ("feed.reporter", "_POLL_S", 0.05, 0.25, "a suspension is noticed within half a second"),
    ("feed.reporter", "_REPORT_S", 0.5, 1, "screens show a heartbeat that is older than 5 s as stale"),
    ("feed.reporter", "_STOP_LIMIT_S", 0.1, 0.2, "a stop takes a second at most, also if Redis hangs"),
    ("feed.storage", "_POLL_S", 0.1, 0.5, "a disk that is mounted again is noticed within a second"),
    ("feed.streams", "HEADER_SETTLE_S", 0.3, 0.5, "Suricata 8.0.0 drops what comes sooner"),
    ("feed.streams", "STOP_GRACE_S", 0.4, 0.6, "a stop takes a second at most"),
    ("store.registration", "_LOOKS", 13, 20, "a dispatcher that lives reports three times meanwhile"),
    ("store.registration", "_LOOK_S", 0.1, 0.5, "each heartbeat is seen"),
    ("commands.check", "_ANSWER_S", 4.5, 5, "a program that hangs does not keep the screen from coming"),
    ("commands.down", "STOP_S", 180, 180, "supervisord waits 150 s for the analyzer"),
    ("commands.events", "_EVERY_S", 0.1, 0.5, "events --follow shows an event within a second"),
    ("commands.events", "_DAY_S", 86_400, 86_400, "without --since events shows the last day"),
    ("commands.limits", "_ANSWER_S", 1.5, 2, "a controller looks every second"),
    ("commands.limits", "_LOOK_S", 0.01, 0.1, "the command ends when the controller has answered"),
    ("commands.metrics", "_WAIT_S", 60, 3600, "it only waits for a signal"),
    ("commands.metrics_server", "_GRACE_S", 0.05, 0.5, "a slow client keeps its place this long"),
    ("commands.metrics_server", "_TIMEOUT_S", 9.5, 10, "Prometheus's own time-out is 10 s"),
    ("commands.reclaim", "_SETTLES_S", 4.5, 5, "a file system frees what was removed within seconds"),
    ("commands.reclaim", "_LOOK_S", 0.05, 0.25, "a round ends when there is room"),
    ("commands.skip", "_EFFECT_S", 2.5, 3, "a dispatcher looks every 0.2 s, and may be slow"),
    ("commands.skip", "_SOON_S", 0.4, 0.6, "a suspended dispatcher skips the file later"),
    ("commands.skip", "_LOOK_S", 0.01, 0.1, "the command ends when the file is skipped"),
    ("commands.status", "_EVERY_S", 0.5, 1, "status --watch shows what is published once a second"),
    ("commands.status", "_AVERAGED_S", 120, 120, "files differ: a mean of two minutes"),
    (
        "commands.supervisord_socket",
        "ANSWER_S",
        9.5,
        10,
        "supervisord answers between two things that it does",
    ),
    ("commands.supervised", "_BEGIN_S", 10, 30, "somebody waits for it"),
    ("commands.supervised", "_START_S", 9.5, 10, "a role that ends early was tried four times by then"),
    ("commands.supervised", "_LOOK_S", 0.05, 0.25, "up ends when all roles run"),
    ("commands.up", "_REPORT_S", 29.5, 30, "a role reports a second after its start on a quiet machine"),
    ("commands.up", "_LOOK_S", 0.05, 0.25, "up ends when all roles have reported"),
    ("console.slow_work", "_AFTER_S", 0.05, 0.15, "a command shows something within half a second"),
    ("console.slow_work", "_EVERY_S", 0.1, 0.25, "a person sees that it goes on"),
    ("console.monitor_rules", "STALE_AFTER_S", 5, 5, "each role reports once a second"),
    ("console.monitor_rules", "_LONG_SILENCE_S", 60, 60, "a restart takes seconds"),
    ("console.status_lines", "_RECLAIM_IS_OLD_S", 900, 900, "a round comes every ten minutes"),
    ("console.trend_lines", "SPAN_S", 1800, 1800, "48 half hours are a day"),
    ("console.waiting_lines", "STALLED_S", 60, 60, "an analyzer that writes its output pauses for seconds"),
    ("console.disk_lines", "_SLOWEST", 86_400 * 30, 86_400 * 30, "a limit further away than a month"),
    (
        "analyzer.process",
        "_END_GRACE_S",
        0.5,
        5,
        "a debugger asks for an end before; a stream ends all the same",
    ),
    (
        "analyzer.user",
        "_ANSWER_LIMIT_S",
        1,
        5,
        "a busy machine answers before; the launcher starts, or says why not",
    ),
    ("runtime.leftover_processes", "_LOOK_LIMIT_S", 0.1, 0.5, "a process that answers has done so before"),
    (
        "runtime.leftover_processes",
        "_SEARCH_LIMIT_S",
        2,
        10,
        "a role starts within seconds whatever others do",
    ),
    ("consumer_launcher", "_TICK_S", 0.5, 1, "screens show a heartbeat that is older than 5 s as stale"),
    ("consumer_launcher", "_LEAVE_LIMIT_S", 4.5, 5, "a dispatcher looks every quarter of a second"),
    ("consumer_launcher", "_KILL_LIMIT_S", 0.5, 1, "a second stop signal ends the launcher at once"),
    ("consumer_launcher", "_KILL_POLL_S", 0.001, 0.1, "a second stop signal ends the launcher at once"),
    ("consumer_launcher", "_SLOW_START_S", 60, 60, "Suricata with many rules takes that long"),
    ("dispatcher", "IDLE_POLL_S", 0.1, 0.5, "the original's import sends no message"),
    ("importer", "_POLL_S", 0.5, 1, "a file in the inbox is queued a second after it has settled"),
]

# module, name, value: what screens, notes and requests have at most
LIMITS = [
    ("feed.output_space", "_REASON_LIMIT_BYTES", 1000),
    ("feed.poison", "POISON_DEATHS", 3),
    ("feed.poison", "POISON_FILES", 3),
    ("feed.progress", "_NAME_LIMIT_BYTES", 255),
    ("feed.reading_mark", "_TOKEN_CHARS", 64),
    ("feed.start_point", "_MOST_STREAMS", 100),
    ("feed.storage", "_TRIES", 3),
    ("feed.suspension", "_SHOWN_CHARS", 4200),
    ("commands.forget", "_MOST_SHOWN", 10),
    ("commands.journal", "_MOST_LAST", 10_000),
    ("commands.metrics", "_MOST_LANES", 1000),
    ("commands.metrics_server", "_MOST_CONNECTIONS", 16),
    ("commands.metrics_server", "_MOST_BYTES", 16_384),
    ("commands.monitor", "_MOST_BYTES", 1_048_576),
    ("commands.queue", "_MOST_SHOWN", 50),
    ("commands.queue", "_MOST_MOVED", 10_000),
    ("commands.queue", "_MOST_IN_JOURNAL", 1000),
    ("commands.queue", "_MOST_NAMED", 10),
    ("commands.reclaim", "_NICE", 10),
    ("reclaim.recovery", "MOST_NOTES", 10),
    ("trace.timeline", "_LIMIT_NS", 1 << 63),
    ("commands.report", "_MOST_SHOWN", 1000),
    ("commands.requeue", "_AT_ONCE", 100),
    ("commands.requeue", "_MOST_NAMED", 10),
    ("commands.settings", "_WIDTH", 100),
    ("commands.settings_in_force", "_MOST_BYTES", 262_144),
    ("commands.settings_in_force", "_LONGEST", 24),
    ("commands.status", "_LAST_FAILURES", 3),
    ("commands.status", "_MOST_RATES", 20),
    ("commands.supervised", "_LAST_LINE_BYTES", 400),
    ("commands.supervised", "_MOST_CONF_BYTES", 1_048_576),
    ("commands.whence", "_FEWEST", 500),
    ("commands.whence", "_MOST", 16_000),
    ("commands.whence", "_MOST_HOSTS", 2),
    ("commands.whence", "_MOST_CUT", 10_000),
    ("console.disk_lines", "_BAR_WIDTH", 60),
    ("console.dispatcher_lines", "_BAR_WIDTH", 24),
    ("console.dispatcher_lines", "_NAME_WIDTH", 64),
    ("console.event_lines", "_SHOWN", 6),
    ("console.event_lines", "_VALUE_CHARS", 120),
    ("console.event_lines", "_ROLE_WIDTH", 10),
    ("console.metrics", "_MOST_DISKS", 100),
    ("console.metrics", "_LABEL_CHARS", 200),
    ("console.monitor_rules", "_MOST_FINDINGS", 5),
    ("console.monitor_rules", "_MOST_DISKS", 40),
    ("console.monitor_rules", "_SENTENCE_CHARS", 200),
    ("console.monitor_rules", "_LABEL_CHARS", 60),
    ("console.screen", "_LINE_LIMIT_CHARS", 16_000),
    ("console.folding", "_INDENT", 4),
    ("console.folding", "_LEAST_COLUMNS", 40),
    ("console.slow_work", "_FEW", 5000),
    ("console.snapshot_fields", "_LARGEST", 1 << 63),
    ("console.status_lines", "_STREAM_LIMIT_CHARS", 64),
    ("console.status_lines", "_MOST_DISKS", 6),
    ("console.status_lines", "_MOST_SUSPECTS", 3),
    ("console.trend_lines", "_COLUMNS", 48),
    ("consumer_launcher", "_MOST_SHOWN", 5),
    ("launcher_protocol", "MESSAGE_LIMIT_BYTES", 65_536),
    ("launcher_protocol", "PROTOCOL_VERSION", 4),
    ("launcher_protocol", "DESCRIPTOR_LIMIT", 6),
    ("launcher_protocol", "NOTE_BYTES", 4096),
    ("launcher_protocol", "RECORD_BYTES", 2048),
    ("launcher_protocol", "CHECKSUM_BYTES", 4),
    ("launcher_protocol", "_STREAM_ID_LIMIT", 64),
]


@each_row("module, name, least, most, reason", WAITS)
def test_every_wait_is_short_enough_for_its_promise_and_never_zero(
    module: str, name: str, least: float, most: float, reason: str
) -> None:
    """Between these two values the promise holds, and the process sleeps."""
    value = getattr(import_module(f"pcapdj.{module}"), name)

    assert least <= value <= most, reason


@each_row("module, name, value", LIMITS)
def test_screens_notes_and_requests_have_the_documented_sizes(module: str, name: str, value: int) -> None:
    """A message of the launcher has room for them, a terminal of 80 columns for a screen."""
    assert getattr(import_module(f"pcapdj.{module}"), name) == value
