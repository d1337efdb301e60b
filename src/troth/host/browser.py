"""A person's web browser."""

import os
import shutil
import subprocess

from troth.host import HostError


class BrowserError(HostError):
    """An address is none that a browser should be given."""


def open_browser(url: str) -> bool:
    """Have the desktop open a web page; False where there is none, or ``STEP_OPEN_BROWSER=0`` forbids it.

    Raises:
        BrowserError: it is not an http or https address.
    """
    if not url.startswith(("https://", "http://")):
        raise BrowserError(f"not a web address: {url[:100]!r}")
    program = shutil.which("xdg-open")
    if program is None or os.environ.get("STEP_OPEN_BROWSER") == "0":
        return False
    try:
        subprocess.Popen(
            [program, url],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError:
        return False
    return True
