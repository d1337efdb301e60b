"""Pictures of digests: each byte has one of its own, in emojisum's order."""

from troth.x509.emojisum import pictures


def test_every_byte_has_a_picture_of_its_own() -> None:
    assert len({pictures(bytes([number])) for number in range(256)}) == 256
    assert pictures(bytes((0x00, 0x10, 0x50, 0xAA, 0xFF))) == "👍🛁🇫🇷👛💤"
    assert pictures(b"") == ""
