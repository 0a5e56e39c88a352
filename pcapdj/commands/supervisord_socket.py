"""The questions that the commands ask the supervisord of a folder, and the answers that they accept.

Another process may listen in its place, or a supervisord of another version may answer: an answer counts only
from this user's process, and in the form that supervisor's documentation gives.

Source: supervisor's documentation, "XML-RPC API Documentation"; unix(7) SO_PEERCRED.
"""

import os
import socket
from http import HTTPStatus
from http.client import HTTPException
from pathlib import Path
from typing import Any, Final
from xml.parsers.expat import ExpatError
from xmlrpc.client import Error as AnswerError
from xmlrpc.client import Fault, ProtocolError, ServerProxy

from supervisor.xmlrpc import Faults, SupervisorTransport

from pcapdj.runtime.errors import Unavailable
from pcapdj.runtime.places import peer_of
from pcapdj.runtime.safe_text import quoted, shortened_message
from pcapdj.runtime.trust import owner_of
from pcapdj.service import CONF

SOCKET: Final = "var/run/supervisor.sock"
LOG: Final = "var/log/supervisord.log"
ANSWER_S: Final = 10.0  # supervisord answers between two things that it does, each well below a second
_NO_PASSWORD: Final = (
    f"Remove username and password from [unix_http_server] in {CONF}: only this user reaches its socket."
)
# What is used of the answers.
_FORMS: Final[dict[str, object]] = {
    "getPID": int,
    "getAllConfigInfo": [{"name": str, "process_prio": int}],
    "getAllProcessInfo": [
        {
            "name": str,
            "statename": str,
            "pid": int,
            "exitstatus": int,
            "spawnerr": str,
            "stdout_logfile": str,
        }
    ],
    "reloadConfig": [([str], [str], [str])],
    "startProcess": bool,
    "stopProcess": bool,
    "shutdown": bool,
    "tailProcessStdoutLog": (str, int, bool),
}


class NotRunning(Unavailable):
    """No supervisord listens in this folder."""

    def __init__(self) -> None:
        super().__init__("The service of this folder does not run.", hint="'pcapdj up' starts it.")


class ShuttingDown(Unavailable):
    """The supervisord of this folder stops its programs, and then ends."""

    def __init__(self) -> None:
        super().__init__("The service of this folder is just ending.", hint="Try again when it has ended.")


class SupervisordSocket:
    """The socket on which the supervisord of a folder answers.

    Args:
        folder: of the service, absolute.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / SOCKET
        socket.setdefaulttimeout(ANSWER_S)  # supervisor's transport has no time-out of its own

    def asked(self, method: str, *arguments: Any) -> Any:
        """Return supervisord's answer to what it has no reason to refuse; errors as `requested`."""
        try:
            return self.requested(method, *arguments)
        except Fault as exc:
            raise Unavailable(f"supervisord refuses to answer {method}: {words_of(exc)}.") from exc

    def requested(self, method: str, *arguments: Any) -> Any:
        """Return supervisord's answer, which has the form that its documentation gives.

        Raises:
            Unavailable: it does not run, it ends, it does not answer, or in another form; or another user's
                process listens in its place.
            Fault: it refuses.
        """
        answer = self._sent(method, *arguments)
        if not _fits(answer, _FORMS[method]):
            raise Unavailable(
                f"supervisord answers {method} in a form that is not its own.", hint=f"See {LOG}."
            )
        return answer

    def _sent(self, method: str, *arguments: Any) -> Any:
        transport = SupervisorTransport(serverurl=f"unix://{self._path}")
        try:
            _check_peer(self._path)
            with ServerProxy("http://127.0.0.1", transport=transport) as proxy:
                return getattr(proxy.supervisor, method)(*arguments)
        except (FileNotFoundError, ConnectionRefusedError) as exc:
            raise NotRunning from exc
        except Fault as exc:
            if exc.faultCode != Faults.SHUTDOWN_STATE:
                raise
            raise ShuttingDown from exc
        except ProtocolError as exc:
            hint = _NO_PASSWORD if exc.errcode == HTTPStatus.UNAUTHORIZED else ""
            raise Unavailable(
                f"supervisord answers {exc.errcode} {shortened_message(str(exc.errmsg))}.", hint=hint
            ) from exc
        except (OSError, HTTPException, AnswerError, ExpatError, ValueError, TypeError) as exc:
            raise Unavailable(
                f"supervisord does not answer: {shortened_message(str(exc))}.", hint=f"See {LOG}."
            ) from exc


def _check_peer(path: Path) -> None:
    """Check that the process which listens may be the supervisord of this folder.

    Raises:
        Unavailable: it is another user's.
        OSError: none listens.
    """
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(os.fspath(path))
        if not (peer := peer_of(connection)).is_trusted:
            who = f"{owner_of(peer.uid)}, pid {peer.pid}"
            sentence = f"The supervisord at {quoted(str(path))} belongs to another user, {who}."
            raise Unavailable(sentence, hint="Remove its socket.")


def _fits(value: object, form: object) -> bool:
    """Report whether an answer has a form: a type, a list of any length, a tuple for one of fixed length."""
    if isinstance(form, dict):
        return isinstance(value, dict) and all(
            name in value and _fits(value[name], kind) for name, kind in form.items()
        )
    if isinstance(form, list):
        return isinstance(value, list) and all(_fits(each, form[0]) for each in value)
    if isinstance(form, tuple):
        return isinstance(value, list) and len(value) == len(form) and all(map(_fits, value, form))
    return type(value) is form


def words_of(fault: Fault) -> str:
    """Return the beginning of a refusal, which may have the text of a file."""
    return shortened_message(str(fault.faultString))
