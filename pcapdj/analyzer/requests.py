"""What the launcher answers to each of the five words (`stream.protocol`)."""

import os

from pcapdj import launcher_protocol as messages
from pcapdj.analyzer.server import Server
from pcapdj.analyzer.session import AnalyzerSession
from pcapdj.launcher_protocol import NO_SUCH_STREAM, BadMessage, Reply, Request, Word
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
        self, request: Request, descriptors: tuple[int, ...], life: AnalyzerSession | None, now_s: float
    ) -> None:
        if self.open_waits:
            messages.close_all(descriptors)
            self._server.refuse("OPEN is not answered yet")
            return
        fed = life if life is not None and life.can_be_fed(now_s) else None
        asked = fed if fed is not None and fed.stream == request.stream else None
        match request.word:
            case Word.OPEN if fed is None:
                self.open_waits = True
            case Word.OPEN | Word.GET:
                self._tell(fed)
            case Word.PUT:
                self._put(asked, request, descriptors[0])
            case Word.DROP:
                self._drop(asked, request)
            case Word.END:
                self._end(asked, now_s)

    def _tell(self, life: AnalyzerSession | None) -> None:
        self.open_waits = False
        if life is None or life.write_end is None:
            self._server.reply(Reply())
            return
        reply = Reply(stream=life.stream, entries=life.keeper.notes())
        self._server.reply(reply, (life.write_end, *life.keeper.descriptors()))

    def _put(self, life: AnalyzerSession | None, request: Request, descriptor: int) -> None:
        failpoints.reach("launcher.put")
        if life is None:
            os.close(descriptor)
            self._server.reply(Reply(error=NO_SUCH_STREAM))
            return
        try:
            life.keeper.put(request.key, descriptor, request.note or {})
        except BadMessage as exc:
            self._server.refuse(str(exc))
            return
        self._server.reply(Reply())

    def _drop(self, life: AnalyzerSession | None, request: Request) -> None:
        if life is not None:
            life.keeper.drop(request.key)
        self._server.reply(Reply())

    def _end(self, life: AnalyzerSession | None, now_s: float) -> None:
        failpoints.reach("launcher.end")
        if life is not None:
            life.end(now_s)
        self._server.reply(Reply())
