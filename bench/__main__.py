"""`python -m bench`: builds the captures, measures, prints both tables; `--write` puts them into the docs."""

import argparse
import compileall
from collections.abc import Sequence
from pathlib import Path

from bench import page
from bench.captures import build_apart
from bench.contest import CHECKOUT
from bench.service import measure_service
from bench.streaming import measure_all, peaks


def main() -> None:
    """Run what the options ask for."""
    options = _options()
    folder = options.folder / str(options.megabytes)
    build_apart(folder, options.megabytes)
    compileall.compile_dir(CHECKOUT / "pcapdj", quiet=1)  # as an installed package is
    results = []
    for measured in measure_all(folder, options.rounds):
        results.append(measured)
        print(page.streaming_table([measured]), flush=True)
    found = list(peaks(folder))
    print(page.peak_table(found), flush=True)
    service = measure_service(folder, options.rounds)
    text = "\n\n".join(
        [
            page.conditions(options.megabytes, options.rounds),
            page.streaming_table(results),
            page.peak_table(found),
            page.service_table(service),
        ]
    )
    print(f"\n{text}")
    if options.write:
        page.put_into(options.write, text)


def _options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--megabytes", type=int, default=400, help="size of each capture")
    parser.add_argument("--rounds", type=int, default=5, help="counted rounds")
    parser.add_argument("--folder", type=Path, default=Path("build/bench"), help="where captures are kept")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="put the tables into this page")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
