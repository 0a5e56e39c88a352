"""`pcapdj metrics`: the state and the sums of lanes for Prometheus, served, as a text file, or printed once.

prometheus-client writes the text. The server (`metrics_server`) listens on the loopback device if only a
port is named.
"""

import os
import stat
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Final

import typer
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from pcapdj import __version__
from pcapdj.commands.metrics_server import MetricsServer
from pcapdj.commands.monitor import expected_roles
from pcapdj.console.metrics import FAMILIES, LaneReading, MetricSample, lane_samples
from pcapdj.console.screen import print_lines
from pcapdj.runtime.command import lines_of, new_app
from pcapdj.runtime.errors import CannotCreate, ConfigError, PcapdjError
from pcapdj.runtime.numbers import whole_number
from pcapdj.runtime.safe_text import quoted
from pcapdj.runtime.signals import handled
from pcapdj.runtime.whole_file import write_whole
from pcapdj.store.client import Store
from pcapdj.store.failure_kinds import KINDS
from pcapdj.store.lane_totals import queue_size, read_counts
from pcapdj.store.options import PasswordFile, RedisUrl, open_store
from pcapdj.store.snapshot import read_snapshot

_LOOPBACK: Final = "127.0.0.1"
_MOST_LANES: Final = 1000
_LARGEST_PORT: Final = 65_535
_WAIT_S: Final = 3600.0

app = new_app()


@app.command()
def metrics(
    *,
    listen: Annotated[
        str,
        typer.Option(
            "--listen",
            metavar="[HOST:]PORT",
            help=f"serve them; without a host on {_LOOPBACK} only",
        ),
    ] = "",
    textfile: Annotated[
        Path | None,
        typer.Option(
            "--textfile",
            help="write them once, for the textfile collector of node_exporter",
        ),
    ] = None,
    redis_url: RedisUrl = "",
    redis_password_file: PasswordFile = None,
    lane: Annotated[
        list[str],
        typer.Option(
            "--lane",
            default_factory=lines_of("PCAPDJ_LANE"),
            help="a lane; repeatable, or one per line in PCAPDJ_LANE",
            show_default=False,
        ),
    ],
) -> None:
    """Show the lane as metrics for Prometheus; without an option, print them."""
    if listen and textfile:
        raise ConfigError("--listen and --textfile exclude each other.")
    if len(lane) > _MOST_LANES:
        raise ConfigError(f"{len(lane)} lanes are more than {_MOST_LANES}.")
    address = _address(listen) if listen else None
    stores = [open_store(redis_url, redis_password_file, each) for each in lane or [""]]
    registry = CollectorRegistry()
    registry.register(LaneCollector(stores))
    if address:
        _serve(address, registry)
    elif textfile:
        _write(textfile, registry)
    else:
        sys.stdout.buffer.write(generate_latest(registry))  # UTF-8, whatever the locale is


class LaneCollector:
    """Reads the lanes for each scrape.

    Args:
        stores: a lane each; used by one thread at a time.
    """

    def __init__(self, stores: Sequence[Store]) -> None:
        self._stores = stores
        self._lock = threading.Lock()

    def describe(self) -> Iterable[Metric]:
        """Return nothing: registering reads no lane."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Yield each metric with the samples of all lanes."""
        families = dict[str, Metric]()
        with self._lock:
            for store in self._stores:
                lane = store.keys.lane
                for sample in _samples_of(store):
                    labels = ["lane", *sample.labels]
                    if sample.name not in families:
                        families[sample.name] = _family(sample.name, labels)
                    families[sample.name].add_metric([lane, *sample.labels.values()], float(sample.value))  # type: ignore[attr-defined]  # both families have it
        build = GaugeMetricFamily("pcapdj_build_info", "The version of pcapdj.", labels=["version"])
        build.add_metric([__version__], 1)
        yield build
        yield from families.values()


def _samples_of(store: Store) -> Iterable[MetricSample]:
    try:
        now_s = time.time()
        snapshot, queue = read_snapshot(store, now_s), queue_size(store)
        counts = read_counts(store)
    except PcapdjError:
        return [MetricSample("pcapdj_redis_up", {}, 0)]
    expected = expected_roles(store.url, snapshot)
    reading = LaneReading(snapshot, counts, queue.size_bytes, queue.oldest_s, expected, KINDS, now_s)
    return lane_samples(reading)


def _family(name: str, labels: Sequence[str]) -> Metric:
    kind = CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily
    return kind(name, FAMILIES[name], labels=labels)


def _address(text: str) -> tuple[str, int]:
    """Return host and port.

    Raises:
        ConfigError: it is neither PORT nor HOST:PORT.
    """
    host, _, digits = text.rpartition(":")
    port = whole_number(digits)
    if port is None or port > _LARGEST_PORT or text.startswith(":"):
        raise ConfigError(
            f"--listen: {text!r} is not [HOST:]PORT.", hint=f"Write {_LOOPBACK}:9108, for example."
        )
    return host.removeprefix("[").removesuffix("]") or _LOOPBACK, port


def _serve(address: tuple[str, int], registry: CollectorRegistry) -> None:
    """Serve the metrics until a stop signal.

    Raises:
        CannotCreate: the address cannot be used.
        Stopped: a stop signal arrived.
    """
    host, port = address
    with handled() as signals:
        try:
            server = MetricsServer(host, port, registry)
        except (OSError, OverflowError, UnicodeError) as exc:
            reason = exc.strerror if isinstance(exc, OSError) else str(exc)
            raise CannotCreate(
                f"{quoted(host)}, port {port}: the metrics cannot be served: {reason}."
            ) from exc
        threading.Thread(target=server.serve_forever, daemon=True).start()
        print_lines(f"Serving metrics at {host}, port {server.port}.", to_stderr=True)
        while True:
            signals.wait(_WAIT_S)


def _write(path: Path, registry: CollectorRegistry) -> None:
    """Replace the file, or a link to one; its reader finds the old one or the new one whole.

    What is being written has a name that node_exporter does not read: it reads hidden files, too, but only
    `*.prom`. Two processes at a time have two names.

    Raises:
        CannotCreate: it cannot be written.
    """
    try:
        if _is_of_the_system(path):
            raise CannotCreate(f"{quoted(str(path))} is no file that could be replaced.")
        new = f".{path.name}.{os.getpid()}"
        write_whole(path, generate_latest(registry), is_synced=False, hidden=new)
    except OSError as exc:
        raise CannotCreate(f"{quoted(str(path))} cannot be written: {exc.strerror}.") from exc


def _is_of_the_system(path: Path) -> bool:
    """Report whether it is a device, a pipe, or /dev/stdout: root would replace it for all programs."""
    try:
        is_stream = path.is_symlink() and path.readlink().is_relative_to("/proc")
        return is_stream or not stat.S_ISREG(path.stat().st_mode)
    except FileNotFoundError:  # also a link that leads nowhere
        return False
