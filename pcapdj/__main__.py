"""`python -m pcapdj` is the `pcapdj` command; as a file this module runs any module of its own package.

`python -P FOLDER/pcapdj/__main__.py pcapdj.summary ..` is what `runtime.interpreter` starts. It finds the
package beside itself, installed or not, and leaves no folder in `sys.path` for it: the modules of other
packages come from where this Python has them.
"""

import sys


def _run_module() -> None:
    """Run the module that the first argument names, with the other arguments."""
    root = __file__.rpartition("/pcapdj/")[0] or "/"
    sys.path.insert(0, root)
    import pcapdj  # noqa: F401 - it imports nothing that is not built in, and its modules are found through it

    if sys.path[:1] == [root]:
        del sys.path[0]
    from runpy import run_module

    del sys.argv[0]
    run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__" and not __package__:
    _run_module()
elif __name__ == "__main__":
    from pcapdj.cli import main

    main()
