"""The results of the summary analyzer, collected for a test."""

from dataclasses import dataclass, field

from pcapdj.summary.results import FlowSummary, HttpObject


@dataclass
class Collected:
    """Keeps all results."""

    flows: list[FlowSummary] = field(default_factory=list)
    objects: list[HttpObject] = field(default_factory=list)

    def add_flow(self, flow: FlowSummary) -> None:
        """Keep a flow."""
        self.flows.append(flow)

    def add_object(self, found: HttpObject) -> None:
        """Keep an object."""
        self.objects.append(found)
