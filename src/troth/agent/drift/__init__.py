"""Where the world departs from the declaration: what is declared, on disk, loaded by nginx, and on the wire.

Nothing is changed: files are read, ``nginx -T`` is asked, and a witness is called through nginx as when proving.
nginx does not say what it has loaded; a file that changed after the serving workers began is not what they run with.
"""

from troth.agent.drift.look import Wanted as Wanted
from troth.agent.drift.look import find_drift as find_drift
from troth.agent.drift.rows import KINDS as KINDS
from troth.agent.drift.rows import Row as Row
