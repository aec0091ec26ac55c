"""A link to the broker that can be cut: both ends see their socket close, nobody says DISCONNECT."""

import asyncio


class Link:
    """Forwards one port to the broker until it is cut."""

    def __init__(self):
        self.host = "127.0.0.1"
        self.port = 0
        self._server = None
        self._writers = set()
        self._pumps = set()

    @classmethod
    async def open(cls, host, port):
        """Begins to listen on a free port."""
        link = cls()

        async def accept(reader, writer):
            try:
                far_reader, far_writer = await asyncio.open_connection(host, port)
            except OSError:
                writer.close()
                return
            link._writers |= {writer, far_writer}
            for source, sink in ((reader, far_writer), (far_reader, writer)):
                pump = asyncio.create_task(_pump(source, sink))
                link._pumps.add(pump)
                pump.add_done_callback(link._pumps.discard)

        link._server = await asyncio.start_server(accept, link.host, 0)
        link.port = link._server.sockets[0].getsockname()[1]
        return link

    async def cut(self):
        """Closes every connection and accepts no further one."""
        self._server.close()
        for writer in self._writers:
            writer.close()
        pumps = list(self._pumps)
        for pump in pumps:
            pump.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)
        for writer in self._writers:
            try:
                await writer.wait_closed()
            except OSError:
                pass


async def _pump(source, sink):
    try:
        while data := await source.read(65536):
            sink.write(data)
            await sink.drain()
    except OSError:
        pass
    finally:
        sink.close()
