"""How a process of pcapdj starts a module of pcapdj: same interpreter, same package, not the current folder.

`python -m MODULE` would search the current folder first, which may be a folder of captures from anywhere, and
`python -P -m MODULE` does not find the package of a checkout that is not installed. So the interpreter gets
the path of the package's own `__main__.py`, which runs the module:

    python -P FOLDER/pcapdj/__main__.py MODULE ARGUMENTS..

-P keeps the folder of that file out of `sys.path`, too, and PYTHONPATH needs no addition: an analyzer may be
a Python program. The operator's PYTHONPATH stays in force (`runtime.environment`).

Source: Python's documentation, "Command line and environment", -P, -m and PYTHONPATH.
"""

import sys
from pathlib import Path
from typing import Final

import pcapdj

START_FILE: Final = str(Path(pcapdj.__file__).absolute().with_name("__main__.py"))


def module_command(module: str, *arguments: str) -> list[str]:
    """Return the command line that runs a module of this package with these arguments.

    Args:
        module: its dotted name; it has a `__main__` part.
        arguments: of the module.
    """
    return [sys.executable, "-P", START_FILE, module, *arguments]


def pcapdj_command(*arguments: str) -> list[str]:
    """Return the command line of `pcapdj` with these arguments: a subcommand and its own."""
    return [sys.executable, "-P", START_FILE, *arguments]
