"""Live limits laid over the options: a live value beats a flag, nonsense changes nothing. Rules only.

All live fields are taken or refused together. Two limits that belong together may thus be set one after the
other: the first, out of order for a moment, is refused and said; with the second both come into force.

The field `force` stands for the operator's own --force: as long as it is there, a live min-free of 50 % and
more is taken, whatever the controller was started with.
"""

import json
from collections.abc import Callable, Mapping
from typing import Final

from pcapdj.disk.gate import Override
from pcapdj.disk.limits import DEFAULTS, LONGEST_TEXT, Limits, parse_limits
from pcapdj.runtime.errors import ConfigError
from pcapdj.runtime.safe_text import quoted

OVERRIDE_FIELD = "gate"
FORCE_FIELD = "force"
FORCED = "yes"
KEPT = "The limits stay as they were."  # in every sentence that refuses live limits
LIMIT_FIELDS: Final = (*DEFAULTS, FORCE_FIELD)
_NO_LIMITS = (OVERRIDE_FIELD, FORCE_FIELD)


def is_forced(fields: Mapping[str, str]) -> bool:
    """Report whether the operator has forced the live limits."""
    return fields.get(FORCE_FIELD) == FORCED


def spelled(fields: Mapping[str, str]) -> str:
    """Return the live limits among the fields spelled alike by who writes and who reads them."""
    return json.dumps({name: fields[name][: LONGEST_TEXT + 1] for name in LIMIT_FIELDS if name in fields})


class LiveLimits:
    """The limits in force, the operator's override, and why the last live value was refused.

    Args:
        flags: the options as typed, by the names of `limits.DEFAULTS`.
        force: take a min-free of 50 % and more.

    Raises:
        ConfigError: the options make no sense.
    """

    def __init__(self, flags: Mapping[str, str], *, force: bool = False) -> None:
        self._flags = dict(flags)
        self._force = force
        self._seen: dict[str, str] = {}
        self._texts: Mapping[str, str] = self._flags
        self.in_force = parse_limits(flags, force=force)
        self.override = Override.AUTO
        self.refused = ""

    @property
    def verdict(self) -> dict[str, str]:
        """Why live fields were refused, empty if none were; which ones that is said of; what is in force."""
        texts = {name: self._texts.get(name, "").strip() or default for name, default in DEFAULTS.items()}
        return {"refused": self.refused, "live": spelled(self._seen), "limits": json.dumps(texts)}

    def lay(self, fields: Mapping[str, str], check: Callable[[Limits], None]) -> bool:
        """Take the live fields if they make sense; report whether they differ from those seen before.

        Args:
            fields: all of them, as typed; a field that is gone gives way to its flag again.
            check: raises ConfigError for limits that do not fit the mounts that are there.
        """
        if fields == self._seen:
            return False
        self._seen = dict(fields)
        complaints = [each for each in (self._lay_limits(fields, check), self._lay_override(fields)) if each]
        self.refused = " ".join(complaints)
        return True

    def _lay_limits(self, fields: Mapping[str, str], check: Callable[[Limits], None]) -> str:
        typed = {name: text for name, text in fields.items() if name not in _NO_LIMITS and text}
        texts = {**self._flags, **typed}
        try:
            limits = parse_limits(texts, force=self._force or is_forced(fields))
            check(limits)
        except ConfigError as exc:
            return f"{exc} {KEPT}"
        self.in_force, self._texts = limits, texts
        return ""

    def _lay_override(self, fields: Mapping[str, str]) -> str:
        word = fields.get(OVERRIDE_FIELD, "") or Override.AUTO.value
        try:
            self.override = Override(word)
        except ValueError:
            return (
                f"gate: {quoted(word[:20])} is none of open, hold and auto; it stays {self.override.value}."
            )
        return ""
