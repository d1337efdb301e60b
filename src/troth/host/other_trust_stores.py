"""Trust stores besides the system's: Java's key store, and the NSS databases of Firefox and Chromium."""

import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from troth.host.files import write_file
from troth.host.trust_store import TrustStoreError, run_tool, unique_name
from troth.x509.pem import to_pem

# Java's public default; who changed it manages that store by other means.
JAVA_PASSWORD = "changeit"  # noqa: S105
_CACERTS = ("lib/security/cacerts", "jre/lib/security/cacerts")
_PROFILES = (".mozilla/firefox/*", "snap/firefox/common/.mozilla/firefox/*", ".pki/nssdb")
_NO_SUCH_ENTRY = "could not find certificate"
_DATABASES = (("cert9.db", "sql"), ("cert8.db", "dbm"))


# Where Debian keeps the key store that its Javas share, fed from the system's store, but never cleared by it.
SHARED_JAVA_STORE = Path("/etc/ssl/certs/java/cacerts")


@dataclass(frozen=True, slots=True)
class JavaStore:
    """A Java's key store and the keytool that opens it."""

    keytool: str
    cacerts: Path

    def install(self, certificate: x509.Certificate, prefix: str) -> None:
        """Raises: TrustStoreError: keytool failed."""
        name = unique_name(certificate, prefix)
        with tempfile.TemporaryDirectory() as directory:
            file = Path(directory) / "root.pem"
            write_file(file, to_pem(certificate).encode())
            given = ("-importcert", "-noprompt", "-file", str(file))
            run_tool((*self._command(*given), "-alias", name), accept="already exists")

    def uninstall(self, certificate: x509.Certificate, prefix: str = "") -> int:
        """Remove every entry that is this root, whatever its name (Debian adds the system's roots under its own).

        Returns:
            How many there were.

        Raises:
            TrustStoreError: keytool failed.
        """
        wanted = to_pem(certificate).split("-----")[2].split()
        names = [
            entry.partition("\n")[0].strip()
            for entry in run_tool(self._command("-list", "-rfc")).split("Alias name: ")[1:]
            if entry.partition("-----BEGIN CERTIFICATE-----")[2].partition("-----END")[0].split() == wanted
        ]
        for name in names:
            run_tool((*self._command("-delete"), "-alias", name), accept="does not exist")
        return len(names)

    def _command(self, *given: str) -> tuple[str, ...]:
        return (
            self.keytool,
            "-J-Duser.language=en",
            *given,
            "-keystore",
            str(self.cacerts),
            "-storepass",
            JAVA_PASSWORD,
        )


@dataclass(frozen=True, slots=True)
class NSSStore:
    """NSS databases, as ``sql:`` or ``dbm:`` and their directory, and the certutil that opens them."""

    certutil: str
    databases: tuple[str, ...]

    def install(self, certificate: x509.Certificate, prefix: str) -> None:
        """Raises: TrustStoreError: certutil failed."""
        with tempfile.TemporaryDirectory() as directory:
            file = Path(directory) / "root.pem"
            write_file(file, to_pem(certificate).encode())
            for database in self.databases:
                given = ("-A", "-d", database, "-t", "C,,", "-n", unique_name(certificate, prefix), "-i", str(file))
                run_tool((self.certutil, *given))

    def uninstall(self, certificate: x509.Certificate, prefix: str) -> int:
        """Remove the entry of this root's name.

        Returns:
            How many there were.

        Raises:
            TrustStoreError: certutil failed.
        """
        name, count = unique_name(certificate, prefix), 0
        for database in self.databases:
            said = run_tool((self.certutil, "-D", "-d", database, "-n", name), accept=_NO_SUCH_ENTRY)
            count += _NO_SUCH_ENTRY not in said
        return count


def java_store(environment: Mapping[str, str] = os.environ) -> JavaStore:
    """The key store of ``$JAVA_HOME``, or of the Java that is on the path.

    Raises:
        TrustStoreError: there is none.
    """
    home = environment.get("JAVA_HOME") or _java_home(environment)
    keytool = Path(home) / "bin" / "keytool" if home else None
    cacerts = next((Path(home) / name for name in _CACERTS if (Path(home) / name).exists()), None) if home else None
    if keytool is None or not keytool.exists() or cacerts is None:
        hint = "say where Java is: JAVA_HOME=/usr/lib/jvm/default-java"
        raise TrustStoreError("there is no Java with keytool and a key store", hint=hint)
    return JavaStore(str(keytool), cacerts)


def _java_home(environment: Mapping[str, str]) -> str:
    found = shutil.which("keytool", path=environment.get("PATH"))
    return str(Path(found).resolve().parent.parent) if found else ""


def nss_store(home: Path | None = None) -> NSSStore:
    """The NSS databases below a home directory, this account's by default.

    Raises:
        TrustStoreError: there is none, or certutil is not installed.
    """
    base = home or Path.home()
    profiles = sorted(path for pattern in _PROFILES for path in base.glob(pattern) if path.is_dir())
    databases = []
    for profile in profiles:
        kind = next((kind for name, kind in _DATABASES if (profile / name).exists()), "")
        databases += [f"{kind}:{profile}"] if kind else []
    if not databases:
        raise TrustStoreError(f"there is no Firefox profile or NSS database below {base}")
    certutil = shutil.which("certutil")
    if certutil is None:
        hint = "install it: apt install libnss3-tools, or dnf install nss-tools"
        raise TrustStoreError("certutil is not installed: NSS databases cannot be changed", hint=hint)
    return NSSStore(certutil, tuple(databases))
