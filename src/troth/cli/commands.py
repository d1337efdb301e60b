"""The table of commands: group, name, what it is for, and where its click command is.

Nothing is imported to list it, which keeps ``troth --help`` a matter of milliseconds. A new command is one line here.
"""

GROUPS = {
    "": "mutual TLS between nginx and its upstreams: a private CA, certificates that renew, and proof on the wire",
    "ca": "run a certificate authority, and get, renew and revoke its certificates",
    "ca provisioner": "see and change who may ask the authority for certificates",
    "ca policy": "see and change which names the authority may certify",
    "certificate": "make certificates, look at them, check them and install them",
    "context": "see and choose which authority is meant",
    "crypto": "make keys and tokens, look at them, and change their passwords",
    "crypto key": "look at keys, reformat them, and sign and verify with them",
    "crypto jwk": "make and look at JSON web keys",
    "crypto jwk keyset": "JSON web keys together in a file",
    "crypto jwt": "sign and verify JSON web tokens",
    "nginx": "see, plan, apply and prove the identities that nginx shows and trusts",
    "agent": "keep certificates renewed, deployed and proven",
}

COMMANDS = {
    "": {
        "ca": ("", GROUPS["ca"]),
        "certificate": ("", GROUPS["certificate"]),
        "context": ("", GROUPS["context"]),
        "crypto": ("", GROUPS["crypto"]),
        "nginx": ("", GROUPS["nginx"]),
        "agent": ("", GROUPS["agent"]),
        "demo": ("troth.cli.demo:demo", "watch the whole system work on this machine, without root"),
        "path": ("troth.cli.about:path", "print the configured step path"),
        "version": ("troth.cli.about:version", "print the version"),
        "completion": ("troth.cli.completion:completion", "print a shell's completion script"),
    },
    "ca": {
        "init": ("troth.cli.ca_init:init", "create a certificate authority"),
        "serve": ("troth.cli.ca_serve:serve", "serve a certificate authority"),
        "migrate": ("troth.cli.ca_migrate:migrate", "take over the records of a step-ca database"),
        "bootstrap": ("troth.cli.ca_bootstrap:bootstrap", "trust an authority and make it the default"),
        "certificate": ("troth.cli.ca_certificate:certificate", "make a key and get a certificate for it"),
        "sign": ("troth.cli.ca_sign:sign", "get a certificate for a request"),
        "token": ("troth.cli.ca_token:token", "make a one-time token"),
        "renew": ("troth.cli.ca_renew:renew", "renew a certificate, once or for ever"),
        "rekey": ("troth.cli.ca_rekey:rekey", "renew a certificate with a new key"),
        "revoke": ("troth.cli.ca_revoke:revoke", "revoke a certificate"),
        "root": ("troth.cli.ca_roots:root", "fetch the root certificate by its fingerprint"),
        "roots": ("troth.cli.ca_roots:roots", "fetch all root certificates"),
        "federation": ("troth.cli.ca_roots:federation", "fetch the root certificates of the federation"),
        "health": ("troth.cli.ca_health:health", "ask whether the authority is up"),
        "provisioner": ("", GROUPS["ca provisioner"]),
        "policy": ("", GROUPS["ca policy"]),
    },
    "ca provisioner": {
        "list": ("troth.cli.ca_provisioner:list_provisioners", "list the provisioners"),
        "jwe-key": ("troth.cli.ca_provisioner:jwe_key", "print a provisioner's encrypted key"),
        "add": ("troth.cli.ca_provisioner_edit:add", "add a provisioner to the configuration"),
        "update": ("troth.cli.ca_provisioner_edit:update", "change a provisioner in the configuration"),
        "remove": ("troth.cli.ca_provisioner_edit:remove", "remove a provisioner from the configuration"),
    },
    "certificate": {
        "inspect": ("troth.cli.certificate_inspect:inspect", "print a certificate or request"),
        "fingerprint": ("troth.cli.certificate_fingerprint:fingerprint", "print the fingerprint of a certificate"),
        "verify": ("troth.cli.certificate_verify:verify", "check a certificate's path to a root"),
        "needs-renewal": ("troth.cli.certificate_needs_renewal:needs_renewal", "exit 0 when a certificate is due"),
        "bundle": ("troth.cli.certificate_files:bundle", "put a certificate and its issuer into one file"),
        "key": ("troth.cli.certificate_files:key", "print the public key of a certificate or request"),
        "format": ("troth.cli.certificate_files:reformat", "turn PEM into DER and DER into PEM"),
        "create": ("troth.cli.certificate_create:create", "make a certificate or request with a key of its own"),
        "sign": ("troth.cli.certificate_sign:sign", "sign a request with an issuer's key"),
        "lint": ("troth.cli.certificate_lint:lint", "print what a linter has against a certificate"),
        "install": ("troth.cli.certificate_install:install", "make this machine trust a root certificate"),
        "uninstall": ("troth.cli.certificate_install:uninstall", "make this machine distrust a root certificate"),
        "p12": ("troth.cli.certificate_p12:p12", "package a certificate and key as PKCS #12"),
    },
    "context": {
        "current": ("troth.cli.context:current", "print the name of the current context"),
        "list": ("troth.cli.context:list_contexts", "list the contexts"),
        "select": ("troth.cli.context:select", "make a context the current one"),
        "remove": ("troth.cli.context:remove", "remove a context and its files"),
    },
    "crypto": {
        "keypair": ("troth.cli.crypto_keypair:keypair", "make a key pair in PEM"),
        "change-pass": ("troth.cli.crypto_keypair:change_pass", "change or remove the password of a private key"),
        "key": ("", GROUPS["crypto key"]),
        "jwk": ("", GROUPS["crypto jwk"]),
        "jwt": ("", GROUPS["crypto jwt"]),
    },
    "crypto key": {
        "inspect": ("troth.cli.crypto_key:inspect", "print the numbers of a key"),
        "format": (
            "troth.cli.crypto_key_format:reformat",
            "turn a key into PEM, DER, OpenSSH's form or a JSON web key",
        ),
        "fingerprint": ("troth.cli.crypto_key:fingerprint", "print the fingerprint of a public key"),
        "public": ("troth.cli.crypto_key:public", "print the public half of a key"),
        "sign": ("troth.cli.crypto_key_sign:sign", "sign a file"),
        "verify": ("troth.cli.crypto_key_sign:verify", "check the signature of a file"),
    },
    "crypto jwk": {
        "create": ("troth.cli.crypto_jwk:create", "make a JSON web key"),
        "public": ("troth.cli.crypto_jwk:public", "print the public half of a key on stdin"),
        "thumbprint": ("troth.cli.crypto_jwk:thumbprint", "print the thumbprint of a key on stdin"),
        "keyset": ("", GROUPS["crypto jwk keyset"]),
    },
    "crypto jwk keyset": {
        "add": ("troth.cli.crypto_keyset:add", "put the key on stdin into a set"),
        "remove": ("troth.cli.crypto_keyset:remove", "take a key out of a set"),
        "list": ("troth.cli.crypto_keyset:list_keys", "print the ids of a set's keys"),
        "find": ("troth.cli.crypto_keyset:find", "print a key of a set"),
    },
    "crypto jwt": {
        "sign": ("troth.cli.crypto_jwt:sign", "sign a token with a key or a certificate's key"),
        "verify": ("troth.cli.crypto_jwt:verify", "check a token and print what it says"),
        "inspect": ("troth.cli.crypto_jwt:inspect", "print what a token says, unverified"),
    },
    "nginx": {
        "inspect": ("troth.cli.nginx:inspect", "show which location presents which identity and trusts what"),
        "plan": ("troth.cli.nginx:plan", "show what apply would change"),
        "apply": ("troth.cli.nginx:apply", "make the planned changes, or none of them"),
        "drift": ("troth.cli.nginx:drift", "compare the declaration with disk, nginx and wire"),
        "rotate": ("troth.cli.nginx:rotate", "renew an identity now, and measure what that costs"),
        "undo": ("troth.cli.nginx:undo", "take a change of apply back"),
        "changes": ("troth.cli.nginx:changes", "list what apply and undo changed"),
        "prove": ("troth.cli.nginx:prove", "show on the wire that a location accepts and refuses as it should"),
        "doctor": ("troth.cli.nginx:doctor", "say why a location fails: the cause, its evidence, its fix"),
    },
    "agent": {
        "run": ("troth.cli.agent:run", "renew, deploy and prove the certificates of a troth.toml"),
        "status": ("troth.cli.agent:status", "show what the agent knows"),
        "install": ("troth.cli.agent:install", "print or write systemd units of authority and agent"),
    },
}

POLICY_KINDS = {
    "cn": "common names",
    "dns": "DNS names",
    "ip": "IP addresses and ranges",
    "email": "email addresses",
    "uri": "hosts of URIs",
}


def _add_policies() -> None:
    """``ca policy``: the same commands for the authority and for one provisioner."""
    for level, whose in (("authority", "of the authority"), ("provisioner", "of one provisioner")):
        at, module = f"ca policy {level}", f"troth.cli.ca_policy:{level}"
        GROUPS[at] = f"the policy {whose}"
        GROUPS[f"{at} x509"] = f"which names may be in X.509 certificates {whose}"
        GROUPS[f"{at} x509 wildcards"] = "whether wildcard names such as *.example.com may be in certificates"
        COMMANDS.setdefault("ca policy", {})[level] = ("", GROUPS[at])
        COMMANDS[at] = {
            "view": (f"{module}_view", "print the policy"),
            "remove": (f"{module}_remove", "remove the policy"),
            "x509": ("", GROUPS[f"{at} x509"]),
        }
        COMMANDS[f"{at} x509"] = {"wildcards": ("", GROUPS[f"{at} x509 wildcards"])}
        COMMANDS[f"{at} x509 wildcards"] = {
            verb: (f"{module}_wildcards_{verb}", f"{verb} wildcard names") for verb in ("allow", "deny")
        }
        for side in ("allow", "deny"):
            GROUPS[f"{at} x509 {side}"] = f"names to {side}"
            COMMANDS[f"{at} x509"][side] = ("", GROUPS[f"{at} x509 {side}"])
            COMMANDS[f"{at} x509 {side}"] = {
                kind: (f"{module}_{side}_{kind}", f"{side} {what}, or no longer") for kind, what in POLICY_KINDS.items()
            }


_add_policies()
