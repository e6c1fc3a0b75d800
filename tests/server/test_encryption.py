"""TLS as it is operated: certificates that are wrong, and those that are renewed while the server runs."""

import asyncio
import json
import logging
import ssl
import subprocess
from pathlib import Path

import pytest
from websockets.asyncio.client import connect

from omni_server.settings import Tls
from omni_server.transport import encryption
from tests.server.loopback import serving, until


def certificate(folder: Path, *more: str) -> Tls:
    """A certificate for 127.0.0.1, and its key, in new files or instead of those that are there."""
    made = Tls(str(folder / "cert.pem"), str(folder / "key.pem"))
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-days", "2", "-subj", "/CN=localhost", "-addext",
               "subjectAltName=IP:127.0.0.1", "-keyout", str(made.key), "-out", str(made.certificate),
               *(more or ["-nodes"])]  # fmt: skip
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=60)
    except FileNotFoundError:
        pytest.skip("openssl is not installed")
    return made


def shown(port: int) -> str:
    """The certificate that a new connection gets."""
    return ssl.get_server_certificate(("127.0.0.1", port), timeout=10)


async def test_it_speaks_tls(tmp_path: Path) -> None:
    tls = await asyncio.to_thread(certificate, tmp_path)
    async with serving(tls=tls) as server:
        trusts = ssl.create_default_context(cafile=tls.certificate)
        async with connect(f"wss://127.0.0.1:{server.port}/v1/omni", ssl=trusts) as socket:
            assert json.loads(await asyncio.wait_for(socket.recv(), 10))["type"] == "opened"


async def test_a_renewed_certificate_is_used_without_a_new_start_and_half_a_one_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(encryption, "LOOK_EVERY", 0.02)
    tls = await asyncio.to_thread(certificate, tmp_path)
    (tmp_path / "new").mkdir()
    new = await asyncio.to_thread(certificate, tmp_path / "new")
    assert tls.certificate
    assert tls.key
    assert new.certificate
    assert new.key
    async with serving(tls=tls) as server:
        first = await asyncio.to_thread(shown, server.port)
        await asyncio.to_thread(Path(new.certificate).replace, tls.certificate)
        await until(lambda: any("stays the old one" in record.message for record in caplog.records))
        assert await asyncio.to_thread(shown, server.port) == first
        await asyncio.to_thread(Path(new.key).replace, tls.key)
        await until(lambda: any("was renewed" in record.message for record in caplog.records))
        assert await asyncio.to_thread(shown, server.port) == await asyncio.to_thread(Path(tls.certificate).read_text)


def test_an_encrypted_key_is_refused_and_nobody_is_asked_for_its_passphrase(tmp_path: Path) -> None:
    tls = certificate(tmp_path, "-passout", "pass:swordfish")
    with pytest.raises(ValueError, match="decrypt it"):
        encryption.encryption(tls)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"cert\.pem and .*key\.pem are no certificate and key: .*No such file"):
        encryption.encryption(Tls(str(tmp_path / "cert.pem"), str(tmp_path / "key.pem")))
