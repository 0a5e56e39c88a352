"""`python -m bench.million`: each command in a lane with a million entries in every key.

Shows when a command gives its first output (also on stderr: a line about what takes long), how much CPU time
it has had by then, its peak memory, and the longest time for which one of its calls kept Redis from others.
A command that goes on for long is ended. On a busy machine the CPU time is the measure, not the wall time.
"""

import argparse
import os
import select
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import psutil

from bench.page import beside_limit, table
from bench.runs import environment
from bench.service import redis_in, scratch
from pcapdj.cli import MODULES
from pcapdj.runtime.process_tree import children_of
from pcapdj.store.client import COMMAND_TIMEOUT_S, Store
from pcapdj.store.journal_index import index_part
from pcapdj.store.keys import Keys

ENTRIES: Final = 1_000_000
FIRST_OUTPUT_LIMIT_S: Final = 0.5
PEAK_LIMIT_MB: Final = 80.0
CALL_LIMIT_MS: Final = 10.0
BEGIN_S: Final = 1_700_000_000  # 2023-11-14T22:13:20Z: entry N of the journal was written N seconds later
STREAM_FILES: Final = 1000
_BATCH: Final = 5000
_LOOK_S: Final = 0.02  # how often the memory of a command is looked at
_DISPATCHER: Final = "/run/pipe"

COMMANDS: Final = (
    "status --help",
    "status",
    "status --json",
    "check --monitor",
    "check",
    "metrics",
    "limits",
    "limits set min-free=1MiB --dry-run",
    "limits set min-free=1MiB",
    "limits unset min-free",
    "gate hold",
    "gate auto",
    "suspend",
    "resume",
    "skip x",
    "queue",
    "queue --json --most 0",
    "queue --from 999990",
    "queue remove {queued}500000.pcap --dry-run",
    "queue remove {queued}500001.pcap",
    "queue remove cap-500002.pcap",
    "queue remove *-5000?0.pcap",
    "queue first {queued}900000.pcap",
    "queue last {queued}400000.pcap",
    "failed",
    "failed --json",
    "failed /data/bad/500000.pcap",
    "failed 500000.pcap",
    "failed --retry /data/bad/500000.pcap",
    "failed --forget",
    "failed --retry",
    "journal",
    "journal --json",
    "journal --csv",
    "journal --print0",
    "journal --last 10",
    "journal --stream s500",
    "journal --verdict failed",
    "journal --times packets --since 2023-11-20T00:00 --until 2023-11-20T01:00",
    "journal /data/old/999999.pcap",
    "journal --stream none",
    "events --since 2023-11-01",
    "events --file /data/old/5.pcap",
    "events --file /data/old/5.pcap --json",
    "events --kind none --since 2023-11-01",
    "report",
    "report --stream s500",
    "whence --at 2023-11-20T00:00:00Z",
    "whence --stream s500 events.json",
    "whence events.json",
    "requeue --stream s999",
    "requeue --stream none",
    "requeue /data/old/500000.pcap",
    "requeue 500001.pcap",
    "requeue --since 2023-11-20 --until 2023-11-21",
    "reclaim --dry-run --reclaim delete --free 1MiB --root /data",
    "finish",
    "finish --now",
    "forget {dispatcher} --requeue",
)
WITHOUT_ENTRIES: Final = {
    "run": "its own Redis",
    "cat": "no Redis",
    "sample": "no Redis",
    "completion": "no Redis",
    "init": "no Redis",
    "up": "supervisord",
    "down": "supervisord",
    "restart": "supervisord",
    "import": "a role",
    "dispatch": "a role",
    "control": "a role",
    "consume": "a role",
}
_EVENT: Final = '{"event_type":"alert","pkt_src":"wire/pcap","pcap_cnt":1000,"alert":{"signature_id":1}}\n'


@dataclass(frozen=True, slots=True)
class Measured:
    """A command.

    Args:
        words: its command line.
        first_s: until its first output; infinite: it gave none.
        first_cpu_s: user and system time until then.
        peak_mb: resident memory.
        call_ms: the longest time of one of its calls in Redis.
        end: how it ended.
    """

    words: str
    first_s: float
    first_cpu_s: float
    peak_mb: float
    call_ms: float
    end: str

    @property
    def is_over(self) -> bool:
        """Whether it took more than the limits of first output and memory."""
        return self.first_s > FIRST_OUTPUT_LIMIT_S or self.peak_mb > PEAK_LIMIT_MB


def main() -> None:
    """Fill a lane, measure, print the table; exit with 1 if a command takes more than a limit allows."""
    options = _options()
    measured = {words.split()[0] for words in COMMANDS}
    if left_out := set(MODULES) - measured - set(WITHOUT_ENTRIES):
        sys.exit(f"Neither measured nor left out: {sorted(left_out)}")
    with scratch() as folder, redis_in(folder) as url:
        store = Store(url, Keys(), timeout_s=COMMAND_TIMEOUT_S * 20)
        begun_s = time.monotonic()
        _fill(store, options.entries)
        while options.index and index_part(store):
            pass
        info: Any = store.redis.info("memory")
        taken = f"{time.monotonic() - begun_s:.0f} s, {info['used_memory_human']}"
        print(f"{options.entries:,} entries in every key: {taken}", flush=True)
        (folder / "events.json").write_text(_EVENT)
        chosen = [words for words in COMMANDS if not options.only or options.only in words]
        results = []
        for words in chosen:
            results.append(_measure(store, folder, words, options.seconds))
            print(results[-1], file=sys.stderr, flush=True)
        store.close()
    print(million_table(results))
    missed = [each.words for each in results if each.is_over]
    print(f"Not measured: {', '.join(f'{name} ({why})' for name, why in WITHOUT_ENTRIES.items())}.")
    if missed:
        sys.exit(f"Over a limit: {'; '.join(missed)}")


def million_table(results: Sequence[Measured]) -> str:
    """Return the results beside the limits."""
    head = ["command", "first output, s", "CPU until then, s", "peak, MB", "longest call, ms", "end"]
    rows = [
        [
            f"`{each.words}`",
            beside_limit(each.first_s, FIRST_OUTPUT_LIMIT_S),
            f"{each.first_cpu_s:.2f}",
            beside_limit(each.peak_mb, PEAK_LIMIT_MB, "{:.0f}"),
            beside_limit(each.call_ms, CALL_LIMIT_MS, "{:.0f}"),
            each.end,
        ]
        for each in results
    ]
    return table(head, rows)


def _measure(store: Store, folder: Path, words: str, most_s: float) -> Measured:
    redis: Any = store.redis
    redis.config_set("slowlog-log-slower-than", 1000)
    redis.config_set("slowlog-max-len", 1000)
    redis.slowlog_reset()
    command = [
        sys.executable,
        "-m",
        "pcapdj",
        *shlex.split(words.format(queued="/data/captures/eth0-2026/cap-", dispatcher=_DISPATCHER)),
    ]
    begun_s = time.monotonic()
    process = subprocess.Popen(
        command,
        env=environment(PCAPDJ_REDIS_URL=store.url),
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    streams = [stream.fileno() for stream in (process.stdout, process.stderr) if stream]
    first_s, cpu_s, peak_mb = float("inf"), 0.0, 0.0
    while streams:
        peak_mb = max(map(_peak_mb, (process.pid, *children_of(process.pid)))) or peak_mb
        left_s = begun_s + most_s - time.monotonic()
        if left_s <= 0:
            os.killpg(process.pid, signal.SIGKILL)
            break
        for each in select.select(streams, [], [], min(left_s, _LOOK_S))[0]:
            if not (data := os.read(each, 1 << 16)):
                streams.remove(each)
            elif first_s == float("inf") and data:
                first_s, cpu_s = time.monotonic() - begun_s, _cpu_s(process.pid)
    _, status = os.waitpid(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    slowest_us = max((each["duration"] for each in redis.slowlog_get(1000)), default=0)
    took = f"{time.monotonic() - begun_s:.1f} s"
    end = f"ended after {took}" if process.returncode == -signal.SIGKILL else f"{process.returncode}, {took}"
    return Measured(words, first_s, cpu_s, peak_mb, slowest_us / 1000, end)


def _peak_mb(pid: int) -> float:
    """Return the most resident memory that a process has had since it was executed; 0: it has ended."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    return 0.0


def _cpu_s(pid: int) -> float:
    """Return the CPU time that a process and those below it have had."""
    total_s = 0.0
    with suppress(psutil.Error):
        process = psutil.Process(pid)
        for each in (process, *process.children(recursive=True)):
            with suppress(psutil.Error):
                total_s += sum(each.cpu_times()[:2])
    return total_s


def _fill(store: Store, entries: int) -> None:
    """Write so many entries into every key, each as the roles write it; Redis makes them itself."""
    keys, redis = store.keys, cast("Any", store.redis)
    hashes = (keys.counts, keys.output, keys.gate, keys.control, keys.consumer, keys.suspect, keys.skip)
    theirs = (keys.current(_DISPATCHER), keys.stats(_DISPATCHER))
    sets = (keys.dispatchers, keys.suspend, keys.finished, keys.auth)
    scripts = [
        (_FILES, (keys.in_queue, keys.queued, keys.processed, keys.failed, keys.failed_names, keys.fed)),
        (_FORGOTTEN, (keys.captures, keys.reclaimed, keys.next)),
        (_STREAMS, (keys.journal, keys.events, keys.samples, keys.samples_of(_DISPATCHER))),
        (_HASHES, (*hashes, keys.importer, keys.reclaiming, *theirs)),
        (_SETS, sets),
    ]
    for text, written in scripts:
        script = redis.register_script(text)
        for start in range(1, entries + 1, _BATCH):
            script(keys=written, args=[start, min(entries, start + _BATCH - 1), BEGIN_S, STREAM_FILES])
    redis.set(keys.state, "x" * entries)
    redis.set(keys.finish, "empty")
    redis.sadd(keys.dispatchers, _DISPATCHER)
    redis.hset(keys.queued, "", f"{entries} {entries} 0")
    redis.hset(keys.failed_names, "", "1")
    now_s = f"{time.time():.3f}"
    for key in (keys.gate, keys.consumer, keys.importer, keys.stats(_DISPATCHER)):
        redis.hset(key, mapping={"heartbeat_s": now_s, "state": "open", "limits": "{}"})


# Each script has its keys in the order of the names above, and the numbers ARGV[1] to ARGV[2] of the entries.
_FILES: Final = """
for n = tonumber(ARGV[1]), tonumber(ARGV[2]) do
    local queued, old = '/data/captures/eth0-2026/cap-' .. n .. '.pcap', '/data/old/' .. n .. '.pcap'
    local bad, time_s = '/data/bad/' .. n .. '.pcap', string.format('%.0f', ARGV[3] + n)
    local failure = '{"name": "' .. bad .. '", "reason": "is cut off", "offset": 1, "packets": 5, '
        .. '"attempt": 1, "time_s": ' .. time_s .. '}'
    redis.call('RPUSH', KEYS[1], queued)
    redis.call('HSET', KEYS[2], queued, n .. ' {"identity":[1,2,1000000,1],"first_bytes":0,"digest":""}')
    redis.call('RPUSH', KEYS[3], old)
    redis.call('RPUSH', KEYS[4], failure)
    redis.call('HSET', KEYS[5], bad, failure)
    redis.call('HSET', KEYS[6], old, '{"size_bytes": 1, "mtime_ns": 1, "dev": 1, "ino": ' .. n
        .. ', "result": "processed", "stream": "s' .. math.floor(n / ARGV[4]) .. '", "time_s": ' .. time_s
        .. ', "whole": true, "length_bytes": 1, "crc32": 1}')
end"""
_FORGOTTEN: Final = """
for n = tonumber(ARGV[1]), tonumber(ARGV[2]) do
    redis.call('HSET', KEYS[1], '1:' .. n, '{"length_bytes":1}')
    redis.call('HSET', KEYS[2], '/data/gone/' .. n .. '.pcap', '{"how":"removed"}')
    redis.call('RPUSH', KEYS[3], '/data/next/' .. n .. '.pcap')
end"""
_STREAMS: Final = """
for n = tonumber(ARGV[1]), tonumber(ARGV[2]) do
    local time_s = string.format('%.0f', ARGV[3] + n)
    local id = time_s .. '000-0'
    redis.call('XADD', KEYS[1], id, 'name', '/data/old/' .. n .. '.pcap', 'verdict', 'processed',
        'stream', 's' .. math.floor(n / ARGV[4]), 'packets', 1000, 'cap_lengths', 990000, 'lengths', 990000,
        'first_ts_ns', time_s .. '000000000', 'last_ts_ns', time_s .. '900000000',
        'first_packet', string.format('%.0f', 1 + n % ARGV[4] * 1000), 'fed_s', '0.1')
    redis.call('XADD', KEYS[2], id, 'kind', 'gate', 'role', 'controller', 'sentence', 'The gate is open.')
    redis.call('XADD', KEYS[3], id, '/', n)
    redis.call('XADD', KEYS[4], id, 'read_bytes', n)
end"""
_HASHES: Final = """
for n = tonumber(ARGV[1]), tonumber(ARGV[2]) do
    for _, key in ipairs(KEYS) do
        redis.call('HSET', key, 'x' .. n, '1')
    end
end"""
_SETS: Final = """
for n = tonumber(ARGV[1]), tonumber(ARGV[2]) do
    for _, key in ipairs(KEYS) do
        redis.call('SADD', key, 'x' .. n)
    end
end"""


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.million", description=__doc__)
    parser.add_argument("--entries", type=int, default=ENTRIES, help="in every key")
    parser.add_argument("--seconds", type=float, default=20.0, help="after which a command is ended")
    parser.add_argument("--only", default="", help="commands that have this text")
    parser.add_argument(
        "--without-index", dest="index", action="store_false", help="the journal of an earlier version"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
