"""troth: proven mutual TLS between nginx and its upstreams.

Rooms, imports pointing downwards only (rooms on one line do not know each other)::

    cli/
    server/   agent/
    store/    client/    host/
    ca/       acme/      nginx/
    x509/     errors.py  durations.py
"""

__version__ = "0.1.0"
