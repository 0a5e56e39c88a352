"""The launcher's replies to the five requests of `launcher_protocol`."""

import os
from typing import Final

from pcapdj.analyzer.server import LauncherServer
from pcapdj.analyzer.session import AnalyzerSession
from pcapdj.launcher_protocol import (
    NO_SUCH_STREAM,
    OTHER_VERSION,
    PROTOCOL_VERSION,
    BadMessage,
    LauncherReply,
    LauncherRequest,
    RequestType,
    version_sentence,
)
from pcapdj.runtime import failpoints
from pcapdj.runtime.log import EventLog, Reminder

_events: Final = EventLog("consumer")


class RequestHandler:
    """Replies from the state of the session at that moment.

    A session whose analyzer has closed the pipe or exited counts as no stream, also before the launcher has
    recorded its end.
    """

    def __init__(self, server: LauncherServer) -> None:
        self._server = server
        self._reminder = Reminder()

    def handle(self, session: AnalyzerSession | None, now_s: float) -> None:
        """Reply to all requests of the client, then accept the next client if this one has left.

        OPEN without a stream gets no reply here: it waits for `reply_stream`.
        """
        while (received := self._server.next_request()) is not None:
            fed = session if session is not None and session.can_be_fed(now_s) else None
            self._reply(*received, fed, now_s)
        self._server.accept_client()

    def reply_stream(self, session: AnalyzerSession | None) -> None:
        """Send the open stream, its write end and its entries; without one, a reply that names no stream."""
        if session is None or session.write_end is None:
            self._server.reply(LauncherReply())
            return
        entries = session.stored.notes()
        reply = LauncherReply(stream=session.stream, entries=entries, pauses=session.pauses_after_header)
        self._server.reply(reply, (session.write_end, *session.stored.descriptors()))

    def _reply(
        self,
        request: LauncherRequest,
        descriptors: tuple[int, ...],
        fed: AnalyzerSession | None,
        now_s: float,
    ) -> None:
        named = fed if fed is not None and fed.stream == request.stream else None
        match request.type:
            case _ if request.version != PROTOCOL_VERSION:
                self._refuse_version(request, fed, now_s)
            case RequestType.OPEN if fed is None:
                pass
            case RequestType.OPEN | RequestType.GET:
                self.reply_stream(fed)
            case RequestType.PUT:
                self._put(named, request, descriptors[0])
            case RequestType.DROP:
                if named is not None:
                    named.stored.drop(request.key)
                self._server.reply(LauncherReply())
            case RequestType.END:
                self._end(named, now_s)

    def _refuse_version(self, request: LauncherRequest, fed: AnalyzerSession | None, now_s: float) -> None:
        """End the stream, whose note this dispatcher cannot read, and refuse."""
        version, ours = request.version, PROTOCOL_VERSION
        if self._reminder.is_due(version, now_s):
            _events.warning("other_version", version_sentence(dispatcher=version, launcher=ours))
        if fed is not None:
            fed.end_in_order(now_s)
        self._server.refuse(OTHER_VERSION)

    def _put(self, session: AnalyzerSession | None, request: LauncherRequest, descriptor: int) -> None:
        failpoints.reach("launcher.put")
        if session is None:
            os.close(descriptor)
            self._server.reply(LauncherReply(error=NO_SUCH_STREAM))
            return
        try:
            session.stored.put(request.key, descriptor, request.note)
        except BadMessage as exc:
            self._server.refuse(str(exc))
            return
        self._server.reply(LauncherReply())

    def _end(self, session: AnalyzerSession | None, now_s: float) -> None:
        failpoints.reach("launcher.end")
        if session is not None:
            session.end(now_s)
        self._server.reply(LauncherReply())
