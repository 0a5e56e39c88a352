"""One import: what `pcapdj import` does without `--watch`.

It ends with 0; with 1 if something that was given by its name could not be queued (the rest was); with 69 if
Redis was away for three seconds. Repeating it after any end queues nothing twice.
"""

import time
from collections import Counter
from collections.abc import Sequence

import typer

from pcapdj.inbox.listing import Order, Tracked, capture_files, refusal_sentences
from pcapdj.runtime.errors import ExitCode, StoreUnavailable
from pcapdj.runtime.safe_text import printable_sentence
from pcapdj.runtime.signals import HasFileno
from pcapdj.store.client import COMMAND_TIMEOUT_S, Store
from pcapdj.store.enqueue import Outcome, enqueue_new
from pcapdj.store.retrying import RetryingStore


class _Sleep:
    """The pause between two calls; Ctrl-C ends this command as any other."""

    def wait(self, timeout_s: float, *_readable: HasFileno | int, stops: int = 1) -> None:  # noqa: ARG002 - as `Waits`
        time.sleep(timeout_s)


def import_once(  # noqa: PLR0913 - the command's options
    store: Store,
    paths: Sequence[bytes],
    order: Order,
    *,
    recursive: bool = False,
    again: bool = False,
    tracked: Tracked = iter,
) -> ExitCode:
    """Queue the captures among the paths and say how many; 1 if one given by name is not among them.

    Raises:
        StoreUnavailable: Redis was away for three seconds.
        As `Store.call`: other errors of Redis, at once.
    """
    retrying = RetryingStore(store, _Sleep(), None, retried=(StoreUnavailable,), limit_s=COMMAND_TIMEOUT_S)
    retrying.ping()
    listing = capture_files(paths, recursive=recursive, order=order, tracked=tracked)
    offered = {file.name: file.identity for file in listing.files}
    counts = Counter(enqueue_new(retrying, offered, again=again).values())
    for sentence in refusal_sentences(listing.refused):
        typer.echo(f"pcapdj import: {printable_sentence(sentence)}", err=True)
    typer.echo(_summary(counts, len(listing.refused)))
    return ExitCode.ERROR if any(refusal.is_asked_for for refusal in listing.refused) else ExitCode.OK


def _summary(counts: Counter[Outcome], refused: int) -> str:
    queued, known = counts[Outcome.NEW], counts.total() - counts[Outcome.NEW]
    fed = counts[Outcome.FED] + counts[Outcome.FED_MEANWHILE]
    hint = f" ({fed} fed before: --again feeds them again)" if fed else ""
    return f"{queued} queued, {known} known already{hint}, {refused} not imported."
