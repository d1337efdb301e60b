"""Upstreams that are not nginx, each asking for a client certificate, each called through nginx as troth writes it."""
