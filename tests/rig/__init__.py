"""Real nginx and throw-away certificates for tests."""
