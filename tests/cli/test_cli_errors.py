"""What a newcomer types wrong: the error names it, says what was expected, and what to type next."""

import pytest

from tests.cli.accounts import Account, RunningAuthority

PLAIN = ("--no-password", "--insecure")


@pytest.fixture
def newcomer(stranger: Account) -> Account:
    stranger.good("certificate", "create", "Root", "root.crt", "root.key", "--profile", "root-ca", *PLAIN)
    (stranger.work / "text").write_text("hello\n")
    (stranger.work / "empty").write_text("")
    return stranger


WRONG = [
    (("certificate", "inspect", "root.key"), "expected a PEM CERTIFICATE block, got EC PRIVATE KEY"),
    (("certificate", "inspect", "empty"), "expected a PEM CERTIFICATE block, got nothing"),
    (("certificate", "inspect", "http://localhost:1"), "http shows no certificate, expected a file, or one of https"),
    (("certificate", "inspect", "http://localhost:1"), "hint: troth certificate inspect https://localhost:1"),
    (("certificate", "verify", "root.crt"), "hint: name the root: --roots root_ca.crt"),
    (("certificate", "sign", "root.crt", "root.crt", "root.key"), "CERTIFICATE REQUEST block, got CERTIFICATE"),
    (("certificate", "sign", "root.crt", "root.crt", "root.key"), "hint: make one: troth certificate create"),
    (("certificate", "key", "text"), "text is not readable: expected a certificate, request or key"),
    (("certificate", "create", "a", "a.crt", "a.key", "--csr", "--not-after", "30d", *PLAIN), "30d is 720h"),
]


@pytest.mark.parametrize(("args", "said"), WRONG)
def test_the_error_says_what_was_given_and_what_is_next(newcomer: Account, args: tuple[str, ...], said: str) -> None:
    assert said in newcomer.refused(*args)


def test_a_life_that_is_too_long_says_where_the_limit_is(account: Account, authority: RunningAuthority) -> None:
    asked = ("ca", "certificate", "a.example", "a.crt", "a.key", *authority.signing)
    assert "hint: hours are the largest unit: 1y is 8760h" in account.refused(*asked, "--not-after", "1y")
    said = account.refused(*asked, "--not-after", "8760h")
    assert "hint: ask for another end: --not-after" in said and "troth ca provisioner update" in said
    assert not (account.work / "a.crt").exists()


def test_an_authority_whose_password_is_wrong_names_the_file(newcomer: Account) -> None:
    (newcomer.work / "pw").write_text("right\n")
    named = ("--name", "A", "--dns", "localhost", "--address", "127.0.0.1:9", "--provisioner", "me")
    newcomer.good("ca", "init", *named, "--password-file", "pw")
    said = newcomer.refused("ca", "serve", "--password-file", "text")
    assert "intermediate_ca_key cannot be decrypted" in said and "hint: check what is in text" in said
