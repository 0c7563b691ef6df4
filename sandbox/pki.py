"""Keys and certificates of one local control plane: made once per sandbox directory, valid for ten years."""

from __future__ import annotations

import base64
import datetime
import ipaddress
import os
from pathlib import Path

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_VALID = datetime.timedelta(days=3650)
_SERVING_NAMES = (
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
)

# Who may be what: common name, group. The controllers get the names that Kubernetes' own RBAC roles are bound to.
CLIENTS: dict[str, tuple[str, str | None]] = {
    "admin": ("sandbox:admin", "system:masters"),
    "kwok": ("sandbox:kwok", "system:masters"),
    "kube-controller-manager": ("system:kube-controller-manager", None),
    "kube-scheduler": ("system:kube-scheduler", None),
}


def create(directory: Path, *, apiserver: str, service_address: str) -> None:
    """Write ca, apiserver and client pairs (`NAME.crt`, `NAME.key`), `sa.key`/`sa.pub` and `NAME.kubeconfig`.

    `apiserver`: its URL on the loopback. `service_address`: the address of the Service `kubernetes`.
    Does nothing when the directory already has an authority: certificates must outlast a restart.
    """
    if (directory / "ca.crt").exists():
        return
    directory.mkdir(parents=True, exist_ok=True)
    directory.chmod(0o700)
    ca_key = ec.generate_private_key(ec.SECP256R1())
    ca_name = _name("eks-cilium-sandbox")
    ca = (
        _builder(ca_name, ca_name, ca_key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(sign_certificates=True), critical=True)
        .sign(ca_key, hashes.SHA256())
    )

    def issue(
        name: str, subject: x509.Name, usage: x509.ObjectIdentifier, alternatives: list[x509.GeneralName]
    ) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        builder = (
            _builder(subject, ca_name, key)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        )
        if alternatives:
            builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        _write_key(directory / f"{name}.key", key)
        _write_certificate(directory / f"{name}.crt", builder.sign(ca_key, hashes.SHA256()))

    addresses = (ipaddress.ip_address("127.0.0.1"), ipaddress.ip_address(service_address))
    alternatives: list[x509.GeneralName] = [x509.DNSName(name) for name in _SERVING_NAMES]
    alternatives += [x509.IPAddress(address) for address in addresses]
    issue("apiserver", _name("kube-apiserver"), ExtendedKeyUsageOID.SERVER_AUTH, alternatives)
    for client, (common_name, group) in CLIENTS.items():
        issue(client, _name(common_name, group), ExtendedKeyUsageOID.CLIENT_AUTH, [])

    service_accounts = ec.generate_private_key(ec.SECP256R1())
    _write_key(directory / "sa.key", service_accounts)
    (directory / "sa.pub").write_bytes(
        service_accounts.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    # The authority is written last: its presence says that the rest is complete.
    _write_key(directory / "ca.key", ca_key)
    _write_certificate(directory / "ca.crt", ca)
    for client in CLIENTS:
        write_kubeconfig(directory / f"{client}.kubeconfig", pki=directory, client=client, apiserver=apiserver)


def write_kubeconfig(target: Path, *, pki: Path, client: str, apiserver: str) -> None:
    """A self-contained kubeconfig (certificates inline) for one of CLIENTS, readable by its owner only."""

    def inline(name: str) -> str:
        return base64.b64encode((pki / name).read_bytes()).decode()

    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "sandbox",
        "contexts": [{"name": "sandbox", "context": {"cluster": "sandbox", "user": client}}],
        "clusters": [
            {"name": "sandbox", "cluster": {"server": apiserver, "certificate-authority-data": inline("ca.crt")}}
        ],
        "users": [
            {
                "name": client,
                "user": {
                    "client-certificate-data": inline(f"{client}.crt"),
                    "client-key-data": inline(f"{client}.key"),
                },
            }
        ],
    }
    _write_private(target, yaml.safe_dump(config, sort_keys=False).encode())


def _name(common_name: str, group: str | None = None) -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
    if group:
        attributes.append(x509.NameAttribute(NameOID.ORGANIZATION_NAME, group))
    return x509.Name(attributes)


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + _VALID)
    )


def _key_usage(*, sign_certificates: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=sign_certificates,
        crl_sign=sign_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    _write_private(
        path,
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        ),
    )


def _write_certificate(path: Path, certificate: x509.Certificate) -> None:
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))


def _write_private(path: Path, content: bytes) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
