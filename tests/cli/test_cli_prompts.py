"""Questions at a terminal: answers that cannot be used are asked for again, and no answer is not a yes."""

import json
from pathlib import Path

import pytest

from tests.cli.accounts import PASSWORD, Account
from tests.cli.terminals import END_OF_INPUT, INTERRUPT, converse

NAMED = ["ca", "init", "--name", "Typed", "--dns", "localhost", "--address", ":9000", "--provisioner", "me"]
KEYPAIR = ["crypto", "keypair", "k.pub", "k.key"]


def test_init_asks_for_everything_and_again_for_what_cannot_be_used(stranger: Account) -> None:
    code, shown = converse(
        stranger,
        ["ca", "init"],
        ("called", "Typed"),
        ("DNS names", "ca.internal, localhost"),
        ("listen on", "9443"),
        ("listen on", ":9443"),
        ("provisioner", ""),
        ("keys [", "one secret"),
        ("Once more", "another secret"),
        ("keys [", "one secret"),
        ("Once more", "one secret"),
    )
    assert code == 0, shown
    assert "'9443' is not usable: expected [host]:port" in shown and "the two passwords differ" in shown
    assert "one secret" not in shown and "another secret" not in shown
    config = json.loads((stranger.step / "config" / "ca.json").read_text())
    assert (config["dnsNames"], config["address"]) == (["ca.internal", "localhost"], ":9443")
    assert config["authority"]["provisioners"][0]["name"] == "admin"
    (stranger.work / "pw").write_text("one secret\n")
    stranger.good("crypto", "key", "public", str(stranger.step / "secrets" / "root_ca_key"), "--password-file", "pw")


def test_a_password_that_is_made_is_shown_and_opens_the_keys(stranger: Account) -> None:
    code, shown = converse(stranger, NAMED, ("keys [", ""))
    assert code == 0, shown
    made = next(line.split()[-1] for line in shown.splitlines() if "Password:" in line and "✔" in line)
    (stranger.work / "pw").write_text(made)
    stranger.good("crypto", "key", "public", str(stranger.step / "secrets" / "root_ca_key"), "--password-file", "pw")


@pytest.mark.parametrize("key", [END_OF_INPUT, INTERRUPT])
@pytest.mark.parametrize(
    ("command", "question"),
    [(["ca", "init"], "called"), (NAMED, "keys ["), (KEYPAIR, "encrypt k.key")],
)
def test_who_leaves_a_question_open_changes_nothing(
    stranger: Account, key: str, command: list[str], question: str
) -> None:
    code, shown = converse(stranger, command, (question, key))
    assert code in (1, 130) and "error: " in shown and "Traceback" not in shown, shown
    assert not list(stranger.work.iterdir())


def test_a_new_password_is_typed_twice_and_is_never_empty(stranger: Account) -> None:
    code, shown = converse(
        stranger,
        KEYPAIR,
        ("encrypt k.key: ", ""),
        ("encrypt k.key: ", "secret"),
        ("Once more: ", "secrte"),
        ("encrypt k.key: ", "secret"),
        ("Once more: ", "secret"),
    )
    assert code == 0 and "password is empty" in shown and "the two passwords differ" in shown, shown
    code, shown = converse(stranger, ["crypto", "key", "fingerprint", "k.key"], ("decrypt k.key: ", "secret"))
    assert code == 0 and "SHA256:" in shown, shown
    code, shown = converse(stranger, ["crypto", "key", "fingerprint", "k.key"], ("decrypt k.key: ", "secrte"))
    assert code == 1 and "k.key cannot be decrypted: the password is wrong" in shown, shown


def test_three_passwords_that_differ_write_nothing(stranger: Account) -> None:
    typed = [("encrypt k.key: ", "a"), ("Once more: ", "b")] * 3
    code, shown = converse(stranger, KEYPAIR, *typed)
    assert code == 1 and "error: the two passwords differ" in shown, shown
    assert not list(stranger.work.iterdir())


@pytest.mark.parametrize("answers", [("n",), ("what", "no"), ("", "", ""), (END_OF_INPUT,)])
def test_a_file_is_overwritten_only_after_a_yes(stranger: Account, answers: tuple[str, ...]) -> None:
    plain = ["crypto", "keypair", "k.pub", "k.key", "--no-password", "--insecure"]
    stranger.good(*plain)
    before = contents(stranger.work)
    code, shown = converse(stranger, plain, *(("overwrite k.pub [y/n]: ", answer) for answer in answers))
    assert code == 1 and "error: " in shown, shown
    assert contents(stranger.work) == before
    code, shown = converse(stranger, plain, ("overwrite k.pub [y/n]: ", "y"), ("overwrite k.key [y/n]: ", "Yes"))
    assert code == 0 and contents(stranger.work) != before, shown


def test_the_password_of_a_provisioner_is_asked_again_when_it_is_wrong(account: Account) -> None:
    wanted = ["ca", "token", "a.example"]
    asked = "decrypt the provisioner key: "
    code, shown = converse(account, wanted, (asked, "wrong"), (asked, PASSWORD))
    assert code == 0 and shown.count("the password is wrong") == 1 and PASSWORD not in shown, shown
    code, shown = converse(account, wanted, *[(asked, "wrong")] * 3)
    assert code == 1 and shown.count("the password is wrong") == 3 and "--provisioner-password-file FILE" in shown
    assert "eyJ" not in shown, shown


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}
