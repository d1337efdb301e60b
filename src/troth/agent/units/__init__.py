"""systemd units for the two long-running programs, as texts: hardened as far as each can still do its work.

Made for systemd 250 and later. What a unit says of paths comes from the caller, escaped here; nothing is written.
"""

from troth.agent.units.authority import AuthorityUnit as AuthorityUnit
from troth.agent.units.keeper import AgentUnit as AgentUnit
from troth.agent.units.syntax import UnitError as UnitError
