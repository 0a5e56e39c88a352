"""`python -m pcapdj` is the `pcapdj` command; as a file this module runs it, or a module of the package.

`python -P FOLDER/pcapdj/__main__.py status` works in any folder, installed or not; with `pcapdj.summary` for
the command it is what `runtime.interpreter` starts. The package is the one beside this file, and no folder
stays in `sys.path` for it: the modules of other packages come from where this Python has them.
"""

import sys


def _run_module() -> None:
    """Run the module that the first argument names, with the other arguments, else the command."""
    from pathlib import Path

    root = str(Path(__file__).absolute().parents[1])
    sys.path.insert(0, root)
    import pcapdj  # noqa: F401 - it imports nothing that is not built in, and its modules are found through it

    if sys.path[:1] == [root]:
        del sys.path[0]
    from runpy import run_module

    module = sys.argv.pop(1) if sys.argv[1:2] and sys.argv[1].startswith("pcapdj.") else "pcapdj"
    run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__" and not __package__:
    _run_module()
elif __name__ == "__main__":
    from pcapdj.cli import main

    main()
