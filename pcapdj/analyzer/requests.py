"""What the launcher answers to each of the five words (`stream.protocol`)."""

import os

from pcapdj.analyzer.server import Server
from pcapdj.analyzer.session import AnalyzerSession
from pcapdj.launcher_protocol import (
    NO_SUCH_STREAM,
    BadMessage,
    LauncherReply,
    LauncherRequest,
    RequestType,
    close_descriptors,
)
from pcapdj.runtime import failpoints


class RequestHandler:
    """Answers the dispatcher from the stream as it is at that moment.

    A stream whose analyzer has closed the pipe or gone is no stream any more, even before it is buried.

    Attributes:
        open_waits: the client has asked for a stream and waits for its answer.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self.open_waits = False

    def mind(self, life: AnalyzerSession | None, now_s: float) -> None:
        """Answer what was asked, let go of a client that left, and only then look at the next one."""
        while (asked := self._server.request()) is not None:
            self._answer(*asked, life, now_s)
        is_new = self._server.accept()
        if is_new or self._server.client_pid is None:
            self.open_waits = False

    def tell_opened(self, life: AnalyzerSession) -> None:
        """Answer the client that waits for a stream, if one does."""
        if self.open_waits:
            self._tell(life)

    def close(self) -> None:
        """Turn the client away without an answer, and take no other."""
        self.open_waits = False
        self._server.close()

    def _answer(
        self,
        request: LauncherRequest,
        descriptors: tuple[int, ...],
        life: AnalyzerSession | None,
        now_s: float,
    ) -> None:
        if self.open_waits:
            close_descriptors(descriptors)
            self._server.refuse("OPEN is not answered yet")
            return
        fed = life if life is not None and life.can_be_fed(now_s) else None
        asked = fed if fed is not None and fed.stream == request.stream else None
        match request.type:
            case RequestType.OPEN if fed is None:
                self.open_waits = True
            case RequestType.OPEN | RequestType.GET:
                self._tell(fed)
            case RequestType.PUT:
                self._put(asked, request, descriptors[0])
            case RequestType.DROP:
                self._drop(asked, request)
            case RequestType.END:
                self._end(asked, now_s)

    def _tell(self, life: AnalyzerSession | None) -> None:
        self.open_waits = False
        if life is None or life.write_end is None:
            self._server.reply(LauncherReply())
            return
        reply = LauncherReply(stream=life.stream, entries=life.keeper.notes())
        self._server.reply(reply, (life.write_end, *life.keeper.descriptors()))

    def _put(self, life: AnalyzerSession | None, request: LauncherRequest, descriptor: int) -> None:
        failpoints.reach("launcher.put")
        if life is None:
            os.close(descriptor)
            self._server.reply(LauncherReply(error=NO_SUCH_STREAM))
            return
        try:
            life.keeper.put(request.key, descriptor, request.note or {})
        except BadMessage as exc:
            self._server.refuse(str(exc))
            return
        self._server.reply(LauncherReply())

    def _drop(self, life: AnalyzerSession | None, request: LauncherRequest) -> None:
        if life is not None:
            life.keeper.drop(request.key)
        self._server.reply(LauncherReply())

    def _end(self, life: AnalyzerSession | None, now_s: float) -> None:
        failpoints.reach("launcher.end")
        if life is not None:
            life.end(now_s)
        self._server.reply(LauncherReply())
