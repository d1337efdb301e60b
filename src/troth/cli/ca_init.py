"""``troth ca init``: a new authority in step's layout."""

import click

from troth.cli import flags, foreign

EXAMPLES = """
troth ca init
troth ca init --name "Example" --dns ca.internal --address :9000 --provisioner admin --password-file password.txt
troth ca init --name "Staging" --dns ca.staging --address :9001 --provisioner admin --password-file password.txt --context staging
troth ca init --name "Example" --dns ca.internal,10.0.0.2 --address :443 --provisioner admin --password-file password.txt --acme
"""  # noqa: E501 - a command is as long as it is


@flags.command("init", EXAMPLES)
@click.option("--name", metavar="NAME", default="", help="Name of the authority, in its certificates.")
@click.option(
    "--dns", multiple=True, metavar="NAME", help="DNS name or IP of the authority; repeatable, or with commas."
)
@click.option("--address", metavar="ADDRESS", default="", help="Where it listens, such as :9000 or 127.0.0.1:9000.")
@click.option(
    "--provisioner", metavar="NAME", default="", help="Name of the first provisioner, often an email address."
)
@click.option("--password-file", metavar="FILE", default="", help="File with the password that encrypts the keys.")
@click.option("--provisioner-password-file", metavar="FILE", default="", help="File with the provisioner's password.")
@click.option(
    "--with-ca-url", metavar="URI", default="", help="URL to write into defaults.json instead of the first name."
)
@click.option("--deployment-type", metavar="TYPE", default="standalone", help="Only standalone is supported.")
@click.option("--root", metavar="FILE", default="", help="Use this root certificate instead of a new one; needs --key.")
@click.option("--key", metavar="FILE", default="", help="The key of --root.")
@click.option("--key-password-file", metavar="FILE", default="", help="File with the password of --key.")
@click.option("--acme", is_flag=True, help="Add an ACME provisioner named acme.")
@click.option("--pki", is_flag=True, help="Only certificates and keys, no configuration.")
@click.option("--no-db", is_flag=True, help="Leave the database out of ca.json (step-ca then keeps nothing).")
@flags.CONTEXT_NAMES
@flags.FORCE
@foreign.INIT
def init(
    name: str,
    dns: tuple[str, ...],
    address: str,
    provisioner: str,
    password_file: str,
    provisioner_password_file: str,
    with_ca_url: str,
    deployment_type: str,
    root: str,
    key: str,
    key_password_file: str,
    acme: bool,
    pki: bool,
    no_db: bool,
    force: bool,
    **names_of_context: str,
) -> None:
    """Create a certificate authority: a root, an intermediate and a first provisioner, in the files that step-ca and
    troth share, below the step path ($STEPPATH, or ~/.step), or below the directory of a new context.

    Asks for what is not given, and for nothing when everything is.
    """
    from troth.cli import founding
    from troth.cli.naming import context_to_make, make_context
    from troth.host.steppath import step_base

    founding.check_deployment(deployment_type)
    names = founding.ask_names(name, dns, address, provisioner, pki=pki)
    context = context_to_make(names_of_context, names.dns[0])
    base = step_base() if context is None else context.authority_path(step_base())
    step = founding.step_directory(base, force=force)
    password = founding.ask_password(password_file)
    provisioner_password = founding.read_password(provisioner_password_file) or password
    authority = founding.create(names, root, key, key_password_file)
    founding.write_hierarchy(step, authority, password)
    if not pki:
        founding.write_configuration(step, authority, names, provisioner_password, with_ca_url, acme=acme, db=not no_db)
    if context is not None:
        make_context(context)
    founding.announce(step, authority)
