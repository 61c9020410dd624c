"""Notice that the other side of a socket has gone, also while nothing is read from it."""

import asyncio
import select


async def hung_up(fd: int) -> None:
    """Return when the peer has closed the connection or its writing half.

    A transport that is paused for want of room does not look at its socket and learns of the end only much later; the
    kernel knows it (EPOLLRDHUP) whatever is still unread.
    """
    loop, gone = asyncio.get_running_loop(), asyncio.Event()
    with select.epoll() as epoll:
        epoll.register(fd, select.EPOLLRDHUP)
        loop.add_reader(epoll.fileno(), gone.set)
        try:
            await gone.wait()
        finally:
            loop.remove_reader(epoll.fileno())
