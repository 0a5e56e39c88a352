"""`python -m bench`: builds the captures, measures, prints the tables; `--write` puts them into the docs."""

import argparse
import compileall
from collections.abc import Sequence
from pathlib import Path

from bench import page
from bench.captures import build_in_process
from bench.identity import checks_ms
from bench.queue import measure_long_queue
from bench.runs import CHECKOUT
from bench.service import measure_service
from bench.streaming import measure_all, peaks


def main() -> None:
    """Measure everything and print it."""
    options = _options()
    folder = options.folder / str(options.megabytes)
    build_in_process(folder, options.megabytes)
    compileall.compile_dir(CHECKOUT / "pcapdj", quiet=1)  # as in an installed package
    results = []
    for measured in measure_all(folder, options.rounds):
        results.append(measured)
        print(page.streaming_table([measured]), flush=True)
    memory = list(peaks(folder))
    print(page.peak_table(memory), flush=True)
    service = measure_service(folder, options.rounds)
    text = "\n\n".join(
        [
            page.conditions(options.megabytes, options.rounds),
            page.streaming_table(results),
            page.peak_table(memory),
            page.service_table(service),
            page.identity_table(checks_ms(folder / "imix.pcap")),
            page.queue_table(measure_long_queue()),
        ]
    )
    print(f"\n{text}")
    if options.write:
        page.write_into(options.write, text)


def _options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--megabytes", type=int, default=400, help="size of each capture")
    parser.add_argument("--rounds", type=int, default=5, help="counted rounds")
    parser.add_argument(
        "--folder", type=Path, default=Path("build/bench"), help="folder of the captures; they are kept"
    )
    parser.add_argument("--write", type=Path, metavar="PAGE", help="put the tables into this page")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
