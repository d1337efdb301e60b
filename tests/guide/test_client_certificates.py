"""The guide for servers that ask for client certificates: its declaration is applied, and proved as the guide shows."""

from pathlib import Path

from tests.guide.rig import Guide, Site, start_nginx
from tests.rig.nginx import frame
from tests.rig.pki import Pki

GUIDE = Path(__file__).parents[2] / "docs" / "guide" / "client-certificates.md"
TRUST = "/etc/nginx/mtls/clients.crt"


def laid_out(site: Site, pki: Pki) -> None:
    """A server as the guide has it, whose application is in the clear."""
    pair = pki.leaf("app.example")
    text = (
        f"server {{\n    listen 127.0.0.1:{site.port} ssl;\n    server_name app.example;\n"
        f"    ssl_certificate {pair.certificate};\n    ssl_certificate_key {pair.key};\n"
        "    location / {\n        proxy_pass http://127.0.0.1:1;\n    }\n}\n"
    )
    (site.directory / "nginx.conf").write_text(frame(site.directory, text))
    start_nginx(site.nginx, site.directory)


def test_the_declaration_is_applied_and_the_proof_prints_what_the_guide_shows(site: Site) -> None:
    guide, pki = Guide(GUIDE.read_text()), Pki(site.directory / "mtls")
    (declaration,) = guide.blocks("toml")
    (shown,) = guide.blocks("text")
    laid_out(site, pki)
    (site.directory / "troth.toml").write_text(declaration.replace(TRUST, str(pki.trust)))
    which = f"--nginx {site.nginx} -c {site.directory}/nginx.conf -p {site.directory}"
    before = (site.directory / "nginx.conf").read_bytes()
    short = site.run(f"troth nginx plan {which} --server app.example --client-auth on --trust {pki.trust}", 2).stdout
    planned = site.run(f"troth nginx plan {which} --config troth.toml", 2).stdout
    assert planned == short, "the guide's declaration is what the short form means"
    site.run(f"troth nginx apply {which} --config troth.toml --yes")
    for how in ("--config troth.toml", "--server app.example --client-auth on"):
        printed = site.run(f"troth nginx prove {which} {how}").stdout
        assert shown.strip() in printed.replace(str(pki.trust), TRUST), printed
    site.run(f"troth nginx undo {which} --config troth.toml")
    assert (site.directory / "nginx.conf").read_bytes() == before
