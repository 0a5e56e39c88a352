"""The limits in force: the live fields of PCAPDJ_CONTROL, applied over the options. Rules only.

A live field takes precedence over its option. Live limits are accepted or refused all together, and a
refusal changes nothing. So two limits that belong together may be set one after the other: the first, out of
order for a moment, is refused with a reason; with the second, both come into force.

The field `force` is the operator's own --force: while it is set, a live min-free of 50 % or more is accepted,
whatever options the controller was started with.
"""

import json
from collections.abc import Mapping
from typing import Final

from pcapdj.disk.gate import Override
from pcapdj.disk.limits import DEFAULTS, LONGEST_TEXT, parse_limits
from pcapdj.disk.measurements import Samples, check_order
from pcapdj.disk.reclaim_rule import RECLAIM_FIELD
from pcapdj.runtime.errors import ConfigError
from pcapdj.runtime.safe_text import quoted

OVERRIDE_FIELD: Final = "gate"
FORCE_FIELD: Final = "force"
FORCED: Final = "yes"
KEPT: Final = "The limits stay as they were."  # ends every sentence that refuses live limits
LIMIT_FIELDS: Final = (*DEFAULTS, FORCE_FIELD)
ACCEPT_FIELD: Final = "accept"  # when an operator accepted the file systems as they are: another time each
_NO_LIMITS: Final = (OVERRIDE_FIELD, FORCE_FIELD, ACCEPT_FIELD, RECLAIM_FIELD)


def is_forced(control: Mapping[str, str]) -> bool:
    """Report whether the operator forces the live limits."""
    return control.get(FORCE_FIELD) == FORCED


def live_limits_json(control: Mapping[str, str]) -> str:
    """Return the live limits as JSON, in one order and length: writer and controller compare them."""
    return json.dumps({name: control[name][: LONGEST_TEXT + 1] for name in LIMIT_FIELDS if name in control})


class LiveLimits:
    """The limits in force, the operator's override, and why the live fields are refused.

    Args:
        options: the limits as typed, by the names of `limits.DEFAULTS`.
        force: accept a min-free of 50 % or more.
        sources: where each of them comes from, for screens: `flag`, `environment`, `pcapdj.env:3`, `default`.

    Raises:
        ConfigError: an option is invalid, or they are out of order.
    """

    def __init__(
        self,
        options: Mapping[str, str],
        *,
        force: bool = False,
        sources: Mapping[str, str] | None = None,
    ) -> None:
        self._options = dict(options)
        self._sources = dict(sources or {})
        self._force = force
        self._control: dict[str, str] = {}
        self._texts: Mapping[str, str] = self._options
        self.in_force = parse_limits(options, force=force)
        self.override = Override.AUTO
        self.refused = ""

    @property
    def gate_fields(self) -> dict[str, str]:
        """The fields of PCAPDJ_GATE about the limits.

        `refused`: why live fields are refused, or empty; `live`: the live limits that this is about;
        `limits`: the texts of the limits in force, empty for a derived one; `options`: those that count
        without live ones, and `sources`: where these come from.
        """
        texts, options = (
            {name: given.get(name, "").strip() or default for name, default in DEFAULTS.items()}
            for given in (self._texts, self._options)
        )
        return {
            "refused": self.refused,
            "live": live_limits_json(self._control),
            "limits": json.dumps(texts),
            "options": json.dumps(options),
            "sources": json.dumps(self._sources),
        }

    def apply(self, control: Mapping[str, str], samples: Samples) -> bool:
        """Apply the live fields if they are valid; report whether they differ from those before.

        Args:
            control: all live fields as typed; without a field, its option is in force again.
            samples: of the mounts that are there; limits out of order on one of them are refused.
        """
        if control == self._control:
            return False
        self._control = dict(control)
        refusals = (self._apply_limits(control, samples), self._apply_override(control))
        self.refused = " ".join(each for each in refusals if each)
        return True

    def _apply_limits(self, control: Mapping[str, str], samples: Samples) -> str:
        typed = {name: text for name, text in control.items() if name not in _NO_LIMITS and text}
        texts = {**self._options, **typed}
        try:
            limits = parse_limits(texts, force=self._force or is_forced(control))
            check_order(samples, limits)
        except ConfigError as exc:
            return f"{exc} {KEPT}"
        self.in_force, self._texts = limits, texts
        return ""

    def _apply_override(self, control: Mapping[str, str]) -> str:
        word = control.get(OVERRIDE_FIELD, "") or Override.AUTO.value
        try:
            self.override = Override(word)
        except ValueError:
            return f"gate: {quoted(word[:20])} is not open, hold or auto; it stays {self.override.value}."
        return ""
