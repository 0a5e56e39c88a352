"""Whatever happens to an inbox and its files, each packet arrives once, or the journal has the reason."""

import os
import random
from typing import Final

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from faults.rearranged import ACTIONS, RearrangedInbox
from faults.scenario import SLOW_COPY, Scenario

EXAMPLES: Final = 2  # `make faults` has more
STEPS: Final = 12


class RearrangedInboxMachine(RuleBasedStateMachine):
    """A real importer, dispatcher and Redis, and an inbox that changes all the time."""

    scenario: Scenario | None = None

    @initialize(rng=st.randoms(use_true_random=False))
    def begin(self, rng: random.Random) -> None:
        """Start everything, with two captures."""
        self.scenario = Scenario(SLOW_COPY)
        self.inbox = RearrangedInbox(self.scenario, rng, can_mount=os.geteuid() == 0)
        for _ in range(2):
            self.inbox.act("create")

    @rule(action=st.sampled_from(ACTIONS))
    def act(self, action: str) -> None:
        """Let something happen."""
        self.inbox.act(action)

    def teardown(self) -> None:
        """Wait until all is fed, end the stream, and count."""
        if self.scenario is None:
            return
        try:
            self.inbox.await_all_fed()
            assert self.scenario.end_stream()
            assert self.inbox.findings() == []
        finally:
            self.inbox.close()
            self.scenario.close()


@pytest.mark.long
def test_every_packet_of_every_complete_file_arrives_once_or_the_journal_has_the_reason() -> None:
    """The inbox goes away and comes back; importers and dispatchers are killed.

    A failure is not made smaller: each example starts six processes.
    """
    found = settings(max_examples=EXAMPLES, stateful_step_count=STEPS, phases=[Phase.generate])
    run_state_machine_as_test(RearrangedInboxMachine, settings=found)
