from __future__ import annotations

import ssl
import stat
from pathlib import Path

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from sandbox import pki


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("pki")
    pki.create(directory, apiserver="https://127.0.0.1:6443", service_address="172.20.0.1")
    return directory


def _certificate(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def test_every_certificate_is_signed_by_the_authority(keys: Path):
    authority = _certificate(keys / "ca.crt").public_key()
    assert isinstance(authority, ec.EllipticCurvePublicKey)
    for path in keys.glob("*.crt"):
        _certificate(path).verify_directly_issued_by(_certificate(keys / "ca.crt"))


def test_the_server_certificate_names_the_loopback_and_the_kubernetes_service(keys: Path):
    found = _certificate(keys / "apiserver.crt").extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert {str(address) for address in found.get_values_for_type(x509.IPAddress)} == {"127.0.0.1", "172.20.0.1"}
    assert "kubernetes.default.svc" in found.get_values_for_type(x509.DNSName)


def test_only_admin_and_kwok_are_masters(keys: Path):
    masters = set()
    for name in pki.CLIENTS:
        groups = _certificate(keys / f"{name}.crt").subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
        if [group.value for group in groups] == ["system:masters"]:
            masters.add(name)
    assert masters == {"admin", "kwok"}


def test_private_files_are_readable_by_their_owner_only(keys: Path):
    for path in [*keys.glob("*.key"), *keys.glob("*.kubeconfig")]:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


def test_a_kubeconfig_names_the_server_and_holds_its_certificates(keys: Path):
    config = yaml.safe_load((keys / "kube-scheduler.kubeconfig").read_text())
    assert config["clusters"][0]["cluster"]["server"] == "https://127.0.0.1:6443"
    assert config["users"][0]["name"] == "kube-scheduler"


def test_keys_and_certificates_fit_together(keys: Path):
    for name in ("apiserver", *pki.CLIENTS):
        ssl.create_default_context().load_cert_chain(keys / f"{name}.crt", keys / f"{name}.key")


def test_a_second_call_changes_nothing(keys: Path):
    before = {path.name: path.read_bytes() for path in keys.iterdir()}
    pki.create(keys, apiserver="https://127.0.0.1:1", service_address="172.20.0.1")
    assert {path.name: path.read_bytes() for path in keys.iterdir()} == before
