"""The real-program matrix: official ``step`` against ``troth ca serve``, ``troth`` against official ``step-ca``.

Each operation is one function, run unchanged on both sides, because commands, flags and the wire are the same on both.
``make interop`` prints the matrix and writes ``build/interop.json``.
"""
