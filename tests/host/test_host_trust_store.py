"""A root is installed where this system looks, by its own tool, and anything missing is named."""

import shutil
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import KeySerializationEncryption, PrivateFormat
from cryptography.hazmat.primitives.serialization.pkcs12 import PBES, PKCS12Certificate, serialize_java_truststore

from tests.x509.authorities import issue
from troth.host.other_trust_stores import java_store, nss_store
from troth.host.trust_store import Store, TrustStoreError, check_root, install_root, uninstall_root, unique_name
from troth.x509.pem import to_pem

ROOT = issue("My Root/CA", authority=True).certificate
OTHER = issue("My Root/CA", authority=True).certificate
LEAF = issue("leaf").certificate


def store_in(directory: Path, *after_removal: str) -> Store:
    """A store whose tool writes down that it ran, and with what."""
    script = f'echo "$@" >> {directory / "ran"}'
    return Store(directory, ".crt", ("sh", "-c", script, "tool"), after_removal)


def test_the_file_is_public_and_the_tool_has_run(tmp_path: Path) -> None:
    store = Store(tmp_path, ".crt", ("touch", str(tmp_path / "rebuilt")))
    path = install_root(ROOT, (Store(tmp_path / "absent", ".pem", ("false",)), store))
    assert path.name == f"My_Root_CA_{ROOT.serial_number}.crt" and path.read_text() == to_pem(ROOT)
    assert path.stat().st_mode & 0o777 == 0o644 and (tmp_path / "rebuilt").exists()


@pytest.mark.parametrize(
    ("command", "reason"),
    [("false", "failed with exit code 1"), ("no-such-tool", "no-such-tool is not installed")],
)
def test_a_tool_that_fails_or_is_missing(tmp_path: Path, command: str, reason: str) -> None:
    with pytest.raises(TrustStoreError, match=reason):
        install_root(ROOT, (Store(tmp_path, ".crt", (command,)),))


def test_a_system_without_a_store(tmp_path: Path) -> None:
    with pytest.raises(TrustStoreError, match="no known trust store"):
        install_root(ROOT, (Store(tmp_path / "absent", ".crt", ("true",)),))


@pytest.mark.parametrize("command", ["false", "no-such-tool"])
def test_nothing_is_left_where_the_tool_failed(tmp_path: Path, command: str) -> None:
    with pytest.raises(TrustStoreError):
        install_root(ROOT, (Store(tmp_path, ".crt", (command,)),))
    assert list(tmp_path.iterdir()) == []


def test_a_root_is_removed_whatever_its_name(tmp_path: Path) -> None:
    store = store_in(tmp_path, "--fresh")
    paths = [install_root(ROOT, (store,)), install_root(ROOT, (store,), prefix="mine ")]
    kept = install_root(OTHER, (store,))
    (tmp_path / "both.crt").write_text(to_pem(ROOT) + to_pem(OTHER))
    (tmp_path / "broken.crt").write_text("nothing")
    assert sorted(uninstall_root(ROOT, (store,))) == sorted(paths)
    assert kept.exists() and (tmp_path / "both.crt").exists() and not any(path.exists() for path in paths)
    assert (tmp_path / "ran").read_text().splitlines() == ["", "", "", "--fresh"]
    assert uninstall_root(ROOT, (store,)) == []


def test_names_stay_in_the_directory() -> None:
    serial = ROOT.serial_number
    assert unique_name(ROOT) == f"My Root_CA {serial}"
    assert unique_name(ROOT, "../../etc/x\n") == f".._.._etc_x_{serial}"
    assert len(unique_name(ROOT, "é" * 500).encode()) < 255


@pytest.mark.parametrize(
    "certificate", [LEAF, issue("below", issue("root", authority=True), authority=True).certificate]
)
def test_only_roots_are_installed(certificate: x509.Certificate) -> None:
    with pytest.raises(TrustStoreError, match="not a root certificate"):
        check_root(certificate, "it")
    check_root(ROOT, "it")


def test_other_stores_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(TrustStoreError, match="no Java"):
        java_store({"JAVA_HOME": str(tmp_path), "PATH": ""})
    with pytest.raises(TrustStoreError, match="no Firefox profile"):
        nss_store(tmp_path)


def test_java_takes_a_root_and_lets_go_of_it(tmp_path: Path) -> None:
    keytool = shutil.which("keytool")
    if keytool is None:
        pytest.skip("keytool is not installed")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "keytool").symlink_to(keytool)
    (tmp_path / "lib" / "security").mkdir(parents=True)
    cacerts = tmp_path / "lib" / "security" / "cacerts"
    cacerts.write_bytes(serialize_java_truststore([PKCS12Certificate(OTHER, b"other")], encryption()))
    store = java_store({"JAVA_HOME": str(tmp_path)})
    store.install(ROOT, "")
    store.install(ROOT, "")
    store.install(ROOT, "second name ")
    assert (store.uninstall(ROOT), store.uninstall(ROOT), store.uninstall(OTHER)) == (2, 0, 1)


def encryption() -> KeySerializationEncryption:
    form = PrivateFormat.PKCS12.encryption_builder().kdf_rounds(2048)
    return form.key_cert_algorithm(PBES.PBESv2SHA256AndAES256CBC).hmac_hash(SHA256()).build(b"changeit")
