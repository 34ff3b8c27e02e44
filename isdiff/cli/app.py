"""A web page that fills holes in your photos, served on this machine alone: upload, paint, look, download.

It needs gradio (pip install 'isdiff[app]') and no network. Exit codes: 0; 1: it does not work as asked; 2: no model is
here.
"""

import logging
import os
import signal
import sys
import tempfile
import threading
from importlib.util import find_spec
from urllib.request import getproxies

from isdiff.cli.command import Parser
from isdiff.errors import UserError


def main(arguments: list[str]) -> None:
    parser = Parser("isdiff app", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="0.0.0.0 lets other machines in (default: this one alone)")
    parser.add_argument("--port", type=int, help="default: the first free one from 7860 on")
    parser.add_argument("--share", action="store_true", help="a public address, through gradio's servers")
    parser.add_argument("--megapixels", type=float, default=16, help="of a photo, at most (16)")
    parser.add_argument("--variants", type=int, default=4, help="at once, at most (4)")
    parser.add_argument("--queue", type=int, default=8, help="requests that may wait (8)")
    parser.add_argument("--crops", type=int, default=64, help="that one hole may take, at most (64)")
    args = parser.parse_args(arguments)
    if find_spec("gradio") is None:
        raise UserError("the web page needs the package gradio: pip install 'isdiff[app]'")
    if args.port is not None and not 0 < args.port < 65536:
        raise UserError(f"--port is {args.port}; it must be between 1 and 65535")
    from isdiff.app.guard import LOCAL

    with tempfile.TemporaryDirectory(prefix="isdiff-app-") as folder:
        # Before gradio is imported: nothing is reported to anybody, and uploads go when the page goes.
        direct = ",".join((*LOCAL, args.host, getproxies().get("no", ""))) if args.share else "*"  # past any proxy
        os.environ |= {"GRADIO_ANALYTICS_ENABLED": "False", "GRADIO_TEMP_DIR": folder, "no_proxy": direct}
        try:
            from isdiff.app.page import Page
            from isdiff.app.studio import Limits

            page = Page(Limits(args.megapixels, args.variants, args.queue, args.crops))
        except ImportError as error:  # a kind of proxy that needs another package
            raise UserError(f"the page cannot start: {error}") from None
        logging.basicConfig(format="isdiff: %(message)s")
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # so that uploads go then too
        try:
            local, public = page.launch(args.host, args.port, args.share)
            reach = "" if args.host in LOCAL else "; every machine that reaches this one can use it"
            print(f"isdiff: the page is at {local}{reach} (Ctrl-C ends it)", flush=True)
            if public:
                print(f"isdiff: and, for everyone who knows it, at {public}", flush=True)
            threading.Event().wait()
        except KeyboardInterrupt:
            print("isdiff: stopped")
        finally:
            page.close()
