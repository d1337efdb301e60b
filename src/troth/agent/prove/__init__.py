"""Mutual TLS of a location, proven end to end through nginx: what must work, and what must be refused.

A second nginx of the same build runs with the location's own directives; the user's is not touched. Its upstreams are
witnesses that report what they saw (`prove_location`), or the real ones (`prove_live`). A server that asks its clients
for certificates is called by good and bad ones (`prove_clients`). What came of it can be signed with the identity that
was proven (`signed`).
"""

from troth.agent.prove.clients import prove_clients as prove_clients
from troth.agent.prove.live import prove_live as prove_live
from troth.agent.prove.location import prove_location as prove_location
from troth.agent.prove.rows import ProofRow as ProofRow
from troth.agent.prove.rows import ProveError as ProveError
