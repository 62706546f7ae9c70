"""End-to-end encryption of message bodies and the envelope all client SDKs share. Keys never leave this file."""

from __future__ import annotations

import os
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from .errors import CryptoError

_VERSION = b"\x01"
_NONCE = 12
_TAG = 16
_HEADER = 1 + _NONCE + _TAG


class MessageCrypto(Protocol):
    """Encrypts outgoing and decrypts incoming bodies; called for non-empty bodies only and must not block."""

    def encrypt(self, plaintext: bytes) -> bytes:
        """Gives the bytes to put on the wire."""

    def decrypt(self, envelope: bytes) -> bytes:
        """Gives back what `encrypt` was given; raises when it can't."""


class AesGcmMessageCrypto:
    """AES-GCM with the envelope `0x01 | nonce (12) | tag (16) | ciphertext`; an empty body stays empty."""

    def __init__(self, key: bytes) -> None:
        """Takes a key of 16, 24 or 32 bytes."""
        if len(key) not in (16, 24, 32):
            raise CryptoError("key must have 16, 24 or 32 bytes")
        self._cipher = AESGCM(key)

    def encrypt(self, plaintext: bytes) -> bytes:
        """Seals `plaintext` under a fresh random nonce."""
        return self._seal(os.urandom(_NONCE), plaintext) if plaintext else b""

    def decrypt(self, envelope: bytes) -> bytes:
        """Opens an envelope; `CryptoError` when it is none, has another key, or was changed."""
        if not envelope:
            return b""
        if len(envelope) < _HEADER or envelope[:1] != _VERSION:
            raise CryptoError("body is not an encryption envelope")
        nonce, tag = envelope[1 : 1 + _NONCE], envelope[1 + _NONCE : _HEADER]
        try:
            return self._cipher.decrypt(nonce, envelope[_HEADER:] + tag, None)
        except InvalidTag:
            raise CryptoError("body was not encrypted with this key, or was changed") from None

    def _seal(self, nonce: bytes, plaintext: bytes) -> bytes:
        # The library appends the tag; the envelope has it first.
        sealed = self._cipher.encrypt(nonce, plaintext, None)
        return _VERSION + nonce + sealed[-_TAG:] + sealed[:-_TAG]
