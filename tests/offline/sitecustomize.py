"""Only this machine can be reached: in the tests' process, and in every Python process that they start.

Those find this module by PYTHONPATH and import it before anything else. The hook sees each connection whichever package
asks for it, and nothing takes it away again; it imports nothing, so that what tests say of imports stays true.
"""

import sys

HERE = ("", "localhost", "::1", "0.0.0.0", "::")


def refuse_others(event: str, arguments: tuple) -> None:
    if event not in ("socket.connect", "socket.sendto"):
        return
    address = arguments[1]
    if isinstance(address, tuple) and address:  # others are sockets of this machine
        host = str(address[0])
        if host not in HERE and not host.startswith(("127.", "::ffff:127.")):
            raise OSError(f"tests run without a network, and something asks for {host}")


sys.addaudithook(refuse_others)
