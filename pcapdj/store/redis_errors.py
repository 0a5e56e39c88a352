"""Errors of redis-py in our classes: what waiting cures, what a password or an ACL rule cures, and the rest.

Redis's own messages never name the server, and for a forbidden key not the key either, so that is added here.
Of a command only its name and its keys are shown, never a value.
"""

import errno
import re
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

import redis
from redis.exceptions import (
    AskError,
    ClusterCrossSlotError,
    ClusterDownError,
    MasterDownError,
    NoPermissionError,
    TryAgainError,
)

from pcapdj.runtime.errors import KeyUnusable, PcapdjError, StoreDenied, StoreFailed, StoreUnavailable
from pcapdj.runtime.foreign_files import is_file
from pcapdj.runtime.safe_text import printable, quoted, shortened_message, to_text
from pcapdj.store.keys import Keys
from pcapdj.store.redis_url import DEFAULT_URL, SOCKET_IN_LAYOUT, safe_url
from pcapdj.store.start_problem import problem_at

CommandWords = Sequence[bytes | str | int]

_CONF: Final = "supervisord.conf"
_LOGIN: Final = ("NOAUTH", "WRONGPASS", "Protocol error: unauthenticated")
# What a server answers that takes no writes now, and what helps.
_NO_WRITES: Final = {
    "OOM": "Free some of its memory, or raise its maxmemory.",
    "MISCONF": "It cannot save its data: see its log, and the disk of its folder.",
    "READONLY": "Name its master with --redis-url, or wait until it is one.",
    "NOREPLICAS": "It waits for its replicas.",
}
# What one answers that executes nothing now.
_NO_COMMANDS: Final = {
    "BUSY": "If the script does not end, SCRIPT KILL in redis-cli ends it.",
    "MASTERDOWN": "Wait for its master, or name another server with --redis-url.",
    "LOADING": "Wait until it has loaded its data.",
    "TRYAGAIN": "",
    "CLUSTERDOWN": "",
}
# redis-py takes the first word off the messages of these; the last is of the one before
_CLASSES: Final = (
    (redis.ReadOnlyError, "READONLY"),
    (redis.OutOfMemoryError, "OOM"),
    (MasterDownError, "MASTERDOWN"),
    (TryAgainError, "TRYAGAIN"),
    (ClusterDownError, "CLUSTERDOWN"),
)
_FULL: Final = "max number of clients reached"
_ABSENT: Final = {errno.ENOENT, errno.ECONNREFUSED, errno.ENETUNREACH, errno.EADDRNOTAVAIL}
# how a connection ends that the server refuses; whether its reason arrives is chance
_CLOSED: Final = (BrokenPipeError, ConnectionResetError)
_CLOSED_HINT: Final = "It closes new connections: it may have as many clients as its maxclients allows."
_NO_ADDRESS: Final = "Is it running? Else work in the service's folder, or name its Redis with --redis-url."
# redis-py puts the command of a pipeline, its values included, before the server's message.
_PIPELINE: Final = re.compile(r"Command # \d+ \((?P<command>.*)\) of pipeline caused error: ", re.DOTALL)
_COMMAND: Final = re.compile(r"to run the '([^']+)' command")
_SCRIPT_LINE: Final = re.compile(r"@user_script: ?(\d+)")
_TLS_NOISE: Final = re.compile(r".*\[[A-Z_: ]+\] | \(_ssl.*")
_CALL: Final = re.compile(r"'([A-Z]+)'")


def translated(
    error: redis.RedisError, url: str, keys: Keys, command: CommandWords, script: str
) -> PcapdjError:
    """Return our error for one of redis-py.

    Args:
        error: as it was raised.
        url: of the server; shown without its password.
        keys: of the lane.
        command: the words of the last single command; a pipeline's are in the error's message.
        script: the text of the Lua script that was run; empty if none was.
    """
    where, why = f"Redis at {safe_url(url)}", str(error)
    if in_pipeline := _PIPELINE.match(why):
        command, why = in_pipeline["command"].split(" "), why[in_pipeline.end() :]
    if isinstance(error, redis.AuthenticationError) or why.startswith(_LOGIN):
        return StoreDenied(
            f"{where} refuses the login ({shortened_message(why)}).",
            hint="Check the password in the URL or its file.",
        )
    if isinstance(error, NoPermissionError) or why.startswith(("NOPERM", "The user executing the script")):
        return _forbidden(where, why, keys, command, script)
    if isinstance(error, redis.ConnectionError | redis.TimeoutError | redis.InvalidResponse):
        return _no_answer(error, where, url)
    code = next((code for kind, code in _CLASSES if isinstance(error, kind)), why.partition(" ")[0])
    if code in _NO_WRITES or code in _NO_COMMANDS:
        return _refusal(where, why, code)
    if isinstance(error, AskError | ClusterCrossSlotError):  # MovedError is an AskError
        return StoreFailed(
            f"{where} is part of a Redis Cluster, which does not keep a lane's keys on one server.",
            hint="Name a Redis without cluster mode with --redis-url.",
        )
    kind = KeyUnusable if why.startswith("WRONGTYPE") else StoreFailed
    return kind(f"{where} answered: {shortened_message(why)}.")


def is_absent(error: PcapdjError) -> bool:
    """Report whether no server was at the address, of an error of `Store.call`; one that refuses is there."""
    cause = error.__cause__ and error.__cause__.__context__
    return getattr(cause, "errno", None) in _ABSENT


def write_refusal(message: str) -> str:
    """Return a sentence about a server that only answers commands that write nothing.

    Args:
        message: its answer to a write.
    """
    return str(_refusal("It", message, next((code for code in _NO_WRITES if code in message), "OOM")))


def _refusal(where: str, why: str, code: str) -> StoreUnavailable:
    """Return the error for a server that does not execute a command now."""
    what = "takes no writes" if code in _NO_WRITES else "executes no commands"
    return StoreUnavailable(
        f"{where} {what} now ({shortened_message(why)}).", hint=(_NO_WRITES | _NO_COMMANDS)[code]
    )


def _no_answer(error: redis.RedisError, where: str, url: str) -> StoreUnavailable:
    cause, reason = error.__context__, shortened_message(str(error))
    if isinstance(error, redis.exceptions.BusyLoadingError):
        return StoreUnavailable(f"{where} is loading its data.")
    if isinstance(cause, ssl.SSLError):
        return StoreUnavailable(
            f"The TLS connection to {where} fails ({_TLS_NOISE.sub('', reason)}).",
            hint="Check the server's certificate; ?ssl_ca_certs=FILE in the URL names the authority.",
        )
    if url.startswith("rediss:") and isinstance(cause, FileNotFoundError | PermissionError):
        return StoreUnavailable(
            f"The TLS connection to {where} fails: a file in the URL cannot be read ({cause.strerror})."
        )
    if isinstance(cause, OSError) and cause.strerror:  # redis-py's sentence repeats the address
        reason = cause.strerror
    if problem := problem_at(url):
        return StoreUnavailable(f"{where} does not answer ({reason}).", hint=problem)
    if _FULL in reason or isinstance(cause, _CLOSED) or reason.startswith("Connection closed by server"):
        return StoreUnavailable(f"{where} does not answer ({reason}).", hint=_CLOSED_HINT)
    hint = _start_hint(url) or (_NO_ADDRESS if url == DEFAULT_URL else "Is it running?")
    return StoreUnavailable(f"{where} does not answer ({reason}).", hint=hint)


def _start_hint(url: str) -> str:
    """Return how the server of a service's folder is started; empty: the URL is of no such server."""
    parts = urlsplit(url)
    path, end = unquote(parts.path), f"/{SOCKET_IN_LAYOUT}"
    folder = Path(path.removesuffix(end) or "/")
    if parts.scheme != "unix" or not path.endswith(end) or not is_file(folder / _CONF):
        return ""
    where = "" if folder.samefile(".") else f" in {quoted(str(folder))}"
    return f"'pcapdj up'{where} starts the service."


def _forbidden(where: str, why: str, keys: Keys, command: CommandWords, script: str) -> StoreDenied:
    """Return the error for what the ACL of our user forbids: a command, keys, or a channel."""
    if named := _COMMAND.search(why):
        missing, rules = f"the command {named[1]}", [f"+{named[1]}"]
    elif line := _SCRIPT_LINE.search(why):
        missing, rules = _forbidden_in_script(why, keys, script.splitlines()[int(line[1]) - 1 :][:1])
    else:
        sign, kind = ("&", "channel") if "channel" in why else ("~", "key")
        names = list(dict.fromkeys(_shown(each, keys) for each in _keys_of(command)))
        missing = f"{f'the {kind}' if len(names) == 1 else 'one of the keys'} {', '.join(names)}"
        rules = [sign + name for name in names]
    if not rules:
        missing, rules = f"a command or key ({shortened_message(why)})", ["it"]
    return StoreDenied(
        f"The ACL of {where} forbids our user {missing}.",
        hint=f"Add {' '.join(rules)} to that user's rules; docs/operations.md lists what each role needs.",
    )


def _forbidden_in_script(why: str, keys: Keys, line: Sequence[str]) -> tuple[str, list[str]]:
    """Return what a line of a Lua script does that is forbidden, and the rules that allow it."""
    if "channel" in why:
        return f"the channel {keys.channel}", [f"&{keys.channel}"]
    commands = [each.lower() for each in _CALL.findall("".join(line))]
    return f"the command {' or '.join(commands)}", [f"+{each}" for each in commands]


def _shown(key: str, keys: Keys) -> str:
    """Return a key as rules name it: one rule is for the CURRENT hashes of all dispatchers."""
    return printable(f"{keys.current_prefix}*" if key.startswith(keys.current_prefix) else key)


def _keys_of(command: CommandWords) -> list[str]:
    """Return the keys of a command: of a script all, of others the first."""
    words = [to_text(each) if isinstance(each, bytes) else str(each) for each in command]
    return words[3 : 3 + int(words[2])] if words[:1] == ["EVALSHA"] else words[1:2]
