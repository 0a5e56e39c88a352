"""No process outlives the one that is responsible for it.

supervisord's children live on after its `kill -9`, and a restarted one starts a second copy (measured on
4.3.0); an analyzer would live on after the launcher's. The kernel's parent-death signal ends them, see
prctl(2) PR_SET_PDEATHSIG. It fires when the parent *thread* ends: spawn from the main thread.
"""

import ctypes
import os
import signal
from collections.abc import Callable

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)  # loaded before any fork: the child of a fork should load nothing


def die_with_parent(number: int = signal.SIGTERM) -> None:
    """Ask the kernel to send this process the signal when its parent dies; it survives exec."""
    _libc.prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)


def die_with_supervisord() -> None:
    """Tie this process to supervisord, if that started it; by hand nothing is tied.

    A parent that died before the call is noticed by its pid: the orphan then ends at once.
    """
    if not os.environ.get("SUPERVISOR_ENABLED"):
        return
    parent = os.getppid()
    die_with_parent()
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGTERM)


def tied_to_this_process(number: int = signal.SIGKILL) -> Callable[[], None]:
    """Return a `preexec_fn` for Popen that ties the child to this process."""
    parent = os.getpid()

    def tie() -> None:
        _libc.prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)

    return tie
